//! A TLSA record.

/// What a zone says of a host's certificates (RFC 6698 §2.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tlsa {
    /// Certificate usage: 2, a trust anchor of the domain's own (DANE-TA); 3, the host's own
    /// certificate (DANE-EE).
    pub usage: u8,
    /// Selector: 0, the whole certificate; 1, its public key (SubjectPublicKeyInfo).
    pub selector: u8,
    /// Matching type: 0, as it is; 1, its SHA-256; 2, its SHA-512.
    pub matching: u8,
    /// Certificate association data.
    pub data: Vec<u8>,
}
