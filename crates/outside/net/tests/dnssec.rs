//! DNS answers validated against a signed tree of zones with a root key of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use net::{Answer, Dns, DnsSettings, Dnssec, LookupError, Security};

const HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

struct Tree {
    server: lab::Dns,
    scratch: lab::Scratch,
}

impl Tree {
    /// Secure, unsigned and wrongly signed zones, each with a mail host.
    fn new() -> Self {
        let server = lab::Dns::start();
        server.secure_zone("secure.example");
        server.insecure_zone("plain.example");
        server.bogus_zone("bogus.example");
        for zone in ["secure.example", "plain.example", "bogus.example"] {
            let host = format!("mx.{zone}");
            server.mx(zone, 10, &host).a(&host, HOST);
            server.tlsa(&host, 25, (3, 1, 1), &[7; 32]);
        }
        Self {
            server,
            scratch: lab::Scratch::new(),
        }
    }

    fn settings(&self) -> DnsSettings {
        let anchor = self.scratch.path().join("root.key");
        std::fs::write(&anchor, self.server.trust_anchor().unwrap_or_default())
            .expect("a file in a directory of our own");
        settings(&self.server, Some(anchor))
    }

    async fn dns(&self) -> Dns {
        Dns::new(&self.settings()).await.expect("good settings")
    }
}

fn settings(server: &lab::Dns, trust_anchor: Option<PathBuf>) -> DnsSettings {
    DnsSettings {
        servers: vec![server.address().to_string()],
        detect_if_given_fail: false,
        timeout: Duration::from_secs(5),
        dnssec: true,
        trust_anchor,
    }
}

#[tokio::test]
async fn what_is_signed_is_secure_and_what_is_not_is_told_apart_from_it() {
    let tree = Tree::new();
    let dns = tree.dns().await;
    assert_eq!(dns.dnssec().await, Dnssec::Validated);
    for (zone, security) in [
        ("secure.example", Security::Secure),
        ("plain.example", Security::Insecure),
    ] {
        let mx = dns.mx(zone).await;
        assert_eq!(mx.security, security, "{zone} MX");
        let host = format!("mx.{zone}");
        let addresses = dns.addresses(&host).await;
        assert_eq!(addresses.answer, Answer::Found(vec![IpAddr::V4(HOST)]));
        assert_eq!(addresses.security, security, "{zone} A");
        let tlsa = dns.tlsa(&host, 25).await;
        assert!(matches!(&tlsa.answer, Answer::Found(list) if list.len() == 1));
        assert_eq!(tlsa.security, security, "{zone} TLSA");
        assert_eq!(dns.txt(zone).await.answer, Answer::NoData);
        assert_eq!(dns.txt(zone).await.security, security, "{zone} denial");
        let missing = format!("nobody.{zone}");
        assert_eq!(dns.mx(&missing).await.answer, Answer::NxDomain, "{missing}");
        assert_eq!(dns.mx(&missing).await.security, security, "{missing}");
    }
}

#[tokio::test]
async fn each_link_of_the_chain_is_asked_for_once() {
    let tree = Tree::new();
    tree.server.secure_zone("other.example");
    tree.server.mx("other.example", 10, "mx.secure.example");
    let dns = tree.dns().await;
    // Together, so that each needs what the others are asking for.
    let (mx, addresses, tlsa, txt) = tokio::join!(
        dns.mx("secure.example"),
        dns.addresses("mx.secure.example"),
        dns.tlsa("mx.secure.example", 25),
        dns.txt("_mta-sts.secure.example"),
    );
    let all = [mx.security, addresses.security, tlsa.security, txt.security];
    assert_eq!(all, [Security::Secure; 4]);
    assert_eq!(dns.mx("other.example").await.security, Security::Secure);
    let mut asked = tree.server.questions();
    asked.retain(|(_, kind)| kind == "DNSKEY" || kind == "DS");
    asked.sort();
    let expected = [
        ("", "DNSKEY"),
        ("example", "DNSKEY"),
        ("example", "DS"),
        ("other.example", "DNSKEY"),
        ("other.example", "DS"),
        ("secure.example", "DNSKEY"),
        ("secure.example", "DS"),
    ];
    let asked: Vec<(&str, &str)> = asked.iter().map(|(n, k)| (&**n, &**k)).collect();
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn a_bogus_answer_is_none() {
    let tree = Tree::new();
    let dns = tree.dns().await;
    let mx = dns.mx("bogus.example").await;
    assert!(
        matches!(mx.answer, Answer::Failed(LookupError::Bogus)),
        "{mx:?}"
    );
    // The tree is signed as before: others are not made insecure by it.
    assert_eq!(dns.mx("secure.example").await.security, Security::Secure);
}

#[tokio::test]
async fn an_alias_is_secure_as_far_as_its_zones_are() {
    let tree = Tree::new();
    tree.server
        .cname("same.secure.example", "mx.secure.example");
    tree.server.cname("out.secure.example", "mx.plain.example");
    let dns = tree.dns().await;
    let same = dns.addresses("same.secure.example").await;
    assert_eq!(same.security, Security::Secure);
    assert_eq!(same.alias.unwrap().target, "mx.secure.example");
    let out = dns.addresses("out.secure.example").await;
    assert_eq!(out.security, Security::Insecure);
    let alias = out.alias.unwrap();
    assert_eq!(
        (alias.target.as_str(), alias.secure),
        ("mx.plain.example", true)
    );
}

#[tokio::test]
async fn servers_that_strip_signatures_are_used_without_validation() {
    let server = lab::Dns::start();
    server.mx("plain.example", 10, "mx.plain.example");
    let dns = Dns::new(&settings(&server, None)).await.unwrap();
    assert_eq!(dns.dnssec().await, Dnssec::Stripped);
    let mx = dns.mx("plain.example").await;
    assert!(matches!(mx.answer, Answer::Found(_)), "{mx:?}");
    assert_eq!(mx.security, Security::Unchecked);
}

#[tokio::test]
async fn a_denial_is_asked_for_once() {
    let tree = Tree::new();
    let dns = tree.dns().await;
    for _ in 0..3 {
        let absent = dns.addresses("mx.secure.example").await;
        assert_eq!(absent.security, Security::Secure);
    }
    let asked = tree.server.questions();
    let aaaa = |(name, kind): &&(String, String)| name == "mx.secure.example" && kind == "AAAA";
    assert_eq!(asked.iter().filter(aaaa).count(), 1);
}

#[tokio::test]
async fn a_trust_anchor_that_is_none_is_named() {
    let server = lab::Dns::start();
    let scratch = lab::Scratch::new();
    let path = scratch.path().join("root.key");
    std::fs::write(&path, "this is no key\n").unwrap();
    let error = Dns::new(&settings(&server, Some(path))).await.unwrap_err();
    assert!(error.to_string().contains("root.key"), "{error}");
}

#[tokio::test]
async fn servers_that_have_passed_signatures_on_are_not_at_once_believed_to_strip_them() {
    let tree = Tree::new();
    let dns = tree.dns().await;
    assert_eq!(dns.mx("secure.example").await.security, Security::Secure);
    tree.server.strip();
    // A forged answer could look the same: the mail waits, and is not sent as if nothing were signed.
    let host = dns.addresses("mx.secure.example").await;
    assert!(matches!(host.answer, Answer::Failed(_)), "{host:?}");
    assert_eq!(dns.dnssec().await, Dnssec::Validated);
}

#[tokio::test]
async fn an_error_about_the_roots_keys_says_nothing_about_signatures() {
    let tree = Tree::new();
    tree.server.servfail(".");
    let dns = tree.dns().await;
    assert_eq!(dns.dnssec().await, Dnssec::NoAnswer);
    let mx = dns.mx("secure.example").await;
    assert!(matches!(mx.answer, Answer::Failed(_)), "{mx:?}");
}

#[tokio::test]
async fn a_silent_server_in_front_does_not_switch_validation_off() {
    let tree = Tree::new();
    let silent = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut settings = tree.settings();
    settings
        .servers
        .insert(0, silent.local_addr().unwrap().to_string());
    let dns = Dns::new(&settings).await.unwrap();
    assert_eq!(dns.dnssec().await, Dnssec::Validated);
    assert_eq!(dns.mx("secure.example").await.security, Security::Secure);
}
