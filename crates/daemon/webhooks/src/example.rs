//! The example that `sendoff webhook test` sends: an event that never happened, as one of its type would be.

use std::collections::BTreeMap;

use mail::Timestamp;
use ops::{EventReply, EventType, EventView};

/// What its ids and texts say.
const WORDS: &str = "this is an example, sent by `sendoff webhook test`";
/// No message has such an id.
const QUEUE_ID: &str = "example";

/// An example of this type.
pub(super) fn example(kind: EventType, now: Timestamp) -> EventView {
    let id = format!("test.{}", now.as_millis());
    let view = EventView {
        test: true,
        ..EventView::new(
            id,
            kind,
            now.to_string(),
            "recipient@example.net".to_owned(),
        )
    };
    let view = match kind {
        EventType::Suppressed => EventView {
            reason: Some(format!("550 5.1.1 {WORDS}")),
            cause: Some("failure".to_owned()),
            scope: Some("all".to_owned()),
            ..view
        },
        EventType::Accepted
        | EventType::Deferred
        | EventType::Delivered
        | EventType::Failed
        | EventType::Bounced
        | EventType::Complained
        | EventType::Quota => of_message(view, now),
    };
    match kind {
        EventType::Delivered => answered(view, 250, "2.0.0"),
        EventType::Deferred => EventView {
            next_attempt: Some((now + std::time::Duration::from_secs(900)).to_string()),
            class: Some("recipient".to_owned()),
            kind_of_reply: Some("greylisted".to_owned()),
            ..answered(view, 451, "4.7.1")
        },
        EventType::Failed => EventView {
            reason: Some("refused".to_owned()),
            class: Some("recipient".to_owned()),
            kind_of_reply: Some("no_such_user".to_owned()),
            ..answered(view, 550, "5.1.1")
        },
        EventType::Bounced => EventView {
            reason: Some(format!("5.1.1 {WORDS}")),
            ..view
        },
        EventType::Complained => EventView {
            reason: Some("abuse".to_owned()),
            ..view
        },
        EventType::Quota => EventView {
            reason: Some(format!("ann has used 8 of 10/hour recipients ({WORDS})")),
            ..view
        },
        EventType::Accepted | EventType::Suppressed => view,
    }
}

/// What every event about a message has.
fn of_message(view: EventView, now: Timestamp) -> EventView {
    EventView {
        queue_id: Some(QUEUE_ID.to_owned()),
        number: Some(0),
        sender: Some("sender@example.com".to_owned()),
        destination: Some("outgoing".to_owned()),
        accepted: Some(now.to_string()),
        size: Some(1234),
        submitter: Some("key=example".to_owned()),
        user: Some("key=example".to_owned()),
        client: Some("192.0.2.1".to_owned()),
        via: Some("http".to_owned()),
        message_id: Some("<example@example.com>".to_owned()),
        subject: Some("An example".to_owned()),
        tags: vec!["example".to_owned()],
        metadata: BTreeMap::from([("order".to_owned(), "4711".to_owned())]),
        ..view
    }
}

/// With the answer of a host.
fn answered(view: EventView, code: u16, enhanced: &str) -> EventView {
    EventView {
        attempts: Some(1),
        reply: Some(EventReply {
            code,
            enhanced: Some(enhanced.to_owned()),
            text: WORDS.to_owned(),
        }),
        host: Some("mx.example.net".to_owned()),
        address: Some("192.0.2.2:25".to_owned()),
        tls: Some("verified".to_owned()),
        unknown_outcome: Some(false),
        ..view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_marked_and_as_one_of_its_type_would_be() {
        for kind in EventType::ALL {
            let view = example(kind, Timestamp::from_secs(1_800_000_000));
            assert!(view.test && view.id.starts_with("test."), "{view:?}");
            let code = view.reply.as_ref().map(|reply| reply.code / 100);
            let expected = match kind {
                EventType::Delivered => Some(2),
                EventType::Deferred => Some(4),
                EventType::Failed => Some(5),
                EventType::Accepted
                | EventType::Bounced
                | EventType::Complained
                | EventType::Suppressed
                | EventType::Quota => None,
            };
            assert_eq!(code, expected, "{view:?}");
            let has_reason = matches!(
                kind,
                EventType::Failed
                    | EventType::Bounced
                    | EventType::Complained
                    | EventType::Suppressed
                    | EventType::Quota
            );
            assert_eq!(view.reason.is_some(), has_reason, "{view:?}");
            let is_about_mail = kind != EventType::Suppressed;
            assert_eq!(view.queue_id.is_some(), is_about_mail, "{view:?}");
        }
    }
}
