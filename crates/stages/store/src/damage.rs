//! What is damaged, as it is reported.

use std::fmt;

use mail::{QueueId, RecipientKey};

/// What of a mail is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// Its envelope and, unless that is in a file of its own, its content. The mail cannot be
    /// delivered; it is listed as waiting until its outcome is committed.
    Message(QueueId),
    /// The last state of one recipient: the mail goes on with the one before, so attempts may be
    /// counted twice and a hold may be lost.
    State(RecipientKey),
}

/// A record that waited in the queue and cannot be read any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// What is lost.
    pub what: Damage,
    /// Where the damaged octets are kept, relative to the spool's directory; the directory alone
    /// for what an earlier run found.
    pub file: String,
    /// Nothing is kept: `file` is the segment that it was in, and that is not there.
    pub missing: bool,
}

impl Damaged {
    /// The mail.
    #[must_use]
    pub const fn id(&self) -> QueueId {
        match self.what {
            Damage::Message(id) => id,
            Damage::State(key) => key.id,
        }
    }
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.file;
        match self.what {
            Damage::Message(id) if self.missing => write!(
                f,
                "mail {id} is lost: it was in {file}, which is missing from the queue's directory"
            ),
            Damage::Message(id) => write!(
                f,
                "mail {id} is damaged on disk and cannot be delivered; what remains of it is in {file}"
            ),
            Damage::State(RecipientKey { id, recipient }) => {
                let place = match self.missing {
                    true => "it was in a file that is missing,",
                    false => "what remains of it is in",
                };
                write!(
                    f,
                    "the last state of recipient {recipient} of mail {id} is lost, the previous one is used; \
                     {place} {file}"
                )
            }
        }
    }
}
