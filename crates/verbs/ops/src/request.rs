//! What the verbs of administrators are about: which recipients, which entries, in which order.

use std::fmt;

use mail::{Address, Domain, Outcome, QueueId, RecipientKey, Timestamp};
use serde::{Deserialize, Serialize};
use store::filter::{parse_metadata, words};
use store::{Filter, HistoryFilter, Kinds, Store};
use utoipa::ToSchema;

use crate::malformed::{CAUSES, Malformed, SelectError};

/// Which recipients a verb is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// All recipients of these messages, or one of them: `id` or `id/number`.
    Ids(Vec<String>),
    /// Those that a filter matches, such as `domain:example.com age>1h`.
    Filter(String),
    /// Everything that waits.
    All,
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ids(ids) => f.write_str(&ids.join(" ")),
            Self::Filter(text) => f.write_str(text),
            Self::All => f.write_str("all"),
        }
    }
}

/// A change of waiting recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Keep it, do not try it.
    Hold,
    /// Let a held one be tried.
    Release,
    /// Try it at this time (milliseconds since 1970), or now.
    Retry(Option<u64>),
    /// End it, with a failure message to its sender.
    Fail,
    /// End it silently.
    Remove,
    /// Send it by this server from now on (`host`, `host:port`, `[ip]`, `[ip]:port`), at once; or,
    /// with none, where the rules say again.
    Reroute(Option<String>),
}

impl Verb {
    /// Every verb, as it is without parameters.
    pub const ALL: [Self; 6] = [
        Self::Hold,
        Self::Release,
        Self::Retry(None),
        Self::Fail,
        Self::Remove,
        Self::Reroute(None),
    ];

    /// The verb of this word, without parameters.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.word() == word)
    }

    /// The word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Retry(_) => "retry",
            Self::Fail => "fail",
            Self::Remove => "remove",
            Self::Reroute(_) => "reroute",
        }
    }
}

/// What a list is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// By acceptance.
    #[default]
    Id,
    /// By the next attempt.
    Due,
    /// By domain.
    Domain,
    /// By size.
    Size,
    /// By attempts.
    Attempts,
}

impl From<Order> for store::Sort {
    fn from(order: Order) -> Self {
        match order {
            Order::Id => Self::Id,
            Order::Due => Self::Due,
            Order::Domain => Self::Domain,
            Order::Size => Self::Size,
            Order::Attempts => Self::Attempts,
        }
    }
}

pub(crate) fn check_address(text: Option<&str>) -> Result<(), Malformed> {
    let parsed = text.map(Address::parse).transpose();
    parsed.map(drop).map_err(|why| Malformed::Recipient {
        text: text.unwrap_or_default().to_owned(),
        why,
    })
}

pub(crate) fn check_scope(text: Option<&str>) -> Result<(), Malformed> {
    let wrong = |text: &str| Malformed::Scope(text.to_owned());
    let Some(text) = text.filter(|text| *text != "all") else {
        return Ok(());
    };
    if let Some(user) = text.strip_prefix("user:") {
        let bad = |c: char| c.is_control() || c == ' ';
        let good = !user.is_empty() && !user.contains(bad);
        return good.then_some(()).ok_or_else(|| wrong(text));
    }
    let good = match text.strip_prefix('@') {
        Some(domain) => Domain::parse(domain).is_ok(),
        None => Address::parse(text).is_ok(),
    };
    good.then_some(()).ok_or_else(|| wrong(text))
}

fn check_cause(word: Option<&str>) -> Result<(), Malformed> {
    match word {
        Some(word) if !CAUSES.contains(&word) => Err(Malformed::Cause(word.to_owned())),
        Some(_) | None => Ok(()),
    }
}

impl SuppressionSelection {
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        check_address(self.recipient.as_deref())?;
        check_scope(self.scope.as_deref())?;
        check_cause(self.cause.as_deref())
    }
}

impl NewSuppression {
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        check_address(Some(&self.recipient))?;
        check_scope(self.scope.as_deref())?;
        check_cause(self.cause.as_deref())?;
        if let Some(text) = self.expires.as_deref().filter(|text| !text.is_empty())
            && Timestamp::parse_rfc3339(text).is_none()
        {
            mail::parse_duration(text).map_err(|why| Malformed::Expires {
                text: text.to_owned(),
                why,
            })?;
        }
        if let Some(text) = self.since.as_deref()
            && Timestamp::parse_rfc3339(text).is_none()
        {
            return Err(Malformed::Since(text.to_owned()));
        }
        if let Some(id) = self.message.as_deref() {
            let id: Result<QueueId, _> = id.parse();
            id.map_err(Malformed::AboutMessage)?;
        }
        Ok(())
    }
}

/// Which entries of the suppression list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SuppressionSelection {
    /// Whose recipient or scope holds this text.
    pub text: Option<String>,
    /// Of this recipient.
    pub recipient: Option<String>,
    /// With this scope: `all`, `@domain`, a sender's address, `user:NAME`.
    pub scope: Option<String>,
    /// With this cause: failure, complaint or administrator.
    pub cause: Option<String>,
}

/// An entry for the suppression list, in the same form as an export writes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({ "recipient": "anna@example.com", "reason": "asked by phone" }))]
pub struct NewSuppression {
    /// The recipient.
    pub recipient: String,
    /// The senders that it applies to: `all` (the default), `@domain` for a domain's senders, a
    /// sender's address, or `user:NAME`.
    pub scope: Option<String>,
    /// Why: at most 300 octets are kept.
    pub reason: Option<String>,
    /// Until when (RFC 3339), or how long, such as `30d`; none: until it is removed.
    pub expires: Option<String>,
    /// `failure`, `complaint` or `administrator` (the default).
    pub cause: Option<String>,
    /// Since when (RFC 3339); none: from now on.
    #[schema(format = DateTime)]
    pub since: Option<String>,
    /// The message that it is about.
    pub message: Option<String>,
    /// How often it happened.
    pub count: Option<u32>,
    /// Whether it suppresses mail. Default: true.
    pub in_force: Option<bool>,
}

/// Which finished recipients.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HistorySelection {
    /// With this outcome: delivered, failed or expired.
    pub outcome: Option<String>,
    /// At this domain, or below it when it begins with a dot.
    pub domain: Option<String>,
    /// From this sender.
    pub sender: Option<String>,
    /// To this address.
    pub recipient: Option<String>,
    /// Whose message has this Message-ID, with its angle brackets or without.
    pub message_id: Option<String>,
    /// Submitted by exactly this user, key (`key=NAME`) or client.
    pub user: Option<String>,
    /// Whose message has all of these tags.
    pub tags: Vec<String>,
    /// Whose message has all of this metadata, each as `NAME=VALUE`.
    pub metadata: Vec<String>,
    /// Finished at or after this time (milliseconds since 1970).
    pub since: Option<u64>,
}

impl HistorySelection {
    /// Reads it from the words of the queue's filter, as far as the history can answer them: `from:`, `to:`, `domain:`,
    /// `outcome:`, `user:`, `tag:`, `meta:`, `message-id:`, and `since:` a time (RFC 3339) or how long ago. An address
    /// alone is a recipient's, and what else has a dot is a domain.
    ///
    /// # Errors
    /// When a word is nothing that the history can be asked for.
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, Malformed> {
        let mut selection = Self::default();
        for word in words(text)? {
            let unknown = || Malformed::HistoryTerm(word.clone());
            let Some((name, value)) = word.split_once(':') else {
                match (word.contains('@'), word.contains('.')) {
                    (true, _) => selection.recipient = Some(word),
                    (false, true) => selection.domain = Some(word),
                    (false, false) => return Err(unknown()),
                }
                continue;
            };
            let value = value.to_owned();
            match name {
                _ if value.is_empty() => return Err(unknown()),
                "from" | "sender" if value == "<>" => selection.sender = Some(String::new()),
                "from" | "sender" => selection.sender = Some(value),
                "to" | "recipient" => selection.recipient = Some(value),
                "domain" => selection.domain = Some(value),
                "outcome" => selection.outcome = Some(value),
                "user" => selection.user = Some(value),
                "tag" => selection.tags.push(value),
                "meta" => selection.metadata.push(value),
                "message-id" => selection.message_id = Some(value),
                "since" => selection.since = Some(ago(&value, now)?.as_millis()),
                _ => return Err(unknown()),
            }
        }
        selection.filter().map(|_| selection)
    }

    /// The history's own form of it.
    ///
    /// # Errors
    /// When its outcome, or a part of its metadata, is none.
    pub fn filter(&self) -> Result<HistoryFilter, Malformed> {
        let outcome = match self.outcome.as_deref() {
            None => None,
            Some("delivered") => Some(Outcome::Delivered),
            Some("failed") => Some(Outcome::Failed),
            Some("expired") => Some(Outcome::Expired),
            Some(other) => return Err(Malformed::Outcome(other.to_owned())),
        };
        let metadata = self
            .metadata
            .iter()
            .map(|text| parse_metadata(text).ok_or_else(|| Malformed::Metadata(text.clone())));
        Ok(HistoryFilter {
            submitter: self.user.clone(),
            tags: self.tags.clone(),
            metadata: metadata.collect::<Result<_, _>>()?,
            id: None,
            outcome,
            domain: self.domain.clone(),
            sender: self.sender.clone(),
            recipient: self.recipient.clone(),
            message_id: self
                .message_id
                .as_ref()
                .map(|id| match id.starts_with('<') {
                    true => id.clone(),
                    false => format!("<{id}>"),
                }),
            since: self.since.map(Timestamp::from_millis),
        })
    }
}

/// A time (RFC 3339), or how long ago it was.
pub(crate) fn ago(text: &str, now: Timestamp) -> Result<Timestamp, Malformed> {
    match (Timestamp::parse_rfc3339(text), mail::parse_duration(text)) {
        (Some(at), _) => Ok(at),
        (None, Ok(ago)) => Ok(now - ago),
        (None, Err(_)) => Err(Malformed::Ago(text.to_owned())),
    }
}

pub(crate) fn parse_id(text: &str) -> Result<QueueId, Malformed> {
    Ok(text.parse()?)
}

/// The parts of `id` or `id/number`.
fn parse_key(text: &str) -> Result<(QueueId, Option<u32>), Malformed> {
    let Some((id, number)) = text.split_once('/') else {
        return parse_id(text).map(|id| (id, None));
    };
    let number = number
        .parse()
        .map_err(|_| Malformed::Key(text.to_owned()))?;
    Ok((parse_id(id)?, Some(number)))
}

impl Selection {
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        match self {
            Self::All => Ok(()),
            Self::Filter(text) => Ok(Filter::parse(text).map(drop)?),
            Self::Ids(ids) => ids.iter().try_for_each(|text| parse_key(text).map(drop)),
        }
    }

    /// The recipients it means now. Blocks on the index.
    ///
    /// # Errors
    /// What is wrong with the selection, or why the store does not answer.
    pub fn keys(
        &self,
        store: &dyn Store,
        kinds: &Kinds,
        now: Timestamp,
    ) -> Result<Vec<RecipientKey>, SelectError> {
        let find = |filter: &Filter| store.keys(filter, now);
        match self {
            Self::All | Self::Filter(_) => Ok(find(&self.filter(kinds)?)?),
            Self::Ids(ids) => {
                let mut keys = Vec::with_capacity(ids.len());
                for text in ids {
                    let (id, number) = parse_key(text)?;
                    let found = find(&Filter::id(id))?;
                    keys.extend(
                        found
                            .into_iter()
                            .filter(|k| number.is_none_or(|n| n == k.recipient)),
                    );
                }
                Ok(keys)
            }
        }
    }

    /// The filter that lists what it means, with what finds the kinds of replies.
    ///
    /// # Errors
    /// What is wrong with it; several ids cannot be one filter.
    pub fn filter(&self, kinds: &Kinds) -> Result<Filter, Malformed> {
        match self {
            Self::All => Ok(Filter::all()),
            Self::Filter(text) => {
                let filter = Filter::parse(text)?;
                Ok(filter.with_kinds(kinds.clone()))
            }
            Self::Ids(ids) => match ids.as_slice() {
                [one] => parse_id(one).map(Filter::id),
                _ => Err(Malformed::SeveralIds),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_history_is_read_as_the_queue_writes_it() {
        let now = Timestamp::from_secs(1_800_000_000);
        let read = |text: &str| HistorySelection::parse(text, now);
        let line = "from:<> to:bob@a.example outcome:failed user:ann tag:news tag:late meta:order=7 message-id:x@y since:1h";
        let found = read(line).unwrap();
        assert_eq!(found.sender.as_deref(), Some(""));
        assert_eq!(found.recipient.as_deref(), Some("bob@a.example"));
        assert_eq!(found.tags, ["news", "late"]);
        assert_eq!(found.since, Some(1_799_996_400_000));
        let filter = found.filter().unwrap();
        assert_eq!(filter.message_id.as_deref(), Some("<x@y>"));
        assert_eq!(filter.metadata, [("order".to_owned(), "7".to_owned())]);
        assert_eq!(
            read("a.example").unwrap().domain.as_deref(),
            Some("a.example")
        );
        assert_eq!(
            read("b@a.example").unwrap().recipient.as_deref(),
            Some("b@a.example")
        );
        assert_eq!(read(" ").unwrap(), HistorySelection::default());
    }

    #[test]
    fn what_the_history_cannot_answer_is_said() {
        let now = Timestamp::from_secs(1_800_000_000);
        for (text, part) in [
            ("age>1h", "cannot be searched for"),
            ("hello", "cannot be searched for"),
            ("size:3", "cannot be searched for"),
            ("to:", "cannot be searched for"),
            ("outcome:lost", "is not an outcome"),
            ("since:soon", "neither a time nor how long ago"),
            ("meta:order", "is not metadata"),
            ("to:\"open", "quotation mark"),
        ] {
            let refused = HistorySelection::parse(text, now).unwrap_err().to_string();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }
}
