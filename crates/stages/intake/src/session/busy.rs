//! What is said to a connection that is turned away.

use bytes::{Bytes, BytesMut};
use mail::{EnhancedCode, Reply};

/// Why a connection is turned away before it is a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy {
    /// There are too many connections in all.
    All,
    /// There are too many from this address.
    Source,
    /// There are too many from its network.
    Network,
}

/// What to send to a connection that is turned away, before closing it.
#[must_use]
pub fn busy(hostname: &str, why: Busy) -> Bytes {
    let (detail, text) = match why {
        Busy::All => ((3, 2), "Too many connections: try again later"),
        Busy::Source => (
            (7, 0),
            "Too many connections from your address: close some first",
        ),
        Busy::Network => (
            (7, 0),
            "Too many connections from your network: try again later",
        ),
    };
    let enhanced = EnhancedCode::new(4, detail.0, detail.1);
    let mut out = BytesMut::new();
    let reply = Reply::new(421, Some(enhanced), format!("{hostname}: {text}"));
    smtp::reply::write(&reply, &mut out);
    out.freeze()
}
