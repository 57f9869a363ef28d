//! Mail for local names: `root`, `postmaster`, and who writes to them.

use std::fs;

use lab::{Received, Sendoff};

use crate::scene::{BINARY, SOON, Scene, feed, log_lines, mail, send_with};
use crate::sendmail::{drop_dir, hand_in};

/// Everybody who got one of these.
fn to(mails: &[Received]) -> Vec<String> {
    let all = mails.iter().flat_map(|m| &m.recipients);
    let mut all: Vec<String> = all.map(|r| r.address.clone()).collect();
    all.sort();
    all
}

/// What `check` says to settings.
fn check(scene: &Scene, settings: &str) -> (bool, String) {
    let directory = lab::Scratch::new();
    let file = directory.path().join("sendoff.toml");
    let text = format!("{}\n{settings}", scene.config().text());
    fs::write(&file, text).expect("a file");
    let mut command = std::process::Command::new(BINARY);
    command.arg("--config").arg(&file).arg("check");
    let output = feed(command, b"");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

#[test]
fn mail_for_root_goes_where_its_alias_says() {
    let scene = Scene::new();
    let config = scene
        .config()
        .set("hostname", "mail.office.example")
        .set("aliases.root", ["ann@origin.example", "eve@origin.example"])
        .set("aliases.cron", "root");
    let server = Sendoff::start(BINARY, config);
    hand_in(
        &server,
        &["-f", "bob@origin.example", "cron"],
        "Subject: x\n\nnightly\n",
    );
    let mails = scene.origin.wait_for(1, SOON);
    assert_eq!(to(&mails), ["ann@origin.example", "eve@origin.example"]);
    // By SMTP too, and by the shortest of all paths (RFC 5321 §4.5.1).
    send_with(&server, "", &["<Root@LOCALHOST>"], mail("two").as_bytes());
    assert_eq!(scene.origin.wait_for(2, SOON).len(), 2);
}

#[test]
fn a_failure_message_to_a_local_name_follows_its_alias() {
    let scene = Scene::new();
    let config = scene
        .config()
        .set("hostname", "mail.office.example")
        .set("aliases.root", "ann@origin.example");
    let server = Sendoff::start(BINARY, config);
    let sender = ["-f", "root@mail.office.example", "bob@nowhere.example"];
    hand_in(&server, &sender, "Subject: x\n\nnightly\n");
    let mails = scene.origin.wait_for(1, SOON);
    assert_eq!(mails[0].sender, "");
    assert_eq!(to(&mails), ["ann@origin.example"]);
    assert!(mails[0].text().contains("bob@nowhere.example"));
}

#[test]
fn what_nobody_reads_is_sent_to_the_administrator() {
    let scene = Scene::new();
    let config = scene
        .config()
        .set("hostname", "mail.office.example")
        .set("postmaster", "ann@origin.example");
    let server = Sendoff::start(BINARY, config);
    let own = "daemon@mail.office.example";
    hand_in(&server, &["-f", own, own], "Subject: x\n\nthe disk fails\n");
    let mails = scene.origin.wait_for(1, SOON);
    assert_eq!(to(&mails), ["ann@origin.example"]);
    assert!(mails[0].text().contains("the disk fails"));
    assert!(log_lines(&server, &[" unreportable "]).is_empty());
}

#[test]
fn where_there_is_no_administrator_the_log_says_what_to_set() {
    let scene = Scene::new();
    let config = scene
        .config()
        .set("hostname", "mail.office.example")
        .unset("postmaster");
    let server = Sendoff::start(BINARY, config);
    let own = "daemon@mail.office.example";
    hand_in(&server, &["-f", own, own], "Subject: x\n\nthe disk fails\n");
    let line = server.wait_for_log(&[" unreportable ", own, "[aliases]"], SOON);
    assert!(line.is_some(), "{}", server.log());
    assert!(drop_dir(&server).exists());
}

#[test]
fn strangers_may_write_to_an_alias_and_to_nobody_else() {
    let scene = Scene::new();
    let config = scene
        .config()
        .set("hostname", "mail.office.example")
        .set("postmaster", "boss@origin.example")
        .set("aliases.postmaster", "ann@origin.example")
        .in_table("listener", "networks", ["192.0.2.0/24"]);
    let server = Sendoff::start(BINARY, config);
    let mut client = server.client();
    client
        .expect("MAIL FROM:<x@far.example>", 250)
        .expect("MAIL");
    client
        .expect("RCPT TO:<ann@origin.example>", 550)
        .expect("refused");
    client.expect("RCPT TO:<Postmaster>", 250).expect("RCPT");
    client
        .expect("RCPT TO:<other@mail.office.example>", 550)
        .expect("refused");
    client.expect("DATA", 354).expect("DATA");
    client.content(mail("one").as_bytes()).expect("an answer");
    client
        .expect("MAIL FROM:<x@far.example>", 250)
        .expect("MAIL");
    let postmaster = "RCPT TO:<postmaster@mail.office.example>";
    client.expect(postmaster, 250).expect("RCPT");
    let mails = scene.origin.wait_for(1, SOON);
    assert_eq!(to(&mails), ["boss@origin.example"]);
}

#[test]
fn mistakes_in_aliases_are_named() {
    let scene = Scene::new();
    let (ok, said) = check(&scene, "[aliases]\nroot = \"ann\"\n");
    assert!(
        !ok && said.contains("aliases.root: `ann` is neither an address"),
        "{said}"
    );
    let (ok, said) = check(&scene, "[aliases]\nroot = \"boss\"\nboss = \"root\"\n");
    assert!(!ok && said.contains("points to itself"), "{said}");
    let directory = lab::Scratch::new();
    let file = directory.path().join("aliases");
    fs::write(
        &file,
        "root: ann@origin.example\nbin: nobody-here\nx: |/bin/false\n",
    )
    .expect("a file");
    let settings = format!("[local]\naliases_file = \"{}\"\n", file.display());
    let (ok, said) = check(&scene, &settings);
    assert!(ok && said.contains("the alias bin is ignored"), "{said}");
    assert!(
        said.contains("aliases:3: `|/bin/false` is ignored"),
        "{said}"
    );
    fs::remove_file(&file).expect("it is there");
    let (ok, said) = check(&scene, &settings);
    assert!(!ok && said.contains("local.aliases_file: "), "{said}");
}
