//! What a durable record means for the table in memory and for the index: the form that the
//! committer, the reclaimer and the replay of the log share.

use std::sync::Arc;

use mail::{Envelope, Labels, QueueId, RecipientKey, RecipientState, Timestamp, Verdict};
use store::Note;

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Place {
    /// The segment's number; 0 is not a place.
    pub segment: u32,
    /// The record's first octet in it.
    pub offset: u32,
    /// The record's length.
    pub len: u32,
}

impl Place {
    /// No place of its own: the state stands in the message's record.
    pub const NONE: Self = Self {
        segment: 0,
        offset: 0,
        len: 0,
    };

    /// Whether there is none.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.segment == 0
    }
}

/// A message without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageMeta {
    /// Its name.
    pub id: QueueId,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// Its envelope.
    pub envelope: Envelope,
    /// What it is called and labelled.
    pub labels: Labels,
    /// Octets of its content.
    pub size: u64,
    /// Its content is in a file of its own.
    pub body_file: bool,
    /// Drop id or idempotency key.
    pub token: Option<String>,
}

/// One durable change.
#[derive(Debug, Clone)]
pub enum Change {
    /// A message that was not known.
    Message {
        /// What it is.
        meta: Arc<MessageMeta>,
        /// Its recipients; `None` has its outcome.
        states: Vec<Option<RecipientState>>,
        /// Its record.
        place: Place,
        /// The cold segment that also holds a copy, 0 for none.
        from: u32,
    },
    /// A message's record was copied.
    Moved {
        /// Which.
        id: QueueId,
        /// The copy.
        place: Place,
        /// The cold segment that also holds a copy, 0 for none.
        from: u32,
        /// The recipients whose state stands in the copy.
        inlined: Vec<u32>,
    },
    /// A recipient's state.
    State {
        /// Whose.
        key: RecipientKey,
        /// What it is.
        state: Box<RecipientState>,
        /// The dialog of the attempt.
        transcript: Option<String>,
        /// Its record.
        place: Place,
    },
    /// A recipient's outcome.
    Done {
        /// Whose.
        key: RecipientKey,
        /// Attempts that counted.
        attempts: u32,
        /// How it ended.
        verdict: Box<Verdict>,
        /// The dialog of the last attempt.
        transcript: Option<String>,
        /// Its record.
        place: Place,
    },
    /// A state's or an outcome's record was copied.
    Carried {
        /// Whose.
        key: RecipientKey,
        /// The copy.
        place: Place,
    },
    /// All outcomes of a message stand in one record.
    Gone {
        /// Which.
        id: QueueId,
        /// The record.
        place: Place,
    },
    /// Nothing of the message has to be remembered but its history.
    Forget {
        /// Which.
        id: QueueId,
    },
    /// A setting.
    Control {
        /// Its name.
        name: String,
        /// Its value, `None` when deleted.
        value: Option<String>,
        /// Its record.
        place: Place,
    },
    /// Something for the history alone.
    Note(Note),
}

/// How far the logs are applied: the sequence of the last frame of either lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// The spool that this is about.
    pub spool: u64,
    /// In the hot lane.
    pub hot: u64,
    /// In the cold lane.
    pub cold: u64,
}
