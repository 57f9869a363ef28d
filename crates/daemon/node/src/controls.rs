//! What an administrator has ordered beyond single mails, kept in the queue's log: rules that hold
//! new mail, and domains that are slowed.

use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::fmt;

use mail::{Domain, Message, RecipientKey, Timestamp};
use schedule::Rate;
use store::{Filter, Row};

/// The names of the settings in the log.
const HOLD: &str = "hold:";
const SLOW: &str = "slow:";

/// A domain's limits while it is slowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slow {
    /// Messages in a time.
    pub rate: Option<Rate>,
    /// Connections at once.
    pub connections: Option<u32>,
}

impl Slow {
    /// Reads what [`fmt::Display`] writes.
    fn parse(text: &str) -> Self {
        let mut slow = Self::default();
        for word in text.split(' ') {
            match word.split_once('=') {
                Some(("rate", rate)) => slow.rate = Rate::parse(rate).ok(),
                Some(("connections", n)) => slow.connections = n.parse().ok(),
                Some(_) | None => {}
            }
        }
        slow
    }
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        if let Some(rate) = self.rate {
            write!(f, "rate={}/{}s", rate.count, rate.per.as_secs())?;
            gap = " ";
        }
        if let Some(n) = self.connections {
            write!(f, "{gap}connections={n}")?;
        }
        Ok(())
    }
}

/// Both.
#[derive(Debug, Default)]
pub struct Controls {
    hold: RwLock<BTreeMap<String, (String, Filter)>>,
    slow: RwLock<BTreeMap<Domain, Slow>>,
}

impl Controls {
    /// What the log remembers.
    pub fn restore(&self, name: &str, value: &str) {
        if let Some(rule) = name.strip_prefix(HOLD) {
            if let Ok(filter) = Filter::parse(value) {
                self.set_hold(rule, Some((value.to_owned(), filter)));
            }
        } else if let Some(domain) = name.strip_prefix(SLOW)
            && let Ok(domain) = Domain::parse(domain)
        {
            self.set_slow(domain, Some(Slow::parse(value)));
        }
    }

    /// The name under which the log keeps a rule.
    pub fn hold_name(rule: &str) -> String {
        format!("{HOLD}{rule}")
    }

    /// The name under which the log keeps a domain's limits.
    pub fn slow_name(domain: &Domain) -> String {
        format!("{SLOW}{domain}")
    }

    /// Sets a rule, or takes it away; whether that changed anything.
    pub fn set_hold(&self, name: &str, rule: Option<(String, Filter)>) -> bool {
        let mut rules = self.hold.write();
        match rule {
            Some(rule) => {
                rules.insert(name.to_owned(), rule);
                true
            }
            None => rules.remove(name).is_some(),
        }
    }

    /// Every rule: its name and its filter.
    pub fn hold_rules(&self) -> Vec<(String, String)> {
        let rules = self.hold.read();
        let rule = |(name, (text, _)): (&String, &(String, Filter))| (name.clone(), text.clone());
        rules.iter().map(rule).collect()
    }

    /// Slows a domain, or lets it go.
    pub fn set_slow(&self, domain: Domain, slow: Option<Slow>) {
        let mut all = self.slow.write();
        match slow {
            Some(slow) => drop(all.insert(domain, slow)),
            None => drop(all.remove(&domain)),
        }
    }

    /// A domain's limits, when it is slowed.
    pub fn slow(&self, domain: &Domain) -> Option<Slow> {
        let all = self.slow.read();
        all.get(domain).copied()
    }

    /// Every domain that is slowed.
    pub fn slowed(&self) -> BTreeMap<Domain, Slow> {
        let all = self.slow.read();
        all.clone()
    }

    /// The recipients, by number, that a rule holds, and the first rule that does.
    pub(crate) fn held(&self, message: &Message, now: Timestamp) -> (Vec<u32>, Option<String>) {
        let rules = self.hold.read();
        if rules.is_empty() {
            return (Vec::new(), None);
        }
        let mut held = Vec::new();
        let mut first = None;
        for number in (0..).take(message.envelope.recipients.len()) {
            let Some(row) = row(message, number) else {
                continue;
            };
            let mut rules = rules.iter();
            if let Some((name, _)) = rules.find(|(_, (_, filter))| filter.matches(&row, now)) {
                held.push(number);
                first.get_or_insert_with(|| name.clone());
            }
        }
        (held, first)
    }
}

/// A recipient as lists will show it, so that rules say of new mail what filters say of old.
fn row(message: &Message, number: u32) -> Option<Row> {
    let envelope = &message.envelope;
    let recipient = envelope.recipients.get(number as usize)?;
    let state = message.initial_state();
    Some(Row {
        key: RecipientKey {
            id: message.id,
            recipient: number,
        },
        sender: envelope.sender(),
        recipient: recipient.address.to_string(),
        domain: recipient.address.domain().to_string(),
        destination: recipient.destination,
        status: state.status,
        attempts: 0,
        due: state.due,
        accepted: message.accepted,
        size: message.content.len() as u64,
        last_reply: String::new(),
        last_host: None,
        submitter: envelope.submitter.name(),
        route: None,
        labels: message.labels.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn limits_are_read_back_as_they_are_written() {
        let slow = Slow {
            rate: Some(Rate {
                count: 10,
                per: Duration::from_secs(60),
            }),
            connections: Some(2),
        };
        assert_eq!(slow.to_string(), "rate=10/60s connections=2");
        assert_eq!(Slow::parse(&slow.to_string()), slow);
        let one = Slow { rate: None, ..slow };
        assert_eq!(Slow::parse(&one.to_string()), one);
    }
}
