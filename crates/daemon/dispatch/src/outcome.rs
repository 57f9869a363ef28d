//! From what the scheduler settles to what is durable, logged and reported.
//!
//! A state or a success is committed at once. An end that its sender is to hear of is committed
//! together with the report, in one unit, behind a task that reads the message (`reports`). Log
//! lines follow the commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use local::simulated;
use mail::{Message, Notify, Outcome, QueueId, Recipient, RecipientKey};
use ops::VerbError;
use schedule::Settled;
use store::{CommitError, Op, Remedy};
use tokio_util::task::TaskTracker;

use crate::Dispatch;
use crate::ended::{AGAIN_AFTER, End, Spoken, Waiting};
use crate::recent::Recent;
use crate::reports::Reports;
use crate::told::{Known, Told, tell};

/// Changes in one commit at the most, so that each fits into the smallest segment.
const OPS_MAX: usize = 200;
/// Octets of text in them, for the same reason.
const TEXT_MAX: usize = 256 * 1024;

/// What one round of the queue settled.
#[derive(Default)]
pub(crate) struct Outcomes {
    known: Known,
    changes: Vec<(Op, Option<Told>)>,
    reported: BTreeMap<QueueId, Vec<End>>,
    late: BTreeMap<QueueId, Vec<RecipientKey>>,
    /// An administrator waits for all of it.
    pub(crate) answer: Option<Waiting>,
}

impl Outcomes {
    /// A message that was just tried, and what was said.
    pub(crate) fn know(&mut self, message: Arc<Message>, spoken: Spoken) {
        self.known.insert(message.id, (message, Arc::new(spoken)));
    }

    /// Whether a batch of this message has just ended.
    pub(crate) fn knows(&self, id: QueueId) -> bool {
        self.known.contains_key(&id)
    }

    fn transcript(&self, id: QueueId) -> Option<String> {
        self.known
            .get(&id)
            .and_then(|(_, spoken)| spoken.transcript.clone())
    }

    /// A change of a recipient's state.
    pub(crate) fn settle(&mut self, settled: Settled, recent: &mut Recent) {
        match settled {
            Settled::Waiting { key, state, next } => {
                recent.forget(key.id);
                let told = state.last.clone().map(|verdict| Told {
                    key,
                    verdict,
                    attempts: state.attempts,
                    next: Some(next),
                });
                let transcript = self.transcript(key.id);
                self.changes.push((
                    Op::State {
                        key,
                        state,
                        transcript,
                    },
                    told,
                ));
            }
            Settled::Final {
                key,
                verdict,
                attempts,
                silent,
            } => {
                self.end(
                    End {
                        key,
                        verdict,
                        attempts,
                        silent,
                        passed_on: self.is_passed_on(key),
                    },
                    recent,
                );
            }
        }
    }

    /// A recipient's end.
    pub(crate) fn end(&mut self, end: End, recent: &mut Recent) {
        recent.recipient_done(end.key.id);
        if self.wants_report(&end) {
            self.reported.entry(end.key.id).or_default().push(end);
            return;
        }
        // What was said is kept where something went wrong before, or now.
        let smooth = end.attempts <= 1 && end.verdict.outcome == Outcome::Delivered;
        let transcript = if smooth {
            None
        } else {
            self.transcript(end.key.id)
        };
        let End {
            key,
            verdict,
            attempts,
            ..
        } = end;
        let known = self.known.get(&key.id);
        let later = known.and_then(|(message, _)| simulated::later(message, key, &verdict));
        let told = Told {
            key,
            verdict: verdict.clone(),
            attempts,
            next: None,
        };
        self.changes.push((
            Op::Done {
                key,
                verdict,
                attempts,
                transcript,
            },
            Some(told),
        ));
        self.changes.extend(later.map(|op| (op, None)));
    }

    fn is_passed_on(&self, key: RecipientKey) -> bool {
        let known = self.known.get(&key.id);
        known.is_some_and(|(_, spoken)| spoken.passed_on.contains(&key.recipient))
    }

    fn wants_report(&self, end: &End) -> bool {
        if end.silent {
            return false;
        }
        match (end.verdict.outcome, self.known.get(&end.key.id)) {
            (Outcome::Delivered, Some((message, _)))
                if simulated::is_test(message, end.key.recipient) =>
            {
                false
            }
            (Outcome::Delivered, Some((message, spoken))) => {
                let number = end.key.recipient;
                let recipient = message.envelope.recipients.get(number as usize);
                let taken = spoken.reports_taken.contains(&number);
                let wants = |r: &Recipient| {
                    !taken && r.notify.on_success() || end.passed_on && r.notify != Notify::NEVER
                };
                message.envelope.reverse_path.is_some() && recipient.is_some_and(wants)
            }
            (Outcome::Delivered, None) => false,
            (Outcome::Failed | Outcome::Expired | Outcome::Deferred, _) => true,
        }
    }

    /// A recipient is late.
    pub(crate) fn late(&mut self, key: RecipientKey) {
        self.late.entry(key.id).or_default().push(key);
    }

    /// A verb's change of state.
    pub(crate) fn change(&mut self, op: Op) {
        self.changes.push((op, None));
    }

    /// Makes everything durable, then speaks of it.
    pub(crate) fn commit(mut self, dispatch: &Arc<Dispatch>, tasks: &TaskTracker) {
        let slow = !self.reported.is_empty() || !self.late.is_empty();
        if slow {
            let ids = self.reported.keys().chain(self.late.keys());
            let known = ids
                .filter_map(|id| Some((*id, self.known.get(id)?.clone())))
                .collect();
            let reports = Reports::new(Arc::clone(dispatch), known);
            // The reports come last: whoever waits, waits for them.
            let answer = self.answer.take();
            tasks.spawn_blocking(move || reports.make(self.reported, self.late, answer));
        }
        let known = Arc::new(self.known);
        let mut parts = parts(self.changes).into_iter().peekable();
        while let Some((ops, told)) = parts.next() {
            let answer = if parts.peek().is_none() {
                self.answer.take()
            } else {
                None
            };
            commit_and_tell(dispatch, ops, told, &known, answer);
        }
        if let Some((answer, counts)) = self.answer {
            // There was nothing to change. Whoever asked may have hung up.
            drop(answer.send(Ok(counts)));
        }
    }
}

/// The changes in portions that fit into a commit each.
fn parts(changes: Vec<(Op, Option<Told>)>) -> Vec<(Vec<Op>, Vec<Told>)> {
    let mut parts: Vec<(Vec<Op>, Vec<Told>)> = Vec::new();
    let mut text = 0;
    for (op, told) in changes {
        let size = match &op {
            Op::State { transcript, .. } | Op::Done { transcript, .. } => {
                transcript.as_ref().map_or(0, String::len)
            }
            Op::Accept { .. } | Op::Change { .. } | Op::Control { .. } | Op::Note(_) => 0,
        };
        let size = size + told.as_ref().map_or(0, |t| t.verdict.reply.text.len()) + 200;
        let full =
            parts.last().is_none_or(|(ops, _)| ops.len() >= OPS_MAX) || text + size > TEXT_MAX;
        if full {
            parts.push((Vec::new(), Vec::new()));
            text = 0;
        }
        text += size;
        if let Some((ops, lines)) = parts.last_mut() {
            ops.push(op);
            lines.extend(told);
        }
    }
    parts
}

fn commit_and_tell(
    dispatch: &Arc<Dispatch>,
    ops: Vec<Op>,
    told: Vec<Told>,
    known: &Arc<Known>,
    answer: Option<Waiting>,
) {
    let (handles, known) = (Arc::clone(dispatch), Arc::clone(known));
    dispatch.node.store.commit(
        ops,
        Box::new(move |result: Result<(), CommitError>| {
            let said = match result {
                Ok(()) => {
                    tell(&handles, told, &known);
                    Ok(())
                }
                Err(error) => {
                    handles.node.failed(&error);
                    if error.remedy() == Remedy::TryAgain {
                        try_again(&handles, told, known);
                    }
                    Err(VerbError::from(error))
                }
            };
            if let Some((answer, counts)) = answer {
                // Whoever asked may have hung up.
                drop(answer.send(said.map(|()| counts)));
            }
        }),
    );
}

/// The disk was full. An end must not be forgotten, or a restart would send the mail again, so it
/// is written when there is room. A state that was not kept costs an early attempt at the most.
fn try_again(dispatch: &Arc<Dispatch>, mut told: Vec<Told>, known: Arc<Known>) {
    told.retain(|line| line.next.is_none());
    if told.is_empty() {
        return;
    }
    let handles = Arc::clone(dispatch);
    dispatch.node.runtime.spawn(async move {
        tokio::time::sleep(AGAIN_AFTER).await;
        let done = |line: &Told| Op::Done {
            key: line.key,
            verdict: line.verdict.clone(),
            attempts: line.attempts,
            transcript: None,
        };
        let ops = told.iter().map(done).collect();
        commit_and_tell(&handles, ops, told, &known, None);
    });
}
