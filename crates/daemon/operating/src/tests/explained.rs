//! `explain`: every decision on the way of an address, and what a probe hears.

use lab::{StartTls, Verb as Said, World};
use ops::{Explain, Explanation, NewSuppression, Pause, Suppress, VerbErrorKind};

use super::office::Office;

async fn explain(office: &Office, address: &str) -> Explanation {
    let ask = Explain {
        address: address.to_owned(),
        probe: false,
    };
    office.asked(ask).await
}

async fn probe(office: &Office, address: &str) -> Vec<String> {
    let ask = Explain {
        address: address.to_owned(),
        probe: true,
    };
    of(&office.asked(ask).await, "probe")
}

/// What is said about something.
fn of(explained: &Explanation, about: &str) -> Vec<String> {
    let steps = explained.steps.iter().filter(|step| step.about == about);
    steps.map(|step| step.what.clone()).collect()
}

#[tokio::test]
async fn a_usual_domain_is_explained_from_its_records_to_its_host() {
    let world = World::new();
    let [first, second] = [
        world.mx("b.example", 10, "mx1.b.example"),
        world.mx("b.example", 20, "mx2.b.example"),
    ];
    let office = Office::new(&world.config().text()).await;
    let explained = explain(&office, "bob@b.example").await;
    assert_eq!(
        explained.verdict,
        format!(
            "it would be sent to mx1.b.example:{} ({})",
            world.port(),
            first.ip()
        )
    );
    let dns = of(&explained, "dns");
    assert!(
        dns[0].starts_with("b.example MX: 10 mx1.b.example"),
        "{dns:?}"
    );
    let hosts = of(&explained, "host");
    assert!(hosts[1].contains("mx2.b.example") && hosts[1].contains(&second.ip().to_string()));
    assert_eq!(of(&explained, "rule"), ["no [[domain]] rule matches"]);
    assert_eq!(of(&explained, "retries"), ["5 over 25m"]);
    assert_eq!(of(&explained, "site"), ["no recent mail to it"]);
    assert!(of(&explained, "tls")[0].contains("opportunistic"));
    assert_eq!(
        first.connection_count() + second.connection_count(),
        0,
        "nothing is sent"
    );
}

#[tokio::test]
async fn what_would_not_be_sent_says_why() {
    let world = World::new();
    world.dns.null_mx("null.example");
    world.dns.servfail("broken.example");
    world.dns.mx("nowhere.example", 10, "mx.nowhere.example");
    world.dns.mx("inside.example", 10, "mx.inside.example");
    world
        .dns
        .a("mx.inside.example", "10.0.0.1".parse().unwrap());
    let config = world.config().set("outgoing.refuse_networks", ["private"]);
    let office = Office::new(&config.text()).await;
    for (domain, verdict) in [
        ("null.example", "it would fail: "),
        ("unknown.example", "it would fail: "),
        ("broken.example", "it would be deferred: "),
        (
            "nowhere.example",
            "it would be deferred: no mail host has an address",
        ),
        (
            "inside.example",
            "it would be deferred: no mail host has an address",
        ),
    ] {
        let explained = explain(&office, &format!("bob@{domain}")).await;
        assert!(
            explained.verdict.starts_with(verdict),
            "{domain}: {}",
            explained.verdict
        );
    }
    let explained = explain(&office, "bob@inside.example").await;
    let hosts = of(&explained, "host");
    assert!(hosts[0].contains("not used"), "{hosts:?}");
    let said = probe(&office, "bob@nowhere.example").await;
    assert_eq!(said, ["there is no host to probe"]);
}

#[tokio::test]
async fn what_is_no_address_is_not_explained() {
    let office = Office::new(staging::ALONE).await;
    for address in [
        "",
        "bob",
        "@b.example",
        "bob@",
        "a b@c.example",
        "bob@b..example",
    ] {
        let ask = Explain {
            address: address.to_owned(),
            probe: true,
        };
        let (kind, _) = office.refused(ask).await;
        assert_eq!(kind, VerbErrorKind::Malformed, "{address}");
    }
}

#[tokio::test]
async fn rules_limits_and_orders_are_among_the_steps() {
    let world = World::new();
    let host = world.host("mx.given.example");
    let via = format!("mx.given.example:{}", world.port());
    let config = world
        .config()
        .rule("b.example", "via_smtp", via)
        .rule("b.example", "max_connections", 3)
        .rule(".example", "resend_attempts", 7);
    let office = Office::new(&config.text()).await;
    let explained = explain(&office, "bob@b.example").await;
    assert_eq!(
        explained.verdict,
        format!(
            "it would be sent to mx.given.example:{} ({})",
            world.port(),
            host.ip()
        )
    );
    let rules = of(&explained, "rule");
    assert!(
        rules.iter().any(|r| r.contains("max_connections 3")),
        "{rules:?}"
    );
    assert!(
        rules
            .iter()
            .any(|r| r.starts_with("[[domain]] .example: resend_attempts 7"))
    );
    assert!(of(&explained, "limits")[0].starts_with("up to 3 connections"));
    assert!(of(&explained, "retries")[0].starts_with("7 over "));
    assert!(of(&explained, "mode")[0].contains("Via SMTP"));
    let entry = NewSuppression {
        recipient: "bob@b.example".to_owned(),
        ..NewSuppression::default()
    };
    office.asked(Suppress(vec![entry])).await;
    let pause = Pause {
        domain: "b.example".to_owned(),
        on: true,
    };
    office.asked(pause).await;
    let explained = explain(&office, "bob@b.example").await;
    assert_eq!(of(&explained, "suppression").len(), 1);
    assert_eq!(
        explained.verdict,
        "it would wait: b.example is paused (sendoff site resume b.example)"
    );
    let explained = explain(&office, "eve@b.example").await;
    assert!(of(&explained, "suppression").is_empty());
}

#[tokio::test]
async fn local_mail_aliases_and_tests_are_explained_without_dns() {
    let world = World::new();
    let text = world
        .config()
        .set("local.domains", ["here.example"])
        .set("local.deliver", "maildir:/nowhere/{user}")
        .set("aliases.info", ["ann@here.example", "bob@b.example"])
        .text();
    let office = Office::new(&text).await;
    let explained = explain(&office, "ann@here.example").await;
    assert_eq!(
        of(&explained, "local"),
        ["here.example is a local domain (local.domains)"]
    );
    assert!(
        explained.verdict.contains("/nowhere/ann"),
        "{}",
        explained.verdict
    );
    let explained = explain(&office, "info@here.example").await;
    assert_eq!(
        of(&explained, "alias"),
        ["its mail goes to ann@here.example, bob@b.example"]
    );
    assert!(of(&explained, "and")[0].contains("it leaves this server"));
    assert!(world.dns.questions().is_empty());
    let explained = explain(&office, "failed@sendoff.test").await;
    assert!(of(&explained, "test")[0].contains("failed"));
}

#[tokio::test]
async fn a_probe_hears_whether_the_address_is_taken_and_sends_nothing() {
    let world = World::new();
    let host = world.domain("b.example");
    host.set(|b| {
        b.reply(Said::Rcpt, "nobody@", "550-5.1.1 no such\n550 5.1.1 user");
    });
    let office = Office::new(&world.config().text()).await;
    let said = probe(&office, "bob@b.example").await;
    assert_eq!(
        said.last().unwrap(),
        "the host accepts mail for this address"
    );
    assert!(
        said.contains(&"> RCPT TO:<bob@b.example>".to_owned()),
        "{said:?}"
    );
    assert!(said.contains(&"> MAIL FROM:<postmaster@sendoff.lab>".to_owned()));
    assert_eq!(said[said.len() - 3], "> QUIT");
    let said = probe(&office, "nobody@b.example").await;
    let last = said.last().unwrap();
    assert!(
        last.starts_with("the host does not accept it: 550 5.1.1"),
        "{last}"
    );
    assert!(
        said.contains(&"< 550 5.1.1 no such user".to_owned()),
        "{said:?}"
    );
    assert_eq!((host.count(), host.unanswered().len()), (0, 0));
}

#[tokio::test]
async fn a_probe_of_a_host_that_is_not_well_says_how_far_it_came() {
    let world = World::new();
    let host = world.domain("b.example");
    let office = Office::new(&world.config().text()).await;
    host.set(|b| b.greeting = "554 5.3.2 no mail today".to_owned());
    let last = probe(&office, "bob@b.example").await.pop().unwrap();
    assert!(last.contains("554 5.3.2 no mail today"), "{last}");
    host.reset().set(|b| {
        b.drop_at(lab::Stage::Mail, 1);
    });
    let last = probe(&office, "bob@b.example").await.pop().unwrap();
    assert_eq!(last, "the probe ended: the host closed the connection");
    host.reset()
        .set(|b| b.greeting = "this is no SMTP".to_owned());
    let last = probe(&office, "bob@b.example").await.pop().unwrap();
    assert!(last.starts_with("the probe ended: "), "{last}");
    host.stop();
    let last = probe(&office, "bob@b.example").await.pop().unwrap();
    assert!(last.starts_with("the probe ended: "), "{last}");
}

#[tokio::test]
async fn a_probe_is_protected_as_the_mail_would_be() {
    let world = World::new();
    let host = world.domain("b.example");
    let required = world.config().set("outgoing.tls", "require").text();
    let mut office = Office::new(&required).await;
    let last = probe(&office, "bob@b.example").await.pop().unwrap();
    assert_eq!(
        last,
        "the probe ended: TLS is required, but the host does not offer it"
    );
    host.set(|b| b.starttls = StartTls::SelfSigned);
    let said = probe(&office, "bob@b.example").await;
    assert!(
        said.iter().any(|line| line.starts_with("TLS is active: ")),
        "{said:?}"
    );
    assert_eq!(
        said.last().unwrap(),
        "the host accepts mail for this address"
    );
    let verified = world.config().set("outgoing.tls", "verify").text();
    office.staging.reload(&verified).await;
    let last = probe(&office, "bob@b.example").await.pop().unwrap();
    assert!(last.starts_with("the probe ended: "), "{last}");
    host.set(|b| b.starttls = StartTls::Refused);
    let last = probe(&office, "bob@b.example").await.pop().unwrap();
    assert_eq!(last, "the probe ended: STARTTLS was offered, but refused");
    let never = world.config().set("outgoing.tls", "none").text();
    office.staging.reload(&never).await;
    let said = probe(&office, "bob@b.example").await;
    assert!(!said.contains(&"> STARTTLS".to_owned()), "{said:?}");
    assert_eq!(
        said.last().unwrap(),
        "the host accepts mail for this address"
    );
}

#[tokio::test]
async fn a_login_at_the_relay_is_never_shown() {
    let world = World::new();
    let relay = world.host("relay.example");
    relay.set(|b| {
        b.login = Some(("ann".to_owned(), "secret-word".to_owned()));
        b.login_required = true;
    });
    let roots = lab::Scratch::new();
    let file = roots.path().join("roots.pem");
    std::fs::write(&file, world.ca.pem()).unwrap();
    let config = |tls: &str| {
        world
            .config()
            .set("tls.extra_roots", [file.display().to_string()])
            .set("outgoing.mode", "relay")
            .set("outgoing.relay.host", "relay.example")
            .set("outgoing.relay.port", world.port())
            .set("outgoing.relay.tls", tls)
            .set("outgoing.relay.username", "ann")
            .set("outgoing.relay.password", "secret-word")
            .text()
    };
    relay.set(|b| b.starttls = StartTls::Good);
    let office = Office::new(&config("verify")).await;
    let said = probe(&office, "bob@b.example").await;
    assert_eq!(
        said.last().unwrap(),
        "the host accepts mail for this address"
    );
    let shown = said.join("\n");
    assert!(!shown.contains("secret-word"), "{shown}");
    // AUTH PLAIN of this login, as it goes over the wire.
    assert!(!shown.contains("AGFubgBzZWNyZXQtd29yZA=="), "{shown}");
    assert!(
        relay
            .logins()
            .iter()
            .all(|login| login.tls && login.accepted)
    );
    assert!(!relay.logins().is_empty());
}

#[tokio::test]
async fn a_site_that_does_not_answer_is_explained_with_its_last_failure() {
    let world = World::new();
    let host = world.domain("b.example");
    host.set(|b| b.greeting = "421 4.3.2 overloaded".to_owned());
    let office = Office::new(&world.config().text()).await;
    office.staging.mail("", &["bob@b.example"]).await;
    office.staging.logged("deferred", &["bob@b.example"]).await;
    office.turn().await;
    let explained = explain(&office, "bob@b.example").await;
    let site = of(&explained, "site").remove(0);
    assert!(
        site.contains("last failure: 421 4.3.2 overloaded"),
        "{site}"
    );
    let sites = office.asked(ops::Sites).await.sites;
    assert_eq!(sites.len(), 1);
    assert!(
        sites[0]
            .last_failure
            .as_ref()
            .is_some_and(|why| why.contains("overloaded"))
    );
}

#[tokio::test]
async fn what_is_after_five_hosts_or_after_this_server_is_not_tried() {
    let world = World::new();
    for n in 0..7u16 {
        let name = format!("mx{n}.b.example");
        world.dns.mx("b.example", 10 * n, &name);
        world.dns.a(&name, world.address());
    }
    let office = Office::new(&world.config().text()).await;
    let explained = explain(&office, "bob@b.example").await;
    let hosts = of(&explained, "host");
    assert_eq!(hosts.len(), 7);
    for (place, host) in hosts.iter().enumerate() {
        assert_eq!(host.contains("not tried: 5 others"), place >= 5, "{host}");
    }
}

#[tokio::test]
async fn what_a_domain_publishes_is_among_the_steps() {
    let world = World::new();
    let _host = world.domain("b.example");
    let web = world.web(&["mta-sts.b.example"]);
    let policy = "version: STSv1\nmode: enforce\nmx: mx.b.example\nmax_age: 86400\n";
    let path = "/.well-known/mta-sts.txt";
    web.answer("mta-sts.b.example", path, lab::WebAnswer::text(policy));
    world.dns.txt("_mta-sts.b.example", "v=STSv1; id=1;");
    let roots = lab::Scratch::new();
    let roots = world.ca.write(roots.path()).unwrap();
    let config = world
        .config()
        .set("tls.extra_roots", [roots.display().to_string()])
        .set("outgoing.mta_sts_port", world.port());
    let office = Office::new(&config.text()).await;
    let explained = explain(&office, "bob@b.example").await;
    assert_eq!(
        of(&explained, "mta-sts"),
        ["mode enforce, mx mx.b.example, for 1d"]
    );
    assert!(of(&explained, "tls")[0].contains("MTA-STS: TLS with a verified host name"));
    // A host that the policy does not name is none that mail would be sent to.
    world.dns.mx("b.example", 20, "mx2.b.example");
    world.dns.a("mx2.b.example", world.address());
    let office = Office::new(&config.text()).await;
    let explained = explain(&office, "bob@b.example").await;
    let tls = of(&explained, "tls");
    assert!(tls[1].starts_with("mx2.b.example: not used, "), "{tls:?}");
    let said = probe(&office, "bob@b.example").await;
    assert_eq!(
        said.last().unwrap(),
        "the probe ended: TLS is required, but the host does not offer it"
    );
}

#[tokio::test]
async fn a_relay_is_explained_with_what_its_provider_takes() {
    let world = World::new();
    let relay = world.host("relay.example");
    let config = world
        .config()
        .set("outgoing.mode", "relay")
        .set("outgoing.relay.preset", "brevo")
        .set("outgoing.relay.host", relay.ip().to_string())
        .set("outgoing.relay.port", world.port())
        .set("outgoing.relay.username", "ann")
        .set("outgoing.relay.password", "secret-word")
        .rule("b.example", "max_connections", 1);
    let office = Office::new(&config.text()).await;
    let explained = explain(&office, "bob@b.example").await;
    assert_eq!(of(&explained, "mode"), ["Relay Mode: no MX lookup is made"]);
    let provider = of(&explained, "provider").remove(0);
    assert!(
        provider.contains("300 recipients") && provider.contains("0 messages"),
        "{provider}"
    );
    assert!(of(&explained, "rule")[0].contains("only its retries have an effect"));
    assert!(
        explained.verdict.contains(&relay.ip().to_string()),
        "{}",
        explained.verdict
    );
    let everything: Vec<String> = explained.steps.into_iter().map(|step| step.what).collect();
    assert!(!everything.join("\n").contains("secret-word"));
}
