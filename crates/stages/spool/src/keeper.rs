//! Housekeeping: prepares segments, takes back those that are no longer needed, removes content
//! files of finished mail.
//!
//! Reclaiming reads the oldest hot segment (or a cold one that is mostly dead), copies what lives
//! into the cold lane, syncs the copy, waits until the index has it, and only then gives the
//! segment's file a free name. Accepting goes on meanwhile: the table is locked for one record at
//! a time, and the source is read without any lock.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::{PoisonError, TryLockError};
use std::time::Duration;

use mail::{QueueId, RecipientKey};

use crate::ballast;
use crate::body;
use crate::change::{Change, Place};
use crate::entries::Slot;
use crate::lane::{LaneWriter, Need, WriteError, lengthen, refill};
use crate::list::SegmentList;
use crate::record::{
    Body, MessageParts, MessageRecord, Record, put_control, put_gone, put_message, records,
};
use crate::segment::{FRAME_HEADER, Found, Lane, Sealed, SegmentHeader, walk};
use crate::shared::{Shared, lock};
use crate::storage::{File, read_around};
use crate::table::Effect;

mod rescue;
mod upkeep;

/// Bytes of survivors that one frame takes, about.
const FRAME_BYTES: usize = 1 << 20;
/// A cold segment is reclaimed when less than one in so many of its bytes lives.
const COLD_LIVE_PART: u64 = 2;
const IDLE: Duration = Duration::from_millis(200);

pub(crate) struct Keeper {
    shared: Arc<Shared>,
    lane: LaneWriter,
    /// `None` when there is no room for one, or the disk refused to write it.
    list: Option<SegmentList>,
    has_ballast: bool,
    /// Looks around without anything to do, and the commits that there were then.
    idle: (u32, u64),
}

/// A segment about to be reclaimed.
struct Victim {
    header: SegmentHeader,
    file: Arc<dyn File>,
    live: u64,
    used: u32,
}

/// Survivors on their way into one frame.
#[derive(Default)]
struct Load {
    bytes: Vec<u8>,
    /// Places are relative to the bytes.
    changes: Vec<Change>,
    /// The place that each change speaks of until it is copied.
    expected: Vec<Expected>,
    as_of: (u64, (u32, u32)),
}

/// The segments that states stand in.
type StateFiles = HashMap<u32, (SegmentHeader, Arc<dyn File>)>;

/// What the table must still say for a copy to count.
enum Expected {
    /// The recipients' slots when the copy was made.
    Message(Vec<Slot>),
    Slot(Place),
    Gone,
    Control(Place),
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>, lane: LaneWriter, list: Option<SegmentList>) -> Self {
        let has_ballast = ballast::exists(&*shared.storage);
        Self {
            shared,
            lane,
            list,
            has_ballast,
            idle: (0, 0),
        }
    }

    /// Runs until the spool is closed.
    pub(crate) fn run(mut self) {
        loop {
            let worked = self.step();
            if lock(&self.shared.queue).closing {
                return;
            }
            if worked {
                continue;
            }
            let pool = lock(&self.shared.pool);
            let woken = self.shared.pool_changed.wait_timeout(pool, IDLE);
            drop(woken.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// One piece of housekeeping; returns whether there was any that could be done.
    pub(crate) fn step(&mut self) -> bool {
        let worked = self.work();
        match worked {
            true => self.idle.0 = 0,
            false => self.rest(),
        }
        worked
    }

    fn work(&mut self) -> bool {
        if self.shared.poisoned().is_some() {
            return false;
        }
        let shared = Arc::clone(&self.shared);
        let reclaiming = match shared.reclaiming.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(held)) => held.into_inner(),
            Err(TryLockError::WouldBlock) => {
                // The queue is being copied: nothing goes, and what is needed is made.
                self.measure();
                refill(&self.shared);
                return false;
            }
        };
        let worked = self.keep_house();
        drop(reclaiming);
        worked
    }

    fn keep_house(&mut self) -> bool {
        if self.keep_list(None).is_err() {
            return false;
        }
        self.remove_bodies();
        self.measure();
        if self.shared.is_low() {
            // They are more use as room: mail is refused for want of it.
            self.remove_surplus();
        }
        self.keep_ballast();
        if let Some(victim) = self.victim()
            && self.reclaim(&victim)
        {
            return true;
        }
        // A segment that the index holds back comes cheaper than one written again.
        if self.runs_short()
            && self.index_holds_back()
            && self.shared.sync_index()
            && let Some(victim) = self.victim().filter(|v| v.live == 0)
        {
            return self.reclaim(&victim);
        }
        let refilled = refill(&self.shared) && lock(&self.shared.pool).failed.is_none();
        refilled || lengthen(&self.shared)
    }

    fn runs_short(&self) -> bool {
        lock(&self.shared.pool).ready.len() <= self.shared.options.reserve_segments + 1
    }

    /// Whether the oldest segment is needed by nobody but the index.
    fn index_holds_back(&self) -> bool {
        let table = lock(&self.shared.table);
        let applied = lock(&self.shared.feed).applied;
        let oldest = table.oldest(Lane::Hot);
        let sealed = oldest.filter(|(number, _)| *number != table.hot_head.0);
        sealed.is_some_and(|(_, s)| s.live_records == 0 && s.last > applied.hot)
    }

    fn measure(&self) {
        if let Ok(free) = self.shared.storage.free_bytes() {
            let low = free < self.shared.options.reserve_bytes;
            self.shared.low_on_space.store(low, Ordering::Relaxed);
        }
    }

    fn remove_bodies(&self) {
        let dead = std::mem::take(&mut lock(&self.shared.table).dead_files);
        for id in dead {
            // One that stays is removed when the spool is opened next.
            drop(self.shared.storage.remove(&body::file_name(id)));
        }
    }

    /// The next segment to reclaim, whose records the index has.
    fn victim(&self) -> Option<Victim> {
        let table = lock(&self.shared.table);
        let applied = lock(&self.shared.feed).applied;
        let crowded = self.shared.is_low()
            || lock(&self.shared.pool).failed.is_some()
            || table.count(Lane::Hot) > self.shared.options.hot_segments;
        // What lives in it has had time to leave without being copied.
        let is_old = table.count(Lane::Hot) > 2 || self.is_idle();
        let hot = table.oldest(Lane::Hot).filter(|(number, segment)| {
            *number != table.hot_head.0
                && table.count(Lane::Hot) > 1
                && segment.last <= applied.hot
                && (segment.live_records == 0 || crowded || (is_old && segment.is_hardly_alive()))
        });
        let active = self.lane.active.as_ref().map(|a| a.number);
        let unfinished: HashSet<u32> = table.extras.values().copied().collect();
        let cold = || {
            table.segments.iter().find(|(number, s)| {
                s.header.lane == Lane::Cold
                    && Some(**number) != active
                    && s.last <= applied.cold
                    && (s.live_bytes < u64::from(s.used) / COLD_LIVE_PART
                        || unfinished.contains(number))
            })
        };
        let chosen = match hot {
            Some((_, segment)) => segment,
            None => cold().map(|(_, segment)| segment)?,
        };
        Some(Victim {
            header: chosen.header,
            file: Arc::clone(&chosen.file),
            live: chosen.live_records,
            used: chosen.used,
        })
    }

    /// Returns whether the segment is free.
    fn reclaim(&mut self, victim: &Victim) -> bool {
        if victim.live > 0 && self.copy_survivors(victim).is_err() {
            return false;
        }
        if self.lives(victim) && (self.rescue(victim).is_err() || self.lives(victim)) {
            return false;
        }
        self.shared.sync_index() && self.recycle(victim).is_ok()
    }

    fn lives(&self, victim: &Victim) -> bool {
        lock(&self.shared.table).lives(victim.header.number)
    }

    fn copy_survivors(&mut self, victim: &Victim) -> Result<(), WriteError> {
        let full = |e: io::Error| WriteError::Full(Arc::new(e));
        let mut load = Load::default();
        if self.holds_controls_only(victim) {
            self.add_controls(victim, &mut load);
            return self.write(&mut load);
        }
        let bytes = self.read_victim(victim).map_err(full)?;
        // Only its whole frames are wanted here; what is missing was told when it was found.
        let sealed = Sealed {
            end: victim.used as usize,
            next: 0,
        };
        let walked = walk(&bytes, &victim.header, Some(sealed), 0);
        let copied = self.copy_records(victim, &bytes, &walked.frames, &mut load);
        self.abandon(&load);
        copied
    }

    /// The octets of a segment, zeros where the disk does not give them: what stood there is rescued or
    /// told, and the file is not used again.
    fn read_victim(&self, victim: &Victim) -> io::Result<Vec<u8>> {
        let read = read_around(&*victim.file, 0, victim.used as usize)?;
        if !read.unreadable.is_empty()
            && let Some(segment) = lock(&self.shared.table)
                .segments
                .get_mut(&victim.header.number)
        {
            segment.unreadable = true;
        }
        Ok(read.bytes)
    }

    fn copy_records(
        &mut self,
        victim: &Victim,
        bytes: &[u8],
        frames: &[Found],
        load: &mut Load,
    ) -> Result<(), WriteError> {
        // Messages first: a copied message has the states of its recipients with it.
        for messages in [true, false] {
            for frame in frames {
                let from = frame.records_at;
                let frame_bytes = bytes.get(from..from + frame.header.len as usize);
                for (at, len, record) in records(frame_bytes.unwrap_or_default()) {
                    let Ok(record) = record else { continue };
                    let place = Place {
                        segment: victim.header.number,
                        offset: (from + at) as u32,
                        len: len as u32,
                    };
                    if matches!(record, Record::Message(_)) != messages {
                        continue;
                    }
                    let raw = bytes.get(from + at..from + at + len).unwrap_or_default();
                    self.add(load, place, record, raw, victim.header)?;
                    if load.bytes.len() > self.frame_limit() {
                        self.write(load)?;
                    }
                }
            }
        }
        self.write(load)
    }

    /// Copies that were not written are none.
    fn abandon(&self, load: &Load) {
        let mut table = lock(&self.shared.table);
        for change in &load.changes {
            if let Change::Moved { id, .. } = change
                && let Effect::Forgotten(id) = table.not_moved(*id)
            {
                let sequence = table.hot_sequence;
                let change = Change::Forget { id };
                lock(&self.shared.feed).changes.push((sequence, change));
            }
        }
    }

    fn frame_limit(&self) -> usize {
        FRAME_BYTES.min(self.shared.options.segment_bytes as usize / 8)
    }

    fn begin(&self, load: &mut Load) {
        if load.bytes.is_empty() {
            load.bytes.resize(FRAME_HEADER, 0);
            let table = lock(&self.shared.table);
            load.as_of = (table.hot_sequence, table.hot_head);
        }
    }

    /// Adds a record to the load when it lives.
    fn add(
        &self,
        load: &mut Load,
        place: Place,
        record: Record<'_>,
        raw: &[u8],
        source: SegmentHeader,
    ) -> Result<(), WriteError> {
        self.begin(load);
        match record {
            Record::Message(m) => self.add_message(load, place, *m, source),
            Record::State { key, .. } | Record::Done { key, .. } => {
                self.add_slot(load, place, key, raw);
                Ok(())
            }
            Record::Control { name, value } => {
                let table = lock(&self.shared.table);
                if table.controls.get(&name).is_some_and(|(_, p)| *p == place) {
                    drop(table);
                    load.put_control(name, value, place);
                }
                Ok(())
            }
            Record::Gone { id } => {
                self.add_gone(load, place, id);
                Ok(())
            }
            // A segment goes only after the history has what it says.
            Record::Note(_) | Record::Other => Ok(()),
        }
    }

    fn add_message(
        &self,
        load: &mut Load,
        place: Place,
        m: MessageRecord<'_>,
        source: SegmentHeader,
    ) -> Result<(), WriteError> {
        let (slots, files) = {
            let mut table = lock(&self.shared.table);
            let entry = table.entries.get(&m.id);
            let Some(entry) = entry.filter(|e| e.place == place && !e.is_finished()) else {
                return Ok(());
            };
            let slots = entry.slots.as_slice().to_vec();
            let places = slots.iter().map(|s| s.place.segment);
            let files: StateFiles = places
                .filter_map(|n| {
                    let segment = table.segments.get(&n)?;
                    Some((n, (segment.header, Arc::clone(&segment.file))))
                })
                .collect();
            // The states are read after the snapshot, but as of its place in the log.
            load.as_of = load.as_of.min((table.hot_sequence, table.hot_head));
            table.moving.insert(m.id);
            (slots, files)
        };
        let states = match self.current_states(&m, &slots, &files) {
            Ok(states) => states,
            Err(e) => {
                lock(&self.shared.table).not_moved(m.id);
                return Err(WriteError::Full(Arc::new(e)));
            }
        };
        let from = match source.lane {
            Lane::Cold => source.number,
            Lane::Hot => 0,
        };
        let at = load.bytes.len();
        let body = match &m.body {
            Body::Inline(bytes) => Body::Inline(bytes),
            Body::File { len, crc } => Body::File {
                len: *len,
                crc: *crc,
            },
        };
        let parts = MessageParts {
            id: m.id,
            accepted: m.accepted,
            envelope: &m.envelope,
            token: m.token.as_deref(),
            states: &states,
            from,
            body,
            labels: &m.labels,
        };
        put_message(&mut load.bytes, &parts);
        let change = Change::Moved {
            id: m.id,
            place: load.place(at),
            from,
            inlined: Vec::new(),
        };
        load.push(change, Expected::Message(slots));
        Ok(())
    }

    fn add_slot(&self, load: &mut Load, place: Place, key: RecipientKey, raw: &[u8]) {
        let finished = {
            let table = lock(&self.shared.table);
            let Some(entry) = table.entries.get(&key.id) else {
                return;
            };
            let slot = entry.slots.as_slice().get(key.recipient as usize);
            if slot.is_none_or(|slot| slot.place != place) || table.moving.contains(&key.id) {
                return;
            }
            entry.is_finished()
        };
        if finished {
            return self.put_gone(load, key.id);
        }
        let at = load.bytes.len();
        load.bytes.extend_from_slice(raw);
        let change = Change::Carried {
            key,
            place: load.place(at),
        };
        load.push(change, Expected::Slot(place));
    }

    fn add_gone(&self, load: &mut Load, place: Place, id: QueueId) {
        let lives = {
            let table = lock(&self.shared.table);
            let slots = table.entries.get(&id).map(|e| e.slots.as_slice());
            slots.is_some_and(|s| s.first().is_some_and(|s| s.place == place))
        };
        if lives {
            self.put_gone(load, id);
        }
    }

    #[expect(clippy::unused_self, reason = "reads as one of the cases of `add`")]
    fn put_gone(&self, load: &mut Load, id: QueueId) {
        let at = load.bytes.len();
        put_gone(&mut load.bytes, id);
        let place = load.place(at);
        load.push(Change::Gone { id, place }, Expected::Gone);
    }

    /// Writes the load as one frame and makes the copies count.
    fn write(&mut self, load: &mut Load) -> Result<(), WriteError> {
        let mut load = std::mem::take(load);
        if load.changes.is_empty() {
            return Ok(());
        }
        let written = self.write_frame(&mut load);
        let (base, segment) = match written {
            Ok(at) => at,
            Err(e) => {
                self.abandon(&load);
                return Err(e);
            }
        };
        let mut table = lock(&self.shared.table);
        let mut fed = Vec::with_capacity(load.changes.len());
        for (mut change, expected) in load.changes.into_iter().zip(load.expected) {
            set_place(&mut change, segment, base);
            if !still_holds(&table, &mut change, &expected) {
                continue;
            }
            if table.apply(&change, 0) != Effect::Ignored {
                fed.push((load.as_of.0, change));
            }
        }
        let mut feed = lock(&self.shared.feed);
        feed.changes.append(&mut fed);
        feed.fed.cold = self.lane.next - 1;
        Ok(())
    }

    fn write_frame(&mut self, load: &mut Load) -> Result<(u32, u32), WriteError> {
        let need = Need::Survivors;
        self.lane.have_room(&self.shared, load.bytes.len(), need)?;
        let len = load.bytes.len() as u64;
        let at = self
            .lane
            .write(&self.shared, &mut load.bytes, &[0], Some(load.as_of))?;
        Shared::add(&self.shared.counters.moved_bytes, len);
        Ok((at, self.lane.active.as_ref().map_or(0, |a| a.number)))
    }
}

impl Load {
    fn place(&self, at: usize) -> Place {
        Place {
            segment: 0,
            offset: at as u32,
            len: (self.bytes.len() - at) as u32,
        }
    }

    fn put_control(&mut self, name: String, value: Option<String>, from: Place) {
        let at = self.bytes.len();
        put_control(&mut self.bytes, &name, value.as_deref());
        let place = self.place(at);
        let change = Change::Control { name, value, place };
        self.push(change, Expected::Control(from));
    }

    fn push(&mut self, change: Change, expected: Expected) {
        self.changes.push(change);
        self.expected.push(expected);
    }
}

fn set_place(change: &mut Change, segment: u32, base: u32) {
    match change {
        Change::Moved { place, .. }
        | Change::Carried { place, .. }
        | Change::Gone { place, .. }
        | Change::Control { place, .. } => {
            place.segment = segment;
            place.offset += base;
        }
        Change::Message { .. }
        | Change::State { .. }
        | Change::Done { .. }
        | Change::Forget { .. }
        | Change::Note(_) => {}
    }
}

/// Whether the table still says what the copy was made from; a copied message counts always, for
/// the recipients whose state did not change meanwhile.
fn still_holds(table: &crate::table::Table, change: &mut Change, expected: &Expected) -> bool {
    match (change, expected) {
        (Change::Moved { id, inlined, .. }, Expected::Message(then)) => {
            let now = table.entries.get(id).map(|e| e.slots.as_slice());
            let pairs = (0..).zip(then.iter().zip(now.unwrap_or_default()));
            *inlined = pairs.filter(|(_, (a, b))| a == b).map(|(n, _)| n).collect();
            true
        }
        (Change::Carried { key, .. }, Expected::Slot(then)) => {
            let slots = table.entries.get(&key.id).map(|e| e.slots.as_slice());
            let slot = slots.and_then(|s| s.get(key.recipient as usize));
            slot.is_some_and(|slot| slot.place == *then)
        }
        (Change::Control { name, .. }, Expected::Control(then)) => table
            .controls
            .get(name)
            .is_some_and(|(_, place)| place == then),
        (Change::Gone { .. }, Expected::Gone) => true,
        _ => false,
    }
}
