//! The form of a drop's file, version 1.
//!
//! ```text
//! sendoff-drop 1 ENVELOPE CONTENT CHECKSUM\n
//! the envelope as JSON, ENVELOPE octets
//! the content, CONTENT octets
//! ```
//!
//! CHECKSUM is the CRC-32C of all behind the first line, in hexadecimal. A file that is shorter,
//! longer or other than this is damaged as a whole. The form says nothing of who wrote it.

use bytes::Bytes;
use mail::{ByMode, DeliverBy, Terms, Timestamp};
use serde::{Deserialize, Serialize};

const MAGIC: &str = "sendoff-drop";
const VERSION: &str = "1";
/// The first line is no longer than this.
const FIRST_LINE_MAX: usize = 100;

/// A mail on its way from a program to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drop {
    /// Its name for life: unguessable, and the same through every retry.
    pub id: String,
    /// When it was written, in milliseconds since 1970, by the writer's clock.
    pub written: u64,
    /// Whose mail it is.
    pub sender: Sender,
    /// What the From field calls the sender, where the mail has none.
    pub full_name: Option<String>,
    /// To whom it goes.
    pub recipients: Vec<To>,
    /// RET: whether a failure message returns the whole mail.
    pub return_full: Option<bool>,
    /// ENVID, in xtext.
    pub env_id: Option<String>,
    /// What was asked about time and order.
    #[serde(default)]
    pub asked: Asked,
}

/// What was asked about time and order (see [`mail::Terms`]); times in milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    not_before: Option<u64>,
    by: Option<u64>,
    /// Behind that time it is told and tried on, not given back.
    by_notify: bool,
    by_trace: bool,
    priority: i8,
    require_tls: bool,
}

impl From<Terms> for Asked {
    fn from(terms: Terms) -> Self {
        let by = terms.deliver_by;
        Self {
            not_before: terms.not_before.map(Timestamp::as_millis),
            by: by.map(|by| by.by.as_millis()),
            by_notify: by.is_some_and(|by| by.mode == ByMode::Notify),
            by_trace: by.is_some_and(|by| by.trace),
            priority: terms.priority,
            require_tls: terms.require_tls,
        }
    }
}

impl From<&Asked> for Terms {
    fn from(asked: &Asked) -> Self {
        Self {
            not_before: asked.not_before.map(Timestamp::from_millis),
            deliver_by: asked.by.map(|by| DeliverBy {
                by: Timestamp::from_millis(by),
                mode: match asked.by_notify {
                    true => ByMode::Notify,
                    false => ByMode::Return,
                },
                trace: asked.by_trace,
            }),
            priority: asked.priority.clamp(-9, 9),
            require_tls: asked.require_tls,
        }
    }
}

/// The reverse-path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sender {
    /// The file's owner at this server.
    Owner,
    /// `<>`.
    Null,
    /// This address; without a domain, at this server.
    Address(String),
}

/// A recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct To {
    /// The address; without a domain, at this server.
    pub address: String,
    /// The bits of NOTIFY.
    pub notify: u8,
    /// ORCPT, in xtext with the address type.
    pub orcpt: Option<String>,
}

/// Why a file is not a drop.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    #[error("it does not start like a drop file")]
    NoDrop,
    #[error("it has version {0}, but this server reads version {VERSION}")]
    Version(String),
    #[error("its length is wrong: it was truncated, or changed later")]
    Length,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("its envelope cannot be read: {0}")]
    Envelope(#[from] serde_json::Error),
}

impl Drop {
    /// The whole file but its content, which stands behind it.
    pub fn head(&self, content: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
        let envelope = serde_json::to_vec(self)?;
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&envelope), content);
        let first = format!(
            "{MAGIC} {VERSION} {} {} {checksum:08x}\n",
            envelope.len(),
            content.len()
        );
        Ok([first.as_bytes(), &envelope].concat())
    }

    /// Reads a whole file.
    pub fn read(file: &Bytes) -> Result<(Self, Bytes), FormError> {
        let first = FirstLine::read(file)?;
        let rest = file.slice(first.len..);
        if first.envelope.checked_add(first.content) != Some(rest.len() as u64) {
            return Err(FormError::Length);
        }
        if crc32c::crc32c(&rest) != first.checksum {
            return Err(FormError::Checksum);
        }
        Self::split(&rest, first.envelope)
    }

    /// Reads the beginning of a file of `size` octets that is too large to be read whole: enough to
    /// tell its sender. The checksum says nothing yet.
    pub fn read_beginning(file: &Bytes, size: u64) -> Result<(Self, Bytes), FormError> {
        let first = FirstLine::read(file)?;
        let behind = first.envelope.checked_add(first.content);
        if behind != size.checked_sub(first.len as u64) {
            return Err(FormError::Length);
        }
        Self::split(&file.slice(first.len..), first.envelope)
    }

    fn split(rest: &Bytes, envelope: u64) -> Result<(Self, Bytes), FormError> {
        let envelope = usize::try_from(envelope).unwrap_or(usize::MAX);
        let head = rest.get(..envelope).ok_or(FormError::Length)?;
        Ok((serde_json::from_slice(head)?, rest.slice(envelope..)))
    }
}

/// What the first line says.
struct FirstLine {
    /// Octets of the line, with its end.
    len: usize,
    envelope: u64,
    content: u64,
    checksum: u32,
}

impl FirstLine {
    fn read(file: &[u8]) -> Result<Self, FormError> {
        let start = file.get(..FIRST_LINE_MAX.min(file.len()));
        let start = start.unwrap_or_default();
        let end = memchr::memchr(b'\n', start).ok_or(FormError::NoDrop)?;
        let line = start.get(..end).unwrap_or_default();
        let line = std::str::from_utf8(line).map_err(|_| FormError::NoDrop)?;
        let mut words = line.split(' ');
        if words.next() != Some(MAGIC) {
            return Err(FormError::NoDrop);
        }
        let version = words.next().unwrap_or_default();
        if version != VERSION {
            return Err(FormError::Version(version.to_owned()));
        }
        let mut length = || words.next()?.parse::<u64>().ok();
        let (envelope, content) = length().zip(length()).ok_or(FormError::NoDrop)?;
        let checksum = words.next().and_then(|w| u32::from_str_radix(w, 16).ok());
        Ok(Self {
            len: end + 1,
            envelope,
            content,
            checksum: checksum.ok_or(FormError::NoDrop)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Drop {
        Drop {
            id: "06ggx1tq001-00112233445566778899aabbccddeeff".to_owned(),
            written: 1_795_359_059_000,
            sender: Sender::Owner,
            full_name: Some("Ann Onym".to_owned()),
            recipients: vec![To {
                address: "someone@example.net".to_owned(),
                notify: 4,
                orcpt: None,
            }],
            return_full: Some(false),
            env_id: None,
            asked: Terms {
                require_tls: true,
                not_before: Some(Timestamp::from_secs(1)),
                deliver_by: None,
                priority: -3,
            }
            .into(),
        }
    }

    fn file(drop: &Drop, content: &[u8]) -> Vec<u8> {
        [&drop.head(content).unwrap(), content].concat()
    }

    #[test]
    fn what_is_written_is_read() {
        for content in [&b""[..], b"Subject: x\r\n\r\nsendoff-drop 1 0 0 0\n\xff"] {
            let file = Bytes::from(file(&example(), content));
            let (drop, read) = Drop::read(&file).unwrap();
            assert_eq!((drop, &read[..]), (example(), content));
        }
    }

    #[test]
    fn no_part_and_no_change_of_a_file_passes_for_a_drop() {
        let whole = file(&example(), b"Subject: x\r\n\r\nHello.\r\n");
        for len in 0..whole.len() {
            let part = Bytes::copy_from_slice(&whole[..len]);
            assert!(Drop::read(&part).is_err(), "{len}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            let read = Drop::read(&Bytes::from(changed));
            assert!(read.is_err(), "octet {at}");
        }
        let longer = [&whole[..], b"x"].concat();
        assert!(matches!(
            Drop::read(&Bytes::from(longer)),
            Err(FormError::Length)
        ));
    }
}
