//! Selectors: which of a domain's keys (RFC 6376 §3.1).

use std::fmt;
use std::str::FromStr;

/// Labels of letters, digits and hyphens with dots between; in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(String);

/// Why a text is not a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a selector: write letters, digits and hyphens, with dots between, such as \"s2026\""
)]
pub struct ParseSelectorError(String);

impl FromStr for Selector {
    type Err = ParseSelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        match text.len() <= 200 && text.split('.').all(is_label) {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(ParseSelectorError(text.to_owned())),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Selector {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_labels() {
        for good in ["s", "S2026", "a-b.c"] {
            let selector: Selector = good.parse().unwrap();
            assert_eq!(selector.to_string(), good.to_ascii_lowercase());
        }
        for bad in [
            "",
            ".",
            "a.",
            "-a",
            "a_b",
            "a b",
            "a;b",
            "\u{fc}",
            &"a".repeat(64),
        ] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }
}
