//! What housekeeping does besides copying survivors: giving segments back, the list of segments, the ballast, and giving room back.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Keeper, Load, Victim};
use crate::ballast;
use crate::change::Change;
use crate::lane::{poison, segment_name};
use crate::list::{self, Listed, SegmentList};
use crate::segment::STEP;
use crate::shared::{Ready, Shared, lock};

/// Looks around without anything to do before room is given back: a minute.
const IDLE_LOOKS: u32 = 300;

impl Keeper {
    /// Brings the list of segments up to date; `without` is about to go.
    ///
    /// # Errors
    /// When what the disk holds of the list is unknown: the queue stops then.
    pub(super) fn keep_list(&mut self, without: Option<u32>) -> io::Result<()> {
        let listed: Listed = {
            let table = lock(&self.shared.table);
            let there = table.segments.iter().filter(|(n, _)| Some(**n) != without);
            there
                .map(|(n, s)| (*n, (s.header.lane, s.header.first)))
                .collect()
        };
        if self.list.as_ref().is_some_and(|list| list.listed == listed) {
            return Ok(());
        }
        let storage = &*self.shared.storage;
        let mut list = match self.list.take() {
            Some(list) => list,
            None => match SegmentList::create(storage, self.shared.spool_id) {
                Ok(list) => list,
                // Without one the queue works as well; it is tried again.
                Err(_) => return Ok(()),
            },
        };
        if list.write(listed).is_err() {
            // One that names what goes would be wrong: none is better.
            return match storage.remove(list::NAME) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                Ok(()) | Err(_) => storage.sync_dir(""),
            };
        }
        if let Err(e) = list.sync() {
            poison(&self.shared, "syncing the list of segments", &e);
            return Err(e);
        }
        Shared::add(&self.shared.counters.syncs, 1);
        self.list = Some(list);
        Ok(())
    }

    /// Gives the file of a segment without life a free name, or gives it back.
    pub(super) fn recycle(&mut self, victim: &Victim) -> io::Result<()> {
        self.keep_list(Some(victim.header.number))?;
        let storage = &self.shared.storage;
        let name = segment_name(victim.header.lane, victim.header.number);
        if self.shared.poisoned().is_some() {
            return Err(io::ErrorKind::Other.into());
        }
        let unreadable = {
            let table = lock(&self.shared.table);
            let number = victim.header.number;
            // The last look before the file goes, and with it all that stands in it.
            assert!(
                !table.lives(number),
                "segment {number} goes and something lives in it"
            );
            debug_assert!(
                table.holders(number).is_empty(),
                "segment {number} is miscounted"
            );
            table.segments.get(&number).is_some_and(|s| s.unreadable)
        };
        let free = {
            let mut pool = lock(&self.shared.pool);
            pool.last_free += 1;
            (!unreadable
                && pool.ready.len()
                    < self.shared.options.reserve_segments + self.shared.options.hot_segments)
                .then(|| format!("free-{:010}.seg", pool.last_free))
        };
        match &free {
            Some(free) => storage.rename(&name, free)?,
            None => storage.remove(&name)?,
        }
        // Before the next segment may go: otherwise a crash could keep this one and lose that.
        if let Err(e) = storage.sync_dir("") {
            poison(&self.shared, "recycling a segment", &e);
            return Err(e);
        }
        let mut table = lock(&self.shared.table);
        let forgotten = table.remove_segment(victim.header.number);
        let sequence = table.hot_sequence;
        let forget = forgotten
            .into_iter()
            .map(|id| (sequence, Change::Forget { id }));
        lock(&self.shared.feed).changes.extend(forget);
        drop(table);
        if let Some(free) = free {
            let mut pool = lock(&self.shared.pool);
            pool.add(Ready::new(free, Arc::clone(&victim.file)));
            pool.failed = None;
        }
        self.shared.pool_changed.notify_all();
        Shared::add(&self.shared.counters.reclaimed, 1);
        Ok(())
    }

    /// Keeps some room, and gives it up for outcomes when there is no other.
    pub(super) fn keep_ballast(&mut self) {
        let options = &self.shared.options;
        let bytes = options.ballast_bytes;
        let storage = &*self.shared.storage;
        if self.has_ballast {
            let in_need = {
                let pool = lock(&self.shared.pool);
                pool.failed.is_some() && pool.ready.len() < options.reserve_segments
            };
            if in_need && storage.remove(ballast::NAME).is_ok() {
                self.has_ballast = false;
            }
            return;
        }
        let wanted = options.reserve_bytes.saturating_add(2 * bytes);
        if bytes > 0 && storage.free_bytes().is_ok_and(|free| free > wanted) {
            self.has_ballast = ballast::make(storage, bytes).is_ok();
        }
    }

    /// Nobody has committed anything for a while.
    pub(super) const fn is_idle(&self) -> bool {
        self.idle.0 >= IDLE_LOOKS
    }

    /// Whether all that lives in a segment is known without reading it.
    pub(super) fn holds_controls_only(&self, victim: &Victim) -> bool {
        let table = lock(&self.shared.table);
        let places = table.controls.values().map(|(_, place)| place.segment);
        let controls = places.filter(|segment| *segment == victim.header.number);
        controls.count() as u64 == victim.live
    }

    pub(super) fn add_controls(&self, victim: &Victim, load: &mut Load) {
        self.begin(load);
        let table = lock(&self.shared.table);
        for (name, (value, place)) in &table.controls {
            if place.segment == victim.header.number {
                load.put_control(name.clone(), value.clone(), *place);
            }
        }
    }

    /// There was nothing to do. When that has been so for a while, room is given back.
    pub(super) fn rest(&mut self) {
        let commits = self.shared.counters.commits.load(Ordering::Relaxed);
        if self.idle.1 != commits {
            self.idle = (0, commits);
        }
        self.idle.0 += 1;
        if self.idle.0 == IDLE_LOOKS {
            self.give_room_back();
        }
    }

    /// Gives back what a busy time took: segments ready for use beyond what is always kept, the length of
    /// those, and the segments being written, when hardly anything in them lives. They go as all others go.
    pub(crate) fn give_room_back(&mut self) {
        let is_wasted = |number: u32| {
            let table = lock(&self.shared.table);
            let segment = table.segments.get(&number);
            segment.is_some_and(|s| s.is_hardly_alive() && s.used as usize > STEP)
        };
        let head = lock(&self.shared.table).hot_head.0;
        if is_wasted(head) {
            lock(&self.shared.queue).begin_segment = true;
            self.shared.queue_changed.notify_all();
        }
        if let Some(active) = self.lane.active.take_if(|active| is_wasted(active.number)) {
            self.lane.previous = (active.number, active.offset);
        }
        self.remove_surplus();
        let mut pool = lock(&self.shared.pool);
        let step = self.shared.options.first_step();
        pool.length = step;
        for ready in &mut pool.ready {
            if ready.len > step && ready.file.set_len(step as u64).is_ok() {
                ready.len = step;
            }
        }
    }

    /// Removes the segments that are ready beyond what is always kept.
    pub(super) fn remove_surplus(&self) {
        let mut pool = lock(&self.shared.pool);
        let keep = self.shared.options.reserve_segments + 1;
        let keep = keep.min(pool.ready.len());
        for surplus in pool.ready.split_off(keep) {
            // One that stays is found when the spool is opened next.
            drop(self.shared.storage.remove(&surplus.name));
        }
    }
}
