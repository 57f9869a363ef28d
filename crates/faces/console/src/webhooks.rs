//! Events, and the webhooks that are told of them.

#![expect(
    unused_qualifications,
    reason = "what the macro of the paths writes for a query"
)]

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use ops::{
    EventSelection, EventType, ListedEvent, Replay, TestWebhook, Webhook, WebhookTested,
    WebhookVerb, WebhookView,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::{Admin, OwnReader, Reader};
use crate::body::{self, Params, Part};
use crate::openapi::{BodyRefusals, Conflict, NotFound, Refusals};
use crate::problem::Problem;
use crate::server::{Done, done};
use crate::state::Console;

/// Events in one answer.
const LIMIT_MAX: u64 = 1000;

/// The last place that an event can have: places are kept as signed numbers of 64 bits.
const PLACE_MAX: u64 = i64::MAX as u64;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Behind {
    /// After this place: `last` of the answer before.
    #[serde(default)]
    #[param(minimum = 0, maximum = 9_223_372_036_854_775_807_u64, default = 0)]
    after: u64,
    /// Maximum number of entries.
    #[serde(default = "hundred")]
    #[param(minimum = 0, maximum = 1000, default = 100)]
    limit: u64,
    /// Only of these types, with commas.
    #[serde(default)]
    types: String,
}

const fn hundred() -> u64 {
    100
}

/// Events that are kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Events {
    /// The events, in their order.
    events: Vec<ListedEvent>,
    /// The last place that was read, those of events that the key does not see or that were not asked for included: use it
    /// as `after` in the next request.
    last: u64,
}

/// List events: what happened to each recipient, in order
///
/// A key without the scope `read` sees those of mail that was submitted with it. `after` beyond the last place that there
/// ever was is refused with 409 `unknown-place`: the server's data was reset or restored, so begin again with `after=0`.
#[utoipa::path(
    get, path = "/events", tag = "events", operation_id = "list_events",
    security(("key" = ["read-own"])),
    params(Behind),
    responses((status = 200, description = "The events", body = Events), Conflict, Refusals)
)]
pub(crate) async fn events(
    OwnReader(caller): OwnReader,
    State(console): State<Console>,
    Params(asked): Params<Behind>,
) -> Result<Json<Events>, Problem> {
    body::page(asked.limit, LIMIT_MAX, 0)?;
    if asked.after > PLACE_MAX {
        return Err(Problem::field(
            "after",
            format!("it is at most {PLACE_MAX}"),
        ));
    }
    let words = asked.types.split(',').map(str::trim);
    let types = words.filter(|word| !word.is_empty());
    let types: Result<Vec<EventType>, _> = types.map(EventType::of_word).collect();
    let events = ops::Events(EventSelection {
        after: asked.after,
        limit: asked.limit,
        types: types.map_err(|why| Problem::field("types", why.to_string()))?,
        key: caller.only(),
    });
    let found = console.ask(&caller, "after", events).await?;
    let ops::EventsView { events, last } = found;
    Ok(Json(Events { events, last }))
}

/// The webhooks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Webhooks {
    /// Each with how it fares.
    webhooks: Vec<WebhookView>,
}

/// List the webhooks, and how far each has got
#[utoipa::path(
    get, path = "/webhooks", tag = "events", operation_id = "list_webhooks",
    security(("key" = ["read"])),
    responses((status = 200, description = "The webhooks", body = Webhooks), Refusals)
)]
pub(crate) async fn list(
    Reader(caller): Reader,
    State(console): State<Console>,
) -> Result<Json<Webhooks>, Problem> {
    let webhooks = console.ask(&caller, "name", ops::Webhooks).await?;
    Ok(Json(Webhooks { webhooks }))
}

const fn of(name: String, verb: WebhookVerb) -> Webhook {
    Webhook { name, verb }
}

/// Send an example to a webhook now
#[utoipa::path(
    post, path = "/webhooks/{name}/test", tag = "events", operation_id = "test_webhook",
    security(("key" = ["admin"])),
    params(("name" = String, Path, description = "The webhook")),
    responses(
        (status = 200, description = "The answer of the receiver", body = WebhookTested),
        NotFound,
        Refusals
    )
)]
pub(crate) async fn test(
    Admin(caller): Admin,
    State(console): State<Console>,
    Part(name): Part,
) -> Result<Json<WebhookTested>, Problem> {
    let tested = console.ask(&caller, "name", TestWebhook(name));
    tested.await.map(Json)
}

/// Send nothing more to a webhook; its events wait
#[utoipa::path(
    post, path = "/webhooks/{name}/pause", tag = "events", operation_id = "pause_webhook",
    security(("key" = ["admin"])),
    params(("name" = String, Path, description = "The webhook")),
    responses((status = 200, description = "The webhook is paused", body = Done), NotFound, Refusals)
)]
pub(crate) async fn pause(
    Admin(caller): Admin,
    State(console): State<Console>,
    Part(name): Part,
) -> Result<Json<Done>, Problem> {
    let request = of(name, WebhookVerb::Pause);
    done(&console, &caller, "name", request).await
}

/// Send events to a paused webhook again, from where it stopped; also to one that answered 410
#[utoipa::path(
    post, path = "/webhooks/{name}/resume", tag = "events", operation_id = "resume_webhook",
    security(("key" = ["admin"])),
    params(("name" = String, Path, description = "The webhook")),
    responses((status = 200, description = "Events are sent again", body = Done), NotFound, Refusals)
)]
pub(crate) async fn resume(
    Admin(caller): Admin,
    State(console): State<Console>,
    Part(name): Part,
) -> Result<Json<Done>, Problem> {
    let request = of(name, WebhookVerb::Resume);
    done(&console, &caller, "name", request).await
}

/// Retry a webhook now that waits after a failure
#[utoipa::path(
    post, path = "/webhooks/{name}/retry", tag = "events", operation_id = "retry_webhook",
    security(("key" = ["admin"])),
    params(("name" = String, Path, description = "The webhook")),
    responses((status = 200, description = "The webhook is being retried", body = Done), NotFound, Conflict, Refusals)
)]
pub(crate) async fn retry(
    Admin(caller): Admin,
    State(console): State<Console>,
    Part(name): Part,
) -> Result<Json<Done>, Problem> {
    done(&console, &caller, "name", of(name, WebhookVerb::Retry)).await
}

/// Resend the events of a period; event ids are unchanged
#[utoipa::path(
    post, path = "/webhooks/{name}/replay", tag = "events", operation_id = "replay_webhook",
    security(("key" = ["admin"])),
    params(("name" = String, Path, description = "The webhook")),
    request_body(content = Replay, description = "Which events"),
    responses(
        (status = 200, description = "The replay has started", body = Done),
        NotFound, Conflict, BodyRefusals, Refusals
    )
)]
pub(crate) async fn replay(
    Admin(caller): Admin,
    State(console): State<Console>,
    Part(name): Part,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    let asked: Replay = body::small_json(&headers, body).await?;
    let request = of(name, WebhookVerb::Replay(asked));
    done(&console, &caller, "since", request).await
}

/// End the replay in progress
#[utoipa::path(
    delete, path = "/webhooks/{name}/replay", tag = "events", operation_id = "end_replay",
    security(("key" = ["admin"])),
    params(("name" = String, Path, description = "The webhook")),
    responses((status = 200, description = "The replay has ended", body = Done), NotFound, Refusals)
)]
pub(crate) async fn end_replay(
    Admin(caller): Admin,
    State(console): State<Console>,
    Part(name): Part,
) -> Result<Json<Done>, Problem> {
    let request = of(name, WebhookVerb::EndReplay);
    done(&console, &caller, "name", request).await
}
