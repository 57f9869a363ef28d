//! What a request came by.

use std::net::IpAddr;

/// What an address answers, besides health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serves {
    /// Everything under `/api/v1`.
    pub api: bool,
    /// `/metrics`.
    pub metrics: bool,
}

/// What a request came by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connection {
    /// Its other end; 127.0.0.1 for a unix socket.
    pub(crate) peer: IpAddr,
    pub(crate) is_unix: bool,
    pub(crate) serves: Serves,
}
