//! Waiting for what other threads do.

use std::time::{Duration, Instant};

/// What has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked.
const LOOKED_AT: Duration = Duration::from_millis(2);

/// Looks until there is something to see; `None` where that does not come in half a minute. It waits on a thread, so that
/// a paused clock of the runtime stands meanwhile.
pub async fn until<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if begun.elapsed() > PATIENCE {
            return None;
        }
        let waited = tokio::task::spawn_blocking(|| std::thread::sleep(LOOKED_AT)).await;
        waited.ok()?;
    }
}
