//! What an attempt's end means for a recipient, and for its site.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use mail::{
    ByMode, Class, DeliverBy, Destination, EnhancedCode, Outcome, RecipientKey, RecipientState,
    Reply, Status, Timestamp, Verdict,
};

use crate::action::{Action, Settled, WorkerId};
use crate::entry::{CANCELLED, Entry, HELD, KEPT, NOTIFIED, Phase, SILENT, Slot, TERMS};
use crate::plan::{Plan, mix};
use crate::report::{OurWait, Report};
use crate::scheduler::Scheduler;

/// Batches after which a session makes way for a site that waits for a connection.
const TENURE: u32 = 20;
/// The longest that a server's wish to be left alone is obeyed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);

impl Scheduler {
    /// The end of a batch. What it means for each recipient comes out of `poll`.
    pub fn finished(&mut self, now: Timestamp, worker: WorkerId, report: Report) {
        let Some(w) = self.workers.get_mut(worker.0 as usize) else {
            return;
        };
        w.batches += 1;
        let tenure_is_over = w.batches >= TENURE;
        let (site, batch) = (w.site, std::mem::take(&mut w.batch));
        for attempted in &report.attempted {
            if let Some(slot) = self.entries.find(attempted.key) {
                let verdict = &attempted.verdict;
                let asked = attempted.retry_after.unwrap_or_default();
                match attempted.ours {
                    Some(ours) => self.postpone(now, slot, verdict, ours),
                    None => self.settle(now, slot, verdict, attempted.plan.as_ref(), asked),
                };
            }
        }
        let left: Vec<Slot> = batch
            .into_iter()
            .filter(|s| {
                self.entries
                    .get(*s)
                    .is_some_and(|e| e.phase == Phase::InFlight)
            })
            .collect();
        let mut is_mended = false;
        if let Some(s) = self.sites.get_mut(site as usize) {
            s.busy = s.busy.saturating_sub(1);
            if report.site_failure.is_none() {
                s.pace.learn(report.setup, report.service);
                s.window.succeeded(s.busy + 1);
                is_mended = s.fault.take().is_some();
            }
        }
        if is_mended {
            self.let_go(now, site);
        }
        if report.open {
            let mut yields = tenure_is_over;
            if let Some(s) = self.sites.get_mut(site as usize) {
                s.idle.push(worker.0);
                yields |= s.ready.is_empty();
            }
            let group = self.sites.get(site as usize).and_then(|s| s.group);
            self.idles_in_group(group, worker.0, yields);
            if yields && self.has_starved_sites() {
                self.wake_a_starved_site();
            }
        } else {
            self.forget_worker(worker.0);
        }
        match report.site_failure {
            Some(failure) => self.site_failed(now, site, left, &failure),
            None => self.put_back(now, left),
        }
        self.make_runnable(site);
    }

    /// Ends an attempt of one recipient; the next one comes after the wait of its plan (`plan`, or its domain's),
    /// and after what the host `asked` for. The due time of the next one, when there is one.
    pub(crate) fn settle(
        &mut self,
        now: Timestamp,
        slot: Slot,
        verdict: &Verdict,
        plan: Option<&Arc<Plan>>,
        asked: Duration,
    ) -> Option<Timestamp> {
        let planned = self.entries.take_planned(slot, now);
        let planned = planned.filter(|_| verdict.outcome == Outcome::Deferred);
        let entry = self.entries.get_mut(slot)?;
        if planned.is_none() {
            entry.attempts = entry.attempts.saturating_add(1);
        }
        if verdict.outcome != Outcome::Deferred {
            self.end(slot, verdict.clone());
            return None;
        }
        if self.end_if_cancelled(now, slot) {
            return None;
        }
        let entry = self.entries.get_mut(slot)?;
        let policy = &self.domains.get(entry.domain as usize)?.policy;
        let seed =
            self.settings.seed ^ mix(entry.key().id.as_u64()) ^ u64::from(entry.key().recipient);
        let plan = plan.unwrap_or(&policy.plan);
        let wait = match planned {
            Some(due) => Some(due.since(now)),
            None => plan.wait_after(u32::from(entry.attempts), seed),
        };
        let Some(wait) = wait else {
            self.end(
                slot,
                Verdict {
                    outcome: Outcome::Failed,
                    ..verdict.clone()
                },
            );
            return None;
        };
        let old = policy.lifetime.is_some_and(|l| entry.accepted + l <= now);
        let held = entry.has(HELD);
        let (key, is_asked) = (entry.key(), entry.has(TERMS));
        let too_late = is_asked && self.return_at(key).is_some_and(|at| at <= now);
        if (old || too_late) && !held {
            self.end(
                slot,
                Verdict {
                    outcome: Outcome::Expired,
                    ..verdict.clone()
                },
            );
            return None;
        }
        let wait = wait.max(asked.min(RETRY_AFTER_MAX));
        self.wait_until(now, slot, verdict, now + wait, None)
    }

    /// Nothing was tried, because the recipient waits for us.
    pub(crate) fn postpone(
        &mut self,
        now: Timestamp,
        slot: Slot,
        verdict: &Verdict,
        ours: OurWait,
    ) -> Option<Timestamp> {
        let held = self.entries.get(slot)?.has(HELD);
        let (until, is_fault) = match ours {
            OurWait::Limit(until) => (until, false),
            OurWait::Fault(until) => (until, true),
        };
        if is_fault && self.end_if_impatient(now, slot, &verdict.reply) {
            return None;
        }
        if self.end_if_cancelled(now, slot) || !held && self.expire_if_old(now, slot) {
            return None;
        }
        let old = self.entries.get(slot)?.due;
        self.entries.get_mut(slot)?.set(KEPT, is_fault);
        self.wait_until(now, slot, verdict, until, is_fault.then_some(old))
    }

    /// It is tried again at `next`, and so it is kept: or as `due` before, so that a restart finds out again.
    fn wait_until(
        &mut self,
        now: Timestamp,
        slot: Slot,
        verdict: &Verdict,
        next: Timestamp,
        due: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let entry = self.entries.get_mut(slot)?;
        entry.due = next;
        let key = entry.key();
        let state = RecipientState {
            last: Some(verdict.clone()),
            due: due.unwrap_or(next),
            ..self.state_of(slot)?
        };
        let settled = Settled::Waiting { key, state, next };
        self.out.push_back(Action::Settle(settled));
        self.set_timer(slot, now);
        Some(next)
    }

    pub(crate) fn end(&mut self, slot: Slot, verdict: Verdict) {
        let Some(entry) = self.entries.remove(slot) else {
            return;
        };
        self.terms.remove(&entry.key());
        if let Some(domain) = self.domains.get_mut(entry.domain as usize) {
            domain.recipients = domain.recipients.saturating_sub(1);
        }
        let (key, attempts) = (entry.key(), u32::from(entry.attempts));
        let silent = entry.has(SILENT);
        self.out.push_back(Action::Settle(Settled::Final {
            key,
            verdict,
            attempts,
            silent,
        }));
    }

    /// Takes a recipient out of the queue without a word of it coming out of `poll`.
    pub(crate) fn take_out(&mut self, slot: Slot) {
        let removed = self.entries.remove(slot);
        if let Some(entry) = &removed {
            self.terms.remove(&entry.key());
        }
        if let Some(entry) = removed
            && let Some(domain) = self.domains.get_mut(entry.domain as usize)
        {
            domain.recipients = domain.recipients.saturating_sub(1);
        }
    }

    pub(crate) fn end_if_cancelled(&mut self, now: Timestamp, slot: Slot) -> bool {
        if !self.entries.get(slot).is_some_and(|e| e.has(CANCELLED)) {
            return false;
        }
        let reply = Reply::own(EnhancedCode::new(5, 7, 0), "ended by an administrator");
        self.end(
            slot,
            Verdict::own(Outcome::Failed, Class::Policy, reply, now),
        );
        true
    }

    fn deliver_by(&self, key: RecipientKey) -> Option<DeliverBy> {
        self.terms.get(&key)?.deliver_by
    }

    /// When it is to come back if it is not delivered (RFC 2852, by-mode R).
    fn return_at(&self, key: RecipientKey) -> Option<Timestamp> {
        let by = self.deliver_by(key)?;
        (by.mode == ByMode::Return).then_some(by.by)
    }

    /// The end of the entry's time in the queue, if it has one.
    pub(crate) fn expiry(&self, entry: &Entry) -> Option<Timestamp> {
        let asked = match entry.has(TERMS) {
            true => self.return_at(entry.key()),
            false => None,
        };
        let domain = self.domains.get(entry.domain as usize)?;
        // The first attempt is always made: a lifetime ends retries.
        let lifetime = domain.policy.lifetime.filter(|_| entry.attempts > 0);
        let own = lifetime.map(|lifetime| entry.accepted + lifetime);
        own.into_iter().chain(asked).min()
    }

    /// When its sender is to hear that it is late, if that is still to come.
    pub(crate) fn notice_at(&self, entry: &Entry) -> Option<Timestamp> {
        if entry.has(NOTIFIED) {
            return None;
        }
        let own = self.settings.delay_notice_after;
        let own = own.map(|after| entry.accepted + after);
        let asked = match entry.has(TERMS) {
            true => self.deliver_by(entry.key()).map(|by| by.by),
            false => None,
        };
        own.into_iter().chain(asked).min()
    }

    /// The durable part of an entry; the last verdict is the spool's to know.
    pub(crate) fn state_of(&self, slot: Slot) -> Option<RecipientState> {
        let entry = self.entries.get(slot)?;
        let domain = self.domains.get(entry.domain as usize)?;
        Some(RecipientState {
            status: match entry.has(HELD) {
                true => Status::Held,
                false => Status::Waiting,
            },
            attempts: u32::from(entry.attempts),
            due: entry.due,
            delay_notified: entry.has(NOTIFIED),
            route: domain.route.as_deref().map(str::to_owned),
            last: None,
        })
    }

    /// Gives everything pending of a domain another chance to find its site.
    pub(crate) fn settle_pending_into(&mut self, now: Timestamp, domain: u32) {
        let Some(entry) = self.domains.get_mut(domain as usize) else {
            return;
        };
        for slot in std::mem::take(&mut entry.pending) {
            if self
                .entries
                .get(slot)
                .is_some_and(|e| e.phase == Phase::Pending)
            {
                self.make_due(now, slot);
            }
        }
    }

    /// Who is due and kept back, by a pause or by the main switch, is late and expires like everybody: a timer for that.
    pub(crate) fn watch_kept_back(&mut self, now: Timestamp, slot: Slot) {
        let Some(entry) = self.entries.get(slot) else {
            return;
        };
        let ends = [self.expiry(entry), self.notice_at(entry)];
        if let Some(at) = ends.into_iter().flatten().min() {
            self.timers.push(Reverse((at.max(now), slot)));
        }
    }

    pub(crate) fn expire_if_old(&mut self, now: Timestamp, slot: Slot) -> bool {
        let Some(entry) = self.entries.get(slot) else {
            return false;
        };
        let old = self.expiry(entry).is_some_and(|at| at <= now);
        if old {
            let text =
                match entry.has(TERMS) && self.return_at(entry.key()).is_some_and(|at| at <= now) {
                    true => "the delivery deadline set by the sender has passed",
                    false => "its lifetime in the queue has ended",
                };
            let reply = Reply::own(EnhancedCode::new(4, 4, 7), text);
            self.end(
                slot,
                Verdict::own(Outcome::Expired, Class::Policy, reply, now),
            );
        }
        old
    }

    pub(crate) fn notice_if_late(&mut self, now: Timestamp, slot: Slot) {
        let Some(entry) = self.entries.get(slot) else {
            return;
        };
        let outgoing = |d: &crate::domain::DomainEntry| d.destination == Destination::Outgoing;
        let domain = self.domains.get(entry.domain as usize);
        let late = self.notice_at(entry).is_some_and(|at| at <= now);
        if !late || !domain.is_some_and(outgoing) {
            return;
        }
        let Some(entry) = self.entries.get_mut(slot) else {
            return;
        };
        entry.set(NOTIFIED, true);
        let action = Action::Notice(entry.key());
        self.out.push_back(action);
    }
}
