//! Writing a drop, as whoever calls `sendmail`.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use mail::{IdSource, QueueId, Timestamp};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::rand::GetRandomFlags;

use super::{Drop, UNFINISHED, WHOLE};

/// Why a mail was not dropped. Nothing of it will be sent.
#[derive(Debug, thiserror::Error)]
pub enum DepositError {
    /// There is no such directory.
    #[error("the drop directory {0} does not exist: the server creates it at its first start")]
    Missing(String),
    /// This user may not.
    #[error("you are not allowed to write to the drop directory {0}")]
    Forbidden(String),
    /// The disk is full, or this user's share of it.
    #[error("there is no space for the drop directory {0}")]
    Full(String),
    /// Anything else.
    #[error("writing to the drop directory {0}: {1}")]
    Failed(String, io::Error),
}

impl DepositError {
    fn of(dir: &Path, error: io::Error) -> Self {
        let dir = dir.display().to_string();
        let is = |kinds: [io::ErrorKind; 2]| kinds.contains(&error.kind());
        if is([io::ErrorKind::NotFound, io::ErrorKind::NotADirectory]) {
            Self::Missing(dir)
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            Self::Forbidden(dir)
        } else if is([io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded]) {
            Self::Full(dir)
        } else {
            Self::Failed(dir, error)
        }
    }
}

/// A new drop's id: the time, so that drops are taken in their order, and 128 random bits.
pub fn new_id(now: Timestamp) -> io::Result<String> {
    let mut random = [0u8; 16];
    // From the kernel: aws-lc gathers entropy for 40 ms before its first number, at each start.
    // So few octets are given whole.
    rustix::rand::getrandom(&mut random, GetRandomFlags::empty())?;
    let time = IdSource::above(QueueId::from_u64(0)).next_id(now);
    Ok(format!("{time}-{:032x}", u128::from_be_bytes(random)))
}

/// Writes a drop; when this returns, it outlives a power cut.
pub fn deposit(dir: &Path, drop: &Drop, content: &[u8]) -> Result<(), DepositError> {
    write(dir, drop, content).map_err(|error| DepositError::of(dir, error))
}

fn write(path: &Path, drop: &Drop, content: &[u8]) -> io::Result<()> {
    let head = drop.head(content)?;
    // It may be searched and written, not read: that is enough for this.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(path, flags, Mode::empty())?;
    let unfinished = format!("{}{UNFINISHED}", drop.id);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
    let file = File::from(rustix::fs::openat(&dir, &unfinished, flags, mode)?);
    let written = fill(&file, mode, &[&head, content]).and_then(|()| {
        let whole = format!("{}{WHOLE}", drop.id);
        rustix::fs::renameat(&dir, &unfinished, &dir, &whole)?;
        sync_name(path, &file).inspect_err(|_| remove(&dir, &whole))
    });
    // The caller is told that it failed: nothing may be left that is sent later.
    written.inspect_err(|_| remove(&dir, &unfinished))
}

fn remove(dir: &OwnedFd, name: &str) {
    // It may never have had this name.
    rustix::fs::unlinkat(dir, name, AtFlags::empty()).unwrap_or_default();
}

fn fill(file: &File, mode: Mode, parts: &[&[u8]]) -> io::Result<()> {
    // Whatever the caller's umask: the server reads it as a member of the directory's group.
    rustix::fs::fchmod(file, mode)?;
    let mut writer = file;
    for part in parts {
        writer.write_all(part)?;
    }
    file.sync_all()
}

/// Syncs the file's new name. Who may not read the directory cannot open it to sync it alone, and
/// syncs the file system, which takes longer and holds as well.
fn sync_name(path: &Path, file: &File) -> io::Result<()> {
    match File::open(path) {
        Ok(dir) => dir.sync_all(),
        Err(_) => Ok(rustix::fs::syncfs(file)?),
    }
}
