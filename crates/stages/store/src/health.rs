//! How a store is, in words that hold for every engine.

use std::sync::Arc;

/// How a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Whether it can take anything.
    pub standing: Standing,
    /// Why lists and history do not keep up with commits, where they cannot be written.
    pub behind: Option<Behind>,
}

/// Whether a store can take anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Everything.
    Ready,
    /// It has less room than is to be kept free: no new mail is taken, outcomes are.
    Low,
    /// It has no room at all.
    Exhausted,
    /// It cannot be reached, and is tried again.
    Away(Arc<str>),
    /// What it holds is unknown since a write failed: nothing is taken any more, and the server must stop.
    Lost(Arc<str>),
}

/// Lists and history cannot be written. They are tried again; nothing is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// Why.
    pub why: String,
    /// So much waits for it that no mail is taken.
    pub refuses_mail: bool,
}

/// What a store counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Messages that wait, and finished ones that must be remembered.
    pub messages: u64,
    /// Recipients without an outcome.
    pub waiting: u64,
    /// Octets of what is still needed.
    pub live_bytes: u64,
    /// Octets written since the start.
    pub bytes_written: u64,
    /// Commits since the start.
    pub commits: u64,
    /// Parts found damaged since the start: see [`crate::Damaged`].
    pub damaged: u64,
    /// Commits that wait to be written.
    pub queue_depth: u64,
    /// Changes that wait for lists and history, those that these refused included.
    pub index_backlog: u64,
    /// Where the engine is a log on a disk of its own.
    pub log: Option<LogFigures>,
}

/// What a log on a disk of its own counts besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogFigures {
    /// Segments of the hot lane.
    pub hot_segments: u64,
    /// Segments of the cold lane.
    pub cold_segments: u64,
    /// Segments ready for use.
    pub free_segments: u64,
    /// Of the octets written, those of survivors that were copied.
    pub bytes_moved: u64,
    /// Syncs since the start.
    pub syncs: u64,
    /// Segments written in advance since the start; the rest were recycled.
    pub prepared: u64,
    /// Segments taken back since the start.
    pub reclaimed: u64,
}

/// What a copy of the queue holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackedUp {
    /// Recipients that wait in it.
    pub waiting: u64,
    /// Octets.
    pub bytes: u64,
    /// Parts that the disk could not read, each a file and an offset; zeros stand for them in the copy.
    pub unreadable: Vec<String>,
}
