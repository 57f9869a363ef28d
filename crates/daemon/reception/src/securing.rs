//! Securing the connection of a client: from its beginning, or by STARTTLS.

use std::time::Duration;

use net::{HandshakeError, Link, Place, Stream};
use node::Node;
use tokio::net::TcpStream;

/// Said to who is sent away for another.
pub(crate) const MADE_ROOM: &str = "there are too many connections, and yours was idle";
/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(60);

/// Why a client's connection is not secured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSecured {
    /// The two do not come to terms.
    #[error("TLS handshake failed: {0}")]
    Failed(HandshakeError),
    /// Its place was needed.
    #[error("{MADE_ROOM}")]
    MadeRoom,
    /// There is no certificate, or no socket to secure.
    #[error("TLS is not available")]
    Unavailable,
}

/// Secures a connection from its beginning.
pub(crate) async fn handshake(
    tls: &net::ServerTls,
    tcp: TcpStream,
    place: &Place,
) -> Result<Stream, NotSecured> {
    tokio::select! {
        shaken = tls.handshake(tcp, HANDSHAKE_MAX) => {
            shaken.map_err(NotSecured::Failed)
        }
        () = place.lost() => Err(NotSecured::MadeRoom),
    }
}

pub(crate) async fn start_tls(
    node: &Node,
    mut link: Link,
    place: &Place,
) -> Result<Link, NotSecured> {
    let settings = node.settings();
    let (Some(Stream::Plain(tcp)), Some(tls)) = (link.take_stream(), &settings.server_tls) else {
        return Err(NotSecured::Unavailable);
    };
    let stream = handshake(tls, tcp, place).await?;
    Ok(Link::new(stream, node.clock.handle().clone()))
}
