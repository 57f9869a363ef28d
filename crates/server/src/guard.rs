//! Failed logins, by the address that they come from: each further one is answered later, and
//! beyond a number none is checked for a while.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mail::Timestamp;

/// Failures beyond which no login of an address is checked.
const FAILURES_MAX: u32 = 20;
/// An address without a failure for so long is as new.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15 * 60);
/// The answer to a failed login comes this much later for each failure before it.
const DELAY_STEP: Duration = Duration::from_millis(500);
/// But not later than this: a person who mistypes must not think that the server is gone.
const DELAY_MAX: Duration = Duration::from_secs(8);
/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 100_000;

/// The failures.
#[derive(Debug, Default)]
pub(crate) struct LoginGuard {
    by_source: Mutex<HashMap<IpAddr, (u32, Timestamp)>>,
}

/// IPv6 clients choose the second half of their address themselves.
fn source(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl LoginGuard {
    /// Whether a login from there is to be checked at all.
    pub(crate) fn may_try(&self, peer: IpAddr, now: Timestamp) -> bool {
        let known = self
            .by_source
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.get(&source(peer)).is_none_or(|(failures, last)| {
            *failures < FAILURES_MAX || *last + FORGOTTEN_AFTER <= now
        })
    }

    /// A login failed: how much later that is to be answered.
    pub(crate) fn failed(&self, peer: IpAddr, now: Timestamp) -> Duration {
        let mut known = self
            .by_source
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if known.len() >= ADDRESSES_MAX {
            known.retain(|_, (_, last)| *last + FORGOTTEN_AFTER > now);
        }
        if known.len() >= ADDRESSES_MAX {
            return DELAY_MAX;
        }
        let (failures, last) = known.entry(source(peer)).or_insert((0, now));
        if *last + FORGOTTEN_AFTER <= now {
            *failures = 0;
        }
        *failures += 1;
        *last = now;
        (DELAY_STEP * *failures).min(DELAY_MAX)
    }

    /// A login succeeded: half of what failed before is forgiven, for one address may have many
    /// people behind it.
    pub(crate) fn succeeded(&self, peer: IpAddr) {
        let mut known = self
            .by_source
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((failures, _)) = known.get_mut(&source(peer)) {
            *failures /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_answered_later_and_later_and_then_not_checked() {
        let guard = LoginGuard::default();
        let now = Timestamp::from_secs(1_000_000);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let (bad, near, other) = (ip("2001:db8::1"), ip("2001:db8::2"), ip("192.0.2.1"));
        assert_eq!(guard.failed(bad, now), DELAY_STEP);
        assert_eq!(guard.failed(near, now), DELAY_STEP * 2);
        assert_eq!(guard.failed(other, now), DELAY_STEP);
        for _ in 2..FAILURES_MAX {
            assert!(guard.may_try(bad, now));
            guard.failed(bad, now);
        }
        assert!(!guard.may_try(near, now) && guard.may_try(other, now));
        assert_eq!(guard.failed(bad, now), DELAY_MAX);
        assert!(guard.may_try(bad, now + FORGOTTEN_AFTER));
        assert_eq!(guard.failed(bad, now + FORGOTTEN_AFTER), DELAY_STEP);
        guard.succeeded(bad);
        assert_eq!(guard.failed(bad, now + FORGOTTEN_AFTER), DELAY_STEP);
    }
}
