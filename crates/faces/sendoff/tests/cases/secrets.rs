//! Secrets in every place that has some, and every output searched for them.

use std::fs;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lab::{Client, Config, MxHost, Scratch, Sendoff, StartTls, Verb, WebAnswer, WebHost};
use serde_json::json;

use crate::scene::{SENDER, SOON, Scene, eventually, log_lines, queue, send};
use crate::ways_in::in_tls;
use crate::web::Web;

const USER: &str = "Us3r-passw0rd-of-ann";
const RELAY: &str = "Re1ay-passw0rd-zu-finden";
const CLIENT: &str = "C1ient-secret-of-the-app";
const TOKEN: &str = "ya29.T0ken-that-lets-one-send";
const HOOK: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const HOOKS: &str = "hooks.example";
const TOKENS: &str = "login.example";

fn plain(user: &str, password: &str) -> String {
    STANDARD.encode(format!("\0{user}\0{password}"))
}

/// The forms in which a secret could be found.
fn forms(secret: &str) -> Vec<String> {
    let trimmed = |text: String| text.trim_end_matches('=').to_owned();
    let users = ["ann", "bob", SENDER];
    let said = users.iter().map(|user| trimmed(plain(user, secret)));
    let own = [secret.to_owned(), trimmed(STANDARD.encode(secret))];
    own.into_iter().chain(said).collect()
}

fn assert_hidden(place: &str, output: &str, secrets: &[String]) {
    let output = output.to_lowercase();
    for form in secrets.iter().flat_map(|secret| forms(secret)) {
        let found = output.find(&form.to_lowercase());
        let shown = |at: usize| {
            output
                .get(at.saturating_sub(300)..at + 20)
                .unwrap_or_default()
        };
        assert!(
            found.is_none(),
            "{place} shows {form}: {}",
            found.map(shown).unwrap_or_default()
        );
    }
}

/// A relay that repeats what it was told, in its refusals.
fn echoing(scene: &Scene, secret: &str) -> MxHost {
    let ip = IpAddr::V4(scene.world.address());
    let host = scene.world.host_at(&ip.to_string(), ip);
    let said = format!(
        "{secret} {} {}",
        STANDARD.encode(secret),
        plain("ann", secret)
    );
    host.set(|b| {
        b.login = Some(("ann".to_owned(), secret.to_owned()));
        b.login_required = true;
        b.login_refusal = format!("535 5.7.8 no: {said}");
        b.starttls = StartTls::Good;
        b.reply(Verb::Rcpt, "bob", &format!("550 5.1.1 nobody, {said}"));
        b.reply(Verb::Rcpt, "late", &format!("451 4.1.1 not now, {said}"));
    });
    host
}

fn config(scene: &Scene, scratch: &Scratch, relay: &MxHost, hooks: &WebHost) -> Config {
    hooks.answer(HOOKS, "/in", WebAnswer::status(204));
    let hook = [
        ("name", "crm".into()),
        (
            "url",
            format!("https://{HOOKS}:{}/in", scene.world.port()).into(),
        ),
        ("secret", HOOK.into()),
    ];
    let identity = scene.world.ca.issue(&["submit.origin.example"]);
    let written = identity.write(scratch.path(), "submit");
    let (certificate, private) = written.expect("files for the certificate");
    scene
        .config()
        .set("tls.certificate", certificate.display().to_string())
        .set("tls.private_key", private.display().to_string())
        .in_table("listener", "tls", "starttls")
        .set("intake.max_bad_commands", 100)
        .set("log.detailed", true)
        .set("console.address", scene.world.console().to_string())
        .set("outgoing.mode", "relay")
        .set("outgoing.relay.host", relay.ip().to_string())
        .set("outgoing.relay.port", relay.address().port())
        .set("return_path.domain", "bounces.origin.example")
        .table("webhook", &hook)
}

/// Logins as clients make them, and as they get them wrong; each on a connection of its own.
fn log_in_badly(connect: impl Fn() -> Client) {
    let (response, password) = (plain("ann", USER), STANDARD.encode(USER));
    let user = STANDARD.encode("ann");
    for lines in [
        &[format!("AUTH PLAIN {response}")][..],
        &[format!("AUTH\tPLAIN\t{response}")],
        &[format!("AUTH  PLAIN  {response}")],
        &[format!(" AUTH PLAIN {response}")],
        &[format!("auth\u{a0}PLAIN {response}")],
        &[format!("AUTH:PLAIN {response}")],
        &[format!("AUTHPLAIN {response}")],
        &[format!("AUTH PLAIN {response} more")],
        &[format!("AUTH PLAIN {response}x")],
        &[format!("AUTH {response}")],
        &[format!("AUTH FOO {response}")],
        &["AUTH FOO".to_owned(), response],
        &["AUTH LOGIN".to_owned(), user.clone(), password.clone()],
        &["AUTH FOO".to_owned(), user, password, USER.to_owned()],
        &[format!("PASS {USER}")],
    ] {
        let mut client = connect();
        for line in lines {
            client.send_line(line).expect("the server reads");
            client.reply().expect("the server answers");
        }
    }
}

/// All that this server shows, but for what is asked of it with the secrets themselves.
fn outputs(server: &Sendoff, id: &str) -> Vec<(String, String)> {
    let mut all = vec![
        ("the log".to_owned(), server.log()),
        ("standard error".to_owned(), server.stderr()),
    ];
    for command in [
        &["queue", "list"][..],
        &["queue", "show", id],
        &["queue", "trace", id],
        &["queue", "history"],
        &["site", "list"],
        &["events"],
        &["stats"],
        &["user", "list"],
        &["key", "list"],
        &["webhook", "list"],
        &["webhook", "test", "crm"],
        &["relay", "status"],
        &["dkim", "list"],
        &["explain", "late@there.example"],
        &["explain", "late@there.example", "--probe"],
        &["check"],
        &["log", "search"],
    ] {
        for json in [false, true] {
            let command = [command, if json { &["--json"] } else { &[] }].concat();
            let output = server.cli(&command);
            let said = [&output.stdout[..], &output.stderr].concat();
            all.push((
                command.join(" "),
                String::from_utf8_lossy(&said).into_owned(),
            ));
        }
    }
    all
}

#[test]
fn no_output_shows_a_password_a_key_or_a_secret() {
    let (scene, scratch) = (Scene::new(), Scratch::new());
    let relay = echoing(&scene, RELAY);
    let hooks = scene.world.web(&[HOOKS]);
    let config = config(&scene, &scratch, &relay, &hooks)
        .set("outgoing.relay.tls", "verify")
        .set("outgoing.relay.username", "ann")
        .set("outgoing.relay.password", RELAY);
    let mut server = scene.start_trusting(config);
    let added = server.cli_with_input(&["user", "add", "ann"], &format!("{USER}\n"));
    assert!(added.status.success(), "{added:?}");
    let key = server
        .run(&["key", "add", "web", "--scope", "send,read"])
        .trim()
        .to_owned();
    let web = Web::at(scene.world.console()).with_secret(&key);
    log_in_badly(|| server.client());
    log_in_badly(|| in_tls(&scene, &server));
    web.get("/api/v1/queue").expect(200);
    web.with_secret(&format!("{key}x"))
        .get("/api/v1/queue")
        .expect(401);
    Web::at(scene.world.console())
        .with_header("Authorization", &format!("Basic {key}"))
        .get("/api/v1/queue")
        .expect(401);
    web.get(&format!("/api/v1/{key}"));

    send(&server, "bob@there.example");
    let mails = relay.wait_for(1, SOON);
    let failure = mails.first().expect("a failure message").text();
    assert!(failure.contains("nobody, ***"), "{failure}");
    send(&server, "late@there.example");
    eventually("it was tried", SOON, || {
        queue(&server).iter().any(|r| r["attempts"] == 1)
    });
    let told = || {
        hooks
            .requests()
            .iter()
            .any(|r| String::from_utf8_lossy(&r.content).contains("nobody"))
    };
    eventually("it is told", SOON, told);
    let id = queue(&server)[0]["id"].as_str().expect("an id").to_owned();
    let mut secrets = vec![USER.to_owned(), RELAY.to_owned(), key, HOOK.to_owned()];
    for name in ["return-path-secrets", "return_path_secrets", "secrets"] {
        if let Ok(text) = fs::read_to_string(server.directory().join("data").join(name)) {
            secrets.push(text.trim().to_owned());
        }
    }
    let mut all = outputs(&server, &id);
    // Now the login itself is refused.
    relay.set(|b| b.login = Some(("ann".to_owned(), "another".to_owned())));
    server.restart();
    eventually("it is refused", SOON, || {
        !log_lines(&server, &["535"]).is_empty()
    });
    all.extend(outputs(&server, &id));
    all.push(("a failure message".to_owned(), failure));
    for request in hooks.requests() {
        all.push((
            "an event".to_owned(),
            String::from_utf8_lossy(&request.content).into_owned(),
        ));
    }
    for (place, output) in &all {
        assert_hidden(place, output, &secrets);
    }
    let shown = log_lines(&server, &["AUTH PLAIN ***"]);
    assert!(
        !shown.is_empty(),
        "what was said is told as far as it may be"
    );
}

#[test]
fn no_output_shows_a_token_or_what_it_is_got_by() {
    let (scene, scratch) = (Scene::new(), Scratch::new());
    let relay = echoing(&scene, TOKEN);
    relay.set(|b| {
        b.mechanisms(&["XOAUTH2"]);
    });
    let web = scene.world.web(&[HOOKS, TOKENS]);
    let answer = |status, content: serde_json::Value| {
        let answer = WebAnswer {
            content: content.to_string().into_bytes(),
            ..WebAnswer::status(status)
        };
        answer.with("Content-Type: application/json")
    };
    let token = json!({ "access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600 });
    web.answer(TOKENS, "/token", answer(200, token));
    let config = config(&scene, &scratch, &relay, &web)
        .set(
            "outgoing.relay.oauth.token_url",
            format!("https://{TOKENS}:{}/token", scene.world.port()),
        )
        .set("outgoing.relay.oauth.client_id", "app")
        .set("outgoing.relay.oauth.user", "ann")
        .set("outgoing.relay.oauth.client_secret", CLIENT)
        .set("outgoing.relay.oauth.scope", "mail");
    let server = scene.start_trusting(config.clone());
    send(&server, "late@there.example");
    eventually("it was tried", SOON, || {
        queue(&server).iter().any(|r| r["attempts"] == 1)
    });
    let id = queue(&server)[0]["id"].as_str().expect("an id").to_owned();
    let mut all = outputs(&server, &id);
    drop(server);
    // No token is given, and the refusal says which secret is wrong.
    let refusal = format!("the secret {CLIENT} ({}) is wrong", STANDARD.encode(CLIENT));
    let refusal = json!({ "error": "invalid_client", "error_description": refusal });
    web.answer(TOKENS, "/token", answer(401, refusal));
    let server = scene.start_trusting(config);
    send(&server, "late@there.example");
    let refused = || !log_lines(&server, &["the secret ***"]).is_empty();
    eventually("it is refused", SOON, refused);
    all.extend(outputs(&server, &id));
    for (place, output) in &all {
        assert_hidden(place, output, &[TOKEN.to_owned(), CLIENT.to_owned()]);
    }
}
