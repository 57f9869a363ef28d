//! Other servers, asked for administrators.

use axum::Json;
use axum::extract::State;
use ops::{LookUpMx, MxView, WhatSmtp, WhatSmtpView};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::access::Admin;
use crate::body::Params;
use crate::openapi::{NotFound, Refusals};
use crate::problem::Problem;
use crate::state::Console;

/// Which domain.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfDomain {
    /// The domain.
    #[param(example = "example.com")]
    domain: String,
}

/// Look up where a domain's mail goes
///
/// By the server's own resolver and rules; at most six times a minute for a key.
#[utoipa::path(
    get, path = "/mx", tag = "sites", operation_id = "look_up_mx",
    security(("key" = ["admin"])), params(OfDomain),
    responses(
        (status = 200, description = "The hosts, or why there are none", body = MxView),
        (status = 409, description = "Asked too often, or DNS does not answer", body = Problem, content_type = "application/problem+json"),
        NotFound,
        Refusals
    )
)]
pub(crate) async fn mx(
    Admin(caller): Admin,
    State(console): State<Console>,
    Params(asked): Params<OfDomain>,
) -> Result<Json<MxView>, Problem> {
    let ask = LookUpMx(asked.domain);
    console.ask(&caller, "domain", ask).await.map(Json)
}

/// Which server.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfServer {
    /// The server: `host`, `host:port`, `[ip]` or `[ip]:port`; port 25 where none is given.
    #[param(max_length = 300, example = "mx.example.com")]
    server: String,
}

/// Ask a mail server what it is
///
/// Its greeting, what it offers, and TLS; nothing is sent. Servers on this computer and in private networks are asked only
/// where the configuration names them; at most six times a minute for a key.
#[utoipa::path(
    get, path = "/what-smtp", tag = "sites", operation_id = "what_smtp",
    security(("key" = ["admin"])), params(OfServer),
    responses(
        (status = 200, description = "What it says of itself", body = WhatSmtpView),
        (status = 409, description = "The server may not be asked, not so often, or does not answer", body = Problem, content_type = "application/problem+json"),
        NotFound,
        Refusals
    )
)]
pub(crate) async fn what_smtp(
    Admin(caller): Admin,
    State(console): State<Console>,
    Params(asked): Params<OfServer>,
) -> Result<Json<WhatSmtpView>, Problem> {
    let ask = WhatSmtp(asked.server);
    console.ask(&caller, "server", ask).await.map(Json)
}
