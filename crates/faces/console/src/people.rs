//! Who may use the console.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use ops::{AccountView, EndSession, RemoveAccount, Role, SessionView, SetAccount};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Admin;
use crate::body::{self, Part};
use crate::openapi::{BodyRefusals, Conflict, NotFound, Refusals};
use crate::problem::Problem;
use crate::server::{Done, done};
use crate::state::Console;

/// The accounts of the console.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accounts {
    /// By name.
    accounts: Vec<AccountView>,
}

/// List the accounts of the console
#[utoipa::path(
    get, path = "/accounts", tag = "server", operation_id = "list_accounts",
    security(("key" = ["admin"])),
    responses((status = 200, description = "The accounts", body = Accounts), Refusals)
)]
pub(crate) async fn accounts(
    Admin(caller): Admin,
    State(console): State<Console>,
) -> Result<Json<Accounts>, Problem> {
    let accounts = console.ask(&caller, "", ops::Accounts).await?;
    Ok(Json(Accounts { accounts }))
}

/// An account of the console.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
#[schema(example = json!({ "role": "operator", "password": "correct horse battery" }))]
pub(crate) struct Account {
    /// What it may do. Default: as it is; `auditor` for a new one.
    role: Option<Role>,
    /// Its password, at least 10 characters. Default: as it is.
    password: Option<String>,
}

/// Create an account of the console, or change one
///
/// The sessions of an account that is changed end.
#[utoipa::path(
    put, path = "/accounts/{name}", tag = "server", operation_id = "set_account",
    security(("key" = ["admin"])),
    params(("name" = String, Path, description = "The account's name")),
    request_body(content = Account, description = "What is to change"),
    responses(
        (status = 200, description = "The account is set", body = Done),
        BodyRefusals,
        Conflict,
        Refusals
    )
)]
pub(crate) async fn set(
    Admin(caller): Admin,
    State(console): State<Console>,
    Part(name): Part,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    let Account { role, password } = body::small_json(&headers, body).await?;
    let set = SetAccount {
        name,
        role,
        password,
    };
    done(&console, &caller, "password", set).await
}

/// Remove an account of the console
#[utoipa::path(
    delete, path = "/accounts/{name}", tag = "server", operation_id = "remove_account",
    security(("key" = ["admin"])),
    params(("name" = String, Path, description = "The account's name")),
    responses(
        (status = 200, description = "The account is removed, and its sessions are ended", body = Done),
        NotFound,
        Conflict,
        Refusals
    )
)]
pub(crate) async fn remove(
    Admin(caller): Admin,
    State(console): State<Console>,
    Part(name): Part,
) -> Result<Json<Done>, Problem> {
    done(&console, &caller, "name", RemoveAccount(name)).await
}

/// Who is logged in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sessions {
    /// The one used last first.
    sessions: Vec<SessionView>,
}

/// List who is logged in at the console
#[utoipa::path(
    get, path = "/sessions", tag = "server", operation_id = "list_sessions",
    security(("key" = ["admin"])),
    responses((status = 200, description = "The sessions", body = Sessions), Refusals)
)]
pub(crate) async fn sessions(
    Admin(caller): Admin,
    State(console): State<Console>,
) -> Result<Json<Sessions>, Problem> {
    let sessions = console.ask(&caller, "", ops::Sessions).await?;
    Ok(Json(Sessions { sessions }))
}

/// End a session of the console
#[utoipa::path(
    delete, path = "/sessions/{id}", tag = "server", operation_id = "end_session",
    security(("key" = ["admin"])),
    params(("id" = String, Path, description = "The session's id, as the list has it")),
    responses(
        (status = 200, description = "The session is ended", body = Done),
        NotFound,
        Refusals
    )
)]
pub(crate) async fn end(
    Admin(caller): Admin,
    State(console): State<Console>,
    Part(id): Part,
) -> Result<Json<Done>, Problem> {
    done(&console, &caller, "id", EndSession(id)).await
}
