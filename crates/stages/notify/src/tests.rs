//! Reports as their reader finds them; an independent parser reads them in the server's tests.

use bytes::Bytes;
use mail::{
    Address, BodyType, Class, EnhancedCode, Envelope, Message, Notify, Outcome, PeerHost, QueueId,
    Recipient, Reply, Ret, Submitter, Timestamp, Verdict,
};

use crate::*;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn reporter() -> Reporter {
    Reporter {
        hostname: "out.example".to_owned(),
        postmaster: address("postmaster@out.example"),
        original_max: 2000,
    }
}

fn original(content: &str) -> Message {
    let recipients = ["a@x.example", "b@x.example"].map(|a| Recipient::new(address(a)));
    Message {
        id: QueueId::from_u64(77),
        accepted: Timestamp::from_secs(1_000_000),
        envelope: Envelope {
            reverse_path: Some(address("s@a.example")),
            recipients: recipients.to_vec(),
            body_type: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            env_id: Some("x+2B1".to_owned()),
            terms: mail::Terms::default(),
            submitter: Submitter::default(),
        },
        labels: mail::Labels::of(content.as_bytes()),
        content: Bytes::copy_from_slice(content.as_bytes()),
    }
}

/// A report of ours on a refused mail.
pub(crate) fn failure_message() -> String {
    report(
        &original("Subject: x\r\n\r\nbody\r\n"),
        &refused("no such user"),
    )
    .unwrap()
}

fn refused(text: &str) -> Verdict {
    let reply = Reply::new(550, Some(EnhancedCode::new(5, 1, 1)), text);
    Verdict {
        host: Some(PeerHost {
            name: "mx.x.example".to_owned(),
            address: Some("192.0.2.1:25".parse().unwrap()),
        }),
        ..Verdict::own(
            Outcome::Failed,
            Class::Recipient,
            reply,
            Timestamp::from_secs(1_000_100),
        )
    }
}

fn report(original: &Message, verdict: &Verdict) -> Option<String> {
    let reported: Vec<Reported<'_>> = original
        .envelope
        .recipients
        .iter()
        .map(|recipient| Reported {
            passed_on: false,
            recipient,
            verdict,
            attempts: 1,
            retry_until: None,
        })
        .collect();
    let now = Timestamp::from_secs(1_000_200);
    let made = reporter().report(
        Kind::Failed,
        original,
        &reported,
        QueueId::from_u64(78),
        now,
    )?;
    assert!(made.envelope.reverse_path.is_none());
    Some(String::from_utf8(made.content.to_vec()).unwrap())
}

#[test]
fn the_report_says_what_to_whom_why_and_what_to_do() {
    let text = report(
        &original("Subject: hi\r\n\r\nbody\r\n"),
        &refused("no such user"),
    )
    .unwrap();
    for part in [
        "To: <s@a.example>\r\n",
        "Subject: Mail could not be delivered: hi\r\n",
        "Auto-Submitted: auto-replied\r\n",
        "This email address does not exist.",
        "Check it for typing errors, or ask the recipient",
        "mx.x.example[192.0.2.1]:25 answered: 550 5.1.1 no such user\r\n",
        "Original-Envelope-Id: x+1\r\n",
        "Final-Recipient: rfc822; b@x.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\
         Remote-MTA: dns; mx.x.example\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
         Subject: hi\r\n\r\nbody\r\n",
    ] {
        assert!(text.contains(part), "{part}\n---\n{text}");
    }
}

#[test]
fn nothing_is_reported_of_a_report_or_against_notify() {
    let mut null = original("A: b\r\n\r\n");
    null.envelope.reverse_path = None;
    assert_eq!(report(&null, &refused("no")), None);
    let mut never = original("A: b\r\n\r\n");
    never.envelope.recipients[0].notify = Notify::NEVER;
    let text = report(&never, &refused("no")).unwrap();
    assert!(!text.contains("a@x.example") && text.contains("b@x.example"));
}

#[test]
fn long_and_hostile_answers_stay_within_their_lines() {
    let hostile = format!("a\nb: c\u{7}ü {}", "y".repeat(3000));
    let text = report(&original("A: b\r\n\r\n"), &refused(&hostile)).unwrap();
    assert!(
        text.lines()
            .all(|l| l.len() <= 998 && !l.starts_with("b: c"))
    );
    assert!(text.is_ascii());
}

#[test]
fn the_original_is_bounded_and_returned_as_asked() {
    let big = format!("A: b\r\nC: d\r\n\r\n{}\r\n", "x".repeat(3000));
    let text = report(&original(&big), &refused("no")).unwrap();
    assert!(text.contains("text/rfc822-headers") && text.contains("C: d") && !text.contains("xxx"));
    let eight_bit = original("Subject: ü\r\n\r\nä\r\n");
    let text = report(&eight_bit, &refused("no")).unwrap();
    assert!(text.contains("Subject: =C3=BC") && text.is_ascii());
    let mut full = eight_bit;
    full.envelope.ret = Some(Ret::Full);
    let text = report(&full, &refused("no")).unwrap();
    assert!(text.contains("Content-Transfer-Encoding: 8bit\r\n\r\nSubject: ü\r\n\r\nä\r\n"));
}

#[test]
fn an_original_with_long_lines_is_returned_as_its_header_in_short_ones() {
    let words = "word ".repeat(300);
    let long = original(&format!(
        "Subject: x\r\nX-Long: {words}end\r\n\r\n{}\r\n",
        "x".repeat(999)
    ));
    let text = report(&long, &refused("no")).unwrap();
    assert!(text.contains("text/rfc822-headers") && !text.contains("xxx"));
    assert!(text.contains("X-Long: word word") && text.contains("word end\r\n"));
    assert!(text.lines().all(|l| l.len() <= 998), "{text}");
    // What cannot be folded is encoded.
    let solid = original(&format!("X-Long: {}\r\n\r\nbody\r\n", "y".repeat(1200)));
    let text = report(&solid, &refused("no")).unwrap();
    assert!(text.contains("Content-Transfer-Encoding: quoted-printable"));
    assert!(text.lines().all(|l| l.len() <= 998), "{text}");
}

#[test]
fn a_folded_message_id_is_answered_unfolded() {
    let original = original("Message-ID:\r\n <long@a.example>\r\n\r\nHello.\r\n");
    let made = report(&original, &refused("no")).unwrap();
    assert!(
        made.contains("\r\nIn-Reply-To: <long@a.example>\r\n"),
        "{made}"
    );
}

#[test]
fn a_word_that_is_cut_cannot_pass_for_a_boundary() {
    let id = QueueId::from_u64(78);
    let forged = format!("{}--=_{id}.0/out.example", "x".repeat(900));
    let made = report(&original("Subject: x\r\n\r\n"), &refused(&forged)).unwrap();
    let boundary = format!("--=_{id}.0/out.example");
    let lines = made.lines().filter(|l| l.starts_with(&boundary));
    assert_eq!(lines.count(), 4, "{made}");
}
