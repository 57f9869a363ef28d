//! From what the scheduler settles to what is durable, logged and reported.
//!
//! A state or a success is committed at once. An end that its sender is to hear of is committed
//! together with the report, in one unit, behind a task that reads the message. Log lines follow
//! the commit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use mail::{Message, Outcome, QueueId, RecipientKey, RecipientState, Timestamp, Verdict};
use notify::{Kind, Reported, Reporter};
use schedule::Settled;
use spool::{CommitError, Op};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::queue::{Event, commit_then_answer, failed};
use crate::recent::Recent;
use crate::shared::{Figures, Shared};

/// The original is returned whole up to this size, in octets.
const ORIGINAL_MAX: usize = 50_000;

/// The pause before what the full disk refused is written again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A recipient's end.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) key: RecipientKey,
    pub(crate) verdict: Verdict,
    pub(crate) attempts: u32,
}

/// What was said in the attempt that led here.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    pub(crate) transcript: Option<String>,
    pub(crate) reports_taken: bool,
}

/// One line of the log, to be written when its subject is durable.
struct Told {
    key: RecipientKey,
    verdict: Verdict,
    attempts: u32,
    next: Option<Timestamp>,
}

/// An administrator who waits for it, and the counts to answer with.
type Waiting = (oneshot::Sender<Result<[u64; 3], String>>, [u64; 3]);

/// What one round of the queue settled.
#[derive(Default)]
pub(crate) struct Outcomes {
    known: HashMap<QueueId, (Arc<Message>, Spoken)>,
    ops: Vec<Op>,
    told: Vec<Told>,
    reported: BTreeMap<QueueId, Vec<End>>,
    late: BTreeMap<QueueId, Vec<(RecipientKey, RecipientState)>>,
    /// An administrator waits for all of it.
    pub(crate) answer: Option<Waiting>,
}

impl Outcomes {
    /// A message that was just tried, and what was said.
    pub(crate) fn know(&mut self, message: Arc<Message>, spoken: Spoken) {
        self.known.insert(message.id, (message, spoken));
    }

    fn transcript(&self, id: QueueId) -> Option<String> {
        self.known
            .get(&id)
            .and_then(|(_, spoken)| spoken.transcript.clone())
    }

    /// A change of a recipient's state.
    pub(crate) fn settle(&mut self, settled: Settled, recent: &mut Recent) {
        match settled {
            Settled::Waiting { key, state } => {
                recent.forget(key.id);
                if let Some(verdict) = state.last.clone() {
                    let (attempts, next) = (state.attempts, Some(state.due));
                    self.told.push(Told {
                        key,
                        verdict,
                        attempts,
                        next,
                    });
                }
                let transcript = self.transcript(key.id);
                self.ops.push(Op::State {
                    key,
                    state,
                    transcript,
                });
            }
            Settled::Final {
                key,
                verdict,
                attempts,
            } => {
                self.end(
                    End {
                        key,
                        verdict,
                        attempts,
                    },
                    recent,
                );
            }
        }
    }

    /// A recipient's end.
    pub(crate) fn end(&mut self, end: End, recent: &mut Recent) {
        recent.recipient_done(end.key.id);
        let known = self.known.get(&end.key.id);
        let wants_report = match (end.verdict.outcome, known) {
            (Outcome::Delivered, Some((message, spoken))) => {
                let recipient = message.envelope.recipients.get(end.key.recipient as usize);
                message.envelope.reverse_path.is_some()
                    && !spoken.reports_taken
                    && recipient.is_some_and(|r| r.notify.on_success())
            }
            (Outcome::Delivered, None) => false,
            (Outcome::Failed | Outcome::Expired | Outcome::Deferred, _) => true,
        };
        if wants_report {
            self.reported.entry(end.key.id).or_default().push(end);
            return;
        }
        let first_time = end.attempts <= 1;
        let transcript = if first_time {
            None
        } else {
            self.transcript(end.key.id)
        };
        let End {
            key,
            verdict,
            attempts,
        } = end;
        self.told.push(Told {
            key,
            verdict: verdict.clone(),
            attempts,
            next: None,
        });
        self.ops.push(Op::Done {
            key,
            verdict,
            attempts,
            transcript,
        });
    }

    /// A recipient is late.
    pub(crate) fn late(&mut self, key: RecipientKey, state: RecipientState) {
        self.late.entry(key.id).or_default().push((key, state));
    }

    /// Makes everything durable, then speaks of it.
    pub(crate) fn commit(mut self, shared: &Arc<Shared>, tasks: &TaskTracker, now: Timestamp) {
        let slow = !self.reported.is_empty() || !self.late.is_empty();
        if slow {
            let reported = std::mem::take(&mut self.reported);
            let late = std::mem::take(&mut self.late);
            let known: HashMap<QueueId, (Arc<Message>, Spoken)> = reported
                .keys()
                .chain(late.keys())
                .filter_map(|id| {
                    let (message, spoken) = self.known.get(id)?;
                    let spoken = Spoken {
                        transcript: spoken.transcript.clone(),
                        reports_taken: spoken.reports_taken,
                    };
                    Some((*id, (Arc::clone(message), spoken)))
                })
                .collect();
            let answer = self.answer.take();
            let shared = Arc::clone(shared);
            tasks.spawn_blocking(move || {
                let reports = Reports { shared, known, now };
                reports.make(reported, late, answer);
            });
        }
        if let Some((answer, counts)) = self.answer.take() {
            commit_then_answer(shared, std::mem::take(&mut self.ops), answer, counts);
            return;
        }
        if self.ops.is_empty() {
            return;
        }
        commit_and_tell(shared, self.ops, self.told, self.known);
    }
}

/// Messages by id, with what was said about them.
type Known = HashMap<QueueId, (Arc<Message>, Spoken)>;

fn commit_and_tell(shared: &Arc<Shared>, ops: Vec<Op>, told: Vec<Told>, known: Known) {
    let handles = Arc::clone(shared);
    shared.spool.commit(
        ops,
        Box::new(move |result: Result<(), CommitError>| match result {
            Ok(()) => tell(&handles, told, &known),
            Err(error) => {
                failed(&handles, &error);
                if matches!(error, CommitError::Full(_)) {
                    try_again(&handles, told, known);
                }
            }
        }),
    );
}

/// The disk was full. An end must not be forgotten, or a restart would send the mail again, so it
/// is written when there is room. A state that was not kept costs an early attempt at the most.
fn try_again(shared: &Arc<Shared>, mut told: Vec<Told>, known: Known) {
    told.retain(|line| line.next.is_none());
    if told.is_empty() {
        return;
    }
    let handles = Arc::clone(shared);
    shared.runtime.spawn(async move {
        tokio::time::sleep(AGAIN_AFTER).await;
        let done = |line: &Told| Op::Done {
            key: line.key,
            verdict: line.verdict.clone(),
            attempts: line.attempts,
            transcript: None,
        };
        let ops = told.iter().map(done).collect();
        commit_and_tell(&handles, ops, told, known);
    });
}

/// Writes the lines. Where the message is not at hand, another thread reads it.
fn tell(shared: &Arc<Shared>, told: Vec<Told>, known: &HashMap<QueueId, (Arc<Message>, Spoken)>) {
    let mut unknown = Vec::new();
    for line in told {
        match known.get(&line.key.id) {
            Some((message, _)) => log(shared, message, &line),
            None => unknown.push(line),
        }
    }
    if unknown.is_empty() {
        return;
    }
    let handles = Arc::clone(shared);
    let spawned = std::thread::Builder::new()
        .name("log-reader".to_owned())
        .spawn(move || {
            // The lines of one message stand together, so it is read once.
            let mut read: Option<Message> = None;
            for line in unknown {
                if read.as_ref().is_none_or(|m| m.id != line.key.id) {
                    read = handles.spool.read(line.key.id).ok().flatten();
                }
                match &read {
                    Some(message) => log(&handles, message, &line),
                    // It ended meanwhile; its id says enough.
                    None => log_bare(&handles, &line),
                }
            }
        });
    if let Err(error) = spawned {
        let line = shared
            .journal
            .line(net::now(), "error")
            .field("what", "log");
        line.field("why", error).send();
    }
}

fn log(shared: &Shared, message: &Message, told: &Told) {
    let recipient = message.envelope.recipients.get(told.key.recipient as usize);
    let to = recipient.map(|r| format!("<{}>", r.address));
    let from = format!("<{}>", message.envelope.sender());
    write_line(shared, told, Some(from), to);
}

fn log_bare(shared: &Shared, told: &Told) {
    write_line(shared, told, None, Some(format!("#{}", told.key.recipient)));
}

fn write_line(shared: &Shared, told: &Told, from: Option<String>, to: Option<String>) {
    let v = &told.verdict;
    let figures = &shared.figures;
    Figures::count(match v.outcome {
        Outcome::Delivered => &figures.delivered,
        Outcome::Deferred => &figures.deferred,
        Outcome::Failed => &figures.failed,
        Outcome::Expired => &figures.expired,
    });
    if v.unknown_outcome {
        Figures::count(&figures.unknown_outcomes);
    }
    let t = &v.timing;
    let delays = format!(
        "{}/{}/{}ms",
        t.queued.as_millis(),
        t.connecting.as_millis(),
        t.wire.as_millis()
    );
    let line = shared
        .journal
        .line(v.at, v.outcome.word())
        .field("id", told.key.id);
    let line = line
        .maybe("from", from)
        .maybe("to", to)
        .maybe("host", v.host.as_ref());
    let line = line
        .field("tls", v.tls.word())
        .field("attempt", told.attempts);
    let line = line.field("delays", delays).maybe("next", told.next);
    let line = line.maybe(
        "unknown-outcome",
        v.unknown_outcome.then_some("the host may have it"),
    );
    let class = (v.outcome != Outcome::Delivered).then(|| v.class.word());
    line.maybe("class", class).field("reply", &v.reply).send();
}

/// Makes reports, on a thread that may block.
struct Reports {
    shared: Arc<Shared>,
    known: HashMap<QueueId, (Arc<Message>, Spoken)>,
    now: Timestamp,
}

impl Reports {
    fn make(
        self,
        reported: BTreeMap<QueueId, Vec<End>>,
        late: BTreeMap<QueueId, Vec<(RecipientKey, RecipientState)>>,
        mut answer: Option<Waiting>,
    ) {
        let mut result = Ok(());
        let mut again = BTreeMap::new();
        for (id, ends) in reported {
            match self.ended(id, &ends) {
                Ok(()) => {}
                Err(CommitError::Full(_)) => {
                    again.insert(id, ends);
                }
                Err(error) => result = Err(error.to_string()),
            }
        }
        for (id, recipients) in late {
            // A notice that could not be kept is made again behind the next attempt.
            if let Err(error) = self.late(id, &recipients) {
                result = Err(error.to_string());
            }
        }
        if !again.is_empty() {
            result = Err("the disk is full: it is done as soon as there is room".to_owned());
            self.try_again(again);
        }
        if let Some((answer, counts)) = answer.take() {
            // Whoever asked may have hung up.
            drop(answer.send(result.map(|()| counts)));
        }
    }

    /// The disk had no room for the ends and their reports, which are one commit: both wait.
    fn try_again(self, again: BTreeMap<QueueId, Vec<End>>) {
        let runtime = self.shared.runtime.clone();
        runtime.spawn(async move {
            tokio::time::sleep(AGAIN_AFTER).await;
            let made = tokio::task::spawn_blocking(move || self.make(again, BTreeMap::new(), None));
            // It answers nobody, and what it does is in the log.
            drop(made.await);
        });
    }

    fn message(&self, id: QueueId) -> Option<Arc<Message>> {
        if let Some((message, _)) = self.known.get(&id) {
            return Some(Arc::clone(message));
        }
        match self.shared.spool.read(id) {
            Ok(found) => found.map(Arc::new),
            Err(error) => {
                let line = self
                    .shared
                    .journal
                    .line(net::now(), "error")
                    .field("what", "report");
                line.field("id", id).field("why", error).send();
                None
            }
        }
    }

    fn reporter(&self) -> (Reporter, bool) {
        let settings = self.shared.settings();
        let config = &settings.config;
        let reporter = Reporter {
            hostname: config.hostname.to_string(),
            postmaster: config.postmaster.clone(),
            original_max: ORIGINAL_MAX,
        };
        (reporter, config.outgoing.failure_messages)
    }

    /// The ends of a message's recipients and the report on them: one commit.
    fn ended(&self, id: QueueId, ends: &[End]) -> Result<(), CommitError> {
        let message = self.message(id);
        let transcript = self.known.get(&id).and_then(|(_, s)| s.transcript.clone());
        let mut ops: Vec<Op> = ends
            .iter()
            .map(|end| Op::Done {
                key: end.key,
                verdict: end.verdict.clone(),
                attempts: end.attempts,
                transcript: transcript.clone(),
            })
            .collect();
        let mut reports = Vec::new();
        if let Some(message) = &message {
            for kind in [Kind::Failed, Kind::Relayed, Kind::Delivered] {
                reports.extend(self.report(kind, message, ends));
            }
        }
        let told: Vec<Told> = ends
            .iter()
            .map(|end| Told {
                key: end.key,
                verdict: end.verdict.clone(),
                attempts: end.attempts,
                next: None,
            })
            .collect();
        for report in &reports {
            ops.push(accept_op(report));
        }
        self.shared.spool.commit_wait(ops).inspect_err(|e| {
            failed(&self.shared, e);
        })?;
        for line in &told {
            match &message {
                Some(message) => log(&self.shared, message, line),
                None => log_bare(&self.shared, line),
            }
        }
        self.enqueue(id, reports);
        if message
            .as_ref()
            .is_some_and(|m| m.envelope.reverse_path.is_none())
            && ends.iter().any(|e| e.verdict.outcome != Outcome::Delivered)
        {
            let line = self
                .shared
                .journal
                .line(net::now(), "unreportable")
                .field("id", id);
            line.field(
                "why",
                "a report could not be delivered itself; nothing is sent about it",
            )
            .send();
        }
        Ok(())
    }

    fn report(&self, kind: Kind, message: &Message, ends: &[End]) -> Option<Message> {
        let (reporter, failures_wanted) = self.reporter();
        let belongs = |end: &End| {
            let local = end.verdict.host.is_none();
            match (end.verdict.outcome, kind) {
                (Outcome::Delivered, Kind::Delivered) => local,
                (Outcome::Delivered, Kind::Relayed) => !local,
                (Outcome::Failed | Outcome::Expired, Kind::Failed) => failures_wanted,
                _ => false,
            }
        };
        let reported: Vec<Reported<'_>> = ends
            .iter()
            .filter(|end| belongs(end))
            .filter_map(|end| {
                Some(Reported {
                    recipient: message
                        .envelope
                        .recipients
                        .get(end.key.recipient as usize)?,
                    verdict: &end.verdict,
                    attempts: end.attempts,
                    retry_until: None,
                })
            })
            .collect();
        let now = net::now();
        let mut report =
            reporter.report(kind, message, &reported, self.shared.next_id(now), now)?;
        self.mark_local(&mut report);
        Some(report)
    }

    /// A report to one of our own users stays here.
    fn mark_local(&self, report: &mut Message) {
        let settings = self.shared.settings();
        for recipient in &mut report.envelope.recipients {
            if settings.policy.local.contains(recipient.address.domain()) {
                recipient.destination = mail::Destination::Local;
            }
        }
    }

    /// The notice that a message is late, and that its sender has been told: one commit.
    fn late(
        &self,
        id: QueueId,
        late: &[(RecipientKey, RecipientState)],
    ) -> Result<(), CommitError> {
        let Some(message) = self.message(id) else {
            return Ok(());
        };
        let mut ops = Vec::new();
        let mut verdicts = Vec::new();
        for (key, state) in late {
            let last = self
                .shared
                .spool
                .state(*key)
                .ok()
                .flatten()
                .and_then(|s| s.last);
            verdicts.push(last.clone());
            let state = RecipientState {
                last,
                ..state.clone()
            };
            ops.push(Op::State {
                key: *key,
                state,
                transcript: None,
            });
        }
        let reply = mail::Reply::own(
            mail::EnhancedCode::new(4, 0, 0),
            "it has not been tried yet",
        );
        let untried = Verdict::own(Outcome::Deferred, mail::Class::Policy, reply, self.now);
        let reported: Vec<Reported<'_>> = late
            .iter()
            .zip(&verdicts)
            .filter_map(|((key, state), verdict)| {
                Some(Reported {
                    recipient: message.envelope.recipients.get(key.recipient as usize)?,
                    verdict: verdict.as_ref().unwrap_or(&untried),
                    attempts: state.attempts,
                    retry_until: None,
                })
            })
            .collect();
        let now = net::now();
        let made = self.reporter().0.report(
            Kind::Delayed,
            &message,
            &reported,
            self.shared.next_id(now),
            now,
        );
        let reports: Vec<Message> = made
            .into_iter()
            .map(|mut report| {
                self.mark_local(&mut report);
                report
            })
            .collect();
        ops.extend(reports.iter().map(accept_op));
        self.shared.spool.commit_wait(ops).inspect_err(|e| {
            failed(&self.shared, e);
        })?;
        self.enqueue(id, reports);
        Ok(())
    }

    fn enqueue(&self, about: QueueId, reports: Vec<Message>) {
        for report in reports {
            let line = self
                .shared
                .journal
                .line(net::now(), "report")
                .field("id", report.id);
            let to = report
                .envelope
                .recipients
                .first()
                .map(|r| format!("<{}>", r.address));
            line.field("about", about).maybe("to", to).send();
            self.shared.tell(Event::Accepted(Arc::new(report)));
        }
    }
}

fn accept_op(report: &Message) -> Op {
    let state = RecipientState {
        due: report.accepted,
        delay_notified: true,
        ..RecipientState::default()
    };
    let states = vec![state; report.envelope.recipients.len()];
    Op::Accept {
        message: report.clone(),
        states,
        token: None,
    }
}
