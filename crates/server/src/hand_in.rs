//! Making a mail durable, and mail that is handed in whole: by HTTP or by the sendmail command.

use std::sync::Arc;
use std::time::Duration;

use intake::{AcceptFailure, Rights, Submission};
use mail::{Message, QueueId, RecipientState, Reply, Status};
use spool::{CommitError, Op};
use tokio::sync::oneshot;

use crate::event::Event;
use crate::shared::Shared;
use crate::signing;

/// A commit takes milliseconds; when the disk hangs, the client is told to come back.
const COMMIT_MAX: Duration = Duration::from_secs(120);

/// What became of a mail that was handed in whole.
#[derive(Debug)]
pub(crate) struct HandedIn {
    /// Its name.
    pub(crate) id: QueueId,
    /// What became of each recipient, in the order in which they were asked for.
    pub(crate) recipients: Vec<Result<(), Reply>>,
    /// It had been handed in before, under the same token.
    pub(crate) duplicate: bool,
}

/// Takes a mail into the queue. It is durable on return; its delivery begins with that.
///
/// With a token, a mail that was taken under the same token before is not taken again. Two that
/// come at once are told apart as well.
///
/// # Errors
/// The reply that says why it was not taken: 4xx, it may be handed in again later.
pub(crate) async fn hand_in(
    shared: &Arc<Shared>,
    submission: Submission,
    token: Option<String>,
) -> Result<HandedIn, Reply> {
    let _turn = match &token {
        Some(token) => Some(shared.tokens.enter(token).await),
        None => None,
    };
    if let Some(token) = token.clone() {
        let handles = Arc::clone(shared);
        let found = tokio::task::spawn_blocking(move || handles.spool.find_token(&token)).await;
        let found = found.map_err(|e| e.to_string());
        match found.and_then(|found| found.map_err(|e| e.to_string())) {
            Ok(None) => {}
            Ok(Some(id)) => {
                let policy = Arc::clone(&shared.settings().policy);
                let asked = submission.recipients.iter();
                let sender = submission.reverse_path.as_ref();
                let user = submission.submitter.user.as_deref();
                return Ok(HandedIn {
                    id,
                    recipients: asked
                        .map(|r| policy.takes(&r.address, sender, user, net::now()))
                        .collect(),
                    duplicate: true,
                });
            }
            Err(why) => {
                let line = shared.journal.line(net::now(), "not-accepted");
                line.field("why", why).send();
                return Err(AcceptFailure::Failed.reply());
            }
        }
    }
    let now = net::now();
    let policy = Arc::clone(&shared.settings().policy);
    let rights = submission.rights.clone();
    let composed = policy.compose(submission, policy.fix_ups, shared.next_id(now), now)?;
    let id = composed.message.id;
    let message = composed.message.clone();
    accept(shared, composed.message, rights, token)
        .await
        .map_err(AcceptFailure::reply)?;
    let near = policy.charge(&message);
    for near in near {
        let line = shared.journal.line(net::now(), "quota");
        line.field("what", near).send();
    }
    Ok(HandedIn {
        id,
        recipients: composed.recipients,
        duplicate: false,
    })
}

/// Makes a message durable, signed where its submitter may write as its author. Its log line and
/// its delivery begin with that, not before.
pub(crate) async fn accept(
    shared: &Arc<Shared>,
    message: Message,
    rights: Rights,
    token: Option<String>,
) -> Result<(), AcceptFailure> {
    if shared.stopping.is_cancelled() {
        return Err(AcceptFailure::Stopping);
    }
    let (told, answer) = oneshot::channel();
    let message = Arc::new(signing::accepted(shared, message, &rights).await);
    let (held, rule) = shared.controls.held(&message, net::now());
    if let Some(rule) = rule {
        let line = shared.journal.line(net::now(), "hold-rule");
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
        token,
    };
    let handles = Arc::clone(shared);
    shared.spool.commit(
        vec![op],
        Box::new(move |result| {
            if result.is_ok() {
                handles.tell(Event::Accepted(message, held));
            }
            // The client may have gone meanwhile; its mail is in the queue all the same.
            drop(told.send(result));
        }),
    );
    let result = match tokio::time::timeout(COMMIT_MAX, answer).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(CommitError::Closed),
        Err(_) => return Err(AcceptFailure::Failed),
    };
    result.map_err(|error| {
        let line = shared.journal.line(net::now(), "not-accepted");
        line.field("why", &error).send();
        match error {
            CommitError::Full(_) | CommitError::TooLarge { .. } | CommitError::Behind(_) => {
                AcceptFailure::Full
            }
            CommitError::Closed => AcceptFailure::Stopping,
            CommitError::Poisoned(_) | _ => {
                shared.tell(Event::Fatal(error.to_string()));
                AcceptFailure::Failed
            }
        }
    })
}
