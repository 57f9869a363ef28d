//! Mail and verbs by HTTP.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lab::Sendoff;
use serde_json::{Value, json};

use crate::scene::{SENDER, SOON, Scene, eventually, mail, queue};
use crate::web::Web;

const MESSAGES: &str = "/api/v1/messages";

/// What Python's `email` package finds in a mail.
const READ_MAIL: &str = r#"
import email, email.policy, json, sys
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
def shape(p):
    t = p.get_content_type()
    if p.is_multipart():
        return [t, [shape(x) for x in p.iter_parts()]]
    c = p.get_content()
    return [t, c if isinstance(c, str) else list(c), p.get_filename(), p["content-id"]]
print(json.dumps({
    "headers": {k.lower(): str(v) for k, v in m.items()},
    "shape": shape(m),
    "defects": [repr(d) for p in m.walk() for d in p.defects],
}))
"#;

fn read_mail(content: &[u8]) -> Value {
    let mut python = Command::new("python3")
        .args(["-c", READ_MAIL])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut stdin = python.stdin.take().expect("a pipe to python3");
    stdin.write_all(content).expect("python3 reads");
    drop(stdin);
    let output = python.wait_with_output().expect("python3 ends");
    serde_json::from_slice(&output.stdout).expect("JSON from python3")
}

fn hello(to: &str) -> Value {
    json!({ "from": SENDER, "to": [to], "subject": "Hello", "text": "Hello." })
}

/// A server that keeps what it is given.
fn keeping(scene: &Scene) -> (Sendoff, Web) {
    Web::start(scene, scene.config().set("outgoing.enabled", false))
}

/// Octets that are no text.
const PICTURE: [u8; 6] = [0, 255, 137, 80, 78, 71];

/// A mail with everything that a mail can have.
fn everything() -> Value {
    json!({
        "from": "\"Ännchen, A\" <ann@origin.example>",
        "to": ["Bob <bob@there.example>", "eve@there.example"],
        "cc": ["eve@there.example"],
        "bcc": ["secret@there.example"],
        "reply_to": ["answers@origin.example"],
        "subject": "Grüße aus Köln, und zwar recht viele, damit die Zeile gefaltet werden muss: ä ö ü",
        "text": "Hallo.\n.\nFrom here, ü.\n",
        "html": "<p>Hallo <img src=\"cid:pic1\"></p>",
        "attachments": [
            { "filename": "pic.png", "content_type": "image/png", "content_id": "pic1",
              "content": STANDARD.encode(PICTURE) },
            { "filename": "Größe.bin", "content": STANDARD.encode([1u8, 2, 3]) }
        ],
        "headers": { "List-Unsubscribe": "<https://origin.example/u?x=1>", "X-Grosse": "groß" },
        "envelope_from": "bounces@origin.example",
        "notify": ["failure"],
        "ret": "headers"
    })
}

#[test]
fn a_mail_in_json_goes_to_whom_it_names() {
    let scene = Scene::new();
    let host = scene.world.domain("there.example");
    let (server, web) = Web::start(&scene, scene.config());
    let web = web.with_key(&server, "send", &[]);
    let mail = everything();
    let answer = web.post_json(MESSAGES, &mail).expect(202).json();
    assert_eq!(answer["duplicate"], false);
    let accepted: Vec<(&str, bool)> = answer["recipients"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["address"].as_str().unwrap(), r["accepted"] == true))
        .collect();
    let expected = ["bob", "eve", "secret"].map(|n| format!("{n}@there.example"));
    assert_eq!(accepted, expected.each_ref().map(|a| (a.as_str(), true)));
    let received = host.wait_for(1, SOON);
    let received = received.first().unwrap();
    assert_eq!(received.sender, "bounces@origin.example");
    assert_eq!(
        received.addresses(),
        expected.each_ref().map(String::as_str)
    );
    assert!(!received.text().contains("secret@"), "{}", received.text());
    let id = answer["id"].as_str().unwrap();
    let line = server.wait_for_log(&[" accepted ", id], SOON).unwrap();
    assert!(
        line.contains("via=http") && line.contains("user=key=key-send"),
        "{line}"
    );
}

#[test]
fn a_mail_in_json_has_the_structure_that_it_asks_for() {
    let scene = Scene::new();
    let host = scene.world.domain("there.example");
    let (server, web) = Web::start(&scene, scene.config());
    let web = web.with_key(&server, "send", &[]);
    web.post_json(MESSAGES, &everything()).expect(202);
    let received = host.wait_for(1, SOON);
    let read = read_mail(&received.first().unwrap().content);
    assert_eq!(read["defects"], json!([]));
    let headers = &read["headers"];
    assert_eq!(headers["subject"], everything()["subject"]);
    assert_eq!(headers["from"], "\"Ännchen, A\" <ann@origin.example>");
    assert_eq!(headers["to"], "Bob <bob@there.example>, eve@there.example");
    assert_eq!(headers["cc"], "eve@there.example");
    assert_eq!(headers["reply-to"], "answers@origin.example");
    assert_eq!(
        headers["list-unsubscribe"],
        "<https://origin.example/u?x=1>"
    );
    assert_eq!(headers["x-grosse"], "groß");
    assert!(
        headers["message-id"]
            .as_str()
            .unwrap()
            .ends_with("@sendoff.lab>")
    );
    assert_eq!(
        read["shape"],
        json!([
            "multipart/mixed",
            [
                [
                    "multipart/alternative",
                    [
                        ["text/plain", "Hallo.\r\n.\r\nFrom here, ü.\r\n", null, null],
                        [
                            "multipart/related",
                            [
                                [
                                    "text/html",
                                    "<p>Hallo <img src=\"cid:pic1\"></p>",
                                    null,
                                    null
                                ],
                                ["image/png", PICTURE, "pic.png", "<pic1>"]
                            ]
                        ]
                    ]
                ],
                ["application/octet-stream", [1, 2, 3], "Größe.bin", null]
            ]
        ])
    );
}

#[test]
fn a_whole_mail_goes_to_whom_it_names_and_bcc_is_taken_out() {
    let scene = Scene::new();
    let host = scene.world.domain("there.example");
    let (server, web) = Web::start(&scene, scene.config());
    let web = web.with_key(&server, "send", &[]);
    let mail = format!(
        "From: Ann <{SENDER}>\nTo: Team: bob@there.example, \"E, E\" <eve@there.example>;\n\
         Bcc: secret@there.example\nSubject: whole\n\nHello.\n"
    );
    web.post(MESSAGES, "message/rfc822", mail.as_bytes())
        .expect(202);
    let received = host.wait_for(1, SOON);
    let received = received.first().unwrap();
    assert_eq!(received.sender, SENDER);
    let expected = [
        "bob@there.example",
        "eve@there.example",
        "secret@there.example",
    ];
    assert_eq!(received.addresses(), expected);
    assert!(!received.text().contains("secret@"), "{}", received.text());
    assert!(
        received
            .text()
            .ends_with("Subject: whole\r\n\r\nHello.\r\n")
    );
    let path = format!("{MESSAGES}?from=&to=x@there.example&to=y%40there.example");
    web.post(&path, "message/rfc822", mail.as_bytes())
        .expect(202);
    let received = host.wait_for(2, SOON);
    let second = received.get(1).unwrap();
    assert_eq!(second.sender, "");
    assert_eq!(second.addresses(), ["x@there.example", "y@there.example"]);
}

#[test]
fn a_whole_binary_mail_keeps_every_octet_of_its_body() {
    let scene = Scene::new();
    let host = scene.world.domain("there.example");
    host.set(|b| {
        b.extensions(&["CHUNKING", "BINARYMIME", "8BITMIME"]);
    });
    let (server, web) = Web::start(&scene, scene.config());
    let web = web.with_key(&server, "send", &[]);
    let head = format!("From: <{SENDER}>\r\nTo: <bob@there.example>\r\n\r\n");
    let body = b"a\nb\rc\0\xff\r\n.\r\nend";
    let mail = [head.as_bytes(), body].concat();
    let path = format!("{MESSAGES}?body_type=BINARYMIME");
    web.post(&path, "message/rfc822", &mail).expect(202);
    let received = host.wait_for(1, SOON);
    let first = received.first().unwrap();
    assert!(
        first.content.ends_with(&mail[head.len() - 2..]),
        "{first:?}"
    );
    assert!(first.mail_params.contains("BODY=BINARYMIME"));
    // In lines where nothing is said, and what is no text encoded.
    web.post(MESSAGES, "message/rfc822", &mail).expect(202);
    let received = host.wait_for(2, SOON);
    let second = received.get(1).unwrap();
    let encoded = STANDARD.encode(b"a\r\nb\r\nc\0\xff\r\n.\r\nend\r\n");
    let end = format!("\r\n\r\n{encoded}\r\n");
    assert!(second.content.ends_with(end.as_bytes()), "{second:?}");
    for (query, field) in [
        ("body_type=QUATERNARY", "body_type"),
        ("body=QUATERNARY", "body"),
        ("body=7BIT&body_type=7BIT", "body_type"),
    ] {
        let answer = web.post(&format!("{MESSAGES}?{query}"), "message/rfc822", &mail);
        assert_eq!(answer.problem(400, "bad-field")["field"], field);
    }
    // As builds before had it.
    let lf = mail
        .iter()
        .copied()
        .filter(|b| *b != b'\r')
        .collect::<Vec<u8>>();
    let path = format!("{MESSAGES}?body=BINARYMIME");
    web.post(&path, "message/rfc822", &lf)
        .problem(422, "refused");
}

#[test]
fn the_same_request_is_one_mail_also_when_many_come_at_once() {
    let scene = Scene::new();
    let (server, web) = keeping(&scene);
    let web = web.with_key(&server, "send", &[]);
    let once = web.with_header("Idempotency-Key", "order-1");
    let threads: Vec<_> = (0..12)
        .map(|_| {
            let once = once.clone();
            thread::spawn(move || once.post_json(MESSAGES, &hello("bob@b.example")))
        })
        .collect();
    let answers: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    let fresh = answers.iter().filter(|a| a.status == 202).count();
    let again = answers.iter().filter(|a| a.status == 200).count();
    assert_eq!((fresh, again), (1, 11));
    let id = answers[0].json()["id"].clone();
    assert!(answers.iter().all(|a| a.json()["id"] == id));
    assert_eq!(queue(&server).len(), 1);
    let other = once.post_json(MESSAGES, &hello("eve@b.example"));
    assert_eq!(
        other.problem(422, "idempotency-conflict")["field"],
        "Idempotency-Key"
    );
    // Another key's requests are its own.
    let stranger = web.with_key(&server, "send,read", &[]);
    let stranger = stranger.with_header("Idempotency-Key", "order-1");
    stranger
        .post_json(MESSAGES, &hello("eve@b.example"))
        .expect(202);
    assert_eq!(queue(&server).len(), 2);
    for bad in ["", "a b", &"x".repeat(256)] {
        let answer = web
            .with_header("Idempotency-Key", bad)
            .post_json(MESSAGES, &hello("eve@b.example"));
        assert_eq!(answer.problem(400, "bad-field")["field"], "Idempotency-Key");
    }
}

#[test]
fn a_request_repeated_over_kills_is_one_mail() {
    let scene = Scene::new();
    let (mut server, web) = keeping(&scene);
    let web = web.with_key(&server, "send", &[]);
    for round in 0..8u64 {
        let once = web.with_header("Idempotency-Key", &format!("round-{round}"));
        let asking = once.clone();
        let thread = thread::spawn(move || {
            let body = hello("bob@b.example").to_string();
            asking.ask("POST", MESSAGES, "application/json", body.as_bytes())
        });
        // Each round the server dies at another moment: before, within or behind the request.
        thread::sleep(Duration::from_millis(round));
        server.kill9();
        let first = thread.join().unwrap();
        server.restart();
        let second = once.post_json(MESSAGES, &hello("bob@b.example"));
        assert!([200, 202].contains(&second.status), "{}", second.text());
        if let Ok(first) = first {
            assert_eq!((first.status, second.status), (202, 200));
            assert_eq!(first.json()["id"], second.json()["id"]);
        }
        assert_eq!(queue(&server).len() as u64, round + 1);
    }
    let other = web
        .with_header("Idempotency-Key", "round-0")
        .post_json(MESSAGES, &hello("eve@b.example"));
    other.problem(422, "idempotency-conflict");
}

#[test]
fn nobody_gets_in_without_the_right_key() {
    let scene = Scene::new();
    let (server, nobody) = keeping(&scene);
    let answer = nobody.get("/api/v1/queue").expect(401);
    let ask = answer.header("www-authenticate").unwrap().to_owned();
    assert!(ask.starts_with("Bearer"), "{ask}");
    answer.problem(401, "no-key");
    let wrong = nobody.with_secret("sendoff_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    wrong.get("/api/v1/queue").problem(401, "wrong-key");
    let refused = server.wait_for_log(&[" http ", "not valid"], SOON).unwrap();
    assert!(!refused.contains("sendoff_"), "{refused}");
    let sender = nobody.with_key(
        &server,
        "send",
        &["--senders", "origin.example,me@x.example"],
    );
    let reader = nobody.with_key(&server, "read", &[]);
    let admin = nobody.with_key(&server, "admin", &[]);
    sender.get("/api/v1/sites").problem(403, "wrong-scope");
    reader.get("/api/v1/queue").expect(200);
    admin.get("/api/v1/queue").expect(200);
    for web in [&reader, &admin] {
        let answer = web.post_json(MESSAGES, &hello("bob@b.example"));
        answer.problem(403, "wrong-scope");
    }
    let all = json!({ "all": true });
    let hold = "/api/v1/queue/actions/hold";
    reader.post_json(hold, &all).problem(403, "wrong-scope");
    admin.post_json(hold, &all).expect(200);
    sender
        .post_json(MESSAGES, &hello("bob@b.example"))
        .expect(202);
    let mut mail = hello("bob@b.example");
    mail["from"] = json!("me@x.example");
    sender.post_json(MESSAGES, &mail).expect(202);
    for (field, value) in [("from", "you@x.example"), ("envelope_from", "a@b.example")] {
        let mut mail = hello("bob@b.example");
        mail[field] = json!(value);
        sender
            .post_json(MESSAGES, &mail)
            .problem(403, "wrong-sender");
    }
    let forged = format!("From: {SENDER}\r\nSender: a@b.example\r\nTo: b@b.example\r\n\r\n");
    let answer = sender.post(MESSAGES, "message/rfc822", forged.as_bytes());
    answer.problem(403, "wrong-sender");
    // A key taken away is of no use from now on.
    server.run(&["key", "revoke", "key-read"]);
    reader.get("/api/v1/queue").problem(401, "wrong-key");
    let listed = server.run(&["key", "list"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(!listed.contains("sendoff_"), "{listed}");
}

#[test]
fn requests_for_another_host_are_refused() {
    let scene = Scene::new();
    let config = scene.config().set("console.hosts", ["console.example"]);
    let (_server, web) = Web::start(&scene, config);
    for (host, status) in [
        ("sendoff.lab", 200),
        ("console.example:443", 200),
        ("localhost", 200),
        ("[::1]:8025", 200),
        ("evil.example", 421),
        ("10.1.2.3", 421),
    ] {
        let web = web.with_header("Host", host);
        web.get("/api/v1/openapi.json").expect(status);
    }
}

/// Mails that cannot be meant, each with the field that is wrong.
fn wrong_mails() -> Vec<(Value, &'static str)> {
    vec![
        (json!({ "to": ["a@b.example"] }), "from"),
        (
            json!({ "from": SENDER, "attachments": [{ "filename": "a" }] }),
            "attachments[0].content",
        ),
        (json!({ "from": SENDER, "to": ["a@b.example", 7] }), "to[1]"),
        (
            json!({ "from": SENDER, "to": ["a@b.example", "nobody"] }),
            "to[1]",
        ),
        (json!({ "from": "nobody", "to": ["a@b.example"] }), "from"),
        (json!({ "from": SENDER }), "to"),
        (
            json!({ "from": SENDER, "to": ["a@b.example"], "tekst": "x" }),
            "tekst",
        ),
        (
            json!({ "from": SENDER, "to": ["a@b.example"], "subject": "a\r\nBcc: x@y.example" }),
            "subject",
        ),
        (
            json!({ "from": SENDER, "to": ["\"a\nb\" <a@b.example>"] }),
            "to[0]",
        ),
        (
            json!({ "from": SENDER, "to": ["a@b.example"], "headers": { "Content-Type": "x" } }),
            "headers.Content-Type",
        ),
        (
            json!({ "from": SENDER, "to": ["a@b.example"], "headers": { "X": "a\nb" } }),
            "headers.X",
        ),
        (
            json!({ "from": SENDER, "to": ["a@b.example"], "notify": ["never", "delay"] }),
            "notify",
        ),
        (
            json!({ "from": SENDER, "to": ["a@b.example"],
                 "attachments": [{ "filename": "a", "content": "%%" }] }),
            "attachments[0].content",
        ),
        (
            json!({ "from": SENDER, "to": ["a@b.example"],
                 "attachments": [{ "filename": "a", "content": "", "content_type": "x" }] }),
            "attachments[0].content_type",
        ),
    ]
}

#[test]
fn what_is_wrong_with_a_mail_is_named() {
    let scene = Scene::new();
    let config = scene
        .config()
        .set("outgoing.enabled", false)
        .set("outgoing.max_message_size", "100kB")
        .set("local.domains", ["here.example"]);
    let (server, web) = Web::start(&scene, config);
    let web = web.with_key(&server, "send", &[]);
    for (mail, field) in wrong_mails() {
        let problem = web.post_json(MESSAGES, &mail).problem(400, "bad-field");
        assert_eq!(problem["field"], field, "{mail}: {problem}");
    }
    let answer = web.post(MESSAGES, "application/json", b"{ \"from\": ");
    answer.problem(400, "bad-json");
    web.post(MESSAGES, "text/plain", b"Hello")
        .problem(415, "wrong-type");
    let mut large = hello("a@b.example");
    large["text"] = json!("x".repeat(100_000));
    web.post_json(MESSAGES, &large).problem(413, "too-large");
    // The answer is heard also by a client that sends everything first.
    large["text"] = json!("x".repeat(20_000_000));
    web.post_json(MESSAGES, &large).problem(413, "too-large");
    let wrong = web.with_secret("sendoff_x");
    wrong.post_json(MESSAGES, &large).problem(401, "wrong-key");
    // What is said to be too large is refused before it is sent.
    let announced = web.with_header("Content-Length", "100001");
    announced
        .post(MESSAGES, "application/json", b"{")
        .problem(413, "too-large");
    let chunked = web
        .with_header("Content-Length", "0")
        .with_header("Transfer-Encoding", "chunked");
    let refused = chunked.post(MESSAGES, "application/json", b"0\r\n\r\n");
    assert!(refused.status >= 400, "two lengths are a way to smuggle");
    let nobody = web.post_json(MESSAGES, &hello("a@here.example"));
    assert!(nobody.text().contains("here.example"), "{}", nobody.text());
    assert!(matches!(nobody.status, 422 | 503), "{}", nobody.text());
    let to = ["a@here.example", "b@b.example"];
    let mixed = json!({ "from": SENDER, "to": to, "text": "x" });
    let answer = web.post_json(MESSAGES, &mixed).expect(202).json();
    assert_eq!(answer["recipients"][0]["accepted"], false, "{answer}");
    assert!(answer["recipients"][0]["code"].as_u64().unwrap() >= 400);
    assert_eq!(
        answer["recipients"][0]["refusal"], "no-mailboxes",
        "{answer}"
    );
    assert_eq!(answer["recipients"][1]["accepted"], true);
    assert_eq!(queue(&server).len(), 1);
}

#[test]
fn every_verb_works_by_http_as_by_command() {
    let scene = Scene::new();
    let (mut server, web) = keeping(&scene);
    let web = web.with_key(&server, "send,admin", &[]);
    for to in ["a@one.example", "b@two.example", "c@two.example"] {
        web.post_json(MESSAGES, &hello(to)).expect(202);
    }
    let list = web.get("/api/v1/queue?filter=domain:two.example&limit=1&sort=domain");
    let list = list.expect(200).json();
    assert_eq!(list["count"], 2);
    assert_eq!(list["recipients"].as_array().unwrap().len(), 1);
    assert_eq!(list["recipients"][0]["domain"], "two.example");
    let id = list["recipients"][0]["id"].as_str().unwrap().to_owned();
    let shown = web.get(&format!("/api/v1/queue/{id}")).expect(200).json();
    let command: Value =
        serde_json::from_str(&server.run(&["queue", "show", &id, "--json"])).unwrap();
    assert_eq!(shown, command);
    web.get(&format!("/api/v1/queue/{id}/trace")).expect(200);
    let content = web.get(&format!("/api/v1/queue/{id}/content")).expect(200);
    assert_eq!(content.header("content-type"), Some("message/rfc822"));
    assert_eq!(content.text(), server.run(&["queue", "export", &id]));
    let act = |verb: &str, body: &Value| {
        let path = format!("/api/v1/queue/actions/{verb}");
        web.post_json(&path, body)
    };
    let two = json!({ "filter": "domain:two.example", "preview": true });
    assert_eq!(act("hold", &two).expect(200).json(), json!({ "count": 2 }));
    assert!(queue(&server).iter().all(|r| r["state"] == "waiting"));
    let two = json!({ "filter": "domain:two.example" });
    assert_eq!(act("hold", &two).expect(200).json()["changed"], 2);
    let who = ["verb=hold", "who=key=key-send-admin"];
    assert!(server.wait_for_log(&who, SOON).is_some());
    assert_eq!(
        act("release", &json!({ "ids": [id] })).expect(200).json()["changed"],
        1
    );
    act("retry", &json!({ "all": true })).expect(200);
    assert_eq!(
        act("remove", &json!({ "all": true })).expect(200).json()["changed"],
        3
    );
    act("hold", &json!({})).problem(400, "bad-field");
    act("hold", &json!({ "all": true, "ids": [] })).problem(400, "bad-field");
    let problem = act("hold", &json!({ "filter": "nonsense:x" })).problem(400, "bad-field");
    assert_eq!(problem["field"], "filter");
    act("explode", &json!({ "all": true })).problem(404, "unknown-verb");
    web.get("/api/v1/queue/00000000000").problem(404, "unknown");
    web.get("/api/v1/queue/xyz").problem(400, "bad-field");
    let problem = web
        .get("/api/v1/queue?limit=many")
        .problem(400, "bad-field");
    assert_eq!(problem["field"], "limit", "{problem}");
    web.get("/api/v1/queue?limit=10001")
        .problem(400, "bad-field");
    web.get("/api/v1/nothing").problem(404, "unknown-path");
    let answer = web.ask("DELETE", "/api/v1/queue", "", b"").unwrap();
    assert_eq!(answer.header("allow"), Some("GET,HEAD"));
    answer.problem(405, "wrong-method");
    web.post("/api/v1/sites/two.example/pause", "", b"")
        .expect(200);
    let sites = web.get("/api/v1/sites").expect(200).json();
    assert_eq!(sites["paused"], json!(["two.example"]));
    web.post("/api/v1/sites/two.example/resume", "", b"")
        .expect(200);
    web.post("/api/v1/sites/..%20/pause", "", b"")
        .problem(400, "bad-field");
    assert_eq!(web.get("/api/v1/stats").expect(200).json()["accepted"], 3);
    web.post("/api/v1/reload", "", b"").expect(200);
    server.reconfigure(|config| config.set("outgoing.mode", "nonsense"));
    web.post("/api/v1/reload", "", b"")
        .problem(409, "not-reloaded");
}

#[test]
fn the_document_names_every_path_and_its_key() {
    let scene = Scene::new();
    let (server, web) = keeping(&scene);
    let document = web.get("/api/v1/openapi.json").expect(200).json();
    let printed: Value = serde_json::from_str(&server.run(&["openapi"])).unwrap();
    assert_eq!(document, printed);
    assert_eq!(document["openapi"], "3.1.0");
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let free = !path.starts_with("/api/") || path.ends_with("openapi.json");
            assert_eq!(operation["security"].is_null(), free, "{method} {path}");
            if free {
                continue;
            }
            let path = path
                .replace("{id}", "00000000000")
                .replace("{domain}", "x.example");
            let path = path.replace("{verb}", "hold");
            let answer = web.ask(&method.to_uppercase(), &path, "", b"").unwrap();
            answer.problem(401, "no-key");
        }
    }
}

/// The value of a metric.
fn metric(text: &str, name: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    let value = line.and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[test]
fn figures_and_health_are_for_those_who_watch() {
    let scene = Scene::new();
    let host = scene.world.domain("there.example");
    let (server, web) = Web::start(&scene, scene.config());
    server.send(SENDER, &["bob@there.example"], &mail("a case"));
    assert_eq!(host.wait_for(1, SOON).len(), 1);
    let delivered = server.wait_for_log(&[" delivered ", "bob@there.example"], SOON);
    assert!(delivered.is_some());
    web.get("/healthz").expect(200);
    web.get("/readyz").expect(200);
    let answer = web.get("/metrics").expect(200);
    let kind = answer.header("content-type").unwrap();
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    let text = answer.text();
    assert_eq!(metric(&text, "sendoff_messages_accepted_total"), 1.0);
    assert_eq!(
        metric(&text, "sendoff_outcomes_total{outcome=\"delivered\"}"),
        1.0
    );
    assert_eq!(metric(&text, "sendoff_delivery_delay_seconds_count"), 1.0);
    assert_eq!(metric(&text, "sendoff_ready"), 1.0);
    assert!(!text.contains("there.example"));
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn a_server_that_refuses_mail_is_not_ready() {
    let scene = Scene::new();
    // More than any disk has.
    let config = scene.config().set("queue.reserve", "1000000000GB");
    let (_server, web) = Web::start(&scene, config);
    let problem = web.get("/readyz").problem(503, "not-ready");
    assert!(
        problem["detail"].as_str().unwrap().contains("disk"),
        "{problem}"
    );
    web.get("/healthz").expect(200);
    assert_eq!(
        metric(&web.get("/metrics").expect(200).text(), "sendoff_ready"),
        0.0
    );
}

#[test]
fn a_server_whose_history_is_held_by_another_program_says_so() {
    let scene = Scene::new();
    let host = scene.world.domain("there.example");
    let (server, web) = Web::start(&scene, scene.config());
    web.get("/readyz").expect(200);
    let file = server.directory().join("data/spool/history.db");
    let other = rusqlite::Connection::open(file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    server.send(SENDER, &["bob@there.example"], &mail("a case"));
    assert_eq!(
        host.wait_for(1, SOON).len(),
        1,
        "mail is delivered all the same"
    );
    // SQLite waits for the other program, for some seconds.
    let said = server.wait_for_log(&[" error ", "cannot be written", "locked"], 2 * SOON);
    assert!(said.is_some(), "{}", server.log());
    let problem = web.get("/readyz").problem(503, "not-ready");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("history"), "{detail}");
    let stats = server.run(&["stats", "--json"]);
    assert!(stats.contains("cannot be written"), "{stats}");
    other.execute_batch("COMMIT").unwrap();
    let ended = server.wait_for_log(&[" written-again "], 2 * SOON);
    assert!(ended.is_some(), "{}", server.log());
    web.get("/readyz").expect(200);
    let log = server.log();
    let told = log
        .matches("cannot be written; deliveries continue")
        .count();
    assert_eq!(told, 1, "{log}");
}

#[test]
fn figures_are_not_for_everybody() {
    let scene = Scene::new();
    let config = scene
        .config()
        .set("console.metrics_networks", ["192.0.2.0/24"]);
    let (_server, web) = Web::start(&scene, config);
    for path in ["/metrics", "/healthz", "/readyz"] {
        web.get(path).problem(403, "wrong-network");
    }
}

#[test]
fn a_mail_in_json_is_sent_at_its_time_or_comes_back_behind_it() {
    let scene = Scene::new();
    let host = scene.world.domain("there.example");
    let (server, web) = Web::start(&scene, scene.config());
    let web = web.with_key(&server, "send,admin", &[]);
    let mail = |more: Value| {
        let mut mail = json!({
            "from": "ann@origin.example", "to": ["bob@there.example"], "subject": "x", "text": "x"
        });
        let fields = mail.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        mail
    };
    let in_days = |days: u64| (now() + Duration::from_secs(days * 86_400)).to_string();
    let later = mail(json!({ "send_at": in_days(50), "priority": 3 }));
    let id = web.post_json(MESSAGES, &later).expect(202).json();
    let waiting = queue(&server).remove(0);
    assert_eq!(waiting["id"], id["id"]);
    assert_eq!(
        waiting["reason"],
        "its first attempt is scheduled for later"
    );
    for (field, value) in [
        ("send_at", json!(in_days(61))),
        ("send_at", json!("tomorrow")),
        ("deliver_by", json!("2020-01-01T00:00:00Z")),
        ("priority", json!(10)),
    ] {
        let wrong = mail(json!({ field: value }));
        let problem = web.post_json(MESSAGES, &wrong).problem(400, "bad-field");
        assert_eq!(problem["field"], field, "{problem}");
    }
    assert!(host.received().is_empty());
}

fn now() -> mail::Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    mail::Timestamp::from_secs(since.expect("a clock behind 1970").as_secs())
}

#[test]
fn a_refused_recipient_says_why_to_programs_and_no_command_to_users() {
    let scene = Scene::new();
    let (server, web) = keeping(&scene);
    let web = web.with_key(&server, "send", &[]);
    server.run(&["suppression", "add", "gone@b.example"]);
    let alone = web.post_json(MESSAGES, &hello("gone@b.example"));
    let alone = alone.problem(422, "refused");
    let to = ["gone@b.example", "bob@b.example"];
    let mixed = json!({ "from": SENDER, "to": to, "text": "x" });
    let mixed = web.post_json(MESSAGES, &mixed).expect(202).json();
    let url = format!("{MESSAGES}/{}", mixed["id"].as_str().unwrap());
    let status = web.get(&url).expect(200).json();
    assert_eq!(alone["recipients"].as_array().unwrap().len(), 1, "{alone}");
    for answer in [&alone, &mixed] {
        let gone = &answer["recipients"][0];
        assert_eq!(gone["address"], "gone@b.example", "{answer}");
        assert_eq!(gone["refusal"], "suppressed", "{answer}");
        assert_eq!(gone["code"], 550, "{answer}");
    }
    assert_eq!(status["recipients"][1]["refusal"], "suppressed", "{status}");
    for answer in [alone, mixed, status] {
        let text = answer.to_string();
        assert!(text.contains("suppression list (since"), "{text}");
        assert!(!text.contains("sendoff suppression"), "{text}");
    }
}

#[test]
fn null_is_as_good_as_absent_in_every_body() {
    let scene = Scene::new();
    let (server, web) = keeping(&scene);
    let web = web.with_key(&server, "send,admin", &[]);
    let all = [
        "cc",
        "bcc",
        "reply_to",
        "subject",
        "html",
        "attachments",
        "headers",
        "tags",
        "metadata",
        "envelope_from",
        "notify",
        "ret",
        "envid",
        "send_at",
        "deliver_by",
        "priority",
        "require_tls",
    ];
    let mut mail = hello("bob@b.example");
    for name in all {
        mail[name] = Value::Null;
    }
    web.post_json(MESSAGES, &mail).expect(202);
    let batch = json!({ "messages": [mail] });
    let results = web.post_json("/api/v1/messages/batch", &batch).expect(200);
    assert_eq!(results.json()["results"][0]["status"], 202);
    mail["metadata"] = json!({ "order": null, "a": "b" });
    mail["attachments"] =
        json!([{ "filename": "a", "content": "", "content_type": null, "content_id": null }]);
    web.post_json(MESSAGES, &mail).expect(202);
    let act = json!({ "all": true, "ids": null, "filter": null, "preview": null, "at": null, "to": null });
    web.post_json("/api/v1/queue/actions/hold", &act)
        .expect(200);
    let unknown = json!({ "all": true, "preview": null, "what": null });
    let problem = web.post_json("/api/v1/queue/actions/hold", &unknown);
    assert_eq!(problem.problem(400, "bad-field")["field"], "what");
    let one = json!({ "recipient": "gone@b.example", "reason": null, "cause": null, "count": null,
                      "expires": null, "in_force": null, "message": null, "scope": null, "since": null });
    web.post_json("/api/v1/suppressions", &one).expect(200);
    let missing = json!({ "from": null, "to": "a@b.example", "text": "x" });
    let problem = web.post_json(MESSAGES, &missing).problem(400, "bad-field");
    assert_eq!(problem["field"], "from", "{problem}");
}

/// A mail with one field replaced.
fn with(name: &str, value: Value) -> String {
    let mut mail = hello("a@b.example");
    let fields = mail.as_object_mut().expect("an object");
    fields.insert(name.to_owned(), value);
    mail.to_string()
}

/// Bodies with a value of a wrong type, the field that is wrong, and words of the error.
fn of_wrong_types() -> Vec<(String, &'static str, &'static str)> {
    let whole = "it must be a whole number, not the ";
    let mailbox = "Bob <bob@example.net>";
    let email = || json!({ "email": "bob@b.example" });
    let twice = r#"{"from": "a@b.example", "from": "a@b.example"}"#;
    vec![
        (with("priority", json!("high")), "priority", whole),
        (with("priority", json!(300)), "priority", whole),
        (
            with("text", json!({})),
            "text",
            "be a string, not an object",
        ),
        (
            with("require_tls", json!(1)),
            "require_tls",
            "be true or false",
        ),
        (
            with("tags", json!("a")),
            "tags",
            "a list of up to 32 entries",
        ),
        (with("tags", json!(vec!["a"; 33])), "tags", "32"),
        (with("to", json!([email()])), "to[0]", mailbox),
        (with("to", email()), "to", mailbox),
        (with("from", email()), "from", mailbox),
        (twice.to_owned(), "from", "given twice"),
    ]
}

/// The same of texts that do not say what they are to say.
fn of_wrong_texts() -> Vec<(String, &'static str, &'static str)> {
    let file = |content: &str| json!([{ "filename": "a", "content": content }]);
    let header = |name: &str| with("headers", json!({ name: "x" }));
    let file = |content: &str| with("attachments", file(content));
    let (two, at) = (
        json!("bob@b.example, carl@b.example"),
        "attachments[0].content",
    );
    let name = json!("Shop, Inc. <ann@origin.example>");
    vec![
        (with("to", two), "to[0]", "Write a list"),
        (with("from", name), "from", "Put the name in double quotes"),
        (header("Message-ID"), "headers.Message-ID", "No JSON key"),
        (header("Sender"), "headers.Sender", "No JSON key"),
        (header("Reply-To"), "headers.Reply-To", "`reply_to`"),
        (file("a-b_"), at, "write + and /"),
        (file("abc"), at, "cut off"),
    ]
}

#[test]
fn what_is_wrong_is_said_in_the_words_of_json_and_mail() {
    let scene = Scene::new();
    let (server, web) = keeping(&scene);
    let web = web.with_key(&server, "send", &[]);
    let all = of_wrong_types().into_iter().chain(of_wrong_texts());
    for (body, field, words) in all {
        let answer = web.post(MESSAGES, "application/json", body.as_bytes());
        let problem = answer.problem(400, "bad-field");
        let said = format!("{} {}", problem["detail"], problem["remedy"]);
        let at = problem["field"].as_str().unwrap();
        assert!(at.starts_with(field), "{body}: {problem}");
        assert!(said.contains(words), "{words}: {problem}");
        for rust in ["i8", "map", "sequence", " at line ", "Invalid"] {
            assert!(!said.contains(rust), "{problem}");
        }
    }
    // What is past is now.
    let past = with("send_at", json!("2020-01-01T00:00:00Z"));
    let answer = web.post(MESSAGES, "application/json", past.as_bytes());
    answer.expect(202);
}

#[test]
fn a_connection_without_a_place_hears_so() {
    let scene = Scene::new();
    let config = scene.config().set("console.max_connections", 2);
    let (_server, web) = Web::start(&scene, config);
    // Who has been idle for long makes room, so the one that is held is always new.
    let mut answer = None;
    eventually("there is no place", SOON, || {
        let held = std::net::TcpStream::connect(web.address()).unwrap();
        answer = web.ask("GET", "/healthz", "", b"").ok();
        drop(held);
        answer.as_ref().is_some_and(|answer| answer.status == 503)
    });
    let answer = answer.expect("an answer");
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert_eq!(answer.header("connection"), Some("close"));
    answer.problem(503, "unavailable");
}
