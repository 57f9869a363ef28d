//! Requests that must not run at once.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Requests with the same key wait for each other; so many locks are shared by all keys.
const TURNS: usize = 64;

/// Locks by which requests with the same `Idempotency-Key` take turns.
#[derive(Debug)]
pub(crate) struct Turns {
    locks: Vec<Arc<Mutex<()>>>,
    hasher: RandomState,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            locks: (0..TURNS).map(|_| Arc::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Turns {
    pub(crate) async fn take(&self, key: &str) -> Option<OwnedMutexGuard<()>> {
        let n = usize::try_from(self.hasher.hash_one(key) % TURNS as u64).unwrap_or_default();
        let lock = self.locks.get(n)?;
        Some(Arc::clone(lock).lock_owned().await)
    }
}
