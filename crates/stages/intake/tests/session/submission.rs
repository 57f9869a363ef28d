//! What a submission server is asked beyond plain mail: senders, quotas, terms, unknown mailboxes.

use std::time::Duration;

use bytes::Bytes;
use intake::{AcceptFailure, Event, FixUps, Quotas, Rights, Senders, Submission};
use mail::{ByMode, Destination, IdSource, QueueId, Submitter, Terms, Timestamp};

use crate::shell::{ANN, INSIDE, OUTSIDE, Shell, address, policy};

const CONTENT: &str = "Subject: x\r\n\r\nbody\r\n.\r\n";

fn logged_in(shell: &mut Shell) {
    shell.say("EHLO c\r\nSTARTTLS\r\n");
    shell.start_tls();
    shell.say("EHLO c\r\n");
    let answer = shell.say(&format!("AUTH PLAIN {ANN}\r\n"));
    assert!(answer.starts_with("235"), "{answer}");
}

#[test]
fn a_user_sends_from_its_own_addresses_only() {
    let mut shell = Shell::new(policy(), OUTSIDE);
    shell.senders = Senders::new(vec!["@own.example".parse().unwrap()]);
    logged_in(&mut shell);
    let answer = shell.say("MAIL FROM:<ann@other.example>\r\n");
    assert_eq!(
        answer,
        "553 5.7.1 ann may not send as ann@other.example; allowed: @own.example. An administrator \
         can change this with `sendoff user senders`\r\n"
    );
    assert!(shell.say("MAIL FROM:<>\r\nRSET\r\n").starts_with("250"));
    assert!(
        shell
            .say("MAIL FROM:<x@OWN.example>\r\n")
            .starts_with("250")
    );
}

#[test]
fn a_quota_is_told_before_and_when_it_is_used_up() {
    let mut policy = policy();
    policy.quotas = Quotas {
        user: vec!["5/hour".parse().unwrap()],
        ..Quotas::default()
    };
    let mut shell = Shell::new(policy, OUTSIDE);
    logged_in(&mut shell);
    let rcpts = |range: std::ops::Range<u32>| -> String {
        range
            .map(|n| format!("RCPT TO:<r{n}@x.example>\r\n"))
            .collect()
    };
    shell.say(&format!(
        "MAIL FROM:<a@b.example>\r\n{}DATA\r\n",
        rcpts(0..4)
    ));
    shell.say(CONTENT);
    let told = |e: &Event| matches!(e, Event::QuotaNear { what, .. } if what == "ann has used 4 of 5/hour recipients (quota.user)");
    assert_eq!(shell.events.iter().filter(|e| told(e)).count(), 1);
    let answer = shell.say(&format!("MAIL FROM:<a@b.example>\r\n{}", rcpts(0..2)));
    let lines: Vec<&str> = answer.lines().collect();
    assert!(lines[1].starts_with("250"), "{answer}");
    assert!(
        lines[2].starts_with("450 4.7.1 The quota of ann is used up: 4 of 5/hour"),
        "{answer}"
    );
    // Mail that stays here is not counted.
    assert!(
        shell
            .say("RCPT TO:<a@local.example>\r\n")
            .starts_with("250")
    );
    shell.say("RSET\r\n");
    shell.wait(Duration::from_secs(200));
    shell.say("NOOP\r\n");
    shell.now = shell.now + Duration::from_secs(3600);
    let answer = shell.say(&format!("MAIL FROM:<a@b.example>\r\n{}", rcpts(0..5)));
    assert!(answer.lines().all(|l| l.starts_with("250")), "{answer}");
}

#[test]
fn what_could_not_be_saved_is_not_counted_and_tells_of_no_quota() {
    let mut policy = policy();
    policy.quotas = Quotas {
        login: vec!["1/day".parse().unwrap()],
        ..Quotas::default()
    };
    let mut shell = Shell::new(policy, OUTSIDE);
    shell.failures = vec![AcceptFailure::Full];
    logged_in(&mut shell);
    let near = |shell: &Shell| {
        let is = |e: &&Event| matches!(e, Event::QuotaNear { .. });
        shell.events.iter().filter(is).count()
    };
    let mail = "MAIL FROM:<a@b.example>\r\nRCPT TO:<x@y.example>\r\nDATA\r\n";
    shell.say(mail);
    assert!(shell.say(CONTENT).starts_with("452"));
    assert_eq!(near(&shell), 0);
    shell.say(mail);
    assert!(shell.say(CONTENT).starts_with("250"));
    assert_eq!(near(&shell), 1);
    let answer = shell.say("MAIL FROM:<a@b.example>\r\nRCPT TO:<x@y.example>\r\n");
    assert!(answer.contains("450 4.7.1"), "{answer}");
}

#[test]
fn terms_are_offered_to_those_who_may_send_anywhere_and_kept() {
    let mut outside = Shell::new(policy(), OUTSIDE);
    let offer = outside.say("EHLO c\r\n");
    for keyword in ["FUTURERELEASE", "DELIVERBY", "MT-PRIORITY"] {
        assert!(!offer.contains(keyword), "{offer}");
    }
    assert!(
        outside
            .say("MAIL FROM:<a@b.example> HOLDFOR=9\r\n")
            .starts_with("555")
    );
    let mut shell = Shell::new(policy(), INSIDE);
    let offer = shell.say("EHLO c\r\n");
    for keyword in [
        "FUTURERELEASE 5184000 2",
        "DELIVERBY\r\n",
        "MT-PRIORITY\r\n",
    ] {
        assert!(offer.contains(keyword), "{offer}");
    }
    let late = "MAIL FROM:<a@b.example> HOLDFOR=5184001\r\n";
    assert!(shell.say(late).starts_with("501 5.5.4"));
    shell.say("MAIL FROM:<a@b.example> HOLDFOR=600 BY=-20;N MT-PRIORITY=3\r\n");
    shell.say("RCPT TO:<x@y.example>\r\nDATA\r\n");
    shell.say(CONTENT);
    let terms = shell.accepted[0].envelope.terms;
    assert_eq!(terms.not_before, Some(shell.now + Duration::from_secs(600)));
    let by = terms.deliver_by.unwrap();
    assert_eq!(
        (by.by, by.mode),
        (shell.now - Duration::from_secs(20), ByMode::Notify)
    );
    assert_eq!(terms.priority, 3);
    assert_eq!(
        shell.accepted[0].initial_state().due,
        terms.not_before.unwrap()
    );
}

#[test]
fn what_the_store_does_not_know_is_refused_at_rcpt() {
    let mut policy = policy();
    policy.local.store_knows = true;
    let mut shell = Shell::new(policy, OUTSIDE);
    let answer = shell.say(
        "EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<unknown@local.example>\r\n\
         RCPT TO:<ann@local.example>\r\nDATA\r\n",
    );
    let codes: Vec<&str> = answer.lines().map(|l| l.get(..3).unwrap()).collect();
    assert!(codes.ends_with(&["250", "550", "250", "354"]), "{answer}");
}

#[test]
fn too_many_failed_logins_are_told_apart_from_a_wrong_one() {
    let mut shell = Shell::new(policy(), OUTSIDE);
    shell.say("EHLO c\r\nSTARTTLS\r\n");
    shell.start_tls();
    shell.say("EHLO c\r\n");
    // often, with the password x
    let answer = shell.say("AUTH PLAIN AG9mdGVuAHg=\r\n");
    assert!(answer.starts_with("454 4.7.0 Too many"), "{answer}");
}

#[test]
fn a_mail_handed_in_whole_is_judged_recipient_by_recipient() {
    let mut policy = policy();
    policy.local.has_store = false;
    policy.limits.recipients = 2;
    let now = Timestamp::from_secs(1_795_359_059);
    let id = IdSource::above(QueueId::from_u64(0)).next_id(now);
    let to = [
        "a@x.example",
        "b@local.example",
        "a@x.example",
        "c@x.example",
        "d@x.example",
    ];
    let submission = |content: &'static str| Submission {
        is_part: false,
        body_type: mail::BodyType::SevenBit,
        reverse_path: Some(address("s@own.example")),
        recipients: to.iter().map(|a| address(a).into()).collect(),
        content: Bytes::from_static(content.as_bytes()),
        ret: None,
        env_id: None,
        terms: Terms::default(),
        is_test: false,
        labels: mail::Labels::default(),
        submitter: Submitter {
            user: Some("app".to_owned()),
            peer: None,
            via: "http".to_owned(),
        },
        rights: Rights::Any,
    };
    let content = "Subject: \u{fc}\nBcc: d@x.example\n\nHi\n.\nthere";
    let composed = policy
        .compose(submission(content), FixUps::ALL, id, now)
        .unwrap();
    let codes: Vec<u16> = composed
        .recipients
        .iter()
        .map(|r| r.as_ref().err().map_or(250, |refusal| refusal.reply.code))
        .collect();
    assert_eq!(codes, [250, 550, 250, 250, 452]);
    let message = composed.message;
    let envelope = &message.envelope;
    assert_eq!(envelope.recipients.len(), 2);
    assert!(
        envelope
            .recipients
            .iter()
            .all(|r| r.destination == Destination::Outgoing)
    );
    assert!(envelope.smtputf8, "its header is not ASCII");
    let text = String::from_utf8(message.content.to_vec()).unwrap();
    assert!(
        text.starts_with("Received: by mx.example (http)\r\n\tid "),
        "{text}"
    );
    assert!(
        text.contains("\r\nDate: Sun, 22 Nov 2026 14:50:59 +0000\r\n"),
        "{text}"
    );
    assert!(
        text.contains(&format!("\r\nMessage-ID: <{id}@mx.example>\r\n")),
        "{text}"
    );
    assert!(!text.contains("Bcc"), "{text}");
    assert!(text.ends_with("\r\n\r\nHi\r\n.\r\nthere\r\n"), "{text}");
    policy.limits.message_size = 10;
    let refused = policy.compose(submission(content), FixUps::ALL, id, now);
    assert_eq!(refused.unwrap_err().reply.code, 552);
}
