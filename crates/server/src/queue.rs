//! The owner of the schedule: one task, one loop over a closed set of events.
//!
//! Everything that changes who is sent when passes through here. What the scheduler settles is
//! committed to the spool, and spoken of (log, reports) only when that is durable.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mail::{Domain, Message, RecipientKey, Timestamp};
use ops::Verb;
use schedule::{
    Action, Batch, DomainId, NewRecipient, Report, Resolution, Scheduler, SiteId, SiteView, Wait,
    WorkerId,
};
use spool::{CommitError, Op};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::outcome::{End, Outcomes, Spoken};
use crate::policy;
use crate::recent::Recent;
use crate::resolve::{self, Hop};
use crate::shared::{Figures, Shared};
use crate::worker;

/// Events taken at once, so that their effects are committed together.
const EVENTS_AT_ONCE: usize = 512;
/// How long what is on the wire may take when the server stops.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// What happens to the queue.
pub(crate) enum Event {
    /// A message is durable.
    Accepted(Arc<Message>),
    /// A domain's lookup ended.
    Resolved(DomainId, Resolution, Option<Arc<Hop>>),
    /// A worker's session got through its greeting.
    Greeted(WorkerId),
    /// A worker's batch ended.
    Finished(WorkerId, Box<Finished>),
    /// A worker closed its idle session.
    Closed(WorkerId),
    /// An administrator's verb.
    Act(
        Verb,
        Vec<RecipientKey>,
        oneshot::Sender<Result<[u64; 3], String>>,
    ),
    /// Why these recipients wait.
    Waits(Vec<RecipientKey>, oneshot::Sender<Vec<Option<Wait>>>),
    /// Every site, and the paused domains.
    Sites(oneshot::Sender<(Vec<SiteView>, Vec<Domain>)>),
    /// Pause or resume a domain.
    Pause(Domain, bool, oneshot::Sender<()>),
    /// The settings have changed.
    Reloaded,
    /// The queue's disk failed.
    Fatal(String),
    /// End in order.
    Stop,
}

/// What a worker reports.
pub(crate) struct Finished {
    pub(crate) message: Option<Arc<Message>>,
    pub(crate) report: Report,
    /// What was said, for all of the batch.
    pub(crate) transcript: Option<String>,
    /// The host took delivery reports over (RFC 3461): none of ours on success.
    pub(crate) reports_taken: bool,
}

/// What a worker is given.
pub(crate) struct Job {
    pub(crate) batch: Batch,
    pub(crate) message: Option<Arc<Message>>,
    pub(crate) hop: Arc<Hop>,
}

/// How the loop ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// As ordered.
    Stopped,
    /// The disk failed.
    Fatal(String),
}

pub(crate) struct Owner {
    shared: Arc<Shared>,
    scheduler: Scheduler,
    hops: HashMap<SiteId, Arc<Hop>>,
    workers: HashMap<WorkerId, mpsc::UnboundedSender<Job>>,
    recent: Recent,
    tasks: TaskTracker,
    stopping_until: Option<Timestamp>,
    fatal: Option<String>,
}

impl Owner {
    pub(crate) fn new(shared: Arc<Shared>, tasks: TaskTracker) -> Self {
        let settings = shared.settings();
        let config = &settings.config;
        let scheduler = Scheduler::new(policy::settings(config), policy::policy_of(config));
        Self {
            shared,
            scheduler,
            hops: HashMap::new(),
            workers: HashMap::new(),
            recent: Recent::default(),
            tasks,
            stopping_until: None,
            fatal: None,
        }
    }

    /// Takes in everything that waits, as the spool knows it. Blocks on the index.
    pub(crate) fn restore(&mut self, now: Timestamp) -> Result<(), String> {
        let scheduler = &mut self.scheduler;
        let mut bad = 0u64;
        self.shared
            .spool
            .scan(&mut |waiting| {
                let Ok(domain) = Domain::parse(waiting.domain) else {
                    bad += 1;
                    return;
                };
                let state = mail::RecipientState {
                    status: waiting.status,
                    attempts: waiting.attempts,
                    due: waiting.due,
                    delay_notified: waiting.delay_notified || waiting.null_sender,
                    last: None,
                };
                let new = NewRecipient {
                    key: waiting.key,
                    domain,
                    destination: waiting.destination,
                    submitter: waiting.submitter.to_owned(),
                    accepted: waiting.accepted,
                    state,
                };
                scheduler.insert(now, &new);
            })
            .map_err(|e| e.to_string())?;
        if bad > 0 {
            return Err(format!(
                "{bad} waiting recipients have a domain that cannot be read"
            ));
        }
        Ok(())
    }

    /// A domain was paused before the restart.
    pub(crate) fn restore_pause(&mut self, now: Timestamp, domain: &Domain) {
        self.scheduler.set_paused(now, domain, true);
    }

    /// Recipients in the queue.
    pub(crate) fn len(&self) -> usize {
        self.scheduler.len()
    }

    /// Runs until told to stop, or until the disk fails.
    pub(crate) async fn run(mut self, mut events: mpsc::UnboundedReceiver<Event>) -> Ended {
        let mut taken = Vec::with_capacity(EVENTS_AT_ONCE);
        loop {
            self.pump();
            if let Some(why) = self.fatal.take() {
                return Ended::Fatal(why);
            }
            let now = net::now();
            if let Some(until) = self.stopping_until
                && (self.scheduler.busy_workers() == 0 || until <= now)
            {
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
            let now = net::now();
            let mut outcomes = Outcomes::default();
            for event in taken.drain(..) {
                self.handle(now, event, &mut outcomes);
            }
            self.collect(now, outcomes);
        }
    }

    fn handle(&mut self, now: Timestamp, event: Event, outcomes: &mut Outcomes) {
        match event {
            Event::Accepted(message) => self.accepted(now, message),
            Event::Resolved(domain, resolution, hop) => {
                if let (Some(site), Some(hop)) =
                    (self.scheduler.resolved(now, domain, resolution), hop)
                {
                    self.hops.insert(site, hop);
                }
            }
            Event::Greeted(worker) => self.scheduler.greeted(worker),
            Event::Finished(worker, finished) => self.finished(now, worker, *finished, outcomes),
            Event::Closed(worker) => {
                if self.scheduler.closed(worker) {
                    self.workers.remove(&worker);
                }
            }
            Event::Act(verb, keys, answer) => self.act(now, verb, &keys, answer),
            Event::Waits(keys, answer) => {
                let waits = keys
                    .iter()
                    .map(|key| self.scheduler.wait(*key, now))
                    .collect();
                // Whoever asked may have hung up.
                drop(answer.send(waits));
            }
            Event::Sites(answer) => {
                let sites = self
                    .scheduler
                    .sites()
                    .into_iter()
                    .map(|(_, view)| view)
                    .collect();
                drop(answer.send((sites, self.scheduler.paused())));
            }
            Event::Pause(domain, on, answer) => {
                self.scheduler.set_paused(now, &domain, on);
                // Whoever asked may have hung up.
                answer.send(()).unwrap_or_default();
            }
            Event::Reloaded => {
                let settings = self.shared.settings();
                self.scheduler
                    .set_policy_of(policy::policy_of(&settings.config));
                self.scheduler
                    .policies_changed(now, policy::settings(&settings.config));
            }
            Event::Fatal(why) => self.fatal = Some(why),
            Event::Stop => {
                self.scheduler.stop();
                self.stopping_until.get_or_insert(now + STOP_WITHIN);
            }
        }
    }

    fn accepted(&mut self, now: Timestamp, message: Arc<Message>) {
        Figures::count(&self.shared.figures.accepted);
        let envelope = &message.envelope;
        let to = envelope
            .recipients
            .first()
            .map(|r| format!("<{}>", r.address));
        let more = envelope.recipients.len().saturating_sub(1);
        let line = self
            .shared
            .journal
            .line(now, "accepted")
            .field("id", message.id);
        let line = line
            .field("from", format_args!("<{}>", envelope.sender()))
            .maybe("to", to)
            .maybe("and-more", (more > 0).then_some(more))
            .field("size", message.content.len())
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
                state: mail::RecipientState {
                    due: message.accepted,
                    delay_notified: envelope.reverse_path.is_none(),
                    ..mail::RecipientState::default()
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
        if let Some(message) = finished.message {
            let spoken = Spoken {
                transcript: finished.transcript,
                reports_taken: finished.reports_taken,
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
                } => {
                    let shared = Arc::clone(&self.shared);
                    self.tasks.spawn(async move {
                        let (resolution, hop) =
                            resolve::resolve(&shared, &name, destination, net::now()).await;
                        shared.tell(Event::Resolved(domain, resolution, hop));
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
                Action::Notice(key, state) => {
                    outcomes.late(key, state);
                }
            }
        }
        outcomes.commit(&self.shared, &self.tasks, now);
    }

    fn pump(&mut self) {
        self.collect(net::now(), Outcomes::default());
    }

    fn run_batch(&mut self, worker: WorkerId, site: SiteId, fresh: bool, batch: Batch) {
        let Some(hop) = self.hops.get(&site).map(Arc::clone) else {
            return;
        };
        let message = self.recent.get(batch.id);
        let job = Job {
            batch,
            message,
            hop,
        };
        if fresh {
            let (jobs, given) = mpsc::unbounded_channel();
            self.workers.insert(worker, jobs);
            self.tasks
                .spawn(worker::run(Arc::clone(&self.shared), worker, given));
        }
        // A worker lives as long as its sender, so it is there.
        if let Some(jobs) = self.workers.get(&worker) {
            drop(jobs.send(job));
        }
    }

    fn act(
        &mut self,
        now: Timestamp,
        verb: Verb,
        keys: &[RecipientKey],
        answer: oneshot::Sender<Result<[u64; 3], String>>,
    ) {
        let acted = ops::act(verb, keys, &mut self.scheduler, &self.shared.spool, now);
        let counts = [acted.changed, acted.unchanged, acted.in_flight];
        if verb == Verb::Fail {
            let mut outcomes = Outcomes::default();
            for (key, attempts) in acted.ended {
                let verdict = ops::verdict_of_admin(verb, now);
                outcomes.end(
                    End {
                        key,
                        verdict,
                        attempts,
                    },
                    &mut self.recent,
                );
            }
            outcomes.answer = Some((answer, counts));
            outcomes.commit(&self.shared, &self.tasks, now);
            return;
        }
        if acted.ops.is_empty() {
            drop(answer.send(Ok(counts)));
            return;
        }
        commit_then_answer(&self.shared, acted.ops, answer, counts);
    }
}

/// Commits, then answers the administrator.
pub(crate) fn commit_then_answer(
    shared: &Arc<Shared>,
    ops: Vec<Op>,
    answer: oneshot::Sender<Result<[u64; 3], String>>,
    counts: [u64; 3],
) {
    let handles = Arc::clone(shared);
    shared.spool.commit(
        ops,
        Box::new(move |result: Result<(), CommitError>| {
            let result = result.map(|()| counts).map_err(|e| failed(&handles, &e));
            drop(answer.send(result));
        }),
    );
}

/// A commit of ours failed: a full disk passes, anything else is the end.
pub(crate) fn failed(shared: &Shared, error: &CommitError) -> String {
    match error {
        CommitError::Full(_) | CommitError::TooLarge { .. } | CommitError::Closed => {}
        CommitError::Poisoned(_) | _ => shared.tell(Event::Fatal(error.to_string())),
    }
    let line = shared
        .journal
        .line(net::now(), "error")
        .field("what", "queue");
    line.field("why", error).send();
    error.to_string()
}
