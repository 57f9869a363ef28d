//! The system's clock, and the one place where it is read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mail::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use world::{Clock, Instant, Time};

/// The clock of the machine.
#[derive(Debug)]
struct System;

impl Time for System {
    fn now(&self) -> Timestamp {
        now()
    }

    /// The time since the machine started, sleep included.
    fn instant(&self) -> Instant {
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Instant::at(Duration::new(
            seconds,
            u32::try_from(time.tv_nsec).unwrap_or_default(),
        ))
    }
}

/// The handle to the system's clock, for whoever composes a server.
#[must_use]
pub fn system_clock() -> Clock {
    Clock::new(System)
}

/// The time, to the millisecond: for commands, which nobody composes. A room asks the clock that it was given.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
