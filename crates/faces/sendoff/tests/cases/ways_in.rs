//! Handing in by SMTP: who may send as whom, how much, when, and through whom.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use lab::{Client, Config, Scratch, Sendoff};

use crate::scene::{
    A_WHILE, BINARY, SENDER, SOON, Scene, eventually, log_lines, mail, queue, send, subjects,
};

/// A listener with STARTTLS and the certificate of a world's CA for it.
pub(crate) fn with_tls(scene: &Scene, scratch: &Scratch) -> Config {
    let identity = scene.world.ca.issue(&["submit.origin.example"]);
    let written = identity.write(scratch.path(), "submit");
    let (certificate, key) = written.expect("files for the certificate");
    scene
        .config()
        .set("tls.certificate", certificate.display().to_string())
        .set("tls.private_key", key.display().to_string())
        .in_table("listener", "tls", "starttls")
        .in_table("listener", "networks", ["192.0.2.0/24"])
}

pub(crate) fn add_user(server: &Sendoff, name: &str) {
    let added = server.cli_with_input(&["user", "add", name], "correct horse\n");
    assert!(added.status.success(), "{added:?}");
}

pub(crate) fn in_tls(scene: &Scene, server: &Sendoff) -> Client {
    let mut client = server.client();
    let reply = client.starttls("submit.origin.example", &scene.world.ca);
    assert_eq!(reply.expect("the server answers").code, 250);
    client
}

/// Logs in by SCRAM-SHA-256 as Python computes it, and prints the server's final answer.
const SCRAM: &str = r#"
import base64, hashlib, hmac, smtplib, ssl, sys
host, port, user, password = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
context = ssl._create_unverified_context()
s = smtplib.SMTP(host, port); s.starttls(context=context); s.ehlo()
assert s.esmtp_features["auth"].split()[:2] == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"], s.esmtp_features
b64 = lambda b: base64.b64encode(b).decode()
bare = "n=%s,r=clientnonce" % user
code, text = s.docmd("AUTH", "SCRAM-SHA-256 " + b64(("n,," + bare).encode()))
assert code == 334, (code, text)
first = base64.b64decode(text).decode()
fields = dict(f.split("=", 1) for f in first.split(","))
salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
mac = lambda key, text: hmac.new(key, text, hashlib.sha256).digest()
client_key = mac(salted, b"Client Key")
without = "c=biws,r=" + fields["r"]
said = (bare + "," + first + "," + without).encode()
signature = mac(hashlib.sha256(client_key).digest(), said)
proof = bytes(a ^ b for a, b in zip(client_key, signature))
code, text = s.docmd(b64((without + ",p=" + b64(proof)).encode()))
if code == 334:
    expected = "v=" + b64(mac(mac(salted, b"Server Key"), said))
    assert base64.b64decode(text).decode() == expected, text
    code, text = s.docmd("")
print(code, text.decode())
"#;

fn scram(server: &Sendoff, user: &str, password: &str) -> String {
    let (host, port) = (
        server.address().ip().to_string(),
        server.address().port().to_string(),
    );
    let output = Command::new("python3")
        .args(["-c", SCRAM, &host, &port, user, password])
        .stderr(Stdio::inherit())
        .output()
        .expect("python3 runs");
    String::from_utf8(output.stdout).expect("python3 prints text")
}

#[test]
fn a_client_that_never_sends_its_password_logs_in_by_scram() {
    let scene = Scene::new();
    let scratch = Scratch::new();
    let server = Sendoff::start(BINARY, with_tls(&scene, &scratch));
    add_user(&server, "ann@origin.example");
    assert!(scram(&server, "ann@origin.example", "correct horse").starts_with("235 2.7.0"));
    assert!(scram(&server, "ann@origin.example", "wrong horse").starts_with("535 5.7.8"));
    assert!(scram(&server, "nobody", "correct horse").starts_with("535 5.7.8"));
}

#[test]
fn a_login_by_scram_is_bound_to_its_connection() {
    let scene = Scene::new();
    let scratch = Scratch::new();
    let server = Sendoff::start(BINARY, with_tls(&scene, &scratch));
    add_user(&server, "ann@origin.example");
    let attempt = |password: &str, flag: &str| {
        let mut client = in_tls(&scene, &server);
        let reply = client.auth_scram("ann@origin.example", password, flag);
        reply.expect("the server answers").to_string()
    };
    let bound = "p=tls-exporter";
    assert!(attempt("correct horse", bound).starts_with("235 2.7.0"));
    assert!(attempt("correct horse", "n").starts_with("235 2.7.0"));
    assert!(attempt("wrong horse", bound).starts_with("535 5.7.8 Authentication failed"));
    // It could bind, and has not seen that we can: somebody has changed our offer.
    assert!(attempt("correct horse", "y").starts_with("535 5.7.8 Client and server both"));
    assert!(
        attempt("correct horse", "p=tls-unique")
            .starts_with("535 5.7.8 This type of channel binding")
    );
}

#[test]
fn a_user_sends_as_its_own_domain_until_more_is_allowed() {
    let scene = Scene::new();
    let scratch = Scratch::new();
    let good = scene.world.domain("good.example");
    let server = Sendoff::start(BINARY, with_tls(&scene, &scratch));
    add_user(&server, "ann@origin.example");
    let attempt = |sender: &str| {
        let mut client = in_tls(&scene, &server);
        let reply = client.auth_plain("ann@origin.example", "correct horse");
        assert_eq!(reply.expect("the server answers").code, 235);
        let content = mail("a case").replace(SENDER, sender);
        let sent = client.send_mail(sender, &["x@good.example"], content.as_bytes());
        sent.expect("the server answers")
    };
    assert_eq!(attempt("any@origin.example").code, 250);
    let refused = attempt("ann@other.example");
    assert_eq!(refused.code, 553, "{refused}");
    server.run(&["user", "senders", "ann@origin.example", "ann@other.example"]);
    assert_eq!(attempt("ann@other.example").code, 250);
    assert_eq!(attempt("any@origin.example").code, 553);
    let shown = server.run(&["user", "senders", "ann@origin.example"]);
    assert!(shown.contains("ann@other.example"), "{shown}");
    assert_eq!(good.wait_for(2, SOON).len(), 2);
}

#[test]
fn what_a_mail_from_its_author_lacks_is_added_and_bcc_is_kept_back() {
    let scene = Scene::new();
    let good = scene.world.domain("good.example");
    let server = scene.start();
    let content = "Subject: bare\r\nBcc: secret@good.example\r\n\r\nHi.\r\n";
    server.send(SENDER, &["x@good.example"], content);
    let mails = good.wait_for(1, SOON);
    let received = mails.first().expect("it arrives");
    assert!(received.header("date").is_some() && received.header("message-id").is_some());
    assert_eq!(received.header("bcc"), None);
}

#[test]
fn a_server_that_only_relays_changes_nothing() {
    let scene = Scene::new();
    let good = scene.world.domain("good.example");
    let config = scene.config().in_table("listener", "submission", false);
    let server = Sendoff::start(BINARY, config);
    let content = "Subject: bare\r\nBcc: known@good.example\r\n\r\nHi.\r\n";
    server.send(SENDER, &["x@good.example"], content);
    let mails = good.wait_for(1, SOON);
    let received = mails.first().expect("it arrives");
    assert!(received.header("date").is_none() && received.header("message-id").is_none());
    assert!(received.header("bcc").is_some());
}

#[test]
fn a_mail_for_later_waits_and_says_until_when() {
    let scene = Scene::new();
    let good = scene.world.domain("good.example");
    let mut server = scene.start();
    let mut client = server.client();
    let from = |hold: &str| format!("MAIL FROM:<{SENDER}> {hold}");
    client.expect(&from("HOLDFOR=100000"), 250).unwrap();
    client.expect("RCPT TO:<late@good.example>", 250).unwrap();
    client.expect("DATA", 354).unwrap();
    client.content(mail("tomorrow").as_bytes()).unwrap();
    client.expect(&from("HOLDFOR=2"), 250).unwrap();
    client.expect("RCPT TO:<soon@good.example>", 250).unwrap();
    client.expect("DATA", 354).unwrap();
    client.content(mail("soon").as_bytes()).unwrap();
    server.kill9();
    server.restart();
    assert_eq!(subjects(&good.wait_for(1, SOON)), ["soon"]);
    eventually("the other one waits", SOON, || queue(&server).len() == 1);
    let waiting = queue(&server).remove(0);
    assert_eq!(waiting["recipient"], "late@good.example");
    assert_eq!(waiting["attempts"], 0);
    assert_eq!(
        waiting["reason"],
        "its first attempt is scheduled for later"
    );
}

#[test]
fn a_mail_with_a_time_to_be_delivered_by_comes_back_when_it_is_over() {
    let scene = Scene::new();
    let slow = scene.world.domain("slow.example");
    slow.set(|b| {
        b.reply(lab::Verb::Rcpt, "", "450 4.2.1 not now");
    });
    let server = Sendoff::start(
        BINARY,
        scene
            .config()
            .set("outgoing.resend_attempts", 50)
            .set("outgoing.resend_wait", "10s"),
    );
    let mut client = server.client();
    let from = format!("MAIL FROM:<{SENDER}> BY=2;R");
    client.expect(&from, 250).unwrap();
    client.expect("RCPT TO:<x@slow.example>", 250).unwrap();
    client.expect("DATA", 354).unwrap();
    client.content(mail("in time or never").as_bytes()).unwrap();
    let failure = scene.failure();
    assert_eq!(failure.field("x@slow.example", "action"), "failed");
    assert_eq!(failure.field("x@slow.example", "status"), "4.4.7");
}

#[test]
fn the_next_server_is_told_what_is_left_of_the_time_and_the_priority() {
    let scene = Scene::new();
    let good = scene.world.domain("good.example");
    good.set(|b| {
        b.extension("DELIVERBY 0").extension("MT-PRIORITY");
    });
    let server = scene.start();
    let mut client = server.client();
    let from = format!("MAIL FROM:<{SENDER}> BY=900;NT MT-PRIORITY=4");
    client.expect(&from, 250).unwrap();
    client.expect("RCPT TO:<x@good.example>", 250).unwrap();
    client.expect("DATA", 354).unwrap();
    client.content(mail("urgent").as_bytes()).unwrap();
    let mails = good.wait_for(1, SOON);
    let said = &mails.first().expect("it arrives").mail_params;
    assert!(said.split(' ').any(|p| p == "MT-PRIORITY=4"), "{said}");
    let by = said
        .split(' ')
        .find_map(|p| p.strip_prefix("BY="))
        .expect("BY");
    let (seconds, mode) = by.split_once(';').expect("seconds and mode");
    let seconds: u64 = seconds.parse().expect("a number");
    assert!((800..=900).contains(&seconds) && mode == "NT", "{by}");
}

/// Hands in a mail with parameters of MAIL and of RCPT.
fn hand_in(server: &Sendoff, params: &str, to: &str) {
    let mut client = server.client();
    let mail_from = format!("MAIL FROM:<{SENDER}> {params}");
    for (command, code) in [
        (mail_from, 250),
        (format!("RCPT TO:{to}"), 250),
        ("DATA".to_owned(), 354),
    ] {
        client.expect(&command, code).expect("it is taken");
    }
    let taken = client.content(mail("a time").as_bytes());
    assert_eq!(taken.expect("an answer").code, 250);
}

#[test]
fn its_sender_hears_when_a_mail_with_a_time_is_passed_on_without_a_promise() {
    let scene = Scene::new();
    let plain = scene.world.domain("plain.example");
    let slow = scene.world.domain("slow.example");
    slow.set(|b| {
        b.extension("DELIVERBY 3600");
    });
    let server = scene.start();
    hand_in(&server, "BY=900;N", "<x@plain.example>");
    let report = scene.failure();
    assert_eq!(report.field("x@plain.example", "action"), "relayed");
    // The host takes no mail for less than an hour, so it is not told of the time.
    scene.origin.forget();
    hand_in(&server, "BY=900;N", "<y@slow.example>");
    assert_eq!(scene.failure().field("y@slow.example", "action"), "relayed");
    let said = slow.wait_for(1, SOON);
    assert!(
        !said[0].mail_params.contains("BY="),
        "{}",
        said[0].mail_params
    );
    // Who wants to hear nothing hears nothing.
    scene.origin.forget();
    hand_in(&server, "BY=900;N", "<z@plain.example> NOTIFY=NEVER");
    assert_eq!(plain.wait_for(2, SOON).len(), 2);
    thread::sleep(A_WHILE);
    assert_eq!(scene.origin.count(), 0);
    // In time or never: such a host is not even tried.
    hand_in(&server, "BY=900;R", "<w@slow.example>");
    scene.failure().assert_failed("w@slow.example", "5.4.7");
    assert_eq!(slow.count(), 1);
}

#[test]
fn a_long_local_part_is_taken_and_both_limits_of_a_release_are_stated() {
    let scene = Scene::new();
    let host = scene.world.domain("good.example");
    let server = scene.start();
    let mut client = server.client();
    let offered = client.ehlo().unwrap().lines;
    let release = offered
        .iter()
        .find(|l| l.starts_with("FUTURERELEASE"))
        .unwrap();
    let words: Vec<&str> = release.split(' ').collect();
    assert_eq!(words.len(), 3, "{release}");
    assert!(
        words[1].parse::<u64>().is_ok() && words[2].ends_with('Z'),
        "{release}"
    );
    let long = format!("SRS0=hhhh=tt=origin.example={}", "a".repeat(100));
    hand_in(&server, "", &format!("<{long}@good.example>"));
    let mails = host.wait_for(1, SOON);
    assert_eq!(
        mails[0].recipients[0].address,
        format!("{long}@good.example")
    );
    let more = format!("RCPT TO:<{}@good.example>", "a".repeat(200));
    client
        .expect(&format!("MAIL FROM:<{SENDER}>"), 250)
        .unwrap();
    assert_eq!(client.command(&more).unwrap().code, 553);
}

#[test]
fn a_quota_refuses_with_its_reason_and_is_told_in_the_log() {
    let scene = Scene::new();
    let good = scene.world.domain("good.example");
    let config = scene.config().set("quota.domain", ["5/day"]);
    let server = Sendoff::start(BINARY, config);
    for _ in 0..5 {
        send(&server, "x@good.example");
    }
    let mut client = server.client();
    client
        .expect(&format!("MAIL FROM:<{SENDER}>"), 250)
        .unwrap();
    let refused = client.command("RCPT TO:<x@good.example>").unwrap();
    assert_eq!(refused.code, 450);
    assert!(
        refused.to_string().contains("quota of origin.example"),
        "{refused}"
    );
    server
        .wait_for_log(&[" quota id=", "(quota.domain)"], SOON)
        .unwrap();
    assert_eq!(good.wait_for(5, SOON).len(), 5);
}

#[test]
fn a_listed_proxy_names_its_client_and_nobody_else_is_believed() {
    let scene = Scene::new();
    let _good = scene.world.domain("good.example");
    let behind = lab::free_address();
    let networks = || lab::Value::from(["192.0.2.0/24"]);
    let listener = [
        ("address", behind.to_string().into()),
        ("proxies", ["127.0.0.0/8"].into()),
        ("networks", ["192.0.2.0/24", "127.0.0.0/8"].into()),
    ];
    let config = scene.config().in_table("listener", "networks", networks());
    let server = Sendoff::start(BINARY, config.table("listener", &listener));
    let through = |client: &str| {
        let mut stream = std::net::TcpStream::connect(behind).unwrap();
        let header = format!("PROXY TCP4 {client} 127.0.0.1 4000 25\r\n");
        stream.write_all(header.as_bytes()).unwrap();
        Client::over(stream).expect("the server greets")
    };
    let attempt = |mut client: Client| {
        client.ehlo().unwrap();
        client
            .expect(&format!("MAIL FROM:<{SENDER}>"), 250)
            .unwrap();
        client.command("RCPT TO:<x@good.example>").unwrap().code
    };
    assert_eq!(attempt(through("192.0.2.9")), 250);
    assert_eq!(attempt(through("198.51.100.9")), 550);
    // A client that the proxy does not name is not trusted as the proxy would be.
    let mut stream = std::net::TcpStream::connect(behind).unwrap();
    stream.write_all(b"PROXY UNKNOWN\r\n").unwrap();
    let unnamed = Client::over(stream).expect("the server greets");
    assert_eq!(attempt(unnamed), 550);
    // A proxy that does not say for whom it speaks gets no session.
    let mut stream = std::net::TcpStream::connect(behind).unwrap();
    stream.write_all(b"EHLO me\r\n").unwrap();
    assert!(Client::over(stream).is_err());
    // Where no proxy is listed its word is no command.
    let mut stream = std::net::TcpStream::connect(server.address()).unwrap();
    stream
        .write_all(b"PROXY TCP4 192.0.2.9 127.0.0.1 4000 25\r\n")
        .unwrap();
    let mut client = Client::over(stream).expect("the server greets");
    let answer = client
        .reply()
        .expect("the server answers what is no command");
    assert_eq!(answer.code, 500, "{answer}");
}

#[test]
fn many_failed_logins_are_not_even_checked_any_more() {
    let scene = Scene::new();
    let scratch = Scratch::new();
    let server = Sendoff::start(BINARY, with_tls(&scene, &scratch));
    add_user(&server, "ann");
    let attempts: Vec<_> = (0..25)
        .map(|_| {
            let mut client = in_tls(&scene, &server);
            thread::spawn(move || {
                let reply = client.auth_plain("ann", "wrong horse");
                reply.expect("the server answers").code
            })
        })
        .collect();
    let codes: Vec<u16> = attempts.into_iter().map(|t| t.join().unwrap()).collect();
    assert!(
        codes.iter().all(|code| matches!(code, 535 | 454)),
        "{codes:?}"
    );
    let mut client = in_tls(&scene, &server);
    let reply = client.auth_plain("ann", "correct horse").unwrap();
    assert_eq!(reply.code, 454, "{reply}");
    eventually("it is told", Duration::from_secs(5), || {
        !log_lines(&server, &["login of user ann failed"]).is_empty()
    });
}
