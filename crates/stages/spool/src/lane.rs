//! The writing end of one lane: the active segment and what goes into it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::segment::{FRAME_HEADER, FrameHeader, Lane, PAGE, SEGMENT_HEADER, SegmentHeader};
use crate::shared::{Pool, Ready, Shared, lock, wait};
use crate::storage::File;
use crate::table::Segment;

/// Octets that a segment is written ahead at once, while it grows.
const STEP_MAX: usize = 8 << 20;

/// The active segment of a lane.
pub(crate) struct Active {
    pub(crate) number: u32,
    pub(crate) nonce: u64,
    pub(crate) file: Arc<dyn File>,
    /// Where the next write goes: a multiple of the page size, and all below it is synced.
    pub(crate) offset: u32,
    /// How far the file is written ahead with zeros: frames go below this only.
    pub(crate) ahead: u32,
}

/// Writes one lane.
pub(crate) struct LaneWriter {
    pub(crate) lane: Lane,
    pub(crate) active: Option<Active>,
    /// The last segment of the lane and its end, when none is active.
    pub(crate) previous: (u32, u32),
    /// The sequence of the next frame.
    pub(crate) next: u64,
}

/// Why frames were not written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// Nothing of them is or will be in the log.
    Full(Arc<io::Error>),
    /// Nothing is known about them.
    Poisoned(Arc<str>),
}

/// Who wants a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// New mail: the reserve is not touched.
    Intake,
    /// States and outcomes: the reserve, but for its last segment, when no other can be had.
    Progress,
    /// Survivors, whose copying frees a segment: any. Asked for by housekeeping, which prepares
    /// segments and so waits for nobody.
    Survivors,
}

/// The file name of a segment.
pub(crate) fn segment_name(lane: Lane, number: u32) -> String {
    let lane = match lane {
        Lane::Hot => "hot",
        Lane::Cold => "cold",
    };
    format!("{lane}-{number:010}.seg")
}

impl LaneWriter {
    /// Makes sure that a write of `len` octets fits into the active segment, and writes its file ahead
    /// where that is needed; `false` when another segment must begin. What is `one` frame and larger than
    /// a segment gets a segment of its own size.
    ///
    /// # Errors
    /// When a segment that holds nothing yet cannot take it, so that another would not help.
    pub(crate) fn make_room(
        &mut self,
        shared: &Shared,
        len: usize,
        one: bool,
        need: Need,
    ) -> Result<bool, WriteError> {
        let Some(active) = &mut self.active else {
            return Ok(false);
        };
        let end = (active.offset as usize + len).next_multiple_of(PAGE);
        if end <= active.ahead as usize {
            return Ok(true);
        }
        let is_new = active.offset as usize == SEGMENT_HEADER;
        if end > shared.options.segment_bytes as usize && !(is_new && one) {
            return Ok(false);
        }
        if !is_new && is_longer_ready(shared, active.ahead as usize) {
            return Ok(false);
        }
        match active.write_ahead(shared, end, need) {
            Ok(()) => Ok(true),
            Err(_) if !is_new && shared.poisoned().is_none() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Makes sure that one frame can be written, in the active segment or in a new one.
    pub(crate) fn have_room(
        &mut self,
        shared: &Shared,
        len: usize,
        need: Need,
    ) -> Result<(), WriteError> {
        if self.make_room(shared, len, true, need)? {
            return Ok(());
        }
        self.roll(shared, need)?;
        self.make_room(shared, len, true, need).map(drop)
    }

    /// Begins the next segment.
    pub(crate) fn roll(&mut self, shared: &Shared, need: Need) -> Result<(), WriteError> {
        let (ready, number) = take_free(shared, need)?;
        let header = SegmentHeader {
            lane: self.lane,
            number,
            nonce: nonce(shared.options.nonce_seed, shared.spool_id, number),
            spool: shared.spool_id,
            first: self.next,
            previous: self.active.as_ref().map_or(self.previous.0, |a| a.number),
            previous_end: self.active.as_ref().map_or(self.previous.1, |a| a.offset),
        };
        let file = Arc::clone(&ready.file);
        if let Err(e) = file.write_at(&header.encode(), 0) {
            lock(&shared.pool).add(ready);
            return Err(WriteError::Full(Arc::new(e)));
        }
        let to = segment_name(self.lane, number);
        if let Err(e) = file.sync() {
            return Err(poison(shared, "beginning a segment", &e));
        }
        if let Err(e) = shared.storage.rename(&ready.name, &to) {
            lock(&shared.pool).add(ready);
            return Err(WriteError::Full(Arc::new(e)));
        }
        if let Err(e) = shared.storage.sync_dir("") {
            return Err(poison(shared, "beginning a segment", &e));
        }
        Shared::add(&shared.counters.bytes, SEGMENT_HEADER as u64);
        Shared::add(&shared.counters.syncs, 1);
        let segment = Segment {
            header,
            file: Arc::clone(&file),
            live_records: 0,
            live_bytes: 0,
            used: SEGMENT_HEADER as u32,
            last: self.next.saturating_sub(1),
            unreadable: false,
            miscounted: false,
        };
        lock(&shared.table).segments.insert(number, segment);
        if self.lane == Lane::Hot && ready.len > shared.options.first_step() {
            want_longer(shared, ready.len);
        }
        self.active = Some(Active {
            number,
            nonce: header.nonce,
            offset: SEGMENT_HEADER as u32,
            ahead: u32::try_from(ready.len).unwrap_or(0),
            file,
        });
        Ok(())
    }

    /// Writes and syncs frames that begin at `starts` in `bytes`, each with room for its header.
    /// Returns where `bytes` begins in the active segment.
    pub(crate) fn write(
        &mut self,
        shared: &Shared,
        bytes: &mut Vec<u8>,
        starts: &[usize],
        as_of: Option<(u64, (u32, u32))>,
    ) -> Result<u32, WriteError> {
        let Some(active) = &mut self.active else {
            return Err(WriteError::Full(Arc::new(
                io::ErrorKind::StorageFull.into(),
            )));
        };
        let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
        for (n, (start, end)) in (0..).zip(starts.iter().copied().zip(ends)) {
            let sequence = self.next + n;
            // What is sealed otherwise is not a frame: the next start would not find the mail in it.
            assert!(
                start + FRAME_HEADER <= end && end <= bytes.len(),
                "a frame of the log from {start} to {end} of {} bytes",
                bytes.len()
            );
            let (as_of, head) = as_of.unwrap_or((sequence, (active.number, active.offset)));
            let header = FrameHeader {
                nonce: active.nonce,
                sequence,
                as_of,
                head,
                synced: active.offset,
                len: u32::try_from(end - start - FRAME_HEADER).unwrap_or(u32::MAX),
            };
            header.seal(bytes.get_mut(start..end).unwrap_or_default());
        }
        bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
        let at = active.offset;
        if let Err(e) = active.file.write_at(bytes, u64::from(at)) {
            return Err(roll_back(shared, active, starts, bytes.len(), e));
        }
        if let Err(e) = active.file.sync() {
            return Err(poison(shared, "syncing the log", &e));
        }
        Shared::add(&shared.counters.syncs, 1);
        Shared::add(&shared.counters.bytes, bytes.len() as u64);
        active.offset += bytes.len() as u32;
        self.next += starts.len() as u64;
        let mut table = lock(&shared.table);
        if let Some(segment) = table.segments.get_mut(&active.number) {
            segment.used = active.offset;
            segment.last = self.next - 1;
        }
        Ok(at)
    }
}

impl Active {
    /// Writes zeros up to `end` at least and syncs them, so that writing frames there changes nothing of
    /// the file system's own. The more a segment holds, the larger the step.
    fn write_ahead(&mut self, shared: &Shared, end: usize, need: Need) -> Result<(), WriteError> {
        let full = |e: io::Error| WriteError::Full(Arc::new(e));
        let size = shared.options.segment_bytes as usize;
        let (from, step) = (self.ahead as usize, (self.ahead as usize).min(STEP_MAX));
        let to = end.max((from + step).min(size));
        let room = shared.storage.free_bytes().map_err(full)?;
        let keep = match need {
            Need::Intake => shared.options.reserve_bytes,
            Need::Progress | Need::Survivors => 0,
        };
        if room < keep.saturating_add((to - from) as u64) {
            return Err(full(io::ErrorKind::StorageFull.into()));
        }
        if let Err(e) = write_zeros(&*self.file, from, to) {
            // What was written of it only takes room. Where that cannot be given back, no harm is done:
            // nothing stands there but zeros.
            drop(self.file.set_len(from as u64));
            return Err(full(e));
        }
        if let Err(e) = self.file.sync() {
            return Err(poison(shared, "writing a segment ahead", &e));
        }
        Shared::add(&shared.counters.syncs, 1);
        self.ahead = to as u32;
        want_longer(shared, to);
        Ok(())
    }
}

/// Whether a segment is ready that is longer than this, and nobody's reserve.
fn is_longer_ready(shared: &Shared, len: usize) -> bool {
    let pool = lock(&shared.pool);
    let is_longer = pool.ready.last().is_some_and(|ready| ready.len > len);
    is_longer && pool.ready.len() > shared.options.reserve_segments
}

/// The next segment should be twice as long as this, so that it is written ahead by housekeeping before mail
/// needs it.
fn want_longer(shared: &Shared, len: usize) {
    let wanted = (2 * len).min(shared.options.segment_bytes as usize);
    let mut pool = lock(&shared.pool);
    if pool.length < wanted {
        pool.length = wanted;
        shared.pool_changed.notify_all();
    }
}

fn write_zeros(file: &dyn File, from: usize, to: usize) -> io::Result<()> {
    const CHUNK: usize = 1 << 20;
    let zeros = vec![0; CHUNK.min(to.saturating_sub(from))];
    let mut at = from;
    while at < to {
        let chunk = zeros.get(..zeros.len().min(to - at)).unwrap_or_default();
        file.write_at(chunk, at as u64)?;
        at += chunk.len();
    }
    Ok(())
}

/// Makes sure that nothing of a failed write is found again.
fn roll_back(
    shared: &Shared,
    active: &Active,
    starts: &[usize],
    len: usize,
    error: io::Error,
) -> WriteError {
    let zeros = [0; PAGE];
    let mut pages: Vec<usize> = starts.iter().map(|s| s / PAGE).collect();
    pages.dedup();
    // A frame's header may straddle two pages; without its first page it is not a frame.
    for page in pages.into_iter().filter(|page| page * PAGE < len) {
        let at = u64::from(active.offset) + (page * PAGE) as u64;
        if let Err(e) = active.file.write_at(&zeros, at) {
            return poison(shared, "undoing a failed write", &e);
        }
    }
    match active.file.sync() {
        Ok(()) => WriteError::Full(Arc::new(error)),
        Err(e) => poison(shared, "undoing a failed write", &e),
    }
}

pub(crate) fn poison(shared: &Shared, what: &str, error: &io::Error) -> WriteError {
    WriteError::Poisoned(shared.set_poison(&format!("{what} failed: {error}")))
}

fn take_free(shared: &Shared, need: Need) -> Result<(Ready, u32), WriteError> {
    let mut pool = lock(&shared.pool);
    loop {
        if let Some(reason) = shared.poisoned() {
            return Err(WriteError::Poisoned(reason));
        }
        let reserve = shared.options.reserve_segments;
        let floor = match need {
            Need::Intake => reserve,
            Need::Progress if pool.failed.is_none() => reserve,
            Need::Progress => reserve.min(1),
            Need::Survivors => 0,
        };
        if pool.ready.len() > floor {
            // The longest are for mail.
            let at = match need {
                Need::Survivors => 0,
                Need::Intake | Need::Progress => pool.ready.len() - 1,
            };
            let ready = pool.ready.remove(at);
            pool.last_number += 1;
            let number = pool.last_number;
            shared.pool_changed.notify_all();
            return Ok((ready, number));
        }
        if let Some(error) = &pool.failed {
            return Err(WriteError::Full(Arc::clone(error)));
        }
        if shared.has_keeper() && need != Need::Survivors {
            pool = wait(&shared.pool_changed, pool);
        } else {
            drop(pool);
            refill(shared);
            pool = lock(&shared.pool);
        }
    }
}

/// Unguessable for whoever does not know the seed.
fn nonce(seed: u64, spool: u64, number: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, spool, number, "segment").hash(&mut hasher);
    hasher.finish()
}

/// Prepares segments until the reserve is full and one is ready for use. Returns whether there was
/// something to do.
pub(crate) fn refill(shared: &Shared) -> bool {
    let mut worked = false;
    loop {
        let (missing, name) = {
            let mut pool = lock(&shared.pool);
            pool.last_free += 1;
            (
                pool.ready.len() <= shared.options.reserve_segments,
                format!("free-{:010}.seg", pool.last_free),
            )
        };
        if !missing {
            return worked;
        }
        worked = true;
        let made = prepare(shared, &name);
        let mut pool = lock(&shared.pool);
        match made {
            Ok(file) => {
                pool.add(Ready::new(name, file));
                pool.failed = None;
                shared.pool_changed.notify_all();
            }
            Err(e) => {
                pool.failed = Some(Arc::new(e));
                shared.pool_changed.notify_all();
                drop(pool);
                // What was written of it only takes room; it may not even exist.
                drop(shared.storage.remove(&name));
                return worked;
            }
        }
    }
}

/// Writes the first part of a segment as zeros, so that later writes change no metadata of the file
/// system; the rest follows when it is needed.
fn prepare(shared: &Shared, name: &str) -> io::Result<Arc<dyn File>> {
    let size = shared.options.first_step();
    let room = shared.storage.free_bytes()?;
    let keep = if lock(&shared.pool).ready.len() < shared.options.reserve_segments {
        0
    } else {
        shared.options.reserve_bytes
    };
    shared
        .low_on_space
        .store(room < shared.options.reserve_bytes, Ordering::Relaxed);
    if room < keep + size as u64 {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let file = shared.storage.create(name)?;
    write_zeros(&*file, 0, size)?;
    file.sync()?;
    Shared::add(&shared.counters.prepared, 1);
    Ok(file)
}

/// Writes the longest segment that is ready one step further ahead, up to the length that is wanted. Returns
/// whether there was something to do.
pub(crate) fn lengthen(shared: &Shared) -> bool {
    let (mut ready, wanted) = {
        let mut pool = lock(&shared.pool);
        let wanted = pool.length;
        match pool.ready.pop_if(|ready| ready.len < wanted) {
            // Out of reach, for nobody else may write to it.
            Some(ready) => (ready, wanted),
            None => return false,
        }
    };
    let (from, to) = (ready.len, wanted.min(ready.len + STEP_MAX));
    let keep = shared
        .options
        .reserve_bytes
        .saturating_add((to - from) as u64);
    let has_room = shared.storage.free_bytes().is_ok_and(|room| room > keep);
    let mut longer = false;
    if has_room {
        match write_zeros(&*ready.file, from, to) {
            Ok(()) => longer = true,
            // It stays as long as it was.
            Err(_) => drop(ready.file.set_len(from as u64)),
        }
    }
    if longer {
        if let Err(e) = ready.file.sync() {
            poison(shared, "writing a segment ahead", &e);
            return false;
        }
        ready.len = to;
        Shared::add(&shared.counters.syncs, 1);
    }
    lock(&shared.pool).add(ready);
    shared.pool_changed.notify_all();
    longer
}

impl Pool {
    /// Adds a segment in its place.
    pub(crate) fn add(&mut self, ready: Ready) {
        let at = self.ready.partition_point(|other| other.len <= ready.len);
        self.ready.insert(at, ready);
    }

    /// Whether new mail finds no segment any more.
    pub(crate) fn is_exhausted(&self, reserve: usize) -> bool {
        self.failed.is_some() && self.ready.len() <= reserve
    }
}
