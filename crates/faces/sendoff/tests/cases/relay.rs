//! Relays and static routes: C58 and C59.

use std::net::IpAddr;
use std::time::Duration;

use lab::{Config, MxHost, Sendoff, StartTls, Value};

use crate::scene::{A_WHILE, BINARY, SOON, Scene, eventually, log_lines, queue, send};
use crate::web::Web;

/// A relay that wants a login, known by its address.
fn relay(scene: &Scene) -> MxHost {
    let ip = IpAddr::V4(scene.world.address());
    let host = scene.world.host_at(&ip.to_string(), ip);
    host.set(|b| {
        b.login = Some(("ann".to_owned(), "secret".to_owned()));
        b.login_required = true;
        b.starttls = StartTls::Good;
    });
    host
}

fn by_relay(scene: &Scene, host: &MxHost, password: &str) -> Config {
    scene
        .config()
        .set("outgoing.mode", "relay")
        .set("outgoing.relay.host", host.ip().to_string())
        .set("outgoing.relay.port", host.address().port())
        .set("outgoing.relay.tls", "verify")
        .set("outgoing.relay.username", "ann")
        .set("outgoing.relay.password", password)
}

#[test]
fn c58_a_refused_login_defers_and_never_fails_a_mail() {
    let scene = Scene::new();
    let host = relay(&scene);
    let server = scene.start_trusting(by_relay(&scene, &host, "wrong"));
    send(&server, "bob@anywhere.example");
    let line = server
        .wait_for_log(&[" deferred ", "bob@anywhere.example"], SOON)
        .unwrap();
    assert!(
        line.contains("535") && line.contains("class=policy"),
        "{line}"
    );
    assert!(line.contains("attempt=0"), "nobody is charged: {line}");
    scene.assert_no_failure();
    assert_eq!(queue(&server).len(), 1);
    assert!(host.logins().iter().all(|l| l.tls && !l.accepted));

    host.set(|b| b.login = Some(("ann".to_owned(), "wrong".to_owned())));
    server.run(&["queue", "retry", "--all", "--yes"]);
    let mails = host.wait_for(1, SOON);
    let mail = mails.first().unwrap();
    assert_eq!((mail.tls, mail.user.as_deref()), (true, Some("ann")));
    // Relay Mode works without DNS.
    assert!(
        scene
            .world
            .dns
            .questions()
            .iter()
            .all(|(name, _)| name.is_empty())
    );
}

#[test]
fn a_refused_login_is_tried_once_for_all_and_said_until_it_is_mended() {
    let scene = Scene::new();
    let host = relay(&scene);
    let console = scene.world.console();
    let config = by_relay(&scene, &host, "wrong").set("console.address", console.to_string());
    let mut server = scene.start_trusting(config);
    let web = Web::at(console);
    for n in 0..5 {
        send(&server, &format!("u{n}@anywhere.example"));
    }
    assert!(
        server
            .wait_for_log(&[" our-fault ", "535", "next="], SOON)
            .is_some()
    );
    std::thread::sleep(A_WHILE);
    assert_eq!(host.logins().len(), 1, "an account is not to be locked");
    let line = server.wait_for_log(&[" deferred ", "reply=\"535", "tls=verified"], SOON);
    assert!(line.is_some(), "the login was inside TLS: {}", server.log());
    let list = queue(&server);
    assert_eq!(list.len(), 5);
    let told = |row: &serde_json::Value| {
        row["attempts"] == 0 && row.to_string().contains("a fault on this side")
    };
    assert!(list.iter().all(told), "{list:?}");
    let ready = web.get("/readyz").expect(200);
    let faults = ready.json()["faults"].to_string();
    assert!(
        faults.contains("535") && faults.contains("next try at"),
        "{faults}"
    );
    let figures = web.get("/metrics").expect(200).text();
    assert!(
        figures.contains("sendoff_own_faults_standing 1"),
        "{figures}"
    );
    assert!(figures.contains("sendoff_own_faults_total 1"), "{figures}");

    // The right password, and all go at once.
    server.reconfigure(|config| config.set("outgoing.relay.password", "secret"));
    server.run(&["reload"]);
    assert_eq!(host.wait_for(5, SOON).len(), 5);
    assert!(log_lines(&server, &[" failed "]).is_empty());
    let ready = web.get("/readyz").expect(200);
    assert!(ready.json().get("faults").is_none(), "{ready:?}");
}

#[test]
fn a_password_file_that_changes_is_read_while_the_login_is_refused() {
    let scene = Scene::new();
    let host = relay(&scene);
    let scratch = lab::Scratch::new();
    let file = scratch.path().join("password");
    std::fs::write(&file, "wrong\n").unwrap();
    let path = file.display().to_string();
    let config = by_relay(&scene, &host, "")
        .unset("outgoing.relay.password")
        .set("outgoing.relay.password_file", path);
    let server = scene.start_trusting(config);
    send(&server, "bob@anywhere.example");
    assert!(server.wait_for_log(&[" our-fault ", "535"], SOON).is_some());
    std::thread::sleep(Duration::from_millis(20));
    std::fs::write(&file, "secret\n").unwrap();
    assert_eq!(host.wait_for(1, SOON).len(), 1);
    let why = [" reload ", "password_file changed", "done"];
    assert!(server.wait_for_log(&why, SOON).is_some());
}

#[test]
fn a_relay_that_does_not_exist_or_does_not_prove_its_name_costs_no_attempt() {
    let scene = Scene::new();
    let host = relay(&scene);
    host.set(|b| b.starttls = StartTls::SelfSigned);
    let certificate = by_relay(&scene, &host, "secret");
    let name = by_relay(&scene, &host, "secret").set("outgoing.relay.host", "nobody.example");
    for (config, word) in [(certificate, "certificate"), (name, "does not exist")] {
        let server = scene.start_trusting(config);
        send(&server, "bob@anywhere.example");
        let line = server.wait_for_log(&[" our-fault ", word], SOON);
        assert!(line.is_some(), "{word}");
        // Four attempts, a second apart, would be over by then.
        std::thread::sleep(Duration::from_secs(4));
        let list = queue(&server);
        assert_eq!(list.len(), 1, "{word}");
        assert_eq!(list[0]["attempts"], 0, "{word}");
    }
    scene.assert_no_failure();
}

#[test]
fn a_relay_that_does_not_answer_is_charged_as_any_host() {
    let scene = Scene::new();
    let host = relay(&scene);
    host.stop();
    let server = scene.start_trusting(by_relay(&scene, &host, "secret"));
    send(&server, "bob@anywhere.example");
    assert!(
        server
            .wait_for_log(&[" failed ", "bob@anywhere.example"], SOON)
            .is_some()
    );
    assert!(log_lines(&server, &[" our-fault "]).is_empty());
}

#[test]
fn c58_a_login_is_never_sent_in_clear() {
    let scene = Scene::new();
    let host = relay(&scene);
    for way in [
        StartTls::NotOffered,
        StartTls::Garbage,
        StartTls::SelfSigned,
    ] {
        host.set(|b| b.starttls = way);
        let server = scene.start_trusting(by_relay(&scene, &host, "secret"));
        send(&server, "bob@anywhere.example");
        assert!(
            server.wait_for_log(&[" deferred "], SOON).is_some(),
            "{way:?}"
        );
        assert_eq!(host.logins(), [], "{way:?}");
        assert!(
            !host.lines().iter().any(|l| l.starts_with("AUTH")),
            "{way:?}"
        );
    }
    assert_eq!(host.count(), 0);
}

#[test]
fn c58_the_strongest_login_that_both_have_is_used() {
    let scene = Scene::new();
    let host = relay(&scene);
    let all = ["PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"];
    for (offered, pinned, mechanism, flag) in [
        (&all[..], None, "SCRAM-SHA-256-PLUS", "p=tls-exporter"),
        (&all[..3], None, "SCRAM-SHA-256", "y"),
        (&all, Some("SCRAM-SHA-256"), "SCRAM-SHA-256", "n"),
        (&all[..2], None, "PLAIN", ""),
        (&all, Some("login"), "LOGIN", ""),
    ] {
        host.set(|b| {
            b.mechanisms(offered);
        });
        let mut config = by_relay(&scene, &host, "secret");
        if let Some(pinned) = pinned {
            config = config.set("outgoing.relay.auth", [pinned]);
        }
        let server = scene.start_trusting(config);
        let before = host.count();
        send(&server, "bob@anywhere.example");
        let mails = host.wait_for(before + 1, SOON);
        assert_eq!(mails.len(), before + 1, "{mechanism}");
        let logins = host.logins();
        let login = logins.last().unwrap();
        assert_eq!(
            (login.mechanism.as_str(), login.flag.as_str()),
            (mechanism, flag)
        );
        assert!(login.tls && login.accepted, "{login:?}");
    }
}

#[test]
fn c58_a_relay_that_proves_nothing_gets_no_mail() {
    let scene = Scene::new();
    let host = relay(&scene);
    type Change = fn(&mut lab::Behaviour);
    let cases: [(Change, &str); 3] = [
        (
            |b| b.scram_lies = true,
            "did not prove that it knows the password",
        ),
        (
            |b| b.scram_rounds = 2_000_000,
            "unreasonable number of hash iterations",
        ),
        (
            |b| b.login = Some(("ann".to_owned(), "other".to_owned())),
            "535 5.7.8",
        ),
    ];
    for (change, why) in cases {
        host.set(|b| {
            b.login = Some(("ann".to_owned(), "secret".to_owned()));
            (b.scram_lies, b.scram_rounds) = (false, 4096);
            b.mechanisms(&["SCRAM-SHA-256", "PLAIN"]);
            change(b);
        });
        let server = scene.start_trusting(by_relay(&scene, &host, "secret"));
        send(&server, "bob@anywhere.example");
        let line = server
            .wait_for_log(&[" deferred ", "bob@anywhere.example"], SOON)
            .unwrap();
        assert!(line.contains(why), "{line}");
    }
    assert_eq!(host.count(), 0);
    // A refused proof does not make us tell the password.
    assert!(host.logins().iter().all(|l| l.mechanism == "SCRAM-SHA-256"));
    scene.assert_no_failure();
}

fn via(domain: &str, host: &MxHost) -> [(&'static str, Value); 2] {
    [
        ("match", domain.into()),
        ("via_smtp", host.address().to_string().into()),
    ]
}

#[test]
fn c59_a_static_route_beats_mx_and_the_longest_match_wins() {
    let scene = Scene::new();
    let world = &scene.world;
    let [corp, eu, exact] = ["corp", "eu", "exact"].map(|n| world.host(&format!("{n}.lab")));
    let mx = world.domain("de.eu.corp.example");
    let other = world.domain("other.example");
    let config = scene
        .config()
        .table("domain", &via(".corp.example", &corp))
        .table("domain", &via(".eu.corp.example", &eu))
        .table("domain", &via("de.eu.corp.example", &exact));
    let server = Sendoff::start(BINARY, config);
    for (domain, host) in [
        ("us.corp.example", &corp),
        ("fr.eu.corp.example", &eu),
        ("de.eu.corp.example", &exact),
        ("other.example", &other),
    ] {
        send(&server, &format!("bob@{domain}"));
        assert_eq!(host.wait_for(1, SOON).len(), 1, "{domain}");
    }
    assert_eq!(mx.connection_count(), 0);
    for host in [&corp, &eu, &exact, &other] {
        assert_eq!(host.count(), 1);
    }
}

#[test]
fn c59_a_removed_route_applies_to_queued_mail_at_its_next_try() {
    let scene = Scene::new();
    let wrong = scene.world.host("wrong.lab");
    wrong.stop();
    let right = scene.world.domain("good.example");
    let config = scene
        .config()
        .set("outgoing.resend_attempts", 10)
        .table("domain", &via("good.example", &wrong));
    let mut server = Sendoff::start(BINARY, config);
    send(&server, "bob@good.example");
    assert!(
        server
            .wait_for_log(&[" deferred ", "bob@good.example"], SOON)
            .is_some()
    );
    assert_eq!(right.wait_for(1, A_WHILE).len(), 0);
    server.reconfigure(|c| c.without("domain"));
    server.run(&["reload"]);
    let mails = right.wait_for(1, SOON);
    assert_eq!(mails.len(), 1);
    eventually("the queue is empty", Duration::from_secs(10), || {
        queue(&server).is_empty()
    });
    assert!(log_lines(&server, &[" failed "]).is_empty());
}
