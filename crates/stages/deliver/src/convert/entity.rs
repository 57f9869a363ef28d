//! Walking the MIME structure (RFC 2046) and encoding what is outside ASCII, or is not made of lines
//! (RFC 2045 §6).
//!
//! Every octet that need not change is copied as it is. Parts of a signed whole are never changed.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail::{Header, Headers, are_lines, body_offset, folded, has_long_line, quoted_printable};
use memchr::memchr;

use super::lines::{
    crlf, delimiters, holds_any, ignored, is_clean, mend_base64, mend_quoted_printable,
    names_binary,
};
use super::parameters::{ContentType, bare};
use super::short::stays;
use super::{Obstacle, field};

/// How deep parts may be nested.
const DEPTH_MAX: usize = 50;
/// How many parts there may be.
const PARTS_MAX: usize = 10_000;
/// Octets that make one line of base64.
const BASE64_LINE: usize = 57;

/// What is walked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A message, with MIME-Version.
    Message,
    /// A part of a multipart.
    Part,
    /// A part of a digest: a message where nothing else is said (RFC 2046 §5.1.5).
    DigestPart,
}

/// What becomes of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Treatment {
    Keep,
    Parts {
        boundary: Vec<u8>,
        digest: bool,
    },
    Message,
    /// Blocks of fields, as in a report.
    Fields,
    /// Text, once its line ends are mended.
    Text,
    QuotedPrintable,
    /// Octet for octet.
    Base64,
    /// The line ends mended before.
    Base64OfText,
    /// It is made of lines, and said to be binary.
    Relabel,
    /// It is in quoted-printable already, with octets that it may not have.
    MendQuotedPrintable,
    /// The same of base64, whose readers ignore them.
    MendBase64,
}

/// What must hold after the conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Goal {
    /// The first header is in ASCII.
    pub(super) header: bool,
    /// Everything is.
    pub(super) ascii: bool,
    /// Bodies are made of lines.
    pub(super) lines: bool,
    /// No line is too long.
    pub(super) short: bool,
}

impl Goal {
    /// Whether a body can stay.
    fn met_by(self, body: &[u8]) -> bool {
        (!self.ascii || body.is_ascii())
            && (!self.lines || are_lines(body))
            && (!self.short || !has_long_line(body))
    }

    /// Whether bodies get other lines than they had.
    const fn makes_lines(self) -> bool {
        self.lines || self.short
    }
}

/// A conversion under way.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) out: Vec<u8>,
    pub(super) parts: usize,
    pub(super) fields: usize,
    goal: Goal,
    seen: usize,
    /// Boundaries of the multiparts around what is walked through, where lines are made.
    boundaries: Vec<Vec<u8>>,
}

impl Walk {
    pub(super) fn new(length: usize, goal: Goal) -> Self {
        Self {
            out: Vec::with_capacity(length + length / 4),
            parts: 0,
            fields: 0,
            goal,
            seen: 0,
            boundaries: Vec::new(),
        }
    }

    /// Writes an entity, converted.
    pub(super) fn entity(
        &mut self,
        raw: &[u8],
        place: Place,
        depth: usize,
    ) -> Result<(), Obstacle> {
        self.seen += 1;
        if depth > DEPTH_MAX || self.seen > PARTS_MAX {
            return Err(Obstacle("its parts are nested too deep, or too many"));
        }
        let ascii_header = match depth {
            0 => self.goal.header,
            _ => self.goal.ascii,
        };
        let (header, body) = raw.split_at_checked(body_offset(raw)).unwrap_or((raw, b""));
        let header_fits = (!ascii_header || header.is_ascii())
            && (!self.goal.lines || is_clean(header))
            && (!self.goal.short || !has_long_line(header));
        let fits = self.goal.met_by(body);
        let is_mislabelled = self.goal.lines && names_binary(raw);
        if header_fits && fits && !is_mislabelled {
            self.out.extend_from_slice(raw);
            return Ok(());
        }
        let mended;
        let header = match header_fits || !self.goal.lines {
            true => header,
            false => {
                mended = self.lines_of(header, "a header in it has a bare CR or a NUL")?;
                &mended
            }
        };
        let treatment = match (fits, is_mislabelled) {
            (true, false) => Treatment::Keep,
            // What ends within its header says nothing of a body.
            (true, true) if !body.is_empty() => relabelled(header, place),
            (true, true) => Treatment::Keep,
            (false, _) => self.treatment(header, body, place)?,
        };
        self.header(header, body, place, &treatment, ascii_header)?;
        self.body(body, &treatment, depth)
    }

    /// Makes lines of octets whose meaning does not depend on how they end.
    fn lines_of(&self, octets: &[u8], obstacle: &'static str) -> Result<Vec<u8>, Obstacle> {
        let mended = crlf(octets).into_owned();
        let is_safe = octets == mended || !holds_any(&mended, &self.boundaries);
        match is_clean(&mended) && is_safe {
            true => Ok(mended),
            false => Err(Obstacle(obstacle)),
        }
    }

    /// The end of the message.
    pub(super) fn end(&mut self) {
        if self.goal.lines && !self.out.ends_with(b"\r\n") {
            self.out.extend_from_slice(b"\r\n");
        }
    }

    fn header(
        &mut self,
        header: &[u8],
        body: &[u8],
        place: Place,
        treatment: &Treatment,
        ascii: bool,
    ) -> Result<(), Obstacle> {
        let label = label(treatment, self.goal, body);
        let (mut length, mut labelled, mut has_version, mut has_type) = (0, false, false, false);
        for field in Headers::new(header) {
            length += field.raw.len();
            has_version |= field.is("MIME-Version");
            if field.is("Content-Transfer-Encoding") && label.is_some() {
                // One field is enough; what is 7bit by default needs none.
                let word = bare_word(&field);
                let is_right = label == Some(word.as_str())
                    || (label == Some("8bit") && word == "7bit" && body.is_ascii());
                match (labelled, is_right) {
                    (true, _) => {}
                    (false, true) => self.field(&field, ascii)?,
                    (false, false) => {
                        self.line("Content-Transfer-Encoding", label.unwrap_or_default());
                    }
                }
                labelled = true;
                continue;
            }
            let is_type = field.is("Content-Type") && !has_type;
            has_type |= is_type;
            match is_type
                .then(|| charset_for(&field, body, treatment))
                .flatten()
            {
                Some(charset) => self.with_charset(&field, charset, ascii)?,
                None => self.field(&field, ascii)?,
            }
        }
        let rest = header.get(length..).unwrap_or_default();
        let is_broken = !matches!(rest, [] | [b'\r' | b'\n', ..]);
        if (ascii && !rest.is_ascii())
            || (self.goal.lines && !are_lines(rest))
            || (self.goal.short && is_broken)
        {
            return Err(Obstacle("its header has a line that is not a header field"));
        }
        // What is added stands before the empty line, after which only a broken header goes on.
        if *treatment != Treatment::Keep {
            if place == Place::Message && !has_version {
                self.line("MIME-Version", "1.0");
            }
            if !has_type && is_encoded(treatment) {
                let charset = charset_of(body);
                self.line("Content-Type", &format!("text/plain; charset={charset}"));
            }
            let needed = |l: &&str| *l != "7bit" && (*l != "8bit" || !body.is_ascii());
            if let (false, Some(label)) = (labelled, label.filter(needed)) {
                self.line("Content-Transfer-Encoding", label);
            }
        }
        self.out.extend_from_slice(rest);
        Ok(())
    }

    fn line(&mut self, name: &str, value: &str) {
        self.out
            .extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }

    fn field(&mut self, field: &Header<'_>, ascii: bool) -> Result<(), Obstacle> {
        let folded = match self.goal.short {
            true => folded(field.raw),
            false => Cow::Borrowed(field.raw),
        };
        if ascii && !field.raw.is_ascii() {
            self.fields += 1;
            self.out.extend_from_slice(&field::convert(field)?);
        } else {
            self.fields += usize::from(matches!(folded, Cow::Owned(_)));
            self.out.extend_from_slice(&folded);
        }
        Ok(())
    }

    fn with_charset(
        &mut self,
        field: &Header<'_>,
        charset: &str,
        ascii: bool,
    ) -> Result<(), Obstacle> {
        self.field(field, ascii)?;
        while self
            .out
            .last()
            .is_some_and(|b| b.is_ascii_whitespace() || *b == b';')
        {
            self.out.pop();
        }
        let parameter = format!(";\r\n charset={charset}\r\n");
        self.out.extend_from_slice(parameter.as_bytes());
        Ok(())
    }

    fn body(&mut self, body: &[u8], treatment: &Treatment, depth: usize) -> Result<(), Obstacle> {
        match treatment {
            Treatment::Keep | Treatment::Relabel => self.out.extend_from_slice(body),
            Treatment::Parts { boundary, digest } => {
                return self.parts(body, boundary, *digest, depth);
            }
            Treatment::Message => {
                return self.entity(body, Place::Message, depth + 1);
            }
            Treatment::Fields if self.goal.lines => {
                let why = "a report in it does not consist of lines";
                let mended = self.lines_of(body, why)?;
                return match are_lines(&mended) {
                    true => self.blocks(&mended),
                    false => Err(Obstacle(why)),
                };
            }
            Treatment::Fields => return self.blocks(body),
            Treatment::Text => self.out.extend_from_slice(&crlf(body)),
            Treatment::Base64OfText => self.base64(&crlf(body)),
            Treatment::QuotedPrintable => self.out.extend_from_slice(&quoted_printable(body)),
            Treatment::Base64 => self.base64(body),
            Treatment::MendQuotedPrintable => {
                mend_quoted_printable(&mut self.out, body, self.goal.makes_lines());
            }
            Treatment::MendBase64 => mend_base64(&mut self.out, body, self.goal.makes_lines()),
        }
        let is_kept = matches!(treatment, Treatment::Keep | Treatment::Relabel);
        self.parts += usize::from(!is_kept);
        Ok(())
    }

    fn base64(&mut self, body: &[u8]) {
        let mut lines = body.chunks(BASE64_LINE).peekable();
        while let Some(line) = lines.next() {
            self.out.extend_from_slice(STANDARD.encode(line).as_bytes());
            if lines.peek().is_some() || body.ends_with(b"\n") {
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    fn parts(
        &mut self,
        body: &[u8],
        boundary: &[u8],
        digest: bool,
        depth: usize,
    ) -> Result<(), Obstacle> {
        let place = if digest {
            Place::DigestPart
        } else {
            Place::Part
        };
        let lines = self.goal.makes_lines();
        let mut found = delimiters(body, boundary, lines, PARTS_MAX + 2);
        if found.is_empty() && lines {
            // It came in without line ends of its own kind.
            found = delimiters(body, boundary, false, PARTS_MAX + 2);
        }
        if found.is_empty() {
            return match self.goal.met_by(body) || self.goal.short {
                true => {
                    self.out.extend_from_slice(body);
                    Ok(())
                }
                false => Err(Obstacle("a multipart has no part")),
            };
        }
        if lines {
            self.boundaries.push(boundary.to_vec());
        }
        let (mut begin, mut inside) = (0, false);
        for delimiter in found {
            let piece = body.get(begin..delimiter.begin).unwrap_or_default();
            match inside {
                true => self.part(piece, place, depth)?,
                false => self.outside(piece),
            }
            let line = body.get(delimiter.begin..delimiter.end);
            self.delimiter(line.unwrap_or_default());
            (begin, inside) = (delimiter.end, !delimiter.is_last);
        }
        let piece = body.get(begin..).unwrap_or_default();
        match inside {
            // The end of the last part is missing: readers take it to go on to the end.
            true => self.entity(piece, place, depth + 1)?,
            false => self.outside(piece),
        }
        if lines {
            self.boundaries.pop();
        }
        Ok(())
    }

    fn delimiter(&mut self, line: &[u8]) {
        if !self.goal.makes_lines() || are_lines(line) {
            self.out.extend_from_slice(line);
            return;
        }
        self.out.extend_from_slice(line.trim_ascii_end());
        if line.ends_with(b"\n") {
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// A part and the line's end after it, which belongs to the delimiter.
    fn part(&mut self, piece: &[u8], place: Place, depth: usize) -> Result<(), Obstacle> {
        let content = piece.strip_suffix(b"\n").unwrap_or(piece);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        self.entity(content, place, depth + 1)?;
        let end = piece.get(content.len()..).unwrap_or_default();
        match self.goal.lines && !end.is_empty() {
            true => self.out.extend_from_slice(b"\r\n"),
            false => self.out.extend_from_slice(end),
        }
        Ok(())
    }

    /// Before the first delimiter and after the last stands what readers ignore (RFC 2046
    /// §5.1.1).
    fn outside(&mut self, text: &[u8]) {
        let mended;
        let mut text = text;
        if self.goal.makes_lines() && !are_lines(text) {
            mended = ignored(text);
            text = match holds_any(&mended, &self.boundaries) {
                true => b"\r\n",
                false => &mended,
            };
        }
        let shown = |b: &u8| {
            if self.goal.ascii && !b.is_ascii() {
                b'?'
            } else {
                *b
            }
        };
        self.out.extend(text.iter().map(shown));
    }

    /// Blocks of fields: the body of a delivery report and its like, which must not be encoded as
    /// a whole (RFC 3464 §2).
    fn blocks(&mut self, body: &[u8]) -> Result<(), Obstacle> {
        let mut rest = body;
        while !rest.is_empty() {
            let found = Headers::new(rest).next();
            let length = match &found {
                Some(found) => found.raw.len(),
                None => memchr(b'\n', rest).map_or(rest.len(), |n| n + 1),
            };
            let (raw, behind) = rest.split_at_checked(length).unwrap_or((rest, b""));
            match found {
                _ if !self.goal.ascii || raw.is_ascii() => self.out.extend_from_slice(raw),
                Some(found) => {
                    self.fields += 1;
                    self.out.extend_from_slice(&field::convert_text(&found)?);
                }
                None => {
                    return Err(Obstacle(
                        "a report in it has a line that is not a header field",
                    ));
                }
            }
            rest = behind;
        }
        Ok(())
    }
}

/// The Content-Transfer-Encoding that goes with a treatment, where it changes.
fn label(treatment: &Treatment, goal: Goal, body: &[u8]) -> Option<&'static str> {
    match treatment {
        Treatment::Keep | Treatment::MendQuotedPrintable | Treatment::MendBase64 => None,
        Treatment::Parts { .. } if goal.short => None,
        Treatment::Parts { .. } | Treatment::Message | Treatment::Fields => {
            Some(if goal.ascii { "7bit" } else { "8bit" })
        }
        Treatment::Text | Treatment::Relabel => Some(if body.is_ascii() { "7bit" } else { "8bit" }),
        Treatment::QuotedPrintable => Some("quoted-printable"),
        Treatment::Base64 | Treatment::Base64OfText => Some("base64"),
    }
}

/// Whether a body is in another encoding now.
const fn is_encoded(treatment: &Treatment) -> bool {
    matches!(
        treatment,
        Treatment::QuotedPrintable | Treatment::Base64 | Treatment::Base64OfText
    )
}

fn bare_word(field: &Header<'_>) -> String {
    let value: Vec<u8> = field
        .value
        .iter()
        .copied()
        .filter(|b| !b"\r\n".contains(b))
        .collect();
    String::from_utf8_lossy(&bare(&value)).to_ascii_lowercase()
}

/// What an entity says of itself: its type, and the word of its encoding.
fn described(header: &[u8], place: Place) -> (ContentType, String) {
    let mut fields = Headers::new(header);
    let found = fields.find(|f| f.is("Content-Type"));
    let found = found.and_then(|f| ContentType::parse(f.value));
    let kind = found.unwrap_or_else(|| match place {
        Place::Message | Place::Part => ContentType::new("text", "plain"),
        Place::DigestPart => ContentType::new("message", "rfc822"),
    });
    let encoding = Headers::new(header).find(|f| f.is("Content-Transfer-Encoding"));
    let encoding = encoding.map(|f| bare_word(&f)).unwrap_or_default();
    (kind, encoding)
}

/// What becomes of a body that is made of lines, and may be said to be binary, or have a part that
/// is: a host that takes lines is told so. What has been signed stays as it is, its labels too.
fn relabelled(header: &[u8], place: Place) -> Treatment {
    let (kind, encoding) = described(header, place);
    match (kind.main.as_str(), kind.sub.as_str()) {
        ("multipart", "signed") | ("message", "partial") => Treatment::Keep,
        ("multipart", sub) => match kind.boundary.filter(|b| !b.is_empty()) {
            Some(boundary) => Treatment::Parts {
                boundary,
                digest: sub == "digest",
            },
            None => Treatment::Keep,
        },
        ("message", "rfc822" | "news") => Treatment::Message,
        _ if encoding == "binary" => Treatment::Relabel,
        _ => Treatment::Keep,
    }
}

impl Walk {
    /// What becomes of a body that cannot stay as it is.
    fn treatment(&self, header: &[u8], body: &[u8], place: Place) -> Result<Treatment, Obstacle> {
        let (kind, encoding) = described(header, place);
        if self.goal.short && stays(&kind, &encoding) {
            return Ok(Treatment::Keep);
        }
        match (kind.main.as_str(), kind.sub.as_str()) {
            ("multipart", "signed") => {
                return Err(Obstacle(
                    "a part of it is signed (multipart/signed), and must not be changed",
                ));
            }
            ("multipart", sub) => {
                return match kind.boundary.clone().filter(|b| !b.is_empty()) {
                    Some(boundary) => Ok(Treatment::Parts {
                        boundary,
                        digest: sub == "digest",
                    }),
                    None => Err(Obstacle("a multipart has no boundary")),
                };
            }
            ("message", "rfc822" | "news") => return Ok(Treatment::Message),
            ("message", "partial") => {
                return Err(Obstacle(
                    "it is a fragment (message/partial), and must not be changed",
                ));
            }
            // RFC 6532 §3.5 allows their encoding; of all others RFC 2046 §5.2 does not.
            (
                "message",
                "global"
                | "global-headers"
                | "global-delivery-status"
                | "global-disposition-notification",
            ) => {}
            ("message", _) => return Ok(Treatment::Fields),
            _ => {}
        }
        Ok(match encoding.as_str() {
            "" | "7bit" | "8bit" | "binary" => self.leaf(&kind, body),
            "quoted-printable" => Treatment::MendQuotedPrintable,
            "base64" => Treatment::MendBase64,
            _ => {
                return Err(Obstacle("a part of it has an unknown encoding"));
            }
        })
    }

    /// Text stays readable where it is mostly ASCII; everything else takes less room in base64.
    /// Where lines are made, text with a NUL is not text, and neither is text in which a mended line
    /// end could make a delimiter.
    fn leaf(&self, kind: &ContentType, body: &[u8]) -> Treatment {
        let is_text = matches!(kind.main.as_str(), "text" | "message") && memchr(0, body).is_none();
        if !is_text || (self.goal.makes_lines() && holds_any(body, &self.boundaries)) {
            return Treatment::Base64;
        }
        if self.goal.lines && self.goal.met_by(&crlf(body)) {
            return Treatment::Text;
        }
        let high = body.iter().filter(|b| !b.is_ascii()).count();
        match (high <= body.len() / 2, self.goal.lines) {
            (true, _) => Treatment::QuotedPrintable,
            (false, true) => Treatment::Base64OfText,
            (false, false) => Treatment::Base64,
        }
    }
}

/// RFC 1428 §3: text that does not say what it is in.
fn charset_of(body: &[u8]) -> &'static str {
    match std::str::from_utf8(body) {
        Ok(_) => "utf-8",
        Err(_) => "unknown-8bit",
    }
}

/// The charset that a Content-Type of plain text lacks.
fn charset_for(field: &Header<'_>, body: &[u8], treatment: &Treatment) -> Option<&'static str> {
    let kind = ContentType::parse(field.value)?;
    (is_encoded(treatment) && kind.is("text", "plain") && !kind.has_charset)
        .then(|| charset_of(body))
}
