//! Writing a header field in ASCII: folding (RFC 5322 §2.2.3) and encoded words (RFC 2047).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A line with an encoded word has 76 octets at most (RFC 2047 §2); two are left for what
/// may follow without a blank, such as `)` and `,`.
const LINE_MAX: usize = 74;
/// An encoded word begins on this line when it can hold so much.
const PAYLOAD_MIN: usize = 12;

/// A field under construction.
#[derive(Debug)]
pub(super) struct Folded {
    out: Vec<u8>,
    /// Octets of the line so far.
    column: usize,
    /// Nothing stands after the colon yet, so a fold would leave an empty line.
    fresh: bool,
}

impl Folded {
    pub(super) fn new(name: &[u8]) -> Self {
        let mut out = name.to_vec();
        out.push(b':');
        Self {
            column: out.len(),
            out,
            fresh: true,
        }
    }

    /// A word in ASCII after white space, on a new line where this one is full.
    pub(super) fn word(&mut self, space: &[u8], word: &[u8]) {
        if !space.is_empty() && !self.fresh && self.column + space.len() + word.len() > LINE_MAX {
            self.fold();
        }
        self.put(space);
        self.put(word);
    }

    /// ASCII as it is, but folded again where it has white space.
    pub(super) fn verbatim(&mut self, text: &[u8]) {
        for (space, word) in words(text).filter(|(_, word)| !word.is_empty()) {
            self.word(space, word);
        }
    }

    /// Text as encoded words, as many as it needs, split between characters.
    pub(super) fn encoded(&mut self, space: &[u8], text: &[u8]) {
        let (charset, is_utf8) = match std::str::from_utf8(text) {
            Ok(_) => ("UTF-8", true),
            // RFC 1428 §3: a charset that nobody declared.
            Err(_) => ("unknown-8bit", false),
        };
        let q_len: usize = text.iter().map(|b| q_width(*b)).sum();
        // What is mostly ASCII stays readable as it is sent.
        let base64 = text.len().div_ceil(3) * 4 * 3 < q_len * 2;
        let frame = charset.len() + "=??Q??=".len();
        let (mut space, mut rest) = (space, text);
        while !rest.is_empty() {
            let room = |column: usize| LINE_MAX.saturating_sub(column + space.len().max(1) + frame);
            if room(self.column) < PAYLOAD_MIN && self.column > 0 {
                self.fold();
                if space.is_empty() {
                    space = b" ";
                }
            }
            let room = LINE_MAX.saturating_sub(self.column + space.len().max(1) + frame);
            let end = fitting(rest, room.max(PAYLOAD_MIN), is_utf8, base64);
            let (now, later) = rest.split_at_checked(end).unwrap_or((rest, b""));
            let letter = if base64 { 'B' } else { 'Q' };
            let payload = match base64 {
                true => STANDARD.encode(now),
                false => q(now),
            };
            self.put(space);
            self.put(format!("=?{charset}?{letter}?{payload}?=").as_bytes());
            (rest, space) = (later, b" ");
        }
    }

    fn fold(&mut self) {
        self.out.extend_from_slice(b"\r\n");
        self.column = 0;
    }

    fn put(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
        self.column += text.len();
        self.fresh &= text.is_empty();
    }

    /// The field with its line's end.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.out.extend_from_slice(b"\r\n");
        self.out
    }
}

/// How many octets of `text`, whole characters, fit into a payload of so many.
fn fitting(text: &[u8], payload: usize, is_utf8: bool, base64: bool) -> usize {
    let (mut end, mut width) = (0, 0);
    while let Some(first) = text.get(end) {
        let next = end + if is_utf8 { char_len(*first) } else { 1 };
        let unit = text.get(end..next).unwrap_or_default();
        width = match base64 {
            true => next.div_ceil(3) * 4,
            false => width + unit.iter().map(|b| q_width(*b)).sum::<usize>(),
        };
        if width > payload && end > 0 {
            break;
        }
        end = next;
    }
    end
}

const fn char_len(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}

/// What may stand as it is in a Q word in every place (RFC 2047 §5, rule 3).
const fn is_plain(b: u8) -> bool {
    matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'*' | b'+' | b'-' | b'/')
}

const fn q_width(b: u8) -> usize {
    if is_plain(b) || b == b' ' { 1 } else { 3 }
}

fn q(text: &[u8]) -> String {
    let letter = |b: &u8| match *b {
        b' ' => "_".to_owned(),
        b if is_plain(b) => char::from(b).to_string(),
        b => format!("={b:02X}"),
    };
    text.iter().map(letter).collect()
}

pub(super) const fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t')
}

/// The words of a text, each with the white space before it; the last may be empty.
pub(super) fn words(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let begin = rest.iter().position(|b| !is_blank(*b));
        let (space, behind) = rest.split_at(begin.unwrap_or(rest.len()));
        let end = behind.iter().position(|b| is_blank(*b));
        let (word, behind) = behind.split_at(end.unwrap_or(behind.len()));
        rest = behind;
        Some((space, word))
    })
}
