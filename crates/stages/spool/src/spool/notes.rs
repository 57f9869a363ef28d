//! Reading what the history keeps beside outcomes.

use mail::QueueId;
use store::LaterRow;

use super::Spool;
use crate::index::IndexError;

impl Spool {
    /// What came to be known of a message's recipients after their outcomes, in the order of time.
    /// Blocks.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn later(&self, id: QueueId) -> Result<Vec<LaterRow>, IndexError> {
        self.flush_index()?;
        self.shared.index.later(id)
    }

    /// The same of several messages, in their order. Blocks.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn later_of(&self, ids: &[QueueId]) -> Result<Vec<LaterRow>, IndexError> {
        self.flush_index()?;
        let mut rows = Vec::new();
        for id in ids {
            rows.append(&mut self.shared.index.later(*id)?);
        }
        Ok(rows)
    }

    /// Hands over every entry of the history whose name begins with `prefix`, in the order of names.
    /// Blocks.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn entries(
        &self,
        prefix: &str,
        f: &mut dyn FnMut(String, String),
    ) -> Result<(), IndexError> {
        self.flush_index()?;
        self.shared.index.entries(prefix, f)
    }
}
