//! Contents too large for the log: each a file of its own, written in chunks and synced before
//! the commit that names it.

use std::io;
use std::sync::Arc;

use mail::QueueId;

use crate::damage::QUARANTINE_DIR;
use crate::storage::{File, Storage, read_range};

/// The directory of these files.
pub(crate) const DIR: &str = "bodies";

const BUFFER: usize = 256 << 10;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBody {
    pub(crate) id: QueueId,
    pub(crate) len: u64,
    pub(crate) crc: u32,
}

impl StoredBody {
    /// Octets of the content.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Writes one content in chunks; memory is bounded whatever its length. Dropped before
/// [`BodyWriter::finish`], it leaves nothing behind.
pub struct BodyWriter {
    storage: Arc<dyn Storage>,
    file: Arc<dyn File>,
    id: QueueId,
    len: u64,
    crc: u32,
    buffer: Vec<u8>,
    finished: bool,
}

impl BodyWriter {
    pub(crate) fn create(storage: Arc<dyn Storage>, id: QueueId) -> io::Result<Self> {
        let file = storage.create(&file_name(id))?;
        Ok(Self {
            storage,
            file,
            id,
            len: 0,
            crc: 0,
            buffer: Vec::new(),
            finished: false,
        })
    }

    /// Appends a chunk. Blocks on the disk now and then.
    ///
    /// # Errors
    /// When the disk is full or refuses; the content is then of no use.
    pub fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.len)?;
        self.crc = crc32c::crc32c_append(self.crc, &self.buffer);
        self.len += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Octets written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.len + self.buffer.len() as u64
    }

    /// Makes the content durable. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(mut self) -> io::Result<StoredBody> {
        self.flush()?;
        self.file.sync()?;
        self.storage.sync_dir(DIR)?;
        self.finished = true;
        Ok(StoredBody {
            id: self.id,
            len: self.len,
            crc: self.crc,
        })
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        if !self.finished {
            // A file that stays is removed when the spool is opened next.
            drop(self.storage.remove(&file_name(self.id)));
        }
    }
}

/// Writes a content that is in memory.
pub(crate) fn store(
    storage: &Arc<dyn Storage>,
    id: QueueId,
    content: &[u8],
) -> io::Result<StoredBody> {
    let mut writer = BodyWriter::create(Arc::clone(storage), id)?;
    for chunk in content.chunks(BUFFER) {
        writer.write(chunk)?;
    }
    writer.finish()
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
