//! The server over a time: overview, series, and what administrators did.

use axum::Json;
use axum::extract::State;
use mail::Timestamp;
use ops::{ActsView, OverviewView, SeriesSelection, SeriesView};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::access::Reader;
use crate::body::{self, Params};
use crate::openapi::Refusals;
use crate::problem::Problem;
use crate::state::Console;

/// Entries of a page at most.
const LIMIT_MAX: u64 = 1000;

/// How the server fares
///
/// In one sentence, in numbers, and what needs somebody.
#[utoipa::path(
    get, path = "/overview", tag = "server", operation_id = "overview",
    security(("key" = ["read"])),
    responses((status = 200, description = "The overview", body = OverviewView), Refusals)
)]
pub(crate) async fn overview(
    Reader(caller): Reader,
    State(console): State<Console>,
) -> Result<Json<OverviewView>, Problem> {
    let overview = console.ask(&caller, "", ops::Overview);
    overview.await.map(Json)
}

/// Which series.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counted {
    /// `minute` (kept for 48 hours; by `total` and `waiting` only) or `hour` (kept for a year).
    #[serde(default = "hour")]
    #[param(default = "hour")]
    step: String,
    /// What it is counted by: `total`, `domain`, `submitter`, `site` (a provider, or a registered domain), `refusal` (the
    /// kind and the site) or `waiting` (the age of what waits).
    #[serde(default = "total")]
    #[param(default = "total")]
    by: String,
    /// Of this domain, submitter, site, refusal or age alone.
    key: Option<String>,
    /// From this time on (RFC 3339).
    #[param(format = DateTime)]
    since: String,
    /// And before this one (RFC 3339). Default: until now.
    #[param(format = DateTime)]
    until: Option<String>,
    /// One point for each key, over all of the time, the largest first.
    #[serde(default)]
    summed: bool,
}

fn hour() -> String {
    "hour".to_owned()
}

fn total() -> String {
    "total".to_owned()
}

fn time(field: &str, text: &str) -> Result<u64, Problem> {
    let at = Timestamp::parse_rfc3339(text).map(Timestamp::as_millis);
    at.ok_or_else(|| {
        let why = "write an RFC 3339 time, such as 2026-01-31T08:00:00Z";
        Problem::field(field, why)
    })
}

/// What was counted over a time
///
/// Recipients by minute or by hour: in total, or by domain, submitter, site or refusal. Of each hour the 50 largest are
/// kept by name, and the others together as `*`. Mail of test keys is not counted.
#[utoipa::path(
    get, path = "/series", tag = "server", operation_id = "series",
    security(("key" = ["read"])), params(Counted),
    responses((status = 200, description = "The series", body = SeriesView), Refusals)
)]
pub(crate) async fn series(
    Reader(caller): Reader,
    State(console): State<Console>,
    Params(asked): Params<Counted>,
) -> Result<Json<SeriesView>, Problem> {
    let until = asked.until.as_deref();
    let selection = SeriesSelection {
        step: asked.step,
        by: asked.by,
        key: asked.key,
        since: time("since", &asked.since)?,
        until: until.map(|text| time("until", text)).transpose()?,
        summed: asked.summed,
    };
    let series = console.ask(&caller, "by", ops::Series(selection));
    series.await.map(Json)
}

/// Which acts.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Before {
    /// Only those in front of this place: `next` of the page before.
    #[param(minimum = 0, maximum = 9_223_372_036_854_775_807_u64)]
    before: Option<u64>,
    /// Maximum number of entries.
    #[serde(default = "hundred")]
    #[param(minimum = 0, maximum = 1000, default = 100)]
    limit: u64,
}

const fn hundred() -> u64 {
    100
}

/// What administrators did, the latest first
///
/// Who changed what, by console, API and command line; kept for a year. Reading a mail's content is among it.
#[utoipa::path(
    get, path = "/audit", tag = "server", operation_id = "audit",
    security(("key" = ["read"])), params(Before),
    responses((status = 200, description = "The acts", body = ActsView), Refusals)
)]
pub(crate) async fn audit(
    Reader(caller): Reader,
    State(console): State<Console>,
    Params(asked): Params<Before>,
) -> Result<Json<ActsView>, Problem> {
    body::page(asked.limit, LIMIT_MAX, 0)?;
    if asked
        .before
        .is_some_and(|place| i64::try_from(place).is_err())
    {
        return Err(Problem::field("before", "there is no such place"));
    }
    let acts = ops::Acts {
        before: asked.before,
        limit: asked.limit,
    };
    console.ask(&caller, "before", acts).await.map(Json)
}
