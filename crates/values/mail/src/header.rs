//! Looking at a message's header without parsing it whole (RFC 5322 §2.2).
//!
//! Nothing here decodes or changes anything; it finds fields and where the body begins.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// One header field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The field's name as written.
    pub name: &'a [u8],
    /// All after the colon, folds included, without the last line's end.
    pub value: &'a [u8],
    /// The whole field, with its line's end.
    pub raw: &'a [u8],
}

impl Header<'_> {
    /// Whether this is the field `name`, whatever the case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The header fields of a message, in order; ends at the empty line or at the first line that is
/// no field.
#[derive(Debug, Clone)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    /// The fields of `message`.
    #[must_use]
    pub const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Where the header ends, once all its fields have been taken.
    #[must_use]
    pub fn end(&self) -> HeaderEnd {
        match self.rest {
            [] => HeaderEnd::Missing,
            [b'\n', ..] | [b'\r', b'\n', ..] => HeaderEnd::EmptyLine,
            _ => HeaderEnd::Broken,
        }
    }

    /// Octets that no field has been taken from.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.rest.len()
    }
}

/// How a message's header ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderEnd {
    /// At the empty line.
    EmptyLine,
    /// With the message: there is no empty line, and no body.
    Missing,
    /// At a line that is not a field: others may look for fields after it.
    Broken,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        let mut end = line_end(self.rest, 0);
        while matches!(self.rest.get(end), Some(b' ' | b'\t')) {
            end = line_end(self.rest, end);
        }
        let (raw, rest) = self.rest.split_at_checked(end)?;
        let colon = memchr(b':', raw)?;
        let (name, value) = raw.split_at_checked(colon)?;
        let name = name.trim_ascii_end();
        if name.is_empty() || name.iter().any(|b| *b <= b' ') {
            return None;
        }
        self.rest = rest;
        let value = value.get(1..).unwrap_or_default();
        let value = value.strip_suffix(b"\n").unwrap_or(value);
        let value = value.strip_suffix(b"\r").unwrap_or(value);
        Some(Header { name, value, raw })
    }
}

fn line_end(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    memchr(b'\n', rest).map_or(bytes.len(), |n| from + n + 1)
}

/// The first field called `name`.
#[must_use]
pub fn find_header<'a>(message: &'a [u8], name: &str) -> Option<Header<'a>> {
    Headers::new(message).find(|h| h.is(name))
}

/// How many Received fields the message bears: how often it was handed on (RFC 5321 §6.3).
#[must_use]
pub fn received_count(message: &[u8]) -> usize {
    Headers::new(message).filter(|h| h.is("Received")).count()
}

/// Where the body begins: after the empty line, or the end of a message that has none.
#[must_use]
pub fn body_offset(message: &[u8]) -> usize {
    let mut at = 0;
    while at < message.len() {
        let end = line_end(message, at);
        if matches!(message.get(at..end), Some(b"\r\n" | b"\n")) {
            return end;
        }
        at = end;
    }
    message.len()
}

/// The header with its empty line, each CR and LF that stands alone made CRLF, and how many octets of the
/// message that was: what a mail whose lines are mended says before they are.
#[must_use]
pub fn header_in_lines(message: &[u8]) -> (Vec<u8>, usize) {
    let mut out = Vec::with_capacity(1024);
    let mut at = 0;
    loop {
        let rest = message.get(at..).unwrap_or_default();
        let Some(length) = memchr2(b'\r', b'\n', rest) else {
            out.extend_from_slice(rest);
            return (out, message.len());
        };
        let (line, end) = rest.split_at_checked(length).unwrap_or((rest, b""));
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
        at += length + if end.starts_with(b"\r\n") { 2 } else { 1 };
        if line.is_empty() {
            return (out, at);
        }
    }
}

/// The longest line of a body, without its CRLF (RFC 5321 §4.5.3.1.6).
pub const LINE_MAX: usize = 998;
/// Lines that are folded have at most this length, where they can (RFC 5322 §2.1.1).
const FOLD_AT: usize = 78;

/// Whether content is made of lines as servers carry them (RFC 2045 §2.8): none is longer than
/// [`LINE_MAX`], no CR or LF stands alone, and there is no NUL. The last line may lack its end.
#[must_use]
pub fn are_lines(content: &[u8]) -> bool {
    let mut rest = content;
    loop {
        let end = memchr::memchr3(b'\r', b'\n', 0, rest);
        let (line, behind) = rest
            .split_at_checked(end.unwrap_or(rest.len()))
            .unwrap_or((rest, b""));
        if line.len() > LINE_MAX {
            return false;
        }
        match behind {
            [] => return true,
            [b'\r', b'\n', ..] => rest = behind.get(2..).unwrap_or_default(),
            _ => return false,
        }
    }
}

/// Whether a line is longer than [`LINE_MAX`] (RFC 5322 §2.1.1); others may refuse such mail.
#[must_use]
pub fn has_long_line(content: &[u8]) -> bool {
    let mut from = 0;
    let ends = memchr::memchr_iter(b'\n', content).chain([content.len()]);
    for end in ends {
        let line = content.get(from..end).unwrap_or_default();
        if line.len() > LINE_MAX && line.strip_suffix(b"\r").unwrap_or(line).len() > LINE_MAX {
            return true;
        }
        from = end + 1;
    }
    false
}

/// Header fields with their long lines folded, where they have white space (RFC 5322 §2.2.3). A word
/// that is longer than a line stays.
#[must_use]
pub fn folded(fields: &[u8]) -> Cow<'_, [u8]> {
    if !has_long_line(fields) {
        return Cow::Borrowed(fields);
    }
    let mut out = Vec::with_capacity(fields.len() + fields.len() / 32);
    for line in fields.split_inclusive(|b| *b == b'\n') {
        match has_long_line(line) {
            true => fold_line(&mut out, line),
            false => out.extend_from_slice(line),
        }
    }
    Cow::Owned(out)
}

fn fold_line(out: &mut Vec<u8>, line: &[u8]) {
    let is_blank = |b: &u8| matches!(*b, b' ' | b'\t');
    let (mut rest, mut column, mut begun) = (line, 0, false);
    while !rest.is_empty() {
        let space = rest.iter().position(|b| !is_blank(b)).unwrap_or(rest.len());
        let behind = rest.get(space..).unwrap_or_default();
        let length = behind.iter().position(is_blank).unwrap_or(behind.len());
        let (word, after) = rest.split_at(space + length);
        let is_text = !behind.trim_ascii().is_empty();
        // No line may be of blanks alone.
        if begun && is_text && column + word.len() > FOLD_AT {
            out.extend_from_slice(b"\r\n");
            column = 0;
        }
        out.extend_from_slice(word);
        column += word.len();
        begun |= is_text;
        rest = after;
    }
}

/// Whether every octet has its high bit clear.
#[must_use]
pub const fn is_ascii(message: &[u8]) -> bool {
    message.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_long_from_999_octets() {
        let line = |n: usize, end: &str| format!("a\r\n{}{end}", "x".repeat(n));
        for end in ["", "\n", "\r\n", "\r\nb\r\n"] {
            assert!(!has_long_line(line(998, end).as_bytes()), "{end:?}");
            assert!(has_long_line(line(999, end).as_bytes()), "{end:?}");
        }
        assert!(!has_long_line(b""));
    }

    #[test]
    fn long_fields_are_folded_where_they_have_blanks() {
        let words = "word ".repeat(300);
        let long = format!(
            "A: b\r\nSubject: {words}\r\n  {}\r\nC: d\r\n",
            "y".repeat(998)
        );
        let folded = folded(long.as_bytes());
        let text = std::str::from_utf8(&folded).unwrap();
        assert_eq!(text.replace("\r\n", ""), long.replace("\r\n", ""));
        assert!(text.starts_with("A: b\r\nSubject: word word "), "{text}");
        assert!(text.ends_with("\r\nC: d\r\n"), "{text}");
        let blank = |line: &str| line.trim().is_empty();
        assert!(!text.lines().any(blank), "{text}");
        assert_eq!(text.lines().filter(|l| l.len() > 78).count(), 1, "{text}");
        // What has no blank stays.
        let solid = format!("X: {}\r\n", "y".repeat(1200));
        assert!(has_long_line(&super::folded(solid.as_bytes())));
        let short = b"X: y\r\n";
        assert!(matches!(super::folded(short), Cow::Borrowed(_)));
    }

    const MESSAGE: &[u8] =
        b"Received: a\r\n\tby b\r\nsubject : hi\r\nRECEIVED: c\r\n\r\nReceived: body\r\n";

    #[test]
    fn fields_end_at_the_empty_line_and_folds_belong_to_their_field() {
        assert_eq!(received_count(MESSAGE), 2);
        let first = Headers::new(MESSAGE).next().unwrap();
        assert_eq!(first.value, b" a\r\n\tby b");
        assert_eq!(find_header(MESSAGE, "Subject").unwrap().value, b" hi");
        assert_eq!(find_header(MESSAGE, "X-None"), None);
        assert_eq!(&MESSAGE[body_offset(MESSAGE)..], b"Received: body\r\n");
    }

    #[test]
    fn a_header_is_read_as_its_mended_lines() {
        for (message, header, rest) in [
            (&b"A: b\r\n\r\nc\rd"[..], &b"A: b\r\n\r\n"[..], &b"c\rd"[..]),
            (b"A: b\rC: d\n\re\n", b"A: b\r\nC: d\r\n\r\n", b"e\n"),
            (b"A: b\r\rC: d\n", b"A: b\r\n\r\n", b"C: d\n"),
            (b"A: b\r\r\nC: d", b"A: b\r\n\r\n", b"C: d"),
            (b"A: b\nC", b"A: b\r\nC", b""),
            (b"\r\nx", b"\r\n", b"x"),
            (b"", b"", b""),
        ] {
            let (found, length) = header_in_lines(message);
            assert_eq!((&found[..], &message[length..]), (header, rest));
        }
    }

    #[test]
    fn the_end_of_a_header_is_told() {
        for (message, end) in [
            ("A: b\r\n\r\n", HeaderEnd::EmptyLine),
            ("\r\n", HeaderEnd::EmptyLine),
            ("A: b\r\n", HeaderEnd::Missing),
            ("", HeaderEnd::Missing),
            ("A: b\r\nhello\r\n", HeaderEnd::Broken),
            ("A: b\r\nhello", HeaderEnd::Broken),
        ] {
            let mut fields = Headers::new(message.as_bytes());
            assert!(fields.by_ref().count() <= 1);
            assert_eq!(fields.end(), end, "{message:?}");
        }
    }

    #[test]
    fn odd_messages_end_without_harm() {
        for odd in [
            &b""[..],
            b"\r\n",
            b"no colon",
            b":",
            b" folded first\r\nA: b\r\n",
            b"A",
        ] {
            assert!(Headers::new(odd).count() <= 1);
            assert!(body_offset(odd) <= odd.len());
        }
    }
}
