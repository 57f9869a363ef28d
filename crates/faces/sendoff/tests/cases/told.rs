//! What the administrator is told: the log and its details.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use lab::Sendoff;

use crate::scene::{BINARY, SENDER, SOON, Scene, eventually, log_lines, mail, send};

#[test]
fn the_log_is_searched_by_words_over_files_that_were_put_aside() {
    let scene = Scene::new();
    let good = scene.world.domain("good.example");
    let config = scene.config().set("log.rotate_at", "2kB");
    let server = Sendoff::start(BINARY, config);
    for n in 0..10 {
        send(&server, &format!("user{n}@good.example"));
    }
    assert_eq!(good.wait_for(10, SOON).len(), 10);
    eventually("every delivery is in the log", SOON, || {
        server
            .run(&["log", "search", "delivered", "good.example"])
            .lines()
            .count()
            == 10
    });
    let one = server.run(&["log", "search", "DELIVERED", "user3@good.example"]);
    assert_eq!(one.lines().count(), 1, "{one}");
    let newest = server.run(&["log", "search", "accepted", "--limit", "2"]);
    assert_eq!(newest.lines().count(), 2, "{newest}");
    assert!(newest.contains("user9@good.example"), "{newest}");
    let none = server.cli(&["log", "search", "no such words"]);
    assert!(!none.status.success());
    let tail = server.run(&["log", "tail", "--no-follow", "-n", "3", "accepted"]);
    assert_eq!(tail.lines().count(), 3, "{tail}");
}

#[test]
fn the_end_of_the_log_is_followed_into_the_next_file() {
    let scene = Scene::new();
    let good = scene.world.domain("good.example");
    let config = scene.config().set("log.rotate_at", "2kB");
    let server = Sendoff::start(BINARY, config);
    let config = server.config_file();
    send(&server, "first@good.example");
    server
        .wait_for_log(&[" accepted ", "first@"], SOON)
        .unwrap();
    let mut child = Command::new(BINARY)
        .args(["log", "tail", "-n", "1", "accepted", "--config"])
        .arg(config)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    // What was there is printed once it follows.
    let first = lines.next().expect("a line").expect("text");
    assert!(first.contains("first@good.example"), "{first}");
    for n in 0..20 {
        send(&server, &format!("user{n}@good.example"));
    }
    let found = lines
        .map_while(Result::ok)
        .filter(|line| line.contains("user"))
        .take(20)
        .count();
    assert_eq!(found, 20);
    child.kill().expect("it can be stopped");
    child.wait().expect("it ends");
    drop(good);
}

#[test]
fn details_of_one_sender_are_logged_for_a_time() {
    let scene = Scene::new();
    let good = scene.world.domain("good.example");
    let server = scene.start();
    let told = server.run(&["log", "detailed", "on", "--only", SENDER, "--for", "2s"]);
    assert!(told.contains("is on until 20"), "{told}");
    server.send("other@origin.example", &["b@good.example"], &mail("other"));
    send(&server, "a@good.example");
    assert_eq!(good.wait_for(2, SOON).len(), 2);
    let said = |to: &str| !log_lines(&server, &[" smtp ", &format!("RCPT TO:<{to}>")]).is_empty();
    eventually("the talk is logged", SOON, || said("a@good.example"));
    assert!(!said("b@good.example"));
    eventually("the details end", SOON, || {
        send(&server, "c@good.example");
        eventually("it is delivered", SOON, || {
            !log_lines(&server, &[" delivered ", "c@good.example"]).is_empty()
        });
        let before = log_lines(&server, &[" smtp ", "RCPT TO:<c@good.example>"]).len();
        let sent = log_lines(&server, &[" delivered ", "c@good.example"]).len();
        before < sent
    });
}
