//! The clock that comes with the composition.

use std::fmt;
use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

use mail::Timestamp;

/// Something that knows the time.
///
/// Two readings, because no clock is both: the wall clock means the same after a restart and to other servers, but may
/// be set at any moment; the other only measures.
pub trait Time: fmt::Debug + Send + Sync {
    /// The wall clock. It may jump in both directions when somebody sets it.
    fn now(&self) -> Timestamp;

    /// The time since an origin of no meaning. It never goes back, and runs on while the machine sleeps.
    fn instant(&self) -> Instant;
}

/// A reading of a clock that only measures. There is no way from one to the present: how long something took is asked
/// with a second reading of the same clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// The reading that is `since` after the origin of its clock.
    #[must_use]
    pub const fn at(since: Duration) -> Self {
        Self(since)
    }

    /// The time from `earlier` to this one; zero when `earlier` is the later of the two.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

/// The handle to the clock: cheap to clone, and all that a room reads the time by. In a simulation it shows the time of
/// the script, so that days pass in a test as fast as it runs, and in the same way each time.
#[derive(Debug, Clone)]
pub struct Clock(Arc<dyn Time>);

impl Clock {
    /// The handle to a clock.
    pub fn new(time: impl Time + 'static) -> Self {
        Self(Arc::new(time))
    }

    /// The wall clock, to the millisecond. It may jump when somebody sets it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }

    /// A reading to measure with: it never goes back, and means nothing to another clock or after a restart.
    #[must_use]
    pub fn instant(&self) -> Instant {
        self.0.instant()
    }
}
