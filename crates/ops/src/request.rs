//! What an administrator can ask.

use mail::{Domain, QueueId, RecipientKey, Timestamp};
use serde::{Deserialize, Serialize};
use spool::{Filter, Spool};
use utoipa::ToSchema;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl Verb {
    /// Every verb, as it is without parameters.
    pub const ALL: [Self; 5] = [
        Self::Hold,
        Self::Release,
        Self::Retry(None),
        Self::Fail,
        Self::Remove,
    ];

    /// The verb of this word, without parameters.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.word() == word)
    }

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Retry(_) => "retry",
            Self::Fail => "fail",
            Self::Remove => "remove",
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

impl From<Order> for spool::Sort {
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
        /// How many at the most.
        limit: u64,
        /// How many are passed over first.
        offset: u64,
    },
    /// How many wait.
    Count(Selection),
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
    /// Stop (true) or let go the mail for a domain.
    Pause(String, bool),
    /// The detailed log: for everything, or for one domain or sender; on or off.
    Detailed {
        /// A domain or an address; none: everything.
        only: Option<String>,
        /// On or off.
        on: bool,
        /// On for so many seconds; `None`: until it is switched off.
        seconds: Option<u64>,
    },
    /// Read the configuration again.
    Reload,
    /// Figures.
    Stats,
}

impl Request {
    /// Whether what it says can be meant: ids, filters and domains are read, and nothing is looked
    /// up.
    ///
    /// # Errors
    /// What is wrong, in words for its author.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::List { selection, .. } => selection.filter().map(drop),
            Self::Count(selection) | Self::Act { selection, .. } => selection.check(),
            Self::Show(id) | Self::Trace(id) | Self::Export(id) => parse_id(id).map(drop),
            Self::Pause(domain, _) => Domain::parse(domain).map(drop).map_err(|e| e.to_string()),
            Self::Sites | Self::Detailed { .. } | Self::Reload | Self::Stats => Ok(()),
        }
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
        .map_err(|_| format!("`{text}` is no id/number"))?;
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
    pub fn keys(&self, spool: &Spool, now: Timestamp) -> Result<Vec<RecipientKey>, String> {
        let find = |filter: &Filter| spool.keys(filter, now).map_err(|e| e.to_string());
        match self {
            Self::All => find(&Filter::all()),
            Self::Filter(text) => find(&Filter::parse(text).map_err(|e| e.to_string())?),
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

    /// The filter that lists what it means.
    ///
    /// # Errors
    /// What is wrong with it; several ids cannot be one filter.
    pub fn filter(&self) -> Result<Filter, String> {
        match self {
            Self::All => Ok(Filter::all()),
            Self::Filter(text) => Filter::parse(text).map_err(|e| e.to_string()),
            Self::Ids(ids) => match ids.as_slice() {
                [one] => one.parse().map(Filter::id).map_err(|e| format!("{e}")),
                _ => Err("a list takes one id, a filter, or everything".to_owned()),
            },
        }
    }
}
