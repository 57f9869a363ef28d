//! What can be said of a message before and after it is read.

use std::io;
use std::sync::Arc;

use mail::{QueueId, RecipientKey, RecipientState};
use store::ReadError;

use super::Spool;
use crate::body;
use crate::change::Place;
use crate::record::{Record, single};
use crate::shared::{Shared, lock};
use crate::storage::{is_read_fault, read_range};

/// The disk refused to read a message.
pub(super) fn unreadable(id: QueueId, error: &io::Error) -> ReadError {
    ReadError::Failed {
        id,
        why: error.to_string(),
        is_lasting: error.kind() == io::ErrorKind::NotFound || is_read_fault(error),
    }
}

impl Shared {
    /// The state of a waiting recipient with its last verdict; `None` when it does not wait. Blocks on the disk.
    pub(crate) fn state_of(&self, key: RecipientKey) -> Result<Option<RecipientState>, ReadError> {
        let n = key.recipient as usize;
        self.with_record(
            key.id,
            |table| {
                let entry = table.entries.get(&key.id)?;
                let slot = entry.slots.as_slice().get(n).filter(|s| !s.done)?;
                Some(if slot.place.is_none() {
                    entry.place
                } else {
                    slot.place
                })
            },
            |record| {
                Ok(match record {
                    Record::Message(m) if m.id == key.id => m.states.into_iter().nth(n).flatten(),
                    Record::State { key: k, state, .. } if k == key => Some(*state),
                    Record::Message(_)
                    | Record::State { .. }
                    | Record::Done { .. }
                    | Record::Control { .. }
                    | Record::Gone { .. }
                    | Record::Note(_)
                    | Record::Other => None,
                })
            },
        )
    }

    /// Reads the record at the place that `find` tells. A record that was moved between looking
    /// and reading is looked for again; one that stays unreadable is damaged.
    pub(super) fn with_record<T>(
        &self,
        id: QueueId,
        find: impl Fn(&crate::table::Table) -> Option<Place>,
        take: impl Fn(Record<'_>) -> io::Result<Option<T>>,
    ) -> Result<Option<T>, ReadError> {
        let mut before = None;
        loop {
            let (place, file) = {
                let table = lock(&self.table);
                let Some(place) = find(&table) else {
                    return Ok(None);
                };
                let file = table
                    .segments
                    .get(&place.segment)
                    .map(|s| Arc::clone(&s.file));
                (place, file)
            };
            let Some(file) = file else {
                return Err(ReadError::Damaged(id));
            };
            let read = read_range(&*file, place.offset.into(), place.len as usize);
            let taken = read.and_then(|bytes| match single(&bytes) {
                Some(Ok(record)) => take(record),
                Some(Err(_)) | None => Ok(None),
            });
            match taken {
                Ok(Some(value)) => return Ok(Some(value)),
                Ok(None) if before == Some(place) => return Err(ReadError::Damaged(id)),
                Err(e) if before == Some(place) => return Err(unreadable(id, &e)),
                Ok(None) | Err(_) => before = Some(place),
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
        len.map(Some).map_err(|e| unreadable(id, &e))
    }
}
