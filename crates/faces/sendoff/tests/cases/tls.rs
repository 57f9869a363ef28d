//! Encryption towards hosts: C25 to C27.

use lab::{Sendoff, StartTls};

use crate::scene::{BINARY, SOON, Scene, log_lines, queue, send};

#[test]
fn c25_a_failing_handshake_is_followed_by_clear_text_in_the_same_attempt() {
    for way in [StartTls::Garbage, StartTls::Closed, StartTls::Refused] {
        let scene = Scene::new();
        let host = scene.world.domain("broken.example");
        host.set(|b| b.starttls = way);
        let server = scene.start();
        send(&server, "bob@broken.example");
        let mails = host.wait_for(1, SOON);
        assert!(!mails.first().unwrap().tls, "{way:?}");
        let line = server
            .wait_for_log(&[" delivered ", "bob@broken.example"], SOON)
            .unwrap();
        assert!(line.contains("attempt=1"), "{way:?}: {line}");
        // Where STARTTLS itself is refused, no handshake has failed.
        let marked = if way == StartTls::Refused {
            "tls=none"
        } else {
            "tls=failed,clear"
        };
        assert!(line.contains(marked), "{way:?}: {line}");
        assert!(log_lines(&server, &[" deferred "]).is_empty());
    }
}

#[test]
fn c26_a_certificate_nobody_vouches_for_is_good_enough_without_a_policy() {
    for way in [StartTls::SelfSigned, StartTls::WrongName, StartTls::Good] {
        let scene = Scene::new();
        let host = scene.world.domain("own.example");
        host.set(|b| b.starttls = way);
        let server = scene.start();
        send(&server, "bob@own.example");
        let mails = host.wait_for(1, SOON);
        assert!(mails.first().unwrap().tls, "{way:?}");
        assert_eq!(host.connection_count(), 1, "{way:?}");
    }
}

/// A mail under a policy that the host does not meet: deferred, then given up, never sent.
fn assert_never_sent(policy: &str, way: StartTls) {
    let scene = Scene::new();
    let host = scene.world.domain("strict.example");
    host.set(|b| b.starttls = way);
    let config =
        scene
            .config()
            .set("outgoing.resend_attempts", 1)
            .rule("strict.example", "tls", policy);
    let server = Sendoff::start(BINARY, config);
    send(&server, "bob@strict.example");
    let line = server
        .wait_for_log(&[" deferred ", "bob@strict.example"], SOON)
        .expect("a line about the deferral");
    assert!(line.contains("TLS"), "{policy} {way:?}: {line}");
    let failure = scene.failure();
    assert_eq!(failure.count(), 1);
    let text = failure.text("/text");
    assert!(
        text.contains("TLS") || text.contains("encrypt"),
        "{policy} {way:?}: {text}"
    );
    assert_eq!((host.count(), host.unanswered().len()), (0, 0));
    let in_clear = |l: &String| l.starts_with("MAIL ");
    assert!(!host.lines().iter().any(in_clear), "{policy} {way:?}");
}

#[test]
fn c27_where_tls_is_required_nothing_is_ever_sent_in_clear() {
    assert_never_sent("require", StartTls::NotOffered);
    assert_never_sent("require", StartTls::Garbage);
    assert_never_sent("require", StartTls::Refused);
}

#[test]
fn c27_where_tls_is_to_be_verified_the_host_must_prove_its_name() {
    assert_never_sent("verify", StartTls::SelfSigned);
    let scene = Scene::new();
    let host = scene.world.domain("proven.example");
    host.set(|b| b.starttls = StartTls::WrongName);
    let config = scene.config().rule("proven.example", "tls", "verify");
    let server = scene.start_trusting(config);
    send(&server, "bob@proven.example");
    assert!(
        server
            .wait_for_log(&[" deferred ", "bob@proven.example"], SOON)
            .is_some()
    );
    assert_eq!(queue(&server).len(), 1);
    host.set(|b| b.starttls = StartTls::Good);
    // The identity was issued by the world's CA for the right name.
    let mails = host.wait_for(1, SOON);
    assert!(mails.first().unwrap().tls);
}

#[test]
fn a_host_that_is_met_again_resumes_its_session() {
    let scene = Scene::new();
    let host = scene.world.domain("again.example");
    host.set(|b| {
        b.starttls = StartTls::Good;
        b.mails_per_connection = Some(1);
    });
    let config = scene
        .config()
        .rule("again.example", "max_connections", 1)
        .set("outgoing.timeouts.idle", "1s");
    let server = Sendoff::start(BINARY, config);
    for number in 1..=5 {
        send(&server, "bob@again.example");
        assert_eq!(host.wait_for(number, SOON).len(), number);
    }
    let stats = server.run(&["stats", "--json"]);
    let stats: serde_json::Value = serde_json::from_str(&stats).expect("JSON");
    let count = |name: &str| {
        let found = stats.pointer(&format!("/counters/{name}"));
        found
            .or_else(|| stats.get(name))
            .and_then(serde_json::Value::as_u64)
    };
    assert_eq!(count("tls_handshakes"), Some(1), "{stats}");
    assert_eq!(count("tls_resumptions"), Some(4), "{stats}");
}
