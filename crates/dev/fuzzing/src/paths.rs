//! Addresses that stand for somebody else's, and what comes back to them.

use std::time::Duration;

use intake::{LocalDomains, Paths, ReturnPaths, Senders, Srs, Stands};
use mail::{Address, Envelope, IdSource, Message, QueueId, Recipient, Timestamp};
use notify::read::{Action, Returned, read};

use crate::octets::Octets;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn paths(secret: &str, per_recipient: bool) -> Option<Paths> {
    Some(Paths {
        return_paths: Some(ReturnPaths {
            domain: "bounces.example".parse().ok()?,
            per_recipient,
            senders: Senders::any(),
            users: Vec::new(),
            valid: Duration::from_secs(86_400),
            feedback: None,
        }),
        srs: Some(Srs {
            domain: "srs.example".parse().ok()?,
            valid_days: 10,
            relays: Vec::new(),
            own_domains: Vec::new(),
        }),
        keys: secret.parse().ok()?,
    })
}

/// Whatever an address of ours looks like, it stands for nothing unless it was made here; whatever
/// an author's address is, what is made for it has a lawful length, and means the same when it comes
/// back, folded to lower case or not.
pub(crate) fn paths_target(input: &[u8]) {
    let mut octets = Octets::new(input);
    let per_recipient = octets.bit();
    let forwarded = octets.bit();
    let Some(paths) = paths("00112233445566778899aabbccddeeff", per_recipient) else {
        return;
    };
    let others = self::paths("ffeeddccbbaa99887766554433221100", per_recipient);
    let text = octets.text();
    for domain in ["bounces.example", "srs.example"] {
        if let Ok(address) = Address::parse(&format!("{text}@{domain}")) {
            let read = paths.read(&address, NOW);
            assert!(read.is_err(), "{address} was not made here: {read:?}");
        }
    }
    let Ok(author) = Address::parse(&text) else {
        return;
    };
    let Ok(local) = "here.example".parse().map(|d| LocalDomains::new([d], true)) else {
        return;
    };
    let given = Address::parse("hans@here.example").ok();
    let recipient = Recipient {
        given: given.filter(|_| forwarded),
        ..Recipient::new(author.clone())
    };
    let message = Message {
        id: IdSource::above(QueueId::from_u64(0)).next_id(NOW),
        accepted: NOW,
        envelope: Envelope {
            reverse_path: Some(author.clone()),
            recipients: vec![recipient],
            ..Envelope::default()
        },
        labels: mail::Labels::default(),
        content: bytes::Bytes::new(),
    };
    let Some(made) = paths.on_the_wire(&message, 0, &local) else {
        return;
    };
    assert!(made.local().len() <= 64, "{made} is too long");
    let back = paths.read(&made, NOW);
    match &back {
        Ok(Stands::Return(id, number)) => {
            assert_eq!(*id, message.id);
            assert!(number.is_none_or(|n| n == 0));
        }
        Ok(Stands::Other(other)) => {
            let nested = author.local().to_ascii_lowercase().starts_with("srs");
            let same = other.to_ascii() == author.to_ascii();
            assert!(
                forwarded && (same || nested),
                "{author} became {made}, then {other}"
            );
        }
        Ok(Stands::Feedback) | Err(_) => panic!("{made} is not understood: {back:?}"),
    }
    let folded = made.to_string().to_lowercase();
    if let Ok(folded) = Address::parse(&folded) {
        let read = paths.read(&folded, NOW);
        assert!(read.is_ok(), "{folded} is not understood: {read:?}");
    }
    let forged = others.and_then(|others| others.read(&made, NOW).ok());
    assert_eq!(forged, None, "another secret made {made}");
}

/// Whatever comes back: what is read of it is bounded and can be written into one line.
pub(crate) fn returned(input: &[u8]) {
    let one_line = |text: &str| text.len() <= 500 && text.bytes().all(|b| matches!(b, b' '..=b'~'));
    match read(input) {
        Returned::Status(fates) => {
            assert!(!fates.is_empty() && fates.len() <= 1000);
            for fate in fates {
                assert!(one_line(&fate.diagnostic), "{:?}", fate.diagnostic);
                assert!(one_line(&fate.host), "{:?}", fate.host);
                assert!(Action::ALL.contains(&fate.action));
            }
        }
        Returned::Complaint(complaint) => {
            assert!(one_line(&complaint.kind) && one_line(&complaint.agent));
            assert!(complaint.recipients.len() <= 1000);
            assert!(complaint.return_paths.len() <= 1000);
        }
        Returned::Unreadable => {}
    }
}
