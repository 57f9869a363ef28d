//! What can be said of a message before and after it is read.

use mail::QueueId;

use super::{ReadError, Spool};
use crate::body;
use crate::shared::lock;
use crate::storage::is_read_fault;

impl ReadError {
    /// Whether it will not be better another time: what is there is damaged, cannot be read, or is gone.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Damaged(_) => true,
            Self::Io { source, .. } => {
                source.kind() == std::io::ErrorKind::NotFound || is_read_fault(source)
            }
        }
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
        len.map(Some).map_err(|source| ReadError::Io { id, source })
    }
}
