//! From which address of ours mail leaves, what domains want of a session, and what the detailed log says of it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lab::{Config, StartTls, WebAnswer, WebHost};
use mail::{EnhancedCode, Outcome};
use schedule::OurWait;

use super::yard::{Land, MINUTE, Yard, verdict, verdicts};

const BOB: &str = "bob@b.example";

fn source(config: Config, name: &str, address: Ipv4Addr) -> Config {
    config.table(
        "source",
        &[
            ("name", name.into()),
            ("address", address.to_string().into()),
            ("ehlo", format!("{name}.sendoff.lab").into()),
        ],
    )
}

/// The name of the source that the only recipient was tried from.
fn from(finished: &node::event::Finished) -> String {
    match finished.sources.as_slice() {
        [(0, name)] => name.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_source_is_where_the_connection_comes_from_and_has_a_name_of_its_own() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    let ours = land.world.address();
    let config = source(land.config(), "one", ours).set("outgoing.source_addresses", ["default"]);
    let mut yard = Yard::new(&config).await;
    let finished = yard.mail(BOB).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Delivered);
    assert_eq!(from(&finished), "one");
    assert_eq!(host.received()[0].peer.ip(), IpAddr::V4(ours));
    assert!(host.lines().contains(&"EHLO one.sendoff.lab".to_owned()));
}

#[tokio::test]
async fn each_source_has_one_session_at_most_which_is_kept_for_its_next_mail() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    let mut config = land.config().set("outgoing.source_addresses", ["default"]);
    for name in ["one", "two", "three"] {
        config = source(config, name, land.world.address());
    }
    let mut yard = Yard::new(&config).await;
    let mut used = BTreeSet::new();
    for _ in 0..30 {
        used.insert(from(&yard.mail(BOB).await));
    }
    assert!(used.len() > 1, "{used:?}");
    assert_eq!((host.count(), host.connection_count()), (30, used.len()));
}

#[tokio::test]
async fn a_session_that_was_aside_for_half_a_minute_is_ended() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    let mut config = land.config().set("outgoing.source_addresses", ["default"]);
    for name in ["one", "two"] {
        config = source(config, name, land.world.address());
    }
    let mut yard = Yard::new(&config).await;
    let mut used = vec![from(&yard.mail(BOB).await)];
    while used.first() == used.last() {
        used.push(from(&yard.mail(BOB).await));
        assert!(used.len() < 100, "{used:?}");
    }
    assert_eq!(host.connection_count(), 2);
    // The first one is aside now.
    yard.staging.advance(Duration::from_secs(31));
    let aside = used[0].clone();
    let mut sent = 0;
    while from(&yard.mail(BOB).await) != aside {
        sent += 1;
        assert!(sent < 100);
    }
    assert_eq!(host.connection_count(), 3);
    assert_eq!(
        host.lines().iter().filter(|line| *line == "QUIT").count(),
        1
    );
}

#[tokio::test]
async fn a_source_that_is_not_this_computers_is_passed_over_or_waited_for() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    let gone = Ipv4Addr::new(192, 0, 2, 1);
    let alone = source(land.config(), "gone", gone).set("outgoing.source_addresses", ["default"]);
    let mut yard = Yard::new(&alone).await;
    let finished = yard.mail(BOB).await;
    let attempted = &finished.report.attempted[0];
    assert!(matches!(attempted.ours, Some(OurWait::Fault(at)) if at > yard.staging.now()));
    let reply = &attempted.verdict.reply;
    assert_eq!(reply.enhanced, Some(EnhancedCode::new(4, 3, 5)), "{reply}");
    assert_eq!(host.connection_count(), 0);
    let both = source(alone, "good", land.world.address());
    let mut yard = Yard::new(&both).await;
    for _ in 0..10 {
        let finished = yard.mail(BOB).await;
        assert_eq!(verdict(&finished).outcome, Outcome::Delivered);
        assert_eq!(from(&finished), "good");
    }
}

/// `strict.example` enforces a policy, and shares its host with `b.example`.
fn strict(land: &Land) -> (lab::MxHost, WebHost, Config) {
    let host = land.world.host("mx.h.example");
    for name in ["strict.example", "b.example"] {
        land.world.dns.mx(name, 10, "mx.h.example");
    }
    let policy = "version: STSv1\nmode: enforce\nmx: mx.h.example\nmax_age: 86400\n";
    let web = land.world.web(&["mta-sts.strict.example"]);
    let path = "/.well-known/mta-sts.txt";
    web.answer("mta-sts.strict.example", path, WebAnswer::text(policy));
    land.world
        .dns
        .txt("_mta-sts.strict.example", "v=STSv1; id=1;");
    let config = land
        .config()
        .set("outgoing.mta_sts_port", land.world.port());
    (host, web, config)
}

#[tokio::test]
async fn a_host_that_fails_one_domains_policy_gets_the_mail_of_the_others() {
    let land = Land::new();
    let (host, _web, config) = strict(&land);
    host.set(|b| b.starttls = StartTls::SelfSigned);
    let mut yard = Yard::new(&config).await;
    let message = yard
        .staging
        .message("ann@a.example", &[BOB, "eve@strict.example"]);
    let finished = yard.send(message).await;
    let found = verdicts(&finished);
    let outcomes: Vec<Outcome> = found.iter().map(|v| v.outcome).collect();
    assert_eq!(outcomes, [Outcome::Delivered, Outcome::Deferred]);
    assert!(
        found[1].reply.text.contains("MTA-STS"),
        "{}",
        found[1].reply
    );
    assert_eq!(host.received()[0].addresses(), [BOB]);
    host.set(|b| b.starttls = StartTls::Good);
    let message = yard
        .staging
        .message("ann@a.example", &[BOB, "eve@strict.example"]);
    yard.staging.advance(MINUTE);
    let finished = yard.send(message).await;
    let good = verdicts(&finished);
    assert!(
        good.iter().all(|v| v.outcome == Outcome::Delivered),
        "{good:?}"
    );
    assert_eq!(good.last().unwrap().tls, mail::TlsUsed::Verified);
}

#[tokio::test]
async fn what_a_host_has_just_failed_is_not_found_out_by_each_mail_anew() {
    let land = Land::new();
    let (host, _web, config) = strict(&land);
    host.set(|b| b.starttls = StartTls::SelfSigned);
    let mut yard = Yard::new(&config).await;
    let to = "eve@strict.example";
    assert_eq!(verdict(&yard.mail(to).await).outcome, Outcome::Deferred);
    assert_eq!(host.connection_count(), 1);
    // The failure holds for half a minute, and the site's own rest is not the matter here.
    let settings = yard.staging.node.settings();
    let strict = mail::Domain::parse("strict.example").unwrap();
    let now = yard.staging.now();
    let policies = &yard.protection.policies;
    assert!(policies.just_failed(&strict, "mx.h.example", now).is_some());
    let other = mail::Domain::parse("b.example").unwrap();
    assert!(policies.just_failed(&other, "mx.h.example", now).is_none());
    let until = protection::tls_policy::failed_for(&settings);
    assert!(
        policies
            .just_failed(&strict, "mx.h.example", now + until)
            .is_none()
    );
    host.set(|b| b.starttls = StartTls::Good);
    let finished = yard.retry(super::yard::HOUR * 2).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Delivered);
    assert_eq!(host.connection_count(), 2);
}

#[tokio::test]
async fn the_detailed_log_has_the_talk_with_the_hosts_of_a_name_and_no_others() {
    let land = Land::new();
    let _hosts = ["b.example", "c.example"].map(|name| land.world.domain(name));
    let mut yard = land.yard().await;
    let until = Some(mail::Timestamp::MAX);
    yard.staging
        .node
        .journal
        .set_detailed(Some("b.example"), until);
    for to in [BOB, "bob@c.example"] {
        assert_eq!(verdict(&yard.mail(to).await).outcome, Outcome::Delivered);
    }
    let lines = yard.staging.lines("smtp").await;
    assert!(
        lines.iter().all(|line| line.contains("mx.b.example")),
        "{lines:?}"
    );
    for said in [
        "sent=\"EHLO sendoff.lab\"",
        "sent=\"RCPT TO:<bob@b.example>",
        "received=\"250",
    ] {
        assert!(
            lines.iter().any(|line| line.contains(said)),
            "{said} in {lines:?}"
        );
    }
    let connects = yard.staging.lines("connect").await;
    assert_eq!(connects.len(), 1, "{connects:?}");
    assert!(connects[0].contains("what=connected"), "{connects:?}");
}
