//! What every page may use.

use std::sync::Arc;

use accounts::{ConsoleAccounts, LoginGuard};
use console::Backend;
use mail::Timestamp;
use world::Clock;

use crate::kept::{Live, Summaries};

/// What every page may use.
#[derive(Clone)]
pub(crate) struct Web(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) accounts: Arc<ConsoleAccounts>,
    pub(crate) guard: Arc<LoginGuard>,
    pub(crate) clock: Clock,
    pub(crate) live: Live,
    pub(crate) summaries: Summaries,
}

impl Web {
    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}
