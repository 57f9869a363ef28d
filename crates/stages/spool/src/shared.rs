//! What the spool's threads share, each part behind its own lock.
//!
//! **Lock order:** reclaiming, refused, table, feed, pool, poison; the queue's and that of the damage are held
//! alone.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use mail::{IdSource, QueueId};
use store::{Callback, CommitError, Damaged, Op, Withdrawal};

use crate::body::{self, StoredBody};
use crate::change::{Applied, Change};
use crate::index::{Batch, Index};
use crate::options::Options;
use crate::storage::{File, Storage};
use crate::table::Table;

/// A commit that waits.
pub(crate) struct Pending {
    pub(crate) ops: Vec<Op>,
    /// Contents that are in files already; the mails have none in `ops`.
    pub(crate) stored: Vec<StoredBody>,
    pub(crate) done: Callback,
    /// Whoever made it may take it back while it waits.
    pub(crate) withdrawal: Option<Withdrawal>,
}

#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) pending: VecDeque<Pending>,
    pub(crate) closing: bool,
    /// The hot segment holds nothing that lives: another may begin, so that its file can go.
    pub(crate) begin_segment: bool,
}

/// A segment ready for use.
pub(crate) struct Ready {
    pub(crate) name: String,
    pub(crate) file: Arc<dyn File>,
    pub(crate) len: usize,
}

impl Ready {
    pub(crate) fn new(name: String, file: Arc<dyn File>) -> Self {
        // One that does not say how long it is, is written ahead again.
        let len = file
            .len()
            .map_or(0, |len| usize::try_from(len).unwrap_or(0));
        Self { name, file, len }
    }
}

/// Segments ready for use.
#[derive(Default)]
pub(crate) struct Pool {
    /// Longer ones come later.
    pub(crate) ready: Vec<Ready>,
    /// Octets that the next segment of the hot lane should be long.
    pub(crate) length: usize,
    /// Why the last try to make one failed.
    pub(crate) failed: Option<Arc<io::Error>>,
    /// The highest number that any segment bears.
    pub(crate) last_number: u32,
    /// Names the next file.
    pub(crate) last_free: u64,
}

/// Durable changes on their way to the index.
#[derive(Default)]
pub(crate) struct Feed {
    pub(crate) changes: Vec<(u64, Change)>,
    /// How far the log is with them.
    pub(crate) fed: Applied,
    /// How far the index is.
    pub(crate) applied: Applied,
    /// Somebody waits for the index.
    pub(crate) hurry: bool,
    /// Why the index could not be written; until it can.
    pub(crate) failed: Option<String>,
    /// Changes in the batch that the index refused.
    pub(crate) held: usize,
    pub(crate) closing: bool,
}

/// Figures that only rise.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) reclaimed: AtomicU64,
    pub(crate) moved_bytes: AtomicU64,
    pub(crate) prepared: AtomicU64,
    pub(crate) damaged: AtomicU64,
}

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) index: Arc<dyn Index>,
    pub(crate) spool_id: u64,
    pub(crate) ids: Mutex<IdSource>,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) queue_changed: Condvar,
    pub(crate) table: Mutex<Table>,
    pub(crate) pool: Mutex<Pool>,
    pub(crate) pool_changed: Condvar,
    pub(crate) feed: Mutex<Feed>,
    pub(crate) feed_changed: Condvar,
    /// A batch that the index refused; what comes later is added to it.
    pub(crate) refused: Mutex<Option<Batch>>,
    pub(crate) poison: Mutex<Option<Arc<str>>>,
    pub(crate) low_on_space: AtomicBool,
    /// The index cannot be written, and enough waits for it.
    pub(crate) refuses_mail: AtomicBool,
    /// Held while files of the queue may be given away or removed, and while they are copied.
    pub(crate) reclaiming: Mutex<()>,
    /// The spool is being closed: no thread prepares segments any more.
    pub(crate) closing: AtomicBool,
    /// What was found damaged and was not told yet.
    pub(crate) damaged: Mutex<Vec<Damaged>>,
    pub(crate) counters: Counters,
    /// Called when there are new events; it must not block.
    pub(crate) event_listener: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

/// Takes a lock; a thread that panicked with it left data that each step keeps consistent.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits on a condition with a lock.
pub(crate) fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition
        .wait(guard)
        .unwrap_or_else(PoisonError::into_inner)
}

impl Feed {
    /// Changes that the index does not have.
    pub(crate) const fn waiting(&self) -> usize {
        self.changes.len() + self.held
    }
}

impl Shared {
    pub(crate) fn poisoned(&self) -> Option<Arc<str>> {
        lock(&self.poison).clone()
    }

    /// Nothing more is accepted or delivered.
    pub(crate) fn set_poison(&self, reason: &str) -> Arc<str> {
        let reason = lock(&self.poison)
            .get_or_insert_with(|| reason.into())
            .clone();
        self.pool_changed.notify_all();
        self.feed_changed.notify_all();
        reason
    }

    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    /// Whether a content of `len` octets may be written beside the log now: it would take the room
    /// that outcomes need, for unlike the log's no room was set aside for it.
    pub(crate) fn room_for_body(&self, len: u64) -> Result<(), CommitError> {
        if let Some(reason) = self.poisoned() {
            return Err(CommitError::Poisoned(reason));
        }
        let full = |e: io::Error| CommitError::Full(Arc::new(e));
        let free = self.storage.free_bytes().map_err(full)?;
        if free < self.options.reserve_bytes.saturating_add(len) {
            return Err(full(io::ErrorKind::StorageFull.into()));
        }
        Ok(())
    }

    /// Removes the contents of a commit that is not in the log, unless it may be there after all.
    pub(crate) fn discard(&self, bodies: &[QueueId], why: &CommitError) {
        if matches!(why, CommitError::Poisoned(_)) {
            return;
        }
        for id in bodies {
            // One that stays is removed when the spool is opened next.
            drop(self.storage.remove(&body::file_name(*id)));
        }
    }

    /// Whether another thread prepares segments.
    pub(crate) fn has_keeper(&self) -> bool {
        self.options.threads && !self.closing.load(Ordering::Acquire)
    }

    /// Whether so much waits for an index that cannot be written that no mail is taken.
    pub(crate) fn refuses_mail(&self) -> bool {
        self.refuses_mail.load(Ordering::Relaxed)
    }

    pub(crate) fn is_low(&self) -> bool {
        self.low_on_space.load(Ordering::Relaxed)
    }
}
