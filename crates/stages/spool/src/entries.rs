//! The entries of all messages in memory, by id.
//!
//! Ten million of them are held at once. They stand in chunks that never move, so that growing
//! costs neither a copy nor twice the memory, and are found by a table of their numbers that reads
//! the id from the entry.

use hashbrown::HashTable;
use mail::QueueId;

use crate::change::Place;

/// One recipient: where its last state or outcome is, if not in the message's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Slot {
    pub(crate) place: Place,
    pub(crate) done: bool,
}

#[derive(Debug)]
pub(crate) enum Slots {
    One(Slot),
    Many(Box<[Slot]>),
}

impl Slots {
    pub(crate) fn new(slots: Vec<Slot>) -> Self {
        match slots.as_slice() {
            [slot] => Self::One(*slot),
            _ => Self::Many(slots.into()),
        }
    }

    pub(crate) fn as_slice(&self) -> &[Slot] {
        match self {
            Self::One(slot) => std::slice::from_ref(slot),
            Self::Many(slots) => slots,
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [Slot] {
        match self {
            Self::One(slot) => std::slice::from_mut(slot),
            Self::Many(slots) => slots,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    pub(crate) slots: Slots,
}

impl Entry {
    pub(crate) fn is_finished(&self) -> bool {
        self.slots.as_slice().iter().all(|s| s.done)
    }
}

/// One chunk, free places among them.
type Chunk = Box<[Option<(QueueId, Entry)>]>;

/// Entries of one chunk.
const CHUNK: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Entries {
    chunks: Vec<Chunk>,
    /// Places that were used and are free again.
    free: Vec<u32>,
    /// Places that were ever used.
    used: u32,
    by_id: HashTable<u32>,
}

/// Ids are the spool's own and differ in their low bits: one mixing does, where a hasher that
/// guards against chosen keys would cost more than the look-up.
const fn hash(id: QueueId) -> u64 {
    let n = id.as_u64().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    n ^ (n >> 32)
}

fn at(chunks: &[Chunk], place: u32) -> Option<&(QueueId, Entry)> {
    let place = place as usize;
    chunks.get(place / CHUNK)?.get(place % CHUNK)?.as_ref()
}

impl Entries {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// All of them, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (QueueId, &Entry)> {
        let places = self.chunks.iter().flat_map(|chunk| chunk.iter());
        places.flatten().map(|(id, entry)| (*id, entry))
    }

    fn find(&self, id: QueueId) -> Option<u32> {
        let is = |place: &u32| at(&self.chunks, *place).is_some_and(|(known, _)| *known == id);
        self.by_id.find(hash(id), is).copied()
    }

    pub(crate) fn contains_key(&self, id: &QueueId) -> bool {
        self.find(*id).is_some()
    }

    pub(crate) fn get(&self, id: &QueueId) -> Option<&Entry> {
        at(&self.chunks, self.find(*id)?).map(|(_, entry)| entry)
    }

    pub(crate) fn get_mut(&mut self, id: &QueueId) -> Option<&mut Entry> {
        let place = self.find(*id)?;
        self.place(place)?.as_mut().map(|(_, entry)| entry)
    }

    /// Gets ready for so many more.
    pub(crate) fn reserve(&mut self, more: usize) {
        let chunks = &self.chunks;
        let rehash = |number: &u32| at(chunks, *number).map_or(0, |(id, _)| hash(*id));
        self.by_id.reserve(more, rehash);
    }

    fn place(&mut self, place: u32) -> Option<&mut Option<(QueueId, Entry)>> {
        let place = place as usize;
        self.chunks.get_mut(place / CHUNK)?.get_mut(place % CHUNK)
    }

    /// Puts an entry in, in the place of one with the same id.
    pub(crate) fn insert(&mut self, id: QueueId, entry: Entry) {
        if let Some(known) = self.get_mut(&id) {
            *known = entry;
            return;
        }
        let number = self.free.pop().unwrap_or(self.used);
        if number == self.used {
            self.used += 1;
            if self.chunks.len() * CHUNK <= number as usize {
                self.chunks.push((0..CHUNK).map(|_| None).collect());
            }
        }
        if let Some(place) = self.place(number) {
            *place = Some((id, entry));
        }
        let chunks = &self.chunks;
        let rehash = |number: &u32| at(chunks, *number).map_or(0, |(id, _)| hash(*id));
        self.by_id.insert_unique(hash(id), number, rehash);
    }

    pub(crate) fn remove(&mut self, id: &QueueId) -> Option<Entry> {
        let number = self.find(*id)?;
        if let Ok(known) = self.by_id.find_entry(hash(*id), |n| *n == number) {
            known.remove();
        }
        self.free.push(number);
        self.place(number)?.take().map(|(_, entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_with_its_id_takes_48_octets() {
        // Ten million of them must fit in memory with all else.
        assert_eq!(size_of::<Option<(QueueId, Entry)>>(), 48);
    }
}
