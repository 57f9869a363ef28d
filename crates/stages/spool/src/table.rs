//! What the spool knows in memory: where each waiting message and state is on disk, and how much
//! of every segment is still needed.
//!
//! Addresses, replies and due times are not here; the index has them. **Invariant:** a segment's
//! live count is zero exactly when no place in the table points into it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use mail::{QueueId, RecipientKey};

use crate::change::{Change, Place};
use crate::entries::{Entries, Entry, Slot, Slots};
use crate::segment::{Lane, SegmentHeader};
use crate::storage::File;

/// A segment in use.
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) file: Arc<dyn File>,
    pub(crate) live_records: u64,
    pub(crate) live_bytes: u64,
    /// Bytes written.
    pub(crate) used: u32,
    /// The sequence of its last frame.
    pub(crate) last: u64,
    /// The disk did not give all of it: its file is not used again.
    pub(crate) unreadable: bool,
    /// More was let go than lived in it: what lives is looked for before its file goes.
    pub(crate) miscounted: bool,
}

/// A segment of whose bytes less than one in so many lives is given back early.
const HARDLY: u64 = 32;

impl Segment {
    /// Whether copying what lives costs next to nothing, for the room it gives back.
    pub(crate) const fn is_hardly_alive(&self) -> bool {
        self.live_bytes < self.used as u64 / HARDLY
    }
}

#[derive(Default)]
pub(crate) struct Table {
    pub(crate) entries: Entries,
    pub(crate) controls: BTreeMap<String, (Option<String>, Place)>,
    pub(crate) segments: BTreeMap<u32, Segment>,
    /// A second cold segment that holds a copy, after a crash between copying and recycling.
    pub(crate) extras: HashMap<QueueId, u32>,
    /// Messages whose record is being copied; finished ones among them are not forgotten yet.
    pub(crate) moving: HashSet<QueueId>,
    /// Finished messages that must be remembered as long as this cold segment exists.
    tombstones: HashMap<u32, Vec<QueueId>>,
    /// Messages whose content is in a file.
    pub(crate) body_files: HashSet<QueueId>,
    /// Files of finished messages, to be removed.
    pub(crate) dead_files: Vec<QueueId>,
    /// Tokens that the index may not have yet, each with the sequence that brought it.
    pub(crate) tokens: BTreeMap<String, (QueueId, u64)>,
    pub(crate) hot_sequence: u64,
    /// How far the hot lane is applied: segment and offset.
    pub(crate) hot_head: (u32, u32),
    pub(crate) highest: u64,
    waiting: u64,
    /// While the log is replayed nothing is forgotten: a copy may be found later.
    pub(crate) loading: bool,
    unsettled: Vec<QueueId>,
}

/// What a place in a segment is remembered for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    Message(QueueId),
    Slot(RecipientKey),
    Control(String),
}

/// What applying a change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It speaks of something that is not waiting.
    Ignored,
    Kept,
    /// With it, nothing of the message has to be remembered.
    Forgotten(QueueId),
}

impl Table {
    /// Recipients that have no outcome.
    pub(crate) const fn waiting(&self) -> u64 {
        self.waiting
    }

    /// A table that is being filled from the disk, until [`Table::settle`].
    pub(crate) fn loading() -> Self {
        Self {
            loading: true,
            ..Self::default()
        }
    }

    /// Forgets all but the segments.
    pub(crate) fn clear(&mut self) {
        let mut segments = std::mem::take(&mut self.segments);
        for segment in segments.values_mut() {
            (segment.live_records, segment.live_bytes) = (0, 0);
            segment.miscounted = false;
        }
        *self = Self {
            segments,
            loading: self.loading,
            ..Self::default()
        };
    }

    fn hold(&mut self, place: Place) {
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.live_records += 1;
            segment.live_bytes += u64::from(place.len);
        }
    }

    fn release(&mut self, place: Place) {
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            let records = segment.live_records.checked_sub(1);
            let bytes = segment.live_bytes.checked_sub(u64::from(place.len));
            let is_counted = records.is_some() && bytes.is_some();
            debug_assert!(is_counted, "{place:?} is let go and was not held");
            // A slip here must not cost the mail that still lives there, nor the service.
            segment.miscounted |= !is_counted;
            segment.live_records = records.unwrap_or_default();
            segment.live_bytes = bytes.unwrap_or_default();
        }
    }

    fn is_cold(&self, segment: u32) -> bool {
        self.segments
            .get(&segment)
            .is_some_and(|s| s.header.lane == Lane::Cold)
    }

    /// Enters a message as the index or a record describes it.
    pub(crate) fn insert(&mut self, id: QueueId, place: Place, slots: Vec<Slot>, from: u32) {
        self.highest = self.highest.max(id.as_u64());
        if let Some(old) = self.entries.remove(&id) {
            self.let_go(&old);
        }
        self.hold(place);
        for slot in &slots {
            self.hold(slot.place);
            self.waiting += u64::from(!slot.done);
        }
        if from != 0 && from != place.segment && self.is_cold(from) {
            self.extras.insert(id, from);
        }
        let entry = Entry {
            place,
            slots: Slots::new(slots),
        };
        let finished = entry.is_finished();
        self.entries.insert(id, entry);
        if finished {
            self.release(place);
            self.bury(id);
        }
    }

    /// Enters a finished message whose outcomes stand in one record.
    pub(crate) fn insert_gone(&mut self, id: QueueId, place: Place, gone: Place, from: u32) {
        let slot = Slot {
            place: gone,
            done: true,
        };
        self.insert(id, place, vec![slot], from);
    }

    fn let_go(&mut self, entry: &Entry) {
        if !entry.is_finished() {
            self.release(entry.place);
        }
        for slot in entry.slots.as_slice() {
            self.release(slot.place);
            self.waiting -= u64::from(!slot.done);
        }
    }

    /// Remembers a finished message as long as a cold copy of it exists; otherwise forgets it.
    ///
    /// A copy in a hot segment needs no memory: hot segments are recycled oldest first, so it is
    /// gone before the record of its outcome.
    fn bury(&mut self, id: QueueId) -> Effect {
        if self.body_files.remove(&id) {
            self.dead_files.push(id);
        }
        if self.loading {
            self.unsettled.push(id);
            return Effect::Kept;
        }
        if self.moving.contains(&id) {
            return Effect::Kept;
        }
        let place = self.entries.get(&id).map(|e| e.place.segment);
        let place = place.filter(|segment| self.is_cold(*segment));
        match place.or_else(|| self.extras.get(&id).copied()) {
            Some(segment) => {
                self.tombstones.entry(segment).or_default().push(id);
                Effect::Kept
            }
            None => {
                self.forget(id);
                Effect::Forgotten(id)
            }
        }
    }

    fn forget(&mut self, id: QueueId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.let_go(&entry);
        }
    }

    /// The log is replayed: forgets what need not be remembered, and says what that was.
    pub(crate) fn settle(&mut self) -> Vec<QueueId> {
        self.loading = false;
        let mut forgotten = Vec::new();
        for id in std::mem::take(&mut self.unsettled) {
            let finished = self.entries.get(&id).is_some_and(Entry::is_finished);
            if finished && self.bury(id) == Effect::Forgotten(id) {
                forgotten.push(id);
            }
        }
        forgotten
    }

    /// A segment's file no longer bears its name: what was remembered because of it is forgotten.
    pub(crate) fn remove_segment(&mut self, number: u32) -> Vec<QueueId> {
        let buried = self.tombstones.remove(&number).unwrap_or_default();
        self.segments.remove(&number);
        self.extras.retain(|_, segment| *segment != number);
        let mut forgotten = Vec::new();
        for id in buried {
            let Some(entry) = self.entries.get(&id) else {
                continue;
            };
            if !entry.is_finished() {
                continue;
            }
            if self.bury(id) == Effect::Forgotten(id) {
                forgotten.push(id);
            }
        }
        forgotten
    }

    /// Applies a change that is durable as of hot sequence `sequence`.
    pub(crate) fn apply(&mut self, change: &Change, sequence: u64) -> Effect {
        match change {
            Change::Message {
                meta,
                states,
                place,
                from,
            } => {
                if meta.body_file {
                    self.body_files.insert(meta.id);
                }
                if let Some(token) = &meta.token {
                    self.tokens.insert(token.clone(), (meta.id, sequence));
                }
                let slot = |s: &Option<_>| Slot {
                    place: Place::NONE,
                    done: s.is_none(),
                };
                self.insert(meta.id, *place, states.iter().map(slot).collect(), *from);
                Effect::Kept
            }
            Change::Moved {
                id,
                place,
                from,
                inlined,
            } => self.apply_moved(*id, *place, *from, inlined),
            Change::State { key, place, .. } => self.set_slot(*key, *place, false),
            Change::Done { key, place, .. } => self.set_slot(*key, *place, true),
            Change::Carried { key, place } => self.carry(*key, *place),
            Change::Gone { id, place } => self.apply_gone(*id, *place),
            Change::Forget { id } => {
                self.forget(*id);
                Effect::Kept
            }
            Change::Control { name, value, place } => {
                self.hold(*place);
                let new = (value.clone(), *place);
                if let Some((_, old)) = self.controls.insert(name.clone(), new) {
                    self.release(old);
                }
                Effect::Kept
            }
            // It lives in the history.
            Change::Note(_) => Effect::Kept,
        }
    }

    fn set_slot(&mut self, key: RecipientKey, place: Place, done: bool) -> Effect {
        let Some(entry) = self.entries.get_mut(&key.id) else {
            return Effect::Ignored;
        };
        let slot = entry.slots.as_mut_slice().get_mut(key.recipient as usize);
        let Some(slot) = slot.filter(|slot| !slot.done) else {
            return Effect::Ignored;
        };
        let old = std::mem::replace(slot, Slot { place, done });
        let (message, finished) = (entry.place, entry.is_finished());
        self.release(old.place);
        self.hold(place);
        self.waiting -= u64::from(done);
        if finished {
            self.release(message);
            return self.bury(key.id);
        }
        Effect::Kept
    }

    fn carry(&mut self, key: RecipientKey, place: Place) -> Effect {
        let Some(entry) = self.entries.get_mut(&key.id) else {
            return Effect::Ignored;
        };
        let slots = entry.slots.as_mut_slice();
        let Some(slot) = slots.get_mut(key.recipient as usize) else {
            return Effect::Ignored;
        };
        let old = std::mem::replace(&mut slot.place, place);
        self.release(old);
        self.hold(place);
        Effect::Kept
    }

    /// The copying of `id` came to nothing.
    pub(crate) fn not_moved(&mut self, id: QueueId) -> Effect {
        self.moving.remove(&id);
        match self.entries.get(&id) {
            Some(entry) if entry.is_finished() => self.bury(id),
            Some(_) | None => Effect::Ignored,
        }
    }

    fn apply_moved(&mut self, id: QueueId, place: Place, from: u32, inlined: &[u32]) -> Effect {
        self.moving.remove(&id);
        let Some(entry) = self.entries.get_mut(&id) else {
            return Effect::Ignored;
        };
        let finished = entry.is_finished();
        let old = std::mem::replace(&mut entry.place, place);
        let mut freed = Vec::new();
        for n in inlined {
            if let Some(slot) = entry.slots.as_mut_slice().get_mut(*n as usize) {
                freed.push(std::mem::replace(&mut slot.place, Place::NONE));
            }
        }
        if from != 0 && self.is_cold(from) {
            self.extras.insert(id, from);
        }
        for place in freed {
            self.release(place);
        }
        if finished && !self.loading {
            // Its outcome came while the copy was being written: both copies need it.
            self.tombstones.entry(place.segment).or_default().push(id);
        } else if !finished {
            self.release(old);
            self.hold(place);
        }
        Effect::Kept
    }

    fn apply_gone(&mut self, id: QueueId, place: Place) -> Effect {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Effect::Ignored;
        };
        let was_finished = entry.is_finished();
        let slot = Slot { place, done: true };
        let message = entry.place;
        let old = std::mem::replace(&mut entry.slots, Slots::One(slot));
        for slot in old.as_slice() {
            self.release(slot.place);
            self.waiting -= u64::from(!slot.done);
        }
        self.hold(place);
        if !was_finished {
            self.release(message);
            return self.bury(id);
        }
        Effect::Kept
    }

    /// Whether any place points into a segment.
    pub(crate) fn lives(&self, number: u32) -> bool {
        self.segments
            .get(&number)
            .is_some_and(|s| s.live_records > 0 || s.miscounted && !self.holders(number).is_empty())
    }

    /// Every place that points into a segment, those of messages first. Looks at all entries: for
    /// the rare case that some cannot be copied.
    pub(crate) fn holders(&self, number: u32) -> Vec<(Place, Holder)> {
        let mut messages = Vec::new();
        let mut others = Vec::new();
        for (id, entry) in self.entries.iter() {
            if entry.place.segment == number && !entry.is_finished() {
                messages.push((entry.place, Holder::Message(id)));
            }
            for (recipient, slot) in (0..).zip(entry.slots.as_slice()) {
                if slot.place.segment == number {
                    let key = RecipientKey { id, recipient };
                    others.push((slot.place, Holder::Slot(key)));
                }
            }
        }
        for (name, (_, place)) in &self.controls {
            if place.segment == number {
                others.push((*place, Holder::Control(name.clone())));
            }
        }
        messages.append(&mut others);
        messages
    }

    /// What is said to stand in segments that are not there: messages without an outcome, and states and
    /// outcomes of recipients.
    pub(crate) fn astray(&self) -> Vec<(Place, Holder)> {
        let is_astray =
            |place: Place| !place.is_none() && !self.segments.contains_key(&place.segment);
        let mut astray = Vec::new();
        for (id, entry) in self.entries.iter() {
            if is_astray(entry.place) && !entry.is_finished() {
                astray.push((entry.place, Holder::Message(id)));
            }
            for (recipient, slot) in (0..).zip(entry.slots.as_slice()) {
                if is_astray(slot.place) {
                    let key = RecipientKey { id, recipient };
                    astray.push((slot.place, Holder::Slot(key)));
                }
            }
        }
        for (name, (_, place)) in &self.controls {
            if is_astray(*place) {
                astray.push((*place, Holder::Control(name.clone())));
            }
        }
        astray
    }

    /// Messages with a recipient that has no outcome.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = (QueueId, &Entry)> {
        self.entries
            .iter()
            .filter(|(_, entry)| !entry.is_finished())
    }

    /// Messages that wait although their record is lost.
    pub(crate) fn lost(&self) -> Vec<QueueId> {
        let lost = |(_, e): &(QueueId, &Entry)| e.place.is_none() && !e.is_finished();
        let mut lost: Vec<QueueId> = self.entries.iter().filter(lost).map(|(id, _)| id).collect();
        lost.sort_unstable();
        lost
    }

    /// The oldest segment of a lane.
    pub(crate) fn oldest(&self, lane: Lane) -> Option<(u32, &Segment)> {
        let mut of_lane = self.segments.iter().filter(|(_, s)| s.header.lane == lane);
        of_lane.next().map(|(n, s)| (*n, s))
    }

    pub(crate) fn count(&self, lane: Lane) -> usize {
        self.segments
            .values()
            .filter(|s| s.header.lane == lane)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    struct NoFile;

    impl File for NoFile {
        fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
            Ok(())
        }

        fn read_at(&self, _bytes: &mut [u8], _offset: u64) -> io::Result<usize> {
            Ok(0)
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        fn set_len(&self, _len: u64) -> io::Result<()> {
            Ok(())
        }

        fn len(&self) -> io::Result<u64> {
            Ok(0)
        }
    }

    fn segment(number: u32) -> Segment {
        Segment {
            header: SegmentHeader {
                lane: Lane::Hot,
                number,
                nonce: 1,
                spool: 1,
                first: 1,
                previous: 0,
                previous_end: 0,
            },
            file: Arc::new(NoFile),
            live_records: 0,
            live_bytes: 0,
            used: 8192,
            last: 1,
            unreadable: false,
            miscounted: false,
        }
    }

    #[test]
    fn a_segment_that_was_counted_too_low_goes_only_when_nothing_stands_in_it() {
        let mut table = Table::default();
        table.segments.insert(7, segment(7));
        let id = QueueId::from_u64(1);
        let place = Place {
            segment: 7,
            offset: 4096,
            len: 100,
        };
        table.insert(id, place, vec![Slot::default()], 0);
        assert!(table.lives(7));
        if let Some(segment) = table.segments.get_mut(&7) {
            (segment.live_records, segment.live_bytes) = (0, 0);
        }
        assert!(!table.lives(7), "as a count that is trusted has it");
        if let Some(segment) = table.segments.get_mut(&7) {
            segment.miscounted = true;
        }
        assert!(table.lives(7), "the mail still stands there");
        // The last that stood there goes with its entry.
        table.entries.remove(&id);
        assert!(!table.lives(7));
    }

    #[test]
    #[should_panic(expected = "is let go and was not held")]
    #[cfg(debug_assertions)]
    fn letting_go_what_was_not_held_is_found() {
        let mut table = Table::default();
        table.segments.insert(7, segment(7));
        table.release(Place {
            segment: 7,
            offset: 4096,
            len: 100,
        });
    }
}
