//! The clock of the server, which may be wrong: it may be set, jump, or have been ahead before a restart.
//!
//! **Invariant:** nothing is deleted on the word of a clock that is far ahead of all that is known, until it has
//! stood for a day; nothing waits for a time that was reckoned by a clock that was ahead.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mail::{QueueId, Timestamp};
use store::Op;
use world::{Clock, Instant};

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

/// The clock that came with the composition, and what is known of it.
#[derive(Debug)]
pub struct JudgedClock {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The latest time that was believed.
    seen: Timestamp,
    /// What is written down of it.
    kept: Timestamp,
    /// What it showed, and when that was, at the last look.
    last: (Timestamp, Instant),
    /// Since when it stands without having been set.
    since: Instant,
}

/// How a clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    Forward(Duration),
    Back(Duration),
}

impl JudgedClock {
    /// A clock, judged by the controls of a queue that was just opened.
    pub fn new(clock: Clock, controls: &BTreeMap<String, String>) -> Self {
        let seen = controls.get(SEEN);
        let seen = seen
            .and_then(|text| text.parse().ok())
            .map(Timestamp::from_millis);
        let (now, instant) = (clock.now(), clock.instant());
        Self {
            clock,
            state: Mutex::new(State {
                seen: seen.unwrap_or(now),
                kept: Timestamp::ZERO,
                last: (now, instant),
                since: instant,
            }),
        }
    }

    /// The handle to the clock, to be given on.
    pub const fn handle(&self) -> &Clock {
        &self.clock
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Looks at the clock; whether it was set since the last look.
    fn look(&self) -> Option<Set> {
        let (now, instant) = (self.clock.now(), self.clock.instant());
        let mut state = self.state();
        let (then, was) = state.last;
        state.last = (now, instant);
        let expected = then + instant.since(was);
        let set = match (now.since(expected), expected.since(now)) {
            (forward, _) if forward > JUMP => Some(Set::Forward(forward)),
            (_, back) if back > JUMP => Some(Set::Back(back)),
            _ => None,
        };
        if set.is_some() {
            state.since = instant;
        }
        set
    }

    /// Whether what is older than a time before `now` may be deleted.
    pub fn is_believed(&self) -> bool {
        let (now, instant) = (self.clock.now(), self.clock.instant());
        let mut state = self.state();
        let believed = now <= state.seen + AHEAD || instant.since(state.since) >= STAND;
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
    let now = node.now();
    let latest = highest.map_or(Timestamp::ZERO, QueueId::time);
    let seen = node.clock.state().seen.max(latest);
    Some(seen.since(now)).filter(|behind| *behind > JUMP)
}

/// Says that the clock is behind the queue.
pub fn tell_behind(node: &Node, by: Duration) {
    let what = "the system clock is earlier than the latest mail in the queue: it was fast before, or it is slow \
                now. The server uses the clock as it is";
    let line = node.journal.line(node.now(), "warning").field("what", what);
    line.field("by", mail::format_duration(by)).send();
}

/// Looks whether the clock was set, says so, and writes down what was seen.
pub fn watch(node: &Arc<Node>) {
    let set = node.clock.look();
    if let Some(set) = set {
        let (way, by) = match set {
            Set::Forward(by) => ("forward", by),
            Set::Back(by) => ("back", by),
        };
        let line = node.journal.line(node.now(), "warning");
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
    use world::Scripted;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(86_400);

    fn clock(seen: Option<u64>, now: u64) -> (JudgedClock, Scripted) {
        let script = Scripted::at(Timestamp::from_secs(now));
        let seen = seen.map(|seconds| (SEEN.to_owned(), (seconds * 1000).to_string()));
        let controls = seen.into_iter().collect();
        (JudgedClock::new(script.clock(), &controls), script)
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_and_one_that_runs_is_not() {
        let (clock, script) = clock(None, 1_000_000);
        script.advance(Duration::from_secs(10));
        assert_eq!(clock.look(), None);
        script.set(clock.clock.now() + HOUR);
        assert_eq!(clock.look(), Some(Set::Forward(HOUR)));
        script.set(clock.clock.now() - HOUR);
        assert_eq!(clock.look(), Some(Set::Back(HOUR)));
        // The machine slept: as much has passed by either clock.
        script.advance(10 * DAY);
        assert_eq!(clock.look(), None);
    }

    #[test]
    fn a_clock_far_ahead_is_believed_after_a_day_only() {
        let year = 365 * 86_400;
        let (clock, script) = clock(Some(1_000_000), 1_000_000 + year);
        assert!(!clock.is_believed());
        script.advance(DAY / 2);
        assert!(!clock.is_believed());
        script.advance(DAY / 2);
        assert!(clock.is_believed());
        // Set once more, it stands anew.
        script.set(clock.clock.now() + 365 * DAY);
        clock.look();
        script.advance(DAY / 2);
        assert!(!clock.is_believed());
    }

    #[test]
    fn a_usual_clock_is_believed_at_once() {
        assert!(clock(None, 1_000_000).0.is_believed());
        // After a weekend's rest.
        assert!(clock(Some(1_000_000), 1_259_200).0.is_believed());
    }
}
