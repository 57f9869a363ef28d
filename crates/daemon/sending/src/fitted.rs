//! What was made of a message for a host, kept with the session for its next recipients.

use bytes::Bytes;
use deliver::{Conversion, Converted, Obstacle};
use mail::QueueId;

/// What came of converting a content. It is kept with the session, for the next recipients of the
/// same message.
pub(crate) struct Fitted {
    pub(crate) id: QueueId,
    pub(crate) conversion: Conversion,
    pub(crate) outcome: Result<Converted, Obstacle>,
}

/// A content with other senders. It is kept with the session, for the next recipients of the same message.
pub(crate) struct Rewritten {
    pub(crate) id: QueueId,
    /// None: it stays as it is.
    pub(crate) content: Option<Bytes>,
}
