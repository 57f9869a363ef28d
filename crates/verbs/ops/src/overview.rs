//! The overview: whether mail leaves, and if not, why.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the server fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OverviewView {
    /// When this was true.
    #[schema(format = DateTime)]
    pub at: String,
    /// The server's name.
    pub hostname: String,
    /// Its version.
    pub version: String,
    /// `sending`, `off` (outgoing mail is switched off) or `refusing` (it takes no mail in).
    pub state: String,
    /// Why it is not sending; none where it is.
    pub why: Option<String>,
    /// All of it in one sentence.
    pub sentence: String,
    /// Recipients that wait.
    pub waiting: u64,
    /// Recipients that are due now.
    pub due: u64,
    /// Recipients that are being sent.
    pub sessions: u64,
    /// What needs somebody, the worst first.
    pub troubles: Vec<TroubleView>,
    /// What was counted in the last hour.
    pub hour: FlowView,
    /// And in the last 24 hours.
    pub day: FlowView,
    /// Detailed logging that is switched on: for what, and until when.
    pub detailed: Vec<String>,
}

/// What went through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowView {
    /// Recipients taken into the queue.
    pub accepted: u64,
    /// Recipients delivered.
    pub delivered: u64,
    /// Attempts that are followed by another.
    pub deferred: u64,
    /// Recipients that failed.
    pub failed: u64,
    /// Recipients that were given up because of their age.
    pub expired: u64,
}

/// Something that needs somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TroubleView {
    /// `server`, `fault`, `site`, `paused`, `webhook` or `warning`.
    pub about: String,
    /// The site, domain or webhook.
    pub name: Option<String>,
    /// What it is, in words.
    pub what: String,
    /// Recipients that wait because of it.
    pub waiting: u64,
}
