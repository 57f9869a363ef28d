//! What waits: lists, single messages, their traces and contents, and the verbs that change them.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail::Timestamp;
use ops::{
    Act, Count, Export, List, MessageView, Order, QueuedView, Selection, Show, Summary,
    SummaryView, Trace, TraceView, Verb,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::{Admin, Caller, OwnReader, Reader};
use crate::body::{self, Params, Part};
use crate::code::Code;
use crate::openapi::{BodyRefusals, NotFound, Refusals, VerbParam, WholeMail};
use crate::problem::Problem;
use crate::state::Console;

/// Recipients of a list at the most.
const LIMIT_MAX: u64 = 10_000;

/// Which waiting recipients, and how they are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// A filter, such as `domain:example.com age>1h`. Default: everything.
    #[param(example = "domain:example.com")]
    filter: Option<String>,
    /// The order.
    #[serde(default)]
    #[param(inline)]
    sort: Order,
    /// Maximum number of entries.
    #[serde(default = "hundred")]
    #[param(minimum = 0, maximum = 10_000, default = 100)]
    limit: u64,
    /// The largest, or latest, first.
    #[serde(default)]
    reverse: bool,
    /// How many are passed over first.
    #[serde(default)]
    #[param(minimum = 0, maximum = 1_000_000_000, default = 0)]
    offset: u64,
}

const fn hundred() -> u64 {
    100
}

/// A part of the queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueList {
    /// How many match in all.
    count: u64,
    /// Those of this part.
    recipients: Vec<QueuedView>,
}

/// List waiting recipients, and why they wait
///
/// A key without the scope `read` sees what was submitted with it.
#[utoipa::path(
    get, path = "/queue", tag = "queue", operation_id = "list_queue",
    security(("key" = ["read-own"])), params(ListParams),
    responses((status = 200, description = "What waits", body = QueueList), Refusals)
)]
pub(crate) async fn list(
    OwnReader(caller): OwnReader,
    State(console): State<Console>,
    Params(asked): Params<ListParams>,
) -> Result<Json<QueueList>, Problem> {
    body::page(asked.limit, LIMIT_MAX, asked.offset)?;
    let selection = match (caller.only(), asked.filter) {
        (None, None) => Selection::All,
        (None, Some(filter)) => Selection::Filter(filter),
        // All terms of a filter must hold, whatever it says besides. A key's name has no blanks.
        (Some(own), filter) => {
            Selection::Filter(format!("user:{own} {}", filter.unwrap_or_default()))
        }
    };
    let count = Count(selection.clone());
    let count = console.ask(&caller, "filter", count).await?;
    let list = List {
        selection,
        order: asked.sort,
        descending: asked.reverse,
        limit: asked.limit,
        offset: asked.offset,
    };
    let recipients = console.ask(&caller, "filter", list).await?;
    Ok(Json(QueueList { count, recipients }))
}

/// How long the lists of a summary are.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SummaryParams {
    /// Maximum number of domains, answers and submitters each.
    #[serde(default = "hundred")]
    #[param(minimum = 0, maximum = 10_000, default = 100)]
    limit: u64,
}

/// Count waiting mail
///
/// Domains by the age of their mail, last answers, submitters: one pass over the queue.
#[utoipa::path(
    get, path = "/queue/summary", tag = "queue", operation_id = "summarize_queue",
    security(("key" = ["read"])), params(SummaryParams),
    responses((status = 200, description = "The queue in numbers", body = SummaryView), Refusals)
)]
pub(crate) async fn summary(
    Reader(caller): Reader,
    State(console): State<Console>,
    Params(asked): Params<SummaryParams>,
) -> Result<Json<SummaryView>, Problem> {
    body::page(asked.limit, LIMIT_MAX, 0)?;
    let summary = console.ask(&caller, "limit", Summary(asked.limit));
    summary.await.map(Json)
}

/// Show one message with its recipients
#[utoipa::path(
    get, path = "/queue/{id}", tag = "queue", operation_id = "show_message",
    security(("key" = ["read-own"])),
    params(("id" = String, Path, description = "The message's id", pattern = "^[0-9A-Za-z]{11}$")),
    responses((status = 200, description = "The message", body = MessageView), NotFound, Refusals)
)]
pub(crate) async fn show(
    OwnReader(caller): OwnReader,
    State(console): State<Console>,
    Part(id): Part,
) -> Result<Json<MessageView>, Problem> {
    message(&console, &caller, id).await.map(Json)
}

/// A message, where the caller may look at it: one of others is as unknown as one that never was.
pub(crate) async fn message(
    console: &Console,
    caller: &Caller,
    id: String,
) -> Result<MessageView, Problem> {
    let found = console.ask(caller, "id", Show(id.clone())).await?;
    match caller.sees(&found.submitter) {
        true => Ok(found),
        false => Err(unknown(&id)),
    }
}

fn unknown(id: &str) -> Problem {
    let why = format!("there is no message {id}: it is neither waiting nor in the history");
    Problem::new(StatusCode::NOT_FOUND, Code::Unknown, why)
}

/// Show everything that happened to a message
///
/// Its attempts, including the SMTP sessions.
#[utoipa::path(
    get, path = "/queue/{id}/trace", tag = "queue", operation_id = "trace_message",
    security(("key" = ["read-own"])),
    params(("id" = String, Path, description = "The message's id", pattern = "^[0-9A-Za-z]{11}$")),
    responses((status = 200, description = "Everything that happened to it", body = TraceView), NotFound, Refusals)
)]
pub(crate) async fn trace(
    OwnReader(caller): OwnReader,
    State(console): State<Console>,
    Part(id): Part,
) -> Result<Json<TraceView>, Problem> {
    let trace = console.ask(&caller, "id", Trace(id.clone())).await?;
    let submitter = trace.message.as_ref().map(|m| m.submitter.as_str());
    match caller.sees(submitter.unwrap_or_default()) {
        true => Ok(Json(trace)),
        false => Err(unknown(&id)),
    }
}

/// The content of a waiting message, as it will be sent
#[utoipa::path(
    get, path = "/queue/{id}/content", tag = "queue", operation_id = "message_content",
    security(("key" = ["admin"])),
    params(("id" = String, Path, description = "The message's id", pattern = "^[0-9A-Za-z]{11}$")),
    responses(
        (status = 200, description = "The message", body = inline(WholeMail), content_type = "message/rfc822"),
        NotFound,
        Refusals
    )
)]
pub(crate) async fn content(
    Admin(caller): Admin,
    State(console): State<Console>,
    Part(id): Part,
) -> Result<Response, Problem> {
    let encoded = console.ask(&caller, "id", Export(id.clone())).await?;
    let content = STANDARD
        .decode(encoded.0)
        .map_err(|e| Problem::unavailable(e.to_string()))?;
    let headers = [
        (header::CONTENT_TYPE, "message/rfc822".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{id}.eml\""),
        ),
    ];
    Ok((headers, content).into_response())
}

/// Which waiting recipients are changed: exactly one of `ids`, `filter` and `all`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "filter": "domain:example.com", "preview": true }))]
pub(crate) struct Action {
    /// Messages, `ID`, or single recipients, `ID/N`.
    ids: Option<Vec<String>>,
    /// What a filter matches.
    filter: Option<String>,
    /// Everything; only `true` has a meaning.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    all: bool,
    /// Only count, and change nothing.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    preview: bool,
    /// With `retry`: not now, but at this time (RFC 3339).
    #[schema(format = DateTime)]
    at: Option<String>,
    /// With `reroute`: the server to send by (`host`, `host:port`, `[ip]`, `[ip]:port`); without it,
    /// where the rules say again.
    to: Option<String>,
}

impl Action {
    /// The verb with its parameters.
    fn verb(&self, plain: Verb) -> Result<Verb, Problem> {
        match (plain, &self.at, &self.to) {
            (Verb::Retry(_), Some(at), None) => match Timestamp::parse_rfc3339(at) {
                Some(at) => Ok(Verb::Retry(Some(at.as_millis()))),
                None => {
                    let why = "write an RFC 3339 time, such as 2026-01-31T08:00:00Z";
                    Err(Problem::field("at", why))
                }
            },
            (Verb::Reroute(_), None, to) => Ok(Verb::Reroute(to.clone())),
            (_, Some(_), _) => Err(Problem::field("at", "only `retry` accepts a time")),
            (_, None, Some(_)) => Err(Problem::field("to", "only `reroute` accepts a server")),
            (plain, None, None) => Ok(plain),
        }
    }

    fn selection(self) -> Result<Selection, Problem> {
        match (self.ids, self.filter, self.all) {
            (Some(ids), None, false) => Ok(Selection::Ids(ids)),
            (None, Some(filter), false) => Ok(Selection::Filter(filter)),
            (None, None, true) => Ok(Selection::All),
            _ => {
                let why = "select recipients with exactly one of ids, filter and all";
                Err(Problem::field("ids", why))
            }
        }
    }
}

/// What a verb has done, or would do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ActionResult {
    /// The answer to a preview.
    #[schema(title = "Preview")]
    Preview {
        /// Recipients that would be meant.
        count: u64,
    },
    /// What was done, durably.
    #[schema(title = "Changed")]
    Done {
        /// Recipients changed.
        changed: u64,
        /// Recipients that were already in that state, or are no longer in the queue.
        unchanged: u64,
        /// Recipients being sent right now: the action applies to them unless they are delivered.
        in_flight: u64,
    },
}

/// Change waiting recipients
///
/// `hold` keeps them back, `release` lets them go, `retry` tries them now or at a time, `fail` gives
/// them up with a failure message to their senders, `remove` removes them silently, `reroute` sends
/// them by another server.
#[utoipa::path(
    post, path = "/queue/actions/{verb}", tag = "queue", operation_id = "act_on_queue",
    security(("key" = ["admin"])),
    params(VerbParam),
    request_body(content = Action, description = "Which recipients"),
    responses(
        (status = 200, description = "The result", body = ActionResult),
        (status = 409, description = "The server to reroute to is not a server's name or address", body = Problem, content_type = "application/problem+json"),
        BodyRefusals,
        NotFound,
        Refusals
    )
)]
pub(crate) async fn act(
    Admin(caller): Admin,
    State(console): State<Console>,
    Part(word): Part,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ActionResult>, Problem> {
    let Some(plain) = Verb::of_word(&word) else {
        let words: Vec<&str> = Verb::ALL.iter().map(|v| v.word()).collect();
        let why = format!("unknown verb `{word}`: use {}", words.join(", "));
        return Err(Problem::new(StatusCode::NOT_FOUND, Code::UnknownVerb, why).about("verb"));
    };
    let action: Action = body::small_json(&headers, body).await?;
    let preview = action.preview;
    let verb = action.verb(plain)?;
    let selection = action.selection()?;
    let field = match selection {
        Selection::Ids(_) => "ids",
        Selection::Filter(_) | Selection::All => "filter",
    };
    if preview {
        let count = console.ask(&caller, field, Count(selection)).await?;
        return Ok(Json(ActionResult::Preview { count }));
    }
    let acted = console.ask(&caller, field, Act { verb, selection }).await?;
    Ok(Json(ActionResult::Done {
        changed: acted.changed,
        unchanged: acted.unchanged,
        in_flight: acted.in_flight,
    }))
}
