//! Refused recipients, by the client that named them: who guesses addresses is answered more and more slowly,
//! over as many connections as it likes, and when it comes back as well.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mail::Timestamp;
use net::Origin;

/// What one refused recipient costs its client in time; so much is forgiven in that time.
const COST: Duration = Duration::from_secs(2);
/// So much is free: lists have wrong addresses in them.
const FREE: Duration = Duration::from_secs(20);
/// No answer comes later than this: clients give up on a server that is silent for long.
const DELAY_MAX: Duration = Duration::from_secs(15);
/// No more than this is owed.
const OWED_MAX: Duration = Duration::from_secs(300);
/// Clients that are remembered.
const CLIENTS_MAX: usize = 100_000;

/// Until when each client pays for what it has asked.
#[derive(Debug, Default)]
pub(crate) struct Harvest {
    owed_until: Mutex<HashMap<IpAddr, Timestamp>>,
}

impl Harvest {
    /// A recipient of this client was refused for good: how much later that is to be answered.
    pub(crate) fn refused(&self, client: IpAddr, now: Timestamp) -> Duration {
        let source = Origin::of(client).source;
        let mut owed = self
            .owed_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if owed.len() >= CLIENTS_MAX && !owed.contains_key(&source) {
            owed.retain(|_, until| *until > now);
            if owed.len() >= CLIENTS_MAX {
                // Whoever fills the table gains nothing by it.
                return COST;
            }
        }
        let until = owed.entry(source).or_insert(now);
        *until = ((*until).max(now) + COST).min(now + OWED_MAX);
        until.since(now).saturating_sub(FREE).min(DELAY_MAX)
    }

    /// A mail of this client was taken: half of what it owes is forgiven.
    pub(crate) fn taken(&self, client: IpAddr, now: Timestamp) {
        let mut owed = self
            .owed_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if owed.is_empty() {
            return;
        }
        if let Some(until) = owed.get_mut(&Origin::of(client).source) {
            *until = now + until.since(now) / 2;
        }
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
        let much_later = now + OWED_MAX + Duration::from_secs(1);
        assert_eq!(harvest.refused(bad, much_later), Duration::ZERO);
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
            harvest.taken(app, now);
        }
    }
}
