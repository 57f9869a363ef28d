//! Verbs about the server's log.

use mail::Timestamp;
use serde::{Deserialize, Serialize};
use store::filter::words;

use super::{Ask, Right};
use crate::log::{LogTailView, LogView};
use crate::malformed::Malformed;
use crate::request::ago;

/// Lines of an answer.
const LINES_MAX: u64 = 1000;
/// Octets of what is searched for.
const WORDS_MAX: usize = 500;

/// The latest lines of the log that have all of some words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchLog {
    /// The words, whatever the case; what has blanks stands in quotation marks.
    #[serde(default)]
    pub words: String,
    /// Since this time (RFC 3339), or how long ago, such as `2h`.
    pub since: Option<String>,
    /// Maximum number of lines, 1 to 1000.
    pub limit: u64,
}

impl SearchLog {
    /// The words one by one.
    ///
    /// # Errors
    /// When a quotation mark is not closed.
    pub fn words(&self) -> Result<Vec<String>, Malformed> {
        split(&self.words)
    }

    /// Since when lines are wanted.
    ///
    /// # Errors
    /// When it is neither a time nor how long ago.
    pub fn since(&self, now: Timestamp) -> Result<Option<Timestamp>, Malformed> {
        self.since.as_deref().map(|text| ago(text, now)).transpose()
    }
}

fn split(text: &str) -> Result<Vec<String>, Malformed> {
    match text.len() > WORDS_MAX {
        true => Err(Malformed::LongFilter),
        false => Ok(words(text)?),
    }
}

impl Ask for SearchLog {
    type Answer = LogView;
    const NEEDS: Right = Right::Read;

    fn check(&self) -> Result<(), Malformed> {
        self.words()?;
        self.since(Timestamp::from_secs(0))?;
        match (1..=LINES_MAX).contains(&self.limit) {
            true => Ok(()),
            false => Err(Malformed::Lines(self.limit)),
        }
    }
}

/// What was written to the log after a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowLog {
    /// Only lines with all of these words.
    #[serde(default)]
    pub words: String,
    /// The place: that of the answer before; none: the end, as it is now.
    pub after: Option<String>,
}

impl FollowLog {
    /// The words one by one.
    ///
    /// # Errors
    /// When a quotation mark is not closed.
    pub fn words(&self) -> Result<Vec<String>, Malformed> {
        split(&self.words)
    }
}

impl Ask for FollowLog {
    type Answer = LogTailView;
    const NEEDS: Right = Right::Read;

    fn check(&self) -> Result<(), Malformed> {
        self.words().map(drop)
    }
}
