//! The next hops of a site. Its hosts are the same for all of its domains; the order in which they are tried is
//! each domain's own.

use std::collections::HashMap;
use std::sync::Arc;

use node::hop::{Hop, SiteHops};
use schedule::SiteId;

/// The next hops of all sites.
#[derive(Debug, Default)]
pub(crate) struct Hops {
    sites: HashMap<SiteId, SiteHops>,
}

impl Hops {
    /// A domain's mail goes to this site, by this next hop.
    pub(crate) fn insert(&mut self, site: SiteId, key: &Arc<str>, hop: Arc<Hop>) {
        match self.sites.get_mut(&site) {
            // The number of a site that was forgotten is given again.
            Some(known) if known.is_of(key) => known.learn(hop),
            Some(_) | None => drop(self.sites.insert(site, SiteHops::new(key, hop))),
        }
    }

    /// Those of a site.
    pub(crate) fn of(&self, site: SiteId) -> Option<SiteHops> {
        self.sites.get(&site).cloned()
    }

    /// The settings have changed: every domain is looked up again.
    pub(crate) fn forget(&mut self) {
        self.sites.clear();
    }
}
