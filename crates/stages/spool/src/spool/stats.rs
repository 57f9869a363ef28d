//! Figures and troubles for the administrator.

use super::Spool;
use crate::shared::lock;

/// The index or the history cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// Why.
    pub why: String,
    /// So much waits for it that no mail is taken.
    pub refuses_mail: bool,
}

impl Spool {
    /// Whether the index and the history cannot be written, since the last try. They are tried again every
    /// second; nothing is lost, for the log keeps what they lack.
    #[must_use]
    pub fn behind(&self) -> Option<Behind> {
        let why = lock(&self.shared.feed).failed.clone()?;
        let refuses_mail = self.shared.refuses_mail();
        Some(Behind { why, refuses_mail })
    }
}

/// Figures about a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpoolStats {
    /// Segments of the hot lane.
    pub hot_segments: u64,
    /// Segments of the cold lane.
    pub cold_segments: u64,
    /// Segments ready for use.
    pub free_segments: u64,
    /// Bytes of records that are still needed.
    pub live_bytes: u64,
    /// Messages in memory: those that wait, and finished ones that must be remembered.
    pub messages: u64,
    /// Recipients without an outcome.
    pub waiting: u64,
    /// Bytes written to the log since the start.
    pub bytes_written: u64,
    /// Of these, bytes of survivors that were copied.
    pub bytes_moved: u64,
    /// Commits since the start.
    pub commits: u64,
    /// Syncs of the log since the start.
    pub syncs: u64,
    /// Segments written in advance since the start; the rest were recycled.
    pub prepared: u64,
    /// Segments taken back since the start.
    pub reclaimed: u64,
    /// Records found damaged since the start: see [`crate::Damaged`].
    pub damaged: u64,
    /// Commits that wait to be written.
    pub queue_depth: u64,
    /// Changes that wait for the index, those that it refused included.
    pub index_backlog: u64,
}
