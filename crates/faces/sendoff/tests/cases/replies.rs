//! What is known of answers: kinds, what rules make of them, and what is done by itself.

use std::fs;

use lab::{Config, MxHost, Scratch, Sendoff, Verb};
use serde_json::Value;

use crate::scene::{A_WHILE, BINARY, SOON, Scene, eventually, log_lines, queue, send, send_many};

const LIMITED: &str = "421 4.7.28 Gmail has detected an unusual rate of mail";

/// A provider whose host stands below a name that the rules know.
fn provider(scene: &Scene) -> MxHost {
    scene.world.mx("mail.example", 10, "mx.google.com")
}

fn with_rules(config: Config, rules: &str) -> Sendoff {
    let scratch = Scratch::new();
    let file = scratch.path().join("rules.toml");
    fs::write(&file, rules).expect("a file of rules");
    let config = config.set("replies.rules", file.display().to_string());
    Sendoff::start_in(scratch, BINARY, config, &[])
}

fn sites(server: &Sendoff) -> Vec<Value> {
    let text = server.run(&["site", "list", "--json"]);
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let sites = answer.pointer("/sites").or(Some(&answer));
    sites.and_then(Value::as_array).cloned().unwrap_or_default()
}

fn action(server: &Sendoff) -> Option<String> {
    let sites = sites(server);
    let mut actions = sites.iter().filter_map(|site| site.get("action")?.as_str());
    actions.next().map(str::to_owned)
}

#[test]
fn a_site_that_limits_the_rate_is_slowed_told_kept_and_let_go_by_hand() {
    let scene = Scene::new();
    let host = provider(&scene);
    host.set(|b| {
        b.reply(Verb::Rcpt, "", LIMITED);
    });
    let config = scene.config().set("outgoing.resend_wait", "1h");
    let mut server = Sendoff::start(BINARY, config);
    send_many(&server, 3, |n| format!("bob{n}@mail.example"));
    let line = server
        .wait_for_log(&[" action ", "who=rule:slow-google"], SOON)
        .expect("the action stands in the log");
    for text in [
        "verb=slow ",
        "domain=mail.example",
        "limits=\"rate=60/60s connections=2\"",
        "until=",
        "cause=\"3 × rate_limited in 10m, most recently mx.google.com",
        "421 4.7.28",
    ] {
        assert!(line.contains(text), "{text} in {line}");
    }
    let deferred = log_lines(
        &server,
        &[" deferred ", "kind=rate_limited", "rule=google-rate"],
    );
    assert_eq!(deferred.len(), 3, "{}", server.log());
    let kinds: Vec<Value> = queue(&server);
    let all = kinds
        .iter()
        .all(|row| row.get("kind") == Some(&"rate_limited".into()));
    assert!(all, "{kinds:?}");

    let shown = |server: &Sendoff| server.run(&["site", "show", "mail.example"]);
    assert!(
        shown(&server).contains("slowed (rate=60/60s connections=2) until"),
        "{}",
        shown(&server)
    );
    let explained = server.run(&["explain", "bob@mail.example"]);
    assert!(explained.contains("by rule:slow-google"), "{explained}");
    assert!(explained.contains("3 × rate_limited"), "{explained}");

    server.restart();
    assert!(action(&server).is_some_and(|a| a.starts_with("rule:slow-google since")));
    server.run(&["site", "slow", "mail.example", "--off"]);
    assert_eq!(action(&server), None);
    assert_eq!(
        log_lines(&server, &[" action ", "verb=resume", "site="]).len(),
        1
    );
    server.restart();
    assert_eq!(action(&server), None);
}

#[test]
fn a_pause_by_a_rule_costs_no_attempt_and_ends_by_itself() {
    let scene = Scene::new();
    let host = scene.world.domain("busy.example");
    host.set(|b| {
        b.reply_times(
            Verb::Rcpt,
            "",
            "450 4.7.1 come back later, you are too keen",
            2,
        );
    });
    let rules = "[[rule]]\nid = \"keen\"\nkind = \"rate_limited\"\ntext = [\"too keen\"]\n\
                 [[action]]\nid = \"rest\"\non = \"rate_limited\"\ndomain = [\"busy.example\"]\n\
                 after = 2\ndo = \"pause\"\nfor = \"4s\"\n";
    let server = with_rules(scene.config(), rules);
    send_many(&server, 2, |n| format!("bob{n}@busy.example"));
    let told = server.wait_for_log(&[" action ", "who=rule:rest", "verb=pause"], SOON);
    assert!(told.is_some(), "{}", server.log());
    // Their second attempts are due within the pause, and wait for its end.
    eventually("the wait has its reason", SOON, || {
        let rows = queue(&server);
        let reason = |row: &Value| row.get("reason").and_then(Value::as_str).map(str::to_owned);
        let left_alone = |reason: String| reason.contains("paused for a time");
        rows.len() == 2 && rows.iter().filter_map(reason).all(left_alone)
    });
    let explained = server.run(&["explain", "bob0@busy.example"]);
    assert!(
        explained.contains("it would wait: its site is paused until"),
        "{explained}"
    );
    assert_eq!(host.wait_for(2, SOON).len(), 2);
    let delivered = |n| log_lines(&server, &[" delivered ", &format!("bob{n}@"), "attempt=2 "]);
    eventually("both are delivered at their second attempt", SOON, || {
        delivered(0).len() + delivered(1).len() == 2
    });
    let ended = server.wait_for_log(&[" action ", "who=rule:rest", "verb=pause-ended"], SOON);
    assert!(ended.is_some());
}

#[test]
fn a_pause_is_taken_back_by_resume() {
    let scene = Scene::new();
    let host = scene.world.domain("busy.example");
    host.set(|b| {
        b.reply_times(Verb::Rcpt, "", "421 4.7.0 too many messages", 1);
    });
    let rules = "[[action]]\nid = \"rest\"\non = \"rate_limited\"\ndo = \"pause\"\nfor = \"1d\"\n";
    let server = with_rules(scene.config(), rules);
    send(&server, "bob@busy.example");
    let told = server.wait_for_log(&[" action ", "who=rule:rest", "verb=pause"], SOON);
    assert!(told.is_some(), "{}", server.log());
    assert!(host.wait_for(1, A_WHILE).is_empty());
    server.run(&["site", "resume", "busy.example"]);
    assert_eq!(host.wait_for(1, SOON).len(), 1);
}

#[test]
fn rules_decide_against_a_code_and_the_log_says_so() {
    let scene = Scene::new();
    let grey = scene.world.domain("grey.example");
    grey.set(|b| {
        b.reply_times(Verb::Rcpt, "", "550 5.7.1 Greylisted, please try again", 1);
    });
    let gone = scene.world.domain("gone.example");
    gone.set(|b| {
        b.reply(Verb::Rcpt, "", "450 4.2.1 this account is closed for good");
    });
    let rules = "[[rule]]\nid = \"closed\"\nkind = \"inactive_user\"\ncode = [\"450\"]\n\
                 text = [\"closed for good\"]\ntreat_as = \"failed\"\n";
    let server = with_rules(scene.config(), rules);
    send(&server, "bob@grey.example");
    assert_eq!(grey.wait_for(1, SOON).len(), 1);
    let what = [
        " deferred ",
        "bob@grey.example",
        "kind=greylisted rule=greylisted-final treated-as=deferred",
    ];
    assert_eq!(log_lines(&server, &what).len(), 1, "{}", server.log());
    send(&server, "bob@gone.example");
    scene.failure();
    let what = [
        " failed ",
        "bob@gone.example",
        "attempt=1",
        "rule=closed treated-as=failed",
    ];
    assert_eq!(log_lines(&server, &what).len(), 1, "{}", server.log());
}

#[test]
fn a_plan_for_a_kind_takes_the_place_of_the_domains() {
    let scene = Scene::new();
    let host = scene.world.domain("grey.example");
    host.set(|b| {
        b.reply_times(Verb::Rcpt, "", "451 4.7.1 Greylisted", 1);
    });
    let rules =
        "[[action]]\nid = \"soon\"\non = \"greylisted\"\ndo = \"plan\"\nplan = [\"1s*5\"]\n";
    let server = with_rules(scene.config().set("outgoing.resend_wait", "1h"), rules);
    send(&server, "bob@grey.example");
    assert_eq!(host.wait_for(1, SOON).len(), 1);
}

#[test]
fn a_wrong_file_is_refused_with_its_line() {
    let scene = Scene::new();
    let scratch = Scratch::new();
    let file = scratch.path().join("rules.toml");
    let rules = "[[rule]]\nid = \"a\"\nkind = \"rude\"\ncode = [\"421\"]\n";
    fs::write(&file, rules).unwrap();
    let path = scratch.path().join("sendoff.toml");
    let check = |text: &str| {
        fs::write(&path, text).unwrap();
        let output = std::process::Command::new(BINARY)
            .args(["--config", &path.display().to_string(), "check"])
            .output()
            .expect("the command runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let (code, said) = check("[replies]\nrules = \"rules.toml\"\n");
    assert_eq!(code, Some(2));
    assert!(
        said.contains("rules.toml:3: kind: `rude` is not a kind: write one of greylisted"),
        "{said}"
    );
    fs::write(
        &file,
        "[[action]]\nid = \"x\"\non = \"blocked\"\ndo = \"slow\"\n",
    )
    .unwrap();
    let (code, said) = check("[replies]\nrules = \"rules.toml\"\n");
    assert_eq!(code, Some(2));
    assert!(
        said.contains("rules.toml:4: do: slow needs max_connections"),
        "{said}"
    );
    let (code, said) = check("[replies]\ndisable = [\"no-such-rule\"]\n");
    assert_eq!(code, Some(2));
    assert!(
        said.contains("sendoff.toml:2: replies.disable: there is no rule or action `no-such-rule`"),
        "{said}"
    );
    let (code, said) = check("[replies]\ndisable = [\"slow-google\", \"greylisted\"]\n");
    assert_eq!(code, Some(0), "{said}");
    drop(scene);
}

#[test]
fn a_rule_is_shown_with_its_reason_and_a_kind_can_suppress() {
    let scene = Scene::new();
    let host = scene.world.domain("gone.example");
    host.set(|b| {
        b.reply(Verb::Rcpt, "", "550 No such user here");
    });
    let config = scene
        .config()
        .set("suppression.enabled", true)
        .set("suppression.kinds", ["no_such_user"]);
    let server = Sendoff::start(BINARY, config);
    let said = server.run(&[
        "replies",
        "test",
        LIMITED,
        "--host",
        "alt1.gmail-smtp-in.l.google.com",
    ]);
    for text in [
        "rate_limited: rule google-rate",
        "source: https://",
        "action slow-google: 3 × in 10m",
    ] {
        assert!(said.contains(text), "{text} in {said}");
    }
    let listed = server.run(&["replies", "list", "--kind", "greylisted"]);
    assert!(
        listed.contains("greylisted-final: greylisted, treated as deferred"),
        "{listed}"
    );
    send(&server, "bob@gone.example");
    scene.failure();
    let told = server.wait_for_log(&[" suppressed ", "bob@gone.example"], SOON);
    assert!(told.is_some(), "{}", server.log());
}
