//! Nothing accepted is lost: C1 and C2.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lab::{Client, Scratch, Sendoff};
use serde_json::Value;

use crate::scene::{
    BINARY, SENDER, SOON, Scene, eventually, log_lines, mail, mail_of, queue, subjects,
};
use crate::web::Web;

/// Kills of the server under load.
const KILLS: u64 = 20;
/// Clients that hand mail in meanwhile.
const CLIENTS: usize = 3;

/// Mails that the server said 250 to.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    next: AtomicUsize,
    acknowledged: Mutex<Vec<String>>,
}

impl Load {
    fn run(&self, server: SocketAddr) {
        while !self.stop.load(Ordering::Relaxed) {
            if self.session(server).is_err() {
                // The server is down: the next try is soon enough.
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn acknowledge(&self, subject: String) {
        let mut list = self.acknowledged.lock().expect("no client has panicked");
        list.push(subject);
    }

    /// The load's clients, each on a thread of its own.
    fn clients(self: &Arc<Self>, server: SocketAddr) -> Vec<JoinHandle<()>> {
        let client = |_| {
            let load = Arc::clone(self);
            thread::spawn(move || load.run(server))
        };
        (0..CLIENTS).map(client).collect()
    }

    fn session(&self, server: SocketAddr) -> std::io::Result<()> {
        let mut client = Client::connect(server)?;
        client.ehlo()?;
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let subject = format!("load {number}");
            let domain = ["quick.example", "grey.example"]
                .get(number % 5)
                .unwrap_or(&"quick.example");
            let to = format!("user{number}@{domain}");
            let reply = client.send_mail(SENDER, &[&to], mail_of(&subject, 2000).as_bytes())?;
            if reply.code == 250 {
                self.acknowledge(subject);
            }
        }
        Ok(())
    }
}

#[test]
fn c01_killed_again_and_again_the_server_delivers_every_acknowledged_mail() {
    let scene = Scene::new();
    let quick = scene.world.domain("quick.example");
    let grey = scene.world.domain("grey.example");
    grey.set(|b| b.greylist = Some(Duration::from_millis(700)));
    for host in [&quick, &grey] {
        host.set(|b| b.keep_dialogue = false);
    }
    let config = scene.config().set("outgoing.resend_attempts", 100);
    let mut server = Sendoff::start(BINARY, config);
    let load = Arc::new(Load::default());
    let clients = load.clients(server.address());
    for kill in 0..KILLS {
        // Uneven, so that the kills hit accepting, delivering and starting alike.
        thread::sleep(Duration::from_millis(40 + (kill * 97) % 360));
        server.kill9();
        server.restart();
    }
    load.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    let acknowledged = load.acknowledged.lock().unwrap().clone();
    let delivered = || {
        let mut all = subjects(&quick.received());
        all.extend(subjects(&grey.received()));
        all
    };
    let missing = || {
        let have: HashSet<String> = delivered().into_iter().collect();
        acknowledged
            .iter()
            .filter(|s| !have.contains(*s))
            .cloned()
            .collect::<Vec<_>>()
    };
    eventually("every acknowledged mail is delivered", 2 * SOON, || {
        missing().is_empty()
    });
    eventually("the queue is empty", SOON, || queue(&server).is_empty());
    let mut counts: HashMap<String, usize> = HashMap::new();
    for subject in delivered() {
        *counts.entry(subject).or_default() += 1;
    }
    let duplicates: usize = counts.values().map(|n| n - 1).sum();
    println!(
        "{KILLS} kills: {} mails acknowledged, {} delivered, {duplicates} duplicates",
        acknowledged.len(),
        counts.len()
    );
    assert!(
        acknowledged.len() > 100,
        "{} mails are no load",
        acknowledged.len()
    );
    assert_recorded_once(&server);
}

/// What was recorded as delivered is not sent again: no message has two such lines.
fn assert_recorded_once(server: &Sendoff) {
    let mut ended = HashSet::new();
    for line in log_lines(server, &[" delivered id="]) {
        let id = line.split(' ').find(|w| w.starts_with("id="));
        let id = id.unwrap_or_default().to_owned();
        assert!(
            ended.insert(id),
            "delivered twice by its own record: {line}"
        );
    }
}

/// A small disk: a tmpfs that is unmounted when dropped.
struct SmallDisk {
    path: PathBuf,
    /// Goes when the disk is unmounted.
    _scratch: Scratch,
}

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount(megabytes: u32) -> Option<Self> {
        let scratch = Scratch::new();
        let path = scratch.path().join("disk");
        fs::create_dir(&path).expect("a directory");
        let disk = Self {
            path,
            _scratch: scratch,
        };
        let size = format!("size={megabytes}m");
        disk.run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs"])
            .then_some(disk)
    }

    fn resize(&self, megabytes: u32) {
        let size = format!("remount,size={megabytes}m");
        assert!(self.run("mount", &["-o", &size]), "the disk grows");
    }

    fn run(&self, command: &str, arguments: &[&str]) -> bool {
        let run = Command::new(command)
            .args(arguments)
            .arg(&self.path)
            .output();
        run.is_ok_and(|o| o.status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.run("umount", &["-l"]);
    }
}

#[test]
fn c02_on_a_full_disk_clients_are_told_to_come_back_and_what_was_accepted_is_kept() {
    let scene = Scene::new();
    let host = scene.world.domain("good.example");
    host.set(|b| {
        b.keep_dialogue = false;
        b.keep_content = false;
    });
    let Some(disk) = SmallDisk::mount(1200) else {
        // Without the right to mount, the case is met for one content that finds no room.
        return a_content_without_room_is_refused();
    };
    let data = disk.path.join("data").display().to_string();
    let config = scene
        .config()
        .set("outgoing.enabled", false)
        .set("data_dir", data);
    let mut server = Sendoff::start(BINARY, config);
    let mut accepted = Vec::new();
    let mut client = server.client();
    let refusal = (0..5000).find_map(|number| {
        let recipient = format!("user{number}@good.example");
        // Some stand in the log itself, some in files of their own.
        let size = if number % 2 == 0 { 200_000 } else { 700_000 };
        let content = mail_of("large", size);
        let reply = client
            .send_mail(SENDER, &[&recipient], content.as_bytes())
            .unwrap();
        if reply.code == 250 {
            accepted.push(recipient);
            return None;
        }
        Some(reply)
    });
    let refusal = refusal.expect("the disk is full at some time");
    assert_eq!(refusal.code / 100, 4, "{refusal}");
    assert!(refusal.to_string().contains("4.3.1"), "{refusal}");
    assert!(!accepted.is_empty());
    assert!(server.exited().is_none());
    assert_eq!(
        queue(&server).len(),
        accepted.len(),
        "nothing of the refused one is kept"
    );

    // Deliveries need little room and go on.
    server.reconfigure(|c| c.set("outgoing.enabled", true));
    server.run(&["reload"]);
    assert_eq!(
        host.wait_for(accepted.len(), 2 * SOON).len(),
        accepted.len()
    );
    eventually("the queue is empty", SOON, || queue(&server).is_empty());
    let mails = host.received();
    let mut delivered: Vec<&str> = mails.iter().flat_map(|m| m.addresses()).collect();
    delivered.sort_unstable();
    accepted.sort();
    assert_eq!(delivered, accepted);

    disk.resize(2000);
    eventually("mail is accepted again", SOON, || {
        let content = mail("room again");
        let mut client = server.client();
        let reply = client.send_mail(SENDER, &["bob@good.example"], content.as_bytes());
        reply.is_ok_and(|r| r.code == 250)
    });
    drop(server);
    drop(disk);
}

/// The process may write no file above 130 MiB, which is more than a segment; it is told so by an
/// error, not by a signal.
const LIMITED: [&str; 4] = [
    "sh",
    "-c",
    "trap '' XFSZ; ulimit -f 266240; exec \"$@\"",
    "sh",
];

fn a_content_without_room_is_refused() {
    let scene = Scene::new();
    let host = scene.world.domain("good.example");
    let config = scene.config().set("outgoing.max_message_size", "400MB");
    let mut server = Sendoff::start_in(Scratch::new(), BINARY, config, &LIMITED);
    let mut client = server.client();
    client
        .expect(&format!("MAIL FROM:<{SENDER}>"), 250)
        .expect("the server answers");
    client
        .expect("RCPT TO:<bob@good.example>", 250)
        .expect("the server answers");
    client.expect("DATA", 354).expect("the server answers");
    let reply = client
        .content(mail_of("huge", 150_000_000).as_bytes())
        .expect("the server answers");
    assert_eq!(reply.code / 100, 4, "{reply}");
    assert_eq!(queue(&server).len(), 0);
    let reply = client.send_mail(SENDER, &["bob@good.example"], mail("small").as_bytes());
    assert_eq!(reply.expect("the server answers").code, 250);
    assert_eq!(subjects(&host.wait_for(1, SOON)), ["small"]);
    assert!(server.exited().is_none());
}

#[test]
fn c02_a_content_that_cannot_be_written_is_refused_and_leaves_nothing() {
    a_content_without_room_is_refused();
}

/// Makes every outcome that is written to the history fail, or takes that back.
const REFUSE: &str = "CREATE TRIGGER refuse BEFORE INSERT ON history
    BEGIN SELECT RAISE(ABORT, 'refused by the test'); END";
const ALLOW: &str = "DROP TRIGGER refuse";

fn change_history(server: &Sendoff, sql: &str) {
    let file = server.directory().join("data/spool/history.db");
    let script =
        "import sqlite3, sys\nsqlite3.connect(sys.argv[1], timeout=30).execute(sys.argv[2])";
    let status = Command::new("python3")
        .args(["-c", script, &file.display().to_string(), sql])
        .status();
    assert!(status.expect("python3 runs").success());
}

#[test]
fn clients_are_told_to_come_back_while_the_history_cannot_be_written() {
    let scene = Scene::new();
    let host = scene.world.domain("good.example");
    host.set(|b| b.keep_content = false);
    let config = scene.config().set("queue.segment_size", "1MiB");
    let (server, web) = Web::start(&scene, config);
    change_history(&server, REFUSE);
    let content = mail_of("large", 100_000);
    let mut accepted = 0;
    let mut client = server.client();
    let refusal = (0..1000).find_map(|_| {
        let reply = client.send_mail(SENDER, &["bob@good.example"], content.as_bytes());
        let reply = reply.expect("the server answers");
        if reply.code != 250 {
            return Some(reply);
        }
        accepted += 1;
        None
    });
    let refusal = refusal.expect("mail is refused before segments fill the disk");
    assert_eq!(refusal.code, 452, "{refusal}");
    assert!(refusal.to_string().contains("4.3.1"), "{refusal}");
    let problem = web.get("/readyz").problem(503, "not-ready");
    let why = problem["detail"].as_str().unwrap_or_default();
    assert!(why.contains("mail is refused"), "{problem}");
    let handed_in = web.with_key(&server, "send", &[]).post(
        "/api/v1/messages?from=a@sender.example&to=b@good.example",
        "message/rfc822",
        content.as_bytes(),
    );
    assert_eq!(handed_in.status, 503, "{}", handed_in.text());
    let said = ["error", "cannot be written", "refused by the test"];
    assert!(server.wait_for_log(&said, SOON).is_some());
    assert_eq!(
        host.wait_for(accepted, SOON).len(),
        accepted,
        "deliveries go on"
    );

    change_history(&server, ALLOW);
    eventually("mail is taken again", SOON, || {
        let reply =
            server
                .client()
                .send_mail(SENDER, &["bob@good.example"], mail("again").as_bytes());
        reply.is_ok_and(|reply| reply.code == 250)
    });
    assert!(server.wait_for_log(&["written-again"], SOON).is_some());
    eventually("the queue is empty", SOON, || queue(&server).is_empty());
    let history = server.run(&["queue", "history", "--json", "--limit", "1000"]);
    let history: Vec<Value> = serde_json::from_str(&history).expect("JSON");
    // None of what waited for the history is missing; the last mail may still be on its way to it.
    assert!(history.len() >= accepted, "{}", history.len());
}

/// The files of the contents that are not in the log.
fn contents(server: &Sendoff) -> Vec<PathBuf> {
    let dir = server.directory().join("data/spool/bodies");
    let entries = fs::read_dir(dir).expect("the directory of contents");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

#[test]
fn a_mail_whose_content_is_gone_ends_with_a_report_to_its_sender() {
    let scene = Scene::new();
    let host = scene.world.domain("away.example");
    let config = scene.config().set("outgoing.enabled", false);
    let mut server = Sendoff::start(BINARY, config);
    server.send(SENDER, &["a@away.example"], &mail_of("lost", 600_000));
    server.send(SENDER, &["b@away.example"], &mail_of("lost too", 600_000));
    server.terminate();
    for content in contents(&server) {
        fs::remove_file(content).expect("it can be removed");
    }
    server.restart();
    // It can be removed at once.
    let rows = queue(&server);
    let second = rows
        .iter()
        .find(|row| row["recipient"] == "b@away.example")
        .and_then(|row| row["id"].as_str().map(str::to_owned))
        .expect("it is listed");
    server.run(&["queue", "remove", &second, "--yes"]);
    assert_eq!(queue(&server).len(), 1);
    server.reconfigure(|config| config.set("outgoing.enabled", true));
    server.run(&["reload"]);
    let report = scene.failure();
    report.assert_failed("a@away.example", "4.3.0");
    eventually("nothing waits", SOON, || queue(&server).is_empty());
    assert_eq!(host.received().len(), 0);
    // An error for each try, and not one a second for ever.
    let errors = log_lines(&server, &[" error "]).len();
    assert!(errors < 12, "{}", server.log());
    assert_eq!(scene.origin.received().len(), 1);
}
