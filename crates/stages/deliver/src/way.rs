//! How a connection to a host is protected.

/// How a connection is protected; each way is tried when the one before it has failed, and no policy
/// forbids it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// As TLS is best.
    Usual,
    /// With a handshake that begins with a single packet: the usual one was met with silence.
    SmallHello,
    /// Without TLS: the handshake has just failed.
    Clear,
}
