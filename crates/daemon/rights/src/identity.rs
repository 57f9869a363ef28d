//! With whose rights root's commands write.
//!
//! In a directory of the service account, that account may put a link in place of anything. So root becomes
//! the first owner other than root of what leads to the directory, before it opens anything there: from that
//! place on the owner could lead it anywhere, and now no further than he comes himself. What belongs to root
//! nobody else can change, so looking at it is safe.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

use anyhow::{Context, Result, anyhow};
use net::Person;
use nix::unistd::{Gid, Uid};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Symbolic links on one path, as many as the kernel follows.
const LINKS_MAX: usize = 40;

/// Whoever owns something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    uid: u32,
    gid: u32,
}

/// As root: takes on, for good, the identity of whom the directory belongs to, or may be led elsewhere by.
/// Where it belongs to root all the way, and for any other user, nothing changes.
pub fn take_on_for(directory: &Path) -> Result<()> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let looked = first_owner(directory)
        .with_context(|| format!("looking up the owner of {}", directory.display()))?;
    match looked {
        Some(owner) => become_owner(owner)
            .with_context(|| format!("becoming the owner of {}", directory.display())),
        None => Ok(()),
    }
}

/// As [`take_on_for`], for the directory that this file is in.
pub fn take_on_for_file(file: &Path) -> Result<()> {
    take_on_for(file.parent().unwrap_or(file))
}

fn become_owner(owner: Owner) -> Result<()> {
    let uid = Uid::from_raw(owner.uid);
    // Somebody whom the user database does not know is in the group of the directory.
    match Person::with(uid)? {
        Some(user) => become_user(&user),
        None => {
            let gid = Gid::from_raw(owner.gid);
            nix::unistd::setgroups(&[gid]).map_err(|e| refused(owner.uid, &e))?;
            set_ids(uid, gid)
        }
    }
}

/// Becomes this user with its groups, for good.
pub(super) fn become_user(user: &Person) -> Result<()> {
    let groups = user.take_on_groups();
    groups.map_err(|e| refused(user.uid.as_raw(), &e))?;
    set_ids(user.uid, user.gid)
}

fn set_ids(uid: Uid, gid: Gid) -> Result<()> {
    nix::unistd::setresgid(gid, gid, gid).map_err(|e| refused(uid.as_raw(), &e))?;
    nix::unistd::setresuid(uid, uid, uid).map_err(|e| refused(uid.as_raw(), &e))
}

fn refused(uid: u32, error: &dyn std::fmt::Display) -> anyhow::Error {
    anyhow!(
        "root is not allowed to become user {uid} here ({error}): run the command as that user, by `setpriv \
         --reuid {uid} --clear-groups sendoff ...`"
    )
}

/// The first owner other than root of the directories and links that lead to `path`, and of itself.
fn first_owner(path: &Path) -> Result<Option<Owner>> {
    let path = std::path::absolute(path)?;
    let mut left: VecDeque<OsString> = names(&path);
    let mut at = open_directory(rustix::fs::CWD, Path::new("/"))?;
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        let found = match rustix::fs::statat(&at, &name, AtFlags::SYMLINK_NOFOLLOW) {
            // The rest will be made by root, in what is root's.
            Err(Errno::NOENT) => return Ok(None),
            found => found?,
        };
        if found.st_uid != 0 {
            return Ok(Some(Owner {
                uid: found.st_uid,
                gid: found.st_gid,
            }));
        }
        if !FileType::from_raw_mode(found.st_mode).is_symlink() {
            at = open_directory(&at, Path::new(&name))?;
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(Errno::LOOP.into());
        }
        let target = rustix::fs::readlinkat(&at, &name, Vec::new())?;
        let target = OsString::from_vec(target.into_bytes());
        if target.as_bytes().starts_with(b"/") {
            at = open_directory(rustix::fs::CWD, Path::new("/"))?;
        }
        let steps = names(Path::new(&target)).into_iter().rev();
        steps.for_each(|name| left.push_front(name));
    }
    Ok(None)
}

/// The steps of a path, `..` among them.
fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|step| matches!(step, Component::Normal(_) | Component::ParentDir))
        .map(|step| step.as_os_str().to_owned())
        .collect()
}

fn open_directory(at: impl std::os::fd::AsFd, name: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    #[test]
    fn the_first_owner_other_than_root_is_found_along_links() {
        if !Uid::effective().is_root() {
            // Nobody else can make what belongs to others.
            return;
        }
        let dir = std::env::temp_dir().join(format!("sendoff-owner-{}", std::process::id()));
        for inner in ["roots", "theirs/dkim"] {
            fs::create_dir_all(dir.join(inner)).unwrap();
        }
        chown(dir.join("theirs"), Some(7), Some(8)).unwrap();
        symlink("roots/../theirs", dir.join("relative")).unwrap();
        symlink(dir.join("roots"), dir.join("absolute")).unwrap();
        symlink(dir.join("roots"), dir.join("planted")).unwrap();
        std::os::unix::fs::lchown(dir.join("planted"), Some(9), Some(9)).unwrap();
        symlink("loop", dir.join("loop")).unwrap();
        let owner = |name: &str| first_owner(&dir.join(name)).unwrap().map(|o| o.uid);
        assert_eq!(owner("roots/missing/deeper"), None);
        assert_eq!(owner("absolute"), None);
        // What is below belongs to root, and he could put something else in its place.
        assert_eq!(owner("theirs/dkim"), Some(7));
        assert_eq!(owner("relative/dkim"), Some(7));
        assert_eq!(owner("planted"), Some(9));
        assert!(first_owner(&dir.join("loop")).is_err());
        fs::remove_dir_all(dir).unwrap();
    }
}
