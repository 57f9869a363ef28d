//! Events: what happened to recipients, kept in order for those who are told of it elsewhere.
//!
//! The history writes an event in the transaction that takes in what it is about, and remembers up to
//! which frame of the log it has done so. So each thing that is durable becomes one event whatever
//! crashes, and nothing that is not durable becomes one. Nothing is written unless it is wished for.

use std::net::IpAddr;

use mail::{Destination, Envelope, Labels, QueueId, RecipientKey, Timestamp, Verdict};

use crate::change::MessageMeta;
use crate::codec::{DecodeError, Reader, put_bytes, put_opt_str, put_str, put_varint};
use crate::note::LaterRow;
use crate::record::{get_labels, put_labels, verdict_bytes, verdict_from};

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventKinds(u8);

impl EventKinds {
    /// None.
    pub const NONE: Self = Self(0);
    /// A recipient is in the queue.
    pub const ACCEPTED: Self = Self(1);
    /// An attempt did not end its recipient.
    pub const DEFERRED: Self = Self(2);
    /// A recipient has its outcome.
    pub const ENDED: Self = Self(4);
    /// Something came to be known of a recipient later.
    pub const LATER: Self = Self(8);
    /// An entry of the history was set.
    pub const ENTRY: Self = Self(16);
    /// All.
    pub const ALL: Self = Self(31);

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any of `other` is among them.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits, as they are kept.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The kinds with these bits; unknown bits are dropped.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }
}

/// Which events are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventWish {
    /// Their kinds.
    pub kinds: EventKinds,
    /// Of entries: those whose names begin so.
    pub entries: String,
}

impl EventWish {
    /// Whether none are.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.kinds == EventKinds::NONE
    }
}

/// Where a message came from, as far as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The user who logged in.
    pub user: Option<String>,
    /// The address that the client connected from.
    pub peer: Option<IpAddr>,
    /// The way in; empty where nobody knows any more.
    pub via: String,
    /// ENVID in its xtext form.
    pub env_id: Option<String>,
}

impl Origin {
    fn of(envelope: &Envelope) -> Self {
        Self {
            user: envelope.submitter.user.clone(),
            peer: envelope.submitter.peer,
            via: envelope.submitter.via.clone(),
            env_id: envelope.env_id.clone(),
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_opt_str(out, self.user.as_deref());
        match self.peer {
            None => out.push(0),
            Some(IpAddr::V4(ip)) => put_bytes(out, &ip.octets()),
            Some(IpAddr::V6(ip)) => put_bytes(out, &ip.octets()),
        }
        put_str(out, &self.via);
        put_opt_str(out, self.env_id.as_deref());
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            user: r.opt_str()?.map(str::to_owned),
            peer: match r.bytes()? {
                [] => None,
                octets => Some(match <[u8; 4]>::try_from(octets) {
                    Ok(v4) => IpAddr::from(v4),
                    Err(_) => IpAddr::from(
                        <[u8; 16]>::try_from(octets)
                            .map_err(|_| DecodeError::Unknown("kind of address"))?,
                    ),
                }),
            },
            via: r.str()?.to_owned(),
            env_id: r.opt_str()?.map(str::to_owned),
        })
    }
}

/// The origin of a message as the index keeps it.
pub(crate) fn origin_bytes(envelope: &Envelope) -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    Origin::of(envelope).put(&mut out);
    out
}

/// Reads [`origin_bytes`] back; what an older release left out is unknown.
pub(crate) fn origin_from(bytes: Option<&[u8]>) -> Result<Origin, DecodeError> {
    bytes.map_or_else(
        || Ok(Origin::default()),
        |bytes| Origin::get(&mut Reader::new(bytes)),
    )
}

/// The recipient that an event is about, and its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventAbout {
    /// Which.
    pub key: RecipientKey,
    /// The reverse-path; empty for the null one.
    pub sender: String,
    /// The address.
    pub recipient: String,
    /// When the message was accepted.
    pub accepted: Timestamp,
    /// Octets of its content.
    pub size: u64,
    /// The name that fairness counts under.
    pub submitter: String,
    /// Where the message came from.
    pub origin: Origin,
    /// Outgoing or local.
    pub destination: Destination,
    /// What the message is called and labelled.
    pub labels: Labels,
}

impl EventAbout {
    pub(crate) fn of(meta: &MessageMeta, n: u32) -> Option<Self> {
        let recipient = meta.envelope.recipients.get(n as usize)?;
        Some(Self {
            key: RecipientKey {
                id: meta.id,
                recipient: n,
            },
            sender: meta.envelope.sender(),
            recipient: recipient.address.to_string(),
            accepted: meta.accepted,
            size: meta.size,
            submitter: meta.envelope.submitter.name(),
            origin: Origin::of(&meta.envelope),
            destination: recipient.destination,
            labels: meta.labels.clone(),
        })
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key.id.as_u64().to_le_bytes());
        put_varint(out, u64::from(self.key.recipient));
        out.push(self.destination.code());
        put_str(out, &self.sender);
        put_str(out, &self.recipient);
        put_varint(out, self.accepted.as_millis());
        put_varint(out, self.size);
        put_str(out, &self.submitter);
        self.origin.put(out);
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let key = RecipientKey {
            id: QueueId::from_u64(r.u64()?),
            recipient: r.varint_u32()?,
        };
        let destination =
            Destination::of_code(r.u8()?).ok_or(DecodeError::Unknown("destination"))?;
        Ok(Self {
            key,
            sender: r.str()?.to_owned(),
            recipient: r.str()?.to_owned(),
            accepted: Timestamp::from_millis(r.varint()?),
            size: r.varint()?,
            submitter: r.str()?.to_owned(),
            origin: Origin::get(r)?,
            destination,
            labels: Labels::default(),
        })
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// The recipient is in the queue.
    Accepted,
    /// An attempt did not end it.
    Deferred {
        /// Attempts that counted, this one included.
        attempts: u32,
        /// The earliest time of the next; `None` where nobody knows any more.
        due: Option<Timestamp>,
        /// What came of it.
        verdict: Box<Verdict>,
    },
    /// It has its outcome.
    Ended {
        /// Attempts that counted.
        attempts: u32,
        /// How it ended.
        verdict: Box<Verdict>,
    },
    /// Something came to be known later.
    Later {
        /// When.
        at: Timestamp,
        /// One word for it.
        word: String,
        /// The particulars.
        text: String,
    },
    /// An entry of the history was set.
    Entry {
        /// Its name.
        name: String,
        /// What it says.
        value: String,
    },
}

/// An event: what happened, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The recipient; `None` for an entry.
    pub about: Option<EventAbout>,
    /// What happened.
    pub what: Happened,
}

impl Event {
    /// When it happened; `None` for an entry, of which the spool does not know.
    #[must_use]
    pub fn at(&self) -> Option<Timestamp> {
        match &self.what {
            Happened::Accepted => self.about.as_ref().map(|about| about.accepted),
            Happened::Deferred { verdict, .. } | Happened::Ended { verdict, .. } => {
                Some(verdict.at)
            }
            Happened::Later { at, .. } => Some(*at),
            Happened::Entry { .. } => None,
        }
    }

    /// What came to be known of a recipient.
    pub(crate) fn later(about: EventAbout, row: &LaterRow) -> Self {
        Self {
            about: Some(about),
            what: Happened::Later {
                at: row.at,
                word: row.word.clone(),
                text: row.text.clone(),
            },
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        match &self.about {
            None => out.push(0),
            Some(about) => {
                out.push(1);
                about.put(&mut out);
            }
        }
        match &self.what {
            Happened::Accepted => out.push(0),
            Happened::Deferred {
                attempts,
                due,
                verdict,
            } => {
                out.push(1);
                put_varint(&mut out, u64::from(*attempts));
                put_varint(&mut out, due.unwrap_or(Timestamp::MAX).as_millis());
                put_bytes(&mut out, &verdict_bytes(verdict));
            }
            Happened::Ended { attempts, verdict } => {
                out.push(2);
                put_varint(&mut out, u64::from(*attempts));
                put_bytes(&mut out, &verdict_bytes(verdict));
            }
            Happened::Later { at, word, text } => {
                out.push(3);
                put_varint(&mut out, at.as_millis());
                put_str(&mut out, word);
                put_str(&mut out, text);
            }
            Happened::Entry { name, value } => {
                out.push(4);
                put_str(&mut out, name);
                put_str(&mut out, value);
            }
        }
        // Behind all that an earlier release wrote.
        if let Some(about) = &self.about {
            put_labels(&mut out, &about.labels);
        }
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let r = &mut Reader::new(bytes);
        let mut about = match r.u8()? {
            0 => None,
            _ => Some(EventAbout::get(r)?),
        };
        let what = match r.u8()? {
            0 => Happened::Accepted,
            1 => Happened::Deferred {
                attempts: r.varint_u32()?,
                due: Some(Timestamp::from_millis(r.varint()?)).filter(|t| *t != Timestamp::MAX),
                verdict: Box::new(verdict_from(r.bytes()?)?),
            },
            2 => Happened::Ended {
                attempts: r.varint_u32()?,
                verdict: Box::new(verdict_from(r.bytes()?)?),
            },
            3 => Happened::Later {
                at: Timestamp::from_millis(r.varint()?),
                word: r.str()?.to_owned(),
                text: r.str()?.to_owned(),
            },
            4 => Happened::Entry {
                name: r.str()?.to_owned(),
                value: r.str()?.to_owned(),
            },
            _ => return Err(DecodeError::Unknown("kind of event")),
        };
        if let Some(about) = about.as_mut().filter(|_| !r.is_empty()) {
            about.labels = get_labels(r)?;
        }
        Ok(Self { about, what })
    }
}

/// An event that is kept, with its place: places rise in the order of the commits, and are never given
/// twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place, from 1.
    pub place: u64,
    /// The event.
    pub event: Event,
}

/// Which events are kept at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventBounds {
    /// How many at the most: their places lie behind one another, gaps aside.
    pub kept: u64,
    /// The last place that was given, 0 for none yet.
    pub last: u64,
}

/// A part of what the history knows of the past, as events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PastEvents {
    /// Those of some messages, in the order of time.
    pub events: Vec<Event>,
    /// The last of these messages; `None`: that was all.
    pub next: Option<QueueId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_an_earlier_release_has_no_labels() {
        let labels = Labels {
            subject: Some("s".to_owned()),
            tags: vec!["news".to_owned()],
            report_of: Some(QueueId::from_u64(7)),
            ..Labels::default()
        };
        let about = EventAbout {
            key: RecipientKey {
                id: QueueId::from_u64(1),
                recipient: 2,
            },
            sender: "a@b.example".to_owned(),
            recipient: "c@d.example".to_owned(),
            accepted: Timestamp::from_secs(3),
            size: 4,
            submitter: "key=web".to_owned(),
            origin: Origin::default(),
            destination: Destination::Local,
            labels: labels.clone(),
        };
        let event = Event {
            about: Some(about),
            what: Happened::Accepted,
        };
        let bytes = event.to_bytes();
        assert_eq!(Event::from_bytes(&bytes).unwrap(), event);
        let mut written = Vec::new();
        put_labels(&mut written, &labels);
        let before = bytes.get(..bytes.len() - written.len()).unwrap();
        let read = Event::from_bytes(before).unwrap().about.unwrap();
        assert_eq!(read.labels, Labels::default());
    }
}
