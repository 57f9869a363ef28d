//! What an administrator can ask.

use mail::{QueueId, RecipientKey, Timestamp};
use serde::{Deserialize, Serialize};
use spool::{Filter, Spool};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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

impl Selection {
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
                    let (id, number) = match text.split_once('/') {
                        Some((id, number)) => {
                            let number = number.parse::<u32>();
                            (
                                id,
                                Some(number.map_err(|_| format!("`{text}` is no id/number"))?),
                            )
                        }
                        None => (text.as_str(), None),
                    };
                    let id: QueueId = id
                        .parse()
                        .map_err(|e: mail::ParseQueueIdError| e.to_string())?;
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
