//! The shell around the sans-io stages: sockets, TLS, DNS and the clock. The only crate besides
//! the binary that knows tokio, and the only one that knows the resolver and rustls.
//!
//! Nothing is decided here. A [`Link`] moves bytes between a socket and a protocol machine;
//! [`connect()`] races addresses; [`Dns`] asks; [`ClientTls`] and [`ServerTls`] shake hands.

mod certificate;
mod certificate_file;
mod clock;
mod connect;
mod dns;
mod egress;
mod end_point;
mod files;
mod http;
mod link;
mod listen;
mod named;
mod people;
mod places;
mod proxied;
mod shares;
mod stream;
mod system;
mod tls;
mod tls_verifier;

pub use certificate_file::CertificateFile;
pub use clock::{now, system_clock};
pub use connect::{ConnectError, Connected, connect, connect_by};
pub use dns::{
    Alias, Answer, Dns, DnsFinding, DnsServer, DnsSetUpError, DnsSettings, Dnssec, LookupError,
    MxFound, ResolverError, Security, detect_servers,
};
pub use egress::{Path, Proxy, ProxyProtocol};
pub use files::{Fresh, create_private, make_dir, open_appending, write_private};
pub use http::{HttpAnswer, HttpError, HttpRequest, KeptHttp, ParseUrlError, WebUrl, http};
pub use link::{Link, Turn};
pub use listen::{bind, bind_unix};
pub use named::{NoAddresses, addresses_of};
pub use people::Person;
pub use places::{Full, Place, Places, Room, Standing};
pub use proxied::{NotProxied, proxied};
pub use shares::{Hold, Holder, Largest, Origin, Shares};
pub use stream::Stream;
pub use system::addresses_by_system;
pub use tls::{
    ClientTls, HandshakeError, Hello, ServerTls, Shaken, TlsFailure, TlsFailureKind, TlsLoadError,
    Trust,
};

#[cfg(test)]
mod tests;
