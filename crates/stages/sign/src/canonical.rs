//! The two forms in which header fields and body are hashed (RFC 6376 §3.4).

use mail::Header;

/// How much a signature bears to be changed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Canonicalization {
    /// Nothing, but for empty lines at the end of the body.
    Simple,
    /// Blanks may be added, taken away and folded elsewhere.
    #[default]
    Relaxed,
}

impl Canonicalization {
    /// The word for it in a signature.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Relaxed => "relaxed",
        }
    }
}

/// Appends a header field as it is hashed, with its line's end.
pub fn header_field(how: Canonicalization, field: &Header<'_>, out: &mut Vec<u8>) {
    match how {
        Canonicalization::Simple => out.extend_from_slice(field.raw),
        Canonicalization::Relaxed => {
            out.extend(field.name.to_ascii_lowercase());
            out.push(b':');
            let begin = out.len();
            let mut blank = false;
            let mut rest = field.value;
            while let Some((octet, behind)) = rest.split_first() {
                if let Some(folded) = rest.strip_prefix(b"\r\n") {
                    rest = folded;
                    continue;
                }
                rest = behind;
                match octet {
                    b' ' | b'\t' => blank = true,
                    other => {
                        if blank && out.len() > begin {
                            out.push(b' ');
                        }
                        blank = false;
                        out.push(*other);
                    }
                }
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Takes a body in pieces, however it is cut, and gives its canonical form in pieces: parts of the
/// input wherever they need no change, so that nothing is copied.
///
/// Lines end in CRLF; a CR or LF alone is an octet like others.
#[derive(Debug, Clone)]
pub struct BodyCanonicalizer {
    how: Canonicalization,
    /// Line ends after the last octet that was given.
    ends: usize,
    /// A blank after them.
    blank: bool,
    /// The last piece ended in a CR.
    cr: bool,
    any: bool,
}

impl BodyCanonicalizer {
    /// For one body.
    #[must_use]
    pub const fn new(how: Canonicalization) -> Self {
        Self {
            how,
            ends: 0,
            blank: false,
            cr: false,
            any: false,
        }
    }

    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8], out: &mut impl FnMut(&[u8])) {
        let mut at = 0;
        if self.cr && !piece.is_empty() {
            self.cr = false;
            if piece.first() == Some(&b'\n') {
                self.line_end();
                at = 1;
            } else {
                self.gap(out);
                out(b"\r");
            }
        }
        // What is given as it is: a part of the piece that grows as long as that holds.
        let mut start = at;
        let mut end = at;
        // The gap in front of the next octet began in an earlier piece.
        let mut carried = self.ends > 0 || self.blank;
        while let Some(octet) = piece.get(at) {
            match octet {
                b' ' | b'\t' if self.how == Canonicalization::Relaxed => {
                    self.blank = true;
                    at += 1;
                    continue;
                }
                b'\r' => match piece.get(at + 1) {
                    Some(b'\n') => {
                        self.line_end();
                        at += 2;
                        continue;
                    }
                    None => {
                        self.cr = true;
                        break;
                    }
                    Some(_) => {}
                },
                _ => {}
            }
            let as_it_is = at - end == 2 * self.ends + usize::from(self.blank)
                && (!self.blank || piece.get(at - 1) == Some(&b' '));
            if carried || !as_it_is {
                give(piece, start, end, out);
                self.gap(out);
                start = at;
            }
            carried = false;
            (self.ends, self.blank, self.any) = (0, false, true);
            at += 1 + self.ordinary(piece.get(at + 1..).unwrap_or_default());
            end = at;
        }
        give(piece, start, end, out);
    }

    /// The end of the body.
    pub fn finish(mut self, out: &mut impl FnMut(&[u8])) {
        if self.cr {
            self.gap(out);
            out(b"\r");
        }
        if self.any || self.how == Canonicalization::Simple {
            out(b"\r\n");
        }
    }

    /// How many octets in front mean nothing but themselves.
    fn ordinary(&self, rest: &[u8]) -> usize {
        let special = |octet: &u8| match octet {
            b'\r' => true,
            b' ' | b'\t' => self.how == Canonicalization::Relaxed,
            _ => false,
        };
        rest.iter().position(special).unwrap_or(rest.len())
    }

    /// A blank at the end of a line goes with it.
    const fn line_end(&mut self) {
        self.ends += 1;
        self.blank = false;
    }

    fn gap(&mut self, out: &mut impl FnMut(&[u8])) {
        for _ in 0..self.ends {
            out(b"\r\n");
        }
        if self.blank {
            out(b" ");
        }
        (self.ends, self.blank, self.any) = (0, false, true);
    }
}

fn give(piece: &[u8], start: usize, end: usize, out: &mut impl FnMut(&[u8])) {
    match piece.get(start..end) {
        Some([]) | None => {}
        Some(part) => out(part),
    }
}

#[cfg(test)]
mod tests {
    use mail::Headers;

    use super::*;
    use Canonicalization::{Relaxed, Simple};

    fn body(how: Canonicalization, pieces: &[&[u8]]) -> String {
        let mut canonical = BodyCanonicalizer::new(how);
        let mut got = Vec::new();
        let mut take = |part: &[u8]| got.extend_from_slice(part);
        for piece in pieces {
            canonical.update(piece, &mut take);
        }
        canonical.finish(&mut take);
        String::from_utf8(got).unwrap()
    }

    #[test]
    fn the_body_of_the_rfc_has_the_forms_of_the_rfc() {
        // RFC 6376 §3.4.5.
        let text = b" C \r\nD \t E\r\n\r\n\r\n";
        assert_eq!(body(Relaxed, &[text]), " C\r\nD E\r\n");
        assert_eq!(body(Simple, &[text]), " C \r\nD \t E\r\n");
    }

    #[test]
    fn bodies_have_their_canonical_forms() {
        for (text, relaxed, simple) in [
            ("", "", "\r\n"),
            ("\r\n", "", "\r\n"),
            ("\r\n\r\n", "", "\r\n"),
            (" \r\n\t\r\n", "", " \r\n\t\r\n"),
            ("a", "a\r\n", "a\r\n"),
            ("a\r\n", "a\r\n", "a\r\n"),
            ("a  b\r\n", "a b\r\n", "a  b\r\n"),
            ("a\tb\r\n", "a b\r\n", "a\tb\r\n"),
            ("a \t\r\n", "a\r\n", "a \t\r\n"),
            ("a\r\n b\r\n", "a\r\n b\r\n", "a\r\n b\r\n"),
            ("a \r\n\tb\r\n", "a\r\n b\r\n", "a \r\n\tb\r\n"),
            ("\r\n\r\na\r\n", "\r\n\r\na\r\n", "\r\n\r\na\r\n"),
            (
                "a\r\n \r\n\r\nb\r\n\r\n \r\n",
                "a\r\n\r\n\r\nb\r\n",
                "a\r\n \r\n\r\nb\r\n\r\n \r\n",
            ),
            (".\r\n..\r\n", ".\r\n..\r\n", ".\r\n..\r\n"),
            ("a\rb\nc\r\r\n", "a\rb\nc\r\r\n", "a\rb\nc\r\r\n"),
            ("a\r", "a\r\r\n", "a\r\r\n"),
            (
                "\u{fc}  \u{fc}\r\n",
                "\u{fc} \u{fc}\r\n",
                "\u{fc}  \u{fc}\r\n",
            ),
        ] {
            for (how, expected) in [(Relaxed, relaxed), (Simple, simple)] {
                assert_eq!(body(how, &[text.as_bytes()]), expected, "{how:?} {text:?}");
                let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
                assert_eq!(
                    body(how, &single),
                    expected,
                    "{how:?} {text:?}, octet by octet"
                );
            }
        }
    }

    #[test]
    fn what_needs_no_change_is_given_in_one_piece() {
        let text = b"One line.\r\n\r\n And another.\r\n";
        let mut pieces = 0;
        let mut canonical = BodyCanonicalizer::new(Relaxed);
        canonical.update(text, &mut |_| pieces += 1);
        canonical.finish(&mut |_| pieces += 1);
        assert_eq!(pieces, 2);
    }

    #[test]
    fn the_header_of_the_rfc_has_the_forms_of_the_rfc() {
        // RFC 6376 §3.4.5.
        let text = b"A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n";
        for (how, expected) in [
            (Relaxed, "a:X\r\nb:Y Z\r\n"),
            (Simple, "A: X\r\nB : Y\t\r\n\tZ  \r\n"),
        ] {
            let mut got = Vec::new();
            Headers::new(text).for_each(|field| header_field(how, &field, &mut got));
            assert_eq!(String::from_utf8(got).unwrap(), expected);
        }
    }
}
