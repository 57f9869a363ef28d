//! What can be said of a message before and after it is read.

use std::io;

use mail::QueueId;
use store::ReadError;

use super::Spool;
use crate::body;
use crate::shared::lock;
use crate::storage::is_read_fault;

/// The disk refused to read a message.
pub(super) fn unreadable(id: QueueId, error: &io::Error) -> ReadError {
    ReadError::Failed {
        id,
        why: error.to_string(),
        is_lasting: error.kind() == io::ErrorKind::NotFound || is_read_fault(error),
    }
}

impl Spool {
    /// About how many octets a waiting message takes in memory, without reading it; `None` when it has no
    /// waiting recipient. Blocks on the disk.
    ///
    /// # Errors
    /// When its content is in a file that cannot be looked at.
    pub fn size_hint(&self, id: QueueId) -> Result<Option<u64>, ReadError> {
        let place = {
            let table = lock(&self.shared.table);
            let entry = table.entries.get(&id).filter(|e| !e.is_finished());
            let Some(entry) = entry else { return Ok(None) };
            (!table.body_files.contains(&id)).then_some(entry.place)
        };
        if let Some(place) = place {
            return Ok(Some(place.len.into()));
        }
        let file = self.shared.storage.open(&body::file_name(id));
        let len = file.and_then(|file| file.len());
        len.map(Some).map_err(|e| unreadable(id, &e))
    }
}
