//! Envelopes and messages: what is said about a mail outside its content (RFC 5321 §2.3.1).

use std::net::IpAddr;

use bytes::Bytes;

use crate::{Address, Labels, QueueId, RecipientState, Terms, Timestamp, are_lines};

/// What the BODY parameter of MAIL declared (RFC 6152, RFC 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyType {
    /// Nothing was declared, or 7BIT.
    #[default]
    SevenBit,
    /// BODY=8BITMIME.
    EightBitMime,
    /// BODY=BINARYMIME: the body is not made of lines.
    BinaryMime,
}

impl BodyType {
    /// What a content needs that was declared to be this. Lines in ASCII need nothing, and what is
    /// declared binary may turn out to be lines. Long lines are taken for lines where nothing else
    /// was declared.
    #[must_use]
    pub fn needed(self, content: &[u8]) -> Self {
        let is_lines = match self {
            Self::SevenBit | Self::EightBitMime => true,
            Self::BinaryMime => are_lines(content) && content.ends_with(b"\r\n"),
        };
        match (is_lines, content.is_ascii()) {
            (false, _) => Self::BinaryMime,
            (true, false) => Self::EightBitMime,
            (true, true) => Self::SevenBit,
        }
    }
}

/// How much of the original a failure message returns (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// The whole message.
    Full,
    /// Only its header.
    Headers,
}

/// When the sender wants to hear about a recipient (RFC 3461 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notify(u8);

impl Notify {
    /// Nothing was asked: failures are reported, delays too, successes not.
    pub const UNSET: Self = Self(0);
    /// NEVER.
    pub const NEVER: Self = Self(1);
    /// SUCCESS.
    pub const SUCCESS: Self = Self(2);
    /// FAILURE.
    pub const FAILURE: Self = Self(4);
    /// DELAY.
    pub const DELAY: Self = Self(8);

    /// Both wishes together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether failures are to be reported.
    #[must_use]
    pub const fn on_failure(self) -> bool {
        self.0 == 0 || self.0 & Self::FAILURE.0 != 0
    }

    /// Whether delays are to be reported.
    #[must_use]
    pub const fn on_delay(self) -> bool {
        self.0 == 0 || self.0 & Self::DELAY.0 != 0
    }

    /// Whether successes are to be reported.
    #[must_use]
    pub const fn on_success(self) -> bool {
        self.0 & Self::SUCCESS.0 != 0
    }

    /// The bits, as the spool keeps them.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The wishes with these bits; unknown bits are dropped.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 15)
    }

    /// The value of the NOTIFY parameter, `None` when nothing was asked.
    #[must_use]
    pub fn parameter(self) -> Option<String> {
        let names = [
            (Self::NEVER, "NEVER"),
            (Self::SUCCESS, "SUCCESS"),
            (Self::FAILURE, "FAILURE"),
            (Self::DELAY, "DELAY"),
        ];
        let asked = names
            .iter()
            .filter(|(bit, _)| self.0 & bit.0 != 0)
            .map(|(_, name)| *name);
        let joined = asked.collect::<Vec<_>>().join(",");
        (!joined.is_empty()).then_some(joined)
    }
}

/// Where a recipient's copy goes in principle; the next hop itself is decided at every attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Destination {
    /// Another server: the outgoing queue.
    #[default]
    Outgoing,
    /// A local domain: Maildir or LMTP, untouched by the settings of outgoing mail.
    Local,
    /// Nowhere: mail of a test key. What would become of it is simulated.
    Test,
}

impl Destination {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Outgoing => "outgoing",
            Self::Local => "local",
            Self::Test => "test",
        }
    }

    /// The number for it, as it is kept.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Outgoing => 0,
            Self::Local => 1,
            Self::Test => 2,
        }
    }

    /// The destination of a number.
    #[must_use]
    pub const fn of_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Outgoing),
            1 => Some(Self::Local),
            2 => Some(Self::Test),
            _ => None,
        }
    }
}

/// One recipient of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The address delivered to, after rewriting rules.
    pub address: Address,
    /// The address as the client gave it, where a rule rewrote it.
    pub given: Option<Address>,
    /// ORCPT, still in its xtext form with the address type (RFC 3461 §4.2).
    pub orcpt: Option<String>,
    /// NOTIFY.
    pub notify: Notify,
    /// Outgoing queue or local store.
    pub destination: Destination,
}

impl Recipient {
    /// An outgoing recipient with no parameters.
    #[must_use]
    pub const fn new(address: Address) -> Self {
        Self {
            address,
            given: None,
            orcpt: None,
            notify: Notify::UNSET,
            destination: Destination::Outgoing,
        }
    }
}

/// Who handed a message in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Submitter {
    /// The user who logged in.
    pub user: Option<String>,
    /// The address that the client connected from.
    pub peer: Option<IpAddr>,
    /// The way in: `smtp`, `http`, `sendmail`, `notify` for our own reports, …
    pub via: String,
}

impl Submitter {
    /// The name that fairness and quotas count under: the user, else the address, else the way in.
    #[must_use]
    pub fn name(&self) -> String {
        match (&self.user, self.peer) {
            (Some(user), _) => user.clone(),
            (None, Some(peer)) => peer.to_string(),
            (None, None) => self.via.clone(),
        }
    }
}

/// What was said about a message in MAIL and RCPT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// MAIL FROM; `None` is the null reverse-path `<>`.
    pub reverse_path: Option<Address>,
    /// The recipients, in the order accepted; a recipient's place is its number for life.
    pub recipients: Vec<Recipient>,
    /// BODY.
    pub body_type: BodyType,
    /// SMTPUTF8 was asked for (RFC 6531).
    pub smtputf8: bool,
    /// RET.
    pub ret: Option<Ret>,
    /// ENVID in its xtext form.
    pub env_id: Option<String>,
    /// What was asked about time and order.
    pub terms: Terms,
    /// Who submitted it.
    pub submitter: Submitter,
}

impl Envelope {
    /// The reverse-path in the form of SMTP, without brackets; empty for the null reverse-path.
    #[must_use]
    pub fn sender(&self) -> String {
        self.reverse_path
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default()
    }
}

/// One accepted mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its name.
    pub id: QueueId,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// Its envelope.
    pub envelope: Envelope,
    /// What it is called and labelled.
    pub labels: Labels,
    /// Header and body, lines ending in CRLF, our Received header included.
    pub content: Bytes,
}

impl Message {
    /// How each of its recipients waits when it has just been accepted. The sender of a report is
    /// never told that it is late.
    #[must_use]
    pub fn initial_state(&self) -> RecipientState {
        RecipientState {
            due: self.envelope.terms.begins(self.accepted),
            delay_notified: self.envelope.reverse_path.is_none(),
            ..RecipientState::default()
        }
    }
}

/// One recipient of one message: the unit of delivery, of state and of outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecipientKey {
    /// The message.
    pub id: QueueId,
    /// The recipient's place in the envelope.
    pub recipient: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_content_needs_is_what_it_is() {
        use BodyType::{BinaryMime, EightBitMime, SevenBit};
        for (declared, content, needed) in [
            (SevenBit, "a\r\n", SevenBit),
            (SevenBit, "\u{fc}\r\n", EightBitMime),
            (EightBitMime, "a\r\n", SevenBit),
            (BinaryMime, "a\r\n", SevenBit),
            (BinaryMime, "\u{fc}\r\n", EightBitMime),
            (BinaryMime, "a", BinaryMime),
            (BinaryMime, "a\nb\r\n", BinaryMime),
            (BinaryMime, "a\0\r\n", BinaryMime),
        ] {
            assert_eq!(declared.needed(content.as_bytes()), needed, "{content:?}");
        }
        let long = format!("{}\r\n", "x".repeat(999));
        assert_eq!(BinaryMime.needed(long.as_bytes()), BinaryMime);
        assert_eq!(EightBitMime.needed(long.as_bytes()), SevenBit);
    }

    #[test]
    fn notify_defaults_to_failure_and_delay() {
        assert!(Notify::UNSET.on_failure() && Notify::UNSET.on_delay());
        assert!(!Notify::UNSET.on_success());
        assert!(!Notify::NEVER.on_failure() && !Notify::NEVER.on_delay());
        let both = Notify::SUCCESS.with(Notify::FAILURE);
        assert!(both.on_success() && both.on_failure() && !both.on_delay());
        assert_eq!(both.parameter().unwrap(), "SUCCESS,FAILURE");
        assert_eq!(Notify::UNSET.parameter(), None);
    }
}
