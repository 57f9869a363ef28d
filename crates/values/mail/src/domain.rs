//! Domains: the part of an address after the `@`, names of hosts, and address literals.

use std::borrow::Borrow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// A domain name in lower case without the final dot, or an address literal (`[192.0.2.1]`).
///
/// A name outside ASCII is kept as it was given (lower case, RFC 6531) and turned into its
/// A-label form by [`Domain::to_ascii`] where DNS or a peer needs that.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Arc<str>);

/// Why a text is not a domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseDomainError {
    /// Nothing was given.
    #[error("the domain is empty")]
    Empty,
    /// Longer than DNS can ask for (RFC 1035 §2.3.4).
    #[error("the domain is longer than 253 octets")]
    TooLong,
    /// A label is empty, longer than 63 octets, or has a character that no host name has.
    #[error("`{0}` is not a valid part of a domain name")]
    Label(String),
    /// Brackets around something that is not an address (RFC 5321 §4.1.3).
    #[error("`{0}` is not an address literal: write [192.0.2.1] or [IPv6:2001:db8::1]")]
    Literal(String),
}

impl Domain {
    /// Reads a domain or an address literal.
    ///
    /// # Errors
    /// When the text is neither.
    pub fn parse(text: &str) -> Result<Self, ParseDomainError> {
        if let Some(inner) = text.strip_prefix('[') {
            let literal = || ParseDomainError::Literal(text.to_owned());
            let inner = inner.strip_suffix(']').ok_or_else(literal)?;
            let ip = parse_literal(inner).ok_or_else(literal)?;
            return Ok(Self::from_ip(ip));
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(ParseDomainError::Empty);
        }
        if text.len() > 253 {
            return Err(ParseDomainError::TooLong);
        }
        for label in text.split('.') {
            if !label_is_valid(label) {
                return Err(ParseDomainError::Label(label.to_owned()));
            }
        }
        let lower: String = if text.is_ascii() {
            text.to_ascii_lowercase()
        } else {
            text.to_lowercase()
        };
        let domain = Self(lower.into());
        if !domain.0.is_ascii() && domain.to_ascii().is_none() {
            return Err(ParseDomainError::Label(text.to_owned()));
        }
        Ok(domain)
    }

    /// The address literal for an address.
    #[must_use]
    pub fn from_ip(ip: IpAddr) -> Self {
        Self(match ip {
            IpAddr::V4(v4) => format!("[{v4}]").into(),
            IpAddr::V6(v6) => format!("[IPv6:{v6}]").into(),
        })
    }

    /// The text of the domain.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, when this is an address literal.
    #[must_use]
    pub fn literal(&self) -> Option<IpAddr> {
        parse_literal(self.0.strip_prefix('[')?.strip_suffix(']')?)
    }

    /// The A-label form that DNS and peers without SMTPUTF8 understand (RFC 5891); `None` when
    /// the name has no such form.
    #[must_use]
    pub fn to_ascii(&self) -> Option<Self> {
        if self.0.is_ascii() {
            return Some(self.clone());
        }
        let ascii = idna::domain_to_ascii(&self.0).ok()?;
        // The mapping can make a space or a control character of one that is not ASCII.
        let is_name = ascii.len() <= 253 && ascii.split('.').all(label_is_valid);
        is_name.then(|| Self(ascii.into()))
    }

    /// The one form in which domains are compared: the A-label form, or the name as it is where it has none.
    #[must_use]
    pub fn a_label(&self) -> Self {
        self.to_ascii().unwrap_or_else(|| self.clone())
    }

    /// The domain one label up, if there is one.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.0.starts_with('[') {
            return None;
        }
        self.0.split_once('.').map(|(_, rest)| Self(rest.into()))
    }
}

fn parse_literal(inner: &str) -> Option<IpAddr> {
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => {
            inner.get(5..)?.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

fn label_is_valid(label: &str) -> bool {
    // The underscore is not a host name's character, but real domains with it receive mail.
    let bad = |c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && c != '-' && c != '_';
    !label.is_empty()
        && label.len() <= 63
        && !label.starts_with('-')
        && !label.ends_with('-')
        && !label.contains(|c: char| bad(c) || c.is_control() || c.is_whitespace())
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Domain {
    type Err = ParseDomainError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::parse(s)
    }
}

impl Borrow<str> for Domain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_without_the_final_dot() {
        assert_eq!(
            Domain::parse("Example.COM.").unwrap().as_str(),
            "example.com"
        );
        for bad in [
            "",
            ".",
            "a..b",
            "-a.b",
            "a b",
            "a\u{7f}.c",
            "a@b",
            "x.\u{0}",
            "\u{b4}e.example",
            "a\u{2024}\u{2024}b.example",
        ] {
            assert!(Domain::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn literals_carry_their_address() {
        let v4 = Domain::parse("[192.0.2.1]").unwrap();
        assert_eq!(v4.literal(), Some("192.0.2.1".parse().unwrap()));
        let v6 = Domain::parse("[ipv6:2001:DB8::1]").unwrap();
        assert_eq!(v6.as_str(), "[IPv6:2001:db8::1]");
        assert_eq!(v6.literal(), Some("2001:db8::1".parse().unwrap()));
        assert!(Domain::parse("[nonsense]").is_err());
        assert!(Domain::parse("[2001:db8::1]").is_err());
    }

    #[test]
    fn an_international_name_has_an_a_label_form() {
        let domain = Domain::parse("BÜCHER.example").unwrap();
        assert_eq!(domain.as_str(), "bücher.example");
        assert_eq!(domain.to_ascii().unwrap().as_str(), "xn--bcher-kva.example");
        assert_eq!(domain.a_label().as_str(), "xn--bcher-kva.example");
    }

    #[test]
    fn parents_end_at_the_top_label() {
        let parent = Domain::parse("a.b.example").unwrap().parent().unwrap();
        assert_eq!(parent.as_str(), "b.example");
        assert_eq!(parent.parent().unwrap().parent(), None);
    }
}
