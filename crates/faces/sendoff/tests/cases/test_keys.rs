//! Test keys: what they submit is judged and shown as every mail, and never leaves.

use std::fs;

use lab::{Scratch, Sendoff};
use serde_json::{Value, json};

use crate::scene::{SENDER, SOON, Scene, eventually, queue};
use crate::web::Web;

const MESSAGES: &str = "/api/v1/messages";
/// What can be simulated.
const NAMES: [&str; 5] = ["bounced", "complained", "deferred", "delivered", "failed"];

fn key(server: &Sendoff, web: &Web, more: &[&str]) -> Web {
    let arguments = [&["key", "add", "trial", "--scope", "send"], more].concat();
    web.with_secret(server.run(&arguments).trim())
}

fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}

fn send(web: &Web, to: &[&str]) -> String {
    let mail = json!({ "from": SENDER, "to": to, "subject": "Trial", "text": "x", "notify": ["success", "failure"] });
    let answer = web.post_json(MESSAGES, &mail).expect(202).json();
    text(&answer, "/id")
}

fn status(web: &Web, id: &str) -> Value {
    web.get(&format!("{MESSAGES}/{id}")).expect(200).json()
}

/// Address and status of each recipient, in the order of addresses.
fn standing(status: &Value) -> Vec<String> {
    let recipients = status.get("recipients").and_then(Value::as_array);
    let one = |r: &Value| format!("{} {}", text(r, "/address"), text(r, "/status"));
    let mut all: Vec<String> = recipients.expect("recipients").iter().map(one).collect();
    all.sort();
    all
}

/// Type and recipient of each event that is kept, in the order of recipients.
fn events(server: &Sendoff) -> Vec<String> {
    let answer: Value = serde_json::from_str(&server.run(&["events", "--json"])).expect("JSON");
    let events = answer
        .pointer("/events")
        .and_then(Value::as_array)
        .expect("events");
    let one = |e: &Value| {
        assert_eq!(e.pointer("/event/test"), Some(&json!(true)), "{e}");
        format!("{} {}", text(e, "/event/recipient"), text(e, "/event/type"))
    };
    let mut all: Vec<String> = events.iter().map(one).collect();
    all.sort_by_key(|e| e.split(' ').next().map(str::to_owned));
    all
}

#[test]
fn what_a_test_key_submits_is_simulated_and_reaches_nobody() {
    let scene = Scene::new();
    let host = scene.world.domain("there.example");
    let boxes = Scratch::new();
    let config = scene
        .config()
        .set("events.keep", "1h")
        .set("local.domains", ["here.example"])
        .set(
            "local.deliver",
            format!("maildir:{}/{{user}}", boxes.path().display()),
        );
    let (server, web) = Web::start(&scene, config);
    let trial = key(&server, &web, &["--test"]);
    let at_test = NAMES.map(|name| format!("{name}+1@sendoff.test"));
    let mut to: Vec<&str> = at_test.iter().map(String::as_str).collect();
    to.extend(["bob@there.example", "hans@here.example"]);
    let id = send(&trial, &to);
    let expected = [
        "bob@there.example delivered",
        "bounced+1@sendoff.test delivered",
        "complained+1@sendoff.test delivered",
        "deferred+1@sendoff.test delivered",
        "delivered+1@sendoff.test delivered",
        "failed+1@sendoff.test failed",
        "hans@here.example delivered",
    ];
    eventually("it is finished", SOON, || {
        standing(&status(&trial, &id)) == expected
    });
    let end = status(&trial, &id);
    assert_eq!(end.pointer("/test"), Some(&json!(true)));
    let expected = [
        "bob@there.example accepted",
        "bob@there.example delivered",
        "bounced+1@sendoff.test accepted",
        "bounced+1@sendoff.test delivered",
        "bounced+1@sendoff.test bounced",
        "complained+1@sendoff.test accepted",
        "complained+1@sendoff.test delivered",
        "complained+1@sendoff.test complained",
        "deferred+1@sendoff.test accepted",
        "deferred+1@sendoff.test deferred",
        "deferred+1@sendoff.test delivered",
        "delivered+1@sendoff.test accepted",
        "delivered+1@sendoff.test delivered",
        "failed+1@sendoff.test accepted",
        "failed+1@sendoff.test failed",
        "hans@here.example accepted",
        "hans@here.example delivered",
    ];
    eventually("its events are kept", SOON, || {
        events(&server).len() == expected.len()
    });
    assert_eq!(events(&server), expected);
    assert!(
        server
            .run(&["queue", "history"])
            .contains("    Test: not delivered to anybody\n")
    );
    // Neither its recipients, nor its sender about it.
    scene.assert_no_failure();
    assert_eq!(host.connection_count(), 0);
    assert!(!boxes.path().join("hans").exists());
    assert_eq!(
        server.run(&["suppression", "list"]),
        "The suppression list is empty.\n"
    );
}

#[test]
fn a_test_stays_one_without_its_key_and_its_index_over_a_crash() {
    let scene = Scene::new();
    let host = scene.world.domain("there.example");
    let config = scene.config().set("outgoing.resend_wait", "1h");
    let (mut server, web) = Web::start(&scene, config);
    let trial = key(&server, &web, &["--test"]);
    let id = send(&trial, &["deferred@sendoff.test", "bob@there.example"]);
    let late = send(&trial, &["deferred+2@sendoff.test"]);
    eventually("they wait", SOON, || {
        let waiting = queue(&server);
        waiting.len() == 2 && waiting.iter().all(|r| r["attempts"] == 1)
    });
    assert!(queue(&server).iter().all(|r| r["state"] == "test"));
    assert!(
        server
            .run(&["queue", "show", &id])
            .contains("\nTest      not delivered to anybody")
    );
    // No administrator sends it anywhere.
    let host_address = host.address().to_string();
    let moved = server.run(&["queue", "reroute", &late, "--to", &host_address]);
    assert!(moved.starts_with("0 recipients changed"), "{moved}");
    server.run(&["queue", "fail", &late]);
    server.run(&["key", "revoke", "trial"]);
    server.kill9();
    let data = server.directory().join("data/spool");
    fs::remove_file(data.join("index.db")).expect("there is an index");
    server.restart();
    server.run(&["queue", "retry", "--all", "--yes"]);
    eventually("all is finished", SOON, || queue(&server).is_empty());
    let rows: Value = serde_json::from_str(&server.run(&["queue", "history", "--json"])).unwrap();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row["test"] == true), "{rows:?}");
    scene.assert_no_failure();
    assert_eq!(host.connection_count(), 0);
}

#[test]
fn the_addresses_for_tests_simulate_nothing_for_other_keys() {
    let scene = Scene::new();
    let (server, web) = Web::start(&scene, scene.config());
    let real = key(&server, &web, &[]);
    let id = send(&real, &["delivered@sendoff.test"]);
    let failed = ["delivered@sendoff.test failed"];
    eventually("it has failed", SOON, || {
        standing(&status(&real, &id)) == failed
    });
    assert_eq!(status(&real, &id).pointer("/test"), Some(&json!(false)));
    scene.failure();
    let explained = server.run(&["explain", "delivered@sendoff.test"]);
    assert!(explained.contains("test keys"), "{explained}");
    assert!(server.run(&["key", "list"]).contains("trial  send\n"));
}

#[test]
fn a_test_is_judged_as_every_mail() {
    let scene = Scene::new();
    let (server, web) = Web::start(&scene, scene.config());
    let trial = key(&server, &web, &["--test", "--senders", "other.example"]);
    server.run(&["suppression", "add", "stop@there.example"]);
    let mail = |from: &str, to: &str| json!({ "from": from, "to": to, "text": "x" });
    let answer = trial.post_json(MESSAGES, &mail(SENDER, "bob@there.example"));
    answer.problem(403, "wrong-sender");
    let answer = trial.post_json(MESSAGES, &mail("a@other.example", "stop@there.example"));
    answer.problem(422, "refused");
    let answer = trial.post_json(MESSAGES, &mail("a@other.example", "bonced@sendoff.test"));
    let problem = answer.problem(422, "refused");
    let refusal = text(&problem, "/recipients/0/refusal");
    assert_eq!(refusal, "unknown-test-address", "{problem}");
    let detail = text(&problem, "/detail");
    assert!(
        detail.contains("delivered, deferred, failed, bounced, complained"),
        "{detail}"
    );
    let refused = server.cli(&["key", "add", "eye", "--scope", "read", "--test"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("--scope send"),
        "{said}"
    );
    assert!(
        server
            .run(&["key", "list"])
            .contains("trial  send  test  as other.example\n")
    );
}
