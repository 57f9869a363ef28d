//! What senders are told: C43 to C46.

use lab::{Sendoff, Verb};

use crate::scene::{
    A_WHILE, BINARY, Dsn, SENDER, SOON, Scene, eventually, log_lines, mail, mail_of, queue, send,
    send_with,
};

#[test]
fn c43_a_sender_hears_once_that_a_mail_is_late_and_only_if_notify_allows() {
    let scene = Scene::new();
    let host = scene.world.domain("later.example");
    host.set(|b| {
        b.reply(Verb::Rcpt, "", "451 4.3.0 not now");
    });
    let config = scene
        .config()
        .set("outgoing.resend_attempts", 100)
        .set("outgoing.delay_notice_after", "2s");
    let server = Sendoff::start(BINARY, config);
    let to = [
        "<bob@later.example>",
        "<eve@later.example> NOTIFY=FAILURE",
        "<ida@later.example> NOTIFY=DELAY",
        "<joe@later.example> NOTIFY=NEVER",
    ];
    send_with(&server, "RET=FULL", &to, mail("late").as_bytes());
    let attempts = || host.lines().iter().filter(|l| l.contains("<joe@")).count();
    eventually("it is tried on behind the notice", SOON, || {
        scene.origin.count() > 0 && attempts() >= 5
    });
    // Those who are late together may be told of together or each.
    let notices: Vec<Dsn> = scene
        .origin
        .wait_for(3, A_WHILE)
        .iter()
        .map(|mail| Dsn::parse(&mail.content))
        .collect();
    let about = |who: &str| {
        let final_recipient = format!("{who}@later.example");
        let told = notices.iter().filter(|n| n.names(&final_recipient));
        told.inspect(|n| {
            assert_eq!(n.field(&final_recipient, "action"), "delayed");
            assert!(n.field(&final_recipient, "status").starts_with("4."));
        })
        .count()
    };
    assert_eq!(["bob", "eve", "ida", "joe"].map(about), [1, 0, 1, 0]);
    assert_eq!(queue(&server).len(), 4, "all of them are tried on");
}

#[test]
fn c44_a_sender_who_wants_to_hear_nothing_hears_nothing() {
    let scene = Scene::new();
    let host = scene.world.domain("reject.example");
    host.set(|b| {
        b.reply(Verb::Rcpt, "", "550 5.1.1 nobody");
    });
    let server = scene.start();
    let to = ["<bob@reject.example> NOTIFY=NEVER"];
    send_with(&server, "", &to, mail("silence").as_bytes());
    let failed = server.wait_for_log(&[" failed ", "bob@reject.example"], SOON);
    assert!(failed.is_some());
    scene.assert_no_failure();
    assert!(log_lines(&server, &[" report "]).is_empty());
}

const ASKED: &str = "RET=HDRS ENVID=QQ+2B314+3Da";
const TO_BOB: &str = "<bob@good.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2Bx@Good.example";

#[test]
fn c44_success_at_a_host_without_dsn_is_reported_as_relayed() {
    let scene = Scene::new();
    let host = scene.world.domain("good.example");
    let server = scene.start();
    let to = [TO_BOB, "<eve@good.example>"];
    send_with(&server, ASKED, &to, mail("receipt").as_bytes());
    let got = host.wait_for(1, SOON);
    let got = got.first().unwrap();
    assert!(!got.mail_params.contains("RET") && !got.mail_params.contains("ENVID"));
    assert!(got.recipients.iter().all(|r| r.params.is_empty()));
    let report = scene.failure();
    assert_eq!(report.count(), 1, "eve's was not asked for");
    let field = |name: &str| report.field("bob@good.example", name);
    assert_eq!(field("action"), "relayed");
    assert!(field("status").starts_with("2."), "{}", field("status"));
    assert_eq!(field("original-recipient"), "rfc822; Bob+x@Good.example");
    assert_eq!(report.text("/message/original-envelope-id"), "QQ+314=a");
    // A receipt returns the header only (RFC 3461 §5.2.1).
    assert_eq!(report.text("/parts/2"), "text/rfc822-headers");
    assert_eq!(scene.origin.wait_for(2, A_WHILE).len(), 1);
}

#[test]
fn c44_a_host_with_dsn_is_told_what_was_asked_and_we_report_nothing() {
    let scene = Scene::new();
    let host = scene.world.domain("good.example");
    host.set(|b| {
        b.extension("DSN");
    });
    let server = scene.start();
    let to = [
        TO_BOB,
        "<eve@good.example> NOTIFY=NEVER",
        "<ida@good.example>",
    ];
    send_with(&server, ASKED, &to, mail("receipt").as_bytes());
    let got = host.wait_for(1, SOON);
    let got = got.first().unwrap();
    let words = |params: &str| {
        let mut words: Vec<String> = params.split(' ').map(str::to_owned).collect();
        words.retain(|w| !w.starts_with("SIZE="));
        words.sort();
        words
    };
    assert_eq!(words(&got.mail_params), ["ENVID=QQ+2B314+3Da", "RET=HDRS"]);
    let params: Vec<Vec<String>> = got.recipients.iter().map(|r| words(&r.params)).collect();
    assert_eq!(
        params[0],
        [
            "NOTIFY=SUCCESS,FAILURE",
            "ORCPT=rfc822;Bob+2Bx@Good.example"
        ]
    );
    assert_eq!(params[1], ["NOTIFY=NEVER"]);
    assert_eq!(params[2], [""]);
    assert!(
        server
            .wait_for_log(&[" delivered ", "<bob@"], SOON)
            .is_some()
    );
    scene.assert_no_failure();
}

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
