//! What strangers wrote, shown to an administrator: nothing of it reaches a terminal or the log as it is.

use lab::{Sendoff, Verb};

use crate::scene::{BINARY, SENDER, SOON, Scene, eventually, queue};

/// The beginnings of what terminals obey and readers do not see, in every way in.
const HIDDEN: [char; 9] = [
    '\u{1b}', '\u{7}', '\u{9b}', '\u{7f}', '\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}', '\u{ad}',
];

fn trick() -> String {
    format!("x{}y", String::from_iter(HIDDEN))
}

fn assert_clean(what: &str, text: &str) {
    let found = text.chars().find(|c| HIDDEN.contains(c));
    assert_eq!(found, None, "{what}: {text:?}");
}

#[test]
fn what_strangers_wrote_does_nothing_to_a_terminal_or_the_log() {
    for json in [false, true] {
        let scene = Scene::new();
        let host = scene.world.domain("there.example");
        let reply = format!("451 4.7.1 {}", trick());
        host.set(|b| {
            b.reply(Verb::Rcpt, "", &reply);
        });
        let config = scene
            .config()
            .set("log.format", if json { "json" } else { "text" })
            .set("log.detailed", true);
        let server = Sendoff::start(BINARY, config);
        let content = format!("From: <{SENDER}>\r\nSubject: {}\r\n\r\nHi.\r\n", trick());
        let mut client = server.client();
        let said = client.command(&format!("EHLO a{}", trick()));
        said.expect("the server answers");
        let said = client.command(&trick());
        said.expect("the server answers");
        server.send(SENDER, &["bob@there.example"], &content);
        let waits = || queue(&server).iter().any(|r| r["attempts"] == 1);
        eventually("it was tried", SOON, waits);
        let id = queue(&server)[0]["id"].as_str().expect("an id").to_owned();
        for command in [
            &["queue", "show", &id][..],
            &["queue", "list"],
            &["queue", "trace", &id],
            &["site", "list"],
            &["explain", "bob@there.example"],
            &["log", "search", "there.example"],
            &["log", "search"],
        ] {
            assert_clean(&command.join(" "), &server.run(command));
            if command[0] != "log" {
                let json = [command, &["--json"]].concat();
                let text = server.run(&json);
                assert_clean(&json.join(" "), &text);
                serde_json::from_str::<serde_json::Value>(&text).expect("JSON stays JSON");
            }
        }
        let shown = server.run(&["queue", "show", &id]);
        assert!(shown.contains("x\\u001b\\u0007\\u009b"), "{shown}");
        assert_clean("the log", &server.log());
        let wrong = format!("bob{}@there.example", trick());
        let said = server.cli(&["explain", &wrong]);
        assert_clean("an error", &String::from_utf8_lossy(&said.stderr));
        assert_clean("an answer", &String::from_utf8_lossy(&said.stdout));
    }
}
