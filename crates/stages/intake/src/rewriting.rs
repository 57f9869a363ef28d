//! Rewriting of recipients at intake: Convert Email Address and Convert Domain.

use std::str::FromStr;

use mail::{Address, Domain, ParseDomainError};

/// Which domains a rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainMatch {
    /// This domain and no other.
    Exact(Domain),
    /// The subdomains of this domain, however deep, and not itself.
    Subdomains(Domain),
    /// Every domain.
    All,
}

/// Why a text is not a match of domains.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a match is \"example.com\", \".example.com\" for its subdomains, or \"*\" for all: {0}")]
pub struct ParseDomainMatchError(#[from] ParseDomainError);

impl FromStr for DomainMatch {
    type Err = ParseDomainMatchError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match (text, text.strip_prefix('.')) {
            ("*", _) => Self::All,
            (_, Some(parent)) => Self::Subdomains(Domain::parse(parent)?.a_label()),
            (_, None) => Self::Exact(Domain::parse(text)?.a_label()),
        })
    }
}

impl DomainMatch {
    /// How closely the rule speaks of `domain`, in its A-label form; `None` when it does not.
    fn closeness(&self, domain: &str) -> Option<usize> {
        match self {
            Self::Exact(own) => (own.as_str() == domain).then_some(usize::MAX),
            Self::Subdomains(parent) => {
                let below = domain.strip_suffix(parent.as_str())?;
                below.ends_with('.').then_some(parent.as_str().len())
            }
            Self::All => Some(0),
        }
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewriteRule {
    /// Where it applies.
    pub matching: DomainMatch,
    /// All mail goes to this address.
    pub convert_address: Option<Address>,
    /// The domain is replaced by this one.
    pub convert_domain: Option<Domain>,
}

/// All rules. Each of the two conversions is taken from the closest match that sets it; where both
/// are set, the address wins, for it says more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewriting {
    rules: Vec<RewriteRule>,
}

impl Rewriting {
    /// These rules.
    #[must_use]
    pub const fn new(rules: Vec<RewriteRule>) -> Self {
        Self { rules }
    }

    /// What the address becomes; `None` when it stays. The result is not rewritten again, so that
    /// rules cannot chase each other.
    #[must_use]
    pub fn apply(&self, address: &Address) -> Option<Address> {
        if self.rules.is_empty() {
            return None;
        }
        let domain = address.domain().a_label();
        let to = self
            .closest(&domain, |rule| rule.convert_address.as_ref())
            .cloned()
            .or_else(|| {
                let domain = self.closest(&domain, |rule| rule.convert_domain.as_ref())?;
                Some(address.with_domain(domain.clone()))
            })?;
        (to != *address).then_some(to)
    }

    fn closest<'a, T>(
        &'a self,
        domain: &Domain,
        value: impl Fn(&'a RewriteRule) -> Option<&'a T>,
    ) -> Option<&'a T> {
        let matching = self.rules.iter().filter_map(|rule| {
            let closeness = rule.matching.closeness(domain.as_str())?;
            Some((closeness, value(rule)?))
        });
        matching
            .max_by_key(|(closeness, _)| *closeness)
            .map(|(_, v)| v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(matching: &str, address: Option<&str>, domain: Option<&str>) -> RewriteRule {
        RewriteRule {
            matching: matching.parse().unwrap(),
            convert_address: address.map(|a| a.parse().unwrap()),
            convert_domain: domain.map(|d| d.parse().unwrap()),
        }
    }

    #[test]
    fn the_closest_match_that_sets_a_conversion_wins() {
        let rewriting = Rewriting::new(vec![
            rule("*", None, Some("all.example")),
            rule(".example.com", None, Some("sub.example")),
            rule(".deep.example.com", None, Some("deep.example")),
            rule("example.com", None, Some("exact.example")),
            rule("x.deep.example.com", None, None),
            rule(".boss.example", Some("boss@boss.example"), None),
            rule("b\u{fc}cher.example", None, Some("books.example")),
        ]);
        let cases = [
            ("a@example.com", "a@exact.example"),
            ("a@x.example.com", "a@sub.example"),
            ("a@x.deep.example.com", "a@deep.example"),
            ("a@notexample.com", "a@all.example"),
            ("a@x.boss.example", "boss@boss.example"),
            ("a@boss.example", "a@all.example"),
            ("a@xn--bcher-kva.example", "a@books.example"),
        ];
        for (from, to) in cases {
            let got = rewriting.apply(&from.parse().unwrap()).unwrap();
            assert_eq!(got.to_string(), to, "{from}");
        }
    }

    #[test]
    fn what_no_rule_changes_stays() {
        let rewriting = Rewriting::new(vec![rule("a.example", Some("me@a.example"), None)]);
        assert_eq!(rewriting.apply(&"me@a.example".parse().unwrap()), None);
        assert_eq!(rewriting.apply(&"me@b.example".parse().unwrap()), None);
        assert!("..x".parse::<DomainMatch>().is_err());
    }
}
