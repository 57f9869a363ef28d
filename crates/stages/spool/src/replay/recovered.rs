//! What opening found, as callers are told.

use std::collections::BTreeMap;
use std::fmt;

use mail::QueueId;

use crate::index::HistoryFound;

/// A damaged part of the log that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The copy, relative to the spool's directory.
    pub file: String,
    /// The segment it was found in, or the content that no mail claims any more.
    pub segment: String,
    /// Its first octet there.
    pub from: u64,
    /// The octet after its last.
    pub to: u64,
    /// The disk could not read all of it.
    pub unreadable: bool,
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The highest id that was ever seen; new ids must be above it.
    pub highest: Option<QueueId>,
    /// The administrator's settings.
    pub controls: BTreeMap<String, String>,
    /// Damaged parts of the log. Mail in them may be lost: shout.
    pub quarantined: Vec<Quarantined>,
    /// Recipients without an outcome.
    pub waiting: u64,
    /// Bytes of a write that a crash cut off; nothing in them was acknowledged.
    pub torn_bytes: u64,
    /// The index was of no use and was rebuilt from the log.
    pub index_rebuilt: bool,
    /// Segments that should be there and are not. Mail in them is lost, but for what the index knows: shout.
    pub missing: Vec<Missing>,
    /// Mails that waited, as the index knew before it was rebuilt, and that neither the log nor the history
    /// has: shout.
    pub lost: Vec<QueueId>,
    /// Where the index of before is kept, relative to the spool's directory, when mails are lost.
    pub old_index: Option<String>,
    /// What became of the history. A new one beside an old queue, or one that was set aside: shout.
    pub history: HistoryFound,
    /// The disk was so full that the room kept for this had to be given up to start.
    pub gave_up_ballast: bool,
}

/// A segment that should be there and is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The file.
    pub segment: String,
    /// The sequence of its first commit, where that is known.
    pub first: Option<u64>,
    /// That of its last.
    pub last: Option<u64>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segment = &self.segment;
        match (self.first, self.last) {
            (Some(first), Some(last)) => write!(f, "{segment} (commits {first} to {last})"),
            (Some(first), None) => write!(f, "{segment} (commits from {first} on)"),
            (None, Some(last)) => write!(f, "{segment} (commits up to {last})"),
            (None, None) => f.write_str(segment),
        }
    }
}
