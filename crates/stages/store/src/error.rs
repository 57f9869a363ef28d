//! Why a store did not do what was asked.

use std::io;
use std::sync::Arc;

use mail::QueueId;

/// Why a commit is not in the queue.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// There is no room, or the disk refused the write; nothing of the commit is in the queue or
    /// will ever be. The client is to try again: 452 4.3.1.
    #[error("the queue's disk has no space for it: {0}")]
    Full(Arc<io::Error>),
    /// More than fits into one commit.
    #[error("a commit of {len} bytes is larger than the limit of {max}")]
    TooLarge {
        /// Its length as written.
        len: u64,
        /// The bound.
        max: u64,
    },
    /// A sync failed, now or earlier: what the disk holds is unknown, so nothing more is accepted
    /// or delivered and the server must stop. The client is to try again: 451.
    #[error("the queue's disk failed to store what was written, the server must stop: {0}")]
    Poisoned(Arc<str>),
    /// The index or the history cannot be written, and so much waits for it that no more mail is taken;
    /// outcomes still are. The client is to try again: 452 4.3.1.
    #[error("mail is refused until the queue's index and history can be written: {0}")]
    Behind(Arc<str>),
    /// The store is closed.
    #[error("the queue is closed")]
    Closed,
    /// The store cannot be reached at present; nothing of it is in the queue or will ever be. The client is to try again:
    /// 451 4.3.2. Never fatal: later commits may succeed.
    #[error("the queue's store cannot be reached: {0}")]
    Away(Arc<str>),
    /// Another node owns the mail that this is about, and nothing of it is in the queue.
    #[error("another node has taken over this mail")]
    Fenced,
    /// The token of a mail is the token of this one, which is in the queue or was; nothing of the commit is.
    #[error("a message with the same token was accepted before: {0}")]
    Taken(QueueId),
    /// Whoever made it took it back before it was written; nothing of it is in the queue or will ever be.
    #[error("the commit was withdrawn before it was written")]
    Withdrawn,
}

/// What follows from a commit that was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The same commit may succeed later.
    TryAgain,
    /// The same commit will never be made; the store goes on with others.
    GiveUp,
    /// The store is being closed.
    Closing,
    /// The store takes nothing any more, and the server must stop.
    Stop,
}

impl CommitError {
    /// What follows from it.
    #[must_use]
    pub const fn remedy(&self) -> Remedy {
        match self {
            Self::Full(_) | Self::Behind(_) | Self::Away(_) => Remedy::TryAgain,
            Self::TooLarge { .. } | Self::Fenced | Self::Taken(_) | Self::Withdrawn => {
                Remedy::GiveUp
            }
            Self::Closed => Remedy::Closing,
            Self::Poisoned(_) => Remedy::Stop,
        }
    }
}

/// Why a store did not answer a question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The engine refused, in its own words.
    #[error("{0}")]
    Engine(String),
    /// It did not take in the latest changes, and says why.
    #[error("the queue's index is out of date: {0}")]
    Behind(String),
    /// What it holds is not what was written.
    #[error("the queue's index is damaged: {0}")]
    Damaged(String),
    /// It cannot be reached at present.
    #[error("the queue's store cannot be reached: {0}")]
    Away(String),
}

/// Why a message could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The engine refused.
    #[error("cannot read mail {id} from the queue: {why}")]
    Failed {
        /// Which.
        id: QueueId,
        /// Why not.
        why: String,
        /// It will not be better another time: what is there cannot be read, or is not there any more.
        is_lasting: bool,
    },
    /// What is there is not what was written.
    #[error("mail {0} is damaged on disk")]
    Damaged(QueueId),
}

impl ReadError {
    /// Whether it will not be better another time.
    #[must_use]
    pub const fn is_lasting(&self) -> bool {
        match self {
            Self::Damaged(_) => true,
            Self::Failed { is_lasting, .. } => *is_lasting,
        }
    }
}

/// Why a copy of the queue could not be made. What there is of it is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The directory cannot be used.
    #[error("{0}")]
    Directory(String),
    /// There is something in it already.
    #[error("{0} is not empty: a backup needs an empty directory")]
    NotEmpty(String),
    /// Reading or writing failed.
    #[error("cannot copy {file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// Why not.
        source: io::Error,
    },
    /// The history cannot be read or copied.
    #[error(transparent)]
    Store(#[from] StoreError),
}
