//! The index: everything that is asked about waiting and finished recipients.
//!
//! Derived data and history behind one small interface. [`SqliteIndex`] keeps two files of SQLite;
//! [`MemoryIndex`] keeps the same in memory for simulations. Changes arrive in large batches, long
//! after they are durable in the log, and only their net effect is applied: a message accepted and
//! finished within one batch never touches the table of the waiting.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use mail::{QueueId, RecipientKey, RecipientState, Status, Timestamp, Verdict};
use store::series::{Naming, Point, SeriesWish};
use store::{
    AttemptRow, Book, EventBounds, EventWish, Filter, HistoryFilter, HistoryRow, LaterRow, Page,
    PastEvents, Row, StoredEvent, StoredRecord, Waiting,
};

use crate::change::{Applied, Change, MessageMeta, Place};

mod error;
mod events;
mod memory;
mod net;
mod sqlite;

pub use error::IndexError;
pub use memory::MemoryIndex;
pub(crate) use net::net_effect;
pub use net::{Attempt, Batch, Finished, Happening, Kind, NetMessage, NetRecipient};
pub use sqlite::SqliteIndex;
pub(crate) use sqlite::{set_history_aside, set_index_aside};

/// What became of the history when it was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HistoryFound {
    /// It was there.
    #[default]
    There,
    /// There was none.
    New,
    /// It was damaged, and is kept under this name, relative to the spool's directory; a new one was begun.
    SetAside(String),
}

/// A message as the index remembers it for the table in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Which.
    pub id: QueueId,
    /// Its record.
    pub place: Place,
    /// The cold segment that also holds a copy, 0 for none.
    pub from: u32,
    /// Its content is in a file.
    pub body_file: bool,
    /// The record of all its outcomes, where there is one.
    pub gone: Place,
    /// Each recipient's last record and whether it is an outcome, by number.
    pub slots: Vec<(Place, bool)>,
}

/// Keeps what is asked about recipients. All methods may be called from many threads; `apply`
/// comes from one.
pub trait Index: Send + Sync {
    /// How far it is; the zero value when it is new or of no use.
    ///
    /// # Errors
    /// When it cannot be read.
    fn applied(&self) -> Result<Applied, IndexError>;

    /// The highest id it has seen, of those it remembers.
    ///
    /// # Errors
    /// When it cannot be read.
    fn highest(&self) -> Result<Option<QueueId>, IndexError>;

    /// Messages that it remembers, 0 where that is not known.
    ///
    /// # Errors
    /// When it cannot be read.
    fn messages(&self) -> Result<u64, IndexError> {
        Ok(0)
    }

    /// Hands over every message it remembers, and every setting.
    ///
    /// # Errors
    /// When it cannot be read.
    fn load(
        &self,
        known: &mut dyn FnMut(Known),
        control: &mut dyn FnMut(String, Option<String>, Place),
    ) -> Result<(), IndexError>;

    /// The recipients of a message whose outcomes the history has, by number.
    ///
    /// # Errors
    /// When it cannot be read.
    fn finished(&self, id: QueueId) -> Result<Vec<u32>, IndexError>;

    /// Copies the history, as it is now, into a directory of the operating system; durable on return.
    ///
    /// # Errors
    /// When it cannot be read, or the copy not be written.
    fn copy_history(&self, to: &Path) -> Result<(), IndexError>;

    /// What became of the history when it was opened.
    fn history_found(&self) -> HistoryFound {
        HistoryFound::There
    }

    /// Keeps a copy of the part that can be rebuilt, before it is emptied although mail may be lost;
    /// returns its name, relative to the spool's directory, where there is one.
    fn keep_aside(&self) -> Option<String>;

    /// Empties the part that can be rebuilt; the history stays.
    ///
    /// # Errors
    /// When it cannot be written.
    fn clear(&self) -> Result<(), IndexError>;

    /// Applies a batch; what it says is durable on return. The history is durable first, and
    /// applying a batch to it again changes nothing.
    ///
    /// # Errors
    /// When it cannot be written; then the batch is applied again later.
    fn apply(&self, batch: &Batch) -> Result<(), IndexError>;

    /// Hands over every waiting recipient.
    ///
    /// # Errors
    /// When it cannot be read.
    fn scan(&self, f: &mut dyn FnMut(Waiting<'_>)) -> Result<(), IndexError>;

    /// Hands over a page of the waiting recipients that match, one after the other: no more is
    /// held in memory at once.
    ///
    /// # Errors
    /// When it cannot be read.
    fn each(
        &self,
        filter: &Filter,
        page: Page,
        now: Timestamp,
        f: &mut dyn FnMut(Row),
    ) -> Result<(), IndexError>;

    /// Since when the most overdue recipient has been due that waits at `now` and is not held; none if there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    fn oldest_due(&self, now: Timestamp) -> Result<Option<Timestamp>, IndexError> {
        let mut oldest = None;
        self.each(&Filter::all(), Page::ALL, now, &mut |row| {
            if row.status == Status::Waiting && row.due <= now {
                oldest = Some(oldest.map_or(row.due, |at: Timestamp| at.min(row.due)));
            }
        })?;
        Ok(oldest)
    }

    /// How many finished recipients match, counted up to a bound.
    ///
    /// # Errors
    /// When it cannot be read.
    fn history_count(&self, filter: &HistoryFilter, most: u64) -> Result<u64, IndexError> {
        Ok(self.history(filter, 0, most)?.len() as u64)
    }

    /// A page of the waiting recipients that match.
    ///
    /// # Errors
    /// When it cannot be read.
    fn query(&self, filter: &Filter, page: Page, now: Timestamp) -> Result<Vec<Row>, IndexError> {
        let mut rows = Vec::new();
        self.each(filter, page, now, &mut |row| rows.push(row))?;
        Ok(rows)
    }

    /// How many waiting recipients match.
    ///
    /// # Errors
    /// When it cannot be read.
    fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, IndexError>;

    /// Finished recipients, the latest message first.
    ///
    /// # Errors
    /// When it cannot be read.
    fn history(
        &self,
        filter: &HistoryFilter,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<HistoryRow>, IndexError>;

    /// The attempts of a message that did not end it, in their order.
    ///
    /// # Errors
    /// When it cannot be read.
    fn attempts(&self, id: QueueId) -> Result<Vec<AttemptRow>, IndexError>;

    /// The message that was accepted with this token.
    ///
    /// # Errors
    /// When it cannot be read.
    fn find_token(&self, token: &str) -> Result<Option<QueueId>, IndexError>;

    /// The first message, in the order of tokens, whose token begins with `prefix`, and its token.
    ///
    /// # Errors
    /// When the history cannot be read.
    fn find_token_beginning(&self, prefix: &str) -> Result<Option<(String, QueueId)>, IndexError>;

    /// What came to be known of a message's recipients, in the order of time.
    ///
    /// # Errors
    /// When the history cannot be read.
    fn later(&self, id: QueueId) -> Result<Vec<LaterRow>, IndexError>;

    /// Hands over the entries whose names begin with `prefix`, in the order of names.
    ///
    /// # Errors
    /// When the history cannot be read.
    fn entries(&self, prefix: &str, f: &mut dyn FnMut(String, String)) -> Result<(), IndexError>;

    /// Removes from the history what is older than `before`, and tokens older than `tokens`, `limit` rows at most, so that whoever
    /// writes waits no longer than that takes; returns how many. Fewer than `limit`: nothing is left.
    /// Outcomes, attempts, tokens and what came to be known later go; entries stay.
    ///
    /// # Errors
    /// When it cannot be written.
    fn expire(&self, before: Timestamp, tokens: Timestamp, limit: u64) -> Result<u64, IndexError>;

    /// Which events are kept.
    fn event_wish(&self) -> EventWish;

    /// Keeps these events from now on, `from` being how far the index is. Durable on return. What is
    /// kept already stays.
    ///
    /// # Errors
    /// When it cannot be written.
    fn keep_events(&self, wish: &EventWish, from: Applied) -> Result<(), IndexError>;

    /// Events after a place, in their order.
    ///
    /// # Errors
    /// When they cannot be read.
    fn events(&self, after: u64, limit: u64) -> Result<Vec<StoredEvent>, IndexError>;

    /// The same, of messages that the key of this name submitted (`key=NAME`).
    ///
    /// # Errors
    /// When they cannot be read.
    fn events_of(
        &self,
        submitter: &str,
        after: u64,
        limit: u64,
    ) -> Result<Vec<StoredEvent>, IndexError>;

    /// Which events there are.
    ///
    /// # Errors
    /// When it cannot be read.
    fn event_bounds(&self) -> Result<EventBounds, IndexError>;

    /// Removes events up to a place, of these the ones in front of the first that is not older than
    /// `before`, and so many at most; returns how many.
    ///
    /// # Errors
    /// When it cannot be written.
    fn forget_events(&self, upto: u64, before: Timestamp, limit: u64) -> Result<u64, IndexError>;

    /// What is known of the time from `since` to `until`, as events: those of about `limit` recipients
    /// of the messages after `after`.
    ///
    /// # Errors
    /// When it cannot be read.
    fn past_events(
        &self,
        span: (Timestamp, Timestamp),
        after: QueueId,
        limit: u64,
    ) -> Result<PastEvents, IndexError>;

    /// Records of a book in front of a place, the latest first.
    ///
    /// # Errors
    /// When the history cannot be read.
    fn records(&self, book: Book, before: u64, limit: u64)
    -> Result<Vec<StoredRecord>, IndexError>;

    /// Removes records of a book that are older than `before`, and so many at most; returns how many.
    ///
    /// # Errors
    /// When it cannot be written.
    fn forget_records(&self, book: Book, before: Timestamp, limit: u64) -> Result<u64, IndexError>;

    /// Counts what is applied from now on under these names.
    fn name_series(&self, naming: Arc<dyn Naming>);

    /// Hands over cells in the order of time and then of keys.
    ///
    /// # Errors
    /// When the history cannot be read.
    fn series(&self, wish: &SeriesWish, f: &mut dyn FnMut(Point)) -> Result<(), IndexError>;

    /// Counts and keeps how many wait, by age.
    ///
    /// # Errors
    /// When it cannot be written.
    fn sample_waiting(&self, at: Timestamp) -> Result<(), IndexError>;

    /// Removes old cells and brings hours that ended down to their largest keys.
    ///
    /// # Errors
    /// When it cannot be written.
    fn fold_series(&self, now: Timestamp) -> Result<(), IndexError>;
}

/// The row of a waiting recipient, from the envelope and its state.
fn row(meta: &MessageMeta, n: u32, state: &RecipientState) -> Option<Row> {
    let recipient = meta.envelope.recipients.get(n as usize)?;
    let last = state.last.as_ref();
    Some(Row {
        key: RecipientKey {
            id: meta.id,
            recipient: n,
        },
        sender: meta.envelope.sender(),
        recipient: recipient.address.to_string(),
        domain: recipient.address.domain().to_string(),
        destination: recipient.destination,
        status: state.status,
        attempts: state.attempts,
        due: state.due,
        accepted: meta.accepted,
        size: meta.size,
        last_reply: last.map(|v| v.reply.to_string()).unwrap_or_default(),
        last_host: last.and_then(|v| v.host.as_ref()).map(|h| h.name.clone()),
        submitter: meta.envelope.submitter.name(),
        route: state.route.clone(),
        labels: meta.labels.clone(),
    })
}
