//! Aliases: other addresses for local names such as `root` and `postmaster`.

use std::collections::{BTreeSet, HashMap};

use mail::{Address, Domain};

/// Which addresses get the mail of which names. A plain name (`root`) stands for that local part at this server's
/// own names and at every local domain; an address stands for itself. Letter case does not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aliases {
    own: BTreeSet<Domain>,
    pub(crate) names: HashMap<String, Vec<Address>>,
    pub(crate) addresses: HashMap<(String, Domain), Vec<Address>>,
}

/// What stands left of an alias.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alias {
    /// A local part, in lower case.
    Name(String),
    /// An address.
    Address(Address),
}

impl Aliases {
    /// No aliases, for a server with these names.
    #[must_use]
    pub fn new(own: impl IntoIterator<Item = Domain>) -> Self {
        Self {
            own: own.into_iter().map(|domain| domain.a_label()).collect(),
            ..Self::default()
        }
    }

    /// Adds an alias; what the same alias had before is replaced.
    pub fn insert(&mut self, alias: Alias, targets: Vec<Address>) {
        match alias {
            Alias::Name(name) => self.names.insert(name.to_lowercase(), targets),
            Alias::Address(address) => self.addresses.insert(key(&address), targets),
        };
    }

    /// Whether an address is at one of this server's own names.
    #[must_use]
    pub fn is_own(&self, domain: &Domain) -> bool {
        self.own.contains(&domain.a_label())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.addresses.is_empty()
    }
}

pub(crate) fn key(address: &Address) -> (String, Domain) {
    (address.local().to_lowercase(), address.domain().a_label())
}
