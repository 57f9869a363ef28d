//! Verbs about waiting mail.

use serde::{Deserialize, Serialize};

use super::{Ask, Right};
use crate::answer::{ActedView, Content, MessageView, QueuedView, TraceView};
use crate::malformed::Malformed;
use crate::records::Acting;
use crate::request::{self, Order, Selection, Verb};
use crate::summary::SummaryView;

/// Waiting recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// Which.
    pub selection: Selection,
    /// In which order.
    pub order: Order,
    /// The largest first.
    #[serde(default)]
    pub descending: bool,
    /// Maximum number of entries.
    pub limit: u64,
    /// How many are passed over first.
    pub offset: u64,
}

impl Ask for List {
    type Answer = Vec<QueuedView>;
    const NEEDS: Right = Right::Read;

    fn check(&self) -> Result<(), Malformed> {
        match &self.selection {
            Selection::Ids(ids) if ids.len() != 1 => Err(Malformed::SeveralIds),
            Selection::Ids(_) | Selection::Filter(_) | Selection::All => self.selection.check(),
        }
    }
}

/// How many wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count(pub Selection);

impl Ask for Count {
    type Answer = u64;
    const NEEDS: Right = Right::Read;

    fn check(&self) -> Result<(), Malformed> {
        self.0.check()
    }
}

/// What waits, in numbers: at most so many domains by age, last answers, submitters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary(pub u64);

impl Ask for Summary {
    type Answer = SummaryView;
    const NEEDS: Right = Right::Read;
}

/// One message, by its id, with its recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Show(pub String);

impl Ask for Show {
    type Answer = MessageView;
    const NEEDS: Right = Right::Read;

    fn check(&self) -> Result<(), Malformed> {
        request::parse_id(&self.0).map(drop)
    }
}

/// Everything that happened to one message, by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace(pub String);

impl Ask for Trace {
    type Answer = TraceView;
    const NEEDS: Right = Right::Read;

    fn check(&self) -> Result<(), Malformed> {
        request::parse_id(&self.0).map(drop)
    }
}

/// Change waiting recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// How.
    pub verb: Verb,
    /// Which.
    pub selection: Selection,
}

/// Octets of a server's name.
const ROUTE_MAX: usize = 300;

impl Ask for Act {
    type Answer = ActedView;
    const NEEDS: Right = Right::Operate;

    fn acting(&self) -> Option<Acting> {
        Some(Acting {
            verb: self.verb.word(),
            about: self.selection.to_string(),
        })
    }

    fn check(&self) -> Result<(), Malformed> {
        if let Verb::Reroute(Some(to)) = &self.verb
            && (to.trim().is_empty() || to.len() > ROUTE_MAX)
        {
            return Err(Malformed::NoServer);
        }
        self.selection.check()
    }
}

/// The content of a message that waits, by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export(pub String);

impl Ask for Export {
    type Answer = Content;
    const NEEDS: Right = Right::Content;

    fn acting(&self) -> Option<Acting> {
        Some(Acting {
            verb: "read-content",
            about: self.0.clone(),
        })
    }

    fn check(&self) -> Result<(), Malformed> {
        request::parse_id(&self.0).map(drop)
    }
}
