//! The spool's threads: contents, committer, housekeeping, index.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use mail::QueueId;

use super::Work;
use crate::body;
use crate::committer::{Committer, is_intake};
use crate::indexer;
use crate::keeper::Keeper;
use crate::op::{CommitError, Op};
use crate::shared::{Pending, Shared, lock};

pub(super) fn join(handle: Option<JoinHandle<()>>) {
    if let Some(handle) = handle {
        // A thread that panicked has said so already.
        drop(handle.join());
    }
}

pub(super) fn enqueue(shared: &Shared, pending: Pending) {
    let mut queue = lock(&shared.queue);
    if queue.closing {
        drop(queue);
        let bodies = body_files(&pending.ops, shared.options.inline_limit());
        shared.discard(&bodies, &CommitError::Closed);
        return (pending.done)(Err(CommitError::Closed));
    }
    queue.pending.push_back(pending);
    drop(queue);
    shared.queue_changed.notify_one();
}

pub(crate) const fn has_large_body(op: &Op, limit: usize) -> bool {
    matches!(op, Op::Accept { message, .. } if message.content.len() > limit)
}

/// The mails of a commit whose content is in a file.
pub(crate) fn body_files(ops: &[Op], inline_limit: usize) -> Vec<QueueId> {
    let files = ops.iter().filter_map(|op| op.body_file(inline_limit));
    files.map(|(id, _)| id).collect()
}

/// Writes the large contents of a commit to files, all or none.
fn store_bodies(shared: &Arc<Shared>, pending: Pending) {
    let Pending { ops, done } = pending;
    let limit = shared.options.inline_limit();
    let bodies = body_files(&ops, limit);
    let large = ops.iter().filter(|op| has_large_body(op, limit));
    let large = large.filter_map(|op| op.body_file(limit));
    if is_intake(&ops)
        && let Err(e) = shared.room_for_body(large.map(|(_, len)| len).sum())
    {
        shared.discard(&bodies, &e);
        return done(Err(e));
    }
    let mut stored = Vec::with_capacity(ops.len());
    for op in ops {
        match op {
            Op::Accept {
                mut message,
                states,
                token,
            } if message.content.len() > limit => {
                let content = std::mem::take(&mut message.content);
                match body::store(&shared.storage, message.id, &content) {
                    Ok(body) => stored.push(Op::AcceptStored {
                        message,
                        body,
                        states,
                        token,
                    }),
                    Err(e) => {
                        let e = CommitError::Full(Arc::new(e));
                        shared.discard(&bodies, &e);
                        return done(Err(e));
                    }
                }
            }
            op @ (Op::Accept { .. }
            | Op::AcceptStored { .. }
            | Op::State { .. }
            | Op::Done { .. }
            | Op::Control { .. }
            | Op::Note(_)) => stored.push(op),
        }
    }
    enqueue(shared, Pending { ops: stored, done });
}

/// Starts the threads, in the order in which they end.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    committer: Committer,
    keeper: Keeper,
) -> std::io::Result<Work> {
    let thread = |name: &str, run: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(run)
    };
    let (bodies, incoming) = mpsc::channel();
    let for_bodies = Arc::clone(shared);
    let for_index = Arc::clone(shared);
    let handles = vec![
        thread(
            "spool-bodies",
            Box::new(move || {
                for pending in incoming {
                    store_bodies(&for_bodies, pending);
                }
            }),
        )?,
        thread("spool-commit", Box::new(move || committer.run()))?,
        thread("spool-keep", Box::new(move || keeper.run()))?,
        thread("spool-index", Box::new(move || indexer::run(for_index)))?,
    ];
    Ok(Work::Threads {
        handles: Mutex::new(handles),
        bodies: Mutex::new(Some(bodies)),
    })
}
