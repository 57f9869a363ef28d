//! The administrator's verbs on what waits, by command line: exact, idempotent, durable, logged.

use std::net::SocketAddr;

use lab::{Sendoff, Verb};
use serde_json::Value;

use crate::scene::{
    A_WHILE, BINARY, SENDER, SOON, Scene, eventually, log_lines, mail, queue, recipients, send,
    subjects,
};

/// Ten messages of a thousand recipients each, which wait because outgoing mail is off.
fn ten_thousand(server: &Sendoff) {
    for n in 0..10 {
        let to = recipients(&format!("m{n}-"), "away.example", 1000);
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        server.send(SENDER, &to, &mail(&format!("bulk {n}")));
    }
}

fn changed(server: &Sendoff, arguments: &[&str]) -> (u64, u64) {
    let text = server.run(&[arguments, &["--json"]].concat());
    let value: Value = serde_json::from_str(&text).expect("JSON");
    let number = |name: &str| value.get(name).and_then(Value::as_u64).expect("a number");
    (number("changed"), number("unchanged"))
}

#[test]
fn c60_verbs_on_ten_thousand_are_exact_idempotent_and_logged() {
    let scene = Scene::new();
    let server = Sendoff::start(BINARY, scene.config().set("outgoing.enabled", false));
    ten_thousand(&server);
    let all = ["--filter", "domain:away.example", "--yes"];
    let act = |verb: &str| changed(&server, &[&["queue", verb][..], &all[..]].concat());
    let count = |filter: &str| -> u64 {
        let text = server.run(&["queue", "list", "--count", "--filter", filter]);
        text.trim().parse().unwrap()
    };
    // Nothing is done without being asked twice.
    let asked = server.cli(&["queue", "hold", "--filter", "domain:away.example"]);
    assert!(!asked.status.success());
    let said = String::from_utf8(asked.stderr).unwrap();
    assert!(said.contains("hold 10000 waiting recipients?"), "{said}");
    assert_eq!(count("state:held"), 0);
    assert_eq!(act("hold"), (10_000, 0));
    assert_eq!(act("hold"), (0, 10_000));
    assert_eq!(count("state:held"), 10_000);
    assert_eq!(act("release"), (10_000, 0));
    assert_eq!(act("release"), (0, 10_000));
    assert_eq!(count("state:held"), 0);
    assert_eq!(act("retry"), (10_000, 0));
    let some = ["queue", "remove", "--filter", "to:m0-", "--yes"];
    assert_eq!(changed(&server, &some), (1000, 0));
    assert_eq!(changed(&server, &some), (0, 0));
    let some = ["queue", "fail", "--filter", "to:m1-", "--yes"];
    assert_eq!(changed(&server, &some), (1000, 0));
    assert_eq!(count("domain:away.example"), 8000);
    // One failure message for the one message whose recipients failed; none for what was removed.
    assert_eq!(count("domain:origin.example"), 1);
    assert_eq!(act("remove"), (8000, 0));
    for verb in ["hold", "release", "retry", "remove", "fail"] {
        let lines = log_lines(&server, &[" action ", &format!("verb={verb} "), "who=uid="]);
        assert!(!lines.is_empty(), "{verb} is not in the log");
    }
}

#[test]
fn a_removal_names_its_recipients_in_the_log_and_is_no_answer_of_a_host() {
    let scene = Scene::new();
    let server = Sendoff::start(BINARY, scene.config().set("outgoing.enabled", false));
    let to = ["bob@away.example", "eve@away.example"];
    server.send(SENDER, &to, &mail("hello"));
    assert_eq!(
        changed(&server, &["queue", "remove", "--all", "--yes"]),
        (2, 0)
    );
    for recipient in to {
        let words = [
            " failed ",
            &format!("to=<{recipient}>"),
            "removed from the queue by an administrator",
        ];
        let line = server
            .wait_for_log(&words, SOON)
            .unwrap_or_else(|| panic!("it is not said: {}", server.log()));
        assert!(line.contains(&format!("from=<{SENDER}>")), "{line}");
        assert!(!line.contains(" kind="), "{line}");
    }
}

#[test]
fn a_failed_message_of_each_of_many_senders_comes_back_once() {
    let scene = Scene::new();
    let server = Sendoff::start(BINARY, scene.config().set("outgoing.enabled", false));
    let mut client = server.client();
    for n in 0..300 {
        let text = mail(&n.to_string());
        client
            .send_mail(SENDER, &["x@away.example"], text.as_bytes())
            .unwrap();
    }
    let fail = ["queue", "fail", "--filter", "domain:away.example", "--yes"];
    assert_eq!(changed(&server, &fail), (300, 0));
    assert_eq!(queue(&server).len(), 300);
    assert!(queue(&server).iter().all(|row| row["recipient"] == SENDER));
}

#[test]
fn mail_is_sent_by_another_server_until_the_rules_count_again() {
    let scene = Scene::new();
    let away = scene.world.domain("away.example");
    away.set(|b| {
        b.reply(Verb::Rcpt, "", "450 4.2.1 not here, not now");
    });
    let other = scene.world.domain("other.example");
    let config = scene.config().set("outgoing.resend_wait", "1h");
    let mut server = Sendoff::start(BINARY, config);
    send(&server, "a@away.example");
    send(&server, "b@away.example");
    eventually("both are deferred", SOON, || {
        log_lines(&server, &[" deferred "]).len() == 2
    });
    let target = other.address().to_string();
    let hold = ["queue", "hold", "--filter", "to:b@away", "--yes"];
    assert_eq!(changed(&server, &hold), (1, 0));
    let reroute = ["queue", "reroute", "--all", "--yes", "--to", &target];
    assert_eq!(changed(&server, &reroute), (2, 0));
    assert_eq!(changed(&server, &reroute).0, 0);
    let mails = other.wait_for(1, SOON);
    assert_eq!(mails.first().unwrap().addresses(), ["a@away.example"]);
    // The other one is held, and goes there all the same when it is released behind a restart.
    server.kill9();
    server.restart();
    assert_eq!(
        changed(&server, &["queue", "release", "--all", "--yes"]),
        (1, 0)
    );
    assert_eq!(other.wait_for(2, SOON).len(), 2);
    let wrong = server.cli(&["queue", "reroute", "--all", "--yes", "--to", "a b"]);
    assert!(!wrong.status.success());
}

#[test]
fn new_mail_that_a_rule_matches_waits_also_behind_a_crash() {
    let scene = Scene::new();
    let good = scene.world.domain("good.example");
    let mut server = scene.start();
    let added = server.run(&["hold", "add", "letters", "from:ann@ to:held@"]);
    assert!(added.contains("letters"), "{added}");
    server.kill9();
    server.restart();
    server.send(
        SENDER,
        &["held@good.example", "free@good.example"],
        &mail("both"),
    );
    let mails = good.wait_for(1, SOON);
    assert_eq!(mails.first().unwrap().addresses(), ["free@good.example"]);
    server
        .wait_for_log(&[" delivered ", "free@"], SOON)
        .unwrap();
    server.kill9();
    server.restart();
    assert_eq!(good.wait_for(2, A_WHILE).len(), 1, "it is held");
    let waiting = queue(&server);
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0]["state"], "held");
    assert!(server.run(&["hold", "list"]).contains("from:ann@ to:held@"));
    server.run(&["hold", "remove", "letters"]);
    assert!(!server.cli(&["hold", "remove", "letters"]).status.success());
    let everything = server.cli(&["hold", "add", "all", ""]);
    assert!(!everything.status.success());
    send(&server, "held@good.example");
    assert_eq!(good.wait_for(2, SOON).len(), 2);
    assert_eq!(queue(&server).len(), 1);
}

#[test]
fn a_try_is_set_for_a_time_and_a_domain_is_slowed() {
    let scene = Scene::new();
    let good = scene.world.domain("good.example");
    let mut server = scene.start();
    server.run(&["site", "pause", "good.example"]);
    send(&server, "a@good.example");
    let at = [
        "queue",
        "retry",
        "--all",
        "--yes",
        "--at",
        "2040-01-01T00:00:00Z",
    ];
    assert_eq!(changed(&server, &at), (1, 0));
    server.run(&["site", "resume", "good.example"]);
    let waiting = queue(&server).remove(0);
    assert!(
        waiting["due"]
            .as_str()
            .unwrap()
            .starts_with("2040-01-01T00:00:00")
    );
    assert_eq!(
        changed(&server, &["queue", "retry", "--all", "--yes"]),
        (1, 0)
    );
    assert_eq!(good.wait_for(1, SOON).len(), 1);
    let slow = [
        "site",
        "slow",
        "good.example",
        "--rate",
        "1/h",
        "--connections",
        "1",
    ];
    assert!(server.run(&slow).contains("rate=1/3600s connections=1"));
    server.kill9();
    server.restart();
    for _ in 0..3 {
        send(&server, "b@good.example");
    }
    assert_eq!(good.wait_for(2, SOON).len(), 2);
    eventually("the others wait for the rate", SOON, || {
        let waiting = queue(&server);
        let rate = |row: &Value| row["reason"].as_str().unwrap().contains("rate");
        waiting.len() == 2 && waiting.iter().all(rate)
    });
    let shown = server.run(&["site", "show", "good.example"]);
    assert!(shown.contains("2 recipients wait; it is slowed"), "{shown}");
    server.run(&["site", "slow", "good.example", "--off"]);
    assert_eq!(good.wait_for(4, SOON).len(), 4);
    assert!(
        !server
            .cli(&["site", "slow", "good.example", "--rate", "soon"])
            .status
            .success()
    );
}

#[test]
fn an_address_is_explained_and_probed_without_sending() {
    let scene = Scene::new();
    let good = scene.world.domain("good.example");
    good.set(|b| {
        b.reply(Verb::Rcpt, "unknown@", "550 5.1.1 no such user");
    });
    let other = scene.world.domain("other.example");
    let target: SocketAddr = other.address();
    let config = scene
        .config()
        .rule("by.example", "via_smtp", target.to_string())
        .set("local.domains", ["here.example"]);
    let server = Sendoff::start(BINARY, config);
    let text = server.run(&["explain", "a@good.example"]);
    for part in [
        "Independent Mode",
        "good.example MX: 10 ",
        "opportunistic",
        "Now: it would be sent to",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let probed = server.run(&["explain", "--probe", "a@good.example"]);
    assert!(probed.contains("> RCPT TO:<a@good.example>"), "{probed}");
    assert!(
        probed.contains("the host accepts mail for this address"),
        "{probed}"
    );
    let refused = server.run(&["explain", "--probe", "unknown@good.example"]);
    assert!(
        refused.contains("does not accept it: 550 5.1.1"),
        "{refused}"
    );
    let via = server.run(&["explain", "a@by.example"]);
    assert!(via.contains("[[domain]] by.example: via_smtp"), "{via}");
    let nowhere = server.run(&["explain", "a@nowhere.example"]);
    assert!(nowhere.contains("Now: it would fail: 5.1.2"), "{nowhere}");
    let local = server.run(&["explain", "a@here.example"]);
    assert!(local.contains("no local store is configured"), "{local}");
    server.run(&["site", "pause", "good.example"]);
    let paused = server.run(&["explain", "a@good.example"]);
    assert!(
        paused.contains("Now: it would wait: good.example is paused"),
        "{paused}"
    );
    assert!(!server.cli(&["explain", "nobody"]).status.success());
    assert!(good.received().is_empty() && other.received().is_empty());
}

#[test]
fn what_is_finished_is_listed_by_outcome() {
    let scene = Scene::new();
    let good = scene.world.domain("good.example");
    let server = scene.start();
    send(&server, "a@good.example");
    send(&server, "b@nowhere.example");
    assert_eq!(subjects(&good.wait_for(1, SOON)), ["a case"]);
    scene.failure();
    let list = |outcome: &str| -> Vec<Value> {
        let text = server.run(&["queue", "history", "--outcome", outcome, "--json"]);
        serde_json::from_str(&text).unwrap()
    };
    eventually("both are in the history", SOON, || {
        list("failed").len() == 1
    });
    assert_eq!(list("failed")[0]["recipient"], "b@nowhere.example");
    let delivered: Vec<Value> = list("delivered");
    assert!(
        delivered
            .iter()
            .any(|row| row["recipient"] == "a@good.example")
    );
    assert!(
        !server
            .cli(&["queue", "history", "--outcome", "lost"])
            .status
            .success()
    );
}
