//! Commits, on their way to the thread that is next to deal with them.

use std::sync::mpsc;

use store::{Callback, CommitError, Op, Withdrawal};

use super::threads::enqueue;
use super::{Spool, Work};
use crate::body::large_body;
use crate::shared::{Pending, lock};

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
