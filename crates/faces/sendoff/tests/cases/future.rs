//! Mail that is to go out at a later time: how it is listed and counted, and what the verbs do with
//! it; and lists by what the last answer was about.

use lab::{MxHost, Received, Sendoff, Verb};
use serde_json::Value;

use crate::scene::{A_WHILE, BINARY, SOON, Scene, eventually, mail, queue, send, send_with};

fn listed(server: &Sendoff, arguments: &[&str]) -> Vec<Value> {
    let text = server.run(&[&["queue", "list", "--json"], arguments].concat());
    serde_json::from_str(&text).expect("JSON")
}

fn recipients(rows: &[Value]) -> Vec<&str> {
    let mut names = Vec::new();
    for row in rows {
        names.extend(row.get("recipient").and_then(Value::as_str));
    }
    names
}

fn future(server: &Sendoff) -> u64 {
    let figures: Value = serde_json::from_str(&server.run(&["stats", "--json"])).expect("JSON");
    figures
        .get("future")
        .and_then(Value::as_u64)
        .expect("a figure")
}

fn hold_for(server: &Sendoff, recipient: &str, seconds: u64) {
    let params = format!("HOLDFOR={seconds}");
    send_with(
        server,
        &params,
        &[&format!("<{recipient}>")],
        mail("later").as_bytes(),
    );
}

#[test]
fn mail_for_the_future_is_listed_by_its_time_counted_and_changed() {
    let scene = Scene::new();
    let host = scene.world.domain("there.example");
    let busy = scene.world.domain("busy.example");
    busy.set(|b| {
        b.reply(Verb::Rcpt, "", "451 4.3.0 later");
    });
    let config = scene.config().set("outgoing.resend_wait", "1h");
    let mut server = Sendoff::start(BINARY, config);
    send(&server, "late@busy.example");
    server.wait_for_log(&[" deferred ", "late@"], SOON).unwrap();
    for (name, seconds) in [("day", 86_400), ("hour", 3600), ("week", 604_800)] {
        hold_for(&server, &format!("{name}@there.example"), seconds);
    }
    let all = [
        "hour@there.example",
        "day@there.example",
        "week@there.example",
    ];
    let rows = listed(&server, &["--future"]);
    assert_eq!(
        recipients(&rows),
        all,
        "what was tried already is not of the future"
    );
    for row in &rows {
        assert_eq!(row.get("release"), row.get("due"));
    }
    let tried = listed(&server, &["--filter", "-state:future"]);
    assert_eq!(recipients(&tried), ["late@busy.example"]);
    assert_eq!(tried[0]["release"], Value::Null);
    let table = server.run(&["queue", "list", "--future", "--filter", "due>2h"]);
    assert!(
        table.contains("RELEASE (UTC)") && !table.contains("hour@"),
        "{table}"
    );
    assert!(table.find("day@") < table.find("week@"), "{table}");
    assert_eq!(future(&server), 3);

    // Moved, held, and over a restart.
    server.run(&[
        "queue", "retry", "--filter", "to:week@", "--at", "30m", "--yes",
    ]);
    server.run(&["queue", "hold", "--filter", "to:day@", "--yes"]);
    server.kill9();
    server.restart();
    let moved = [
        "week@there.example",
        "hour@there.example",
        "day@there.example",
    ];
    assert_eq!(recipients(&listed(&server, &["--future"])), moved);
    assert_eq!(future(&server), 3);
    server.run(&["queue", "release", "--filter", "to:day@", "--yes"]);
    assert!(
        host.wait_for(1, A_WHILE).is_empty(),
        "released, it waits for its time"
    );

    now_and_never(&scene, &server, &host);
}

fn now_and_never(scene: &Scene, server: &Sendoff, host: &MxHost) {
    server.run(&[
        "queue",
        "retry",
        "--filter",
        "state:future to:week@",
        "--yes",
    ]);
    let mails = host.wait_for(1, SOON);
    let got = mails.first().map(Received::addresses);
    assert_eq!(got, Some(vec!["week@there.example"]));
    server.run(&["queue", "remove", "--filter", "to:hour@", "--yes"]);
    server.run(&["queue", "fail", "--filter", "to:day@", "--yes"]);
    scene.failure().assert_failed("day@there.example", "5.7.0");
    eventually("nothing is left of it", SOON, || future(server) == 0);
    assert_eq!(recipients(&queue(server)), ["late@busy.example"]);
}

#[test]
fn a_first_attempt_that_is_moved_far_is_made_and_not_expired_before() {
    let scene = Scene::new();
    let host = scene.world.domain("there.example");
    let config = scene.config().set("outgoing.lifetime", "2s");
    let mut server = Sendoff::start(BINARY, config);
    hold_for(&server, "bob@there.example", 3600);
    server.run(&["queue", "retry", "--all", "--at", "2h", "--yes"]);
    server.run(&["queue", "retry", "--all", "--at", "5s", "--yes"]);
    server.kill9();
    server.restart();
    assert_eq!(host.wait_for(1, SOON).len(), 1);
    scene.assert_no_failure();
}

#[test]
fn lists_and_verbs_choose_by_what_the_last_answer_was_about() {
    let scene = Scene::new();
    let refuse = |domain: &str, reply: &'static str| {
        let host = scene.world.domain(domain);
        host.set(|b| {
            b.reply(Verb::Rcpt, "", reply);
        });
        host
    };
    let grey = refuse(
        "grey.example",
        "451 4.7.1 Greylisted, please try again later",
    );
    let _full = refuse("full.example", "452 4.2.2 The email account is over quota");
    let _odd = refuse("odd.example", "450 Zwiebelkuchen");
    let config = scene.config().set("outgoing.resend_wait", "1h");
    let server = Sendoff::start(BINARY, config);
    for n in 0..3 {
        send(&server, &format!("bob{n}@grey.example"));
    }
    send(&server, "bob@full.example");
    send(&server, "bob@odd.example");
    hold_for(&server, "bob@future.example", 3600);
    eventually("all are answered", SOON, || {
        listed(&server, &["--filter", "attempts>0"]).len() == 5
    });
    let found = |filter: &str, more: &[&str]| {
        let rows = listed(&server, &[&["--filter", filter], more].concat());
        let names: Vec<String> = recipients(&rows).into_iter().map(str::to_owned).collect();
        let counted = server.run(&["queue", "list", "--count", "--filter", filter]);
        if more.is_empty() {
            assert_eq!(counted.trim(), names.len().to_string(), "{filter}");
        }
        names
    };
    let all_grey = [
        "bob0@grey.example",
        "bob1@grey.example",
        "bob2@grey.example",
    ];
    assert_eq!(found("kind:greylisted", &[]), all_grey);
    let page = ["--offset", "1", "--limit", "1"];
    assert_eq!(found("kind:greylisted", &page), ["bob1@grey.example"]);
    assert_eq!(found("kind:mailbox_full", &[]), ["bob@full.example"]);
    assert_eq!(found("kind:unknown", &[]), ["bob@odd.example"]);
    assert_eq!(found("kind:blocked", &[]), [""; 0]);
    assert_eq!(
        found("-kind:greylisted", &[]),
        ["bob@full.example", "bob@odd.example", "bob@future.example"],
        "what was never answered has no kind"
    );
    let refused = server.cli(&["queue", "list", "--filter", "kind:grey"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("a kind is one of greylisted, rate_limited"),
        "{said}"
    );
    let refused = server.cli(&["hold", "add", "x", "kind:blocked"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("new mail has no kind yet"), "{said}");

    server.run(&["queue", "hold", "--filter", "kind:mailbox_full", "--yes"]);
    assert_eq!(found("state:held", &[]), ["bob@full.example"]);
    grey.set(|b| {
        b.rules.clear();
    });
    server.run(&["queue", "retry", "--filter", "kind:greylisted", "--yes"]);
    assert_eq!(grey.wait_for(3, SOON).len(), 3);
}
