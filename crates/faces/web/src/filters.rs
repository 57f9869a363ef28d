//! What others wrote, as a page shows it.

use std::fmt::Write as _;

/// Octets of such a text on a page.
const SHOWN_MAX: usize = 2 << 10;

/// A text of a stranger: control characters, and those that turn the direction of text, are shown and not obeyed; a long one
/// is cut. What is special in HTML is escaped by the template.
pub(crate) fn wire(text: &str) -> String {
    let cut = text.len() > SHOWN_MAX;
    let text = text
        .get(..text.floor_char_boundary(SHOWN_MAX))
        .unwrap_or_default();
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push('\n'),
            c if c.is_control() || is_turning(c) => {
                let written = write!(shown, "\\x{:02x}", u32::from(c));
                debug_assert!(written.is_ok(), "a string takes everything");
            }
            c => shown.push(c),
        }
    }
    if cut {
        shown.push_str(" …");
    }
    shown
}

/// Characters that change how what stands around them is shown (Unicode TR #36).
const fn is_turning(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What is counted, as templates have it: by value or by reference.
pub(crate) trait Count {
    fn count(&self) -> u64;
}

impl Count for u64 {
    fn count(&self) -> u64 {
        *self
    }
}

impl Count for usize {
    fn count(&self) -> u64 {
        *self as u64
    }
}

impl<T: Count> Count for &T {
    fn count(&self) -> u64 {
        (**self).count()
    }
}

/// A number with thin groups of three.
pub(crate) fn number(n: impl Count) -> String {
    let digits = n.count().to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push('\u{202f}');
        }
        shown.push(digit);
    }
    shown
}

/// Octets as people say them.
pub(crate) fn size(octets: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KB", "MB", "GB"];
    let mut value = octets as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let unit = UNITS.get(unit).copied().unwrap_or_default();
    match value {
        value if value < 10.0 && octets >= 1000 => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_write_does_nothing() {
        assert_eq!(wire("550 no\r\n\u{1b}[31m"), "550 no\\x0d\n\\x1b[31m");
        assert_eq!(wire("a\u{202e}b"), "a\\x202eb");
        assert_eq!(wire("Grüße"), "Grüße");
        let long = "ä".repeat(5000);
        assert!(wire(&long).len() < SHOWN_MAX + 8 && wire(&long).ends_with('…'));
    }

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(number(0_u64), "0");
        assert_eq!(number(1_234_567_u64), "1\u{202f}234\u{202f}567");
        assert_eq!(
            (size(999).as_str(), size(1234).as_str()),
            ("999 B", "1.2 KB")
        );
        assert_eq!(size(25_000_000), "25 MB");
    }
}
