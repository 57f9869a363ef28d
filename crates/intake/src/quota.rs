//! How many recipients a user, a sender's address or a sender's domain may have in a time.
//!
//! A quota slides: what was sent counts until its time is over, in steps of a twelfth of it. The
//! counts are in memory, and begin anew with the server.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mail::{Address, EnhancedCode, Reply, Timestamp, format_duration};

/// So many recipients in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Recipients.
    pub recipients: u64,
    /// The time.
    pub per: Duration,
}

/// Why a text is no quota.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no quota: write recipients and a time, such as \"500/hour\" or \"2000/day\"")]
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
    /// Of each sender's address.
    pub address: Vec<Quota>,
    /// Of each sender's domain.
    pub domain: Vec<Quota>,
}

/// Steps in which a quota's time slides.
const STEPS: u32 = 12;
/// From this part of a quota on, its use is told.
const WARN_AT_PERCENT: u64 = 80;
/// Counts are looked through for those that are over when there are so many.
const COUNTS_MAX: usize = 50_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    kind: &'static str,
    name: String,
    per: Duration,
}

/// What was sent lately: the beginning of each step and its count.
#[derive(Debug, Default)]
struct Count {
    steps: VecDeque<(Timestamp, u64)>,
    warned: bool,
}

impl Count {
    fn used(&mut self, now: Timestamp, per: Duration) -> u64 {
        while self.steps.front().is_some_and(|(at, _)| *at + per <= now) {
            self.steps.pop_front();
        }
        self.steps.iter().map(|(_, n)| n).sum()
    }
}

/// The counts.
#[derive(Debug, Default)]
pub struct Usage {
    counts: Mutex<HashMap<Key, Count>>,
}

impl Quotas {
    /// Whether none is set: then nothing is counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.user.is_empty() && self.address.is_empty() && self.domain.is_empty()
    }

    fn of(&self, user: Option<&str>, sender: Option<&Address>) -> Vec<(Key, Quota)> {
        let address = sender.map(|a| a.to_string().to_lowercase());
        let domain = sender.map(|a| a.domain().to_string().to_lowercase());
        let kinds = [
            ("user", user.map(str::to_owned), &self.user),
            ("address", address, &self.address),
            ("domain", domain, &self.domain),
        ];
        let mut all: Vec<(Key, Quota)> = Vec::new();
        for (kind, name, quotas) in kinds {
            let Some(name) = name else { continue };
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

impl Usage {
    /// Whether so many more recipients fit into every quota.
    ///
    /// # Errors
    /// The reply that says which quota is used up, and until when.
    pub fn check(
        &self,
        now: Timestamp,
        quotas: &Quotas,
        user: Option<&str>,
        sender: Option<&Address>,
        more: u64,
    ) -> Result<(), Reply> {
        if quotas.is_empty() {
            return Ok(());
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, quota) in quotas.of(user, sender) {
            let used = counts.get_mut(&key).map_or(0, |c| c.used(now, quota.per));
            if used + more <= quota.recipients {
                continue;
            }
            let first = counts.get(&key).and_then(|c| c.steps.front());
            let again = first.map_or(now, |(at, _)| *at + quota.per);
            let text = format!(
                "The quota of {} is used up: {used} of {} recipients; it begins to free in {} \
                 (quota.{})",
                key.name,
                quota,
                format_duration(Duration::from_secs(again.since(now).as_secs() + 1)),
                key.kind,
            );
            return Err(Reply::new(450, Some(EnhancedCode::new(4, 7, 1)), text));
        }
        Ok(())
    }

    /// Counts recipients that were accepted. What is worth telling: a quota that is nearly used up,
    /// said once until its use falls again.
    pub fn charge(
        &self,
        now: Timestamp,
        quotas: &Quotas,
        user: Option<&str>,
        sender: Option<&Address>,
        recipients: u64,
    ) -> Vec<String> {
        if quotas.is_empty() {
            return Vec::new();
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= COUNTS_MAX {
            counts.retain(|key, count| count.used(now, key.per) > 0);
        }
        let mut told = Vec::new();
        for (key, quota) in quotas.of(user, sender) {
            let name = key.name.clone();
            let kind = key.kind;
            let count = counts.entry(key).or_default();
            let used = count.used(now, quota.per) + recipients;
            match count.steps.back_mut() {
                Some((at, n)) if *at + quota.per / STEPS > now => *n += recipients,
                Some(_) | None => count.steps.push_back((now, recipients)),
            }
            let near = used * 100 >= quota.recipients * WARN_AT_PERCENT;
            if near && !count.warned {
                told.push(format!("{kind} {name} has used {used} of {quota}"));
            }
            count.warned = near;
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_quota_slides_and_warns_once() {
        let quotas = Quotas {
            user: vec!["10/hour".parse().unwrap()],
            ..Quotas::default()
        };
        let usage = Usage::default();
        let start = Timestamp::from_secs(1_000_000);
        let charge = |at, n| usage.charge(at, &quotas, Some("ann"), None, n);
        let check = |at, n| usage.check(at, &quotas, Some("ann"), None, n);
        assert!(check(start, 10).is_ok() && check(start, 11).is_err());
        assert_eq!(charge(start, 7), Vec::<String>::new());
        assert_eq!(charge(start, 1), ["user ann has used 8 of 10/hour"]);
        assert_eq!(charge(start + HOUR / 2, 1), Vec::<String>::new());
        let refusal = check(start + HOUR / 2, 2).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "450 4.7.1 The quota of ann is used up: 9 of 10/hour recipients; it begins to free \
             in 30m1s (quota.user)"
        );
        assert!(usage.check(start, &quotas, Some("otto"), None, 10).is_ok());
        assert!(usage.check(start, &quotas, None, None, 100).is_ok());
        assert!(check(start + HOUR, 9).is_ok() && check(start + HOUR, 10).is_err());
        assert!(check(start + HOUR * 2, 10).is_ok());
    }

    #[test]
    fn senders_count_by_address_and_by_domain_whatever_the_case() {
        let quotas = Quotas {
            address: vec!["2/day".parse().unwrap()],
            domain: vec!["3/day".parse().unwrap(), "1000/day".parse().unwrap()],
            ..Quotas::default()
        };
        let usage = Usage::default();
        let now = Timestamp::from_secs(0);
        let address = |text: &str| Address::parse(text).unwrap();
        let ok = |a: &str, n| {
            usage
                .check(now, &quotas, None, Some(&address(a)), n)
                .is_ok()
        };
        usage.charge(now, &quotas, None, Some(&address("A@X.example")), 2);
        assert!(!ok("a@x.example", 1));
        assert!(ok("b@x.example", 1) && !ok("b@x.example", 2));
        assert!(ok("b@y.example", 2));
        assert!("10/week".parse::<Quota>().is_err() && "x/day".parse::<Quota>().is_err());
    }
}
