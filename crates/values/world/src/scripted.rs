//! A clock whose time passes only when it is told to.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::Duration;

use mail::Timestamp;

use crate::{Clock, Instant, Time};

/// A clock that stands until it is moved: what tests and a simulation compose a server with. Clones show the same time.
#[derive(Debug, Clone)]
pub struct Scripted(Arc<Mutex<Shown>>);

#[derive(Debug)]
struct Shown {
    wall: Timestamp,
    passed: Duration,
}

impl Scripted {
    /// A clock that shows `start`.
    #[must_use]
    pub fn at(start: Timestamp) -> Self {
        let (wall, passed) = (start, Duration::ZERO);
        Self(Arc::new(Mutex::new(Shown { wall, passed })))
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock()
    }

    /// The handle to give away.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock::new(self.clone())
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let mut shown = self.shown();
        shown.wall = shown.wall + by;
        shown.passed = shown.passed.saturating_add(by);
    }

    /// Sets the wall clock, forward or back, as an administrator or a time server does: no time passes by that.
    pub fn set(&self, wall: Timestamp) {
        self.shown().wall = wall;
    }
}

impl Time for Scripted {
    fn now(&self) -> Timestamp {
        self.shown().wall
    }

    fn instant(&self) -> Instant {
        Instant::at(self.shown().passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn time_passes_only_when_it_is_told_to() {
        let script = Scripted::at(Timestamp::from_secs(1_000_000));
        let clock = script.clock();
        let (now, before) = (clock.now(), clock.instant());
        assert_eq!((clock.now(), clock.instant()), (now, before));
        script.advance(HOUR);
        assert_eq!(clock.now(), now + HOUR);
        assert_eq!(clock.instant().since(before), HOUR);
        assert_eq!(before.since(clock.instant()), Duration::ZERO);
    }

    #[test]
    fn a_clock_that_is_set_back_still_measures() {
        let script = Scripted::at(Timestamp::from_secs(1_000_000));
        let clock = script.clock();
        let before = clock.instant();
        script.advance(HOUR);
        script.set(Timestamp::from_secs(5));
        assert_eq!(clock.now(), Timestamp::from_secs(5));
        assert_eq!(clock.instant().since(before), HOUR);
    }
}
