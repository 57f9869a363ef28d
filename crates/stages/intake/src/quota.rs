//! How many recipients a user, a sender's address or a sender's domain may have in a time.
//!
//! A quota slides: what was sent counts until its time is over, in steps of a twelfth of it. The
//! counts are in memory; what of them is kept on disk for a restart is written ahead (`usage/kept.rs`).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use mail::Address;

/// What is counted by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) per: Duration,
}

/// So many recipients in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Recipients.
    pub recipients: u64,
    /// The time.
    pub per: Duration,
}

/// Why a text is not a quota.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a quota: write recipients and a time, such as \"500/hour\" or \"2000/day\"")]
pub struct ParseQuotaError(String);

impl FromStr for Quota {
    type Err = ParseQuotaError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseQuotaError(text.to_owned());
        let (recipients, per) = text.split_once('/').ok_or_else(wrong)?;
        let recipients = recipients.trim().parse().map_err(|_| wrong())?;
        let secs = match per.trim() {
            "minute" => 60,
            "hour" => 3600,
            "day" => 86_400,
            _ => return Err(wrong()),
        };
        Ok(Self {
            recipients,
            per: Duration::from_secs(secs),
        })
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = match self.per.as_secs() {
            60 => "minute",
            3600 => "hour",
            _ => "day",
        };
        write!(f, "{}/{per}", self.recipients)
    }
}

/// The quotas that are set; none: no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quotas {
    /// Of each user, API key or user of this computer.
    pub user: Vec<Quota>,
    /// Of each user who has logged in by a password: somebody else may know it.
    pub login: Vec<Quota>,
    /// Of each sender's address.
    pub address: Vec<Quota>,
    /// Of each sender's domain.
    pub domain: Vec<Quota>,
}

/// Under which names recipients are counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Charged<'a> {
    /// The user, API key or user of this computer.
    pub user: Option<&'a str>,
    /// A password says that it is this user.
    pub by_password: bool,
    /// The envelope's sender.
    pub sender: Option<&'a Address>,
}

impl Charged<'_> {
    /// The name that this kind of quota counts under.
    fn name(&self, kind: &str) -> Option<String> {
        match kind {
            "address" => self.sender.map(|a| a.to_string().to_lowercase()),
            "domain" => self.sender.map(|a| a.domain().to_string().to_lowercase()),
            "login" if !self.by_password => None,
            _ => self.user.map(str::to_owned),
        }
    }
}

impl Quotas {
    /// Whether none is set: then nothing is counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.user.is_empty()
            && self.login.is_empty()
            && self.address.is_empty()
            && self.domain.is_empty()
    }

    /// Those that hold for somebody.
    pub(crate) fn of(&self, charged: &Charged<'_>) -> Vec<(Key, Quota)> {
        let kinds = [
            ("user", &self.user),
            ("login", &self.login),
            ("address", &self.address),
            ("domain", &self.domain),
        ];
        let mut all: Vec<(Key, Quota)> = Vec::new();
        for (kind, quotas) in kinds.into_iter().filter(|(_, quotas)| !quotas.is_empty()) {
            let Some(name) = charged.name(kind) else {
                continue;
            };
            for quota in quotas {
                let key = Key {
                    kind,
                    name: name.clone(),
                    per: quota.per,
                };
                // Of two for the same time the smaller one counts.
                match all.iter_mut().find(|(k, _)| *k == key) {
                    Some((_, other)) if other.recipients > quota.recipients => *other = *quota,
                    Some(_) => {}
                    None => all.push((key, *quota)),
                }
            }
        }
        all
    }
}
