//! A NUL in a mail: hosts refuse it, or cut the mail there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lab::Received;
use serde_json::json;

use crate::scene::{SENDER, SOON, Scene, send_with};
use crate::sendmail::{drop_dir, hand_in, sendmail};
use crate::web::Web;

const TEXT: &str = "one\0two";

fn mail() -> String {
    format!("From: <{SENDER}>\r\nTo: <bob@there.example>\r\nSubject: x\r\n\r\n{TEXT}\r\n")
}

/// The mail bears the text, and no NUL.
fn assert_encoded(mail: &Received) {
    assert!(!mail.content.contains(&0), "{:?}", mail.text());
    let text = mail.text();
    let (_, body) = text.split_once("\r\n\r\n").expect("a body");
    let octets = STANDARD.decode(body.replace("\r\n", "")).expect("base64");
    assert_eq!(String::from_utf8_lossy(&octets).trim_end(), TEXT, "{text}");
    let encoding = mail.header("content-transfer-encoding");
    assert_eq!(encoding.as_deref(), Some("base64"));
}

#[test]
fn by_smtp_a_nul_is_refused_or_taken_out() {
    let scene = Scene::new();
    let host = scene.world.domain("there.example");
    let mut server = scene.start();
    for chunked in [false, true] {
        let mut client = server.client();
        client.ehlo().expect("the server answers");
        client
            .expect(&format!("MAIL FROM:<{SENDER}>"), 250)
            .expect("MAIL is taken");
        client
            .expect("RCPT TO:<bob@there.example>", 250)
            .expect("RCPT is taken");
        let reply = match chunked {
            false => {
                client.expect("DATA", 354).expect("DATA is taken");
                client.content(mail().as_bytes())
            }
            true => {
                let bdat = format!("BDAT {} LAST\r\n{}", mail().len(), mail());
                client.send_raw(bdat.as_bytes()).expect("it is sent");
                client.reply()
            }
        };
        let reply = reply.expect("the server answers").to_string();
        assert!(reply.starts_with("550 5.6.0 Message has a NUL"), "{reply}");
    }
    server.reconfigure(|config| config.set("intake.nul", "remove"));
    server.run(&["reload"]);
    send_with(&server, "", &["<bob@there.example>"], mail().as_bytes());
    let mails = host.wait_for(1, SOON);
    assert!(
        mails[0].text().ends_with("\r\n\r\nonetwo\r\n"),
        "{}",
        mails[0].text()
    );
}

#[test]
fn by_sendmail_and_http_what_has_a_nul_is_encoded() {
    let scene = Scene::new();
    let host = scene.world.domain("there.example");
    let (server, web) = Web::start(&scene, scene.config());
    let web = web.with_key(&server, "send", &[]);
    web.post("/api/v1/messages", "message/rfc822", mail().as_bytes())
        .expect(202);
    assert_encoded(&host.wait_for(1, SOON)[0]);
    let parts =
        json!({ "from": SENDER, "to": ["bob@there.example"], "subject": "x", "text": TEXT });
    web.post_json("/api/v1/messages", &parts).expect(202);
    assert_encoded(&host.wait_for(2, SOON)[1]);
    hand_in(&server, &["-t"], &mail());
    assert_encoded(&host.wait_for(3, SOON)[2]);
    let dialogue = format!(
        "EHLO me\r\nMAIL FROM:<{SENDER}>\r\nRCPT TO:<bob@there.example>\r\nDATA\r\n{}.\r\nQUIT\r\n",
        mail()
    );
    let output = sendmail(&drop_dir(&server), &["-bs"], &dialogue);
    assert!(output.status.success(), "{output:?}");
    assert_encoded(&host.wait_for(4, SOON)[3]);
    // In the header nothing can encode it.
    let header = mail().replace("Subject: x", "Subject: x\0y");
    web.post("/api/v1/messages", "message/rfc822", header.as_bytes())
        .problem(422, "refused");
}
