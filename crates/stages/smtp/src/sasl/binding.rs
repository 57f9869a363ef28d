//! What names the TLS connection below a login, so that a proof given in it is worth nothing in
//! another (channel binding, RFC 5056).

/// Which name of the connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingKind {
    /// `tls-exporter`: keys of this connection (RFC 9266). TLS 1.3 only: in TLS 1.2 it names one connection only
    /// where both sides extend the master secret.
    TlsExporter,
    /// `tls-server-end-point`: the server's certificate (RFC 5929 §4).
    TlsServerEndPoint,
}

impl BindingKind {
    /// Its registered name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TlsExporter => "tls-exporter",
            Self::TlsServerEndPoint => "tls-server-end-point",
        }
    }
}

/// A name of the connection, as both its ends see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Which it is.
    pub kind: BindingKind,
    /// The name itself.
    pub data: Vec<u8>,
}
