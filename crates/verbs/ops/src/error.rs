//! Why a verb was not carried out: a kind that programs decide by, and words for people.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};
use store::{CommitError, ReadError, Remedy, StoreError};

use crate::event::MalformedReplay;
use crate::malformed::{Malformed, SelectError};

/// What keeps a verb from being carried out, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerbErrorKind {
    /// It cannot be meant: its author has to correct it.
    Malformed,
    /// There is no such message, rule, webhook or entry.
    NotFound,
    /// It cannot be done as things are, and nothing was changed.
    Conflict,
    /// It is about events after a place that was never given.
    Beyond {
        /// The last place that was.
        last: u64,
    },
    /// The configuration is not valid, or needs a restart; the one before is in force.
    NotReloaded,
    /// Not possible at present: the server stops, or what it needs is out of reach or has no room.
    Unavailable,
    /// Something of the server's own does not work.
    Failed,
}

/// Why a verb was not carried out. What it says is for people; programs ask for its kind.
#[derive(Debug)]
pub struct VerbError {
    kind: VerbErrorKind,
    why: Box<dyn Error + Send + Sync>,
}

impl VerbError {
    /// An error of this kind, with its reason.
    pub fn new(kind: VerbErrorKind, why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let why = why.into();
        Self { kind, why }
    }

    /// There is no such thing.
    pub fn not_found(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(VerbErrorKind::NotFound, why)
    }

    /// It cannot be done as things are.
    pub fn conflict(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(VerbErrorKind::Conflict, why)
    }

    /// It is not possible at present.
    pub fn unavailable(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(VerbErrorKind::Unavailable, why)
    }

    /// Something of ours does not work.
    pub fn failed(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(VerbErrorKind::Failed, why)
    }

    /// No event has got a place after `last`.
    #[must_use]
    pub fn beyond(last: u64) -> Self {
        let why = format!("there is no such place: the last event has place {last}");
        Self::new(VerbErrorKind::Beyond { last }, why)
    }

    /// The server is about to end.
    #[must_use]
    pub fn stopping() -> Self {
        Self::unavailable("the server is shutting down")
    }

    /// What kind it is of.
    #[must_use]
    pub const fn kind(&self) -> VerbErrorKind {
        self.kind
    }
}

impl fmt::Display for VerbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl Error for VerbError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.why.source()
    }
}

impl From<Malformed> for VerbError {
    fn from(error: Malformed) -> Self {
        Self::new(VerbErrorKind::Malformed, error)
    }
}

impl From<MalformedReplay> for VerbError {
    fn from(error: MalformedReplay) -> Self {
        Malformed::from(error).into()
    }
}

impl From<SelectError> for VerbError {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::Malformed(error) => error.into(),
            SelectError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for VerbError {
    fn from(error: StoreError) -> Self {
        match matches!(error, StoreError::Away(_) | StoreError::Behind(_)) {
            true => Self::unavailable(error),
            false => Self::failed(error),
        }
    }
}

impl From<ReadError> for VerbError {
    fn from(error: ReadError) -> Self {
        Self::failed(error)
    }
}

impl From<CommitError> for VerbError {
    fn from(error: CommitError) -> Self {
        match error.remedy() {
            Remedy::TryAgain | Remedy::Closing => Self::unavailable(error),
            Remedy::GiveUp | Remedy::Stop => Self::failed(error),
        }
    }
}
