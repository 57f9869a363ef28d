//! Small files that hold secrets: replaced as a whole, for one reader.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::Path;

/// Replaces a file by this text, as a whole and synced, readable by its owner only. Its owner stays
/// whoever it was; a new file belongs to the owner of its directory, so that what an administrator
/// writes as root the server can read.
///
/// # Errors
/// When it cannot be written, or given to its owner.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let dir = path.parent();
    if let Some(dir) = dir {
        fs::create_dir_all(dir)?;
    }
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
    fs::rename(&temporary, path)
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
}
