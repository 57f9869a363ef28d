//! Content on its way in: what follows DATA and BDAT (RFC 5321 §4.1.1.4, §4.5.2; RFC 3030 §2).
//!
//! DATA ends at CRLF.CRLF and at nothing else; the line before the first one counts as ended, so
//! that `.CRLF` at once is an empty mail. A bare CR or LF never counts as a line's end: it is
//! refused once the content has been read to its end, or made CRLF, by the rules. What comes out
//! has lines that end in CRLF throughout. A content that broke a rule is read on and thrown away,
//! because the reply has its place only after the end. A binary content comes in chunks, and none of
//! its octets is looked at.

use bytes::{Buf, Bytes, BytesMut};
use mail::{EnhancedCode, Reply};
use memchr::memchr3;

/// Octets beyond the size limit that are read and thrown away while waiting for the end.
const OVERRUN_MAX: u64 = 64 * 1024 * 1024;
/// Memory reserved on the word of a client; more only as content arrives.
const RESERVE_MAX: usize = 256 * 1024;

/// What is done with a CR or LF that stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BareNewline {
    /// The mail is refused.
    #[default]
    Refuse,
    /// It becomes CRLF.
    Normalise,
}

/// What is done with a NUL, which text never has (RFC 5322 §2.2) and hosts refuse or cut a mail at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nul {
    /// The mail is refused.
    #[default]
    Refuse,
    /// It is taken out.
    Remove,
    /// It stays: the content is binary, whatever it was declared to be.
    Keep,
}

/// The rules for content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRules {
    /// Octets of the content after transparency has been undone.
    pub size_max: u64,
    /// Octets of one line without its CRLF; RFC 5321 §4.5.3.1.6 asks for 998.
    pub line_max: usize,
    /// What is done with a bare CR or LF.
    pub bare_newline: BareNewline,
    /// What is done with a NUL.
    pub nul: Nul,
    /// The content is not made of lines (RFC 3030 §3): of chunks every octet is kept, and of these
    /// rules its size alone counts.
    pub binary: bool,
}

/// The rule that content broke; of several the last in this order, so that the answer does not
/// depend on how the stream was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// A CR or LF that stands alone.
    #[error(
        "Message has a bare CR or LF (RFC 5321 2.3.8): configure the sending program to end lines with CRLF"
    )]
    BareNewline,
    /// A NUL.
    #[error(
        "Message has a NUL octet, which is not allowed in text (RFC 5322 2.2): encode binary content as base64"
    )]
    Nul,
    /// A line longer than allowed.
    #[error(
        "Message has a line longer than {0} octets: encode long lines as quoted-printable or base64"
    )]
    LineTooLong(usize),
    /// Larger than allowed.
    #[error("Message too big: this server accepts messages of up to {0} octets")]
    TooLarge(u64),
    /// There is no memory for it.
    #[error("Too much mail is being received at the same time: try again later")]
    NoMemory,
}

impl ContentError {
    /// The reply to send after the end of the content.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let (code, enhanced) = match self {
            Self::TooLarge(_) => (552, EnhancedCode::new(5, 3, 4)),
            Self::NoMemory => (452, EnhancedCode::new(4, 3, 1)),
            Self::BareNewline | Self::Nul | Self::LineTooLong(_) => {
                (550, EnhancedCode::new(5, 6, 0))
            }
        };
        Reply::new(code, Some(enhanced), self.to_string())
    }
}

/// The content so far, in front of it what the server adds.
#[derive(Debug)]
struct Content {
    rules: ContentRules,
    bytes: Vec<u8>,
    length: u64,
    line: usize,
    received: u64,
    error: Option<ContentError>,
    has_nul: bool,
}

impl Content {
    fn new(rules: ContentRules, prefix: Vec<u8>, expected: u64) -> Self {
        let mut bytes = prefix;
        let expected = usize::try_from(expected.min(rules.size_max)).unwrap_or(RESERVE_MAX);
        bytes.reserve(expected.min(RESERVE_MAX));
        Self {
            rules,
            bytes,
            length: 0,
            line: 0,
            received: 0,
            error: None,
            has_nul: false,
        }
    }

    fn fail(&mut self, error: ContentError) {
        self.error = self.error.max(Some(error));
        self.bytes = Vec::new();
    }

    fn push(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if self.length > self.rules.size_max {
            self.fail(ContentError::TooLarge(self.rules.size_max));
        } else if self.error.is_none() {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// `octets` more of the current line.
    fn lengthen(&mut self, octets: usize) {
        self.line += octets;
        if self.line > self.rules.line_max {
            self.fail(ContentError::LineTooLong(self.rules.line_max));
        }
    }

    fn bare_newline(&mut self) {
        if self.rules.bare_newline == BareNewline::Refuse {
            self.fail(ContentError::BareNewline);
        }
        self.push(b"\r\n");
        self.line = 0;
    }

    /// A NUL, a part of its line; whether it is taken out.
    fn nul(&mut self) -> bool {
        self.lengthen(1);
        self.has_nul = true;
        match self.rules.nul {
            Nul::Refuse => self.fail(ContentError::Nul),
            Nul::Remove => return true,
            Nul::Keep => {}
        }
        false
    }

    const fn overran(&self) -> bool {
        self.received > self.rules.size_max.saturating_add(OVERRUN_MAX)
    }

    fn finish(self) -> Result<Bytes, ContentError> {
        let mut bytes = self.bytes;
        match self.error {
            Some(error) => Err(error),
            None => {
                // A message is kept while it waits; memory reserved in vain is not.
                if bytes.capacity() - bytes.len() > bytes.len() / 8 {
                    bytes.shrink_to_fit();
                }
                Ok(bytes.into())
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// After CRLF, or at the very beginning.
    LineStart,
    /// Within a line.
    Line,
    /// After a CR that may be the first half of CRLF.
    Cr,
    /// After a dot that began a line.
    Dot,
    /// After such a dot and a CR.
    DotCr,
    /// After CRLF.CRLF.
    End,
}

/// Reads what follows DATA.
#[derive(Debug)]
pub struct DataReader {
    content: Content,
    place: Place,
}

impl DataReader {
    /// A reader that puts `prefix` in front of the content; `expected` is the size that the client
    /// declared.
    #[must_use]
    pub fn new(rules: ContentRules, prefix: Vec<u8>, expected: u64) -> Self {
        Self {
            content: Content::new(rules, prefix, expected),
            place: Place::LineStart,
        }
    }

    /// Takes content from `input`; `true` when its end has come, and then what is left in `input`
    /// is the next command.
    pub fn read(&mut self, input: &mut BytesMut) -> bool {
        let mut at = 0;
        while self.place != Place::End
            && let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty())
        {
            at += self.step(rest);
        }
        self.content.received += at as u64;
        input.advance(at);
        self.place == Place::End
    }

    /// Octets that have arrived, for the minimum rate.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.content.received
    }

    /// Octets of memory that the content takes.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.content.bytes.capacity()
    }

    /// Throws the content away, because there is no memory for it; what is left of it is read all the same.
    pub fn give_up(&mut self) {
        self.content.fail(ContentError::NoMemory);
    }

    /// Whether so much has arrived beyond the limit that waiting for the end makes no sense.
    #[must_use]
    pub const fn overran(&self) -> bool {
        self.content.overran()
    }

    /// The prefix and the content.
    ///
    /// # Errors
    /// When the content broke a rule.
    pub fn finish(self) -> Result<Bytes, ContentError> {
        self.content.finish()
    }

    /// Takes the next octets and says how many; `rest` is not empty.
    fn step(&mut self, rest: &[u8]) -> usize {
        let next = rest.first().copied().unwrap_or_default();
        match (self.place, next) {
            (Place::LineStart, b'.') => self.go(Place::Dot, 1),
            (Place::LineStart | Place::Line, _) => self.lines(rest),
            (Place::Cr, b'\n') => {
                self.content.push(b"\r\n");
                self.content.line = 0;
                self.go(Place::LineStart, 1)
            }
            (Place::Cr, _) => {
                self.content.bare_newline();
                self.go(Place::Line, 0)
            }
            (Place::Dot, b'\r') => self.go(Place::DotCr, 1),
            // A dot before a bare LF is not stuffing: the line has not ended there.
            (Place::Dot, b'\n') => {
                self.content.push(b".");
                self.go(Place::Line, 0)
            }
            (Place::Dot, _) => self.go(Place::Line, 0),
            (Place::DotCr, b'\n') => self.go(Place::End, 1),
            (Place::DotCr, _) => {
                self.content.push(b".");
                self.go(Place::Cr, 0)
            }
            (Place::End, _) => 0,
        }
    }

    const fn go(&mut self, place: Place, taken: usize) -> usize {
        self.place = place;
        taken
    }

    /// Takes whole lines as one run, up to a dot at a line's beginning, a bare newline, or a NUL that is
    /// taken out.
    fn lines(&mut self, rest: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let tail = rest.get(at..).unwrap_or_default();
            let Some(length) = memchr3(b'\r', b'\n', 0, tail) else {
                self.content.lengthen(tail.len());
                self.content.push(rest);
                return self.go(Place::Line, rest.len());
            };
            self.content.lengthen(length);
            match tail.get(length..length + 3) {
                Some([b'\r', b'\n', next]) if *next != b'.' => {
                    self.content.line = 0;
                    at += length + 2;
                    continue;
                }
                _ => {}
            }
            let end = at + length;
            if tail.get(length) == Some(&0) && !self.content.nul() {
                at = end + 1;
                continue;
            }
            self.content.push(rest.get(..end).unwrap_or_default());
            if tail.get(length) == Some(&0) {
                return self.go(Place::Line, end + 1);
            }
            if tail.get(length) == Some(&b'\r') {
                return self.go(Place::Cr, end + 1);
            }
            self.content.bare_newline();
            return self.go(Place::Line, end + 1);
        }
    }
}

/// Reads the chunks that follow BDAT commands.
#[derive(Debug)]
pub struct ChunkReader {
    content: Content,
    after_cr: bool,
}

impl ChunkReader {
    /// A reader that puts `prefix` in front of the content; `expected` is the size that the client
    /// declared.
    #[must_use]
    pub fn new(rules: ContentRules, prefix: Vec<u8>, expected: u64) -> Self {
        Self {
            content: Content::new(rules, prefix, expected),
            after_cr: false,
        }
    }

    /// Takes up to `remaining` octets of the current chunk from `input` and says how many.
    pub fn read(&mut self, input: &mut BytesMut, remaining: u64) -> u64 {
        let taken = usize::try_from(remaining).map_or(input.len(), |n| n.min(input.len()));
        let chunk = input.split_to(taken);
        self.content.received += taken as u64;
        self.take(&chunk);
        taken as u64
    }

    /// Octets that have arrived, for the minimum rate.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.content.received
    }

    /// Octets of memory that the content takes.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.content.bytes.capacity()
    }

    /// Throws the content away, because there is no memory for it; what is left of it is read all the same.
    pub fn give_up(&mut self) {
        self.content.fail(ContentError::NoMemory);
    }

    /// Whether so much has arrived beyond the limit that going on makes no sense.
    #[must_use]
    pub const fn overran(&self) -> bool {
        self.content.overran()
    }

    /// Whether a NUL has come where octets are looked at.
    #[must_use]
    pub const fn has_nul(&self) -> bool {
        self.content.has_nul
    }

    /// The rule that the chunks so far broke.
    #[must_use]
    pub const fn error(&self) -> Option<ContentError> {
        self.content.error
    }

    /// The prefix and the content; a last line without CRLF gets one, unless the content is binary.
    ///
    /// # Errors
    /// When the content broke a rule.
    pub fn finish(mut self) -> Result<Bytes, ContentError> {
        if self.after_cr {
            self.content.bare_newline();
        } else if self.content.line > 0 {
            self.content.push(b"\r\n");
        }
        self.content.finish()
    }

    fn take(&mut self, chunk: &[u8]) {
        if self.content.rules.binary {
            self.content.push(chunk);
            return;
        }
        let mut rest = chunk;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            match rest.strip_prefix(b"\n") {
                Some(tail) => {
                    self.content.push(b"\r\n");
                    self.content.line = 0;
                    rest = tail;
                }
                None => self.content.bare_newline(),
            }
        }
        // `run` lines up whole lines that are pushed at once; `rest` is what is not looked at.
        let mut run = rest;
        while let Some(length) = memchr3(b'\r', b'\n', 0, rest) {
            self.content.lengthen(length);
            let newline = rest.get(length..).unwrap_or_default();
            if newline.first() == Some(&0) && !self.content.nul() {
                rest = newline.get(1..).unwrap_or_default();
                continue;
            }
            if let Some(tail) = newline.strip_prefix(b"\r\n") {
                self.content.line = 0;
                rest = tail;
                continue;
            }
            let clean = run.len() - newline.len();
            self.content.push(run.get(..clean).unwrap_or_default());
            rest = newline.get(1..).unwrap_or_default();
            run = rest;
            if newline.first() == Some(&0) {
                continue;
            }
            if newline == b"\r" {
                self.after_cr = true;
                return;
            }
            self.content.bare_newline();
        }
        self.content.lengthen(rest.len());
        self.content.push(run);
    }
}

#[cfg(test)]
mod tests;
