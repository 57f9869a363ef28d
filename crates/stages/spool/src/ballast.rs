//! Room that is kept on the disk and given up when there is none left: so that a full disk can start the
//! queue and deliver what is in it, which frees more.

use std::io;

use crate::storage::Storage;

/// Its name.
pub(crate) const NAME: &str = "ballast";

const CHUNK: usize = 1 << 20;

pub(crate) fn exists(storage: &dyn Storage) -> bool {
    storage.open(NAME).is_ok()
}

/// Writes it; real octets, for a file system gives no room to a hole.
pub(crate) fn make(storage: &dyn Storage, bytes: u64) -> io::Result<()> {
    let file = storage.create(NAME)?;
    let chunk = vec![0; CHUNK];
    let mut at = 0;
    while at < bytes {
        let len = usize::try_from(bytes - at).unwrap_or(CHUNK).min(CHUNK);
        let written = file.write_at(chunk.get(..len).unwrap_or_default(), at);
        if let Err(e) = written {
            drop(storage.remove(NAME));
            return Err(e);
        }
        at += len as u64;
    }
    file.sync()
}

/// Gives it up when the disk has less room than it takes; returns whether it did.
pub(crate) fn give_up_if_full(storage: &dyn Storage, bytes: u64) -> bool {
    let is_full = storage.free_bytes().is_ok_and(|free| free < bytes);
    is_full && exists(storage) && storage.remove(NAME).is_ok()
}
