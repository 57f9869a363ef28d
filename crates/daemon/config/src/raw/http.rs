//! The sections about HTTP.

use serde::Deserialize;
use toml::Spanned;

use super::Text;

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Console {
    /// Address and port of the HTTP API; empty: none here. An address other than loopback needs `[tls]` and
    /// uses HTTPS. Default: `127.0.0.1:8025`, unless there is an `[[http]]`.
    pub(crate) address: Text,
    /// Host names accepted in requests to the API, in addition to `hostname` and loopback names.
    pub(crate) hosts: Vec<String>,
    /// The file of the API keys. Default: `keys.toml` in `data_dir`.
    pub(crate) keys: Text,
    /// Networks that may read metrics and health without a key; a client of a unix socket is in 127.0.0.0/8.
    /// Default: loopback.
    pub(crate) metrics_networks: Option<Vec<Spanned<String>>>,
    /// Networks of reverse proxies that are trusted to set X-Forwarded-For or Forwarded (RFC 7239), and
    /// X-Forwarded-Proto;
    /// `"unix:"` for all clients of unix sockets. Default: none.
    pub(crate) proxies: Vec<Spanned<String>>,
    /// Connections at once, to all addresses together. Default: 100.
    pub(crate) max_connections: Option<usize>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http {
    /// Address and port, or `unix:` and the path of a socket, which the server's user and group may use (mode 0660).
    pub(crate) address: Text,
    /// What it serves: `"api"`, `"console"` (the pages for administrators), `"metrics"`; health always. Default: all.
    pub(crate) serves: Option<Vec<Spanned<String>>>,
    /// HTTPS; false only for loopback addresses and unix sockets. Default: true for all other addresses.
    pub(crate) tls: Option<Spanned<bool>>,
}
