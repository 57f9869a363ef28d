//! The scheduler itself: its tables, what comes in, and what comes out of `poll`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mail::{Destination, Domain, RecipientKey, Terms, Timestamp};
use slab::Slab;

use crate::action::{
    Action, Batch, Deadline, DomainId, Policy, PolicyOf, Resolution, Settings, SiteId, WorkerId,
};
use crate::domain::{DomainEntry, Lookup, Worker};
use crate::entry::{Entries, HELD, KEPT, NewRecipient, Phase, Slot, TERMS};
use crate::group::Group;
use crate::site::{Limits, Site};
use crate::window::Standing;

/// Decides who is sent when and where. See the crate's page.
pub struct Scheduler {
    pub(crate) settings: Settings,
    pub(crate) policy_of: PolicyOf,
    pub(crate) entries: Entries,
    pub(crate) domains: Slab<DomainEntry>,
    pub(crate) domain_ids: HashMap<(Domain, Destination, Option<Arc<str>>), u32>,
    /// Of the recipients for which something was asked.
    pub(crate) terms: HashMap<RecipientKey, Terms>,
    pub(crate) sites: Slab<Site>,
    pub(crate) groups: Slab<Group>,
    pub(crate) site_ids: HashMap<Arc<str>, u32>,
    pub(crate) workers: Slab<Worker>,
    submitters: HashMap<String, u32>,
    pub(crate) timers: BinaryHeap<Reverse<(Timestamp, Slot)>>,
    pub(crate) site_timers: BinaryHeap<Reverse<(Timestamp, u32)>>,
    lookups: VecDeque<u32>,
    lookups_active: u32,
    /// Sites that may have work, in turn.
    pub(crate) runnable: VecDeque<u32>,
    /// Sites whose work waits for a free connection of the server.
    pub(crate) starved: VecDeque<u32>,
    pub(crate) out: VecDeque<Action>,
    pub(crate) swept: Timestamp,
    stopped: bool,
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("recipients", &self.entries.len())
            .field("sites", &self.sites.len())
            .field("workers", &self.workers.len())
            .finish_non_exhaustive()
    }
}

impl Scheduler {
    /// A scheduler with nothing to do.
    #[must_use]
    pub fn new(settings: Settings, policy_of: PolicyOf) -> Self {
        Self {
            settings,
            policy_of,
            entries: Entries::default(),
            domains: Slab::new(),
            domain_ids: HashMap::new(),
            terms: HashMap::new(),
            sites: Slab::new(),
            groups: Slab::new(),
            site_ids: HashMap::new(),
            workers: Slab::new(),
            submitters: HashMap::new(),
            timers: BinaryHeap::new(),
            site_timers: BinaryHeap::new(),
            lookups: VecDeque::new(),
            lookups_active: 0,
            runnable: VecDeque::new(),
            starved: VecDeque::new(),
            out: VecDeque::new(),
            swept: Timestamp::ZERO,
            stopped: false,
        }
    }

    /// Takes a recipient into the queue; one that is there already is left as it is.
    pub fn insert(&mut self, now: Timestamp, new: &NewRecipient) {
        let route = new.state.route.as_deref().map(Arc::from);
        let domain = self.domain_id(&new.domain, new.destination, route);
        let next = u32::try_from(self.submitters.len()).unwrap_or(u32::MAX);
        let submitter = match self.submitters.get(&new.submitter) {
            Some(id) => *id,
            None => *self.submitters.entry(new.submitter.clone()).or_insert(next),
        };
        let Some(slot) = self.entries.insert(new, domain, submitter) else {
            return;
        };
        if let Some(domain) = self.domains.get_mut(domain as usize) {
            domain.recipients += 1;
        }
        if !new.terms.is_default() {
            self.terms.insert(new.key, new.terms);
        }
        self.set_timer(slot, now);
    }

    /// Recipients waiting, those with a worker included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// Workers that have a batch.
    #[must_use]
    pub fn busy_workers(&self) -> usize {
        self.workers
            .iter()
            .filter(|(_, w)| !w.batch.is_empty())
            .count()
    }

    /// The answer to [`Action::Resolve`]; the site's id where there is one.
    pub fn resolved(
        &mut self,
        now: Timestamp,
        domain: DomainId,
        resolution: Resolution,
    ) -> Option<SiteId> {
        self.lookups_active = self.lookups_active.saturating_sub(1);
        let entry = self.domains.get_mut(domain.0 as usize)?;
        if entry.lookup == Lookup::AskedBefore {
            entry.lookup = Lookup::Queued;
            self.lookups.push_back(domain.0);
            return None;
        }
        match resolution {
            Resolution::Site {
                key,
                group,
                expires,
            } => {
                let policy = entry.policy.clone();
                let site = self.site_id(key, group.as_ref(), &policy);
                let entry = self.domains.get_mut(domain.0 as usize)?;
                entry.lookup = Lookup::Known {
                    site,
                    expires: expires.max(now + Duration::from_millis(1)),
                };
                if std::mem::take(&mut entry.probes)
                    && let Some(s) = self.sites.get_mut(site as usize)
                {
                    s.window.probe();
                }
                self.settle_pending_into(now, domain.0);
                Some(SiteId(site))
            }
            Resolution::Unroutable(verdict) => {
                entry.lookup = Lookup::Unknown;
                for slot in std::mem::take(&mut entry.pending) {
                    if self
                        .entries
                        .get(slot)
                        .is_some_and(|e| e.phase == Phase::Pending)
                    {
                        self.settle(now, slot, &verdict, None, Duration::ZERO);
                    }
                }
                None
            }
        }
    }

    /// The worker's session got through its greeting.
    pub fn greeted(&mut self, worker: WorkerId) {
        let Some(worker) = self.workers.get_mut(worker.0 as usize) else {
            return;
        };
        let Some(site) = self.sites.get_mut(worker.site as usize) else {
            return;
        };
        if !worker.established {
            worker.established = true;
            site.established += 1;
        }
        site.window.greeted();
        let site = worker.site;
        self.make_runnable(site);
    }

    /// The idle worker closed its session. True: it is forgotten. False: it has just been given a
    /// batch, for which it must connect again.
    pub fn closed(&mut self, worker: WorkerId) -> bool {
        let Some(w) = self.workers.get(worker.0 as usize) else {
            return true;
        };
        if !w.batch.is_empty() {
            return false;
        }
        self.forget_worker(worker.0);
        true
    }

    /// Nothing is begun any more; what is under way still ends.
    pub const fn stop(&mut self) {
        self.stopped = true;
    }

    /// What is to be done now; call until it gives `None`.
    pub fn poll(&mut self, now: Timestamp) -> Option<Action> {
        if let Some(action) = self.out.pop_front() {
            return Some(action);
        }
        if self.stopped {
            return None;
        }
        self.fire_timers(now);
        if let Some(action) = self.out.pop_front() {
            return Some(action);
        }
        if let Some(action) = self.next_lookup() {
            return Some(action);
        }
        while let Some(site) = self.runnable.pop_front() {
            if let Some(s) = self.sites.get_mut(site as usize) {
                s.queued = false;
            }
            if let Some(action) = self.run_site(now, site) {
                self.make_runnable(site);
                // A worker that made way for it may have had the same number: it goes first.
                self.out.push_back(action);
                return self.out.pop_front();
            }
            if let Some(action) = self.out.pop_front() {
                return Some(action);
            }
        }
        self.sweep(now);
        None
    }

    /// When to poll again even if nothing comes in.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        let recipient = self
            .timers
            .peek()
            .map(|Reverse((at, _))| (*at, "a recipient is due"));
        let site = self
            .site_timers
            .peek()
            .map(|Reverse((at, _))| (*at, "a site may be tried"));
        let (at, reason) = recipient
            .into_iter()
            .chain(site)
            .min_by_key(|(at, _)| *at)?;
        Some(Deadline { at, reason })
    }

    /// Sets the timer of a waiting entry to whatever comes first for it.
    pub(crate) fn set_timer(&mut self, slot: Slot, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(slot) else {
            return;
        };
        entry.phase = Phase::Waiting;
        self.entries.mark_future(slot, now);
        let Some(entry) = self.entries.get(slot).filter(|e| !e.has(HELD)) else {
            return;
        };
        let due = entry.due;
        let others = [self.expiry(entry), self.notice_at(entry)];
        let at = others.into_iter().flatten().fold(due, Timestamp::min);
        if at <= now && due <= now {
            // The usual case, a mail just accepted: no detour through the heap.
            self.timer_fired(now, slot);
        } else {
            self.timers.push(Reverse((at, slot)));
        }
    }

    fn fire_timers(&mut self, now: Timestamp) {
        while let Some(Reverse((at, slot))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            self.timer_fired(now, slot);
        }
        while let Some(Reverse((at, site))) = self.site_timers.peek().copied() {
            if at > now {
                break;
            }
            self.site_timers.pop();
            let looks = |s: &Site| s.look_at.is_some_and(|at| at <= now);
            if self.sites.get(site as usize).is_some_and(looks) {
                self.end_impatient(now, site);
            }
            self.make_runnable(site);
        }
    }

    fn timer_fired(&mut self, now: Timestamp, slot: Slot) {
        let Some(entry) = self.entries.get(slot) else {
            return;
        };
        let is_waiting = matches!(entry.phase, Phase::Waiting | Phase::Pending);
        if !is_waiting || entry.has(HELD) || self.expire_if_old(now, slot) {
            return;
        }
        self.notice_if_late(now, slot);
        let Some(entry) = self.entries.get(slot) else {
            return;
        };
        if entry.phase == Phase::Pending {
            return self.watch_kept_back(now, slot);
        }
        if entry.due > now {
            // The notice went out; the attempt itself is for later.
            let at = entry.due.min(self.expiry(entry).unwrap_or(Timestamp::MAX));
            self.timers.push(Reverse((at, slot)));
        } else {
            self.make_due(now, slot);
        }
    }

    /// Hands a due recipient to its site, or to its domain while the site is not known.
    pub(crate) fn make_due(&mut self, now: Timestamp, slot: Slot) {
        self.entries.mark_future(slot, now);
        let Some(entry) = self.entries.get_mut(slot) else {
            return;
        };
        entry.set(KEPT, false);
        let Some(domain) = self.domains.get_mut(entry.domain as usize) else {
            return;
        };
        let may_send =
            domain.destination != Destination::Outgoing || self.settings.enabled && !domain.paused;
        match domain.lookup {
            Lookup::Known { site, expires } if may_send && expires > now => {
                entry.phase = Phase::Ready;
                let (submitter, key) = (entry.submitter, entry.key());
                let priority = match entry.has(TERMS) {
                    true => self.terms.get(&key).map_or(0, |t| t.priority),
                    false => 0,
                };
                if let Some(s) = self.sites.get_mut(site as usize) {
                    s.ready.push(submitter, key.id, priority, slot);
                }
                self.make_runnable(site);
            }
            Lookup::Known { .. } | Lookup::Unknown if may_send => {
                entry.phase = Phase::Pending;
                domain.pending.push(slot);
                domain.lookup = Lookup::Queued;
                self.lookups.push_back(entry.domain);
            }
            Lookup::Known { .. }
            | Lookup::Unknown
            | Lookup::Queued
            | Lookup::Asked
            | Lookup::AskedBefore => {
                entry.phase = Phase::Pending;
                domain.pending.push(slot);
                if !may_send {
                    self.watch_kept_back(now, slot);
                }
            }
        }
    }

    fn next_lookup(&mut self) -> Option<Action> {
        if self.lookups_active >= self.settings.lookups_max {
            return None;
        }
        while let Some(id) = self.lookups.pop_front() {
            let Some(domain) = self.domains.get_mut(id as usize) else {
                continue;
            };
            if domain.lookup != Lookup::Queued {
                continue;
            }
            let outgoing = domain.destination == Destination::Outgoing;
            if outgoing && (domain.paused || !self.settings.enabled) {
                domain.lookup = Lookup::Unknown;
                continue;
            }
            domain.lookup = Lookup::Asked;
            self.lookups_active += 1;
            return Some(Action::Resolve {
                domain: DomainId(id),
                name: domain.name.clone(),
                destination: domain.destination,
                route: domain.route.clone(),
            });
        }
        None
    }

    /// One batch for a site, if it has something ready and may be given it.
    fn run_site(&mut self, now: Timestamp, id: u32) -> Option<Action> {
        let site = self.sites.get_mut(id as usize)?;
        if site.ready.is_empty() {
            return None;
        }
        if let Standing::CoolingOff { until } = site.window.standing {
            if until > now {
                self.site_timers.push(Reverse((until, id)));
                return None;
            }
            site.window.probe();
        }
        let group = site.group.and_then(|group| self.groups.get(group as usize));
        let shared = group.map(|group| &group.meter);
        if let Some(at) = site.not_before(now, shared).filter(|at| *at > now) {
            self.site_timers.push(Reverse((at, id)));
            return None;
        }
        if site.busy >= site.room(now) {
            return None;
        }
        let (worker, fresh) = match site.idle.pop() {
            Some(worker) => (worker, false),
            None => (self.new_worker(now, id)?, true),
        };
        self.give_batch(now, id, worker, fresh)
    }

    /// A worker for a further connection; `None` when none may be opened, or patience pays.
    fn new_worker(&mut self, now: Timestamp, id: u32) -> Option<u32> {
        let full = self.connections_are_used_up();
        let site = self.sites.get_mut(id as usize)?;
        if let Some(patience) = site.patience() {
            let since = *site.patient_since.get_or_insert(now);
            if now < since + patience {
                self.site_timers.push(Reverse((since + patience, id)));
                return None;
            }
        }
        let group = site.group;
        if !self.has_place_in_group(group, id) {
            return None;
        }
        // One that made way in the group has freed a place.
        let full = full && self.connections_are_used_up();
        if full && !self.close_an_idle_worker(id) {
            if let Some(site) = self.sites.get_mut(id as usize)
                && !site.starved
            {
                site.starved = true;
                self.starved.push_back(id);
            }
            return None;
        }
        let worker = Worker {
            site: id,
            batch: Vec::new(),
            established: false,
            listed: false,
            batches: 0,
        };
        if let Some(group) = group.and_then(|group| self.groups.get_mut(group as usize)) {
            group.open += 1;
        }
        u32::try_from(self.workers.insert(worker)).ok()
    }

    fn give_batch(&mut self, now: Timestamp, id: u32, worker: u32, fresh: bool) -> Option<Action> {
        let site = self.sites.get_mut(id as usize)?;
        let mut batch = None;
        let most = site.limits.recipients as usize;
        // Who probes may be charged for it: the one that has waited least.
        let newest = site.window.is_probing_again();
        let mut next = match newest {
            true => site.ready.pop_newest(most),
            false => site.ready.pop(most),
        };
        while let Some((message, slots)) = next.take() {
            let mut live = Vec::with_capacity(slots.len());
            let mut recipients = Vec::with_capacity(slots.len());
            for slot in slots {
                if let Some(entry) = self.entries.get_mut(slot)
                    && entry.phase == Phase::Ready
                {
                    entry.phase = Phase::InFlight;
                    recipients.push((entry.key().recipient, u32::from(entry.attempts), entry.due));
                    live.push(slot);
                }
            }
            if !live.is_empty() {
                batch = Some((message, live, recipients));
                break;
            }
            next = site.ready.pop(most);
        }
        let Some((message, slots, recipients)) = batch else {
            // Everything ready had been taken out of the queue: the worker goes back.
            if fresh {
                self.forget_worker(worker);
            } else {
                site.idle.push(worker);
                self.wake_a_starved_site();
            }
            return None;
        };
        site.busy += 1;
        site.given = Some(message);
        site.used = now;
        site.patient_since = None;
        let group = site
            .group
            .and_then(|group| self.groups.get_mut(group as usize));
        site.count(now, group.map(|group| &mut group.meter));
        let given = self.workers.get_mut(worker as usize)?;
        // Nobody would answer for the other batch: its recipients would be with a worker for ever.
        assert!(given.batch.is_empty(), "a worker has two batches");
        given.batch = slots;
        Some(Action::Run {
            worker: WorkerId(worker),
            site: SiteId(id),
            fresh,
            batch: Batch {
                id: message,
                recipients,
            },
        })
    }

    pub(crate) fn connections_are_used_up(&self) -> bool {
        self.workers.len() >= self.settings.connections_max as usize
    }

    /// Frees a place: some idle worker of another site closes its session.
    fn close_an_idle_worker(&mut self, other_than: u32) -> bool {
        let idle = |(id, s): (usize, &Site)| {
            (id != other_than as usize).then(|| s.idle.first().copied())?
        };
        let Some(worker) = self.sites.iter().find_map(idle) else {
            return false;
        };
        self.remove_worker(worker);
        self.out.push_back(Action::Close(WorkerId(worker)));
        true
    }

    /// A worker is gone, and its place is free.
    pub(crate) fn forget_worker(&mut self, worker: u32) {
        self.remove_worker(worker);
        self.wake_a_starved_site();
    }

    pub(crate) fn remove_worker(&mut self, worker: u32) {
        let Some(w) = self.workers.try_remove(worker as usize) else {
            return;
        };
        // Its recipients would be with a worker for ever.
        assert!(w.batch.is_empty(), "a worker is forgotten with its batch");
        if let Some(site) = self.sites.get_mut(w.site as usize) {
            site.idle.retain(|idle| *idle != worker);
            if w.established {
                site.established = site.established.saturating_sub(1);
            }
            if let Some(group) = site.group {
                if let Some(g) = self.groups.get_mut(group as usize) {
                    g.open = g.open.saturating_sub(1);
                }
                self.wake_in_group(group);
            }
        }
    }

    pub(crate) fn has_starved_sites(&self) -> bool {
        !self.starved.is_empty()
    }

    /// There is a free connection: the next site that has a use for it gets it.
    pub(crate) fn wake_a_starved_site(&mut self) {
        while let Some(id) = self.starved.pop_front() {
            let Some(site) = self.sites.get_mut(id as usize) else {
                continue;
            };
            site.starved = false;
            if !site.ready.is_empty() {
                return self.make_runnable(id);
            }
        }
    }

    pub(crate) fn make_runnable(&mut self, id: u32) {
        if let Some(site) = self.sites.get_mut(id as usize)
            && !site.queued
            && !site.ready.is_empty()
        {
            site.queued = true;
            self.runnable.push_back(id);
        }
    }

    pub(crate) fn domain_id(
        &mut self,
        name: &Domain,
        destination: Destination,
        route: Option<Arc<str>>,
    ) -> u32 {
        let key = (name.clone(), destination, route.clone());
        if let Some(id) = self.domain_ids.get(&key) {
            return *id;
        }
        // Mail that an administrator sends elsewhere is paused with the rest of its domain's.
        let rest = (key.0.clone(), key.1, None);
        let rest = self.domain_ids.get(&rest);
        let rest = rest.and_then(|id| self.domains.get(*id as usize));
        let entry = DomainEntry {
            name: name.clone(),
            destination,
            route,
            policy: (self.policy_of)(name, destination),
            lookup: Lookup::Unknown,
            paused: rest.is_some_and(|d| d.paused),
            pending: Vec::new(),
            probes: false,
            recipients: 0,
        };
        let id = u32::try_from(self.domains.insert(entry)).unwrap_or(u32::MAX);
        self.domain_ids.insert(key, id);
        id
    }

    fn site_id(&mut self, key: Arc<str>, group: Option<&Arc<str>>, policy: &Policy) -> u32 {
        let limits = Limits {
            recipients: policy.recipients_max.max(1),
            rate: policy.rate,
        };
        if let Some(id) = self.site_ids.get(&key).copied() {
            if let Some(site) = self.sites.get_mut(id as usize) {
                site.limits = limits;
                site.window.set_ceiling(policy.connections_max);
                let group = site.group;
                self.set_group_ceiling(group, policy.connections_max);
            }
            return id;
        }
        let mut site = Site::new(Arc::clone(&key), policy.connections_max, limits);
        site.group = group.map(|name| self.join_group(name, policy.connections_max));
        let id = u32::try_from(self.sites.insert(site)).unwrap_or(u32::MAX);
        self.site_ids.insert(key, id);
        id
    }
}
