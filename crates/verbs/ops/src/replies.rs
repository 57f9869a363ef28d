//! What is known of other servers' answers, as administrators are told it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A rule that names the kind of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplyRuleView {
    /// Its name.
    pub id: String,
    /// The kind that it names, such as `greylisted` or `mailbox_full`.
    pub kind: String,
    /// The hosts that it is about, by name or `.name`; empty: all.
    pub hosts: Vec<String>,
    /// What the answer is treated as, whatever its code says: `transient` or `permanent`.
    pub treat_as: Option<String>,
    /// The recipient is not tried again before this time is over, such as `1h`.
    pub wait: Option<String>,
    /// Where the rule's words come from.
    pub source: String,
    /// Answers that it is for.
    pub examples: Vec<String>,
}

/// What is done about answers of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplyActionView {
    /// Its name.
    pub id: String,
    /// The kind of answers that it is about.
    pub kind: String,
    /// When it is done, in words.
    pub when: String,
    /// What it does, in words.
    pub effect: String,
    /// It came with Sendoff.
    pub built_in: bool,
}

/// The book of rules in force, and the actions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RepliesView {
    /// The rules, in the order in which they are asked: the first that fits names the kind.
    pub rules: Vec<ReplyRuleView>,
    /// The actions, in the order in which they are looked at.
    pub actions: Vec<ReplyActionView>,
}

/// What the server makes of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplyTestedView {
    /// The answer's code; 0: none was given.
    pub code: u16,
    /// Its kind; `unknown` where no rule fits.
    pub kind: String,
    /// The rule that names it.
    pub rule: Option<ReplyRuleView>,
    /// For how long the answer itself asks, such as `5m`.
    pub asks_for: Option<String>,
    /// The actions that count it.
    pub actions: Vec<ReplyActionView>,
}
