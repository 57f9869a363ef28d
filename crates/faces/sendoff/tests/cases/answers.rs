//! What the command line answers: exit codes, JSON, and the log's numbers.

use lab::Sendoff;
use serde_json::{Value, json};

use crate::scene::{BINARY, SENDER, SOON, Scene, eventually, mail, queue};

fn parsed(octets: &[u8]) -> Value {
    let text = String::from_utf8_lossy(octets);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("no JSON ({e}): {text}"))
}

#[test]
fn a_domain_that_is_not_there_and_a_webhook_that_refuses_are_failures() {
    let scene = Scene::new();
    let config = scene.config().table(
        "webhook",
        &[
            ("name", "deaf".into()),
            // Nobody listens at this port.
            ("url", "http://127.0.0.1:1/in".into()),
            ("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()),
        ],
    );
    let server = Sendoff::start(BINARY, config);
    for json in [&[][..], &["--json"]] {
        let mx = server.cli(&[&["mx", "nowhere.example"], json].concat());
        assert_eq!(mx.status.code(), Some(1));
        let test = server.cli(&[&["webhook", "test", "deaf"], json].concat());
        assert_eq!(test.status.code(), Some(1), "{test:?}");
        for output in [&mx, &test] {
            assert_eq!(String::from_utf8_lossy(&output.stderr), "");
            assert!(!output.stdout.is_empty());
            if !json.is_empty() {
                parsed(&output.stdout);
            }
        }
    }
}

#[test]
fn errors_are_json_where_json_is_asked_for() {
    let scene = Scene::new();
    let mut server = scene.start();
    let failed = |server: &Sendoff, command: &[&str]| {
        let output = server.cli(&[command, &["--json"]].concat());
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{command:?}");
        let said = parsed(&output.stderr);
        assert_eq!(
            said["exit_code"].as_i64(),
            output.status.code().map(i64::from)
        );
        (
            output.status.code(),
            said["error"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let (code, error) = failed(&server, &["queue", "show", "2CVAHY9V0W1"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("there is no message"), "{error}");
    server.terminate();
    let (code, error) = failed(&server, &["queue", "list"]);
    assert_eq!(code, Some(3));
    assert!(error.starts_with("no server answers at "), "{error}");
    server.reconfigure(|config| config.set("log.format", "xml"));
    let (code, error) = failed(&server, &["dns", "list"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("log.format"), "{error}");
    // What asks the server needs to know where it is, and no more.
    let (code, _) = failed(&server, &["queue", "list"]);
    assert_eq!(code, Some(3));
}

#[test]
fn a_users_own_domains_are_named() {
    let scene = Scene::new();
    let server = scene.start();
    let add = |name: &str| {
        let output = server.cli_with_input(&["user", "add", name, "--json"], "secret-1-secret\n");
        assert_eq!(
            parsed(&output.stdout),
            json!(format!("{name} can log in now."))
        );
    };
    add("ann");
    add("bob@b.example");
    let shown = |name: &str| parsed(server.run(&["user", "senders", name, "--json"]).as_bytes());
    assert_eq!(
        shown("bob@b.example"),
        json!({ "user": "bob@b.example", "senders": ["@b.example"], "own_domains": true })
    );
    assert_eq!(shown("ann")["senders"][0], "@sendoff.lab");
    let text = server.run(&["user", "senders", "ann"]);
    assert_eq!(text, "ann may send from its own domains: @sendoff.lab.\n");
    server.run(&["user", "senders", "ann", SENDER]);
    assert_eq!(
        shown("ann"),
        json!({ "user": "ann", "senders": [SENDER], "own_domains": false })
    );
}

#[test]
fn one_recipient_is_one() {
    let scene = Scene::new();
    let server = scene.start();
    let config = ["bob@nowhere.invalid"];
    server.run(&["hold", "add", "all", "domain:nowhere.invalid"]);
    server.send(SENDER, &config, &mail("a case"));
    eventually("it waits", SOON, || queue(&server).len() == 1);
    let said = server.run(&["queue", "release", "--all", "--yes"]);
    assert!(said.starts_with("1 recipient changed"), "{said}");
}

#[test]
fn numbers_are_numbers_in_a_log_of_json() {
    let scene = Scene::new();
    let host = scene.world.domain("there.example");
    let server = Sendoff::start(BINARY, scene.config().set("log.format", "json"));
    server.send(SENDER, &["bob@there.example"], &mail("12345"));
    assert_eq!(host.wait_for(1, SOON).len(), 1);
    let wanted = ["\"event\":\"delivered\""];
    let line = server.wait_for_log(&wanted, SOON).expect("it is logged");
    assert_eq!(parsed(line.as_bytes())["attempt"], 1);
    let line = server.wait_for_log(&["\"event\":\"accepted\""], SOON);
    let line = parsed(line.expect("it is logged").as_bytes());
    assert!(line["size"].is_u64() && line["id"].is_string(), "{line}");
    let line = server.wait_for_log(&["\"event\":\"start\""], SOON);
    assert_eq!(parsed(line.expect("it is logged").as_bytes())["waiting"], 0);
}
