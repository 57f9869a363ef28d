//! Figures for the administrator.

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
    /// Changes that wait for the index.
    pub index_backlog: u64,
}
