//! The server's log.

use axum::Json;
use axum::extract::State;
use ops::{FollowLog, LogTailView, LogView, SearchLog};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::access::Reader;
use crate::body::Params;
use crate::openapi::Refusals;
use crate::problem::Problem;
use crate::state::Console;

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Searched {
    /// Words that all stand in the line, whatever the case; what has blanks stands in quotation marks.
    #[serde(default)]
    #[param(max_length = 500, example = "deferred example.com")]
    words: String,
    /// Since this time (RFC 3339), or how long ago, such as `2h`.
    since: Option<String>,
    /// Maximum number of lines.
    #[serde(default = "hundred")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: u64,
}

const fn hundred() -> u64 {
    100
}

/// Search the log: the latest lines
#[utoipa::path(
    get, path = "/log", tag = "server", operation_id = "search_log",
    security(("key" = ["read"])), params(Searched),
    responses(
        (status = 200, description = "The lines", body = LogView),
        (status = 409, description = "The log goes to standard output", body = Problem, content_type = "application/problem+json"),
        Refusals
    )
)]
pub(crate) async fn search(
    Reader(caller): Reader,
    State(console): State<Console>,
    Params(asked): Params<Searched>,
) -> Result<Json<LogView>, Problem> {
    let ask = SearchLog {
        words: asked.words,
        since: asked.since,
        limit: asked.limit,
    };
    console.ask(&caller, "words", ask).await.map(Json)
}

/// From where on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Followed {
    /// Only lines with all of these words.
    #[serde(default)]
    #[param(max_length = 500)]
    words: String,
    /// `next` of the answer before; none: the end, as it is now.
    after: Option<String>,
}

/// Follow the log: what was written after a place
#[utoipa::path(
    get, path = "/log/tail", tag = "server", operation_id = "follow_log",
    security(("key" = ["read"])), params(Followed),
    responses(
        (status = 200, description = "The lines, and the place after them", body = LogTailView),
        (status = 409, description = "The log goes to standard output", body = Problem, content_type = "application/problem+json"),
        Refusals
    )
)]
pub(crate) async fn tail(
    Reader(caller): Reader,
    State(console): State<Console>,
    Params(asked): Params<Followed>,
) -> Result<Json<LogTailView>, Problem> {
    let ask = FollowLog {
        words: asked.words,
        after: asked.after,
    };
    console.ask(&caller, "after", ask).await.map(Json)
}
