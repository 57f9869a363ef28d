//! A batch is reported whatever becomes of its worker.

use std::sync::Arc;

use node::event::{Event, Finished, internal_error};
use schedule::WorkerId;

use crate::shared::Shared;

/// Reports a batch even if sending it fails in a way that it must not.
pub(crate) struct BatchGuard {
    shared: Arc<Shared>,
    id: WorkerId,
    batch: Option<schedule::Batch>,
}

impl BatchGuard {
    pub(crate) fn new(shared: &Arc<Shared>, id: WorkerId, batch: schedule::Batch) -> Self {
        Self {
            shared: Arc::clone(shared),
            id,
            batch: Some(batch),
        }
    }

    pub(crate) fn finish(&mut self, finished: Finished) {
        self.batch = None;
        self.shared
            .node
            .tell(Event::Finished(self.id, Box::new(finished)));
    }
}

impl Drop for BatchGuard {
    fn drop(&mut self) {
        if let Some(batch) = self.batch.take()
            && std::thread::panicking()
        {
            let report = internal_error(&batch, "sending it failed unexpectedly");
            self.finish(Finished {
                message: None,
                report,
                transcript: None,
                reports_taken: Vec::new(),
                passed_on: Vec::new(),
                sources: Vec::new(),
            });
        }
    }
}
