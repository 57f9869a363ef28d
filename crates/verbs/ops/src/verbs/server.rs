//! Verbs about who gets no mail, who is told what happened, and the server itself.

use serde::{Deserialize, Serialize};

use super::{Ask, Right};
use crate::answer::{BackedUpView, Done, EventsView, Healthy, SuppressionsView};
use crate::event::{EventSelection, WebhookTested, WebhookVerb, WebhookView};
use crate::malformed::Malformed;
use crate::records::Acting;
use crate::request::{self, NewSuppression, SuppressionSelection};

/// The suppression list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppressions {
    /// Which of its entries.
    #[serde(default)]
    pub selection: SuppressionSelection,
    /// Maximum number of entries.
    pub limit: u64,
    /// How many are passed over first.
    pub offset: u64,
}

impl Ask for Suppressions {
    type Answer = SuppressionsView;
    const NEEDS: Right = Right::Read;

    fn check(&self) -> Result<(), Malformed> {
        self.selection.check()
    }
}

/// Put recipients on the suppression list, at most 1000.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppress(pub Vec<NewSuppression>);

impl Ask for Suppress {
    type Answer = Done;
    const NEEDS: Right = Right::Operate;

    fn acting(&self) -> Option<Acting> {
        Some(Acting {
            verb: "suppress",
            about: suppressed_words(&self.0),
        })
    }

    fn check(&self) -> Result<(), Malformed> {
        self.0.iter().try_for_each(NewSuppression::check)
    }
}

/// Take a recipient off the suppression list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsuppress {
    /// The recipient.
    pub recipient: String,
    /// From this scope; none: from all.
    pub scope: Option<String>,
    /// Why, for the audit.
    #[serde(default)]
    pub reason: Option<String>,
}

impl Ask for Unsuppress {
    type Answer = Done;
    const NEEDS: Right = Right::Operate;

    fn acting(&self) -> Option<Acting> {
        Some(Acting {
            verb: "unsuppress",
            about: match &self.reason {
                Some(reason) => format!("{}: {reason}", self.recipient),
                None => self.recipient.clone(),
            },
        })
    }

    fn check(&self) -> Result<(), Malformed> {
        request::check_address(Some(&self.recipient))?;
        request::check_scope(self.scope.as_deref())
    }
}

/// The webhooks and how they fare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhooks;

impl Ask for Webhooks {
    type Answer = Vec<WebhookView>;
    const NEEDS: Right = Right::Read;
}

/// Do something with a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Its name.
    pub name: String,
    /// What.
    pub verb: WebhookVerb,
}

impl Ask for Webhook {
    type Answer = Done;
    const NEEDS: Right = Right::Operate;

    fn acting(&self) -> Option<Acting> {
        Some(Acting {
            verb: self.verb.word(),
            about: self.name.clone(),
        })
    }

    fn check(&self) -> Result<(), Malformed> {
        Ok(self.verb.check()?)
    }
}

/// Send an example to the webhook of this name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestWebhook(pub String);

impl Ask for TestWebhook {
    type Answer = WebhookTested;
    const NEEDS: Right = Right::Operate;

    fn acting(&self) -> Option<Acting> {
        Some(Acting {
            verb: "test-webhook",
            about: self.0.clone(),
        })
    }
}

/// Events that are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events(pub EventSelection);

impl Ask for Events {
    type Answer = EventsView;
    const NEEDS: Right = Right::Read;
}

/// Copy the queue and what belongs to it into this directory of the server's machine; an absolute path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup(pub String);

impl Ask for Backup {
    type Answer = BackedUpView;
    const NEEDS: Right = Right::Administer;

    fn acting(&self) -> Option<Acting> {
        Some(Acting {
            verb: "backup",
            about: self.0.clone(),
        })
    }

    fn check(&self) -> Result<(), Malformed> {
        match self.0.starts_with('/') {
            true => Ok(()),
            false => Err(Malformed::Directory(self.0.clone())),
        }
    }
}

/// The addresses that are listened at, each with its port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening;

impl Ask for Listening {
    type Answer = Vec<String>;
    const NEEDS: Right = Right::Read;
}

/// Read the configuration again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload;

impl Ask for Reload {
    type Answer = Done;
    const NEEDS: Right = Right::Administer;

    fn acting(&self) -> Option<Acting> {
        Some(Acting {
            verb: "reload",
            about: String::new(),
        })
    }
}

/// Figures by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats;

impl Ask for Stats {
    type Answer = serde_json::Map<String, serde_json::Value>;
    const NEEDS: Right = Right::Read;
}

/// Whether mail can be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health;

impl Ask for Health {
    type Answer = Healthy;
    const NEEDS: Right = Right::Read;
}

/// The first few, and how many there are.
fn suppressed_words(new: &[NewSuppression]) -> String {
    let first: Vec<&str> = (new.iter().take(5))
        .map(|entry| entry.recipient.as_str())
        .collect();
    match new.len() {
        n if n > first.len() => format!("{} and {} more", first.join(" "), n - first.len()),
        _ => first.join(" "),
    }
}
