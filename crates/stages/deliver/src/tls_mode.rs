//! What is done about TLS with a host.

/// What is done about TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// Never.
    None,
    /// Where offered; clear text where it fails.
    #[default]
    Opportunistic,
    /// Always; who the peer is need not be proved.
    Require,
    /// Always, and the peer proves its name.
    Verify,
    /// As `Verify`, from the first octet (RFC 8314 §3.3).
    Implicit,
}

impl TlsMode {
    /// Whether clear text is out of the question.
    #[must_use]
    pub const fn is_mandatory(self) -> bool {
        matches!(self, Self::Require | Self::Verify | Self::Implicit)
    }
}
