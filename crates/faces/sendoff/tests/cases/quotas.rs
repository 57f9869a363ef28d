//! Quotas: what a password that somebody else knows is good for, over restarts and in many sessions at once.

use std::path::PathBuf;

use lab::{Client, Config, MxHost, Scratch, Sendoff};

use serde_json::json;

use crate::scene::{BINARY, SOON, Scene, eventually, log_lines};
use crate::ways_in::{add_user, in_tls, with_tls};
use crate::web::Web;

/// As whom ann writes.
const ANN: &str = "ann@sendoff.lab";
const TO: &str = "bob@there.example";
const CONTENT: &[u8] = b"From: <ann@sendoff.lab>\r\nSubject: x\r\n\r\nbody\r\n";

/// A server with a quota, and a user.
struct House {
    scene: Scene,
    scratch: Scratch,
    there: MxHost,
}

impl House {
    fn new() -> Self {
        let scene = Scene::new();
        let there = scene.world.domain("there.example");
        Self {
            scene,
            scratch: Scratch::new(),
            there,
        }
    }

    fn config(&self, key: &str, quota: &str) -> Config {
        let quota = lab::Value::from([quota]);
        with_tls(&self.scene, &self.scratch).set(key, quota)
    }

    fn start(&self, key: &str, quota: &str) -> Sendoff {
        let server = Sendoff::start(BINARY, self.config(key, quota));
        add_user(&server, "ann");
        server
    }

    fn logged_in(&self, server: &Sendoff) -> Client {
        let mut client = in_tls(&self.scene, server);
        let reply = client.auth_plain("ann", "correct horse");
        let reply = reply.expect("the server answers");
        assert_eq!(reply.code, 235, "{reply}");
        client
    }

    /// Mails of ann's to one recipient each.
    fn send(&self, server: &Sendoff, count: usize) {
        let mut client = self.logged_in(server);
        for _ in 0..count {
            let reply = client.send_mail(ANN, &[TO], CONTENT);
            let reply = reply.expect("the server answers");
            assert_eq!(reply.code, 250, "{}", server.log());
        }
    }

    /// How many recipients ann may still have; nothing is sent to them.
    fn left(&self, server: &Sendoff) -> usize {
        let mut client = self.logged_in(server);
        let begun = client.expect(&format!("MAIL FROM:<{ANN}>"), 250);
        begun.expect("a sender of ann's");
        let taken = |n: &usize| {
            let reply = client.command(&format!("RCPT TO:<r{n}@there.example>"));
            reply.expect("the server answers").code == 250
        };
        (0..200).take_while(taken).count()
    }
}

fn file(server: &Sendoff) -> PathBuf {
    server.directory().join("data/quota-used.json")
}

#[test]
fn a_password_is_good_for_so_many_and_a_network_for_more() {
    let house = House::new();
    let config = house.config("quota.login", "5/day");
    let inside = lab::free_address();
    let listener = [
        ("address", inside.to_string().into()),
        ("networks", ["127.0.0.0/8"].into()),
    ];
    let config = config.table("listener", &listener);
    let server = Sendoff::start(BINARY, config);
    add_user(&server, "ann");
    house.send(&server, 5);
    let mut client = house.logged_in(&server);
    client.expect(&format!("MAIL FROM:<{ANN}>"), 250).unwrap();
    let refused = client.command(&format!("RCPT TO:<{TO}>")).unwrap();
    assert_eq!(refused.code, 450);
    let said = refused.to_string();
    for words in [
        "The quota of ann is used up: 5 of 5/day recipients",
        "ask the administrator to raise quota.login",
    ] {
        assert!(said.contains(words), "{said}");
    }
    let near = "ann has used 4 of 5/day recipients (quota.login)";
    assert!(server.wait_for_log(&[" quota id=", near], SOON).is_some());
    assert_eq!(log_lines(&server, &[" quota id="]).len(), 1);
    // Who needs no password has none that is stolen.
    let mut client = Client::connect(inside).unwrap();
    client.ehlo().unwrap();
    for _ in 0..6 {
        let reply = client.send_mail(ANN, &[TO], CONTENT).unwrap();
        assert_eq!(reply.code, 250, "{reply}");
    }
    assert_eq!(house.there.wait_for(11, SOON).len(), 11);
}

#[test]
fn sessions_at_once_get_no_more_than_one_session() {
    let house = House::new();
    let server = house.start("quota.user", "3/day");
    let mut sessions = [house.logged_in(&server), house.logged_in(&server)];
    for client in &mut sessions {
        client.expect(&format!("MAIL FROM:<{ANN}>"), 250).unwrap();
        for n in 0..3 {
            let rcpt = format!("RCPT TO:<r{n}@there.example>");
            client.expect(&rcpt, 250).unwrap();
        }
        client.expect("DATA", 354).unwrap();
    }
    let codes = sessions.map(|mut client| {
        let reply = client.content(CONTENT).unwrap();
        reply.code
    });
    assert_eq!(codes, [250, 450], "{}", server.log());
    assert_eq!(house.there.wait_for(1, SOON).len(), 1);
}

#[test]
fn a_crash_counts_too_much_rather_than_too_little_and_a_stop_counts_right() {
    let house = House::new();
    // The file is ahead by a twentieth, 5.
    let mut server = house.start("quota.login", "100/day");
    house.send(&server, 40);
    // What was in flight is on the disk.
    eventually("the file says so many", SOON, || {
        let text = std::fs::read_to_string(file(&server)).unwrap_or_default();
        let file: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let steps = file.pointer("/counts/0/3").and_then(|s| s.as_array());
        let sum = steps.into_iter().flatten().filter_map(|s| s[1].as_u64());
        sum.sum::<u64>() >= 40
    });
    server.kill9();
    server.restart();
    let left = house.left(&server);
    assert!((55..=60).contains(&left), "{left}");
    house.send(&server, 1);
    server.terminate();
    server.restart();
    assert_eq!(house.left(&server), left - 1);
}

#[test]
fn a_damaged_file_of_counts_is_said_and_counted_anew() {
    let house = House::new();
    let mut server = house.start("quota.login", "10/day");
    house.send(&server, 10);
    assert_eq!(house.left(&server), 0);
    server.terminate();
    std::fs::write(file(&server), "{\"counts\":[[\"login\"").unwrap();
    server.restart();
    let told = [" error ", "quota-used.json", "start at 0"];
    assert!(server.wait_for_log(&told, SOON).is_some());
    assert_eq!(house.left(&server), 10);
    house.send(&server, 3);
    server.terminate();
    server.restart();
    assert_eq!(house.left(&server), 7);
}

#[test]
fn mail_that_is_refused_for_its_content_does_not_count() {
    let house = House::new();
    let config = house
        .config("quota.user", "2/day")
        .set("intake.max_line_length", 1000);
    let server = Sendoff::start(BINARY, config);
    add_user(&server, "ann");
    let mut client = house.logged_in(&server);
    let long = format!(
        "From: <{ANN}>\r\nSubject: x\r\n\r\n{}\r\n",
        "x".repeat(2000)
    );
    for _ in 0..3 {
        let reply = client.send_mail(ANN, &[TO], long.as_bytes()).unwrap();
        assert_eq!(reply.code / 100, 5, "{reply}");
    }
    house.send(&server, 2);
    assert_eq!(house.left(&server), 0);
}

#[test]
fn a_quota_that_is_used_up_says_by_http_after_how_many_seconds_there_is_room() {
    let scene = Scene::new();
    let config = scene
        .config()
        .set("outgoing.enabled", false)
        .set("quota.user", lab::Value::from(["2/hour"]));
    let (server, web) = Web::start(&scene, config);
    let web = web.with_key(&server, "send", &[]);
    let mail = json!({ "from": ANN, "to": TO, "text": "x" });
    let url = "/api/v1/messages";
    for _ in 0..2 {
        web.post_json(url, &mail).expect(202);
    }
    let answer = web.post_json(url, &mail);
    let after = answer.header("retry-after").map(str::to_owned);
    let problem = answer.problem(429, "quota");
    let seconds = problem["retry_after"].as_u64().expect("seconds");
    assert_eq!(after, Some(seconds.to_string()));
    assert!((3000..=3601).contains(&seconds), "{problem}");
    let remedy = problem["remedy"].as_str().expect("a remedy");
    assert!(!remedy.contains("moment"), "{remedy}");
    // It is not refused for good: the request as a whole may be repeated.
    let batch = json!({ "messages": [mail] });
    let results = web.post_json("/api/v1/messages/batch", &batch).expect(200);
    let result = results.json()["results"][0].clone();
    assert_eq!(result["status"], 429, "{result}");
    assert_eq!(result["problem"]["code"], "quota", "{result}");
}
