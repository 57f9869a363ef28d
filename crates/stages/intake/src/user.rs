//! Users who have logged in, and the addresses that they may send from.

use std::fmt;
use std::str::FromStr;

use mail::{Address, Domain, EnhancedCode, Reply};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// From where it may send.
    pub senders: Senders,
}

/// The addresses that a user may send from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Senders(Vec<SenderMatch>);

/// One address, or many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SenderMatch {
    /// Every address: `*`.
    Any,
    /// Every address of a domain: `@example.com`, or `example.com`.
    Domain(Domain),
    /// This address.
    Address(Address),
}

/// Why a text is not a match of senders.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a sender: write an address, a domain for all of its addresses (`example.com` or `@example.com`), or \
     `*` for all"
)]
pub struct ParseSenderMatchError(String);

impl FromStr for SenderMatch {
    type Err = ParseSenderMatchError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseSenderMatchError(text.to_owned());
        match (text, text.strip_prefix('@')) {
            ("*", _) => Ok(Self::Any),
            (_, Some(domain)) => match Domain::parse(domain) {
                Ok(domain) => Ok(Self::Domain(domain.a_label())),
                Err(_) => Err(wrong()),
            },
            (address, None) if address.contains('@') => Address::parse(address)
                .map(Self::Address)
                .map_err(|_| wrong()),
            // A single word is rather a name that lacks its domain.
            (domain, None) if !domain.contains('.') => Err(wrong()),
            (domain, None) => match Domain::parse(domain) {
                Ok(domain) => Ok(Self::Domain(domain.a_label())),
                Err(_) => Err(wrong()),
            },
        }
    }
}

impl fmt::Display for SenderMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Domain(domain) => write!(f, "@{domain}"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

impl SenderMatch {
    fn matches(&self, sender: &Address) -> bool {
        match self {
            Self::Any => true,
            Self::Domain(domain) => sender.domain().a_label() == *domain,
            // Local parts are compared without regard to case: nobody owns `Anna` beside `anna`.
            Self::Address(address) => {
                sender.local().eq_ignore_ascii_case(address.local())
                    && sender.domain().a_label() == address.domain().a_label()
            }
        }
    }
}

impl Senders {
    /// These.
    #[must_use]
    pub const fn new(matches: Vec<SenderMatch>) -> Self {
        Self(matches)
    }

    /// Every address.
    #[must_use]
    pub fn any() -> Self {
        Self(vec![SenderMatch::Any])
    }

    /// Whether these are all addresses.
    #[must_use]
    pub fn are_any(&self) -> bool {
        self.0.contains(&SenderMatch::Any)
    }

    /// Whether one may send from this address; the null reverse-path, of reports, is everybody's.
    #[must_use]
    pub fn allow(&self, sender: Option<&Address>) -> bool {
        sender.is_none_or(|sender| self.0.iter().any(|m| m.matches(sender)))
    }

    /// The refusal of a user who may not send from there.
    #[must_use]
    pub fn refusal(&self, user: &str, sender: &Address) -> Reply {
        let allowed = self.named();
        let text = format!(
            "{user} may not send as {sender}; allowed: {allowed}. An administrator can change this with `sendoff \
             user senders`"
        );
        Reply::new(553, Some(EnhancedCode::new(5, 7, 1)), text)
    }

    /// The refusal of a mail that says it was written by another.
    pub(crate) fn author_refusal(&self, user: Option<&str>, author: &Address) -> Reply {
        let (user, allowed) = (user.unwrap_or("You"), self.named());
        let text = format!(
            "{user} may not write as {author} (From or Sender in the header); allowed: {allowed}. An administrator \
             can allow addresses with `sendoff user senders`, or set submission.check_from"
        );
        Reply::new(550, Some(EnhancedCode::new(5, 7, 1)), text)
    }

    fn named(&self) -> String {
        let allowed: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        match allowed.is_empty() {
            true => "none".to_owned(),
            false => allowed.join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_are_matched_by_address_and_by_domain() {
        let senders =
            |list: &[&str]| Senders::new(list.iter().map(|text| text.parse().unwrap()).collect());
        let address = |text: &str| Address::parse(text).unwrap();
        let own = senders(&["anna@Example.com", "b\u{fc}cher.example", "@x.example"]);
        assert!(own.allow(Some(&address("a@x.example"))));
        assert!(own.allow(Some(&address("Anna@example.COM"))));
        assert!(own.allow(Some(&address("x@xn--bcher-kva.example"))));
        assert!(own.allow(None));
        assert!(!own.allow(Some(&address("otto@example.com"))));
        assert!(!own.allow(Some(&address("x@sub.b\u{fc}cher.example"))));
        assert!(senders(&["*"]).allow(Some(&address("x@y.example"))));
        assert!(!senders(&[]).allow(Some(&address("x@y.example"))));
        for wrong in ["", "@", "anna", "a@b@c", "@a b"] {
            assert!(wrong.parse::<SenderMatch>().is_err(), "{wrong}");
        }
    }
}
