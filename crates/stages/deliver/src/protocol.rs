//! Which protocol is spoken with a host.

/// The protocol of a session.
///
/// LMTP (RFC 2033) is SMTP with a greeting of its own and one answer to the content for each recipient that was
/// accepted. The host that speaks it has the mailboxes, so nobody else can take the mail in its place: the
/// content is handed over as it is, whatever the host has offered, and the host says what it cannot store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// To another server.
    #[default]
    Smtp,
    /// To the server that has the mailboxes.
    Lmtp,
}

impl Protocol {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "SMTP",
            Self::Lmtp => "LMTP",
        }
    }

    /// Whether content and addresses that the host has no extension for must be changed, or kept from it.
    pub(crate) const fn needs_extensions(self) -> bool {
        match self {
            Self::Smtp => true,
            Self::Lmtp => false,
        }
    }
}
