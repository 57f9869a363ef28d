//! Decisions for the answers that DNS gives, the odd ones above all.

use mail::{Domain, Outcome, Timestamp};

use crate::*;

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn settings() -> RouteSettings {
    RouteSettings {
        mode: Mode::Independent,
        hostname: domain("out.example"),
        smtp_port: 25,
        parent_domain_mx: false,
        refuse_networks: LOOPBACK.to_vec(),
        own_listeners: vec!["192.0.2.9:25".parse().unwrap()],
    }
}

fn mx(preference: u16, exchange: &str) -> MxRecord {
    MxRecord {
        preference,
        exchange: exchange.to_owned(),
    }
}

fn decide(settings: &RouteSettings, answer: DnsAnswer<MxRecord>) -> Step {
    let (mut router, step) = Router::begin(settings, &domain("x.example"), None, Timestamp::ZERO);
    assert_eq!(step, Step::AskMx(domain("x.example")));
    router.mx_answer(answer)
}

fn names(step: Step) -> Vec<String> {
    let Step::Go(hop) = step else {
        panic!("{step:?}")
    };
    hop.hosts.iter().map(|h| h.name.to_string()).collect()
}

fn refusal(step: Step) -> (Outcome, String) {
    let Step::No(verdict) = step else {
        panic!("{step:?}")
    };
    (verdict.outcome, verdict.reply.status().to_string())
}

#[test]
fn hosts_come_by_preference_and_equals_in_every_order() {
    let records = vec![
        mx(20, "c.example."),
        mx(10, "a.example."),
        mx(10, "b.example."),
    ];
    let Step::Go(hop) = decide(&settings(), DnsAnswer::Found(records)) else {
        panic!()
    };
    assert_eq!(&*hop.site_key(), "a.example,b.example,c.example");
    let mut firsts = std::collections::BTreeMap::new();
    for seed in 0..200 {
        let order = order_hosts(&hop.hosts, seed);
        assert_eq!(order[2].name.as_str(), "c.example");
        *firsts.entry(order[0].name.to_string()).or_insert(0) += 1;
    }
    assert!(
        firsts.len() == 2 && firsts.values().all(|n| *n > 60),
        "{firsts:?}"
    );
}

#[test]
fn final_answers_of_dns_fail_at_once_and_failures_defer() {
    let s = settings();
    let null = DnsAnswer::Found(vec![mx(0, ".")]);
    assert_eq!(
        refusal(decide(&s, null)),
        (Outcome::Failed, "5.1.10".into())
    );
    let nx = decide(&s, DnsAnswer::NxDomain);
    assert_eq!(refusal(nx), (Outcome::Failed, "5.1.2".into()));
    let failed = decide(&s, DnsAnswer::Failed("SERVFAIL".into()));
    assert_eq!(refusal(failed), (Outcome::Deferred, "4.4.3".into()));
}

#[test]
fn without_mx_the_domain_is_its_own_host_if_it_has_an_address() {
    let s = settings();
    let (mut router, _) = Router::begin(&s, &domain("x.example"), None, Timestamp::ZERO);
    assert_eq!(
        router.mx_answer(DnsAnswer::NoData),
        Step::AskAddress(domain("x.example"))
    );
    let found = DnsAnswer::Found(vec!["192.0.2.1".parse().unwrap()]);
    assert_eq!(names(router.address_answer(found)), ["x.example"]);
    assert_eq!(refusal(router.address_answer(DnsAnswer::NoData)).1, "5.4.4");
    let timeout = router.address_answer(DnsAnswer::Failed("timed out".into()));
    assert_eq!(refusal(timeout), (Outcome::Deferred, "4.4.3".into()));
}

#[test]
fn mx_targets_that_are_no_hosts_are_skipped() {
    let records = vec![
        mx(5, "192.0.2.1"),
        mx(7, ""),
        mx(8, "bad host."),
        mx(10, "a.example."),
    ];
    assert_eq!(
        names(decide(&settings(), DnsAnswer::Found(records))),
        ["a.example"]
    );
    let only_bad = DnsAnswer::Found(vec![mx(5, "192.0.2.1")]);
    assert_eq!(
        refusal(decide(&settings(), only_bad)),
        (Outcome::Failed, "5.4.4".into())
    );
}

#[test]
fn ourselves_in_the_list_cut_it_off() {
    let s = settings();
    let records = vec![
        mx(10, "peer.example."),
        mx(20, "OUT.example."),
        mx(30, "far.example."),
    ];
    assert_eq!(
        names(decide(&s, DnsAnswer::Found(records))),
        ["peer.example"]
    );
    let equal = vec![mx(10, "peer.example."), mx(10, "out.example.")];
    assert_eq!(refusal(decide(&s, DnsAnswer::Found(equal))).1, "5.4.6");
    let only = vec![mx(10, "out.example.")];
    assert_eq!(
        refusal(decide(&s, DnsAnswer::Found(only))),
        (Outcome::Failed, "5.4.6".into())
    );
}

#[test]
fn our_listeners_and_refused_networks_are_never_connected_to() {
    let s = settings();
    let Step::Go(hop) = decide(&s, DnsAnswer::Found(vec![mx(1, "a.example.")])) else {
        panic!()
    };
    let ip = |t: &str| t.parse().unwrap();
    let host = &hop.hosts[0];
    let left = s.usable(
        &hop,
        host,
        &[
            ip("127.0.0.1"),
            ip("::ffff:127.0.0.1"),
            ip("64:ff9b::127.0.0.1"),
            ip("192.0.2.1"),
        ],
    );
    assert_eq!(left, Ok(vec![ip("192.0.2.1")]));
    assert!(
        s.usable(&hop, host, &[ip("127.0.0.1")])
            .unwrap_err()
            .to_string()
            .contains("refuse_networks")
    );
    assert!(
        s.usable(&hop, host, &[ip("192.0.2.9")])
            .unwrap_err()
            .to_string()
            .contains("itself")
    );
    assert!(s.is_ourselves(host, &[ip("192.0.2.9")]));
    let literal = domain("[127.0.0.1]");
    let (_, step) = Router::begin(&s, &literal, None, Timestamp::ZERO);
    assert_eq!(refusal(step).0, Outcome::Failed);
}

#[test]
fn names_that_strangers_publish_lead_to_no_private_network() {
    let mut s = settings();
    let ip = |t: &str| t.parse().unwrap();
    let (private, embedded) = (ip("10.0.0.1"), ip("64:ff9b::192.168.0.1"));
    let (public, loopback) = (ip("192.0.2.1"), ip("127.0.0.1"));
    let found = [private, embedded, ip("169.254.169.254"), loopback, public];
    assert_eq!(s.fetchable(&found), Ok(vec![public]));
    let why = s.fetchable(&[private]).unwrap_err().to_string();
    assert_eq!(
        why,
        "10.0.0.1 is in the private network 10.0.0.0/8, where names published by others must not point to"
    );
    // Loopback is the administrator's to refuse, and mail goes where only he refuses it.
    s.refuse_networks = Vec::new();
    assert_eq!(s.fetchable(&[loopback, private]), Ok(vec![loopback]));
    let Step::Go(hop) = decide(&s, DnsAnswer::Found(vec![mx(1, "a.example.")])) else {
        panic!()
    };
    assert!(s.usable(&hop, &hop.hosts[0], &[private]).is_ok());
    assert_eq!(s.fetchable(&[]), Err(Unusable::NoAddress));
}

#[test]
fn a_connection_that_stays_on_one_address_is_our_own_where_we_listen_everywhere() {
    let mut s = settings();
    s.own_listeners = vec!["0.0.0.0:25".parse().unwrap()];
    let ip = |address: &str| address.parse().unwrap();
    let to = |address: &str| address.parse().unwrap();
    assert!(s.is_own_connection(ip("203.0.113.5"), to("203.0.113.5:25")));
    assert!(!s.is_own_connection(ip("203.0.113.5"), to("203.0.113.6:25")));
    assert!(!s.is_own_connection(ip("203.0.113.5"), to("203.0.113.5:2525")));
}

#[test]
fn via_smtp_counts_in_independent_mode_only_and_may_lead_inside() {
    let via = Target::parse("127.0.0.1:2525", 25).unwrap();
    let s = settings();
    let (_, step) = Router::begin(&s, &domain("x.example"), Some(&via), Timestamp::ZERO);
    let Step::Go(hop) = step else { panic!() };
    assert_eq!(&*hop.site_key(), "[127.0.0.1]:2525");
    assert!(
        s.usable(&hop, &hop.hosts[0], &["127.0.0.1".parse().unwrap()])
            .is_ok()
    );
    let relay = Target::parse("smtp.isp.example", 587).unwrap();
    let s = RouteSettings {
        mode: Mode::Relay(vec![relay]),
        ..settings()
    };
    let (_, step) = Router::begin(&s, &domain("x.example"), Some(&via), Timestamp::ZERO);
    let Step::Go(hop) = step else { panic!() };
    assert_eq!(
        (&*hop.site_key(), hop.relay),
        ("smtp.isp.example:587", true)
    );
}

#[test]
fn the_parent_is_asked_before_a_domain_fails_but_never_a_public_suffix() {
    let s = RouteSettings {
        parent_domain_mx: true,
        ..settings()
    };
    let (mut router, _) = Router::begin(&s, &domain("a.b.shop.co.uk"), None, Timestamp::ZERO);
    assert_eq!(
        router.mx_answer(DnsAnswer::NxDomain),
        Step::AskMx(domain("b.shop.co.uk"))
    );
    assert_eq!(
        router.mx_answer(DnsAnswer::NoData),
        Step::AskAddress(domain("b.shop.co.uk"))
    );
    assert_eq!(
        router.address_answer(DnsAnswer::NoData),
        Step::AskMx(domain("shop.co.uk"))
    );
    assert_eq!(refusal(router.mx_answer(DnsAnswer::NxDomain)).1, "5.1.2");
}

#[test]
fn each_key_comes_from_the_longest_match_that_sets_it() {
    #[derive(Clone, PartialEq, Eq, Debug)]
    struct Set {
        a: Option<u32>,
        b: Option<u32>,
    }
    let rule = |m: &str, a, b| DomainRule {
        matcher: Matcher::parse(m).unwrap(),
        set: Set { a, b },
    };
    let rules = Rules::new(vec![
        rule("*", Some(1), Some(1)),
        rule(".example", Some(2), None),
        rule("x.example", None, Some(3)),
        rule(".y.example", Some(4), None),
        rule("xn--bcher-kva.example", Some(5), None),
    ]);
    for (name, a, b) in [
        ("other.test", 1, 1),
        ("example", 1, 1),
        ("z.example", 2, 1),
        ("x.example", 2, 3),
        ("a.x.example", 2, 1),
        ("a.y.example", 4, 1),
        ("bücher.example", 5, 1),
    ] {
        let found = rules.effective(&domain(name));
        assert_eq!(
            (found.key(|s| s.a), found.key(|s| s.b)),
            (Some(a), Some(b)),
            "{name}"
        );
    }
    assert!(Matcher::parse("").is_err() && Matcher::parse("a b").is_err());
}

#[test]
fn servers_are_read_in_all_four_forms() {
    for (text, expected) in [
        ("smtp.example", "smtp.example:25"),
        ("smtp.example:587", "smtp.example:587"),
        ("[192.0.2.1]", "[192.0.2.1]:25"),
        ("192.0.2.1:2525", "[192.0.2.1]:2525"),
        ("[2001:db8::1]:26", "[IPv6:2001:db8::1]:26"),
        ("2001:db8::1", "[IPv6:2001:db8::1]:25"),
    ] {
        assert_eq!(Target::parse(text, 25).unwrap().to_string(), expected);
    }
    for bad in ["", "a b", "host:0", "host:x", "[nope]"] {
        assert!(Target::parse(bad, 25).is_err(), "{bad}");
    }
}
