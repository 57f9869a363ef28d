//! What a record in the log means for the table and the index.

use std::sync::Arc;

use mail::QueueId;

use crate::change::{Change, MessageMeta, Place};
use crate::entries::Slot;
use crate::index::Known;
use crate::record::Record;
use crate::segment::Lane;
use crate::table::Table;

pub(super) fn hot_change(record: Record<'_>, place: Place) -> Option<Change> {
    Some(match record {
        Record::Message(m) => Change::Message {
            meta: Arc::new(MessageMeta {
                id: m.id,
                accepted: m.accepted,
                size: m.body.len(),
                body_file: m.body.is_file(),
                envelope: m.envelope,
                labels: m.labels,
                token: m.token,
            }),
            states: m.states,
            place,
            from: m.from,
        },
        Record::State {
            key,
            state,
            transcript,
        } => Change::State {
            key,
            state,
            transcript,
            place,
        },
        Record::Done {
            key,
            attempts,
            verdict,
            transcript,
        } => Change::Done {
            key,
            attempts,
            verdict,
            transcript,
            place,
        },
        Record::Control { name, value } => Change::Control { name, value, place },
        Record::Gone { id } => Change::Gone { id, place },
        Record::Note(note) => Change::Note(note),
        Record::Other => return None,
    })
}

/// What a copy means: never more than what was known as of `head`.
pub(super) fn cold_change(
    table: &Table,
    record: Record<'_>,
    place: Place,
    head: (u32, u32),
) -> Option<Change> {
    let older = |slot: Place| {
        let cold = table
            .segments
            .get(&slot.segment)
            .is_none_or(|s| s.header.lane == Lane::Cold);
        slot.is_none() || cold || (slot.segment, slot.offset) < head
    };
    let entry = |id: &QueueId| table.entries.get(id);
    match &record {
        Record::Message(m) => {
            let Some(entry) = entry(&m.id) else {
                return hot_change(record, place);
            };
            let slots = (0..).zip(entry.slots.as_slice());
            Some(Change::Moved {
                id: m.id,
                place,
                from: m.from,
                inlined: slots
                    .filter(|(_, s)| older(s.place))
                    .map(|(n, _)| n)
                    .collect(),
            })
        }
        Record::State { key, .. } | Record::Done { key, .. } => {
            let slot = entry(&key.id)?
                .slots
                .as_slice()
                .get(key.recipient as usize)?;
            if slot.done {
                return older(slot.place).then_some(Change::Carried { key: *key, place });
            }
            older(slot.place)
                .then(|| hot_change(record, place))
                .flatten()
        }
        Record::Control { name, .. } => {
            let now = table.controls.get(name).map(|(_, place)| *place);
            now.is_none_or(older)
                .then(|| hot_change(record, place))
                .flatten()
        }
        Record::Gone { .. } => hot_change(record, place),
        // The cold lane holds none.
        Record::Note(_) | Record::Other => None,
    }
}

/// Enters a message that the index knows.
pub(super) fn enter(table: &mut Table, known: Known) {
    let finished = known.slots.iter().all(|(_, done)| *done);
    if known.body_file && !finished {
        table.body_files.insert(known.id);
    }
    if known.gone.is_none() {
        let slot = |(place, done)| Slot { place, done };
        let slots = known.slots.into_iter().map(slot).collect();
        table.insert(known.id, known.place, slots, known.from);
    } else {
        table.insert_gone(known.id, known.place, known.gone, known.from);
    }
}
