//! What files the process may touch: Landlock, so that whoever takes the server over reaches no others.
//!
//! The kernel holds a thread to the rules from the moment on that it asks for it, and those that it begins: so this
//! comes before there are others. The server runs no commands, and execution is denied everywhere. Rules are
//! of directories, because what is replaced by renaming is another file. Connections to local sockets (LMTP,
//! the service manager) are not of files.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use config::sandbox::Sandbox;
use config::{Config, LocalStore};
use journal::LOG_DIR_MODE;
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};

/// Where the system keeps what everybody may read: users, resolver, certificates, libraries of the user database.
const SYSTEM: [&str; 14] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/proc",
    "/sys/fs/cgroup",
    "/run/systemd/resolve",
    "/run/systemd/userdb",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/var/lib/sss",
    "/nix/store",
    "/dev/urandom",
    "/dev/null",
];
const DROPS: &str = "sendmail.drop_dir";
const LOG: &str = "log.file";
const MAILDIRS: &str = "local.deliver";
/// Programs that read mailboxes are in their group.
const MAILDIR_MODE: u32 = 0o750;
const RESOLVER: &str = "/etc/resolv.conf";
/// Rights of the newest kernel that this was written for.
const KNOWN: ABI = ABI::V6;
/// The oldest whose rights suffice: before it, nothing could be renamed into another directory.
const NEEDED: ABI = ABI::V2;
/// Directories that are looked into for mailboxes that are links.
const LOOKED_INTO: usize = 10_000;

/// What is written, with the key that says so.
fn written(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let mut written = vec![("data_dir", config.data_dir.clone())];
    let drops = config.sendmail.drop_dir.clone();
    written.extend(drops.map(|dir| (DROPS, dir)));
    let log = config.log.file.as_deref().map(directory);
    written.extend(log.map(|dir| (LOG, dir)));
    if !config.intake.paths.is_empty() {
        written.push(("return_path.secrets_file", directory(&config.paths.secrets)));
    }
    if let LocalStore::Maildir(template) = &config.local {
        written.push((MAILDIRS, maildir_root(template)));
    }
    let http = config.console.listeners.iter();
    let http = http.filter_map(|http| http.address.unix());
    written.extend(http.map(|socket| ("http.address", directory(socket))));
    let more = config.sandbox.paths.iter().cloned();
    written.extend(more.map(|path| ("sandbox.paths", path)));
    written
}

/// What is read, with the key that says so.
fn read(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let mut read = Vec::new();
    let path = config.path.as_deref();
    read.extend(path.map(|path| ("the configuration", path.to_owned())));
    read.push(("users.file", config.users_file.clone()));
    read.push(("console.keys", config.console.keys.clone()));
    let named = config.named.files.iter();
    read.extend(named.map(|file| (file.key, file.path.clone())));
    let included = config.included.files.iter();
    read.extend(included.map(|path| ("include", path.clone())));
    // Where a name is a link, what it leads to is changed by leading it to a neighbour.
    let led = read.iter().filter_map(|(key, path)| {
        let target = path.canonicalize().ok()?;
        Some((*key, directory(&target)))
    });
    let led: Vec<_> = led.collect();
    let named = read.into_iter().map(|(key, path)| (key, directory(&path)));
    let patterns = config.included.directories.iter();
    let patterns = patterns.map(|dir| ("include", dir.clone()));
    named.chain(led).chain(patterns).collect()
}

fn system() -> Vec<PathBuf> {
    let mut system: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    let resolver = Path::new(RESOLVER).canonicalize().ok();
    system.extend(resolver.map(|path| directory(&path)));
    for variable in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        system.extend(std::env::var_os(variable).map(PathBuf::from));
    }
    system
}

fn directory(file: &Path) -> PathBuf {
    match file.parent() {
        Some(above) if above.as_os_str().is_empty() => PathBuf::from("."),
        above => above.unwrap_or(file).to_owned(),
    }
}

/// The directory that all mailboxes are in.
pub fn maildir_root(template: &str) -> PathBuf {
    let fixed = Path::new(template).components().take_while(|step| {
        let text = step.as_os_str().to_string_lossy();
        !matches!(step, Component::Normal(_)) || !text.contains('{')
    });
    fixed.collect()
}

/// Confines the thread, and all that it begins. What is to be told of it.
pub(super) fn confine(config: &Config) -> Result<(Sandbox, Option<String>)> {
    if !config.sandbox.enabled {
        return Ok((Sandbox::default(), None));
    }
    if !is_supported() {
        let note = "the process has no sandbox: this kernel does not support Landlock (it needs Linux 5.19 or \
                    later and `landlock` in lsm=), or a filter of the service manager blocks it \
                    (SystemCallFilter=)";
        return Ok((Sandbox::default(), Some(note.to_owned())));
    }
    let (mut missing, mut sandbox) = (Vec::new(), Sandbox::default());
    sandbox.is_on = true;
    for (key, dir) in written(config) {
        // A rule is of a directory that is there.
        if make(key, &dir).is_err() {
            missing.push(format!("{} ({key})", dir.display()));
        }
        sandbox.write.extend(dir.canonicalize());
    }
    let read = read(config).into_iter().map(|(_, dir)| dir);
    let read = read
        .chain(system())
        .filter_map(|dir| dir.canonicalize().ok());
    sandbox.read.extend(read);
    let files = AccessFs::from_all(KNOWN);
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    enforce(&sandbox, files, reading).context("confining the process to its files (sandbox)")?;
    let note = (!missing.is_empty()).then(|| {
        format!(
            "cannot be created, so nothing is written there until a restart: {}",
            missing.join(", ")
        )
    });
    Ok((sandbox, note))
}

/// Makes a directory as it is made by those who write there.
fn make(key: &str, dir: &Path) -> std::io::Result<()> {
    match key {
        DROPS => drops::make(dir),
        LOG => net::make_dir(dir, LOG_DIR_MODE),
        MAILDIRS => net::make_dir(dir, MAILDIR_MODE),
        _ => net::make_dir(dir, super::DATA_DIR_MODE),
    }
}

/// Whether the kernel has the rights that are needed.
fn is_supported() -> bool {
    let asked = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(NEEDED));
    asked.and_then(Ruleset::create).is_ok()
}

fn enforce(
    sandbox: &Sandbox,
    writing: BitFlags<AccessFs>,
    reading: BitFlags<AccessFs>,
) -> Result<()> {
    let null = AccessFs::ReadFile | AccessFs::WriteFile;
    let status = Ruleset::default()
        .handle_access(writing)?
        .scope(Scope::Signal)?
        .create()?
        .add_rules(path_beneath_rules(&sandbox.read, reading))?
        .add_rules(path_beneath_rules(["/dev/null"], null))?
        .add_rules(path_beneath_rules(
            &sandbox.write,
            writing & !AccessFs::Execute,
        ))?
        .restrict_self()?;
    match status.ruleset {
        RulesetStatus::NotEnforced => anyhow::bail!("the kernel did not enforce the rules"),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

/// What a new configuration needs outside the rules, which stand until the end of the process.
pub fn lacks(sandbox: &Sandbox, config: &Config) -> Option<String> {
    if !sandbox.is_on {
        return None;
    }
    let outside = |dirs: &[PathBuf], path: &Path| {
        // What will be made is where it will be made.
        let there = path.ancestors().find_map(|p| p.canonicalize().ok());
        !there.is_some_and(|there| dirs.iter().any(|dir| there.starts_with(dir)))
    };
    let all: Vec<PathBuf> = sandbox.read.iter().chain(&sandbox.write).cloned().collect();
    let write = written(config)
        .into_iter()
        .find(|(_, path)| outside(&sandbox.write, path));
    let lacking = write.or_else(|| read(config).into_iter().find(|(_, dir)| outside(&all, dir)));
    lacking.map(|(key, path)| {
        format!(
            "{} ({key}) is outside the sandbox of the process, which needs a restart",
            path.display()
        )
    })
}

/// What is added to a file's error that the rules may be the reason of.
pub fn explain(sandbox: &Sandbox, why: &str) -> String {
    match sandbox.is_on && why.contains("Permission denied") {
        true => format!(
            "{why}; if the server's user may read it, its directory is outside the sandbox of the process, \
             which needs a restart"
        ),
        false => why.to_owned(),
    }
}

/// A line for each mailbox that is a link to where the rules do not let mail go.
pub fn mailboxes_elsewhere(config: &Config) -> Vec<String> {
    let LocalStore::Maildir(template) = &config.local else {
        return Vec::new();
    };
    if !config.sandbox.enabled {
        return Vec::new();
    }
    let root = maildir_root(template);
    // Its own directories, `new` among them, may be links as well.
    let depth = Path::new(template).components().count() - root.components().count() + 1;
    let open = written(config).into_iter();
    let open: Vec<PathBuf> = open
        .filter_map(|(_, dir)| dir.canonicalize().ok())
        .collect();
    let (mut found, mut looked) = (Vec::new(), 0);
    let mut left = vec![(root, depth)];
    while let Some((dir, depth)) = left.pop() {
        looked += 1;
        if looked > LOOKED_INTO {
            found.push(format!(
                "only {LOOKED_INTO} mailbox directories were checked"
            ));
            break;
        }
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(target) = path.canonicalize() else {
                continue;
            };
            if !open.iter().any(|dir| target.starts_with(dir)) {
                let (path, target) = (path.display(), target.display());
                found.push(format!(
                    "the mailbox {path} is a link to {target}, where the process is not allowed to write: add \
                     that, or a directory above it, to sandbox.paths"
                ));
            } else if depth > 1 && target.is_dir() {
                left.push((path, depth - 1));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_directory_is_in_the_present_one() {
        assert_eq!(directory(Path::new("sendoff.toml")), Path::new("."));
        assert_eq!(directory(Path::new("etc/sendoff.toml")), Path::new("etc"));
        assert_eq!(directory(Path::new("/")), Path::new("/"));
    }

    #[test]
    fn all_mailboxes_are_in_the_directory_above_the_first_name() {
        for (template, root) in [
            ("/var/mail/{domain}/{user}", "/var/mail"),
            ("/srv/boxes/{user}/Maildir", "/srv/boxes"),
            ("/srv/m-{domain}/{user}", "/srv"),
            ("/{user}", "/"),
        ] {
            assert_eq!(maildir_root(template), Path::new(root));
        }
    }
}
