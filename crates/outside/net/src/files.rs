//! Small files, replaced as a whole: the one door by which they are written.
//!
//! Who may write in the same directory gains nothing by what he puts there: a new text goes into a file
//! with a name that nobody can guess, opened only where nothing has that name, in a directory that is held
//! open meanwhile; owner and mode are set by descriptor. **Invariant:** a crash leaves the old text or the
//! new one, and what is returned from is on the disk with its name.
//!
//! With whose rights this is done is not decided here: root takes on another identity before.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, Stat, fchmod, fchown, fstat, fsync};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};
use rustix::rand::GetRandomFlags;

/// For its owner alone.
const PRIVATE: u32 = 0o600;
/// A directory for its owner alone.
const PRIVATE_DIR: u32 = 0o700;
/// A directory that others pass through and cannot look around in.
const PASSED_DIR: u32 = 0o711;
/// What a mode says of users, and nothing else.
const MODES: Mode = Mode::RWXU.union(Mode::RWXG).union(Mode::RWXO);

/// Replaces a file by this text, as a whole and synced, readable by its owner only. Its owner stays
/// whoever it was; a new file belongs to the owner of its directory, so that what an administrator
/// writes as root the server can read. A directory that is missing is made; others may pass through it.
///
/// # Errors
/// When it cannot be written, or given to its owner.
pub fn write_private(path: &Path, text: impl AsRef<[u8]>) -> io::Result<()> {
    make_dir(directory(path), PASSED_DIR)?;
    let mut fresh = Fresh::beside(path, PRIVATE)?;
    fresh.write_all(text.as_ref())?;
    fresh.replace(path)
}

/// Makes a file of this text as [`write_private`] does, and never touches one that is there. A
/// directory that is missing is made for the owner of the one above it, and for nobody else.
///
/// # Errors
/// When it is there already, or cannot be written.
pub fn create_private(path: &Path, text: &str) -> io::Result<()> {
    let dir = directory(path);
    make_dir(directory(dir), PASSED_DIR)?;
    make_dir(dir, PRIVATE_DIR)?;
    let mut fresh = Fresh::beside(path, PRIVATE)?;
    fresh.write_all(text.as_bytes())?;
    fresh.create(path)
}

/// Makes a directory, and those above it, where it is missing, with this mode whatever the umask is. As root,
/// for the owner of the one above.
///
/// # Errors
/// When it cannot be made, or given to its owner.
pub fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let (above, name) = (directory(path), name(path)?);
    make_dir(above, mode)?;
    let above = open_dir(above)?;
    match rustix::fs::mkdirat(&above, name, Mode::from_raw_mode(mode)) {
        Ok(()) => {}
        // Somebody else was quicker. A link that leads nowhere is an error of whoever opens it.
        Err(Errno::EXIST) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(&above, name, flags, Mode::empty())?;
    give(&made, &fstat(&above)?)?;
    if Mode::from_raw_mode(fstat(&made)?.st_mode) & MODES != Mode::from_raw_mode(mode) {
        fchmod(&made, Mode::from_raw_mode(mode))?;
    }
    Ok(fsync(&above)?)
}

/// Opens a file to append to it; one that is not there is made with this mode, whatever the umask is.
///
/// # Errors
/// When it cannot be opened or made.
pub fn open_appending(path: &Path, mode: u32) -> io::Result<File> {
    match OpenOptions::new().append(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).mode(mode).open(path)?;
    fchmod(&file, Mode::from_raw_mode(mode))?;
    Ok(file)
}

/// A file under a name that nobody knows yet; gone again, unless it is given another.
#[derive(Debug)]
pub struct Fresh {
    dir: OwnedFd,
    name: String,
    file: File,
    placed: bool,
}

impl Fresh {
    /// A file in this directory, with this mode.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn within(dir: &Path, mode: u32) -> io::Result<Self> {
        let mut random = [0u8; 16];
        // So few octets are given whole.
        rustix::rand::getrandom(&mut random, GetRandomFlags::empty())?;
        let name = format!(".{:032x}.new", u128::from_ne_bytes(random));
        let dir = open_dir(dir)?;
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&dir, &name, flags, Mode::from_raw_mode(PRIVATE))?;
        let fresh = Self {
            dir,
            name,
            file: File::from(opened),
            placed: false,
        };
        if mode != PRIVATE {
            fchmod(&fresh.file, Mode::from_raw_mode(mode))?;
        }
        Ok(fresh)
    }

    /// A file that will have this name, with the owner of what has it now, or else of the directory.
    fn beside(path: &Path, mode: u32) -> io::Result<Self> {
        let fresh = Self::within(directory(path), mode)?;
        let wanted = match rustix::fs::statat(&fresh.dir, name(path)?, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => fstat(&fresh.dir),
            found => found,
        };
        give(&fresh.file, &wanted?)?;
        Ok(fresh)
    }

    /// Gives it this name, in place of what has it; on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be synced or named; nothing of it is left then.
    pub fn replace(mut self, path: &Path) -> io::Result<()> {
        let dir = open_dir(directory(path))?;
        self.file.sync_all()?;
        rustix::fs::renameat(&self.dir, &self.name, &dir, name(path)?)?;
        self.placed = true;
        Ok(fsync(&dir)?)
    }

    /// Gives it this name, which must be free; on the disk when this returns.
    fn create(self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        let dir = &self.dir;
        rustix::fs::linkat(dir, &self.name, dir, name(path)?, AtFlags::empty())?;
        rustix::fs::unlinkat(dir, &self.name, AtFlags::empty())?;
        Ok(fsync(dir)?)
    }
}

impl Write for Fresh {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.file.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.placed {
            // After a failure, and after another name was given, which may have taken this one away.
            rustix::fs::unlinkat(&self.dir, &self.name, AtFlags::empty()).unwrap_or_default();
        }
    }
}

/// Root's new files are not root's where the directory is not.
fn give(file: impl std::os::fd::AsFd, wanted: &Stat) -> io::Result<()> {
    let own = fstat(&file)?;
    if (own.st_uid, own.st_gid) != (wanted.st_uid, wanted.st_gid) && geteuid().is_root() {
        let (uid, gid) = (Uid::from_raw(wanted.st_uid), Gid::from_raw(wanted.st_gid));
        fchown(&file, Some(uid), Some(gid))?;
    }
    Ok(())
}

fn open_dir(dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(dir, flags, Mode::empty())?)
}

/// Where a file of this path is.
fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        Some(_) | None => Path::new("."),
    }
}

fn name(path: &Path) -> io::Result<&OsStr> {
    path.file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, chown, symlink};
    use std::path::PathBuf;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("sendoff-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn the_owner_stays_and_nobody_else_may_read() {
        let dir = scratch("files");
        let path = dir.join("secret.toml");
        let as_root = fs::metadata(&dir).unwrap().uid() == 0;
        if as_root {
            chown(&dir, Some(65_534), Some(65_534)).unwrap();
        }
        write_private(&path, "one").unwrap();
        let first = fs::metadata(&path).unwrap();
        assert_eq!(first.mode() & 0o777, 0o600);
        if as_root {
            assert_eq!((first.uid(), first.gid()), (65_534, 65_534));
            chown(&path, Some(1), Some(1)).unwrap();
            write_private(&path, "two").unwrap();
            assert_eq!(fs::metadata(&path).unwrap().uid(), 1);
        }
        write_private(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_is_there_is_never_overwritten() {
        let dir = scratch("keys");
        let path = dir.join("new").join("key.pem");
        create_private(&path, "one").unwrap();
        let again = create_private(&path, "two").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let new = dir.join("new");
        assert_eq!(fs::metadata(&new).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&new).unwrap().count(), 1);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn links_in_place_of_a_file_are_replaced_and_their_targets_stay() {
        let dir = scratch("links");
        let (target, path) = (dir.join("target"), dir.join("users.toml"));
        fs::write(&target, "untouched").unwrap();
        symlink(&target, &path).unwrap();
        create_private(&path, "x").unwrap_err();
        write_private(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "untouched");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        // A directory in its place cannot be replaced, and nothing is left beside it.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        write_private(&path, "new").unwrap_err();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn no_two_files_have_the_same_name_before_their_own() {
        let dir = scratch("fresh");
        let (one, two) = (Fresh::within(&dir, 0o640), Fresh::within(&dir, 0o640));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_ne!(one.name, two.name);
        let found = fs::metadata(dir.join(&one.name)).unwrap();
        assert_eq!(found.mode() & 0o777, 0o640);
        one.replace(&dir.join("one")).unwrap();
        drop(two);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::remove_dir_all(dir).unwrap();
    }
}
