//! The server as a whole: sites, figures, and reading the configuration again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ops::{Answer, Request, SiteView, SourceView};
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::{Admin, Caller, Reader};
use crate::ask::other_answer;
use crate::body::Part;
use crate::code::Code;
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

impl Done {
    fn of(answer: Answer) -> Option<Self> {
        let Answer::Done(message) = answer else {
            return None;
        };
        Some(Self { message })
    }
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
    let sites = console.ask(&caller, "", Request::Sites, |answer| {
        let Answer::Sites { sites, paused } = answer else {
            return None;
        };
        Some(Sites { sites, paused })
    });
    sites.await.map(Json)
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
    let sources = console.ask(&caller, "", Request::Sources, |answer| {
        let Answer::Sources(sources) = answer else {
            return None;
        };
        Some(Sources { sources })
    });
    sources.await.map(Json)
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
    done(&console, &caller, "domain", Request::Pause(domain, true)).await
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
    done(&console, &caller, "domain", Request::Pause(domain, false)).await
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
    let figures = console.ask(&caller, "", Request::Stats, |answer| {
        if let Answer::Stats(figures) = answer {
            Some(figures)
        } else {
            None
        }
    });
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
    let answer = console.backend().carry_out(Request::Reload, caller.name());
    let answer = answer.await.map_err(|why| {
        let problem = Problem::new(StatusCode::CONFLICT, Code::NotReloaded, why);
        problem.remedy("`sendoff check` shows what is wrong, and where.")
    })?;
    Done::of(answer).map(Json).ok_or_else(other_answer)
}

pub(crate) async fn done(
    console: &Console,
    caller: &Caller,
    field: &str,
    request: Request,
) -> Result<Json<Done>, Problem> {
    let done = console.ask(caller, field, request, Done::of);
    done.await.map(Json)
}
