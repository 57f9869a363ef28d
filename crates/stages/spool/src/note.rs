//! What the history keeps beside outcomes: what came to be known of a recipient behind its end, and
//! entries that no retention removes.

use mail::{RecipientKey, Timestamp};

use crate::codec::{DecodeError, Reader, put_opt_str, put_str, put_varint};

/// Something for the history alone. It is durable with its commit, like any change; the log forgets
/// it as soon as the history has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// An entry under a name: the last writer wins, and nothing but a later writer removes it. Name
    /// and value together take [`Note::ENTRY_MAX`] octets at most; that is the caller's to see to.
    Entry {
        /// Its name.
        name: String,
        /// What it says; `None` removes it.
        value: Option<String>,
    },
    /// What came to be known of a recipient. It is kept as long as what is finished is.
    Later(LaterRow),
}

/// What came to be known of a recipient behind its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaterRow {
    /// Whose.
    pub key: RecipientKey,
    /// When.
    pub at: Timestamp,
    /// One word for what happened, such as `bounced`.
    pub word: String,
    /// The particulars, cut to [`crate::Op::REPLY_MAX`].
    pub text: String,
}

impl Note {
    /// Octets of an entry's name and value together.
    pub const ENTRY_MAX: usize = 16 << 10;

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Entry { name, value } => {
                out.push(0);
                put_str(out, name);
                put_opt_str(out, value.as_deref());
            }
            Self::Later(row) => {
                out.push(1);
                out.extend_from_slice(&row.key.id.as_u64().to_le_bytes());
                put_varint(out, u64::from(row.key.recipient));
                put_varint(out, row.at.as_millis());
                put_str(out, &row.word);
                put_str(out, &row.text);
            }
        }
    }

    pub(crate) fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match r.u8()? {
            0 => Self::Entry {
                name: r.str()?.to_owned(),
                value: r.opt_str()?.map(str::to_owned),
            },
            1 => Self::Later(LaterRow {
                key: RecipientKey {
                    id: mail::QueueId::from_u64(r.u64()?),
                    recipient: r.varint_u32()?,
                },
                at: Timestamp::from_millis(r.varint()?),
                word: r.str()?.to_owned(),
                text: r.str()?.to_owned(),
            }),
            _ => return Err(DecodeError::Unknown("kind of note")),
        })
    }
}
