//! Mail for local domains: it stays here, whatever outgoing mail does.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use lab::{Scratch, Sendoff};

use crate::scene::{BINARY, SENDER, SOON, Scene, eventually, log_lines, mail, queue};

fn stored(mailbox: &Path) -> Vec<String> {
    let Ok(found) = fs::read_dir(mailbox.join("new")) else {
        return Vec::new();
    };
    found
        .map(|file| {
            fs::read_to_string(file.expect("a mailbox can be read").path())
                .expect("a mailbox can be read")
        })
        .collect()
}

#[test]
fn local_mail_is_stored_although_outgoing_mail_is_switched_off() {
    let scene = Scene::new();
    let boxes = Scratch::new();
    let template = format!("maildir:{}/{{domain}}/{{user}}", boxes.path().display());
    let config = scene
        .config()
        .set("local.domains", ["here.example"])
        .set("local.deliver", template)
        .set("outgoing.enabled", false);
    let server = Sendoff::start(BINARY, config);
    let recipients = ["hans@here.example", "bob@origin.example"];
    server.send(SENDER, &recipients, &mail("a case"));
    let mailbox = boxes.path().join("here.example/hans");
    eventually("the mail is in its mailbox", SOON, || {
        stored(&mailbox).len() == 1
    });
    let text = stored(&mailbox).remove(0);
    assert!(text.starts_with("Return-Path: <ann@origin.example>\r\n"));
    assert!(text.contains("Subject: a case\r\n"));
    let waiting = queue(&server);
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0]["recipient"], "bob@origin.example");
    assert!(
        waiting[0]["reason"]
            .as_str()
            .unwrap()
            .contains("switched off")
    );
}

/// An LMTP server for one transaction: takes everybody but `nobody`, answers the first of them
/// well and the others not now, and closes without hearing the goodbye.
fn lmtp_once(stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().expect("the server talks on"));
    let mut writer = stream;
    let mut accepted = 0;
    writer
        .write_all(b"220 lmtp\r\n")
        .expect("the server talks on");
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let answer = match line.get(..4) {
            Some("RCPT") if line.contains("nobody") => "550 5.1.1 no such user\r\n",
            Some("RCPT") => {
                accepted += 1;
                "250 ok\r\n"
            }
            Some("DATA") => {
                writer
                    .write_all(b"354 go\r\n")
                    .expect("the server talks on");
                while line.trim_end() != "." {
                    line.clear();
                    reader.read_line(&mut line).expect("the server talks on");
                }
                writer
                    .write_all(b"250 2.0.0 stored\r\n")
                    .expect("the server talks on");
                for _ in 1..accepted {
                    writer
                        .write_all(b"452 4.2.2 full\r\n")
                        .expect("the server talks on");
                }
                return;
            }
            Some(_) | None => "250 ok\r\n",
        };
        writer
            .write_all(answer.as_bytes())
            .expect("the server talks on");
    }
}

#[test]
fn each_recipient_at_an_lmtp_server_has_its_own_end() {
    let scene = Scene::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let store = format!("lmtp:{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            lmtp_once(stream.unwrap());
        }
    });
    let config = scene
        .config()
        .set("local.domains", ["here.example"])
        .set("local.deliver", store);
    let server = Sendoff::start(BINARY, config);
    let mut client = server.client();
    client
        .expect(&format!("MAIL FROM:<{SENDER}>"), 250)
        .unwrap();
    client.expect("RCPT TO:<a@here.example>", 250).unwrap();
    let refused = client.command("RCPT TO:<nobody@here.example>").unwrap();
    assert_eq!(refused.to_string(), "550 5.1.1 no such user");
    client.expect("RCPT TO:<c@here.example>", 250).unwrap();
    client.expect("DATA", 354).unwrap();
    let taken = client.content(mail("a case").as_bytes()).unwrap();
    assert_eq!(taken.code, 250, "{taken}");
    for expected in [
        [" delivered ", "to=<a@here.example>"],
        [" deferred ", "to=<c@here.example>"],
        [" delivered ", "to=<c@here.example>"],
    ] {
        server.wait_for_log(&expected, SOON).unwrap();
    }
    let log = server.log();
    let delivered = log
        .lines()
        .filter(|l| l.contains(" delivered ") && l.contains("a@here.example"));
    assert_eq!(delivered.count(), 1);
}

/// An LMTP server at a socket that takes whole transactions at once: says which commands it has heard, and that
/// the second of two mailboxes is full.
fn lmtp_at_socket(listener: &UnixListener) -> Vec<String> {
    let (mut writer, _) = listener.accept().expect("the server connects");
    let mut reader = BufReader::new(writer.try_clone().expect("the server talks on"));
    let mut heard = Vec::new();
    let mut say = |text: &str| writer.write_all(text.as_bytes()).expect("it listens");
    say("220 lmtp\r\n");
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return heard;
        }
        heard.push(line.trim_end().to_owned());
        match line.trim_end().split(' ').next() {
            // Nobody waits for the answer to the goodbye.
            Some("QUIT") => return heard,
            Some("LHLO") => say("250-lmtp\r\n250-PIPELINING\r\n250 CHUNKING\r\n"),
            Some("BDAT") => {
                let size = line
                    .split(' ')
                    .nth(1)
                    .expect("a size")
                    .parse()
                    .expect("a size");
                let mut content = vec![0; size];
                reader.read_exact(&mut content).expect("the content");
                say("250 2.0.0 stored\r\n452 4.2.2 full\r\n");
            }
            Some(_) | None => say("250 ok\r\n"),
        }
    }
}

#[test]
fn an_lmtp_server_at_a_socket_is_told_as_much_at_once_as_it_offers() {
    let scene = Scene::new();
    let place = Scratch::new();
    let socket = place.path().join("lmtp");
    let listener = UnixListener::bind(&socket).unwrap();
    let config = scene
        .config()
        .set("local.domains", ["here.example"])
        .set("local.deliver", format!("lmtp:{}", socket.display()));
    let server = Sendoff::start(BINARY, config);
    let mut program = std::process::Command::new(BINARY);
    let mut program = program
        .arg("--config")
        .arg(server.config_file())
        .args(["sendmail", "a@here.example", "b@here.example"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = program.stdin.take().unwrap();
    input.write_all(b"Subject: x\n\nHello.\n").unwrap();
    drop(input);
    assert!(program.wait().unwrap().success());
    let heard = lmtp_at_socket(&listener);
    let verbs: Vec<&str> = heard.iter().map(|l| &l[..4]).collect();
    assert_eq!(
        verbs,
        ["LHLO", "MAIL", "RCPT", "RCPT", "BDAT", "QUIT"],
        "{heard:?}"
    );
    for expected in [
        [" delivered ", "to=<a@here.example>"],
        [" deferred ", "to=<b@here.example>"],
    ] {
        server.wait_for_log(&expected, SOON).unwrap();
    }
    let id = queue(&server)[0]["id"].as_str().unwrap().to_owned();
    let shown = server.run(&["queue", "trace", &id]);
    assert!(shown.contains("< 452 4.2.2 full"), "{shown}");
}

/// An LMTP server that refuses one command.
fn lmtp_refusing(listener: &TcpListener, command: &'static str, answer: &'static str) {
    let listener = listener.try_clone().expect("a listener");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut writer = stream.expect("the server connects");
            let reader = writer.try_clone().expect("the server talks on");
            let mut reader = BufReader::new(reader);
            drop(writer.write_all(b"220 lmtp\r\n"));
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap_or(0) > 0 {
                let reply = match line.starts_with(command) {
                    true => answer,
                    false => "250 ok",
                };
                drop(writer.write_all(format!("{reply}\r\n").as_bytes()));
                line.clear();
            }
        }
    });
}

#[test]
fn what_an_lmtp_server_refuses_for_good_comes_back_at_once() {
    for (command, answer, status) in [
        ("MAIL", "552 5.3.4 too large for anybody", "5.3.4"),
        ("DATA", "554 5.7.1 not this one", "5.7.1"),
    ] {
        let scene = Scene::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        lmtp_refusing(&listener, command, answer);
        let config = scene.config().set("local.domains", ["here.example"]).set(
            "local.deliver",
            format!("lmtp:{}", listener.local_addr().unwrap()),
        );
        let server = Sendoff::start(BINARY, config);
        server.send(SENDER, &["a@here.example"], &mail("a case"));
        scene.failure().assert_failed("a@here.example", status);
        assert!(log_lines(&server, &[" deferred "]).is_empty(), "{command}");
    }
}

#[test]
fn while_the_lmtp_server_is_away_its_mail_is_taken_and_waits() {
    let scene = Scene::new();
    let address = lab::free_address();
    let config = scene
        .config()
        .set("local.domains", ["here.example"])
        .set("local.deliver", format!("lmtp:{address}"));
    let server = Sendoff::start(BINARY, config);
    server.send(SENDER, &["a@here.example"], &mail("a case"));
    let deferred = server.wait_for_log(&[" deferred ", "to=<a@here.example>"], SOON);
    assert!(deferred.is_some());
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            lmtp_once(stream.unwrap());
        }
    });
    let told = server.wait_for_log(&[" delivered ", "to=<a@here.example>"], SOON);
    assert!(told.is_some());
}

#[test]
fn only_mailboxes_that_are_there_take_mail_when_none_are_made() {
    let scene = Scene::new();
    let boxes = Scratch::new();
    let template = format!("maildir:{}/{{user}}", boxes.path().display());
    fs::create_dir(boxes.path().join("hans")).unwrap();
    let config = scene
        .config()
        .set("local.domains", ["here.example"])
        .set("local.deliver", template)
        .set("local.create", false);
    let server = Sendoff::start(BINARY, config);
    let mut client = server.client();
    client
        .expect(&format!("MAIL FROM:<{SENDER}>"), 250)
        .unwrap();
    client.expect("RCPT TO:<hans@here.example>", 250).unwrap();
    client.expect("RCPT TO:<otto@here.example>", 550).unwrap();
    client.expect("DATA", 354).unwrap();
    let taken = client.content(mail("a case").as_bytes()).unwrap();
    assert_eq!(taken.code, 250, "{taken}");
    eventually("the mail is in its mailbox", SOON, || {
        stored(&boxes.path().join("hans")).len() == 1
    });
    // Programs are not asked when they submit: what is nobody's comes back, and makes no mailbox.
    let mut program = std::process::Command::new(BINARY);
    program
        .arg("--config")
        .arg(server.config_file())
        .arg("sendmail");
    let mut program = program
        .arg("otto@here.example")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    program
        .stdin
        .take()
        .unwrap()
        .write_all(b"Subject: x\n\nHello.\n")
        .unwrap();
    assert!(program.wait().unwrap().success());
    let failed = [
        " failed ",
        "to=<otto@here.example>",
        "5.1.1 There is no mailbox otto@here.example",
    ];
    let failed = server.wait_for_log(&failed, SOON);
    assert!(failed.is_some(), "{}", server.log());
    assert!(!boxes.path().join("otto").exists());
    let explained = server.run(&["explain", "otto@here.example"]);
    assert!(
        explained.contains("it would be refused: there is no mailbox"),
        "{explained}"
    );
}

#[test]
fn mail_waits_while_the_disk_with_all_mailboxes_is_not_there() {
    let scene = Scene::new();
    let boxes = Scratch::new();
    let template = format!("maildir:{}/{{user}}", boxes.path().display());
    let config = scene
        .config()
        .set("local.domains", ["here.example"])
        .set("local.deliver", template)
        .set("local.create", false);
    let server = Sendoff::start(BINARY, config);
    server.send(SENDER, &["hans@here.example"], &mail("a case"));
    let waits = [" deferred ", "is its disk mounted?"];
    assert!(
        server.wait_for_log(&waits, SOON).is_some(),
        "{}",
        server.log()
    );
    fs::create_dir(boxes.path().join("hans")).unwrap();
    server.run(&["queue", "retry", "--all", "--yes"]);
    eventually("the mail is in its mailbox", SOON, || {
        stored(&boxes.path().join("hans")).len() == 1
    });
}
