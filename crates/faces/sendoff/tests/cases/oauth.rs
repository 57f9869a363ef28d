//! Logins at relays by tokens (OAuth 2): got, kept, renewed, refused.

use std::net::IpAddr;
use std::time::Duration;

use lab::{Config, MxHost, Scratch, Sendoff, StartTls, WebAnswer, WebHost};
use serde_json::json;

use crate::scene::{A_WHILE, BINARY, SOON, Scene, eventually, log_lines, queue, send};

const HOST: &str = "login.example";
const USER: &str = "ann@origin.example";

/// A relay that takes a token, and whoever gives it out.
struct Tokens {
    scene: Scene,
    relay: MxHost,
    web: WebHost,
}

fn token(token: &str, life: u32) -> WebAnswer {
    let content = json!({"access_token": token, "token_type": "Bearer", "expires_in": life});
    answer(200, &content)
}

fn answer(status: u16, content: &serde_json::Value) -> WebAnswer {
    let answer = WebAnswer {
        content: content.to_string().into_bytes(),
        ..WebAnswer::status(status)
    };
    answer.with("Content-Type: application/json")
}

impl Tokens {
    fn new() -> Self {
        let scene = Scene::new();
        let ip = IpAddr::V4(scene.world.address());
        let relay = scene.world.host_at(&ip.to_string(), ip);
        relay.set(|b| {
            b.login = Some((USER.to_owned(), "one".to_owned()));
            b.login_required = true;
            b.starttls = StartTls::Good;
            b.mechanisms(&["PLAIN", "XOAUTH2"]);
        });
        let web = scene.world.web(&[HOST]);
        Self { scene, relay, web }
    }

    fn config(&self) -> Config {
        let url = |path| format!("https://{HOST}:{}{path}", self.scene.world.port());
        self.scene
            .config()
            .set("outgoing.mode", "relay")
            .set("outgoing.relay.host", self.relay.ip().to_string())
            .set("outgoing.relay.port", self.relay.address().port())
            .set("outgoing.relay.oauth.token_url", url("/token"))
            .set("outgoing.relay.oauth.client_id", "app")
            .set("outgoing.relay.oauth.user", USER)
    }

    fn by_secret(&self) -> Config {
        self.config()
            .set("outgoing.relay.oauth.client_secret", "s3cret")
            .set("outgoing.relay.oauth.scope", "mail")
    }

    fn start(&self, config: Config) -> Sendoff {
        self.scene.start_trusting(config)
    }

    /// What was asked for at a path.
    fn asked(&self, path: &str) -> Vec<String> {
        let requests = self.web.requests().into_iter();
        let requests = requests.filter(|request| request.path == path);
        let text =
            |request: lab::WebRequest| String::from_utf8_lossy(&request.content).into_owned();
        requests.map(text).collect()
    }
}

#[test]
fn a_token_is_got_once_for_all_and_survives_a_restart() {
    let scene = Tokens::new();
    scene.web.answer(HOST, "/token", token("one", 3600));
    for mechanism in ["XOAUTH2", "OAUTHBEARER"] {
        scene.relay.set(|b| {
            b.mechanisms(&["PLAIN", mechanism]);
        });
        let before = scene.relay.count();
        let mut server = scene.start(scene.by_secret());
        for n in 0..5 {
            send(&server, &format!("u{n}@anywhere.example"));
        }
        let mails = scene.relay.wait_for(before + 5, SOON);
        assert_eq!(mails.len(), before + 5);
        assert_eq!(mails.last().unwrap().user.as_deref(), Some(USER));
        // What is killed before it has written that a mail was taken sends it again.
        eventually("all ends are recorded", SOON, || queue(&server).is_empty());
        server.restart();
        send(&server, "after@anywhere.example");
        assert_eq!(scene.relay.wait_for(before + 6, SOON).len(), before + 6);
        let logins = scene.relay.logins();
        let login = logins.last().unwrap();
        assert!(
            login.mechanism == mechanism && login.tls && login.accepted,
            "{login:?}"
        );
        let status = server.run(&["relay", "status"]);
        assert!(
            status.contains("client_credentials") && status.contains("will be renewed at"),
            "{status}"
        );
        // The token itself is never shown.
        let status = server.run(&["--json", "relay", "status"]);
        assert!(!status.contains("\"one\""), "{status}");
    }
    let asked = scene.asked("/token");
    assert_eq!(asked.len(), 2, "one a server: {asked:?}");
    assert!(
        asked
            .iter()
            .all(|a| a.contains("grant_type=client_credentials") && a.contains("scope=mail"))
    );
}

#[test]
fn a_token_is_renewed_ahead_of_its_end() {
    let scene = Tokens::new();
    let answers = vec![token("one", 10), token("two", 3600)];
    scene.web.answer_in_turn(HOST, "/token", answers);
    let server = scene.start(scene.by_secret());
    eventually("a second token", SOON, || scene.asked("/token").len() == 2);
    scene
        .relay
        .set(|b| b.login = Some((USER.to_owned(), "two".to_owned())));
    send(&server, "bob@anywhere.example");
    assert_eq!(scene.relay.wait_for(1, SOON).len(), 1);
    assert!(scene.relay.logins().iter().all(|login| login.accepted));
}

#[test]
fn what_cannot_be_had_costs_no_attempt_and_is_told_in_words() {
    let scene = Tokens::new();
    let refusal = json!({
        "error": "invalid_client",
        "error_description": "AADSTS7000222: The provided client secret keys for app are expired.",
    });
    scene.web.answer(HOST, "/token", answer(401, &refusal));
    let server = scene.start(scene.by_secret());
    send(&server, "bob@anywhere.example");
    let words = [" our-fault ", "the client secret has expired"];
    assert!(server.wait_for_log(&words, SOON).is_some());
    std::thread::sleep(A_WHILE);
    let list = queue(&server);
    assert_eq!((list.len(), &list[0]["attempts"]), (1, &json!(0)));
    let status = server.run(&["relay", "status"]);
    assert!(
        status.contains("Refused:") && status.contains("AADSTS7000222"),
        "{status}"
    );
    let probed = server.run(&["explain", "bob@anywhere.example", "--probe"]);
    assert!(probed.contains("the client secret has expired"), "{probed}");
    assert_eq!(scene.relay.logins(), []);
    scene.scene.assert_no_failure();

    scene.web.answer(HOST, "/token", token("one", 3600));
    server.run(&["reload"]);
    assert_eq!(scene.relay.wait_for(1, SOON).len(), 1);
    let probed = server.run(&["explain", "bob@anywhere.example", "--probe"]);
    assert!(probed.contains("accepts mail for this address"), "{probed}");
}

#[test]
fn a_token_that_the_relay_refuses_is_thrown_away_and_one_other_is_tried() {
    let scene = Tokens::new();
    let refusal = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.";
    scene.relay.set(|b| b.login_refusal = refusal.to_owned());
    let answers = vec![token("zero", 3600), token("one", 3600)];
    scene.web.answer_in_turn(HOST, "/token", answers);
    let server = scene.start(scene.by_secret());
    send(&server, "bob@anywhere.example");
    let words = [" our-fault ", "Set-CASMailbox"];
    assert!(server.wait_for_log(&words, SOON).is_some());
    // It goes by itself, with the next token.
    assert_eq!(scene.relay.wait_for(1, SOON).len(), 1);
    let accepted: Vec<bool> = scene.relay.logins().iter().map(|l| l.accepted).collect();
    assert_eq!(accepted, [false, true]);
    assert!(log_lines(&server, &[" failed "]).is_empty());
}

#[test]
fn a_relay_that_refuses_every_token_is_asked_twice_and_then_left_alone() {
    let scene = Tokens::new();
    scene
        .relay
        .set(|b| b.login = Some((USER.to_owned(), "another".to_owned())));
    scene.web.answer(HOST, "/token", token("one", 3600));
    let server = scene.start(scene.by_secret());
    send(&server, "bob@anywhere.example");
    eventually("two logins", SOON, || scene.relay.logins().len() == 2);
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(
        scene.relay.logins().len(),
        2,
        "an account is not to be locked"
    );
    let list = queue(&server);
    assert_eq!((list.len(), &list[0]["attempts"]), (1, &json!(0)));
}

#[test]
fn a_person_logs_in_once_and_the_refresh_token_does_the_rest() {
    let scene = Tokens::new();
    let port = scene.scene.world.port();
    let device = json!({
        "device_code": "d3v", "user_code": "ABCD-EFGH", "interval": 1, "expires_in": 60,
        "verification_uri": "https://login.example/device",
    });
    scene.web.answer(HOST, "/device", answer(200, &device));
    let pending = answer(400, &json!({"error": "authorization_pending"}));
    let with_refresh = |access: &str, life: u32, refresh: &str| {
        let content = json!({
            "access_token": access, "token_type": "Bearer", "expires_in": life, "refresh_token": refresh,
        });
        answer(200, &content)
    };
    let answers = vec![
        pending,
        with_refresh("zero", 1, "r1"),
        with_refresh("one", 3600, "r2"),
    ];
    scene.web.answer_in_turn(HOST, "/token", answers);
    let device_url = format!("https://{HOST}:{port}/device");
    let config = scene
        .config()
        .set("outgoing.relay.oauth.device_url", device_url);
    let server = scene.start(config);
    send(&server, "bob@anywhere.example");
    assert!(
        server
            .wait_for_log(&[" our-fault ", "relay login"], SOON)
            .is_some()
    );
    assert!(scene.asked("/token").is_empty());

    let said = server.run(&["relay", "login"]);
    assert!(
        said.contains("https://login.example/device") && said.contains("ABCD-EFGH"),
        "{said}"
    );
    assert_eq!(scene.relay.wait_for(1, SOON).len(), 1);
    let asked = scene.asked("/token");
    assert!(asked[0].contains("device_code=d3v"), "{asked:?}");
    assert!(
        asked.last().unwrap().contains("refresh_token=r1"),
        "{asked:?}"
    );
    let status = server.run(&["relay", "status"]);
    assert!(status.contains("User:    logged in"), "{status}");
}

#[test]
fn a_service_account_signs_what_it_asks_by() {
    let scene = Tokens::new();
    scene.web.answer(HOST, "/token", token("one", 3600));
    let scratch = Scratch::new();
    let file = scratch.path().join("account.json");
    let account = json!({
        "type": "service_account",
        "client_email": "mailer@project.example",
        "private_key_id": "k1",
        "private_key": include_str!("../../../../stages/sign/src/signature/test.rsa.pem"),
    });
    std::fs::write(&file, account.to_string()).unwrap();
    let config = scene.config().set(
        "outgoing.relay.oauth.service_account_file",
        file.display().to_string(),
    );
    let server = scene.start(config);
    send(&server, "bob@anywhere.example");
    assert_eq!(scene.relay.wait_for(1, SOON).len(), 1);
    let asked = scene.asked("/token");
    let jwt = asked[0].split_once("assertion=").unwrap().1;
    assert!(
        asked[0].starts_with("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&")
    );
    assert_eq!(jwt.split('.').count(), 3);
}

#[test]
fn check_warns_of_a_secret_that_has_ended() {
    let scene = Tokens::new();
    scene.web.answer(HOST, "/token", token("one", 3600));
    let config = scene
        .by_secret()
        .set("outgoing.relay.oauth.client_secret_expires", "2020-01-31");
    let server = Sendoff::start(BINARY, config);
    let said = server.run(&["check"]);
    assert!(
        said.contains("client secret") && said.contains("has expired"),
        "{said}"
    );
}
