//! The tokens of structured header fields (RFC 5322 §3.2), outside ASCII too (RFC 6532 §3.2).
//!
//! Every octet is in exactly one token, so that what is not touched can be written as it was. What
//! is not closed goes on to the end.

use super::folded::is_blank;

/// A token, as it stands in the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Blanks.
    Space(&'a [u8]),
    /// With its parentheses; comments inside are part of it.
    Comment(&'a [u8]),
    /// With its quotes.
    Quoted(&'a [u8]),
    /// With its angle brackets.
    Angle(&'a [u8]),
    /// With its square brackets.
    Literal(&'a [u8]),
    /// `,`, `;`, `:`, or a bracket that opens nothing.
    Special(&'a [u8]),
    /// Anything else; dots and `@` are part of it.
    Atom(&'a [u8]),
}

impl<'a> Token<'a> {
    /// What stands in angle brackets, with them.
    pub(super) const fn angle(&self) -> Option<&'a [u8]> {
        match self {
            Self::Angle(raw) => Some(raw),
            Self::Space(_)
            | Self::Comment(_)
            | Self::Quoted(_)
            | Self::Literal(_)
            | Self::Special(_)
            | Self::Atom(_) => None,
        }
    }

    pub(super) const fn raw(&self) -> &'a [u8] {
        match self {
            Self::Space(raw)
            | Self::Comment(raw)
            | Self::Quoted(raw)
            | Self::Angle(raw)
            | Self::Literal(raw)
            | Self::Special(raw)
            | Self::Atom(raw) => raw,
        }
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Atom(raw) if raw.eq_ignore_ascii_case(word.as_bytes()))
    }

    pub(super) const fn is_special(&self, special: u8) -> bool {
        matches!(self, Self::Special([b]) if *b == special)
    }
}

/// The tokens of an unfolded field body.
pub(super) fn tokens(body: &[u8]) -> impl Iterator<Item = Token<'_>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let first = *rest.first()?;
        let length = match first {
            b' ' | b'\t' => rest.iter().position(|b| !is_blank(*b)),
            b'(' => comment_end(rest),
            b'"' => end_behind(rest, b'"'),
            b'<' => end_behind(rest, b'>'),
            b'[' => end_behind(rest, b']'),
            b',' | b';' | b':' | b')' | b'>' | b']' => Some(1),
            _ => atom_end(rest),
        };
        let (raw, behind) = rest.split_at_checked(length.unwrap_or(rest.len()))?;
        rest = behind;
        Some(match first {
            b' ' | b'\t' => Token::Space(raw),
            b'(' => Token::Comment(raw),
            b'"' => Token::Quoted(raw),
            b'<' => Token::Angle(raw),
            b'[' => Token::Literal(raw),
            b',' | b';' | b':' | b')' | b'>' | b']' => Token::Special(raw),
            _ => Token::Atom(raw),
        })
    })
}

fn atom_end(text: &[u8]) -> Option<usize> {
    let ends = |b: &u8| is_blank(*b) || b"()<>[]:;,\"".contains(b);
    text.iter().position(ends)
}

/// After the closing octet, which quotes and a backslash hide.
fn end_behind(text: &[u8], close: u8) -> Option<usize> {
    let (mut escaped, mut quoted) = (false, false);
    for (at, b) in text.iter().copied().enumerate().skip(1) {
        if escaped {
            escaped = false;
        } else if b == b'\\' {
            escaped = true;
        } else if b == close && !quoted {
            return Some(at + 1);
        } else if b == b'"' {
            quoted = !quoted;
        }
    }
    None
}

fn comment_end(text: &[u8]) -> Option<usize> {
    let (mut escaped, mut depth) = (false, 0_usize);
    for (at, b) in text.iter().copied().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}
