//! Contents too large for the log: each a file of its own, written in chunks and synced before
//! the commit that names it.

use std::io;
use std::sync::Arc;

use mail::QueueId;
use store::Op;

use crate::quarantine::QUARANTINE_DIR;
use crate::storage::{File, Storage, read_range};

/// The directory of these files.
pub(crate) const DIR: &str = "bodies";

const BUFFER: usize = 256 << 10;

/// Octets of the content that goes to a file of its own, and whose it is.
pub(crate) fn large_body(op: &Op, limit: usize) -> Option<(QueueId, u64)> {
    match op {
        Op::Accept { message, .. } if message.content.len() > limit => {
            Some((message.id, message.content.len() as u64))
        }
        Op::Accept { .. }
        | Op::State { .. }
        | Op::Change { .. }
        | Op::Done { .. }
        | Op::Control { .. }
        | Op::Note(_) => None,
    }
}

pub(crate) fn file_name(id: QueueId) -> String {
    format!("{DIR}/{id}.body")
}

/// Where a content is kept whose mail is damaged.
pub(crate) fn quarantine_name(id: QueueId) -> String {
    format!("{QUARANTINE_DIR}/{id}.body")
}

/// The message that a file in the directory belongs to.
pub(crate) fn owner(name: &str) -> Option<QueueId> {
    name.strip_suffix(".body")?.parse().ok()
}

/// A content that is durable in a file of its own and waits for its commit.
#[derive(Debug)]
pub(crate) struct StoredBody {
    pub(crate) id: QueueId,
    pub(crate) len: u64,
    pub(crate) crc: u32,
}

/// Writes a content, durable on return; where that fails, what is there is removed when the spool is opened next, if not
/// before.
pub(crate) fn store(
    storage: &Arc<dyn Storage>,
    id: QueueId,
    content: &[u8],
) -> io::Result<StoredBody> {
    let name = file_name(id);
    let file = storage.create(&name)?;
    let written = write(&*file, content).and_then(|crc| {
        storage.sync_dir(DIR)?;
        Ok(crc)
    });
    match written {
        Ok(crc) => Ok(StoredBody {
            id,
            len: content.len() as u64,
            crc,
        }),
        Err(e) => {
            drop(storage.remove(&name));
            Err(e)
        }
    }
}

fn write(file: &dyn File, content: &[u8]) -> io::Result<u32> {
    let (mut at, mut crc) = (0, 0);
    for chunk in content.chunks(BUFFER) {
        file.write_at(chunk, at)?;
        crc = crc32c::crc32c_append(crc, chunk);
        at += chunk.len() as u64;
    }
    file.sync()?;
    Ok(crc)
}

/// Reads a content back; `None` when its checksum is wrong.
pub(crate) fn load(
    storage: &dyn Storage,
    id: QueueId,
    len: u64,
    crc: u32,
) -> io::Result<Option<Vec<u8>>> {
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let file = storage.open(&file_name(id))?;
    if file.len()? < len as u64 {
        return Ok(None);
    }
    let content = read_range(&*file, 0, len)?;
    Ok((content.len() == len && crc32c::crc32c(&content) == crc).then_some(content))
}
