//! As whom a submitter may write, beyond the envelope: what decides whether this server vouches
//! for a mail's authors.

use mail::Address;

use crate::Senders;

/// The authors (From) that a submitter may name with this server's word for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Rights {
    /// None: a stranger, whose mail is only received.
    #[default]
    None,
    /// All: an administrator trusts it.
    Any,
    /// These.
    Only(Senders),
}

impl Rights {
    /// The first author that it may not write as.
    #[must_use]
    pub fn refused<'a>(&self, authors: &'a [Address]) -> Option<&'a Address> {
        match self {
            Self::None => authors.first(),
            Self::Any => None,
            Self::Only(senders) => authors.iter().find(|a| !senders.allow(Some(a))),
        }
    }
}
