//! Who may write as whom, told apart by nothing that its author can bend.

use std::io::Write as _;
use std::net::TcpStream;

use lab::{Client, Reply, Scratch, Sendoff};

use crate::scene::{BINARY, SENDER, SOON, Scene, queue};
use crate::ways_in::{add_user, in_tls, with_tls};
use crate::web::Web;

const RAW: &str = "/api/v1/messages?to=bob@there.example";

/// Headers that read as from somebody else, by one reader or another.
fn forged() -> Vec<String> {
    let evil = "ceo@corp.example";
    vec![
        format!("From: <{evil}>\r\n"),
        format!("Subject: x\rFrom: <{evil}>\r\nFrom: <{SENDER}>\r\n"),
        format!("From: <{SENDER}>\r\nSubject: x\rFrom: <{evil}>\r\n"),
        format!("From: <{SENDER}>\rSender: <{evil}>\r\n"),
        format!("From: <{SENDER}>\rX:\n From: y\rFrom: <{evil}>\r\n"),
        format!("From: <{evil}> <{SENDER}>\r\n"),
        format!("From: <{SENDER}> {evil}\r\n"),
        format!("From: {evil} {SENDER}\r\n"),
        format!("From: x{SENDER}, {evil}\r\n"),
        format!("From: <{SENDER}>\r\nFrom: <{evil}>\r\n"),
        format!("From: <{SENDER}>\r\nno field at all\r\nFrom: <{evil}>\r\n"),
        format!("Subject: x\r\nno field at all\r\nFrom: <{evil}>\r\n"),
        format!("From: <{SENDER}>\r\nSender: <{evil}>\r\n"),
        "From: evil ann@origin.example\r\n".to_owned(),
        "Subject: nobody\r\n".to_owned(),
    ]
}

fn content(header: &str) -> String {
    format!("{header}\r\nHello.\r\n")
}

#[test]
fn by_http_a_key_writes_as_none_but_its_senders_however_the_header_is_bent() {
    let scene = Scene::new();
    let config = scene.config().set("outgoing.enabled", false);
    let (server, web) = Web::start(&scene, config);
    let web = web.with_key(&server, "send", &["--senders", SENDER]);
    let post = |header: &str| web.post(RAW, "message/rfc822", content(header).as_bytes());
    for header in forged() {
        let answer = post(&header);
        assert!(
            [400, 403, 422].contains(&answer.status),
            "{} {header:?}\n{}",
            answer.status,
            answer.text()
        );
    }
    for header in [
        format!("From: Ann <{SENDER}>\n"),
        format!("Subject: x\rFrom: {SENDER}\r"),
    ] {
        post(&header).expect(202);
    }
    assert_eq!(queue(&server).len(), 2);
}

/// What `ann` is answered for mails with these headers, by SMTP after a login.
fn answers(scene: &Scene, server: &Sendoff, headers: &[String]) -> Vec<Reply> {
    let mut client = in_tls(scene, server);
    let reply = client.auth_plain("ann", "correct horse");
    assert_eq!(reply.expect("the server answers").code, 235);
    let mut send = |header: &String| {
        let reply = client.send_mail(SENDER, &["bob@there.example"], content(header).as_bytes());
        reply.expect("the server answers")
    };
    headers.iter().map(&mut send).collect()
}

fn submitting(scene: &Scene, scratch: &Scratch, check: &str) -> Sendoff {
    let config = with_tls(scene, scratch)
        .set("submission.check_from", check)
        .set("intake.bare_newline", "normalise")
        .set("intake.max_bad_commands", 100)
        .set("outgoing.enabled", false);
    let server = Sendoff::start(BINARY, config);
    add_user(&server, "ann");
    server.run(&["user", "senders", "ann", SENDER]);
    server
}

#[test]
fn by_smtp_a_user_writes_as_none_but_its_senders_however_the_header_is_bent() {
    let (scene, scratch) = (Scene::new(), Scratch::new());
    let server = submitting(&scene, &scratch, "from");
    for (header, reply) in forged().iter().zip(answers(&scene, &server, &forged())) {
        assert_eq!(reply.code, 550, "{header:?}: {reply}");
    }
    let again = format!("Resent-From: {SENDER}\r\nFrom: ceo@corp.example\r\n");
    let own = format!("From: Ann <{SENDER}>\r\n");
    let replies = answers(&scene, &server, &[again, own]);
    let codes: Vec<u16> = replies.iter().map(|r| r.code).collect();
    assert_eq!(codes, [550, 250]);
    assert!(
        replies[0].to_string().contains("user senders"),
        "{}",
        replies[0]
    );
    // A user with all senders is not looked at.
    server.run(&["user", "senders", "ann", "*"]);
    let reply = answers(&scene, &server, &["From: ceo@corp.example\r\n".to_owned()]);
    assert_eq!(reply[0].code, 250, "{}", reply[0]);
}

#[test]
fn a_user_sends_for_another_where_the_setting_allows_it() {
    let (scene, scratch) = (Scene::new(), Scratch::new());
    let mut server = submitting(&scene, &scratch, "sender");
    let headers = [
        format!("From: ceo@corp.example\r\nSender: {SENDER}\r\n"),
        format!("Resent-From: {SENDER}\r\nFrom: ceo@corp.example\r\n"),
        "From: ceo@corp.example\r\nSender: other@corp.example\r\n".to_owned(),
        format!("Resent-From: {SENDER}, ceo@corp.example\r\nFrom: ceo@corp.example\r\n"),
        "From: ceo@corp.example\r\n".to_owned(),
        format!("From: ceo@corp.example\r\nno field\r\nSender: {SENDER}\r\n"),
    ];
    let codes: Vec<u16> = answers(&scene, &server, &headers)
        .iter()
        .map(|r| r.code)
        .collect();
    assert_eq!(codes, [250, 250, 550, 550, 550, 550]);
    server.reconfigure(|config| config.set("submission.check_from", "off"));
    server.run(&["reload"]);
    for reply in answers(&scene, &server, &forged()) {
        assert_eq!(reply.code, 250, "{reply}");
    }
}

#[test]
fn where_local_users_send_as_themselves_a_client_on_this_computer_logs_in() {
    let scene = Scene::new();
    let to = scene.world.domain("there.example");
    let server = Sendoff::start(BINARY, scene.config().set("sendmail.any_sender", false));
    add_user(&server, "ann");
    server.run(&["user", "senders", "ann", SENDER]);
    let mail = content(&format!("From: {SENDER}\r\n"));
    let mut client = server.client();
    let refused = client.send_mail(SENDER, &["bob@there.example"], mail.as_bytes());
    let refused = refused.expect("the server answers");
    assert_eq!(refused.code, 550, "{refused}");
    assert!(
        refused.to_string().contains("authentication required"),
        "{refused}"
    );
    // In clear: nothing leaves this computer.
    for proven in [true, false] {
        let mut client = server.client();
        assert!(
            client
                .ehlo()
                .expect("the server answers")
                .to_string()
                .contains("AUTH SCRAM-SHA-256")
        );
        let reply = match proven {
            true => client.auth_scram("ann", "correct horse", "n"),
            false => client.auth_plain("ann", "correct horse"),
        };
        assert_eq!(reply.expect("the server answers").code, 235);
        let reply = client.send_mail("ceo@corp.example", &["bob@there.example"], mail.as_bytes());
        assert_eq!(reply.expect("the server answers").code, 553);
        let reply = client.send_mail(SENDER, &["bob@there.example"], mail.as_bytes());
        assert_eq!(reply.expect("the server answers").code, 250);
    }
    assert_eq!(to.wait_for(2, SOON).len(), 2);
}

/// A local user claims to be a proxy on this computer, whose word about its clients is believed.
#[test]
fn where_local_users_send_as_themselves_no_local_proxy_makes_them_trusted() {
    let scene = Scene::new();
    let address = lab::free_address();
    let listener = [
        ("address", address.to_string().into()),
        ("proxies", ["127.0.0.0/8"].into()),
        ("networks", ["10.0.0.0/8"].into()),
    ];
    let config = scene.config().set("sendmail.any_sender", false);
    let config = config.in_table("listener", "auth", "optional");
    let _server = Sendoff::start(BINARY, config.table("listener", &listener));
    let mut tcp = TcpStream::connect(address).expect("the server listens");
    let header = b"PROXY TCP4 10.0.0.5 127.0.0.1 4000 25\r\n";
    tcp.write_all(header).expect("the server reads");
    let mut client = Client::over(tcp).expect("a greeting");
    let ehlo = client.ehlo().expect("the server answers").to_string();
    assert!(
        !ehlo.contains("AUTH"),
        "what it says may have come in clear: {ehlo}"
    );
    let reply = client.send_mail(SENDER, &["bob@there.example"], b"x\r\n");
    assert_eq!(reply.expect("the server answers").code, 550);
}
