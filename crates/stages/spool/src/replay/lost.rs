//! What should be there and is not: missing segments, what stood in them, and what an older index knew.

use std::hash::{DefaultHasher, Hash, Hasher};

use mail::{Class, EnhancedCode, Outcome, QueueId, RecipientKey, Reply, Timestamp, Verdict};
use store::{Damage, Damaged, Op};

use super::{Missing, OpenError, Replay, io_error};
use crate::body;
use crate::change::{Change, Place};
use crate::lane::segment_name;
use crate::list::SegmentList;
use crate::quarantine::QUARANTINE_DIR;
use crate::segment::Lane;
use crate::table::Holder;

/// A segment that is not there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    pub(super) lane: Lane,
    pub(super) number: u32,
    first: Option<u64>,
    last: Option<u64>,
}

impl Replay<'_> {
    /// When all segments are gone, what else is there says which spool this was.
    pub(super) fn spool_id(
        &self,
        by_segment: Option<u64>,
        list: Option<&SegmentList>,
    ) -> Result<u64, OpenError> {
        if let Some(known) = by_segment.or_else(|| list.map(|list| list.spool)) {
            return Ok(known);
        }
        let by_index = self.index.applied()?.spool;
        if by_index != 0 {
            return Ok(by_index);
        }
        let mut hasher = DefaultHasher::new();
        (self.options.nonce_seed, "spool").hash(&mut hasher);
        Ok(hasher.finish() | 1)
    }

    /// Compares the segments with the list, and the hot ones with each other.
    pub(super) fn find_missing(&mut self, list: Option<&SegmentList>) {
        let mut gaps: Vec<Gap> = Vec::new();
        if let Some(list) = list {
            let last = list.listed.keys().next_back().copied();
            self.last_number = self.last_number.max(last.unwrap_or(0));
            let absent = list.listed.iter().filter(|(number, _)| {
                !self.table.segments.contains_key(number) && !self.set_aside.contains(number)
            });
            gaps.extend(absent.map(|(number, (lane, first))| {
                let later = list.listed.range(number + 1..).map(|(_, of)| *of);
                let present = self.table.segments.range(number + 1..);
                let present = present.map(|(_, s)| (s.header.lane, s.header.first));
                let firsts = later.chain(present).filter(|(of, _)| of == lane);
                Gap {
                    lane: *lane,
                    number: *number,
                    first: Some(*first),
                    last: firsts.map(|(_, first)| first.saturating_sub(1)).min(),
                }
            }));
        }
        let hot = self
            .table
            .segments
            .iter()
            .filter(|(_, s)| s.header.lane == Lane::Hot);
        let mut before = None;
        for (number, segment) in hot {
            let header = &segment.header;
            if before.is_some_and(|before| before != header.previous)
                && header.previous != 0
                && !self.set_aside.contains(&header.previous)
                && !gaps.iter().any(|gap| gap.number == header.previous)
            {
                gaps.push(Gap {
                    lane: Lane::Hot,
                    number: header.previous,
                    first: None,
                    last: Some(header.first.saturating_sub(1)),
                });
            }
            before = Some(*number);
        }
        gaps.sort_by_key(|gap| gap.number);
        let missing = gaps.iter().map(|gap| Missing {
            segment: segment_name(gap.lane, gap.number),
            first: gap.first,
            last: gap.last,
        });
        self.recovered.missing.extend(missing);
        self.gaps = gaps;
    }

    /// Commits that the index has seen, and of which the last segment holds nothing.
    pub(super) fn tell_lacking(&mut self, lane: Lane, number: u32, lacks: Option<(u64, u64)>) {
        let is_known = self
            .gaps
            .iter()
            .any(|gap| gap.lane == lane && gap.number > number);
        if let Some((first, last)) = lacks
            && !is_known
        {
            self.recovered.missing.push(Missing {
                segment: format!("the end of {}", segment_name(lane, number)),
                first: Some(first),
                last: Some(last),
            });
        }
    }

    /// A log that was read again may lack the outcomes of mail that it has. The history knows them.
    pub(super) fn leave_out_finished(&mut self) -> Result<(), OpenError> {
        let ids: Vec<QueueId> = self.table.unfinished().map(|(id, _)| id).collect();
        let reply = Reply::own(EnhancedCode::new(5, 3, 0), "this outcome is in the history");
        let verdict = Verdict::own(Outcome::Failed, Class::Policy, reply, Timestamp::ZERO);
        for id in ids {
            for recipient in self.index.finished(id)? {
                // The history keeps the one that it has.
                let change = Change::Done {
                    key: RecipientKey { id, recipient },
                    attempts: 0,
                    verdict: Box::new(verdict.clone()),
                    transcript: None,
                    place: Place::NONE,
                };
                if self.table.apply(&change, 0) != crate::table::Effect::Ignored {
                    self.pending.push((0, change));
                }
            }
        }
        Ok(())
    }

    /// What the index says to stand in segments that are missing stands nowhere any more. Returns the
    /// settings among it, which are known all the same.
    pub(super) fn give_up_astray(&mut self) -> Result<Vec<Op>, OpenError> {
        let mut restate = Vec::new();
        for (place, holder) in self.table.astray() {
            let file = self.name_of(place.segment);
            let (change, what) = match holder {
                Holder::Message(id) => {
                    self.keep_content(id)?;
                    let change = Change::Moved {
                        id,
                        place: Place::NONE,
                        from: 0,
                        inlined: Vec::new(),
                    };
                    (change, Some(Damage::Message(id)))
                }
                Holder::Slot(key) => {
                    let entry = self.table.entries.get(&key.id);
                    let slots = entry.map(|e| e.slots.as_slice()).unwrap_or_default();
                    let slot = slots.get(key.recipient as usize);
                    let waits = slot.is_some_and(|slot| !slot.done);
                    let change = Change::Carried {
                        key,
                        place: Place::NONE,
                    };
                    (change, waits.then_some(Damage::State(key)))
                }
                Holder::Control(name) => {
                    let known = self.table.controls.get(&name);
                    let value = known.and_then(|(value, _)| value.clone());
                    restate.push(Op::Control { name, value });
                    continue;
                }
            };
            self.table.apply(&change, 0);
            self.pending.push((self.applied.hot, change));
            self.damaged.extend(what.map(|what| Damaged {
                what,
                file,
                missing: true,
            }));
        }
        Ok(restate)
    }

    fn name_of(&self, number: u32) -> String {
        let gap = self.gaps.iter().find(|gap| gap.number == number);
        match gap {
            Some(gap) => segment_name(gap.lane, number),
            None => format!("segment {number}"),
        }
    }

    /// The outcome to come must not take the content with it: it is all that is left of the mail.
    fn keep_content(&mut self, id: QueueId) -> Result<(), OpenError> {
        if self.table.body_files.remove(&id) {
            let (from, to) = (body::file_name(id), body::quarantine_name(id));
            match self.storage.rename(&from, &to) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                renamed => renamed
                    .and_then(|()| self.storage.sync_dir(QUARANTINE_DIR))
                    .map_err(io_error("set aside the content of a lost mail"))?,
            }
        }
        Ok(())
    }

    /// Mails that the index knew before it was rebuilt, and that are neither here nor finished.
    pub(super) fn name_lost(&mut self) -> Result<(), OpenError> {
        for id in std::mem::take(&mut self.known_before) {
            if !self.table.entries.contains_key(&id) && self.index.finished(id)?.is_empty() {
                self.recovered.lost.push(id);
            }
        }
        Ok(())
    }
}
