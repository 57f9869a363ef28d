//! Bytes of a segment: its header, its frames, and how frames are found again in a damaged one.
//!
//! Pure: slices in, values out. The layout is written down in the crate's documentation.

use crate::codec::{DecodeError, Reader};
use crate::record::RECORD_HEADER;

/// Frames of one write begin at a multiple of this, so that no synced byte is written again and
/// no page has to be read before it is written.
pub(crate) const PAGE: usize = 4096;
/// Bytes of a segment's header: one page.
pub(crate) const SEGMENT_HEADER: usize = PAGE;
/// Octets that a new segment's file is written ahead: an idle queue takes a few of these.
pub(crate) const STEP: usize = 2 << 20;
/// Bytes of a frame's header.
pub(crate) const FRAME_HEADER: usize = 48;
/// The format that this release writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 2;

const SEGMENT_MAGIC: &[u8; 8] = b"SENDOFF\n";
const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"SoFr");
const NONCE_AT: usize = 8;

/// Which of the two logs a segment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Lane {
    /// What is committed.
    Hot,
    /// What survived the segment it was committed to.
    Cold,
}

/// The first page of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) lane: Lane,
    pub(crate) number: u32,
    pub(crate) nonce: u64,
    /// Tells this spool from every other: an index of another spool is not ours.
    pub(crate) spool: u64,
    /// The sequence of its first frame.
    pub(crate) first: u64,
    /// The segment before it in its lane, 0 for none, and where that one ended.
    pub(crate) previous: u32,
    pub(crate) previous_end: u32,
}

/// What the first page of a file that is named like a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderCheck {
    Good(SegmentHeader),
    /// Written by a later release.
    Newer(u32),
    Bad,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEADER);
        out.extend_from_slice(SEGMENT_MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.nonce.to_le_bytes());
        out.extend_from_slice(&self.spool.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.previous.to_le_bytes());
        out.extend_from_slice(&self.previous_end.to_le_bytes());
        out.push(u8::from(self.lane == Lane::Cold));
        out.extend_from_slice(&[0; 3]);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.resize(SEGMENT_HEADER, 0);
        out
    }

    pub(crate) fn check(page: &[u8]) -> HeaderCheck {
        Self::decode(page).unwrap_or(HeaderCheck::Bad)
    }

    /// The header of a segment whose own is damaged, from what its first frame says.
    pub(crate) fn salvage(pages: &[u8], lane: Lane, number: u32, spool: u64) -> Option<Self> {
        let mut reader = Reader::new(pages.get(SEGMENT_HEADER..)?);
        if reader.u32().ok()? != FRAME_MAGIC {
            return None;
        }
        reader.u32().ok()?;
        Some(Self {
            lane,
            number,
            nonce: reader.u64().ok()?,
            spool,
            first: reader.u64().ok()?,
            previous: 0,
            previous_end: 0,
        })
    }

    fn decode(page: &[u8]) -> Result<HeaderCheck, DecodeError> {
        let mut reader = Reader::new(page);
        let magic = reader.take(8)?;
        let version = reader.u32()?;
        if magic == SEGMENT_MAGIC && version > FORMAT_VERSION {
            return Ok(HeaderCheck::Newer(version));
        }
        let number = reader.u32()?;
        let (nonce, spool, first) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (previous, previous_end) = (reader.u32()?, reader.u32()?);
        let lane = match reader.u8()? {
            0 => Lane::Hot,
            _ => Lane::Cold,
        };
        reader.take(3)?;
        let covered = page.get(..52).ok_or(DecodeError::Short)?;
        if magic != SEGMENT_MAGIC || reader.u32()? != crc32c::crc32c(covered) {
            return Ok(HeaderCheck::Bad);
        }
        Ok(HeaderCheck::Good(Self {
            lane,
            number,
            nonce,
            spool,
            first,
            previous,
            previous_end,
        }))
    }
}

/// The header of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) nonce: u64,
    /// Rises by one from frame to frame of a lane.
    pub(crate) sequence: u64,
    /// The hot sequence as of which the records are true; in the hot lane the sequence itself.
    pub(crate) as_of: u64,
    /// Where the hot lane ended as of then: segment and offset.
    pub(crate) head: (u32, u32),
    /// All of this segment below this offset was synced when the frame was written.
    pub(crate) synced: u32,
    /// Bytes of the records after the header.
    pub(crate) len: u32,
}

impl FrameHeader {
    /// Writes the header into the `FRAME_HEADER` bytes kept free in front of the records.
    pub(crate) fn seal(&self, frame: &mut [u8]) {
        let mut head = Vec::with_capacity(FRAME_HEADER);
        head.extend_from_slice(&FRAME_MAGIC.to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&self.nonce.to_le_bytes());
        head.extend_from_slice(&self.sequence.to_le_bytes());
        head.extend_from_slice(&self.as_of.to_le_bytes());
        head.extend_from_slice(&self.synced.to_le_bytes());
        head.extend_from_slice(&self.len.to_le_bytes());
        head.extend_from_slice(&self.head.0.to_le_bytes());
        head.extend_from_slice(&self.head.1.to_le_bytes());
        if let Some(place) = frame.get_mut(..FRAME_HEADER) {
            place.copy_from_slice(&head);
        }
        let crc = frame_crc(frame);
        if let Some(place) = frame.get_mut(4..8) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
    }

    /// The frame at the front of `bytes` with its records, when it is whole and of this segment.
    fn read(bytes: &[u8], nonce: u64) -> Option<(Self, &[u8])> {
        let mut reader = Reader::new(bytes);
        if reader.u32().ok()? != FRAME_MAGIC {
            return None;
        }
        let crc = reader.u32().ok()?;
        let header = Self {
            nonce: reader.u64().ok()?,
            sequence: reader.u64().ok()?,
            as_of: reader.u64().ok()?,
            synced: reader.u32().ok()?,
            len: reader.u32().ok()?,
            head: (reader.u32().ok()?, reader.u32().ok()?),
        };
        if header.nonce != nonce {
            return None;
        }
        let frame = bytes.get(..FRAME_HEADER + header.len as usize)?;
        let records = frame.get(FRAME_HEADER..)?;
        (frame_crc(frame) == crc && crate::record::are_whole(records)).then_some((header, records))
    }
}

/// Covers the frame's header and the headers of its records, which bear their own checksums: so
/// every byte is covered, and a body is summed once only.
fn frame_crc(frame: &[u8]) -> u32 {
    let mut crc = crc32c::crc32c(frame.get(NONCE_AT..FRAME_HEADER).unwrap_or_default());
    let mut at = FRAME_HEADER;
    while let Some(head) = frame.get(at..at + RECORD_HEADER) {
        crc = crc32c::crc32c_append(crc, head);
        let len = head.get(4..8).and_then(|b| b.try_into().ok());
        at += RECORD_HEADER + u32::from_le_bytes(len.unwrap_or_default()) as usize;
    }
    crc
}

/// A whole frame found in a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) header: FrameHeader,
    /// Where its records begin in the segment.
    pub(crate) records_at: usize,
}

impl Found {
    fn start(&self) -> usize {
        self.records_at - FRAME_HEADER
    }

    fn end(&self) -> usize {
        self.records_at + self.header.len as usize
    }
}

/// What a segment holds.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    pub(crate) frames: Vec<Found>,
    /// Damaged ranges below the offset known to be synced.
    pub(crate) damaged: Vec<(usize, usize)>,
    /// Where the last frame ends.
    pub(crate) content_end: usize,
    /// Where the next frame may be written: a multiple of the page size.
    pub(crate) end: usize,
    /// Frames after the end: parts of a write that was cut off. They must be overwritten.
    pub(crate) stale: Vec<usize>,
    /// The offset that the last frame knew to be synced.
    pub(crate) synced: usize,
    /// Frames at its end that were durable and are not there: their sequences.
    pub(crate) lacks: Option<(u64, u64)>,
    /// The disk did not give all of the segment.
    pub(crate) unreadable: bool,
}

impl Walk {
    /// Where the last damaged range ends.
    pub(crate) fn damaged_end(&self) -> usize {
        self.damaged.last().map_or(0, |(_, to)| *to)
    }
}

/// Where a segment is known to end, told by its successor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sealed {
    /// After its last write: a multiple of the page size.
    pub(crate) end: usize,
    /// The sequence of the frame that follows its last one.
    pub(crate) next: u64,
}

/// Finds the frames of a segment; `sealed` is `None` for the last of its lane. Frames up to the sequence
/// `proven` were durable, as somebody else knows.
pub(crate) fn walk(bytes: &[u8], own: &SegmentHeader, sealed: Option<Sealed>, proven: u64) -> Walk {
    let all = find_all(bytes, own.nonce);
    let claimed = all.iter().map(|f| f.header.synced as usize).max();
    let synced = sealed
        .map_or_else(|| claimed.unwrap_or(SEGMENT_HEADER), |s| s.end)
        .max(SEGMENT_HEADER);
    let mut walk = Walk {
        end: SEGMENT_HEADER,
        synced,
        ..Walk::default()
    };
    let mut at = SEGMENT_HEADER;
    let mut expected = own.first;
    for found in all {
        let start = found.start();
        let torn = !walk.stale.is_empty() || sealed.is_some_and(|s| start >= s.end);
        let adjoins = found.header.sequence == expected
            && (start == at || start == at.next_multiple_of(PAGE));
        let durable = start <= synced || found.header.sequence <= proven;
        if !torn && (adjoins || durable) {
            if !adjoins {
                walk.damaged.push((at, start));
            }
            at = found.end();
            expected = found.header.sequence + 1;
            walk.frames.push(found);
        } else {
            walk.stale.push(start);
        }
    }
    walk.content_end = at;
    walk.end = at.next_multiple_of(PAGE);
    // The last frames may be lost within the page where the one before them ends: then only the
    // sequence tells.
    let before_next = sealed.is_some_and(|s| expected < s.next);
    if walk.end < synced || before_next {
        walk.damaged.push((at, synced.min(bytes.len())));
        walk.end = synced.next_multiple_of(PAGE);
    } else if sealed.is_none() && expected <= proven {
        // A write that nobody knows to be durable begins a page, after what is proven.
        let limit = walk.stale.first().copied().unwrap_or(bytes.len());
        let rest = bytes.get(at..limit).unwrap_or_default();
        if let Some(last) = rest.iter().rposition(|octet| *octet != 0) {
            let end = (at + last + 1).next_multiple_of(PAGE);
            walk.damaged.push((at, end.min(limit)));
            walk.end = end;
        }
    }
    if sealed.is_none() && expected <= proven {
        walk.lacks = Some((expected, proven));
    }
    walk
}

/// Every whole frame of the segment, in order, wherever it stands. A frame inside a frame (a body
/// that carries the copy of one) is not seen as long as the outer one is whole, and no body can
/// know the nonce.
fn find_all(bytes: &[u8], nonce: u64) -> Vec<Found> {
    let mut found = Vec::new();
    let mut at = SEGMENT_HEADER;
    let wanted = nonce.to_le_bytes();
    let finder = memchr::memmem::Finder::new(&wanted);
    loop {
        let here = bytes.get(at..).unwrap_or_default();
        if let Some((header, _)) = FrameHeader::read(here, nonce) {
            let frame = Found {
                header,
                records_at: at + FRAME_HEADER,
            };
            at = frame.end();
            found.push(frame);
            continue;
        }
        let from = at + NONCE_AT + 1;
        let rest = bytes.get(from..).unwrap_or_default();
        match finder.find(rest) {
            Some(n) => at = from + n - NONCE_AT,
            None => return found,
        }
    }
}
