//! Down-conversion: a content in the form that a host without BINARYMIME, 8BITMIME or SMTPUTF8 can
//! take (RFC 3030 §3, RFC 6152 §3, RFC 2045 §6, RFC 2047, RFC 6857).
//!
//! A host without BINARYMIME gets lines: text with its line ends mended, all else in base64, octet
//! for octet.
//! A host that refuses long lines gets short ones, and so does everybody where the mail is its author's
//! own. A host without 8BITMIME gets every octet in ASCII: parts in quoted-printable or base64, header
//! fields in encoded words. A host with 8BITMIME and without SMTPUTF8 gets the header in ASCII and
//! the body as it is. What is ASCII already is never touched, and what has been signed as a part
//! (S/MIME, PGP) is not changed: such a mail is refused. A DKIM signature breaks by a conversion;
//! whether that is wanted is the administrator's to say ([`Signatures`]).

mod addresses;
mod authors;
mod entity;
mod field;
mod folded;
mod lexer;
mod lines;
mod parameters;
mod short;

use std::fmt;

use bytes::Bytes;
use mail::{BodyType, Headers};
use smtp::extension::{Extension, Extensions};

pub use authors::{Rewritten, has_sender, rewrite_senders};
use entity::{Goal, Place, Walk};
pub use short::is_about_line_length;

use crate::obstacle::Obstacle;
use crate::protocol::Protocol;
use crate::transaction::Transaction;

/// What a host needs done to a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Conversion {
    /// The header in ASCII, for a host without SMTPUTF8.
    Header,
    /// Everything in ASCII, for a host without 8BITMIME.
    Whole,
    /// A binary body in lines, which may have octets above 127.
    Lines,
    /// The same, and the header in ASCII.
    LinesAndHeader,
    /// A binary body and the header in lines of ASCII.
    LinesInAscii,
    /// No line longer than 998 octets (RFC 5322 §2.1.1): parts with such lines are encoded, header
    /// fields folded. Messages within, and what is signed or encrypted as a part, stay.
    Short,
}

impl Conversion {
    const fn goal(self) -> Goal {
        let (header, ascii, lines) = match self {
            Self::Short => (false, false, false),
            Self::Header => (true, false, false),
            Self::Whole => (true, true, false),
            Self::Lines => (false, false, true),
            Self::LinesAndHeader => (true, false, true),
            Self::LinesInAscii => (true, true, true),
        };
        Goal {
            header,
            ascii,
            lines,
            short: matches!(self, Self::Short),
        }
    }
}

/// Whether a content may be changed that bears a DKIM signature, which does not hold after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signatures {
    /// The mail arrives, its signature does not hold.
    MayBreak,
    /// The mail is refused.
    Hold,
}

/// A content that a host can take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The content.
    pub content: Bytes,
    /// Bodies of parts that are in another encoding now.
    pub parts: usize,
    /// Header fields that are in ASCII now.
    pub fields: usize,
    /// It bears a DKIM signature, which does not hold any more.
    pub signed: bool,
    /// It still has octets above 127.
    pub eight_bit: bool,
    /// What was done.
    pub conversion: Conversion,
}

impl Converted {
    /// What the content needs now that needed `before`.
    #[must_use]
    pub const fn body_type(&self, before: BodyType) -> BodyType {
        match (before, self.conversion, self.eight_bit) {
            (
                BodyType::BinaryMime,
                Conversion::Header | Conversion::Whole | Conversion::Short,
                _,
            ) => before,
            (_, _, true) => BodyType::EightBitMime,
            (_, _, false) => BodyType::SevenBit,
        }
    }
}

impl fmt::Display for Converted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = |n: usize| if n == 1 { "" } else { "s" };
        let (parts, fields) = (self.parts, self.fields);
        let done = match self.conversion {
            Conversion::Short => "folded, for lines of more than 998 octets",
            Conversion::Header
            | Conversion::Whole
            | Conversion::Lines
            | Conversion::LinesAndHeader
            | Conversion::LinesInAscii => "converted to ASCII",
        };
        write!(
            f,
            "content converted: {parts} part{} encoded, {fields} header field{} {done}",
            many(parts),
            many(fields)
        )?;
        match self.signed {
            true => f.write_str("; its DKIM signature may no longer be valid"),
            false => Ok(()),
        }
    }
}

/// What must be done to the content for a host with these extensions; `None`: nothing.
#[must_use]
pub(crate) fn needed(
    transaction: &Transaction,
    host: &Extensions,
    protocol: Protocol,
) -> Option<Conversion> {
    if !protocol.needs_extensions() {
        let is_binary = transaction.body == BodyType::BinaryMime;
        return (is_binary && !takes_binary(host)).then_some(Conversion::Lines);
    }
    let header = transaction.utf8_header && !host.has(Extension::SmtpUtf8);
    let eight_bit = host.has(Extension::EightBitMime);
    match transaction.body {
        BodyType::BinaryMime if !takes_binary(host) => Some(match (eight_bit, header) {
            (false, _) => Conversion::LinesInAscii,
            (true, true) => Conversion::LinesAndHeader,
            (true, false) => Conversion::Lines,
        }),
        BodyType::EightBitMime if !eight_bit => Some(Conversion::Whole),
        BodyType::SevenBit | BodyType::EightBitMime | BodyType::BinaryMime => {
            header.then_some(Conversion::Header)
        }
    }
}

/// Whether a host takes content that is not made of lines (RFC 3030 §3).
pub(crate) const fn takes_binary(host: &Extensions) -> bool {
    host.has(Extension::BinaryMime) && host.has(Extension::Chunking)
}

impl Transaction {
    /// The transaction with the content converted, or with the reason why it cannot be: then it
    /// is refused where the host cannot take it.
    #[must_use]
    pub fn converted(mut self, outcome: &Result<Converted, Obstacle>) -> Self {
        if let Ok(converted) = outcome {
            self.content = converted.content.clone();
            self.body = converted.body_type(self.body);
            self.utf8_header &= converted.conversion == Conversion::Short;
        }
        self.conversion = Some(outcome.as_ref().map(ToString::to_string).map_err(|o| *o));
        self
    }
}

/// Whether a field is a signature of the content by its header and body.
fn is_signature(name: &[u8]) -> bool {
    let names = [
        "DKIM-Signature",
        "DomainKey-Signature",
        "ARC-Message-Signature",
    ];
    names
        .iter()
        .any(|n| name.eq_ignore_ascii_case(n.as_bytes()))
}

/// Converts a content. It takes time and memory in proportion to the content, and does not change
/// what it has made itself.
///
/// # Errors
/// What stands in the way.
pub fn convert(
    content: &Bytes,
    conversion: Conversion,
    signatures: Signatures,
) -> Result<Converted, Obstacle> {
    let signed = Headers::new(content).any(|field| is_signature(field.name));
    if signed && signatures == Signatures::Hold {
        return Err(Obstacle(
            "it is signed (DKIM), and the setting outgoing.convert_signed forbids it",
        ));
    }
    let mut walk = Walk::new(content.len(), conversion.goal());
    walk.entity(content, Place::Message, 0)?;
    walk.end();
    Ok(Converted {
        eight_bit: !walk.out.is_ascii(),
        content: Bytes::from(walk.out),
        parts: walk.parts,
        fields: walk.fields,
        signed,
        conversion,
    })
}

#[cfg(test)]
mod tests;
