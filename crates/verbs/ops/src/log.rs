//! Lines of the log, as administrators are told them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Lines of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogView {
    /// The lines in the form of `log.format`, the oldest first; of a long one, its first 8 KiB.
    pub lines: Vec<String>,
    /// All that was asked for is there. False where there are more lines than the limit, or the log is longer than what
    /// is searched.
    pub whole: bool,
}

/// Lines that were written after a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogTailView {
    /// The lines, the oldest first.
    pub lines: Vec<String>,
    /// The place after them, to ask for the next ones.
    pub next: String,
    /// There are more already: ask again at once.
    pub more: bool,
}
