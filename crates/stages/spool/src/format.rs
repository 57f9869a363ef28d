//! The format from outside: reading records and finding frames in octets that are not known to be
//! whole. For tests that try what the format does with damage; the queue itself never needs it.

use std::ops::Range;

use crate::codec::DecodeError;
use crate::record::{
    self, Body, MessageParts, RECORD_HEADER, Record, put_control, put_done, put_gone, put_message,
    put_note, put_recipient_state,
};
use crate::segment::{
    FRAME_HEADER, FrameHeader, HeaderCheck, Lane, PAGE, SEGMENT_HEADER, Sealed, SegmentHeader, walk,
};

/// Where the first frame of a segment begins.
pub const FIRST_FRAME: usize = SEGMENT_HEADER;

/// Reads the payload of a record and writes it again, without the record's header. A kind of a
/// later release is as it is.
///
/// # Errors
/// When the payload is none of this kind.
pub fn rewrite(kind: u8, payload: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    match record::decode(kind, payload)? {
        Record::Message(m) => put_message(
            &mut out,
            &MessageParts {
                id: m.id,
                accepted: m.accepted,
                envelope: &m.envelope,
                token: m.token.as_deref(),
                states: &m.states,
                from: m.from,
                labels: &m.labels,
                body: match &m.body {
                    Body::Inline(bytes) => Body::Inline(bytes),
                    Body::File { len, crc } => Body::File {
                        len: *len,
                        crc: *crc,
                    },
                },
            },
        ),
        Record::State {
            key,
            state,
            transcript,
        } => put_recipient_state(&mut out, key, &state, transcript.as_deref()),
        Record::Done {
            key,
            attempts,
            verdict,
            transcript,
        } => put_done(&mut out, key, attempts, &verdict, transcript.as_deref()),
        Record::Control { name, value } => put_control(&mut out, &name, value.as_deref()),
        Record::Gone { id } => put_gone(&mut out, id),
        Record::Note(note) => put_note(&mut out, &note),
        Record::Other => return Ok(payload.to_vec()),
    }
    Ok(out.split_off(RECORD_HEADER))
}

/// How many whole records stand at the front of these octets.
#[must_use]
pub fn whole_records(bytes: &[u8]) -> usize {
    record::records(bytes).count()
}

/// Whether this is the first page of a segment of this release.
#[must_use]
pub fn header_is_good(page: &[u8]) -> bool {
    matches!(SegmentHeader::check(page), HeaderCheck::Good(_))
}

/// A segment in memory, as it would be on disk.
#[derive(Debug)]
pub struct Segment {
    header: SegmentHeader,
    bytes: Vec<u8>,
    frames: Vec<Range<usize>>,
}

impl Segment {
    /// An empty one with this nonce.
    #[must_use]
    pub fn new(nonce: u64) -> Self {
        let header = SegmentHeader {
            lane: Lane::Hot,
            number: 1,
            nonce,
            spool: 1,
            first: 1,
            previous: 0,
            previous_end: 0,
        };
        Self {
            bytes: header.encode(),
            header,
            frames: Vec::new(),
        }
    }

    /// Appends a frame of one record that holds `content`, directly after the last or at the next
    /// page.
    pub fn append(&mut self, content: &[u8], at_page: bool) {
        if at_page {
            self.bytes
                .resize(self.bytes.len().next_multiple_of(PAGE), 0);
        }
        let start = self.bytes.len();
        let mut frame = vec![0; FRAME_HEADER];
        put_control(
            &mut frame,
            "content",
            Some(&String::from_utf8_lossy(content)),
        );
        let sequence = self.header.first + self.frames.len() as u64;
        let header = FrameHeader {
            nonce: self.header.nonce,
            sequence,
            as_of: sequence,
            head: (self.header.number, 0),
            synced: SEGMENT_HEADER as u32,
            len: (frame.len() - FRAME_HEADER) as u32,
        };
        header.seal(&mut frame);
        self.bytes.extend_from_slice(&frame);
        self.frames.push(start..self.bytes.len());
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where its frames are.
    #[must_use]
    pub fn frames(&self) -> &[Range<usize>] {
        &self.frames
    }
}

/// The frames in `bytes`, which were `segment`, and the ranges that are damaged. A segment that is
/// not sealed is the last of its lane, whose end nothing else tells.
#[must_use]
pub fn find(
    segment: &Segment,
    bytes: &[u8],
    is_sealed: bool,
) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
    let sealed = is_sealed.then(|| Sealed {
        end: segment.bytes.len().next_multiple_of(PAGE),
        next: segment.header.first + segment.frames.len() as u64,
    });
    let walk = walk(bytes, &segment.header, sealed, 0);
    let frame = |at: usize, len: u32| at - FRAME_HEADER..at + len as usize;
    let frames = walk.frames.iter();
    (
        frames.map(|f| frame(f.records_at, f.header.len)).collect(),
        walk.damaged.iter().map(|(from, to)| *from..*to).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_to_the_last_frame_of_a_page_is_told_by_the_sequence() {
        let mut segment = Segment::new(7);
        segment.append(b"first", false);
        segment.append(b"last", false);
        let [first, last] = segment.frames() else {
            panic!("{segment:?}");
        };
        let mut bytes = segment.bytes().to_vec();
        bytes[last.end - 1] ^= 1;
        let (frames, damaged) = find(&segment, &bytes, true);
        assert_eq!(frames.first(), Some(first));
        assert_eq!(frames.len(), 1);
        assert!(
            damaged.iter().any(|d| d.contains(&last.start)),
            "{damaged:?}"
        );
    }
}
