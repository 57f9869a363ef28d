//! DANE: C29 to C32, and what RFC 7672 says beyond them. DNS is a signed tree of zones with a root
//! key of its own; validation is the server's.

use lab::{Ca, Config, Identity, MxHost, Scratch, Sendoff, StartTls};

use crate::scene::{A_WHILE, BINARY, SOON, Scene, eventually, log_lines, send, send_many};

/// A world whose zones are signed; `safe.example` is a secure zone with one mail host.
struct Signed {
    scene: Scene,
    host: MxHost,
    scratch: Scratch,
}

impl Signed {
    fn new() -> Self {
        let scene = Scene::new();
        scene.world.dns.sign().secure_zone("safe.example");
        let host = scene.world.domain("safe.example");
        Self {
            scene,
            host,
            scratch: Scratch::new(),
        }
    }

    fn config(&self) -> Config {
        let anchor = self.scratch.path().join("root.key");
        let keys = self.scene.world.dns.trust_anchor().unwrap_or_default();
        std::fs::write(&anchor, keys).expect("a file of our own");
        self.scene
            .config()
            .set("dns.trust_anchor", anchor.display().to_string())
    }

    fn start(&self) -> Sendoff {
        Sendoff::start(BINARY, self.config())
    }

    fn tlsa(&self, fields: (u8, u8, u8), data: &[u8]) {
        let port = self.scene.world.port();
        self.scene
            .world
            .dns
            .tlsa("mx.safe.example", port, fields, data);
    }

    /// Whether TLSA records were asked for.
    fn asked_for_tlsa(&self) -> bool {
        let asked = self.scene.world.dns.questions();
        asked.iter().any(|(_, kind)| kind == "TLSA")
    }
}

/// One mail arrives, and its line says how it was protected.
fn assert_delivered(server: &Sendoff, host: &MxHost, to: &str, tls: &str) {
    send(server, to);
    let mails = host.wait_for(1, SOON);
    assert_eq!(mails.len(), 1, "{}", server.log());
    let line = server.wait_for_log(&[" delivered ", to], SOON);
    let line = line.expect("a line about the delivery");
    assert!(line.contains(&format!("tls={tls} ")), "{line}");
    assert!(line.contains("attempt=1 "), "{line}");
}

/// It waits, the reason holds these words, and the host was told nothing of it.
fn assert_deferred(server: &Sendoff, host: &MxHost, to: &str, words: &[&str]) {
    send(server, to);
    let line = server.wait_for_log(&[" deferred ", to], SOON);
    let line = line.unwrap_or_else(|| panic!("no deferral: {}", server.log()));
    for word in words {
        assert!(line.contains(word), "`{word}` in {line}");
    }
    assert!(host.wait_for(1, A_WHILE).is_empty());
    assert!(!host.lines().iter().any(|l| l.starts_with("MAIL ")));
}

#[test]
fn c29_a_certificate_that_the_records_name_is_proof_whatever_else_is_wrong_with_it() {
    for (selector, matching) in [(1, 1), (0, 2), (1, 0), (0, 0)] {
        let signed = Signed::new();
        let identity = Identity::worthless();
        signed.host.identify(&identity);
        let data = identity.tlsa(selector, matching);
        signed.tlsa((3, selector, matching), &data);
        let server = signed.start();
        assert_delivered(&server, &signed.host, "bob@safe.example", "dane");
    }
}

#[test]
fn c29_a_certificate_of_version_1_is_proof_too() {
    for in_tls12 in [false, true] {
        for (selector, matching) in [(1, 1), (0, 1), (1, 0)] {
            let signed = Signed::new();
            let identity = Identity::version_1();
            match in_tls12 {
                true => signed.host.identify_in_tls12(&identity),
                false => signed.host.identify(&identity),
            }
            let data = identity.tlsa(selector, matching);
            signed.tlsa((3, selector, matching), &data);
            let server = signed.start();
            assert_delivered(&server, &signed.host, "bob@safe.example", "dane");
        }
    }
    // Of another key it is none.
    for in_tls12 in [false, true] {
        let signed = Signed::new();
        let identity = Identity::version_1();
        match in_tls12 {
            true => signed.host.identify_in_tls12(&identity),
            false => signed.host.identify(&identity),
        }
        signed.tlsa((3, 1, 1), &Identity::worthless().tlsa(1, 1));
        let server = signed.start();
        assert_deferred(&server, &signed.host, "bob@safe.example", &["DANE", "TLSA"]);
    }
}

#[test]
fn c29_who_shows_a_certificate_of_version_1_must_have_its_key() {
    for in_tls12 in [false, true] {
        let signed = Signed::new();
        let stolen = Identity::version_1().with_key_of(&Identity::worthless());
        match in_tls12 {
            true => signed.host.identify_in_tls12(&stolen),
            false => signed.host.identify(&stolen),
        }
        signed.tlsa((3, 0, 1), &stolen.tlsa(0, 1));
        let server = signed.start();
        assert_deferred(&server, &signed.host, "bob@safe.example", &["DANE"]);
    }
}

#[test]
fn c29_the_whole_key_of_an_authority_vouches_without_its_certificate() {
    let ca = Ca::new();
    let signed = Signed::new();
    signed.host.identify(&ca.issue(&["mx.safe.example"]));
    signed.tlsa((2, 1, 0), &ca.tlsa(1, 0));
    let server = signed.start();
    assert_delivered(&server, &signed.host, "bob@safe.example", "dane");

    // The name counts, and so does the signature.
    for (issuer, name) in [(&ca, "mx.other.example"), (&Ca::new(), "mx.safe.example")] {
        let signed = Signed::new();
        signed.host.identify(&issuer.issue(&[name]));
        signed.tlsa((2, 1, 0), &ca.tlsa(1, 0));
        let server = signed.start();
        assert_deferred(&server, &signed.host, "bob@safe.example", &["DANE"]);
    }
}

#[test]
fn c29_an_authority_of_the_domains_own_vouches_for_names() {
    let signed = Signed::new();
    let ca = Ca::new();
    signed
        .host
        .identify(&ca.issue_with_chain(&["mx.safe.example"]));
    signed.tlsa((2, 1, 1), &ca.tlsa(1, 1));
    let server = signed.start();
    assert_delivered(&server, &signed.host, "bob@safe.example", "dane");

    let signed = Signed::new();
    signed.host.identify(&ca.issue(&["mx.safe.example"]));
    signed.tlsa((2, 0, 0), &ca.tlsa(0, 0));
    let server = signed.start();
    // The authority's certificate stands in DNS; the host does not send it.
    assert_delivered(&server, &signed.host, "bob@safe.example", "dane");

    let signed = Signed::new();
    signed
        .host
        .identify(&ca.issue_with_chain(&["mx.other.example"]));
    signed.tlsa((2, 1, 1), &ca.tlsa(1, 1));
    let server = signed.start();
    assert_deferred(&server, &signed.host, "bob@safe.example", &["DANE"]);
}

#[test]
fn c30_a_certificate_that_no_record_names_gets_no_mail() {
    let signed = Signed::new();
    signed.host.set(|b| b.starttls = StartTls::Good);
    signed.tlsa((3, 1, 1), &[7; 32]);
    let server = signed.start();
    assert_deferred(
        &server,
        &signed.host,
        "bob@safe.example",
        &["DANE", "class=policy", "TLSA"],
    );
    let line = log_lines(&server, &[" deferred "]).swap_remove(0);
    assert!(line.contains("4.7.5"), "{line}");
}

#[test]
fn c30_where_the_host_offers_no_tls_it_gets_no_mail() {
    for way in [StartTls::NotOffered, StartTls::Garbage, StartTls::Refused] {
        let signed = Signed::new();
        signed.host.set(|b| b.starttls = way);
        signed.tlsa((3, 1, 1), &[7; 32]);
        let server = signed.start();
        assert_deferred(&server, &signed.host, "bob@safe.example", &["DANE"]);
    }
}

#[test]
fn c31_an_answer_about_tlsa_that_fails_defers_and_an_unsigned_zone_is_not_asked() {
    let signed = Signed::new();
    signed.host.set(|b| b.starttls = StartTls::Good);
    let name = format!("_{}._tcp.mx.safe.example", signed.scene.world.port());
    signed.scene.world.dns.servfail(&name);
    let server = signed.start();
    assert_deferred(
        &server,
        &signed.host,
        "bob@safe.example",
        &["DANE", "TLSA lookup", "server"],
    );

    let signed = Signed::new();
    let dns = &signed.scene.world.dns;
    dns.insecure_zone("plain.example");
    let host = signed.scene.world.domain("plain.example");
    host.set(|b| b.starttls = StartTls::SelfSigned);
    let server = signed.start();
    assert_delivered(&server, &host, "bob@plain.example", "encrypted");
    assert!(!signed.asked_for_tlsa());
}

#[test]
fn c31_a_secure_domain_with_its_host_in_an_unsigned_zone_is_not_asked_for_tlsa() {
    let signed = Signed::new();
    let world = &signed.scene.world;
    world.dns.secure_zone("hosted.example");
    world.dns.insecure_zone("provider.example");
    world.dns.mx("hosted.example", 10, "mx.provider.example");
    let host = world.host("mx.provider.example");
    host.set(|b| b.starttls = StartTls::SelfSigned);
    let server = signed.start();
    assert_delivered(&server, &host, "bob@hosted.example", "encrypted");
    assert!(!signed.asked_for_tlsa());
}

#[test]
fn c32_records_that_are_not_secure_say_nothing() {
    let signed = Signed::new();
    let world = &signed.scene.world;
    world.dns.insecure_zone("plain.example");
    let host = world.domain("plain.example");
    world
        .dns
        .tlsa("mx.plain.example", world.port(), (3, 1, 1), &[7; 32]);
    let server = signed.start();
    assert_delivered(&server, &host, "bob@plain.example", "none");
}

#[test]
fn c32_records_of_which_none_is_usable_make_tls_mandatory_and_prove_nothing() {
    let signed = Signed::new();
    signed.host.set(|b| b.starttls = StartTls::SelfSigned);
    signed.tlsa((1, 1, 1), &[7; 32]);
    let server = signed.start();
    assert_delivered(&server, &signed.host, "bob@safe.example", "encrypted");

    let signed = Signed::new();
    signed.tlsa((1, 1, 1), &[7; 32]);
    let server = signed.start();
    assert_deferred(&server, &signed.host, "bob@safe.example", &["DANE"]);
}

#[test]
fn a_host_that_fails_its_records_is_passed_over_for_one_that_does_not() {
    let signed = Signed::new();
    let identity = Identity::worthless();
    let other = signed
        .scene
        .world
        .mx("safe.example", 20, "mx2.safe.example");
    other.identify(&identity);
    signed.host.set(|b| b.starttls = StartTls::Good);
    signed.tlsa((3, 1, 1), &[7; 32]);
    let port = signed.scene.world.port();
    let dns = &signed.scene.world.dns;
    dns.tlsa("mx2.safe.example", port, (3, 1, 1), &identity.tlsa(1, 1));
    let server = signed.start();
    assert_delivered(&server, &other, "bob@safe.example", "dane");
    assert_eq!(signed.host.count(), 0);
}

#[test]
fn a_host_that_fails_its_records_is_not_asked_again_for_every_mail() {
    let signed = Signed::new();
    let (right, wrong) = (Identity::worthless(), Identity::worthless());
    signed.host.identify(&wrong);
    signed.tlsa((3, 1, 1), &right.tlsa(1, 1));
    let config = signed.config().set("outgoing.resend_wait", "1h").rule(
        "safe.example",
        "max_connections",
        1,
    );
    let server = Sendoff::start(BINARY, config);
    send_many(&server, 20, |n| format!("user{n}@safe.example"));
    eventually("all of them wait", SOON, || {
        log_lines(&server, &[" deferred ", "DANE", "attempt=1 "]).len() == 20
    });
    let asked = signed.host.connection_count();
    assert!(asked < 5, "{asked} connections");
    // Mended, they go when they are told to.
    signed.host.identify(&right);
    server.run(&["queue", "retry", "--all", "--yes"]);
    assert_eq!(signed.host.wait_for(20, SOON).len(), 20);
}

#[test]
fn a_server_that_a_rule_names_proves_itself_by_records_of_its_own() {
    let signed = Signed::new();
    let world = &signed.scene.world;
    let (right, wrong) = (Identity::worthless(), Identity::worthless());
    world.dns.secure_zone("partner.example");
    let relay = world.host("relay.partner.example");
    relay.identify(&right);
    let port = world.port();
    let data = right.tlsa(1, 1);
    world
        .dns
        .tlsa("relay.partner.example", port, (3, 1, 1), &data);
    let config = signed.config().rule(
        "safe.example",
        "via_smtp",
        format!("relay.partner.example:{port}"),
    );
    let server = Sendoff::start(BINARY, config);
    assert_delivered(&server, &relay, "bob@safe.example", "dane");
    let explained = server.run(&["explain", "bob@safe.example"]);
    let words = "match the TLSA records of relay.partner.example";
    assert!(explained.contains(words), "{explained}");
    relay.identify(&wrong);
    relay.stop().start();
    relay.forget();
    assert_deferred(&server, &relay, "eve@safe.example", &["DANE"]);
    assert!(signed.host.received().is_empty());
}

#[test]
fn domains_that_share_hosts_keep_policies_of_their_own() {
    let signed = Signed::new();
    let world = &signed.scene.world;
    signed.host.set(|b| b.starttls = StartTls::Good);
    signed.tlsa((3, 1, 1), &[7; 32]);
    world.dns.insecure_zone("tenant.example");
    world.dns.mx("tenant.example", 10, "mx.safe.example");
    let server = signed.start();
    // One message, one site, two domains: only that whose own DNS is signed asks for DANE.
    server.send(
        crate::scene::SENDER,
        &["bob@safe.example", "eve@tenant.example"],
        &crate::scene::mail("both"),
    );
    let mails = signed.host.wait_for(1, SOON);
    let mail = mails.first().expect("the tenant's mail");
    assert_eq!(mail.addresses(), ["eve@tenant.example"]);
    assert!(
        server
            .wait_for_log(&[" deferred ", "bob@safe.example", "DANE"], SOON)
            .is_some(),
        "{}",
        server.log()
    );
}

#[test]
fn signed_domains_at_a_host_without_records_get_one_copy_together() {
    let signed = Signed::new();
    let world = &signed.scene.world;
    world.dns.insecure_zone("hosting.example");
    let host = world.host("mx.hosting.example");
    host.set(|b| b.starttls = StartTls::Good);
    let mut recipients = vec!["eve@unsigned.example".to_owned()];
    world.dns.insecure_zone("unsigned.example");
    for name in ["a", "b", "c"] {
        world.dns.secure_zone(&format!("{name}.example"));
        recipients.push(format!("bob@{name}.example"));
    }
    for to in &recipients {
        let domain = to.split_once('@').map_or("", |(_, domain)| domain);
        world.dns.mx(domain, 10, "mx.hosting.example");
    }
    let server = signed.start();
    // The domains are known, and share a site.
    for to in &recipients {
        send(&server, to);
    }
    assert_eq!(host.wait_for(4, SOON).len(), 4);
    host.forget();
    let to: Vec<&str> = recipients.iter().map(String::as_str).collect();
    server.send(crate::scene::SENDER, &to, &crate::scene::mail("to all"));
    let mails = host.wait_for(1, SOON);
    let mut reached = mails.first().expect("a mail").addresses();
    reached.sort_unstable();
    let mut expected = to;
    expected.sort_unstable();
    assert_eq!(reached, expected);
}

#[test]
fn c41_mail_that_puts_delivery_first_is_not_held_up_by_the_domains_records() {
    let signed = Signed::new();
    signed.host.set(|b| b.starttls = StartTls::Good);
    signed.tlsa((3, 1, 1), &[7; 32]);
    let server = signed.start();
    let mail = format!("TLS-Required: No\r\n{}", crate::scene::mail("first"));
    server.send(crate::scene::SENDER, &["bob@safe.example"], &mail);
    let mails = signed.host.wait_for(1, SOON);
    assert!(mails.first().expect("the mail").tls);

    // What the administrator has set counts all the same.
    let signed = Signed::new();
    let config = signed.config().set("outgoing.tls", "require");
    let server = Sendoff::start(BINARY, config);
    server.send(crate::scene::SENDER, &["bob@safe.example"], &mail);
    assert!(server.wait_for_log(&[" deferred "], SOON).is_some());
    assert_eq!(signed.host.count(), 0);
}

#[test]
fn a_host_that_swallows_the_usual_hello_is_given_a_small_one_in_the_same_attempt() {
    let scene = Scene::new();
    let host = scene.world.domain("narrow.example");
    host.set(|b| b.starttls = StartTls::SmallHelloOnly);
    let server = scene.start();
    assert_delivered(&server, &host, "bob@narrow.example", "encrypted");
    assert_eq!(host.connection_count(), 2);
}

#[test]
fn check_refuses_a_trust_anchor_that_serve_cannot_begin_with() {
    let scratch = Scratch::new();
    let (path, anchor) = (
        scratch.path().join("sendoff.toml"),
        scratch.path().join("root.key"),
    );
    let said = |command: &str, more: &str| {
        let config = format!(
            "hostname = \"a.example\"\ndata_dir = \"data\"\nconsole.address = \"\"\n\
             [dns]\ntrust_anchor = \"root.key\"\nservers = [\"127.0.0.1\"]\n{more}"
        );
        std::fs::write(&path, config).expect("a file of our own");
        let output = std::process::Command::new(BINARY)
            .args(["--config", &path.display().to_string(), command])
            .output()
            .expect("the command runs");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    for content in [None, Some(""), Some("no key\n"), Some(". IN A 127.0.0.1\n")] {
        if let Some(content) = content {
            std::fs::write(&anchor, content).expect("a file of our own");
        }
        for command in ["check", "serve"] {
            let (is_fine, why) = said(command, "");
            assert!(!is_fine, "{command} takes {content:?}");
            assert!(why.contains("the trust anchor"), "{command}: {why}");
        }
    }
    // What is not used need not be right.
    let (is_fine, why) = said("check", "dnssec = false\n");
    assert!(is_fine, "{why}");
}
