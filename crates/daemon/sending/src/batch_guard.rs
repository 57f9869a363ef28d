//! A batch is reported whatever becomes of its worker.

use std::sync::Arc;

use node::event::{Event, Finished, internal_error};
use schedule::WorkerId;

use crate::Sending;

/// Reports a batch even if sending it fails in a way that it must not.
pub(crate) struct BatchGuard {
    sending: Arc<Sending>,
    id: WorkerId,
    batch: Option<schedule::Batch>,
}

impl BatchGuard {
    pub(crate) fn new(sending: &Arc<Sending>, id: WorkerId, batch: schedule::Batch) -> Self {
        Self {
            sending: Arc::clone(sending),
            id,
            batch: Some(batch),
        }
    }

    pub(crate) fn finish(&mut self, finished: Finished) {
        self.batch = None;
        self.sending
            .node
            .tell(Event::Finished(self.id, Box::new(finished)));
    }
}

impl Drop for BatchGuard {
    fn drop(&mut self) {
        if let Some(batch) = self.batch.take()
            && std::thread::panicking()
        {
            let now = self.sending.node.now();
            let report = internal_error(&batch, "sending it failed unexpectedly", now);
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
