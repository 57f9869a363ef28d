//! Making a mail durable, and mail that is handed in whole: by HTTP or by the sendmail command.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use intake::{AcceptFailure, Refusal, Rights, Submission};
use mail::{Address, BodyType, Message, QueueId, RecipientKey, RecipientState, Reply, Status};
use store::{CommitError, LaterRow, Note, Op, Withdrawal};
use tokio::sync::oneshot;

use crate::event::Event;
use crate::tokens::TokenTurn;
use crate::{Node, quotas, refused, signing};

/// A commit takes milliseconds; when the disk hangs, the client is told to come back.
const COMMIT_MAX: Duration = Duration::from_secs(120);
const TAKEN_BACK: &str = "the queue's disk did not store it within two minutes: it was withdrawn and is not in the \
                          queue, and its client was asked to try again. Check the disk";

/// What became of a mail that was handed in whole.
#[derive(Debug)]
pub struct HandedIn {
    /// Its name.
    pub id: QueueId,
    /// The result for each recipient, in the order of the request.
    pub recipients: Vec<Result<(), Refusal>>,
    /// It had been handed in before, under the same token.
    pub duplicate: bool,
}

/// Takes a mail into the queue. It is durable on return; its delivery begins with that.
///
/// With a token, a mail that was taken under the same token before is not taken again. Two that
/// come at once are told apart as well.
///
/// # Errors
/// The reply that says why it was not taken: 4xx, it may be handed in again later.
pub async fn hand_in(
    node: &Arc<Node>,
    submission: Submission,
    token: Option<String>,
) -> Result<HandedIn, Refusal> {
    let turn = match &token {
        Some(token) => Some(turn(node, token).await?),
        None => None,
    };
    if let Some(token) = token {
        let handles = Arc::clone(node);
        let found = tokio::task::spawn_blocking(move || handles.store.find_token(&token)).await;
        let found = found.map_err(|e| e.to_string());
        match found.and_then(|found| found.map_err(|e| e.to_string())) {
            Ok(None) => {}
            Ok(Some(id)) => {
                let policy = Arc::clone(&node.settings().policy);
                let asked = submission.recipients.iter();
                let sender = submission.reverse_path.as_ref();
                let user = submission.submitter.user.as_deref();
                return Ok(HandedIn {
                    id,
                    recipients: asked
                        .map(|r| policy.takes(&r.address, sender, user, node.now()))
                        .collect(),
                    duplicate: true,
                });
            }
            Err(why) => {
                let line = node.journal.line(node.now(), "not-accepted");
                line.field("why", why).send();
                return Err(AcceptFailure::Failed.reply().into());
            }
        }
    }
    let now = node.now();
    let policy = Arc::clone(&node.settings().policy);
    let rights = submission.rights.clone();
    let declared = submission.body_type;
    let asked: Vec<Address> = submission
        .recipients
        .iter()
        .map(|r| r.address.clone())
        .collect();
    let mut composed = policy.compose(submission, policy.fix_ups, node.next_id(now), now)?;
    let id = composed.message.id;
    if composed.message.envelope.body_type != declared
        && composed.message.envelope.body_type == BodyType::BinaryMime
    {
        composed.message = signing::encoded(node, composed.message).await;
    }
    let envelope = composed.message.envelope.clone();
    let verdicts = composed
        .recipients
        .iter()
        .map(|verdict| verdict.as_ref().err());
    let refused = asked
        .into_iter()
        .zip(verdicts)
        .filter_map(|(address, refusal)| Some((address.to_string(), refusal?)));
    let notes = refused::notes(id, envelope.recipients.len(), refused, now);
    if let Err(failure) = accept(node, composed.message, rights, turn, notes).await {
        policy.give_back(&envelope, now);
        return Err(failure.reply().into());
    }
    if !composed.near.is_empty() {
        quotas::near(node, id, &composed.near.join("; "));
    }
    Ok(HandedIn {
        id,
        recipients: composed.recipients,
        duplicate: false,
    })
}

/// Waits for the turn of a token: a mail under it may be on its way to the disk.
async fn turn(node: &Node, token: &str) -> Result<TokenTurn, Reply> {
    let turn = tokio::time::timeout(COMMIT_MAX, node.tokens.enter(token));
    turn.await.map_err(|_| {
        let line = node.journal.line(node.now(), "not-accepted");
        let why = "a message with the same token is still being written: its client was asked to try again, and so \
                   is this one. Check the disk";
        line.field("why", why).send();
        AcceptFailure::Failed.reply()
    })
}

/// Makes a message durable, signed where its submitter may write as its author. Its log line and
/// its delivery begin with that, not before. `notes` are durable with it.
pub async fn accept(
    node: &Arc<Node>,
    message: Message,
    rights: Rights,
    turn: Option<TokenTurn>,
    notes: Vec<Op>,
) -> Result<(), AcceptFailure> {
    if node.stopping.is_cancelled() {
        return Err(AcceptFailure::Stopping);
    }
    node.quotas.wake();
    let (told, answer) = oneshot::channel();
    let message = Arc::new(signing::accepted(node, message, &rights).await);
    let (held, rule) = node.controls.held(&message, node.now());
    if let Some(rule) = rule {
        let line = node.journal.line(node.now(), "hold-rule");
        line.field("id", message.id)
            .field("rule", rule)
            .field("recipients", held.len())
            .send();
    }
    let state = message.initial_state();
    let states = (0..)
        .take(message.envelope.recipients.len())
        .map(|number| RecipientState {
            status: match held.contains(&number) {
                true => Status::Held,
                false => Status::Waiting,
            },
            ..state.clone()
        })
        .collect();
    let op = Op::Accept {
        message: Message::clone(&message),
        states,
        token: turn.as_ref().map(|turn| turn.token.clone()),
    };
    let mut ops = vec![op];
    ops.extend(notes);
    let handles = Arc::clone(node);
    let refused = Arc::new(AtomicBool::new(false));
    let was_refused = Arc::clone(&refused);
    let id = message.id;
    let withdrawal = node.store.commit_withdrawable(
        ops,
        Box::new(move |result| {
            // Only now the next mail under the token can see what became of this one, whether or not
            // the client has waited for it.
            drop(turn);
            // Whoever has been answered may hold or remove the mail at once: its owner must know it by then.
            if result.is_ok() {
                handles.tell(Event::Accepted(Arc::clone(&message), held));
            }
            // The client may have gone meanwhile; its mail is in the queue all the same.
            let unheard = told.send(result.clone()).is_err();
            let late = unheard && was_refused.load(Ordering::Acquire);
            if late {
                became_of(&handles, &message, &result);
            }
        }),
    );
    let Some(result) = decided(answer, &withdrawal, &refused, COMMIT_MAX).await else {
        let line = node.journal.line(node.now(), "not-accepted");
        let why = "the queue's disk has not stored it in time; its client was asked to try again, but it is still \
                   being written: the result follows. Check the disk";
        line.field("id", id).field("why", why).send();
        return Err(AcceptFailure::Failed);
    };
    result.map_err(|error| not_accepted(node, id, &error))
}

/// Says why a mail is not in the queue.
fn not_accepted(node: &Node, id: QueueId, error: &CommitError) -> AcceptFailure {
    let line = node.journal.line(node.now(), "not-accepted");
    let line = line.field("id", id);
    if matches!(error, CommitError::Withdrawn) {
        line.field("why", TAKEN_BACK).send();
        return AcceptFailure::Failed;
    }
    line.field("why", error).send();
    match error {
        CommitError::Full(_) | CommitError::TooLarge { .. } | CommitError::Behind(_) => {
            AcceptFailure::Full
        }
        CommitError::Closed => AcceptFailure::Stopping,
        CommitError::Away(_)
        | CommitError::Fenced
        | CommitError::Taken(_)
        | CommitError::Withdrawn => AcceptFailure::Failed,
        CommitError::Poisoned(_) => {
            node.tell(Event::Fatal(error.to_string()));
            AcceptFailure::Failed
        }
    }
}

/// Waits for a commit's outcome. After `limit` the commit is taken back; `None` when that is not possible any
/// more because it is being written: then the client is told 451 without knowing.
async fn decided(
    mut answer: oneshot::Receiver<Result<(), CommitError>>,
    withdrawal: &Withdrawal,
    refused: &AtomicBool,
    limit: Duration,
) -> Option<Result<(), CommitError>> {
    match tokio::time::timeout(limit, &mut answer).await {
        Ok(Ok(result)) => return Some(result),
        Ok(Err(_)) => return Some(Err(CommitError::Closed)),
        Err(_) if withdrawal.withdraw() => return Some(Err(CommitError::Withdrawn)),
        Err(_) => {}
    }
    // Said before the way back is closed: whoever finds it closed is to know why.
    refused.store(true, Ordering::Release);
    answer.close();
    // It may have come in this moment.
    answer.try_recv().ok()
}

/// Says what became of a mail whose client was told to try again before that was known.
fn became_of(node: &Arc<Node>, message: &Message, result: &Result<(), CommitError>) {
    let now = node.now();
    let line = node.journal.line(now, "accepted-late");
    let line = line.field("id", message.id);
    if let Err(error) = result {
        let what = "it is not in the queue: it is delivered only if it is submitted again";
        line.field("what", what).field("why", error).send();
        return;
    }
    let what = "it is in the queue and will be delivered, although its client was asked to try again because the \
                disk did not respond: if the client does, the recipients get it twice";
    line.field("what", what).send();
    let note = |recipient| {
        Op::Note(Note::Later(LaterRow {
            key: RecipientKey {
                id: message.id,
                recipient,
            },
            at: now,
            word: "accepted-late".to_owned(),
            text: what.to_owned(),
        }))
    };
    let notes = (0..).take(message.envelope.recipients.len()).map(note);
    // The log has said it; the note only repeats it where the mail is shown.
    node.store.commit(notes.collect(), Box::new(|_| {}));
}

/// The line that a report was made.
pub fn log_report(node: &Node, about: QueueId, report: &Message) {
    let to = report
        .envelope
        .recipients
        .first()
        .map(|r| format!("<{}>", r.address));
    let line = node
        .journal
        .line(node.now(), "report")
        .field("id", report.id);
    line.field("about", about).maybe("to", to).send();
}

/// The commit of a report.
pub fn accept_op(report: &Message) -> Op {
    let states = vec![report.initial_state(); report.envelope.recipients.len()];
    Op::Accept {
        message: report.clone(),
        states,
        token: None,
    }
}

#[cfg(test)]
mod tests {
    use lab::Scratch;
    use spool::{DirStorage, MemoryIndex, Options, Spool};

    use super::*;
    use crate::tokens::Tokens;

    const AT_ONCE: Duration = Duration::ZERO;

    /// A queue whose disk hangs until it is told to step.
    fn hanging() -> (Scratch, Spool) {
        let scratch = Scratch::new();
        let storage = Arc::new(DirStorage::open(scratch.path().join("queue")).unwrap());
        let options = Options {
            threads: false,
            ballast_bytes: 0,
            reserve_bytes: 0,
            ..Options::default()
        };
        let (spool, _) = Spool::open(options, storage, Arc::new(MemoryIndex::new())).unwrap();
        (scratch, spool)
    }

    fn op() -> Op {
        Op::Control {
            name: "a".to_owned(),
            value: Some("b".to_owned()),
        }
    }

    #[tokio::test]
    async fn what_the_disk_has_not_taken_in_time_is_taken_back() {
        let (_scratch, spool) = hanging();
        let (told, answer) = oneshot::channel();
        let done = Box::new(move |result| drop(told.send(result)));
        let withdrawal = spool.commit_withdrawable(vec![op()], done);
        let refused = AtomicBool::new(false);
        let result = decided(answer, &withdrawal, &refused, AT_ONCE).await;
        assert!(matches!(result, Some(Err(CommitError::Withdrawn))));
        assert!(!refused.load(Ordering::Acquire), "nothing of it follows");
        spool.commit_step();
        assert_eq!(spool.figures().commits, 0);
    }

    #[tokio::test]
    async fn what_is_being_written_is_said_to_be_late_when_it_is_durable() {
        let (_scratch, spool) = hanging();
        let (told, answer) = oneshot::channel();
        let (hold, held) = std::sync::mpsc::channel();
        let done = Box::new(move |result| hold.send(result).unwrap());
        let withdrawal = spool.commit_withdrawable(vec![op()], done);
        spool.commit_step();
        let refused = AtomicBool::new(false);
        let result = decided(answer, &withdrawal, &refused, AT_ONCE).await;
        assert!(result.is_none(), "{result:?}");
        // The callback finds that nobody hears it, and why.
        assert!(told.send(held.recv().unwrap()).is_err());
        assert!(refused.load(Ordering::Acquire));
    }

    #[tokio::test]
    async fn a_mail_under_the_same_token_waits_for_the_one_that_is_being_written() {
        let (_scratch, spool) = hanging();
        let tokens = Arc::new(Tokens::default());
        let turn = tokens.enter("token").await;
        let (told, answer) = oneshot::channel();
        let done = Box::new(move |result| {
            drop(turn);
            drop(told.send(result));
        });
        let _withdrawal = spool.commit_withdrawable(vec![op()], done);
        // Its client goes.
        drop(answer);
        let next = tokio::time::timeout(Duration::from_millis(20), tokens.enter("token"));
        assert!(next.await.is_err(), "it must not be written a second time");
        spool.commit_step();
        drop(tokens.enter("token").await);
    }

    #[tokio::test]
    async fn an_outcome_in_time_is_the_answer() {
        let (_scratch, spool) = hanging();
        let (told, answer) = oneshot::channel();
        let done = Box::new(move |result| drop(told.send(result)));
        let withdrawal = spool.commit_withdrawable(vec![op()], done);
        spool.commit_step();
        let refused = AtomicBool::new(false);
        let result = decided(answer, &withdrawal, &refused, AT_ONCE).await;
        assert!(matches!(result, Some(Ok(()))), "{result:?}");
    }
}
