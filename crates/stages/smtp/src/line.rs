//! Command lines out of a stream: only CRLF ends one (RFC 5321 §2.3.8).
//!
//! A bare LF or CR is never taken for a line's end, because two servers that disagree on that can
//! be made to see different mails. A line without end uses no memory beyond its limit.

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memrchr};

/// Octets of a command line with its CRLF: 512, and what SIZE, BODY, SMTPUTF8, AUTH and DSN add
/// (RFC 5321 §4.5.3.1.4, RFC 1870 §3, RFC 6531 §3.4, RFC 4954 §5, RFC 3461 §5.1).
pub const COMMAND_MAX: usize = 2048;
/// Octets of an AUTH line and of its continuations (RFC 4954 §4).
pub const AUTH_MAX: usize = 12_288;

/// What came up to a line feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A line, its CRLF taken off.
    Text(Bytes),
    /// More octets than a line may have; they have been thrown away.
    TooLong,
    /// The line ended in a bare LF, or has a bare CR.
    BareNewline,
}

/// Cuts a stream into lines.
#[derive(Debug, Default)]
pub struct LineReader {
    discarding: bool,
}

impl LineReader {
    /// The next line of at most `max` octets; `None` when its end has not arrived. A line that
    /// begins with AUTH may be as long as [`AUTH_MAX`].
    pub fn next(&mut self, input: &mut BytesMut, max: usize) -> Option<Line> {
        let is_auth = input
            .get(..5)
            .is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "));
        let max = if is_auth { AUTH_MAX } else { max };
        let Some(newline) = memchr(b'\n', input) else {
            if input.len() > max {
                input.clear();
                self.discarding = true;
            }
            return None;
        };
        let line = input.split_to(newline + 1).freeze();
        if std::mem::take(&mut self.discarding) || line.len() > max {
            return Some(Line::TooLong);
        }
        match line.strip_suffix(b"\r\n") {
            Some(text) if memrchr(b'\r', text).is_none() => {
                Some(Line::Text(line.slice(..text.len())))
            }
            Some(_) | None => Some(Line::BareNewline),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(wire: &[u8], step: usize) -> Vec<Line> {
        let (mut reader, mut input, mut found) = (LineReader::default(), BytesMut::new(), vec![]);
        for part in wire.chunks(step) {
            input.extend_from_slice(part);
            while let Some(line) = reader.next(&mut input, 20) {
                found.push(line);
            }
        }
        found
    }

    #[test]
    fn only_crlf_ends_a_line_however_the_stream_is_cut() {
        let text = |t: &'static str| Line::Text(Bytes::from_static(t.as_bytes()));
        let cases: &[(&[u8], Vec<Line>)] = &[
            (b"NOOP\r\nQUIT\r\n", vec![text("NOOP"), text("QUIT")]),
            (b"\r\n", vec![text("")]),
            (b"NOOP\nQUIT\r\n", vec![Line::BareNewline, text("QUIT")]),
            (b"NO\rOP\r\n", vec![Line::BareNewline]),
            (b"NOOP\r\r\n", vec![Line::BareNewline]),
            (b"NOOP\r", vec![]),
            (b"123456789012345678\r\n", vec![text("123456789012345678")]),
            (
                b"1234567890123456789\r\nA\r\n",
                vec![Line::TooLong, text("A")],
            ),
            (
                b"AUTH 567890123456789012345\r\n",
                vec![text("AUTH 567890123456789012345")],
            ),
        ];
        for (wire, expected) in cases {
            for step in [1, 2, 3, 1000] {
                assert_eq!(&lines(wire, step), expected, "{wire:?} by {step}");
            }
        }
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let (mut reader, mut input) = (LineReader::default(), BytesMut::new());
        for _ in 0..100 {
            input.extend_from_slice(&[b'x'; 50]);
            assert_eq!(reader.next(&mut input, 20), None);
            assert!(input.is_empty());
        }
    }
}
