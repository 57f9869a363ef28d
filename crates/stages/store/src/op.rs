//! What callers commit, and what became of it.

use mail::{Message, RecipientKey, RecipientState, Verdict};

use crate::error::CommitError;
use crate::note::Note;

/// One change of the durable state.
#[derive(Debug, Clone)]
pub enum Op {
    /// A mail is in the queue from now on.
    Accept {
        /// The mail.
        message: Message,
        /// The initial state of each recipient, in the envelope's order.
        states: Vec<RecipientState>,
        /// A drop's id or an idempotency key: found again with [`crate::Store::find_token`].
        token: Option<String>,
    },
    /// A waiting recipient's state; without effect on one that is not waiting.
    State {
        /// Whose.
        key: RecipientKey,
        /// The whole new state.
        state: RecipientState,
        /// The SMTP dialog of the attempt that led to it, cut to [`Op::TRANSCRIPT_MAX`].
        transcript: Option<String>,
    },
    /// As `State`, for whoever does not know the last verdict: it stays as it is, and `state.last` means nothing. No
    /// attempt led to it, so it has no transcript.
    Change {
        /// Whose.
        key: RecipientKey,
        /// The new state, but for its last verdict.
        state: RecipientState,
    },
    /// A recipient's final outcome; without effect on one that is not waiting.
    Done {
        /// Whose.
        key: RecipientKey,
        /// How it ended.
        verdict: Verdict,
        /// Attempts that counted.
        attempts: u32,
        /// The SMTP dialog of the last attempt, cut to [`Op::TRANSCRIPT_MAX`].
        transcript: Option<String>,
    },
    /// A durable setting of the administrator: the last writer wins.
    Control {
        /// Its name.
        name: String,
        /// Its value; `None` deletes it.
        value: Option<String>,
    },
    /// Something for the history alone.
    Note(Note),
}

/// Ends a text that was cut.
const CUT: &str = " [cut]";

/// Shortens a text to `max` octets, the mark included.
fn cut(text: &mut String, max: usize) {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max - CUT.len()));
        text.push_str(CUT);
    }
}

fn cut_verdict(verdict: &mut Verdict) {
    cut(&mut verdict.reply.text, Op::REPLY_MAX);
    if let Some(host) = &mut verdict.host {
        cut(&mut host.name, Op::HOST_MAX);
    }
}

fn cut_state(state: &mut RecipientState, transcript: &mut Option<String>) {
    state.last.iter_mut().for_each(cut_verdict);
    if let Some(transcript) = transcript {
        cut(transcript, Op::TRANSCRIPT_MAX);
    }
}

impl Op {
    /// Octets of a reply's text that are kept; a longer one is cut, and ends with a mark.
    pub const REPLY_MAX: usize = 2 << 10;
    /// Octets of a transcript that are kept; a longer one is cut, and ends with a mark.
    pub const TRANSCRIPT_MAX: usize = 16 << 10;
    /// Octets of a host's name that are kept.
    const HOST_MAX: usize = 1 << 10;
    /// Octets that a `State` or a `Done` takes in a commit at most: 200 of them take less than
    /// 4 MiB.
    pub const STATE_MAX: usize = 20 << 10;

    /// For engines: cuts what hosts have said to what is kept. It comes before everything else, so that an index made
    /// again from what was written says the same.
    pub fn bound(&mut self) {
        match self {
            Self::Accept {
                message, states, ..
            } => {
                message.labels.bound();
                states.iter_mut().for_each(|s| cut_state(s, &mut None));
            }
            Self::State {
                state, transcript, ..
            } => cut_state(state, transcript),
            Self::Done {
                verdict,
                transcript,
                ..
            } => {
                cut_verdict(verdict);
                if let Some(transcript) = transcript {
                    cut(transcript, Self::TRANSCRIPT_MAX);
                }
            }
            Self::Note(Note::Later(row)) => cut(&mut row.text, Self::REPLY_MAX),
            Self::Change { .. }
            | Self::Control { .. }
            | Self::Note(Note::Entry { .. } | Note::Record(_)) => {}
        }
    }
}

/// What is called when a commit is durable, or is not.
pub type Callback = Box<dyn FnOnce(Result<(), CommitError>) + Send>;
