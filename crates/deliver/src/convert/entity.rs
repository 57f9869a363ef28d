//! Walking the MIME structure (RFC 2046) and encoding what is outside ASCII (RFC 2045 §6).
//!
//! Every octet that need not change is copied as it is. Parts of a signed whole are never changed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail::{Header, Headers, body_offset, quoted_printable};
use memchr::memchr;

use super::parameters::{ContentType, bare};
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
    QuotedPrintable,
    Base64,
    /// It is in quoted-printable already, with octets that it may not have.
    MendQuotedPrintable,
    /// The same of base64, whose readers ignore them.
    MendBase64,
}

/// Which octets are converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// The first header.
    Header,
    /// Everything.
    Whole,
}

/// A conversion under way.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) out: Vec<u8>,
    pub(super) parts: usize,
    pub(super) fields: usize,
    seen: usize,
}

impl Walk {
    pub(super) fn new(length: usize) -> Self {
        Self {
            out: Vec::with_capacity(length + length / 4),
            parts: 0,
            fields: 0,
            seen: 0,
        }
    }

    /// Writes an entity, converted.
    pub(super) fn entity(
        &mut self,
        raw: &[u8],
        place: Place,
        extent: Extent,
        depth: usize,
    ) -> Result<(), Obstacle> {
        self.seen += 1;
        if depth > DEPTH_MAX || self.seen > PARTS_MAX {
            return Err(Obstacle("its parts are nested too deep, or too many"));
        }
        if raw.is_ascii() {
            self.out.extend_from_slice(raw);
            return Ok(());
        }
        let (header, body) = raw.split_at_checked(body_offset(raw)).unwrap_or((raw, b""));
        let treatment = match extent {
            Extent::Header => Treatment::Keep,
            Extent::Whole if body.is_ascii() => Treatment::Keep,
            Extent::Whole => treatment(header, body, place)?,
        };
        self.header(header, body, place, &treatment)?;
        self.body(body, &treatment, depth)
    }

    fn header(
        &mut self,
        header: &[u8],
        body: &[u8],
        place: Place,
        treatment: &Treatment,
    ) -> Result<(), Obstacle> {
        let label = label(treatment);
        let (mut length, mut labelled, mut has_version, mut has_type) = (0, false, false, false);
        for field in Headers::new(header) {
            length += field.raw.len();
            has_version |= field.is("MIME-Version");
            if field.is("Content-Transfer-Encoding") && label.is_some() {
                // One field is enough; what is 7bit by default needs none.
                let is_right = label == Some("7bit") && bare_word(&field) == "7bit";
                match (labelled, is_right) {
                    (true, _) => {}
                    (false, true) => self.field(&field)?,
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
                Some(charset) => self.with_charset(&field, charset)?,
                None => self.field(&field)?,
            }
        }
        let rest = header.get(length..).unwrap_or_default();
        if !rest.is_ascii() {
            return Err(Obstacle("its header has a line that is no field"));
        }
        // What is added stands before the empty line, behind which only a broken header goes on.
        if *treatment != Treatment::Keep {
            if place == Place::Message && !has_version {
                self.line("MIME-Version", "1.0");
            }
            if !has_type && matches!(treatment, Treatment::QuotedPrintable | Treatment::Base64) {
                let charset = charset_of(body);
                self.line("Content-Type", &format!("text/plain; charset={charset}"));
            }
            if let (false, Some(label)) = (labelled, label.filter(|l| *l != "7bit")) {
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

    fn field(&mut self, field: &Header<'_>) -> Result<(), Obstacle> {
        if field.raw.is_ascii() {
            self.out.extend_from_slice(field.raw);
        } else {
            self.fields += 1;
            self.out.extend_from_slice(&field::convert(field)?);
        }
        Ok(())
    }

    fn with_charset(&mut self, field: &Header<'_>, charset: &str) -> Result<(), Obstacle> {
        self.field(field)?;
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
            Treatment::Keep => self.out.extend_from_slice(body),
            Treatment::Parts { boundary, digest } => {
                return self.parts(body, boundary, *digest, depth);
            }
            Treatment::Message => {
                return self.entity(body, Place::Message, Extent::Whole, depth + 1);
            }
            Treatment::Fields => return self.blocks(body),
            Treatment::QuotedPrintable => self.out.extend_from_slice(&quoted_printable(body)),
            Treatment::Base64 => self.base64(body),
            Treatment::MendQuotedPrintable => mend_quoted_printable(&mut self.out, body),
            Treatment::MendBase64 => self.out.extend(body.iter().filter(|b| b.is_ascii())),
        }
        self.parts += usize::from(*treatment != Treatment::Keep);
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
        let (mut at, mut begin, mut inside, mut found) = (0, 0, false, false);
        while at < body.len() {
            let rest = body.get(at..).unwrap_or_default();
            let end = memchr(b'\n', rest).map_or(body.len(), |n| at + n + 1);
            let line = body.get(at..end).unwrap_or_default();
            if let Some(is_last) = delimits(line, boundary) {
                let piece = body.get(begin..at).unwrap_or_default();
                match inside {
                    true => self.part(piece, place, depth)?,
                    false => self.outside(piece),
                }
                self.out.extend_from_slice(line);
                (begin, inside, found) = (end, !is_last, true);
                if is_last {
                    break;
                }
            }
            at = end;
        }
        let piece = body.get(begin..).unwrap_or_default();
        if !found {
            return Err(Obstacle("a multipart has no part"));
        }
        match inside {
            // The end of the last part is missing: readers take it to go on to the end.
            true => self.entity(piece, place, Extent::Whole, depth + 1),
            false => {
                self.outside(piece);
                Ok(())
            }
        }
    }

    /// A part and the line's end behind it, which belongs to the delimiter.
    fn part(&mut self, piece: &[u8], place: Place, depth: usize) -> Result<(), Obstacle> {
        let content = piece.strip_suffix(b"\n").unwrap_or(piece);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        self.entity(content, place, Extent::Whole, depth + 1)?;
        let end = piece.get(content.len()..).unwrap_or_default();
        self.out.extend_from_slice(end);
        Ok(())
    }

    /// Before the first delimiter and behind the last stands what readers ignore (RFC 2046
    /// §5.1.1).
    fn outside(&mut self, text: &[u8]) {
        let shown = |b: &u8| if b.is_ascii() { *b } else { b'?' };
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
                _ if raw.is_ascii() => self.out.extend_from_slice(raw),
                Some(found) => {
                    self.fields += 1;
                    self.out.extend_from_slice(&field::convert_text(&found)?);
                }
                None => return Err(Obstacle("a report in it has a line that is no field")),
            }
            rest = behind;
        }
        Ok(())
    }
}

/// The Content-Transfer-Encoding that goes with a treatment, where it changes.
const fn label(treatment: &Treatment) -> Option<&'static str> {
    match treatment {
        Treatment::Keep | Treatment::MendQuotedPrintable | Treatment::MendBase64 => None,
        Treatment::Parts { .. } | Treatment::Message | Treatment::Fields => Some("7bit"),
        Treatment::QuotedPrintable => Some("quoted-printable"),
        Treatment::Base64 => Some("base64"),
    }
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

/// What becomes of a body outside ASCII.
fn treatment(header: &[u8], body: &[u8], place: Place) -> Result<Treatment, Obstacle> {
    let mut fields = Headers::new(header);
    let found = fields.find(|f| f.is("Content-Type"));
    let found = found.and_then(|f| ContentType::parse(f.value));
    let kind = found.unwrap_or_else(|| match place {
        Place::Message | Place::Part => ContentType::new("text", "plain"),
        Place::DigestPart => ContentType::new("message", "rfc822"),
    });
    let encoding = Headers::new(header).find(|f| f.is("Content-Transfer-Encoding"));
    let encoding = encoding.map(|f| bare_word(&f)).unwrap_or_default();
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
        "" | "7bit" | "8bit" | "binary" => leaf(&kind, body),
        "quoted-printable" => Treatment::MendQuotedPrintable,
        "base64" => Treatment::MendBase64,
        _ => {
            return Err(Obstacle(
                "a part of it has an encoding that is not known here",
            ));
        }
    })
}

/// Text stays readable where it is mostly ASCII; everything else takes less room in base64.
fn leaf(kind: &ContentType, body: &[u8]) -> Treatment {
    let high = body.iter().filter(|b| !b.is_ascii()).count();
    let is_text = matches!(kind.main.as_str(), "text" | "message");
    match is_text && high <= body.len() / 2 && memchr(0, body).is_none() {
        true => Treatment::QuotedPrintable,
        false => Treatment::Base64,
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
    let encoded = matches!(treatment, Treatment::QuotedPrintable | Treatment::Base64);
    (encoded && kind.is("text", "plain") && !kind.has_charset).then(|| charset_of(body))
}

/// Whether the line is a delimiter of this boundary, and the last one (RFC 2046 §5.1.1).
fn delimits(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
    let (rest, is_last) = match rest.strip_prefix(b"--") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    rest.trim_ascii().is_empty().then_some(is_last)
}

/// Encodes the octets outside ASCII alone, and breaks the lines that become too long.
fn mend_quoted_printable(out: &mut Vec<u8>, body: &[u8]) {
    let mut column = 0;
    let mut rest = body;
    while let Some(first) = rest.first().copied() {
        let length = match rest {
            [b'=', b'\r', b'\n', ..] => 3,
            [b'=', b'\n', ..] | [b'\r', b'\n', ..] => 2,
            [b'=', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => 3,
            _ => 1,
        };
        let (token, behind) = rest.split_at_checked(length).unwrap_or((rest, b""));
        let code;
        let token = match first.is_ascii() {
            true => token,
            false => {
                code = format!("={first:02X}");
                code.as_bytes()
            }
        };
        if token.ends_with(b"\n") {
            column = 0;
            out.extend_from_slice(token);
        } else {
            if column + token.len() > 75 && !matches!(behind, [b'\r' | b'\n', ..] | []) {
                out.extend_from_slice(b"=\r\n");
                column = 0;
            }
            out.extend_from_slice(token);
            column += token.len();
        }
        rest = behind;
    }
}
