//! What reaches the spool: envelopes, rewriting, destinations, content.

use intake::{RewriteRule, Rewriting};
use mail::{BodyType, Destination, Message, Notify, Ret};

use crate::shell::{INSIDE, OUTSIDE, Shell, address, policy, without_received};

fn accepted(policy: intake::Policy, peer: &str, wire: &str) -> Message {
    let mut shell = Shell::new(policy, peer);
    let said = shell.say(&format!("EHLO client.example\r\n{wire}"));
    shell.accepted.pop().unwrap_or_else(|| panic!("{said}"))
}

#[test]
fn the_envelope_keeps_what_was_said() {
    let message = accepted(
        policy(),
        INSIDE,
        "MAIL FROM:<a@b.example> RET=HDRS ENVID=id+2B1\r\n\
         RCPT TO:<c@d.example> NOTIFY=SUCCESS ORCPT=rfc822;c@d.example\r\n\
         RCPT TO:<e@local.example>\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<Postmaster>\r\n\
         DATA\r\nx\r\n.\r\n",
    );
    let envelope = &message.envelope;
    assert_eq!(envelope.sender(), "a@b.example");
    assert_eq!(
        (envelope.ret, envelope.env_id.as_deref()),
        (Some(Ret::Headers), Some("id+2B1"))
    );
    assert_eq!(envelope.submitter.name(), "10.0.0.5");
    let kept: Vec<_> = envelope
        .recipients
        .iter()
        .map(|r| (r.address.to_string(), r.destination))
        .collect();
    assert_eq!(
        kept,
        [
            ("c@d.example".to_owned(), Destination::Outgoing),
            ("e@local.example".to_owned(), Destination::Local),
            ("postmaster@local.example".to_owned(), Destination::Local),
        ]
    );
    assert_eq!(envelope.recipients[0].notify, Notify::SUCCESS);
    assert_eq!(
        envelope.recipients[0].orcpt.as_deref(),
        Some("rfc822;c@d.example")
    );
}

#[test]
fn recipients_are_rewritten_after_relaying_was_judged() {
    let mut policy = policy();
    policy.rewriting = Rewriting::new(vec![
        RewriteRule {
            matching: "local.example".parse().unwrap(),
            convert_address: None,
            convert_domain: Some("far.example".parse().unwrap()),
        },
        RewriteRule {
            matching: "old.example".parse().unwrap(),
            convert_address: Some(address("me@local.example")),
            convert_domain: None,
        },
    ]);
    let mut shell = Shell::new(policy, OUTSIDE);
    let said = shell.say(
        "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@old.example>\r\nRCPT TO:<b@local.example>\r\n\
         DATA\r\nx\r\n.\r\n",
    );
    assert!(
        said.contains("\r\n550 5.7.1 Relaying denied: authentication required\r\n"),
        "{said}"
    );
    let recipients = &shell.accepted[0].envelope.recipients;
    assert_eq!(recipients.len(), 1);
    assert_eq!(recipients[0].address, address("b@far.example"));
    assert_eq!(recipients[0].given, Some(address("b@local.example")));
    assert_eq!(recipients[0].destination, Destination::Outgoing);
}

#[test]
fn the_envelope_is_honest_about_the_content() {
    let mail = |params: &str, content: &str| {
        let wire = format!(
            "MAIL FROM:<a@b.example>{params}\r\nRCPT TO:<c@d.example>\r\nDATA\r\n{content}\r\n.\r\n"
        );
        let envelope = accepted(policy(), INSIDE, &wire).envelope;
        (envelope.body_type, envelope.smtputf8)
    };
    let (seven, eight) = (BodyType::SevenBit, BodyType::EightBitMime);
    assert_eq!(mail("", "S: x\r\n\r\nplain"), (seven, false));
    assert_eq!(mail("", "S: x\r\n\r\ngr\u{fc}n"), (eight, false));
    assert_eq!(
        mail(" BODY=8BITMIME SMTPUTF8", "S: x\r\n\r\nplain"),
        (seven, false)
    );
    assert_eq!(mail(" SMTPUTF8", "S: x\r\n\r\ngr\u{fc}n"), (eight, false));
    assert_eq!(mail(" SMTPUTF8", "S: gr\u{fc}n\r\n\r\nx"), (eight, true));
}

#[test]
fn smtputf8_stays_for_an_address_that_only_it_can_carry() {
    let mail = |to: &str| {
        let wire =
            format!("MAIL FROM:<a@b.example> SMTPUTF8\r\nRCPT TO:<{to}>\r\nDATA\r\nx\r\n.\r\n");
        accepted(policy(), INSIDE, &wire).envelope.smtputf8
    };
    assert!(mail("\u{fc}@d.example"));
    assert!(!mail("a@b\u{fc}cher.example"));
}

#[test]
fn the_received_field_names_the_way_in() {
    let message = accepted(
        policy(),
        INSIDE,
        "MAIL FROM:<a@b.example> SMTPUTF8\r\nRCPT TO:<c@d.example>\r\nBDAT 3\r\nA: BDAT 3 LAST\r\nb\r\n",
    );
    let content = String::from_utf8(message.content.to_vec()).unwrap();
    let expected = format!(
        "Received: from client.example ([10.0.0.5])\r\n\tby mx.example with UTF8SMTP id {}\r\n\
         \tfor <c@d.example>;\r\n\tSun, 22 Nov 2026 14:50:59 +0000\r\nA: b\r\n\r\n",
        message.id
    );
    assert_eq!(content, expected);
    assert_eq!(without_received(&message), b"A: b\r\n\r\n");
}

#[test]
fn an_ipv4_mapped_client_is_an_ipv4_client() {
    let message = accepted(
        policy(),
        "[::ffff:10.0.0.5]:9",
        "MAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nx\r\n.\r\n",
    );
    let peer = message.envelope.submitter.peer.unwrap();
    assert_eq!(peer.to_string(), "10.0.0.5");
}

#[test]
fn many_mails_of_one_session_are_each_kept_whole() {
    let line = format!("{}\r\n", "x".repeat(76));
    let content = line.repeat(10_240 / line.len());
    let mail = format!(
        "MAIL FROM:<a@b.example> SIZE=10240\r\nRCPT TO:<c@d.example>\r\nDATA\r\n{content}.\r\n"
    );
    let mut shell = Shell::new(policy(), INSIDE);
    shell.say(&format!("EHLO c\r\n{}", mail.repeat(200)));
    assert_eq!(shell.accepted.len(), 200);
    for message in &shell.accepted {
        assert!(message.content.ends_with(content.as_bytes()));
        assert!(message.content.len() < content.len() + 300);
    }
    let mut ids: Vec<_> = shell.accepted.iter().map(|m| m.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 200);
}
