//! What an administrator can ask.

use mail::{Address, Domain, Outcome, QueueId, RecipientKey, Timestamp};
use schedule::Rate;
use serde::{Deserialize, Serialize};
use store::filter::parse_metadata;
use store::{Filter, HistoryFilter, Kinds, Store};
use utoipa::ToSchema;

use crate::event::{EventSelection, WebhookVerb};

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

/// A question or order of an administrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Waiting recipients.
    List {
        /// Which.
        selection: Selection,
        /// In which order.
        order: Order,
        /// The largest first.
        #[serde(default)]
        descending: bool,
        /// Maximum number of entries.
        limit: u64,
        /// How many are passed over first.
        offset: u64,
    },
    /// How many wait.
    Count(Selection),
    /// What waits, in numbers: at most so many domains by age, last answers, submitters.
    Summary(u64),
    /// One message with its recipients.
    Show(String),
    /// Everything that happened to one message.
    Trace(String),
    /// Change waiting recipients.
    Act {
        /// How.
        verb: Verb,
        /// Which.
        selection: Selection,
    },
    /// The content of a message.
    Export(String),
    /// The sites mail goes to.
    Sites,
    /// The addresses that mail leaves from.
    Sources,
    /// What is known of the site that a domain's mail goes to.
    Site(String),
    /// Stop (true) or let go the mail for a domain.
    Pause(String, bool),
    /// Limit the mail for a domain; without limits: no more than the rules do.
    Slow {
        /// The domain.
        domain: String,
        /// Messages in a time, such as `10/min`.
        rate: Option<String>,
        /// Connections at once.
        connections: Option<u32>,
    },
    /// The rules that hold new mail.
    HoldRules,
    /// Hold new mail that a filter matches, under a name; without a filter: take the rule away.
    HoldRule {
        /// The rule's name.
        name: String,
        /// The filter.
        filter: Option<String>,
    },
    /// Where the mail for an address would go, and why; sends nothing.
    Explain {
        /// The address.
        address: String,
        /// Ask the mail host as well, up to RCPT.
        probe: bool,
    },
    /// Finished recipients, the latest first.
    History {
        /// Words that must stand in sender, recipient or last answer; none: all.
        selection: HistorySelection,
        /// Maximum number of entries.
        limit: u64,
        /// How many are passed over first.
        offset: u64,
    },
    /// How many finished recipients match, counted up to this bound.
    HistoryCount(HistorySelection, u64),
    /// The detailed log: for everything, or for one domain or sender; on or off.
    Detailed {
        /// A domain or an address; none: everything.
        only: Option<String>,
        /// On or off.
        on: bool,
        /// On for so many seconds; `None`: until it is switched off.
        seconds: Option<u64>,
    },
    /// The suppression list.
    Suppressions {
        /// Which of its entries.
        #[serde(default)]
        selection: SuppressionSelection,
        /// Maximum number of entries.
        limit: u64,
        /// How many are passed over first.
        offset: u64,
    },
    /// Put recipients on the suppression list, 1000 at the most.
    Suppress(Vec<NewSuppression>),
    /// Take a recipient off the suppression list.
    Unsuppress {
        /// The recipient.
        recipient: String,
        /// From this scope; none: from all.
        scope: Option<String>,
    },
    /// The webhooks and how they fare.
    Webhooks,
    /// Do something with a webhook.
    Webhook {
        /// Its name.
        name: String,
        /// What.
        verb: WebhookVerb,
    },
    /// Events that are kept.
    Events(EventSelection),
    /// Copy the queue and what belongs to it into this directory of the server's machine; an absolute path.
    Backup(String),
    /// The addresses that are listened at.
    Listening,
    /// Read the configuration again.
    Reload,
    /// Figures.
    Stats,
    /// Whether mail can be accepted.
    Health,
}

impl Request {
    /// Whether what it says can be meant: ids, filters and domains are read, and nothing is looked
    /// up.
    ///
    /// # Errors
    /// What is wrong, in words for its author.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::List { selection, .. } => match selection {
                Selection::Ids(ids) if ids.len() != 1 => Err(ONE_ID.to_owned()),
                Selection::Ids(_) | Selection::Filter(_) | Selection::All => selection.check(),
            },
            Self::Count(selection) => selection.check(),
            Self::Act { verb, selection } => {
                if let Verb::Reroute(Some(to)) = verb
                    && (to.trim().is_empty() || to.len() > ROUTE_MAX)
                {
                    return Err("name the server to send the mail to".to_owned());
                }
                selection.check()
            }
            Self::Show(id) | Self::Trace(id) | Self::Export(id) => parse_id(id).map(drop),
            Self::Pause(domain, _) | Self::Site(domain) => check_domain(domain),
            Self::Slow {
                domain,
                rate,
                connections,
            } => {
                check_domain(domain)?;
                match connections {
                    Some(0) => {
                        let why = "0 connections would stop all mail: pause the domain instead";
                        return Err(why.to_owned());
                    }
                    Some(n) if *n > CONNECTIONS_MAX => {
                        return Err(format!("at most {CONNECTIONS_MAX} connections, not {n}"));
                    }
                    Some(_) | None => {}
                }
                let rate = rate.as_deref().map(Rate::parse).transpose();
                rate.map(drop).map_err(|e| e.to_string())
            }
            Self::HoldRule { name, filter } => check_hold_rule(name, filter.as_deref()),
            Self::Explain { address, .. } => {
                Address::parse(address).map(drop).map_err(|e| e.to_string())
            }
            Self::History { selection, .. } => selection.filter().map(drop),
            Self::HistoryCount(which, _) => which.filter().map(drop),
            Self::Suppressions { selection, .. } => selection.check(),
            Self::Suppress(new) => new.iter().try_for_each(NewSuppression::check),
            Self::Unsuppress { recipient, scope } => {
                check_address(Some(recipient)).and_then(|()| check_scope(scope.as_deref()))
            }
            Self::Webhook { verb, .. } => verb.check(),
            Self::Backup(directory) if !directory.starts_with('/') => Err(format!(
                "{directory}: write the full path, beginning with /"
            )),
            Self::Summary(_)
            | Self::Sites
            | Self::Sources
            | Self::Webhooks
            | Self::Events(_)
            | Self::HoldRules
            | Self::Detailed { .. }
            | Self::Listening
            | Self::Reload
            | Self::Backup(_)
            | Self::Stats
            | Self::Health => Ok(()),
        }
    }
}

fn check_address(text: Option<&str>) -> Result<(), String> {
    let parsed = text.map(Address::parse).transpose();
    parsed
        .map(drop)
        .map_err(|e| format!("{}: {e}", text.unwrap_or_default()))
}

/// The words for why a recipient is suppressed.
const CAUSES: [&str; 3] = ["failure", "complaint", "administrator"];

fn check_scope(text: Option<&str>) -> Result<(), String> {
    let wrong = |text: &str| {
        format!(
            "`{text}` is not a scope: write `all`, `@domain` for a domain's senders, a sender's address, or \
             `user:NAME`"
        )
    };
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

fn check_cause(word: Option<&str>) -> Result<(), String> {
    match word {
        Some(word) if !CAUSES.contains(&word) => Err(format!(
            "`{word}` is not a cause: use {}",
            CAUSES.join(", ")
        )),
        Some(_) | None => Ok(()),
    }
}

impl SuppressionSelection {
    fn check(&self) -> Result<(), String> {
        check_address(self.recipient.as_deref())?;
        check_scope(self.scope.as_deref())?;
        check_cause(self.cause.as_deref())
    }
}

impl NewSuppression {
    fn check(&self) -> Result<(), String> {
        check_address(Some(&self.recipient))?;
        check_scope(self.scope.as_deref())?;
        check_cause(self.cause.as_deref())?;
        if let Some(text) = self.expires.as_deref().filter(|text| !text.is_empty())
            && Timestamp::parse_rfc3339(text).is_none()
        {
            mail::parse_duration(text).map_err(|e| {
                format!("expires: `{text}` is neither a time (RFC 3339) nor a duration: {e}")
            })?;
        }
        if let Some(text) = self.since.as_deref()
            && Timestamp::parse_rfc3339(text).is_none()
        {
            return Err(format!("since: `{text}` is not a time (RFC 3339)"));
        }
        if let Some(id) = self.message.as_deref() {
            parse_id(id).map_err(|why| format!("message: {why}"))?;
        }
        Ok(())
    }
}

fn check_domain(text: &str) -> Result<(), String> {
    Domain::parse(text).map(drop).map_err(|e| e.to_string())
}

const ONE_ID: &str = "select one id, a filter, or all";

/// Connections that a domain can be slowed to.
const CONNECTIONS_MAX: u32 = 100_000;
/// Octets of a server's name.
const ROUTE_MAX: usize = 300;
/// Octets of a rule's name, and of its filter.
const RULE_NAME_MAX: usize = 60;
const RULE_FILTER_MAX: usize = 2000;

fn check_hold_rule(name: &str, filter: Option<&str>) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > RULE_NAME_MAX || !name.chars().all(plain) {
        return Err(format!(
            "`{name}` is not a valid rule name: use letters, digits, and - _ ."
        ));
    }
    match filter {
        None => Ok(()),
        Some(text) if text.len() > RULE_FILTER_MAX => Err("the filter is too long".to_owned()),
        Some(text) => {
            let filter = Filter::parse(text).map_err(|e| e.to_string())?;
            if filter.names_kinds() {
                let why = "new mail has no kind yet, because a kind comes from a reply";
                return Err(why.to_owned());
            }
            match filter.terms().is_empty() {
                true => Err(
                    "an empty filter would hold all mail: pause domains instead, or set outgoing.enabled = false"
                        .to_owned(),
                ),
                false => Ok(()),
            }
        }
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
    /// The history's own form of it.
    ///
    /// # Errors
    /// When the outcome is none.
    pub fn filter(&self) -> Result<HistoryFilter, String> {
        let outcome = match self.outcome.as_deref() {
            None => None,
            Some("delivered") => Some(Outcome::Delivered),
            Some("failed") => Some(Outcome::Failed),
            Some("expired") => Some(Outcome::Expired),
            Some(other) => {
                return Err(format!(
                    "`{other}` is not an outcome: use delivered, failed or expired"
                ));
            }
        };
        let metadata = self.metadata.iter().map(|text| {
            parse_metadata(text).ok_or_else(|| {
                format!("`{text}` is not metadata: write a name and its value, as in order=7")
            })
        });
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

fn parse_id(text: &str) -> Result<QueueId, String> {
    text.parse()
        .map_err(|e: mail::ParseQueueIdError| e.to_string())
}

/// The parts of `id` or `id/number`.
fn parse_key(text: &str) -> Result<(QueueId, Option<u32>), String> {
    let Some((id, number)) = text.split_once('/') else {
        return parse_id(text).map(|id| (id, None));
    };
    let number = number
        .parse()
        .map_err(|_| format!("`{text}` does not have the form id/number"))?;
    Ok((parse_id(id)?, Some(number)))
}

impl Selection {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::All => Ok(()),
            Self::Filter(text) => Filter::parse(text).map(drop).map_err(|e| e.to_string()),
            Self::Ids(ids) => ids.iter().try_for_each(|text| parse_key(text).map(drop)),
        }
    }

    /// The recipients it means now. Blocks on the index.
    ///
    /// # Errors
    /// What is wrong with the selection, in words for its author.
    pub fn keys(
        &self,
        store: &dyn Store,
        kinds: &Kinds,
        now: Timestamp,
    ) -> Result<Vec<RecipientKey>, String> {
        let find = |filter: &Filter| store.keys(filter, now).map_err(|e| e.to_string());
        match self {
            Self::All | Self::Filter(_) => find(&self.filter(kinds)?),
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
    pub fn filter(&self, kinds: &Kinds) -> Result<Filter, String> {
        match self {
            Self::All => Ok(Filter::all()),
            Self::Filter(text) => {
                let filter = Filter::parse(text).map_err(|e| e.to_string())?;
                Ok(filter.with_kinds(kinds.clone()))
            }
            Self::Ids(ids) => match ids.as_slice() {
                [one] => one.parse().map(Filter::id).map_err(|e| format!("{e}")),
                _ => Err(ONE_ID.to_owned()),
            },
        }
    }
}
