//! Rules for destinations: which rule speaks for a domain, key by key.
//!
//! Each key is taken from the longest match that sets it, so a rule for `.example` can set the
//! route of all its subdomains while one for `a.example` changes only the number of attempts.

use mail::Domain;

/// What a rule matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matcher {
    /// This domain.
    Exact(Domain),
    /// Every subdomain of it (`.partner.example`).
    Below(Domain),
    /// Every domain (`*`).
    All,
}

/// Why a text is not a match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` matches nothing: write a domain, \".domain\" for its subdomains, or \"*\"")]
pub struct ParseMatchError(String);

impl Matcher {
    /// Reads `domain`, `.domain` or `*`.
    ///
    /// # Errors
    /// When the text is none of them.
    pub fn parse(text: &str) -> Result<Self, ParseMatchError> {
        let wrong = |_| ParseMatchError(text.to_owned());
        match text.strip_prefix('.') {
            Some(below) => Domain::parse(below).map(Self::Below).map_err(wrong),
            None if text == "*" => Ok(Self::All),
            None => Domain::parse(text).map(Self::Exact).map_err(wrong),
        }
    }

    /// Whether it matches.
    #[must_use]
    pub fn matches(&self, domain: &Domain) -> bool {
        self.weight(domain.as_str()).is_some()
    }

    /// How closely it matches; `None` when it does not.
    fn weight(&self, domain: &str) -> Option<usize> {
        match self {
            Self::Exact(d) => (d.as_str() == domain).then_some(usize::MAX),
            Self::Below(d) => {
                let rest = domain.strip_suffix(d.as_str())?;
                (rest.len() > 1 && rest.ends_with('.')).then_some(d.as_str().len() + 1)
            }
            Self::All => Some(0),
        }
    }
}

/// One rule: what it matches and what it sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRule<T> {
    /// What it matches.
    pub matcher: Matcher,
    /// What it sets; each key is an `Option`.
    pub set: T,
}

/// All rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules<T> {
    rules: Vec<DomainRule<T>>,
}

/// The rules that match one domain, the closest first.
#[derive(Debug)]
pub struct Effective<'a, T> {
    rules: Vec<&'a DomainRule<T>>,
}

impl<T> Default for Rules<T> {
    fn default() -> Self {
        Self { rules: Vec::new() }
    }
}

impl<T> Rules<T> {
    /// These rules; of two with equal matches the later wins.
    #[must_use]
    pub const fn new(rules: Vec<DomainRule<T>>) -> Self {
        Self { rules }
    }

    /// Every rule, as given.
    #[must_use]
    pub fn all(&self) -> &[DomainRule<T>] {
        &self.rules
    }

    /// What holds for a domain. Rules are written and matched in A-label or Unicode form alike.
    #[must_use]
    pub fn effective(&self, domain: &Domain) -> Effective<'_, T> {
        let ascii = domain.to_ascii();
        let weigh = |rule: &DomainRule<T>| {
            let plain = rule.matcher.weight(domain.as_str());
            plain.or_else(|| rule.matcher.weight(ascii.as_ref()?.as_str()))
        };
        let mut found: Vec<(usize, usize, &DomainRule<T>)> = self
            .rules
            .iter()
            .enumerate()
            .filter_map(|(place, rule)| Some((weigh(rule)?, place, rule)))
            .collect();
        found.sort_by_key(|(weight, place, _)| std::cmp::Reverse((*weight, *place)));
        Effective {
            rules: found.into_iter().map(|(_, _, rule)| rule).collect(),
        }
    }
}

impl<'a, T> Effective<'a, T> {
    /// The rules that match, the closest first.
    pub fn rules(&self) -> impl Iterator<Item = &'a DomainRule<T>> {
        self.rules.iter().copied()
    }

    /// The value of one key, from the closest rule that sets it.
    pub fn key<V>(&self, key: impl Fn(&'a T) -> Option<V>) -> Option<V> {
        self.rules.iter().find_map(|rule| key(&rule.set))
    }
}
