//! Which host is tried, and what follows when it fails: C8 to C12, C18 to C21.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lab::{Blackhole, MxHost, Sendoff, Stage, StartTls, Value, Verb};

use crate::scene::{
    A_WHILE, BINARY, SENDER, SOON, Scene, eventually, log_lines, mail, mail_of, queue, send,
    send_many, send_with,
};

/// `good.example` with two hosts in this order.
fn two_hosts(scene: &Scene) -> (MxHost, MxHost) {
    let first = scene.world.mx("good.example", 10, "mx1.good.example");
    let second = scene.world.mx("good.example", 20, "mx2.good.example");
    (first, second)
}

fn assert_first_attempt(server: &Sendoff, recipient: &str) {
    let line = server
        .wait_for_log(&[" delivered ", recipient], SOON)
        .expect("a line about the delivery");
    assert!(line.contains("attempt=1"), "{line}");
    assert!(log_lines(server, &[" deferred "]).is_empty());
}

#[test]
fn c08_a_dead_mx_is_passed_over_in_the_same_attempt() {
    let scene = Scene::new();
    let (first, second) = two_hosts(&scene);
    first.stop();
    let server = scene.start();
    send(&server, "bob@good.example");
    assert_eq!(second.wait_for(1, SOON).len(), 1);
    assert_first_attempt(&server, "bob@good.example");
}

#[test]
fn c09_a_recipient_deferred_by_one_mx_is_delivered_by_the_next_in_the_same_attempt() {
    let scene = Scene::new();
    let (first, second) = two_hosts(&scene);
    first.set(|b| {
        b.reply(Verb::Rcpt, "", "451 4.3.0 not now");
    });
    let server = scene.start();
    send(&server, "bob@good.example");
    assert_eq!(second.wait_for(1, SOON).len(), 1);
    assert_eq!((first.connection_count(), first.count()), (1, 0));
    assert_first_attempt(&server, "bob@good.example");
}

#[test]
fn c10_a_recipient_refused_by_one_mx_is_not_tried_at_the_next() {
    let scene = Scene::new();
    let (first, second) = two_hosts(&scene);
    first.set(|b| {
        b.reply(Verb::Rcpt, "", "550 5.1.1 no such user");
    });
    let server = scene.start();
    send(&server, "bob@good.example");
    scene.failure().assert_failed("bob@good.example", "5.1.1");
    assert_eq!(second.connection_count(), 0);
}

#[test]
fn c11_a_greeting_554_leads_to_the_next_mx() {
    let scene = Scene::new();
    let (first, second) = two_hosts(&scene);
    first.set(|b| b.greeting = "554 5.7.0 no service here".to_owned());
    let server = scene.start();
    send(&server, "bob@good.example");
    assert_eq!(second.wait_for(1, SOON).len(), 1);
    assert!(first.connection_count() > 0);
    assert_first_attempt(&server, "bob@good.example");
}

#[test]
fn another_address_of_a_host_is_tried_in_the_same_attempt_whatever_failed_at_the_first() {
    // One that is lost after the content was sent may have been taken: it is tried later.
    let failures: [fn(&mut lab::Behaviour); 8] = [
        |b| b.greeting = "421 4.3.2 not now".to_owned(),
        |b| b.greeting = "554 5.7.0 no service here".to_owned(),
        |b| {
            b.drop_at(Stage::Greeting, usize::MAX);
        },
        |b| {
            b.drop_at(Stage::Ehlo, usize::MAX);
        },
        |b| {
            b.drop_at(Stage::Mail, usize::MAX);
        },
        |b| {
            b.drop_at(Stage::Rcpt, usize::MAX);
        },
        |b| {
            b.reply(Verb::Mail, "", "421 4.3.2 not now");
        },
        // In TLS, and then in clear at the same address.
        |b| {
            b.starttls = StartTls::Closed;
            b.drop_at(Stage::Mail, usize::MAX);
        },
    ];
    for (number, fail) in failures.into_iter().enumerate() {
        let scene = Scene::new();
        let sick = scene.world.mx("good.example", 10, "mx.good.example");
        let healthy = scene.world.host("mx.good.example");
        sick.set(fail);
        healthy.set(|b| b.mails_per_connection = Some(1));
        let server = scene.start();
        // Either address may come first.
        for mail in 1..=8 {
            send(&server, "bob@good.example");
            assert_eq!(healthy.wait_for(mail, SOON).len(), mail, "failure {number}");
        }
        assert!(sick.connection_count() > 0, "failure {number}");
        assert_eq!(sick.count(), 0, "failure {number}");
        eventually("all are delivered", SOON, || {
            log_lines(&server, &[" delivered ", "attempt=1"]).len() == 8
        });
        assert!(
            log_lines(&server, &[" deferred "]).is_empty(),
            "failure {number}"
        );
    }
}

#[test]
fn the_next_host_comes_after_all_addresses_of_the_first() {
    let scene = Scene::new();
    let (first, second) = two_hosts(&scene);
    let more = [(); 2].map(|()| scene.world.host("mx1.good.example"));
    for sick in [&first].into_iter().chain(&more) {
        sick.set(|b| b.greeting = "421 4.3.2 not now".to_owned());
    }
    let server = scene.start();
    send(&server, "bob@good.example");
    assert_eq!(second.wait_for(1, SOON).len(), 1);
    assert_first_attempt(&server, "bob@good.example");
    for sick in [&first].into_iter().chain(&more) {
        assert_eq!(sick.connection_count(), 1);
    }
}

#[test]
fn c11_where_every_mx_greets_554_the_setting_decides_and_nothing_is_lost() {
    let scene = Scene::new();
    let (first, second) = two_hosts(&scene);
    for host in [&first, &second] {
        host.set(|b| b.greeting = "554 5.7.0 no service here".to_owned());
    }
    let config = scene.config().set("outgoing.resend_attempts", 1);
    let server = Sendoff::start(BINARY, config.clone());
    send(&server, "bob@good.example");
    let deferred = server.wait_for_log(&[" deferred ", "bob@good.example"], SOON);
    assert!(deferred.unwrap().contains("554 5.7.0 no service here"));
    scene.failure().assert_failed("bob@good.example", "5.7.0");
    assert!(log_lines(&server, &[" failed ", "attempt=2"]).len() == 1);
    drop(server);

    scene.origin.forget();
    let server = Sendoff::start(BINARY, config.set("outgoing.on_5xx_greeting", "fail"));
    send(&server, "bob@good.example");
    scene.failure().assert_failed("bob@good.example", "5.7.0");
    assert!(log_lines(&server, &[" deferred "]).is_empty());
    assert!(log_lines(&server, &[" failed ", "attempt=1"]).len() == 1);
}

#[test]
fn a_greeting_of_554_does_not_make_what_another_mx_defers_final() {
    let scene = Scene::new();
    let (first, second) = two_hosts(&scene);
    first.set(|b| b.greeting = "554 5.7.0 no service here".to_owned());
    second.set(|b| {
        b.reply_times(Verb::Rcpt, "", "451 4.3.0 not now", 1);
    });
    let config = scene.config().set("outgoing.on_5xx_greeting", "fail");
    let config = config.set("outgoing.resend_wait", "1s");
    let server = Sendoff::start(BINARY, config);
    send(&server, "bob@good.example");
    assert_eq!(second.wait_for(1, SOON).len(), 1);
    let deferred = log_lines(&server, &[" deferred ", "attempt=1", "451 4.3.0 not now"]);
    assert_eq!(deferred.len(), 1);
    scene.assert_no_failure();
}

#[test]
fn c12_a_host_that_limits_connections_gets_fewer_and_others_are_unaffected() {
    let scene = Scene::new();
    let busy = scene.world.domain("busy.example");
    busy.set(|b| {
        b.busy_above = Some(2);
        b.reply_delay = Duration::from_millis(10);
    });
    let other = scene.world.domain("other.example");
    let config = scene.config().set("outgoing.resend_attempts", 20);
    let server = Sendoff::start(BINARY, config);
    send_many(&server, 100, |n| format!("user{n}@busy.example"));
    send_many(&server, 10, |n| format!("user{n}@other.example"));
    assert_eq!(other.wait_for(10, SOON).len(), 10);
    assert!(
        busy.count() < 100,
        "the other domain did not wait for the busy one"
    );
    assert!(log_lines(&server, &[" deferred ", "@other.example"]).is_empty());
    assert_eq!(busy.wait_for(100, SOON).len(), 100);
    // Connections without a word of the client were those turned away.
    let turned_away = busy
        .connections()
        .iter()
        .filter(|c| c.lines.is_empty())
        .count();
    assert!(
        turned_away <= 40,
        "{turned_away} of {}",
        busy.connection_count()
    );
    scene.assert_no_failure();
}

#[test]
fn c18_equal_mx_hosts_share_the_mail() {
    let scene = Scene::new();
    let hosts = ["mx1", "mx2", "mx3"].map(|n| {
        let host = scene
            .world
            .mx("good.example", 10, &format!("{n}.good.example"));
        // Many short sessions: few could all have chosen the same host.
        host.set(|b| {
            b.extensions.push("LIMITS MAILMAX=4".to_owned());
        });
        host
    });
    let server = scene.start();
    send_many(&server, 200, |n| format!("user{n}@good.example"));
    let total = || hosts.iter().map(MxHost::count).sum::<usize>();
    eventually("all delivered", SOON, || total() == 200);
    let counts = hosts.each_ref().map(MxHost::count);
    assert!(counts.iter().all(|n| *n >= 10), "{counts:?}");
}

#[test]
fn c19_ourselves_in_the_mx_list_is_never_connected_to() {
    let scene = Scene::new();
    let world = &scene.world;
    let peer = world.mx("good.example", 10, "mx1.good.example");
    peer.stop();
    let ourselves = world.address();
    world
        .dns
        .mx("good.example", 20, "mx2.good.example")
        .a("mx2.good.example", ourselves);
    world.dns.mx("loop.example", 10, "mx2.good.example");
    world
        .dns
        .mx("name.example", 10, "sendoff.lab")
        .a("sendoff.lab", world.address());
    let own = SocketAddr::from((ourselves, world.port())).to_string();
    let listener: [(&str, Value); 1] = [("address", own.into())];
    let server = Sendoff::start(BINARY, scene.config().table("listener", &listener));
    send(&server, "bob@good.example");
    let deferred = server.wait_for_log(&[" deferred ", "bob@good.example"], SOON);
    assert!(deferred.is_some());
    peer.start();
    assert_eq!(peer.wait_for(1, SOON).len(), 1);
    // Had we connected to ourselves, the mail would have been accepted again.
    assert_eq!(log_lines(&server, &[" accepted "]).len(), 1);

    for recipient in ["bob@loop.example", "bob@name.example"] {
        scene.origin.forget();
        send(&server, recipient);
        scene.failure().assert_failed(recipient, "5.4.6");
    }
}

#[test]
fn c20_a_silent_ipv6_address_does_not_hold_up_a_working_ipv4_one() {
    let scene = Scene::new();
    if !scene.world.has_v6() {
        return;
    }
    let silent = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), scene.world.port());
    let _hole = Blackhole::on(silent).unwrap();
    let host = scene.world.domain("both.example");
    scene.world.dns.aaaa("mx.both.example", Ipv6Addr::LOCALHOST);
    let server = scene.start();
    let begin = Instant::now();
    send(&server, "bob@both.example");
    let mails = host.wait_for(1, SOON);
    assert!(mails.first().unwrap().peer.is_ipv4());
    // The wait for a connection is 30 s.
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
    assert_first_attempt(&server, "bob@both.example");
}

#[test]
fn c21_a_refusal_for_reputation_by_ipv6_is_followed_by_a_try_by_ipv4() {
    let scene = Scene::new();
    if !scene.world.has_v6() {
        return;
    }
    let v4 = scene.world.domain("both.example");
    let v6 = scene.world.host_v6("mx.both.example");
    v6.set(|b| {
        b.reply(Verb::Rcpt, "", "550 5.7.1 your address has a bad name");
    });
    let server = scene.start();
    send(&server, "bob@both.example");
    assert_eq!(v4.wait_for(1, SOON).len(), 1);
    assert_eq!(v6.connection_count(), 1, "IPv6 goes first");
    assert_first_attempt(&server, "bob@both.example");

    // Refused by both, it fails.
    v4.set(|b| {
        b.reply(Verb::Rcpt, "", "550 5.7.1 your address has a bad name");
    });
    send(&server, "eve@both.example");
    scene.failure().assert_failed("eve@both.example", "5.7.1");
    assert!(v4.wait_for(2, A_WHILE).len() == 1);
}

/// Starts the only MX of a domain, which takes a mail up to its content and then does as it is told.
fn raw_host(
    scene: &Scene,
    domain: &str,
    extensions: &'static str,
    content: impl Fn(&mut BufReader<TcpStream>) + Send + Sync + 'static,
) -> Arc<AtomicUsize> {
    let ip = scene.world.address();
    let name = format!("raw.{domain}");
    scene.world.dns.mx(domain, 10, &name).a(&name, ip);
    let listener = TcpListener::bind((ip, scene.world.port())).expect("an address of the world");
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let content = Arc::new(content);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::Relaxed);
            let content = Arc::clone(&content);
            thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                let say = |stream: &mut BufReader<TcpStream>, text: &str| {
                    stream.get_mut().write_all(text.as_bytes()).is_ok()
                };
                say(&mut stream, "220 raw\r\n");
                let mut line = String::new();
                while stream.read_line(&mut line).is_ok_and(|n| n > 0) {
                    let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
                    let answer = match verb.as_str() {
                        "EHLO" => extensions,
                        "DATA" => "354 go on\r\n",
                        "BDAT" => "",
                        _ => "250 ok\r\n",
                    };
                    say(&mut stream, answer);
                    if matches!(verb.as_str(), "DATA" | "BDAT") {
                        return content(&mut stream);
                    }
                    line.clear();
                }
            });
        }
    });
    connections
}

fn send_large(server: &Sendoff, recipient: &str) {
    let content = mail_of("large", 8_000_000);
    let reply = server
        .client()
        .send_mail(SENDER, &[recipient], content.as_bytes());
    assert_eq!(reply.expect("the server answers").code, 250);
}

#[test]
fn a_refusal_in_the_middle_of_the_content_is_believed() {
    let plain = "250 raw\r\n";
    let chunking = "250-raw\r\n250-PIPELINING\r\n250 CHUNKING\r\n";
    for (extensions, closes) in [
        (plain, true),
        (plain, false),
        (chunking, true),
        (chunking, false),
    ] {
        let scene = Scene::new();
        let connections = raw_host(&scene, "good.example", extensions, move |stream| {
            let mut octets = [0; 64 * 1024];
            drop(stream.read_exact(&mut octets));
            let refusal = "552 5.3.4 too large for us\r\n";
            drop(stream.get_mut().write_all(refusal.as_bytes()));
            if !closes {
                // Nothing more is read.
                thread::sleep(A_WHILE + SOON);
            }
        });
        let server = scene.start();
        send_large(&server, "bob@good.example");
        scene.failure().assert_failed("bob@good.example", "5.3.4");
        assert_eq!(
            connections.load(Ordering::Relaxed),
            1,
            "{extensions} {closes}"
        );
        assert!(log_lines(&server, &[" deferred "]).is_empty());
    }
}

#[test]
fn a_host_that_takes_nothing_more_of_the_content_is_given_up_after_a_block_s_time() {
    let scene = Scene::new();
    let connections = raw_host(&scene, "good.example", "250 raw\r\n", |stream| {
        let mut octets = [0; 64 * 1024];
        drop(stream.read_exact(&mut octets));
        thread::sleep(A_WHILE + SOON);
    });
    let other = scene.world.mx("good.example", 20, "mx2.good.example");
    let config = scene.config().set("outgoing.timeouts.data_block", "1s");
    let server = Sendoff::start(BINARY, config);
    send_large(&server, "bob@good.example");
    assert_eq!(other.wait_for(1, SOON).len(), 1);
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    assert_first_attempt(&server, "bob@good.example");
}

#[test]
fn a_host_that_takes_the_content_slowly_is_waited_for() {
    let scene = Scene::new();
    let connections = raw_host(&scene, "good.example", "250 raw\r\n", |stream| {
        // Longer than a block's time in all, and never so long without taking something.
        let mut octets = vec![0; 400_000];
        while let Ok(read @ 1..) = stream.read(&mut octets) {
            if octets
                .get(..read)
                .is_some_and(|o| o.ends_with(b"\r\n.\r\n"))
            {
                drop(stream.get_mut().write_all(b"250 2.0.0 taken\r\n"));
            }
            thread::sleep(Duration::from_millis(100));
        }
    });
    let config = scene.config().set("outgoing.timeouts.data_block", "1s");
    let server = Sendoff::start(BINARY, config);
    send_large(&server, "bob@good.example");
    assert_first_attempt(&server, "bob@good.example");
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[test]
fn why_a_site_is_left_alone_is_said_as_it_was() {
    let scene = Scene::new();
    let busy = scene.world.domain("busy.example");
    busy.set(|b| b.greeting = "421 4.7.0 too much, try again in 20 minutes".to_owned());
    let gone = scene.world.domain("gone.example");
    gone.stop();
    let server = Sendoff::start(BINARY, scene.config().set("outgoing.resend_wait", "5m"));
    for (domain, words) in [
        ("busy.example", "its mail host answered 421 4.7.0 too much"),
        ("gone.example", "its mail hosts did not answer ("),
    ] {
        send(&server, &format!("first@{domain}"));
        assert!(server.wait_for_log(&[" deferred ", domain], SOON).is_some());
        send(&server, &format!("second@{domain}"));
        let said = || {
            queue(&server)
                .iter()
                .any(|row| row.to_string().contains(words))
        };
        eventually(words, SOON, said);
    }
    // It asked for more than the first wait of the plan.
    let sites = server.run(&["site", "list"]);
    assert!(sites.contains("cooling off until"), "{sites}");
    assert_eq!(busy.connection_count(), 1);
}

#[test]
fn each_domain_has_its_own_order_of_hosts_that_it_shares() {
    let scene = Scene::new();
    let a = scene.world.mx("one.example", 5, "a.example");
    let b = scene.world.mx("one.example", 10, "b.example");
    scene.world.dns.mx("two.example", 10, "a.example");
    scene.world.dns.mx("two.example", 5, "b.example");
    let server = scene.start();
    // Both are known before the first of these is sent.
    send(&server, "first@one.example");
    send(&server, "first@two.example");
    for n in 0..4 {
        let to = [format!("u{n}@one.example"), format!("u{n}@two.example")];
        send_with(&server, "", &[&to[0], &to[1]], mail("both").as_bytes());
    }
    let to = |host: &MxHost| -> Vec<String> {
        let mails = host.wait_for(5, SOON);
        mails
            .iter()
            .flat_map(|m| m.recipients.iter().map(|r| r.address.clone()))
            .collect()
    };
    let (to_a, to_b) = (to(&a), to(&b));
    assert!(to_a.iter().all(|r| r.contains("@one.example")), "{to_a:?}");
    assert!(to_b.iter().all(|r| r.contains("@two.example")), "{to_b:?}");
    assert_eq!((to_a.len(), to_b.len()), (5, 5));
    let sites = server.run(&["site", "list", "--json"]);
    assert_eq!(sites.matches("a.example").count(), 1, "{sites}");
}

#[test]
fn an_open_session_of_a_worse_host_does_not_keep_mail_from_the_better_one() {
    let scene = Scene::new();
    let (first, second) = two_hosts(&scene);
    first.set(|b| {
        b.reply(Verb::Rcpt, "late@", "451 4.3.0 not now");
    });
    let server = scene.start();
    send(&server, "late@good.example");
    assert_eq!(second.wait_for(1, SOON).len(), 1);
    send(&server, "bob@good.example");
    assert_eq!(first.wait_for(1, SOON).len(), 1);
}

#[test]
fn a_host_that_does_not_serve_is_tried_once_and_not_with_each_mail() {
    let scene = Scene::new();
    let (first, second) = two_hosts(&scene);
    first.set(|b| b.greeting = "421 4.3.2 closed".to_owned());
    let server = scene.start();
    for n in 0..6 {
        send(&server, &format!("u{n}@good.example"));
        assert_eq!(second.wait_for(n + 1, SOON).len(), n + 1);
    }
    assert_eq!(first.connection_count(), 1);
}

#[test]
fn hosts_of_one_provider_share_the_limit_on_connections() {
    let scene = Scene::new();
    let end = "mail.protection.outlook.com";
    let one = scene
        .world
        .mx("one.example", 0, &format!("one-example.{end}"));
    let two = scene
        .world
        .mx("two.example", 0, &format!("two-example.{end}"));
    one.set(|b| b.reply_delay = Duration::from_millis(700));
    let config = scene.config().set("outgoing.max_connections_per_site", 1);
    let server = Sendoff::start(BINARY, config);
    send(&server, "bob@one.example");
    eventually("a connection", SOON, || one.open() == 1);
    send(&server, "bob@two.example");
    let why = "connections allowed to the hosts of one provider (microsoft)";
    let waits = || {
        queue(&server)
            .iter()
            .any(|row| row.to_string().contains(why))
    };
    eventually(why, SOON, waits);
    assert_eq!(two.connection_count(), 0);
    assert_eq!(one.wait_for(1, SOON).len(), 1);
    assert_eq!(two.wait_for(1, SOON).len(), 1);
}
