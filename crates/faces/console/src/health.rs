//! What those who watch the server ask: figures, whether it lives, whether it takes mail in.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::Watcher;
use crate::code::Code;
use crate::metrics;
use crate::problem::Problem;
use crate::state::Console;

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
    /// Faults on this side that prevent mail from leaving, such as a login that a relay refuses: the mail
    /// waits, and this does not count as an attempt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<String>,
    /// What keeps no mail back and needs somebody: a reload of the configuration that was refused, a certificate
    /// that has expired or ends within 21 days.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

const OK: Json<Health> = Json(Health {
    status: "ok",
    faults: Vec::new(),
    warnings: Vec::new(),
});

/// Whether the process is running
#[utoipa::path(
    get, path = "/healthz", tag = "watching", operation_id = "healthz",
    responses(
        (status = 200, description = "The process is running", body = Health),
        (status = 403, description = "The client's address is not in console.metrics_networks", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn healthz(_: Watcher) -> Json<Health> {
    OK
}

/// Whether mail can be accepted
#[utoipa::path(
    get, path = "/readyz", tag = "watching", operation_id = "readyz",
    responses(
        (status = 200, description = "Mail can be accepted", body = Health),
        (status = 403, description = "The client's address is not in console.metrics_networks", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Mail would be refused; `detail` gives the reason", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn readyz(
    _: Watcher,
    State(console): State<Console>,
) -> Result<Json<Health>, Problem> {
    match console.backend().trouble().await {
        None => Ok(Json(Health {
            status: "ok",
            faults: console.backend().faults(),
            warnings: console.backend().warnings(),
        })),
        Some(why) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::NotReady,
            why,
        )),
    }
}

/// Metrics for Prometheus
///
/// In the OpenMetrics text format; docs/metrics.md says what each is.
#[utoipa::path(
    get, path = "/metrics", tag = "watching", operation_id = "metrics",
    responses(
        (status = 200, description = "The metrics", body = String, content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (status = 403, description = "The client's address is not in console.metrics_networks", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn figures(
    _: Watcher,
    State(console): State<Console>,
) -> Result<Response, Problem> {
    let figures = console.backend().figures().await;
    let text = metrics::text(&figures).map_err(|e| Problem::unavailable(e.to_string()))?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}
