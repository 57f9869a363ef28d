//! No host of a site could be used: whom that is charged to, and when it is tried again.

use std::cmp::Reverse;
use std::time::Duration;

use mail::{Class, Outcome, Timestamp, Verdict};

use crate::entry::{Entry, HELD, KEPT, Phase, Slot};
use crate::report::{OurWait, SiteFailure};
use crate::scheduler::Scheduler;

/// The longest cool-off, unless the hosts ask for more. It is not longer than the first wait of the plan, so
/// that new mail never waits for an old mail's long wait.
const COOL_OFF_MAX: Duration = Duration::from_secs(300);
/// The cool-off where everybody who waited ran out of attempts.
const COOL_OFF_EMPTY: Duration = Duration::from_secs(60);
/// The longest cool-off that hosts may ask for.
const ASKED_MAX: Duration = Duration::from_secs(4 * 3600);
/// How long mail waits for a fault of ours to be mended, where its domain has no lifetime (RFC 5321
/// §4.5.4.1).
const PATIENCE: Duration = Duration::from_secs(5 * 86_400);
/// How often those who wait for us are looked through for who has waited too long.
const LOOK_EVERY: Duration = Duration::from_secs(60);

impl Scheduler {
    /// A site failed for one worker. While others are talking to it, or about to, it may only be too much for
    /// it: then the batch goes back, uncharged. Otherwise it is closed.
    pub(crate) fn site_failed(
        &mut self,
        now: Timestamp,
        site: u32,
        left: Vec<Slot>,
        failure: &SiteFailure,
    ) {
        let Some(s) = self.sites.get_mut(site as usize) else {
            return;
        };
        let reply = &failure.verdict.reply;
        s.last_failure = Some(reply.clone());
        let closes = s.window.failed() || s.established == 0 && s.busy == 0;
        s.fault = failure.ours_until.map(|_| reply.clone());
        match failure.ours_until {
            // A login that was refused is not tried again by others.
            Some(until) => {
                s.window.cool_off(now, until.since(now));
                self.keep(now, site, left, &failure.verdict, until);
                self.end_impatient(now, site);
            }
            None if closes => self.charge(now, site, left, failure),
            None => self.put_back(now, left),
        }
    }

    /// Those for whom a fault of ours was found wait for it to be mended; what came of their attempt is told.
    fn keep(
        &mut self,
        now: Timestamp,
        site: u32,
        left: Vec<Slot>,
        verdict: &Verdict,
        until: Timestamp,
    ) {
        if let Some(s) = self.sites.get_mut(site as usize) {
            let waits = |e: &Entry| e.phase == Phase::Waiting;
            s.kept
                .retain(|slot| self.entries.get(*slot).is_some_and(waits));
        }
        for slot in left {
            if self
                .postpone(now, slot, verdict, OurWait::Fault(until))
                .is_some()
                && let Some(s) = self.sites.get_mut(site as usize)
            {
                s.kept.push(slot);
            }
        }
    }

    /// Makes those due who wait for a fault of ours to be mended.
    pub(crate) fn let_go(&mut self, now: Timestamp, site: u32) {
        let Some(s) = self.sites.get_mut(site as usize) else {
            return;
        };
        for slot in std::mem::take(&mut s.kept) {
            let waits = |e: &&mut Entry| e.phase == Phase::Waiting;
            if let Some(entry) = self.entries.get_mut(slot).filter(waits) {
                entry.due = now;
                if let Some(slot) = self.entries.renew(slot) {
                    self.set_timer(slot, now);
                }
            }
        }
    }

    /// Everybody who is due at a site is charged one attempt, and the site cools off.
    fn charge(&mut self, now: Timestamp, site: u32, left: Vec<Slot>, failure: &SiteFailure) {
        let Some(s) = self.sites.get_mut(site as usize) else {
            return;
        };
        let waiting = s.ready.drain();
        let asked = failure.retry_after.unwrap_or_default().min(ASKED_MAX);
        let mut shortest: Option<Duration> = None;
        let left = left.into_iter().map(|slot| (slot, Phase::InFlight));
        for (slot, phase) in left.chain(waiting.into_iter().map(|slot| (slot, Phase::Ready))) {
            // What another worker has is its own to end.
            let Some(entry) = self.entries.get(slot).filter(|e| e.phase == phase) else {
                continue;
            };
            let domain = self.domains.get(entry.domain as usize);
            let first = domain.and_then(|d| d.policy.plan.first());
            let due = self.settle(now, slot, &failure.verdict, None, asked);
            if let Some(first) = first.filter(|_| due.is_some()) {
                shortest = Some(shortest.map_or(first, |s| s.min(first)));
            }
        }
        let length = shortest.unwrap_or(COOL_OFF_EMPTY).min(COOL_OFF_MAX);
        if let Some(s) = self.sites.get_mut(site as usize) {
            s.window.cool_off(now, length.max(asked));
        }
    }

    /// Gives a batch back, uncharged.
    pub(crate) fn put_back(&mut self, now: Timestamp, slots: Vec<Slot>) {
        for slot in slots {
            if self.end_if_cancelled(now, slot) {
                continue;
            }
            let Some(entry) = self.entries.get_mut(slot) else {
                continue;
            };
            entry.phase = Phase::Waiting;
            if !entry.has(HELD) && !self.expire_if_old(now, slot) {
                self.make_due(now, slot);
            }
        }
    }

    /// When a recipient has waited long enough for a fault of ours to be mended: also one that was never
    /// tried.
    fn impatient_at(&self, entry: &Entry) -> Option<Timestamp> {
        let domain = self.domains.get(entry.domain as usize)?;
        let patience = domain.policy.lifetime.unwrap_or(PATIENCE);
        let asked = self.expiry(entry);
        asked.into_iter().chain([entry.accepted + patience]).min()
    }

    /// Ends a recipient that has waited too long for a fault of ours to be mended.
    pub(crate) fn end_if_impatient(
        &mut self,
        now: Timestamp,
        slot: Slot,
        reply: &mail::Reply,
    ) -> bool {
        let entry = self.entries.get(slot).filter(|e| !e.has(HELD));
        let at = entry.and_then(|entry| self.impatient_at(entry));
        let ends = at.is_some_and(|at| at <= now);
        if ends {
            let verdict = Verdict::own(Outcome::Expired, Class::Policy, reply.clone(), now);
            self.end(slot, verdict);
        }
        ends
    }

    /// Ends those at a site that have waited too long for a fault of ours to be mended, and sees to it that
    /// the others are looked at in time.
    pub(crate) fn end_impatient(&mut self, now: Timestamp, site: u32) {
        let Some(s) = self.sites.get(site as usize) else {
            return;
        };
        let Some(reply) = s.fault.clone() else {
            return;
        };
        let is_in = |slot: &Slot, phase| self.entries.get(*slot).is_some_and(|e| e.phase == phase);
        let ready = s.ready.slots().filter(|slot| is_in(slot, Phase::Ready));
        let kept = s.kept.iter().copied();
        let kept = kept.filter(|slot| is_in(slot, Phase::Waiting));
        let waiting: Vec<Slot> = ready.chain(kept).collect();
        let mut next: Option<Timestamp> = None;
        for slot in waiting {
            if !self.end_if_impatient(now, slot, &reply) {
                let at = self.entries.get(slot).and_then(|e| self.impatient_at(e));
                next = at.into_iter().chain(next).min();
            }
        }
        let look_at = next.map(|at| at.max(now + LOOK_EVERY));
        if let Some(s) = self.sites.get_mut(site as usize) {
            s.look_at = look_at;
        }
        if let Some(at) = look_at {
            self.site_timers.push(Reverse((at, site)));
        }
    }

    /// Whoever waits for a fault of ours to be mended is tried at once: it may be. The caller sets the timers.
    pub(crate) fn faults_may_be_mended(&mut self, now: Timestamp) {
        for slot in self.entries.slots() {
            let kept = |e: &&mut Entry| e.has(KEPT) && e.phase == Phase::Waiting;
            if let Some(entry) = self.entries.get_mut(slot).filter(kept) {
                entry.due = now;
            }
        }
        let faulty = |(id, s): (usize, &crate::site::Site)| {
            s.fault.as_ref().and_then(|_| u32::try_from(id).ok())
        };
        let sites: Vec<u32> = self.sites.iter().filter_map(faulty).collect();
        for site in sites {
            if let Some(s) = self.sites.get_mut(site as usize) {
                s.window.probe();
                s.kept.clear();
            }
            self.make_runnable(site);
        }
    }
}
