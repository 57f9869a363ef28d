//! The durable state of a recipient that waits.

use crate::{Timestamp, Verdict};

/// Whether a waiting recipient may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    /// It is tried when due.
    #[default]
    Waiting,
    /// An administrator, or a rule, holds it: it is not tried until released.
    Held,
}

/// What a restart must know of a recipient that has no final outcome yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecipientState {
    /// Waiting or held.
    pub status: Status,
    /// Attempts that counted so far.
    pub attempts: u32,
    /// The earliest time of the next attempt.
    pub due: Timestamp,
    /// The delay notice has been sent.
    pub delay_notified: bool,
    /// Where an administrator sends it, instead of where the rules would: `host`, `host:port`,
    /// `[ip]` or `[ip]:port`.
    pub route: Option<String>,
    /// The last attempt's verdict.
    pub last: Option<Verdict>,
}
