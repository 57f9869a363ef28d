//! Where the mail for an address would go, and why.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One step of an explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// What it is about: `rewriting`, `rule`, `dns`, `host`, `tls`, `limits`, `site`, `probe`, …
    pub about: String,
    /// What was found.
    pub what: String,
}

/// The complete explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The address as it was given.
    pub address: String,
    /// The steps of the decision, in order.
    pub steps: Vec<Step>,
    /// What would happen now.
    pub verdict: String,
}

impl Explanation {
    /// An explanation with nothing in it.
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            steps: Vec::new(),
            verdict: String::new(),
        }
    }

    /// Adds a step.
    pub fn step(&mut self, about: &str, what: impl Into<String>) {
        self.steps.push(Step {
            about: about.to_owned(),
            what: what.into(),
        });
    }

    /// Its text for a person.
    #[must_use]
    pub fn text(&self) -> String {
        let width = self.steps.iter().map(|s| s.about.len()).max().unwrap_or(0);
        let mut text = format!("{}\n", self.address);
        for step in &self.steps {
            for (n, line) in step.what.lines().enumerate() {
                let about = if n == 0 { step.about.as_str() } else { "" };
                text.push_str(&format!("  {about:<width$}  {line}\n"));
            }
        }
        text.push_str(&format!("Now: {}\n", self.verdict));
        text
    }
}
