//! TLS on the way: how far it is insisted on, what is tried instead, and what is counted of it.

use std::sync::Arc;

use lab::StartTls;
use mail::{Outcome, TlsUsed};
use protection::tls_reports;

use super::yard::{HOUR, Land, Yard, transcript, verdict};

const BOB: &str = "bob@b.example";

fn counted(yard: &Yard, name: &str) -> u64 {
    let all = yard.staging.node.figures.all();
    all.into_iter().find(|(n, _)| *n == name).unwrap().1
}

/// What was counted for reports.
async fn reported(yard: &Yard) -> String {
    yard.staging.node.stopping.cancel();
    tls_reports::keep(Arc::clone(&yard.protection)).await;
    let file = yard.staging.data_dir().join("tls-reports/2026-12-01.jsonl");
    std::fs::read_to_string(file).unwrap_or_default()
}

#[tokio::test]
async fn a_host_with_tls_gets_the_mail_by_it_whoever_it_is() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    for starttls in [StartTls::Good, StartTls::SelfSigned, StartTls::WrongName] {
        host.set(|b| b.starttls = starttls);
        let mut yard = land.yard().await;
        let finished = yard.mail(BOB).await;
        let verdict = verdict(&finished);
        assert_eq!(
            (verdict.outcome, verdict.tls),
            (Outcome::Delivered, TlsUsed::Encrypted)
        );
        assert_eq!(counted(&yard, "tls_handshakes"), 1);
        assert_eq!(counted(&yard, "clear_after_failed_tls"), 0);
    }
    assert!(host.received().iter().all(|mail| mail.tls));
}

#[tokio::test]
async fn where_tls_fails_usual_mail_goes_in_clear_and_that_is_counted() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    for starttls in [StartTls::Garbage, StartTls::Closed, StartTls::Refused] {
        host.set(|b| b.starttls = starttls);
        let mut yard = land.yard().await;
        let finished = yard.mail(BOB).await;
        let verdict = verdict(&finished);
        assert_eq!(verdict.outcome, Outcome::Delivered, "{starttls:?}");
        assert!(
            matches!(verdict.tls, TlsUsed::FellBack | TlsUsed::None),
            "{starttls:?}"
        );
        assert!(!host.received().last().unwrap().tls);
        let text = reported(&yard).await;
        assert!(text.contains("\"failed\":{"), "{starttls:?}: {text}");
    }
}

#[tokio::test]
async fn where_tls_is_required_mail_waits_for_it() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    let config = land.config().set("outgoing.tls", "require");
    let mut yard = Yard::new(&config).await;
    let finished = yard.mail(BOB).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Deferred);
    assert!(host.lines().iter().all(|line| !line.starts_with("MAIL")));
    host.set(|b| b.starttls = StartTls::Garbage);
    let finished = yard.retry(2 * HOUR).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Deferred);
    host.set(|b| b.starttls = StartTls::SelfSigned);
    let finished = yard.retry(2 * HOUR).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Delivered);
    assert!(host.received()[0].tls);
}

#[tokio::test]
async fn where_a_proof_is_required_another_certificate_is_none() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    let config = land.config().set("outgoing.tls", "verify");
    for (starttls, outcome, tls) in [
        (StartTls::SelfSigned, Outcome::Deferred, TlsUsed::None),
        (StartTls::WrongName, Outcome::Deferred, TlsUsed::None),
        (StartTls::Good, Outcome::Delivered, TlsUsed::Verified),
    ] {
        host.set(|b| b.starttls = starttls);
        let mut yard = Yard::new(&config).await;
        let finished = yard.mail(BOB).await;
        let found = verdict(&finished);
        assert_eq!(found.outcome, outcome, "{starttls:?}");
        if outcome == Outcome::Delivered {
            assert_eq!(found.tls, tls);
        } else {
            // It is no fault of ours: the host is the domain's.
            assert!(
                finished
                    .report
                    .site_failure
                    .as_ref()
                    .unwrap()
                    .ours_until
                    .is_none()
            );
            assert!(
                transcript(&finished).contains("TLS"),
                "{}",
                transcript(&finished)
            );
        }
    }
    assert_eq!(host.count(), 1);
}

#[tokio::test]
async fn a_host_that_swallows_large_hellos_is_greeted_with_a_small_one_for_a_day() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    host.set(|b| b.starttls = StartTls::SmallHelloOnly);
    let mut yard = land.yard().await;
    let finished = yard.mail(BOB).await;
    assert_eq!(verdict(&finished).tls, TlsUsed::Encrypted);
    assert_eq!(
        (counted(&yard, "small_hellos"), host.connection_count()),
        (1, 2)
    );
    // The next session knows.
    yard.staging.advance(HOUR);
    yard.mail(BOB).await;
    yard.mail(BOB).await;
    assert_eq!(
        (counted(&yard, "small_hellos"), host.connection_count()),
        (2, 3)
    );
    assert_eq!(host.count(), 3);
}

#[tokio::test]
async fn a_session_is_counted_once_however_many_mails_it_takes() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    host.set(|b| b.starttls = StartTls::Good);
    let mut yard = land.yard().await;
    for _ in 0..3 {
        yard.mail(BOB).await;
    }
    let text = reported(&yard).await;
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in [
        "\"domain\":\"b.example\"",
        "\"kind\":\"no-policy-found\"",
        "\"count\":1",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.contains("\"failed\":null"), "{text}");
}

#[tokio::test]
async fn nothing_is_counted_where_reports_or_tls_are_switched_off() {
    let land = Land::new();
    let _host = land.world.domain("b.example");
    for config in [
        land.config().set("tls_reports.enabled", false),
        land.config().set("outgoing.tls", "none"),
    ] {
        let mut yard = Yard::new(&config).await;
        assert_eq!(verdict(&yard.mail(BOB).await).outcome, Outcome::Delivered);
        assert_eq!(reported(&yard).await, "");
    }
    let mut yard = land.yard().await;
    yard.mail(BOB).await;
    let text = reported(&yard).await;
    assert!(text.contains("starttls-not-supported"), "{text}");
}
