//! Backups: made while mail is taken in, checked and restored, held until released; and what is said of a
//! queue that lacks a file.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use lab::{MxHost, Sendoff};
use serde_json::Value;

use crate::scene::{
    A_WHILE, BINARY, SENDER, SOON, Scene, eventually, mail, queue, send_many, subjects,
};

/// A queue of `count` mails that nothing is done about.
fn full(scene: &Scene, count: usize) -> (Sendoff, MxHost) {
    let host = scene.world.domain("away.example");
    let server = Sendoff::start(BINARY, scene.config().set("outgoing.enabled", false));
    send_many(&server, count, |n| format!("u{n}@away.example"));
    (server, host)
}

fn spool(server: &Sendoff) -> std::path::PathBuf {
    server.directory().join("data/spool")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[test]
fn a_backup_under_load_is_restored_held_and_sends_each_mail_once_when_released() {
    let scene = Scene::new();
    let (mut server, host) = full(&scene, 50);
    let copy = server.directory().join("copy");
    let stop = Arc::new(AtomicBool::new(false));
    let taken = Arc::new(AtomicUsize::new(50));
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let (stop, taken, address) = (Arc::clone(&stop), Arc::clone(&taken), server.address());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let n = taken.fetch_add(1, Ordering::Relaxed);
                    let mut client = lab::Client::connect(address).expect("a greeting");
                    client.ehlo().expect("an answer");
                    let to = format!("u{n}@away.example");
                    let content = mail(&n.to_string());
                    let reply = client.send_mail(SENDER, &[&to], content.as_bytes());
                    assert_eq!(reply.expect("an answer").code, 250);
                }
            })
        })
        .collect();
    eventually("mail comes in", SOON, || taken.load(Ordering::Relaxed) > 80);
    let said = server.run(&["backup", path(&copy), "--json"]);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let waiting = said["waiting"].as_u64().expect("a number");
    assert!(waiting >= 70, "{said}");
    stop.store(true, Ordering::Relaxed);
    clients
        .into_iter()
        .for_each(|c| c.join().expect("a client that was answered"));

    // The queue is lost as a whole.
    server.kill9();
    fs::remove_dir_all(spool(&server)).expect("it can be removed");
    let said = server.run(&["restore", path(&copy)]);
    assert!(
        said.contains("all of them held") && said.contains("release --all"),
        "{said}"
    );
    server.reconfigure(|config| config.set("outgoing.enabled", true));
    server.restart();
    let rows = queue(&server);
    // What was being written at that instant may be in the copy as well.
    let restored = rows.len() as u64;
    assert!(
        (waiting..=waiting + 2).contains(&restored),
        "{restored} {waiting}"
    );
    assert!(rows.iter().all(|row| row["state"] == "held"));
    thread::sleep(A_WHILE);
    assert_eq!(host.received().len(), 0, "nothing leaves by itself");
    server.run(&["queue", "release", "--all", "--yes"]);
    let count = usize::try_from(restored).expect("a small number");
    let mails = host.wait_for(count, SOON);
    let mut got = subjects(&mails);
    got.sort();
    got.dedup();
    assert_eq!(got.len(), count, "each once");
    // What was there before the backup was asked for is among them.
    for n in 0..50 {
        assert!(got.contains(&n.to_string()), "mail {n}");
    }
}

#[test]
fn a_backup_is_made_without_a_server_and_restored_to_be_sent_at_once() {
    let scene = Scene::new();
    let (mut server, host) = full(&scene, 5);
    server.terminate();
    let copy = server.directory().join("copy");
    let said = server.run(&["backup", path(&copy)]);
    assert!(said.contains("5 waiting recipients"), "{said}");
    // A queue that is there is not overwritten.
    let refused = server.cli(&["restore", path(&copy)]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && why.contains("move that directory away"),
        "{why}"
    );
    fs::remove_dir_all(spool(&server)).expect("it can be removed");
    server.run(&["restore", "--send", path(&copy)]);
    server.reconfigure(|config| config.set("outgoing.enabled", true));
    server.restart();
    assert_eq!(host.wait_for(5, SOON).len(), 5);
}

#[test]
fn a_damaged_backup_is_refused_and_what_is_whole_is_restored_on_demand() {
    let scene = Scene::new();
    let (mut server, _host) = full(&scene, 5);
    server.terminate();
    let copy = server.directory().join("copy");
    server.run(&["backup", path(&copy)]);
    let segment = fs::read_dir(copy.join("spool")).expect("a copy");
    let segment = segment
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.to_string_lossy().contains("hot-"))
        .expect("a segment");
    let mut octets = fs::read(&segment).expect("it is readable");
    // The third mail of five; each commit begins a page.
    let at = octets
        .windows(12)
        .position(|w| w == b"Subject: 2\r\n")
        .expect("it is there");
    octets[at] ^= 1;
    fs::write(&segment, octets).expect("it is writable");
    fs::remove_dir_all(spool(&server)).expect("it can be removed");
    let refused = server.cli(&["restore", path(&copy)]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && why.contains("is damaged at octet"),
        "{why}"
    );
    assert!(!spool(&server).exists());
    let said = server.run(&["restore", "--damaged", path(&copy)]);
    assert!(said.contains("4 recipients wait"), "{said}");
    // Nor is half a backup taken for a whole one.
    fs::remove_file(copy.join("backup.toml")).expect("it is there");
    let refused = server.cli(&["restore", path(&copy)]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("not a complete one"), "{why}");
}

#[test]
fn a_missing_file_of_the_queue_is_told_and_each_sender_hears_of_the_lost_mail() {
    let scene = Scene::new();
    // The report goes out in the end.
    let (mut server, _host) = full(&scene, 3);
    server.terminate();
    let dir = spool(&server);
    let hot = fs::read_dir(&dir).expect("a directory");
    let hot = hot
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.to_string_lossy().contains("hot-"))
        .expect("a segment");
    fs::remove_file(&hot).expect("it can be removed");
    server.reconfigure(|config| config.set("outgoing.enabled", true));
    server.restart();
    let name = hot
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let line = server.wait_for_log(&[" error ", "is missing; mail in it is lost", &name], SOON);
    assert!(line.is_some(), "{}", server.log());
    let reports = scene.origin.wait_for(3, SOON);
    assert_eq!(reports.len(), 3, "each sender is told\n{}", server.log());
    eventually("nothing waits", SOON, || queue(&server).is_empty());
}
