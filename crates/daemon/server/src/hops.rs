//! The next hops of a site. Its hosts are the same for all of its domains; the order in which they are tried is
//! each domain's own.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mail::{Domain, Message};
use route::{Host, order_hosts};
use schedule::{Batch, SiteId};

use crate::resolve::Hop;

/// How long a host that did not serve does not keep mail from an open session with another.
const DOWN_FOR: Duration = Duration::from_secs(60);
/// How long a host is not asked for CHUNKING again.
const WITHOUT_CHUNKING_FOR: Duration = Duration::from_secs(86_400);
/// Hosts that are marked are looked through when there are so many.
const MARKED_MAX: usize = 10_000;

/// The next hops of one site.
#[derive(Debug, Clone)]
pub(crate) struct SiteHops {
    key: Arc<str>,
    /// For all domains but the others.
    usual: Arc<Hop>,
    /// Of domains whose order of the same hosts is another.
    others: Arc<HashMap<Domain, Arc<Hop>>>,
}

/// The next hops of all sites.
#[derive(Debug, Default)]
pub(crate) struct Hops {
    sites: HashMap<SiteId, SiteHops>,
}

impl Hops {
    /// A domain's mail goes to this site, by this next hop.
    pub(crate) fn insert(&mut self, site: SiteId, key: &Arc<str>, hop: Arc<Hop>) {
        let fresh = |hop| SiteHops {
            key: Arc::clone(key),
            usual: hop,
            others: Arc::default(),
        };
        match self.sites.get_mut(&site) {
            // The number of a site that was forgotten is given again.
            Some(known) if known.key == *key => {
                let is_usual = known.usual.next == hop.next;
                if !is_usual {
                    Arc::make_mut(&mut known.others).insert(hop.domain.clone(), hop);
                } else if known.others.contains_key(&hop.domain) {
                    Arc::make_mut(&mut known.others).remove(&hop.domain);
                }
            }
            Some(_) | None => drop(self.sites.insert(site, fresh(hop))),
        }
    }

    /// Those of a site.
    pub(crate) fn of(&self, site: SiteId) -> Option<SiteHops> {
        self.sites.get(&site).cloned()
    }

    /// The settings have changed: every domain is looked up again.
    pub(crate) fn forget(&mut self) {
        self.sites.clear();
    }
}

impl SiteHops {
    /// What all of its domains have in common; the order of the hosts is not.
    pub(crate) const fn common(&self) -> &Arc<Hop> {
        &self.usual
    }

    /// The recipients of a batch by their next hop.
    pub(crate) fn split(&self, batch: &Batch, message: &Message) -> Vec<(Arc<Hop>, Vec<u32>)> {
        let numbers = batch.recipients.iter().map(|(number, _, _)| *number);
        if self.others.is_empty() {
            return vec![(Arc::clone(&self.usual), numbers.collect())];
        }
        let other = |number: u32| {
            let recipient = message.envelope.recipients.get(number as usize)?;
            self.others.get(recipient.address.domain())
        };
        let mut split: Vec<(Arc<Hop>, Vec<u32>)> = Vec::new();
        for number in numbers {
            let hop = other(number).unwrap_or(&self.usual);
            match split.iter_mut().find(|(known, _)| known.next == hop.next) {
                Some((_, numbers)) => numbers.push(number),
                None => split.push((Arc::clone(hop), vec![number])),
            }
        }
        split
    }
}

/// Hosts of which something is known for a while. Nothing of it outlives the server.
#[derive(Debug)]
pub(crate) struct Marks {
    hosts: Mutex<BTreeMap<String, Instant>>,
    /// Where there are none, nobody takes the lock.
    any: AtomicBool,
    lasts: Duration,
}

impl Marks {
    /// Hosts that did not serve a moment ago.
    pub(crate) fn down() -> Self {
        Self::lasting(DOWN_FOR)
    }

    /// Hosts that offer CHUNKING and do not know BDAT.
    pub(crate) fn without_chunking() -> Self {
        Self::lasting(WITHOUT_CHUNKING_FOR)
    }

    fn lasting(lasts: Duration) -> Self {
        Self {
            hosts: Mutex::default(),
            any: AtomicBool::new(false),
            lasts,
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Instant>) -> T) -> T {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut hosts);
        self.any.store(!hosts.is_empty(), Ordering::Relaxed);
        result
    }

    /// Marks these hosts.
    pub(crate) fn mark(&self, names: Vec<String>) {
        if names.is_empty() {
            return;
        }
        let now = Instant::now();
        self.with(|hosts| {
            if hosts.len() >= MARKED_MAX {
                hosts.retain(|_, since| since.elapsed() < self.lasts);
            }
            hosts.extend(names.into_iter().map(|name| (name, now)));
        });
    }

    /// It is over for this host.
    pub(crate) fn unmark(&self, name: &str) {
        if self.any.load(Ordering::Relaxed) {
            self.with(|hosts| hosts.remove(name));
        }
    }

    /// Whether a host is marked.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.any.load(Ordering::Relaxed)
            && self.with(|hosts| match hosts.get(name) {
                Some(since) if since.elapsed() < self.lasts => true,
                Some(_) => {
                    hosts.remove(name);
                    false
                }
                None => false,
            })
    }
}

/// The hosts in the order in which they are tried: by preference (RFC 5321 §5.1), of equal ones the one with
/// the `open` session first. That one comes before better ones, too, while none of these serves: otherwise
/// each mail would wait for them again.
pub(crate) fn in_order(hosts: &[Host], seed: u64, open: Option<&str>, down: &Marks) -> Vec<Host> {
    let mut hosts = order_hosts(hosts, seed);
    let is_open = |host: &Host| Some(host.name.as_str()) == open;
    if hosts.len() > 1
        && let Some(place) = hosts.iter().position(is_open)
    {
        let host = hosts.remove(place);
        let better = |h: &&Host| h.preference < host.preference;
        let ahead = hosts.iter().filter(better).count();
        let mut ahead_of_it = hosts.iter().take(ahead);
        let leads = ahead_of_it.all(|h| down.has(h.name.as_str()));
        hosts.insert(if leads { 0 } else { ahead }, host);
    }
    hosts
}

#[cfg(test)]
mod tests {
    use deliver::TlsMode;
    use route::{HostAddresses, NextHop};

    use super::*;

    fn hop(domain: &str, hosts: &[(u16, &str)]) -> Arc<Hop> {
        let host = |(preference, name): &(u16, &str)| Host {
            name: Domain::parse(name).unwrap(),
            port: 25,
            preference: *preference,
            addresses: HostAddresses::LookUp,
        };
        Arc::new(Hop {
            domain: Domain::parse(domain).unwrap(),
            next: NextHop {
                hosts: hosts.iter().map(host).collect(),
                configured: false,
                relay: false,
            },
            tls: TlsMode::Opportunistic,
            credentials: None,
            sources: None,
            ignore: Vec::new(),
            destination: mail::Destination::Outgoing,
        })
    }

    fn names(hosts: &[Host]) -> Vec<&str> {
        hosts.iter().map(|h| h.name.as_str()).collect()
    }

    #[test]
    fn a_session_is_preferred_among_equals_and_to_better_hosts_that_are_down() {
        let hop = hop(
            "x.example",
            &[(5, "a.example"), (10, "b.example"), (10, "c.example")],
        );
        let down = Marks::down();
        for seed in 0..20 {
            let order = in_order(&hop.next.hosts, seed, Some("c.example"), &down);
            assert_eq!(names(&order), ["a.example", "c.example", "b.example"]);
        }
        down.mark(vec!["a.example".to_owned()]);
        let order = in_order(&hop.next.hosts, 1, Some("b.example"), &down);
        assert_eq!(names(&order), ["b.example", "a.example", "c.example"]);
        // Without a session nothing is known of the others: one of them may be this server.
        let order = in_order(&hop.next.hosts, 1, None, &down);
        assert_eq!(names(&order)[0], "a.example");
        down.unmark("a.example");
        let order = in_order(&hop.next.hosts, 1, Some("b.example"), &down);
        assert_eq!(names(&order), ["a.example", "b.example", "c.example"]);
    }
}
