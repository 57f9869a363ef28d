//! Why a session came to nothing.

use mail::{Reply, TlsUsed};

use crate::judge::{Stage, judge};
use crate::way::Way;

/// Why a session is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Where it failed.
    pub stage: Stage,
    /// The host's answer, or our own account.
    pub reply: Reply,
    /// The host is to be tried again at once in this way; no policy forbids it.
    pub retry: Option<Way>,
    /// How the connection was protected when it failed.
    pub tls: TlsUsed,
    /// The fault is ours: a login that is refused, a server of our choice whose certificate is.
    pub ours: bool,
}

impl Failure {
    /// What the failure means for who was to be sent.
    #[must_use]
    pub fn judgement(&self) -> crate::Judgement {
        judge(self.stage, &self.reply)
    }
}
