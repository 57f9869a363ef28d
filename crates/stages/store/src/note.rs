//! What the history keeps beside outcomes: what came to be known of a recipient after its end, and
//! entries that no retention removes.

use mail::{RecipientKey, Timestamp};

/// Something for the history alone. It is durable with its commit, like any change; the log forgets
/// it as soon as the history has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// An entry under a name: the last writer wins, and nothing but a later writer removes it. Name
    /// and value together take [`Note::ENTRY_MAX`] octets at most; that is the caller's to see to.
    Entry {
        /// Its name.
        name: String,
        /// What it says; `None` removes it.
        value: Option<String>,
    },
    /// What came to be known of a recipient. It is kept as long as what is finished is.
    Later(LaterRow),
}

/// What came to be known of a recipient after its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaterRow {
    /// Whose.
    pub key: RecipientKey,
    /// When.
    pub at: Timestamp,
    /// One word for what happened, such as `bounced`.
    pub word: String,
    /// The particulars, cut to [`crate::Op::REPLY_MAX`].
    pub text: String,
}

impl Note {
    /// Octets of an entry's name and value together.
    pub const ENTRY_MAX: usize = 16 << 10;
}
