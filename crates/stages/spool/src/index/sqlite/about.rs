//! What tables keep of a recipient's message.

use mail::QueueId;

use super::{time_to_sql, to_sql};
use crate::change::MessageMeta;
use crate::record::{given_bytes, origin_bytes};

/// What the history keeps of a recipient's message.
pub(super) struct About {
    pub(super) sender: String,
    pub(super) recipient: String,
    pub(super) accepted: i64,
    pub(super) size: i64,
    pub(super) submitter: String,
    pub(super) origin: Option<Vec<u8>>,
    pub(super) destination: u8,
    pub(super) message_id: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) given: Option<Vec<u8>>,
}

pub(super) fn about(meta: &MessageMeta, n: u32) -> Option<About> {
    let recipient = meta.envelope.recipients.get(n as usize)?;
    Some(About {
        sender: meta.envelope.sender(),
        recipient: recipient.address.to_string(),
        accepted: time_to_sql(meta.accepted),
        size: to_sql(meta.size),
        submitter: meta.envelope.submitter.name(),
        origin: Some(origin_bytes(&meta.envelope)),
        destination: recipient.destination.code(),
        message_id: meta.labels.message_id.clone(),
        subject: meta.labels.subject.clone(),
        given: given_bytes(&meta.labels),
    })
}

pub(super) const fn number(id: QueueId) -> i64 {
    id.as_u64() as i64
}
