//! All keys: which of them sign for an author, and when nobody does.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use mail::{Domain, Timestamp};

use crate::signature::Signer;

/// All keys there are.
#[derive(Debug, Clone, Default)]
pub struct Keyring(Vec<Arc<Signer>>);

/// A time in which no key of a domain signs, though some do at other times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Whose.
    pub domain: Domain,
    /// From when on.
    pub from: Timestamp,
    /// Until when; `None`: for good.
    pub until: Option<Timestamp>,
    /// It has begun.
    pub is_now: bool,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no key signs the mail of {} ", self.domain)?;
        match (self.is_now, self.until) {
            (true, None) => f.write_str("now or later"),
            (true, Some(until)) => write!(f, "before {until}"),
            (false, None) => write!(f, "from {} on", self.from),
            (false, Some(until)) => write!(f, "from {} until {until}", self.from),
        }
    }
}

impl Keyring {
    /// These keys.
    #[must_use]
    pub fn new(signers: Vec<Arc<Signer>>) -> Self {
        Self(signers)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn signers(&self) -> impl Iterator<Item = &Arc<Signer>> {
        self.0.iter()
    }

    /// The keys in force for an author's domain: its own, else those of the nearest domain above it
    /// whose keys are for subdomains too.
    #[must_use]
    pub fn of(&self, author: &Domain, now: Timestamp) -> Vec<Arc<Signer>> {
        self.nearest(author, |signer| signer.is_in_force(now))
    }

    /// Whether any key is for an author's domain, at whatever time.
    #[must_use]
    pub fn covers(&self, author: &Domain) -> bool {
        !self.nearest(author, |_| true).is_empty()
    }

    fn nearest(&self, author: &Domain, counts: impl Fn(&Signer) -> bool) -> Vec<Arc<Signer>> {
        let own = author.to_ascii().unwrap_or_else(|| author.clone());
        let mut domain = Some(own.clone());
        while let Some(at) = domain {
            let fits =
                |s: &&Arc<Signer>| s.domain == at && (s.subdomains || at == own) && counts(s);
            let found: Vec<_> = self.0.iter().filter(fits).cloned().collect();
            if !found.is_empty() {
                return found;
            }
            domain = at.parent();
        }
        Vec::new()
    }

    /// The key of this name.
    #[must_use]
    pub fn find(&self, domain: &str, selector: &str) -> Option<&Arc<Signer>> {
        self.0.iter().find(|s| {
            s.domain.as_str().eq_ignore_ascii_case(domain)
                && s.selector.as_str().eq_ignore_ascii_case(selector)
        })
    }

    /// When from now on no key of a domain signs that has keys.
    #[must_use]
    pub fn gaps(&self, now: Timestamp) -> Vec<Gap> {
        let mut domains: Vec<&Domain> = Vec::new();
        for signer in &self.0 {
            if !domains.contains(&&signer.domain) {
                domains.push(&signer.domain);
            }
        }
        let gaps = |domain: &&Domain| self.gaps_of(domain, now);
        domains.iter().flat_map(gaps).collect()
    }

    fn gaps_of(&self, domain: &Domain, now: Timestamp) -> Vec<Gap> {
        let own = || self.0.iter().filter(|s| s.domain == *domain);
        let changes = own().flat_map(|s| [s.from, s.until]).flatten();
        let times: BTreeSet<Timestamp> = changes.filter(|t| *t > now).chain([now]).collect();
        let mut gaps: Vec<Gap> = Vec::new();
        let mut open: Option<Timestamp> = None;
        for at in times {
            let signs = own().any(|s| s.is_in_force(at));
            match (open, signs) {
                (None, false) => open = Some(at),
                (Some(from), true) => {
                    open = None;
                    gaps.push(Gap {
                        domain: domain.clone(),
                        from,
                        until: Some(at),
                        is_now: from == now,
                    });
                }
                _ => {}
            }
        }
        gaps.extend(open.map(|from| Gap {
            domain: domain.clone(),
            from,
            until: None,
            is_now: from == now,
        }));
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Canonicalization, Fields, PrivateKey};

    fn signer(domain: &str, selector: &str, from: Option<u64>, until: Option<u64>) -> Arc<Signer> {
        Arc::new(Signer {
            domain: Domain::parse(domain).unwrap(),
            selector: selector.parse().unwrap(),
            key: PrivateKey::from_seed(&[7; 32]).unwrap(),
            header: Canonicalization::Relaxed,
            body: Canonicalization::Relaxed,
            fields: Fields::default(),
            lifetime: None,
            subdomains: selector.starts_with("sub"),
            from: from.map(Timestamp::from_secs),
            until: until.map(Timestamp::from_secs),
        })
    }

    fn of(ring: &Keyring, domain: &str, at: u64) -> Vec<String> {
        let found = ring.of(&Domain::parse(domain).unwrap(), Timestamp::from_secs(at));
        found.iter().map(|s| s.selector.to_string()).collect()
    }

    #[test]
    fn the_nearest_domain_with_keys_in_force_signs() {
        let ring = Keyring::new(vec![
            signer("example.com", "exact", None, None),
            signer("example.com", "sub", None, None),
            signer("mail.example.com", "own", Some(10), None),
            signer("xn--bcher-kva.example", "b", None, None),
        ]);
        assert_eq!(of(&ring, "Example.COM", 0), ["exact", "sub"]);
        assert_eq!(of(&ring, "a.b.example.com", 0), ["sub"]);
        assert_eq!(of(&ring, "mail.example.com", 9), ["sub"]);
        assert_eq!(of(&ring, "mail.example.com", 10), ["own"]);
        assert_eq!(of(&ring, "x.mail.example.com", 10), ["sub"]);
        assert_eq!(of(&ring, "b\u{fc}cher.example", 0), ["b"]);
        assert!(of(&ring, "notexample.com", 0).is_empty());
        assert!(of(&ring, "com", 0).is_empty());
        let covers = |domain: &str| ring.covers(&Domain::parse(domain).unwrap());
        assert!(covers("mail.example.com") && covers("a.example.com"));
        assert!(covers("b\u{fc}cher.example") && !covers("a.xn--bcher-kva.example"));
        assert!(!covers("notexample.com") && !covers("com"));
        assert!(ring.find("EXAMPLE.com", "Sub").is_some());
        assert!(ring.find("example.com", "own").is_none());
    }

    #[test]
    fn a_rotation_changes_at_its_time_and_gaps_are_found() {
        let gaps = |keys: &[(Option<u64>, Option<u64>)], now: u64| {
            let keys = keys.iter().map(|(f, u)| signer("a.example", "s", *f, *u));
            let ring = Keyring::new(keys.collect());
            let gaps = ring.gaps(Timestamp::from_secs(now));
            gaps.iter()
                .map(|g| (g.from.as_secs(), g.until.map(Timestamp::as_secs)))
                .collect::<Vec<_>>()
        };
        assert_eq!(gaps(&[(None, Some(10)), (Some(10), None)], 5), []);
        assert_eq!(gaps(&[(None, Some(10)), (Some(8), None)], 5), []);
        assert_eq!(
            gaps(&[(None, Some(10)), (Some(12), None)], 5),
            [(10, Some(12))]
        );
        assert_eq!(gaps(&[(None, Some(10)), (Some(12), None)], 20), []);
        assert_eq!(gaps(&[(None, Some(10))], 5), [(10, None)]);
        assert_eq!(gaps(&[(None, Some(10))], 10), [(10, None)]);
        assert_eq!(
            gaps(&[(Some(7), Some(8)), (Some(9), None)], 5),
            [(5, Some(7)), (8, Some(9))]
        );
    }
}
