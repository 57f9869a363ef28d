//! What came of an attempt: outcomes and verdicts.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::{Reply, Timestamp};

/// How an attempt, or the life of a recipient, ended. There are no other endings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The next hop took responsibility.
    Delivered,
    /// Not now; it will be re-sent.
    Deferred,
    /// Refused for good, or the retries ran out.
    Failed,
    /// The lifetime ended it.
    Expired,
}

impl Outcome {
    /// Whether the recipient leaves the queue with this outcome.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Deferred)
    }

    /// The word for it, as logs, lists and the API write it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Deferred => "deferred",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a failure speaks of, and so whom it concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The host could not be reached or would not talk: everything for it is concerned.
    Host,
    /// This message was refused: its other recipients there are concerned, other messages not.
    Message,
    /// This recipient alone.
    Recipient,
    /// Our own policy or configuration (a login refused, a route that leads nowhere).
    Policy,
    /// DNS gave the answer, or none.
    Dns,
}

impl Class {
    /// The word for it in logs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Message => "message",
            Self::Recipient => "recipient",
            Self::Policy => "policy",
            Self::Dns => "dns",
        }
    }
}

/// The host that a verdict came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerHost {
    /// Its name, as MX or rule gave it.
    pub name: String,
    /// The address and port that were connected to.
    pub address: Option<SocketAddr>,
}

impl fmt::Display for PeerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            // An address literal would only say the same twice.
            Some(address) if self.name.starts_with('[') => address.fmt(f),
            Some(address) => write!(f, "{}[{}]:{}", self.name, address.ip(), address.port()),
            None => f.write_str(&self.name),
        }
    }
}

/// How the connection was protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsUsed {
    /// Clear text: TLS was not offered, or switched off.
    #[default]
    None,
    /// Clear text after a TLS handshake that failed.
    FellBack,
    /// Encrypted; who the peer is was not proved.
    Encrypted,
    /// Encrypted, and the peer proved its name.
    Verified,
    /// Encrypted, and the peer proved by DANE that it is the domain's host.
    Dane,
}

impl TlsUsed {
    /// The word for it in logs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::FellBack => "failed,clear",
            Self::Encrypted => "encrypted",
            Self::Verified => "verified",
            Self::Dane => "dane",
        }
    }
}

/// Where the time of a recipient's attempt went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// From being due (or accepted) until the attempt began.
    pub queued: Duration,
    /// Looking up, connecting, greeting, TLS; zero on a reused session.
    pub connecting: Duration,
    /// The transaction itself.
    pub wire: Duration,
}

/// The result of one attempt for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    /// Whom a failure concerns.
    pub class: Class,
    /// What the host said, or our own account.
    pub reply: Reply,
    /// Which host said it.
    pub host: Option<PeerHost>,
    /// When.
    pub at: Timestamp,
    /// How the connection was protected.
    pub tls: TlsUsed,
    /// Where the time went.
    pub timing: Timing,
    /// The content was handed over and no reply came: the peer may have it, so a retry may make
    /// a duplicate.
    pub unknown_outcome: bool,
}

impl Verdict {
    /// A verdict of ours, without a host.
    #[must_use]
    pub fn own(outcome: Outcome, class: Class, reply: Reply, at: Timestamp) -> Self {
        Self {
            outcome,
            class,
            reply,
            host: None,
            at,
            tls: TlsUsed::None,
            timing: Timing::default(),
            unknown_outcome: false,
        }
    }
}
