//! Events as others are told of them, and the state of the webhooks that tell. Field names are the
//! API's: they do not change lightly. docs/webhooks.md explains each.

use std::collections::BTreeMap;

use mail::{ParseDomainError, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What happened.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    /// The recipient is in the queue, durably.
    Accepted,
    /// An attempt did not succeed; there will be another.
    Deferred,
    /// The next hop took responsibility.
    Delivered,
    /// The recipient has failed for good: `reason` says how.
    Failed,
    /// A bounce came back after the delivery.
    Bounced,
    /// The recipient complained.
    Complained,
    /// The recipient is on the suppression list from now on.
    Suppressed,
    /// A quota is nearly used up since this mail was taken: `reason` says which.
    Quota,
}

impl EventType {
    /// Every type.
    pub const ALL: [Self; 8] = [
        Self::Accepted,
        Self::Deferred,
        Self::Delivered,
        Self::Failed,
        Self::Bounced,
        Self::Complained,
        Self::Suppressed,
        Self::Quota,
    ];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Deferred => "deferred",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Bounced => "bounced",
            Self::Complained => "complained",
            Self::Suppressed => "suppressed",
            Self::Quota => "quota",
        }
    }

    /// The type of this word.
    ///
    /// # Errors
    /// When there is none.
    pub fn of_word(word: &str) -> Result<Self, UnknownEventType> {
        let found = Self::ALL.into_iter().find(|kind| kind.word() == word);
        found.ok_or_else(|| UnknownEventType(word.to_owned()))
    }
}

/// A word that is no event type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an event type: use {all}", all = EventType::ALL.map(EventType::word).join(", "))]
pub struct UnknownEventType(String);

/// An event. A field that has no meaning for its type, or is not known, is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// The id of the event; it is the same each time the event is sent.
    pub id: String,
    /// The version of these fields, 1. A later one may add fields and types.
    pub version: u32,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// When, in UTC (RFC 3339).
    #[schema(format = DateTime)]
    pub time: String,
    /// The message.
    pub queue_id: Option<String>,
    /// The recipient's number in it, from 0.
    pub number: Option<u32>,
    /// The reverse-path; empty for `<>`.
    pub sender: Option<String>,
    /// The recipient.
    pub recipient: String,
    /// `outgoing`, `local` for mail that stays here, or `test`.
    pub destination: Option<String>,
    /// The message was submitted with a test key: it was not delivered to anybody, and what happens to it is simulated. Or it
    /// is an example that `sendoff webhook test` sends.
    pub test: bool,
    /// When the message was accepted.
    #[schema(format = DateTime)]
    pub accepted: Option<String>,
    /// The size of the message in octets.
    pub size: Option<u64>,
    /// The name under which limits count: the user, otherwise the client's address, otherwise the way in.
    pub submitter: Option<String>,
    /// The user who logged in, or the key.
    pub user: Option<String>,
    /// The client's address.
    pub client: Option<String>,
    /// The way in: `smtp`, `http`, `sendmail`, `notify` for our own reports, …
    pub via: Option<String>,
    /// ENVID, as the submitter gave it (xtext, RFC 3461).
    pub envid: Option<String>,
    /// The Message-ID field, with its angle brackets.
    pub message_id: Option<String>,
    /// The Subject field as it is written in the header, cut to 512 octets.
    pub subject: Option<String>,
    /// The tags that the submitter gave the message.
    pub tags: Vec<String>,
    /// The metadata that the submitter gave the message.
    pub metadata: BTreeMap<String, String>,
    /// The message that this one reports on, if it is a failure message or another report of this server.
    pub report_of: Option<String>,
    /// Attempts that counted.
    pub attempts: Option<u32>,
    /// Deferred: the earliest time of the next attempt.
    #[schema(format = DateTime)]
    pub next_attempt: Option<String>,
    /// Deferred, delivered, failed: the answer, or our own account.
    pub reply: Option<EventReply>,
    /// What the answer is about, such as `mailbox_full`, by the book of rules.
    pub kind_of_reply: Option<String>,
    /// Whom the answer concerns: `host`, `message`, `recipient`, `policy` or `dns`.
    pub class: Option<String>,
    /// The host that answered.
    pub host: Option<String>,
    /// Its address and port.
    pub address: Option<String>,
    /// `none`, `failed,clear`, `encrypted`, `verified` or `dane`.
    pub tls: Option<String>,
    /// The content was sent and no answer came: the host may have received the message.
    pub unknown_outcome: Option<bool>,
    /// Failed: `refused` (a final answer), `attempts` (used up), `expired` (by the lifetime), `given_up`
    /// or `removed` (by an administrator). Bounced and complained: what was said. Suppressed: the answer,
    /// the kind of the complaint, or an administrator's words. Quota: whose, and how much is used.
    pub reason: Option<String>,
    /// Suppressed: `failure`, `complaint` or `administrator`.
    pub cause: Option<String>,
    /// Suppressed: the senders that it applies to: `all`, `@domain`, a sender's address, or `user:NAME`.
    pub scope: Option<String>,
    /// Suppressed: until when; null: until it is removed.
    #[schema(format = DateTime)]
    pub expires: Option<String>,
}

impl EventView {
    /// The version of the fields.
    pub const VERSION: u32 = 1;

    /// An event of which no more is known.
    #[must_use]
    pub fn new(id: String, kind: EventType, time: String, recipient: String) -> Self {
        Self {
            id,
            version: Self::VERSION,
            kind,
            time,
            queue_id: None,
            number: None,
            sender: None,
            recipient,
            destination: None,
            test: false,
            accepted: None,
            size: None,
            submitter: None,
            user: None,
            client: None,
            via: None,
            envid: None,
            message_id: None,
            subject: None,
            tags: Vec::new(),
            metadata: BTreeMap::new(),
            report_of: None,
            attempts: None,
            next_attempt: None,
            reply: None,
            kind_of_reply: None,
            class: None,
            host: None,
            address: None,
            tls: None,
            unknown_outcome: None,
            reason: None,
            cause: None,
            scope: None,
            expires: None,
        }
    }
}

/// An answer of a host, or our own account of what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventReply {
    /// The code, such as 550.
    pub code: u16,
    /// The enhanced code, such as `5.1.1` (RFC 3463).
    pub enhanced: Option<String>,
    /// The text.
    pub text: String,
}

/// An event in the list of those that are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListedEvent {
    /// Its place: later events have higher ones.
    pub place: u64,
    /// The event.
    pub event: EventView,
}

/// Events that were set aside: they were not accepted in time, and only a replay sends them again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct PutAsideView {
    /// The number of events.
    pub events: u64,
    /// The time of the first.
    #[schema(format = DateTime)]
    pub since: Option<String>,
    /// The time of the last.
    #[schema(format = DateTime)]
    pub until: Option<String>,
}

/// A replay that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayView {
    /// Events from this time on …
    #[schema(format = DateTime)]
    pub since: String,
    /// … and before this.
    #[schema(format = DateTime)]
    pub until: String,
    /// Events sent again so far.
    pub sent: u64,
    /// Failed tries in a row.
    pub failures: u32,
    /// The next try.
    #[schema(format = DateTime)]
    pub next_try: Option<String>,
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookView {
    /// Its name.
    pub name: String,
    /// Where events go.
    pub url: String,
    /// The types of events that it gets.
    pub events: Vec<EventType>,
    /// `up` (everything is sent), `sending`, `failing`, `paused` (by an administrator) or `stopped` (by the
    /// receiver, with 410).
    pub state: String,
    /// Why it waits; empty when it does not.
    pub reason: String,
    /// Events not sent yet, at most: filters are not considered.
    pub unsent: u64,
    /// The time of the oldest of them.
    #[schema(format = DateTime)]
    pub oldest_unsent: Option<String>,
    /// Events sent since the start of the server.
    pub sent: u64,
    /// The last answer: its status, or what went wrong.
    pub last_answer: Option<String>,
    /// When that was.
    #[schema(format = DateTime)]
    pub last_time: Option<String>,
    /// Failed tries in a row.
    pub failures: u32,
    /// The next try, where it waits for a time.
    #[schema(format = DateTime)]
    pub next_try: Option<String>,
    /// Events that were set aside.
    pub put_aside: PutAsideView,
    /// The replay that is under way.
    pub replay: Option<ReplayView>,
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookTested {
    /// The receiver accepted it (2xx).
    pub taken: bool,
    /// The status, where there was an answer.
    pub status: Option<u16>,
    /// What the answer said, its first 500 characters; or what went wrong.
    pub text: String,
    /// Milliseconds until then.
    pub milliseconds: u64,
    /// The identifier that was sent (`webhook-id`).
    pub webhook_id: String,
}

/// What is wrong with the events that are to be sent again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedReplay {
    /// One end of the period is no time.
    #[error("{field}: `{text}` is not a time: write it as 2026-01-31T08:00:00Z")]
    Time {
        /// `since` or `until`.
        field: &'static str,
        /// What was written.
        text: String,
    },
    /// The period has no length.
    #[error("since ({since}) is not before until ({until})")]
    Empty {
        /// Its beginning.
        since: Timestamp,
        /// Its end.
        until: Timestamp,
    },
    /// A domain is none.
    #[error("{field}: {why}")]
    Domain {
        /// `sender_domain` or `recipient_domain`.
        field: &'static str,
        /// Why not.
        why: ParseDomainError,
    },
}

/// Which events are to be sent again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// From this time on (RFC 3339, `2026-01-31T08:00:00Z`).
    #[schema(format = DateTime)]
    pub since: String,
    /// Before this time; none: now.
    #[serde(default)]
    #[schema(format = DateTime)]
    pub until: Option<String>,
    /// Only of these types; none: those of the webhook.
    #[serde(default)]
    #[schema(value_type = Option<Vec<EventType>>)]
    pub events: Vec<EventType>,
    /// Only with a sender of this domain, or below it (`.example.com`).
    #[serde(default)]
    pub sender_domain: Option<String>,
    /// Only with a recipient of this domain, or below it.
    #[serde(default)]
    pub recipient_domain: Option<String>,
}

impl Replay {
    /// The time that is meant.
    ///
    /// # Errors
    /// When one end of it is no time, or it has no length.
    pub fn span(&self, now: Timestamp) -> Result<(Timestamp, Timestamp), MalformedReplay> {
        let time = |field: &'static str, text: &str| {
            let at = Timestamp::parse_rfc3339(text);
            at.ok_or_else(|| MalformedReplay::Time {
                field,
                text: text.to_owned(),
            })
        };
        let since = time("since", &self.since)?;
        let until = match &self.until {
            Some(text) => time("until", text)?,
            None => now,
        };
        match since < until {
            true => Ok((since, until)),
            false => Err(MalformedReplay::Empty { since, until }),
        }
    }

    pub(crate) fn check(&self) -> Result<(), MalformedReplay> {
        self.span(Timestamp::MAX)?;
        self.domains().map(drop)
    }

    /// The sender's and the recipient's domain in the form that addresses are compared with.
    ///
    /// # Errors
    /// When one of them is no domain.
    pub fn domains(&self) -> Result<[Option<String>; 2], MalformedReplay> {
        let one = |field: &'static str, text: &Option<String>| {
            let pattern = text.as_deref().map(domain_pattern).transpose();
            pattern.map_err(|why| MalformedReplay::Domain { field, why })
        };
        Ok([
            one("sender_domain", &self.sender_domain)?,
            one("recipient_domain", &self.recipient_domain)?,
        ])
    }
}

/// A domain, or one that begins with a dot for all below it, in lower case.
///
/// # Errors
/// When it is no domain.
pub fn domain_pattern(text: &str) -> Result<String, ParseDomainError> {
    let (dot, name) = match text.strip_prefix('.') {
        Some(name) => (".", name),
        None => ("", text),
    };
    mail::Domain::parse(name).map(|domain| format!("{dot}{domain}"))
}

/// What is done with a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookVerb {
    /// Tell it nothing more.
    Pause,
    /// Tell it again, from where it was.
    Resume,
    /// Try it now, if it waits after a failure.
    Retry,
    /// Tell it events of the past again.
    Replay(Replay),
    /// End the replay in progress.
    EndReplay,
}

impl WebhookVerb {
    /// The word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pause => "pause-webhook",
            Self::Resume => "resume-webhook",
            Self::Retry => "retry-webhook",
            Self::Replay(_) => "replay-events",
            Self::EndReplay => "end-replay",
        }
    }

    pub(crate) fn check(&self) -> Result<(), MalformedReplay> {
        match self {
            Self::Replay(replay) => replay.check(),
            Self::Pause | Self::Resume | Self::Retry | Self::EndReplay => Ok(()),
        }
    }
}

/// Which events that are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventSelection {
    /// Behind this place.
    pub after: u64,
    /// Maximum number of entries.
    pub limit: u64,
    /// Only of these types; none: all.
    #[serde(default)]
    pub types: Vec<EventType>,
    /// Only of messages that this key submitted (`key=NAME`).
    #[serde(default)]
    pub key: Option<String>,
}
