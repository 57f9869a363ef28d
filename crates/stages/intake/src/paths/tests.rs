//! Return paths and SRS: what is made is understood, what is forged or late is not.

use std::time::Duration;

use mail::{Envelope, IdSource, Recipient, Submitter};

use super::*;

const DAY: u64 = 86_400;

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn domain(text: &str) -> Domain {
    text.parse().unwrap()
}

pub(crate) fn paths() -> Paths {
    Paths {
        return_paths: Some(ReturnPaths {
            domain: domain("bounces.example.com"),
            per_recipient: true,
            senders: Senders::new(vec!["@example.com".parse().unwrap()]),
            users: vec!["anna".to_owned()],
            valid: Duration::from_secs(14 * DAY),
            feedback: Some("complaints".to_owned()),
        }),
        srs: Some(Srs {
            domain: domain("srs.example.com"),
            valid_days: 21,
            relays: vec!["192.0.2.0/28".parse().unwrap()],
            own_domains: vec![domain("example.com")],
        }),
        keys: "00112233445566778899aabbccddeeff\n".parse().unwrap(),
    }
}

fn now() -> Timestamp {
    Timestamp::from_secs(1_800_000_000)
}

fn message(from: Option<&str>, to: &str, given: Option<&str>) -> Message {
    let id = IdSource::above(QueueId::from_u64(0)).next_id(now());
    let recipient = Recipient {
        given: given.map(address),
        ..Recipient::new(address(to))
    };
    Message {
        id,
        accepted: now(),
        envelope: Envelope {
            reverse_path: from.map(address),
            recipients: vec![recipient.clone(), recipient],
            ..Envelope::default()
        },
        labels: mail::Labels::default(),
        content: "".into(),
    }
}

fn local() -> LocalDomains {
    LocalDomains::new([domain("here.example")], true)
}

#[test]
fn a_return_path_names_message_and_recipient_in_any_case() {
    let mut paths = paths();
    let m = message(Some("news@Example.com"), "a@x.example", None);
    let made = paths.on_the_wire(&m, 1, &local()).unwrap();
    assert!(made.local().len() <= LOCAL_MAX, "{made}");
    let folded = address(&made.to_string().to_uppercase());
    for address in [&made, &folded] {
        let read = paths.read(address, now());
        assert_eq!(read, Ok(Stands::Return(m.id, Some(1))));
    }
    if let Some(paths) = &mut paths.return_paths {
        paths.per_recipient = false;
    }
    let whole = paths.on_the_wire(&m, 1, &local()).unwrap();
    assert_eq!(paths.on_the_wire(&m, 0, &local()), Some(whole.clone()));
    assert_eq!(paths.read(&whole, now()), Ok(Stands::Return(m.id, None)));
}

#[test]
fn a_return_path_ends_with_its_time_and_with_its_secret() {
    let mut paths = paths();
    let m = message(Some("news@example.com"), "a@x.example", None);
    let made = paths.on_the_wire(&m, 0, &local()).unwrap();
    let later = |days: u64| now() + Duration::from_secs(days * DAY);
    assert!(paths.read(&made, later(14)).is_ok());
    let late = paths.read(&made, later(15)).unwrap_err();
    assert!(late.code == 550 && late.text.contains("expired"), "{late}");
    paths.keys = "ffffffffffffffffffffffffffffffff\n# old\n00112233445566778899aabbccddeeff"
        .parse()
        .unwrap();
    assert!(
        paths.read(&made, now()).is_ok(),
        "the old secret is believed"
    );
    assert_ne!(paths.on_the_wire(&m, 0, &local()), Some(made.clone()));
    paths.keys = "ffffffffffffffffffffffffffffffff".parse().unwrap();
    assert!(paths.read(&made, now()).is_err());
    paths.keys = Keys::default();
    assert!(
        paths.read(&made, now()).is_err(),
        "without a secret nothing is believed"
    );
    assert_eq!(paths.on_the_wire(&m, 0, &local()), None);
}

#[test]
fn any_changed_letter_is_noticed() {
    let paths = paths();
    let ours = message(Some("news@example.com"), "a@x.example", None);
    let theirs = message(
        Some("b@elsewhere.example"),
        "a@x.example",
        Some("c@here.example"),
    );
    for m in [ours, theirs] {
        let made = paths.on_the_wire(&m, 0, &local()).unwrap();
        let text = made.local();
        let meant = paths.read(&made, now()).unwrap();
        for place in 0..text.len() {
            for other in ["0", "1", "b", "z", "=", "."] {
                let mut changed = text.to_owned();
                changed.replace_range(place..=place, other);
                let Ok(changed) = Address::new(&changed, made.domain().clone()) else {
                    continue;
                };
                let folded = changed.local().eq_ignore_ascii_case(text);
                if let Ok(read) = paths.read(&changed, now()) {
                    assert!(folded && read == meant, "{changed}");
                }
            }
        }
    }
    for unsigned in [
        "b+",
        "b+06fx.0.0",
        "b+..",
        "SRS0=",
        "SRS0=a=b",
        "SRS1=a=b==c",
        "anna",
    ] {
        for domain in ["bounces.example.com", "srs.example.com"] {
            let asked = address(&format!("{unsigned}@{domain}").replace("..", ".0."));
            let refused = paths.read(&asked, now()).unwrap_err();
            assert_eq!(refused.code, 550, "{asked}");
        }
    }
}

#[test]
fn only_mail_that_a_rule_names_gets_a_return_path() {
    let paths = paths();
    let wire = |m: &Message| paths.on_the_wire(m, 0, &local());
    assert_eq!(wire(&message(None, "a@x.example", None)), None, "a report");
    assert_eq!(
        wire(&message(Some("a@other.example"), "a@x.example", None)),
        None
    );
    let ours = message(Some("b+x@bounces.example.com"), "a@x.example", None);
    assert_eq!(wire(&ours), None, "an address of ours already");
    let mut of_user = message(Some("a@other.example"), "a@x.example", None);
    of_user.envelope.submitter = Submitter {
        user: Some("anna".to_owned()),
        ..Submitter::default()
    };
    assert!(wire(&of_user).is_some());
    assert_eq!(Paths::default().on_the_wire(&of_user, 0, &local()), None);
}

#[test]
fn mail_that_is_forwarded_gets_an_srs_address_that_leads_back() {
    let paths = paths();
    for author in [
        "Otto.B+x@Elsewhere.example",
        "o=t@a.example",
        "x@b\u{fc}cher.example",
    ] {
        let m = message(Some(author), "a@x.example", Some("c@here.example"));
        let made = paths.on_the_wire(&m, 0, &local()).unwrap();
        assert_eq!(made.domain().as_str(), "srs.example.com");
        assert!(made.local().starts_with("SRS0="), "{made}");
        let author = address(author).to_ascii().unwrap();
        assert_eq!(paths.read(&made, now()), Ok(Stands::Other(author.clone())));
        let folded = address(&made.to_string().to_lowercase());
        let Ok(Stands::Other(back)) = paths.read(&folded, now()) else {
            panic!("{folded}");
        };
        assert_eq!(
            back.to_string().to_lowercase(),
            author.to_string().to_lowercase()
        );
        let late = now() + Duration::from_secs(22 * DAY);
        assert!(
            paths
                .read(&made, late)
                .unwrap_err()
                .text
                .contains("expired")
        );
    }
    let by_relay = |peer: &str| {
        let mut m = message(Some("b@elsewhere.example"), "a@x.example", None);
        m.envelope.submitter.peer = Some(peer.parse().unwrap());
        paths.on_the_wire(&m, 0, &local())
    };
    assert!(by_relay("192.0.2.3").is_some() && by_relay("::ffff:192.0.2.3").is_some());
    assert_eq!(by_relay("192.0.2.200"), None);
    for own in ["a@example.com", "a@here.example"] {
        let m = message(Some(own), "a@x.example", Some("c@here.example"));
        let made = paths.on_the_wire(&m, 0, &local());
        assert!(made.is_none_or(|a| a.domain().as_str() == "bounces.example.com"));
    }
}

#[test]
fn an_address_that_others_rewrote_grows_no_further() {
    let paths = paths();
    let forward = |author: &str| {
        let m = message(Some(author), "a@x.example", Some("c@here.example"));
        paths.on_the_wire(&m, 0, &local()).unwrap()
    };
    let first = "SRS0+ab1=TT=a.example=otto@first.example";
    let second = forward(first);
    assert!(second.local().starts_with("SRS1="), "{second}");
    assert_eq!(
        paths.read(&second, now()),
        Ok(Stands::Other(address(first)))
    );
    let theirs = "SRS1=zz=first.example=+ab1=TT=a.example=otto@second.example";
    let third = forward(theirs);
    assert_eq!(paths.read(&third, now()), Ok(Stands::Other(address(first))));
}

#[test]
fn an_author_whom_no_srs_address_can_hold_gets_a_return_path() {
    let paths = paths();
    let long = format!("{}@a-rather-long-domain.example", "o".repeat(40));
    for author in [long.as_str(), "\"a b\"@x.example"] {
        let m = message(Some(author), "a@x.example", Some("c@here.example"));
        let made = paths.on_the_wire(&m, 0, &local()).unwrap();
        assert_eq!(made.domain().as_str(), "bounces.example.com", "{made}");
    }
}

#[test]
fn secrets_are_read_line_by_line() {
    assert!("# none\n".parse::<Keys>().is_err());
    assert_eq!("abc".parse::<Keys>(), Err(ParseKeyError::Line(1)));
    let short = "\n0011223344556677".parse::<Keys>();
    assert_eq!(short, Err(ParseKeyError::Line(2)));
    let keys: Keys = "00112233445566778899aabbccddeeff".parse().unwrap();
    assert_eq!(format!("{keys:?}"), "1 secrets", "no secret is ever shown");
}
