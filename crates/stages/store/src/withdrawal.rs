//! Commits that may be taken back while they wait, for a client that is not kept waiting by a disk that hangs.
//!
//! Whoever gives up and the engine that takes the commit meet at one word in memory: exactly one of
//! them wins. What the engine has taken cannot be taken back: the disk may have it already.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const WAITS: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

/// The right to take a commit back.
#[derive(Debug, Clone)]
pub struct Withdrawal(Arc<AtomicU8>);

impl Default for Withdrawal {
    fn default() -> Self {
        Self::new()
    }
}

impl Withdrawal {
    /// Of a commit that waits.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(AtomicU8::new(WAITS)))
    }

    fn decide(&self, what: u8) -> bool {
        let decided = self
            .0
            .compare_exchange(WAITS, what, Ordering::AcqRel, Ordering::Acquire);
        decided.is_ok() || decided == Err(what)
    }

    /// Takes the commit back. True: nothing of it will ever be in the queue, and its callback gets
    /// [`crate::CommitError::Withdrawn`]. False: it is being written, or has its outcome.
    #[must_use = "a commit that was taken before may become durable"]
    pub fn withdraw(&self) -> bool {
        self.decide(WITHDRAWN)
    }

    /// For engines: takes the commit now, if nobody has taken it back.
    #[must_use = "a commit that was taken back must not be written"]
    pub fn take(&self) -> bool {
        self.decide(TAKEN)
    }
}
