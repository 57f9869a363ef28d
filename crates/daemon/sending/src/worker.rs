//! A worker: sends the batches it is given to one site, over one session at a time, which it keeps
//! while there is work.

mod session;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use deliver::{Candidate, Next, NoHost, RecipientEnd};
use local::{simulated, storing};
use mail::{Destination, EnhancedCode, Message, Outcome, Reply, Verdict};
use net::Turn;
use node::contents::{self, Lent};
use node::detail::is_detailed;
use node::event::{Event, Finished, Job};
use node::hop::Hop;
use node::{Settings, known};
use protection::tls_policy::contexts;
use route::Host;
use schedule::{Attempted, Report, WorkerId};
use sources::leaving::Choice;
use sources::warm_up::{Share, shares};
use tokio::sync::mpsc;

use crate::batch_guard::BatchGuard;
use crate::converse::converse;
use crate::marks::in_order;
use crate::opened::{Open, lost, quit};
use crate::sessions::Sessions;
use crate::transaction::transaction;
use crate::tried::{Came, Reports, Tried, ip_of, waits};
use crate::{Sending, faults};

/// Transactions of one session at the most: some servers mind more, and the hosts of a site should
/// all be used.
const TRANSACTIONS_MAX: u32 = 100;
/// The longest life of a session: a better host may be back by then.
const AGE_MAX: Duration = Duration::from_secs(300);
/// The slowest that a host may take content, in octets a second, on top of the time-out.
const RATE_MIN: u32 = 500;

/// Works until its jobs end.
pub async fn run(sending: Arc<Sending>, id: WorkerId, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let sessions = Sessions::new(sending.node.clock.handle());
    let mut worker = Worker {
        sending,
        id,
        sessions,
    };
    loop {
        let job = match &mut worker.sessions.open {
            None => jobs.recv().await,
            Some(open) => tokio::select! {
                job = jobs.recv() => job,
                () = idle(open) => {
                    worker.sessions.open = None;
                    worker.sending.node.tell(Event::Closed(id));
                    continue;
                }
            },
        };
        let Some(job) = job else { break };
        let mut guard = BatchGuard::new(&worker.sending, id, job.batch.clone());
        let finished = match job.hops.common().destination {
            Destination::Outgoing => worker.send(job).await,
            Destination::Local => storing::store(&worker.sending.local, job).await,
            Destination::Test => simulated::run(&worker.sending.node, job).await,
        };
        guard.finish(finished);
    }
    for open in worker.sessions.drain() {
        quit(open, worker.sending.node.now()).await;
    }
}

/// Watches an idle session until it ends, by its host or by its own time-out.
async fn idle(open: &mut Open) {
    while open.session.is_idle() {
        if open.link.turn(&mut open.session).await == Turn::Gone {
            return;
        }
    }
    // What is left is its goodbye; nobody waits for the answer.
    open.link.flush(&mut open.session).await;
}

struct Worker {
    sending: Arc<Sending>,
    id: WorkerId,
    sessions: Sessions,
}

impl Worker {
    async fn send(&mut self, job: Job) -> Finished {
        let began = self.sending.node.instant();
        let Job {
            batch,
            message,
            hops,
        } = job;
        // What was read back keeps its memory until the batch is over.
        let (message, _lent) = match message {
            Some(message) => (message, None),
            None => match self.read(&batch).await {
                Ok(lent) => (Arc::clone(&lent.message), Some(lent)),
                Err(report) => return Self::unread(report),
            },
        };
        for old in self.sessions.old() {
            quit(old, self.sending.node.now()).await;
        }
        self.sessions.look().await;
        let mut came = Came::default();
        for (hop, numbers) in hops.split(&batch, &message) {
            self.send_by(&hop, &batch, &message, numbers, &mut came)
                .await;
        }
        self.sessions.use_one();
        self.report(hops.common(), &batch, message, came, began)
    }

    /// Sends to those of a batch who have the same next hop.
    async fn send_by(
        &mut self,
        hop: &Hop,
        batch: &schedule::Batch,
        message: &Message,
        numbers: Vec<u32>,
        came: &mut Came,
    ) {
        let settings = self.sending.node.settings();
        let numbers = numbers.into_iter();
        let contexts = contexts(
            &self.sending.protection,
            &settings,
            &hop.next,
            hop.tls,
            message,
            numbers,
        )
        .await;
        let choice = Choice::of(&settings.config, hop, message);
        for (context, numbers) in contexts {
            let site = || hop.next.site_key();
            for share in shares(&self.sending.sources, choice.as_ref(), site, numbers).await {
                let (choice, given, numbers) = match share {
                    Share::Go(choice, given, numbers) => (choice, given, numbers),
                    Share::Wait(later, numbers) => {
                        came.keep(later.into(), numbers);
                        continue;
                    }
                };
                let order = self.order(hop, batch, choice.as_ref());
                let clock = self.sending.node.clock.handle();
                let mut tried = Tried::new(clock, &settings, order, context.clone(), numbers);
                tried.leaving.choice = choice;
                while let Next::Try(candidate, numbers) = tried.attempt.next() {
                    self.try_candidate(&settings, hop, message, candidate, &numbers, &mut tried)
                        .await;
                }
                self.sending
                    .sources
                    .warm_ups
                    .settle(&given, &tried.leaving.sent);
                self.sending.down.mark(std::mem::take(&mut tried.down));
                came.add(tried);
            }
        }
    }

    /// The hosts in the order in which they are tried.
    fn order(&self, hop: &Hop, batch: &schedule::Batch, choice: Option<&Choice>) -> Vec<Host> {
        // Workers of one site should not all pick the same of several equal hosts.
        let seed = batch.id.as_u64().rotate_left(32) ^ u64::from(self.id.number());
        let mut sessions = self.sessions.all();
        let open = match choice {
            Some(choice) => sessions.find(|open| choice.begins_with(open.source.as_ref())),
            None => sessions.next(),
        };
        let open = open.map(|open| open.name.as_str());
        in_order(&hop.next.hosts, seed, open, &self.sending.down)
    }

    /// A batch that nobody was asked about.
    fn unread(report: Report) -> Finished {
        Finished {
            message: None,
            report,
            transcript: None,
            reports_taken: Vec::new(),
            passed_on: Vec::new(),
            sources: Vec::new(),
        }
    }

    /// Reads a message back. One that cannot be read must not be forgotten: one that is damaged has failed,
    /// one that may be read another time waits for that.
    async fn read(&self, batch: &schedule::Batch) -> Result<Arc<Lent>, Report> {
        let why = match contents::fetch(&self.sending.node, batch.id).await {
            Ok(lent) => return Ok(lent),
            Err(why) => why,
        };
        let line = self
            .sending
            .node
            .journal
            .line(self.sending.node.now(), "error")
            .field("what", "reading a message");
        line.field("id", batch.id).field("why", &why).send();
        let (outcome, reply) = match why.is_damage() {
            true => (Outcome::Failed, contents::damaged_reply()),
            false => {
                let text = format!("the queue: {why}");
                let reply = Reply::own(EnhancedCode::new(4, 3, 0), text);
                (Outcome::Deferred, reply)
            }
        };
        let verdict = Verdict::own(outcome, mail::Class::Policy, reply, self.sending.node.now());
        let attempted = |key| Attempted {
            key,
            verdict: verdict.clone(),
            retry_after: None,
            plan: None,
            ours: None,
        };
        Err(Report {
            attempted: batch.keys().map(attempted).collect(),
            open: self.sessions.open.is_some(),
            ..Report::default()
        })
    }

    fn report(
        &self,
        hop: &Hop,
        batch: &schedule::Batch,
        message: Arc<Message>,
        mut came: Came,
        began: world::Instant,
    ) -> Finished {
        let (now, service) = (
            self.sending.node.now(),
            self.sending.node.instant().since(began),
        );
        let wire = service.saturating_sub(came.connecting);
        let kept = came.kept();
        let (ends, site_failure) = came.settled();
        let due: HashMap<u32, mail::Timestamp> = batch
            .recipients
            .iter()
            .map(|(number, _, due)| (*number, *due))
            .collect();
        let started = now - service;
        let timed = |number: Option<u32>, mut verdict: Verdict| {
            let due = number.and_then(|n| due.get(&n)).copied().unwrap_or(started);
            verdict.timing = mail::Timing {
                queued: started.since(due),
                connecting: came.connecting,
                wire,
            };
            verdict
        };
        let settings = self.sending.node.settings();
        let attempted = |end: RecipientEnd| {
            let verdict = timed(Some(end.number), end.verdict);
            known::attempted(&settings, &message, end.number, verdict)
        };
        let attempted = ends.into_iter().map(attempted);
        let attempted = attempted.chain(waits(message.id, kept, now)).collect();
        let site_failure = site_failure.map(|NoHost { verdict, ours }| {
            let until = ours.then(|| faults::stands(&self.sending, hop, &verdict.reply, now));
            known::no_host(timed(None, verdict), until)
        });
        if site_failure.is_none() && came.opened {
            faults::mended(&self.sending, hop);
        }
        Finished {
            message: Some(message),
            report: Report {
                attempted,
                site_failure,
                setup: came.connecting,
                service: wire,
                open: self.sessions.open.is_some(),
            },
            transcript: Some(came.transcript),
            reports_taken: came.reports_taken,
            passed_on: came.passed_on,
            sources: came.sources,
        }
    }

    async fn try_candidate(
        &mut self,
        settings: &Settings,
        hop: &Hop,
        message: &Message,
        candidate: Candidate,
        numbers: &[u32],
        tried: &mut Tried,
    ) {
        let Some(host) = tried.hosts.get(candidate.host).cloned() else {
            return;
        };
        if !self.resume(settings, hop, &host, candidate, tried).await {
            self.make_way(hop).await;
            let before = self.sending.node.instant();
            let opened = self.open_session(settings, hop, &host, candidate, message, tried);
            let opened = opened.await;
            tried.connecting += self.sending.node.instant().since(before);
            match opened {
                Some(open) => self.sessions.open = Some(open),
                None => return tried.leaving.gave_up(numbers),
            }
            tried.attempt.greeted();
            self.sending.down.unmark(host.name.as_str());
            self.sending.node.tell(Event::Greeted(self.id));
        }
        let Some(open) = &mut self.sessions.open else {
            return;
        };
        tried.leaving.tried_by(open.source.as_ref(), numbers);
        open.session
            .set_detailed(is_detailed(&self.sending.node, message));
        let reused = open.session.transactions() > 0;
        let transaction = transaction(&settings.policy, message, numbers, self.sending.node.now());
        let ended = converse(&self.sending, open, message, transaction).await;
        tried.transcript += &open.session.take_transcript();
        let (closed, no_chunking) = (!open.session.is_idle(), open.session.chunking_refused());
        let (host, tls) = (open.host.clone(), open.session.tls());
        let source = open.source.clone();
        let mut elsewhere = tried.leaving.elsewhere(
            &self.sending.sources,
            candidate,
            open.host.address.map(|to| to.ip()),
            open.has_other_family(),
        );
        let addresses = open.addresses_after();
        elsewhere.address = tried.has_other(candidate, &addresses, ip_of(&host));
        let offered = open.session.host();
        let reports = Reports::of(offered, message, self.sending.node.now());
        let transactions_max = (offered.limits.mails_max)
            .unwrap_or(TRANSACTIONS_MAX)
            .clamp(1, TRANSACTIONS_MAX);
        let is_old = self.sending.node.instant().since(open.since) > AGE_MAX;
        let used_up = is_old || open.session.transactions() >= transactions_max;
        if (closed || used_up)
            && let Some(open) = self.sessions.open.take()
        {
            quit(open, self.sending.node.now()).await;
        }
        let Some(ended) = ended else {
            return tried.failed(&lost(), candidate, host, &addresses);
        };
        let ended = known::revised(settings, ended, &host);
        tried.leaving.answered(source.as_ref(), &ended);
        // 421 is how a host ends a session that it has had enough of.
        let unheard = |e: &deliver::Ended| matches!(e.reply.code, 0 | 421) && !e.unknown_outcome;
        let stale = reused && closed && !ended.is_empty() && ended.iter().all(unheard);
        if stale {
            // The host had closed the idle session: that says nothing about anybody. The same
            // host is tried once more, on a fresh connection.
            return;
        }
        tried.taken(reports, &ended);
        tried.attempt.greeted();
        if no_chunking {
            self.sending.no_chunking.mark(vec![host.name.clone()]);
        } else if closed {
            tried.give_up(candidate, ip_of(&host));
        }
        tried.transacted(ended, &host, tls, elsewhere);
    }
}
