//! What must hold between two calls of a scheduler: looks at everything, for tests.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::Lookup;
use crate::entry::{HELD, Phase, Slot};
use crate::scheduler::Scheduler;

impl Scheduler {
    /// Panics where a recipient would be forgotten, or be sent twice, or where a count is not what it counts.
    pub(crate) fn check(&self) {
        self.check_entries();
        self.check_domains();
        self.check_workers();
    }

    /// Every recipient stands where its phase says, so that something brings it on.
    fn check_entries(&self) {
        let mut timed: BTreeSet<Slot> = self.timers.iter().map(|timer| timer.0.1).collect();
        // They wait for a fault to be mended, with the timer of their site.
        timed.extend(
            self.sites
                .iter()
                .flat_map(|(_, site)| site.kept.iter().copied()),
        );
        let pending = self.domains.iter().flat_map(|(_, domain)| &domain.pending);
        let pending: BTreeSet<Slot> = pending.copied().collect();
        let ready = self.sites.iter().flat_map(|(_, site)| site.ready.slots());
        let ready: BTreeSet<Slot> = ready.collect();
        let slots = self.entries.slots();
        assert_eq!(slots.len(), self.entries.len(), "entries and their table");
        for slot in slots {
            let Some(entry) = self.entries.get(slot) else {
                panic!("{slot:?} is gone");
            };
            let (key, phase) = (entry.key(), entry.phase);
            assert_eq!(self.entries.find(key), Some(slot), "{key:?} is found");
            let stands = match phase {
                Phase::Waiting => entry.has(HELD) || timed.contains(&slot),
                Phase::Pending => pending.contains(&slot),
                Phase::Ready => ready.contains(&slot),
                Phase::InFlight => {
                    let batches = self.workers.iter().flat_map(|(_, w)| &w.batch);
                    batches.filter(|other| **other == slot).count() == 1
                }
            };
            assert!(stands, "{key:?} is {phase:?} and stands nowhere");
        }
    }

    fn check_domains(&self) {
        let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
        for slot in self.entries.slots() {
            if let Some(entry) = self.entries.get(slot) {
                *counts.entry(entry.domain).or_default() += 1;
            }
        }
        for (id, domain) in &self.domains {
            let id = u32::try_from(id).unwrap_or(u32::MAX);
            let counted = counts.remove(&id).unwrap_or_default();
            assert_eq!(domain.recipients, counted, "recipients of {}", domain.name);
            if let Lookup::Known { site, .. } = domain.lookup {
                assert!(
                    self.sites.contains(site as usize),
                    "the site of {}",
                    domain.name
                );
            }
        }
        assert!(
            counts.is_empty(),
            "recipients of domains that are forgotten"
        );
    }

    fn check_workers(&self) {
        for (id, site) in &self.sites {
            let here = || self.workers.iter().filter(|(_, w)| w.site as usize == id);
            let busy = here().filter(|(_, w)| !w.batch.is_empty()).count();
            assert_eq!(site.busy as usize, busy, "busy workers of {}", site.key);
            let established = here().filter(|(_, w)| w.established).count();
            assert_eq!(
                site.established as usize, established,
                "sessions of {}",
                site.key
            );
            let idle: BTreeSet<u32> = site.idle.iter().copied().collect();
            assert_eq!(
                idle.len(),
                site.idle.len(),
                "an idle worker of {} twice",
                site.key
            );
            for worker in idle {
                let worker = self.workers.get(worker as usize);
                let is_idle = worker.is_some_and(|w| w.batch.is_empty() && w.site as usize == id);
                assert!(is_idle, "an idle worker of {} that is not", site.key);
            }
        }
        for (id, group) in &self.groups {
            let is_in = |site: u32| {
                let site = self.sites.get(site as usize);
                site.and_then(|s| s.group).is_some_and(|g| g as usize == id)
            };
            let open = self.workers.iter().filter(|(_, w)| is_in(w.site)).count();
            assert_eq!(group.open as usize, open, "connections of {}", group.name);
        }
    }
}
