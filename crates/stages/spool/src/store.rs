//! The verbs of a queue's store, which another engine than this log implements as well.
//!
//! A node that outgrows one machine keeps its queue in a replicated database. What the rest of the
//! server asks of either stands here, and [`conformance::check`](crate::conformance::check) holds
//! both to it. One [`commit`](Store::commit) is atomic within one store; nothing is promised over
//! several.

use mail::{Message, QueueId, RecipientKey, RecipientState, Timestamp};

use crate::event::{EventBounds, EventWish, PastEvents, StoredEvent};
use crate::filter::Filter;
use crate::index::IndexError;
use crate::note::LaterRow;
use crate::op::{Callback, CommitError, Op};
use crate::row::{AttemptRow, HistoryFilter, HistoryRow, Page, Row, Waiting};
use crate::spool::{ReadError, Spool};

/// A store of the queue.
pub trait Store: Send + Sync {
    /// Makes `ops` durable, all or none of them, and then calls `done`, which must not block.
    fn commit(&self, ops: Vec<Op>, done: Callback);

    /// As [`Store::commit`], blocking until the outcome is known.
    ///
    /// # Errors
    /// When nothing of it is in the queue.
    fn commit_wait(&self, ops: Vec<Op>) -> Result<(), CommitError>;

    /// A message that waits; `None` when it has no waiting recipient. May block.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    fn read(&self, id: QueueId) -> Result<Option<Message>, ReadError>;

    /// The state of a waiting recipient with its last verdict. May block.
    ///
    /// # Errors
    /// As [`Store::read`].
    fn state(&self, key: RecipientKey) -> Result<Option<RecipientState>, ReadError>;

    /// Everything that waits, in the form that the schedule starts with. Blocks.
    ///
    /// # Errors
    /// When it cannot be read.
    fn scan(&self, f: &mut dyn FnMut(Waiting<'_>)) -> Result<(), IndexError>;

    /// Waiting recipients that a filter matches. Blocks.
    ///
    /// # Errors
    /// When they cannot be read.
    fn query(&self, filter: &Filter, page: Page, now: Timestamp) -> Result<Vec<Row>, IndexError>;

    /// How many there are. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, IndexError>;

    /// Their keys. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn keys(&self, filter: &Filter, now: Timestamp) -> Result<Vec<RecipientKey>, IndexError>;

    /// Finished recipients, the latest first. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn history(
        &self,
        filter: &HistoryFilter,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<HistoryRow>, IndexError>;

    /// The attempts of a message that were not the last. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn attempts(&self, id: QueueId) -> Result<Vec<AttemptRow>, IndexError>;

    /// The message that was accepted with this token. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn find_token(&self, token: &str) -> Result<Option<QueueId>, IndexError>;

    /// The first message, in the order of tokens, whose token begins with `prefix`, and its token.
    /// Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn find_token_beginning(&self, prefix: &str) -> Result<Option<(String, QueueId)>, IndexError>;

    /// Removes from the history what is older than `before`, and tokens older than `tokens`, `limit` rows at most; how many. Fewer than
    /// `limit`: nothing is left. Blocks.
    ///
    /// # Errors
    /// When the history cannot be written.
    fn expire_history(
        &self,
        before: Timestamp,
        tokens: Timestamp,
        limit: u64,
    ) -> Result<u64, IndexError>;

    /// What came to be known of a message's recipients behind their outcomes, in the order of time.
    /// Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn later(&self, id: QueueId) -> Result<Vec<LaterRow>, IndexError>;

    /// Hands over every entry whose name begins with `prefix`, in the order of names. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn entries(&self, prefix: &str, f: &mut dyn FnMut(String, String)) -> Result<(), IndexError>;

    /// Keeps these events of what becomes durable from now on, also behind a restart. Blocks.
    ///
    /// # Errors
    /// When the history cannot be written.
    fn keep_events(&self, wish: &EventWish) -> Result<(), IndexError>;

    /// Events behind a place, in the order of the commits. One that has been read is never preceded by
    /// a new one. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn events(&self, after: u64, limit: u64) -> Result<Vec<StoredEvent>, IndexError>;

    /// Which events are kept. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn event_bounds(&self) -> Result<EventBounds, IndexError>;

    /// Removes events up to a place, but none from the first on that is not older than `before`. Blocks.
    ///
    /// # Errors
    /// When they cannot be removed.
    fn forget_events(&self, upto: u64, before: Timestamp, limit: u64) -> Result<u64, IndexError>;

    /// What is known of a time as the events that it made: of about `limit` recipients of the messages
    /// behind `after`. Blocks.
    ///
    /// # Errors
    /// As [`Store::query`].
    fn past_events(
        &self,
        span: (Timestamp, Timestamp),
        after: QueueId,
        limit: u64,
    ) -> Result<PastEvents, IndexError>;

    /// The administrator's setting of this name.
    fn control(&self, name: &str) -> Option<String>;
}

impl Store for Spool {
    fn commit(&self, ops: Vec<Op>, done: Callback) {
        Self::commit(self, ops, done);
    }

    fn commit_wait(&self, ops: Vec<Op>) -> Result<(), CommitError> {
        Self::commit_wait(self, ops)
    }

    fn read(&self, id: QueueId) -> Result<Option<Message>, ReadError> {
        Self::read(self, id)
    }

    fn state(&self, key: RecipientKey) -> Result<Option<RecipientState>, ReadError> {
        Self::state(self, key)
    }

    fn scan(&self, f: &mut dyn FnMut(Waiting<'_>)) -> Result<(), IndexError> {
        Self::scan(self, f)
    }

    fn query(&self, filter: &Filter, page: Page, now: Timestamp) -> Result<Vec<Row>, IndexError> {
        Self::query(self, filter, page, now)
    }

    fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, IndexError> {
        Self::count(self, filter, now)
    }

    fn keys(&self, filter: &Filter, now: Timestamp) -> Result<Vec<RecipientKey>, IndexError> {
        Self::keys(self, filter, now)
    }

    fn history(
        &self,
        filter: &HistoryFilter,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<HistoryRow>, IndexError> {
        Self::history(self, filter, offset, limit)
    }

    fn attempts(&self, id: QueueId) -> Result<Vec<AttemptRow>, IndexError> {
        Self::attempts(self, id)
    }

    fn find_token(&self, token: &str) -> Result<Option<QueueId>, IndexError> {
        Self::find_token(self, token)
    }

    fn find_token_beginning(&self, prefix: &str) -> Result<Option<(String, QueueId)>, IndexError> {
        Self::find_token_beginning(self, prefix)
    }

    fn expire_history(
        &self,
        before: Timestamp,
        tokens: Timestamp,
        limit: u64,
    ) -> Result<u64, IndexError> {
        Self::expire_history(self, before, tokens, limit)
    }

    fn later(&self, id: QueueId) -> Result<Vec<LaterRow>, IndexError> {
        Self::later(self, id)
    }

    fn entries(&self, prefix: &str, f: &mut dyn FnMut(String, String)) -> Result<(), IndexError> {
        Self::entries(self, prefix, f)
    }

    fn keep_events(&self, wish: &EventWish) -> Result<(), IndexError> {
        Self::keep_events(self, wish)
    }

    fn events(&self, after: u64, limit: u64) -> Result<Vec<StoredEvent>, IndexError> {
        self.flush_index()?;
        Self::events(self, after, limit)
    }

    fn event_bounds(&self) -> Result<EventBounds, IndexError> {
        Self::event_bounds(self)
    }

    fn forget_events(&self, upto: u64, before: Timestamp, limit: u64) -> Result<u64, IndexError> {
        Self::forget_events(self, upto, before, limit)
    }

    fn past_events(
        &self,
        span: (Timestamp, Timestamp),
        after: QueueId,
        limit: u64,
    ) -> Result<PastEvents, IndexError> {
        Self::past_events(self, span, after, limit)
    }

    fn control(&self, name: &str) -> Option<String> {
        Self::control(self, name)
    }
}
