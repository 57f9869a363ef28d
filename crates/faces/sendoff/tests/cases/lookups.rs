//! What DNS says and what follows: C14 to C17.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::scene::{SOON, Scene, log_lines, send};

#[test]
fn c14_a_domain_that_does_not_exist_fails_at_once() {
    let scene = Scene::new();
    let server = scene.start();
    send(&server, "bob@nowhere.example");
    scene
        .failure()
        .assert_failed("bob@nowhere.example", "5.1.2");
    assert!(log_lines(&server, &[" deferred "]).is_empty());
}

#[test]
fn c15_a_null_mx_fails_at_once_without_a_connection() {
    let scene = Scene::new();
    let host = scene.world.host("null.example");
    scene.world.dns.null_mx("null.example");
    let server = scene.start();
    send(&server, "bob@null.example");
    scene.failure().assert_failed("bob@null.example", "5.1.10");
    assert!(log_lines(&server, &[" deferred "]).is_empty());
    assert_eq!(host.connection_count(), 0);
}

#[test]
fn an_answer_that_dns_gave_late_has_its_own_time() {
    let scene = Scene::new();
    scene.world.dns.null_mx("silent.example");
    let late = Duration::from_millis(1500);
    scene.world.dns.delay("silent.example", late);
    let server = scene.start();
    send(&server, "bob@silent.example");
    let failed = server.wait_for_log(&[" failed ", "to=<bob@silent.example>"], SOON);
    let failed = failed.expect("it fails");
    let delays = failed.split_once("delays=").map_or("", |(_, rest)| rest);
    let lookup: Option<u128> = delays.split('/').nth(1).and_then(|ms| ms.parse().ok());
    assert!(lookup.is_some_and(|ms| ms >= late.as_millis()), "{failed}");
    let at = |line: &str| line.split(' ').next().map(str::to_owned);
    let accepted = server.wait_for_log(&[" accepted "], SOON).expect("it was");
    assert!(at(&failed) > at(&accepted), "{failed} {accepted}");
}

#[test]
fn c16_without_mx_the_domain_is_its_own_host() {
    let scene = Scene::new();
    let host = scene.world.host("plain.example");
    let server = scene.start();
    send(&server, "bob@plain.example");
    assert_eq!(host.wait_for(1, SOON).len(), 1);
}

#[test]
fn c16_a_failing_lookup_defers_and_is_no_sign_of_an_implicit_mx() {
    let scene = Scene::new();
    let host = scene.world.host("shaky.example");
    scene.world.dns.servfail("shaky.example");
    let server = scene.start();
    send(&server, "bob@shaky.example");
    let line = server
        .wait_for_log(&[" deferred ", "bob@shaky.example"], SOON)
        .unwrap();
    assert!(line.contains("4.4.3"), "{line}");
    assert_eq!(host.connection_count(), 0);
    let ip = host.ip();
    scene
        .world
        .dns
        .remove("shaky.example")
        .address_of("shaky.example", ip);
    assert_eq!(host.wait_for(1, SOON).len(), 1);
}

#[test]
fn c17_a_useless_mx_is_skipped_and_the_next_is_used() {
    let scene = Scene::new();
    let world = &scene.world;
    for (domain, useless) in [
        ("gone.example", "no-such-host.example"),
        ("literal.example", "127.0.0.1"),
    ] {
        world.dns.mx(domain, 10, useless);
        world.dns.mx(domain, 20, &format!("mx.{domain}"));
        let host = world.host(&format!("mx.{domain}"));
        let server = scene.start();
        send(&server, &format!("bob@{domain}"));
        assert_eq!(host.wait_for(1, SOON).len(), 1, "{domain}");
        assert!(log_lines(&server, &[" deferred "]).is_empty(), "{domain}");
    }
}

#[test]
fn an_mx_that_is_an_alias_keeps_its_rank() {
    let scene = Scene::new();
    let world = &scene.world;
    let real = world.host("real.example");
    world.dns.cname("alias.example", "real.example");
    world.dns.mx("pointing.example", 10, "alias.example");
    world.dns.mx("pointing.example", 20, "mx.pointing.example");
    let second = world.host("mx.pointing.example");
    let server = scene.start();
    send(&server, "bob@pointing.example");
    assert_eq!(real.wait_for(1, SOON).len(), 1);
    assert_eq!(second.connection_count(), 0);
}

#[test]
fn c17_where_no_mx_is_of_use_the_reason_is_said() {
    let scene = Scene::new();
    scene.world.dns.mx("empty.example", 10, "mx.empty.example");
    scene.world.dns.a("else.empty.example", Ipv4Addr::LOCALHOST);
    scene.world.dns.mx("half.example", 10, "mx.half.example");
    scene.world.dns.mx("half.example", 20, "late.half.example");
    scene.world.dns.servfail("late.half.example");
    let server = scene.start();
    // DNS says so for all of its hosts: that is final, as it is with Postfix.
    send(&server, "bob@empty.example");
    scene.failure().assert_failed("bob@empty.example", "5.4.4");
    let line = server.wait_for_log(&[" failed ", "bob@empty.example"], SOON);
    let line = line.unwrap();
    assert!(
        line.contains("the mail host mx.empty.example has no address"),
        "{line}"
    );
    // Of one host nothing is known: that may pass.
    send(&server, "bob@half.example");
    let line = server.wait_for_log(&[" deferred ", "bob@half.example"], SOON);
    assert!(line.unwrap().contains("class=host"));
}
