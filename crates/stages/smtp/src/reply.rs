//! Replies as bytes: an incremental parser for what a server says, and the writer of our own
//! (RFC 5321 §4.2, RFC 2034).
//!
//! The parser is tolerant: bare LF ends a line, the text may be missing, lines that are too long
//! are cut. It fails only when what arrives is not a reply at all or does not end.

use bytes::{Buf, BytesMut};
use mail::{EnhancedCode, Reply};
use memchr::memchr;

/// Octets of one line that are kept; RFC 5321 §4.5.3.1.5 asks for 512.
const LINE_MAX: usize = 4096;
/// Lines of one reply.
const LINES_MAX: usize = 128;
/// Octets of one reply, those that were cut included.
const REPLY_MAX: usize = 64 * 1024;

/// Why what arrived is not a reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplySyntaxError {
    /// A line does not begin with a three-digit code.
    #[error("`{0}` is not a reply of an SMTP server")]
    NotAReply(String),
    /// The reply has more lines or octets than any server needs.
    #[error("the reply does not end after {LINES_MAX} lines or {REPLY_MAX} octets")]
    TooLong,
}

/// Reads replies from a stream of bytes, however it is cut.
#[derive(Debug, Default)]
pub struct ReplyParser {
    line: Vec<u8>,
    octets: usize,
    lines: usize,
    text: String,
    enhanced: Option<EnhancedCode>,
}

impl ReplyParser {
    /// A parser at the beginning of a reply.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a part of a reply has arrived, and its end has not.
    #[must_use]
    pub const fn is_within_reply(&self) -> bool {
        self.octets > 0
    }

    /// Takes bytes from `input` up to the end of one reply; `None` when more bytes are needed,
    /// and then `input` is empty.
    ///
    /// # Errors
    /// When what arrives is not a reply, or does not end. The connection is of no use then.
    pub fn feed(&mut self, input: &mut BytesMut) -> Result<Option<Reply>, ReplySyntaxError> {
        while !input.is_empty() {
            let newline = memchr(b'\n', input);
            let end = newline.unwrap_or(input.len());
            let room = LINE_MAX.saturating_sub(self.line.len());
            self.line
                .extend_from_slice(input.get(..end.min(room)).unwrap_or_default());
            let consumed = (end + 1).min(input.len());
            self.octets += consumed;
            input.advance(consumed);
            if self.octets > REPLY_MAX {
                return Err(ReplySyntaxError::TooLong);
            }
            if newline.is_some()
                && let Some(reply) = self.take_line()?
            {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    fn take_line(&mut self) -> Result<Option<Reply>, ReplySyntaxError> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let (code, more, text) = split_line(line).ok_or_else(|| {
            let shown = String::from_utf8_lossy(line.get(..100.min(line.len())).unwrap_or(line));
            ReplySyntaxError::NotAReply(Reply::new(0, None, shown).text)
        })?;
        let text = String::from_utf8_lossy(text);
        let text = self.without_enhanced_code(code, &text);
        if self.lines > 0 {
            self.text.push('\n');
        }
        self.text.push_str(text);
        self.lines += 1;
        if self.lines > LINES_MAX {
            return Err(ReplySyntaxError::TooLong);
        }
        if more {
            return Ok(None);
        }
        let done = std::mem::take(self);
        Ok(Some(Reply::new(code, done.enhanced, done.text)))
    }

    /// The text without the enhanced code in front: that of the first line that has one, repeated in
    /// others. A line after the first has one only where it fits the reply's code: it may as well begin
    /// with a version or an address.
    fn without_enhanced_code<'a>(&mut self, code: u16, text: &'a str) -> &'a str {
        if matches!(code, 300..=399) {
            return text;
        }
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let Ok(found) = word.parse::<EnhancedCode>() else {
            return text;
        };
        let fits = self.lines == 0 || u16::from(found.class) == code / 100;
        if self.enhanced.is_none() && fits {
            self.enhanced = Some(found);
        }
        if self.enhanced == Some(found) {
            rest.trim_start()
        } else {
            text
        }
    }
}

/// Code, whether more lines follow, and text.
fn split_line(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(digits.first(), Some(b'2'..=b'5')) {
        return None;
    }
    let code = digits
        .iter()
        .fold(0, |n: u16, d| n * 10 + u16::from(d - b'0'));
    match rest.split_first() {
        None => Some((code, false, rest)),
        Some((b' ', text)) => Some((code, false, text)),
        Some((b'-', text)) => Some((code, true, text)),
        Some(_) => None,
    }
}

/// Appends a reply in its wire form: every line with the code, and with the enhanced code where
/// there is one (RFC 2034 §4).
pub fn write(reply: &Reply, out: &mut BytesMut) {
    let mut lines = reply.text.split('\n').peekable();
    while let Some(line) = lines.next() {
        let gap = if lines.peek().is_some() { '-' } else { ' ' };
        match reply.enhanced {
            Some(enhanced) => append(
                out,
                format_args!("{}{gap}{enhanced} {line}\r\n", reply.code),
            ),
            None => append(out, format_args!("{}{gap}{line}\r\n", reply.code)),
        }
    }
}

/// Appends formatted text; a `BytesMut` grows as needed, so this cannot fail.
pub(crate) fn append(out: &mut BytesMut, text: std::fmt::Arguments<'_>) {
    struct Sink<'a>(&'a mut BytesMut);
    impl std::fmt::Write for Sink<'_> {
        fn write_str(&mut self, s: &str) -> std::fmt::Result {
            self.0.extend_from_slice(s.as_bytes());
            Ok(())
        }
    }
    let written = std::fmt::Write::write_fmt(&mut Sink(out), text);
    debug_assert!(written.is_ok(), "a Display implementation failed");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(wire: &[u8]) -> Result<Option<Reply>, ReplySyntaxError> {
        ReplyParser::new().feed(&mut BytesMut::from(wire))
    }

    fn reply(code: u16, enhanced: Option<(u8, u16, u16)>, text: &str) -> Reply {
        Reply::new(
            code,
            enhanced.map(|(c, s, d)| EnhancedCode::new(c, s, d)),
            text,
        )
    }

    #[test]
    fn replies_are_read_in_every_form_that_servers_send() {
        let cases: &[(&[u8], Reply)] = &[
            (b"250 ok\r\n", reply(250, None, "ok")),
            (b"250\r\n", reply(250, None, "")),
            (b"250 \n", reply(250, None, "")),
            (b"250-a\r\n250-b\r\n250 c\r\n", reply(250, None, "a\nb\nc")),
            (b"250-a\n250\n", reply(250, None, "a\n")),
            (b"550 5.1.1 who?\r\n", reply(550, Some((5, 1, 1)), "who?")),
            (b"550 5.1.1\r\n", reply(550, Some((5, 1, 1)), "")),
            (
                b"550-5.7.1 a\r\n550-5.7.1 b\r\n550 5.7.9 c\r\n",
                reply(550, Some((5, 7, 1)), "a\nb\n5.7.9 c"),
            ),
            (
                b"550-we do not want it\r\n550-5.7.1 policy\r\n550 5.7.1 see our page\r\n",
                reply(
                    550,
                    Some((5, 7, 1)),
                    "we do not want it\npolicy\nsee our page",
                ),
            ),
            (
                b"550-software\r\n550 4.97.1 is too old\r\n",
                reply(550, None, "software\n4.97.1 is too old"),
            ),
            (b"334 5.1.1 x\r\n", reply(334, None, "5.1.1 x")),
            (b"220 1.2.3.4 ready\r\n", reply(220, None, "1.2.3.4 ready")),
            (
                b"550 gr\xfc\xdf\r\n",
                reply(550, None, "gr\u{fffd}\u{fffd}"),
            ),
            (b"550 a\x1b[2J\rb\r\n", reply(550, None, "a?[2J?b")),
        ];
        for (wire, expected) in cases {
            assert_eq!(parse(wire).unwrap().as_ref(), Some(expected), "{wire:?}");
            let mut parser = ReplyParser::new();
            let mut got = None;
            for byte in *wire {
                assert_eq!(got, None);
                got = parser.feed(&mut BytesMut::from(&[*byte][..])).unwrap();
            }
            assert_eq!(got.as_ref(), Some(expected), "byte by byte: {wire:?}");
        }
    }

    #[test]
    fn the_next_reply_stays_in_the_input() {
        let mut input = BytesMut::from(&b"250 a\r\n354 b\r\n25"[..]);
        let mut parser = ReplyParser::new();
        assert_eq!(parser.feed(&mut input), Ok(Some(reply(250, None, "a"))));
        assert_eq!(parser.feed(&mut input), Ok(Some(reply(354, None, "b"))));
        assert!(!parser.is_within_reply());
        assert_eq!(parser.feed(&mut input), Ok(None));
        assert!(parser.is_within_reply() && input.is_empty());
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for wire in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"\r\n",
            b"25\r\n",
            b"150 x\r\n",
            b"650 x\r\n",
            b"250x\r\n",
            b"2x0 x\r\n",
        ] {
            assert!(
                matches!(parse(wire), Err(ReplySyntaxError::NotAReply(_))),
                "{wire:?}"
            );
        }
    }

    #[test]
    fn a_long_line_is_cut_and_a_reply_without_end_is_an_error() {
        let long = [b"250 ", &[b'x'; 9000][..], b"\r\n"].concat();
        assert_eq!(parse(&long).unwrap().unwrap().text.len(), LINE_MAX - 4);
        assert_eq!(
            parse(&b"250-x\r\n".repeat(129)),
            Err(ReplySyntaxError::TooLong)
        );
        assert_eq!(
            parse(&vec![b'2'; REPLY_MAX + 1]),
            Err(ReplySyntaxError::TooLong)
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        for original in [
            reply(250, None, "ok"),
            reply(550, Some((5, 7, 1)), "a\nb"),
            reply(250, None, ""),
        ] {
            let mut wire = BytesMut::new();
            write(&original, &mut wire);
            assert_eq!(parse(&wire).unwrap().unwrap(), original);
        }
    }
}
