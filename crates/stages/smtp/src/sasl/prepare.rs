//! Names and passwords in one spelling on both sides (SASLprep, RFC 4013).

use std::borrow::Cow;

/// The text in its prepared form. One that has none stays as it is: it holds characters that came into
/// Unicode later than version 3.2, such as most emoji, or such that a password should not have; whoever set it
/// wants to log in with it nevertheless, and both sides take it octet by octet then.
#[must_use]
pub fn prepare(text: &str) -> Cow<'_, str> {
    // Printable ASCII is its own prepared form.
    if text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    stringprep::saslprep(text).unwrap_or(Cow::Borrowed(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard_hold() {
        // RFC 4013 §3; the last two have no prepared form.
        for (text, prepared) in [
            ("I\u{ad}X", "IX"),
            ("user", "user"),
            ("USER", "USER"),
            ("\u{aa}", "a"),
            ("\u{2168}", "IX"),
            ("\u{7}", "\u{7}"),
            ("\u{627}1", "\u{627}1"),
        ] {
            assert_eq!(prepare(text), prepared, "{text:?}");
        }
    }

    #[test]
    fn spellings_of_a_letter_are_one_and_new_characters_are_kept() {
        assert_eq!(prepare("u\u{308}ber\u{a0}all"), "\u{fc}ber all");
        assert_eq!(prepare("\u{1f980}\u{aa}"), "\u{1f980}\u{aa}");
    }
}
