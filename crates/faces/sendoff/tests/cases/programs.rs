//! What programs do by HTTP besides one mail at a time: their own mail alone, its status, many mails at once.

use lab::{Sendoff, Verb};
use serde_json::{Value, json};

use crate::scene::{SENDER, SOON, Scene, eventually, mail, queue};
use crate::web::Web;

const MESSAGES: &str = "/api/v1/messages";
const BATCH: &str = "/api/v1/messages/batch";

fn to(recipients: &Value) -> Value {
    json!({ "from": SENDER, "to": recipients, "subject": "Hello", "text": "Hello.\n" })
}

fn key(server: &Sendoff, web: &Web, name: &str, scopes: &str) -> Web {
    let secret = server.run(&["key", "add", name, "--scope", scopes]);
    web.with_secret(secret.trim())
}

fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}

/// What is at a place of the answer.
fn list(web: &Web, path: &str, name: &str) -> Vec<Value> {
    let answer = web.get(path).expect(200).json();
    let found = answer.get(name).and_then(Value::as_array);
    found.cloned().expect("a list")
}

fn status(web: &Web, id: &str) -> Value {
    web.get(&format!("{MESSAGES}/{id}")).expect(200).json()
}

/// Address and status of each recipient.
fn standing(status: &Value) -> Vec<String> {
    let recipients = status.get("recipients").and_then(Value::as_array);
    let one = |r: &Value| format!("{} {}", text(r, "/address"), text(r, "/status"));
    recipients.expect("recipients").iter().map(one).collect()
}

/// Submits a mail; its id.
fn sent(web: &Web, name: &str) -> String {
    let mail = to(&json!(format!("{name}@there.example")));
    text(&web.post_json(MESSAGES, &mail).expect(202).json(), "/id")
}

/// The same text of each entry of a list.
fn each(web: &Web, path: &str, name: &str, pointer: &str) -> String {
    let list = list(web, path, name);
    let texts: Vec<String> = list.iter().map(|entry| text(entry, pointer)).collect();
    texts.join(" ")
}

#[test]
fn a_key_that_submits_sees_its_own_mail_in_the_queue_and_nobody_else_s() {
    let scene = Scene::new();
    let (server, web) = Web::start(&scene, scene.config().set("outgoing.enabled", false));
    let shop = key(&server, &web, "shop", "send");
    let news = key(&server, &web, "news", "send");
    let all = key(&server, &web, "all", "read");
    let (own, other) = (sent(&shop, "own"), sent(&news, "other"));
    server.send(SENDER, &["third@there.example"], &mail("by SMTP"));
    eventually("all wait", SOON, || queue(&server).len() == 3);
    let waiting = |web: &Web, query: &str| {
        let path = format!("/api/v1/queue?{query}");
        let count = web.get(&path).expect(200).json()["count"].clone();
        let ids = each(web, &path, "recipients", "/id");
        assert_eq!(count, ids.split_whitespace().count());
        ids
    };
    assert_eq!(waiting(&shop, ""), own);
    assert_eq!(waiting(&shop, "filter=to:other"), "");
    assert_eq!(waiting(&shop, "filter=user:key=news"), "");
    assert_eq!(waiting(&all, "").split(' ').count(), 3);
    let looks = |web: &Web, id: &str| {
        let of = [
            format!("{MESSAGES}/{id}"),
            format!("/api/v1/queue/{id}"),
            format!("/api/v1/queue/{id}/trace"),
        ];
        of.map(|path| web.get(&path).status)
    };
    assert_eq!(looks(&shop, &own), [200; 3]);
    assert_eq!(looks(&shop, &other), [404; 3]);
    assert_eq!(looks(&all, &other), [200; 3]);
    // One of others is as unknown as one that never was.
    let detail = |id: &str| {
        let problem = shop
            .get(&format!("{MESSAGES}/{id}"))
            .problem(404, "unknown");
        text(&problem, "/detail").replace(id, "ID")
    };
    assert_eq!(detail(&other), detail("00000000001"));
    shop.get("/api/v1/sites").problem(403, "wrong-scope");
}

#[test]
fn a_key_that_submits_sees_its_own_history_and_events_and_nobody_else_s() {
    let scene = Scene::new();
    let _there = scene.world.domain("there.example");
    let (server, web) = Web::start(&scene, scene.config().set("events.keep", "1h"));
    let shop = key(&server, &web, "shop", "send");
    let news = key(&server, &web, "news", "send");
    let all = key(&server, &web, "all", "read");
    let (own, other) = (sent(&shop, "own"), sent(&news, "other"));
    server.send(SENDER, &["third@there.example"], &mail("by SMTP"));
    let history = |web: &Web, query: &str| {
        each(
            web,
            &format!("/api/v1/history?{query}"),
            "recipients",
            "/id",
        )
    };
    eventually("all are finished", SOON, || {
        history(&all, "").split(' ').count() == 3
    });
    assert_eq!(history(&shop, ""), own);
    assert_eq!(history(&shop, "user=key=news"), own);
    assert_eq!(history(&all, "user=key=news"), other);
    let events = |web: &Web| each(web, "/api/v1/events", "events", "/event/queue_id");
    assert_eq!(events(&all).split(' ').count(), 6);
    assert_eq!(events(&shop), format!("{own} {own}"));
    // A later key of the same name sees the same; it may not submit.
    server.run(&["key", "revoke", "shop"]);
    let later = key(&server, &web, "shop", "read-own");
    let standing = standing(&status(&later, &own));
    assert_eq!(standing, ["own@there.example delivered"]);
    let answer = later.post_json(MESSAGES, &to(&json!("x@there.example")));
    answer.problem(403, "wrong-scope");
}

#[test]
fn the_status_says_what_became_of_each_recipient() {
    let scene = Scene::new();
    let there = scene.world.domain("there.example");
    there.set(|b| {
        b.reply(Verb::Rcpt, "gone@", "550 5.1.1 no such user");
    });
    let (server, web) = Web::start(&scene, scene.config());
    let shop = key(&server, &web, "shop", "send");
    server.run(&["suppression", "add", "stop@there.example"]);
    let names = ["bob", "gone", "stop"].map(|n| format!("{n}@there.example"));
    let answer = shop
        .post_json(MESSAGES, &to(&json!(names)))
        .expect(202)
        .json();
    assert_eq!(
        answer.pointer("/recipients/2/accepted"),
        Some(&json!(false))
    );
    let id = text(&answer, "/id");
    let refused = |status: &Value| standing(status).pop();
    let now = status(&shop, &id);
    assert_eq!(refused(&now).unwrap(), "stop@there.example refused");
    assert_eq!(text(&now, "/subject"), "Hello");
    let expected = [
        "bob@there.example delivered",
        "gone@there.example failed",
        "stop@there.example refused",
    ];
    eventually("it is finished", SOON, || {
        standing(&status(&shop, &id)) == expected
    });
    let end = status(&shop, &id);
    assert!(
        text(&end, "/recipients/1/reply").contains("no such user"),
        "{end}"
    );
    assert!(
        text(&end, "/recipients/2/reply").starts_with("550 "),
        "{end}"
    );
    assert_eq!(text(&end, "/subject"), "Hello");
    let shown: Value =
        serde_json::from_str(&server.run(&["queue", "show", &id, "--json"])).unwrap();
    assert_eq!(text(&shown, "/refused/0/address"), "stop@there.example");
}

#[test]
fn many_mails_in_one_request_have_a_result_each() {
    let scene = Scene::new();
    let there = scene.world.domain("there.example");
    let (server, web) = Web::start(&scene, scene.config());
    let shop = key(&server, &web, "shop", "send");
    let mut mails: Vec<Value> = (0..500)
        .map(|n| to(&json!(format!("u{n}@there.example"))))
        .collect();
    *mails.get_mut(7).unwrap() = json!({ "from": SENDER, "to": "nobody", "text": "x" });
    *mails.get_mut(8).unwrap() = json!([SENDER]);
    *mails.get_mut(9).unwrap() =
        json!({ "from": SENDER, "to": "a@b.example", "text": "x", "tags": [7] });
    let request = json!({ "messages": mails });
    let repeated = shop.with_header("Idempotency-Key", "newsletter-1");
    let results = |answer: Value| {
        answer
            .get("results")
            .and_then(Value::as_array)
            .cloned()
            .unwrap()
    };
    let first = results(repeated.post_json(BATCH, &request).expect(200).json());
    assert_eq!(first.len(), 500);
    let field = |n: usize| text(first.get(n).unwrap(), "/problem/field");
    assert_eq!(
        [7, 8, 9].map(field),
        ["messages[7].to[0]", "messages[8]", "messages[9].tags[0]"]
    );
    let taken =
        |results: &[Value], status: u16| results.iter().filter(|r| r["status"] == status).count();
    assert_eq!((taken(&first, 202), taken(&first, 400)), (497, 3));
    assert_eq!(there.wait_for(497, SOON).len(), 497);
    // Repeated, it gives the same ids, and takes what is right now.
    *mails.get_mut(7).unwrap() = to(&json!("u7@there.example"));
    *mails.get_mut(0).unwrap() = to(&json!("another@there.example"));
    let request = json!({ "messages": mails });
    let again = results(repeated.post_json(BATCH, &request).expect(200).json());
    assert_eq!(
        (taken(&again, 200), taken(&again, 202), taken(&again, 422)),
        (496, 1, 1)
    );
    let id = |results: &[Value]| text(results.get(499).unwrap(), "/accepted/id");
    assert_eq!(id(&first), id(&again));
    eventually("it is sent", SOON, || {
        there.wait_for(498, SOON).len() == 498
    });
    mails.push(to(&json!("one@there.example")));
    shop.post_json(BATCH, &json!({ "messages": mails }))
        .problem(400, "bad-field");
    shop.post_json(BATCH, &json!({ "messages": [] }))
        .problem(400, "bad-field");
    let none = json!({ "messages": [{ "from": SENDER }] });
    let refused = results(shop.post_json(BATCH, &none).expect(422).json());
    assert_eq!(taken(&refused, 400), 1);
}

#[test]
fn a_mail_names_one_address_its_envelope_s_id_and_has_a_body() {
    let scene = Scene::new();
    let config = scene
        .config()
        .set("events.keep", "1h")
        .set("outgoing.enabled", false);
    let (server, web) = Web::start(&scene, config);
    let shop = key(&server, &web, "shop", "send");
    let mut mail = to(&json!("Bob <bob@there.example>"));
    mail["envid"] = json!("order=7+x");
    shop.post_json(MESSAGES, &mail).expect(202);
    let envids = || {
        let events = list(&shop, "/api/v1/events", "events");
        events
            .iter()
            .map(|e| text(e, "/event/envid"))
            .collect::<Vec<_>>()
    };
    eventually("its event is kept", SOON, || envids() == ["order+3D7+2Bx"]);
    for (wrong, field) in [
        (json!({ "from": SENDER, "to": "a@b.example" }), "text"),
        (
            json!({ "from": SENDER, "to": "a@b.example", "text": "x", "envid": "a b" }),
            "envid",
        ),
        (
            json!({ "from": SENDER, "to": "a@b.example", "text": "x", "envid": "" }),
            "envid",
        ),
        (json!({ "from": SENDER, "to": 7, "text": "x" }), "to"),
        (
            json!({ "from": SENDER, "to": "a@b.example", "text": "x", "cc": "" }),
            "cc[0]",
        ),
    ] {
        let problem = shop.post_json(MESSAGES, &wrong).problem(400, "bad-field");
        assert_eq!(text(&problem, "/field"), field, "{problem}");
    }
    let empty = json!({ "from": SENDER, "to": "a@b.example", "text": "" });
    shop.post_json(MESSAGES, &empty).expect(202);
}

#[test]
fn a_key_gets_a_new_secret_without_an_outage_and_another_sees_its_mail() {
    let scene = Scene::new();
    let config = scene.config().set("outgoing.enabled", false);
    let (server, web) = Web::start(&scene, config);
    let old = key(&server, &web, "shop", "send");
    let arguments = ["key", "add", "eye", "--scope", "read-own", "--for", "shop"];
    let eye = web.with_secret(server.run(&arguments).trim());
    let new = web.with_secret(server.run(&["key", "rotate", "shop"]).trim());
    let mail = json!({ "from": SENDER, "to": "a@b.example", "text": "x" });
    for web in [&old, &new] {
        web.post_json(MESSAGES, &mail).expect(202);
    }
    let listed = server.run(&["key", "list"]);
    assert!(
        listed.contains("shop  send  two secrets are valid since 2"),
        "{listed}"
    );
    assert!(listed.contains("eye  read-own  for shop\n"), "{listed}");
    for web in [&old, &new, &eye] {
        let queue = web.get("/api/v1/queue").expect(200).json();
        assert_eq!(queue["count"], 2, "{queue}");
    }
    eye.post_json(MESSAGES, &mail).problem(403, "wrong-scope");
    server.run(&["key", "rotate", "shop", "--finish"]);
    old.post_json(MESSAGES, &mail).problem(401, "wrong-key");
    new.post_json(MESSAGES, &mail).expect(202);
    assert!(server.run(&["key", "list"]).contains("shop  send\n"));
}
