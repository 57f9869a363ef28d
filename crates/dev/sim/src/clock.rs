//! Virtual time.

use std::cell::Cell;
use std::time::Duration;

use mail::Timestamp;

/// A clock that stands until it is moved, and never goes back.
#[derive(Debug)]
pub struct Clock {
    now: Cell<Timestamp>,
}

impl Clock {
    /// A clock that shows `start`.
    #[must_use]
    pub const fn at(start: Timestamp) -> Self {
        Self {
            now: Cell::new(start),
        }
    }

    /// The time it shows.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now.get()
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.now.set(self.now.get() + by);
    }

    /// Jumps to `to`, when that is later.
    pub fn advance_to(&self, to: Timestamp) {
        self.now.set(self.now.get().max(to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_only_forward() {
        let clock = Clock::at(Timestamp::from_secs(10));
        clock.advance(Duration::from_secs(5));
        clock.advance_to(Timestamp::from_secs(3));
        assert_eq!(clock.now(), Timestamp::from_secs(15));
    }
}
