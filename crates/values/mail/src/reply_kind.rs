//! What a refusal is about, in the words of those who send mail.

use std::fmt;

/// The reason behind a reply that was not a success. There are no other kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReplyKind {
    /// A stranger is asked to come again later (greylisting, RFC 6647).
    Greylisted,
    /// Too much in too short a time: mails, connections or recipients.
    RateLimited,
    /// The address or domain that sends has a bad name, or stands on a blocklist.
    Blocked,
    /// SPF, DKIM, DMARC or reverse DNS of the sender did not hold.
    AuthPolicy,
    /// The content looks like spam, or holds what is not let in.
    Content,
    /// The mailbox has no room.
    MailboxFull,
    /// There is no such mailbox.
    NoSuchUser,
    /// The mailbox is there, and takes no mail: closed, suspended, long unused.
    InactiveUser,
    /// The host does not take mail for that domain from us, or wants a login.
    RelayDenied,
    /// The message is too large.
    MessageTooLarge,
    /// A rule of the recipient's side that is none of the others.
    Policy,
    /// DNS has no answer, or none that mail can follow.
    Dns,
    /// TLS is wanted, and is not had as it is wanted.
    Tls,
    /// The host has trouble of its own, or is not there.
    ServerTrouble,
    /// Nobody knows.
    Unknown,
}

impl ReplyKind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Greylisted,
        Self::RateLimited,
        Self::Blocked,
        Self::AuthPolicy,
        Self::Content,
        Self::MailboxFull,
        Self::NoSuchUser,
        Self::InactiveUser,
        Self::RelayDenied,
        Self::MessageTooLarge,
        Self::Policy,
        Self::Dns,
        Self::Tls,
        Self::ServerTrouble,
        Self::Unknown,
    ];

    /// The words of all kinds, in the order of [`Self::ALL`].
    pub const WORDS: [&str; 15] = [
        Self::Greylisted.word(),
        Self::RateLimited.word(),
        Self::Blocked.word(),
        Self::AuthPolicy.word(),
        Self::Content.word(),
        Self::MailboxFull.word(),
        Self::NoSuchUser.word(),
        Self::InactiveUser.word(),
        Self::RelayDenied.word(),
        Self::MessageTooLarge.word(),
        Self::Policy.word(),
        Self::Dns.word(),
        Self::Tls.word(),
        Self::ServerTrouble.word(),
        Self::Unknown.word(),
    ];

    /// The word for it in rules, logs, lists and figures.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Greylisted => "greylisted",
            Self::RateLimited => "rate_limited",
            Self::Blocked => "blocked",
            Self::AuthPolicy => "auth_policy",
            Self::Content => "content",
            Self::MailboxFull => "mailbox_full",
            Self::NoSuchUser => "no_such_user",
            Self::InactiveUser => "inactive_user",
            Self::RelayDenied => "relay_denied",
            Self::MessageTooLarge => "message_too_large",
            Self::Policy => "policy",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::ServerTrouble => "server_trouble",
            Self::Unknown => "unknown",
        }
    }

    /// The kind of this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub const fn place(self) -> usize {
        self as usize
    }
}

impl fmt::Display for ReplyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_word_and_a_place_of_its_own() {
        for (place, kind) in ReplyKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.place(), place);
            assert_eq!(ReplyKind::of_word(kind.word()), Some(kind));
            assert_eq!(ReplyKind::WORDS.get(place), Some(&kind.word()));
        }
    }
}
