//! Licences that the project may be shipped with, and the reading of SPDX expressions.

/// Permissive licences, and those for data that ask for nothing but their text.
const ALLOWED: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether an expression leaves a choice that is allowed.
pub(crate) fn is_allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        // The old way to write OR.
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_ascii_whitespace().collect();
    let mut words = words.as_slice();
    let allowed = any_of(&mut words);
    allowed && words.is_empty()
}

fn any_of(words: &mut &[&str]) -> bool {
    let mut allowed = all_of(words);
    while let Some(("OR", rest)) = next(words) {
        *words = rest;
        allowed |= all_of(words);
    }
    allowed
}

fn all_of(words: &mut &[&str]) -> bool {
    let mut allowed = one(words);
    while let Some(("AND", rest)) = next(words) {
        *words = rest;
        allowed &= one(words);
    }
    allowed
}

fn one(words: &mut &[&str]) -> bool {
    let Some((word, rest)) = next(words) else {
        return false;
    };
    *words = rest;
    let allowed = match word {
        "(" => {
            let inner = any_of(words);
            let Some((")", rest)) = next(words) else {
                return false;
            };
            *words = rest;
            inner
        }
        name => ALLOWED.contains(&name),
    };
    // An exception only allows more.
    if let Some(("WITH", rest)) = next(words) {
        *words = rest.get(1..).unwrap_or_default();
    }
    allowed
}

fn next<'a, 'b>(words: &mut &'b [&'a str]) -> Option<(&'a str, &'b [&'a str])> {
    words.split_first().map(|(first, rest)| (*first, rest))
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn expressions_mean_what_spdx_says() {
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("MIT OR GPL-3.0-only", true),
            ("MIT AND GPL-3.0-only", false),
            ("MIT/Apache-2.0", true),
            ("Apache-2.0 WITH LLVM-exception OR MIT", true),
            ("ISC AND (GPL-3.0-only OR ISC) AND MIT", true),
            ("ISC AND (GPL-3.0-only OR AGPL-3.0)", false),
            ("", false),
            ("MIT MIT", false),
        ] {
            assert_eq!(is_allowed(expression), expected, "{expression}");
        }
    }
}
