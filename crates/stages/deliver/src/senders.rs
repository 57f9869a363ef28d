//! Rules that put a sender's address in place of another towards a server that takes no other, such as a
//! provider's relay (Postfix calls them generic maps).
//!
//! What is matched is an address as it would leave: in MAIL, or in a header field that names who wrote or
//! sent the mail. The closest rule decides, whatever the order.

use mail::{Address, Domain};

/// Which addresses a rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Matching {
    /// This one.
    Address(String, Domain),
    /// This local part at any name of this server.
    Local(String),
    /// Everybody at this domain.
    Domain(Domain),
    /// Everybody at the domains below this one.
    Below(Domain),
}

/// What stands in their place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Replacement {
    Address(Address),
    /// The local part stays.
    Domain(Domain),
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderRule {
    matching: Matching,
    replacement: Replacement,
    reply_to: bool,
}

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SenderRuleError {
    /// Its `match`.
    #[error(
        "write \"user@example.com\", \"user\" (at any name of this server), \"@example.com\", or \"@.example.com\" \
         for its subdomains"
    )]
    Matching,
    /// Its `as`.
    #[error(
        "write \"user@example.com\", or \"@example.com\" to keep the local part; only the domain may have \
         non-ASCII characters"
    )]
    Replacement,
}

impl SenderRule {
    /// A rule by its two texts. `reply_to`: answers still go to the old author, where the mail does not
    /// say where they go.
    ///
    /// # Errors
    /// Which of them is wrong.
    pub fn parse(
        matching: &str,
        replacement: &str,
        reply_to: bool,
    ) -> Result<Self, SenderRuleError> {
        let domain = |text: &str| Domain::parse(text).map(|d| d.a_label()).ok();
        let found = match matching.split_once('@') {
            Some(("", rest)) => match rest.strip_prefix('.') {
                Some(below) => domain(below).map(Matching::Below),
                None => domain(rest).map(Matching::Domain),
            },
            Some(_) => Address::parse(matching)
                .ok()
                .map(|a| Matching::Address(folded(a.local()), a.domain().a_label())),
            None if matching.is_empty() => None,
            None => Address::new(
                matching,
                Domain::from_ip(std::net::Ipv4Addr::LOCALHOST.into()),
            )
            .ok()
            .map(|a| Matching::Local(folded(a.local()))),
        };
        let into = match replacement.strip_prefix('@') {
            Some(rest) => Domain::parse(rest)
                .ok()
                .and_then(|d| d.to_ascii())
                .map(Replacement::Domain),
            None => Address::parse(replacement)
                .ok()
                .and_then(|a| a.to_ascii())
                .map(Replacement::Address),
        };
        Ok(Self {
            matching: found.ok_or(SenderRuleError::Matching)?,
            replacement: into.ok_or(SenderRuleError::Replacement)?,
            reply_to,
        })
    }
}

/// All rules, and the names of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderRules {
    rules: Vec<SenderRule>,
    /// In A-label form; the first is that of addresses without a domain.
    names: Vec<Domain>,
}

impl SenderRules {
    /// These rules, on a server called `hostname` that is also at home in the domains `local`.
    #[must_use]
    pub fn new<'a>(
        rules: Vec<SenderRule>,
        hostname: &'a Domain,
        local: impl IntoIterator<Item = &'a Domain>,
    ) -> Self {
        let names = std::iter::once(hostname).chain(local).map(Domain::a_label);
        Self {
            rules,
            names: names.collect(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What an address becomes; `None` when it stays. The result is not rewritten again.
    #[must_use]
    pub fn apply(&self, address: &Address) -> Option<Address> {
        self.found(address).map(|(to, _)| to)
    }

    /// Whether everybody at a domain becomes somebody else.
    #[must_use]
    pub fn cover(&self, domain: &Domain) -> bool {
        let domain = domain.a_label();
        let mut rules = self.rules.iter();
        rules.any(|rule| match &rule.matching {
            Matching::Domain(own) => *own == domain,
            Matching::Below(parent) => below(&domain, parent),
            Matching::Address(..) | Matching::Local(_) => false,
        })
    }

    /// Whether a rule is about an address of this domain, or of any of this server's names.
    #[must_use]
    pub fn name_any(&self, domain: &Domain) -> bool {
        let domain = domain.a_label();
        self.rules.iter().any(|rule| match &rule.matching {
            Matching::Address(_, own) | Matching::Domain(own) => *own == domain,
            Matching::Below(parent) => below(&domain, parent),
            Matching::Local(_) => true,
        })
    }

    /// The names of this server: its own, then its local domains.
    pub fn names(&self) -> impl Iterator<Item = &Domain> {
        self.names.iter()
    }

    /// What an address becomes, and whether answers are to go to the old one.
    pub(crate) fn found(&self, address: &Address) -> Option<(Address, bool)> {
        if self.rules.is_empty() {
            return None;
        }
        let (local, domain) = (folded(address.local()), address.domain().a_label());
        let closeness = |rule: &SenderRule| match &rule.matching {
            Matching::Address(l, d) => (*l == local && *d == domain).then_some(usize::MAX),
            Matching::Local(l) => {
                (*l == local && self.names.contains(&domain)).then_some(usize::MAX - 1)
            }
            Matching::Domain(d) => (*d == domain).then_some(usize::MAX - 2),
            Matching::Below(parent) => below(&domain, parent).then(|| parent.as_str().len()),
        };
        let matching = self.rules.iter().filter_map(|r| Some((closeness(r)?, r)));
        let (_, rule) = matching.rev().max_by_key(|(closeness, _)| *closeness)?;
        let to = match &rule.replacement {
            Replacement::Address(to) => to.clone(),
            Replacement::Domain(to) => address.with_domain(to.clone()),
        };
        (to != *address).then_some((to, rule.reply_to))
    }

    /// An address of a header field; one without a domain is of this server.
    pub(crate) fn read(&self, text: &str) -> Option<Address> {
        match text.contains('@') {
            true => Address::parse(text).ok(),
            false => Address::new(text, self.names.first()?.clone()).ok(),
        }
    }
}

fn below(domain: &Domain, parent: &Domain) -> bool {
    let rest = domain.as_str().strip_suffix(parent.as_str());
    rest.is_some_and(|rest| rest.ends_with('.'))
}

/// Local parts are told apart without regard to case, as the maps of other servers do.
fn folded(local: &str) -> String {
    local.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(list: &[(&str, &str)]) -> SenderRules {
        let rule = |(m, a): &(&str, &str)| SenderRule::parse(m, a, true).unwrap();
        let names: Vec<Domain> = ["host.lan", "home.lan"].map(|d| d.parse().unwrap()).into();
        SenderRules::new(list.iter().map(rule).collect(), &names[0], &names[1..])
    }

    #[test]
    fn the_closest_rule_wins_whatever_the_order() {
        let mut list = vec![
            ("@.lan", "lan@p.example"),
            ("@.deep.lan", "deep@p.example"),
            ("@host.lan", "host@p.example"),
            ("root", "root@p.example"),
            ("root@home.lan", "home-root@p.example"),
            ("@swap.lan", "@p.example"),
            ("@m\u{fc}ller.lan", "mueller@p.example"),
        ];
        for _ in 0..2 {
            let rules = rules(&list);
            for (address, becomes) in [
                ("ann@host.lan", Some("host@p.example")),
                ("ANN@HOST.LAN", Some("host@p.example")),
                ("root@host.lan", Some("root@p.example")),
                ("Root@Host.Lan", Some("root@p.example")),
                ("root@home.lan", Some("home-root@p.example")),
                ("ROOT@home.lan", Some("home-root@p.example")),
                // Not a name of this server.
                ("root@other.lan", Some("lan@p.example")),
                ("root@elsewhere.example", None),
                ("ann@x.deep.lan", Some("deep@p.example")),
                ("ann@deep.lan", Some("lan@p.example")),
                ("ann@lan", None),
                ("ann@notlan", None),
                ("ann@swap.lan", Some("ann@p.example")),
                ("ann@xn--mller-kva.lan", Some("mueller@p.example")),
                ("lan@p.example", None),
            ] {
                let found = rules.apply(&address.parse().unwrap());
                let found = found.map(|a| a.to_string());
                assert_eq!(found.as_deref(), becomes, "{address}");
            }
            list.reverse();
        }
    }

    #[test]
    fn a_rule_is_about_a_domain_however_that_is_written() {
        let rules = rules(&[
            ("a@one.lan", "x@p.example"),
            ("@m\u{fc}ller.lan", "x@p.example"),
            ("@.deep.lan", "x@p.example"),
        ]);
        let is_named = |domain: &str| rules.name_any(&domain.parse().unwrap());
        assert!(is_named("ONE.lan") && is_named("x.deep.lan"));
        assert!(is_named("m\u{fc}ller.lan") && is_named("xn--mller-kva.lan"));
        assert!(!is_named("deep.lan") && !is_named("notdeep.lan"));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for (matching, into, is_good) in [
            ("a@b.example", "c@d.example", true),
            ("\"a b\"@b.example", "c@d.example", true),
            ("", "c@d.example", false),
            ("@", "c@d.example", false),
            ("@.", "c@d.example", false),
            ("a b", "c@d.example", false),
            ("a@", "c@d.example", false),
            ("a", "", false),
            ("a", "c", false),
            ("a", "@", false),
            ("a", "\u{fc}@d.example", false),
            ("a", "c@\u{fc}.example", true),
        ] {
            let rule = SenderRule::parse(matching, into, true);
            assert_eq!(rule.is_ok(), is_good, "{matching} {into}: {rule:?}");
        }
    }

    #[test]
    fn a_domain_is_covered_by_a_rule_for_everybody_there() {
        let rules = rules(&[
            ("@.lan", "a@p.example"),
            ("root", "b@p.example"),
            ("x@y.example", "a@p.example"),
        ]);
        for (domain, covered) in [("host.lan", true), ("lan", false), ("y.example", false)] {
            assert_eq!(rules.cover(&domain.parse().unwrap()), covered, "{domain}");
        }
    }
}
