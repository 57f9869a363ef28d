//! The compact entry of one waiting recipient, and the table of all of them.
//!
//! Ten million of these are held at once, so an entry has numbers only; addresses, replies and
//! content stay in the spool.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use mail::{Destination, Domain, QueueId, RecipientKey, RecipientState, Timestamp};
use slab::Slab;

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

#[derive(Debug)]
pub(crate) struct Entry {
    id: u64,
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

/// All waiting recipients, by slot and by key.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    slab: Slab<Entry>,
    by_key: HashMap<RecipientKey, u32, BuildHasherDefault<KeyHasher>>,
    generation: u32,
}

impl Entries {
    /// Takes a recipient in; `None` when it is there already.
    pub(crate) fn insert(
        &mut self,
        new: &NewRecipient,
        domain: u32,
        submitter: u32,
    ) -> Option<Slot> {
        if self.by_key.contains_key(&new.key) {
            return None;
        }
        self.generation = self.generation.wrapping_add(1);
        let mut entry = Entry {
            id: new.key.id.as_u64(),
            accepted: new.accepted,
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
        let generation = entry.generation;
        let index = u32::try_from(self.slab.insert(entry)).ok()?;
        self.by_key.insert(new.key, index);
        Some(Slot { index, generation })
    }

    pub(crate) fn find(&self, key: RecipientKey) -> Option<Slot> {
        let index = *self.by_key.get(&key)?;
        let generation = self.slab.get(index as usize)?.generation;
        Some(Slot { index, generation })
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Entry> {
        self.slab
            .get(slot.index as usize)
            .filter(|e| e.generation == slot.generation)
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Entry> {
        self.slab
            .get_mut(slot.index as usize)
            .filter(|e| e.generation == slot.generation)
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Entry> {
        self.get(slot)?;
        let entry = self.slab.try_remove(slot.index as usize)?;
        self.by_key.remove(&entry.key());
        Some(entry)
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Every slot in use, in no order that means anything.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        let slot = |(i, e): (usize, &Entry)| {
            Some(Slot {
                index: u32::try_from(i).ok()?,
                generation: e.generation,
            })
        };
        self.slab.iter().filter_map(slot).collect()
    }
}

/// Queue ids are ours and spread well: one multiplication does, where the standard hasher's guard
/// against chosen keys would cost more than the rest of the look-up.
#[derive(Debug, Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        mix(self.0)
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = self.0.rotate_left(17).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n;
    }
}
