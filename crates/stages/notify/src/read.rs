//! Reading what others report: bounces (RFC 3464 in RFC 6522) and complaints (RFC 5965).
//!
//! It is a stranger's text, read as far as it goes and never trusted: which message it is about says
//! the signed address that it came to. Texts that are kept are cut and made printable.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use mail::{Address, EnhancedCode, Headers, body_offset, find_header, from_quoted_printable};

use crate::text::printable;

/// Recipients of one report that are read.
const RECIPIENTS_MAX: usize = 1000;
/// Octets of a text that are kept.
const TEXT_MAX: usize = 500;
/// Parts of a report that are looked at.
const PARTS_MAX: usize = 20;

/// What somebody reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Returned {
    /// What became of recipients.
    Status(Vec<Fate>),
    /// Somebody does not want the mail.
    Complaint(Box<Complaint>),
    /// It has no part for machines.
    Unreadable,
}

/// What became of a recipient (RFC 3464 §2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// Final-Recipient, where it is an address of mail.
    pub recipient: Option<Address>,
    /// Original-Recipient, where it is an address of mail.
    pub original: Option<Address>,
    /// Action.
    pub action: Action,
    /// Status.
    pub status: Option<EnhancedCode>,
    /// Diagnostic-Code without its type; empty for none.
    pub diagnostic: String,
    /// Remote-MTA without its type; else Reporting-MTA; empty for none.
    pub host: String,
}

/// Action (RFC 3464 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// It failed for good.
    Failed,
    /// It is late, and tried again.
    Delayed,
    /// It arrived.
    Delivered,
    /// It went on to where no reports come from.
    Relayed,
    /// It went on to several.
    Expanded,
}

impl Action {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Failed,
        Self::Delayed,
        Self::Delivered,
        Self::Relayed,
        Self::Expanded,
    ];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
        }
    }
}

/// What a feedback loop says (RFC 5965 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Feedback-Type: `abuse`, `fraud`, `virus`, `other`, `not-spam`, …; in lower case.
    pub kind: String,
    /// Who reports: User-Agent, or Source-IP; empty for none.
    pub agent: String,
    /// Original-Rcpt-To: whose complaint it is.
    pub recipients: Vec<Address>,
    /// Addresses that may be the return path the mail was sent with: Original-Mail-From, and
    /// Return-Path of the returned message.
    pub return_paths: Vec<Address>,
}

/// Reads a report.
#[must_use]
pub fn read(content: &[u8]) -> Returned {
    let mut status = None;
    let mut feedback = None;
    let mut returned_header = Cow::default();
    for part in parts(content) {
        let body = || decoded(part);
        match media_type(part).as_str() {
            "message/delivery-status" | "message/global-delivery-status" => {
                status.get_or_insert_with(body);
            }
            "message/feedback-report" => {
                feedback.get_or_insert_with(body);
            }
            "message/rfc822"
            | "message/global"
            | "text/rfc822-headers"
            | "message/global-headers" => returned_header = body(),
            _ => {}
        }
    }
    if let Some(fields) = feedback {
        return Returned::Complaint(Box::new(complaint(&fields, &returned_header)));
    }
    let fates = status.map(|fields| fates(&fields)).unwrap_or_default();
    match fates.is_empty() {
        false => Returned::Status(fates),
        true => Returned::Unreadable,
    }
}

/// The value of a field, unfolded, in printable ASCII, cut.
fn value(fields: &[u8], name: &str) -> Option<String> {
    find_header(fields, name).map(|h| text(h.value))
}

fn text(octets: &[u8]) -> String {
    let whole = String::from_utf8_lossy(octets);
    let words: Vec<&str> = whole.split_ascii_whitespace().collect();
    let mut text = printable(&words.join(" "));
    text.truncate(TEXT_MAX);
    text
}

/// The body of a part, its encoding undone. RFC 3464 §2.1.1 wants none, and some servers use one all
/// the same.
fn decoded(part: &[u8]) -> Cow<'_, [u8]> {
    let body = part.get(body_offset(part)..).unwrap_or_default();
    let encoding = value(part, "Content-Transfer-Encoding").unwrap_or_default();
    match encoding.trim().to_ascii_lowercase().as_str() {
        "quoted-printable" => Cow::Owned(from_quoted_printable(body)),
        "base64" => {
            let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
            let text: Vec<u8> = body.iter().copied().filter(is_base64).collect();
            // What is not base64 is read as it stands.
            let octets = STANDARD_NO_PAD.decode(&text);
            octets.map_or(Cow::Borrowed(body), Cow::Owned)
        }
        _ => Cow::Borrowed(body),
    }
}

/// The media type of an entity, in lower case.
fn media_type(entity: &[u8]) -> String {
    let field = value(entity, "Content-Type").unwrap_or_default();
    let kind = field.split(';').next().unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

/// The parts of a multipart/report; none of anything else.
fn parts(content: &[u8]) -> Vec<&[u8]> {
    if media_type(content) != "multipart/report" {
        return Vec::new();
    }
    let field = value(content, "Content-Type").unwrap_or_default();
    let Some(boundary) = parameter(&field, "boundary").filter(|b| !b.is_empty()) else {
        return Vec::new();
    };
    let delimiter = format!("--{boundary}").into_bytes();
    let body = content.get(body_offset(content)..).unwrap_or_default();
    let mut parts = Vec::new();
    let mut begin: Option<usize> = None;
    let mut at = 0;
    for line in body.split_inclusive(|b| *b == b'\n') {
        let next = at + line.len();
        if let Some(rest) = line.trim_ascii_end().strip_prefix(delimiter.as_slice()) {
            let last = rest == b"--";
            if last || rest.is_empty() {
                if let Some(part) = begin.and_then(|from| body.get(from..at)) {
                    parts.push(part);
                }
                begin = (!last).then_some(next);
            }
            if last || parts.len() >= PARTS_MAX {
                return parts;
            }
        }
        at = next;
    }
    // Where the last delimiter is missing, the last part ends with the text.
    parts.extend(begin.and_then(|from| body.get(from..)));
    parts
}

/// A parameter of a structured field that is one line (RFC 2045 §5.1); comments are not looked for.
fn parameter(field: &str, name: &str) -> Option<String> {
    let mut rest = field.split_once(';')?.1;
    loop {
        let (key, behind) = rest.split_once('=')?;
        let behind = behind.trim_start();
        let (found, next) = match behind.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => match behind.split_once(';') {
                Some((value, next)) => (value.trim().to_owned(), next),
                None => (behind.trim().to_owned(), ""),
            },
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(found);
        }
        rest = next.trim_start().trim_start_matches(';');
    }
}

/// A quoted string after its first quote, and what follows it.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, text.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// The fields about each recipient: blocks after the first, which is about the message.
fn fates(fields: &[u8]) -> Vec<Fate> {
    let mut blocks = blocks(fields).into_iter();
    let about = blocks.next().unwrap_or_default();
    let reporting = typed(value(about, "Reporting-MTA").unwrap_or_default());
    blocks
        .filter_map(|block| fate(block, &reporting))
        .take(RECIPIENTS_MAX)
        .collect()
}

/// Groups of fields between empty lines.
fn blocks(fields: &[u8]) -> Vec<&[u8]> {
    let mut blocks = Vec::new();
    let mut rest = fields;
    while !rest.is_empty() && blocks.len() <= RECIPIENTS_MAX {
        let end = body_offset(rest);
        let (block, next) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        if !block.trim_ascii().is_empty() {
            blocks.push(block);
        }
        rest = next;
    }
    blocks
}

fn fate(block: &[u8], reporting: &str) -> Option<Fate> {
    let word = value(block, "Action")?.to_ascii_lowercase();
    // A comment may follow.
    let word = word.split([' ', '(']).next().unwrap_or_default();
    let action = Action::ALL.into_iter().find(|a| a.word() == word)?;
    let status = value(block, "Status").and_then(|s| s.split([' ', '(']).next()?.parse().ok());
    let remote = typed(value(block, "Remote-MTA").unwrap_or_default());
    Some(Fate {
        recipient: mailbox(block, "Final-Recipient"),
        original: mailbox(block, "Original-Recipient"),
        action,
        status,
        diagnostic: typed(value(block, "Diagnostic-Code").unwrap_or_default()),
        host: match remote.is_empty() {
            true => reporting.to_owned(),
            false => remote,
        },
    })
}

/// What stands after `type;`.
fn typed(text: String) -> String {
    match text.split_once(';') {
        Some((_, behind)) => behind.trim().to_owned(),
        None => text,
    }
}

/// The address of a field `type; address`.
fn mailbox(block: &[u8], name: &str) -> Option<Address> {
    let field = find_header(block, name)?;
    let value = std::str::from_utf8(field.value).ok()?;
    let (_, behind) = value.split_once(';')?;
    bracketed(behind)
}

/// An address, in angle brackets or without.
fn bracketed(text: &str) -> Option<Address> {
    let text = text.trim();
    let inner = text.strip_prefix('<').and_then(|t| t.strip_suffix('>'));
    Address::parse(inner.unwrap_or(text)).ok()
}

fn complaint(fields: &[u8], returned_header: &[u8]) -> Complaint {
    // The fields stand in one block (RFC 5965 §2); an empty line in front is not minded.
    let fields = blocks(fields).into_iter().next().unwrap_or_default();
    let kind = value(fields, "Feedback-Type").unwrap_or_default();
    let agent = value(fields, "User-Agent").or_else(|| value(fields, "Source-IP"));
    let address = |field: mail::Header<'_>| bracketed(std::str::from_utf8(field.value).ok()?);
    let of = |name: &'static str| {
        Headers::new(fields)
            .filter(move |h| h.is(name))
            .filter_map(address)
    };
    let returned = Headers::new(returned_header).filter(|h| h.is("Return-Path"));
    let return_paths = of("Original-Mail-From").chain(returned.filter_map(address));
    Complaint {
        kind: kind.to_ascii_lowercase(),
        agent: agent.unwrap_or_default(),
        recipients: of("Original-Rcpt-To").take(RECIPIENTS_MAX).collect(),
        return_paths: return_paths.take(RECIPIENTS_MAX).collect(),
    }
}

#[cfg(test)]
mod tests;
