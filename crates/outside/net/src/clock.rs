//! The one place where the clock is read.

use std::time::{SystemTime, UNIX_EPOCH};

use mail::Timestamp;

/// The time, to the millisecond.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
