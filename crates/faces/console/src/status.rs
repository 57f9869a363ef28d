//! `GET /api/v1/messages/{id}`: what became of one mail, recipient by recipient.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use ops::{AttemptView, LaterView, MessageView, QueuedView, RefusedView};
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::OwnReader;
use crate::body::Part;
use crate::openapi::{NotFound, Refusals};
use crate::problem::Problem;
use crate::queue;
use crate::state::Console;

/// The result of a submitted message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessageStatus {
    /// Its id.
    id: String,
    /// When it was accepted.
    #[schema(format = DateTime)]
    accepted: String,
    /// The reverse-path; empty for `<>`.
    sender: String,
    /// The Message-ID field, with its angle brackets.
    message_id: Option<String>,
    /// The Subject field as it is written in the header, cut to 512 octets; empty where there is none.
    subject: String,
    /// The tags that its submitter gave it.
    tags: Vec<String>,
    /// The metadata that its submitter gave it.
    metadata: BTreeMap<String, String>,
    /// Octets.
    size: u64,
    /// Who submitted it.
    submitter: String,
    /// The message that it reports on, if it is a report of this server.
    report_of: Option<String>,
    /// It was submitted with a test key: it is not delivered to anybody, and its result is simulated.
    test: bool,
    /// Its recipients: those that it is queued for, those that are finished, and those that were refused.
    recipients: Vec<RecipientStatus>,
}

/// The state of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Standing {
    /// In the queue, and not tried yet.
    Waiting,
    /// In the queue, and tried without success; there will be another attempt.
    Deferred,
    /// Kept back by an administrator.
    Held,
    /// The next mail server has accepted responsibility. `later` says what was heard after that.
    Delivered,
    /// Given up: refused for good, or its attempts are used up.
    Failed,
    /// Given up: its lifetime is over.
    Expired,
    /// It was not accepted when the mail was submitted.
    Refused,
}

/// The result for a recipient.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecipientStatus {
    /// The address.
    address: String,
    /// Its state.
    status: Standing,
    /// Attempts so far.
    attempts: u32,
    /// When it was finished.
    #[schema(format = DateTime)]
    finished: Option<String>,
    /// The earliest time of the next attempt, while it waits.
    next_attempt: Option<String>,
    /// The last answer, with its code: of a mail server, or our own account.
    reply: Option<String>,
    /// Why it was refused, for programs, as in the answer to the submission.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    /// What was learned later: bounces and complaints.
    later: Vec<LaterView>,
}

impl RecipientStatus {
    fn waiting(row: QueuedView, later: &[LaterView]) -> Self {
        Self {
            later: of(&row.recipient, later),
            address: row.recipient,
            status: match (row.state.as_str(), row.last_reply.is_empty()) {
                ("held", _) => Standing::Held,
                (_, true) => Standing::Waiting,
                (_, false) => Standing::Deferred,
            },
            attempts: row.attempts,
            finished: None,
            next_attempt: Some(row.next_event.unwrap_or(row.due)),
            reply: Some(row.last_reply).filter(|reply| !reply.is_empty()),
            refusal: None,
        }
    }

    fn finished(row: AttemptView, later: &[LaterView]) -> Self {
        Self {
            later: of(&row.recipient, later),
            address: row.recipient,
            status: match row.outcome.as_str() {
                "delivered" => Standing::Delivered,
                "expired" => Standing::Expired,
                _ => Standing::Failed,
            },
            attempts: row.attempt,
            finished: Some(row.at),
            next_attempt: None,
            reply: Some(row.reply),
            refusal: None,
        }
    }

    fn refused(row: RefusedView) -> Self {
        Self {
            address: row.address,
            status: Standing::Refused,
            attempts: 0,
            finished: None,
            next_attempt: None,
            reply: Some(format!("{} {}", row.code, row.reason)),
            refusal: Some(row.refusal),
            later: Vec::new(),
        }
    }
}

fn of(recipient: &str, later: &[LaterView]) -> Vec<LaterView> {
    let of_it = later.iter().filter(|view| view.recipient == recipient);
    of_it.cloned().collect()
}

impl From<MessageView> for MessageStatus {
    fn from(message: MessageView) -> Self {
        let later = message.later;
        let waiting = message.waiting.into_iter();
        let waiting = waiting.map(|row| RecipientStatus::waiting(row, &later));
        let finished = message.finished.into_iter();
        let finished = finished.map(|row| RecipientStatus::finished(row, &later));
        let refused = message.refused.into_iter().map(RecipientStatus::refused);
        Self {
            recipients: waiting.chain(finished).chain(refused).collect(),
            id: message.id,
            accepted: message.accepted,
            sender: message.sender,
            message_id: message.message_id,
            subject: message.subject,
            tags: message.tags,
            metadata: message.metadata,
            size: message.size,
            submitter: message.submitter,
            report_of: message.report_of,
            test: message.test,
        }
    }
}

/// The status of a message
///
/// While it waits, and after it is finished for as long as the history keeps it. A key without the scope `read` sees
/// what was submitted with it.
#[utoipa::path(
    get, path = "/messages/{id}", tag = "messages", operation_id = "message_status",
    security(("key" = ["read-own"])),
    params(("id" = String, Path, description = "The message's id", pattern = "^[0-9A-Za-z]{11}$")),
    responses((status = 200, description = "The status of the message and its recipients", body = MessageStatus), NotFound, Refusals)
)]
pub(crate) async fn status(
    OwnReader(caller): OwnReader,
    State(console): State<Console>,
    Part(id): Part,
) -> Result<Json<MessageStatus>, Problem> {
    let message = queue::message(&console, &caller, id).await?;
    Ok(Json(message.into()))
}
