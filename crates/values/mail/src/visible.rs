//! The one door for text that strangers wrote on its way to a terminal or the log: what a terminal would
//! obey, and what a reader does not see, is written out.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character is one that a terminal obeys, or that changes how text reads without being seen:
/// control characters, separators of lines and paragraphs, changes of direction (bidi), what has no
/// width, and tags.
#[must_use]
pub const fn is_hidden(c: char) -> bool {
    // Nearly all text is ASCII, and every field of the log comes through here.
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text with all that is hidden written as JSON writes it, `\u001b`, so that JSON stays JSON. Its own
/// line ends and tabs stay.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    written_out(text, |c| is_hidden(c) && !matches!(c, '\n' | '\t'))
}

/// The same for text that has one line.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    written_out(text, is_hidden)
}

fn written_out(text: &str, is_bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_plain = text.bytes().all(|b| matches!(b, b' '..=b'~'));
    if is_plain || !text.contains(&is_bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if !is_bad(c) {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let written = write!(out, "\\u{unit:04x}");
            debug_assert!(written.is_ok(), "a string takes everything");
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_and_nobody_sees_is_written_out() {
        for (text, expected) in [
            (
                "plain, \u{fc} \u{4f60} \u{1f600}",
                "plain, \u{fc} \u{4f60} \u{1f600}",
            ),
            ("\u{1b}]0;x\u{7}", "\\u001b]0;x\\u0007"),
            ("a\u{9b}2J\u{7f}", "a\\u009b2J\\u007f"),
            ("a\u{202e}gpj.exe", "a\\u202egpj.exe"),
            (
                "\u{2066}a\u{2069}\u{200b}\u{feff}",
                "\\u2066a\\u2069\\u200b\\ufeff",
            ),
            ("\u{e0041}", "\\udb40\\udc41"),
            ("a\nb\tc\rd", "a\nb\tc\\u000dd"),
        ] {
            assert_eq!(visible(text), expected);
        }
        assert_eq!(one_line("a\nb\tc"), "a\\u000ab\\u0009c");
    }
}
