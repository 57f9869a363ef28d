//! Commits that may be taken back while they wait, for a client that is not kept waiting by a disk that hangs.
//!
//! Whoever gives up and the committer who takes the commit meet at one word in memory: exactly one of
//! them wins. What the committer has taken cannot be taken back: the disk may have it already.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, mpsc};

use super::threads::{enqueue, large_body};
use super::{Spool, Work};
use crate::op::{Callback, CommitError, Op};
use crate::shared::{Pending, lock};

const WAITS: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

/// The right to take a commit back.
#[derive(Debug, Clone)]
pub struct Withdrawal(Arc<AtomicU8>);

impl Withdrawal {
    fn new() -> Self {
        Self(Arc::new(AtomicU8::new(WAITS)))
    }

    fn decide(&self, what: u8) -> bool {
        let decided = self
            .0
            .compare_exchange(WAITS, what, Ordering::AcqRel, Ordering::Acquire);
        decided.is_ok() || decided == Err(what)
    }

    /// Takes the commit back. True: nothing of it will ever be in the queue, and its callback is told
    /// [`crate::CommitError::Withdrawn`]. False: it is being written, or has its outcome.
    #[must_use = "a commit that was taken before may become durable"]
    pub fn withdraw(&self) -> bool {
        self.decide(WITHDRAWN)
    }

    /// The committer takes it now, if nobody has taken it back.
    pub(crate) fn take(&self) -> bool {
        self.decide(TAKEN)
    }
}

impl Spool {
    /// As [`Spool::commit`]; the commit can be taken back until it is being written.
    pub fn commit_withdrawable(&self, ops: Vec<Op>, done: Callback) -> Withdrawal {
        let withdrawal = Withdrawal::new();
        self.send(ops, done, Some(withdrawal.clone()));
        withdrawal
    }

    /// Hands a commit to the thread that is next to deal with it.
    pub(super) fn send(&self, ops: Vec<Op>, done: Callback, withdrawal: Option<Withdrawal>) {
        let pending = Pending {
            ops,
            stored: Vec::new(),
            done,
            withdrawal,
        };
        if let Work::Threads { bodies, .. } = &self.work
            && pending
                .ops
                .iter()
                .any(|op| large_body(op, self.shared.options.inline_limit()).is_some())
        {
            let bodies = lock(bodies);
            match bodies.as_ref().map(|b| b.send(pending)) {
                Some(Ok(())) => {}
                Some(Err(mpsc::SendError(pending))) => (pending.done)(Err(CommitError::Closed)),
                None => {}
            }
            return;
        }
        enqueue(&self.shared, pending);
    }
}
