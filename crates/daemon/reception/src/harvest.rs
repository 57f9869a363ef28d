//! Refused recipients, by the client that named them: who guesses addresses is answered more and more slowly,
//! over as many connections as it likes, and when it comes back as well.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use mail::Timestamp;
use net::Origin;

/// What one refused recipient costs its client in time; so much is forgiven in that time.
const COST: Duration = Duration::from_secs(2);
/// So much is free for an address: lists have wrong addresses in them.
const FREE: Duration = Duration::from_secs(20);
/// So much for a network, whose addresses may be more than anybody can count.
const FREE_OF_MANY: Duration = Duration::from_secs(120);
/// No answer comes later than this: clients give up on a server that is silent for long.
const DELAY_MAX: Duration = Duration::from_secs(15);
/// No more than this is owed.
const OWED_MAX: Duration = Duration::from_secs(300);
/// Clients that are remembered, and networks.
const CLIENTS_MAX: usize = 100_000;

/// Until when each client, and each network, pays for what it has asked.
#[derive(Debug, Default)]
pub(crate) struct Harvest {
    owed: Mutex<Owed>,
}

#[derive(Debug, Default)]
struct Owed {
    by_source: Debts,
    by_network: Debts,
}

#[derive(Debug, Default)]
struct Debts(HashMap<IpAddr, Timestamp>);

impl Debts {
    /// Owes for one more; how long the answer waits.
    fn more(&mut self, debtor: IpAddr, free: Duration, now: Timestamp) -> Duration {
        let Self(owed) = self;
        if owed.len() >= CLIENTS_MAX && !owed.contains_key(&debtor) {
            owed.retain(|_, until| *until > now);
            if owed.len() >= CLIENTS_MAX {
                // Whoever fills the table gains nothing by it.
                return COST;
            }
        }
        let until = owed.entry(debtor).or_insert(now);
        *until = ((*until).max(now) + COST).min(now + OWED_MAX);
        until.since(now).saturating_sub(free).min(DELAY_MAX)
    }

    fn forgive(&mut self, debtor: IpAddr, may_send: bool, now: Timestamp) {
        let Self(owed) = self;
        if let Some(until) = owed.get_mut(&debtor) {
            let left = until.since(now);
            *until = now
                + match may_send {
                    true => left / 2,
                    false => left.saturating_sub(COST * 2),
                };
        }
    }
}

impl Harvest {
    fn owed(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock()
    }

    /// A recipient of this client was refused for good: how much later that is to be answered.
    pub(crate) fn refused(&self, client: IpAddr, now: Timestamp) -> Duration {
        let origin = Origin::of(client);
        let mut owed = self.owed();
        let own = owed.by_source.more(origin.source, FREE, now);
        let reception = owed.by_network.more(origin.network, FREE_OF_MANY, now);
        own.max(reception)
    }

    /// A mail of this client was taken: half of what it and its network owe is forgiven where it may send
    /// anywhere. A mail of a stranger makes up for two refusals, or one good address would pay for all guesses.
    pub(crate) fn taken(&self, client: IpAddr, may_send: bool, now: Timestamp) {
        let origin = Origin::of(client);
        let mut owed = self.owed();
        owed.by_source.forgive(origin.source, may_send, now);
        owed.by_network.forgive(origin.network, may_send, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_guesses_waits_longer_and_longer_and_finds_it_so_when_coming_back() {
        let harvest = Harvest::default();
        let now = Timestamp::from_secs(1_000_000);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let (bad, near, other) = (ip("2001:db8::1"), ip("2001:db8::2"), ip("2001:db8:0:1::1"));
        for _ in 0..10 {
            assert_eq!(harvest.refused(bad, now), Duration::ZERO);
        }
        assert_eq!(harvest.refused(bad, now), COST);
        assert_eq!(harvest.refused(near, now), COST * 2, "it is one client");
        assert_eq!(harvest.refused(other, now), Duration::ZERO);
        for _ in 0..1000 {
            harvest.refused(bad, now);
        }
        assert_eq!(harvest.refused(bad, now), DELAY_MAX);
        let later = now + Duration::from_secs(60);
        assert_eq!(harvest.refused(bad, later), DELAY_MAX);
        assert_eq!(
            harvest.refused(other, later),
            DELAY_MAX,
            "its network has guessed enough"
        );
        assert_eq!(harvest.refused(ip("2001:db8:1::1"), later), Duration::ZERO);
        let much_later = now + OWED_MAX + Duration::from_secs(1);
        assert_eq!(harvest.refused(bad, much_later), Duration::ZERO);
    }

    #[test]
    fn a_network_of_many_addresses_is_no_better_off() {
        let harvest = Harvest::default();
        let now = Timestamp::from_secs(1_000_000);
        let from = |n: u16| IpAddr::from([0x2001, 0xdb8, 1, n, 0, 0, 0, 1]);
        for n in 0..60 {
            assert_eq!(harvest.refused(from(n), now), Duration::ZERO);
        }
        assert_eq!(harvest.refused(from(60), now), COST);
        for n in 61..80 {
            harvest.refused(from(n), now);
        }
        assert_eq!(harvest.refused(from(80), now), DELAY_MAX);
        harvest.taken(from(80), true, now);
        assert_eq!(harvest.refused(from(81), now), Duration::ZERO);
    }

    #[test]
    fn a_good_address_does_not_pay_a_stranger_for_all_guesses() {
        let harvest = Harvest::default();
        let now = Timestamp::from_secs(1_000_000);
        let stranger = "192.0.2.1".parse().unwrap();
        let mut wait = Duration::ZERO;
        for _ in 0..20 {
            for _ in 0..4 {
                wait = harvest.refused(stranger, now);
            }
            harvest.taken(stranger, false, now);
        }
        assert_eq!(wait, DELAY_MAX);
    }

    #[test]
    fn mail_that_is_taken_makes_up_for_refusals() {
        let harvest = Harvest::default();
        let now = Timestamp::from_secs(1_000_000);
        let app = "192.0.2.1".parse().unwrap();
        for _ in 0..1000 {
            for _ in 0..4 {
                assert_eq!(harvest.refused(app, now), Duration::ZERO);
            }
            harvest.taken(app, true, now);
        }
    }

    #[test]
    fn each_pause_forgives_as_much_as_it_lasts() {
        let harvest = Harvest::default();
        let now = Timestamp::from_secs(1_000_000);
        let client = "192.0.2.1".parse().unwrap();
        for _ in 0..10 {
            harvest.refused(client, now);
        }
        // It owes 20 s, which are free; with this one 22 s.
        assert_eq!(harvest.refused(client, now), COST);
        let later = now + Duration::from_secs(4);
        assert_eq!(harvest.refused(client, later), Duration::ZERO);
        assert_eq!(harvest.refused(client, later), COST);
    }
}
