//! Other servers, asked for administrators: what is found, what is not dialled, and how often.

use std::time::Duration;

use lab::World;
use ops::{LookUpMx, VerbErrorKind, WhatSmtp};

use super::office::{OFF, Office};

#[tokio::test]
async fn the_hosts_of_a_domain_are_told_in_their_order() {
    let world = World::new();
    let first = world.mx("b.example", 10, "mx1.b.example");
    let _second = world.mx("b.example", 20, "mx2.b.example");
    world.dns.null_mx("null.example");
    let office = Office::new(&world.config().text()).await;
    let found = office.asked(LookUpMx("b.example".to_owned())).await;
    assert_eq!((found.by.as_str(), found.error), ("dns", None));
    let hosts: Vec<(u16, &str)> = (found.hosts.iter())
        .map(|host| (host.preference, host.host.as_str()))
        .collect();
    assert_eq!(hosts, [(10, "mx1.b.example"), (20, "mx2.b.example")]);
    assert_eq!(found.hosts[0].addresses, [first.ip().to_string()]);
    let none = office.asked(LookUpMx("null.example".to_owned())).await;
    assert!(none.error.is_some() && none.hosts.is_empty(), "{none:?}");
}

#[tokio::test]
async fn a_server_of_this_network_is_asked_only_if_the_configuration_names_it() {
    let world = World::new();
    let host = world.domain("b.example");
    let server = format!("[{}]:{}", host.ip(), world.port());
    let rule = format!("[[domain]]\nmatch = \"c.example\"\nvia_smtp = \"{server}\"\n");
    let text = world.config().text();
    let office = Office::new(&text).await;
    for unnamed in [
        server.clone(),
        format!("[{}]:2525", host.ip()),
        "[10.1.2.3]".to_owned(),
    ] {
        let (kind, why) = office.refused(WhatSmtp(unnamed)).await;
        assert_eq!(kind, VerbErrorKind::Conflict, "{why}");
    }
    assert_eq!(host.connection_count(), 0);
    let office = Office::new(&format!("{text}{rule}")).await;
    let found = office.asked(WhatSmtp(server)).await;
    assert!(
        !found.greeting.is_empty() && !found.offers.is_empty(),
        "{found:?}"
    );
    assert!(
        found.dialog.iter().any(|line| line.starts_with("> EHLO")),
        "{found:?}"
    );
    assert_eq!(host.connection_count(), 1);
}

#[tokio::test]
async fn nobody_asks_other_servers_all_the_time() {
    let office = Office::new(OFF).await;
    let ask = || WhatSmtp("[10.1.2.3]".to_owned());
    for _ in 0..6 {
        let (kind, _) = office.refused(ask()).await;
        assert_eq!(kind, VerbErrorKind::Conflict);
    }
    let (kind, why) = office.refused(ask()).await;
    assert_eq!(kind, VerbErrorKind::Conflict, "{why}");
    office.staging.advance(Duration::from_secs(60));
    let (kind, _) = office.refused(ask()).await;
    assert_eq!(kind, VerbErrorKind::Conflict);
}
