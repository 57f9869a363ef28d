//! `POST /api/v1/messages/batch`: many mails in one request, each with its own result.
//!
//! They are submitted side by side, so that the queue makes them durable in few writes.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::JoinSet;
use utoipa::ToSchema;

use crate::access::{Caller, Sender};
use crate::body::{self, Few, Received};
use crate::compose::{Composed, NewMessage, compose};
use crate::messages::{
    Accepted, check_size, digest_of, hand_in, idempotency_key, may_send, random_name, token_prefix,
};
use crate::openapi::{BodyRefusals, Refusals};
use crate::problem::Problem;
use crate::state::Console;

/// Mails in one request.
const BATCH_MAX: usize = 500;

/// Mails to send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "messages": [
    { "from": "ann@example.com", "to": "bob@example.net", "subject": "Hello", "text": "Hello Bob.\n" },
    { "from": "ann@example.com", "to": "eve@example.net", "subject": "Hello", "text": "Hello Eve.\n" }
] }))]
pub(crate) struct Batch {
    /// 1 to 500 messages; together they may be as large as one message may be.
    #[schema(value_type = Vec<NewMessage>, min_items = 1, max_items = 500)]
    messages: Few<Value, BATCH_MAX>,
}

/// The result for each message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchResults {
    /// In the order of the request.
    results: Vec<BatchResult>,
}

/// The result for one message: it has exactly one of `accepted` and `problem`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchResult {
    /// The status that it would have had in a request of its own: 202, 200 for a repetition, or that of the problem.
    status: u16,
    /// It is in the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<Accepted>,
    /// It is not, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

impl From<Result<Accepted, Problem>> for BatchResult {
    fn from(result: Result<Accepted, Problem>) -> Self {
        match result {
            Ok(accepted) => Self {
                status: accepted.status().as_u16(),
                accepted: Some(accepted),
                problem: None,
            },
            Err(problem) => Self {
                status: problem.status(),
                accepted: None,
                problem: Some(problem),
            },
        }
    }
}

/// Submit many messages
///
/// Up to 500, as JSON. Each is accepted or refused for itself: look at the `status` of each result. If all are refused
/// for good, so is the request. The answer comes
/// when all that were accepted would survive a power cut. With an `Idempotency-Key`, the same request may be repeated
/// for 30 days: messages that were accepted give the same ids, and the others are tried again. Here the values of a
/// message are compared, however its JSON is written.
#[utoipa::path(
    post, path = "/messages/batch", tag = "messages",
    operation_id = "send_messages",
    security(("key" = ["send"])),
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters", min_length = 1, max_length = 255, pattern = "^[!-~]{1,255}$"),
    ),
    request_body = Batch,
    responses(
        (status = 200, description = "The result for each message", body = BatchResults),
        (status = 422, description = "No message was accepted; the reason for each", body = BatchResults),
        BodyRefusals,
        Refusals,
    )
)]
pub(crate) async fn send(
    Sender(caller): Sender,
    State(console): State<Console>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let repeat = idempotency_key(&headers)?;
    if body::media_type(&headers) != "application/json" {
        return Err(body::unsupported("application/json"));
    }
    let settings = console.backend().settings();
    let max = settings.message_size;
    let Received { octets, memory, .. } = body::receive(&console, &caller, body, max).await?;
    let hostname = settings.hostname;
    // Hundreds of mails must not hold up what else their thread has to do.
    let read = tokio::task::spawn_blocking(move || {
        let batch = body::from_json::<Batch>(&octets)?;
        if batch.messages.0.is_empty() {
            return Err(Problem::field(
                "messages",
                "the list is empty: send at least one message",
            ));
        }
        let mails = batch.messages.0.into_iter().enumerate();
        let one = |(n, mail)| {
            let digest = repeat
                .is_some()
                .then(|| digest_of(&[b"batch", text(&mail).as_bytes()]));
            let composed =
                composed(mail, &hostname).map_err(|p| p.within(&format!("messages[{n}]")));
            let turn = repeat
                .as_ref()
                .zip(digest)
                .map(|(key, digest)| (key.clone(), n, digest));
            (composed, turn)
        };
        Ok(mails.map(one).collect::<Vec<_>>())
    });
    let read = read.await.map_err(ours)??;
    // Carried out to its end also when the client hangs up, as a single mail is.
    let task = tokio::spawn(async move {
        let results = hand_in_all(&console, &caller, read, max).await;
        drop(memory);
        results
    });
    let results = task.await.map_err(ours)?;
    let results = BatchResults { results };
    Ok((results.status(), Json(results)).into_response())
}

impl BatchResults {
    /// A request of which nothing came, and of which nothing comes when it is repeated, is no success.
    fn status(&self) -> StatusCode {
        let later = StatusCode::TOO_MANY_REQUESTS.as_u16();
        let is_final =
            |result: &BatchResult| (400..500).contains(&result.status) && result.status != later;
        match self.results.iter().all(is_final) {
            true => StatusCode::UNPROCESSABLE_ENTITY,
            false => StatusCode::OK,
        }
    }
}

/// What tells a mail from another under the same `Idempotency-Key`: its value, however it was written.
fn text(mail: &Value) -> String {
    mail.to_string()
}

fn composed(mail: Value, hostname: &str) -> Result<Composed, Problem> {
    let message = body::from_value::<NewMessage>(mail)?;
    let id = format!("{}@{hostname}", random_name()?);
    compose(message, net::now(), &id)
}

/// A mail that was read, or what is wrong with it; and under which key, at which place, it may be repeated.
type Read = (Result<Composed, Problem>, Option<(String, usize, String)>);

async fn hand_in_all(
    console: &Console,
    caller: &Caller,
    mails: Vec<Read>,
    max: u64,
) -> Vec<BatchResult> {
    let count = mails.len();
    let mut tasks = JoinSet::new();
    for (n, (composed, turn)) in mails.into_iter().enumerate() {
        let (console, caller) = (console.clone(), caller.clone());
        let turn = turn.map(|(key, place, digest)| {
            // A key for each place: the mail that stood there before is the one that it repeats.
            let key = format!("{key} {place}");
            (token_prefix(&caller, &key), digest)
        });
        tasks.spawn(async move {
            let result = one(&console, &caller, composed, turn, max).await;
            (n, result)
        });
    }
    let mut results: Vec<Option<BatchResult>> = (0..count).map(|_| None).collect();
    while let Some(ended) = tasks.join_next().await {
        if let Ok((n, result)) = ended
            && let Some(place) = results.get_mut(n)
        {
            let result = result.map_err(|p| p.within(&format!("messages[{n}]")));
            *place = Some(result.into());
        }
    }
    let lost = || Err(Problem::unavailable("internal server error")).into();
    results
        .into_iter()
        .map(|r| r.unwrap_or_else(lost))
        .collect()
}

async fn one(
    console: &Console,
    caller: &Caller,
    composed: Result<Composed, Problem>,
    turn: Option<(String, String)>,
    max: u64,
) -> Result<Accepted, Problem> {
    let composed = composed?;
    check_size(&composed, max)?;
    may_send(caller, &composed)?;
    hand_in(console, caller, composed, turn).await
}

fn ours(error: tokio::task::JoinError) -> Problem {
    Problem::unavailable(format!("internal server error: {error}"))
}
