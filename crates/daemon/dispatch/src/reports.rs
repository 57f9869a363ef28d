//! Making reports to senders, on a thread that may block: the message is read, and an end and its
//! report become one commit.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use intake::Suppression;
use mail::{
    Address, BodyType, Class, Destination, EnhancedCode, Envelope, Message, Outcome, QueueId,
    Recipient, RecipientKey, RecipientState, Reply, Submitter, Verdict,
};
use node::event::Event;
use node::hand_in::{accept_op, log_report};
use node::reporting::reporter;
use node::{binary, signing};
use notify::{Kind, Reported, Reporter};
use ops::VerbError;
use returns::bounces;
use returns::suppression::{self, About};
use store::{CommitError, Filter, Op, Page, Remedy};

use crate::Dispatch;
use crate::ended::{AGAIN_AFTER, End, Waiting};
use crate::told::{self, Known, Told};

/// Reports made at once.
const AT_ONCE: usize = 32;

pub(crate) struct Reports {
    dispatch: Arc<Dispatch>,
    known: Known,
}

/// Why ends could not be recorded.
enum Failure {
    /// They are tried again soon.
    Passing,
    /// Said and logged.
    Final(CommitError),
}

impl Reports {
    pub(crate) const fn new(dispatch: Arc<Dispatch>, known: Known) -> Self {
        Self { dispatch, known }
    }

    /// Records ends with their reports, and makes notices of what is late.
    pub(crate) fn make(
        self,
        reported: BTreeMap<QueueId, Vec<End>>,
        late: BTreeMap<QueueId, Vec<RecipientKey>>,
        answer: Option<Waiting>,
    ) {
        let (again, mut result) = self.all_ended(reported);
        for (id, keys) in late {
            self.late(id, &keys);
        }
        if !again.is_empty() {
            let why = "the disk cannot be written at present: this is done as soon as it can";
            result = Err(VerbError::unavailable(why));
            self.try_again(again);
        }
        if let Some((answer, counts)) = answer {
            // Whoever asked may have hung up.
            drop(answer.send(result.map(|()| counts)));
        }
    }

    /// Records the ends of many messages, several at a time: their commits share a sync. What is to
    /// be tried again, and what failed for good.
    fn all_ended(
        &self,
        reported: BTreeMap<QueueId, Vec<End>>,
    ) -> (BTreeMap<QueueId, Vec<End>>, Result<(), VerbError>) {
        let all: Vec<(QueueId, Vec<End>)> = reported.into_iter().collect();
        let share = all.len().div_ceil(AT_ONCE).max(1);
        let one_share = |part: &[(QueueId, Vec<End>)]| {
            let end = |(id, ends): &(QueueId, Vec<End>)| (*id, self.ended(*id, ends));
            part.iter().map(end).collect::<Vec<_>>()
        };
        let results: Vec<_> = match all.len() {
            0 | 1 => one_share(&all),
            _ => std::thread::scope(|scope| {
                let parts = all.chunks(share);
                let threads: Vec<_> = parts.map(|part| scope.spawn(|| one_share(part))).collect();
                let ended = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
                ended.flat_map(Result::unwrap_or_default).collect()
            }),
        };
        let mut result = Ok(());
        let mut passing: HashSet<QueueId> = all.iter().map(|(id, _)| *id).collect();
        for (id, ended) in results {
            match ended {
                Ok(()) => drop(passing.remove(&id)),
                Err(Failure::Passing) => {}
                Err(Failure::Final(why)) => {
                    passing.remove(&id);
                    result = Err(why.into());
                }
            }
        }
        // What a thread left unsaid, because it failed, is among them.
        let again = all.into_iter().filter(|(id, _)| passing.contains(id));
        (again.collect(), result)
    }

    fn try_again(self, again: BTreeMap<QueueId, Vec<End>>) {
        let runtime = self.dispatch.node.runtime.clone();
        runtime.spawn(async move {
            tokio::time::sleep(AGAIN_AFTER).await;
            let made = tokio::task::spawn_blocking(move || self.make(again, BTreeMap::new(), None));
            // It answers nobody, and what it does is in the log.
            drop(made.await);
        });
    }

    fn message(&self, id: QueueId) -> Result<Option<Arc<Message>>, Failure> {
        if let Some((message, _)) = self.known.get(&id) {
            return Ok(Some(Arc::clone(message)));
        }
        match self.dispatch.node.store.read(id) {
            Ok(found) => Ok(found.map(Arc::new)),
            Err(error) => {
                let line = self
                    .dispatch
                    .node
                    .journal
                    .line(self.dispatch.node.now(), "error")
                    .field("what", "report");
                line.field("id", id).field("why", &error).send();
                // Its attempts are used up, or an administrator has ended it: it was tried often enough.
                match error.is_lasting() {
                    true => Ok(self.remembered(id).map(Arc::new)),
                    false => Err(Failure::Passing),
                }
            }
        }
    }

    /// What the index knows of a message whose content is damaged: enough to tell its sender.
    fn remembered(&self, id: QueueId) -> Option<Message> {
        let rows = self
            .dispatch
            .node
            .store
            .query(&Filter::id(id), Page::ALL, self.dispatch.node.now())
            .ok()?;
        let first = rows.first()?;
        let last = rows.iter().map(|r| r.key.recipient).max()?;
        let address = |n: u32| {
            let row = rows.iter().find(|r| r.key.recipient == n).unwrap_or(first);
            let recipient = Address::parse(&row.recipient).ok().map(Recipient::new)?;
            Some(Recipient {
                destination: row.destination,
                ..recipient
            })
        };
        Some(Message {
            id,
            accepted: first.accepted,
            envelope: Envelope {
                reverse_path: Address::parse(&first.sender).ok(),
                recipients: (0..=last).map(address).collect::<Option<Vec<_>>>()?,
                body_type: BodyType::SevenBit,
                smtputf8: false,
                ret: None,
                env_id: None,
                terms: mail::Terms::default(),
                submitter: Submitter::default(),
            },
            labels: first.labels.clone(),
            content: Bytes::from_static(
                b"Subject: (the message is damaged on the disk of the server)\r\n\r\n",
            ),
        })
    }

    /// The ends of a message's recipients and the report on them: one commit.
    fn ended(&self, id: QueueId, ends: &[End]) -> Result<(), Failure> {
        let message = self.message(id)?;
        let transcript = self.known.get(&id).and_then(|(_, s)| s.transcript.clone());
        let mut ops: Vec<Op> = Vec::with_capacity(ends.len() + 1);
        for (end, place) in ends.iter().zip(0..) {
            // What was said is the same for all of them, and kept once.
            let transcript = transcript.clone().filter(|_| place == 0);
            let (key, verdict, attempts) = (end.key, end.verdict.clone(), end.attempts);
            ops.push(Op::Done {
                key,
                verdict,
                attempts,
                transcript,
            });
        }
        let spoken = self.known.get(&id).map(|(_, spoken)| &**spoken);
        let kinds = [Kind::Failed, Kind::Relayed, Kind::Delivered];
        let reports: Vec<Message> = match &message {
            Some(m) => kinds
                .iter()
                .filter_map(|kind| self.report(*kind, m, ends))
                .collect(),
            None => Vec::new(),
        };
        let forwarded = message.as_deref().and_then(|m| self.unread(m, ends));
        let reports: Vec<Message> = reports.into_iter().chain(forwarded).collect();
        ops.extend(reports.iter().map(accept_op));
        self.commit_with_suppressions(message.as_deref(), ends, ops)?;
        for end in ends {
            let told = Told {
                key: end.key,
                verdict: end.verdict.clone(),
                attempts: end.attempts,
                next: None,
            };
            told::write(&self.dispatch.node, &told, message.as_deref(), None, spoken);
        }
        let failed = ends.iter().any(|e| e.verdict.outcome != Outcome::Delivered);
        let null = message
            .as_ref()
            .is_some_and(|m| m.envelope.reverse_path.is_none());
        if failed && reports.is_empty() && (null || message.is_none()) {
            let why = self.unreportable(message.as_deref(), ends);
            let line = self
                .dispatch
                .node
                .journal
                .line(self.dispatch.node.now(), "unreportable");
            line.field("id", id).field("why", why).send();
        }
        self.enqueue(id, reports);
        Ok(())
    }

    /// What nobody reads: a report that failed goes to the administrator where it was for a name of this server that
    /// has no mailbox.
    fn unread(&self, message: &Message, ends: &[End]) -> Option<Message> {
        self.name_without_mailbox(message, ends)?;
        // RFC 8689 §5: it may not take a way that the mail must not take.
        if message.envelope.terms.require_tls {
            return None;
        }
        let settings = self.dispatch.node.settings();
        let name = |local| Address::new(local, settings.config.hostname.clone()).ok();
        let has_alias = |address: &Address| settings.policy.alias(address).is_some();
        let alias = ["root", "postmaster"]
            .into_iter()
            .filter_map(name)
            .find(has_alias);
        let postmaster = &settings.config.postmaster;
        let elsewhere = || (!settings.policy.is_unread(postmaster)).then(|| postmaster.clone());
        let to = alias.or_else(elsewhere)?;
        Some(bounces::forwarded(&self.dispatch.node, message, to))
    }

    /// The recipient of a report that failed, if it is a name of this server without a mailbox.
    fn name_without_mailbox<'a>(&self, message: &'a Message, ends: &[End]) -> Option<&'a Address> {
        if message.envelope.reverse_path.is_some() {
            return None;
        }
        let policy = &self.dispatch.node.settings().policy;
        ends.iter()
            .filter(|end| end.verdict.outcome != Outcome::Delivered)
            .filter_map(|end| {
                let n = end.key.recipient as usize;
                Some(&message.envelope.recipients.get(n)?.address)
            })
            .find(|address| policy.is_unread(address))
    }

    fn unreportable(&self, message: Option<&Message>, ends: &[End]) -> String {
        let Some(message) = message else {
            return "the message is no longer in the queue".to_owned();
        };
        if message.envelope.terms.require_tls {
            // RFC 8689 §5: it is lost rather than sent on a way that the mail must not take.
            return "a report about a message with REQUIRETLS could not be delivered under REQUIRETLS; nobody is \
                    notified of that"
                .to_owned();
        }
        match self.name_without_mailbox(message, ends) {
            Some(address) => format!(
                "nobody reads mail for {address}, and no administrator is known: set root = \"you@example.com\" in \
                 [aliases]"
            ),
            None => "a report could not be delivered; nobody is notified of that".to_owned(),
        }
    }

    /// Commits ends together with what they put on the suppression list.
    fn commit_with_suppressions(
        &self,
        message: Option<&Message>,
        ends: &[End],
        mut ops: Vec<Op>,
    ) -> Result<(), Failure> {
        if !self.dispatch.node.settings().config.suppression.enabled {
            return self.commit(ops);
        }
        let turn = self.dispatch.returns.turn.take();
        let entry = |end: &End| {
            let message = message?;
            let about = About::of(message.id, &message.envelope, end.key.recipient)?;
            suppression::of_end(&self.dispatch.node, about, &end.verdict)
        };
        let entries: Vec<Suppression> = ends.iter().filter_map(entry).collect();
        if entries.is_empty() {
            drop(turn);
            return self.commit(ops);
        }
        let now = self.dispatch.node.now();
        ops.extend(entries.iter().map(|entry| suppression::keep(entry, now)));
        self.commit(ops)?;
        for entry in entries {
            suppression::put(&self.dispatch.node, entry);
        }
        Ok(())
    }

    fn commit(&self, ops: Vec<Op>) -> Result<(), Failure> {
        self.dispatch.node.store.commit_wait(ops).map_err(|error| {
            self.dispatch.node.failed(&error);
            match error.remedy() {
                Remedy::TryAgain => Failure::Passing,
                Remedy::GiveUp | Remedy::Closing | Remedy::Stop => Failure::Final(error),
            }
        })
    }

    fn report(&self, kind: Kind, message: &Arc<Message>, ends: &[End]) -> Option<Message> {
        let (reporter, failures_wanted) = reporter(&self.dispatch.node);
        let belongs = |end: &End, stays: bool| match (end.verdict.outcome, kind) {
            (Outcome::Delivered, Kind::Delivered) => stays,
            (Outcome::Delivered, Kind::Relayed) => !stays,
            (Outcome::Failed | Outcome::Expired, Kind::Failed) => failures_wanted,
            _ => false,
        };
        let found = ends.iter().filter_map(|end| {
            let recipient = message
                .envelope
                .recipients
                .get(end.key.recipient as usize)?;
            let stays = recipient.destination == Destination::Local;
            // Nobody is written to about a test.
            let is_test = recipient.destination == Destination::Test;
            (!is_test && belongs(end, stays)).then_some((recipient, end))
        });
        let reported: Vec<Reported<'_>> = found
            .map(|(recipient, end)| Reported {
                recipient,
                passed_on: end.passed_on,
                verdict: &end.verdict,
                attempts: end.attempts,
                retry_until: None,
            })
            .collect();
        self.build(&reporter, kind, message, &reported)
    }

    fn build(
        &self,
        reporter: &Reporter,
        kind: Kind,
        message: &Arc<Message>,
        reported: &[Reported<'_>],
    ) -> Option<Message> {
        let now = self.dispatch.node.now();
        let message = &*binary::to_return(message);
        let mut report = reporter.report(
            kind,
            message,
            reported,
            self.dispatch.node.next_id(now),
            now,
        )?;
        let settings = self.dispatch.node.settings();
        settings.policy.address_own(&mut report.envelope);
        Some(signing::own(&self.dispatch.node, report))
    }

    /// Makes the notice that recipients are late; the queue's owner commits it together with their
    /// states as they are then.
    fn late(&self, id: QueueId, keys: &[RecipientKey]) {
        let Ok(Some(message)) = self.message(id) else {
            return;
        };
        let untried = || {
            let reply = Reply::own(EnhancedCode::new(4, 0, 0), "it has not been tried yet");
            Verdict::own(
                Outcome::Deferred,
                Class::Policy,
                reply,
                self.dispatch.node.now(),
            )
        };
        let states: Vec<(RecipientKey, RecipientState)> = keys
            .iter()
            .filter_map(|key| Some((*key, self.dispatch.node.store.state(*key).ok().flatten()?)))
            .collect();
        let verdicts: Vec<Verdict> = states
            .iter()
            .map(|(_, s)| s.last.clone().unwrap_or_else(untried))
            .collect();
        let reported: Vec<Reported<'_>> = states
            .iter()
            .zip(&verdicts)
            .filter_map(|((key, state), verdict)| {
                Some(Reported {
                    passed_on: false,
                    recipient: message.envelope.recipients.get(key.recipient as usize)?,
                    verdict,
                    attempts: state.attempts,
                    retry_until: None,
                })
            })
            .collect();
        let report = self.build(
            &reporter(&self.dispatch.node).0,
            Kind::Delayed,
            &message,
            &reported,
        );
        self.dispatch
            .node
            .tell(Event::Late(id, keys.to_vec(), report.map(Box::new)));
    }

    fn enqueue(&self, about: QueueId, reports: Vec<Message>) {
        for report in reports {
            log_report(&self.dispatch.node, about, &report);
            self.dispatch
                .node
                .tell(Event::Accepted(Arc::new(report), Vec::new()));
        }
    }
}
