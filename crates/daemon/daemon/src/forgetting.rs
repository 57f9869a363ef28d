//! Removing what is old from the history, in steps so small that no outcome waits long for its place.

use std::sync::Arc;
use std::time::Duration;

use mail::Timestamp;
use node::Node;
use store::StoreError;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// How long a token is remembered at least.
const TOKENS_LIVE: Duration = Duration::from_secs(30 * 86_400);
/// Rows of the first step.
const FIRST: u64 = 64;
/// Rows that a step has, however fast the disk is.
const MOST: u64 = 4096;
/// A step that took less is followed by a larger one.
const SHORT: Duration = Duration::from_millis(8);
/// A step that took more is followed by a smaller one.
const LONG: Duration = Duration::from_millis(20);
/// The pause after a step, as a multiple of its time: mail comes first.
const PAUSE: u32 = 4;

/// But no longer than this: a step seems long in which the computer slept.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Removes what is older than `before`, until nothing of it is left.
pub(crate) async fn forget(node: &Arc<Node>, before: Timestamp) -> Result<(), StoreError> {
    // Whoever hands mail in under a token may repeat that for so long, whatever is set.
    let tokens = before.min(node.now() - TOKENS_LIVE);
    let mut rows = FIRST;
    loop {
        let handles = Arc::clone(node);
        let began = node.instant();
        let step = spawn_blocking(move || handles.store.expire_history(before, tokens, rows));
        let removed = match step.await {
            Ok(removed) => removed?,
            Err(error) => return Err(StoreError::Engine(error.to_string())),
        };
        if removed < rows {
            return Ok(());
        }
        let took = node.instant().since(began);
        rows = next(rows, took);
        sleep((took * PAUSE).min(PAUSE_MAX)).await;
    }
}

/// How many rows the next step has.
fn next(rows: u64, took: Duration) -> u64 {
    if took < SHORT {
        (rows * 2).min(MOST)
    } else if took > LONG {
        (rows / 2).max(1)
    } else {
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_as_large_as_the_disk_is_fast() {
        assert_eq!(next(64, Duration::from_millis(1)), 128);
        assert_eq!(next(MOST, Duration::ZERO), MOST);
        assert_eq!(next(64, Duration::from_millis(15)), 64);
        assert_eq!(next(64, Duration::from_millis(40)), 32);
        assert_eq!(next(1, Duration::from_secs(1)), 1, "it goes on");
    }
}
