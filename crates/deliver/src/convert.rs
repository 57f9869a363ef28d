//! Down-conversion: a content in the form that a host without 8BITMIME or SMTPUTF8 can take
//! (RFC 6152 §3, RFC 2045 §6, RFC 2047, RFC 6857).
//!
//! A host without 8BITMIME gets every octet in ASCII: parts in quoted-printable or base64, header
//! fields in encoded words. A host with 8BITMIME and without SMTPUTF8 gets the header in ASCII and
//! the body as it is. What is ASCII already is never touched, and what has been signed as a part
//! (S/MIME, PGP) is not changed: such a mail is refused. A DKIM signature breaks by a conversion;
//! whether that is wanted is the administrator's to say ([`Signatures`]).

mod addresses;
mod entity;
mod field;
mod folded;
mod lexer;
mod parameters;

use std::fmt;

use bytes::Bytes;
use mail::Headers;
use smtp::extension::{Extension, Extensions};

use entity::{Extent, Place, Walk};

use crate::transaction::Transaction;

/// What a host needs done to a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Conversion {
    /// The header in ASCII, for a host without SMTPUTF8.
    Header,
    /// Everything in ASCII, for a host without 8BITMIME.
    Whole,
}

/// Whether a content may be changed that bears a DKIM signature, which does not hold behind it.
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
}

impl fmt::Display for Converted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = |n: usize| if n == 1 { "" } else { "s" };
        let (parts, fields) = (self.parts, self.fields);
        write!(
            f,
            "content converted: {parts} part{} encoded, {fields} header field{} put into ASCII",
            many(parts),
            many(fields)
        )?;
        match self.signed {
            true => f.write_str("; its DKIM signature may not hold any more"),
            false => Ok(()),
        }
    }
}

/// Why a content cannot be converted: a clause that goes on from "it cannot be converted:".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Obstacle(&'static str);

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What must be done to the content for a host with these extensions; `None`: nothing.
#[must_use]
pub fn needed(transaction: &Transaction, host: &Extensions) -> Option<Conversion> {
    if transaction.eight_bit && !host.has(Extension::EightBitMime) {
        Some(Conversion::Whole)
    } else if transaction.utf8_header && !host.has(Extension::SmtpUtf8) {
        Some(Conversion::Header)
    } else {
        None
    }
}

impl Transaction {
    /// The transaction with the content converted, or with the reason why it cannot be: then it
    /// is refused where the host cannot take it.
    #[must_use]
    pub fn converted(mut self, outcome: &Result<Converted, Obstacle>) -> Self {
        if let Ok(converted) = outcome {
            self.content = converted.content.clone();
            self.eight_bit = converted.eight_bit;
            self.utf8_header = false;
        }
        self.conversion = Some(outcome.as_ref().map(ToString::to_string).map_err(|o| *o));
        self
    }
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
    let is_signature = |name: &[u8]| {
        let names = [
            "DKIM-Signature",
            "DomainKey-Signature",
            "ARC-Message-Signature",
        ];
        names
            .iter()
            .any(|n| name.eq_ignore_ascii_case(n.as_bytes()))
    };
    let signed = Headers::new(content).any(|field| is_signature(field.name));
    if signed && signatures == Signatures::Hold {
        return Err(Obstacle(
            "it is signed (DKIM), and the setting outgoing.convert_signed forbids it",
        ));
    }
    let extent = match conversion {
        Conversion::Header => Extent::Header,
        Conversion::Whole => Extent::Whole,
    };
    let mut walk = Walk::new(content.len());
    walk.entity(content, Place::Message, extent, 0)?;
    Ok(Converted {
        eight_bit: !walk.out.is_ascii(),
        content: Bytes::from(walk.out),
        parts: walk.parts,
        fields: walk.fields,
        signed,
    })
}

#[cfg(test)]
mod tests;
