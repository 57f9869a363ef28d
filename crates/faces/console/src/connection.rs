//! What a request came by.

use std::net::IpAddr;

/// What an address answers, besides health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serves {
    /// Everything under `/api/v1`.
    pub api: bool,
    /// `/metrics`.
    pub metrics: bool,
    /// The console's pages.
    pub pages: bool,
}

/// What a request came by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connection {
    /// It is encrypted up to here.
    pub(crate) is_tls: bool,
    /// Its other end; 127.0.0.1 for a unix socket.
    pub(crate) peer: IpAddr,
    pub(crate) is_unix: bool,
    pub(crate) serves: Serves,
}

/// Who asks for a page, as far as the connection says.
#[derive(Debug, Clone, Copy)]
pub struct Visitor {
    /// The client's address, which a reverse proxy may have told.
    pub ip: IpAddr,
    /// Everything between the client and the server, or its reverse proxy, is encrypted.
    pub is_tls: bool,
}
