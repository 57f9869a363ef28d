//! From a message of the queue to what is said to a host about it.

use std::time::Duration;

use deliver::{Transaction, TransactionRecipient};
use intake::Policy;
use mail::{
    Address, BodyType, ByMode, DeliverBy, Message, Timestamp, body_offset, utf8_xtext, xtext,
};
use smtp::command::ByTime;

/// What is to be handed over for these recipients, by their numbers: for those of them that have the
/// first one's return path. The others are still to be tried behind it.
pub(crate) fn transaction(
    policy: &Policy,
    message: &Message,
    numbers: &[u32],
    now: Timestamp,
) -> Transaction {
    let envelope = &message.envelope;
    let first = numbers.first().copied().unwrap_or_default();
    let rewritten = policy.paths.on_the_wire(message, first, &policy.local);
    let alike = |n: &&u32| policy.paths.are_alike(message, first, **n, &policy.local);
    let terms = envelope.terms;
    let recipient = |number: &u32| {
        let r = envelope.recipients.get(*number as usize)?;
        // Where a rule rewrote the address, the next server is told what was given (RFC 3461 §5.2.4).
        let given = r.given.as_ref().map(original);
        Some(TransactionRecipient {
            number: *number,
            address: r.address.clone(),
            notify: r.notify,
            orcpt: r.orcpt.clone().or(given),
        })
    };
    let header = message
        .content
        .get(..body_offset(&message.content))
        .unwrap_or_default();
    Transaction {
        reverse_path: rewritten.or_else(|| envelope.reverse_path.clone()),
        recipients: numbers.iter().filter(alike).filter_map(recipient).collect(),
        content: message.content.clone(),
        body: envelope.body_type,
        utf8_header: envelope.smtputf8
            && envelope.body_type != BodyType::SevenBit
            && !header.is_ascii(),
        conversion: None,
        ret: envelope.ret,
        env_id: envelope.env_id.clone(),
        priority: Some(terms.priority).filter(|p| *p != 0),
        deliver_by: terms.deliver_by.map(|by| by_time(by, now)),
        require_tls: terms.require_tls,
    }
}

/// ORCPT of an address (RFC 3461 §4.2, RFC 6533 §3).
fn original(address: &Address) -> String {
    match address.to_ascii() {
        Some(ascii) => format!("rfc822;{}", xtext(&ascii.to_string())),
        None => format!("utf-8;{}", utf8_xtext(address)),
    }
}

/// What is left of the time (RFC 2852 §4): a server is never told 0 or less with by-mode R.
fn by_time(by: DeliverBy, now: Timestamp) -> ByTime {
    let seconds = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
    let left = seconds(by.by.since(now)) - seconds(now.since(by.by));
    ByTime {
        seconds: match by.mode {
            ByMode::Return => left.max(1),
            ByMode::Notify => left,
        },
        mode: by.mode,
        trace: by.trace,
    }
}
