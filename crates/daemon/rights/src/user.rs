//! As whom the server runs: started as root, it becomes a user without rights once its sockets are open.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fs, io};

use anyhow::{Context, Result, anyhow, bail};
use config::Config;
use net::Person;
use nix::unistd::Uid;
use rustix::fs::{Mode, OFlags, fchown};
use rustix::process::{Gid as RawGid, Uid as RawUid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::DATA_DIR_MODE;
use super::identity::{become_user, take_on_for};

/// Whom the server becomes where the configuration names nobody.
const USUAL: &str = "sendoff";
const ROOT: &str = "root";

/// Becomes the server's user for good, with a data directory of its own, and gives up every capability but that of
/// opening low ports, where the service manager gave it: a reload may open listeners. What is to be told of it.
pub(super) fn settle(config: &Config) -> Result<Option<String>> {
    let dir = &config.data_dir;
    let is_root = Uid::effective().is_root();
    let (user, note) = match is_root {
        true => wanted(config)?,
        false => (None, not_root(config)),
    };
    make_data_dir(dir, user.as_ref())?;
    let own = user.as_ref().map_or_else(Uid::effective, |user| user.uid);
    for dir in [dir.clone(), dir.join("spool")] {
        check_owner(&dir, own)?;
    }
    if let Some(user) = &user {
        become_user(user).with_context(|| format!("user: becoming {}", user.name))?;
    }
    let kept = match own.is_root() {
        true => None,
        false => give_up_capabilities().err().map(|error| {
            format!(
                "the server keeps the capabilities that it was started with ({error}): perhaps a filter of the \
                 service manager blocks capset (SystemCallFilter=)"
            )
        }),
    };
    Ok(note.or(kept))
}

/// Whom root is to become; nobody where it stays root, with a word about that unless it was asked for.
fn wanted(config: &Config) -> Result<(Option<Person>, Option<String>)> {
    let name = config.user.as_deref().unwrap_or(USUAL);
    if name == ROOT {
        return Ok((None, None));
    }
    match Person::named(name).with_context(|| format!("user: looking for {name}"))? {
        Some(user) => Ok((Some(user), None)),
        None if config.user.is_some() => bail!(
            "user: there is no user {name} here: make it (useradd --system --user-group {name}), or name \
             another; user = \"{ROOT}\" keeps root's rights"
        ),
        None => {
            let note = format!(
                "the server runs as root, because there is no user {USUAL}: make one (useradd --system \
                 --user-group {USUAL}) and give it data_dir, or set user = \"{ROOT}\""
            );
            Ok((None, Some(note)))
        }
    }
}

/// Who is not root cannot become anybody.
fn not_root(config: &Config) -> Option<String> {
    let name = config.user.as_deref()?;
    let user = Person::named(name).ok().flatten();
    let is = user.is_some_and(|user| user.uid == Uid::effective());
    (!is).then(|| {
        format!(
            "user is {name}, but the server was started by user {}, and only root can switch to another user",
            Uid::effective()
        )
    })
}

/// Makes the data directory for the user where there is none.
fn make_data_dir(dir: &Path, user: Option<&Person>) -> Result<()> {
    let is_new = !dir.exists();
    net::make_dir(dir, DATA_DIR_MODE)
        .with_context(|| format!("creating the data directory {}", dir.display()))?;
    let Some(user) = user.filter(|_| is_new) else {
        return Ok(());
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::open(dir, flags, Mode::empty())?;
    let (uid, gid) = (
        RawUid::from_raw(user.uid.as_raw()),
        RawGid::from_raw(user.gid.as_raw()),
    );
    fchown(made, Some(uid), Some(gid))
        .with_context(|| format!("changing the owner of {}", dir.display()))
}

/// The name of a user, or its number where it has none.
pub fn name_of_user(uid: u32) -> String {
    let user = Person::with(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

/// As root: takes on, for good, the rights with which the server runs: those of this user, or of the owner of the data
/// directory, or, where there is none, of the user that the server would become.
pub fn take_on_the_servers(config: &Config, named: Option<&str>) -> Result<()> {
    if !Uid::effective().is_root() {
        return match named {
            Some(name) if name != name_of_user(Uid::effective().as_raw()) => {
                bail!("only root can check with the rights of another user (--as {name})")
            }
            Some(_) | None => Ok(()),
        };
    }
    if let Some(name) = named {
        let user = Person::named(name)?;
        let user = user.ok_or_else(|| anyhow!("there is no user {name} here (--as)"))?;
        return become_user(&user);
    }
    take_on_for(&config.data_dir)?;
    if !Uid::effective().is_root() || config.data_dir.exists() {
        return Ok(());
    }
    match wanted(config)?.0 {
        Some(user) => become_user(&user),
        None => Ok(()),
    }
}

/// Why the server cannot keep its data directory as this process, where it is there already; where it is not, root
/// makes it.
pub fn check_data_dir(config: &Config) -> Result<()> {
    let own = Uid::effective();
    for dir in [config.data_dir.clone(), config.data_dir.join("spool")] {
        check_owner(&dir, own)?;
    }
    Ok(())
}

/// What belongs to somebody else could be changed by him, or not written.
fn check_owner(dir: &Path, own: Uid) -> Result<()> {
    let owner = match fs::metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found
            .with_context(|| format!("reading the owner of {}", dir.display()))?
            .uid(),
    };
    if owner == own.as_raw() {
        return Ok(());
    }
    let (owner, own) = (name_of_user(owner), name_of_user(own.as_raw()));
    let dir = dir.display();
    Err(anyhow!(
        "{dir} belongs to {owner}, and the server runs as {own}: give it to that user (chown -R {own}: {dir}), or \
         run the server as its owner (user = \"{owner}\", started by root), or let data_dir be a directory in it, which \
         the server makes"
    ))
}

/// A user other than root keeps what the service manager gave it (AmbientCapabilities=) until the sockets are open, and
/// then no more than the right to open low ports.
fn give_up_capabilities() -> rustix::io::Result<()> {
    let has = rustix::thread::capabilities(None)?;
    if has.permitted.is_empty() && has.inheritable.is_empty() {
        return Ok(());
    }
    rustix::thread::clear_ambient_capability_set()?;
    // A reload may open further listeners.
    let kept = has.permitted & CapabilitySet::NET_BIND_SERVICE;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )
}
