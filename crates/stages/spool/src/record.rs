//! Records: what a commit says, and how it is written.
//!
//! A record is a header of twelve octets (kind, version, two reserved, length, CRC32C of the
//! payload) and a payload. A later release may append fields to a payload: readers ignore what
//! follows the fields that they know.

use bytes::Bytes;
use mail::{Envelope, Labels, Message, QueueId, RecipientKey, RecipientState, Timestamp, Verdict};
use store::Note;

use crate::codec::{DecodeError, Reader, put_bytes, put_opt_str, put_str, put_varint};

mod events;
mod notes;
mod values;

pub(crate) use events::{about, event_bytes, event_from, origin_bytes, origin_from};

use values::{
    get_envelope, get_state, get_terms, get_verdict, put_envelope, put_state, put_terms,
    put_verdict,
};
pub(crate) use values::{get_labels, put_labels};
pub(crate) use values::{
    given_bytes, given_from, outcome_code, terms_bytes, terms_from, verdict_bytes, verdict_from,
};

/// Bytes in front of every payload.
pub(crate) const RECORD_HEADER: usize = 12;

const VERSION: u8 = 1;
const KIND_MESSAGE: u8 = 1;
const KIND_STATE: u8 = 2;
const KIND_DONE: u8 = 3;
const KIND_CONTROL: u8 = 4;
const KIND_GONE: u8 = 5;
const KIND_NOTE: u8 = 6;

/// Where the content of a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// In the record.
    Inline(&'a [u8]),
    /// In a file of its own, named after the message.
    File { len: u64, crc: u32 },
}

impl Body<'_> {
    pub(crate) const fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }

    pub(crate) const fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }
}

/// A message as one record keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageRecord<'a> {
    pub(crate) id: QueueId,
    pub(crate) accepted: Timestamp,
    pub(crate) envelope: Envelope,
    pub(crate) token: Option<String>,
    /// One per recipient; `None` has its final outcome.
    pub(crate) states: Vec<Option<RecipientState>>,
    /// The cold segment that this copy was made from, 0 for none.
    pub(crate) from: u32,
    pub(crate) body: Body<'a>,
    pub(crate) labels: Labels,
}

impl MessageRecord<'_> {
    pub(crate) fn into_message(self, content: Bytes) -> Message {
        Message {
            labels: self.labels,
            id: self.id,
            accepted: self.accepted,
            envelope: self.envelope,
            content,
        }
    }
}

/// One record, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    Message(Box<MessageRecord<'a>>),
    State {
        key: RecipientKey,
        state: Box<RecipientState>,
        transcript: Option<String>,
    },
    Done {
        key: RecipientKey,
        attempts: u32,
        verdict: Box<Verdict>,
        transcript: Option<String>,
    },
    Control {
        name: String,
        value: Option<String>,
    },
    /// Every recipient of this message has its outcome, whatever copies of it still say.
    Gone {
        id: QueueId,
    },
    Note(Note),
    /// A kind of a later release.
    Other,
}

/// The parts of a message record when it is written; borrowed, so that nothing is copied twice.
pub(crate) struct MessageParts<'a> {
    pub(crate) id: QueueId,
    pub(crate) accepted: Timestamp,
    pub(crate) envelope: &'a Envelope,
    pub(crate) token: Option<&'a str>,
    pub(crate) states: &'a [Option<RecipientState>],
    pub(crate) from: u32,
    pub(crate) body: Body<'a>,
    pub(crate) labels: &'a Labels,
}

pub(crate) fn put_message(out: &mut Vec<u8>, m: &MessageParts<'_>) {
    framed(out, KIND_MESSAGE, |out| {
        out.extend_from_slice(&m.id.as_u64().to_le_bytes());
        put_varint(out, m.accepted.as_millis());
        put_varint(out, u64::from(m.from));
        put_opt_str(out, m.token);
        put_envelope(out, m.envelope);
        put_varint(out, m.states.len() as u64);
        for state in m.states {
            match state {
                Some(state) => {
                    out.push(0);
                    put_state(out, state);
                }
                None => out.push(1),
            }
        }
        match &m.body {
            Body::Inline(bytes) => {
                out.push(0);
                put_bytes(out, bytes);
            }
            Body::File { len, crc } => {
                out.push(1);
                put_varint(out, *len);
                out.extend_from_slice(&crc.to_le_bytes());
            }
        }
        // What the content says is not written twice.
        let told = !m.body.is_file() && m.labels.has_none_given();
        if !m.envelope.terms.is_default() || !told {
            put_terms(out, &m.envelope.terms);
        }
        if !told {
            put_labels(out, m.labels);
        }
    });
}

pub(crate) fn put_recipient_state(
    out: &mut Vec<u8>,
    key: RecipientKey,
    state: &RecipientState,
    transcript: Option<&str>,
) {
    framed(out, KIND_STATE, |out| {
        put_key(out, key);
        put_state(out, state);
        put_opt_str(out, transcript);
    });
}

pub(crate) fn put_done(
    out: &mut Vec<u8>,
    key: RecipientKey,
    attempts: u32,
    verdict: &Verdict,
    transcript: Option<&str>,
) {
    framed(out, KIND_DONE, |out| {
        put_key(out, key);
        put_varint(out, u64::from(attempts));
        put_verdict(out, verdict);
        put_opt_str(out, transcript);
    });
}

pub(crate) fn put_control(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    framed(out, KIND_CONTROL, |out| {
        put_str(out, name);
        put_opt_str(out, value);
    });
}

pub(crate) fn put_gone(out: &mut Vec<u8>, id: QueueId) {
    framed(out, KIND_GONE, |out| {
        out.extend_from_slice(&id.as_u64().to_le_bytes());
    });
}

pub(crate) fn put_note(out: &mut Vec<u8>, note: &Note) {
    framed(out, KIND_NOTE, |out| notes::put_fields(out, note));
}

fn put_key(out: &mut Vec<u8>, key: RecipientKey) {
    out.extend_from_slice(&key.id.as_u64().to_le_bytes());
    put_varint(out, u64::from(key.recipient));
}

fn get_key(reader: &mut Reader<'_>) -> Result<RecipientKey, DecodeError> {
    Ok(RecipientKey {
        id: QueueId::from_u64(reader.u64()?),
        recipient: reader.varint_u32()?,
    })
}

/// Writes a record whose payload `fill` appends.
fn framed(out: &mut Vec<u8>, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[kind, VERSION, 0, 0]);
    out.extend_from_slice(&[0; 8]);
    fill(out);
    let payload = out.get(start + RECORD_HEADER..).unwrap_or_default();
    let crc = crc32c::crc32c(payload).to_le_bytes();
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start + 4..start + 8) {
        place.copy_from_slice(&len.to_le_bytes());
    }
    if let Some(place) = out.get_mut(start + 8..start + RECORD_HEADER) {
        place.copy_from_slice(&crc);
    }
}

/// The next record's kind and payload; the payload's checksum is checked.
fn split<'a>(reader: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    let kind = reader.u8().ok()?;
    reader.take(3).ok()?;
    let len = reader.u32().ok()?;
    let crc = reader.u32().ok()?;
    let payload = reader.take(len as usize).ok()?;
    (crc32c::crc32c(payload) == crc).then_some((kind, payload))
}

/// Whether `records` is a sequence of whole records and nothing else.
pub(crate) fn are_whole(records: &[u8]) -> bool {
    let mut reader = Reader::new(records);
    let mut at = 0;
    while at < records.len() {
        match split(&mut reader) {
            Some((_, payload)) => at += RECORD_HEADER + payload.len(),
            None => return false,
        }
    }
    true
}

/// The records of a whole frame, each with its offset among them and its length.
pub(crate) fn records(
    bytes: &[u8],
) -> impl Iterator<Item = (usize, usize, Result<Record<'_>, DecodeError>)> {
    let mut reader = Reader::new(bytes);
    let mut at = 0;
    std::iter::from_fn(move || {
        let (kind, payload) = split(&mut reader)?;
        let len = RECORD_HEADER + payload.len();
        let item = (at, len, decode(kind, payload));
        at += len;
        Some(item)
    })
}

/// The one record in `bytes`; `None` when its checksum is wrong.
pub(crate) fn single(bytes: &[u8]) -> Option<Result<Record<'_>, DecodeError>> {
    let (kind, payload) = split(&mut Reader::new(bytes))?;
    Some(decode(kind, payload))
}

pub(crate) fn decode(kind: u8, payload: &[u8]) -> Result<Record<'_>, DecodeError> {
    let mut reader = Reader::new(payload);
    let r = &mut reader;
    Ok(match kind {
        KIND_MESSAGE => Record::Message(Box::new(decode_message(r)?)),
        KIND_STATE => Record::State {
            key: get_key(r)?,
            state: Box::new(get_state(r)?),
            transcript: r.opt_str()?.map(str::to_owned),
        },
        KIND_DONE => Record::Done {
            key: get_key(r)?,
            attempts: r.varint_u32()?,
            verdict: Box::new(get_verdict(r)?),
            transcript: r.opt_str()?.map(str::to_owned),
        },
        KIND_CONTROL => Record::Control {
            name: r.str()?.to_owned(),
            value: r.opt_str()?.map(str::to_owned),
        },
        KIND_GONE => Record::Gone {
            id: QueueId::from_u64(r.u64()?),
        },
        KIND_NOTE => Record::Note(notes::get_fields(r)?),
        _ => Record::Other,
    })
}

fn decode_message<'a>(r: &mut Reader<'a>) -> Result<MessageRecord<'a>, DecodeError> {
    let id = QueueId::from_u64(r.u64()?);
    let accepted = Timestamp::from_millis(r.varint()?);
    let from = r.varint_u32()?;
    let token = r.opt_str()?.map(str::to_owned);
    let mut envelope = get_envelope(r)?;
    let mut states = Vec::new();
    for _ in 0..r.varint()? {
        states.push(match r.u8()? {
            0 => Some(get_state(r)?),
            _ => None,
        });
    }
    let body = match r.u8()? {
        0 => Body::Inline(r.bytes()?),
        1 => Body::File {
            len: r.varint()?,
            crc: r.u32()?,
        },
        _ => return Err(DecodeError::Unknown("kind of body")),
    };
    if !r.is_empty() {
        envelope.terms = get_terms(r)?;
    }
    let labels = match (r.is_empty(), &body) {
        (false, _) => get_labels(r)?,
        (true, Body::Inline(content)) => Labels::of(content),
        // Of a release that did not keep them.
        (true, Body::File { .. }) => Labels::default(),
    };
    Ok(MessageRecord {
        id,
        accepted,
        envelope,
        token,
        states,
        from,
        body,
        labels,
    })
}

#[cfg(test)]
mod tests;
