//! The entries of domains and workers, and how domains and sites are forgotten.

use std::sync::Arc;
use std::time::Duration;

use mail::{Destination, Domain, Timestamp};

use crate::action::Policy;
use crate::entry::Slot;
use crate::scheduler::Scheduler;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup {
    Unknown,
    Queued,
    Asked,
    /// Asked under settings that no longer hold: the answer does not count.
    AskedBefore,
    Known {
        site: u32,
        expires: Timestamp,
    },
}

#[derive(Debug)]
pub(crate) struct DomainEntry {
    pub(crate) name: Domain,
    pub(crate) destination: Destination,
    /// An administrator sends this part of its mail there, instead of where the rules would.
    pub(crate) route: Option<Arc<str>>,
    pub(crate) policy: Policy,
    pub(crate) lookup: Lookup,
    pub(crate) paused: bool,
    /// Due, and not yet given to a site.
    pub(crate) pending: Vec<Slot>,
    /// Its site is tried at once when it is known, even in a cool-off: an administrator asked for that.
    pub(crate) probes: bool,
    /// Recipients of it in the queue.
    pub(crate) recipients: u32,
}

impl DomainEntry {
    pub(crate) const fn site(&self) -> Option<u32> {
        match self.lookup {
            Lookup::Known { site, .. } => Some(site),
            Lookup::Unknown | Lookup::Queued | Lookup::Asked | Lookup::AskedBefore => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) site: u32,
    pub(crate) batch: Vec<Slot>,
    pub(crate) established: bool,
    /// It stands in the list of those that have been idle in its group.
    pub(crate) listed: bool,
    /// Batches it has sent.
    pub(crate) batches: u32,
}

/// How often domains and sites that nothing waits for are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

impl Scheduler {
    /// Forgets domains and sites that nothing waits for, so that memory follows the queue and not
    /// all that was ever sent.
    pub(crate) fn sweep(&mut self, now: Timestamp) {
        if now < self.swept + SWEEP_EVERY {
            return;
        }
        self.swept = now;
        let keep = |d: &DomainEntry| {
            d.recipients > 0
                || d.paused
                || matches!(
                    d.lookup,
                    Lookup::Queued | Lookup::Asked | Lookup::AskedBefore
                )
                || matches!(d.lookup, Lookup::Known { expires, .. } if expires > now)
        };
        self.domain_ids.retain(|_, id| {
            let kept = self.domains.get(*id as usize).is_some_and(keep);
            if !kept {
                self.domains.try_remove(*id as usize);
            }
            kept
        });
        let mut in_use = vec![false; self.sites.capacity()];
        for site in self.domains.iter().filter_map(|(_, d)| d.site()) {
            if let Some(used) = in_use.get_mut(site as usize) {
                *used = true;
            }
        }
        for id in self.starved.iter().chain(&self.runnable) {
            if let Some(used) = in_use.get_mut(*id as usize) {
                *used = true;
            }
        }
        let mut left = Vec::new();
        self.site_ids.retain(|_, id| {
            let used = in_use.get(*id as usize).copied().unwrap_or(false);
            let kept = used
                || self
                    .sites
                    .get(*id as usize)
                    .is_some_and(|s| !s.is_forgettable(now));
            if !kept && let Some(site) = self.sites.try_remove(*id as usize) {
                left.extend(site.group);
            }
            kept
        });
        for group in left {
            self.leave_group(group);
        }
    }
}
