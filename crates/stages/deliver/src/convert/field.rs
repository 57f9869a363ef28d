//! One header field outside ASCII, in ASCII: what may become encoded words depends on the field
//! (RFC 2047 §5, RFC 6857 §3).

use std::borrow::Cow;

use mail::Header;

use super::folded::{Folded, words};
use super::lexer::{Token, tokens};
use super::{Obstacle, addresses, parameters};

/// A longer field is refused, so that what it takes to convert one is bounded.
const FIELD_MAX: usize = 256 * 1024;

/// What a field's body is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grammar {
    /// Any text.
    Unstructured,
    /// Mailboxes and groups.
    Addresses,
    /// Words, comments and things in angle brackets that are ASCII.
    Phrases,
    /// URIs in angle brackets (RFC 2369).
    Uris,
    /// A value and parameters (RFC 2045 §5.1, RFC 2183).
    Parameters,
    /// What handed the mail on (RFC 5321 §4.4).
    Trace,
    /// Anything else: only comments may be encoded.
    Structured,
    /// As `Structured`, and the field cannot be put aside.
    Vital,
}

fn grammar(field: &Header<'_>) -> Grammar {
    let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
    match name.as_str() {
        "from"
        | "sender"
        | "reply-to"
        | "to"
        | "cc"
        | "bcc"
        | "resent-from"
        | "resent-sender"
        | "resent-reply-to"
        | "resent-to"
        | "resent-cc"
        | "resent-bcc"
        | "apparently-to"
        | "disposition-notification-to"
        | "return-receipt-to"
        | "errors-to"
        | "mail-followup-to"
        | "mail-reply-to" => Grammar::Addresses,
        "keywords" | "list-id" | "content-language" => Grammar::Phrases,
        "list-archive" | "list-help" | "list-owner" | "list-post" | "list-subscribe"
        | "list-unsubscribe" | "archived-at" => Grammar::Uris,
        "content-type" | "content-disposition" => Grammar::Parameters,
        "received" => Grammar::Trace,
        "mime-version" | "content-transfer-encoding" => Grammar::Vital,
        "date"
        | "message-id"
        | "in-reply-to"
        | "references"
        | "return-path"
        | "resent-date"
        | "resent-message-id"
        | "content-id"
        | "content-base"
        | "content-location"
        | "auto-submitted"
        | "authentication-results"
        | "arc-authentication-results"
        | "arc-message-signature"
        | "arc-seal"
        | "dkim-signature"
        | "domainkey-signature"
        | "received-spf"
        | "original-recipient"
        | "delivered-to"
        | "x-original-to" => Grammar::Structured,
        _ => Grammar::Unstructured,
    }
}

/// The field in ASCII, with its line's end. A field that has no such form is put aside under the
/// name `Downgraded-…`, with its body as text (RFC 6857 §3.1.10).
///
/// # Errors
/// When it has none, and a mail without it would be another mail.
pub(super) fn convert(field: &Header<'_>) -> Result<Vec<u8>, Obstacle> {
    if !field.name.is_ascii() {
        return Err(Obstacle(
            "the name of a header field has non-ASCII characters",
        ));
    }
    if field.raw.len() > FIELD_MAX {
        return Err(Obstacle("a header field is too long to be converted"));
    }
    let body = unfolded(field.value);
    let mut out = Folded::new(field.name);
    let done = match grammar(field) {
        Grammar::Unstructured => {
            unstructured(&mut out, &body);
            true
        }
        Grammar::Addresses => {
            addresses::convert(&mut out, &body);
            true
        }
        Grammar::Phrases => addresses::phrases(&mut out, &body),
        Grammar::Uris => uris(&mut out, &body),
        Grammar::Parameters => return parameters::convert(out, &body),
        Grammar::Trace => {
            trace(&mut out, &body);
            true
        }
        Grammar::Structured => comments(&mut out, &body),
        Grammar::Vital => match comments(&mut out, &body) {
            true => true,
            false => return Err(Obstacle("a MIME header field has non-ASCII characters")),
        },
    };
    if done {
        return Ok(out.end());
    }
    Ok(put_aside(field.name, &body))
}

/// A field of text, as RFC 3464 and RFC 2046 §5.2.3 have them in the bodies of parts.
pub(super) fn convert_text(field: &Header<'_>) -> Result<Vec<u8>, Obstacle> {
    if !field.name.is_ascii() || field.raw.len() > FIELD_MAX {
        return Err(Obstacle("a field of a report cannot be converted to ASCII"));
    }
    let mut out = Folded::new(field.name);
    unstructured(&mut out, &unfolded(field.value));
    Ok(out.end())
}

fn put_aside(name: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = Folded::new(&[b"Downgraded-", name].concat());
    unstructured(&mut out, body);
    out.end()
}

pub(super) fn unfolded(value: &[u8]) -> Vec<u8> {
    let mut body = value.to_vec();
    body.retain(|b| !matches!(b, b'\r' | b'\n'));
    body
}

fn unstructured(out: &mut Folded, body: &[u8]) {
    let list = words(body).filter(|(_, word)| !word.is_empty());
    let list: Vec<Word<'_>> = list.map(|(space, word)| Word::plain(space, word)).collect();
    write_words(out, &list);
}

/// A word of a text or a phrase.
#[derive(Debug, Clone)]
pub(super) struct Word<'a> {
    /// The white space before it.
    pub(super) space: &'a [u8],
    /// As it stands there.
    pub(super) raw: &'a [u8],
    /// As it is meant: quotes and escapes undone.
    pub(super) text: Cow<'a, [u8]>,
}

impl<'a> Word<'a> {
    pub(super) const fn plain(space: &'a [u8], word: &'a [u8]) -> Self {
        Self {
            space,
            raw: word,
            text: Cow::Borrowed(word),
        }
    }

    fn is_encoded(&self) -> bool {
        self.raw.starts_with(b"=?") && self.raw.ends_with(b"?=")
    }
}

/// Words in their order; neighbours outside ASCII become one run of encoded words, with the white
/// space between them inside, because readers drop it between encoded words (RFC 2047 §6.2).
pub(super) fn write_words(out: &mut Folded, list: &[Word<'_>]) {
    let mut list = list.iter().peekable();
    let mut behind_encoded = false;
    while let Some(word) = list.next() {
        // An encoded word needs white space before it, at the beginning too.
        let space = if word.space.is_empty() {
            b" "
        } else {
            word.space
        };
        if word.raw.is_ascii() {
            out.word(word.space, word.raw);
            behind_encoded = word.is_encoded();
            continue;
        }
        let mut text = Vec::new();
        if behind_encoded {
            text.extend_from_slice(space);
        }
        text.extend_from_slice(&word.text);
        while let Some(next) = list.next_if(|next| !next.raw.is_ascii()) {
            text.extend_from_slice(next.space);
            text.extend_from_slice(&next.text);
        }
        if let Some(next) = list.peek().filter(|next| next.is_encoded()) {
            text.extend_from_slice(next.space);
        }
        out.encoded(space, &text);
        behind_encoded = true;
    }
}

/// A comment with its parentheses.
pub(super) fn comment(out: &mut Folded, space: &[u8], raw: &[u8]) {
    if raw.is_ascii() {
        return out.word(space, raw);
    }
    let inner = raw.strip_prefix(b"(").unwrap_or(raw);
    let inner = inner.strip_suffix(b")").unwrap_or(inner);
    out.word(space, b"(");
    out.encoded(b"", &unescaped(inner));
    out.word(b"", b")");
}

/// Quoted pairs undone (RFC 5322 §3.2.1).
pub(super) fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut escaped = false;
    let mut out = Vec::with_capacity(text.len());
    for b in text {
        escaped = *b == b'\\' && !escaped;
        if !escaped {
            out.push(*b);
        }
    }
    out
}

/// Only comments are encoded; false when anything else is outside ASCII.
fn comments(out: &mut Folded, body: &[u8]) -> bool {
    let mut space: &[u8] = b"";
    for token in tokens(body) {
        match token {
            Token::Space(s) => {
                space = s;
                continue;
            }
            Token::Comment(raw) => comment(out, space, raw),
            other if other.raw().is_ascii() => out.word(space, other.raw()),
            Token::Atom(_)
            | Token::Quoted(_)
            | Token::Angle(_)
            | Token::Literal(_)
            | Token::Special(_) => return false,
        }
        space = b"";
    }
    true
}

fn uris(out: &mut Folded, body: &[u8]) -> bool {
    let mut space: &[u8] = b"";
    for token in tokens(body) {
        match token {
            Token::Space(s) => {
                space = s;
                continue;
            }
            Token::Comment(raw) => comment(out, space, raw),
            other if other.raw().is_ascii() => out.word(space, other.raw()),
            // An IRI as a URI (RFC 3987 §3.1).
            Token::Angle(raw) => out.word(space, &percent_encoded(raw, |b| b.is_ascii())),
            Token::Atom(_) | Token::Quoted(_) | Token::Literal(_) | Token::Special(_) => {
                return false;
            }
        }
        space = b"";
    }
    true
}

/// Octets as they are where they may be, else as `%XX`.
pub(super) fn percent_encoded(text: &[u8], is_plain: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 2);
    for b in text {
        match is_plain(*b) {
            true => out.push(*b),
            false => out.extend_from_slice(format!("%{b:02X}").as_bytes()),
        }
    }
    out
}

/// Received: names become A-labels, a recipient that has no form in ASCII is left out
/// (RFC 6857 §3.1.9 drops the clause as well).
fn trace(out: &mut Folded, body: &[u8]) {
    let list: Vec<Token<'_>> = tokens(body).collect();
    let mut space: &[u8] = b"";
    let mut rest = list.iter().peekable();
    while let Some(token) = rest.next() {
        if let Token::Space(s) = token {
            space = s;
            continue;
        }
        if token.is_word("for") {
            let mut ahead = rest.clone();
            let blank = ahead.next_if(|t| matches!(t, Token::Space(_)));
            if ahead.peek().is_some_and(|t| ascii_path(t.raw()).is_none()) {
                rest.next();
                if blank.is_some() {
                    rest.next();
                }
                space = b"";
                continue;
            }
        }
        if let Token::Comment(raw) = token {
            comment(out, space, raw);
        } else {
            let shown = ascii_path(token.raw());
            out.word(space, &shown.unwrap_or_else(|| question_marks(token.raw())));
        }
        space = b"";
    }
}

fn ascii_path(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.is_ascii() {
        return Some(raw.to_vec());
    }
    match raw.strip_prefix(b"<").and_then(|r| r.strip_suffix(b">")) {
        Some(inner) => {
            let inner = addresses::ascii_address(inner)?;
            Some([b"<", inner.as_slice(), b">"].concat())
        }
        None => addresses::ascii_domain(raw).or_else(|| addresses::ascii_address(raw)),
    }
}

fn question_marks(raw: &[u8]) -> Vec<u8> {
    let shown = |b: &u8| if b.is_ascii() { *b } else { b'?' };
    raw.iter().map(shown).collect()
}
