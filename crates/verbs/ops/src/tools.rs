//! What was found out about other servers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a domain's mail goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MxView {
    /// The domain.
    pub domain: String,
    /// Who decides: `dns`, `rule` (Via SMTP), or `relay` (Relay Mode).
    pub by: String,
    /// Why its mail goes nowhere, in words.
    pub error: Option<String>,
    /// The hosts, in the order in which they are tried.
    pub hosts: Vec<MxHostView>,
}

/// One of the hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MxHostView {
    /// Its preference: lower ones are tried first.
    pub preference: u16,
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The addresses that may be connected to.
    pub addresses: Vec<String>,
    /// Why it is not used, in words.
    pub error: Option<String>,
}

/// What a mail server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhatSmtpView {
    /// The server that was asked for.
    pub server: String,
    /// The address and port that answered.
    pub address: String,
    /// Milliseconds until it was connected to.
    pub connected_ms: u64,
    /// Milliseconds until it greeted.
    pub greeted_ms: u64,
    /// Its greeting.
    pub greeting: String,
    /// The extensions that it offers, after TLS where there is any.
    pub offers: Vec<String>,
    /// Version and cipher of TLS, which proves no name here; or why there is none.
    pub tls: String,
    /// What was said, line by line: ours begin with `>`, and the server's with `<`.
    pub dialog: Vec<String>,
}
