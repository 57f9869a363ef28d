//! Contents that are changed for a host: converted, shortened, with other senders.

use bytes::Bytes;
use lab::Verb;
use mail::{BodyType, Outcome};

use super::yard::{Land, Yard, verdict, verdicts};

const BOB: &str = "bob@b.example";

/// A mail with this text, whose body is as is said.
fn mail(yard: &Yard, to: &[&str], header: &str, body: &str, kind: BodyType) -> mail::Message {
    let mut message = yard.staging.message("ann@a.example", to);
    let text = format!("From: <ann@a.example>\r\nSubject: x\r\n{header}\r\n{body}");
    message.content = Bytes::from(text);
    message.envelope.body_type = kind;
    message
}

const PLAIN: &str = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n";

#[tokio::test]
async fn a_host_without_8bitmime_gets_the_mail_in_seven_bits_and_others_as_it_is() {
    let land = Land::new();
    let old = land.world.domain("b.example");
    let new = land.world.domain("c.example");
    old.set(|b| {
        b.extensions(&["PIPELINING"]);
    });
    let mut yard = land.yard().await;
    let body = "Gr\u{fc}\u{df}e\r\n";
    for to in [BOB, "bob@c.example"] {
        let message = mail(&yard, &[to], PLAIN, body, BodyType::EightBitMime);
        let finished = yard.send(message).await;
        assert_eq!(verdict(&finished).outcome, Outcome::Delivered);
    }
    let text = old.received()[0].text();
    assert!(old.received()[0].content.is_ascii());
    assert!(
        text.contains("Content-Transfer-Encoding: quoted-printable"),
        "{text}"
    );
    assert!(text.contains("Gr=C3=BC=C3=9Fe"), "{text}");
    assert!(new.received()[0].text().ends_with(body));
    let lines = yard.staging.lines("converted").await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("mx.b.example"), "{lines:?}");
}

#[tokio::test]
async fn what_must_not_be_changed_fails_and_says_so() {
    let land = Land::new();
    let old = land.world.domain("b.example");
    old.set(|b| {
        b.extensions(&["PIPELINING"]);
    });
    let mut yard = land.yard().await;
    let signed = "MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b;\r\n \
                  protocol=\"application/pgp-signature\"; micalg=pgp-sha256\r\n";
    let body = "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\
                Content-Transfer-Encoding: 8bit\r\n\r\nGr\u{fc}\u{df}e\r\n\
                --b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n";
    let message = mail(&yard, &[BOB], signed, body, BodyType::EightBitMime);
    let finished = yard.send(message).await;
    let failed = verdict(&finished);
    assert_eq!(failed.outcome, Outcome::Failed);
    assert_eq!(
        failed.reply.enhanced,
        Some(mail::EnhancedCode::new(5, 6, 3))
    );
    assert_eq!((old.count(), old.unanswered().len()), (0, 0));
    assert!(finished.report.open, "the host is as good as before");
}

#[tokio::test]
async fn a_host_that_refuses_long_lines_gets_them_short_in_the_same_session() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    host.set(|b| b.line_max = Some(998));
    let mut yard = land.yard().await;
    let long = format!("{}\r\n", "word ".repeat(400));
    let message = mail(
        &yard,
        &[BOB, "eve@b.example"],
        PLAIN,
        &long,
        BodyType::SevenBit,
    );
    let finished = yard.send(message).await;
    for verdict in verdicts(&finished) {
        assert_eq!(verdict.outcome, Outcome::Delivered);
    }
    assert_eq!(
        (
            host.count(),
            host.unanswered().len(),
            host.connection_count()
        ),
        (1, 1, 1)
    );
    let received = host.received().remove(0);
    assert!(received.text().lines().all(|line| line.len() <= 998));
    assert!(received.text().contains("quoted-printable"));
    yard.staging.logged("converted", &["mx.b.example"]).await;
}

#[tokio::test]
async fn long_lines_that_must_stay_are_refused_for_good_and_that_is_said() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    host.set(|b| b.line_max = Some(998));
    let mut yard = land.yard().await;
    // A field without spaces cannot be folded.
    let field = format!("X-Long: {}\r\n{PLAIN}", "x".repeat(1200));
    let message = mail(&yard, &[BOB], &field, "Hello.\r\n", BodyType::SevenBit);
    let finished = yard.send(message).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Failed);
    yard.staging
        .logged("not-converted", &["mx.b.example", "long lines"])
        .await;
    // Where they are to stay, nothing is tried.
    let config = land.config().set("outgoing.long_lines", "keep");
    let mut yard = Yard::new(&config).await;
    let before = host.unanswered().len();
    let long = format!("{}\r\n", "word ".repeat(400));
    let message = mail(&yard, &[BOB], PLAIN, &long, BodyType::SevenBit);
    let finished = yard.send(message).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Failed);
    assert_eq!(host.unanswered().len(), before + 1);
    assert!(yard.staging.lines("not-converted").await.is_empty());
}

#[tokio::test]
async fn other_senders_are_for_servers_that_were_named_and_for_no_others() {
    let land = Land::new();
    let named = land.world.host("mx.named.example");
    let usual = land.world.domain("c.example");
    let via = format!("mx.named.example:{}", land.world.port());
    let config = land.config().rule("b.example", "via_smtp", via).table(
        "sender",
        &[
            ("match", "@a.example".into()),
            ("as", "office@provider.example".into()),
        ],
    );
    let mut yard = Yard::new(&config).await;
    for to in [BOB, "eve@b.example", "bob@c.example"] {
        let message = mail(&yard, &[to], "", "Hello.\r\n", BodyType::SevenBit);
        assert_eq!(
            verdict(&yard.send(message).await).outcome,
            Outcome::Delivered
        );
    }
    for received in named.received() {
        assert_eq!(received.sender, "office@provider.example");
        let from = received.header("From").unwrap();
        assert!(from.contains("office@provider.example"), "{from}");
    }
    let received = usual.received().remove(0);
    assert_eq!(received.sender, "ann@a.example");
    assert_eq!(received.header("From").as_deref(), Some("<ann@a.example>"));
    let lines = yard.staging.lines("sender-rewritten").await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("fields=From"), "{lines:?}");
}

#[tokio::test]
async fn a_report_has_no_sender_to_put_another_in_place_of() {
    let land = Land::new();
    let named = land.world.host("mx.named.example");
    let via = format!("mx.named.example:{}", land.world.port());
    let config = land.config().rule("b.example", "via_smtp", via).table(
        "sender",
        &[
            ("match", "*".into()),
            ("as", "office@provider.example".into()),
        ],
    );
    let mut yard = Yard::new(&config).await;
    let report = yard.staging.message("", &[BOB]);
    assert_eq!(
        verdict(&yard.send(report).await).outcome,
        Outcome::Delivered
    );
    assert_eq!(named.received()[0].sender, "");
}

#[tokio::test]
async fn a_refusal_that_is_not_about_lines_is_not_answered_by_another_try() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    host.set(|b| {
        b.reply(Verb::Final, "", "554 5.7.1 this looks like spam");
    });
    let mut yard = land.yard().await;
    let long = format!("{}\r\n", "word ".repeat(400));
    let message = mail(&yard, &[BOB], PLAIN, &long, BodyType::SevenBit);
    let finished = yard.send(message).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Failed);
    assert_eq!(host.unanswered().len(), 1);
}
