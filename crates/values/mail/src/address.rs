//! Mail addresses as they stand in an envelope: `local@domain` (RFC 5321 §4.1.2).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::{Domain, ParseDomainError};

/// A mailbox: local part, kept to the letter, and domain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    local: Arc<str>,
    domain: Domain,
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseAddressError {
    /// There is no `@` with something before and after it.
    #[error("an address has the form local@domain")]
    NoAt,
    /// The local part is longer than [`Address::LOCAL_MAX`].
    #[error("the part before the @ is longer than 192 octets")]
    LocalTooLong,
    /// A character in the local part that must be quoted, or none may have.
    #[error("the part before the @ contains a character that is not allowed there")]
    Local,
    /// The domain is not one.
    #[error(transparent)]
    Domain(#[from] ParseDomainError),
}

impl Address {
    /// Octets that a local part may have. RFC 5321 §4.5.3.1.1 lets servers refuse more than 64; return paths of
    /// others (VERP, SRS, BATV) are longer.
    pub const LOCAL_MAX: usize = 192;

    /// Reads `local@domain`; the local part may be a quoted string.
    ///
    /// # Errors
    /// When a part is missing, too long, or has characters that it may not have.
    pub fn parse(text: &str) -> Result<Self, ParseAddressError> {
        let (local, domain) = text.rsplit_once('@').ok_or(ParseAddressError::NoAt)?;
        if local.is_empty() || domain.is_empty() {
            return Err(ParseAddressError::NoAt);
        }
        if local.len() > Self::LOCAL_MAX {
            return Err(ParseAddressError::LocalTooLong);
        }
        if !(is_dot_string(local) || is_quoted_string(local)) {
            return Err(ParseAddressError::Local);
        }
        Ok(Self {
            local: local.into(),
            domain: Domain::parse(domain)?,
        })
    }

    /// An address of a local part that is known to be good and a domain.
    ///
    /// # Errors
    /// When the local part is not one.
    pub fn new(local: &str, domain: Domain) -> Result<Self, ParseAddressError> {
        if local.len() > Self::LOCAL_MAX {
            return Err(ParseAddressError::LocalTooLong);
        }
        if is_dot_string(local) || is_quoted_string(local) {
            Ok(Self {
                local: local.into(),
                domain,
            })
        } else {
            Err(ParseAddressError::Local)
        }
    }

    /// The part before the `@`, quotes included where they were given.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain.
    #[must_use]
    pub const fn domain(&self) -> &Domain {
        &self.domain
    }

    /// This local part at another domain.
    #[must_use]
    pub fn with_domain(&self, domain: Domain) -> Self {
        Self {
            local: Arc::clone(&self.local),
            domain,
        }
    }

    /// Whether every octet is ASCII, so that no SMTPUTF8 is needed for it.
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii() && self.domain.as_str().is_ascii()
    }

    /// The address with its domain in A-label form; `None` when only SMTPUTF8 can carry it
    /// (RFC 6531 §3.2).
    #[must_use]
    pub fn to_ascii(&self) -> Option<Self> {
        if !self.local.is_ascii() {
            return None;
        }
        Some(Self {
            local: Arc::clone(&self.local),
            domain: self.domain.to_ascii()?,
        })
    }
}

/// xtext of RFC 3461 §4.
#[must_use]
pub fn xtext(text: &str) -> String {
    let encode = |b: u8| match b {
        b'!'..=b'~' if b != b'+' && b != b'=' => char::from(b).to_string(),
        _ => format!("+{b:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// An address of the type `utf-8` in ASCII: what xtext cannot say is `\x{F6}` (RFC 6533 §3,
/// utf-8-addr-xtext).
#[must_use]
pub fn utf8_xtext(address: &Address) -> String {
    let letter = |c: char| match c {
        '!'..='~' if !matches!(c, '\\' | '+' | '=') => c.to_string(),
        _ => format!("\\x{{{:X}}}", u32::from(c)),
    };
    address.to_string().chars().map(letter).collect()
}

fn is_dot_string(local: &str) -> bool {
    let is_atext = |c: char| {
        !c.is_ascii() && !c.is_control() && !is_invisible(c)
            || c.is_ascii_alphanumeric()
            || "!#$%&'*+-/=?^_`{|}~".contains(c)
    };
    // Empty atoms ("a..b") break the grammar, but addresses with them are in real use.
    !local.starts_with('.') && local.chars().all(|c| c == '.' || is_atext(c))
}

/// Characters that no reader sees, so that an address with one looks like another.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

fn is_quoted_string(local: &str) -> bool {
    let Some(inner) = local.strip_prefix('"').and_then(|l| l.strip_suffix('"')) else {
        return false;
    };
    let mut escaped = false;
    for c in inner.chars() {
        if c.is_control() || (c == '"' && !escaped) {
            return false;
        }
        escaped = c == '\\' && !escaped;
    }
    !escaped
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::parse(s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_every_allowed_form_are_kept_to_the_letter() {
        for text in [
            "a@b.example",
            "A.B+c@x.example",
            "\"a b\"@x.example",
            "\"a@b\"@x.example",
            "müller@x.example",
            "a@[192.0.2.1]",
            "\"a\\\"b\"@x.example",
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@x.example", "a".repeat(193));
        for text in [
            "",
            "a",
            "@x",
            "a@",
            "a b@x",
            ".a@x",
            "a\u{0}b@c",
            "\"a@x",
            "\"a\\\"@x",
            "a\u{200b}@x.example",
            "<a@b>",
            "a@b@c@-",
            &long,
        ] {
            assert!(Address::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_address_outside_ascii_can_be_named_in_ascii() {
        let a = Address::parse("b\u{f6}+b@\u{4f60}.example").unwrap();
        assert_eq!(utf8_xtext(&a), r"b\x{F6}\x{2B}b@\x{4F60}.example");
    }

    #[test]
    fn only_the_domain_can_be_made_ascii() {
        let a = Address::parse("a@bücher.example").unwrap();
        assert_eq!(a.to_ascii().unwrap().to_string(), "a@xn--bcher-kva.example");
        assert_eq!(Address::parse("ü@x.example").unwrap().to_ascii(), None);
    }
}
