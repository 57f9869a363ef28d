//! Series and records of the index in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mail::{RecipientKey, Timestamp};
use store::series::{
    AGES, Cell, Counted, Dimension, Naming, Point, SeriesWish, Slot, Step, Tally, age_class,
    largest,
};
use store::{Book, EventAbout, Record, StoredRecord};

use super::super::Batch;

/// What was counted, and up to which frame of which log.
#[derive(Default)]
pub(super) struct Series {
    naming: Option<Arc<dyn Naming>>,
    seen: (u64, u64),
    cells: BTreeMap<Slot, Cell>,
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f.debug_struct("Series").field("seen", &self.seen))
            .field("cells", &self.cells)
            .finish_non_exhaustive()
    }
}

/// Counts one batch.
pub(super) struct Counting {
    tally: Tally,
    seen: u64,
}

fn counted(about: &EventAbout) -> Counted<'_> {
    Counted {
        domain: about.recipient.rsplit_once('@').map_or("", |(_, d)| d),
        submitter: &about.submitter,
        destination: about.destination,
        accepted: about.accepted,
        size: about.size,
    }
}

impl Series {
    pub(super) fn name(&mut self, naming: Arc<dyn Naming>) {
        self.naming = Some(naming);
    }

    /// Begins with what the batch accepted.
    pub(super) fn begin(
        &self,
        batch: &Batch,
        about: &BTreeMap<RecipientKey, EventAbout>,
    ) -> Counting {
        let seen = match self.seen.0 == batch.applied.spool {
            true => self.seen.1,
            false => 0,
        };
        let mut tally = Tally::new(self.naming.clone());
        for (_, meta) in batch.accepted.iter().filter(|(frame, _)| *frame > seen) {
            let first = RecipientKey {
                id: meta.id,
                recipient: 0,
            };
            let of_message = about
                .range(first..)
                .take_while(|(key, _)| key.id == meta.id);
            of_message.for_each(|(_, about)| tally.accepted(counted(about)));
        }
        Counting { tally, seen }
    }

    pub(super) fn finish(&mut self, counting: Counting, batch: &Batch) {
        for point in counting.tally.points(usize::MAX) {
            self.cells.entry(point.slot).or_default().add(&point.cell);
        }
        self.seen = (batch.applied.spool, batch.counted().max(counting.seen));
    }

    pub(super) fn each(&self, wish: &SeriesWish, f: &mut dyn FnMut(Point)) {
        for (slot, cell) in &self.cells {
            let is_meant = slot.step == wish.step
                && slot.dimension == wish.dimension
                && (wish.key.as_ref()).is_none_or(|key| *key == slot.key)
                && slot.at >= wish.since
                && slot.at < wish.until;
            if is_meant {
                let (slot, cell) = (slot.clone(), cell.clone());
                f(Point { slot, cell });
            }
        }
    }

    pub(super) fn sample_waiting(&mut self, at: Timestamp, accepted: &[Timestamp]) {
        let mut by_age = [0; AGES.len()];
        for accepted in accepted {
            if let Some(count) = by_age.get_mut(age_class(at, *accepted)) {
                *count += 1;
            }
        }
        for step in Step::ALL {
            for ((word, _), waiting) in AGES.iter().zip(&by_age) {
                let slot = Slot {
                    step,
                    dimension: Dimension::Waiting,
                    at: step.begin(at),
                    key: (*word).to_owned(),
                };
                let cell = Cell {
                    waiting: *waiting,
                    ..Cell::default()
                };
                self.cells.entry(slot).or_default().add(&cell);
            }
        }
    }

    pub(super) fn fold(&mut self, now: Timestamp) {
        (self.cells).retain(|slot, _| now.since(slot.at) <= slot.step.kept());
        let mut hours: BTreeMap<(Dimension, Timestamp), Vec<(String, Cell)>> = BTreeMap::new();
        let ended = Step::Hour.begin(now);
        let of_ended = |slot: &Slot| slot.step == Step::Hour && slot.at < ended;
        for (slot, cell) in self.cells.iter().filter(|(slot, _)| of_ended(slot)) {
            let cells = hours.entry((slot.dimension, slot.at)).or_default();
            cells.push((slot.key.clone(), cell.clone()));
        }
        self.cells.retain(|slot, _| !of_ended(slot));
        for ((dimension, at), cells) in hours {
            let keys = match cells.len() > Dimension::KEYS + 1 {
                true => Dimension::KEYS,
                false => usize::MAX,
            };
            for (key, cell) in largest(cells, keys) {
                let step = Step::Hour;
                let slot = Slot {
                    step,
                    dimension,
                    at,
                    key,
                };
                self.cells.insert(slot, cell);
            }
        }
    }
}

impl Counting {
    pub(super) fn ended(
        &mut self,
        frame: u64,
        about: Option<&EventAbout>,
        (attempts, verdict): (u32, &mail::Verdict),
    ) {
        if let Some(about) = about.filter(|_| frame > self.seen) {
            self.tally.ended(counted(about), attempts, verdict);
        }
    }

    pub(super) fn deferred(
        &mut self,
        frame: u64,
        about: Option<&EventAbout>,
        verdict: &mail::Verdict,
    ) {
        if let Some(about) = about.filter(|_| frame > self.seen) {
            self.tally.deferred(counted(about), verdict);
        }
    }

    pub(super) fn later(
        &mut self,
        frame: u64,
        about: Option<&EventAbout>,
        at: Timestamp,
        word: &str,
    ) {
        if let Some(about) = about.filter(|_| frame > self.seen) {
            self.tally.later(counted(about), at, word);
        }
    }
}

/// Records of what people did, by place.
#[derive(Debug, Default)]
pub(super) struct Records {
    last: u64,
    /// Each with its frame and its number in that.
    kept: BTreeMap<u64, ((u64, u64), Record)>,
}

impl Records {
    pub(super) fn apply(&mut self, batch: &Batch) {
        let mut last = (0, 0);
        for (sequence, record) in &batch.records {
            last = match last {
                (frame, n) if frame == *sequence => (frame, n + 1),
                _ => (*sequence, 0),
            };
            let new = (last, record.clone());
            if !self.kept.values().any(|kept| *kept == new) {
                self.last += 1;
                self.kept.insert(self.last, new);
            }
        }
    }

    pub(super) fn list(&self, book: Book, before: u64, limit: u64) -> Vec<StoredRecord> {
        let in_front = self.kept.range(..before).rev();
        let of_book = in_front.filter(|(_, (_, record))| record.book == book);
        let stored = of_book.map(|(place, (_, record))| StoredRecord {
            place: *place,
            record: record.clone(),
        });
        super::window(stored, 0, limit)
    }

    pub(super) fn forget(&mut self, book: Book, before: Timestamp, limit: u64) -> u64 {
        let mut removed = 0;
        self.kept.retain(|_, (_, record)| {
            let goes = record.book == book && record.at < before && removed < limit;
            removed += u64::from(goes);
            !goes
        });
        removed
    }
}
