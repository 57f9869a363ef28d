//! A disk in memory that fails as real ones do.
//!
//! # Fault model
//! - A write is volatile until the file is synced. At a crash, each 512-octet sector of each
//!   unsynced write is kept or lost on its own, as the seed decides; a kept sector is whole.
//! - A created, renamed or removed name is volatile until its directory is synced. At a crash,
//!   the names of a directory are those of its last sync, with each later change kept or lost on
//!   its own, in their order.
//! - What was synced is never lost, and reading returns what was last written, until a test
//!   damages it with [`SimDisk::damage`] or makes it unreadable with [`SimDisk::break_sectors`].
//! - An unreadable part fails every read that touches it with EIO, until it is written again: a disk
//!   then puts a spare sector in its place.
//! - A process may die and the system live on ([`SimDisk::kill`]): what was written is still there to
//!   be read, and is as little durable as before.
//! - The n-th operation that changes something can fail: a write that fails may have written any
//!   of its sectors; a sync that fails makes nothing durable and, as on Linux, forgets that there
//!   was anything to sync.
//! - Capacity is the sum of the files' lengths; a write or a file beyond it is refused whole.
//!
//! Not modelled: sectors that hold neither old nor new octets; a disk that lies about a sync.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spool::{File, Storage};

use crate::Rng;

const SECTOR: usize = 512;
const EIO: i32 = 5;

/// What goes wrong at an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The power goes: this operation and all after it fail, until [`SimDisk::restart`].
    Crash,
    /// The operation fails once.
    Error,
    /// The operation fails once, for want of room.
    Full,
}

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default, Clone)]
struct Content {
    durable: Vec<u8>,
    current: Vec<u8>,
    /// Unsynced writes and changes of the length, in order.
    unsynced: Vec<Unsynced>,
    /// Ranges that cannot be read.
    broken: Vec<(usize, usize)>,
}

#[derive(Clone)]
enum Unsynced {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Content {
    /// What is written again can be read again.
    fn mend(&mut self, from: usize, to: usize) {
        let broken = std::mem::take(&mut self.broken);
        for (start, end) in broken {
            let parts = [(start, end.min(from)), (start.max(to), end)];
            self.broken.extend(parts.into_iter().filter(|(a, b)| a < b));
        }
    }
}

/// A change of a directory that is not durable.
#[derive(Clone)]
enum NameChange {
    Set(String, usize),
    Remove(String),
    Rename(String, String, usize),
}

struct Inner {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    dead: bool,
    generation: u64,
    capacity: u64,
    rng: Rng,
}

impl SimDisk {
    /// An empty disk without bounds.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Inner {
                files: Vec::new(),
                names: BTreeMap::new(),
                durable_names: BTreeMap::new(),
                name_changes: Vec::new(),
                operations: 0,
                fault: None,
                dead: false,
                generation: 0,
                capacity: u64::MAX / 2,
                rng: Rng::new(seed),
            })),
        }
    }

    /// Lets something go wrong at the `after`-th changing operation from now, counted from 0.
    pub fn inject(&self, after: u64, fault: Fault) {
        let mut inner = self.lock();
        inner.fault = Some((inner.operations + after, fault));
    }

    /// Takes an injected fault back that has not come to pass; returns whether there was one.
    pub fn clear_fault(&self) -> bool {
        self.lock().fault.take().is_some()
    }

    /// Bounds the sum of the files' lengths.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock().capacity = bytes;
    }

    /// Changing operations so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// The power goes and comes back: what was not durable is lost or kept as the seed decides.
    /// Files opened before are of no use any more.
    pub fn restart(&self) {
        let mut inner = self.lock();
        inner.lose_unsynced();
        inner.dead = false;
        inner.fault = None;
        inner.generation += 1;
    }

    /// The process dies and the system lives on: nothing is lost, and nothing becomes durable by that.
    /// Files opened before are of no use any more.
    pub fn kill(&self) {
        let mut inner = self.lock();
        inner.dead = false;
        inner.fault = None;
        inner.generation += 1;
    }

    /// Lets reading `len` octets of a file from `offset` fail with EIO, until they are written again.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn break_sectors(&self, name: &str, offset: usize, len: usize) -> io::Result<()> {
        let mut inner = self.lock();
        let file = inner.find(name)?;
        inner.file(file)?.broken.push((offset, offset + len));
        Ok(())
    }

    /// Removes a file behind everybody's back, durably.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn lose(&self, name: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.find(name)?;
        inner.names.remove(name);
        inner.durable_names.remove(name);
        Ok(())
    }

    /// Overwrites what stands in a file without anybody knowing, durably.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn damage(&self, name: &str, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.lock();
        let file = inner.find(name)?;
        let file = inner.file(file)?;
        overwrite(&mut file.durable, offset, bytes);
        overwrite(&mut file.current, offset, bytes);
        Ok(())
    }

    /// What stands in a file.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn contents(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut inner = self.lock();
        let file = inner.find(name)?;
        Ok(inner.file(file)?.current.clone())
    }

    /// The names of all files.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }

    /// Puts a file there, durably.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut inner = self.lock();
        let number = inner.files.len();
        inner.files.push(Content {
            durable: bytes.to_vec(),
            current: bytes.to_vec(),
            ..Content::default()
        });
        inner.names.insert(name.to_owned(), number);
        inner.durable_names.insert(name.to_owned(), number);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn overwrite(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(place) = content.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

fn no_such_file() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

impl Inner {
    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(no_such_file)
    }

    fn file(&mut self, number: usize) -> io::Result<&mut Content> {
        self.files.get_mut(number).ok_or_else(no_such_file)
    }

    /// Counts a changing operation; an error is the fault that comes with it.
    fn operate(&mut self) -> Result<(), Fault> {
        if self.dead {
            return Err(Fault::Crash);
        }
        let this = self.operations;
        self.operations += 1;
        match self.fault {
            Some((at, fault)) if at == this => {
                self.fault = None;
                self.dead = fault == Fault::Crash;
                Err(fault)
            }
            _ => Ok(()),
        }
    }

    fn used(&self) -> u64 {
        let mut used: Vec<usize> = self.names.values().copied().collect();
        used.dedup();
        let lengths = used.iter().filter_map(|n| self.files.get(*n));
        lengths.map(|f| f.current.len() as u64).sum()
    }

    fn lose_unsynced(&mut self) {
        for file in &mut self.files {
            for change in std::mem::take(&mut file.unsynced) {
                match change {
                    Unsynced::Write(offset, bytes) => {
                        keep_some(&mut file.durable, offset, &bytes, &mut self.rng);
                    }
                    Unsynced::Length(len) => {
                        if self.rng.one_in(2) {
                            file.durable.resize(len, 0);
                        }
                    }
                }
            }
            file.current = file.durable.clone();
        }
        for change in std::mem::take(&mut self.name_changes) {
            if self.rng.one_in(2) {
                apply(&mut self.durable_names, change);
            }
        }
        self.names = self.durable_names.clone();
    }
}

/// Writes the sectors of a write that the seed keeps.
fn keep_some(content: &mut Vec<u8>, offset: usize, bytes: &[u8], rng: &mut Rng) {
    // Often all or nothing survives; otherwise each sector for itself.
    let mode = rng.below(4);
    let mut at = 0;
    while at < bytes.len() {
        let boundary = (offset + at + 1).next_multiple_of(SECTOR) - offset;
        let end = boundary.min(bytes.len());
        let keep = match mode {
            0 => true,
            1 => false,
            _ => rng.one_in(2),
        };
        if keep && let Some(sector) = bytes.get(at..end) {
            overwrite(content, offset + at, sector);
        }
        at = end;
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: NameChange) {
    match change {
        NameChange::Set(name, file) => {
            names.insert(name, file);
        }
        NameChange::Remove(name) => {
            names.remove(&name);
        }
        NameChange::Rename(from, to, file) => {
            if names.get(&from) == Some(&file) {
                names.remove(&from);
            }
            names.insert(to, file);
        }
    }
}

fn directory(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn change_dir(change: &NameChange) -> &str {
    match change {
        NameChange::Set(name, _) | NameChange::Remove(name) | NameChange::Rename(_, name, _) => {
            directory(name)
        }
    }
}

fn failure(fault: Fault) -> io::Error {
    match fault {
        Fault::Crash => power_is_off(),
        Fault::Error => io::Error::other("the disk refused"),
        Fault::Full => io::ErrorKind::StorageFull.into(),
    }
}

impl Storage for SimDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut inner = self.lock();
        inner.operate().map_err(failure)?;
        let number = inner.files.len();
        inner.files.push(Content::default());
        inner.names.insert(name.to_owned(), number);
        inner
            .name_changes
            .push(NameChange::Set(name.to_owned(), number));
        Ok(self.handle(number, inner.generation))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let inner = self.lock();
        if inner.dead {
            return Err(power_is_off());
        }
        let number = inner.find(name)?;
        Ok(self.handle(number, inner.generation))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.operate().map_err(failure)?;
        let number = inner.find(from)?;
        let change = NameChange::Rename(from.to_owned(), to.to_owned(), number);
        apply(&mut inner.names, change.clone());
        inner.name_changes.push(change);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.operate().map_err(failure)?;
        inner.find(name)?;
        inner.names.remove(name);
        inner.name_changes.push(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let inner = self.lock();
        let of_dir = inner.names.keys().filter(|name| directory(name) == dir);
        let own = |name: &String| name.rsplit('/').next().map(str::to_owned);
        Ok(of_dir.filter_map(own).collect())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.operate().map_err(failure)?;
        let changes = std::mem::take(&mut inner.name_changes);
        for change in changes {
            if change_dir(&change) == dir {
                apply(&mut inner.durable_names, change);
            } else {
                inner.name_changes.push(change);
            }
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let inner = self.lock();
        Ok(inner.capacity.saturating_sub(inner.used()))
    }
}

impl SimDisk {
    fn handle(&self, number: usize, generation: u64) -> Arc<dyn File> {
        Arc::new(SimFile {
            disk: self.clone(),
            number,
            generation,
        })
    }
}

struct SimFile {
    disk: SimDisk,
    number: usize,
    generation: u64,
}

impl SimFile {
    fn alive(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let inner = self.disk.lock();
        if inner.dead || inner.generation != self.generation {
            return Err(power_is_off());
        }
        Ok(inner)
    }
}

impl File for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut inner = self.alive()?;
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let happened = inner.operate();
        let (used, capacity) = (inner.used(), inner.capacity);
        let mut rng = inner.rng.clone();
        inner.rng.next_u64();
        let file = inner.file(self.number)?;
        let grows = (offset + bytes.len()).saturating_sub(file.current.len()) as u64;
        if happened.is_ok() && grows > 0 && used + grows > capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        match happened {
            Ok(()) | Err(Fault::Crash) => {
                overwrite(&mut file.current, offset, bytes);
                file.unsynced.push(Unsynced::Write(offset, bytes.to_vec()));
                file.mend(offset, offset + bytes.len());
                happened.map_err(failure)
            }
            Err(fault) => {
                let mut partly = file.current.clone();
                keep_some(&mut partly, offset, bytes, &mut rng);
                let end = (offset + bytes.len()).min(partly.len());
                let kept = partly.get(offset..end).unwrap_or_default().to_vec();
                overwrite(&mut file.current, offset, &kept);
                file.unsynced.push(Unsynced::Write(offset, kept));
                Err(failure(fault))
            }
        }
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut inner = self.alive()?;
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let file = inner.file(self.number)?;
        let rest = file.current.get(offset..).unwrap_or_default();
        let n = rest.len().min(bytes.len());
        let touches = |(from, to): &(usize, usize)| *from < offset + n && offset < *to;
        if file.broken.iter().any(touches) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        if let (Some(to), Some(from)) = (bytes.get_mut(..n), rest.get(..n)) {
            to.copy_from_slice(from);
        }
        Ok(n)
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.alive()?;
        let happened = inner.operate();
        let file = inner.file(self.number)?;
        match happened {
            Ok(()) => {
                file.unsynced.clear();
                file.durable = file.current.clone();
                Ok(())
            }
            Err(Fault::Crash) => Err(power_is_off()),
            Err(fault) => {
                file.unsynced.clear();
                Err(failure(fault))
            }
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.alive()?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        inner.operate().map_err(failure)?;
        let file = inner.file(self.number)?;
        file.current.resize(len, 0);
        file.unsynced.push(Unsynced::Length(len));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut inner = self.alive()?;
        Ok(inner.file(self.number)?.current.len() as u64)
    }
}
