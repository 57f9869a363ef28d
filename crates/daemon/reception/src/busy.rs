//! What clients hear for whom there is no place.

use std::net::SocketAddr;
use std::time::Duration;

use intake::Busy;
use net::Full;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::{Reception, floods};

/// How long who is sent away for another may take to hear it, ...
pub(crate) const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

/// Tells a client that there are too many, and ends its connection.
pub(crate) async fn turn_away(
    reception: &Reception,
    mut stream: TcpStream,
    peer: SocketAddr,
    full: Full,
) {
    let (busy, why) = match full {
        Full::All => (
            Busy::All,
            "too many connections in all (intake.max_connections)",
        ),
        Full::Source => (
            Busy::Source,
            "too many connections from one address (intake.max_connections_per_source)",
        ),
        Full::Network => (
            Busy::Network,
            "too many connections from one network (intake.max_connections_per_network)",
        ),
    };
    floods::tell(reception, peer.ip(), "turned-away", &[("why", Some(why))]);
    let text = intake::busy(reception.node.settings().config.hostname.as_str(), busy);
    // Whether the client reads it is its own affair.
    drop(tokio::time::timeout(LAST_WORDS_MAX, stream.write_all(&text)).await);
}
