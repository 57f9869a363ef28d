//! The verbs.

use std::path::Path;
use std::sync::{Arc, mpsc};

use mail::{Message, QueueId, RecipientKey, RecipientState, Timestamp};

use crate::damage::Damaged;
use crate::error::{BackupError, CommitError, ReadError, StoreError};
use crate::event::{EventBounds, EventWish, PastEvents, StoredEvent};
use crate::filter::Filter;
use crate::health::{BackedUp, Figures, Health};
use crate::note::{Book, LaterRow, StoredRecord};
use crate::op::{Callback, Op};
use crate::row::{AttemptRow, HistoryFilter, HistoryRow, Page, Row, Waiting};
use crate::series::{Naming, Point, SeriesWish};
use crate::withdrawal::Withdrawal;

/// A part of the queue's mail that one node owns at a time. A store for one node has one, [`Lot::ONLY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lot(pub u16);

impl Lot {
    /// The lot of a store that has no others.
    pub const ONLY: Self = Self(0);
}

/// A store of the queue.
pub trait Store: Send + Sync {
    /// An id that was never given before, by this node or another; ids of one node rise. `now` is what the clock says.
    fn next_id(&self, now: Timestamp) -> QueueId;

    /// The lots that this node owns at present.
    fn lots(&self) -> Vec<Lot>;

    /// Makes `ops` durable, all or none of them, and then calls `done`, which must not block.
    fn commit(&self, ops: Vec<Op>, done: Callback);

    /// As [`Store::commit`]; the commit can be taken back until it is being written.
    fn commit_withdrawable(&self, ops: Vec<Op>, done: Callback) -> Withdrawal;

    /// As [`Store::commit`], blocking until the outcome is known.
    ///
    /// # Errors
    /// When nothing of it is in the queue.
    fn commit_wait(&self, ops: Vec<Op>) -> Result<(), CommitError> {
        let (tell, outcome) = mpsc::sync_channel(1);
        // A caller that has gone needs no answer.
        let done = move |result| tell.send(result).unwrap_or_default();
        self.commit(ops, Box::new(done));
        outcome.recv().unwrap_or(Err(CommitError::Closed))
    }

    /// Blocks until every commit given before this call has its outcome.
    fn drain(&self);

    /// A message that waits; `None` when it has no waiting recipient. May block.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    fn read(&self, id: QueueId) -> Result<Option<Message>, ReadError>;

    /// About how many octets a waiting message takes in memory, without reading it; `None` when it has no waiting
    /// recipient. May block.
    ///
    /// # Errors
    /// As [`Store::read`].
    fn size_hint(&self, id: QueueId) -> Result<Option<u64>, ReadError>;

    /// The state of a waiting recipient with its last verdict. May block.
    ///
    /// # Errors
    /// As [`Store::read`].
    fn state(&self, key: RecipientKey) -> Result<Option<RecipientState>, ReadError>;

    /// Everything of these lots that waits, in the form that the schedule starts with. Blocks.
    ///
    /// # Errors
    /// When it cannot be read.
    fn scan(&self, lots: &[Lot], f: &mut dyn FnMut(Waiting<'_>)) -> Result<(), StoreError>;

    /// Brings lists, counts and history up to date with every commit that has its outcome. Blocks.
    ///
    /// # Errors
    /// When they cannot be written.
    fn catch_up(&self) -> Result<(), StoreError>;

    /// Waiting recipients that a filter matches. Blocks.
    ///
    /// # Errors
    /// When they cannot be read.
    fn query(&self, filter: &Filter, page: Page, now: Timestamp) -> Result<Vec<Row>, StoreError>;

    /// How many there are. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, StoreError>;

    /// Every waiting recipient, by id, without holding them all in memory. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn each_waiting(&self, now: Timestamp, f: &mut dyn FnMut(Row)) -> Result<(), StoreError>;

    /// When the most overdue recipient was due that waits and is not held; `None` if none is due. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn oldest_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// Their keys. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn keys(&self, filter: &Filter, now: Timestamp) -> Result<Vec<RecipientKey>, StoreError>;

    /// Finished recipients, the latest first. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn history(
        &self,
        filter: &HistoryFilter,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<HistoryRow>, StoreError>;

    /// How many there are, counted up to `most`. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn history_count(&self, filter: &HistoryFilter, most: u64) -> Result<u64, StoreError>;

    /// The attempts of a message that were not the last. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn attempts(&self, id: QueueId) -> Result<Vec<AttemptRow>, StoreError>;

    /// The message that was accepted with this token. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn find_token(&self, token: &str) -> Result<Option<QueueId>, StoreError>;

    /// The first message, in the order of tokens, whose token begins with `prefix`, and its token.
    /// Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn find_token_beginning(&self, prefix: &str) -> Result<Option<(String, QueueId)>, StoreError>;

    /// Removes from the history what is older than `before`, and tokens older than `tokens`, `limit` rows at most; how
    /// many. Fewer than `limit`: nothing is left. Blocks.
    ///
    /// # Errors
    /// When the history cannot be written.
    fn expire_history(
        &self,
        before: Timestamp,
        tokens: Timestamp,
        limit: u64,
    ) -> Result<u64, StoreError>;

    /// What came to be known of a message's recipients after their outcomes, in the order of time.
    /// Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn later(&self, id: QueueId) -> Result<Vec<LaterRow>, StoreError>;

    /// The same of several messages, in the order of their ids. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn later_of(&self, ids: &[QueueId]) -> Result<Vec<LaterRow>, StoreError>;

    /// Hands over every entry whose name begins with `prefix`, in the order of names. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn entries(&self, prefix: &str, f: &mut dyn FnMut(String, String)) -> Result<(), StoreError>;

    /// Keeps these events of what becomes durable from now on, also after a restart. Blocks.
    ///
    /// # Errors
    /// When the history cannot be written.
    fn keep_events(&self, wish: &EventWish) -> Result<(), StoreError>;

    /// Calls the listener after events were kept; it must not block. A later one takes the place of an earlier one.
    fn on_events(&self, listener: Arc<dyn Fn() + Send + Sync>);

    /// Events after a place, in the order of the commits, at most `limit`. One that has been read is never preceded by
    /// a new one; what became durable within the last second may be missing yet. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn events(&self, after: u64, limit: u64) -> Result<Vec<StoredEvent>, StoreError>;

    /// The same, of messages that the key of this name submitted (`key=NAME`). Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn events_of(
        &self,
        submitter: &str,
        after: u64,
        limit: u64,
    ) -> Result<Vec<StoredEvent>, StoreError>;

    /// Which events are kept. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn event_bounds(&self) -> Result<EventBounds, StoreError>;

    /// Removes events up to a place, but none from the first on that is not older than `before`. Blocks.
    ///
    /// # Errors
    /// When they cannot be removed.
    fn forget_events(&self, upto: u64, before: Timestamp, limit: u64) -> Result<u64, StoreError>;

    /// What is known of a time as the events that it made: of about `limit` recipients of the messages
    /// after `after`. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn past_events(
        &self,
        span: (Timestamp, Timestamp),
        after: QueueId,
        limit: u64,
    ) -> Result<PastEvents, StoreError>;

    /// Records of a book in front of a place, the latest first; `u64::MAX` begins with the last one. A record may be missing
    /// until [`Store::catch_up`]. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn records(&self, book: Book, before: u64, limit: u64)
    -> Result<Vec<StoredRecord>, StoreError>;

    /// Removes records of a book that are older than `before`, `limit` at most; how many. Blocks.
    ///
    /// # Errors
    /// When the history cannot be written.
    fn forget_records(&self, book: Book, before: Timestamp, limit: u64) -> Result<u64, StoreError>;

    /// Counts what becomes durable under these names from now on. Totals, domains and submitters are counted without.
    fn name_series(&self, naming: Arc<dyn Naming>);

    /// Hands over the cells that are asked for, in the order of time and then of keys. What became durable within the last
    /// second may be missing yet. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn series(&self, wish: &SeriesWish, f: &mut dyn FnMut(Point)) -> Result<(), StoreError>;

    /// Counts what waits, by the classes of [`crate::series::AGES`], and keeps the numbers under the time `at`. To be called
    /// about every minute; it looks at every recipient. Blocks.
    ///
    /// # Errors
    /// When it cannot be read, or the history not be written.
    fn sample_waiting(&self, at: Timestamp) -> Result<(), StoreError>;

    /// Removes cells that are older than [`crate::series::Step::kept`], and brings hours that ended down to the largest
    /// keys. To be called every hour. Blocks.
    ///
    /// # Errors
    /// When the history cannot be written.
    fn fold_series(&self, now: Timestamp) -> Result<(), StoreError>;

    /// The administrator's setting of this name.
    fn control(&self, name: &str) -> Option<String>;

    /// Whether it can take mail and outcomes, and what is in the way.
    fn health(&self) -> Health;

    /// What it counts.
    fn figures(&self) -> Figures;

    /// What was found damaged since this was last asked: to be logged as errors. After a start the messages that were
    /// lost before and have no outcome yet are among them once more.
    fn take_damaged(&self) -> Vec<Damaged>;

    /// Copies the queue into the empty directory `to`, which is made where it is not there; durable on return. Mail is
    /// taken and delivered meanwhile; what was accepted before the call is in the copy. Blocks for as long as that
    /// takes.
    ///
    /// # Errors
    /// When the directory is not empty, a disk refuses, or the engine is backed up in another way.
    fn backup(&self, to: &Path) -> Result<BackedUp, BackupError>;
}
