//! Hosts without 8BITMIME or SMTPUTF8: C47 and C48. What they get is read by Python's `email`
//! package.

use lab::{Received, Sendoff};
use serde_json::{Value, json};

use crate::scene::{
    A_WHILE, BINARY, SENDER, SOON, Scene, eventually, log_lines, mail, python, send_with,
};

const READ_MAIL: &str = r#"
import email, email.policy, json, sys
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
def addresses(name):
    return [[a.display_name, a.addr_spec] for a in m[name].addresses] if m[name] else []
def part(p):
    content = p.get_content()
    return {
        "type": p.get_content_type(),
        "encoding": str(p["content-transfer-encoding"]),
        "name": p.get_filename(),
        "text": content if isinstance(content, str) else None,
        "octets": None if isinstance(content, str) else content.hex(),
    }
leaves = [p for p in m.walk() if not p.is_multipart()]
print(json.dumps({
    "subject": str(m["subject"]), "from": addresses("from"), "to": addresses("to"),
    "cc": addresses("cc"),
    "groups": [g.display_name for g in m["cc"].groups if g.display_name] if m["cc"] else [],
    "composites": [str(p["content-transfer-encoding"]) for p in m.walk() if p.is_multipart()],
    "parts": [part(p) for p in leaves],
    "defects": [repr(d) for p in m.walk() for d in p.defects],
}))
"#;

fn read(mail: &Received) -> Value {
    let json = python(READ_MAIL, &mail.content);
    assert_eq!(
        json.pointer("/defects"),
        Some(&json!([])),
        "{}",
        mail.text()
    );
    json
}

fn at<'a>(json: &'a Value, pointer: &str) -> &'a Value {
    let found = json.pointer(pointer);
    found.unwrap_or_else(|| panic!("no {pointer} in {json}"))
}

/// A mail with all that needs 8BITMIME.
fn eight_bit() -> Vec<u8> {
    let mut content = "From: J\u{fc}rgen <ann@origin.example>\r\nTo: <bob@old.example>\r\n\
        Subject: Gr\u{fc}\u{df}e aus Wien, \u{1f600}\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=\"x y\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
        --x y\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
        Sch\u{f6}ne Gr\u{fc}\u{df}e \r\n.\r\n..two dots\r\n\
        \u{e4} long line, \u{fc}ber hundert Zeichen, die ein Server mit sieben Bit sonst nie s\u{e4}he, \
        so wie sie hier steht.\r\n\r\n\
        --x y\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: 8bit\r\n\
        Content-Disposition: attachment; filename=\"\u{dc}ber.bin\"\r\n\r\n"
        .as_bytes()
        .to_vec();
    content.extend((1..=255u8).filter(|b| !b"\r\n".contains(b)));
    content.extend_from_slice(b"\r\n--x y--\r\n");
    content
}

fn assert_same(got: &Received) {
    assert!(got.content.is_ascii(), "{}", got.text());
    assert!(got.text().lines().all(|l| l.len() <= 998));
    let json = read(got);
    assert_eq!(at(&json, "/subject"), "Gr\u{fc}\u{df}e aus Wien, \u{1f600}");
    assert_eq!(at(&json, "/from"), &json!([["J\u{fc}rgen", SENDER]]));
    assert_eq!(at(&json, "/composites"), &json!(["7bit"]));
    assert_eq!(at(&json, "/parts/0/encoding"), "quoted-printable");
    let text = at(&json, "/parts/0/text")
        .as_str()
        .expect("text")
        .replace("\r\n", "\n");
    let begin = "Sch\u{f6}ne Gr\u{fc}\u{df}e \n.\n..two dots\n\u{e4} long line, \u{fc}ber ";
    assert!(text.starts_with(begin), "{text}");
    assert!(text.ends_with(" steht.\n"), "{text}");
    assert_eq!(at(&json, "/parts/1/encoding"), "base64");
    assert_eq!(at(&json, "/parts/1/name"), "\u{dc}ber.bin");
    let octets: String = (1..=255u8)
        .filter(|b| !b"\r\n".contains(b))
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(at(&json, "/parts/1/octets"), &json!(octets));
}

#[test]
fn c47_a_host_without_8bitmime_gets_the_same_mail_in_seven_bits() {
    let scene = Scene::new();
    let hosts = [
        ("old.example", &["PIPELINING"][..]),
        ("older.example", &["CHUNKING", "SIZE 100000"]),
    ];
    for (domain, extensions) in hosts {
        let host = scene.world.domain(domain);
        host.set(|b| {
            b.extensions(extensions);
        });
        let server = scene.start();
        let to = format!("<bob@{domain}>");
        send_with(&server, "BODY=8BITMIME", &[&to], &eight_bit());
        let mails = host.wait_for(1, SOON);
        let got = mails.first().unwrap();
        assert!(!got.mail_params.contains("BODY"), "{}", got.mail_params);
        if let Some(size) = got.mail_params.strip_prefix("SIZE=") {
            assert_eq!(
                size,
                got.size.to_string(),
                "the size is that of what is sent"
            );
        }
        assert_same(got);
        let line = server.wait_for_log(&[" converted ", domain], SOON).unwrap();
        assert!(line.contains("2 parts encoded"), "{line}");
    }
    scene.assert_no_failure();
}

#[test]
fn c47_a_mail_is_converted_once_for_many_transactions() {
    let scene = Scene::new();
    let host = scene.world.domain("old.example");
    host.set(|b| {
        b.extensions(&["PIPELINING"]);
        b.recipients_per_mail = Some(1);
    });
    let server = scene.start();
    let to = ["<a@old.example>", "<b@old.example>", "<c@old.example>"];
    send_with(&server, "BODY=8BITMIME", &to, &eight_bit());
    let mails = host.wait_for(3, SOON);
    assert_eq!(mails.len(), 3);
    mails.iter().for_each(assert_same);
    assert_eq!(host.connection_count(), 1);
    assert_eq!(log_lines(&server, &[" converted "]).len(), 1);
}

const SIGNED_PART: &str = "MIME-Version: 1.0\r\n\
    Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; micalg=pgp-sha256;\r\n \
    boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--b\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\u{fc}\r\n\
    --b\r\nContent-Type: application/pgp-signature\r\n\r\nnone\r\n--b--\r\n";

#[test]
fn c47_a_signed_part_is_never_changed_and_another_host_may_take_it() {
    let scene = Scene::new();
    let content = format!("From: <{SENDER}>\r\n{SIGNED_PART}");
    let first = scene.world.mx("two.example", 10, "mx1.two.example");
    let second = scene.world.mx("two.example", 20, "mx2.two.example");
    let old = scene.world.domain("old.example");
    for host in [&first, &old] {
        host.set(|b| {
            b.extensions(&["PIPELINING"]);
        });
    }
    let server = scene.start();
    send_with(
        &server,
        "BODY=8BITMIME",
        &["<bob@two.example>", "<eve@old.example>"],
        content.as_bytes(),
    );
    let mails = second.wait_for(1, SOON);
    let got = mails.first().unwrap();
    assert!(got.text().ends_with(SIGNED_PART), "{}", got.text());
    assert!(
        got.mail_params.contains("BODY=8BITMIME"),
        "{}",
        got.mail_params
    );
    let failure = scene.failure();
    failure.assert_failed("eve@old.example", "5.6.3");
    let why = failure.field("eve@old.example", "diagnostic-code");
    assert!(why.contains("multipart/signed"), "{why}");
    assert_eq!((first.count(), old.count()), (0, 0));
}

#[test]
fn c47_signed_parts_within_others_are_neither_changed_nor_sent_in_seven_bits() {
    let scene = Scene::new();
    let old = scene.world.domain("old.example");
    old.set(|b| {
        b.extensions(&["PIPELINING"]);
    });
    let server = scene.start();
    let smime = |text: &str| {
        format!(
            "Content-Type: multipart/signed; boundary=s; micalg=sha-256;\r\n \
             protocol=\"application/pkcs7-signature\"\r\n\r\n\
             --s\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: 8bit\r\n\r\n{text} \r\n\r\n--s\r\n\
             Content-Type: application/pkcs7-signature; name=smime.p7s\r\n\
             Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--s--\r\n"
        )
    };
    let beside = |part: &str| {
        format!(
            "From: J\u{fc}rgen <{SENDER}>\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n{part}\
             --o\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nunsigned \u{fc}\r\n--o--\r\n"
        )
    };
    // What is signed is ASCII: it arrives octet for octet, while all around it is converted.
    let signed = smime("signed text");
    send_with(
        &server,
        "BODY=8BITMIME",
        &["<bob@old.example>"],
        beside(&signed).as_bytes(),
    );
    let mails = old.wait_for(1, SOON);
    let got = mails.first().unwrap();
    assert!(got.content.is_ascii(), "{}", got.text());
    assert!(got.text().contains(&signed), "{}", got.text());
    assert!(got.text().contains("unsigned =C3=BC"), "{}", got.text());
    // What is signed is not: nothing of the mail is changed, and its sender is told why. The same
    // holds for one in a mail that is attached.
    let signed = smime("signed \u{fc}");
    let attached = format!("Content-Type: message/rfc822\r\n\r\nSubject: in\r\n{signed}");
    for (name, part) in [("eve", &signed), ("zoe", &attached)] {
        let to = format!("<{name}@old.example>");
        send_with(&server, "BODY=8BITMIME", &[&to], beside(part).as_bytes());
        let line = server.wait_for_log(&[" failed ", name], SOON).unwrap();
        assert!(
            line.contains("5.6.3") && line.contains("multipart/signed"),
            "{line}"
        );
    }
    let reports = scene.origin.wait_for(2, SOON);
    for report in &reports {
        let text = report.text();
        assert!(
            text.contains("cannot be converted") && text.contains("signed"),
            "{text}"
        );
    }
    assert_eq!(old.count(), 1);
}

#[test]
fn c47_what_is_signed_or_encrypted_inside_octets_travels_in_base64() {
    let scene = Scene::new();
    let old = scene.world.domain("old.example");
    old.set(|b| {
        b.extensions(&[]);
    });
    let server = scene.start();
    // The octets of PKCS #7 count, not how they travel (RFC 8551 §3.3); likewise OpenPGP's.
    let kinds = [
        "application/pkcs7-mime; smime-type=signed-data",
        "multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=e",
    ];
    let octets: Vec<u8> = (128..=255).collect();
    for (kind, count) in kinds.iter().zip(1..) {
        let is_pgp = kind.contains("pgp");
        let mut content =
            format!("From: <{SENDER}>\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\n\r\n");
        if is_pgp {
            content.push_str(
                "--e\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\
                 --e\r\nContent-Type: application/octet-stream\r\n\r\n",
            );
        }
        let mut content = content.into_bytes();
        content.extend_from_slice(&octets);
        content.extend_from_slice(if is_pgp { b"\r\n--e--\r\n" } else { b"\r\n" });
        send_with(&server, "BODY=8BITMIME", &["<bob@old.example>"], &content);
        let mails = old.wait_for(count, SOON);
        let json = read(mails.last().unwrap());
        let part = if is_pgp { "/parts/1" } else { "/parts/0" };
        let got = at(&json, &format!("{part}/octets")).as_str().unwrap();
        let sent: String = octets.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(got.strip_suffix("0d0a").unwrap_or(got), sent);
    }
}

#[test]
fn c47_whether_a_dkim_signature_may_break_is_a_setting() {
    let scene = Scene::new();
    let host = scene.world.domain("old.example");
    host.set(|b| {
        b.extensions(&["PIPELINING"]);
    });
    let mut content = b"DKIM-Signature: v=1; d=origin.example; s=x; h=from; bh=; b=\r\n".to_vec();
    content.extend_from_slice(&eight_bit());
    let mut server = scene.start();
    let to = ["<bob@old.example>"];
    send_with(&server, "BODY=8BITMIME", &to, &content);
    host.wait_for(1, SOON).iter().for_each(assert_same);
    let line = server.wait_for_log(&[" converted "], SOON).unwrap();
    assert!(line.contains("DKIM"), "{line}");

    server.reconfigure(|c| c.set("outgoing.convert_signed", false));
    server.run(&["reload"]);
    send_with(&server, "BODY=8BITMIME", &to, &content);
    let failure = scene.failure();
    failure.assert_failed("bob@old.example", "5.6.3");
    let why = failure.field("bob@old.example", "diagnostic-code");
    assert!(why.contains("outgoing.convert_signed"), "{why}");
    assert_eq!(host.count(), 1);
}

#[test]
fn c47_the_size_that_counts_is_the_converted_one() {
    let scene = Scene::new();
    let host = scene.world.domain("old.example");
    let content = eight_bit();
    // Our own Received field comes on top.
    let limit = content.len() + 300;
    host.set(|b| {
        b.extensions(&[&format!("SIZE {limit}")]);
    });
    let server = scene.start();
    send_with(&server, "BODY=8BITMIME", &["<bob@old.example>"], &content);
    scene.failure().assert_failed("bob@old.example", "5.3.4");
    assert!(!host.lines().iter().any(|l| l.starts_with("MAIL")));
}

/// A host with 8BITMIME and without SMTPUTF8.
fn without_smtputf8(scene: &Scene, domain: &str) -> lab::MxHost {
    let host = scene.world.domain(domain);
    host.set(|b| {
        b.extensions(&["PIPELINING", "8BITMIME"]);
    });
    host
}

#[test]
fn c48_a_host_without_smtputf8_gets_a_labels_and_a_header_in_ascii() {
    let scene = Scene::new();
    let host = without_smtputf8(&scene, "xn--bcher-kva.example");
    let server = scene.start();
    let content = format!(
        "From: \"M\u{fc}ller, Ann\" <{SENDER}>\r\nTo: Bob <bob@b\u{fc}cher.example>\r\n\
         Cc: Zo\u{eb} <zo\u{eb}@x.example>, <c@x.example>\r\nSubject: Gr\u{fc}\u{df}e\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n\u{f6}\r\n"
    );
    send_with(
        &server,
        "BODY=8BITMIME SMTPUTF8",
        &["<bob@b\u{fc}cher.example>"],
        content.as_bytes(),
    );
    let mails = host.wait_for(1, SOON);
    let got = mails.first().unwrap();
    assert_eq!(got.addresses(), ["bob@xn--bcher-kva.example"]);
    assert_eq!(got.mail_params, "BODY=8BITMIME");
    let text = got.text();
    let (header, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(header.is_ascii(), "{header}");
    assert_eq!(body, "\u{f6}\r\n", "the host takes 8-bit bodies");
    let json = read(got);
    assert_eq!(at(&json, "/subject"), "Gr\u{fc}\u{df}e");
    assert_eq!(at(&json, "/from"), &json!([["M\u{fc}ller, Ann", SENDER]]));
    assert_eq!(
        at(&json, "/to"),
        &json!([["Bob", "bob@xn--bcher-kva.example"]])
    );
    // Who has no address in ASCII is shown, and cannot be answered.
    assert_eq!(at(&json, "/cc"), &json!([["", "c@x.example"]]));
    let groups = at(&json, "/groups").to_string();
    assert!(groups.contains("Zo\u{eb} <zo\u{eb}@x.example>"), "{groups}");
    let converted = server.wait_for_log(&[" converted ", "4 header fields"], SOON);
    assert!(converted.is_some());
}

#[test]
fn c48_a_local_part_outside_ascii_fails_for_that_recipient_alone() {
    let scene = Scene::new();
    let host = without_smtputf8(&scene, "good.example");
    let server = scene.start();
    let to = ["<b\u{f6}b@good.example>", "<eve@good.example>"];
    send_with(&server, "SMTPUTF8", &to, mail("plain").as_bytes());
    let mails = host.wait_for(1, SOON);
    assert_eq!(mails.first().unwrap().addresses(), ["eve@good.example"]);
    let failure = scene.failure();
    assert_eq!(failure.count(), 1);
    let field = |name| failure.field("good.example", name);
    assert_eq!(field("final-recipient"), r"utf-8; b\x{F6}b@good.example");
    assert_eq!(
        (field("action"), field("status")),
        ("failed".into(), "5.6.7".into())
    );
    let line = server.wait_for_log(&[" failed ", "b\u{f6}b@good.example"], SOON);
    assert!(line.unwrap().contains("SMTPUTF8"));
}

#[test]
fn c48_a_host_with_smtputf8_gets_everything_as_it_is() {
    let scene = Scene::new();
    let host = scene.world.domain("new.example");
    let server = scene.start();
    let content = format!("From: <{SENDER}>\r\nSubject: Gr\u{fc}\u{df}e\r\n\r\n\u{f6}\r\n");
    send_with(
        &server,
        "BODY=8BITMIME SMTPUTF8",
        &["<b\u{f6}b@new.example>"],
        content.as_bytes(),
    );
    let mails = host.wait_for(1, SOON);
    let got = mails.first().unwrap();
    assert_eq!(got.addresses(), ["b\u{f6}b@new.example"]);
    assert!(got.mail_params.contains("SMTPUTF8"), "{}", got.mail_params);
    assert!(got.text().ends_with(&content), "{}", got.text());
    assert!(log_lines(&server, &[" converted "]).is_empty());
}

#[test]
fn c48_an_ascii_mail_handed_in_with_smtputf8_goes_to_a_host_without() {
    let scene = Scene::new();
    let host = scene.world.domain("plain.example");
    host.set(|b| {
        b.extensions(&[]);
    });
    let server: Sendoff = Sendoff::start(BINARY, scene.config());
    let to = ["<bob@plain.example>"];
    send_with(
        &server,
        "SMTPUTF8 BODY=8BITMIME",
        &to,
        mail("plain").as_bytes(),
    );
    let mails = host.wait_for(1, SOON);
    assert_eq!(mails.first().unwrap().mail_params, "");
    eventually("it is delivered", SOON, || {
        !log_lines(&server, &[" delivered ", "attempt=1"]).is_empty()
    });
    assert_eq!(scene.origin.wait_for(1, A_WHILE).len(), 0);
}
