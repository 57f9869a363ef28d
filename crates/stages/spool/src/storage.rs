//! What the spool asks of a disk. [`DirStorage`] is a directory of the operating system; the
//! simulated disk of `sim` is the other implementor.
//!
//! Names are relative, with at most one `/`. A created or renamed file is sure to be found after
//! a crash only once [`Storage::sync_dir`] has returned for its directory, and a file's bytes
//! only once [`File::sync`] has.

use std::io;
use std::sync::Arc;

use crate::segment::PAGE;

mod dir;

pub use dir::{DirStorage, OpenDirError};

/// A file that many threads read while one writes.
pub trait File: Send + Sync {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// When anything of it could not be written; what stands there then is undefined.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Fills `bytes` from `offset`; returns how many there were before the end of the file.
    ///
    /// # Errors
    /// When the disk refuses.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Makes durable what was written (fdatasync).
    ///
    /// # Errors
    /// When the disk refuses: then nothing is known about the bytes written since the last sync.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file off after `len` octets, or lengthens it by zeros.
    ///
    /// # Errors
    /// When the disk refuses.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    /// When the disk refuses.
    fn len(&self) -> io::Result<u64>;

    /// Whether nothing is in it.
    ///
    /// # Errors
    /// When the disk refuses.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A directory tree of files.
pub trait Storage: Send + Sync {
    /// Creates an empty file, or empties the one that has this name.
    ///
    /// # Errors
    /// When the disk refuses.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens a file that exists.
    ///
    /// # Errors
    /// When there is none, or the disk refuses.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    /// When the disk refuses.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// When there is none, or the disk refuses.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names of the files in directory `dir` (`""`: the top), without the directory; none when
    /// the directory does not exist.
    ///
    /// # Errors
    /// When the disk refuses.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Makes names created, changed and removed in `dir` durable.
    ///
    /// # Errors
    /// When the disk refuses.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// Bytes that can still be allocated.
    ///
    /// # Errors
    /// When the disk refuses.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// Reads up to `len` bytes at `offset`; fewer where the file ends.
pub(crate) fn read_range(file: &dyn File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read_range_into(&mut bytes, file, offset, len)?;
    Ok(bytes)
}

fn read_range_into(
    bytes: &mut Vec<u8>,
    file: &dyn File,
    offset: u64,
    len: usize,
) -> io::Result<()> {
    bytes.clear();
    bytes.resize(len, 0);
    let n = file.read_at(bytes, offset)?;
    bytes.truncate(n);
    Ok(())
}

/// Octets of a file, where some may be unreadable.
pub(crate) struct ReadAround {
    /// What could be read; zeros where nothing could. Fewer than asked for where the file ends.
    pub(crate) bytes: Vec<u8>,
    /// The ranges that the disk did not give, relative to the bytes.
    pub(crate) unreadable: Vec<(usize, usize)>,
}

/// Reads up to `len` octets at `offset`. What the disk cannot give any more is read around, page by page:
/// one bad sector takes one page with it, not the file.
///
/// # Errors
/// When reading failed for another reason than the disk's: too few descriptors, too little memory.
pub(crate) fn read_around(file: &dyn File, offset: u64, len: usize) -> io::Result<ReadAround> {
    read_around_in(Vec::new(), file, offset, len)
}

/// As [`read_around`], in a buffer that was used before.
///
/// # Errors
/// As there.
pub(crate) fn read_around_in(
    mut bytes: Vec<u8>,
    file: &dyn File,
    offset: u64,
    len: usize,
) -> io::Result<ReadAround> {
    match read_range_into(&mut bytes, file, offset, len) {
        Err(e) if is_read_fault(&e) => {}
        read => {
            return read.map(|()| ReadAround {
                bytes,
                unreadable: Vec::new(),
            });
        }
    }
    let end = file.len()?.min(offset.saturating_add(len as u64));
    let len = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
    bytes.clear();
    bytes.resize(len, 0);
    let mut unreadable: Vec<(usize, usize)> = Vec::new();
    for (n, page) in bytes.chunks_mut(PAGE).enumerate() {
        let from = n * PAGE;
        match file.read_at(page, offset + from as u64) {
            Ok(_) => {}
            Err(e) if is_read_fault(&e) => {
                page.fill(0);
                match unreadable.last_mut() {
                    Some(last) if last.1 == from => last.1 = from + page.len(),
                    _ => unreadable.push((from, from + page.len())),
                }
            }
            Err(e) => return Err(e),
        }
    }
    Ok(ReadAround { bytes, unreadable })
}

/// Whether an error says that the disk has lost what is asked for: it will not be better next time.
#[must_use]
pub fn is_read_fault(error: &io::Error) -> bool {
    // EIO: the sector cannot be read. EBADMSG, EUCLEAN: the file system's own checksum is wrong.
    // ENODATA, EREMOTEIO: what drivers say instead of EIO.
    const EIO: i32 = 5;
    const ENODATA: i32 = 61;
    const EBADMSG: i32 = 74;
    const EUCLEAN: i32 = 117;
    const EREMOTEIO: i32 = 121;
    let faults = [EIO, ENODATA, EBADMSG, EUCLEAN, EREMOTEIO];
    error.raw_os_error().is_some_and(|n| faults.contains(&n))
}
