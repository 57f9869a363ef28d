//! `sendoff backup` and `sendoff restore`: a consistent copy of the queue and what belongs to it.
//!
//! A backup is a directory: `spool` (the queue and its history), `drop` (mail of programs that the server had
//! not taken yet), `data` (users, keys and the other small files of the data directory), the configuration and
//! what it includes, and last of all `backup.toml`, without which it is not whole. **Invariant:** what is restored is sent only when
//! an administrator says so, for some of it may have been delivered since the backup was made.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use config::Config;
use mail::Status;
use ops::BackedUpView;
use serde::{Deserialize, Serialize};
use store::{Filter, Op, Store};

use crate::opening;

/// Says that a backup is whole, and of when.
const MARK: &str = "backup.toml";
const SPOOL: &str = "spool";
const DROPS: &str = "drop";
const DATA: &str = "data";
/// Files that the configuration includes, as they stand below its directory.
const INCLUDED: &str = "included";
/// Others, with their whole path.
const INCLUDED_ELSEWHERE: &str = "included-elsewhere";
/// Where restored drops wait for an administrator.
const RESTORED_DROPS: &str = "restored-drop";
/// Where a queue is put together before it takes its place.
const UNFINISHED: &str = "spool.restoring";
/// Recipients that are held with one commit.
const HELD_AT_ONCE: usize = 200;

/// What `backup.toml` says.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    version: String,
    created: String,
    waiting: u64,
}

/// Makes a backup of the queue that `store` has open. Blocks.
pub(crate) fn make(config: &Config, store: &dyn Store, to: &Path) -> Result<BackedUpView> {
    let new = fs::DirBuilder::new().recursive(true).mode(0o700).create(to);
    new.with_context(|| format!("creating {} (is the server allowed to write there? In its sandbox, only in data_dir and sandbox.paths)", to.display()))?;
    if fs::read_dir(to)?.next().is_some() {
        bail!(
            "{} is not empty: a backup needs an empty directory",
            to.display()
        );
    }
    // A drop that is taken from now on is in the queue's copy, and known there by its token.
    copy_drops(config, &to.join(DROPS))?;
    let made = store.backup(&to.join(SPOOL))?;
    copy_data(config, to)?;
    if let Some(path) = &config.path {
        copy_file(path, &to.join("sendoff.toml")).with_context(|| copying(path))?;
        copy_included(config, path, to)?;
    }
    let mark = Mark {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created: net::now().to_string(),
        waiting: made.waiting,
    };
    write_synced(&to.join(MARK), toml::to_string(&mark)?.as_bytes())?;
    sync_dir(to)?;
    Ok(BackedUpView {
        directory: to.display().to_string(),
        waiting: made.waiting,
        bytes: made.bytes,
        unreadable: made.unreadable,
    })
}

/// Makes a backup while no server runs.
pub(crate) fn make_alone(config: &Config, to: &Path) -> Result<BackedUpView> {
    rights::take_on_for(&config.data_dir)?;
    let (spool, _) = opening::open_spool(config)?;
    make(config, &spool, to)
}

/// The files that the configuration includes: those below its own directory as they stand there, others with
/// their whole path.
fn copy_included(config: &Config, path: &Path, to: &Path) -> Result<()> {
    let base = path.parent().unwrap_or_else(|| Path::new(""));
    for file in &config.included.files {
        let absolute = std::path::absolute(file)?;
        let below = file.strip_prefix(base).ok().filter(|below| is_plain(below));
        let copy = match below {
            Some(below) => to.join(INCLUDED).join(below),
            None => to
                .join(INCLUDED_ELSEWHERE)
                .join(absolute.strip_prefix("/").unwrap_or(&absolute)),
        };
        if let Some(above) = copy.parent() {
            make_dir(above)?;
        }
        copy_file(file, &copy).with_context(|| copying(file))?;
    }
    Ok(())
}

/// Whether a path leads nowhere but down.
fn is_plain(path: &Path) -> bool {
    let mut steps = path.components();
    steps.all(|step| matches!(step, Component::Normal(_)))
}

fn copying(path: &Path) -> String {
    format!("copying {}", path.display())
}

fn copy_drops(config: &Config, to: &Path) -> Result<()> {
    let Some(from) = &config.sendmail.drop_dir else {
        return Ok(());
    };
    let entries = match fs::read_dir(from) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| copying(from))?,
    };
    for entry in entries {
        let entry = entry?;
        let is_drop = entry.file_type()?.is_file()
            && entry.file_name().to_string_lossy().ends_with(drops::WHOLE);
        if !is_drop {
            continue;
        }
        make_dir(to)?;
        match copy_file(&entry.path(), &to.join(entry.file_name())) {
            // The server took it meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            copied => copied.with_context(|| copying(&entry.path()))?,
        }
    }
    Ok(())
}

/// The small files of the data directory: all but this and other queues, the drops, the log, and other backups.
fn copy_data(config: &Config, to: &Path) -> Result<()> {
    let log = config.log.file.as_deref().and_then(Path::parent);
    let left_out = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy());
        matches!(name.as_deref(), Some(SPOOL | UNFINISHED | RESTORED_DROPS))
            || Some(path) == config.sendmail.drop_dir.as_deref()
            || Some(path) == log
            || to.starts_with(path)
            || path.join(MARK).exists()
            // A queue that was moved away.
            || path.join("history.db").exists()
    };
    copy_tree(&config.data_dir, &to.join(DATA), &left_out)
}

/// Copies files and directories, and nothing that is there already.
fn copy_tree(from: &Path, to: &Path, left_out: &dyn Fn(&Path) -> bool) -> Result<()> {
    make_dir(to)?;
    for entry in fs::read_dir(from).with_context(|| copying(from))? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let copy = to.join(entry.file_name());
        if left_out(&path) {
            continue;
        }
        if kind.is_dir() {
            copy_tree(&path, &copy, left_out)?;
        } else if kind.is_file() && !copy.exists() {
            copy_file(&path, &copy).with_context(|| copying(&path))?;
        }
    }
    sync_dir(to)
}

/// Copies one file, synced, for its owner alone.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = fs::File::open(from)?;
    let mut options = fs::OpenOptions::new();
    let mut copy = options.write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut source, &mut copy)?;
    copy.sync_all()
}

fn write_synced(path: &Path, octets: &[u8]) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(octets)?;
    Ok(file.sync_all()?)
}

fn make_dir(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.with_context(|| format!("creating {}", path.display()))
}

fn sync_dir(path: &Path) -> Result<()> {
    let synced = fs::File::open(path).and_then(|dir| dir.sync_all());
    synced.with_context(|| format!("syncing {}", path.display()))
}

/// How a backup is restored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// What waits is sent, not held.
    pub(crate) send: bool,
    /// What is whole of a damaged backup is taken.
    pub(crate) damaged: bool,
}

/// Puts the queue of a backup in the place of one that is not there; says what was done. No server may
/// run with this data directory.
pub(crate) fn restore(config: &Config, from: &Path, wanted: Wanted) -> Result<String> {
    rights::take_on_for(&config.data_dir)?;
    let mark = read_mark(from)?;
    let place = config.data_dir.join(SPOOL);
    if holds_segments(&place)? {
        bail!(
            "there is a queue in {}, which is never overwritten: stop the server and move that directory away \
             first",
            place.display()
        );
    }
    make_dir(&config.data_dir)?;
    let unfinished = config.data_dir.join(UNFINISHED);
    remove_tree(&unfinished)?;
    copy_tree(&from.join(SPOOL), &unfinished, &|_| false)?;
    let (spool, recovered) = opening::open_spool_in(config, &unfinished)?;
    let faults = faults_of(&recovered, &spool, &mark);
    if !faults.is_empty() && !wanted.damaged {
        drop(spool);
        remove_tree(&unfinished)?;
        bail!(
            "this backup is damaged, nothing was restored: {}. --damaged restores what is not damaged",
            faults.join("; ")
        );
    }
    let waiting = recovered.waiting;
    if !wanted.send {
        hold_all(&spool)?;
    }
    spool.close();
    remove_tree(&place)?;
    fs::rename(&unfinished, &place)?;
    let data = from.join(DATA);
    if data.exists() {
        copy_tree(&data, &config.data_dir, &|_| false)?;
    }
    let drops = restore_drops(config, from)?;
    sync_dir(&config.data_dir)?;
    Ok(told(&mark, waiting, wanted, drops.as_deref(), &faults))
}

fn told(
    mark: &Mark,
    waiting: u64,
    wanted: Wanted,
    drops: Option<&Path>,
    faults: &[String],
) -> String {
    let mut text = format!(
        "Restored the backup of {}: {waiting} recipients wait",
        mark.created
    );
    text.push_str(match wanted.send {
        true => ", and are sent when the server starts.\n",
        false => {
            ", all of them held, because some may have been delivered after the backup was made.\n\
             Start the server, look at them (sendoff queue list), and release those that must still be sent \
             (sendoff queue release --all).\n"
        }
    });
    if let Some(drops) = drops {
        let drops = drops.display();
        text.push_str(&format!(
            "Mail of programs that was not yet in the queue is in {drops}: to send it, move the files into the \
             drop directory, as the users who wrote them.\n"
        ));
    }
    for fault in faults {
        text.push_str(&format!("Lost: {fault}.\n"));
    }
    text
}

fn read_mark(from: &Path) -> Result<Mark> {
    let path = from.join(MARK);
    match fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).with_context(|| format!("reading {}", path.display())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(anyhow!(
            "{} is not a backup, or not a complete one: it has no {MARK}",
            from.display()
        )),
        Err(e) => Err(e).with_context(|| {
            format!(
                "reading {} (a backup is restored with the rights of the owner of data_dir: is this user allowed \
                 to read it, and to pass through the directories above it?)",
                path.display()
            )
        }),
    }
}

fn holds_segments(dir: &Path) -> Result<bool> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries.with_context(|| format!("reading {}", dir.display()))?,
    };
    for entry in entries {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".seg") || name == "history.db" {
            return Ok(true);
        }
    }
    Ok(false)
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("removing {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What is wrong with the copy of a queue: each mail in it is read.
fn faults_of(recovered: &spool::Recovered, store: &dyn Store, mark: &Mark) -> Vec<String> {
    let mut faults: Vec<String> = Vec::new();
    let missing = recovered.missing.iter();
    faults.extend(missing.map(|m| format!("{m} is missing")));
    let damaged = recovered.quarantined.iter();
    faults.extend(damaged.map(|q| format!("{} is damaged at octet {}", q.segment, q.from)));
    let keys = store.keys(&Filter::all(), net::now());
    match keys {
        Err(error) => faults.push(error.to_string()),
        Ok(keys) => {
            let mut ids: Vec<_> = keys.iter().map(|key| key.id).collect();
            ids.dedup();
            for id in ids {
                match store.read(id) {
                    Ok(Some(_)) => {}
                    Ok(None) => faults.push(format!("mail {id} cannot be found")),
                    Err(error) => faults.push(error.to_string()),
                }
            }
        }
    }
    if faults.is_empty() && recovered.waiting < mark.waiting {
        let (is, was) = (recovered.waiting, mark.waiting);
        faults.push(format!(
            "it has {is} waiting recipients, but should have {was}"
        ));
    }
    faults
}

fn hold_all(store: &dyn Store) -> Result<()> {
    let keys = store.keys(&Filter::all(), net::now())?;
    for some in keys.chunks(HELD_AT_ONCE) {
        let mut ops = Vec::with_capacity(some.len());
        for key in some {
            let Some(mut state) = store.state(*key)? else {
                continue;
            };
            state.status = Status::Held;
            ops.push(Op::State {
                key: *key,
                state,
                transcript: None,
            });
        }
        store.commit_wait(ops)?;
    }
    Ok(())
}

/// Who handed a drop in is the owner of its file, whom a copy does not have: an administrator decides.
fn restore_drops(config: &Config, from: &Path) -> Result<Option<PathBuf>> {
    let from = from.join(DROPS);
    if !from.exists() {
        return Ok(None);
    }
    let to = config.data_dir.join(RESTORED_DROPS);
    copy_tree(&from, &to, &|_| false)?;
    Ok(Some(to))
}
