//! Webhooks: what a receiver is told, whatever happens to it and to the server.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use lab::{Config, MxHost, Sendoff, Verb, WebAnswer, WebHost, WebRequest};
use serde_json::{Value, json};

use crate::scene::{
    A_WHILE, SENDER, SOON, Scene, eventually, judge, judged_by, log_lines, mail, queue, send,
    send_many,
};
use crate::web::Web;

const LONG_AGO: &str = "2020-01-01T00:00:00Z";
const HOST: &str = "hooks.example";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SCHEMA: &str = include_str!("../../../../../docs/webhooks.schema.json");
const OTHER_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// Verifies requests by the library of the specification.
const VERIFY: &str = r#"
import json, sys, base64
from standardwebhooks.webhooks import Webhook
asked = json.load(sys.stdin)
verified = 0
for r in asked["requests"]:
    Webhook(asked["secret"]).verify(base64.b64decode(r["body"]).decode(), r["headers"])
    verified += 1
print(json.dumps(verified))
"#;

/// A world with a receiver of events, and a domain that takes mail.
struct Told {
    scene: Scene,
    web: WebHost,
    there: MxHost,
}

impl Told {
    fn new() -> Self {
        let scene = Scene::new();
        let web = scene.world.web(&[HOST]);
        web.answer(HOST, "/in", WebAnswer::status(204));
        let there = scene.world.domain("there.example");
        Self { scene, web, there }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{HOST}:{}{path}", self.scene.world.port())
    }

    fn config(&self) -> Config {
        let url = self.url("/in").into();
        let keys = [
            ("name", "crm".into()),
            ("url", url),
            ("secret", SECRET.into()),
        ];
        let config = self.scene.config().table("webhook", &keys);
        config.in_table("webhook", "waits", ["1s"])
    }

    fn start(&self) -> Sendoff {
        self.scene.start_trusting(self.config())
    }

    /// The requests to a path, as soon as there are so many events in them.
    fn wait_for(&self, path: &str, events: usize) -> Vec<WebRequest> {
        let mut found = Vec::new();
        eventually("the events", SOON, || {
            let all = self.web.requests().into_iter();
            found = all.filter(|r| r.path == path).collect();
            found.iter().flat_map(events_of).count() >= events
        });
        found
    }
}

fn body(request: &WebRequest) -> Value {
    serde_json::from_slice(&request.content).expect("JSON")
}

fn events_of(request: &WebRequest) -> Vec<Value> {
    let body = body(request);
    let events = body.pointer("/events").and_then(Value::as_array);
    events.cloned().expect("events")
}

fn all(requests: &[WebRequest]) -> Vec<Value> {
    requests.iter().flat_map(events_of).collect()
}

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn value(event: &Value, field: &str) -> Value {
    event.get(field).cloned().unwrap_or_default()
}

/// Type and recipient of each event, in order.
fn words(events: &[Value]) -> Vec<String> {
    let word = |e: &Value| format!("{} {}", text(e, "type"), text(e, "recipient"));
    events.iter().map(word).collect()
}

fn ids(events: &[Value]) -> Vec<String> {
    events.iter().map(|e| text(e, "id").to_owned()).collect()
}

fn header(request: &WebRequest, name: &str) -> String {
    request.headers.get(name).cloned().unwrap_or_default()
}

fn assert_verified(requests: &[WebRequest], secret: &str) {
    let encode = |octets: &[u8]| base64::engine::general_purpose::STANDARD.encode(octets);
    let request = |r: &WebRequest| json!({ "headers": r.headers, "body": encode(&r.content) });
    let requests: Vec<Value> = requests.iter().map(request).collect();
    let asked = json!({ "secret": secret, "requests": requests });
    let verified = judged_by(&judge(), &[VERIFY], asked.to_string().as_bytes());
    assert_eq!(verified, requests.len());
}

/// The webhook's state, as `webhook list --json` gives it.
fn state(server: &Sendoff) -> Value {
    let list: Value =
        serde_json::from_str(&server.run(&["webhook", "list", "--json"])).expect("JSON");
    list.pointer("/0").cloned().expect("a webhook")
}

fn wait_for_state(server: &Sendoff, word: &str) {
    eventually(word, SOON, || text(&state(server), "state") == word);
}

/// A complaint about the mail that had this return path.
fn complaint(path: &str) -> String {
    format!(
        "From: <fbl@provider.example>\r\nTo: <{path}>\r\nSubject: complaint\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; boundary=\"p\"; report-type=feedback-report\r\n\r\n\
         --p\r\nContent-Type: text/plain\r\n\r\nA button.\r\n\
         --p\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n\
         User-Agent: ProviderFBL/1.0\r\nVersion: 1\r\n\r\n\
         --p\r\nContent-Type: text/rfc822-headers\r\n\r\nReturn-Path: <{path}>\r\n\r\n--p--\r\n"
    )
}

#[test]
fn every_kind_of_event_is_told_once_in_order_and_signed() {
    let told = Told::new();
    let grey = told.scene.world.domain("grey.example");
    grey.set(|b| b.greylist = Some(Duration::from_millis(500)));
    let gone = told.scene.world.domain("gone.example");
    gone.set(|b| {
        b.reply(Verb::Rcpt, "", "550 5.1.1 no such user");
    });
    let config = told.config();
    let config = config
        .set("return_path.domain", "bounces.origin.example")
        .set("suppression.enabled", true);
    let server = told.scene.start_trusting(config);
    send(&server, "bob@there.example");
    send(&server, "carl@grey.example");
    send(&server, "dora@gone.example");
    let mails = told.there.wait_for(1, SOON);
    let path = mails.first().expect("a mail").sender.clone();
    eventually("all have ended", SOON, || queue(&server).is_empty());
    server.send("", &[&path], &complaint(&path));
    eventually("the complaint is told", SOON, || {
        let events = all(&told.web.requests());
        words(&events).contains(&"complained bob@there.example".to_owned())
    });
    let requests = told.web.requests();
    assert_verified(&requests, SECRET);
    let events = all(&requests);
    let of = |recipient: &str| -> Vec<String> {
        let to = events.iter().filter(|e| text(e, "recipient") == recipient);
        to.map(|e| text(e, "type").to_owned()).collect()
    };
    assert_eq!(
        of("bob@there.example"),
        ["accepted", "delivered", "complained", "suppressed"]
    );
    let grey = of("carl@grey.example");
    assert_eq!(grey.first().map(String::as_str), Some("accepted"));
    assert_eq!(grey.last().map(String::as_str), Some("delivered"));
    assert!(grey.contains(&"deferred".to_owned()), "{grey:?}");
    assert_eq!(
        of("dora@gone.example"),
        ["accepted", "failed", "suppressed"]
    );
    let unique: BTreeSet<String> = ids(&events).into_iter().collect();
    assert_eq!(unique.len(), events.len(), "each once");
    assert_particulars(&events);
}

#[test]
fn a_quota_that_is_nearly_used_up_is_told_with_the_mail_that_was_taken_last() {
    let told = Told::new();
    let config = told
        .config()
        .set("quota.address", lab::Value::from(["5/day"]))
        .in_table("webhook", "events", ["quota"])
        .in_table("webhook", "recipient_domains", ["elsewhere.example"]);
    let server = told.scene.start_trusting(config);
    for _ in 0..5 {
        send(&server, "bob@there.example");
    }
    let requests = told.wait_for("/in", 1);
    let events = all(&requests);
    let [event] = events.as_slice() else {
        panic!("one event: {events:?}")
    };
    assert_eq!(value(event, "type"), "quota");
    let why = format!("{SENDER} has used 4 of 5/day recipients (quota.address)");
    assert_eq!(value(event, "reason"), why);
    assert_eq!(value(event, "sender"), SENDER);
    assert_eq!(value(event, "via"), "smtp");
    let id = text(event, "queue_id");
    assert!(
        server.wait_for_log(&[" quota id=", id], SOON).is_some(),
        "{}",
        server.log()
    );
}

/// What the events of that case say.
fn assert_particulars(events: &[Value]) {
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let fields = schema.pointer("/$defs/EventView/properties");
    let names = |value: &Value| -> BTreeSet<String> {
        let fields = value.as_object().expect("an object");
        fields.keys().cloned().collect()
    };
    for event in events {
        assert_eq!(names(event), names(fields.expect("fields")), "{event}");
    }

    let find = |kind: &str, to: &str| {
        let mut found = events.iter();
        let is = |e: &&Value| text(e, "type") == kind && text(e, "recipient") == to;
        found.find(is).expect("the event").clone()
    };
    let deferred = find("deferred", "carl@grey.example");
    assert!(
        text(&deferred, "next_attempt") > text(&deferred, "time"),
        "{deferred}"
    );
    assert_eq!(value(&deferred, "kind_of_reply"), "greylisted");
    let failed = find("failed", "dora@gone.example");
    assert_eq!(value(&failed, "reason"), "refused");
    assert_eq!(
        value(&failed, "reply"),
        json!({"code": 550, "enhanced": "5.1.1", "text": "no such user"})
    );
    assert_eq!(value(&failed, "kind_of_reply"), "no_such_user");
    assert_eq!(value(&failed, "host"), "mx.gone.example");
    assert_eq!(value(&failed, "sender"), SENDER);
    assert_eq!(value(&failed, "via"), "smtp");
    assert_eq!(value(&failed, "version"), 1);
    let suppressed = find("suppressed", "dora@gone.example");
    assert_eq!(value(&suppressed, "cause"), "failure");
    assert_eq!(value(&suppressed, "queue_id"), value(&failed, "queue_id"));
    assert_eq!(
        text(&find("complained", "bob@there.example"), "reason")
            .split(' ')
            .next(),
        Some("abuse")
    );
}

#[test]
fn administrators_ends_and_lifetimes_are_failures_with_their_reasons() {
    let told = Told::new();
    told.there.set(|b| {
        b.reply(Verb::Rcpt, "", "450 4.2.1 later");
    });
    let config = told.config().set("outgoing.resend_wait", "1h");
    let server = told.scene.start_trusting(config);
    for name in ["a", "b", "c"] {
        send(&server, &format!("{name}@there.example"));
    }
    told.wait_for("/in", 6);
    server.run(&["queue", "remove", "--filter", "to:a@there.example", "--yes"]);
    server.run(&["queue", "fail", "--filter", "to:b@there.example", "--yes"]);
    server.run(&["queue", "hold", "--filter", "to:c@there.example", "--yes"]);
    eventually("both are told", SOON, || {
        words(&all(&told.web.requests()))
            .iter()
            .filter(|w| w.starts_with("failed "))
            .count()
            == 2
    });
    let events = all(&told.web.requests());
    let reason = |to: &str| {
        let failed = |e: &&Value| text(e, "type") == "failed" && text(e, "recipient") == to;
        events
            .iter()
            .find(failed)
            .map(|e| text(e, "reason").to_owned())
    };
    assert_eq!(reason("a@there.example").as_deref(), Some("removed"));
    assert_eq!(reason("b@there.example").as_deref(), Some("given_up"));
    let deferred = words(&events)
        .iter()
        .filter(|w| w.starts_with("deferred "))
        .count();
    assert_eq!(deferred, 3, "a hold is no deferral");
}

#[test]
fn a_receiver_that_is_down_delays_nobody_and_gets_everything_in_order() {
    let told = Told::new();
    told.web.answer_in_turn(
        HOST,
        "/in",
        vec![
            WebAnswer::status(503),
            WebAnswer::status(500),
            WebAnswer::status(200),
        ],
    );
    told.web.answer(HOST, "/other", WebAnswer::status(200));
    let other = [
        ("name", "other".into()),
        ("url", told.url("/other").into()),
        ("secret", OTHER_SECRET.into()),
    ];
    let config = told
        .config()
        .in_table("webhook", "batch", 2)
        .table("webhook", &other);
    let server = told.scene.start_trusting(config);
    send_many(&server, 5, |n| format!("user{n}@there.example"));
    assert_eq!(told.there.wait_for(5, SOON).len(), 5);
    let others = all(&told.wait_for("/other", 10));
    eventually("it has all", SOON, || state(&server)["unsent"] == 0);
    let requests = told.wait_for("/in", 14);
    let first = header(requests.first().expect("a request"), "webhook-id");
    for refused in requests.iter().take(3) {
        assert_eq!(
            header(refused, "webhook-id"),
            first,
            "a repetition is known by its id"
        );
    }
    let taken = all(requests.get(2..).expect("requests that were taken"));
    assert_eq!(
        ids(&taken),
        ids(&others),
        "both are told the same in the same order"
    );
    assert!(requests.iter().all(|r| events_of(r).len() <= 2));
    assert_verified(&requests, SECRET);
    let connections: BTreeSet<u64> = requests.iter().skip(2).map(|r| r.connection).collect();
    assert_eq!(connections.len(), 1, "one connection serves many requests");
    assert_eq!(
        log_lines(&server, &["webhook-fails", "crm"]).len(),
        1,
        "{}",
        server.log()
    );
    assert_eq!(
        log_lines(&server, &["webhook-recovered", "failures=2"]).len(),
        1
    );
}

#[test]
fn killed_before_it_could_tell_the_server_tells_behind_the_restart() {
    let told = Told::new();
    told.web.answer(HOST, "/in", WebAnswer::status(503));
    let mut server = told.start();
    send(&server, "bob@there.example");
    assert_eq!(told.there.wait_for(1, SOON).len(), 1);
    eventually("it ended", SOON, || queue(&server).is_empty());
    server.kill9();
    told.web.answer(HOST, "/in", WebAnswer::status(200));
    server.restart();
    eventually("it has all", SOON, || state(&server)["unsent"] == 0);
    let events = all(&told.web.requests());
    for word in ["accepted bob@there.example", "delivered bob@there.example"] {
        assert!(words(&events).contains(&word.to_owned()), "{events:?}");
    }
    let unique: BTreeSet<String> = ids(&events).into_iter().collect();
    assert_eq!(unique.len(), 2, "a kill invents nothing: {events:?}");
}

#[test]
fn killed_before_it_knew_that_all_was_taken_it_repeats_the_same_ids() {
    let told = Told::new();
    let late = WebAnswer::status(200).behind(Duration::from_secs(300));
    told.web
        .answer_in_turn(HOST, "/in", vec![late, WebAnswer::status(200)]);
    let mut server = told
        .scene
        .start_trusting(told.config().in_table("webhook", "timeout", "5m"));
    send(&server, "bob@there.example");
    let first = told.wait_for("/in", 1);
    server.kill9();
    server.restart();
    eventually("it has all", SOON, || state(&server)["unsent"] == 0);
    let events = ids(&all(&told.web.requests()));
    let repeated = ids(&all(&first));
    let count = |id: &String| events.iter().filter(|other| *other == id).count();
    assert!(repeated.iter().all(|id| count(id) == 2), "{events:?}");
}

#[test]
fn a_receiver_says_when_to_come_again() {
    let told = Told::new();
    let busy = WebAnswer::status(429).with("Retry-After: 3");
    told.web
        .answer_in_turn(HOST, "/in", vec![busy, WebAnswer::status(200)]);
    let server = told.start();
    send(&server, "bob@there.example");
    let requests = told.web.wait_for(2, SOON);
    let (first, second) = (
        requests.first().expect("one"),
        requests.get(1).expect("another"),
    );
    let wait = second.at.duration_since(first.at);
    assert!(wait >= Duration::from_secs(3), "{wait:?}");
    assert_eq!(
        log_lines(&server, &["webhook-fails", "answered 429"]).len(),
        1
    );
}

#[test]
fn a_receiver_that_is_gone_for_good_stops_its_webhook_until_it_is_resumed() {
    let told = Told::new();
    told.web.answer_in_turn(
        HOST,
        "/in",
        vec![WebAnswer::status(410), WebAnswer::status(200)],
    );
    let mut server = told.start();
    send(&server, "bob@there.example");
    wait_for_state(&server, "stopped");
    assert_eq!(
        log_lines(&server, &["webhook-stopped", "crm", "410"]).len(),
        1
    );
    let refused = server.cli(&["webhook", "retry", "crm"]);
    assert!(!refused.status.success());
    server.restart();
    assert_eq!(
        text(&state(&server), "state"),
        "stopped",
        "a restart changes nothing"
    );
    assert_eq!(told.web.requests().len(), 1);
    server.run(&["webhook", "resume", "crm"]);
    eventually("it has all", SOON, || {
        words(&all(&told.web.requests())).contains(&"delivered bob@there.example".to_owned())
    });
}

#[test]
fn a_replay_tells_the_same_events_with_the_same_ids() {
    let told = Told::new();
    let server = told.start();
    send(&server, "bob@there.example");
    send(&server, "carl@there.example");
    let first = all(&told.wait_for("/in", 4));
    assert_eq!(first.len(), 4);
    server.run(&[
        "webhook",
        "replay",
        "crm",
        "--since",
        "2020-01-01T00:00:00Z",
    ]);
    eventually("the replay ends", SOON, || {
        log_lines(&server, &["webhook-replayed", "events=4"]).len() == 1
    });
    let requests = told.web.requests();
    let again: Vec<&WebRequest> = requests
        .iter()
        .filter(|r| body(r)["replay"] == true)
        .collect();
    let mut again: Vec<Value> = again.into_iter().flat_map(events_of).collect();
    let mut first = first;
    again.sort_by_key(|e| text(e, "id").to_owned());
    first.sort_by_key(|e| text(e, "id").to_owned());
    assert_eq!(again, first, "every field is as it was");
    assert_eq!(state(&server)["replay"], Value::Null);
    let only = [
        "--type",
        "delivered",
        "--to",
        "there.example",
        "--from",
        "origin.example",
    ];
    let since = [
        "webhook",
        "replay",
        "crm",
        "--since",
        "2020-01-01T00:00:00Z",
    ];
    server.run(&[&since[..], &only[..]].concat());
    eventually("the second ends", SOON, || {
        log_lines(&server, &["webhook-replayed", "events=2"]).len() == 1
    });
}

#[test]
fn nothing_is_kept_beyond_the_bound_for_a_paused_webhook_that_asks_for_little() {
    let told = Told::new();
    let config = told.config().set("events.max_waiting", 1000).in_table(
        "webhook",
        "recipient_domains",
        ["elsewhere.example"],
    );
    let server = told.scene.start_trusting(config);
    server.run(&["webhook", "pause", "crm"]);
    for part in 0..6 {
        let to: Vec<String> = (0..100)
            .map(|n| format!("user{part}.{n}@there.example"))
            .collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        server.send(SENDER, &to, &mail("many"));
    }
    let first = || -> u64 {
        let listed = server.run(&["events", "--limit", "1", "--json"]);
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let place = listed.pointer("/events/0/place").and_then(Value::as_u64);
        place.unwrap_or_default()
    };
    // 1200 happen, so that 200 are too many.
    eventually("the oldest are forgotten", SOON, || first() > 200);
    eventually("the bound is kept", SOON, || {
        state(&server)["unsent"] == 1000
    });
    assert_eq!(
        state(&server).pointer("/put_aside/events"),
        Some(&json!(0)),
        "they were not for it"
    );
}

#[test]
fn suppressions_are_told_to_those_whose_mail_they_keep_back() {
    let told = Told::new();
    let gone = told.scene.world.domain("gone.example");
    gone.set(|b| {
        b.reply(Verb::Rcpt, "", "550 5.1.1 no such user");
    });
    told.web.answer(HOST, "/other", WebAnswer::status(200));
    let other = [
        ("name", "other".into()),
        ("url", told.url("/other").into()),
        ("secret", OTHER_SECRET.into()),
        ("sender_domains", ["other.example"].into()),
    ];
    let config = told
        .config()
        .set("suppression.enabled", true)
        .in_table("webhook", "events", ["suppressed"])
        .in_table("webhook", "sender_domains", ["Origin.example"])
        .table("webhook", &other);
    let server = told.scene.start_trusting(config);
    send(&server, "dora@gone.example");
    let events = all(&told.wait_for("/in", 1));
    assert_eq!(words(&events), ["suppressed dora@gone.example"]);
    assert_eq!(
        text(events.first().expect("one"), "scope"),
        "@origin.example"
    );
    server.run(&[
        "webhook",
        "replay",
        "crm",
        "--since",
        LONG_AGO,
        "--from",
        "ORIGIN.example",
    ]);
    eventually("the replay tells it too", SOON, || {
        log_lines(&server, &["webhook-replayed", "events=1"]).len() == 1
    });
    eventually("nothing waits", SOON, || {
        let list = server.run(&["webhook", "list", "--json"]);
        let list: Value = serde_json::from_str(&list).expect("JSON");
        let unsent = |n: usize| list.pointer(&format!("/{n}/unsent")).cloned();
        unsent(0) == Some(json!(0)) && unsent(1) == Some(json!(0))
    });
    let others = told.web.requests().into_iter();
    assert_eq!(others.filter(|r| r.path == "/other").count(), 0);
}

/// A server whose receiver has been told four events, and answers so from now on.
fn told_four(told: &Told, config: Config, answers: Vec<WebAnswer>) -> (Sendoff, usize) {
    let server = told.scene.start_trusting(config);
    send(&server, "bob@there.example");
    send(&server, "carl@there.example");
    told.wait_for("/in", 4);
    eventually("it has all", SOON, || {
        state(&server).pointer("/unsent") == Some(&json!(0))
    });
    told.web.answer_in_turn(HOST, "/in", answers);
    let before = told.web.requests().len();
    (server, before)
}

#[test]
fn a_replay_that_is_too_large_for_its_receiver_is_halved() {
    let told = Told::new();
    let answers = vec![WebAnswer::status(413), WebAnswer::status(200)];
    let (server, before) = told_four(&told, told.config(), answers);
    server.run(&[
        "webhook",
        "replay",
        "crm",
        "--since",
        LONG_AGO,
        "--to",
        "There.EXAMPLE",
    ]);
    eventually("the replay ends", SOON, || {
        log_lines(&server, &["webhook-replayed", "events=4"]).len() == 1
    });
    let requests = told.web.requests().split_off(before);
    let sizes: Vec<usize> = requests.iter().map(|r| events_of(r).len()).collect();
    assert_eq!(sizes, [4, 2, 2]);
}

#[test]
fn a_receiver_that_wants_no_replay_stops_its_webhook_until_it_is_resumed() {
    let told = Told::new();
    let answers = vec![WebAnswer::status(410), WebAnswer::status(200)];
    let (server, before) = told_four(&told, told.config(), answers);
    server.run(&["webhook", "replay", "crm", "--since", LONG_AGO]);
    wait_for_state(&server, "stopped");
    assert_eq!(
        log_lines(&server, &["webhook-stopped", "crm", "410"]).len(),
        1
    );
    std::thread::sleep(A_WHILE);
    assert_eq!(
        told.web.requests().len(),
        before + 1,
        "nor is it asked again"
    );
    server.run(&["webhook", "resume", "crm"]);
    eventually("the replay ends", SOON, || {
        log_lines(&server, &["webhook-replayed", "events=4"]).len() == 1
    });
}

#[test]
fn a_replay_in_the_place_of_another_tells_nothing_of_that() {
    let told = Told::new();
    let late = WebAnswer::status(200).behind(Duration::from_secs(3));
    let config = told.config().in_table("webhook", "batch", 1);
    let (server, before) = told_four(&told, config, vec![late, WebAnswer::status(200)]);
    let since = ["webhook", "replay", "crm", "--since", LONG_AGO];
    server.run(&since);
    eventually("it began", SOON, || told.web.requests().len() > before);
    server.run(&["webhook", "replay", "crm", "--stop"]);
    server.run(&[&since[..], &["--type", "delivered"]].concat());
    eventually("the other ends", SOON, || {
        log_lines(&server, &["webhook-replayed", "events=2"]).len() == 1
    });
    let events = all(&told.web.requests().split_off(before));
    let kinds: Vec<&str> = events.iter().skip(1).map(|e| text(e, "type")).collect();
    assert_eq!(kinds, ["delivered", "delivered"]);
    assert_eq!(log_lines(&server, &["webhook-replayed"]).len(), 1);
    assert_eq!(state(&server)["replay"], Value::Null);
}

#[test]
fn what_cannot_be_told_in_time_is_put_aside_counted_and_replayed() {
    let told = Told::new();
    told.web.answer(HOST, "/in", WebAnswer::status(500));
    let config = told.config().in_table("webhook", "give_up", "2s");
    let server = told.scene.start_trusting(config);
    send(&server, "bob@there.example");
    eventually("both events are put aside", SOON, || {
        state(&server).pointer("/put_aside/events") == Some(&json!(2))
    });
    let line = log_lines(&server, &["webhook-put-aside", "crm"]);
    assert!(!line.is_empty(), "{}", server.log());
    told.web.answer(HOST, "/in", WebAnswer::status(200));
    let before = told.web.requests().len();
    let aside = state(&server);
    let since = aside
        .pointer("/put_aside/since")
        .and_then(Value::as_str)
        .expect("a time");
    server.run(&["webhook", "retry", "crm"]);
    server.run(&["webhook", "replay", "crm", "--since", since]);
    eventually("they are told after all", SOON, || {
        let later: Vec<WebRequest> = told.web.requests().split_off(before);
        words(&all(&later)) == ["accepted bob@there.example", "delivered bob@there.example"]
    });
    eventually("nothing is aside any more", SOON, || {
        state(&server).pointer("/put_aside/events") == Some(&json!(0))
    });
}

#[test]
fn a_webhook_is_told_only_what_it_asks_for() {
    let told = Told::new();
    let _elsewhere = told.scene.world.domain("elsewhere.example");
    let config = told.config();
    let config = config
        .in_table("webhook", "events", ["delivered"])
        .in_table("webhook", "recipient_domains", ["there.example"])
        .in_table("webhook", "sender_domains", [".example"]);
    let server = told.scene.start_trusting(config);
    send(&server, "ann@elsewhere.example");
    send(&server, "bob@there.example");
    let events = all(&told.wait_for("/in", 1));
    eventually("all have ended", SOON, || queue(&server).is_empty());
    eventually("it has all", SOON, || state(&server)["unsent"] == 0);
    assert_eq!(words(&events), ["delivered bob@there.example"]);
    assert_eq!(all(&told.web.requests()).len(), 1);
}

#[test]
fn two_secrets_sign_while_one_takes_the_other_s_place_and_none_is_shown() {
    let told = Told::new();
    let mut server = told.start();
    let file = server.directory().join("hook.secrets");
    std::fs::write(&file, format!("# the next one\n{OTHER_SECRET}\n")).expect("a file");
    let file = file.display().to_string();
    server.reconfigure(|config| config.in_table("webhook", "secret_file", file));
    server.run(&["reload"]);
    send(&server, "bob@there.example");
    let requests = told.wait_for("/in", 2);
    assert_verified(&requests, SECRET);
    assert_verified(&requests, OTHER_SECRET);
    let shown = [
        server.run(&["check"]),
        server.run(&["webhook", "list", "--json"]),
        server.log(),
    ];
    for text in shown {
        assert!(
            !text.contains("MfKQ9r8") && !text.contains("C2FVsBQ"),
            "{text}"
        );
    }
    let made = server.run(&["webhook", "secret"]);
    assert!(made.starts_with("whsec_") && made.len() > 40, "{made}");
}

/// A server with a webhook that answers HTTP, and a key of an administrator.
fn with_http(told: &Told) -> (Sendoff, Web, Web) {
    let ca = told.scene.world.ca.write(told_dir().path());
    let roots = [ca.expect("a file").display().to_string()];
    let config = told.config().set("tls.extra_roots", roots);
    let (server, web) = Web::start(&told.scene, config);
    let admin = web.with_key(&server, "admin", &[]);
    (server, web, admin)
}

#[test]
fn a_webhook_is_tested_by_http() {
    let told = Told::new();
    told.web.answer(HOST, "/in", WebAnswer::text("well done"));
    let (server, web, admin) = with_http(&told);
    let tested = admin
        .post_json("/api/v1/webhooks/crm/test", &json!({}))
        .expect(200)
        .json();
    assert_eq!(tested["taken"], true);
    assert_eq!(tested["text"], "well done");
    let example = all(&told.web.requests());
    let example = example.first().expect("an event");
    assert!(text(example, "id").starts_with("test."));
    assert_eq!(example["test"], true, "{example}");
    let sender = web.with_key(&server, "send", &[]);
    sender.get("/api/v1/webhooks").expect(403);
}

#[test]
fn a_paused_webhook_waits_until_it_is_resumed() {
    let told = Told::new();
    let (server, _, admin) = with_http(&told);
    let post =
        |path: &str, body: Value| admin.post_json(&format!("/api/v1/webhooks/{path}"), &body);
    post("crm/pause", json!({})).expect(200);
    send(&server, "bob@there.example");
    eventually("it ended", SOON, || queue(&server).is_empty());
    let listed = || admin.get("/api/v1/webhooks").json();
    let unsent = || listed().pointer("/webhooks/0/unsent").cloned();
    eventually("its events wait", SOON, || unsent() == Some(json!(2)));
    assert_eq!(
        listed().pointer("/webhooks/0/state"),
        Some(&json!("paused"))
    );
    std::thread::sleep(A_WHILE);
    assert_eq!(told.web.requests().len(), 0, "a pause is a pause");
    post("crm/retry", json!({})).problem(409, "refused");
    post("other/pause", json!({})).problem(404, "unknown");
    post("crm/replay", json!({"since": "soon"})).problem(400, "bad-field");
    post("crm/replay", json!({"since": "2999-01-31T08:00:00Z"})).problem(409, "refused");
    post("crm/resume", json!({})).expect(200);
    told.wait_for("/in", 2);
    eventually("it has all", SOON, || unsent() == Some(json!(0)));
    let figures = admin.get("/metrics").text();
    assert!(
        figures.contains("sendoff_webhook_events_total{what=\"sent\"} 2"),
        "{figures}"
    );
}

fn told_dir() -> &'static lab::Scratch {
    static DIRECTORY: std::sync::OnceLock<lab::Scratch> = std::sync::OnceLock::new();
    DIRECTORY.get_or_init(lab::Scratch::new)
}

#[test]
fn events_are_listed_from_place_to_place_while_they_are_kept() {
    let scene = Scene::new();
    let _there = scene.world.domain("there.example");
    let config = scene.config().set("events.keep", "1h");
    let (mut server, web) = Web::start(&scene, config);
    let reader = web.with_key(&server, "read", &[]);
    server.send(
        SENDER,
        &["a@there.example", "b@there.example"],
        &mail("two"),
    );
    eventually("it ended", SOON, || queue(&server).is_empty());
    let mut after = 0;
    let mut seen = Vec::new();
    eventually("four events, two at a time", SOON, || {
        let page = reader
            .get(&format!("/api/v1/events?after={after}&limit=2"))
            .json();
        let events = page["events"].as_array().cloned().unwrap_or_default();
        after = page["last"].as_u64().unwrap_or(after);
        seen.extend(events.iter().map(|e| e["event"].clone()));
        seen.len() == 4
    });
    // A place that no event can have is refused, and so is one that none has had: the data was reset.
    let own = web.with_key(&server, "read-own", &[]);
    let last = reader.get("/api/v1/events").json()["last"].clone();
    assert_eq!(last, json!(after));
    let seen_by_own = own.get("/api/v1/events").json();
    assert_eq!(seen_by_own["events"], json!([]));
    assert_eq!(seen_by_own["last"], last, "it means the same for every key");
    for key in [&reader, &own] {
        let here = key.get(&format!("/api/v1/events?after={after}"));
        assert_eq!(here.expect(200).json()["last"], last);
        for beyond in [after + 1, 9_223_372_036_854_775_807] {
            let answer = key.get(&format!("/api/v1/events?after={beyond}"));
            let problem = answer.problem(409, "unknown-place");
            assert!(problem["remedy"].as_str().unwrap().contains("after=0"));
        }
    }
    let answer = reader.get("/api/v1/events?after=9223372036854775808");
    answer.problem(400, "bad-field");
    let told = words(&seen);
    assert_eq!(
        told.get(..2),
        Some(
            &[
                "accepted a@there.example".to_owned(),
                "accepted b@there.example".to_owned()
            ][..]
        )
    );
    let text = server.run(&["events", "--type", "delivered"]);
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.ends_with("\n2 events.\n"), "{text}");
    assert_eq!(reader.get("/api/v1/events?types=sent").status, 400);
    server.reconfigure(|config| config.set("events.keep", ""));
    server.run(&["reload"]);
    let refused = server.cli(&["events"]);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("events.keep"),
        "{refused:?}"
    );
    assert_eq!(reader.get("/api/v1/events").status, 409);
}
