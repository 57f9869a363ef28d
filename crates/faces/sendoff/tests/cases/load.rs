//! Many mails at once: C52 to C54, C57.

use std::collections::HashSet;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use lab::{Client, MxHost, Received, Scratch, Sendoff, Stage};

use crate::scene::{
    BINARY, SENDER, SOON, Scene, eventually, log_lines, mail, mail_of, queue, recipients, send,
    send_many, subjects,
};

#[test]
fn c52_a_dead_host_with_500_mails_holds_nobody_up_and_is_probed_seldom() {
    let scene = Scene::new();
    let dead = scene.world.domain("dead.example");
    dead.set(|b| {
        b.drop_at(Stage::Greeting, usize::MAX);
    });
    let alive = scene.world.domain("alive.example");
    let config = scene
        .config()
        .set("outgoing.resend_attempts", 2)
        .set("outgoing.resend_wait", "3s");
    let server = Sendoff::start(BINARY, config);
    send_many(&server, 500, |n| format!("user{n}@dead.example"));
    let begin = Instant::now();
    send(&server, "bob@alive.example");
    assert_eq!(alive.wait_for(1, SOON).len(), 1);
    assert!(
        begin.elapsed() < Duration::from_secs(3),
        "{:?}",
        begin.elapsed()
    );
    eventually("all have run out of attempts", 2 * SOON, || {
        log_lines(&server, &[" failed ", "@dead.example"]).len() == 500
    });
    assert!(
        log_lines(&server, &[" failed "])
            .iter()
            .all(|l| l.contains("attempt=3"))
    );
    // Three rounds; mails handed in during a round may come to their own.
    let probes = dead.connection_count();
    assert!(probes <= 20, "{probes} connections to a dead host");
}

fn position(mails: &[Received], subject: &str) -> usize {
    let subjects = subjects(mails);
    subjects
        .iter()
        .position(|s| s == subject)
        .expect("the mail was delivered")
}

#[test]
fn c53_a_single_mail_does_not_wait_behind_a_bulk() {
    let scene = Scene::new();
    let host = scene.world.domain("bulk.example");
    host.set(|b| b.reply_delay = Duration::from_millis(5));
    let config = scene.config().rule("bulk.example", "max_recipients", 10);
    let server = Sendoff::start(BINARY, config);
    for part in 0..5 {
        let list = recipients(&format!("part{part}-"), "bulk.example", 1000);
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        server.send(SENDER, &list, &mail("bulk"));
    }
    let before = host.count();
    server.send("eve@origin.example", &["one@bulk.example"], &mail("single"));
    eventually("the single mail", SOON, || {
        subjects(&host.received()).iter().any(|s| s == "single")
    });
    let mails = host.received();
    let passed = position(&mails, "single") - before;
    assert!(
        mails.len() < 400,
        "the bulk was over too soon to tell: {}",
        mails.len()
    );
    assert!(passed <= 60, "{passed} transactions of the bulk came first");
}

#[test]
fn c54_a_host_that_returns_is_not_met_with_a_burst() {
    let scene = Scene::new();
    let host = scene.world.domain("back.example");
    host.stop();
    host.set(|b| b.reply_delay = Duration::from_millis(2));
    let config = scene
        .config()
        .set("outgoing.resend_attempts", 30)
        .set("outgoing.resend_wait", "2s")
        .rule("back.example", "max_recipients", 10);
    let server = Sendoff::start(BINARY, config);
    for part in 0..10 {
        let list = recipients(&format!("part{part}-"), "back.example", 1000);
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        server.send(SENDER, &list, &mail("many"));
    }
    let last = server.wait_for_log(&[" deferred ", "part9-999@back.example"], 2 * SOON);
    assert!(last.is_some(), "all are deferred");
    host.start();
    let everybody = |h: &MxHost| {
        h.received()
            .iter()
            .map(|m| m.recipients.len())
            .sum::<usize>()
    };
    eventually("all are delivered", 2 * SOON, || everybody(&host) == 10_000);
    let connections = host.connections();
    let mut opened: Vec<Instant> = connections.iter().map(|c| c.at).collect();
    opened.sort();
    let first = connections.first().unwrap();
    let greeted = first.lines.first().unwrap().at;
    let early = opened.iter().filter(|at| **at < greeted).count();
    assert_eq!(early, 1, "one probe goes first");
    // Before a window's worth of work is done, there are no more than a few.
    let worked = host.received().get(3).unwrap().at;
    let soon = opened.iter().filter(|at| **at < worked).count();
    assert!(soon <= 5, "{soon} connections before four mails were taken");
    assert!(host.open_max() <= 20, "{}", host.open_max());
}

fn mails_of_each_connection(host: &MxHost) -> Vec<usize> {
    let mut counts = vec![0; host.connection_count()];
    for mail in host.received() {
        if let Some(count) = counts.get_mut(mail.connection) {
            *count += 1;
        }
    }
    counts
}

#[test]
fn c57_connections_are_used_again() {
    let scene = Scene::new();
    let host = scene.world.domain("good.example");
    let server = scene.start();
    send_many(&server, 50, |n| format!("user{n}@good.example"));
    assert_eq!(host.wait_for(50, SOON).len(), 50);
    let counts = mails_of_each_connection(&host);
    assert!(counts.len() <= 10, "{counts:?}");
}

#[test]
fn c57_a_421_in_mid_session_loses_no_mail() {
    let scene = Scene::new();
    let host = scene.world.domain("moody.example");
    host.set(|b| b.mails_per_connection = Some(7));
    let server = scene.start();
    send_many(&server, 50, |n| format!("user{n}@moody.example"));
    eventually("all are delivered", SOON, || host.count() >= 50);
    let mails = host.received();
    let different: HashSet<String> = subjects(&mails).into_iter().collect();
    assert_eq!(
        (different.len(), mails.len()),
        (50, 50),
        "each exactly once"
    );
    eventually("the queue is empty", SOON, || queue(&server).is_empty());
    scene.assert_no_failure();
}

#[test]
fn idle_clients_beyond_all_descriptors_end_nothing() {
    let scene = Scene::new();
    let host = scene.world.domain("away.example");
    let config = scene
        .config()
        .set("intake.max_connections_per_source", 10_000);
    // Soft and hard: it cannot be raised.
    let limited = ["prlimit", "--nofile=256:256"];
    let mut server = Sendoff::start_in(Scratch::new(), BINARY, config, &limited);
    let said = server.wait_for_log(
        &[" warning ", "intake.max_connections is 2000, but only 96"],
        SOON,
    );
    assert!(said.is_some(), "{}", server.log());
    // One that has a place is served, whatever the others do.
    let mut client = Client::connect(server.address()).expect("a greeting");
    let idle: Vec<TcpStream> = (0..400)
        .filter_map(|_| TcpStream::connect(server.address()).ok())
        .collect();
    assert!(idle.len() > 250, "{}", idle.len());
    client.ehlo().expect("an answer");
    for n in 0..20 {
        let to = format!("u{n}@away.example");
        let content = mail_of(&n.to_string(), if n % 5 == 0 { 600_000 } else { 1000 });
        let reply = client.send_mail(SENDER, &[&to], content.as_bytes());
        assert_eq!(reply.expect("an answer").code, 250);
    }
    assert_eq!(host.wait_for(20, SOON).len(), 20, "{}", server.log());
    assert!(server.exited().is_none(), "{}", server.log());
    assert_eq!(log_lines(&server, &["fatal"]), Vec::<String>::new());
    drop(idle);
}

/// What the process had in memory at most, in megabytes.
fn peak_megabytes(server: &Sendoff) -> u64 {
    let pid = server.pid().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    kilobytes
        .and_then(|n| n.parse::<u64>().ok())
        .expect("a number")
        / 1024
}

#[test]
fn a_large_mail_to_many_domains_is_in_memory_once() {
    let scene = Scene::new();
    let hosts: Vec<MxHost> = (0..30)
        .map(|n| scene.world.domain(&format!("d{n}.example")))
        .collect();
    let config = scene.config().set("outgoing.enabled", false);
    let mut server = Sendoff::start(BINARY, config);
    let to: Vec<String> = (0..30).map(|n| format!("u@d{n}.example")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    server.send(SENDER, &to, &mail_of("large", 20_000_000));
    server.terminate();
    server.reconfigure(|config| config.set("outgoing.enabled", true));
    server.restart();
    for host in &hosts {
        assert_eq!(host.wait_for(1, 2 * SOON).len(), 1, "{}", server.log());
    }
    // Thirty copies would be 600 MB.
    let peak = peak_megabytes(&server);
    assert!(peak < 200, "{peak} MB");
}

#[test]
fn mail_waits_for_memory_uncharged_and_says_so() {
    let scene = Scene::new();
    let slow = scene.world.domain("slow.example");
    slow.set(|b| b.reply_delay = Duration::from_secs(2));
    let other = scene.world.domain("other.example");
    let config = scene
        .config()
        .set("outgoing.enabled", false)
        .set("outgoing.memory", "24MiB");
    let mut server = Sendoff::start(BINARY, config);
    // Each takes all that large contents may take.
    server.send(SENDER, &["a@slow.example"], &mail_of("first", 20_000_000));
    server.send(SENDER, &["b@slow.example"], &mail_of("second", 20_000_000));
    server.send(SENDER, &["c@other.example"], &mail_of("small", 100_000));
    server.terminate();
    server.reconfigure(|config| config.set("outgoing.enabled", true));
    server.restart();
    let is_told = || {
        let reasons = queue(&server)
            .into_iter()
            .map(|row| row["reason"].to_string());
        reasons
            .filter(|r| r.contains("waits for free memory"))
            .count()
            == 1
    };
    eventually("one of them waits for memory", SOON, is_told);
    // Others do not wait with it.
    assert_eq!(other.wait_for(1, SOON).len(), 1);
    assert_eq!(slow.wait_for(2, 2 * SOON).len(), 2);
    let delivered = log_lines(&server, &[" delivered ", "@slow.example"]);
    assert!(
        delivered.iter().all(|l| l.contains("attempt=1")),
        "{delivered:?}"
    );
}
