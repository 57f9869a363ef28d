//! Where the octets of what is damaged are kept.

use std::io;

use mail::QueueId;
use store::{Damage, Damaged};

use crate::storage::Storage;

/// Where damaged parts of the log are kept.
pub(crate) const QUARANTINE_DIR: &str = "quarantine";

/// A message that an earlier run lost.
pub(crate) fn known(id: QueueId) -> Damaged {
    Damaged {
        what: Damage::Message(id),
        file: QUARANTINE_DIR.to_owned(),
        missing: false,
    }
}

/// The name of the copy of a part of a segment.
pub(crate) fn file_name(segment: &str, from: usize, to: usize) -> String {
    format!("{QUARANTINE_DIR}/{segment}.{from}-{to}")
}

/// Copies damaged octets, durably.
pub(crate) fn keep(storage: &dyn Storage, name: &str, bytes: &[u8]) -> io::Result<()> {
    let file = storage.create(name)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    storage.sync_dir(QUARANTINE_DIR)
}
