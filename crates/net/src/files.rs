//! Small files that hold secrets: replaced as a whole, for one reader.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::Path;

/// Replaces a file by this text, as a whole and synced, readable by its owner only. Its owner stays
/// whoever it was; a new file belongs to the owner of its directory, so that what an administrator
/// writes as root the server can read.
///
/// # Errors
/// When it cannot be written, or given to its owner.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let temporary = write_beside(path, text)?;
    fs::rename(&temporary, path)
}

/// Makes a file of this text as [`write_private`] does, and never touches one that is there. A
/// directory that is missing is made for the owner of the one above it, and for nobody else.
///
/// # Errors
/// When it is there already, or cannot be written.
pub fn create_private(path: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent()
        && !dir.exists()
    {
        let above = dir.parent();
        if let Some(above) = above {
            fs::create_dir_all(above)?;
        }
        fs::DirBuilder::new().mode(0o700).create(dir)?;
        let (own, wanted) = (fs::metadata(dir)?, fs::metadata(above.unwrap_or(dir))?);
        if own.uid() == 0 && wanted.uid() != 0 {
            chown(dir, Some(wanted.uid()), Some(wanted.gid()))?;
        }
    }
    let temporary = write_beside(path, text)?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    linked
}

/// Writes the text to a file beside `path`, synced and with its owner.
fn write_beside(path: &Path, text: &str) -> io::Result<OsString> {
    let dir = path.parent();
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(text.as_bytes())?;
    let owner = fs::metadata(path).or_else(|_| fs::metadata(dir.unwrap_or(path)));
    let (own, wanted) = (file.metadata()?, owner?);
    if (own.uid(), own.gid()) != (wanted.uid(), wanted.gid()) && own.uid() == 0 {
        chown(&temporary, Some(wanted.uid()), Some(wanted.gid()))?;
    }
    file.sync_all()?;
    Ok(temporary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_stays_and_nobody_else_may_read() {
        let dir = std::env::temp_dir().join(format!("sendoff-files-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
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
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_is_there_is_never_overwritten() {
        let dir = std::env::temp_dir().join(format!("sendoff-keys-{}", std::process::id()));
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
}
