//! What the history keeps beside outcomes: what came to be known of a recipient after its end, entries that no retention
//! removes, and records of what people did.

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
    /// A record of what people did. It is kept until [`crate::Store::forget_records`] removes it.
    Record(Record),
}

/// What a record is about. Each kind is read, and forgotten, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Book {
    /// What administrators did, one record for each act.
    Audit,
    /// Versions of the settings: the files as they were from a time on.
    Settings,
}

impl Book {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Audit, Self::Settings];

    /// The number for it, as it is kept.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Audit => 0,
            Self::Settings => 1,
        }
    }

    /// The book with this number.
    #[must_use]
    pub fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|book| book.code() == code)
    }
}

/// A record of what people did. The store does not read its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it belongs.
    pub book: Book,
    /// When it was done.
    pub at: Timestamp,
    /// What was done, in the form of whoever writes it; at most [`Record::TEXT_MAX`] octets, which is the writer's to see
    /// to.
    pub text: String,
}

impl Record {
    /// Octets of a record's text.
    pub const TEXT_MAX: usize = 256 << 10;
}

/// A record that is kept, with its place: places rise in the order in which records were kept, and are never given twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its place, from 1.
    pub place: u64,
    /// The record.
    pub record: Record,
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
