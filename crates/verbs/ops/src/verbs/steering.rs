//! Verbs about where mail goes, what went, and what is held or limited.

use mail::{Address, Domain};
use schedule::Rate;
use serde::{Deserialize, Serialize};
use store::Filter;

use super::{Ask, Right};
use crate::answer::{DomainView, Done, FinishedView, HoldRuleView, SitesView, SourceView};
use crate::explain::Explanation;
use crate::malformed::{CONNECTIONS_MAX, Malformed};
use crate::records::Acting;
use crate::request::HistorySelection;

/// The sites mail goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sites;

impl Ask for Sites {
    type Answer = SitesView;
    const NEEDS: Right = Right::Read;
}

/// The addresses that mail leaves from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources;

impl Ask for Sources {
    type Answer = Vec<SourceView>;
    const NEEDS: Right = Right::Read;
}

/// What is known of the site that a domain's mail goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site(pub String);

impl Ask for Site {
    type Answer = DomainView;
    const NEEDS: Right = Right::Read;

    fn check(&self) -> Result<(), Malformed> {
        check_domain(&self.0)
    }
}

/// Stop the mail for a domain, or let it go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The domain.
    pub domain: String,
    /// Stop it, or let it go.
    pub on: bool,
}

impl Ask for Pause {
    type Answer = Done;
    const NEEDS: Right = Right::Operate;

    fn acting(&self) -> Option<Acting> {
        Some(Acting {
            verb: if self.on { "pause" } else { "resume" },
            about: self.domain.clone(),
        })
    }

    fn check(&self) -> Result<(), Malformed> {
        check_domain(&self.domain)
    }
}

/// Limit the mail for a domain; without limits: no more than the rules do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slow {
    /// The domain.
    pub domain: String,
    /// Messages in a time, such as `10/min`.
    pub rate: Option<String>,
    /// Connections at once.
    pub connections: Option<u32>,
}

impl Ask for Slow {
    type Answer = Done;
    const NEEDS: Right = Right::Operate;

    fn acting(&self) -> Option<Acting> {
        Some(Acting {
            verb: "slow",
            about: slow_words(self),
        })
    }

    fn check(&self) -> Result<(), Malformed> {
        check_domain(&self.domain)?;
        match self.connections {
            Some(0) => return Err(Malformed::NoConnections),
            Some(n) if n > CONNECTIONS_MAX => return Err(Malformed::TooManyConnections(n)),
            Some(_) | None => {}
        }
        self.rate.as_deref().map(Rate::parse).transpose()?;
        Ok(())
    }
}

/// The rules that hold new mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRules;

impl Ask for HoldRules {
    type Answer = Vec<HoldRuleView>;
    const NEEDS: Right = Right::Read;
}

/// Hold new mail that a filter matches, under a name; without a filter: take the rule away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRule {
    /// The rule's name.
    pub name: String,
    /// The filter.
    pub filter: Option<String>,
}

/// Octets of a rule's name, and of its filter.
const RULE_NAME_MAX: usize = 60;
const RULE_FILTER_MAX: usize = 2000;

impl Ask for HoldRule {
    type Answer = Done;
    const NEEDS: Right = Right::Operate;

    fn acting(&self) -> Option<Acting> {
        Some(Acting {
            verb: "hold-rule",
            about: match &self.filter {
                Some(filter) => format!("{}: {filter}", self.name),
                None => format!("{}: removed", self.name),
            },
        })
    }

    fn check(&self) -> Result<(), Malformed> {
        let name = &self.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > RULE_NAME_MAX || !name.chars().all(plain) {
            return Err(Malformed::RuleName(name.clone()));
        }
        match self.filter.as_deref() {
            None => Ok(()),
            Some(text) if text.len() > RULE_FILTER_MAX => Err(Malformed::LongFilter),
            Some(text) => {
                let filter = Filter::parse(text)?;
                if filter.names_kinds() {
                    return Err(Malformed::KindsOfNewMail);
                }
                match filter.terms().is_empty() {
                    true => Err(Malformed::EmptyFilter),
                    false => Ok(()),
                }
            }
        }
    }
}

/// Where the mail for an address would go, and why; sends nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explain {
    /// The address.
    pub address: String,
    /// Ask the mail host as well, up to RCPT.
    pub probe: bool,
}

impl Ask for Explain {
    type Answer = Explanation;
    const NEEDS: Right = Right::Read;

    /// Another server is asked for somebody who may do that only.
    fn needs(&self) -> Right {
        match self.probe {
            true => Right::Operate,
            false => Self::NEEDS,
        }
    }

    fn check(&self) -> Result<(), Malformed> {
        Ok(Address::parse(&self.address).map(drop)?)
    }
}

/// Finished recipients, the latest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Which.
    pub selection: HistorySelection,
    /// Maximum number of entries.
    pub limit: u64,
    /// How many are passed over first.
    pub offset: u64,
}

impl Ask for History {
    type Answer = Vec<FinishedView>;
    const NEEDS: Right = Right::Read;

    fn check(&self) -> Result<(), Malformed> {
        self.selection.filter().map(drop)
    }
}

/// How many finished recipients match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryCount {
    /// Which.
    pub selection: HistorySelection,
    /// No more than so many are counted.
    pub most: u64,
}

impl Ask for HistoryCount {
    type Answer = u64;
    const NEEDS: Right = Right::Read;

    fn check(&self) -> Result<(), Malformed> {
        self.selection.filter().map(drop)
    }
}

/// The detailed log: for everything, or for one domain or sender; on or off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detailed {
    /// A domain or an address; none: everything.
    pub only: Option<String>,
    /// On or off.
    pub on: bool,
    /// On for so many seconds; `None`: until it is switched off.
    pub seconds: Option<u64>,
}

impl Ask for Detailed {
    type Answer = Done;
    const NEEDS: Right = Right::Operate;

    fn acting(&self) -> Option<Acting> {
        Some(Acting {
            verb: if self.on {
                "detailed-on"
            } else {
                "detailed-off"
            },
            about: self.only.clone().unwrap_or_default(),
        })
    }
}

fn slow_words(ask: &Slow) -> String {
    let mut words = ask.domain.clone();
    if let Some(rate) = &ask.rate {
        words.push_str(&format!(" rate={rate}"));
    }
    if let Some(connections) = ask.connections {
        words.push_str(&format!(" connections={connections}"));
    }
    words
}

fn check_domain(text: &str) -> Result<(), Malformed> {
    Ok(Domain::parse(text).map(drop)?)
}
