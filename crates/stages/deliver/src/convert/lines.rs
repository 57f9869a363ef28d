//! Lines out of octets that are none: line ends are mended, encodings put in order (RFC 2046
//! §4.1.1, RFC 3030 §3).

use std::borrow::Cow;

use mail::LINE_MAX;
use memchr::{memchr, memchr2_iter, memmem};

/// The characters of base64 in a line (RFC 2045 §6.8).
const BASE64_LINE: usize = 76;

/// The octets with each LF that stands alone made CRLF: it is what programs mean by it. A CR that
/// stands alone is left.
pub(super) fn crlf(octets: &[u8]) -> Cow<'_, [u8]> {
    let mut out = Vec::new();
    let mut from = 0;
    for at in memchr::memchr_iter(b'\n', octets) {
        if at.checked_sub(1).and_then(|n| octets.get(n)) != Some(&b'\r') {
            out.extend_from_slice(octets.get(from..at).unwrap_or_default());
            out.extend_from_slice(b"\r\n");
            from = at + 1;
        }
    }
    match from {
        0 => Cow::Borrowed(octets),
        _ => {
            out.extend_from_slice(octets.get(from..).unwrap_or_default());
            Cow::Owned(out)
        }
    }
}

/// Whether no CR or LF stands alone, and there is no NUL; lines may be of any length.
pub(super) fn is_clean(octets: &[u8]) -> bool {
    memchr(0, octets).is_none() && smtp::dot_stuffing::is_canonical(octets)
}

/// Text that readers ignore, in lines: what stands alone becomes `?`, too long lines are cut.
pub(super) fn ignored(text: &[u8]) -> Vec<u8> {
    let text = crlf(text);
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|b| *b == b'\n') {
        let (line, end) = match line.strip_suffix(b"\r\n") {
            Some(line) => (line, &b"\r\n"[..]),
            None => (line, &b""[..]),
        };
        let shown = |b: &u8| if matches!(b, 0 | b'\r') { b'?' } else { *b };
        out.extend(line.iter().take(LINE_MAX).map(shown));
        out.extend_from_slice(end);
    }
    out
}

/// Whether the word `binary` stands anywhere, in any case.
pub(super) fn names_binary(octets: &[u8]) -> bool {
    const WORD: &[u8] = b"binary";
    memchr2_iter(b'b', b'B', octets).any(|at| {
        let word = octets.get(at..at + WORD.len());
        word.is_some_and(|word| word.eq_ignore_ascii_case(WORD))
    })
}

/// Whether a delimiter of one of these multiparts could stand in the octets.
pub(super) fn holds_any(octets: &[u8], boundaries: &[Vec<u8>]) -> bool {
    let holds = |boundary: &Vec<u8>| {
        let delimiter = [b"--", boundary.as_slice()].concat();
        memmem::find(octets, &delimiter).is_some()
    };
    boundaries.iter().any(holds)
}

/// A line that delimits parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delimiter {
    pub(super) begin: usize,
    pub(super) end: usize,
    pub(super) is_last: bool,
}

/// The delimiters of a multipart, up to the last one, and no more than `max`. With `strict`, only
/// CRLF ends a line: in a binary part an LF is an octet like others.
pub(super) fn delimiters(body: &[u8], boundary: &[u8], strict: bool, max: usize) -> Vec<Delimiter> {
    let mut found = Vec::new();
    let (mut at, mut begins) = (0, true);
    while at < body.len() && found.len() < max {
        let rest = body.get(at..).unwrap_or_default();
        let end = memchr(b'\n', rest).map_or(body.len(), |n| at + n + 1);
        let line = body.get(at..end).unwrap_or_default();
        let ends = !strict || line.ends_with(b"\r\n") || !line.ends_with(b"\n");
        if let (true, true, Some(is_last)) = (begins, ends, delimits(line, boundary)) {
            found.push(Delimiter {
                begin: at,
                end,
                is_last,
            });
            if is_last {
                break;
            }
        }
        begins = !strict || line.ends_with(b"\r\n");
        at = end;
    }
    found
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

/// Encodes the octets outside ASCII alone, and breaks the lines that become too long. With `lines`,
/// line ends are mended, and what else may not stand in a line is encoded too.
pub(super) fn mend_quoted_printable(out: &mut Vec<u8>, body: &[u8], lines: bool) {
    let mended;
    let mut rest = body;
    if lines {
        mended = crlf(body);
        rest = &mended;
    }
    let stands = |octet: u8| octet.is_ascii() && !(lines && octet < b' ' && octet != b'\t');
    let mut column = 0;
    while let Some(first) = rest.first().copied() {
        let length = match rest {
            [b'=', b'\r', b'\n', ..] => 3,
            [b'=', b'\n', ..] | [b'\r', b'\n', ..] => 2,
            [b'=', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => 3,
            _ => 1,
        };
        let (token, behind) = rest.split_at_checked(length).unwrap_or((rest, b""));
        let code;
        let token = match length > 1 || stands(first) {
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
            // A line that has been made must not read as a delimiter.
            let dashes = lines && column == 0 && token == b"-" && behind.starts_with(b"-");
            let token = if dashes { b"=2D".as_slice() } else { token };
            out.extend_from_slice(token);
            column += token.len();
        }
        rest = behind;
    }
}

/// Takes out what is not base64, and with `lines` breaks it into lines again.
pub(super) fn mend_base64(out: &mut Vec<u8>, body: &[u8], lines: bool) {
    if !lines {
        out.extend(body.iter().filter(|b| b.is_ascii()));
        return;
    }
    let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || b"+/=".contains(b);
    let text: Vec<u8> = body.iter().copied().filter(is_base64).collect();
    let mut rows = text.chunks(BASE64_LINE).peekable();
    while let Some(row) = rows.next() {
        out.extend_from_slice(row);
        if rows.peek().is_some() || body.ends_with(b"\n") {
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_that_is_made_lines_makes_no_delimiter() {
        let mend = |body: &[u8]| {
            let mut out = Vec::new();
            mend_quoted_printable(&mut out, body, true);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(mend(b"a\n--b\n"), "a\r\n=2D-b\r\n");
        // Where a line is broken, too.
        let long = format!("{}--b\n", "x".repeat(75));
        assert_eq!(
            mend(long.as_bytes()),
            format!("{}=\r\n=2D-b\r\n", "x".repeat(75))
        );
        assert_eq!(mend(b"a -- b\n- c\n"), "a -- b\r\n- c\r\n");
    }
}
