//! Places that the server writes to.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use config::Config;
use rustix::fs::{Access, AtFlags, CWD, accessat, statvfs};
use rustix::io::Errno;

use super::{Doubt, there};

/// Why this process may not write into a directory, which may have to be made first; nothing where it may.
fn refused(dir: &Path) -> Option<String> {
    let nearest = there(dir);
    if !nearest.is_dir() {
        return Some(format!("{} is not a directory", nearest.display()));
    }
    let asked = Access::WRITE_OK | Access::EXEC_OK;
    let why = match accessat(CWD, &nearest, asked, AtFlags::EACCESS) {
        Ok(()) => return None,
        Err(Errno::ROFS) => "the file system is read-only for this process".to_owned(),
        Err(Errno::ACCESS) => format!(
            "{} is not allowed to write there, it belongs to {}",
            rights::name_of_user(rustix::process::geteuid().as_raw()),
            owner(&nearest)
        ),
        Err(error) => error.to_string(),
    };
    let (wanted, nearest) = (dir.display(), nearest.display());
    Some(match dir.exists() {
        true => format!("{wanted} cannot be written: {why}"),
        false => format!("{wanted} does not exist, and cannot be created in {nearest}: {why}"),
    })
}

fn owner(path: &Path) -> String {
    let owner = path
        .metadata()
        .map(|found| rights::name_of_user(found.uid()));
    owner.unwrap_or_else(|_| "another user".to_owned())
}

/// What is made or opened at the start, or the server does not start.
pub fn unusable(config: &Config) -> Vec<Doubt> {
    let mut found = Vec::new();
    let mut add = |key, dir: &Path, remedy: &str| {
        if let Some(why) = refused(dir) {
            found.push(Doubt::of(key, format!("{why}: {remedy}")));
        }
    };
    let user = rights::name_of_user(rustix::process::geteuid().as_raw());
    let give = |dir: &Path| {
        let dir = dir.display();
        format!("make it and give it to the server's user (install -d -o {user} {dir})")
    };
    add("data_dir", &config.data_dir, &give(&config.data_dir));
    if let Some(file) = &config.log.file {
        let dir = file.parent().unwrap_or(file);
        add("log.file", dir, &give(dir));
        if let Some(why) = unappendable(file) {
            let remedy = format!(
                "give it to the server's user (chown {user} {})",
                file.display()
            );
            found.push(Doubt::of("log.file", format!("{why}: {remedy}")));
        }
    }
    found
}

/// Why a file that is there cannot be written.
fn unappendable(file: &Path) -> Option<String> {
    if !file.exists() {
        return None;
    }
    let error = accessat(CWD, file, Access::WRITE_OK, AtFlags::EACCESS).err()?;
    Some(format!("{} cannot be written: {error}", file.display()))
}

/// What mail or programs need later.
pub(super) fn doubts(config: &Config) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    for root in super::mailboxes(config) {
        if let Some(why) = refused(&root) {
            let what = format!(
                "mail for local domains waits, because {why}: make the directory and give it to the server's user; \
                 in the systemd service also allow it (`systemctl edit sendoff`, [Service], ReadWritePaths={})",
                root.display()
            );
            doubts.push(Doubt::of("local.deliver", what));
        }
    }
    if let Some(drops) = &config.sendmail.drop_dir
        && let Some(why) = refused(drops)
    {
        let what = format!(
            "mail of the sendmail command is not accepted, because {why}: make the directory and give it to the \
             server's user"
        );
        doubts.push(Doubt::of("sendmail.drop_dir", what));
    }
    doubts.extend(unix_sockets(config));
    doubts.extend(low(config));
    let user = rights::name_of_user(rustix::process::geteuid().as_raw());
    let read: [(&'static str, &PathBuf); 2] = [
        ("users.file", &config.users_file),
        ("console.keys", &config.console.keys),
    ];
    for (key, file) in read {
        let unread = accessat(CWD, file, Access::READ_OK, AtFlags::EACCESS).err();
        // What is not there yet is made when somebody is added.
        if let Some(error) = unread.filter(|error| *error != Errno::NOENT) {
            let file = file.display();
            let what = format!(
                "nobody in {file} can log in, because {user} cannot read it ({error}): give it to the server's \
                 user (chown {user} {file})"
            );
            doubts.push(Doubt::of(key, what));
        }
    }
    doubts
}

/// Unix sockets for HTTP that the server cannot make; a service manager may.
fn unix_sockets(config: &Config) -> Vec<Doubt> {
    let listeners = config.console.listeners.iter();
    let sockets = listeners.filter_map(|listener| Some((listener.key, listener.address.unix()?)));
    let doubt = |(key, socket): (&'static str, &Path)| {
        let why = refused(socket.parent()?)?;
        let what = format!(
            "the server starts only if systemd opens the socket, because {why}: give the directory to the server's \
             user, or name the socket in the socket unit (ListenStream={})",
            socket.display()
        );
        Some(Doubt::of(key, what))
    };
    sockets.filter_map(doubt).collect()
}

/// Whether the queue's disk has less room than mail is taken in with.
fn low(config: &Config) -> Option<Doubt> {
    let found = statvfs(there(&config.data_dir)).ok()?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    (free < config.queue.reserve_bytes).then(|| {
        let what = format!(
            "mail is refused: the disk of {dir} has {free} MB free, less than queue.reserve ({reserve} MB): free some \
             space, or set queue.reserve lower",
            dir = config.data_dir.display(),
            free = free / 1_000_000,
            reserve = config.queue.reserve_bytes / 1_000_000,
        );
        Doubt::of("queue.reserve", what)
    })
}
