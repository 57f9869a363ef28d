//! As whom a submitter may write, beyond the envelope: what decides whether this server vouches
//! for a mail's authors, and whether it takes the mail at all.

use mail::{Address, Authors, EnhancedCode, Reply, addresses_in, authors};

use crate::Senders;

/// What is asked of the header of mail from somebody who may write as some addresses only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckFrom {
    /// All in From, and the one in Sender, are such addresses.
    #[default]
    From,
    /// The same, or Sender or every Resent-From is one: it sends for others, or sends mail again.
    Sender,
    /// Nothing.
    Off,
}

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
    pub fn refused<'a>(&self, authors: &'a Authors) -> Option<&'a Address> {
        match self {
            Self::None => authors.all().next(),
            Self::Any => None,
            Self::Only(senders) => authors.all().find(|a| !senders.allow(Some(a))),
        }
    }

    /// Whether a mail with this header is taken from this user. From is read as it goes out: what a
    /// reader could take for another author is not a header of a user's.
    pub(crate) fn check(
        &self,
        check: CheckFrom,
        user: Option<&str>,
        content: &[u8],
    ) -> Result<(), Reply> {
        let senders = match self {
            Self::Only(senders) if check != CheckFrom::Off && !senders.are_any() => senders,
            Self::None | Self::Any | Self::Only(_) => return Ok(()),
        };
        let authors = authors(content).map_err(|why| {
            let text = format!(
                "The author cannot be determined: {why}. Name the author in exactly one From field"
            );
            Reply::new(550, Some(EnhancedCode::new(5, 6, 0)), text)
        })?;
        let Some(refused) = self.refused(&authors) else {
            return Ok(());
        };
        let own = |address: &Address| senders.allow(Some(address));
        let again = || addresses_in(content, "Resent-From").unwrap_or_default();
        let sends_for = check == CheckFrom::Sender
            && (authors.sender.as_ref().is_some_and(own)
                || !again().is_empty() && again().iter().all(own));
        match sends_for {
            true => Ok(()),
            false => Err(senders.author_refusal(user, refused)),
        }
    }
}
