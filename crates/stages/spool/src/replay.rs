//! Opening: what the disk holds becomes the table again.
//!
//! The index gives what it knows as of its position, the frames after that position give the
//! rest; without an index every frame of the log is read. Hot frames are taken in their order,
//! each cold frame directly after the hot frame that it is true as of.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use mail::QueueId;
use store::{Damaged, Op};

use crate::body;
use crate::change::{Applied, Change, Place};
use crate::index::{Batch, HistoryFound, Index, IndexError, Known, net_effect};
use crate::lane::{Active, LaneWriter, segment_name};
use crate::list::SegmentList;
use crate::options::Options;
use crate::quarantine::{self, QUARANTINE_DIR};
use crate::record::records;
use crate::segment::{Found, Lane, PAGE, Sealed, SegmentHeader, Walk, walk};
use crate::storage::{File, Storage, read_around, read_around_in};
use crate::table::{Effect, Segment, Table};

mod files;
mod lost;
mod meaning;
mod recovered;

use lost::Gap;
use meaning::{cold_change, enter, hot_change};
pub use recovered::{Missing, Quarantined, Recovered};

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
        "{file} was written in format {version}, this release supports formats up to {known}: run the release that \
         wrote it, or a later one"
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

/// All that a spool starts with.
pub(crate) struct Start {
    pub(crate) table: Table,
    pub(crate) hot: LaneWriter,
    pub(crate) cold: LaneWriter,
    pub(crate) applied: Applied,
    pub(crate) last_number: u32,
    pub(crate) free: Vec<crate::shared::Ready>,
    pub(crate) last_free: u64,
    pub(crate) damaged: Vec<Damaged>,
    pub(crate) list: Option<SegmentList>,
    /// What is known and stands nowhere any more: to be committed again.
    pub(crate) restate: Vec<Op>,
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
        options,
        table: Table::loading(),
        recovered: Recovered::default(),
        pending: Vec::new(),
        applied: Applied::default(),
        batch_from: Applied::default(),
        last_number: 0,
        set_aside: BTreeSet::new(),
        gaps: Vec::new(),
        damaged: Vec::new(),
        known_before: Vec::new(),
        room: Vec::new(),
    };
    replay.run()
}

struct Replay<'a> {
    storage: &'a dyn Storage,
    index: &'a dyn Index,
    options: &'a Options,
    table: Table,
    recovered: Recovered,
    pending: Vec<(u64, Change)>,
    /// How far the log is replayed.
    applied: Applied,
    /// How far the index was when the replay began.
    batch_from: Applied,
    last_number: u32,
    /// Segments of which nothing can be read.
    set_aside: BTreeSet<u32>,
    gaps: Vec<Gap>,
    damaged: Vec<Damaged>,
    /// The mails that waited as an index knew that was of no use.
    known_before: Vec<QueueId>,
    /// What a segment is read into, one after the other.
    room: Vec<u8>,
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

/// The end of a lane, as found and made durable.
struct Tail {
    number: u32,
    nonce: u64,
    /// The sequence of its last frame.
    last: u64,
    /// Where the next frame goes.
    end: u32,
    /// It can be written on.
    goes_on: bool,
}

impl Replay<'_> {
    fn run(&mut self) -> Result<Start, OpenError> {
        // What an earlier process did to names and did not make durable is seen now, and relied on.
        for dir in ["", body::DIR, QUARANTINE_DIR] {
            let synced = self.storage.sync_dir(dir);
            synced.map_err(io_error("sync the queue's directory"))?;
        }
        let (free, last_free) = self.open_segments()?;
        let spool = self.table.segments.values().next().map(|s| s.header.spool);
        let spool_is_new = spool.is_none();
        let list = SegmentList::open(self.storage, spool);
        let list = list.map_err(io_error("read the list of segments"))?;
        let spool = self.spool_id(spool, list.as_ref())?;
        self.recovered.history = match self.index.history_found() {
            // A queue begins with one.
            HistoryFound::New if spool_is_new => HistoryFound::There,
            found @ (HistoryFound::There | HistoryFound::New | HistoryFound::SetAside(_)) => found,
        };
        self.find_missing(list.as_ref());
        self.load_index(spool, list.is_some())?;
        let mut cold_frames = Vec::new();
        let cold_tail = self.walk_cold(&mut cold_frames)?;
        let hot_tail = self.replay_hot(cold_frames)?;
        let hot = self.reopen(Lane::Hot, hot_tail, self.applied.hot);
        let cold = self.reopen(Lane::Cold, cold_tail, self.applied.cold);
        (self.applied.hot, self.applied.cold) = (hot.next - 1, cold.next - 1);
        if self.recovered.index_rebuilt {
            self.leave_out_finished()?;
        }
        let restate = self.give_up_astray()?;
        self.name_lost()?;
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
        let mut damaged = std::mem::take(&mut self.damaged);
        let told: BTreeSet<QueueId> = damaged.iter().map(Damaged::id).collect();
        let known = self
            .table
            .lost()
            .into_iter()
            .filter(|id| !told.contains(id));
        damaged.extend(known.map(quarantine::known));
        Ok(Start {
            table: std::mem::take(&mut self.table),
            hot,
            cold,
            applied: self.applied,
            last_number: self.last_number,
            free,
            last_free,
            damaged,
            list,
            restate,
            recovered: std::mem::take(&mut self.recovered),
        })
    }

    /// Takes over what the index knows, when that belongs to this log.
    fn load_index(&mut self, spool: u64, has_list: bool) -> Result<(), OpenError> {
        let applied = self.index.applied()?;
        let fresh = Applied {
            spool,
            ..Applied::default()
        };
        self.applied = fresh;
        if applied.spool == spool {
            let fits = self.fits(applied, has_list);
            if fits {
                let messages = self.index.messages()? as usize;
                self.table.entries.reserve(messages);
            }
            let (table, before) = (&mut self.table, &mut self.known_before);
            let last_number = &mut self.last_number;
            let mut controls = Vec::new();
            let mut note = |known: Known| {
                // A number that a missing segment bore is not given away again.
                let slots = known.slots.iter().map(|(place, _)| place.segment);
                let places = slots.chain([known.place.segment, known.gone.segment]);
                *last_number = places.fold(*last_number, u32::max);
                if fits {
                    enter(table, known);
                } else if known.slots.iter().any(|(_, done)| !done) {
                    before.push(known.id);
                }
            };
            let mut control = |name, value, place| controls.push((name, value, place));
            self.index.load(&mut note, &mut control)?;
            if fits {
                for (name, value, place) in controls {
                    let change = Change::Control { name, value, place };
                    self.table.apply(&change, 0);
                }
                self.applied = applied;
                self.batch_from = applied;
                return Ok(());
            }
        }
        self.recovered.index_rebuilt =
            applied != Applied::default() || !self.table.segments.is_empty();
        self.table.clear();
        if !self.known_before.is_empty() {
            self.recovered.old_index = self.index.keep_aside();
        }
        self.index.clear()?;
        self.batch_from = fresh;
        Ok(())
    }

    /// Whether the log continues where the index ends, or what is between them is known to be missing.
    fn fits(&self, applied: Applied, has_list: bool) -> bool {
        let oldest = self.table.oldest(Lane::Hot);
        oldest.is_none_or(|(number, s)| {
            let is_before = |gap: &Gap| gap.lane == Lane::Hot && gap.number < number;
            s.header.first <= applied.hot + 1 || (has_list && self.gaps.iter().any(is_before))
        })
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

    /// Reads a segment to the end of its file, whatever length is set today.
    fn walk_segment(
        &mut self,
        header: &SegmentHeader,
        file: &dyn File,
        sealed: Option<Sealed>,
        is_last: bool,
    ) -> Result<(Vec<u8>, Walk), OpenError> {
        let failed = io_error("read a segment");
        let len = usize::try_from(file.len().map_err(&failed)?).unwrap_or(usize::MAX);
        let room = std::mem::take(&mut self.room);
        let read = read_around_in(room, file, 0, len).map_err(&failed)?;
        let bytes = read.bytes;
        let proven = match (header.lane, is_last) {
            (Lane::Hot, true) => self.batch_from.hot,
            (Lane::Cold, true) => self.batch_from.cold,
            (_, false) => 0,
        };
        let mut walked = walk(&bytes, header, sealed, proven);
        // Nobody can say what stood there, after all that is known: perhaps the last write.
        let behind = |(_, to): &&(usize, usize)| sealed.is_none() && is_last && *to > walked.end;
        let behind: Vec<(usize, usize)> = read.unreadable.iter().filter(behind).copied().collect();
        if let (Some((from, _)), Some((_, to))) = (behind.first(), behind.last()) {
            walked.damaged.push(((*from).max(walked.end), *to));
            walked.end = to.next_multiple_of(PAGE);
        }
        walked.unreadable = !read.unreadable.is_empty();
        let name = segment_name(header.lane, header.number);
        for (from, to) in &walked.damaged {
            let touches = |(a, b): &(usize, usize)| a < to && from < b;
            let unreadable = read.unreadable.iter().any(touches);
            self.quarantine(&name, &bytes, (*from, *to), unreadable)?;
        }
        self.tell_lacking(header.lane, header.number, walked.lacks);
        let before = header.first.saturating_sub(1);
        if let Some(segment) = self.table.segments.get_mut(&header.number) {
            segment.used = walked.end as u32;
            segment.last = walked.frames.last().map_or(before, |f| f.header.sequence);
            segment.unreadable |= walked.unreadable;
        }
        Ok((bytes, walked))
    }

    fn walk_cold(&mut self, frames: &mut Vec<ColdFrame>) -> Result<Option<Tail>, OpenError> {
        let segments = self.lane_segments(Lane::Cold);
        let mut tail = None;
        let firsts: Vec<u64> = segments.iter().map(|(_, h, ..)| h.first).collect();
        for (n, (number, header, file, sealed)) in segments.into_iter().enumerate() {
            let next = firsts.get(n + 1);
            if let Some(next) = next
                && *next <= self.batch_from.cold + 1
            {
                self.skip(number, *next, sealed);
                continue;
            }
            let is_last = next.is_none();
            let (bytes, walked) = self.walk_segment(&header, &*file, sealed, is_last)?;
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
            if is_last {
                tail = Some(self.secure(&header, &*file, &bytes, walked)?);
            }
            self.room = bytes;
        }
        Ok(tail)
    }

    /// A segment whose frames the index has all.
    fn skip(&mut self, number: u32, next_first: u64, sealed: Option<Sealed>) {
        if let Some(segment) = self.table.segments.get_mut(&number) {
            segment.last = next_first - 1;
            // Without a successor in its lane nobody knows where it ends: its file does.
            segment.used = sealed.map_or(segment.used, |s| s.end as u32);
        }
    }

    fn replay_hot(&mut self, cold: Vec<ColdFrame>) -> Result<Option<Tail>, OpenError> {
        let segments = self.lane_segments(Lane::Hot);
        let firsts: Vec<u64> = segments.iter().map(|(_, h, ..)| h.first).collect();
        let mut cold = cold.into_iter().peekable();
        let mut tail = None;
        for (n, (number, header, file, sealed)) in segments.into_iter().enumerate() {
            let next = firsts.get(n + 1);
            if let Some(next) = next
                && *next <= self.batch_from.hot + 1
            {
                self.skip(number, *next, sealed);
                continue;
            }
            let is_last = next.is_none();
            let (bytes, mut walked) = self.walk_segment(&header, &*file, sealed, is_last)?;
            let frames = std::mem::take(&mut walked.frames);
            if is_last {
                let last = frames.last().map(|f| f.header.sequence);
                let mut end = self.secure(&header, &*file, &bytes, walked)?;
                end.last = last.unwrap_or(end.last);
                tail = Some(end);
            }
            for found in &frames {
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
            self.room = bytes;
        }
        for frame in cold {
            self.apply_cold(&frame)?;
        }
        Ok(tail)
    }

    fn apply_cold(&mut self, frame: &ColdFrame) -> Result<(), OpenError> {
        let Some(segment) = self.table.segments.get_mut(&frame.place.segment) else {
            return Ok(());
        };
        let (from, len) = (frame.place.offset, frame.place.len as usize);
        let read = read_around(&*segment.file, from.into(), len);
        let read = read.map_err(io_error("read a segment"))?;
        segment.unreadable |= !read.unreadable.is_empty();
        self.apply_frame(frame.as_of, frame.place, &read.bytes, Some(frame.head))?;
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
                // A copy is not a new attempt.
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

    /// Makes the end of a lane as if it had always been durable: before the index is told of it, for the
    /// index proves what was durable.
    fn secure(
        &mut self,
        header: &SegmentHeader,
        file: &dyn File,
        bytes: &[u8],
        walk: Walk,
    ) -> Result<Tail, OpenError> {
        let failed = io_error("rewrite the end of the log");
        let end = walk.end.min(bytes.len());
        let from = walk.synced.min(end) / PAGE * PAGE;
        // Into what cannot be read nothing is written: it is the evidence.
        if !walk.unreadable {
            let mut end_bytes = bytes.get(from..end).unwrap_or_default().to_vec();
            let slack = walk
                .content_end
                .max(walk.damaged_end())
                .saturating_sub(from);
            if let Some(slack) = end_bytes.get_mut(slack..) {
                slack.fill(0);
            }
            // What was read may be in no more than the system's memory.
            file.write_at(&end_bytes, from as u64).map_err(&failed)?;
        }
        for start in &walk.stale {
            let page = start / PAGE * PAGE;
            let page = page.max(end);
            file.write_at(&[0; PAGE], page as u64).map_err(&failed)?;
            self.recovered.torn_bytes += PAGE as u64;
        }
        file.sync().map_err(&failed)?;
        let before = header.first.saturating_sub(1);
        Ok(Tail {
            number: header.number,
            nonce: header.nonce,
            last: walk.frames.last().map_or(before, |f| f.header.sequence),
            end: end as u32,
            goes_on: !walk.unreadable,
        })
    }

    /// Gets the end of a lane ready to be written to.
    fn reopen(&self, lane: Lane, tail: Option<Tail>, applied: u64) -> LaneWriter {
        let mut writer = LaneWriter {
            lane,
            active: None,
            previous: (0, 0),
            next: applied + 1,
        };
        let Some(tail) = tail else {
            return writer;
        };
        let Some(segment) = self.table.segments.get(&tail.number) else {
            return writer;
        };
        let file = Arc::clone(&segment.file);
        writer.previous = (tail.number, tail.end);
        writer.next = applied.max(tail.last) + 1;
        // After a gap in the sequence a new segment begins, so that the gap is not damage.
        if tail.last + 1 == writer.next && tail.goes_on {
            let len = file.len().unwrap_or_default();
            writer.active = Some(Active {
                number: tail.number,
                nonce: tail.nonce,
                offset: tail.end,
                ahead: u32::try_from(len / PAGE as u64 * PAGE as u64).unwrap_or(tail.end),
                file,
            });
        }
        writer
    }
}

const fn place_of(segment: u32, found: &Found) -> Place {
    Place {
        segment,
        offset: found.records_at as u32,
        len: found.header.len,
    }
}
