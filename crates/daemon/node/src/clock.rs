//! The system's clock, which may be wrong: it may be set, jump, or have been ahead before a restart.
//!
//! **Invariant:** nothing is deleted on the word of a clock that is far ahead of all that is known, until it has
//! stood for a day; nothing waits for a time that was reckoned by a clock that was ahead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mail::{QueueId, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use store::Op;

use crate::Node;
use crate::event::Event;

/// The setting that keeps the latest time that was believed.
const SEEN: &str = "clock";
/// A clock that differs by more from what has passed was set.
const JUMP: Duration = Duration::from_secs(30);
/// How far ahead of the latest time that was seen a clock is believed at once: servers rest over a weekend.
const AHEAD: Duration = Duration::from_secs(4 * 86_400);
/// How long one that is further ahead must stand.
const STAND: Duration = Duration::from_secs(86_400);
/// How often what was seen is written down.
const KEPT_EVERY: Duration = Duration::from_secs(3600);

/// What is known of the clock.
#[derive(Debug)]
pub struct Clock {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The latest time that was believed.
    seen: Timestamp,
    /// What is written down of it.
    kept: Timestamp,
    /// The clock, and the time since the machine started, at the last look.
    last: (Timestamp, Duration),
    /// Since when it stands without having been set, in time since the machine started.
    since: Duration,
}

/// How a clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    Forward(Duration),
    Back(Duration),
}

/// The time since the machine started, sleep included.
fn uptime() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

impl Clock {
    /// As the controls of a queue that was just opened say it.
    pub fn new(controls: &BTreeMap<String, String>) -> Self {
        let seen = controls.get(SEEN);
        let seen = seen
            .and_then(|text| text.parse().ok())
            .map(Timestamp::from_millis);
        Self::at(seen, net::now(), uptime())
    }

    fn at(seen: Option<Timestamp>, now: Timestamp, uptime: Duration) -> Self {
        Self {
            state: Mutex::new(State {
                seen: seen.unwrap_or(now),
                kept: Timestamp::ZERO,
                last: (now, uptime),
                since: uptime,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the clock; whether it was set since the last look.
    fn look(&self, now: Timestamp, uptime: Duration) -> Option<Set> {
        let mut state = self.state();
        let (then, was) = state.last;
        state.last = (now, uptime);
        let expected = then + uptime.saturating_sub(was);
        let set = match (now.since(expected), expected.since(now)) {
            (forward, _) if forward > JUMP => Some(Set::Forward(forward)),
            (_, back) if back > JUMP => Some(Set::Back(back)),
            _ => None,
        };
        if set.is_some() {
            state.since = uptime;
        }
        set
    }

    /// Whether what is older than a time before `now` may be deleted.
    pub fn is_believed(&self) -> bool {
        self.believes(net::now(), uptime())
    }

    fn believes(&self, now: Timestamp, uptime: Duration) -> bool {
        let mut state = self.state();
        let believed = now <= state.seen + AHEAD || uptime.saturating_sub(state.since) >= STAND;
        if believed {
            state.seen = state.seen.max(now);
        }
        believed
    }

    /// The time that is to be written down, where that is due.
    fn to_keep(&self) -> Option<Timestamp> {
        let mut state = self.state();
        let seen = state.seen;
        (seen.since(state.kept) >= KEPT_EVERY).then(|| {
            state.kept = seen;
            seen
        })
    }
}

/// How far the clock is behind what a queue that was just opened knows: the time that was seen, and that of its
/// latest mail.
pub fn behind(node: &Node, highest: Option<QueueId>) -> Option<Duration> {
    let now = net::now();
    let latest = highest.map_or(Timestamp::ZERO, QueueId::time);
    let seen = node.clock.state().seen.max(latest);
    Some(seen.since(now)).filter(|behind| *behind > JUMP)
}

/// Says that the clock is behind the queue.
pub fn tell_behind(node: &Node, by: Duration) {
    let what = "the system clock is earlier than the latest mail in the queue: it was fast before, or it is slow \
                now. The server uses the clock as it is";
    let line = node.journal.line(net::now(), "warning").field("what", what);
    line.field("by", mail::format_duration(by)).send();
}

/// Looks whether the clock was set, says so, and writes down what was seen.
pub fn watch(node: &Arc<Node>) {
    let set = node.clock.look(net::now(), uptime());
    if let Some(set) = set {
        let (way, by) = match set {
            Set::Forward(by) => ("forward", by),
            Set::Back(by) => ("back", by),
        };
        let line = node.journal.line(net::now(), "warning");
        let line = line.field("what", format_args!("the system clock was set {way}"));
        line.field("by", mail::format_duration(by)).send();
    }
    if let Some(Set::Back(by)) = set {
        node.tell(Event::ClockSetBack(by));
    }
    node.clock.is_believed();
    if let Some(seen) = node.clock.to_keep() {
        let op = Op::Control {
            name: SEEN.to_owned(),
            value: Some(seen.as_millis().to_string()),
        };
        // One that does not come to be is written the next time.
        node.store.commit(vec![op], Box::new(|_| {}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn clock(seen: Option<u64>, now: u64) -> Clock {
        let seen = seen.map(Timestamp::from_secs);
        Clock::at(seen, Timestamp::from_secs(now), Duration::ZERO)
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_and_one_that_runs_is_not() {
        let clock = clock(None, 1_000_000);
        let look = |now, up| clock.look(Timestamp::from_secs(now), Duration::from_secs(up));
        assert_eq!(look(1_000_010, 10), None);
        assert_eq!(
            look(1_003_620, 20),
            Some(Set::Forward(Duration::from_secs(3600)))
        );
        assert_eq!(
            look(1_000_030, 30),
            Some(Set::Back(Duration::from_secs(3600)))
        );
        // The machine slept: as much has passed by either clock.
        assert_eq!(look(1_900_030, 900_030), None);
    }

    #[test]
    fn a_clock_far_ahead_is_believed_after_a_day_only() {
        let year = 365 * 86_400;
        let clock = clock(Some(1_000_000), 1_000_000 + year);
        let now = Timestamp::from_secs(1_000_000 + year);
        assert!(!clock.believes(now, Duration::ZERO));
        assert!(!clock.believes(now + DAY / 2, DAY / 2));
        assert!(clock.believes(now + DAY, DAY));
        // Set once more, it stands anew.
        clock.look(now + DAY, DAY);
        clock.look(now + 365 * DAY, DAY);
        assert!(!clock.believes(now + 365 * DAY, DAY + DAY / 2));
    }

    #[test]
    fn a_usual_clock_is_believed_at_once() {
        assert!(clock(None, 1_000_000).believes(Timestamp::from_secs(1_000_000), Duration::ZERO));
        let weekend = Timestamp::from_secs(1_000_000 + 3 * 86_400);
        assert!(clock(Some(1_000_000), 1_259_200).believes(weekend, Duration::ZERO));
    }
}
