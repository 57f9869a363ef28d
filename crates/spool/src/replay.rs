//! Opening: what the disk holds becomes the table again.
//!
//! The index gives what it knows as of its position, the frames behind that position give the
//! rest; without an index every frame of the log is read. Hot frames are taken in their order,
//! each cold frame directly behind the hot frame that it is true as of.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;

use mail::QueueId;

use crate::body;
use crate::change::{Applied, Change, Place};
use crate::damage::Damaged;
use crate::index::{Batch, Index, IndexError, Known, net_effect};
use crate::lane::{Active, LaneWriter, segment_name};
use crate::options::Options;
use crate::record::records;
use crate::segment::{Found, Lane, PAGE, Sealed, SegmentHeader, Walk, walk};
use crate::storage::{File, Storage, read_range};
use crate::table::{Effect, Segment, Slot, Table};

mod files;
mod meaning;

use meaning::{cold_change, hot_change};

/// Changes that one batch brings to the index.
const BATCH: usize = 50_000;

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The disk refused.
    #[error("cannot {doing} while opening the queue: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The directory is taken or cannot be used.
    #[error(transparent)]
    Dir(#[from] crate::storage::OpenDirError),
    /// The index refused.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A later release wrote it.
    #[error(
        "{file} was written in format {version}, this release knows formats up to {known}: run the release that wrote it, or a later one"
    )]
    Newer {
        /// The file.
        file: String,
        /// Its format.
        version: u32,
        /// The newest known.
        known: u32,
    },
    /// The options cannot be.
    #[error("segments must be a multiple of 4096 bytes, at least 32 KiB and at most 1 GiB")]
    Options,
}

/// A damaged part of the log that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The copy, relative to the spool's directory.
    pub file: String,
    /// The segment it was found in, or the content that no mail claims any more.
    pub segment: String,
    /// Its first octet there.
    pub from: u64,
    /// The octet behind its last.
    pub to: u64,
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The highest id that was ever seen; new ids must be above it.
    pub highest: Option<QueueId>,
    /// The administrator's settings.
    pub controls: BTreeMap<String, String>,
    /// Damaged parts of the log. Mail in them may be lost: shout.
    pub quarantined: Vec<Quarantined>,
    /// Recipients without an outcome.
    pub waiting: u64,
    /// Bytes of a write that a crash cut off; nothing in them was acknowledged.
    pub torn_bytes: u64,
    /// The index was of no use and was made anew from the log.
    pub index_rebuilt: bool,
}

/// All that a spool starts with.
pub(crate) struct Start {
    pub(crate) table: Table,
    pub(crate) hot: LaneWriter,
    pub(crate) cold: LaneWriter,
    pub(crate) applied: Applied,
    pub(crate) last_number: u32,
    pub(crate) free: Vec<(String, Arc<dyn File>)>,
    pub(crate) last_free: u64,
    pub(crate) damaged: Vec<Damaged>,
    pub(crate) recovered: Recovered,
}

fn io_error(doing: &'static str) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io { doing, source }
}

/// Opens what the disk holds.
pub(crate) fn start(
    options: &Options,
    storage: &Arc<dyn Storage>,
    index: &dyn Index,
) -> Result<Start, OpenError> {
    let size = options.segment_bytes as usize;
    if !size.is_multiple_of(PAGE) || !((32 << 10)..=(1 << 30)).contains(&size) {
        return Err(OpenError::Options);
    }
    let mut replay = Replay {
        storage: &**storage,
        index,
        size,
        table: Table::loading(),
        recovered: Recovered::default(),
        pending: Vec::new(),
        applied: Applied::default(),
        batch_from: Applied::default(),
        last_number: 0,
    };
    replay.run(options)
}

struct Replay<'a> {
    storage: &'a dyn Storage,
    index: &'a dyn Index,
    size: usize,
    table: Table,
    recovered: Recovered,
    pending: Vec<(u64, Change)>,
    /// How far the log is replayed.
    applied: Applied,
    /// How far the index was when the replay began.
    batch_from: Applied,
    last_number: u32,
}

/// A cold frame, kept until its place in the order comes.
struct ColdFrame {
    as_of: u64,
    head: (u32, u32),
    sequence: u64,
    place: Place,
}

/// A segment of a lane: its number, header and file, and where it is known to end.
type InLane = (u32, SegmentHeader, Arc<dyn File>, Option<Sealed>);

/// The end of a lane, as found.
struct Tail {
    number: u32,
    walk: Walk,
    last: u64,
}

impl Replay<'_> {
    fn run(&mut self, options: &Options) -> Result<Start, OpenError> {
        let (free, last_free) = self.open_segments()?;
        let spool = self.table.segments.values().next().map(|s| s.header.spool);
        let spool = spool.unwrap_or_else(|| {
            let mut hasher = DefaultHasher::new();
            (options.nonce_seed, "spool").hash(&mut hasher);
            hasher.finish() | 1
        });
        self.load_index(spool)?;
        let mut cold_frames = Vec::new();
        let cold_tail = self.walk_cold(&mut cold_frames)?;
        let hot_tail = self.replay_hot(cold_frames)?;
        let hot = self.reopen(Lane::Hot, hot_tail, self.applied.hot)?;
        let cold = self.reopen(Lane::Cold, cold_tail, self.applied.cold)?;
        (self.applied.hot, self.applied.cold) = (hot.next - 1, cold.next - 1);
        for id in self.table.settle() {
            self.pending.push((self.applied.hot, Change::Forget { id }));
        }
        self.flush()?;
        self.clear_orphan_bodies()?;
        self.table.hot_sequence = hot.next - 1;
        self.table.hot_head = hot
            .active
            .as_ref()
            .map_or(hot.previous, |a| (a.number, a.offset));
        let controls = self.table.controls.iter();
        self.recovered.controls = controls
            .filter_map(|(name, (value, _))| Some((name.clone(), value.clone()?)))
            .collect();
        let highest = self
            .table
            .highest
            .max(self.index.highest()?.map_or(0, QueueId::as_u64));
        self.recovered.highest = (highest > 0).then(|| QueueId::from_u64(highest));
        self.recovered.waiting = self.table.waiting();
        let damaged = self.table.lost().into_iter().map(Damaged::known).collect();
        Ok(Start {
            table: std::mem::take(&mut self.table),
            hot,
            cold,
            applied: self.applied,
            last_number: self.last_number,
            free,
            last_free,
            damaged,
            recovered: std::mem::take(&mut self.recovered),
        })
    }

    /// Takes over what the index knows, when that belongs to this log.
    fn load_index(&mut self, spool: u64) -> Result<(), OpenError> {
        let applied = self.index.applied()?;
        let fresh = Applied {
            spool,
            ..Applied::default()
        };
        self.applied = fresh;
        if applied.spool == spool && self.fits(applied) {
            let mut lost = false;
            let table = &mut self.table;
            let mut controls = Vec::new();
            let mut note = |known: Known| lost |= !enter(table, known);
            let mut control = |name, value, place| controls.push((name, value, place));
            self.index.load(&mut note, &mut control)?;
            for (name, value, place) in controls {
                self.table.apply(&Change::Control { name, value, place }, 0);
            }
            if !lost {
                self.applied = applied;
                self.batch_from = applied;
                return Ok(());
            }
        }
        self.recovered.index_rebuilt =
            applied != Applied::default() || !self.table.segments.is_empty();
        self.table.clear();
        self.index.clear()?;
        self.batch_from = fresh;
        Ok(())
    }

    /// Whether the log continues where the index ends.
    fn fits(&self, applied: Applied) -> bool {
        let oldest = self.table.oldest(Lane::Hot);
        oldest.is_none_or(|(_, s)| s.header.first <= applied.hot + 1)
    }

    /// The segments of a lane in order, each with where it is known to end.
    fn lane_segments(&self, lane: Lane) -> Vec<InLane> {
        let of_lane = |s: &&Segment| s.header.lane == lane;
        let headers: Vec<SegmentHeader> = self
            .table
            .segments
            .values()
            .filter(of_lane)
            .map(|s| s.header)
            .collect();
        let successor = |n: u32| headers.iter().find(|h| h.previous == n);
        let segments = self.table.segments.values().filter(of_lane);
        segments
            .map(|s| {
                let number = s.header.number;
                let sealed = successor(number).map(|h| Sealed {
                    end: h.previous_end as usize,
                    next: h.first,
                });
                (number, s.header, Arc::clone(&s.file), sealed)
            })
            .collect()
    }

    fn walk_segment(
        &mut self,
        header: &SegmentHeader,
        file: &dyn File,
        sealed: Option<Sealed>,
    ) -> Result<(Vec<u8>, Walk), OpenError> {
        let bytes = read_range(file, 0, self.size).map_err(io_error("read a segment"))?;
        let walked = walk(&bytes, header, sealed);
        let name = segment_name(header.lane, header.number);
        for (from, to) in &walked.damaged {
            self.quarantine(&name, &bytes, *from, *to)?;
        }
        let before = header.first.saturating_sub(1);
        if let Some(segment) = self.table.segments.get_mut(&header.number) {
            segment.used = walked.end as u32;
            segment.last = walked.frames.last().map_or(before, |f| f.header.sequence);
        }
        Ok((bytes, walked))
    }

    fn walk_cold(&mut self, frames: &mut Vec<ColdFrame>) -> Result<Option<Tail>, OpenError> {
        let segments = self.lane_segments(Lane::Cold);
        let mut tail = None;
        let firsts: Vec<u64> = segments.iter().map(|(_, h, ..)| h.first).collect();
        for (n, (number, header, file, sealed)) in segments.into_iter().enumerate() {
            if let Some(next) = firsts.get(n + 1)
                && *next <= self.batch_from.cold + 1
            {
                self.skip(number, *next, sealed);
                continue;
            }
            let (_, walked) = self.walk_segment(&header, &*file, sealed)?;
            for found in &walked.frames {
                if found.header.sequence > self.batch_from.cold {
                    frames.push(ColdFrame {
                        as_of: found.header.as_of,
                        head: found.header.head,
                        sequence: found.header.sequence,
                        place: place_of(number, found),
                    });
                }
            }
            let before = header.first.saturating_sub(1);
            let last = walked.frames.last().map_or(before, |f| f.header.sequence);
            tail = Some(Tail {
                number,
                walk: walked,
                last,
            });
        }
        Ok(tail)
    }

    /// A segment whose frames the index has all.
    fn skip(&mut self, number: u32, next_first: u64, sealed: Option<Sealed>) {
        if let Some(segment) = self.table.segments.get_mut(&number) {
            segment.last = next_first - 1;
            segment.used = sealed.map_or(self.size, |s| s.end) as u32;
        }
    }

    fn replay_hot(&mut self, cold: Vec<ColdFrame>) -> Result<Option<Tail>, OpenError> {
        let segments = self.lane_segments(Lane::Hot);
        let firsts: Vec<u64> = segments.iter().map(|(_, h, ..)| h.first).collect();
        let mut cold = cold.into_iter().peekable();
        let mut tail = None;
        for (n, (number, header, file, sealed)) in segments.into_iter().enumerate() {
            if let Some(next) = firsts.get(n + 1)
                && *next <= self.batch_from.hot + 1
            {
                self.skip(number, *next, sealed);
                continue;
            }
            let (bytes, walked) = self.walk_segment(&header, &*file, sealed)?;
            for found in &walked.frames {
                let sequence = found.header.sequence;
                if sequence <= self.batch_from.hot {
                    continue;
                }
                while let Some(frame) = cold.next_if(|f| f.as_of < sequence) {
                    self.apply_cold(&frame)?;
                }
                let place = place_of(number, found);
                let from = found.records_at;
                let frame = bytes
                    .get(from..from + place.len as usize)
                    .unwrap_or_default();
                self.apply_frame(sequence, place, frame, None)?;
                self.applied.hot = sequence;
            }
            let before = header.first.saturating_sub(1);
            let last = walked.frames.last().map_or(before, |f| f.header.sequence);
            tail = Some(Tail {
                number,
                walk: walked,
                last,
            });
        }
        for frame in cold {
            self.apply_cold(&frame)?;
        }
        Ok(tail)
    }

    fn apply_cold(&mut self, frame: &ColdFrame) -> Result<(), OpenError> {
        let Some(segment) = self.table.segments.get(&frame.place.segment) else {
            return Ok(());
        };
        let bytes = read_range(
            &*segment.file,
            frame.place.offset.into(),
            frame.place.len as usize,
        )
        .map_err(io_error("read a segment"))?;
        self.apply_frame(frame.as_of, frame.place, &bytes, Some(frame.head))?;
        self.applied.cold = frame.sequence;
        Ok(())
    }

    fn apply_frame(
        &mut self,
        sequence: u64,
        frame: Place,
        bytes: &[u8],
        cold_head: Option<(u32, u32)>,
    ) -> Result<(), OpenError> {
        for (at, len, record) in records(bytes) {
            let place = Place {
                segment: frame.segment,
                offset: frame.offset + at as u32,
                len: len as u32,
            };
            let change = match (record, cold_head) {
                // Whole, but from a release that wrote what this one does not know.
                (Err(_), _) => None,
                (Ok(record), None) => hot_change(record, place),
                (Ok(record), Some(head)) => cold_change(&self.table, record, place, head),
            };
            let Some(change) = change else { continue };
            let known = |id| self.table.entries.contains_key(id);
            // An outcome that a copy has told already is still news to the history.
            let tells = matches!(&change, Change::Done { key, .. } if known(&key.id));
            if self.table.apply(&change, sequence) != Effect::Ignored || tells {
                // A copy is no new attempt.
                let sequence = if cold_head.is_some() { 0 } else { sequence };
                self.pending.push((sequence, change));
            }
        }
        if self.pending.len() >= BATCH {
            self.flush()?;
        }
        Ok(())
    }

    /// Brings the index up to where the replay is.
    fn flush(&mut self) -> Result<(), OpenError> {
        let changes = std::mem::take(&mut self.pending);
        self.table.tokens.clear();
        let kinds = self.index.event_wish().kinds;
        let batch = net_effect(Batch::default(), changes, self.applied, kinds);
        Ok(self.index.apply(&batch)?)
    }

    /// Makes the end of a lane as if it had always been durable, and ready to be written to.
    fn reopen(
        &mut self,
        lane: Lane,
        tail: Option<Tail>,
        applied: u64,
    ) -> Result<LaneWriter, OpenError> {
        let mut writer = LaneWriter {
            lane,
            active: None,
            previous: (0, 0),
            next: applied + 1,
        };
        let Some(tail) = tail else {
            return Ok(writer);
        };
        let Some(segment) = self.table.segments.get(&tail.number) else {
            return Ok(writer);
        };
        let file = Arc::clone(&segment.file);
        let failed = io_error("rewrite the end of the log");
        let end = tail.walk.end.min(self.size);
        let from = tail.walk.synced.min(end) / PAGE * PAGE;
        let mut bytes = read_range(&*file, from as u64, end - from).map_err(&failed)?;
        let slack = tail.walk.content_end.saturating_sub(from);
        if let Some(slack) = bytes.get_mut(slack..) {
            slack.fill(0);
        }
        // What was read may be in no more than the system's memory.
        file.write_at(&bytes, from as u64).map_err(&failed)?;
        for start in &tail.walk.stale {
            let page = start / PAGE * PAGE;
            let page = page.max(end);
            file.write_at(&[0; PAGE], page as u64).map_err(&failed)?;
            self.recovered.torn_bytes += PAGE as u64;
        }
        file.sync().map_err(&failed)?;
        writer.previous = (tail.number, end as u32);
        writer.next = applied.max(tail.last) + 1;
        // Behind a gap in the sequence a new segment begins, so that the gap is no damage.
        if tail.last + 1 == writer.next {
            writer.active = Some(Active {
                number: tail.number,
                nonce: segment.header.nonce,
                file,
                offset: end as u32,
            });
        }
        Ok(writer)
    }

    fn clear_orphan_bodies(&mut self) -> Result<(), OpenError> {
        let names = self
            .storage
            .list(body::DIR)
            .map_err(io_error("list the contents"))?;
        let is_orphan = |id: &QueueId| !self.table.body_files.contains(id);
        let orphans: Vec<QueueId> = names
            .iter()
            .filter_map(|name| body::owner(name))
            .filter(is_orphan)
            .collect();
        if !orphans.is_empty() && self.has_damage()? {
            self.keep_orphan_bodies(&orphans)?;
        } else {
            for id in orphans {
                let failed = io_error("remove a content that belongs to no mail");
                self.storage.remove(&body::file_name(id)).map_err(failed)?;
            }
        }
        self.table.dead_files.clear();
        Ok(())
    }
}

const fn place_of(segment: u32, found: &Found) -> Place {
    Place {
        segment,
        offset: found.records_at as u32,
        len: found.header.len,
    }
}

/// Enters a message that the index knows; `false` when its record is in no segment.
fn enter(table: &mut Table, known: Known) -> bool {
    let has = |table: &Table, place: Place| {
        place.is_none() || table.segments.contains_key(&place.segment)
    };
    let finished = known.slots.iter().all(|(_, done)| *done);
    let slots_exist = known.slots.iter().all(|(place, _)| has(table, *place));
    let exists = has(table, known.gone) && slots_exist;
    let complete = exists && has(table, known.place);
    if !complete && !finished {
        return false;
    }
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
    true
}
