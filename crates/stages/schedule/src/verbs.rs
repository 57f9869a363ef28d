//! The administrator's verbs, as far as the schedule is concerned.
//!
//! Each changes what is in memory; making it durable, before the administrator is answered, is the
//! caller's part: the state to commit is what the verb returns.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use mail::{Destination, Domain, RecipientKey, RecipientState, Timestamp};

use crate::action::{PolicyOf, SiteId, WorkerId};
use crate::domain::{DomainEntry, Lookup};
use crate::entry::{CANCELLED, HELD, KEPT, Phase, SILENT, Slot};
use crate::scheduler::Scheduler;
use crate::site::{SiteOrder, SiteView};

/// What became of the wish to end a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It is out of the queue; the caller commits its end.
    Now {
        /// After how many attempts.
        attempts: u32,
    },
    /// It is being sent right now; unless that succeeds it ends with this attempt.
    AfterAttempt,
    /// It is not here.
    Unknown,
}

impl Scheduler {
    /// Holds a recipient: it is not tried until released. Its state, if that changed it.
    pub fn hold(&mut self, key: RecipientKey) -> Option<RecipientState> {
        let slot = self.entries.find(key)?;
        let entry = self.entries.get_mut(slot)?;
        if entry.has(HELD) {
            return None;
        }
        entry.set(HELD, true);
        let in_flight = entry.phase == Phase::InFlight;
        let state = self.state_of(slot);
        if !in_flight && let Some(entry) = self.entries.get_mut(slot) {
            entry.phase = Phase::Waiting;
            // It still stands in a list, or a timer names it, which must not take it for its own when
            // it is released.
            self.entries.renew(slot);
        }
        state
    }

    /// A recipient's state as it is now, without its last verdict.
    #[must_use]
    pub fn state(&self, key: RecipientKey) -> Option<RecipientState> {
        self.state_of(self.entries.find(key)?)
    }

    /// Lets a held recipient be tried when due. Its state, if that changed it.
    pub fn release(&mut self, now: Timestamp, key: RecipientKey) -> Option<RecipientState> {
        let slot = self.entries.find(key)?;
        let entry = self.entries.get_mut(slot)?;
        if !entry.has(HELD) {
            return None;
        }
        entry.set(HELD, false);
        let waits = entry.phase == Phase::Waiting;
        let state = self.state_of(slot);
        if waits {
            self.set_timer(slot, now);
        }
        state
    }

    /// Makes a recipient due at `at`; now, and its site is tried at once, even in a cool-off. An attempt that is made at
    /// once does not count, and its plan goes on as if it had not been made. The recipient's state, if it is here and not
    /// being sent.
    pub fn retry(
        &mut self,
        now: Timestamp,
        key: RecipientKey,
        at: Timestamp,
    ) -> Option<RecipientState> {
        let slot = self.entries.find(key)?;
        if self.entries.get(slot)?.phase == Phase::InFlight {
            return None;
        }
        if at <= now {
            self.entries.try_besides(slot, now);
        } else {
            self.entries.take_planned(slot, now);
        }
        let entry = self.entries.get_mut(slot)?;
        entry.due = at;
        entry.phase = Phase::Waiting;
        entry.set(KEPT, false);
        if entry.attempts == 0 && at > now {
            // Its time in the queue begins with its first attempt, wherever that is moved.
            entry.accepted = entry.accepted.max(at);
        }
        let (domain, held) = (entry.domain, entry.has(HELD));
        let slot = self.entries.renew(slot)?;
        let state = self.state_of(slot);
        match held {
            true => self.entries.mark_future(slot, now),
            false => self.set_timer(slot, now),
        }
        if at <= now && !held {
            self.probe_for(domain, slot);
        }
        state
    }

    /// Its site is tried at once, even in a cool-off; where it is not known yet, when it is.
    fn probe_for(&mut self, domain: u32, slot: Slot) {
        let is_pending = |e: &crate::entry::Entry| e.phase == Phase::Pending;
        let pending = self.entries.get(slot).is_some_and(is_pending);
        let Some(domain) = self.domains.get_mut(domain as usize) else {
            return;
        };
        domain.probes |= pending;
        if let Some(site) = domain.site() {
            if let Some(s) = self.sites.get_mut(site as usize) {
                s.window.probe();
            }
            self.make_runnable(site);
        }
    }

    /// Sends a recipient by this host from now on, instead of where the rules would; `None`: where
    /// the rules say again. It is tried at once. Its state, if it is here, not being sent, and went
    /// elsewhere; a recipient of a local domain, and one of a test, never leaves.
    pub fn reroute(
        &mut self,
        now: Timestamp,
        key: RecipientKey,
        route: Option<&str>,
    ) -> Option<RecipientState> {
        let slot = self.entries.find(key)?;
        let entry = self.entries.get(slot)?;
        let old = entry.domain;
        let domain = self.domains.get(old as usize)?;
        let stays = domain.destination != Destination::Outgoing;
        if entry.phase == Phase::InFlight || stays || domain.route.as_deref() == route {
            return None;
        }
        let name = domain.name.clone();
        let new = self.domain_id(&name, Destination::Outgoing, route.map(Arc::from));
        if let Some(domain) = self.domains.get_mut(old as usize) {
            domain.recipients = domain.recipients.saturating_sub(1);
        }
        if let Some(domain) = self.domains.get_mut(new as usize) {
            domain.recipients += 1;
        }
        self.entries.get_mut(slot)?.domain = new;
        self.retry(now, key, now)
    }

    /// Takes a recipient out of the queue; `silent`: its sender is not to hear of it.
    pub fn cancel(&mut self, key: RecipientKey, silent: bool) -> Cancelled {
        let Some(slot) = self.entries.find(key) else {
            return Cancelled::Unknown;
        };
        let Some(entry) = self.entries.get_mut(slot) else {
            return Cancelled::Unknown;
        };
        if entry.phase == Phase::InFlight {
            entry.set(CANCELLED, true);
            entry.set(SILENT, silent);
            return Cancelled::AfterAttempt;
        }
        let attempts = u32::from(entry.attempts);
        self.take_out(slot);
        Cancelled::Now { attempts }
    }

    /// Stops or lets go the mail for one domain.
    pub fn set_paused(&mut self, now: Timestamp, domain: &Domain, paused: bool) {
        self.domain_id(domain, Destination::Outgoing, None);
        let is_it = |(id, d): (usize, &DomainEntry)| {
            let is = d.name == *domain && d.destination == Destination::Outgoing;
            is.then(|| u32::try_from(id).ok())?
        };
        let ids: Vec<u32> = self.domains.iter().filter_map(is_it).collect();
        for id in ids {
            let Some(entry) = self.domains.get_mut(id as usize) else {
                continue;
            };
            entry.paused = paused;
            if paused {
                let site = entry.site();
                self.take_back_ready(now, site);
            } else {
                self.settle_pending_into(now, id);
            }
        }
    }

    /// The domains that are paused.
    #[must_use]
    pub fn paused(&self) -> Vec<Domain> {
        self.domains
            .iter()
            .filter(|(_, d)| d.paused && d.route.is_none())
            .map(|(_, d)| d.name.clone())
            .collect()
    }

    /// The configuration changed. What that does to what is known here:
    ///
    /// | what | after the reload |
    /// |---|---|
    /// | attempts that were charged | stay: they are the mail's |
    /// | a wait that runs | goes on to its end; the next one is by the new plan |
    /// | a lifetime, the age of a delay notice | the new one, for mail that waits already too |
    /// | holds and pauses | stay: an administrator ordered them |
    /// | orders for a site ([`Scheduler::order_site`]) | stay for their time; who gave them may end them |
    /// | `outgoing.enabled`, connections in all | as set, at once; what is being sent is not cut off |
    /// | a site's window, cool-off and last failure | stay: they are about the host |
    /// | limits of a site | the new ones with the next look-up, which comes at once |
    /// | routes | every domain is looked up again; an answer on its way is not used |
    /// | faults of ours | tried again at once: the change may have mended them |
    /// | what is being sent, open sessions | go on; the outcome counts by the new plan |
    ///
    /// A test for each row is in `tests/reload.rs`.
    pub fn policies_changed(&mut self, now: Timestamp, settings: crate::Settings) {
        self.settings = settings;
        for (_, domain) in &mut self.domains {
            domain.policy = (self.policy_of)(&domain.name, domain.destination);
        }
        self.faults_may_be_mended(now);
        self.reroute_all(now);
        self.set_timers_anew(now);
    }

    /// Replaces the source of policies; take effect with [`Scheduler::policies_changed`].
    pub fn set_policy_of(&mut self, policy_of: PolicyOf) {
        self.policy_of = policy_of;
    }

    /// Whether a domain is paused, and the site that its mail goes to at present.
    #[must_use]
    pub fn domain(&self, domain: &Domain) -> (bool, Option<SiteView>) {
        let is_it = |d: &&DomainEntry| {
            d.name == *domain && d.destination == Destination::Outgoing && d.route.is_none()
        };
        let Some(found) = self.domains.iter().map(|(_, d)| d).find(is_it) else {
            return (false, None);
        };
        let view = |id| {
            Some(SiteView::new(
                self.sites.get(id as usize)?,
                self.waiting_at(id),
            ))
        };
        (found.paused, found.site().and_then(view))
    }

    /// The name of the site that a worker sends to.
    #[must_use]
    pub fn site_of(&self, worker: WorkerId) -> Option<Arc<str>> {
        let worker = self.workers.get(worker.0 as usize)?;
        let site = self.sites.get(worker.site as usize)?;
        Some(Arc::clone(&site.key))
    }

    /// Limits a site for a time, or lets it go; whether it is known. Who makes a site known again
    /// orders it again: the schedule forgets sites that nothing waits for.
    pub fn order_site(&mut self, site: &str, order: Option<SiteOrder>) -> bool {
        let is_it = |(_, s): &(usize, &mut crate::site::Site)| &*s.key == site;
        let Some((id, found)) = self.sites.iter_mut().find(is_it) else {
            return false;
        };
        found.order = order;
        let id = u32::try_from(id).unwrap_or(u32::MAX);
        if let Some(order) = order {
            self.site_timers.push(Reverse((order.until, id)));
        }
        self.make_runnable(id);
        true
    }

    /// Every site, those with the most waiting first.
    #[must_use]
    pub fn sites(&self) -> Vec<(SiteId, SiteView)> {
        let mut waiting: HashMap<u32, usize> = HashMap::new();
        for (_, domain) in &self.domains {
            if let Some(site) = domain.site() {
                *waiting.entry(site).or_default() += domain.recipients as usize;
            }
        }
        let view = |(id, site)| {
            let id = u32::try_from(id).ok()?;
            let waiting = waiting.get(&id).copied().unwrap_or_default();
            Some((SiteId(id), SiteView::new(site, waiting)))
        };
        let mut all: Vec<_> = self.sites.iter().filter_map(view).collect();
        all.sort_by(|(_, a), (_, b)| {
            let most = (b.waiting, b.recipients).cmp(&(a.waiting, a.recipients));
            most.then_with(|| a.key.cmp(&b.key))
        });
        all
    }

    /// Recipients of the domains that lead to a site.
    fn waiting_at(&self, site: u32) -> usize {
        let domains = self.domains.iter().map(|(_, domain)| domain);
        let its = domains.filter(|domain| domain.site() == Some(site));
        its.map(|domain| domain.recipients as usize).sum()
    }

    /// Everything due is asked again where it goes.
    pub(crate) fn reroute_all(&mut self, now: Timestamp) {
        let sites: Vec<u32> = self
            .sites
            .iter()
            .filter_map(|(id, _)| u32::try_from(id).ok())
            .collect();
        for (_, domain) in &mut self.domains {
            match domain.lookup {
                Lookup::Known { .. } => domain.lookup = Lookup::Unknown,
                Lookup::Asked => domain.lookup = Lookup::AskedBefore,
                Lookup::Unknown | Lookup::Queued | Lookup::AskedBefore => {}
            }
        }
        for site in sites {
            self.take_back_ready(now, Some(site));
        }
        let domains: Vec<u32> = self
            .domains
            .iter()
            .filter_map(|(id, _)| u32::try_from(id).ok())
            .collect();
        for domain in domains {
            self.settle_pending_into(now, domain);
        }
    }

    fn take_back_ready(&mut self, now: Timestamp, site: Option<u32>) {
        let Some(site) = site.and_then(|site| self.sites.get_mut(site as usize)) else {
            return;
        };
        let slots: Vec<Slot> = site.ready.drain();
        for slot in slots {
            if self
                .entries
                .get(slot)
                .is_some_and(|e| e.phase == Phase::Ready)
            {
                self.make_due(now, slot);
            }
        }
    }
}
