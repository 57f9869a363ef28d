//! Failure messages: C45 and C46.

use lab::Verb;

use crate::scene::{A_WHILE, SENDER, SOON, Scene, mail, mail_of, send};

#[test]
fn c45_a_failure_message_that_cannot_be_delivered_makes_no_other() {
    let scene = Scene::new();
    let host = scene.world.domain("reject.example");
    host.set(|b| {
        b.reply(Verb::Rcpt, "", "550 5.1.1 nobody");
    });
    scene.origin.set(|b| {
        b.reply(Verb::Rcpt, "", "550 5.1.1 nobody here either");
    });
    let server = scene.start();
    send(&server, "bob@reject.example");
    assert!(server.wait_for_log(&[" unreportable "], SOON).is_some());
    assert_eq!(scene.origin.wait_for(1, A_WHILE).len(), 0);
    let from = |l: &String| l.starts_with("MAIL ");
    let mails: Vec<String> = scene.origin.lines().into_iter().filter(from).collect();
    assert_eq!(mails.len(), 1, "{mails:?}");
    assert!(
        mails.iter().all(|l| l.starts_with("MAIL FROM:<>")),
        "{mails:?}"
    );
}

#[test]
fn c46_a_failure_message_is_a_report_that_others_can_read() {
    let scene = Scene::new();
    let host = scene.world.domain("reject.example");
    let long = "many words ".repeat(60);
    let reply = format!(
        "550-5.7.27 First we thought about it.\n550-5.7.27 Gr\u{fc}\u{df}e, {long}\n550 5.7.27 No."
    );
    host.set(|b| {
        b.reply(Verb::Rcpt, "<bob@", &reply);
        b.reply(Verb::Rcpt, "<eve@", "552 5.2.2 full");
    });
    let server = scene.start();
    let to = ["bob@reject.example", "eve@reject.example"];
    server.send(SENDER, &to, &mail("Not for long"));
    let failure = scene.failure();
    assert_eq!(
        failure.count(),
        2,
        "those that failed together are reported together"
    );
    let field = |who: &str, name: &str| failure.field(&format!("{who}@reject.example"), name);
    assert_eq!(field("bob", "status"), "5.7.27");
    assert_eq!(field("eve", "status"), "5.2.2");
    assert_eq!(field("eve", "action"), "failed");
    assert!(field("bob", "remote-mta").contains("mx.reject.example"));
    let said = field("bob", "diagnostic-code");
    assert!(said.starts_with("smtp;"), "{said}");
    assert!(
        said.contains("First we thought") && said.contains("No."),
        "{said}"
    );
    assert!(
        failure
            .text("/message/reporting-mta")
            .contains("sendoff.lab")
    );
    assert!(failure.text("/to").contains(SENDER));
    assert_eq!(failure.text("/auto"), "auto-replied");
    let text = failure.text("/text");
    assert!(
        text.contains("bob@reject.example") && text.contains("eve@reject.example"),
        "{text}"
    );
}

#[test]
fn c46_a_failure_message_is_small_whatever_the_mail_was() {
    let scene = Scene::new();
    let host = scene.world.domain("reject.example");
    host.set(|b| {
        b.reply(Verb::Rcpt, "", "550 5.1.1 nobody");
    });
    let server = scene.start();
    let mut content = mail_of("large", 400_000).into_bytes();
    content.extend_from_slice(b"\xff\xfe 8-bit\r\n");
    let mut client = server.client();
    let start = format!("MAIL FROM:<{SENDER}> BODY=8BITMIME");
    client.expect(&start, 250).unwrap();
    client.expect("RCPT TO:<bob@reject.example>", 250).unwrap();
    client.expect("DATA", 354).unwrap();
    assert_eq!(client.content(&content).unwrap().code, 250);
    scene.failure().assert_failed("bob@reject.example", "5.1.1");
    let size = scene.origin.received().first().unwrap().size;
    assert!(size < 100_000, "{size}");
}
