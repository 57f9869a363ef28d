//! The compact entry of one waiting recipient, and the table of all of them.
//!
//! Ten million of these are held at once, so an entry has numbers only; addresses, replies and
//! content stay in the spool.

use std::collections::BTreeMap;

use hashbrown::HashTable;
use mail::{Destination, Domain, QueueId, RecipientKey, RecipientState, Terms, Timestamp};

use crate::plan::mix;

/// A recipient handed to the scheduler: just accepted, or known from before a restart.
#[derive(Debug, Clone)]
pub struct NewRecipient {
    /// Which one.
    pub key: RecipientKey,
    /// The domain of its address.
    pub domain: Domain,
    /// Outgoing or local.
    pub destination: Destination,
    /// Who handed its message in, for fairness.
    pub submitter: String,
    /// When its message was accepted.
    pub accepted: Timestamp,
    /// What its submitter asked about time and order.
    pub terms: Terms,
    /// Its durable state; the last verdict is not kept here.
    pub state: RecipientState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Until its timer.
    Waiting,
    /// Due, in the list of its domain: the site is not known, or the domain may not send.
    Pending,
    /// Due, in the ready list of its site.
    Ready,
    /// With a worker.
    InFlight,
}

pub(crate) const HELD: u8 = 1;
pub(crate) const NOTIFIED: u8 = 2;
/// An administrator ended it while it was with a worker.
pub(crate) const CANCELLED: u8 = 4;
/// That end is not to be reported to the sender.
pub(crate) const SILENT: u8 = 8;
/// Something was asked about its time or order: it stands in the table of terms.
pub(crate) const TERMS: u8 = 16;
/// Its first attempt is set for later.
pub(crate) const FUTURE: u8 = 32;
/// It waits for a fault of ours to be mended.
pub(crate) const KEPT: u8 = 64;
/// Somebody wants it tried besides its plan.
pub(crate) const EXTRA: u8 = 128;

#[derive(Debug)]
pub(crate) struct Entry {
    id: u64,
    /// When its time in the queue began: at acceptance, or at the release that was asked for.
    pub(crate) accepted: Timestamp,
    pub(crate) due: Timestamp,
    recipient: u32,
    pub(crate) domain: u32,
    pub(crate) submitter: u32,
    /// Which use of the slot this is: timers and lists that name another one are stale.
    pub(crate) generation: u32,
    pub(crate) attempts: u16,
    pub(crate) phase: Phase,
    pub(crate) flags: u8,
}

impl Entry {
    pub(crate) const fn key(&self) -> RecipientKey {
        RecipientKey {
            id: QueueId::from_u64(self.id),
            recipient: self.recipient,
        }
    }

    pub(crate) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) const fn set(&mut self, flag: u8, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }
}

/// A slot and the use of it that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Entries of one chunk. Chunks never move, so growing costs no copy and no double memory.
const CHUNK: usize = 4096;

/// All waiting recipients, by slot and by key.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    chunks: Vec<Box<[Option<Entry>]>>,
    /// Slots that were used and are free again.
    free: Vec<u32>,
    /// Slots that were ever used.
    used: u32,
    /// Slots by the hash of their entry's key: the key itself stands in the entry.
    by_key: HashTable<u32>,
    generation: u32,
    /// Entries that are marked so.
    future: usize,
    /// When what is tried because somebody wants it now would be tried by its plan. A table of its own: few have it.
    planned: BTreeMap<RecipientKey, Timestamp>,
}

/// Queue ids are ours and spread well: one mixing does, where a hasher that guards against chosen
/// keys would cost more than the rest of the look-up.
const fn hash(key: RecipientKey) -> u64 {
    mix(key.id.as_u64().rotate_left(20) ^ key.recipient as u64)
}

fn at(chunks: &[Box<[Option<Entry>]>], index: u32) -> Option<&Entry> {
    let index = index as usize;
    chunks.get(index / CHUNK)?.get(index % CHUNK)?.as_ref()
}

/// When a recipient's time in the queue begins. An administrator may have set the first attempt for
/// later than its submitter did.
fn begins(new: &NewRecipient) -> Timestamp {
    let asked = new.terms.begins(new.accepted);
    match new.state.attempts {
        0 => asked.max(new.state.due),
        _ => asked,
    }
}

impl Entries {
    /// Takes a recipient in; `None` when it is there already.
    pub(crate) fn insert(
        &mut self,
        new: &NewRecipient,
        domain: u32,
        submitter: u32,
    ) -> Option<Slot> {
        if self.find(new.key).is_some() {
            return None;
        }
        self.generation = self.generation.wrapping_add(1);
        let mut entry = Entry {
            id: new.key.id.as_u64(),
            accepted: begins(new),
            due: new.state.due,
            recipient: new.key.recipient,
            domain,
            submitter,
            generation: self.generation,
            attempts: u16::try_from(new.state.attempts).unwrap_or(u16::MAX),
            phase: Phase::Waiting,
            flags: 0,
        };
        entry.set(HELD, new.state.status == mail::Status::Held);
        entry.set(NOTIFIED, new.state.delay_notified);
        entry.set(TERMS, !new.terms.is_default());
        let generation = entry.generation;
        let index = self.free.pop().unwrap_or(self.used);
        if index == self.used {
            self.used += 1;
            if self.chunks.len() * CHUNK <= index as usize {
                self.chunks.push((0..CHUNK).map(|_| None).collect());
            }
        }
        let place = self.place(index)?;
        // Who stood here would be forgotten until the next start, which hands everybody in again.
        assert!(place.is_none(), "a free slot of the schedule is in use");
        *place = Some(entry);
        let chunks = &self.chunks;
        let rehash = |index: &u32| at(chunks, *index).map_or(0, |e| hash(e.key()));
        self.by_key.insert_unique(hash(new.key), index, rehash);
        Some(Slot { index, generation })
    }

    /// Gets ready for so many more.
    pub(crate) fn reserve(&mut self, more: usize) {
        let chunks = &self.chunks;
        let rehash = |index: &u32| at(chunks, *index).map_or(0, |e| hash(e.key()));
        self.by_key.reserve(more, rehash);
    }

    fn place(&mut self, index: u32) -> Option<&mut Option<Entry>> {
        let index = index as usize;
        self.chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
    }

    pub(crate) fn find(&self, key: RecipientKey) -> Option<Slot> {
        let is = |index: &u32| at(&self.chunks, *index).is_some_and(|e| e.key() == key);
        let index = *self.by_key.find(hash(key), is)?;
        let generation = at(&self.chunks, index)?.generation;
        Some(Slot { index, generation })
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Entry> {
        at(&self.chunks, slot.index).filter(|e| e.generation == slot.generation)
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Entry> {
        let entry = self.place(slot.index)?.as_mut();
        entry.filter(|e| e.generation == slot.generation)
    }

    /// Makes every timer and list that names this use of the slot stale; the use from now on.
    pub(crate) fn renew(&mut self, slot: Slot) -> Option<Slot> {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        self.get_mut(slot)?.generation = generation;
        Some(Slot {
            index: slot.index,
            generation,
        })
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Entry> {
        let key = self.get(slot)?.key();
        if let Ok(known) = self
            .by_key
            .find_entry(hash(key), |index| *index == slot.index)
        {
            known.remove();
        }
        self.free.push(slot.index);
        let entry = self.place(slot.index)?.take();
        if let Some(entry) = &entry {
            if entry.has(FUTURE) {
                self.future -= 1;
            }
            if entry.has(EXTRA) {
                self.planned.remove(&key);
            }
        }
        entry
    }

    /// What was tried before is tried at once, besides its plan: such an attempt does not count.
    pub(crate) fn try_besides(&mut self, slot: Slot, now: Timestamp) {
        let Some(entry) = self.get_mut(slot) else {
            return;
        };
        if entry.attempts == 0 || entry.due <= now || entry.has(EXTRA) {
            return;
        }
        entry.set(EXTRA, true);
        let (key, due) = (entry.key(), entry.due);
        self.planned.insert(key, due);
    }

    /// Moves the time at which an entry would be tried by its plan, where it is tried besides.
    pub(crate) fn plan_otherwise(&mut self, slot: Slot, to: impl Fn(Timestamp) -> Timestamp) {
        let Some(key) = self.get(slot).filter(|e| e.has(EXTRA)).map(Entry::key) else {
            return;
        };
        if let Some(due) = self.planned.get_mut(&key) {
            *due = to(*due);
        }
    }

    /// When an entry would be tried by its plan, where the attempt that has ended was besides it.
    pub(crate) fn take_planned(&mut self, slot: Slot, now: Timestamp) -> Option<Timestamp> {
        let entry = self.get_mut(slot).filter(|entry| entry.has(EXTRA))?;
        entry.set(EXTRA, false);
        let key = entry.key();
        self.planned.remove(&key).filter(|due| *due > now)
    }

    /// Marks an entry whose first attempt is set for later, or takes that back.
    pub(crate) fn mark_future(&mut self, slot: Slot, now: Timestamp) {
        let Some(entry) = self.get_mut(slot) else {
            return;
        };
        let is = entry.attempts == 0 && entry.phase == Phase::Waiting && entry.due > now;
        let is = is && !entry.has(KEPT);
        let was = entry.has(FUTURE);
        entry.set(FUTURE, is);
        match (was, is) {
            (false, true) => self.future += 1,
            (true, false) => self.future -= 1,
            (true, true) | (false, false) => {}
        }
    }

    /// Recipients whose first attempt is set for later.
    pub(crate) const fn future(&self) -> usize {
        self.future
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Every slot in use, in no order that means anything.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        let slot = |index| {
            Some(Slot {
                index,
                generation: at(&self.chunks, index)?.generation,
            })
        };
        (0..self.used).filter_map(slot).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_no_larger_than_its_numbers() {
        // Ten million of them must fit in memory with all else.
        assert_eq!(size_of::<Option<Entry>>(), 48);
    }
}
