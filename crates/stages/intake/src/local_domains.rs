//! The domains that are delivered to here.

use std::collections::BTreeSet;

use mail::Domain;

/// The domains that are delivered to here and never enter the outgoing queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalDomains {
    domains: BTreeSet<Domain>,
    /// Whether a Maildir or LMTP server is configured for them.
    pub has_store: bool,
    /// Whether that store can say which recipients it knows.
    pub store_knows: bool,
}

impl LocalDomains {
    /// These domains, with or without a place to deliver their mail to.
    #[must_use]
    pub fn new(domains: impl IntoIterator<Item = Domain>, has_store: bool) -> Self {
        Self {
            domains: domains.into_iter().map(|d| d.a_label()).collect(),
            has_store,
            store_knows: false,
        }
    }

    /// All of them.
    pub fn domains(&self) -> impl Iterator<Item = &Domain> {
        self.domains.iter()
    }

    /// Whether mail to this domain stays here.
    #[must_use]
    pub fn contains(&self, domain: &Domain) -> bool {
        !self.domains.is_empty() && self.domains.contains(&domain.a_label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_domains_are_known_in_both_forms() {
        let domain = |text: &str| Domain::parse(text).unwrap();
        let local = LocalDomains::new([domain("b\u{fc}cher.example")], true);
        assert!(local.contains(&domain("xn--bcher-kva.example")));
        assert!(local.contains(&domain("B\u{dc}CHER.example")));
        assert!(!local.contains(&domain("sub.b\u{fc}cher.example")));
    }
}
