//! The server as a whole: sites, figures, and reading the configuration again.

use axum::Json;
use axum::extract::State;
use ops::{Ask, Pause, SiteView, SourceView};
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::{Admin, Caller, Reader};
use crate::body::Part;
use crate::openapi::Refusals;
use crate::problem::Problem;
use crate::state::Console;

/// Where mail goes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sites {
    /// The sites, those with the most due first.
    sites: Vec<SiteView>,
    /// Domains that are paused.
    paused: Vec<String>,
}

/// That something was done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    /// What was done, in words.
    message: String,
}

/// List the sites that mail goes to
#[utoipa::path(
    get, path = "/sites", tag = "sites", operation_id = "list_sites",
    security(("key" = ["read"])),
    responses((status = 200, description = "The sites", body = Sites), Refusals)
)]
pub(crate) async fn sites(
    Reader(caller): Reader,
    State(console): State<Console>,
) -> Result<Json<Sites>, Problem> {
    let found = console.ask(&caller, "", ops::Sites).await?;
    let ops::SitesView { sites, paused } = found;
    Ok(Json(Sites { sites, paused }))
}

/// The addresses that mail leaves from
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sources {
    /// In the order of the configuration.
    sources: Vec<SourceView>,
}

/// List the addresses that mail leaves from
#[utoipa::path(
    get, path = "/sources", tag = "server", operation_id = "list_sources",
    security(("key" = ["read"])),
    responses((status = 200, description = "The source addresses, and their state", body = Sources), Refusals)
)]
pub(crate) async fn sources(
    Reader(caller): Reader,
    State(console): State<Console>,
) -> Result<Json<Sources>, Problem> {
    let sources = console.ask(&caller, "", ops::Sources).await?;
    Ok(Json(Sources { sources }))
}

/// Stop sending to a domain; its mail waits
#[utoipa::path(
    post, path = "/sites/{domain}/pause", tag = "sites", operation_id = "pause_domain",
    security(("key" = ["admin"])),
    params(("domain" = String, Path, description = "The domain")),
    responses((status = 200, description = "The domain is paused", body = Done), Refusals)
)]
pub(crate) async fn pause(
    Admin(caller): Admin,
    State(console): State<Console>,
    Part(domain): Part,
) -> Result<Json<Done>, Problem> {
    done(&console, &caller, "domain", Pause { domain, on: true }).await
}

/// Send to a paused domain again
#[utoipa::path(
    post, path = "/sites/{domain}/resume", tag = "sites", operation_id = "resume_domain",
    security(("key" = ["admin"])),
    params(("domain" = String, Path, description = "The domain")),
    responses((status = 200, description = "The domain is no longer paused", body = Done), Refusals)
)]
pub(crate) async fn resume(
    Admin(caller): Admin,
    State(console): State<Console>,
    Part(domain): Part,
) -> Result<Json<Done>, Problem> {
    done(&console, &caller, "domain", Pause { domain, on: false }).await
}

/// Metrics by name, counted since the start
#[utoipa::path(
    get, path = "/stats", tag = "server", operation_id = "stats",
    security(("key" = ["read"])),
    responses((status = 200, description = "The metrics", body = std::collections::BTreeMap<String, u64>), Refusals)
)]
pub(crate) async fn stats(
    Reader(caller): Reader,
    State(console): State<Console>,
) -> Result<Json<serde_json::Map<String, serde_json::Value>>, Problem> {
    let figures = console.ask(&caller, "", ops::Stats);
    figures.await.map(Json)
}

/// Read the configuration again
#[utoipa::path(
    post, path = "/reload", tag = "server", operation_id = "reload",
    security(("key" = ["admin"])),
    responses(
        (status = 200, description = "The new configuration is in force", body = Done),
        (status = 409, description = "The configuration has an error, or needs a restart; nothing was changed", body = Problem, content_type = "application/problem+json"),
        Refusals
    )
)]
pub(crate) async fn reload(
    Admin(caller): Admin,
    State(console): State<Console>,
) -> Result<Json<Done>, Problem> {
    done(&console, &caller, "", ops::Reload).await
}

pub(crate) async fn done<A: Ask<Answer = ops::Done>>(
    console: &Console,
    caller: &Caller,
    field: &str,
    ask: A,
) -> Result<Json<Done>, Problem> {
    let ops::Done(message) = console.ask(caller, field, ask).await?;
    Ok(Json(Done { message }))
}
