//! Events: what happened to recipients, kept in order for those who are told of it elsewhere.
//!
//! The history writes an event in the transaction that takes in what it is about, and remembers up to
//! which frame of the log it has done so. So each thing that is durable becomes one event whatever
//! crashes, and nothing that is not durable becomes one. Nothing is written unless it is wished for.

use std::net::IpAddr;

use mail::{Destination, Envelope, Labels, QueueId, RecipientKey, Timestamp, Verdict};

use crate::note::LaterRow;

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
    /// Of a message.
    #[must_use]
    pub fn of(envelope: &Envelope) -> Self {
        Self {
            user: envelope.submitter.user.clone(),
            peer: envelope.submitter.peer,
            via: envelope.submitter.via.clone(),
            env_id: envelope.env_id.clone(),
        }
    }
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
    #[must_use]
    pub fn later(about: EventAbout, row: &LaterRow) -> Self {
        Self {
            about: Some(about),
            what: Happened::Later {
                at: row.at,
                word: row.word.clone(),
                text: row.text.clone(),
            },
        }
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
    /// How many at most: their places follow one another, gaps aside.
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
