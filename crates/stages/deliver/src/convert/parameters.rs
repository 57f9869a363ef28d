//! Content-Type and Content-Disposition: what they say, and their parameters in ASCII (RFC 2231).

use super::Obstacle;
use super::field::{percent_encoded, unescaped};
use super::folded::Folded;
use super::lexer::{Token, tokens};

/// A longer parameter is split into sections (RFC 2231 §3).
const SECTION_MAX: usize = 56;

/// So much of a Content-Type is looked at, in octets.
const TYPE_MAX: usize = 64 * 1024;

/// What a Content-Type says (RFC 2045 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContentType {
    /// In lower case: `text`.
    pub(super) main: String,
    /// In lower case: `plain`.
    pub(super) sub: String,
    pub(super) boundary: Option<Vec<u8>>,
    pub(super) has_charset: bool,
}

impl ContentType {
    pub(super) fn new(main: &str, sub: &str) -> Self {
        Self {
            main: main.to_owned(),
            sub: sub.to_owned(),
            boundary: None,
            has_charset: false,
        }
    }

    pub(super) fn is(&self, main: &str, sub: &str) -> bool {
        self.main == main && self.sub == sub
    }

    /// Reads a field's body; `None` when it is none (RFC 2045 §5.2: then it is plain text).
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let body: Vec<u8> = body
            .get(..TYPE_MAX)
            .unwrap_or(body)
            .iter()
            .copied()
            .filter(|b| !b"\r\n".contains(b))
            .collect();
        let mut pieces = pieces(&body).into_iter();
        let kind = pieces.next()?;
        let kind = String::from_utf8(bare(kind)).ok()?.to_ascii_lowercase();
        let (main, sub) = kind.split_once('/')?;
        let mut found = Self::new(main, sub);
        for (name, value) in pieces.filter_map(parameter) {
            if name.eq_ignore_ascii_case(b"boundary") {
                found.boundary.get_or_insert(value);
            } else if name.to_ascii_lowercase().starts_with(b"charset") {
                found.has_charset = true;
            }
        }
        Some(found)
    }
}

/// The body without comments and blanks.
pub(super) fn bare(body: &[u8]) -> Vec<u8> {
    tokens(body)
        .filter(|t| !matches!(t, Token::Space(_) | Token::Comment(_)))
        .flat_map(|t| t.raw().to_vec())
        .collect()
}

/// What stands between semicolons.
fn pieces(body: &[u8]) -> Vec<&[u8]> {
    let (mut list, mut begin, mut at) = (Vec::new(), 0, 0);
    for token in tokens(body) {
        let end = at + token.raw().len();
        if token.is_special(b';') {
            list.push(body.get(begin..at).unwrap_or_default());
            begin = end;
        }
        at = end;
    }
    list.push(body.get(begin..).unwrap_or_default());
    list
}

/// `name=value`, quotes undone.
fn parameter(piece: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let at = piece.iter().position(|b| *b == b'=')?;
    let (name, value) = piece.split_at_checked(at)?;
    let value = value.get(1..)?.trim_ascii();
    let value = match value.strip_prefix(b"\"") {
        Some(inner) => {
            let quoted = tokens(value).next().map_or(value, |token| token.raw());
            let inner = inner.get(..quoted.len().saturating_sub(2)).unwrap_or(inner);
            unescaped(inner)
        }
        None => value.to_vec(),
    };
    Some((name.trim_ascii(), value))
}

/// Writes the field; only parameters outside ASCII are changed.
pub(super) fn convert(mut out: Folded, body: &[u8]) -> Result<Vec<u8>, Obstacle> {
    const OBSTACLE: Obstacle = Obstacle("a MIME header field has non-ASCII characters");
    for (n, piece) in pieces(body).into_iter().enumerate() {
        if n > 0 {
            out.word(b"", b";");
        }
        if piece.is_ascii() {
            out.verbatim(piece);
            continue;
        }
        if n == 0 {
            return Err(OBSTACLE);
        }
        let (name, value) = parameter(piece).ok_or(OBSTACLE)?;
        if !name.is_ascii() || name.is_empty() || name.eq_ignore_ascii_case(b"boundary") {
            return Err(OBSTACLE);
        }
        write_parameter(&mut out, name, &value)?;
    }
    Ok(out.end())
}

fn write_parameter(out: &mut Folded, name: &[u8], value: &[u8]) -> Result<(), Obstacle> {
    if name.ends_with(b"*") {
        // It has its charset already: only the octets are at fault.
        let value = percent_encoded(value, |b| b.is_ascii());
        out.word(b" ", &[name, b"=", value.as_slice()].concat());
        return Ok(());
    }
    if name.contains(&b'*') {
        return Err(Obstacle(
            "a section of a MIME parameter has non-ASCII characters",
        ));
    }
    let charset: &[u8] = match std::str::from_utf8(value) {
        Ok(_) => b"UTF-8''",
        Err(_) => b"unknown-8bit''",
    };
    let encoded = percent_encoded(value, is_attribute_char);
    if name.len() + charset.len() + encoded.len() <= SECTION_MAX {
        out.word(b" ", &[name, b"*=", charset, encoded.as_slice()].concat());
        return Ok(());
    }
    let (mut rest, mut number) = (encoded.as_slice(), 0);
    let mut charset = charset;
    while !rest.is_empty() {
        let (section, behind) = rest.split_at(section_len(rest));
        if number > 0 {
            out.word(b"", b";");
        }
        let label = format!("*{number}*=");
        out.word(b" ", &[name, label.as_bytes(), charset, section].concat());
        (rest, charset) = (behind, b"");
        number += 1;
    }
    Ok(())
}

/// A section's length: no `%XX` is torn.
fn section_len(text: &[u8]) -> usize {
    if text.len() <= SECTION_MAX {
        return text.len();
    }
    let torn = |back: usize| text.get(SECTION_MAX - back) == Some(&b'%');
    match (torn(1), torn(2)) {
        (true, _) => SECTION_MAX - 1,
        (_, true) => SECTION_MAX - 2,
        _ => SECTION_MAX,
    }
}

/// RFC 2231 §7.
const fn is_attribute_char(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(
            b,
            b'!' | b'#'
                | b'$'
                | b'&'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'{'
                | b'|'
                | b'}'
                | b'~'
        )
}
