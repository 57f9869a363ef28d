//! Refusals of mails that come whole: the reply, and what of it a program needs to know.

use std::time::Duration;

use mail::Reply;

/// What a refusal is about, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A quota is used up; there is room again after this time.
    Quota(Duration),
    /// The recipient is on the suppression list.
    Suppressed,
    /// The address is one of ours by its domain, and stands for nobody, or no longer.
    BadAddress,
    /// It is in a local domain, and no mailboxes are configured.
    NoMailboxes,
    /// The message has more recipients than one may have.
    TooMany,
    /// It is at the domain of test addresses, which has no such name.
    UnknownTest,
    /// Anything else; the reply says it.
    Other,
}

impl Reason {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Quota(_) => "quota",
            Self::Suppressed => "suppressed",
            Self::BadAddress => "bad-address",
            Self::NoMailboxes => "no-mailboxes",
            Self::TooMany => "too-many",
            Self::UnknownTest => "unknown-test-address",
            Self::Other => "refused",
        }
    }
}

/// Why a mail, or one of its recipients, is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reply, as SMTP says it.
    pub reply: Reply,
    /// What it is about.
    pub reason: Reason,
    /// The reply's text for users of a program: without what an administrator could do. `None`: as it is.
    pub plain: Option<String>,
    /// That of each recipient, in their order, where a mail is refused because all of them are.
    pub recipients: Vec<Self>,
}

impl Refusal {
    /// A refusal for a reason.
    #[must_use]
    pub const fn new(reason: Reason, reply: Reply) -> Self {
        Self {
            reply,
            reason,
            plain: None,
            recipients: Vec::new(),
        }
    }

    /// The reason in words that may be shown to users.
    #[must_use]
    pub fn text(&self) -> &str {
        self.plain.as_deref().unwrap_or(&self.reply.text)
    }
}

impl From<Reply> for Refusal {
    fn from(reply: Reply) -> Self {
        Self::new(Reason::Other, reply)
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        refusal.reply
    }
}
