//! The storage of a real server: one directory, locked for one process.

use std::fs;
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Mode;

use super::{File, Storage};

/// A directory of the operating system, held by an exclusive lock as long as this value lives.
///
/// The lock is held on the directory itself: a file in it can be removed, and would then let a second server
/// in. Its descriptors, and those of the directories below, are kept: syncing them must not fail for want of
/// descriptors, for a sync that failed ends the server.
#[derive(Debug)]
pub struct DirStorage {
    root: PathBuf,
    top: fs::File,
    below: [fs::File; 2],
    /// Releases before this one lock the file.
    _lock: fs::File,
}

/// Why a directory could not be taken as a spool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenDirError {
    /// Another process has it.
    #[error(
        "the spool directory {dir} is in use by another server (process {holder}); only one server may use it"
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// What the lock file says about the holder.
        holder: String,
    },
    /// The operating system refused.
    #[error("cannot use {dir} as the spool directory")]
    Io {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Says which process has the directory.
const LOCK: &str = "lock";
const DIRECTORIES: [&str; 2] = [crate::body::DIR, crate::quarantine::QUARANTINE_DIR];

impl DirStorage {
    /// Takes the directory `root`, creating it when there is none, readable by its owner alone.
    ///
    /// # Errors
    /// When another process holds it, or it cannot be created or locked.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, OpenDirError> {
        let root = root.into();
        let failed = |source| OpenDirError::Io {
            dir: root.clone(),
            source,
        };
        create_dir(&root).map_err(failed)?;
        for dir in DIRECTORIES {
            create_dir(&root.join(dir)).map_err(failed)?;
        }
        let top = fs::File::open(&root).map_err(failed)?;
        close_to_others(&top).map_err(failed)?;
        lock(&top, &root)?;
        let lock = lock_file(&root)?;
        let [bodies, quarantine] = DIRECTORIES.map(|dir| fs::File::open(root.join(dir)));
        let below = [bodies.map_err(failed)?, quarantine.map_err(failed)?];
        Ok(Self {
            top,
            below,
            _lock: lock,
            root,
        })
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

fn create_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Builds before this made it for everybody to read, under the umask that most systems have.
fn close_to_others(dir: &fs::File) -> io::Result<()> {
    let stat = rustix::fs::fstat(dir)?;
    let ours = stat.st_uid == rustix::process::geteuid().as_raw();
    match ours && stat.st_mode & 0o077 != 0 {
        true => Ok(rustix::fs::fchmod(dir, Mode::RWXU)?),
        false => Ok(()),
    }
}

/// Takes the lock on a file or directory.
fn lock(file: &fs::File, root: &Path) -> Result<(), OpenDirError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(fs::TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(root.join(LOCK)).unwrap_or_default();
            let holder = match holder.trim() {
                "" => "unknown".to_owned(),
                holder => holder.to_owned(),
            };
            let dir = root.to_owned();
            Err(OpenDirError::InUse { dir, holder })
        }
        Err(fs::TryLockError::Error(source)) => Err(OpenDirError::Io {
            dir: root.to_owned(),
            source,
        }),
    }
}

fn lock_file(root: &Path) -> Result<fs::File, OpenDirError> {
    let mut options = fs::OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    let opened = options.open(root.join(LOCK));
    let mut file = opened.map_err(|source| OpenDirError::Io {
        dir: root.to_owned(),
        source,
    })?;
    lock(&file, root)?;
    // Who has it is told by this only; a full disk keeps nobody from starting.
    let told = file.set_len(0).and_then(|()| file.rewind());
    drop(told.and_then(|()| writeln!(file, "{}", std::process::id())));
    Ok(file)
}

impl Storage for DirStorage {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600);
        Ok(Arc::new(OsFile(options.open(self.path(name))?)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).write(true).open(self.path(name))?;
        Ok(Arc::new(OsFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(dir)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let known = DIRECTORIES.iter().position(|name| *name == dir);
        match known.and_then(|n| self.below.get(n)) {
            Some(below) => below.sync_all(),
            None if dir.is_empty() => self.top.sync_all(),
            None => fs::File::open(self.path(dir))?.sync_all(),
        }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

struct OsFile(fs::File);

impl File for OsFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
