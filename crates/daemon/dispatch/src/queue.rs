//! The owner of the schedule: one task, one loop over a closed set of events.
//!
//! Everything that changes who is sent when passes through here. What the scheduler settles is
//! committed to the spool, and spoken of (log, reports) only when that is durable.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mail::{
    Class, Domain, EnhancedCode, Message, Outcome, QueueId, RecipientKey, RecipientState, Reply,
    Status, Timestamp, Verdict,
};
use node::event::{Event, Finished, Gauges, Job, internal_error};
use node::figures::Figures;
use node::hand_in::{accept_op, log_report};
use node::hop::Hop;
use node::signing;
use ops::{Verb, VerbError};
use protection::resolve;
use schedule::{
    Action, Batch, DomainId, NewRecipient, Resolution, Scheduler, SiteId, SiteView, WorkerId,
};
use sending::worker;
use store::{Op, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ended::{End, Spoken};
use crate::hops::Hops;
use crate::outcome::Outcomes;
use crate::recent::Recent;
use crate::{Dispatch, policy, reactions};

/// Events taken at once, so that their effects are committed together.
const EVENTS_AT_ONCE: usize = 512;
/// How long what is on the wire may take when the server stops.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// How the loop ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// As ordered.
    Stopped,
    /// The disk failed.
    Fatal(String),
}

/// The owner.
pub struct Owner {
    dispatch: Arc<Dispatch>,
    scheduler: Scheduler,
    hops: Hops,
    workers: HashMap<WorkerId, mpsc::UnboundedSender<Job>>,
    recent: Recent,
    tasks: TaskTracker,
    stopping_until: Option<Timestamp>,
    fatal: Option<String>,
    /// Cancelled when what is on the wire has had its time.
    abandon: CancellationToken,
}

/// Why not all that waits could be taken in.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// So many recipients have a domain that is none.
    #[error("{0} waiting recipients have a domain that cannot be read")]
    Domains(u64),
}

impl Owner {
    /// Of an empty queue.
    pub fn new(dispatch: Arc<Dispatch>, tasks: TaskTracker) -> Self {
        let settings = dispatch.node.settings();
        let config = &settings.config;
        let scheduler = Scheduler::new(
            policy::settings(config),
            policy::policy_of(config, dispatch.node.controls.slowed()),
        );
        Self {
            dispatch,
            scheduler,
            hops: Hops::default(),
            workers: HashMap::new(),
            recent: Recent::default(),
            tasks,
            stopping_until: None,
            fatal: None,
            abandon: CancellationToken::new(),
        }
    }

    /// Takes in what waits, as the store knows it; the clock may be behind what it was. Blocks on the index.
    pub fn restore(&mut self, now: Timestamp, behind: Duration) -> Result<(), RestoreError> {
        let scheduler = &mut self.scheduler;
        scheduler.reserve(self.dispatch.node.store.figures().waiting as usize);
        let mut bad = 0u64;
        let store = &self.dispatch.node.store;
        store.scan(&store.lots(), &mut |waiting| {
            let Ok(domain) = Domain::parse(waiting.domain) else {
                bad += 1;
                return;
            };
            let state = RecipientState {
                status: waiting.status,
                attempts: waiting.attempts,
                due: waiting.due,
                delay_notified: waiting.delay_notified || waiting.null_sender,
                route: waiting.route.map(str::to_owned),
                last: None,
            };
            let new = NewRecipient {
                key: waiting.key,
                domain,
                destination: waiting.destination,
                submitter: waiting.submitter.to_owned(),
                accepted: waiting.accepted,
                terms: waiting.terms,
                state,
            };
            scheduler.insert(now, &new);
        })?;
        scheduler.clock_set_back(now, behind);
        if bad > 0 {
            return Err(RestoreError::Domains(bad));
        }
        Ok(())
    }

    /// A domain was paused before the restart.
    pub fn restore_pause(&mut self, now: Timestamp, domain: &Domain) {
        self.scheduler.set_paused(now, domain, true);
    }

    /// Recipients in the queue.
    pub fn recipients(&self) -> usize {
        self.scheduler.len()
    }

    /// Runs until told to stop, or until the disk fails.
    pub async fn run(mut self, mut events: mpsc::UnboundedReceiver<Event>) -> Ended {
        let mut taken = Vec::with_capacity(EVENTS_AT_ONCE);
        loop {
            self.pump();
            if let Some(why) = self.fatal.take() {
                return Ended::Fatal(why);
            }
            let now = self.dispatch.node.now();
            if let Some(until) = self.stopping_until
                && (self.scheduler.busy_workers() == 0 || until <= now)
            {
                self.abandon.cancel();
                self.take_the_last(&mut events);
                return Ended::Stopped;
            }
            let wait = match (self.scheduler.deadline(), self.stopping_until) {
                (_, Some(until)) => until.since(now),
                (Some(deadline), None) => deadline.at.since(now),
                (None, None) => Duration::from_secs(3600),
            };
            tokio::select! {
                n = events.recv_many(&mut taken, EVENTS_AT_ONCE) => if n == 0 {
                    return Ended::Stopped;
                },
                () = sleep(wait) => {}
            }
            let now = self.dispatch.node.now();
            let mut outcomes = Outcomes::default();
            for event in taken.drain(..) {
                self.handle(now, event, &mut outcomes);
            }
            self.collect(now, outcomes);
        }
    }

    /// Outcomes that have been reported already must not be forgotten.
    fn take_the_last(&mut self, events: &mut mpsc::UnboundedReceiver<Event>) {
        let now = self.dispatch.node.now();
        let mut outcomes = Outcomes::default();
        while let Ok(event) = events.try_recv() {
            self.handle(now, event, &mut outcomes);
        }
        self.collect(now, outcomes);
    }

    fn handle(&mut self, now: Timestamp, event: Event, outcomes: &mut Outcomes) {
        match event {
            Event::Accepted(message, held) => self.accepted(now, message, &held),
            Event::Resolved(domain, resolution, hop) => {
                self.resolved(now, domain, resolution, hop);
            }
            Event::Greeted(worker) => self.scheduler.greeted(worker),
            Event::Finished(worker, finished) => self.finished(now, worker, *finished, outcomes),
            Event::Closed(worker) => {
                if self.scheduler.closed(worker) {
                    self.workers.remove(&worker);
                }
            }
            Event::Act(verb, keys, answer) => {
                // What was settled before the verb is committed before it: the last one counts.
                self.collect(now, std::mem::take(outcomes));
                self.act(now, &verb, &keys, answer);
            }
            Event::Late(id, keys, report) => {
                self.collect(now, std::mem::take(outcomes));
                self.late(id, &keys, report);
            }
            Event::Waits(keys, answer) => {
                let waits = keys
                    .iter()
                    .map(|key| self.scheduler.wait(*key, now))
                    .collect();
                // Whoever asked may have hung up.
                drop(answer.send(waits));
            }
            // Whoever asked may have hung up.
            Event::Gauges(answer) => drop(answer.send(self.gauges())),
            Event::Sites(answer) => {
                let sites = self
                    .scheduler
                    .sites()
                    .into_iter()
                    .map(|(_, view)| view)
                    .collect();
                drop(answer.send((sites, self.scheduler.paused())));
            }
            Event::Domain(domain, answer) => {
                let found = self.scheduler.domain(&domain);
                // Whoever asked may have hung up.
                drop(answer.send(found));
            }
            Event::Pause(domain, on, answer) => {
                self.scheduler.set_paused(now, &domain, on);
                // Whoever asked may have hung up.
                answer.send(()).unwrap_or_default();
            }
            Event::Order(site, order) => drop(self.scheduler.order_site(&site, order)),
            Event::Alive(answer) => drop(answer.send(self.scheduler.len())),
            Event::ClockSetBack(by) => self.scheduler.clock_set_back(now, by),
            Event::Reloaded => {
                let settings = self.dispatch.node.settings();
                self.hops.forget();
                let slowed = self.dispatch.node.controls.slowed();
                let policies = policy::policy_of(&settings.config, slowed);
                self.scheduler.set_policy_of(policies);
                self.scheduler
                    .policies_changed(now, policy::settings(&settings.config));
                self.end_orders(now, true);
            }
            Event::Fatal(why) => self.fatal = Some(why),
            Event::Stop => {
                self.scheduler.stop();
                self.stopping_until.get_or_insert(now + STOP_WITHIN);
            }
        }
    }

    fn resolved(
        &mut self,
        now: Timestamp,
        domain: DomainId,
        resolution: Resolution,
        hop: Option<Arc<Hop>>,
    ) {
        let Resolution::Site { key, .. } = &resolution else {
            self.scheduler.resolved(now, domain, resolution);
            return;
        };
        let key = Arc::clone(key);
        let site = self.scheduler.resolved(now, domain, resolution);
        if let (Some(site), Some(hop)) = (site, hop) {
            self.hops.insert(site, &key, hop);
        }
        // The schedule may have forgotten the site since it was ordered.
        if let Some(order) = self.dispatch.reactions.order(&key) {
            self.scheduler.order_site(&key, Some(order));
        }
    }

    /// Lets sites go whose orders are over.
    fn end_orders(&mut self, now: Timestamp, gone: bool) {
        for site in reactions::over(&self.dispatch, now, gone) {
            self.scheduler.order_site(&site, None);
        }
    }

    fn gauges(&self) -> Gauges {
        let sites = self.scheduler.sites();
        let sum = |of: fn(&SiteView) -> u64| sites.iter().map(|(_, site)| of(site)).sum();
        Gauges {
            recipients: self.scheduler.len() as u64,
            due: sum(|s| s.recipients as u64),
            future: self.scheduler.future() as u64,
            sites: sites.len() as u64,
            busy: sum(|s| s.busy.into()),
            idle: sum(|s| s.idle.into()),
            paused: self.scheduler.paused().len() as u64,
        }
    }

    fn accepted(&mut self, now: Timestamp, message: Arc<Message>, held: &[u32]) {
        Figures::count(&self.dispatch.node.figures.accepted);
        let envelope = &message.envelope;
        let to = envelope
            .recipients
            .first()
            .map(|r| format!("<{}>", r.address));
        let more = envelope.recipients.len().saturating_sub(1);
        let line = self
            .dispatch
            .node
            .journal
            .line(now, "accepted")
            .field("id", message.id);
        let line = line
            .field("from", format_args!("<{}>", envelope.sender()))
            .maybe("to", to)
            .maybe("and-more", (more > 0).then_some(more))
            .field("size", message.content.len())
            .maybe("dkim", signing::names(&message.content))
            .maybe("held", (!held.is_empty()).then_some(held.len()))
            .field("via", &envelope.submitter.via)
            .maybe("user", envelope.submitter.user.as_ref());
        line.maybe("client", envelope.submitter.peer).send();
        let submitter = envelope.submitter.name();
        for (recipient, number) in envelope.recipients.iter().zip(0..) {
            let new = NewRecipient {
                key: RecipientKey {
                    id: message.id,
                    recipient: number,
                },
                domain: recipient.address.domain().clone(),
                destination: recipient.destination,
                submitter: submitter.clone(),
                accepted: message.accepted,
                terms: envelope.terms,
                state: RecipientState {
                    status: match held.contains(&number) {
                        true => Status::Held,
                        false => Status::Waiting,
                    },
                    ..message.initial_state()
                },
            };
            self.scheduler.insert(now, &new);
        }
        self.recent.insert(message);
    }

    fn finished(
        &mut self,
        now: Timestamp,
        worker: WorkerId,
        finished: Finished,
        outcomes: &mut Outcomes,
    ) {
        let open = finished.report.open;
        if let Some(site) = self.scheduler.site_of(worker) {
            let (message, report) = (finished.message.as_deref(), &finished.report);
            let order = reactions::seen(&self.dispatch, now, &site, message, report);
            if order.is_some() {
                self.scheduler.order_site(&site, order);
            }
        }
        if let Some(message) = finished.message {
            if outcomes.knows(message.id) {
                // What was said belongs to the recipients of one batch: the other's are committed before.
                self.collect(now, std::mem::take(outcomes));
            }
            let spoken = Spoken {
                transcript: finished.transcript,
                reports_taken: finished.reports_taken,
                passed_on: finished.passed_on,
                sources: finished.sources,
            };
            outcomes.know(message, spoken);
        }
        self.scheduler.finished(now, worker, finished.report);
        if !open {
            self.workers.remove(&worker);
        }
    }

    /// Gathers what the scheduler settles, until it has nothing more to do, and commits it.
    fn collect(&mut self, now: Timestamp, mut outcomes: Outcomes) {
        while let Some(action) = self.scheduler.poll(now) {
            match action {
                Action::Resolve {
                    domain,
                    name,
                    destination,
                    route,
                } => {
                    let dispatch = Arc::clone(&self.dispatch);
                    self.tasks.spawn(async move {
                        let mut answer = LookupGuard::new(Arc::clone(&dispatch), domain);
                        let (resolution, hop) = resolve::resolve(
                            &dispatch.protection,
                            &name,
                            destination,
                            route.as_deref(),
                            dispatch.node.now(),
                        )
                        .await;
                        answer.give(resolution, hop);
                    });
                }
                Action::Run {
                    worker,
                    site,
                    fresh,
                    batch,
                } => self.run_batch(worker, site, fresh, batch),
                Action::Close(worker) => {
                    self.workers.remove(&worker);
                }
                Action::Settle(settled) => outcomes.settle(settled, &mut self.recent),
                Action::Notice(key) => outcomes.late(key),
            }
        }
        outcomes.commit(&self.dispatch, &self.tasks);
    }

    fn pump(&mut self) {
        self.end_orders(self.dispatch.node.now(), false);
        self.collect(self.dispatch.node.now(), Outcomes::default());
    }

    fn run_batch(&mut self, worker: WorkerId, site: SiteId, fresh: bool, batch: Batch) {
        let Some(hops) = self.hops.of(site) else {
            return self.hand_back(worker, &batch, "internal error: unknown next hop");
        };
        if fresh {
            let (jobs, given) = mpsc::unbounded_channel();
            self.workers.insert(worker, jobs);
            let work = worker::run(Arc::clone(&self.dispatch.sending), worker, given);
            let abandon = self.abandon.clone();
            self.tasks.spawn(async move {
                // What cannot end in time when the server stops is sent again at its next start.
                tokio::select! {
                    () = work => {}
                    () = abandon.cancelled() => {}
                }
            });
        }
        let message = self.recent.get(batch.id);
        let job = Job {
            batch,
            message,
            hops,
        };
        let rejected = match self.workers.get(&worker) {
            Some(jobs) => jobs.send(job).err().map(|e| e.0.batch),
            None => Some(job.batch),
        };
        if let Some(batch) = rejected {
            self.hand_back(worker, &batch, "internal error: its worker has ended");
        }
    }

    /// A batch that nobody can send: a fault of ours, which must not leave it in flight for ever.
    fn hand_back(&mut self, worker: WorkerId, batch: &Batch, why: &str) {
        let now = self.dispatch.node.now();
        let line = self
            .dispatch
            .node
            .journal
            .line(now, "error")
            .field("what", "delivery");
        line.field("id", batch.id).field("why", why).send();
        self.workers.remove(&worker);
        self.scheduler
            .finished(now, worker, internal_error(batch, why, now));
    }

    fn act(
        &mut self,
        now: Timestamp,
        verb: &Verb,
        keys: &[RecipientKey],
        answer: oneshot::Sender<Result<[u64; 3], VerbError>>,
    ) {
        let acted = ops::act(verb, keys, &mut self.scheduler, now);
        let counts = [acted.changed, acted.unchanged, acted.in_flight];
        let mut outcomes = Outcomes::default();
        for (key, attempts) in acted.ended {
            let verdict = ops::verdict_of_admin(verb, now);
            let end = End {
                key,
                verdict,
                attempts,
                silent: *verb == Verb::Remove,
                passed_on: false,
            };
            outcomes.end(end, &mut self.recent);
        }
        for op in acted.ops {
            outcomes.change(op);
        }
        outcomes.answer = Some((answer, counts));
        outcomes.commit(&self.dispatch, &self.tasks);
    }

    /// Records that the sender was told of late recipients, together with the notice.
    fn late(&mut self, id: QueueId, keys: &[RecipientKey], report: Option<Box<Message>>) {
        let mut ops = Vec::with_capacity(keys.len() + 1);
        for key in keys {
            if let Some(state) = self.scheduler.state(*key) {
                ops.push(Op::Change { key: *key, state });
            }
        }
        // Nobody is late any more, or there is nobody to tell.
        let Some(report) = report.filter(|_| !ops.is_empty()) else {
            return;
        };
        ops.push(accept_op(&report));
        let handles = Arc::clone(&self.dispatch);
        self.dispatch.node.store.commit(
            ops,
            Box::new(move |result| match result {
                Ok(()) => {
                    log_report(&handles.node, id, &report);
                    handles
                        .node
                        .tell(Event::Accepted(Arc::from(report), Vec::new()));
                }
                // The sender hears of it behind the next start, or of the end.
                Err(error) => drop(handles.node.failed(&error)),
            }),
        );
    }
}

/// Answers a lookup even if looking up fails in a way that it must not.
struct LookupGuard {
    dispatch: Arc<Dispatch>,
    domain: Option<DomainId>,
}

impl LookupGuard {
    const fn new(dispatch: Arc<Dispatch>, domain: DomainId) -> Self {
        Self {
            dispatch,
            domain: Some(domain),
        }
    }

    fn give(&mut self, resolution: Resolution, hop: Option<Arc<Hop>>) {
        if let Some(domain) = self.domain.take() {
            self.dispatch
                .node
                .tell(Event::Resolved(domain, resolution, hop));
        }
    }
}

impl Drop for LookupGuard {
    fn drop(&mut self) {
        if self.domain.is_some() {
            let reply = Reply::own(EnhancedCode::new(4, 3, 0), "internal error: the lookup");
            let verdict = Verdict::own(
                Outcome::Deferred,
                Class::Policy,
                reply,
                self.dispatch.node.now(),
            );
            self.give(Resolution::Unroutable(verdict), None);
        }
    }
}
