//! Orders beyond single mails: slowing a domain, rules that hold new mail; and what is asked about
//! one address or about what is finished.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use ops::{
    ActLater, DomainView, Explain, Explanation, FinishedView, History, HistorySelection,
    HoldRuleView, PendingView, Selection, Site, Slow,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::{Admin, OwnReader, Reader};
use crate::body::{self, Params, Part};
use crate::openapi::{BodyRefusals, Conflict, NotFound, Refusals};
use crate::problem::Problem;
use crate::server::{Done, done};
use crate::state::Console;

/// Finished recipients in one answer.
const LIMIT_MAX: u64 = 1000;

/// Where a domain's mail goes at present, and its state
#[utoipa::path(
    get, path = "/sites/{domain}", tag = "sites", operation_id = "show_site",
    security(("key" = ["read"])),
    params(("domain" = String, Path, description = "The domain")),
    responses((status = 200, description = "The state of the domain", body = DomainView), Refusals)
)]
pub(crate) async fn site(
    Reader(caller): Reader,
    State(console): State<Console>,
    Part(domain): Part,
) -> Result<Json<DomainView>, Problem> {
    let site = console.ask(&caller, "domain", Site(domain));
    site.await.map(Json)
}

/// The limits of a domain's mail; without limits, it is no longer slowed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "rate": "10/min", "connections": 1 }))]
pub(crate) struct Limits {
    /// Messages in a time, such as `10/min`.
    rate: Option<String>,
    /// Connections at once, 1 or more.
    #[schema(minimum = 1, maximum = 100_000)]
    connections: Option<u32>,
}

/// Limit the mail for a domain, or remove its limits
#[utoipa::path(
    post, path = "/sites/{domain}/slow", tag = "sites", operation_id = "slow_domain",
    security(("key" = ["admin"])),
    params(("domain" = String, Path, description = "The domain")),
    request_body(content = Limits, description = "The limits"),
    responses(
        (status = 200, description = "The change is in force", body = Done),
        (status = 409, description = "Limits of a domain have no effect in Relay Mode", body = Problem, content_type = "application/problem+json"),
        BodyRefusals,
        Refusals
    )
)]
pub(crate) async fn slow(
    Admin(caller): Admin,
    State(console): State<Console>,
    Part(domain): Part,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    let limits: Limits = body::small_json(&headers, body).await?;
    let slow = Slow {
        domain,
        rate: limits.rate,
        connections: limits.connections,
    };
    done(&console, &caller, "rate", slow).await
}

/// Rules that hold new mail.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HoldRules {
    /// The rules, by name.
    rules: Vec<HoldRuleView>,
}

/// List the rules that hold new mail
#[utoipa::path(
    get, path = "/hold-rules", tag = "queue", operation_id = "list_hold_rules",
    security(("key" = ["read"])),
    responses((status = 200, description = "The rules", body = HoldRules), Refusals)
)]
pub(crate) async fn hold_rules(
    Reader(caller): Reader,
    State(console): State<Console>,
) -> Result<Json<HoldRules>, Problem> {
    let rules = console.ask(&caller, "", ops::HoldRules).await?;
    Ok(Json(HoldRules { rules }))
}

/// Which new mail is held.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "filter": "from:newsletter@ domain:example.com" }))]
pub(crate) struct Held {
    /// A filter, as of the queue's list.
    filter: String,
}

/// Hold new mail that a filter matches
#[utoipa::path(
    put, path = "/hold-rules/{name}", tag = "queue", operation_id = "set_hold_rule",
    security(("key" = ["admin"])),
    params(("name" = String, Path, description = "The rule's name")),
    request_body(content = Held, description = "Which mail to hold"),
    responses(
        (status = 200, description = "The change is in force", body = Done),
        BodyRefusals,
        Refusals
    )
)]
pub(crate) async fn set_hold_rule(
    Admin(caller): Admin,
    State(console): State<Console>,
    Part(name): Part,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    let held: Held = body::small_json(&headers, body).await?;
    let rule = ops::HoldRule {
        name,
        filter: Some(held.filter),
    };
    done(&console, &caller, "filter", rule).await
}

/// Remove a rule; mail that it has held stays held
#[utoipa::path(
    delete, path = "/hold-rules/{name}", tag = "queue", operation_id = "remove_hold_rule",
    security(("key" = ["admin"])),
    params(("name" = String, Path, description = "The rule's name")),
    responses(
        (status = 200, description = "The rule is removed", body = Done),
        NotFound,
        Refusals
    )
)]
pub(crate) async fn remove_hold_rule(
    Admin(caller): Admin,
    State(console): State<Console>,
    Part(name): Part,
) -> Result<Json<Done>, Problem> {
    let rule = ops::HoldRule { name, filter: None };
    done(&console, &caller, "name", rule).await
}

/// What is to be ended later, and when.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "verb": "remove", "filter": "domain:example.com", "expect": 12, "after": 60 }))]
pub(crate) struct NewOrder {
    /// `fail`, with a failure message to each sender, or `remove`, silently.
    verb: String,
    /// What a filter matches.
    filter: Option<String>,
    /// Messages, `ID`, or single recipients, `ID/N`; instead of a filter.
    ids: Option<Vec<String>>,
    /// How many recipients that should be; if it is more than one in a hundred more, nothing is done.
    expect: Option<u64>,
    /// Seconds until it is done, 1 to 86400.
    #[schema(minimum = 1, maximum = 86_400)]
    after: u64,
}

/// End waiting recipients a little later
///
/// They are held at once. Until their time has come the order can be undone; it survives a restart.
#[utoipa::path(
    post, path = "/queue/orders", tag = "queue", operation_id = "order_on_queue",
    security(("key" = ["admin"])),
    request_body(content = NewOrder, description = "Which recipients, how, and when"),
    responses(
        (status = 200, description = "The order", body = PendingView),
        BodyRefusals,
        Conflict,
        Refusals
    )
)]
pub(crate) async fn order(
    Admin(caller): Admin,
    State(console): State<Console>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PendingView>, Problem> {
    let new: NewOrder = body::small_json(&headers, body).await?;
    let verb = ops::Verb::of_word(&new.verb);
    let verb = verb.ok_or_else(|| Problem::field("verb", "write `fail` or `remove`"))?;
    let selection = match (new.ids, new.filter) {
        (Some(ids), None) => Selection::Ids(ids),
        (None, Some(filter)) => Selection::Filter(filter),
        _ => return Err(Problem::field("ids", "give either ids or filter")),
    };
    let order = ActLater {
        verb,
        selection,
        expect: new.expect,
        after: new.after,
    };
    console.ask(&caller, "filter", order).await.map(Json)
}

/// Orders that wait.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Orders {
    /// The next one first.
    orders: Vec<PendingView>,
}

/// List the orders that can still be undone
#[utoipa::path(
    get, path = "/queue/orders", tag = "queue", operation_id = "list_orders",
    security(("key" = ["read"])),
    responses((status = 200, description = "The orders", body = Orders), Refusals)
)]
pub(crate) async fn orders(
    Reader(caller): Reader,
    State(console): State<Console>,
) -> Result<Json<Orders>, Problem> {
    let orders = console.ask(&caller, "", ops::Pending).await?;
    Ok(Json(Orders { orders }))
}

/// Undo an order, and release what it has held
#[utoipa::path(
    delete, path = "/queue/orders/{id}", tag = "queue", operation_id = "undo_order",
    security(("key" = ["admin"])),
    params(("id" = String, Path, description = "The order's id")),
    responses(
        (status = 200, description = "The order is undone", body = Done),
        NotFound,
        Refusals
    )
)]
pub(crate) async fn undo(
    Admin(caller): Admin,
    State(console): State<Console>,
    Part(id): Part,
) -> Result<Json<Done>, Problem> {
    done(&console, &caller, "id", ops::Undo(id)).await
}

/// Which address is explained.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// The address.
    address: String,
    /// Ask the mail host as well, up to RCPT. Nothing is sent.
    #[serde(default)]
    probe: bool,
}

/// Where the mail for an address would go now, and why
#[utoipa::path(
    get, path = "/explain", tag = "sites", operation_id = "explain",
    security(("key" = ["admin"])), params(Asked),
    responses((status = 200, description = "The route, step by step", body = Explanation), Refusals)
)]
pub(crate) async fn explain(
    Admin(caller): Admin,
    State(console): State<Console>,
    Params(asked): Params<Asked>,
) -> Result<Json<Explanation>, Problem> {
    let ask = Explain {
        address: asked.address,
        probe: asked.probe,
    };
    let explained = console.ask(&caller, "address", ask);
    explained.await.map(Json)
}

/// Which finished recipients.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Finished {
    /// `delivered`, `failed` or `expired`.
    outcome: Option<String>,
    /// At this domain, or below it when it begins with a dot.
    domain: Option<String>,
    /// From this sender.
    sender: Option<String>,
    /// To this address.
    recipient: Option<String>,
    /// Whose message has this Message-ID, with its angle brackets or without.
    message_id: Option<String>,
    /// Submitted by exactly this user, key (`key=NAME`) or client address.
    user: Option<String>,
    /// Whose message has this tag.
    tag: Option<String>,
    /// Whose message has this metadata, as `NAME=VALUE`.
    #[param(example = "order=4711")]
    meta: Option<String>,
    /// Finished at or after this time (RFC 3339).
    #[param(format = DateTime)]
    since: Option<String>,
    /// Maximum number of entries.
    #[serde(default = "hundred")]
    #[param(minimum = 0, maximum = 1000, default = 100)]
    limit: u64,
    /// How many are passed over first.
    #[serde(default)]
    #[param(minimum = 0, maximum = 1_000_000_000, default = 0)]
    offset: u64,
}

const fn hundred() -> u64 {
    100
}

/// A part of the history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FinishedList {
    /// The recipients, those of the latest message first.
    recipients: Vec<FinishedView>,
}

/// List finished recipients
///
/// A key without the scope `read` sees what was submitted with it.
#[utoipa::path(
    get, path = "/history", tag = "queue", operation_id = "list_history",
    security(("key" = ["read-own"])), params(Finished),
    responses((status = 200, description = "Finished recipients", body = FinishedList), Refusals)
)]
pub(crate) async fn history(
    OwnReader(caller): OwnReader,
    State(console): State<Console>,
    Params(asked): Params<Finished>,
) -> Result<Json<FinishedList>, Problem> {
    body::page(asked.limit, LIMIT_MAX, asked.offset)?;
    let since = match asked.since.as_deref().map(mail::Timestamp::parse_rfc3339) {
        None => None,
        Some(Some(at)) => Some(at.as_millis()),
        Some(None) => {
            let why = "write an RFC 3339 time, such as 2026-01-31T08:00:00Z";
            return Err(Problem::field("since", why));
        }
    };
    let selection = HistorySelection {
        outcome: asked.outcome,
        domain: asked.domain,
        sender: asked.sender,
        recipient: asked.recipient,
        message_id: asked.message_id,
        user: caller.only().or(asked.user),
        tags: asked.tag.into_iter().collect(),
        metadata: asked.meta.into_iter().collect(),
        since,
    };
    let history = History {
        selection,
        limit: asked.limit,
        offset: asked.offset,
    };
    let recipients = console.ask(&caller, "outcome", history).await?;
    Ok(Json(FinishedList { recipients }))
}
