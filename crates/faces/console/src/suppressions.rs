//! The suppression list: recipients that nothing is sent to.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use ops::{NewSuppression, Suppress, SuppressionSelection, SuppressionView, Unsuppress};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::{Admin, Reader};
use crate::body::{self, Params, Part};
use crate::openapi::{BodyRefusals, NotFound, Refusals};
use crate::problem::Problem;
use crate::server::{Done, done};
use crate::state::Console;

/// Entries in one answer.
const LIMIT_MAX: u64 = 1000;

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entries {
    /// A text that the recipient or scope contains.
    text: Option<String>,
    /// The recipient.
    recipient: Option<String>,
    /// `all`, `@domain`, a sender's address, or `user:NAME`.
    scope: Option<String>,
    /// `failure`, `complaint` or `administrator`.
    cause: Option<String>,
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

/// A part of the suppression list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Suppressions {
    /// The entries, by recipient.
    suppressions: Vec<SuppressionView>,
    /// How many match in all.
    matching: u64,
}

/// List recipients that nothing is sent to
#[utoipa::path(
    get, path = "/suppressions", tag = "suppressions", operation_id = "list_suppressions",
    security(("key" = ["read"])), params(Entries),
    responses((status = 200, description = "The entries", body = Suppressions), Refusals)
)]
pub(crate) async fn list(
    Reader(caller): Reader,
    State(console): State<Console>,
    Params(asked): Params<Entries>,
) -> Result<Json<Suppressions>, Problem> {
    body::page(asked.limit, LIMIT_MAX, asked.offset)?;
    let list = ops::Suppressions {
        selection: SuppressionSelection {
            text: asked.text,
            recipient: asked.recipient,
            scope: asked.scope,
            cause: asked.cause,
        },
        limit: asked.limit,
        offset: asked.offset,
    };
    let found = console.ask(&caller, "recipient", list).await?;
    Ok(Json(Suppressions {
        suppressions: found.entries,
        matching: found.matching,
    }))
}

/// Suppress a recipient: its mail is refused at submission. Mail already queued is still sent
#[utoipa::path(
    post, path = "/suppressions", tag = "suppressions", operation_id = "suppress",
    security(("key" = ["admin"])),
    request_body(content = NewSuppression, description = "The recipient"),
    responses(
        (status = 200, description = "The entry is in force", body = Done),
        BodyRefusals,
        Refusals
    )
)]
pub(crate) async fn add(
    Admin(caller): Admin,
    State(console): State<Console>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    let new: NewSuppression = body::small_json(&headers, body).await?;
    done(&console, &caller, "recipient", Suppress(vec![new])).await
}

/// From which scope a recipient is taken off.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfScope {
    /// The scope; none: all of them.
    scope: Option<String>,
    /// Why, for the audit.
    reason: Option<String>,
}

/// Remove a recipient from the list: mail to it is accepted again at once
#[utoipa::path(
    delete, path = "/suppressions/{recipient}", tag = "suppressions",
    operation_id = "unsuppress",
    security(("key" = ["admin"])),
    params(("recipient" = String, Path, description = "The recipient"), OfScope),
    responses(
        (status = 200, description = "The entry is removed", body = Done),
        NotFound,
        Refusals
    )
)]
pub(crate) async fn remove(
    Admin(caller): Admin,
    State(console): State<Console>,
    Part(recipient): Part,
    Params(from): Params<OfScope>,
) -> Result<Json<Done>, Problem> {
    let unsuppress = Unsuppress {
        recipient,
        scope: from.scope,
        reason: from.reason,
    };
    done(&console, &caller, "recipient", unsuppress).await
}
