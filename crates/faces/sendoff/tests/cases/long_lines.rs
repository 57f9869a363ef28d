//! Lines of more than 998 octets, which the usual configuration of Exim refuses: in mail of its author they are encoded before it is signed, other mail is sent as it is, and converted where a host
//! refuses it. What comes out is read by Python's `email` package.

use lab::{Received, Sendoff};
use serde_json::{Value, json};

use crate::scene::{SENDER, SOON, Scene, log_lines, python, send_with};

const READ_PARTS: &str = r#"
import email, email.policy, json, sys
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
leaves = [p for p in m.walk() if not p.is_multipart()]
def text(p):
    content = p.get_content()
    return content if isinstance(content, str) else content.decode("latin-1")
print(json.dumps({
    "to": [a.addr_spec for a in m["to"].addresses], "texts": [text(p) for p in leaves],
    "encodings": [str(p["content-transfer-encoding"]) for p in leaves],
    "defects": [repr(d) for p in m.walk() for d in p.defects],
}))
"#;

/// A signature that nobody may break unasked.
const FOREIGN: &str =
    "DKIM-Signature: v=1; a=rsa-sha256; d=origin.example; s=x; h=from; bh=; b=\r\n";

fn long() -> String {
    "0123456789".repeat(150)
}

/// A mail with long lines in its text, in an attachment, and in a header field.
fn content() -> String {
    let to: Vec<String> = (0..60).map(|n| format!("<user{n}@exim.example>")).collect();
    format!(
        "From: <{SENDER}>\r\nTo: {}\r\nSubject: long lines\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nfirst = 1\r\n{}\r\n.\r\n\
         --b\r\nContent-Type: application/json\r\n\r\n[{}]\r\n--b--\r\n",
        to.join(", "),
        long(),
        long()
    )
}

fn assert_same(mail: &Received) {
    assert!(
        mail.text().lines().all(|l| l.len() <= 998),
        "{}",
        mail.text()
    );
    let json = python(READ_PARTS, &mail.content);
    let at = |pointer: &str| json.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(at("/defects"), json!([]));
    assert_eq!(at("/to").as_array().map(Vec::len), Some(60));
    let text = format!("first = 1\n{}\n.\n", long());
    let text_of = |v: Value| v.as_str().unwrap_or_default().replace("\r\n", "\n");
    assert_eq!(text_of(at("/texts/0")).trim_end(), text.trim_end());
    assert_eq!(at("/texts/1"), json!(format!("[{}]", long())));
    assert_eq!(at("/encodings"), json!(["quoted-printable", "base64"]));
}

fn send(server: &Sendoff, content: &str) {
    send_with(server, "", &["<bob@exim.example>"], content.as_bytes());
}

#[test]
fn a_mail_of_its_author_leaves_in_short_lines() {
    let scene = Scene::new();
    // The host would take long ones.
    let host = scene.world.domain("exim.example");
    let server = scene.start();
    send(&server, &content());
    host.wait_for(1, SOON).iter().for_each(assert_same);
    let line = server.wait_for_log(&[" converted "], SOON).expect("a line");
    assert!(
        line.contains("2 parts encoded, 1 header field folded"),
        "{line}"
    );
    assert!(!line.contains("host="), "before it was signed: {line}");
}

#[test]
fn a_mail_signed_by_others_is_converted_only_where_it_is_refused() {
    let scene = Scene::new();
    let host = scene.world.domain("exim.example");
    let raw = format!("{FOREIGN}{}", content());
    let mut server = scene.start();
    send(&server, &raw);
    let mails = host.wait_for(1, SOON);
    assert!(mails.first().expect("a mail").text().contains(&raw));
    assert_eq!(log_lines(&server, &[" converted "]).len(), 0);

    host.set(|b| b.line_max = Some(998));
    send(&server, &raw);
    let mails = host.wait_for(2, SOON);
    assert_same(mails.get(1).expect("a second mail"));
    let line = server.wait_for_log(&[" converted "], SOON).expect("a line");
    assert!(
        line.contains("DKIM signature may no longer be valid"),
        "{line}"
    );

    server.reconfigure(|c| c.set("outgoing.convert_signed", false));
    server.run(&["reload"]);
    send(&server, &raw);
    let failure = scene.failure();
    let why = failure.field("bob@exim.example", "diagnostic-code");
    assert!(why.contains("998"), "{why}");
    let line = server
        .wait_for_log(&[" not-converted "], SOON)
        .expect("a line");
    assert!(line.contains("outgoing.convert_signed"), "{line}");
}

/// Its sender hears of it, though the server of his own refuses long lines too.
#[test]
fn a_report_on_a_mail_with_long_lines_has_none() {
    let scene = Scene::new();
    let host = scene.world.domain("exim.example");
    host.set(|b| b.line_max = Some(998));
    scene.origin.set(|b| b.line_max = Some(998));
    let server = Sendoff::start(
        crate::scene::BINARY,
        scene.config().set("outgoing.long_lines", "keep"),
    );
    send(&server, &content());
    let failure = scene.failure();
    assert_eq!(failure.text("/parts/2"), "text/rfc822-headers");
    assert_eq!(host.count(), 0);
}

#[test]
fn what_is_signed_as_a_part_is_not_changed() {
    let scene = Scene::new();
    let host = scene.world.domain("exim.example");
    host.set(|b| b.line_max = Some(998));
    let server = scene.start();
    let signed = format!(
        "From: <{SENDER}>\r\nSubject: signed\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/signed; boundary=s; protocol=\"application/pgp-signature\"\r\n\r\n\
         --s\r\n\r\n{}\r\n--s\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--s--\r\n",
        long()
    );
    send(&server, &signed);
    scene.failure();
    let line = server
        .wait_for_log(&[" not-converted "], SOON)
        .expect("a line");
    assert!(line.contains("signed or encrypted part"), "{line}");
}
