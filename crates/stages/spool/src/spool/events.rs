//! Events for those who are told of them elsewhere.

use std::sync::Arc;

use mail::{QueueId, Timestamp};
use store::{EventBounds, EventWish, PastEvents, StoredEvent};

use super::Spool;
use crate::index::IndexError;
use crate::shared::lock;

impl Spool {
    /// Keeps these events of what becomes durable from now on; with none, nothing is kept and nothing
    /// is spent. The wish outlives a restart. Blocks.
    ///
    /// # Errors
    /// When the history cannot be written.
    pub fn keep_events(&self, wish: &EventWish) -> Result<(), IndexError> {
        if self.shared.index.event_wish() == *wish {
            return Ok(());
        }
        self.flush_index()?;
        let from = lock(&self.shared.feed).applied;
        self.shared.index.keep_events(wish, from)
    }

    /// Calls `listener` whenever there are new events, from the index's thread: it must not block.
    pub fn on_events(&self, listener: Arc<dyn Fn() + Send + Sync>) {
        *lock(&self.shared.event_listener) = Some(listener);
    }

    /// Events after a place, in their order, so many at most. What became durable within the last
    /// second may not be among them yet. Blocks.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn events(&self, after: u64, limit: u64) -> Result<Vec<StoredEvent>, IndexError> {
        self.shared.index.events(after, limit)
    }

    /// The same, of messages that the key of this name submitted (`key=NAME`). Blocks.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn events_of(
        &self,
        submitter: &str,
        after: u64,
        limit: u64,
    ) -> Result<Vec<StoredEvent>, IndexError> {
        self.shared.index.events_of(submitter, after, limit)
    }

    /// Which events are kept. Blocks.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn event_bounds(&self) -> Result<EventBounds, IndexError> {
        self.shared.index.event_bounds()
    }

    /// Removes events up to a place, of these the ones in front of the first that is not older than
    /// `before`, and so many at most; returns how many. Blocks.
    ///
    /// # Errors
    /// When the history cannot be written.
    pub fn forget_events(
        &self,
        upto: u64,
        before: Timestamp,
        limit: u64,
    ) -> Result<u64, IndexError> {
        self.shared.index.forget_events(upto, before, limit)
    }

    /// What is known of the time from `since` (included) to `until` (not), as the events that it made
    /// or would have made, message by message: those of about `limit` recipients of the messages after
    /// `after`. Entries are not among them. Blocks.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn past_events(
        &self,
        (since, until): (Timestamp, Timestamp),
        after: QueueId,
        limit: u64,
    ) -> Result<PastEvents, IndexError> {
        self.flush_index()?;
        self.shared.index.past_events((since, until), after, limit)
    }
}
