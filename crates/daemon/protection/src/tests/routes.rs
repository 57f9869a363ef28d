//! `resolve`: from a domain to its next hop and site.

use deliver::TlsMode;
use lab::Config;
use mail::{Destination, EnhancedCode, Outcome, Timestamp};
use node::controls::Slow;
use node::hop::Hop;
use schedule::Resolution;

use super::country::{Country, Room, domain};
use crate::resolve::resolve;

fn names(hop: &Hop) -> Vec<String> {
    hop.next
        .hosts
        .iter()
        .map(|host| host.name.to_string())
        .collect()
}

/// Why there is no next hop.
async fn unroutable(room: &Room, name: &str) -> (Outcome, Option<EnhancedCode>, String) {
    match room.resolved(name).await {
        (Resolution::Unroutable(verdict), None) => {
            assert_eq!(verdict.at, room.staging.now());
            (verdict.outcome, verdict.reply.enhanced, verdict.reply.text)
        }
        (other, _) => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn domains_with_the_same_hosts_are_one_site_in_whatever_order() {
    let country = Country::new();
    let dns = &country.world.dns;
    for (name, preferences) in [("b.example", [10, 20]), ("c.example", [20, 10])] {
        for (host, preference) in ["mx1.h.example", "mx2.h.example"].iter().zip(preferences) {
            dns.mx(name, preference, host);
        }
    }
    dns.mx("d.example", 10, "mx1.h.example");
    let room = country.room(&country.config()).await;
    let (b, b_site) = room.hop("b.example").await;
    let (c, c_site) = room.hop("c.example").await;
    let (_, d_site) = room.hop("d.example").await;
    assert_eq!(b_site, c_site);
    assert_ne!(b_site, d_site);
    assert_eq!(names(&b).len(), 2);
    let order = |hop: &Hop| {
        let mut hosts = hop.next.hosts.clone();
        hosts.sort_by_key(|host| host.preference);
        hosts[0].name.to_string()
    };
    assert_eq!(
        (order(&b).as_str(), order(&c).as_str()),
        ("mx1.h.example", "mx2.h.example")
    );
    assert!(!b.next.configured && b.credentials.is_none());
    room.staging
        .logged("mx", &["domain=b.example", "10:mx1.h.example"])
        .await;
}

#[tokio::test]
async fn what_gets_no_mail_fails_and_what_dns_does_not_say_waits() {
    let country = Country::new();
    let dns = &country.world.dns;
    dns.null_mx("null.example");
    dns.servfail("broken.example");
    dns.txt("empty.example", "neither MX nor address");
    let room = country.room(&country.config()).await;
    let (outcome, code, _) = unroutable(&room, "null.example").await;
    assert_eq!(
        (outcome, code),
        (Outcome::Failed, Some(EnhancedCode::new(5, 1, 10)))
    );
    let (outcome, code, _) = unroutable(&room, "unknown.example").await;
    assert_eq!(
        (outcome, code),
        (Outcome::Failed, Some(EnhancedCode::new(5, 1, 2)))
    );
    let (outcome, code, _) = unroutable(&room, "broken.example").await;
    assert_eq!(
        (outcome, code),
        (Outcome::Deferred, Some(EnhancedCode::new(4, 4, 3)))
    );
    let (outcome, _, text) = unroutable(&room, "empty.example").await;
    assert_ne!(outcome, Outcome::Delivered, "{text}");
}

#[tokio::test]
async fn a_domain_without_mx_is_its_own_host_and_a_literal_is_its_address() {
    let country = Country::new();
    country
        .world
        .dns
        .a("plain.example", "127.9.9.9".parse().unwrap());
    let room = country.room(&country.config()).await;
    let (hop, _) = room.hop("plain.example").await;
    assert_eq!(names(&hop), ["plain.example"]);
    let asked = country.world.dns.questions().len();
    let (hop, site) = room.hop("[127.8.8.8]").await;
    assert_eq!(hop.next.hosts.len(), 1);
    assert!(site.contains("127.8.8.8"), "{site}");
    assert_eq!(
        country.world.dns.questions().len(),
        asked,
        "nothing was asked"
    );
}

#[tokio::test]
async fn the_parents_records_count_only_where_that_is_set() {
    let country = Country::new();
    country.world.dns.mx("b.example", 10, "mx.b.example");
    country.world.dns.txt("sub.b.example", "it exists");
    let config = country.config().set("outgoing.parent_domain_mx", true);
    let room = country.room(&config).await;
    let (hop, _) = room.hop("sub.b.example").await;
    assert_eq!(names(&hop), ["mx.b.example"]);
    room.staging
        .logged("mx", &["domain=sub.b.example", "asked=b.example"])
        .await;
    let room = country.room(&country.config()).await;
    let (outcome, _, text) = unroutable(&room, "sub.b.example").await;
    assert_eq!(outcome, Outcome::Failed, "{text}");
}

#[tokio::test]
async fn mail_that_does_not_leave_has_a_site_that_no_host_can_have() {
    let country = Country::new();
    let room = country.room(&country.config()).await;
    let now = room.staging.now();
    for destination in [Destination::Local, Destination::Test] {
        let name = domain("here.example");
        let (site, hop) = resolve(&room.protection, &name, destination, None, now).await;
        let Resolution::Site {
            key,
            group,
            expires,
        } = site
        else {
            panic!("{site:?}");
        };
        assert_eq!(*key, format!("({})", destination.word()));
        assert!(group.is_none() && expires > now);
        let hop = hop.unwrap();
        assert_eq!((hop.destination, hop.tls), (destination, TlsMode::None));
    }
    assert!(country.world.dns.questions().is_empty());
}

#[tokio::test]
async fn a_server_that_a_rule_names_is_a_site_of_its_own_beside_the_same_host_by_dns() {
    let country = Country::new();
    country.world.dns.mx("b.example", 10, "mx.h.example");
    let config = country
        .config()
        .rule("c.example", "via_smtp", "mx.h.example");
    let room = country.room(&config).await;
    let (_, by_dns) = room.hop("b.example").await;
    let (hop, by_rule) = room.hop("c.example").await;
    assert_ne!(by_dns, by_rule);
    assert!(
        hop.next.configured && by_rule.ends_with("(configured)"),
        "{by_rule}"
    );
    // Nothing of c.example was asked, and no policy of its: another server is told who it is.
    let asked = country.world.dns.questions();
    assert!(
        !asked.iter().any(|(name, _)| name.contains("c.example")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn an_administrators_route_goes_before_rules_and_relay_and_garbage_does_not() {
    let country = Country::new();
    country.world.dns.mx("b.example", 10, "mx.b.example");
    let config = country
        .config()
        .rule("b.example", "via_smtp", "rule.example");
    let room = country.room(&config).await;
    let routed = async |room: &Room, route| match room.routed("b.example", Some(route)).await {
        (Resolution::Site { .. }, Some(hop)) => names(&hop),
        (other, _) => panic!("{route}: {other:?}"),
    };
    assert_eq!(routed(&room, "given.example:26").await, ["given.example"]);
    assert_eq!(routed(&room, "[127.7.7.7]:26").await.len(), 1);
    for garbage in ["[::", "a b", "x:999999"] {
        assert_eq!(routed(&room, garbage).await, ["rule.example"], "{garbage}");
    }
    let room = country.room(&relay(&country)).await;
    assert_eq!(routed(&room, "given.example").await, ["given.example"]);
    let (hop, _) = room.hop("b.example").await;
    assert_eq!(names(&hop), ["relay.example"]);
}

fn relay(country: &Country) -> Config {
    country
        .config()
        .set("outgoing.mode", "relay")
        .set("outgoing.relay.host", "relay.example")
        .set("outgoing.relay.port", 587)
        .set("outgoing.relay.tls", "verify")
        .set("outgoing.relay.username", "ann")
        .set("outgoing.relay.password", "secret")
}

#[tokio::test]
async fn everything_goes_to_the_relay_as_the_relay_wants_it_whatever_rules_say() {
    let country = Country::new();
    let config = relay(&country)
        .set("outgoing.tls", "none")
        .rule("b.example", "tls", "none")
        .rule("b.example", "max_connections", 1);
    let room = country.room(&config).await;
    let (b, b_site) = room.hop("b.example").await;
    let (_, c_site) = room.hop("c.example").await;
    assert_eq!(b_site, c_site);
    assert!(b.next.relay && b.next.configured);
    assert_eq!(b.tls, TlsMode::Verify);
    assert_eq!(b.credentials.as_ref().unwrap().username, "ann");
    assert!(
        country.world.dns.questions().is_empty(),
        "no look-up in Relay Mode"
    );
}

#[tokio::test]
async fn limits_of_a_domain_make_a_site_of_its_own_and_of_its_provider() {
    let country = Country::new();
    for name in ["b.example", "c.example", "d.example", "e.example"] {
        country.world.dns.mx(name, 10, "aspmx.l.google.com");
    }
    let config = country
        .config()
        .rule("b.example", "max_connections", 2)
        .rule("b.example", "tls", "require")
        .rule("c.example", "max_message_rate", "10/1m");
    let room = country.room(&config).await;
    let site = async |name: &str| match room.resolved(name).await {
        (Resolution::Site { key, group, .. }, Some(hop)) => {
            (key.to_string(), group.unwrap().to_string(), hop.tls)
        }
        (other, _) => panic!("{name}: {other:?}"),
    };
    let (b, b_group, tls) = site("b.example").await;
    assert!(b.ends_with(" connections=2 tls=require"), "{b}");
    assert!(b_group.ends_with(" connections=2 tls=require"), "{b_group}");
    assert_eq!(tls, TlsMode::Require);
    let (c, c_group, tls) = site("c.example").await;
    assert!(c.ends_with(" rate=10/60s"), "{c}");
    assert_eq!(tls, TlsMode::Opportunistic);
    let (d, d_group, _) = site("d.example").await;
    let (e, e_group, _) = site("e.example").await;
    assert_eq!((&d, &d_group), (&e, &e_group));
    assert!(c != d && c_group != d_group && b != c && b_group != c_group);
    // Who is slowed leaves the others, for as long as that is ordered.
    let slow = Slow {
        rate: None,
        connections: Some(1),
    };
    let controls = &room.staging.node.controls;
    controls.set_slow(domain("e.example"), Some(slow));
    let (slowed, _, _) = site("e.example").await;
    assert_eq!(slowed, format!("{d} slowed connections=1"));
    controls.set_slow(domain("e.example"), None);
    assert_eq!(site("e.example").await.0, d);
}

#[tokio::test]
async fn a_decision_holds_for_a_moment_at_least_and_no_longer_than_minutes() {
    let country = Country::new();
    country.world.dns.mx("b.example", 10, "mx.b.example");
    country.world.dns.ttl(std::time::Duration::ZERO);
    let room = country.room(&country.config()).await;
    let now: Timestamp = room.staging.now();
    let (Resolution::Site { expires, .. }, _) = room.resolved("b.example").await else {
        panic!("a site");
    };
    let held = expires.since(now).as_millis();
    assert!((1000..=300_000).contains(&held), "{held} ms");
}
