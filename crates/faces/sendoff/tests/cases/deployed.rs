//! What configuration management does: users and keys given by their hashes, files written by hand, and commands that are
//! run again and again.

use std::fs;
use std::process::Output;

use lab::{Scratch, Sendoff};
use serde_json::{Value, json};

use crate::scene::{BINARY, Scene};
use crate::ways_in::{in_tls, with_tls};
use crate::web::Web;

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn users_who_are_given_by_hash_log_in_by_both_ways() {
    let (scene, scratch) = (Scene::new(), Scratch::new());
    let server = Sendoff::start(BINARY, with_tls(&scene, &scratch));
    let hash = |arguments: &[&str]| text(&server.cli_with_input(arguments, "correct horse\n"));
    let lines = hash(&["user", "hash"]);
    let kept: Value = serde_json::from_str(&hash(&["user", "hash", "--json"])).expect("JSON");
    let (argon, scram) = (&kept["password_hash"], &kept["scram_sha_256"]);
    let (argon, scram) = (
        argon.as_str().expect("a text"),
        scram.as_str().expect("a text"),
    );
    assert!(lines.starts_with("password_hash = \"$argon2id$"), "{lines}");
    server.run(&["user", "add", "ann", "--hash", argon, "--scram", scram]);
    server.run(&["user", "add", "bob", "--hash", argon]);
    // A file as configuration management writes it.
    let file = server.directory().join("data/users.toml");
    let before = fs::read_to_string(&file).expect("the users' file");
    fs::write(
        &file,
        format!("{before}\n[[user]]\nname = \"eve\"\n{lines}"),
    )
    .expect("our file");
    let code = |name: &str, by_scram: bool| {
        let mut client = in_tls(&scene, &server);
        let reply = match by_scram {
            true => client.auth_scram(name, "correct horse", "n"),
            false => client.auth_plain(name, "correct horse"),
        };
        reply.expect("the server answers").code
    };
    for (name, by_scram, expected) in [
        ("ann", false, 235),
        ("ann", true, 235),
        ("bob", false, 235),
        ("bob", true, 535),
        ("eve", false, 235),
        ("eve", true, 235),
    ] {
        assert_eq!(code(name, by_scram), expected, "{name} {by_scram}");
    }
    let wrong = server.cli(&["user", "add", "eva", "--hash", "=19456,t=2,p=1"]);
    assert_eq!(wrong.status.code(), Some(1));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(
        said.contains("make it with `sendoff user hash`, and put it in single quotation marks"),
        "{said}"
    );
    fs::write(
        &file,
        "[[user]]\nname = \"eve\"\npassword_hash = \"secret\"\n",
    )
    .expect("our file");
    let said = String::from_utf8_lossy(&server.cli(&["check"]).stdout).into_owned();
    assert!(
        said.contains("warning: ")
            && said.contains("`eve`: the password's hash is not an Argon2 hash"),
        "{said}"
    );
    assert!(!said.contains("\"secret\""), "{said}");
}

#[test]
fn a_key_that_is_given_by_hash_is_of_use() {
    let scene = Scene::new();
    let (server, web) = Web::start(&scene, scene.config());
    let secret = "0123456789abcdef0123456789abcdef";
    let hash = text(&server.cli_with_input(&["key", "hash"], &format!("{secret}\n")));
    server.run(&[
        "key",
        "add",
        "shop",
        "--scope",
        "read",
        "--hash",
        hash.trim(),
    ]);
    assert_eq!(web.with_secret(secret).get("/api/v1/queue").status, 200);
    let short = server.cli_with_input(&["key", "hash"], "secret\n");
    assert_eq!(short.status.code(), Some(1));
    let wrong = server.cli(&["key", "add", "web", "--scope", "read", "--hash", "abc"]);
    assert_eq!(wrong.status.code(), Some(1));
    let again = server.cli(&["key", "add", "shop", "--scope", "read", "--if-missing"]);
    assert_eq!(text(&again), "");
    assert_eq!(
        String::from_utf8_lossy(&again.stderr),
        "sendoff: The key shop exists already: unchanged.\n"
    );
    assert_eq!(web.with_secret(secret).get("/api/v1/queue").status, 200);
    server.run(&["key", "revoke", "shop"]);
    let said = server.run(&["key", "revoke", "shop", "--if-exists", "--json"]);
    assert_eq!(said, "\"There is no key shop: unchanged.\"\n");
    assert!(!server.cli(&["key", "revoke", "shop"]).status.success());
}

#[test]
fn commands_that_are_run_again_change_nothing_and_say_so() {
    let scene = Scene::new();
    let server = scene.start();
    // No password is asked for: nothing is read.
    let add = ["user", "add", "ann", "--if-missing"];
    assert_eq!(
        text(&server.cli_with_input(&add, "secret\n")),
        "ann can log in now.\n"
    );
    let file = server.directory().join("data/users.toml");
    let before = fs::read_to_string(&file).expect("the users' file");
    assert_eq!(
        server.run(&add),
        "The user ann exists already: unchanged.\n"
    );
    assert_eq!(
        server.run(&["user", "remove", "bob", "--if-exists"]),
        "There is no user bob: unchanged.\n"
    );
    assert_eq!(fs::read_to_string(&file).expect("the users' file"), before);
    for said in [
        "The sender addresses of ann are changed.\n",
        "The sender addresses of ann are unchanged.\n",
    ] {
        assert_eq!(server.run(&["user", "senders", "ann", "@a.example"]), said);
    }
    let suppress = ["suppression", "add", "x@b.example", "--reason", "asked"];
    assert_eq!(server.run(&suppress), "1 on the suppression list.\n");
    let first = server.run(&["suppression", "show", "x@b.example", "--json"]);
    assert_eq!(
        server.run(&suppress),
        "1 on the suppression list: unchanged.\n"
    );
    assert_eq!(
        server.run(&[
            "suppression",
            "add",
            "y@b.example",
            "x@b.example",
            "--reason",
            "asked"
        ]),
        "2 on the suppression list, 1 of them unchanged.\n"
    );
    assert_eq!(
        server.run(&["suppression", "show", "x@b.example", "--json"]),
        first
    );
    let other = server.run(&["suppression", "add", "x@b.example", "--json"]);
    assert_eq!(
        serde_json::from_str::<Value>(&other).expect("JSON"),
        json!("1 on the suppression list.")
    );
    for _ in 0..2 {
        server.run(&["site", "pause", "b.example"]);
        server.run(&["hold", "add", "news", "from:news@"]);
    }
}
