//! The server's side of the directory: making it, listing it, and opening what others put there
//! without being led astray.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use mail::Timestamp;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::form::{Drop, FormError};
use super::{UNFINISHED, WHOLE};

/// Search and write for all, read for the owner, sticky and setgid; see `drops`.
const MODE: u32 = 0o3733;
/// Everybody passes through the directories above it.
const PASSED: u32 = 0o711;
const REFUSED: &str = "refused";
/// The beginning of the name of a drop that is being taken.
pub const CLAIMED: &str = "taking-";
/// What a drop may be longer than the largest message: its envelope.
const ENVELOPE_MAX: u64 = 16 << 20;
/// What is read of a drop that is larger: its envelope and its header, to tell its sender.
const BEGINNING: u64 = ENVELOPE_MAX + (64 << 10);
/// A file that is still unfinished at this age has lost its writer.
const UNFINISHED_FOR: std::time::Duration = std::time::Duration::from_secs(86_400);

/// The open directory.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    fd: OwnedFd,
    /// The group that every file made here has, where the directory is setgid.
    group: Option<u32>,
}

/// A drop as it was read.
#[derive(Debug)]
pub struct Taken {
    /// The number of the user who put it there.
    pub owner: u32,
    /// What `sendmail` says of it.
    pub drop: Drop,
    pub(super) content: Bytes,
    /// It is larger than any mail that is taken; the content is only its beginning.
    pub(super) too_large: bool,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// It is not there any more.
    #[error("it no longer exists")]
    Gone,
    /// It may be read later.
    #[error("it cannot be read at present: {0}")]
    Later(io::Error),
    /// It will never be a drop.
    #[error("{0}")]
    Bad(#[from] Bad),
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Bad {
    #[error("it is a {0}, not a file")]
    Kind(&'static str),
    #[error("it has several hard links")]
    Linked,
    #[error("it was not made in the drop directory")]
    Foreign,
    #[error("the server may not read it")]
    Closed,
    #[error(transparent)]
    Form(#[from] FormError),
}

/// Makes the directory where it is not there.
pub fn make(path: &Path) -> io::Result<()> {
    Directory::open(path).map(|_| ())
}

impl Directory {
    /// Opens the directory, and makes it where it is not there.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            net::make_dir(parent, PASSED)?;
        }
        let made = match std::fs::create_dir(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        if made {
            // A service manager may forbid setgid (RestrictSUIDSGID=); `trouble` tells then.
            rustix::fs::fchmod(&fd, Mode::from_raw_mode(MODE)).unwrap_or_default();
        }
        let stat = rustix::fs::fstat(&fd)?;
        let directory = Self {
            path: path.to_owned(),
            group: Some(stat.st_gid)
                .filter(|_| Mode::from_raw_mode(stat.st_mode).contains(Mode::SGID)),
            fd,
        };
        directory.make_refused()?;
        Ok(directory)
    }

    /// The directory for what is refused. Whoever was here before the server may have taken the
    /// name: such a thing is put out of the way.
    fn make_refused(&self) -> io::Result<()> {
        match rustix::fs::mkdirat(&self.fd, REFUSED, Mode::RWXU) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let stat = rustix::fs::statat(&self.fd, REFUSED, AtFlags::SYMLINK_NOFOLLOW)?;
        let ours = stat.st_uid == rustix::process::geteuid().as_raw() || stat.st_uid == 0;
        if ours && FileType::from_raw_mode(stat.st_mode).is_dir() {
            return Ok(());
        }
        let aside = format!("not-of-the-server-{}", stat.st_ino);
        rustix::fs::renameat(&self.fd, REFUSED, &self.fd, aside)?;
        Ok(rustix::fs::mkdirat(&self.fd, REFUSED, Mode::RWXU)?)
    }

    /// What about its permissions is not as it should be, for the log.
    pub fn trouble(&self) -> io::Result<Option<String>> {
        let stat = rustix::fs::fstat(&self.fd)?;
        let mode = stat.st_mode & 0o7777;
        let ours = rustix::process::geteuid().as_raw();
        let what = if stat.st_uid != ours && ours != 0 {
            "does not belong to the server's user, so the server cannot remove files after it has accepted them"
        } else if mode & 0o044 != 0 {
            "can be read by other users, who can see who sends mail"
        } else if mode & 0o022 == 0 {
            "is closed to all users except the server: no other user can submit mail"
        } else if mode & 0o022 != 0 && mode & 0o1000 == 0 {
            "is not sticky: users can remove each other's mail"
        } else if mode & 0o002 != 0 && mode & 0o2000 == 0 && ours != 0 {
            "is not setgid: the server cannot read what users put there"
        } else {
            return Ok(None);
        };
        let path = self.path.display();
        Ok(Some(format!(
            "the drop directory {path} (mode {mode:04o}) {what}; `chmod {MODE:o} {path}` as its owner corrects \
             that"
        )))
    }

    /// The names of drops, the oldest first, and of what has no business here.
    pub fn list(&self, now: Timestamp) -> io::Result<(Vec<String>, Vec<String>)> {
        let (mut whole, mut strange) = (Vec::new(), Vec::new());
        for entry in Dir::read_from(&self.fd)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(WHOLE) {
                whole.push(name);
            } else if name.ends_with(UNFINISHED) {
                self.remove_if_abandoned(&name, now);
            } else if !matches!(name.as_str(), "." | ".." | REFUSED) {
                strange.push(name);
            }
        }
        whole.sort();
        Ok((whole, strange))
    }

    fn remove_if_abandoned(&self, name: &str, now: Timestamp) {
        let written = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .ok()
            .and_then(|stat| u64::try_from(stat.st_mtime).ok());
        if written.is_some_and(|s| now.since(Timestamp::from_secs(s)) > UNFINISHED_FOR) {
            // Nobody was told that it would be sent; the next look tries again.
            drop(self.remove(name));
        }
    }

    /// The owner of a file and its octets, before it is opened.
    pub fn stat(&self, name: &str) -> Option<(u32, u64)> {
        let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_uid, u64::try_from(stat.st_size).ok()?))
    }

    /// Reads a drop whose content is no larger than `content_max`.
    pub fn read(&self, name: &str, content_max: u64) -> Result<Taken, Unread> {
        // A name may lead anywhere by now, and a FIFO has nobody at its other end.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd =
            rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map_err(
                |errno| match errno {
                    Errno::NOENT => Unread::Gone,
                    Errno::LOOP => Bad::Kind("symbolic link").into(),
                    Errno::NXIO => Bad::Kind("socket").into(),
                    Errno::ACCESS | Errno::PERM => Bad::Closed.into(),
                    other => Unread::Later(other.into()),
                },
            )?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| Unread::Later(e.into()))?;
        self.judge(&stat)?;
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let too_large = size > content_max.saturating_add(ENVELOPE_MAX);
        let max = if too_large { BEGINNING } else { size };
        let mut octets = Vec::with_capacity(usize::try_from(max).unwrap_or(0));
        File::from(fd)
            .take(max)
            .read_to_end(&mut octets)
            .map_err(Unread::Later)?;
        let read = match too_large {
            true => Drop::read_beginning(&octets.into(), size),
            false => Drop::read(&octets.into()),
        };
        let (drop, content) = read.map_err(Bad::from)?;
        Ok(Taken {
            owner: stat.st_uid,
            drop,
            content,
            too_large,
        })
    }

    fn judge(&self, stat: &Stat) -> Result<(), Bad> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(Bad::Kind("directory")),
            FileType::Fifo => return Err(Bad::Kind("FIFO")),
            FileType::Symlink
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => return Err(Bad::Kind("special file")),
        }
        // Another user's file that was linked, or moved, to here is not that user's mail.
        if stat.st_nlink != 1 {
            return Err(Bad::Linked);
        }
        if self.group.is_some_and(|group| group != stat.st_gid) {
            return Err(Bad::Foreign);
        }
        Ok(())
    }

    /// Gives a drop another name, by which it is taken: what can be renamed can be removed. The new name;
    /// `None` when it is not there any more. One that bears such a name from an earlier try gets the other.
    pub fn claim(&self, name: &str) -> io::Result<Option<String>> {
        let claimed = match name.strip_prefix(CLAIMED) {
            Some(plain) => plain.to_owned(),
            None => format!("{CLAIMED}{name}"),
        };
        match rustix::fs::renameat(&self.fd, name, &self.fd, &claimed) {
            Ok(()) => Ok(Some(claimed)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what has been taken.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts something where only the server's user finds it; returns its new name. A directory of somebody else
    /// cannot be moved to another one; it is removed where it is empty.
    pub fn refuse(&self, name: &str) -> io::Result<PathBuf> {
        let plain = name.strip_prefix(CLAIMED).unwrap_or(name);
        let to = format!("{REFUSED}/{plain}");
        match rustix::fs::renameat(&self.fd, name, &self.fd, &to) {
            Ok(()) => Ok(self.path.join(to)),
            Err(Errno::ACCESS | Errno::PERM | Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR) => {
                rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)?;
                Ok(self.path.join(name))
            }
            Err(error) => Err(error.into()),
        }
    }
}
