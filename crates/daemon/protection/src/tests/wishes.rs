//! What domains and authors ask for, and what becomes of it at a host.

use deliver::TlsMode;
use lab::Identity;
use mail::{EnhancedCode, Message};
use net::Trust;
use node::hop::Hop;

use super::country::{Country, Room, policy};
use crate::tls_policy::{self, By, Context, Need, RuledOut, Wanted, contexts};

/// The groups of a mail's recipients at the next hop of the first.
async fn grouped(
    room: &Room,
    message: &Message,
) -> (std::sync::Arc<Hop>, Vec<(Context, Vec<u32>)>) {
    let first = message.envelope.recipients[0].address.domain().to_string();
    for recipient in message.envelope.recipients.iter().rev() {
        room.resolved(recipient.address.domain().as_str()).await;
    }
    let (hop, _) = room.hop(&first).await;
    let settings = room.staging.node.settings();
    let numbers = 0..u32::try_from(message.envelope.recipients.len()).unwrap();
    let (next, mode) = (&hop.next, hop.tls);
    let found = contexts(&room.protection, &settings, next, mode, message, numbers).await;
    (hop, found)
}

/// How the first host of a hop is talked to for the first group.
async fn wanted_for(room: &Room, message: &Message) -> Result<Wanted, RuledOut> {
    let (hop, groups) = grouped(room, message).await;
    let settings = room.staging.node.settings();
    let host = &hop.next.hosts[0];
    let found = settings.dns.addresses(host.name.as_str()).await;
    let (next, context) = (&hop.next, &groups[0].0);
    tls_policy::wanted(&settings, next, hop.tls, context, host, Some(&found)).await
}

fn code(ruled: &RuledOut) -> EnhancedCode {
    ruled.reply.enhanced.unwrap()
}

/// A mail whose author asks for nothing, or writes this line into the header.
fn mail(room: &Room, to: &[&str], line: &str) -> Message {
    let mut message = room.staging.message("ann@a.example", to);
    let content = [line.as_bytes(), &message.content].concat();
    message.content = content.into();
    message
}

#[tokio::test]
async fn domains_that_ask_for_nothing_go_together_and_one_with_a_policy_apart() {
    let country = Country::new();
    for name in ["b.example", "c.example", "strict.example"] {
        country.world.dns.mx(name, 10, "mx.h.example");
    }
    country.world.dns.a("mx.h.example", country.world.address());
    let _web = country.policy("strict.example", "1", policy("enforce", "mx.h.example"));
    let room = country.room(&country.config()).await;
    let to = [
        "1@b.example",
        "2@strict.example",
        "3@c.example",
        "4@strict.example",
    ];
    let (_, groups) = grouped(&room, &mail(&room, &to, "")).await;
    let numbers: Vec<&[u32]> = groups.iter().map(|(_, n)| n.as_slice()).collect();
    assert_eq!(numbers, [&[0, 2][..], &[1, 3]]);
    assert!(groups[0].0.domain.is_none());
    let strict = groups[1].0.domain.as_ref().unwrap();
    assert_eq!(strict.domain.as_str(), "strict.example");
    assert!(!groups[1].0.is_tested());
}

#[tokio::test]
async fn an_enforced_policy_wants_a_proof_of_the_hosts_that_it_names_and_no_others() {
    let country = Country::new();
    let _webs = [
        ("good.example", "enforce", "mx.good.example"),
        ("other.example", "enforce", "elsewhere.example"),
        ("testing.example", "testing", "elsewhere.example"),
    ]
    .map(|(name, mode, mx)| {
        let host = format!("mx.{name}");
        country.world.dns.mx(name, 10, &host);
        country.world.dns.a(&host, country.world.address());
        country.policy(name, "1", policy(mode, mx))
    });
    let room = country.room(&country.config()).await;
    let good = wanted_for(&room, &mail(&room, &["bob@good.example"], ""))
        .await
        .unwrap();
    assert_eq!(
        (good.mode, good.by, good.name.as_str()),
        (TlsMode::Verify, By::Sts, "mx.good.example")
    );
    assert!(matches!(good.trust, Trust::Roots));
    assert!(good.words().starts_with("MTA-STS"), "{}", good.words());
    let ruled = wanted_for(&room, &mail(&room, &["bob@other.example"], ""))
        .await
        .unwrap_err();
    assert_eq!(
        (ruled.by, code(&ruled)),
        (By::Sts, EnhancedCode::new(4, 7, 5))
    );
    assert!(
        ruled.reply.text.contains("elsewhere.example"),
        "{}",
        ruled.reply
    );
    let testing = wanted_for(&room, &mail(&room, &["bob@testing.example"], ""))
        .await
        .unwrap();
    assert_eq!(
        (testing.mode, testing.by),
        (TlsMode::Opportunistic, By::Settings)
    );
    // An author may put delivery first.
    let message = mail(&room, &["bob@other.example"], "TLS-Required: No\r\n");
    let optional = wanted_for(&room, &message).await.unwrap();
    assert_eq!(
        (optional.mode, optional.by),
        (TlsMode::Opportunistic, By::Settings)
    );
}

#[tokio::test]
async fn records_in_signed_zones_say_whom_the_host_must_be() {
    let country = Country::signed();
    let host = country.world.domain("safe.example");
    let port = country.world.port();
    let identity = Identity::worthless();
    country
        .world
        .dns
        .tlsa(host.name(), port, (3, 1, 1), &identity.tlsa(1, 1));
    let room = country.room(&country.config()).await;
    let message = mail(&room, &["bob@safe.example"], "");
    let wanted = wanted_for(&room, &message).await.unwrap();
    assert_eq!((wanted.mode, wanted.by), (TlsMode::Verify, By::Dane));
    let Trust::Dane { records, names } = &wanted.trust else {
        panic!("{wanted:?}");
    };
    assert_eq!((records.len(), names.len()), (1, 0));
    assert!(wanted.words().contains("3 1 1"), "{}", wanted.words());
    // Switched off, by the administrator or for the mail, nobody asks for them.
    let off = country
        .room(&country.config().set("outgoing.dane", false))
        .await;
    let wanted = wanted_for(&off, &mail(&off, &["bob@safe.example"], ""))
        .await
        .unwrap();
    assert_eq!(wanted.by, By::Settings);
    let none = country
        .room(&country.config().set("outgoing.tls", "none"))
        .await;
    let wanted = wanted_for(&none, &mail(&none, &["bob@safe.example"], ""))
        .await
        .unwrap();
    assert_eq!((wanted.mode, wanted.by), (TlsMode::None, By::Settings));
}

#[tokio::test]
async fn an_authoritys_record_is_about_names_and_unusable_ones_ask_for_encryption_alone() {
    let country = Country::signed();
    let host = country.world.domain("safe.example");
    let port = country.world.port();
    country
        .world
        .dns
        .tlsa(host.name(), port, (2, 0, 1), &country.world.ca.tlsa(0, 1));
    let room = country.room(&country.config()).await;
    let wanted = wanted_for(&room, &mail(&room, &["bob@safe.example"], ""))
        .await
        .unwrap();
    let Trust::Dane { names, .. } = &wanted.trust else {
        panic!("{wanted:?}");
    };
    assert!(names.iter().any(|name| name == "safe.example"), "{names:?}");
    country
        .world
        .dns
        .remove(&format!("_{port}._tcp.{}", host.name()));
    // A usage that mail clients cannot use (RFC 7672 section 3.1.3).
    country
        .world
        .dns
        .tlsa(host.name(), port, (1, 1, 1), &[7; 32]);
    let room = country.room(&country.config()).await;
    let wanted = wanted_for(&room, &mail(&room, &["bob@safe.example"], ""))
        .await
        .unwrap();
    assert_eq!((wanted.mode, wanted.by), (TlsMode::Require, By::Dane));
    assert!(matches!(wanted.trust, Trust::Anyone));
    // The administrator's own wish for a proof is more than that.
    let strict = country
        .room(&country.config().set("outgoing.tls", "verify"))
        .await;
    let wanted = wanted_for(&strict, &mail(&strict, &["bob@safe.example"], ""))
        .await
        .unwrap();
    assert_eq!((wanted.mode, wanted.by), (TlsMode::Verify, By::Settings));
}

#[tokio::test]
async fn records_that_cannot_be_looked_up_make_the_mail_wait() {
    let country = Country::signed();
    let host = country.world.domain("safe.example");
    let name = format!("_{}._tcp.{}", country.world.port(), host.name());
    country.world.dns.servfail(&name);
    let room = country.room(&country.config()).await;
    let ruled = wanted_for(&room, &mail(&room, &["bob@safe.example"], ""))
        .await
        .unwrap_err();
    assert_eq!(
        (ruled.by, code(&ruled)),
        (By::Dane, EnhancedCode::new(4, 7, 5))
    );
    assert!(
        ruled.reply.text.starts_with("DANE: the TLSA lookup"),
        "{}",
        ruled.reply
    );
    // Not where delivery goes before.
    let message = mail(&room, &["bob@safe.example"], "TLS-Required: no\r\n");
    assert!(wanted_for(&room, &message).await.is_ok());
}

#[tokio::test]
async fn records_in_a_zone_that_is_not_signed_are_not_asked_for() {
    let country = Country::signed();
    country.world.dns.insecure_zone("open.example");
    let host = country.world.domain("open.example");
    let port = country.world.port();
    country
        .world
        .dns
        .tlsa(host.name(), port, (3, 1, 1), &[7; 32]);
    let room = country.room(&country.config()).await;
    let wanted = wanted_for(&room, &mail(&room, &["bob@open.example"], ""))
        .await
        .unwrap();
    assert_eq!(
        (wanted.mode, wanted.by),
        (TlsMode::Opportunistic, By::Settings)
    );
    let asked = country.world.dns.questions();
    assert!(!asked.iter().any(|(_, kind)| kind == "TLSA"), "{asked:?}");
}

#[tokio::test]
async fn a_mail_that_requires_tls_goes_only_where_something_proves_the_host() {
    let country = Country::signed();
    country.world.dns.insecure_zone("open.example");
    country.world.dns.insecure_zone("named.example");
    let _hosts = ["safe.example", "open.example", "named.example"].map(|d| country.world.domain(d));
    let _web = country.policy("named.example", "1", policy("testing", "mx.named.example"));
    let room = country.room(&country.config()).await;
    let required = |to: &str| {
        let mut message = mail(&room, &[to], "");
        message.envelope.terms.require_tls = true;
        message
    };
    assert_eq!(
        tls_policy::need(&required("bob@safe.example")),
        Need::Required
    );
    for name in ["safe.example", "named.example"] {
        let wanted = wanted_for(&room, &required(&format!("bob@{name}")))
            .await
            .unwrap();
        assert_eq!(
            (wanted.mode, wanted.by),
            (TlsMode::Verify, By::RequireTls),
            "{name}"
        );
        assert!(matches!(wanted.trust, Trust::Roots));
    }
    let ruled = wanted_for(&room, &required("bob@open.example"))
        .await
        .unwrap_err();
    assert_eq!(
        (ruled.by, code(&ruled)),
        (By::RequireTls, EnhancedCode::new(5, 7, 30))
    );
    // A server that the administrator has named needs neither.
    let config = country
        .config()
        .rule("open.example", "via_smtp", "mx.open.example");
    let named = country.room(&config).await;
    let mut message = mail(&named, &["bob@open.example"], "");
    message.envelope.terms.require_tls = true;
    let wanted = wanted_for(&named, &message).await.unwrap();
    assert_eq!((wanted.mode, wanted.by), (TlsMode::Verify, By::RequireTls));
}

#[tokio::test]
async fn without_validation_a_mail_that_requires_tls_waits_instead_of_coming_back() {
    // Nothing is signed, so what DNS says may be signed in truth.
    let country = Country::new();
    let _host = country.world.domain("open.example");
    let room = country.room(&country.config()).await;
    let mut message = mail(&room, &["bob@open.example"], "");
    message.envelope.terms.require_tls = true;
    let ruled = wanted_for(&room, &message).await.unwrap_err();
    assert_eq!(ruled.by, By::RequireTls);
    let unchecked = country
        .room(&country.config().set("dns.dnssec", false))
        .await;
    let mut message = mail(&unchecked, &["bob@open.example"], "");
    message.envelope.terms.require_tls = true;
    let never = wanted_for(&unchecked, &message).await.unwrap_err();
    assert_eq!(code(&never), EnhancedCode::new(5, 7, 30));
}

#[tokio::test]
async fn while_a_domain_cannot_be_looked_up_nothing_is_sent_as_if_it_asked_for_nothing() {
    let country = Country::new();
    country.world.dns.mx("b.example", 10, "mx.h.example");
    country.world.dns.a("mx.h.example", country.world.address());
    country.world.dns.servfail("broken.example");
    let room = country.room(&country.config()).await;
    let to = ["bob@b.example", "eve@broken.example"];
    let (hop, groups) = grouped(&room, &mail(&room, &to, "")).await;
    assert_eq!(groups.len(), 2);
    let unknown = &groups[1].0;
    assert!(unknown.unknown.is_some() && groups[0].0.unknown.is_none());
    let settings = room.staging.node.settings();
    let host = &hop.next.hosts[0];
    let ruled = tls_policy::wanted(&settings, &hop.next, hop.tls, unknown, host, None).await;
    let ruled = ruled.unwrap_err();
    assert_eq!(code(&ruled), EnhancedCode::new(4, 7, 5));
    assert!(
        ruled.reply.text.contains("cannot be looked up"),
        "{}",
        ruled.reply
    );
    let never = tls_policy::wanted(&settings, &hop.next, TlsMode::None, unknown, host, None).await;
    assert!(never.is_ok(), "no TLS is wanted at all");
}

#[test]
fn the_authors_field_must_say_no_and_nothing_else() {
    let need = |line: &str| {
        let content = format!("From: <ann@a.example>\r\n{line}\r\n\r\nTLS-Required: No\r\n");
        let message = Message {
            id: mail::QueueId::from_u64(1),
            accepted: mail::Timestamp::ZERO,
            envelope: mail::Envelope::default(),
            labels: mail::Labels::default(),
            content: content.into(),
        };
        tls_policy::need(&message)
    };
    for (line, expected) in [
        ("TLS-Required: No", Need::Optional),
        ("tls-required:no", Need::Optional),
        ("TLS-Required:   NO  ", Need::Optional),
        ("TLS-Required: Yes", Need::Usual),
        ("TLS-Required: No, thanks", Need::Usual),
        ("TLS-Required:", Need::Usual),
        ("X-TLS-Required: No", Need::Usual),
        ("Subject: x", Need::Usual),
    ] {
        assert_eq!(need(line), expected, "{line}");
    }
}
