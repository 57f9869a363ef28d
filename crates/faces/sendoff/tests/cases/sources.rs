//! The addresses that mail leaves from: chosen by rules and weights, out of service when they cannot be
//! used, and another one tried where one is refused.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use lab::{Config, MxHost, Received, Scratch, Sendoff, Value, Verb};

use crate::scene::{BINARY, SENDER, SOON, Scene, eventually, log_lines, mail, send, send_many};
use crate::ways_in::{add_user, in_tls, with_tls};

/// A source with its EHLO name.
fn source(config: Config, name: &str, address: Ipv4Addr, keys: &[(&str, Value)]) -> Config {
    let mut all: Vec<(&str, Value)> = vec![
        ("name", name.into()),
        ("address", address.to_string().into()),
        ("ehlo", format!("{name}.out.example").into()),
    ];
    all.extend(keys.iter().cloned());
    config.table("source", &all)
}

fn peers(mails: &[Received]) -> Vec<IpAddr> {
    mails.iter().map(|m| m.peer.ip()).collect()
}

fn said_ehlo(host: &MxHost, name: &str) -> bool {
    host.lines().iter().any(|l| *l == format!("EHLO {name}"))
}

#[test]
fn mail_leaves_from_the_address_that_is_set_with_its_name_and_both_are_told() {
    let scene = Scene::new();
    let host = scene.world.domain("good.example");
    let ip = scene.world.address();
    let config = source(scene.config(), "one", ip, &[]);
    let config = config.set("outgoing.source_addresses", ["default"]);
    let server = Sendoff::start(BINARY, config);
    send(&server, "bob@good.example");
    assert_eq!(peers(&host.wait_for(1, SOON)), [IpAddr::V4(ip)]);
    assert!(said_ehlo(&host, "one.out.example"), "{:?}", host.lines());
    let line = server.wait_for_log(&[" delivered ", "bob@good.example"], SOON);
    assert!(line.unwrap().contains(" source=one "));
    let probe = server.run(&["explain", "bob@good.example", "--probe"]);
    assert!(probe.contains(&format!(" from {ip} (one)")), "{probe}");
    assert!(probe.contains("EHLO one.out.example"), "{probe}");
}

#[test]
fn one_address_is_set_by_one_line() {
    let scene = Scene::new();
    let host = scene.world.domain("good.example");
    let ip = scene.world.address();
    let config = scene.config();
    let config = config.set("outgoing.source_addresses", [ip.to_string()]);
    let server = Sendoff::start(BINARY, config);
    send(&server, "bob@good.example");
    assert_eq!(peers(&host.wait_for(1, SOON)), [IpAddr::V4(ip)]);
    assert!(said_ehlo(&host, "sendoff.lab"));
}

#[test]
fn weights_share_the_mail_out() {
    let scene = Scene::new();
    let host = scene.world.domain("good.example");
    let ips = [(); 3].map(|()| scene.world.address());
    let [heavy, light, reserve] = ips;
    let config = source(scene.config(), "heavy", heavy, &[("weight", 3.into())]);
    let config = source(config, "light", light, &[]);
    let config = source(config, "reserve", reserve, &[("weight", 0.into())]);
    let config = config.set("outgoing.source_addresses", ["default"]);
    let server = Sendoff::start(BINARY, config);
    send_many(&server, 100, |n| format!("user{n}@good.example"));
    let peers = peers(&host.wait_for(100, SOON));
    let from = |ip: Ipv4Addr| peers.iter().filter(|p| **p == IpAddr::V4(ip)).count();
    let (heavy, light, reserve) = (from(heavy), from(light), from(reserve));
    // The chance of a share outside these bounds is below one in ten million.
    assert!((50..=97).contains(&heavy), "{heavy} and {light}");
    assert_eq!((heavy + light, reserve), (100, 0));
}

#[test]
fn mail_that_leaves_from_several_addresses_keeps_a_session_of_each() {
    let scene = Scene::new();
    let host = scene.world.domain("good.example");
    let mut config = scene.config();
    for name in ["a", "b", "c"] {
        config = source(config, name, scene.world.address(), &[]);
    }
    let config = config.set("outgoing.source_addresses", ["default"]).rule(
        "good.example",
        "max_connections",
        1,
    );
    let server = Sendoff::start(BINARY, config);
    send_many(&server, 60, |n| format!("user{n}@good.example"));
    let mails = host.wait_for(60, SOON);
    assert_eq!(mails.len(), 60);
    let from: BTreeSet<IpAddr> = peers(&mails).into_iter().collect();
    assert_eq!(from.len(), 3);
    assert_eq!(host.connection_count(), 3);
}

#[test]
fn c56_a_mail_that_was_deferred_comes_again_from_where_it_came_across_a_restart() {
    let scene = Scene::new();
    let host = scene.world.domain("grey.example");
    host.set(|b| {
        b.reply(Verb::Rcpt, "", "451 4.7.1 greylisted, come again");
    });
    let mut config = scene.config().set("outgoing.resend_attempts", 50);
    for name in ["a", "b", "c"] {
        config = source(config, name, scene.world.address(), &[]);
    }
    let config = config.set("outgoing.source_addresses", ["default"]);
    let mut server = Sendoff::start(BINARY, config);
    send_many(&server, 6, |n| format!("user{n}@grey.example"));
    for n in 0..6 {
        let to = format!("<user{n}@grey.example>");
        assert!(server.wait_for_log(&[" deferred ", &to], SOON).is_some());
    }
    server.terminate();
    server.restart();
    host.reset();
    assert_eq!(host.wait_for(6, SOON).len(), 6);
    for n in 0..6 {
        let to = format!("<user{n}@grey.example>");
        assert!(server.wait_for_log(&[" delivered ", &to], SOON).is_some());
        let used: BTreeSet<String> = log_lines(&server, &[&to, " source="])
            .iter()
            .filter_map(|l| Some(l.split_once(" source=")?.1.split(' ').next()?.to_owned()))
            .collect();
        assert_eq!(used.len(), 1, "{to} came from {used:?}");
    }
}

#[test]
fn the_pool_follows_the_destination_then_the_rules_then_the_general_setting() {
    let scene = Scene::new();
    let world = &scene.world;
    let (host, partner) = (
        world.domain("good.example"),
        world.domain("partner.example"),
    );
    let names = ["usual", "news", "marked", "partner", "hers"];
    let ips = names.map(|_| world.address());
    let mut config = scene.config();
    for (name, ip) in names.iter().zip(ips) {
        config = source(config, name, ip, &[("pool", (*name).into())]);
    }
    let rule = |key: &'static str, value: &str, pool: &str| -> [(&str, Value); 2] {
        [(key, value.into()), ("pool", pool.into())]
    };
    let config = config
        .set("outgoing.source_addresses", ["usual"])
        .table(
            "source_rule",
            &rule("sender_domain", "news.example", "news"),
        )
        .table("source_rule", &rule("header", "X-Stream: marked", "marked"))
        .table("source_rule", &rule("user", "hers", "hers"))
        .rule("partner.example", "sources", "partner");
    let server = Sendoff::start(BINARY, config);
    let marked = format!("x-stream: Marked\r\n{}", mail("marked"));
    let cases = [
        (SENDER, "bob@good.example", mail("usual"), "usual"),
        ("ann@news.example", "bob@good.example", mail("news"), "news"),
        (SENDER, "bob@good.example", marked, "marked"),
        (
            "ann@news.example",
            "bob@partner.example",
            mail("p"),
            "partner",
        ),
    ];
    for (sender, recipient, content, expected) in &cases {
        let host = if recipient.ends_with("partner.example") {
            &partner
        } else {
            &host
        };
        host.forget();
        server.send(sender, &[recipient], content);
        let place = names.iter().position(|n| n == expected).unwrap();
        let ip = ips.get(place).copied().unwrap();
        assert_eq!(
            peers(&host.wait_for(1, SOON)),
            [IpAddr::V4(ip)],
            "{expected}"
        );
    }
}

#[test]
fn an_address_that_cannot_be_used_is_out_of_service_and_others_serve_in_the_same_attempt() {
    let scene = Scene::new();
    let host = scene.world.domain("good.example");
    let good = scene.world.address();
    // RFC 5737: an address that this computer does not have.
    let config = source(
        scene.config(),
        "gone",
        Ipv4Addr::new(192, 0, 2, 1),
        &[("weight", 1000.into())],
    );
    let config = source(config, "good", good, &[("weight", 0.into())]);
    let config = config.set("outgoing.source_addresses", ["default"]);
    let server = Sendoff::start(BINARY, config);
    let check = server.cli(&["check"]);
    let check = String::from_utf8_lossy(&check.stdout).into_owned()
        + &String::from_utf8_lossy(&check.stderr);
    assert!(
        check.contains("192.0.2.1 (gone) cannot be used now"),
        "{check}"
    );
    send_many(&server, 3, |n| format!("user{n}@good.example"));
    let all = peers(&host.wait_for(3, SOON));
    assert!(all.iter().all(|p| *p == IpAddr::V4(good)), "{all:?}");
    assert!(log_lines(&server, &[" deferred "]).is_empty());
    let lines = log_lines(&server, &[" source name=gone ", "out of service"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let list = server.run(&["sources", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let at = |pointer: &str| list.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(at("/0/name"), "gone");
    assert_eq!(at("/0/state"), "out of service");
    assert!(
        at("/0/why")
            .as_str()
            .is_some_and(|w| w.contains("cannot bind")),
        "{list}"
    );
    assert_eq!(at("/1/state"), "in service");
    let explained = server.run(&["explain", "bob@good.example"]);
    assert!(
        explained.contains(&format!("{good} as good.out.example")),
        "{explained}"
    );
}

#[test]
fn where_no_source_is_left_mail_waits_and_the_reason_is_told() {
    let scene = Scene::new();
    let host = scene.world.domain("good.example");
    let config = source(scene.config(), "gone", Ipv4Addr::new(192, 0, 2, 1), &[]);
    let config = config.set("outgoing.source_addresses", ["gone"]);
    let mut server = Sendoff::start(BINARY, config.set("outgoing.resend_attempts", 50));
    send(&server, "bob@good.example");
    let line = server
        .wait_for_log(&[" deferred ", "bob@good.example"], SOON)
        .unwrap();
    assert!(line.contains(" class=policy "), "{line}");
    assert!(line.contains("no source address of the pool"), "{line}");
    assert!(line.contains(" attempt=0 "), "nobody is charged: {line}");
    assert_eq!(host.connection_count(), 0);
    // A configuration that is read again gives it another chance at once.
    let ip = scene.world.address();
    server.reconfigure(|c| source(c.without("source"), "gone", ip, &[]));
    server.run(&["reload"]);
    assert_eq!(peers(&host.wait_for(1, SOON)), [IpAddr::V4(ip)]);
}

#[test]
fn a_host_of_a_family_that_the_pool_lacks_is_not_tried_and_the_reason_is_told() {
    let scene = Scene::new();
    if !scene.world.has_v6() {
        return;
    }
    let host = scene.world.host_v6("mx.six.example");
    scene.world.dns.mx("six.example", 10, "mx.six.example");
    let config = source(scene.config(), "four", scene.world.address(), &[]);
    let config = config.set("outgoing.source_addresses", ["default"]);
    let server = Sendoff::start(BINARY, config);
    send(&server, "bob@six.example");
    let line = server
        .wait_for_log(&[" deferred ", "bob@six.example"], SOON)
        .unwrap();
    assert!(line.contains("has no source address of it"), "{line}");
    assert_eq!(host.connection_count(), 0);
}

#[test]
fn a_refusal_for_reputation_is_followed_by_a_try_from_another_address() {
    let scene = Scene::new();
    let host = scene.world.domain("picky.example");
    let (bad, good) = (scene.world.address(), scene.world.address());
    host.set(|b| {
        b.reply(Verb::Rcpt, "", "550 5.7.1 your address has a bad name");
    });
    let config = source(scene.config(), "bad", bad, &[("weight", 1000.into())]);
    let config = source(config, "good", good, &[("weight", 0.into())]);
    let config = config.set("outgoing.source_addresses", ["default"]);
    let server = Sendoff::start(BINARY, config);
    send(&server, "bob@picky.example");
    scene.failure().assert_failed("bob@picky.example", "5.7.1");
    let from: Vec<IpAddr> = host.connections().iter().map(|c| c.peer.ip()).collect();
    assert_eq!(from, [IpAddr::V4(bad), IpAddr::V4(good)]);
    let line = server
        .wait_for_log(&[" failed ", "bob@picky.example"], SOON)
        .unwrap();
    assert!(line.contains(" source=good "), "{line}");
    assert!(line.contains(" attempt=1 "), "{line}");
    eventually("the second address said its own name", SOON, || {
        said_ehlo(&host, "good.out.example")
    });
}

#[test]
fn a_second_address_delivers_what_the_first_was_refused_for_its_reputation() {
    let scene = Scene::new();
    let host = scene.world.domain("picky.example");
    let (bad, good) = (scene.world.address(), scene.world.address());
    host.set(|b| {
        let refusal = "554 5.7.1 your address has a bad name";
        b.reply_times(Verb::Rcpt, "", refusal, 1);
    });
    let config = source(scene.config(), "bad", bad, &[("weight", 1000.into())]);
    let config = source(config, "good", good, &[("weight", 0.into())]);
    let config = config.set("outgoing.source_addresses", ["default"]);
    let server = Sendoff::start(BINARY, config);
    send(&server, "bob@picky.example");
    assert_eq!(peers(&host.wait_for(1, SOON)), [IpAddr::V4(good)]);
    let line = server.wait_for_log(&[" delivered ", "bob@picky.example"], SOON);
    let line = line.unwrap();
    assert!(
        line.contains(" source=good ") && line.contains(" attempt=1 "),
        "{line}"
    );
}

#[test]
fn the_mail_of_a_user_leaves_from_the_pool_of_its_rule() {
    let scene = Scene::new();
    let host = scene.world.domain("good.example");
    let (usual, hers) = (scene.world.address(), scene.world.address());
    let scratch = Scratch::new();
    let config = with_tls(&scene, &scratch);
    let config = source(config, "usual", usual, &[("pool", "usual".into())]);
    let config = source(config, "hers", hers, &[("pool", "hers".into())]);
    let config = config.set("outgoing.source_addresses", ["usual"]);
    let rule = [("user", Value::from("ann")), ("pool", "hers".into())];
    let server = Sendoff::start(BINARY, config.table("source_rule", &rule));
    for (user, expected) in [("ann", hers), ("bob", usual)] {
        add_user(&server, user);
        server.run(&["user", "senders", user, SENDER]);
        let mut client = in_tls(&scene, &server);
        let login = BASE64.encode(format!("\0{user}\0correct horse"));
        client.expect(&format!("AUTH PLAIN {login}"), 235).unwrap();
        let reply = client.send_mail(SENDER, &["bob@good.example"], mail("m").as_bytes());
        assert_eq!(reply.unwrap().code, 250);
        assert_eq!(
            peers(&host.wait_for(1, SOON)),
            [IpAddr::V4(expected)],
            "{user}"
        );
        host.forget();
    }
}

/// A proxy that takes one connection after another, and speaks either protocol.
fn proxy(address: Ipv4Addr, socks: bool) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).expect("a free port");
    let at = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            thread::spawn(move || forward(client, socks));
        }
    });
    at
}

fn read<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut octets = [0; N];
    client.read_exact(&mut octets)?;
    Ok(octets)
}

fn forward(mut client: TcpStream, socks: bool) -> io::Result<()> {
    let (ip, port): ([u8; 4], [u8; 2]) = if socks {
        let [version, _, method] = read(&mut client)?;
        assert_eq!((version, method), (5, 0), "version 5, without a login");
        client.write_all(&[5, 0])?;
        assert_eq!(
            read(&mut client)?,
            [5, 1, 0, 1],
            "CONNECT to an IPv4 address"
        );
        let to = (read(&mut client)?, read(&mut client)?);
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
        to
    } else {
        read::<12>(&mut client)?;
        let [version, family, ..]: [u8; 4] = read(&mut client)?;
        assert_eq!((version, family), (0x21, 0x11), "PROXY of TCP over IPv4");
        let from: [u8; 4] = read(&mut client)?;
        assert_eq!(from, [192, 0, 2, 7]);
        let to = read(&mut client)?;
        read::<2>(&mut client)?;
        (to, read(&mut client)?)
    };
    let mut host = TcpStream::connect((Ipv4Addr::from(ip), u16::from_be_bytes(port)))?;
    let (mut back, mut forth) = (client.try_clone()?, host.try_clone()?);
    thread::spawn(move || io::copy(&mut client, &mut forth));
    io::copy(&mut host, &mut back)?;
    back.shutdown(std::net::Shutdown::Both)
}

#[test]
fn a_proxy_connects_by_socks_or_hears_the_address_by_the_proxy_protocol() {
    for socks in [true, false] {
        let scene = Scene::new();
        let host = scene.world.domain("good.example");
        let at = proxy(scene.world.address(), socks);
        let scheme = if socks { "socks5" } else { "proxy" };
        let by = format!("{scheme}://{at}");
        // The address is the proxy's: this computer does not have it.
        let theirs = Ipv4Addr::new(192, 0, 2, 7);
        let config = source(scene.config(), "far", theirs, &[("proxy", by.into())]);
        let config = config.set("outgoing.source_addresses", ["default"]);
        let server = Sendoff::start(BINARY, config);
        send(&server, "bob@good.example");
        let mails = host.wait_for(1, SOON);
        assert_eq!(mails.len(), 1, "{scheme}");
        assert!(said_ehlo(&host, "far.out.example"), "{scheme}");
        let list = server.run(&["source", "list"]);
        assert!(list.contains(&format!("192.0.2.7 by {at}")), "{list}");
        let line = server.wait_for_log(&[" delivered ", "bob@good.example"], SOON);
        assert!(line.unwrap().contains(" source=far "));
    }
}

#[test]
fn a_proxy_that_is_not_there_takes_its_address_out_of_service() {
    let scene = Scene::new();
    let host = scene.world.domain("good.example");
    let (ip, nobody) = (scene.world.address(), scene.world.address());
    let by = format!("socks5://{nobody}:1");
    let keys = [("proxy", by.into()), ("weight", 1000.into())];
    let config = source(scene.config(), "far", Ipv4Addr::new(192, 0, 2, 7), &keys);
    let config = source(config, "near", ip, &[("weight", 0.into())]);
    let config = config.set("outgoing.source_addresses", ["default"]);
    let server = Sendoff::start(BINARY, config);
    send(&server, "bob@good.example");
    assert_eq!(peers(&host.wait_for(1, SOON)), [IpAddr::V4(ip)]);
    // The log is some milliseconds behind.
    let words = [" source name=far ", "out of service"];
    assert!(server.wait_for_log(&words, SOON).is_some());
    let said = log_lines(&server, &words);
    assert_eq!(said.len(), 1, "{said:?}");
    let told = said.iter().all(|l| l.contains(&nobody.to_string()));
    assert!(told, "{said:?}");
}

#[test]
fn a_session_that_its_host_has_ended_is_not_used_again() {
    let scene = Scene::new();
    let host = scene.world.domain("good.example");
    host.set(|b| {
        b.idle = Some(Duration::from_millis(150));
        b.extension("CHUNKING");
    });
    let mut config = scene.config();
    for name in ["a", "b", "c"] {
        config = source(config, name, scene.world.address(), &[]);
    }
    let config = config.set("outgoing.source_addresses", ["default"]);
    let server = Sendoff::start(BINARY, config);
    for n in 0..24 {
        send(&server, &format!("u{n}@good.example"));
        assert_eq!(host.wait_for(n + 1, SOON).len(), n + 1);
        // Sessions from the other addresses are aside for longer than the host bears.
        thread::sleep(Duration::from_millis(80));
    }
    assert!(log_lines(&server, &[" deferred id="]).is_empty());
    assert_eq!(host.count(), 24);
}
