//! Mail of programs on this computer: the `sendmail` command, the drop directory, and what the
//! server makes of it.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lab::{Client, Config, MxHost, Received, Scratch, Sendoff};
use serde_json::{Value, json};

use crate::scene::{BINARY, Dsn, SOON, Scene, eventually, feed, log_lines, queue};
use crate::web::Web;

/// Kills of the server while mail is dropped.
const KILLS: u64 = 15;
/// Programs that drop mail meanwhile.
const PROGRAMS: usize = 4;
/// A user who is neither root nor the server.
const USER: &str = "12345";
/// The user that the server runs as, where a test can choose.
const SERVER: &str = "23456";

pub(crate) fn drop_dir(server: &Sendoff) -> PathBuf {
    server.directory().join("data/drop")
}

/// The command as programs call it: by its name, with nothing but where the directory is.
fn command(binary: &Path, dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command
        .arg0("/usr/sbin/sendmail")
        .args(arguments)
        .env("SENDOFF_DROP", dir)
        .env("NAME", "Ann Onym")
        .env_remove("SENDOFF_CONFIG");
    command
}

pub(crate) fn sendmail(dir: &Path, arguments: &[&str], input: &str) -> Output {
    feed(command(Path::new(BINARY), dir, arguments), input.as_bytes())
}

/// It ends with 0 and says nothing.
pub(crate) fn hand_in(server: &Sendoff, arguments: &[&str], input: &str) {
    assert_taken(&sendmail(&drop_dir(server), arguments, input));
}

fn assert_taken(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    assert!(output.stdout.is_empty() && said.is_empty(), "{said}");
}

fn one(host: &MxHost) -> Received {
    let mails = host.wait_for(1, SOON);
    mails.first().expect("a mail within the time").clone()
}

/// Whoever runs the tests, by name.
fn me() -> String {
    let output = Command::new("id").arg("-un").output().expect("id runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn held(scene: &Scene) -> Config {
    scene.config().set("outgoing.enabled", false)
}

fn is_empty(dir: &Path) -> bool {
    let names = fs::read_dir(dir).expect("the drop directory");
    names.flatten().all(|entry| entry.file_name() == "refused")
}

#[test]
fn p01_a_program_pipes_a_mail_and_its_recipients_get_it() {
    let scene = Scene::new();
    let to = scene.world.domain("to.example");
    let hidden = scene.world.domain("hidden.example");
    let server = scene.start();
    let mail =
        "To: Bee <b@to.example>\nbcc: c@hidden.example\nSubject: piped\n\nHello.\n.\nno more\n";
    hand_in(&server, &["-t"], mail);
    let got = one(&to);
    one(&hidden);
    let sender = format!("{}@sendoff.lab", me());
    assert_eq!(got.sender, sender);
    assert_eq!(got.header("subject").as_deref(), Some("piped"));
    let from = got.header("from").expect("a From");
    assert_eq!(from, format!("Ann Onym <{sender}>"));
    assert!(got.header("date").is_some() && got.header("message-id").is_some());
    assert!(got.header("bcc").is_none(), "{}", got.text());
    assert!(got.text().ends_with("\r\n\r\nHello.\r\n"), "{}", got.text());
    let user = format!("user={}", me());
    let accepted = log_lines(&server, &[" accepted ", "via=sendmail", &user]);
    assert_eq!(accepted.len(), 1, "{}", server.log());
    assert!(is_empty(&drop_dir(&server)));
}

#[test]
fn p02_with_a_sender_a_name_and_a_dot_of_its_own() {
    let scene = Scene::new();
    let to = scene.world.domain("to.example");
    let server = scene.start();
    let arguments = [
        "-oi",
        "-f",
        "ann@origin.example",
        "-FAnn \u{c4}",
        "--",
        "b@to.example",
    ];
    hand_in(&server, &arguments, "no header\n.\nand no end");
    let got = one(&to);
    assert_eq!(got.sender, "ann@origin.example");
    let from = got.header("from").expect("a From");
    assert_eq!(from, "=?UTF-8?B?QW5uIMOE?= <ann@origin.example>");
    assert!(
        got.text()
            .ends_with("\r\n\r\nno header\r\n.\r\nand no end\r\n"),
        "{}",
        got.text()
    );
}

#[test]
fn p03_what_is_dropped_while_the_server_is_down_is_sent_when_it_is_up() {
    let scene = Scene::new();
    let to = scene.world.domain("to.example");
    let mut server = scene.start();
    server.terminate();
    for number in 0..20 {
        let subject = format!("Subject: {number}\n\n");
        hand_in(&server, &[&format!("user{number}@to.example")], &subject);
    }
    server.restart();
    assert_eq!(to.wait_for(20, SOON).len(), 20);
    eventually("the directory is empty", SOON, || {
        is_empty(&drop_dir(&server))
    });
}

#[test]
fn p04_killed_again_and_again_the_server_takes_every_drop_once() {
    let scene = Scene::new();
    let mut server = Sendoff::start(BINARY, held(&scene));
    let dir = drop_dir(&server);
    let stop = Arc::new(AtomicBool::new(false));
    let taken = Arc::new(Mutex::new(Vec::new()));
    let program = |program: usize| {
        let (dir, stop, taken) = (dir.clone(), Arc::clone(&stop), Arc::clone(&taken));
        thread::spawn(move || {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                let to = format!("user-{program}-{number}@to.example");
                number += 1;
                if sendmail(&dir, &[&to], "Subject: x\n\nHello.\n")
                    .status
                    .success()
                {
                    taken.lock().unwrap().push(to);
                }
            }
        })
    };
    let programs: Vec<_> = (0..PROGRAMS).map(program).collect();
    for kill in 0..KILLS {
        // Uneven, so that the kills hit reading, committing and removing alike.
        thread::sleep(Duration::from_millis(30 + (kill * 71) % 210));
        server.kill9();
        server.restart();
    }
    stop.store(true, Ordering::Relaxed);
    for program in programs {
        program.join().unwrap();
    }
    eventually("the directory is empty", 2 * SOON, || is_empty(&dir));
    let mut counts: HashMap<String, usize> = HashMap::new();
    for row in queue(&server) {
        let to = row.get("recipient").and_then(|r| r.as_str());
        *counts.entry(to.unwrap_or_default().to_owned()).or_default() += 1;
    }
    let taken = taken.lock().unwrap();
    println!("{KILLS} kills: {} drops", taken.len());
    assert!(taken.len() > 50, "{} drops are no load", taken.len());
    for to in taken.iter() {
        assert_eq!(counts.get(to), Some(&1), "{to}");
    }
    // A drop whose program was not told so may be there too, but none twice.
    assert!(counts.values().all(|n| *n == 1));
}

/// A drop that is there, of the hands of the real command.
fn example() -> Vec<u8> {
    let aside = Scratch::new();
    let output = sendmail(aside.path(), &["b@to.example"], "Subject: x\n\nHello.\n");
    assert_taken(&output);
    let mut files = fs::read_dir(aside.path()).expect("a directory").flatten();
    fs::read(files.next().expect("a drop").path()).expect("its octets")
}

/// The example under another id and with another value in its envelope, as a program of its own could write it.
fn changed(id: &str, key: &str, value: &Value) -> Vec<u8> {
    let file = example();
    let first = file.iter().position(|b| *b == b'\n').expect("a first line");
    let (line, rest) = file.split_at(first + 1);
    let line = String::from_utf8_lossy(line).into_owned();
    let length = line.split(' ').nth(2).expect("a length");
    let (envelope, content) = rest.split_at(length.parse().expect("a number"));
    let mut envelope: Value = serde_json::from_slice(envelope).expect("JSON");
    let fields = envelope.as_object_mut().expect("an object");
    fields.insert("id".to_owned(), id.into());
    fields.insert(key.to_owned(), value.clone());
    let envelope = serde_json::to_vec(&envelope).expect("JSON");
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&envelope), content);
    let first = format!(
        "sendoff-drop 1 {} {} {checksum:08x}\n",
        envelope.len(),
        content.len()
    );
    [first.as_bytes(), &envelope, content].concat()
}

#[test]
fn p05_hostile_files_are_put_aside_and_told_and_mail_goes_on() {
    let scene = Scene::new();
    let mut server = Sendoff::start(BINARY, held(&scene));
    let dir = drop_dir(&server);
    // What does not come as mail does is found by a look at all: at the start, and once a minute.
    server.terminate();
    let good = example();
    let secret = server.directory().join("secret");
    fs::write(&secret, &good).unwrap();
    let at = |name: &str| dir.join(name);
    // Made elsewhere and moved here, as everything whole is.
    let put = |name: &str, octets: &[u8]| {
        let unfinished = at(&format!("{name}.tmp"));
        fs::write(&unfinished, octets).unwrap();
        fs::rename(unfinished, at(name)).unwrap();
    };
    std::os::unix::fs::symlink(&secret, at("1-link.drop")).unwrap();
    fs::hard_link(&secret, at("2-hard.drop")).unwrap();
    let made = Command::new("mkfifo").arg(at("3-fifo.drop")).status();
    assert!(made.is_ok_and(|s| s.success()));
    fs::create_dir(at("4-dir.drop")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(at("5-socket.drop")).unwrap();
    put("6-cut.drop", &good[..good.len() - 1]);
    put("7-empty.drop", b"");
    let mut changed = good.clone();
    *changed.last_mut().unwrap() ^= 1;
    put("8-changed.drop", &changed);
    let huge = fs::File::create(at("9-huge.tmp")).unwrap();
    huge.set_len(1 << 40).unwrap();
    fs::rename(at("9-huge.tmp"), at("9-huge.drop")).unwrap();
    fs::write(at("strange"), b"x").unwrap();
    // Unfinished, of somebody who may still be at it.
    fs::write(at("a.tmp"), &good).unwrap();
    server.restart();
    hand_in(&server, &["b@to.example"], "Subject: good\n\n");
    for (name, why) in [
        ("1-link", "symbolic link"),
        ("2-hard", "several hard links"),
        ("3-fifo", "FIFO"),
        ("4-dir", "directory"),
        ("5-socket", "socket"),
        ("6-cut", "its length is wrong"),
        ("7-empty", "does not start like a drop"),
        ("8-changed", "checksum"),
        ("9-huge", "does not start like a drop"),
        ("strange", "does not belong in"),
    ] {
        let drop = format!("drop={name}");
        let line = server.wait_for_log(&[" drop ", &drop, "set aside", why], SOON);
        assert!(line.is_some(), "{name}: {}", server.log());
    }
    eventually("the good one is taken", SOON, || queue(&server).len() == 1);
    assert!(at("a.tmp").exists());
    assert_eq!(
        fs::read(&secret).unwrap(),
        good,
        "what a link leads to is left alone"
    );
    assert_eq!(fs::read_dir(at("refused")).unwrap().count(), 10);
    drop(socket);
}

#[test]
fn p05_much_that_has_no_business_there_is_put_aside_in_few_words() {
    let scene = Scene::new();
    let mut server = Sendoff::start(BINARY, held(&scene));
    let dir = drop_dir(&server);
    server.terminate();
    for n in 0..2000 {
        fs::create_dir(dir.join(format!("junk-{n}"))).unwrap();
    }
    server.restart();
    hand_in(&server, &["b@to.example"], "Subject: good\n\n");
    eventually("the mail is taken", SOON, || queue(&server).len() == 1);
    let told = server.wait_for_log(&["warning", "2000 files did not belong"], SOON);
    assert!(told.is_some(), "{}", server.log());
    assert_eq!(
        server.log().matches("junk-").count(),
        20,
        "ten, from where to where"
    );
    assert_eq!(fs::read_dir(dir.join("refused")).unwrap().count(), 2000);
}

#[test]
fn p05_the_bounds_of_smtp_hold_for_drops() {
    let scene = Scene::new();
    let origin = scene.world.domain("origin.example");
    let mut server = Sendoff::start(BINARY, held(&scene));
    let dir = drop_dir(&server);
    server.terminate();
    let long = format!("{}@to.example", "a".repeat(193));
    let id = "v".repeat(101);
    let year = Duration::from_secs(365 * 86_400).as_millis();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let late = now.unwrap().as_millis() + year;
    for (n, change) in [
        ("env_id", json!(id)),
        ("env_id", json!("not xtext=")),
        ("id", json!("i".repeat(1000))),
        ("asked", json!({"not_before": late})),
        (
            "recipients",
            json!([{"address": long, "notify": 0, "orcpt": null}]),
        ),
        (
            "recipients",
            json!([{"address": "b@to.example", "notify": 0, "orcpt": "x".repeat(600)}]),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("{n}-bound");
        let (key, value) = change;
        fs::write(dir.join(format!("{name}.tmp")), changed(&name, key, &value)).unwrap();
        fs::rename(
            dir.join(format!("{name}.tmp")),
            dir.join(format!("{name}.drop")),
        )
        .unwrap();
    }
    server.restart();
    hand_in(&server, &["b@to.example"], "Subject: good\n\n");
    eventually("the good one is taken", SOON, || {
        log_lines(&server, &[" drop ", "what=taken"]).len() == 1
    });
    for n in 0..6 {
        let name = format!("drop={n}-bound");
        let line = server.wait_for_log(&[" drop ", &name, "set aside"], SOON);
        assert!(line.is_some(), "{name}: {}", server.log());
    }
    drop(origin);
}

/// What scripts say by hand: every line ends in LF.
const LF_TALK: &str = "EHLO program\nMAIL FROM:<ann@origin.example>\nRCPT TO:<b@to.example>\nDATA\n\
                       Subject: lines\n\n..dot\n\nend\n.\nQUIT\n";

#[test]
fn scripts_on_this_computer_may_end_lines_in_lf() {
    let scene = Scene::new();
    let to = scene.world.domain("to.example");
    let server = scene.start();
    let output = sendmail(&drop_dir(&server), &["-bs"], LF_TALK);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("\r\n354 "),
        "{said}"
    );
    assert!(!said.contains("CHUNKING"), "{said}");
    let text = one(&to).text();
    assert!(text.ends_with("\r\n\r\n.dot\r\n\r\nend\r\n"), "{text:?}");
    let mut client = Client::connect(server.address()).expect("a greeting");
    client.send_raw(LF_TALK.as_bytes()).expect("it is read");
    let codes = [250, 250, 250, 354, 250, 221];
    for code in codes {
        assert_eq!(client.reply().expect("an answer").code, code);
    }
    assert_eq!(to.wait_for(2, SOON).len(), 2);
    // Who begins with CRLF is held to it: it may be another server, and pass on what strangers write.
    let mut client = server.client();
    let reply = client.command("MAIL FROM:<a@origin.example>\nRCPT TO:<b@to.example>");
    assert_eq!(reply.expect("an answer").code, 500);
}

#[test]
fn p06_smtp_on_standard_input() {
    let scene = Scene::new();
    let to = scene.world.domain("to.example");
    let mut server = scene.start();
    server.terminate();
    let talk = "EHLO program\r\nMAIL FROM:<ann@origin.example>\r\nRCPT TO:<b@to.example>\r\n\
                RCPT TO:<nonsense>\r\nDATA\r\nSubject: talked\r\n\r\n..dot\r\n.\r\n\
                MAIL FROM:<>\r\nRCPT TO:<c@to.example>\r\nDATA\r\nSubject: two\r\n\r\n.\r\nQUIT\r\n";
    let output = sendmail(&drop_dir(&server), &["-bs"], talk);
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let codes: Vec<&str> = said
        .lines()
        .filter(|l| l.as_bytes().get(3) == Some(&b' '))
        .filter_map(|l| l.get(..3))
        .collect();
    let expected = [
        "220", "250", "250", "250", "553", "354", "250", "250", "250", "354", "250", "221",
    ];
    assert_eq!(codes, expected, "{said}");
    server.restart();
    let mails = to.wait_for(2, SOON);
    let talked = mails
        .iter()
        .find(|m| m.header("subject").as_deref() == Some("talked"));
    let talked = talked.expect("the first mail");
    assert_eq!(talked.sender, "ann@origin.example");
    assert!(
        talked.text().ends_with("\r\n\r\n.dot\r\n"),
        "{}",
        talked.text()
    );
    assert_eq!(
        talked.text().matches("Received:").count(),
        1,
        "{}",
        talked.text()
    );
    let id = talked.header("message-id").expect("a Message-ID");
    assert!(id.ends_with("@sendoff.lab>"), "{id}");
    // What the program was told leads to what became of it.
    let id = said
        .lines()
        .find_map(|l| l.split_once("Queued as "))
        .expect("an id")
        .1;
    let drop = format!("drop={}-", id.trim());
    assert!(
        server
            .wait_for_log(&[" drop ", &drop, "what=taken"], SOON)
            .is_some()
    );
}

#[test]
fn p07_exit_codes_tell_what_is_wrong() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let code = |dir: &Path, arguments: &[&str], input: &str| {
        let output = sendmail(dir, arguments, input);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() || said.starts_with("sendmail: "),
            "{said}"
        );
        output.status.code()
    };
    for (arguments, input, expected) in [
        (&["-Z"][..], "", 64),
        (&["-bd"], "", 64),
        (&["-f"], "", 64),
        (&[], "Subject: x\n\n", 64),
        (&["-t"], "Subject: x\n\nTo: b@to.example\n", 65),
        (&["-t"], "To: b c\n\n", 65),
        (&["b@-"], "", 65),
        (&["-f", "b c", "d@to.example"], "", 65),
        (&["-C", "/nowhere.toml", "b@to.example"], "", 78),
        (&["-bi"], "", 0),
        (&["b@to.example"], "", 0),
    ] {
        assert_eq!(code(dir, arguments, input), Some(expected), "{arguments:?}");
    }
    let nowhere = dir.join("nowhere");
    assert_eq!(code(&nowhere, &["b@to.example"], ""), Some(73));
    // -O names the directory too, in front of the environment.
    let named = format!("QueueDirectory={}", dir.display());
    assert_eq!(code(&nowhere, &["-O", &named, "b@to.example"], ""), Some(0));
    let drops = fs::read_dir(dir).unwrap().count();
    assert_eq!(drops, 2, "what failed left nothing behind");
    if is_root() {
        let config = dir.join("sendoff.toml");
        fs::write(&config, "[sendmail]\ndrop_dir = \"\"\n").unwrap();
        let config = config.display().to_string();
        let mut off = command(Path::new(BINARY), dir, &["-C", &config, "b@to.example"]);
        off.env_remove("SENDOFF_DROP");
        assert_eq!(feed(off, b"").status.code(), Some(69));
    }
}

#[test]
fn p08_what_is_refused_later_comes_back_to_its_sender() {
    let scene = Scene::new();
    let to = scene.world.domain("to.example");
    let config = scene.config().set("local.domains", ["here.example"]);
    let server = Sendoff::start(BINARY, config);
    let sender = ["-f", "ann@origin.example"];
    let both = ["b@to.example", "c@here.example"];
    hand_in(&server, &[&sender[..], &both].concat(), "Subject: x\n\n");
    one(&to);
    let dsn = scene.failure();
    dsn.assert_failed("c@here.example", "5.3.0");
    // Nobody to tell: it is kept.
    hand_in(&server, &["-f", "<>", "c@here.example"], "Subject: y\n\n");
    let line = server.wait_for_log(&[" drop ", "set aside", "no sender to return it to"], SOON);
    assert!(line.is_some(), "{}", server.log());
    assert!(is_empty(&drop_dir(&server)));
}

#[test]
fn p13_a_mail_that_is_much_too_large_comes_back_to_its_sender() {
    let scene = Scene::new();
    let config = scene.config().set("outgoing.max_message_size", "1MB");
    let server = Sendoff::start(BINARY, config);
    let mail = format!(
        "Subject: long\n\n{}",
        "a line of a long mail\n".repeat(1 << 20)
    );
    hand_in(
        &server,
        &["-f", "ann@origin.example", "b@to.example"],
        &mail,
    );
    let dsn = scene.failure();
    dsn.assert_failed("b@to.example", "5.3.4");
    eventually("it no longer exists", SOON, || is_empty(&drop_dir(&server)));
}

#[test]
fn p12_a_drop_that_a_crash_left_behind_is_not_taken_again() {
    let scene = Scene::new();
    let config = held(&scene).set("local.domains", ["here.example"]);
    let mut server = Sendoff::start(BINARY, config);
    let dir = drop_dir(&server);
    server.terminate();
    let arguments = ["-f", "ann@origin.example", "b@to.example", "c@here.example"];
    hand_in(&server, &arguments, "Subject: x\n\n");
    let is_drop = |path: &PathBuf| path.extension().is_some_and(|e| e == "drop");
    let entries = fs::read_dir(&dir).unwrap().flatten();
    let drop = entries.map(|e| e.path()).find(is_drop).expect("it waits");
    let octets = fs::read(&drop).unwrap();
    for times in 0..2 {
        // As it was before a removal that a power cut undid.
        fs::write(&drop, &octets).unwrap();
        server.restart();
        eventually("it is taken", SOON, || !drop.exists());
        eventually("it is told", SOON, || {
            log_lines(&server, &[" drop ", "was in the queue already"]).len() == times
        });
        eventually("the mail and the failure message are there", SOON, || {
            queue(&server).len() == 2
        });
        server.terminate();
    }
}

#[test]
fn p14_a_drop_that_could_not_be_removed_is_not_taken() {
    let scene = Scene::new();
    if !is_root() {
        // Nobody else can make a directory that the server may read and not remove from.
        let server = Sendoff::start(BINARY, held(&scene));
        hand_in(&server, &["b@to.example"], "Subject: x\n\n");
        eventually("it is taken", SOON, || queue(&server).len() == 1);
        assert!(is_empty(&drop_dir(&server)));
        return;
    }
    let (mut server, _) = unprivileged(held(&scene));
    let dir = drop_dir(&server);
    server.terminate();
    // Sticky, and of another owner, as the file is: the server may read it, and no more.
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o1777)).unwrap();
    std::os::unix::fs::chown(&dir, Some(0), Some(0)).unwrap();
    let drop = dir.join("1.drop");
    fs::write(&drop, example()).unwrap();
    fs::set_permissions(&drop, fs::Permissions::from_mode(0o644)).unwrap();
    server.restart();
    let waits = [" drop ", "waits: it could not be removed afterwards"];
    eventually("it says so", SOON, || {
        !log_lines(&server, &waits).is_empty()
    });
    server.restart();
    assert!(queue(&server).is_empty(), "{}", server.log());
    // Mended, it is taken, once.
    let owner = SERVER.parse().ok();
    std::os::unix::fs::chown(&dir, owner, owner).unwrap();
    eventually("it is taken", SOON, || queue(&server).len() == 1);
    assert!(!drop.exists());
}

#[test]
fn p09_more_recipients_than_a_message_may_have_are_all_sent_to() {
    let scene = Scene::new();
    let config = held(&scene).set("intake.max_recipients", 10);
    let server = Sendoff::start(BINARY, config);
    let recipients: Vec<String> = (0..25).map(|n| format!("user{n}@to.example")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    hand_in(&server, &recipients, "Subject: x\n\n");
    eventually("all are in the queue", SOON, || queue(&server).len() == 25);
}

/// A server that runs as `SERVER`, with a binary that everybody may run.
fn unprivileged(config: Config) -> (Sendoff, PathBuf) {
    let scratch = Scratch::new();
    let binary = scratch.path().join("sendoff");
    fs::copy(BINARY, &binary).expect("a copy of the binary");
    let data = scratch.path().join("data");
    fs::create_dir(&data).expect("a directory");
    let owner = SERVER.parse().ok();
    for path in [scratch.path(), &data] {
        std::os::unix::fs::chown(path, owner, owner).expect("root may");
        fs::set_permissions(path, fs::Permissions::from_mode(0o711)).expect("root may");
    }
    let wrapper = setpriv(SERVER);
    let server = Sendoff::start_in(scratch, &binary, config, &wrapper);
    (server, binary)
}

fn setpriv(user: &str) -> Vec<&str> {
    vec![
        "setpriv",
        "--reuid",
        user,
        "--regid",
        user,
        "--clear-groups",
    ]
}

/// As another user, who may not read the configuration.
fn sendmail_as(user: &str, binary: &Path, dir: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new("setpriv");
    command
        .args(setpriv(user).into_iter().skip(1))
        .arg(binary)
        .arg("sendmail")
        .args(arguments)
        .env("SENDOFF_DROP", dir)
        .env_remove("SENDOFF_CONFIG");
    feed(command, input.as_bytes())
}

#[test]
fn p10_any_user_hands_in_and_nobody_but_the_server_reads() {
    let scene = Scene::new();
    if !is_root() {
        // Who is no other user can still see the permissions that keep the others out.
        let server = Sendoff::start(BINARY, held(&scene));
        let mode = fs::metadata(drop_dir(&server)).unwrap().mode() & 0o7777;
        assert_eq!(mode, 0o3733);
        let refused = fs::metadata(drop_dir(&server).join("refused")).unwrap();
        assert_eq!(refused.mode() & 0o777, 0o700);
        return;
    }
    let (mut server, binary) = unprivileged(held(&scene));
    let dir = drop_dir(&server);
    let config = server.config_file();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    assert_taken(&sendmail_as(
        USER,
        &binary,
        &dir,
        &["b@to.example"],
        "Subject: x\n\n",
    ));
    eventually("it is taken", SOON, || queue(&server).len() == 1);
    let user = format!("user=uid{USER}");
    assert_eq!(log_lines(&server, &[" accepted ", &user]).len(), 1);
    server.terminate();
    let umask = |command: &str| {
        let mut shell = Command::new("setpriv");
        shell
            .args(setpriv(USER).into_iter().skip(1))
            .args(["sh", "-c", command, "sh"])
            .args([&binary, &dir])
            .env("SENDOFF_DROP", &dir);
        feed(shell, b"Subject: y\n\n").status.success()
    };
    assert!(umask("umask 077; \"$1\" sendmail c@to.example"));
    let drop = fs::read_dir(&dir)
        .unwrap()
        .flatten()
        .find(|e| e.file_name().to_string_lossy().ends_with(".drop"));
    let drop = drop.expect("the drop waits").path();
    assert_eq!(fs::metadata(&drop).unwrap().mode() & 0o7777, 0o640);
    assert!(!umask("ls \"$2\""), "a user lists the directory");
    let other = Command::new("setpriv")
        .args(["--reuid", "34567", "--regid", "34567", "--clear-groups"])
        .args(["cat"])
        .arg(&drop)
        .output()
        .unwrap();
    assert!(!other.status.success(), "another user reads a drop");
    let other = Command::new("setpriv")
        .args(["--reuid", "34567", "--regid", "34567", "--clear-groups"])
        .args(["rm", "-f"])
        .arg(&drop)
        .output()
        .unwrap();
    assert!(
        !other.status.success() && drop.exists(),
        "another user removes a drop"
    );
    // Another's file that was moved here does not become his mail.
    let moved = dir.join("0-moved.drop");
    fs::copy(&drop, &moved).unwrap();
    std::os::unix::fs::chown(&moved, Some(0), Some(0)).unwrap();
    fs::set_permissions(&moved, fs::Permissions::from_mode(0o644)).unwrap();
    server.restart();
    eventually("it is taken", SOON, || queue(&server).len() == 2);
    let line = server.wait_for_log(&["drop=0-moved", "not made in the drop directory"], SOON);
    assert!(line.is_some(), "{}", server.log());
    eventually("the directory is empty", SOON, || is_empty(&dir));
}

#[test]
fn p11_where_senders_are_fixed_a_user_cannot_be_another() {
    let scene = Scene::new();
    let here = scene.world.domain("sendoff.lab");
    let config = scene.config().set("sendmail.any_sender", false);
    if !is_root() {
        // The server's own user may always.
        let to = scene.world.domain("to.example");
        let server = Sendoff::start(BINARY, config);
        hand_in(&server, &["-f", "x@origin.example", "b@to.example"], "");
        assert_eq!(one(&to).sender, "x@origin.example");
        return;
    }
    let (server, binary) = unprivileged(config);
    let arguments = ["-f", "boss@origin.example", "b@to.example"];
    let output = sendmail_as(
        USER,
        &binary,
        &drop_dir(&server),
        &arguments,
        "Subject: x\n\n",
    );
    assert_taken(&output);
    let back = one(&here);
    assert_eq!(back.addresses(), [format!("uid{USER}@sendoff.lab")]);
    Dsn::parse(&back.content).assert_failed("b@to.example", "5.7.1");
    scene.assert_no_failure();
    // Nor in the header; what names nobody else is taken.
    let from = |header: &str| {
        let text = format!("{header}Subject: x\n\n");
        assert_taken(&sendmail_as(
            USER,
            &binary,
            &drop_dir(&server),
            &["b@to.example"],
            &text,
        ));
    };
    let to = scene.world.domain("to.example");
    from("From: boss@origin.example\n");
    let back = here.wait_for(2, SOON);
    let last = back.last().expect("a failure message");
    Dsn::parse(&last.content).assert_failed("b@to.example", "5.7.1");
    from("");
    from(&format!("From: uid{USER} (Cron Daemon)\n"));
    let mails = to.wait_for(2, SOON);
    let expected = [
        Some(format!("<uid{USER}@sendoff.lab>")),
        Some(format!("uid{USER}@sendoff.lab (Cron Daemon)")),
    ];
    let mut found: Vec<Option<String>> = mails.iter().map(|m| m.header("from")).collect();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn mailq_shows_users_their_own_mail_and_nobody_elses() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    let console = scene.world.console();
    let config = held(&scene).set("console.address", console.to_string());
    let (server, binary) = unprivileged(config);
    let dir = drop_dir(&server);
    let send = |user: &str, to: &str| {
        assert_taken(&sendmail_as(user, &binary, &dir, &[to], "Subject: x\n\n"));
    };
    send(USER, "mine@to.example");
    send("34567", "theirs@to.example");
    // A key of the HTTP interface may have the name of a user, and be anybody's.
    let name = format!("uid{USER}");
    let arguments = [
        "key",
        "add",
        &name,
        "--scope",
        "send",
        "--senders",
        "origin.example",
    ];
    let key = server.run(&arguments);
    let message = json!({"from": "a@origin.example", "to": ["web@to.example"], "text": "x"});
    let web = Web::at(console).with_secret(key.trim());
    web.post_json("/api/v1/messages", &message).expect(202);
    eventually("all are in the queue", SOON, || queue(&server).len() == 3);
    let mailq = |user: &str| {
        let output = sendmail_as(user, &binary, &dir, &["-bp"], "");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mine = mailq(USER);
    assert!(mine.contains("mine@to.example"), "{mine}");
    assert!(
        !mine.contains("theirs@") && !mine.contains("web@"),
        "{mine}"
    );
    let theirs = mailq("34567");
    assert!(
        theirs.contains("theirs@to.example") && !theirs.contains("mine@"),
        "{theirs}"
    );
    assert!(!mailq("45678").contains("@to.example"));
}
