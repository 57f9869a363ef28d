//! Tags and metadata: how they come in, where they are seen, and that they do not go out.

use lab::{Scratch, Sendoff};
use serde_json::{Value, json};

use crate::scene::{BINARY, SENDER, SOON, Scene, eventually, mail, queue};
use crate::sendmail;
use crate::web::Web;

const MESSAGES: &str = "/api/v1/messages";

fn labelled(to: &str) -> Value {
    json!({
        "from": SENDER, "to": [to], "subject": "Your order", "text": "Thanks.\n",
        "tags": ["order", "2026"], "metadata": { "order": "4711" }
    })
}

/// What `queue history --json` gives.
fn history(server: &Sendoff, more: &[&str]) -> Vec<Value> {
    let arguments = [&["queue", "history", "--json"], more].concat();
    serde_json::from_str(&server.run(&arguments)).expect("JSON")
}

/// The events that are kept.
fn events(server: &Sendoff) -> Vec<Value> {
    let text = server.run(&["events", "--json"]);
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let events = answer
        .pointer("/events")
        .and_then(Value::as_array)
        .expect("events");
    events.iter().map(|e| e["event"].clone()).collect()
}

#[test]
fn what_a_program_labels_is_found_by_it_from_the_queue_to_the_history() {
    let scene = Scene::new();
    let host = scene.world.domain("there.example");
    let config = scene.config().set("events.keep", "1h");
    let (mut server, web) = Web::start(&scene, config.set("outgoing.enabled", false));
    let web = web.with_key(&server, "send,read", &[]);
    let answer = web.post_json(MESSAGES, &labelled("bob@there.example"));
    let id = answer.expect(202).json()["id"].clone();
    web.post_json(
        MESSAGES,
        &json!({ "from": SENDER, "to": ["eve@there.example"], "text": "x" }),
    )
    .expect(202);
    eventually("both wait", SOON, || queue(&server).len() == 2);
    let count = |filter: &str| server.run(&["queue", "list", "--count", "--filter", filter]);
    for (filter, matching) in [
        ("tag:order", "1\n"),
        ("-tag:order", "1\n"),
        ("tag:orde", "0\n"),
        ("meta:ORDER=4711 tag:2026", "1\n"),
        ("meta:order=471", "0\n"),
    ] {
        assert_eq!(count(filter), matching, "{filter}");
    }
    let shown = server.run(&["queue", "show", id.as_str().unwrap()]);
    assert!(
        shown.contains("Tags      order, 2026\nMetadata  order=4711\n"),
        "{shown}"
    );
    assert!(server.run(&["queue", "list"]).contains("  order, 2026  "));
    // What the record says is there after a restart, and goes to the history from there.
    server.reconfigure(|config| config.set("outgoing.enabled", true));
    server.restart();
    let received = host.wait_for(2, SOON);
    assert!(received.iter().all(|mail| !mail.text().contains("4711")));
    eventually("both are finished", SOON, || {
        history(&server, &[]).len() == 2
    });
    let found = history(&server, &["--tag", "order", "--meta", "Order=4711"]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["tags"], json!(["order", "2026"]));
    assert_eq!(found[0]["metadata"], json!({ "order": "4711" }));
    assert!(history(&server, &["--tag", "2025"]).is_empty());
    let by_http = |query: &str| {
        web.get(&format!("/api/v1/history?{query}"))
            .expect(200)
            .json()
    };
    assert_eq!(
        by_http("tag=order&meta=order=4711")["recipients"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    web.get("/api/v1/history?meta=order")
        .problem(400, "bad-field");
    let shown = web.get(&format!("/api/v1/queue/{}", id.as_str().unwrap()));
    let shown = shown.expect(200).json();
    assert_eq!(shown["subject"], "Your order");
    assert_eq!(shown["tags"], json!(["order", "2026"]));
    let told = events(&server).into_iter().filter(|e| e["queue_id"] == id);
    let told: Vec<Value> = told.collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for event in told {
        assert_eq!(event["tags"], json!(["order", "2026"]));
        assert_eq!(event["metadata"], json!({ "order": "4711" }));
        assert_eq!(event["subject"], "Your order");
        let message_id = event["message_id"].as_str().unwrap();
        assert!(message_id.ends_with("@sendoff.lab>"), "{message_id}");
        assert_eq!(event["report_of"], Value::Null);
    }
}

#[test]
fn labels_that_cannot_be_kept_are_refused_by_their_place() {
    let scene = Scene::new();
    let (server, web) = Web::start(&scene, scene.config());
    let web = web.with_key(&server, "send", &[]);
    let long = "x".repeat(257);
    let many: Vec<String> = (0..33).map(|n| n.to_string()).collect();
    for (field, labels) in [
        ("tags[1]", json!({ "tags": ["a", "b,c"] })),
        ("tags[0]", json!({ "tags": [long] })),
        ("tags", json!({ "tags": many })),
        ("metadata.a b", json!({ "metadata": { "a b": "c" } })),
        ("metadata.a", json!({ "metadata": { "a": "b\r\nBcc: c" } })),
        ("metadata.a", json!({ "metadata": { "a": "b", "A": "c" } })),
    ] {
        let mut mail = json!({ "from": SENDER, "to": ["b@there.example"], "text": "x" });
        let more = labels.as_object().unwrap().clone();
        mail.as_object_mut().unwrap().extend(more);
        let problem = web.post_json(MESSAGES, &mail).problem(400, "bad-field");
        assert_eq!(problem["field"], field, "{problem}");
    }
    let mut client = server.client();
    let content = format!("X-Sendoff-Tag: {}\r\n{}", "x".repeat(257), mail("a case"));
    let reply = client.send_mail(SENDER, &["b@there.example"], content.as_bytes());
    let reply = reply.unwrap().to_string();
    assert!(
        reply.contains("554") && reply.contains("X-Sendoff-Tag"),
        "{reply}"
    );
}

#[test]
fn header_fields_label_mail_by_smtp_and_by_sendmail_and_do_not_go_out() {
    let scene = Scene::new();
    let host = scene.world.domain("there.example");
    let config = scene.config().set("events.keep", "1h");
    let server = Sendoff::start(BINARY, config);
    let header = "X-Sendoff-Tag: news, weekly\r\nX-Sendoff-Meta-Issue: 7\r\n";
    let content = format!("{header}X-Sendoff-Tag: more\r\n{}", mail("by SMTP"));
    server.send(SENDER, &["a@there.example"], &content);
    let content = format!("{header}Subject: by sendmail\r\n\r\nHello.\r\n").replace('\r', "");
    sendmail::hand_in(&server, &["b@there.example"], &content);
    let received = host.wait_for(2, SOON);
    assert_eq!(received.len(), 2);
    for mail in &received {
        assert!(!mail.text().contains("X-Sendoff"), "{}", mail.text());
    }
    eventually("both are finished", SOON, || {
        history(&server, &["--tag", "news"]).len() == 2
    });
    for row in history(&server, &["--meta", "issue=7"]) {
        let more = row["recipient"] == "a@there.example";
        let tags = match more {
            true => json!(["news", "weekly", "more"]),
            false => json!(["news", "weekly"]),
        };
        assert_eq!(row["tags"], tags);
    }
}

#[test]
fn a_stranger_s_fields_are_taken_out_and_are_no_tags() {
    let scene = Scene::new();
    let boxes = Scratch::new();
    let template = format!("maildir:{}/{{user}}", boxes.path().display());
    let config = scene
        .config()
        .in_table("listener", "networks", ["192.0.2.0/24"])
        .set("local.domains", ["here.example"])
        .set("local.deliver", template);
    let server = Sendoff::start(BINARY, config);
    let content = format!("X-Sendoff-Tag: vip\r\n{}", mail("a case"));
    server.send("who@out.example", &["hans@here.example"], &content);
    eventually("it is finished", SOON, || history(&server, &[]).len() == 1);
    assert_eq!(history(&server, &[])[0]["tags"], json!([]));
    assert!(history(&server, &["--tag", "vip"]).is_empty());
    let file = std::fs::read_dir(boxes.path().join("hans/new"))
        .unwrap()
        .next();
    let text = std::fs::read_to_string(file.unwrap().unwrap().path()).unwrap();
    assert!(!text.contains("vip"), "{text}");
}

#[test]
fn a_failure_message_names_the_mail_that_it_is_about() {
    let scene = Scene::new();
    let config = scene.config().set("events.keep", "1h");
    let server = Sendoff::start(BINARY, config);
    server.send(SENDER, &["nobody@nowhere.example"], &mail("lost"));
    scene.failure();
    let ended = |rows: &[Value]| rows.len() == 2;
    eventually("both are finished", SOON, || ended(&history(&server, &[])));
    let rows = history(&server, &[]);
    let by = |outcome: &str| rows.iter().find(|r| r["outcome"] == outcome).cloned();
    let (lost, report) = (by("failed").unwrap(), by("delivered").unwrap());
    assert_eq!(lost["report_of"], Value::Null);
    assert_eq!(report["report_of"], lost["id"]);
    let text = server.run(&["queue", "history"]);
    let line = format!("    Report on {}\n", lost["id"].as_str().unwrap());
    assert!(text.contains(&line), "{text}");
    let told = events(&server);
    let of_report: Vec<&Value> = told
        .iter()
        .filter(|e| e["queue_id"] == report["id"])
        .collect();
    assert_eq!(of_report.len(), 2, "{told:?}");
    assert!(of_report.iter().all(|e| e["report_of"] == lost["id"]));
}
