//! REQUIRETLS (RFC 8689): C40, and that it is kept all the way.

use lab::{Config, Identity, MxHost, Scratch, Sendoff, StartTls};

use crate::scene::{BINARY, SENDER, SOON, Scene, mail, send};

/// A world whose zones are signed, a server with a certificate, and `safe.example`.
struct Safe {
    scene: Scene,
    host: MxHost,
}

impl Safe {
    fn new() -> Self {
        let scene = Scene::new();
        let dns = &scene.world.dns;
        dns.sign()
            .secure_zone("safe.example")
            .secure_zone("origin.example");
        // Reports on protected mail are protected.
        scene.origin.set(|b| {
            b.starttls = StartTls::Good;
            b.extension("REQUIRETLS");
        });
        let host = scene.world.domain("safe.example");
        host.set(|b| {
            b.starttls = StartTls::Good;
            b.extension("REQUIRETLS");
        });
        Self { scene, host }
    }

    /// A server that trusts the world's CA and root key, and offers STARTTLS to its clients.
    fn start(&self, change: impl FnOnce(Config) -> Config) -> Sendoff {
        let scratch = Scratch::new();
        let write = |name: &str, text: &str| {
            let path = scratch.path().join(name);
            std::fs::write(&path, text).expect("a file of our own");
            path.display().to_string()
        };
        let world = &self.scene.world;
        let own = world.ca.issue(&["sendoff.lab"]);
        let config = self
            .scene
            .config()
            .set("outgoing.resend_attempts", 1)
            .set(
                "dns.trust_anchor",
                write("root.key", &world.dns.trust_anchor().unwrap_or_default()),
            )
            .set("tls.extra_roots", [write("ca.pem", &world.ca.pem())])
            .set("tls.certificate", write("own.pem", &own.certificate_pem))
            .set("tls.private_key", write("own.key", &own.key_pem));
        Sendoff::start_in(scratch, BINARY, change(config), &[])
    }
}

/// Hands a mail in under TLS, where it is offered.
fn hand_in(safe: &Safe, server: &Sendoff, to: &str, content: &str) {
    let mut client = server.client();
    let offered = client.starttls("sendoff.lab", &safe.scene.world.ca);
    let offered = offered.expect("STARTTLS is offered");
    assert!(offered.offers("REQUIRETLS"), "{offered}");
    client
        .expect(&format!("MAIL FROM:<{SENDER}> REQUIRETLS RET=FULL"), 250)
        .expect("MAIL is taken");
    client
        .expect(&format!("RCPT TO:<{to}>"), 250)
        .expect("RCPT is taken");
    client.expect("DATA", 354).expect("DATA is taken");
    let reply = client.content(content.as_bytes()).expect("an answer");
    assert_eq!(reply.code, 250, "{reply}");
}

fn starttls(config: Config) -> Config {
    config.in_table("listener", "tls", "starttls")
}

#[test]
fn a_mail_goes_only_where_it_is_promised_to_be_protected_and_says_so() {
    let safe = Safe::new();
    let server = safe.start(starttls);
    hand_in(&safe, &server, "bob@safe.example", &mail("secret"));
    let mails = safe.host.wait_for(1, SOON);
    let mail = mails.first().unwrap_or_else(|| panic!("{}", server.log()));
    assert!(
        mail.tls && mail.mail_params.contains("REQUIRETLS"),
        "{}",
        mail.mail_params
    );
}

#[test]
fn in_clear_it_is_not_offered() {
    let safe = Safe::new();
    let server = safe.start(starttls);
    let mut client = server.client();
    let reply = client
        .command(&format!("MAIL FROM:<{SENDER}> REQUIRETLS"))
        .expect("an answer");
    assert_eq!(reply.code, 555, "{reply}");
}

/// It comes back at once, with 5.7.30 and its header only, and nothing of it was sent.
fn assert_bounced(safe: &Safe, server: &Sendoff, to: &str) {
    hand_in(safe, server, to, &mail("secret"));
    let failure = safe.scene.failure();
    failure.assert_failed(to, "5.7.30");
    assert_eq!(failure.text("/parts/2"), "text/rfc822-headers");
    let reports = safe.scene.origin.wait_for(1, SOON);
    let report = reports.first().expect("the report");
    assert!(
        report.tls && report.mail_params.contains("REQUIRETLS"),
        "{}",
        report.mail_params
    );
    assert_eq!(safe.host.count(), 0);
    assert!(safe.host.unanswered().is_empty());
}

#[test]
fn c40_where_no_host_promises_it_the_mail_comes_back_without_its_content() {
    let safe = Safe::new();
    safe.host.set(|b| {
        b.extensions(&["PIPELINING", "8BITMIME", "DSN"]);
    });
    let server = safe.start(starttls);
    assert_bounced(&safe, &server, "bob@safe.example");
}

#[test]
fn c40_a_host_that_does_not_prove_its_name_or_has_no_tls_gets_nothing() {
    for way in [
        StartTls::SelfSigned,
        StartTls::WrongName,
        StartTls::NotOffered,
    ] {
        let safe = Safe::new();
        safe.host.set(|b| b.starttls = way);
        let server = safe.start(starttls);
        assert_bounced(&safe, &server, "bob@safe.example");
    }
}

#[test]
fn c40_where_dns_could_be_forged_the_mail_comes_back() {
    let safe = Safe::new();
    safe.scene.world.dns.insecure_zone("plain.example");
    let host = safe.scene.world.domain("plain.example");
    host.set(|b| {
        b.starttls = StartTls::Good;
        b.extension("REQUIRETLS");
    });
    let server = safe.start(starttls);
    assert_bounced(&safe, &server, "bob@plain.example");
    assert_eq!(host.count(), 0);
}

#[test]
fn a_report_that_cannot_be_protected_is_not_sent_and_the_log_says_why() {
    let safe = Safe::new();
    safe.host.set(|b| {
        b.extensions(&["PIPELINING"]);
    });
    safe.scene.origin.set(|b| {
        b.extensions(&["PIPELINING"]);
    });
    let server = safe.start(starttls);
    hand_in(&safe, &server, "bob@safe.example", &mail("secret"));
    let line = server.wait_for_log(&[" unreportable "], SOON);
    let line = line.unwrap_or_else(|| panic!("no line: {}", server.log()));
    assert!(line.contains("REQUIRETLS"), "{line}");
    assert_eq!(safe.scene.origin.count(), 0);
}

#[test]
fn another_host_that_promises_it_is_used_in_the_same_attempt() {
    let safe = Safe::new();
    safe.host.set(|b| {
        b.extensions(&["PIPELINING"]);
    });
    let other = safe.scene.world.mx("safe.example", 20, "mx2.safe.example");
    other.set(|b| {
        b.starttls = StartTls::Good;
        b.extension("REQUIRETLS");
    });
    let server = safe.start(starttls);
    hand_in(&safe, &server, "bob@safe.example", &mail("secret"));
    assert_eq!(other.wait_for(1, SOON).len(), 1, "{}", server.log());
    assert_eq!(safe.host.count(), 0);
}

#[test]
fn what_may_be_better_tomorrow_makes_the_mail_wait() {
    for way in [StartTls::Refused, StartTls::Closed, StartTls::Garbage] {
        let safe = Safe::new();
        safe.host.set(|b| b.starttls = way);
        let server = safe.start(starttls);
        hand_in(&safe, &server, "bob@safe.example", &mail("secret"));
        let line = server.wait_for_log(&[" deferred ", "REQUIRETLS"], SOON);
        assert!(line.is_some(), "{way:?}: {}", server.log());
        assert_eq!(safe.host.count(), 0);
    }
}

#[test]
fn what_one_mail_requires_in_vain_holds_no_other_mail_up() {
    let safe = Safe::new();
    safe.host.identify(&Identity::worthless());
    let world = &safe.scene.world;
    // Of a usage that mail does not know: TLS is all that the domain asks for.
    let port = world.port();
    world.dns.tlsa("mx.safe.example", port, (1, 1, 1), &[7; 32]);
    let server = safe.start(|config| starttls(config).set("outgoing.resend_wait", "1h"));
    hand_in(&safe, &server, "bob@safe.example", &mail("secret"));
    assert!(
        server
            .wait_for_log(&[" failed ", "REQUIRETLS"], SOON)
            .is_some()
    );
    send(&server, "eve@safe.example");
    let line = server.wait_for_log(&[" delivered ", "eve@safe.example"], SOON);
    assert!(
        line.is_some_and(|l| l.contains("attempt=1 ")),
        "{}",
        server.log()
    );
}
