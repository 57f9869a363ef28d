//! What is reported of attempts.

use std::sync::Arc;
use std::time::Duration;

use mail::{RecipientKey, Timestamp, Verdict};

use crate::plan::Plan;

/// One recipient's end of an attempt.
#[derive(Debug, Clone)]
pub struct Attempted {
    /// Which one.
    pub key: RecipientKey,
    /// What came of it.
    pub verdict: Verdict,
    /// The server named a time to come back after.
    pub retry_after: Option<Duration>,
    /// The plan that such an answer is re-sent by, instead of its domain's.
    pub plan: Option<Arc<Plan>>,
    /// It waits because of us: nothing was tried, and no attempt is charged.
    pub ours: Option<OurWait>,
}

/// A wait that costs no attempt, because the reason lies with us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OurWait {
    /// For a limit of our own, until then.
    Limit(Timestamp),
    /// For a fault of ours to be mended; tried again then.
    Fault(Timestamp),
}

/// What a worker reports of a batch.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Recipients with a verdict of their own.
    pub attempted: Vec<Attempted>,
    /// No host of the site could be used: that counts for every recipient of the batch that is not in
    /// `attempted`.
    pub site_failure: Option<SiteFailure>,
    /// How long connecting took, where this batch connected.
    pub setup: Duration,
    /// How long the transaction took.
    pub service: Duration,
    /// The session stays open for more.
    pub open: bool,
}

/// No host of a site could be used.
#[derive(Debug, Clone)]
pub struct SiteFailure {
    /// The verdict for every recipient of the batch that has none of its own.
    pub verdict: Verdict,
    /// The hosts named a time to come back after.
    pub retry_after: Option<Duration>,
    /// The fault is ours and not the hosts' (a login, a name): everybody waits until then, and nobody is
    /// charged.
    pub ours_until: Option<Timestamp>,
}
