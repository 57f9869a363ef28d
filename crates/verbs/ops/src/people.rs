//! Who may use the console, and who does.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::right::Role;

/// An account of the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountView {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whether it needs a one-time password.
    pub totp: bool,
}

/// Somebody who is logged in at the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// Names the session; it lets nobody in.
    pub id: String,
    /// The account; `link` for who came by a link.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The address that it was begun from.
    pub peer: String,
    /// Since when.
    #[schema(format = DateTime)]
    pub since: String,
    /// When it was used last.
    #[schema(format = DateTime)]
    pub used: String,
}

/// A link to the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleLinkView {
    /// Its path and query.
    pub path: String,
    /// The addresses at which the console answers, such as `http://127.0.0.1:8025`.
    pub at: Vec<String>,
    /// Minutes for which it lets somebody in.
    pub minutes: u64,
}
