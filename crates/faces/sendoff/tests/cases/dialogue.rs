//! The talk with a host: C22 to C24, C49 to C51.

use std::time::Duration;

use lab::{Connection, MxHost, Sendoff, StartTls, Verb};

use crate::scene::{
    A_WHILE, BINARY, SENDER, SOON, Scene, eventually, log_lines, mail, mail_of, recipients, send,
    send_many,
};

#[test]
fn c22_a_host_without_ehlo_is_greeted_with_helo() {
    let scene = Scene::new();
    let host = scene.world.domain("old.example");
    host.set(|b| {
        b.reply(Verb::Ehlo, "", "502 command not implemented");
    });
    let server = scene.start();
    send(&server, "bob@old.example");
    let mails = host.wait_for(1, SOON);
    let mail = mails.first().unwrap();
    assert_eq!((mail.mail_params.as_str(), mail.chunked), ("", false));
    assert!(host.lines().contains(&"HELO sendoff.lab".to_owned()));
    assert_eq!(host.connection_count(), 1);
}

/// The client's writes from its first MAIL on.
fn writes_of_mail(connection: &Connection) -> Vec<Vec<&str>> {
    let is_mail = |w: &Vec<&str>| w.iter().any(|l| l.starts_with("MAIL "));
    connection
        .writes()
        .into_iter()
        .skip_while(|w| !is_mail(w))
        .collect()
}

fn verbs(write: &[&str]) -> Vec<String> {
    let verb = |line: &&str| {
        line.split(' ')
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase()
    };
    write.iter().map(verb).collect()
}

#[test]
fn c23_without_pipelining_commands_and_replies_alternate() {
    let scene = Scene::new();
    let host = scene.world.domain("strict.example");
    host.set(|b| {
        b.extensions(&["8BITMIME", "SIZE 10000000"]);
        b.reply_delay = Duration::from_millis(10);
    });
    let server = scene.start();
    let to = ["a@strict.example", "b@strict.example", "c@strict.example"];
    server.send(SENDER, &to, &mail("one at a time"));
    send_many(&server, 3, |n| format!("user{n}@strict.example"));
    assert_eq!(host.wait_for(4, SOON).len(), 4);
    for connection in host.connections() {
        let together = connection.writes().into_iter().find(|w| w.len() > 1);
        assert_eq!(together, None);
    }
}

#[test]
fn c23_with_pipelining_a_transaction_goes_out_in_one_write() {
    let scene = Scene::new();
    let host = scene.world.domain("fast.example");
    host.set(|b| {
        b.extensions(&["PIPELINING", "8BITMIME"]);
    });
    let server = scene.start();
    server.send(
        SENDER,
        &["a@fast.example", "b@fast.example"],
        &mail("by DATA"),
    );
    assert_eq!(host.wait_for(1, SOON).len(), 1);
    let connections = host.connections();
    let writes = writes_of_mail(connections.first().unwrap());
    assert_eq!(
        verbs(writes.first().unwrap()),
        ["MAIL", "RCPT", "RCPT", "DATA"]
    );

    let host = scene.world.domain("chunks.example");
    host.set(|b| {
        b.extensions(&["PIPELINING", "8BITMIME", "CHUNKING"]);
    });
    server.send(
        SENDER,
        &["a@chunks.example", "b@chunks.example"],
        &mail("by BDAT"),
    );
    assert!(host.wait_for(1, SOON).first().unwrap().chunked);
    let connections = host.connections();
    let writes = writes_of_mail(connections.first().unwrap());
    assert_eq!(
        verbs(writes.first().unwrap()),
        ["MAIL", "RCPT", "RCPT", "BDAT"]
    );
}

#[test]
fn c24_what_is_offered_inside_tls_counts() {
    let scene = Scene::new();
    let host = scene.world.domain("two-faced.example");
    host.set(|b| {
        b.starttls = StartTls::Good;
        b.extensions(&["PIPELINING", "CHUNKING", "8BITMIME", "SIZE 100"]);
        b.extensions_in_tls = Some(vec!["8BITMIME".to_owned()]);
        b.reply_delay = Duration::from_millis(5);
    });
    let server = scene.start();
    send(&server, "bob@two-faced.example");
    let mails = host.wait_for(1, SOON);
    let mail = mails.first().unwrap();
    assert!(mail.tls && !mail.chunked && !mail.mail_params.contains("SIZE"));
    let connections = host.connections();
    let connection = connections.first().unwrap();
    assert!(connection.writes().iter().all(|w| w.len() == 1));
    assert!(
        connection
            .lines
            .iter()
            .any(|l| l.tls && l.text.starts_with("EHLO "))
    );
}

#[test]
fn c49_a_mail_too_large_for_one_mx_goes_to_another_without_data() {
    let scene = Scene::new();
    let host = |domain: &str, preference, limit: usize| {
        let name = format!("mx{preference}.{domain}");
        let host = scene.world.mx(domain, preference, &name);
        let size = format!("SIZE {limit}");
        host.set(|b| {
            b.extensions(&["PIPELINING", &size]);
        });
        host
    };
    let small = host("sizes.example", 10, 1000);
    let large = host("sizes.example", 20, 100_000);
    let neither = [
        host("tiny.example", 10, 1000),
        host("tiny.example", 20, 1500),
    ];
    let server = scene.start();
    server.send(SENDER, &["bob@sizes.example"], &mail_of("large", 2000));
    assert_eq!(large.wait_for(1, SOON).len(), 1);
    server.send(SENDER, &["eve@tiny.example"], &mail_of("large", 2000));
    let failure = scene.failure();
    failure.assert_failed("eve@tiny.example", "5.3.4");
    assert!(log_lines(&server, &[" deferred "]).is_empty());
    for host in [&small, &neither[0], &neither[1]] {
        assert!(host.connection_count() > 0, "{}", host.name());
        assert!(
            !host.lines().contains(&"DATA".to_owned()),
            "{}",
            host.name()
        );
    }
}

#[test]
fn c50_one_mail_stays_one_mail_whatever_is_in_it() {
    let scene = Scene::new();
    let by_data = scene.world.domain("data.example");
    let by_bdat = scene.world.domain("bdat.example");
    by_bdat.set(|b| {
        b.extension("CHUNKING");
    });
    let config = scene.config().set("outgoing.long_lines", "keep");
    let server = Sendoff::start(BINARY, config);
    let long = "x".repeat(5000);
    let body = format!(
        "Subject: odd\r\n\r\n.\r\n..\r\n.a\r\n{long}\r\n.{long}\r\nMAIL FROM:<x@y>\r\n\r\n.\r\n"
    );
    server.send(SENDER, &["bob@data.example", "bob@bdat.example"], &body);
    for host in [&by_data, &by_bdat] {
        let mails = host.wait_for(1, SOON);
        let mail = mails.first().unwrap();
        assert!(
            mail.text().ends_with(&body),
            "unchanged behind the Received field"
        );
        assert_eq!(host.wait_for(2, A_WHILE).len(), 1);
    }
}

/// Content in which a second mail hides behind an end that is none.
fn smuggled(end: &str) -> Vec<u8> {
    let first = format!("Subject: first\r\n\r\nhello{end}");
    let second = "MAIL FROM:<evil@origin.example>\r\nRCPT TO:<victim@good.example>\r\nDATA\r\n\
                  Subject: second\r\n\r\nboo\r\n.\r\n";
    [first.as_bytes(), second.as_bytes()].concat()
}

const FALSE_ENDS: [&str; 6] = ["\n.\n", "\r\n.\n", "\n.\r\n", "\r.\r", "\r\n.\r", "\r.\r\n"];

#[test]
fn c50_no_second_mail_is_smuggled_in_behind_a_false_end() {
    for setting in ["refuse", "normalise"] {
        let scene = Scene::new();
        let host = scene.world.domain("good.example");
        let config = scene.config().set("intake.bare_newline", setting);
        let server = Sendoff::start(BINARY, config);
        for end in FALSE_ENDS {
            let mut client = server.client();
            client
                .expect(&format!("MAIL FROM:<{SENDER}>"), 250)
                .unwrap();
            client.expect("RCPT TO:<bob@good.example>", 250).unwrap();
            client.expect("DATA", 354).unwrap();
            client.send_raw(&smuggled(end)).unwrap();
            let reply = client.reply().unwrap();
            let expected = if setting == "refuse" { 5 } else { 2 };
            assert_eq!(reply.code / 100, expected, "{setting} {end:?}: {reply}");
        }
        let expected = if setting == "refuse" {
            0
        } else {
            FALSE_ENDS.len()
        };
        assert_eq!(host.wait_for(expected, SOON).len(), expected);
        // Had a mail been smuggled past us or past the host, it would be one more.
        assert_eq!(
            host.wait_for(expected + 1, A_WHILE).len(),
            expected,
            "{setting}"
        );
        for mail in host.received() {
            assert_eq!(mail.addresses(), ["bob@good.example"]);
        }
    }
}

#[test]
fn c51_a_thousand_recipients_take_ten_transactions_in_one_connection() {
    let scene = Scene::new();
    let told = scene.world.domain("limits.example");
    told.set(|b| {
        b.extension("LIMITS RCPTMAX=100");
        b.recipients_per_mail = Some(100);
    });
    let untold = scene.world.domain("full.example");
    untold.set(|b| b.recipients_per_mail = Some(100));
    let server = scene.start();
    for (domain, host) in [("limits.example", &told), ("full.example", &untold)] {
        let list = recipients("user", domain, 1000);
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        server.send(SENDER, &list, &mail("to all"));
        let everybody = || {
            host.received()
                .iter()
                .map(|m| m.recipients.len())
                .sum::<usize>()
        };
        eventually("a thousand recipients", SOON, || everybody() == 1000);
        let mails = host.received();
        assert_eq!(mails.len(), 10, "{domain}");
        assert!(mails.iter().all(|m| m.recipients.len() == 100), "{domain}");
        assert_eq!(host.connection_count(), 1, "{domain}");
    }
    assert!(log_lines(&server, &[" deferred "]).is_empty());
    // Where the limit is declared, nobody is offered above it.
    let offers = |l: &String| l.starts_with("RCPT ");
    assert_eq!(told.lines().into_iter().filter(offers).count(), 1000);
}

/// Answers BDAT as a host does that offers CHUNKING by mistake.
fn without_bdat(host: &MxHost, reply: &str) {
    host.set(|b| {
        b.extension("CHUNKING");
        b.reply(Verb::Bdat, "", reply);
    });
}

#[test]
fn a_host_that_offers_chunking_and_does_not_know_bdat_gets_data_in_the_same_attempt() {
    for reply in [
        "500 5.5.1 what?",
        "502 5.5.1 not implemented",
        "503 5.5.1 bad sequence",
    ] {
        let scene = Scene::new();
        let host = scene.world.domain("good.example");
        without_bdat(&host, reply);
        let server = scene.start();
        for n in 0..3 {
            send(&server, &format!("u{n}@good.example"));
            assert_eq!(host.wait_for(n + 1, SOON).len(), n + 1, "{reply}");
        }
        assert!(log_lines(&server, &[" deferred "]).is_empty(), "{reply}");
        let asked = host
            .lines()
            .iter()
            .filter(|l| l.starts_with("BDAT"))
            .count();
        assert_eq!(asked, 1, "it is remembered: {reply}");
    }
}

#[test]
fn a_rule_says_which_extensions_are_not_used() {
    let scene = Scene::new();
    let host = scene.world.domain("good.example");
    without_bdat(&host, "550 5.7.1 no");
    let names = ["chunking", "PIPELINING"];
    let config = scene
        .config()
        .rule("good.example", "ignore_extensions", names);
    let server = Sendoff::start(BINARY, config);
    send(&server, "bob@good.example");
    assert_eq!(host.wait_for(1, SOON).len(), 1);
    assert!(!host.lines().iter().any(|l| l.starts_with("BDAT")));
}
