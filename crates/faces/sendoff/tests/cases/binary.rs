//! Bodies that are not made of lines (BINARYMIME, RFC 3030): the octets reach a host that takes them,
//! and other hosts, stores and reports get lines that read the same, judged by Python's `email`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use lab::{MxHost, Scratch, Sendoff, Verb};
use serde_json::{Value, json};

use crate::scene::{BINARY, SENDER, SOON, Scene, eventually, python};

const READ_MAIL: &str = r#"
import email, email.policy, json, sys
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
leaves = [p for p in m.walk() if not p.is_multipart()]
print(json.dumps({
    "types": [p.get_content_type() for p in leaves],
    "encodings": [str(p["content-transfer-encoding"]) for p in leaves],
    "octets": [p.get_payload(decode=True).hex() for p in leaves],
    "defects": [repr(d) for p in m.walk() for d in p.defects],
}))
"#;

const TEXT: &str = "Gr\u{fc}\u{df}e\nzweite Zeile\r\n.\r\nohne Ende";

/// Every octet, CR and LF alone and together, a line of one dot, and a long line.
fn octets() -> Vec<u8> {
    let mut octets: Vec<u8> = (0..=255).collect();
    octets.extend_from_slice(b"\r\n.\r\n\n.\n\r.\r\0\0\r\n--other\r\n");
    octets.extend_from_slice(&[b'x'; 3000]);
    octets
}

/// A mail with a text and an attachment, both binary, and no line's end at its own end.
fn binary() -> Vec<u8> {
    let mut content = format!(
        "From: <{SENDER}>\r\nSubject: binary\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=edge\r\nContent-Transfer-Encoding: binary\r\n\r\n\
         --edge\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: binary\r\n\r\n{TEXT}\r\n\
         --edge\r\nContent-Type: application/octet-stream\r\n\
         Content-Transfer-Encoding: binary\r\n\r\n"
    )
    .into_bytes();
    content.extend(octets());
    content.extend_from_slice(b"\r\n--edge--");
    content
}

/// Hands a mail in, its content in two chunks.
fn send_chunks(server: &Sendoff, params: &str, to: &[&str], content: &[u8]) {
    let mut client = server.client();
    let start = format!("MAIL FROM:<{SENDER}> BODY=BINARYMIME {params}");
    client.expect(start.trim_end(), 250).expect("MAIL is taken");
    for path in to {
        let line = format!("RCPT TO:{path}");
        client.expect(&line, 250).expect("RCPT is taken");
    }
    let (first, second) = content.split_at(content.len() / 2);
    for (part, last) in [(first, ""), (second, " LAST")] {
        let line = format!("BDAT {}{last}\r\n", part.len());
        client
            .send_raw(&[line.as_bytes(), part].concat())
            .expect("the server reads");
        let reply = client.reply().expect("the server answers");
        assert_eq!(reply.code, 250, "{reply}");
    }
}

fn host(scene: &Scene, domain: &str, extensions: &[&str]) -> MxHost {
    let host = scene.world.domain(domain);
    host.set(|b| {
        b.extensions(extensions);
    });
    host
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|b| format!("{b:02x}")).collect()
}

/// That both parts read as they were meant: the text with its line ends mended, the octets exactly.
fn assert_same(content: &[u8]) -> Value {
    assert!(content.ends_with(b"\r\n") && !content.contains(&0));
    let lines = content.split(|b| *b == b'\n');
    for line in lines.filter(|line| !line.is_empty()) {
        assert!(line.ends_with(b"\r") && line.len() <= 999, "{line:?}");
        let alone = line.iter().filter(|b| **b == b'\r').count() > 1;
        assert!(!alone, "{line:?}");
    }
    let read = python(READ_MAIL, content);
    assert_eq!(read.get("defects"), Some(&json!([])), "{read}");
    let text = TEXT.replace("\r\n", "\n").replace('\n', "\r\n");
    let expected = json!([hex(text.as_bytes()), hex(&octets())]);
    assert_eq!(read.get("octets"), Some(&expected));
    read
}

#[test]
fn every_octet_reaches_a_host_that_takes_binary_bodies() {
    let scene = Scene::new();
    let all = [
        "PIPELINING",
        "8BITMIME",
        "CHUNKING",
        "BINARYMIME",
        "SIZE 1000000",
    ];
    let new = host(&scene, "new.example", &all);
    let server = scene.start();
    send_chunks(&server, "", &["<bob@new.example>"], &binary());
    // Nothing but NUL, and no MIME at all: whoever sends it gets it there.
    let plain = [b"From: <ann@origin.example>\r\n\r\n".as_slice(), &[0; 10]].concat();
    send_chunks(&server, "", &["<bob@new.example>"], &plain);
    let mails = new.wait_for(2, SOON);
    assert_eq!(mails.len(), 2);
    for (content, alone) in [(binary(), false), (plain, true)] {
        let got = mails.iter().find(|m| m.content.ends_with(&content));
        // What our fix-ups put in front stands above the rest; the body is the same octets.
        let body = content.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let got = got.or_else(|| mails.iter().find(|m| m.content.ends_with(&content[body..])));
        let got = got.unwrap_or_else(|| panic!("{alone}: not as it was sent"));
        assert!(got.chunked);
        assert!(
            got.mail_params.contains("BODY=BINARYMIME"),
            "{}",
            got.mail_params
        );
        let size = format!("SIZE={}", got.size);
        assert!(got.mail_params.contains(&size), "{}", got.mail_params);
    }
    assert!(
        server
            .wait_for_log(&[" converted "], std::time::Duration::ZERO)
            .is_none()
    );
}

#[test]
fn other_hosts_get_lines_that_read_the_same() {
    let scene = Scene::new();
    let eight = ["PIPELINING", "8BITMIME", "CHUNKING"];
    // BINARYMIME without CHUNKING promises nothing.
    let odd = ["8BITMIME", "BINARYMIME"];
    let hosts = [
        ("eight.example", &eight[..], true),
        ("odd.example", &odd[..], true),
        ("seven.example", &["CHUNKING", "SIZE 100000"][..], false),
        ("oldest.example", &[][..], false),
    ];
    let hosts = hosts.map(|(domain, offer, eight)| (host(&scene, domain, offer), domain, eight));
    let server = scene.start();
    for (host, domain, takes_eight) in &hosts {
        send_chunks(&server, "", &[&format!("<bob@{domain}>")], &binary());
        let mails = host.wait_for(1, SOON);
        let got = mails.first().unwrap();
        let read = assert_same(&got.content);
        assert_eq!(
            got.mail_params.contains("BODY=8BITMIME"),
            *takes_eight,
            "{}",
            got.mail_params
        );
        assert_eq!(got.content.is_ascii(), !takes_eight, "{}", got.text());
        let text = if *takes_eight {
            "8bit"
        } else {
            "quoted-printable"
        };
        assert_eq!(read["encodings"], json!([text, "base64"]));
        let line = server.wait_for_log(&[" converted ", domain], SOON).unwrap();
        assert!(line.contains("2 parts encoded"), "{line}");
    }
    scene.assert_no_failure();
}

#[test]
fn what_is_declared_binary_and_is_lines_goes_anywhere_as_it_is() {
    let scene = Scene::new();
    let old = host(&scene, "old.example", &["PIPELINING"]);
    let server = scene.start();
    let content = format!("From: <{SENDER}>\r\nSubject: lines\r\n\r\nHello.\r\n");
    send_chunks(&server, "", &["<bob@old.example>"], content.as_bytes());
    let mails = old.wait_for(1, SOON);
    let got = mails.first().unwrap();
    assert!(got.text().ends_with("\r\n\r\nHello.\r\n"), "{}", got.text());
    assert_eq!(got.mail_params, "");
}

#[test]
fn a_binary_mail_survives_a_restart_and_is_exported_octet_for_octet() {
    let scene = Scene::new();
    let all = ["8BITMIME", "CHUNKING", "BINARYMIME"];
    let new = host(&scene, "new.example", &all);
    let config = scene.config().set("outgoing.enabled", false);
    let mut server = Sendoff::start(BINARY, config);
    send_chunks(&server, "", &["<bob@new.example>"], &binary());
    let id = crate::scene::queue(&server)[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    server.kill9();
    server.restart();
    let exported = server.cli(&["queue", "export", &id]).stdout;
    let body = binary();
    let body = &body[body.windows(4).position(|w| w == b"\r\n\r\n").unwrap()..];
    assert!(exported.ends_with(body));
    server.reconfigure(|c| c.set("outgoing.enabled", true));
    server.run(&["reload"]);
    let mails = new.wait_for(1, SOON);
    assert_eq!(mails.first().unwrap().content, exported);
}

#[test]
fn a_report_returns_a_binary_mail_in_lines_and_a_signed_one_as_its_header() {
    let scene = Scene::new();
    let reject = scene.world.domain("reject.example");
    reject.set(|b| {
        b.reply(Verb::Rcpt, "", "550 5.1.1 nobody");
    });
    let server = scene.start();
    send_chunks(&server, "RET=FULL", &["<bob@reject.example>"], &binary());
    scene.failure().assert_failed("bob@reject.example", "5.1.1");
    let report = scene.origin.received().remove(0);
    let text = report.text();
    let (_, original) = text.split_once("Content-Type: message/rfc822\r\n").unwrap();
    let (_, original) = original.split_once("\r\n\r\n").unwrap();
    let (original, _) = original.rsplit_once("\r\n--=_").unwrap();
    assert_same(original.as_bytes());

    let signed = format!(
        "From: <{SENDER}>\r\nSubject: signed\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/signed; boundary=s; protocol=\"application/pgp-signature\"\r\n\r\n\
         --s\r\n\r\nbare\nlines\r\n--s\r\n\
         Content-Type: application/pgp-signature\r\n\r\nx\r\n--s--\r\n"
    );
    send_chunks(
        &server,
        "RET=FULL",
        &["<bob@reject.example>"],
        signed.as_bytes(),
    );
    let mails = scene.origin.wait_for(2, SOON);
    let second = mails.last().unwrap().text();
    assert!(second.contains("text/rfc822-headers"), "{second}");
    assert!(
        second.contains("Subject: signed") && !second.contains("bare"),
        "{second}"
    );
}

#[test]
fn what_is_signed_as_a_part_or_by_dkim_follows_the_rules_of_conversion() {
    let scene = Scene::new();
    let old = host(&scene, "old.example", &["PIPELINING", "8BITMIME"]);
    let mut server = scene.start();
    let signed = format!(
        "From: <{SENDER}>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/signed; boundary=s; protocol=\"application/pkcs7-signature\"\r\n\r\n\
         --s\r\n\r\nbare\nlines\r\n--s\r\n\
         Content-Type: application/pkcs7-signature\r\n\r\n\0\r\n--s--\r\n"
    );
    send_chunks(&server, "", &["<bob@old.example>"], signed.as_bytes());
    let failure = scene.failure();
    failure.assert_failed("bob@old.example", "5.6.3");
    let why = failure.field("bob@old.example", "diagnostic-code");
    assert!(why.contains("multipart/signed"), "{why}");
    assert!(why.contains("BINARYMIME"), "{why}");

    let mut foreign = b"DKIM-Signature: v=1; d=x.example; s=x; h=from; bh=; b=\r\n".to_vec();
    foreign.extend(binary());
    send_chunks(&server, "", &["<bob@old.example>"], &foreign);
    assert_same(&old.wait_for(1, SOON).first().unwrap().content);
    server.reconfigure(|c| c.set("outgoing.convert_signed", false));
    server.run(&["reload"]);
    send_chunks(&server, "", &["<eve@old.example>"], &foreign);
    let line = server
        .wait_for_log(&[" failed ", "eve@old.example"], SOON)
        .unwrap();
    assert!(
        line.contains("5.6.3") && line.contains("convert_signed"),
        "{line}"
    );
    assert_eq!(old.count(), 1);
}

/// An LMTP server for one mail; what it was told, and the content.
fn lmtp(offer: &'static str) -> (String, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let store = format!("lmtp:{}", listener.local_addr().expect("an address"));
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mail = take_one(stream, offer);
            if mail
                .as_ref()
                .is_some_and(|(_, content)| !content.is_empty())
            {
                // The test may have ended.
                drop(tell.send(mail.unwrap_or_default()));
            }
        }
    });
    (store, told)
}

fn take_one(mut stream: TcpStream, offer: &str) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    stream.write_all(b"220 lmtp\r\n").ok()?;
    let (mut said, mut content) = (String::new(), Vec::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return Some((said, content));
        }
        let answer = match line.get(..4) {
            Some("LHLO") => offer.to_owned(),
            Some("BDAT") => {
                let size = line.split_whitespace().nth(1)?.parse().ok()?;
                content = vec![0; size];
                reader.read_exact(&mut content).ok()?;
                "250 stored\r\n".to_owned()
            }
            Some("DATA") => {
                stream.write_all(b"354 go\r\n").ok()?;
                loop {
                    let mut line = Vec::new();
                    reader.read_until(b'\n', &mut line).ok()?;
                    if line == b".\r\n" {
                        break;
                    }
                    content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                }
                "250 stored\r\n".to_owned()
            }
            // Whoever says goodbye need not wait for the answer, and may be gone.
            Some("QUIT") => return Some((said, content)),
            Some(_) | None => "250 ok\r\n".to_owned(),
        };
        said.push_str(&line);
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

#[test]
fn local_stores_get_binary_mail_as_they_can_take_it() {
    let scene = Scene::new();
    let local = |store: String| {
        let config = scene.config().set("local.domains", ["here.example"]);
        let server = Sendoff::start(BINARY, config.set("local.deliver", store));
        send_chunks(&server, "", &["<hans@here.example>"], &binary());
        server
    };
    let (store, told) = lmtp("250-lmtp\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250 8BITMIME\r\n");
    let server = local(store);
    let (said, content) = told.recv_timeout(SOON).unwrap();
    assert!(said.contains("BODY=BINARYMIME"), "{said}");
    assert!(content.ends_with(&binary()[binary().len() - octets().len() - 10..]));

    drop(server);
    let (store, told) = lmtp("250-lmtp\r\n250 8BITMIME\r\n");
    let server = local(store);
    let (said, content) = told.recv_timeout(SOON).unwrap();
    assert!(said.contains("BODY=8BITMIME"), "{said}");
    assert_same(&content);

    drop(server);
    let boxes = Scratch::new();
    let _server = local(format!("maildir:{}/{{user}}", boxes.path().display()));
    let new = boxes.path().join("hans/new");
    let files = || fs::read_dir(&new).into_iter().flatten().flatten();
    eventually("it is stored", SOON, || files().count() == 1);
    let stored = fs::read(files().next().unwrap().path()).unwrap();
    assert_same(&stored);
}
