//! Signatures as others see them: what came to the host is verified by dkimpy, an implementation of
//! its own, with the records that `sendoff dkim generate` says are to be published.

use lab::{Config, MxHost, Received, Scratch, Sendoff};
use serde_json::{Value, json};

use crate::scene::{BINARY, SENDER, SOON, Scene, judge, judged_by, log_lines, queue, send_with};
use crate::ways_in::{add_user, in_tls, with_tls};

/// Verifies every signature of a mail, with records from the first argument.
const VERIFY: &str = r#"
import json, sys
import dkim
records = json.loads(sys.argv[1])
def txt(name, timeout=5):
    return records.get(name.decode().rstrip(".").lower(), "").encode() or None
content = sys.stdin.buffer.read()
checked = dkim.DKIM(content)
count = len([1 for name, _ in checked.headers if name.lower() == b"dkim-signature"])
found = []
for index in range(count):
    one = dkim.DKIM(content)
    try:
        holds, why = bool(one.verify(idx=index, dnsfunc=txt)), ""
    except dkim.DKIMException as error:
        holds, why = False, str(error)
    fields = getattr(one, "signature_fields", {}) or {}
    found.append({"holds": holds, "why": why,
                  **{t: fields.get(t.encode(), b"").decode() for t in "adst"}})
print(json.dumps(found))
"#;

/// A server with keys of the sender's domain, and their records.
struct Signing {
    server: Sendoff,
    records: Value,
}

impl Signing {
    /// Keys of both kinds are made by the command line, and put in force by a reload.
    fn start(scene: &Scene, config: Config) -> Self {
        let mut server = Sendoff::start(BINARY, config);
        let keys = generate(
            &server,
            &["origin.example", "--algorithm", "both", "--selector", "t"],
        );
        let records = publish(scene, &keys);
        server.reconfigure(|config| with_keys(config, &keys));
        server.run(&["reload"]);
        Self { server, records }
    }

    /// Asserts that all signatures hold, and that there are as many.
    fn assert_signed(&self, mail: &Received, count: usize) {
        let found = verify(&self.records, &mail.content);
        assert_eq!(found.len(), count, "{}", mail.text());
        for one in &found {
            assert_eq!(at(one, "holds"), &json!(true), "{one}\n{}", mail.text());
        }
    }

    fn assert_both(&self, mail: &Received) {
        self.assert_signed(mail, 2);
        let found = verify(&self.records, &mail.content);
        let algorithms: Vec<&Value> = found.iter().map(|f| at(f, "a")).collect();
        assert_eq!(algorithms, ["rsa-sha256", "ed25519-sha256"]);
    }
}

fn at<'a>(json: &'a Value, name: &str) -> &'a Value {
    json.get(name)
        .unwrap_or_else(|| panic!("no {name} in {json}"))
}

fn text<'a>(json: &'a Value, name: &str) -> &'a str {
    at(json, name).as_str().expect("a text")
}

fn verify(records: &Value, content: &[u8]) -> Vec<Value> {
    let found = judged_by(&judge(), &[VERIFY, &records.to_string()], content);
    found.as_array().expect("a list").clone()
}

fn generate(server: &Sendoff, arguments: &[&str]) -> Vec<Value> {
    let command = [&["dkim", "generate"], arguments, &["--json"]].concat();
    let keys: Value = serde_json::from_str(&server.run(&command)).expect("JSON");
    keys.as_array().expect("a list").clone()
}

/// Puts the records where the server and the verifier look.
fn publish(scene: &Scene, keys: &[Value]) -> Value {
    let mut records = serde_json::Map::new();
    for key in keys {
        let record = at(key, "record");
        scene
            .world
            .dns
            .txt(text(record, "name"), text(record, "value"));
        records.insert(text(record, "name").to_owned(), at(record, "value").clone());
    }
    Value::Object(records)
}

fn with_keys(config: Config, keys: &[Value]) -> Config {
    keys.iter().fold(config, |config, key| {
        let values = ["domain", "selector", "key_file"].map(|name| (name, text(key, name).into()));
        config.table("dkim", &values)
    })
}

/// A host that says all extensions that the server can use.
fn host(scene: &Scene) -> MxHost {
    scene.world.domain("new.example")
}

fn first(host: &MxHost, count: usize) -> Received {
    let mails = host.wait_for(count, SOON);
    mails.get(count - 1).expect("the mail comes").clone()
}

/// Mails that have tripped signers up, each with its name.
fn hard_mails() -> Vec<(&'static str, String)> {
    let from = format!("From: Ann <{SENDER}>\r\n");
    let long = "x".repeat(998);
    vec![
        ("plain", format!("{from}Subject: plain\r\n\r\nHello.\r\n")),
        (
            "blanks",
            format!("{from}Subject: a\r\n\r\na  b \t \r\n\t\r\n \r\nc\r\n\r\n \r\n\r\n"),
        ),
        ("empty body", format!("{from}Subject: empty\r\n\r\n")),
        ("no body", format!("{from}Subject: none\r\n")),
        (
            "only blank lines",
            format!("{from}Subject: b\r\n\r\n\r\n\r\n\r\n"),
        ),
        (
            "long lines",
            format!("{from}Subject: long\r\n\r\n{long}\r\n{long} {long}\r\n"),
        ),
        (
            "dots",
            format!("{from}Subject: dots\r\n\r\n.\r\n..\r\n.a\r\n...\r\n"),
        ),
        ("no subject", format!("{from}\r\nHello.\r\n")),
        (
            "folds",
            format!(
                "From: Ann\r\n\t <{SENDER}>  \r\nTo: a@new.example,\r\n  b@new.example ,\r\n\tc@new.example\r\n\
                 subject:   many   blanks \t here\r\nReferences: <a@x>\r\n <b@x>\r\n\r\nHello.\r\n"
            ),
        ),
        (
            "twice",
            format!(
                "{from}To: a@new.example\r\nTo: b@new.example\r\nX-A: 1\r\nX-A: 2\r\n\
                 List-Unsubscribe: <https://x.example/u>\r\nList-Id: <l.x.example>\r\n\
                 Comments: one\r\nComments: two\r\nSubject: twice\r\n\r\nHello.\r\n"
            ),
        ),
        (
            "8bit",
            format!(
                "{from}Subject: 8bit\r\nMIME-Version: 1.0\r\n\
                 Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
                 Sch\u{f6}ne  Gr\u{fc}\u{df}e \r\n"
            ),
        ),
        (
            "html",
            format!(
                "{from}Subject: html\r\nMIME-Version: 1.0\r\n\
                 Content-Type: multipart/alternative;\r\n boundary=\"b b\"\r\n\r\n\
                 --b b\r\nContent-Type: text/plain\r\n\r\nHello.\r\n\r\n--b b\r\n\
                 Content-Type: text/html\r\n\r\n<p>Hello.</p>\r\n--b b--\r\n"
            ),
        ),
    ]
}

#[test]
fn every_mail_is_signed_so_that_another_implementation_verifies_it() {
    let scene = Scene::new();
    let host = host(&scene);
    let mut signing = Signing::start(&scene, scene.config());
    for ((name, content), count) in hard_mails().iter().zip(1..) {
        let to = ["<bob@new.example>"];
        send_with(&signing.server, "BODY=8BITMIME", &to, content.as_bytes());
        let got = first(&host, count);
        let found = verify(&signing.records, &got.content);
        let holds = found
            .iter()
            .filter(|f| at(f, "holds") == &json!(true))
            .count();
        assert_eq!(
            (found.len(), holds),
            (2, 2),
            "{name}: {found:?}\n{}",
            got.text()
        );
        assert!(got.text().starts_with("DKIM-Signature:"), "{name}");
    }
    signing
        .server
        .reconfigure(|config| config.set("outgoing.enabled", false));
    signing.server.run(&["reload"]);
    let content = format!("From: {SENDER}\r\n\r\nHello.\r\n");
    signing.server.send(SENDER, &["bob@new.example"], &content);
    let waiting = queue(&signing.server);
    let id = text(waiting.first().expect("it waits"), "id").to_owned();
    let trace = signing.server.run(&["queue", "trace", &id]);
    assert!(trace.contains("Signed    origin.example/t-rsa"), "{trace}");
    let line = signing.server.wait_for_log(&[" accepted "], SOON).unwrap();
    assert!(
        line.contains("dkim=origin.example/t-rsa,origin.example/t-ed25519"),
        "{line}"
    );
}

#[test]
fn what_a_reader_sees_cannot_be_added_to_and_what_hosts_add_does_not_matter() {
    let scene = Scene::new();
    let host = host(&scene);
    let signing = Signing::start(&scene, scene.config());
    let (_, content) = hard_mails().swap_remove(0);
    signing.server.send(SENDER, &["bob@new.example"], &content);
    let got = first(&host, 1);
    signing.assert_both(&got);
    let holds = |front: &str, behind: &str| {
        let changed = [front.as_bytes(), &got.content, behind.as_bytes()].concat();
        let found = verify(&signing.records, &changed);
        let holds: Vec<bool> = found
            .iter()
            .map(|f| at(f, "holds") == &json!(true))
            .collect();
        assert_eq!(holds.len(), 2, "{found:?}");
        holds == [true, true]
    };
    assert!(holds(
        "Received: from x by y; Mon, 1 Jan 2024 00:00:00 +0000\r\n",
        ""
    ));
    assert!(holds("List-Id: <l.example>\r\nSender: l@l.example\r\n", ""));
    assert!(holds("", "\r\n\r\n"));
    for added in [
        "From: <ceo@origin.example>\r\n",
        "Subject: another\r\n",
        "Reply-To: x@evil.example\r\n",
        "Cc: x@evil.example\r\n",
        "Content-Type: text/html\r\n",
        "Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n",
    ] {
        assert!(!holds(added, ""), "{added}");
    }
    assert!(!holds("", "more\r\n"));
}

#[test]
fn converted_mail_bears_a_signature_of_what_it_became() {
    let scene = Scene::new();
    let signing = Signing::start(&scene, scene.config().set("outgoing.convert_signed", false));
    for (number, text) in [
        (1, "Sch\u{f6}ne Gr\u{fc}\u{df}e "),
        (2, "\u{f6}\u{fc}\u{e4}\u{df}\u{f6}\u{fc}"),
    ] {
        let domain = format!("old{number}.example");
        let host = scene.world.domain(&domain);
        host.set(|b| {
            b.extensions(&["PIPELINING"]);
        });
        let content = format!(
            "From: Ann <{SENDER}>\r\nSubject: x\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n"
        );
        let to = format!("<bob@{domain}>");
        send_with(&signing.server, "BODY=8BITMIME", &[&to], content.as_bytes());
        let got = first(&host, 1);
        assert!(got.content.is_ascii(), "{}", got.text());
        signing.assert_both(&got);
        let encodings = ["quoted-printable", "base64"];
        let encoding = got.header("content-transfer-encoding");
        assert_eq!(encoding.as_deref(), encodings.get(number - 1).copied());
    }
    let line = signing
        .server
        .wait_for_log(&[" converted ", "old1"], SOON)
        .unwrap();
    assert!(line.contains("dkim=origin.example/t-rsa"), "{line}");

    let host = scene.world.domain("ascii.example");
    host.set(|b| {
        b.extensions(&["PIPELINING", "8BITMIME"]);
    });
    let content = format!(
        "From: \"M\u{fc}ller\" <{SENDER}>\r\nSubject: Gr\u{fc}\u{df}e\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\u{f6}\r\n"
    );
    let to = ["<bob@ascii.example>"];
    send_with(
        &signing.server,
        "BODY=8BITMIME SMTPUTF8",
        &to,
        content.as_bytes(),
    );
    let got = first(&host, 1);
    assert!(got.text().ends_with("\u{f6}\r\n"));
    signing.assert_both(&got);
    scene.assert_no_failure();

    // A stranger's signature is the stranger's.
    let content =
        format!("DKIM-Signature: v=1; d=origin.example; s=t-rsa; h=from; bh=; b=\r\n{content}");
    send_with(
        &signing.server,
        "BODY=8BITMIME SMTPUTF8",
        &to,
        content.as_bytes(),
    );
    let failure = scene.failure();
    failure.assert_failed("bob@ascii.example", "5.6.7");
}

#[test]
fn strangers_and_those_who_may_not_send_as_the_author_get_no_signature() {
    let scene = Scene::new();
    let host = host(&scene);
    let scratch = Scratch::new();
    let mailboxes = scratch.path().join("{user}").display().to_string();
    let config = scene
        .config()
        .in_table("listener", "networks", ["192.0.2.0/24"])
        .set("console.address", scene.world.console().to_string())
        .set("local.domains", ["local.example"])
        .set("local.deliver", format!("maildir:{mailboxes}"));
    let signing = Signing::start(&scene, config);
    let (_, content) = hard_mails().swap_remove(0);
    signing
        .server
        .send("x@elsewhere.example", &["me@local.example"], &content);
    let line = signing
        .server
        .wait_for_log(&[" accepted ", "elsewhere"], SOON)
        .unwrap();
    assert!(!line.contains("dkim="), "{line}");

    // By HTTP, a key for one address of the domain.
    let key = signing
        .server
        .run(&["key", "add", "web", "--scope", "send", "--senders", SENDER]);
    let key = key.trim();
    let body = |from: &str| format!("From: {from}\r\nSubject: http\r\n\r\nHello.\r\n");
    let status = post(&scene, key, &body(SENDER));
    assert_eq!(status, 202);
    signing.assert_both(&first(&host, 1));
    let status = post(&scene, key, &body("other@origin.example"));
    assert_eq!(status, 403, "the key may not write as another");
    assert_eq!(
        log_lines(&signing.server, &[" error "]),
        Vec::<String>::new()
    );
}

#[test]
fn a_user_gets_no_signature_of_a_domain_that_it_may_not_send_as() {
    let scene = Scene::new();
    let scratch = Scratch::new();
    let host = host(&scene);
    let config = with_tls(&scene, &scratch).set("submission.check_from", "off");
    let mut signing = Signing::start(&scene, config);
    let others = generate(&signing.server, &["other.example"]);
    signing
        .server
        .reconfigure(|config| with_keys(config, &others));
    signing.server.run(&["reload"]);
    add_user(&signing.server, "ann@origin.example");
    let send = |from: &str| {
        let mut client = in_tls(&scene, &signing.server);
        let reply = client.auth_plain("ann@origin.example", "correct horse");
        assert_eq!(reply.expect("the server answers").code, 235);
        let content = format!("From: {from}\r\nSubject: x\r\n\r\nHello.\r\n");
        let sent = client.send_mail(SENDER, &["bob@new.example"], content.as_bytes());
        assert_eq!(sent.expect("the server answers").code, 250);
    };
    send(SENDER);
    signing.assert_both(&first(&host, 1));
    send("ceo@other.example");
    signing.assert_signed(&first(&host, 2), 0);
    send(&format!("{SENDER}, ceo@other.example"));
    signing.assert_signed(&first(&host, 3), 0);
    let line = signing.server.wait_for_log(&[" unsigned "], SOON).unwrap();
    assert!(
        line.contains("may not write as ceo@other.example"),
        "{line}"
    );
}

fn post(scene: &Scene, key: &str, content: &str) -> u64 {
    const POST: &str = r#"
import sys, urllib.error, urllib.request
url, key = sys.argv[1:3]
request = urllib.request.Request(url, sys.stdin.buffer.read(), {
    "Authorization": "Bearer " + key, "Content-Type": "message/rfc822"})
try:
    print(urllib.request.urlopen(request).status)
except urllib.error.HTTPError as error:
    print(error.code)
"#;
    let address = scene.world.console();
    let url = format!("http://{address}/api/v1/messages?to=bob@new.example&from={SENDER}");
    let status = judged_by("python3".as_ref(), &[POST, &url, key], content.as_bytes());
    status.as_u64().expect("a status")
}

#[test]
fn several_authors_are_signed_by_the_sender_among_them_and_two_froms_not_at_all() {
    let scene = Scene::new();
    let host = host(&scene);
    let signing = Signing::start(&scene, scene.config());
    let send = |header: &str| {
        let content = format!("{header}Subject: x\r\n\r\nHello.\r\n");
        signing.server.send(SENDER, &["bob@new.example"], &content);
    };
    send(&format!(
        "From: a@x.example, {SENDER}\r\nSender: {SENDER}\r\n"
    ));
    signing.assert_both(&first(&host, 1));
    send(&format!("From: a@x.example, {SENDER}\r\n"));
    signing.assert_signed(&first(&host, 2), 0);
    send("From: a@sub.origin.example\r\n");
    signing.assert_signed(&first(&host, 3), 0);
    send(&format!("From: {SENDER}\r\nFrom: a@x.example\r\n"));
    signing.assert_signed(&first(&host, 4), 0);
    let line = signing.server.wait_for_log(&[" unsigned "], SOON).unwrap();
    assert!(line.contains("From"), "{line}");
}

#[test]
fn a_broken_header_is_not_signed_and_one_without_an_end_gets_it_first() {
    let scene = Scene::new();
    let host = host(&scene);
    let signing = Signing::start(&scene, scene.config());
    let send = |content: &str| signing.server.send(SENDER, &["bob@new.example"], content);
    send(&format!(
        "From: {SENDER}\r\nno field\r\nFrom: a@x.example\r\n\r\nHello.\r\n"
    ));
    assert_eq!(first(&host, 1).header("dkim-signature"), None);
    let line = signing.server.wait_for_log(&[" unsigned "], SOON).unwrap();
    assert!(
        line.contains("a line of the header is not a header field"),
        "{line}"
    );
    for (number, content) in [
        (2, format!("From: {SENDER}\r\nSubject: x\r\n")),
        (
            3,
            format!("From: {SENDER}\r\nSubject: x\r\nhello you\r\nthere\r\n"),
        ),
    ] {
        send(&content);
        let mail = first(&host, number);
        signing.assert_both(&mail);
        let text = mail.text();
        let (header, body) = text.split_once("\r\n\r\n").expect("an empty line");
        assert!(!header.contains("hello"), "{text}");
        assert!(number == 2 || body == "hello you\r\nthere\r\n", "{text}");
    }
}

#[test]
fn reports_are_signed_by_the_key_of_their_own_domain() {
    let scene = Scene::new();
    let refusing = scene.world.domain("refusing.example");
    refusing.set(|b| {
        b.reply(lab::Verb::Rcpt, "", "550 5.1.1 nobody");
    });
    let mut server = Sendoff::start(BINARY, scene.config());
    let keys = generate(&server, &["sendoff.lab"]);
    let records = publish(&scene, &keys);
    server.reconfigure(|config| with_keys(config, &keys));
    server.run(&["reload"]);
    server.send(
        SENDER,
        &["bob@refusing.example"],
        &hard_mails().swap_remove(0).1,
    );
    let mails = scene.origin.wait_for(1, SOON);
    let report = mails.first().expect("a failure message");
    let found = verify(&records, &report.content);
    assert_eq!(found.len(), 1, "{}", report.text());
    assert!(
        found.iter().all(|f| at(f, "holds") == &json!(true)),
        "{found:?}"
    );
}

#[test]
fn a_rotation_changes_keys_in_time_and_a_gap_is_told() {
    let scene = Scene::new();
    let host = host(&scene);
    let mut server = Sendoff::start(BINARY, scene.config());
    let old = generate(&server, &["origin.example", "--selector", "old"]);
    let new = generate(
        &server,
        &["origin.example", "--selector", "new", "--bits", "3072"],
    );
    let again = server.cli(&["dkim", "generate", "origin.example", "--selector", "old"]);
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("never overwritten"),
        "{again:?}"
    );
    let records = publish(&scene, &old);
    server.reconfigure(|config| {
        let config = with_keys(config, &old).in_table("dkim", "until", "2999-01-01");
        let values = ["domain", "selector", "key_file"];
        let of = |name: &'static str| (name, text(new.first().expect("a key"), name).into());
        let mut table = values.map(of).to_vec();
        table.push(("from", "2998-12-01T00:00:00Z".into()));
        config.table("dkim", &table)
    });
    server.run(&["reload"]);
    server.send(SENDER, &["bob@new.example"], &hard_mails().swap_remove(0).1);
    let got = first(&host, 1);
    let found = verify(&records, &got.content);
    let selectors: Vec<&Value> = found.iter().map(|f| at(f, "s")).collect();
    assert_eq!(selectors, ["old"], "the new key waits for its time");
    assert!(!server.run(&["check"]).contains("no key signs"));
    let listed = server.run(&["dkim", "list"]);
    assert!(
        listed.contains("origin.example/new  rsa-sha256, 3072 bits, signs from 2998"),
        "{listed}"
    );

    server.reconfigure(|config| config.without("dkim"));
    server.reconfigure(|config| with_keys(config, &old).in_table("dkim", "until", "2020-01-01"));
    let checked = server.run(&["check"]);
    assert!(
        checked.contains("no key signs the mail of origin.example now or later"),
        "{checked}"
    );
}

/// The exit code of `dkim check`, and the first finding of each key.
fn findings(server: &Sendoff) -> (Option<i32>, String) {
    let output = server.cli(&["dkim", "check", "--json"]);
    let keys: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let word = |key: &Value| {
        let first = key.pointer("/findings/0/word").and_then(Value::as_str);
        first.unwrap_or_default().to_owned()
    };
    let words: Vec<String> = keys.as_array().expect("a list").iter().map(word).collect();
    (output.status.code(), words.join(" "))
}

#[test]
fn check_says_what_is_wrong_with_a_record() {
    let scene = Scene::new();
    scene.world.dns.ttl(std::time::Duration::ZERO);
    let mut server = Sendoff::start(BINARY, scene.config());
    let keys = generate(&server, &["origin.example", "--selector", "old"]);
    let other = generate(&server, &["origin.example", "--selector", "new"]);
    server.reconfigure(|config| {
        let config = with_keys(config, &other).in_table("dkim", "from", "2998-12-01");
        with_keys(config, &keys)
    });
    let records = publish(&scene, &keys);
    // Keys stand in the order of the file. The new one is not published yet: no fault today.
    assert_eq!(findings(&server), (Some(0), "missing matches".to_owned()));
    let name = "old._domainkey.origin.example";
    let value = text(&records, name);
    let another = text(at(other.first().expect("a key"), "record"), "value");
    for (record, expected) in [
        (another.to_owned(), "differs"),
        ("v=DKIM1; k=rsa; p=".to_owned(), "revoked"),
        (value.replace("k=rsa", "k=ed25519"), "wrong-type"),
        ("v=spf1 -all".to_owned(), "unreadable"),
    ] {
        scene.world.dns.remove(name).txt(name, &record);
        let found = (Some(1), format!("missing {expected}"));
        assert_eq!(findings(&server), found, "{record}");
    }
    scene.world.dns.txt(name, value);
    assert_eq!(findings(&server), (Some(1), "missing several".to_owned()));
    scene.world.dns.servfail(name);
    assert_eq!(findings(&server), (Some(1), "missing unknown".to_owned()));
    scene
        .world
        .dns
        .remove(name)
        .txt(name, &format!("{value}; t=y"));
    assert_eq!(findings(&server), (Some(0), "missing matches".to_owned()));
    let shown = server.run(&["dkim", "check", "origin.example"]);
    assert!(shown.contains("t=y") && shown.contains("Remedy"), "{shown}");
}

#[test]
fn long_lines_are_encoded_before_a_mail_is_signed() {
    let scene = Scene::new();
    let host = scene.world.domain("exim.example");
    host.set(|b| b.line_max = Some(998));
    let signing = Signing::start(&scene, scene.config());
    let content = format!(
        "From: <{SENDER}>\r\nSubject: long\r\n\r\n{}\r\n",
        "0123456789".repeat(200)
    );
    send_with(
        &signing.server,
        "",
        &["<bob@exim.example>"],
        content.as_bytes(),
    );
    let mails = host.wait_for(1, SOON);
    signing.assert_both(mails.first().expect("a mail"));
}

#[test]
fn a_mail_with_another_sender_for_a_relay_is_signed_by_the_new_domain() {
    let scene = Scene::new();
    let host = scene.world.host("relay.lab");
    let rule = |from: &str, to: &str| [("match", from.into()), ("as", to.into())];
    let config = scene.config();
    let config = config
        .table("sender", &rule("@host.lan", "@origin.example"))
        .table(
            "sender",
            &rule("bob@origin.example", "bob@unsigned.example"),
        )
        .rule("via.example", "via_smtp", host.address().to_string());
    let signing = Signing::start(&scene, config);
    // It had no signature, and the new author's domain has keys; or the other way round.
    let cases = [
        ("ann@host.lan", "ann@origin.example", 2),
        ("bob@origin.example", "bob@unsigned.example", 0),
    ];
    for (number, (author, becomes, signatures)) in cases.into_iter().enumerate() {
        let content = format!("From: {author}\r\nTo: x@via.example\r\nSubject: x\r\n\r\nx\r\n");
        signing.server.send(author, &["x@via.example"], &content);
        let mails = host.wait_for(number + 1, SOON);
        let mail = mails.last().unwrap();
        assert_eq!(
            (mail.sender.as_str(), mail.header("from").as_deref()),
            (becomes, Some(becomes))
        );
        assert_eq!(mail.header("reply-to").as_deref(), Some(author));
        signing.assert_signed(mail, signatures);
    }
}
