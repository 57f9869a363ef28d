//! MTA-STS: C34 to C39. Policies come over HTTPS from hosts of the world.

use std::net::Ipv4Addr;

use lab::{Config, MxHost, Sendoff, StartTls, WebAnswer, WebHost};

use crate::scene::{A_WHILE, SOON, Scene, eventually, send};

const PATH: &str = "/.well-known/mta-sts.txt";
const POLICY: &str = "mta-sts.strict.example";

/// `strict.example` with a mail host, a policy host and a record.
struct Strict {
    scene: Scene,
    host: MxHost,
    web: WebHost,
}

fn policy(mode: &str, mx: &str) -> String {
    format!("version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 86400\r\n")
}

impl Strict {
    fn new(text: &str) -> Self {
        let scene = Scene::new();
        let host = scene.world.domain("strict.example");
        host.set(|b| b.starttls = StartTls::Good);
        let web = scene.world.web(&[POLICY]);
        web.answer(POLICY, PATH, WebAnswer::text(text));
        let strict = Self { scene, host, web };
        strict.id("1");
        strict
    }

    fn id(&self, id: &str) {
        let name = "_mta-sts.strict.example";
        self.scene.world.dns.remove(name);
        self.scene
            .world
            .dns
            .txt(name, &format!("v=STSv1; id={id};"));
    }

    fn config(&self) -> Config {
        let port = self.scene.world.port();
        self.scene.config().set("outgoing.mta_sts_port", port)
    }

    fn start(&self) -> Sendoff {
        self.scene.start_trusting(self.config())
    }
}

fn assert_delivered(server: &Sendoff, host: &MxHost, tls: &str) {
    let before = host.count();
    send(server, "bob@strict.example");
    let mails = host.wait_for(before + 1, SOON);
    assert_eq!(mails.len(), before + 1, "{}", server.log());
    let told = [" delivered ", "bob@strict.example", &format!("tls={tls} ")];
    assert!(
        server.wait_for_log(&told, SOON).is_some(),
        "{}",
        server.log()
    );
}

fn assert_deferred(server: &Sendoff, host: &MxHost, word: &str) {
    send(server, "bob@strict.example");
    let line = server.wait_for_log(&[" deferred ", "bob@strict.example"], SOON);
    let line = line.unwrap_or_else(|| panic!("no deferral: {}", server.log()));
    assert!(line.contains("MTA-STS") && line.contains(word), "{line}");
    assert!(line.contains("reply=\"4.7."), "{line}");
    assert!(host.wait_for(1, A_WHILE).is_empty());
}

#[test]
fn a_host_that_the_policy_names_and_that_proves_its_name_gets_the_mail() {
    for mx in ["mx.strict.example", "*.strict.example"] {
        let strict = Strict::new(&policy("enforce", mx));
        let server = strict.start();
        assert_delivered(&server, &strict.host, "verified");
    }
}

#[test]
fn c34_a_host_that_the_policy_does_not_name_is_passed_over_until_there_is_another_policy() {
    let strict = Strict::new(&policy("enforce", "other.strict.example"));
    let config = strict.config().set("outgoing.resend_attempts", 30);
    let server = strict.scene.start_trusting(config);
    assert_deferred(&server, &strict.host, "does not name this host");
    strict.scene.assert_no_failure();
    let good = policy("enforce", "mx.strict.example");
    strict.web.answer(POLICY, PATH, WebAnswer::text(good));
    strict.id("2");
    assert_eq!(strict.host.wait_for(1, SOON).len(), 1, "{}", server.log());
}

#[test]
fn c34_another_host_that_the_policy_names_is_used_in_the_same_attempt() {
    let strict = Strict::new(&policy("enforce", "mx2.strict.example"));
    let other = strict
        .scene
        .world
        .mx("strict.example", 20, "mx2.strict.example");
    other.set(|b| b.starttls = StartTls::Good);
    let server = strict.start();
    assert_delivered(&server, &other, "verified");
    assert_eq!(strict.host.connection_count(), 0);
    let line = server.wait_for_log(&[" delivered ", "bob@"], SOON);
    let line = line.expect("a line about the delivery");
    assert!(line.contains("attempt=1 "), "{line}");
}

#[test]
fn c35_without_encryption_or_proof_an_enforced_policy_lets_nothing_out() {
    for way in [
        StartTls::NotOffered,
        StartTls::SelfSigned,
        StartTls::WrongName,
        StartTls::Garbage,
    ] {
        let strict = Strict::new(&policy("enforce", "mx.strict.example"));
        strict.host.set(|b| b.starttls = way);
        let server = strict.start();
        assert_deferred(&server, &strict.host, "TLS");
    }
}

#[test]
fn c36_a_policy_that_is_only_tested_holds_nothing_up() {
    for way in [StartTls::NotOffered, StartTls::SelfSigned] {
        let strict = Strict::new(&policy("testing", "other.strict.example"));
        strict.host.set(|b| b.starttls = way);
        let server = strict.start();
        let tls = match way == StartTls::NotOffered {
            true => "none",
            false => "encrypted",
        };
        assert_delivered(&server, &strict.host, tls);
    }
}

#[test]
fn c37_a_policy_outlives_its_host_and_its_record_over_a_restart_too() {
    let strict = Strict::new(&policy("enforce", "mx.strict.example"));
    let mut server = strict.start();
    assert_delivered(&server, &strict.host, "verified");
    let kept = server.directory().join("data/mta-sts/strict.example");
    assert!(kept.exists());
    // Now both are gone, and the mail host with them: whoever did that gets no mail.
    strict.web.answer(POLICY, PATH, WebAnswer::status(503));
    strict.scene.world.dns.remove("_mta-sts.strict.example");
    strict.host.set(|b| b.starttls = StartTls::NotOffered);
    server.kill9();
    server.restart();
    send(&server, "bob@strict.example");
    let line = server.wait_for_log(&[" deferred ", "MTA-STS"], SOON);
    assert!(line.is_some(), "{}", server.log());
    assert_eq!(strict.host.count(), 1);
}

#[test]
fn c37_without_a_policy_that_can_be_had_the_mail_goes() {
    let strict = Strict::new("");
    strict.web.answer(POLICY, PATH, WebAnswer::status(503));
    strict.host.set(|b| b.starttls = StartTls::NotOffered);
    let server = strict.start();
    assert_delivered(&server, &strict.host, "none");
    assert!(
        server.wait_for_log(&[" mta-sts ", "503"], SOON).is_some(),
        "{}",
        server.log()
    );
}

#[test]
fn a_policy_host_leads_to_no_private_network_and_is_asked_where_else_it_is() {
    let strict = Strict::new(&policy("enforce", "mx.strict.example"));
    let dns = &strict.scene.world.dns;
    let public = strict.web.address().ip();
    dns.remove(POLICY).a(POLICY, Ipv4Addr::new(10, 255, 0, 1));
    let server = strict.start();
    assert_delivered(&server, &strict.host, "encrypted");
    let line = server.wait_for_log(&[" mta-sts ", "cannot be fetched"], SOON);
    let line = line.unwrap_or_else(|| panic!("no line: {}", server.log()));
    assert!(
        line.contains("mta-sts.strict.example: 10.255.0.1 is in the private network 10.0.0.0/8"),
        "{line}"
    );
    drop(server);
    dns.address_of(POLICY, public);
    let server = strict.start();
    assert_delivered(&server, &strict.host, "verified");
    assert!(!strict.web.requests().is_empty());
}

#[test]
fn c38_another_id_brings_another_policy() {
    let strict = Strict::new(&policy("none", "mx.strict.example"));
    strict.host.set(|b| b.starttls = StartTls::SelfSigned);
    let server = strict.start();
    assert_delivered(&server, &strict.host, "encrypted");
    let text = policy("enforce", "mx.strict.example");
    strict.web.answer(POLICY, PATH, WebAnswer::text(text));
    strict.id("2");
    eventually("the policy is fetched again", SOON, || {
        send(&server, "bob@strict.example");
        server
            .wait_for_log(&[" deferred ", "MTA-STS"], A_WHILE)
            .is_some()
    });
}

#[test]
fn c38_what_is_too_long_elsewhere_or_no_policy_is_passed_over() {
    let good = policy("enforce", "other.strict.example");
    let mut long = good.clone();
    long.push_str(&"x: y\r\n".repeat(20_000));
    let mut html = WebAnswer::text(good.clone());
    html.headers = vec!["Content-Type: text/html".to_owned()];
    let mut moved = WebAnswer::status(301);
    moved.headers = vec![format!("Location: https://{POLICY}/elsewhere")];
    for (answer, why) in [
        (WebAnswer::text(long), "length limit"),
        (html, "text/html"),
        (moved, "301"),
        (WebAnswer::text("hello"), "version"),
    ] {
        let strict = Strict::new(&good);
        strict.web.answer(POLICY, PATH, answer);
        strict
            .web
            .answer(POLICY, "/elsewhere", WebAnswer::text(good.clone()));
        let server = strict.start();
        assert_delivered(&server, &strict.host, "encrypted");
        let line = server.wait_for_log(&[" mta-sts ", why], SOON);
        assert!(line.is_some(), "{why}: {}", server.log());
        let asked = strict.web.requests();
        assert!(asked.iter().all(|r| r.path == PATH));
    }
}

#[test]
fn c39_where_both_speak_dane_decides() {
    let strict = Strict::new(&policy("enforce", "other.strict.example"));
    let (world, host) = (&strict.scene.world, &strict.host);
    let identity = lab::Identity::worthless();
    host.identify(&identity);
    world.dns.secure_zone("strict.example");
    let data = identity.tlsa(1, 1);
    world
        .dns
        .tlsa("mx.strict.example", world.port(), (3, 1, 1), &data);
    let scratch = lab::Scratch::new();
    let anchor = scratch.path().join("root.key");
    std::fs::write(&anchor, world.dns.trust_anchor().unwrap_or_default()).unwrap();
    let config = strict
        .config()
        .set("dns.trust_anchor", anchor.display().to_string());
    let server = strict.scene.start_trusting(config);
    assert_delivered(&server, host, "dane");
}

#[test]
fn domains_that_share_hosts_have_policies_of_their_own() {
    let strict = Strict::new(&policy("enforce", "other.strict.example"));
    strict
        .scene
        .world
        .dns
        .mx("tenant.example", 10, "mx.strict.example");
    let server = strict.start();
    server.send(
        crate::scene::SENDER,
        &["bob@strict.example", "eve@tenant.example"],
        &crate::scene::mail("both"),
    );
    let mails = strict.host.wait_for(1, SOON);
    let mail = mails.first().expect("the tenant's mail");
    assert_eq!(mail.addresses(), ["eve@tenant.example"]);
    let told = [" deferred ", "bob@strict.example", "MTA-STS"];
    assert!(server.wait_for_log(&told, SOON).is_some());
}
