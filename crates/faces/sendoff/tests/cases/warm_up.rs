//! Warm-up: a new address sends each site only what its plan allows a day, over crashes too.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{SystemTime, UNIX_EPOCH};

use lab::{Config, MxHost, Sendoff, Value};

use crate::scene::{BINARY, SENDER, SOON, Scene, eventually, log_lines, mail, queue, send_many};

/// So many days from today, in UTC.
fn day(from_today: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let days = now.map_or(0, |d| d.as_secs() / 86_400) + from_today;
    let midnight = mail::Timestamp::from_secs(days * 86_400).to_string();
    midnight.get(..10).unwrap_or_default().to_owned()
}

/// A new address with a plan, which is used before the others of its pool.
fn new_address(config: Config, address: Ipv4Addr, begins: &str, plan: Value) -> Config {
    let keys: [(&str, Value); 5] = [
        ("name", "new".into()),
        ("address", address.to_string().into()),
        ("weight", 1000.into()),
        ("warm_up", begins.into()),
        ("warm_up_plan", plan),
    ];
    let config = config.table("source", &keys);
    config.set("outgoing.source_addresses", ["default"])
}

fn old_address(config: Config, address: Ipv4Addr) -> Config {
    let keys: [(&str, Value); 3] = [
        ("name", "old".into()),
        ("address", address.to_string().into()),
        ("weight", 0.into()),
    ];
    config.table("source", &keys)
}

fn taken_from(host: &MxHost, address: Ipv4Addr) -> usize {
    let mails = host.received();
    let from = |m: &&lab::Received| m.peer.ip() == IpAddr::V4(address);
    mails.iter().filter(from).map(|m| m.recipients.len()).sum()
}

#[test]
fn what_is_more_than_the_plan_allows_leaves_from_the_older_addresses_site_by_site() {
    let scene = Scene::new();
    let (one, two) = (
        scene.world.domain("one.example"),
        scene.world.domain("two.example"),
    );
    let (new, old) = (scene.world.address(), scene.world.address());
    let config = new_address(scene.config(), new, &day(0), [3, 3].into());
    let server = Sendoff::start(BINARY, old_address(config, old));
    send_many(&server, 8, |n| format!("user{n}@one.example"));
    send_many(&server, 2, |n| format!("user{n}@two.example"));
    assert_eq!(one.wait_for(8, SOON).len(), 8);
    assert_eq!(two.wait_for(2, SOON).len(), 2);
    assert_eq!((taken_from(&one, new), taken_from(&one, old)), (3, 5));
    assert_eq!((taken_from(&two, new), taken_from(&two, old)), (2, 0));
    assert!(log_lines(&server, &[" deferred "]).is_empty());
    let told = log_lines(
        &server,
        &[
            " source name=new ",
            "all messages that its warm-up allows today",
        ],
    );
    assert_eq!(told.len(), 1, "{told:?}");
    let list = server.run(&["source", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let at = |pointer: &str| list.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(at("/0/warm_up/day"), 1);
    assert_eq!(at("/0/warm_up/limit"), 3);
    assert_eq!(at("/0/warm_up/sites/0/sent"), 3);
    assert_eq!(at("/1/warm_up"), serde_json::Value::Null);
    let table = server.run(&["source", "list"]);
    assert!(table.contains("day 1 of 2: 3 per site, most 3"), "{table}");
    let explained = server.run(&["explain", "bob@one.example"]);
    assert!(
        explained.contains("day 1 of 2 of its warm-up"),
        "{explained}"
    );
}

#[test]
fn recipients_of_one_mail_are_divided_where_the_plan_ends() {
    let scene = Scene::new();
    let host = scene.world.domain("one.example");
    let (new, old) = (scene.world.address(), scene.world.address());
    let config = new_address(scene.config(), new, &day(0), [3, 3].into());
    let server = Sendoff::start(BINARY, old_address(config, old));
    let to: Vec<String> = (0..5).map(|n| format!("user{n}@one.example")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    server.send(SENDER, &to, &mail("for five"));
    assert_eq!(host.wait_for(2, SOON).len(), 2);
    assert_eq!((taken_from(&host, new), taken_from(&host, old)), (3, 2));
}

#[test]
fn without_an_older_address_mail_waits_uncharged_and_a_crash_allows_no_more() {
    let scene = Scene::new();
    let host = scene.world.domain("one.example");
    let new = scene.world.address();
    let config = new_address(scene.config(), new, &day(0), [2, 2].into());
    let mut server = Sendoff::start(BINARY, config);
    let warned = server.wait_for_log(&[" warning ", "is in its warm-up"], SOON);
    assert!(warned.is_some());
    send_many(&server, 4, |n| format!("user{n}@one.example"));
    eventually("two wait for tomorrow", SOON, || {
        log_lines(&server, &[" deferred "]).len() == 2
    });
    let line = log_lines(&server, &[" deferred "]).remove(0);
    let midnight = format!(" next={}T00:00:00", day(1));
    assert!(line.contains(&midnight), "{line}");
    assert!(line.contains(" attempt=0 "), "{line}");
    assert!(line.contains("has sent what is allowed today"), "{line}");
    // The others are told to wait while these are still on their way.
    assert_eq!(host.wait_for(2, SOON).len(), 2);
    assert_eq!(taken_from(&host, new), 2);
    server.kill9();
    server.restart();
    server.run(&["queue", "retry", "--all", "--yes"]);
    eventually("they wait again", SOON, || {
        log_lines(&server, &[" deferred "]).len() == 4
    });
    assert_eq!((taken_from(&host, new), queue(&server).len()), (2, 2));
    // Another plan counts from now on.
    server.reconfigure(|c| new_address(c.without("source"), new, &day(0), [3, 3].into()));
    server.run(&["reload"]);
    server.run(&["queue", "retry", "--all", "--yes"]);
    eventually("one more has left", SOON, || taken_from(&host, new) == 3);
    eventually("one waits", SOON, || queue(&server).len() == 1);
}

#[test]
fn an_end_in_order_keeps_what_has_left_to_the_mail_and_failures_do_not_count() {
    let scene = Scene::new();
    let host = scene.world.domain("one.example");
    let (new, old) = (scene.world.address(), scene.world.address());
    let config = new_address(scene.config(), new, &day(0), [100, 100].into());
    let mut server = Sendoff::start(BINARY, old_address(config, old));
    host.set(|b| {
        b.reply(lab::Verb::Rcpt, "", "550 5.1.1 nobody here");
    });
    send_many(&server, 3, |n| format!("user{n}@one.example"));
    eventually("they fail", SOON, || {
        log_lines(&server, &[" failed "]).len() == 3
    });
    host.reset();
    send_many(&server, 2, |n| format!("user{n}@one.example"));
    assert_eq!(host.wait_for(2, SOON).len(), 2);
    server.terminate();
    server.restart();
    let list = server.run(&["source", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let sites = list.pointer("/0/warm_up/sites").and_then(|s| s.as_array());
    let here = |s: &&serde_json::Value| s.to_string().contains("one.example");
    let here = sites.and_then(|sites| sites.iter().find(here));
    let sent = here.and_then(|site| site.get("sent")?.as_u64());
    assert_eq!(sent, Some(2), "{list}");
}

#[test]
fn before_its_first_day_nothing_leaves_from_an_address() {
    let scene = Scene::new();
    let host = scene.world.domain("one.example");
    let (new, old) = (scene.world.address(), scene.world.address());
    let config = new_address(scene.config(), new, &day(3), [100].into());
    let server = Sendoff::start(BINARY, old_address(config, old));
    send_many(&server, 4, |n| format!("user{n}@one.example"));
    assert_eq!(host.wait_for(4, SOON).len(), 4);
    assert_eq!((taken_from(&host, new), taken_from(&host, old)), (0, 4));
    let table = server.run(&["source", "list"]);
    assert!(table.contains("not started"), "{table}");
}

#[test]
fn an_address_that_is_out_of_service_is_the_reason_and_not_its_plan() {
    let scene = Scene::new();
    let host = scene.world.domain("one.example");
    // RFC 5737: an address that this computer does not have.
    let gone = Ipv4Addr::new(192, 0, 2, 1);
    let config = new_address(scene.config(), gone, &day(0), [3, 3].into());
    let server = Sendoff::start(BINARY, config);
    send_many(&server, 2, |n| format!("user{n}@one.example"));
    for user in ["user0@", "user1@"] {
        let line = server.wait_for_log(&[" deferred ", user], SOON).unwrap();
        assert!(line.contains("new does not work: cannot bind"), "{line}");
        assert!(line.contains(" attempt=0 "), "{line}");
    }
    assert_eq!(host.connection_count(), 0);
}
