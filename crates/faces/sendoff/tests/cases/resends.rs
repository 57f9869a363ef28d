//! What is tried again, and when: C3, C7, C42, C55, C56.

use std::time::{Duration, Instant, SystemTime};

use lab::{MxHost, Sendoff, Stage, Verb};
use mail::Timestamp;

use crate::scene::{
    A_WHILE, BINARY, Dsn, SENDER, SOON, Scene, eventually, log_lines, mail, queue, send, subjects,
};

#[test]
fn c03_each_recipient_of_a_transaction_has_its_own_end() {
    let scene = Scene::new();
    let host = scene.world.domain("mixed.example");
    host.set(|b| {
        b.reply_times(Verb::Rcpt, "<b@", "450 4.2.1 busy, come back", 1);
        b.reply(Verb::Rcpt, "<c@", "550 5.1.1 c has never lived here");
    });
    let server = scene.start();
    let to = ["a@mixed.example", "b@mixed.example", "c@mixed.example"];
    server.send(SENDER, &to, &mail("to three"));
    let mails = host.wait_for(2, SOON);
    let delivered: Vec<Vec<&str>> = mails.iter().map(|m| m.addresses()).collect();
    assert_eq!(delivered, [["a@mixed.example"], ["b@mixed.example"]]);
    let failure = scene.failure();
    failure.assert_failed("c@mixed.example", "5.1.1");
    let said = failure.field("c@mixed.example", "diagnostic-code");
    assert!(said.contains("c has never lived here"), "{said}");
    let offered = |who: &str| host.lines().iter().filter(|l| l.contains(who)).count();
    let offers = ["<a@", "<b@", "<c@"].map(offered);
    assert_eq!(offers, [1, 2, 1], "b alone was tried again");
    assert_eq!(scene.origin.wait_for(2, A_WHILE).len(), 1);
}

#[test]
fn c07_a_connection_lost_behind_the_dot_delays_that_message_alone() {
    let scene = Scene::new();
    let host = scene.world.domain("flaky.example");
    host.set(|b| {
        b.drop_at(Stage::Final, 1);
    });
    let config = scene.config().set("outgoing.resend_wait", "4s");
    let server = Sendoff::start(BINARY, config);
    server.send(SENDER, &["bob@flaky.example"], &mail("first"));
    eventually("the first is lost", SOON, || host.unanswered().len() == 1);
    let line = server
        .wait_for_log(&[" deferred ", "bob@flaky.example"], SOON)
        .unwrap();
    assert!(line.contains("unknown-outcome"), "{line}");
    server.send(SENDER, &["eve@flaky.example"], &mail("second"));
    let mails = host.wait_for(2, SOON);
    assert_eq!(
        subjects(&mails),
        ["second", "first"],
        "the host was not made to wait"
    );
}

fn times_of(host: &MxHost, verb: &str) -> Vec<Instant> {
    let lines = host.connections().into_iter().flat_map(|c| c.lines);
    let mut times: Vec<Instant> = lines
        .filter(|l| l.text.starts_with(verb))
        .map(|l| l.at)
        .collect();
    times.sort();
    times
}

#[test]
fn c42_a_plan_is_kept_to_and_ends_in_one_failure_message() {
    let scene = Scene::new();
    let host = scene.world.domain("later.example");
    host.set(|b| {
        b.reply(Verb::Rcpt, "", "451 4.3.0 later");
    });
    let config = scene
        .world
        .config()
        .set("outgoing.plan", ["1s", "2s", "3s"])
        .set("outgoing.lifetime", "6s");
    let server = Sendoff::start(BINARY, config);
    let begin = Instant::now();
    send(&server, "bob@later.example");
    let failure = scene.failure();
    assert!(
        begin.elapsed() >= Duration::from_millis(5500),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(failure.count(), 1);
    assert_eq!(failure.field("bob@later.example", "action"), "failed");
    let times = times_of(&host, "RCPT ");
    assert!((3..=4).contains(&times.len()), "{} attempts", times.len());
    let waits: Vec<Duration> = times.windows(2).map(|w| w[1] - w[0]).collect();
    for (wait, least) in waits.iter().zip([1, 2, 3]) {
        // A timer may be a little early on either side of the socket.
        assert!(
            *wait + Duration::from_millis(50) >= Duration::from_secs(least),
            "{waits:?}"
        );
    }
    assert_eq!(
        scene.origin.wait_for(2, A_WHILE).len(),
        1,
        "one failure message"
    );
    assert_eq!(times_of(&host, "RCPT ").len(), times.len());
}

#[test]
fn c42_attempts_are_counted_and_their_last_answer_is_reported() {
    let scene = Scene::new();
    let host = scene.world.domain("later.example");
    host.set(|b| {
        b.reply(Verb::Rcpt, "", "451 4.3.0 later");
    });
    let config = scene.config().set("outgoing.resend_attempts", 2);
    let server = Sendoff::start(BINARY, config);
    send(&server, "bob@later.example");
    let mails = scene.origin.wait_for(1, SOON);
    let failure = Dsn::parse(&mails.first().unwrap().content);
    let said = failure.field("bob@later.example", "diagnostic-code");
    assert!(said.contains("451") && said.contains("later"), "{said}");
    assert_eq!(times_of(&host, "RCPT ").len(), 3);
    assert_eq!(
        log_lines(&server, &[" deferred ", "bob@later.example"]).len(),
        2
    );
    assert_eq!(log_lines(&server, &[" failed ", "attempt=3"]).len(), 1);
}

/// When the one that waits is due.
fn due(server: &Sendoff) -> Timestamp {
    let list = queue(server);
    let due = list.first().and_then(|row| row.get("due")?.as_str());
    due.and_then(Timestamp::parse_rfc3339)
        .unwrap_or_else(|| panic!("no due time in {list:?}"))
}

#[test]
fn c55_a_host_that_says_when_to_come_back_is_obeyed() {
    let scene = Scene::new();
    let host = scene.world.domain("later.example");
    host.set(|b| {
        b.reply(Verb::Rcpt, "", "451 4.7.1 Please try again in 300 seconds");
    });
    let server = scene.start();
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let before = Timestamp::from_secs(since_1970.unwrap().as_secs());
    send(&server, "bob@later.example");
    let deferred = server.wait_for_log(&[" deferred ", "bob@later.example"], SOON);
    assert!(deferred.is_some());
    // The plan's wait is one second.
    let wait = due(&server).since(before);
    assert!(wait >= Duration::from_secs(300), "{wait:?}");
    assert!(wait < Duration::from_secs(400), "{wait:?}");
    assert_eq!(times_of(&host, "RCPT ").len(), 1);
}

#[test]
fn c56_a_greylisted_mail_comes_again_from_the_same_address() {
    let scene = Scene::new();
    let host = scene.world.domain("grey.example");
    host.set(|b| b.greylist = Some(Duration::from_secs(1)));
    let config = scene.config().set("outgoing.resend_wait", "2s");
    let server = Sendoff::start(BINARY, config);
    send(&server, "bob@grey.example");
    assert_eq!(host.wait_for(1, SOON).len(), 1);
    let times = times_of(&host, "RCPT ");
    assert_eq!(times.len(), 2);
    let wait = times[1] - times[0];
    assert!(wait + Duration::from_millis(50) >= Duration::from_secs(2));
    let peers: Vec<_> = host.connections().iter().map(|c| c.peer.ip()).collect();
    assert!(peers.windows(2).all(|w| w[0] == w[1]), "{peers:?}");
    assert!(
        server
            .wait_for_log(&[" delivered ", "attempt=2"], SOON)
            .is_some()
    );
    scene.assert_no_failure();
}
