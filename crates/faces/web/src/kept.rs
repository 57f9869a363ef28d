//! What is looked up once for all who look.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;

use ops::SummaryView;
use tokio::sync::{Notify, Semaphore, watch};
use world::Instant;

/// Streams at once.
const STREAMS_MAX: usize = 32;

/// What all streams have in common.
pub(crate) struct Live {
    pub(crate) places: Arc<Semaphore>,
    pub(crate) frames: watch::Sender<Option<String>>,
    /// Somebody looks figures up.
    pub(crate) is_running: Mutex<bool>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(STREAMS_MAX)),
            frames: watch::Sender::new(None),
            is_running: Mutex::new(false),
        }
    }
}

/// What waits, as it was counted last.
#[derive(Debug, Default)]
pub(crate) struct Summaries {
    state: Mutex<State>,
    pub(crate) counted: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) last: Option<SummaryView>,
    /// Not counted again before then.
    pub(crate) again: Option<Instant>,
    pub(crate) is_counting: bool,
}

impl Summaries {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
