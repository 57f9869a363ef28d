//! What every store of the queue must do, whatever keeps it.

use bytes::Bytes;
use mail::{
    Address, Class, Envelope, Message, Outcome, QueueId, Recipient, Reply, Submitter, Timestamp,
    Verdict,
};

/// A mail from `sender@here.example` for tests.
///
/// # Panics
/// When an address is none.
#[must_use]
pub fn message(id: u64, recipients: &[&str], content: &[u8]) -> Message {
    let address = |text: &str| Address::parse(text).expect("an address of the test");
    Message {
        id: QueueId::from_u64(id),
        accepted: Timestamp::from_secs(1_800_000_000),
        envelope: Envelope {
            reverse_path: Some(address("sender@here.example")),
            recipients: recipients
                .iter()
                .map(|r| Recipient::new(address(r)))
                .collect(),
            body_type: mail::BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            env_id: None,
            submitter: Submitter {
                user: Some("anna".to_owned()),
                peer: None,
                via: "smtp".to_owned(),
            },
        },
        content: Bytes::copy_from_slice(content),
    }
}

/// A verdict for tests.
#[must_use]
pub fn verdict(outcome: Outcome, text: &str) -> Verdict {
    let reply = Reply::new(
        if outcome == Outcome::Delivered {
            250
        } else {
            450
        },
        None,
        text,
    );
    Verdict::own(
        outcome,
        Class::Recipient,
        reply,
        Timestamp::from_secs(1_800_000_100),
    )
}
