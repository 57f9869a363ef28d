//! Who holds how much of what is bounded: by client, by network, by user, and in all.
//!
//! One client must not be able to take what all live on. So everybody has a share, smaller than the
//! whole: each address (each /64 of IPv6, whose owner chooses the rest), each network (an IPv4 /24,
//! an IPv6 /48: what one customer of a provider commonly has), each user who has logged in.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// Where a client is, as far as it cannot choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The address; of IPv6 the /64.
    pub source: IpAddr,
    /// The network: of IPv4 the /24, of IPv6 the /48.
    pub network: IpAddr,
}

impl Origin {
    /// The origin of a client with this address; an IPv4-mapped one is IPv4.
    #[must_use]
    pub const fn of(client: IpAddr) -> Self {
        match client.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self {
                    source: IpAddr::V4(ip),
                    network: IpAddr::V4(Ipv4Addr::new(a, b, c, 0)),
                }
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Self {
                    source: IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)),
                    network: IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)),
                }
            }
        }
    }

    /// The network with its length, as `192.0.2.0/24`.
    #[must_use]
    pub fn named(network: IpAddr) -> String {
        let length = if network.is_ipv4() { 24 } else { 48 };
        format!("{network}/{length}")
    }
}

/// Somebody who has a share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A client ([`Origin::source`]).
    Source(IpAddr),
    /// A network ([`Origin::network`]).
    Network(IpAddr),
    /// A user or a key, by name.
    User(String),
    /// A user of this computer.
    Local(u32),
    /// All users of this computer together.
    Locals,
}

/// The largest share of each, in the units of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Largest {
    /// Of a client, a user, or a user of this computer.
    pub one: u64,
    /// Of a network, or of all users of this computer.
    pub many: u64,
    /// The whole.
    pub all: u64,
}

impl Largest {
    /// A quarter of the whole for one, half of it for a network; but nobody's share is less than `least`.
    #[must_use]
    pub fn of(all: u64, least: u64) -> Self {
        Self {
            one: (all / 4).max(least),
            many: (all / 2).max(least),
            all: all.max(least),
        }
    }

    const fn share(&self, holder: &Holder) -> u64 {
        match holder {
            Holder::Source(_) | Holder::User(_) | Holder::Local(_) => self.one,
            Holder::Network(_) | Holder::Locals => self.many,
        }
    }
}

/// Something that is bounded, of which everybody has a share.
#[derive(Debug)]
pub struct Shares {
    largest: Largest,
    held: Mutex<Held>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Held {
    all: u64,
    by: HashMap<Holder, u64>,
}

impl Shares {
    /// Nothing of it is held yet.
    #[must_use]
    pub fn new(largest: Largest) -> Arc<Self> {
        Arc::new(Self {
            largest,
            held: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// What these hold together, nothing at first. All of them must have room for what is taken.
    #[must_use]
    pub fn hold(self: &Arc<Self>, holders: Vec<Holder>) -> Hold {
        Hold {
            shares: Arc::clone(self),
            holders,
            amount: 0,
        }
    }

    /// Takes so much more, if everybody concerned has room for it.
    fn take(&self, holders: &[Holder], more: u64) -> bool {
        let mut held = self.held.lock();
        let fits = held.all.saturating_add(more) <= self.largest.all
            && holders.iter().all(|holder| {
                let has = held.by.get(holder).copied().unwrap_or_default();
                has.saturating_add(more) <= self.largest.share(holder)
            });
        if fits {
            held.all += more;
            for holder in holders {
                *held.by.entry(holder.clone()).or_default() += more;
            }
        }
        fits
    }

    fn give_back(&self, holders: &[Holder], less: u64) {
        if less == 0 {
            return;
        }
        let mut held = self.held.lock();
        held.all = held.all.saturating_sub(less);
        for holder in holders {
            if let Some(has) = held.by.get_mut(holder) {
                *has = has.saturating_sub(less);
                if *has == 0 {
                    held.by.remove(holder);
                }
            }
        }
        drop(held);
        self.freed.notify_waiters();
    }
}

/// What somebody holds; given back when dropped.
#[derive(Debug)]
pub struct Hold {
    shares: Arc<Shares>,
    holders: Vec<Holder>,
    amount: u64,
}

impl Hold {
    /// Whether so much is held already.
    #[must_use]
    pub const fn is(&self, amount: u64) -> bool {
        self.amount == amount
    }

    /// Holds so much, no more and no less; more is waited for. No more than one share is ever held: who needs
    /// more goes on with that.
    ///
    /// What is held meanwhile is kept, so several can wait for each other: `false`, when nothing came free in
    /// time, and then somebody must let go.
    pub async fn resize(&mut self, amount: u64, wait: Duration) -> bool {
        let largest = &self.shares.largest;
        let shares = self.holders.iter().map(|holder| largest.share(holder));
        let amount = shares.fold(amount.min(largest.all), u64::min);
        let Some(more) = amount.checked_sub(self.amount).filter(|more| *more > 0) else {
            self.shares.give_back(&self.holders, self.amount - amount);
            self.amount = amount;
            return true;
        };
        if !self.shares.take(&self.holders, more)
            && timeout(wait, self.wait_for(more)).await.is_err()
        {
            return false;
        }
        self.amount = amount;
        true
    }

    async fn wait_for(&self, more: u64) {
        loop {
            let freed = self.shares.freed.notified();
            tokio::pin!(freed);
            // From here on nothing that is given back is missed.
            freed.as_mut().enable();
            if self.shares.take(&self.holders, more) {
                return;
            }
            freed.await;
        }
    }

    /// Counts from now on for these: a client who has logged in.
    pub fn belongs_to(&mut self, holder: Holder) {
        if self.holders.contains(&holder) {
            return;
        }
        self.shares.give_back(&self.holders, self.amount);
        self.amount = 0;
        self.holders.push(holder);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shares.give_back(&self.holders, self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn of(address: &str) -> Vec<Holder> {
        let origin = Origin::of(ip(address));
        vec![
            Holder::Source(origin.source),
            Holder::Network(origin.network),
        ]
    }

    #[test]
    fn what_a_client_can_choose_of_its_address_does_not_count() {
        let origin = Origin::of(ip("2001:db8:1:2:3:4:5:6"));
        assert_eq!(origin.source, ip("2001:db8:1:2::"));
        assert_eq!(origin.network, ip("2001:db8:1::"));
        let origin = Origin::of(ip("::ffff:192.0.2.7"));
        assert_eq!(
            (origin.source, origin.network),
            (ip("192.0.2.7"), ip("192.0.2.0"))
        );
    }

    #[tokio::test]
    async fn nobody_holds_more_than_a_share_and_no_network_more_than_its_own() {
        let shares = Shares::new(Largest::of(100, 1));
        let mut first = shares.hold(of("192.0.2.1"));
        assert!(first.resize(20, AT_ONCE).await);
        let mut second = shares.hold(of("192.0.2.1"));
        assert!(!second.resize(6, AT_ONCE).await, "26 of one client");
        assert!(second.resize(5, AT_ONCE).await);
        let mut near = shares.hold(of("192.0.2.2"));
        assert!(near.resize(25, AT_ONCE).await);
        let mut third = shares.hold(of("192.0.2.3"));
        assert!(!third.resize(1, AT_ONCE).await, "51 of one network");
        let mut elsewhere = shares.hold(of("198.51.100.1"));
        assert!(elsewhere.resize(25, AT_ONCE).await);
        // A user's mail counts for the user wherever it comes from.
        let mut own = shares.hold(of("203.0.113.1"));
        own.belongs_to(Holder::User("ann".to_owned()));
        assert!(own.resize(20, AT_ONCE).await);
        let mut again = shares.hold(of("198.51.100.2"));
        again.belongs_to(Holder::User("ann".to_owned()));
        assert!(!again.resize(6, AT_ONCE).await);
        drop(own);
        assert!(again.resize(6, AT_ONCE).await);
        drop((first, second, near, third, elsewhere, again));
        assert!(shares.held.lock().by.is_empty());
        assert_eq!(shares.held.lock().all, 0);
    }

    #[tokio::test]
    async fn what_is_larger_than_a_share_goes_on_with_one() {
        let shares = Shares::new(Largest::of(100, 1));
        let mut hold = shares.hold(of("192.0.2.1"));
        assert!(hold.resize(80, AT_ONCE).await);
        assert_eq!(hold.amount, 25);
        assert!(hold.resize(90, AT_ONCE).await);
        let mut other = shares.hold(of("192.0.2.1"));
        assert!(!other.resize(1, AT_ONCE).await);
    }

    #[tokio::test]
    async fn who_waits_gets_what_another_gives_back() {
        let shares = Shares::new(Largest::of(100, 1));
        let mut first = shares.hold(of("192.0.2.1"));
        assert!(first.resize(25, AT_ONCE).await);
        let mut second = shares.hold(of("192.0.2.1"));
        let waiting = tokio::spawn(async move {
            let got = second.resize(10, Duration::from_secs(60)).await;
            (got, second.amount)
        });
        tokio::task::yield_now().await;
        assert!(first.resize(15, AT_ONCE).await);
        assert_eq!(waiting.await.unwrap(), (true, 10));
    }
}
