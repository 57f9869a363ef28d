//! What to do with survivors that the frames of a segment do not yield: those in a damaged frame,
//! and those that are damaged themselves.
//!
//! The table knows where each of them stands, so no frame is needed to find them, and each has a
//! checksum of its own. A segment goes only when the table points to nothing in it.

use std::io;
use std::sync::Arc;

use mail::{
    Class, EnhancedCode, Outcome, QueueId, RecipientKey, RecipientState, Reply, Timestamp, Verdict,
};
use store::{Damage, Damaged};

use super::{Expected, Keeper, Load, StateFiles, Victim};
use crate::body;
use crate::change::{Change, Place};
use crate::entries::Slot;
use crate::lane::{WriteError, segment_name};
use crate::quarantine::{self, QUARANTINE_DIR};
use crate::record::{MessageRecord, Record, put_control, put_done, single};
use crate::segment::PAGE;
use crate::shared::{Shared, lock};
use crate::storage::read_around;
use crate::table::Holder;

type Held = (Place, Holder);

fn refused(e: io::Error) -> WriteError {
    WriteError::Full(Arc::new(e))
}

impl Keeper {
    /// Copies what can still be read and restores what memory has; the rest is kept in the
    /// quarantine, told, and no longer pointed to.
    pub(super) fn rescue(&mut self, victim: &Victim) -> Result<(), WriteError> {
        let held = lock(&self.shared.table).holders(victim.header.number);
        let bytes = self.read_victim(victim).map_err(refused)?;
        let mut load = Load::default();
        let copied = self.copy_held(victim, &bytes, held, &mut load);
        self.abandon(&load);
        let lost = copied?;
        if lost.is_empty() {
            return Ok(());
        }
        let files = self.set_aside(victim, &bytes, &lost).map_err(refused)?;
        self.give_up(&lost, &files)
    }

    /// Returns what is lost.
    fn copy_held(
        &mut self,
        victim: &Victim,
        bytes: &[u8],
        held: Vec<Held>,
        load: &mut Load,
    ) -> Result<Vec<Held>, WriteError> {
        let mut lost = Vec::new();
        for (place, holder) in held {
            let from = place.offset as usize;
            let raw = bytes.get(from..from + place.len as usize);
            let raw = raw.unwrap_or_default();
            match single(raw) {
                Some(Ok(record)) if belongs(&record, &holder) => {
                    self.add(load, place, record, raw, victim.header)?;
                }
                _ if self.restore(load, place, &holder) => {}
                _ => lost.push((place, holder)),
            }
            if load.bytes.len() > self.frame_limit() {
                self.write(load)?;
            }
        }
        self.write(load)?;
        Ok(lost)
    }

    /// Writes again what the table has in full: settings and that a recipient has its outcome.
    fn restore(&self, load: &mut Load, place: Place, holder: &Holder) -> bool {
        match holder {
            Holder::Message(_) => false,
            Holder::Slot(key) => self.restore_outcome(load, place, *key),
            Holder::Control(name) => {
                let value = {
                    let table = lock(&self.shared.table);
                    table.controls.get(name).cloned()
                };
                if let Some((value, now)) = value
                    && now == place
                {
                    self.begin(load);
                    let at = load.bytes.len();
                    put_control(&mut load.bytes, name, value.as_deref());
                    let change = Change::Control {
                        name: name.clone(),
                        value,
                        place: load.place(at),
                    };
                    load.push(change, Expected::Control(place));
                }
                true
            }
        }
    }

    fn restore_outcome(&self, load: &mut Load, place: Place, key: RecipientKey) -> bool {
        let finished = {
            let table = lock(&self.shared.table);
            let entry = table.entries.get(&key.id);
            let slot = entry.and_then(|e| e.slots.as_slice().get(key.recipient as usize));
            let Some((entry, slot)) = entry.zip(slot).filter(|(_, s)| s.place == place) else {
                // Something newer stands elsewhere.
                return true;
            };
            if table.moving.contains(&key.id) {
                // Its message's copy says it.
                return true;
            }
            if !slot.done {
                return false;
            }
            entry.is_finished()
        };
        self.begin(load);
        if finished {
            self.put_gone(load, key.id);
            return true;
        }
        // The history has the real one since before the segment could be reclaimed, and keeps it.
        let reply = Reply::own(
            EnhancedCode::new(5, 3, 0),
            "this outcome is damaged on disk",
        );
        let verdict = Verdict::own(Outcome::Failed, Class::Policy, reply, Timestamp::ZERO);
        let at = load.bytes.len();
        put_done(&mut load.bytes, key, 0, &verdict, None);
        let change = Change::Carried {
            key,
            place: load.place(at),
        };
        load.push(change, Expected::Slot(place));
        true
    }

    /// Copies the octets of what is lost to the quarantine, neighbours into one file; returns the
    /// file of each.
    fn set_aside(&self, victim: &Victim, bytes: &[u8], lost: &[Held]) -> io::Result<Vec<String>> {
        let storage = &*self.shared.storage;
        let segment = segment_name(victim.header.lane, victim.header.number);
        let extent = |place: &Place| {
            let from = place.offset as usize;
            (from, from + place.len as usize)
        };
        let mut extents: Vec<(usize, usize)> = lost.iter().map(|(p, _)| extent(p)).collect();
        extents.sort_unstable();
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        for (from, to) in extents {
            match ranges.last_mut() {
                Some(last) if from <= last.1 + PAGE => last.1 = last.1.max(to),
                _ => ranges.push((from, to)),
            }
        }
        for (from, to) in &ranges {
            let part = bytes.get(*from..(*to).min(bytes.len()));
            let name = quarantine::file_name(&segment, *from, *to);
            quarantine::keep(storage, &name, part.unwrap_or_default())?;
        }
        let file_of = |place: &Place| {
            let at = place.offset as usize;
            let range = ranges.iter().find(|(from, to)| (*from..*to).contains(&at));
            range.map_or_else(
                || QUARANTINE_DIR.to_owned(),
                |(from, to)| quarantine::file_name(&segment, *from, *to),
            )
        };
        for id in lost.iter().filter_map(|(_, holder)| message_of(holder)) {
            if lock(&self.shared.table).body_files.contains(&id) {
                // The outcome to come must not take the content with it.
                match storage.rename(&body::file_name(id), &body::quarantine_name(id)) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    Ok(()) | Err(_) => {}
                }
                storage.sync_dir(QUARANTINE_DIR)?;
                lock(&self.shared.table).body_files.remove(&id);
            }
        }
        Ok(lost.iter().map(|(place, _)| file_of(place)).collect())
    }

    /// Makes the table and the index point nowhere for what is lost, and tells it.
    fn give_up(&self, lost: &[Held], files: &[String]) -> Result<(), WriteError> {
        let mut told = Vec::new();
        {
            let mut table = lock(&self.shared.table);
            let mut fed = Vec::new();
            for ((place, holder), file) in lost.iter().zip(files) {
                let Some((change, what)) = given_up(&table, *place, holder) else {
                    continue;
                };
                table.apply(&change, 0);
                fed.push((table.hot_sequence, change));
                told.push(Damaged {
                    what,
                    file: file.clone(),
                    missing: false,
                });
            }
            lock(&self.shared.feed).changes.append(&mut fed);
        }
        self.tell(told);
        // No frame comes with these changes that waiting for the index could wait for.
        self.shared.index_step();
        match &lock(&self.shared.feed).failed {
            None => Ok(()),
            Some(why) => Err(refused(io::Error::other(why.clone()))),
        }
    }

    fn tell(&self, told: Vec<Damaged>) {
        Shared::add(&self.shared.counters.damaged, told.len() as u64);
        lock(&self.shared.damaged).extend(told);
    }

    /// The state of every recipient as its last record says; `None` has its outcome. A state that
    /// is damaged is kept and told, and the message's own record decides.
    pub(super) fn current_states(
        &self,
        m: &MessageRecord<'_>,
        slots: &[Slot],
        files: &StateFiles,
    ) -> io::Result<Vec<Option<RecipientState>>> {
        let mut states = Vec::with_capacity(slots.len());
        let mut told = Vec::new();
        for (recipient, (slot, initial)) in (0..).zip(slots.iter().zip(&m.states)) {
            if slot.done {
                states.push(None);
                continue;
            }
            if slot.place.is_none() {
                states.push(initial.clone());
                continue;
            }
            let key = RecipientKey {
                id: m.id,
                recipient,
            };
            let (header, file) = files
                .get(&slot.place.segment)
                .ok_or(io::ErrorKind::NotFound)?;
            let (from, len) = (slot.place.offset as usize, slot.place.len as usize);
            let bytes = read_around(&**file, from as u64, len)?.bytes;
            if let Some(Ok(Record::State { key: k, state, .. })) = single(&bytes)
                && k == key
            {
                states.push(Some(*state));
                continue;
            }
            let segment = segment_name(header.lane, header.number);
            let name = quarantine::file_name(&segment, from, from + len);
            quarantine::keep(&*self.shared.storage, &name, &bytes)?;
            told.push(Damaged {
                what: Damage::State(key),
                file: name,
                missing: false,
            });
            // Without an outcome it waits, whatever the record says.
            states.push(Some(initial.clone().unwrap_or_default()));
        }
        self.tell(told);
        Ok(states)
    }
}

/// Whether a record is the one that the table means.
fn belongs(record: &Record<'_>, holder: &Holder) -> bool {
    match (record, holder) {
        (Record::Message(m), Holder::Message(id)) => m.id == *id,
        (Record::State { key: k, .. } | Record::Done { key: k, .. }, Holder::Slot(key)) => k == key,
        (Record::Gone { id }, Holder::Slot(key)) => *id == key.id,
        (Record::Control { name: n, .. }, Holder::Control(name)) => n == name,
        _ => false,
    }
}

const fn message_of(holder: &Holder) -> Option<QueueId> {
    match holder {
        Holder::Message(id) => Some(*id),
        Holder::Slot(_) | Holder::Control(_) => None,
    }
}

/// What becomes of a lost record that is still pointed to.
fn given_up(
    table: &crate::table::Table,
    place: Place,
    holder: &Holder,
) -> Option<(Change, Damage)> {
    match holder {
        Holder::Message(id) => {
            let entry = table.entries.get(id)?;
            let change = Change::Moved {
                id: *id,
                place: Place::NONE,
                from: 0,
                inlined: Vec::new(),
            };
            (entry.place == place && !entry.is_finished()).then_some((change, Damage::Message(*id)))
        }
        Holder::Slot(key) => {
            let slots = table.entries.get(&key.id)?.slots.as_slice();
            let slot = slots.get(key.recipient as usize)?;
            let change = Change::Carried {
                key: *key,
                place: Place::NONE,
            };
            (slot.place == place && !slot.done).then_some((change, Damage::State(*key)))
        }
        Holder::Control(_) => None,
    }
}
