//! The spool's threads: contents, committer, housekeeping, index.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use mail::QueueId;
use store::{CommitError, Op};

use super::Work;
use crate::body::{self, large_body};
use crate::committer::{Committer, is_intake};
use crate::indexer;
use crate::keeper::Keeper;
use crate::shared::{Pending, Shared, lock, wait};

fn join(handle: Option<JoinHandle<()>>) {
    // The last owner may be a callback, and so one of these threads: it ends by itself after that.
    if let Some(handle) = handle
        && handle.thread().id() != thread::current().id()
    {
        // A thread that panicked has said so already.
        drop(handle.join());
    }
}

/// Runs what a thread does. A panic ends the queue with its reason: nobody may wait for this thread any
/// more, and a state that a bug has left halfway is not built upon.
fn guarded(shared: &Arc<Shared>, name: &str, run: impl FnOnce()) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(run)) else {
        return;
    };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    let reason = format!(
        "internal error: thread {name} panicked: {}",
        text.unwrap_or("no reason given")
    );
    let reason = shared.set_poison(&reason);
    lock(&shared.feed)
        .failed
        .get_or_insert_with(|| reason.to_string());
    shared.feed_changed.notify_all();
    shared.queue_changed.notify_all();
}

/// Answers every commit when the committer is gone, until the spool is closed.
fn refuse_commits(shared: &Arc<Shared>) {
    while let Some(reason) = shared.poisoned() {
        let pending = {
            let mut queue = lock(&shared.queue);
            while queue.pending.is_empty() && !queue.closing {
                queue = wait(&shared.queue_changed, queue);
            }
            match queue.pending.pop_front() {
                Some(pending) => pending,
                None => return,
            }
        };
        (pending.done)(Err(CommitError::Poisoned(reason)));
    }
}

pub(super) fn enqueue(shared: &Shared, pending: Pending) {
    let mut queue = lock(&shared.queue);
    if queue.closing {
        drop(queue);
        let bodies = pending.body_files(shared.options.inline_limit());
        shared.discard(&bodies, &CommitError::Closed);
        return (pending.done)(Err(CommitError::Closed));
    }
    if shared.refuses_mail() && is_intake(&pending.ops) {
        drop(queue);
        let bodies = pending.body_files(shared.options.inline_limit());
        let why = lock(&shared.feed).failed.clone().unwrap_or_default();
        let error = CommitError::Behind(why.into());
        shared.discard(&bodies, &error);
        return (pending.done)(Err(error));
    }
    queue.pending.push_back(pending);
    drop(queue);
    shared.queue_changed.notify_one();
}

impl Pending {
    /// The mails whose content goes to a file, or is in one.
    pub(crate) fn body_files(&self, limit: usize) -> Vec<QueueId> {
        let large = self.ops.iter().filter_map(|op| large_body(op, limit));
        let stored = self.stored.iter().map(|body| body.id);
        stored.chain(large.map(|(id, _)| id)).collect()
    }
}

/// Writes the large contents of a commit to files, all or none.
fn store_bodies(shared: &Arc<Shared>, mut pending: Pending) {
    let limit = shared.options.inline_limit();
    let bodies = pending.body_files(limit);
    let large = pending.ops.iter().filter_map(|op| large_body(op, limit));
    if is_intake(&pending.ops)
        && let Err(e) = shared.room_for_body(large.map(|(_, len)| len).sum())
    {
        shared.discard(&bodies, &e);
        return (pending.done)(Err(e));
    }
    for op in &mut pending.ops {
        let Op::Accept { message, .. } = op else {
            continue;
        };
        if message.content.len() <= limit {
            continue;
        }
        let content = std::mem::take(&mut message.content);
        match body::store(&shared.storage, message.id, &content) {
            Ok(body) => pending.stored.push(body),
            Err(e) => {
                let e = CommitError::Full(Arc::new(e));
                shared.discard(&bodies, &e);
                return (pending.done)(Err(e));
            }
        }
    }
    enqueue(shared, pending);
}

/// Starts the threads, in the order in which they end.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    committer: Committer,
    keeper: Keeper,
) -> std::io::Result<Work> {
    let thread = |name: &'static str, run: Box<dyn FnOnce() + Send>| {
        let shared = Arc::clone(shared);
        let builder = thread::Builder::new().name(name.to_owned());
        builder.spawn(move || guarded(&shared, name, run))
    };
    let (bodies, incoming) = mpsc::channel();
    let for_bodies = Arc::clone(shared);
    let for_commits = Arc::clone(shared);
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
        thread(
            "spool-commit",
            Box::new(move || {
                guarded(&for_commits, "spool-commit", || committer.run());
                refuse_commits(&for_commits);
            }),
        )?,
        thread("spool-keep", Box::new(move || keeper.run()))?,
        thread("spool-index", Box::new(move || indexer::run(for_index)))?,
    ];
    Ok(Work::Threads {
        handles: Mutex::new(handles),
        bodies: Mutex::new(Some(bodies)),
    })
}

/// Lets the threads finish what waits, one after the other, and waits for their end.
pub(super) fn end(
    shared: &Shared,
    handles: &Mutex<Vec<JoinHandle<()>>>,
    bodies: &Mutex<Option<mpsc::Sender<Pending>>>,
) {
    // Contents on their way are written first; then what they led to.
    drop(lock(bodies).take());
    let mut handles = std::mem::take(&mut *lock(handles)).into_iter();
    join(handles.next());
    lock(&shared.queue).closing = true;
    shared.queue_changed.notify_all();
    // Whoever waits for a segment makes it alone from now on.
    shared.closing.store(true, Ordering::Release);
    drop(lock(&shared.pool));
    shared.pool_changed.notify_all();
    // Nor does anybody wait for an index that cannot be written: the log has it all.
    drop(lock(&shared.feed));
    shared.feed_changed.notify_all();
    join(handles.next());
    lock(&shared.feed).closing = true;
    shared.feed_changed.notify_all();
    handles.for_each(|handle| join(Some(handle)));
}
