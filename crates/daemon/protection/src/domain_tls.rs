//! What a domain asks for about TLS, as far as it was found out.

use std::sync::Arc;

use mail::Domain;

use crate::sts::Sts;

/// What a domain's DNS says about the protection of its mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainTls {
    /// Whose recipients.
    pub domain: Domain,
    /// Where its mail goes is signed (DNSSEC).
    pub(crate) secure: bool,
    /// Its published policy (MTA-STS).
    pub sts: Option<Arc<Sts>>,
    /// More could be known: DNS was not validated though it should be, or a policy was not to be had.
    pub(crate) doubtful: bool,
}

impl DomainTls {
    /// Whether the domain asks for anything.
    pub(crate) const fn asks(&self) -> bool {
        self.secure || self.sts.is_some() || self.doubtful
    }
}
