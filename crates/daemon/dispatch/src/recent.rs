//! Messages accepted a moment ago, kept in memory within a bound, so that the usual mail is
//! delivered without being read back from disk.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use mail::{Message, QueueId};

/// Octets of content kept.
const BYTES_MAX: usize = 64 << 20;

#[derive(Debug, Default)]
pub(crate) struct Recent {
    messages: HashMap<QueueId, (Arc<Message>, usize)>,
    order: VecDeque<QueueId>,
    bytes: usize,
}

impl Recent {
    /// Keeps a message; the oldest make room.
    pub(crate) fn insert(&mut self, message: Arc<Message>) {
        let (id, size) = (message.id, message.content.len());
        if size > BYTES_MAX / 4 {
            return;
        }
        let recipients = message.envelope.recipients.len();
        self.bytes += size;
        self.order.push_back(id);
        self.messages.insert(id, (message, recipients));
        while self.bytes > BYTES_MAX || self.order.len() > 4 * self.messages.len() + 64 {
            match self.order.pop_front() {
                Some(oldest) if self.bytes > BYTES_MAX => self.forget(oldest),
                // Names of what is gone already; what is still here goes to the end of the line.
                Some(oldest) if self.messages.contains_key(&oldest) => self.order.push_back(oldest),
                Some(_) => {}
                None => return,
            }
        }
    }

    /// The message, if it is still here.
    pub(crate) fn get(&self, id: QueueId) -> Option<Arc<Message>> {
        self.messages
            .get(&id)
            .map(|(message, _)| Arc::clone(message))
    }

    /// One recipient more has its outcome.
    pub(crate) fn recipient_done(&mut self, id: QueueId) {
        if let Some((_, left)) = self.messages.get_mut(&id) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.forget(id);
            }
        }
    }

    /// The message will not be wanted for a while.
    pub(crate) fn forget(&mut self, id: QueueId) {
        if let Some((message, _)) = self.messages.remove(&id) {
            self.bytes -= message.content.len();
        }
    }
}
