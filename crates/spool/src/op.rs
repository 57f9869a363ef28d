//! What callers commit, and what became of it.

use std::io;
use std::sync::Arc;

use mail::{Message, QueueId, RecipientKey, RecipientState, Verdict};

use crate::body::StoredBody;

/// One change of the durable state.
#[derive(Debug, Clone)]
pub enum Op {
    /// A mail is in the queue from now on.
    Accept {
        /// The mail. A content above [`crate::Options::inline_max`] goes to a file of its own
        /// before the commit.
        message: Message,
        /// The initial state of each recipient, in the envelope's order.
        states: Vec<RecipientState>,
        /// A drop's id or an idempotency key: found again with [`crate::Spool::find_token`].
        token: Option<String>,
    },
    /// As `Accept`, for a mail whose content was written with [`crate::Spool::begin_body`]. The
    /// content is removed when the commit is refused.
    AcceptStored {
        /// The mail; its `content` is ignored.
        message: Message,
        /// The content.
        body: StoredBody,
        /// The initial state of each recipient, in the envelope's order.
        states: Vec<RecipientState>,
        /// As in `Accept`.
        token: Option<String>,
    },
    /// A waiting recipient's state; without effect on one that is not waiting.
    State {
        /// Whose.
        key: RecipientKey,
        /// The whole new state.
        state: RecipientState,
        /// The SMTP dialog of the attempt that led to it, bounded by the caller.
        transcript: Option<String>,
    },
    /// A recipient's final outcome; without effect on one that is not waiting.
    Done {
        /// Whose.
        key: RecipientKey,
        /// How it ended.
        verdict: Verdict,
        /// Attempts that counted.
        attempts: u32,
        /// The SMTP dialog of the last attempt, bounded by the caller.
        transcript: Option<String>,
    },
    /// A durable setting of the administrator: the last writer wins.
    Control {
        /// Its name.
        name: String,
        /// Its value; `None` deletes it.
        value: Option<String>,
    },
}

impl Op {
    /// Octets of its content, when that goes or went to a file of its own, and whose it is.
    pub(crate) fn body_file(&self, inline_limit: usize) -> Option<(QueueId, u64)> {
        match self {
            Self::Accept { message, .. } if message.content.len() > inline_limit => {
                Some((message.id, message.content.len() as u64))
            }
            Self::AcceptStored { message, body, .. } => Some((message.id, body.len())),
            Self::Accept { .. } | Self::State { .. } | Self::Done { .. } | Self::Control { .. } => {
                None
            }
        }
    }

    pub(crate) const fn is_accept(&self) -> bool {
        matches!(self, Self::Accept { .. } | Self::AcceptStored { .. })
    }
}

/// Why a commit is not in the queue.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// There is no room, or the disk refused the write; nothing of the commit is in the queue or
    /// will ever be. The client is to try again: 452 4.3.1.
    #[error("the queue's disk has no room for it: {0}")]
    Full(Arc<io::Error>),
    /// More than fits into one commit.
    #[error("a commit of {len} bytes is larger than the {max} that fit")]
    TooLarge {
        /// Its length as written.
        len: u64,
        /// The bound.
        max: u64,
    },
    /// A sync failed, now or earlier: what the disk holds is unknown, so nothing more is accepted
    /// or delivered and the server must stop. The client is to try again: 451.
    #[error("the queue's disk failed to keep what was written, the server must stop: {0}")]
    Poisoned(Arc<str>),
    /// The spool is closed.
    #[error("the queue is closed")]
    Closed,
}

/// What is called when a commit is durable, or is not.
pub type Callback = Box<dyn FnOnce(Result<(), CommitError>) + Send>;
