//! Return paths, what comes back to them, SRS, and the suppression list.

use lab::{Config, Received, Sendoff, Verb};
use serde_json::Value;

use crate::scene::{
    A_WHILE, BINARY, Dsn, SENDER, SOON, Scene, eventually, log_lines, mail, queue, send, send_many,
};

const RETURN: &str = "bounces.origin.example";

fn with_return_paths(scene: &Scene) -> Config {
    scene
        .config()
        .set("return_path.domain", RETURN)
        .set("return_path.feedback", "complaints")
        .set("return_path.complaints_to", "abuse@origin.example")
        .set("suppression.enabled", true)
}

/// A bounce as Postfix writes it.
fn bounce(to: &str, recipient: &str, action: &str, status: &str) -> String {
    format!(
        "Return-Path: <>\r\nFrom: MAILER-DAEMON@there.example (Mail Delivery System)\r\n\
         Subject: Undelivered Mail Returned to Sender\r\nTo: {to}\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status;\r\n\
         \tboundary=\"4F3C21.1795341600/mail.there.example\"\r\n\r\n\
         This is a MIME-encapsulated message.\r\n\r\n\
         --4F3C21.1795341600/mail.there.example\r\nContent-Description: Notification\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\r\nI'm sorry to have to inform you.\r\n\r\n\
         --4F3C21.1795341600/mail.there.example\r\nContent-Description: Delivery report\r\n\
         Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mail.there.example\r\n\r\n\
         Final-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: {status}\r\n\
         Diagnostic-Code: smtp; 550 {status} unknown user {recipient}\r\n\r\n\
         --4F3C21.1795341600/mail.there.example\r\nContent-Type: text/rfc822-headers\r\n\r\n\
         Subject: a case\r\n\r\n--4F3C21.1795341600/mail.there.example--\r\n"
    )
}

fn complaint(to: &str, return_path: &str) -> String {
    format!(
        "From: <fbl@provider.example>\r\nTo: {to}\r\nSubject: complaint\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; boundary=\"p\"; report-type=feedback-report\r\n\r\n\
         --p\r\nContent-Type: text/plain\r\n\r\nSomebody pressed a button.\r\n\
         --p\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n\
         User-Agent: ProviderFBL/1.0\r\nVersion: 1\r\n\r\n\
         --p\r\nContent-Type: text/rfc822-headers\r\n\r\nReturn-Path: <{return_path}>\r\n\
         Subject: news\r\n\r\n--p--\r\n"
    )
}

/// Somebody hands a mail in; the answer to RCPT, and behind the content.
fn hand_in(server: &Sendoff, from: &str, to: &str, content: &str) -> String {
    let mut client = server.client();
    let said = client.expect(&format!("MAIL FROM:<{from}>"), 250);
    said.expect("MAIL is taken");
    let reply = client.command(&format!("RCPT TO:<{to}>"));
    let reply = reply.expect("the server answers");
    if reply.code != 250 {
        return reply.to_string();
    }
    client.expect("DATA", 354).expect("DATA is taken");
    let reply = client.content(content.as_bytes());
    reply.expect("the server answers").to_string()
}

/// The answer to RCPT, of a transaction that goes no further.
fn rcpt(server: &Sendoff, from: &str, to: &str) -> String {
    let mut client = server.client();
    let said = client.expect(&format!("MAIL FROM:<{from}>"), 250);
    said.expect("MAIL is taken");
    let reply = client.command(&format!("RCPT TO:<{to}>"));
    reply.expect("the server answers").to_string()
}

fn suppressions(server: &Sendoff) -> Vec<Value> {
    let text = server.run(&["suppression", "list", "--json"]);
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let entries = answer.pointer("/entries").and_then(Value::as_array);
    entries.cloned().unwrap_or_default()
}

fn only(mails: Vec<Received>) -> Received {
    assert_eq!(mails.len(), 1);
    mails.into_iter().next().expect("a mail")
}

/// The id of the one message in the history that went to this recipient.
fn id_of(server: &Sendoff, recipient: &str) -> String {
    let text = server.run(&["queue", "history", "--recipient", recipient, "--json"]);
    let rows: Value = serde_json::from_str(&text).expect("JSON");
    let id = rows.pointer("/0/id").and_then(Value::as_str);
    id.expect("an id").to_owned()
}

#[test]
fn a_bounce_is_matched_told_remembered_and_ends_in_a_refusal_until_it_is_released() {
    let scene = Scene::new();
    let there = scene.world.domain("there.example");
    let server = Sendoff::start(BINARY, with_return_paths(&scene));
    send(&server, "gone@there.example");
    let sent = only(there.wait_for(1, SOON));
    let path = sent.sender.clone();
    assert!(path.ends_with(&format!("@{RETURN}")), "{path}");
    assert!(sent.text().contains(SENDER), "the content stays");
    eventually("it is delivered", SOON, || queue(&server).is_empty());
    let id = id_of(&server, "gone@there.example");

    let content = bounce(&path, "gone@there.example", "failed", "5.1.1");
    // Others fold addresses to lower or upper case.
    let folded = path.to_uppercase();
    assert!(hand_in(&server, "", &folded, &content).starts_with("250"));
    let told = only(scene.origin.wait_for(1, SOON));
    assert_eq!((told.sender.as_str(), told.addresses()), ("", vec![SENDER]));
    assert_eq!(Dsn::parse(&told.content).count(), 1);
    let line = server
        .wait_for_log(&[" bounced ", &id], SOON)
        .expect("a line");
    for part in ["to=<gone@there.example>", "status=5.1.1", "unknown user"] {
        assert!(line.contains(part), "{line}");
    }
    for command in [["queue", "show"], ["queue", "trace"]] {
        let shown = server.run(&[command[0], command[1], &id]);
        assert!(
            shown.contains("gone@there.example bounced: 5.1.1 failed"),
            "{shown}"
        );
        assert!(shown.contains("5.1.1"), "{shown}");
    }
    let listed = suppressions(&server);
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["recipient"], "gone@there.example");
    assert_eq!(listed[0]["scope"], "@origin.example");
    assert_eq!(listed[0]["message"], id.as_str());
    assert_listed_as_bounced(&server);

    let refused = hand_in(&server, SENDER, "Gone@there.example", &mail("again"));
    assert!(refused.starts_with("550"), "{refused}");
    for part in [
        "5.1.1",
        "suppression list (since",
        "sendoff suppression remove gone@there.example",
    ] {
        assert!(refused.contains(part), "{refused}");
    }
    let other = hand_in(
        &server,
        "x@elsewhere.example",
        "gone@there.example",
        &mail("x"),
    );
    assert!(other.starts_with("250"), "others may send: {other}");
    server.run(&["suppression", "remove", "gone@there.example"]);
    let listed = server.run(&["queue", "history", "--outcome", "delivered"]);
    assert!(listed.contains("bounced: 5.1.1"), "{listed}");
    assert!(!listed.contains("suppressed:"), "it is no more: {listed}");
    let taken = hand_in(&server, SENDER, "gone@there.example", &mail("again"));
    assert!(taken.starts_with("250"), "{taken}");
    assert!(!log_lines(&server, &[" action ", "unsuppress", "uid="]).is_empty());
    assert_eq!(there.wait_for(3, SOON).len(), 3);
    assert_eq!(
        scene.origin.wait_for(2, A_WHILE).len(),
        1,
        "the author is told once"
    );
}

/// A list of what is finished says of a delivered mail that it came back, and what that led to.
fn assert_listed_as_bounced(server: &Sendoff) {
    let text = server.run(&["queue", "history", "--outcome", "delivered", "--json"]);
    let rows: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let later = |row: &Value| row.get("later").and_then(Value::as_array).cloned();
    let events: Vec<Value> = rows.iter().filter_map(later).flatten().collect();
    let words: Vec<&str> = events
        .iter()
        .filter_map(|event| event.get("event")?.as_str())
        .collect();
    assert_eq!(words, ["bounced", "suppressed"], "{text}");
    let listed = server.run(&["queue", "history", "--recipient", "gone@there.example"]);
    for part in [
        " bounced: 5.1.1 failed",
        " suppressed: for mail of @origin.example",
    ] {
        assert!(listed.contains(part), "{listed}");
    }
}

#[test]
fn each_recipient_has_a_return_path_of_its_own_in_its_own_transaction() {
    let scene = Scene::new();
    let there = scene.world.domain("there.example");
    let mut server = Sendoff::start(BINARY, with_return_paths(&scene));
    let to = ["a@there.example", "b@there.example", "c@there.example"];
    server.send(SENDER, &to, &mail("a case"));
    let mails = there.wait_for(3, SOON);
    assert_eq!(mails.len(), 3);
    let mut paths: Vec<&str> = mails.iter().map(|m| m.sender.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), 3);
    assert!(mails.iter().all(|m| m.addresses().len() == 1));
    assert_eq!(there.connection_count(), 1, "over one connection");
    there.forget();
    server.reconfigure(|c| c.set("return_path.per", "message"));
    server.run(&["reload"]);
    server.send(SENDER, &to, &mail("a case"));
    let one = only(there.wait_for(1, SOON));
    assert_eq!(one.addresses().len(), 3);
    let content = bounce(&one.sender, "B@There.example", "failed", "5.1.1");
    assert!(hand_in(&server, "", &one.sender, &content).starts_with("250"));
    assert!(
        server
            .wait_for_log(&[" bounced ", "<b@there.example>"], SOON)
            .is_some()
    );
    assert_eq!(
        suppressions(&server),
        Vec::<Value>::new(),
        "a name proves nothing"
    );
}

#[test]
fn what_this_server_has_not_signed_is_refused() {
    let scene = Scene::new();
    let there = scene.world.domain("there.example");
    let config = with_return_paths(&scene)
        .set("srs.domain", "srs.origin.example")
        .set("return_path.valid", "1s");
    let server = Sendoff::start(BINARY, config);
    send(&server, "bob@there.example");
    let path = only(there.wait_for(1, SOON)).sender;
    let (begin, _) = path.split_once('@').expect("an address");
    let forged = format!(
        "{}0@{RETURN}",
        begin.get(..begin.len() - 1).unwrap_or_default()
    );
    for to in [
        forged.as_str(),
        "postmaster@bounces.origin.example",
        "SRS0=aaaaaaaa=AB=there.example=bob@srs.origin.example",
        "bob@srs.origin.example",
    ] {
        let refused = rcpt(&server, "", to);
        let right = refused.starts_with("550") && refused.contains("not generated by this server");
        assert!(right || to == forged && path == forged, "{to}: {refused}");
    }
    eventually("its time is over", SOON, || {
        let refused = rcpt(&server, "", &path);
        refused.starts_with("550") && refused.contains("has expired")
    });
    let junk = hand_in(
        &server,
        "x@y.example",
        "complaints@bounces.origin.example",
        &mail("junk"),
    );
    assert!(
        junk.starts_with("250"),
        "the address of feedback loops is everybody's: {junk}"
    );
    assert!(
        server
            .wait_for_log(&[" returned ", "no machine-readable part"], SOON)
            .is_some()
    );
    scene.assert_no_failure();
    assert!(suppressions(&server).is_empty());
}

#[test]
fn a_complaint_is_matched_by_the_signed_address_in_it() {
    let scene = Scene::new();
    let there = scene.world.domain("there.example");
    let server = Sendoff::start(BINARY, with_return_paths(&scene));
    for (recipient, direct) in [("anna@there.example", false), ("otto@there.example", true)] {
        send(&server, recipient);
        let path = only(there.wait_for(1, SOON)).sender;
        there.forget();
        eventually("it is delivered", SOON, || queue(&server).is_empty());
        let to = match direct {
            true => path.clone(),
            false => format!("Complaints@{RETURN}"),
        };
        let content = complaint(&to, &path);
        let taken = hand_in(&server, "fbl@provider.example", &to, &content);
        assert!(taken.starts_with("250"), "{taken}");
        let to = format!("to=<{recipient}>");
        let line = server
            .wait_for_log(&[" complained ", &to], SOON)
            .expect("a line");
        assert!(
            line.contains("abuse") && line.contains("ProviderFBL"),
            "{line}"
        );
        let forwarded = only(scene.origin.wait_for(1, SOON));
        assert_eq!(forwarded.addresses(), ["abuse@origin.example"]);
        scene.origin.forget();
        let refused = hand_in(&server, SENDER, recipient, &mail("again"));
        assert!(refused.contains("complained (abuse)"), "{refused}");
        let id = id_of(&server, recipient);
        let shown = server.run(&["queue", "show", &id, "--json"]);
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(shown["later"][0]["event"], "complained");
        assert_eq!(shown["later"][0]["recipient"], recipient);
    }
    let forged = complaint(
        "complaints",
        &format!("b+06fhz3m8000.0.0123456789abcdef@{RETURN}"),
    );
    let to = format!("complaints@{RETURN}");
    assert!(hand_in(&server, "x@y.example", &to, &forged).starts_with("250"));
    assert_eq!(only(scene.origin.wait_for(1, SOON)).sender, "");
    assert_eq!(
        suppressions(&server).len(),
        2,
        "nobody is suppressed by a forged one"
    );
}

#[test]
fn where_a_return_path_is_of_a_whole_mail_none_of_its_readers_suppresses_another() {
    let scene = Scene::new();
    let there = scene.world.domain("there.example");
    let config = with_return_paths(&scene).set("return_path.per", "message");
    let server = Sendoff::start(BINARY, config);
    server.send(
        SENDER,
        &["evil@there.example", "victim@there.example"],
        &mail("to two"),
    );
    let path = only(there.wait_for(1, SOON)).sender;
    eventually("it is delivered", SOON, || queue(&server).is_empty());
    // Whoever got the mail knows its return path, and may name any of its recipients.
    let forged = bounce(&path, "victim@there.example", "failed", "5.1.1");
    assert!(hand_in(&server, "", &path, &forged).starts_with("250"));
    let line = server.wait_for_log(&[" bounced ", "victim@there.example"], SOON);
    assert!(line.expect("it is shown").contains("proven=no"));
    let named = "Original-Rcpt-To: <victim@there.example>\r\nFeedback-Type: abuse";
    for to in [path.clone(), format!("complaints@{RETURN}")] {
        let complaint = complaint(&to, &path).replace("Feedback-Type: abuse", named);
        assert!(hand_in(&server, "", &to, &complaint).starts_with("250"));
    }
    let told = || log_lines(&server, &[" complained ", "victim@there.example"]).len() == 2;
    eventually("the complaints are read", SOON, told);
    assert_eq!(suppressions(&server), Vec::<Value>::new());
    let shown = server.run(&["queue", "history"]);
    assert!(
        shown.contains("reported: unproven bounce: 5.1.1"),
        "{shown}"
    );
    assert!(
        !shown.contains(" bounced: ") && !shown.contains(" complained: "),
        "{shown}"
    );
    assert!(rcpt(&server, SENDER, "victim@there.example").starts_with("250"));
    // The author hears of it.
    assert!(!scene.origin.wait_for(1, SOON).is_empty());

    // Of a mail to one only that one knows the path.
    send(&server, "gone@there.example");
    let path = there.wait_for(2, SOON).pop().expect("a mail").sender;
    eventually("it is delivered", SOON, || queue(&server).is_empty());
    let content = bounce(&path, "gone@there.example", "failed", "5.1.1");
    assert!(hand_in(&server, "", &path, &content).starts_with("250"));
    eventually("it is suppressed", SOON, || {
        suppressions(&server).len() == 1
    });
}

#[test]
fn a_bounce_that_nobody_can_read_still_reaches_the_author() {
    let scene = Scene::new();
    let there = scene.world.domain("there.example");
    let server = Sendoff::start(BINARY, with_return_paths(&scene));
    send(&server, "bob@there.example");
    let path = only(there.wait_for(1, SOON)).sender;
    eventually("it is delivered", SOON, || queue(&server).is_empty());
    let content = "From: <postmaster@there.example>\r\nSubject: failure notice\r\n\r\nHi. This is \
                   qmail.\r\n";
    assert!(hand_in(&server, "", &path, content).starts_with("250"));
    let told = only(scene.origin.wait_for(1, SOON));
    assert!(told.text().contains("This is qmail"), "{}", told.text());
    let id = id_of(&server, "bob@there.example");
    assert!(
        server
            .run(&["queue", "show", &id])
            .contains("bob@there.example returned")
    );
    assert!(suppressions(&server).is_empty());
    let soft = bounce(&path, "bob@there.example", "delayed", "4.2.2");
    assert!(hand_in(&server, "", &path, &soft).starts_with("250"));
    assert!(
        server
            .wait_for_log(&[" reported ", "delayed"], SOON)
            .is_some()
    );
    assert_eq!(scene.origin.wait_for(2, SOON).len(), 2);
    assert!(suppressions(&server).is_empty());
}

#[test]
fn forwarded_mail_goes_out_by_srs_and_its_bounces_find_the_way_back() {
    let scene = Scene::new();
    let there = scene.world.domain("there.example");
    let config = scene
        .config()
        .set("local.domains", ["here.example"])
        .set("srs.domain", "srs.here.example")
        .table(
            "domain",
            &[
                ("match", "here.example".into()),
                ("convert_address", "hans@there.example".into()),
            ],
        );
    let server = Sendoff::start(BINARY, config);
    let taken = hand_in(&server, SENDER, "hans@here.example", &mail("a case"));
    assert!(taken.starts_with("250"), "{taken}");
    let sent = only(there.wait_for(1, SOON));
    assert!(sent.sender.starts_with("SRS0="), "{}", sent.sender);
    assert!(
        sent.sender
            .ends_with("=origin.example=ann@srs.here.example"),
        "{}",
        sent.sender
    );
    let folded = sent.sender.to_lowercase();
    let content = bounce(&folded, "hans@there.example", "failed", "5.1.1");
    assert!(hand_in(&server, "", &folded, &content).starts_with("250"));
    let back = only(scene.origin.wait_for(1, SOON));
    assert_eq!((back.sender.as_str(), back.addresses()), ("", vec![SENDER]));
    let refused = hand_in(&server, "x@y.example", &sent.sender, &mail("spam"));
    assert!(
        refused.starts_with("550") && refused.contains("only bounces"),
        "{refused}"
    );
    // A failure that this server reports goes to the author, by no detour.
    there.set(|b| {
        b.reply(Verb::Rcpt, "hans", "550 5.1.1 gone");
    });
    scene.origin.forget();
    hand_in(&server, SENDER, "hans@here.example", &mail("another"));
    let dsn = scene.failure();
    assert!(dsn.text("/text").contains("there.example"));
}

#[test]
fn a_recipient_that_does_not_exist_is_suppressed_and_a_crash_forgets_nobody() {
    let scene = Scene::new();
    let there = scene.world.domain("there.example");
    there.set(|b| {
        b.reply(Verb::Rcpt, "gone", "550 5.1.1 No such user here")
            .reply(Verb::Rcpt, "spam", "550 5.7.1 We do not like your content")
            .reply(Verb::Rcpt, "full", "552 5.2.2 Mailbox full");
    });
    let config = scene.config().set("suppression.enabled", true);
    let mut server = Sendoff::start(BINARY, config);
    for (count, who) in [(1, "gone"), (2, "spam"), (3, "full")] {
        send(&server, &format!("{who}@there.example"));
        assert_eq!(scene.origin.wait_for(count, SOON).len(), count, "{who}");
    }
    let line = server.wait_for_log(&[" suppressed ", "<gone@there.example>"], SOON);
    assert!(line.expect("a line").contains("No such user here"));
    server.run(&[
        "suppression",
        "add",
        "Press@There.example",
        "--reason",
        "asked us by phone",
    ]);
    server.kill9();
    server.restart();
    let names = |server: &Sendoff| -> Vec<String> {
        let listed = suppressions(server);
        let name = |entry: &Value| entry["recipient"].as_str().unwrap_or_default().to_owned();
        listed.iter().map(name).collect()
    };
    assert_eq!(
        names(&server),
        ["gone@there.example", "press@there.example"]
    );
    let refused = hand_in(&server, SENDER, "gone@there.example", &mail("again"));
    assert!(refused.contains("No such user here"), "{refused}");
    let refused = hand_in(&server, SENDER, "press@there.example", &mail("x"));
    assert!(refused.contains("asked us by phone"), "{refused}");
    server.run(&["suppression", "remove", "gone@there.example"]);
    server.kill9();
    server.restart();
    assert_eq!(
        names(&server),
        ["press@there.example"],
        "what is taken off stays off"
    );
}

#[test]
fn the_list_is_exported_imported_and_expires() {
    let scene = Scene::new();
    let server = scene.start();
    let import = "# from elsewhere\na@x.example\n\nb@x.example\n";
    let done = server.cli_with_input(
        &["suppression", "import", "-", "--scope", "@news.example"],
        import,
    );
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let exported = server.run(&["suppression", "export"]);
    assert_eq!(exported.lines().count(), 2);
    for who in ["a@x.example", "b@x.example"] {
        server.run(&["suppression", "remove", who]);
    }
    assert!(suppressions(&server).is_empty());
    let done = server.cli_with_input(&["suppression", "import", "-"], &exported);
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert_eq!(server.run(&["suppression", "export"]), exported);
    let wrong = server.cli_with_input(&["suppression", "import", "-"], "c@x.example\nnobody\n");
    assert!(!wrong.status.success());
    assert_eq!(
        suppressions(&server).len(),
        2,
        "a mistake in a file changes nothing"
    );
    server.run(&["suppression", "add", "c@x.example", "--expires", "1s"]);
    eventually("its time is over", SOON, || {
        rcpt(&server, SENDER, "c@x.example").starts_with("250")
    });
    let unknown = server.cli(&["suppression", "remove", "nobody@x.example"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("is not on the suppression list"));
}

#[test]
fn many_recipients_with_return_paths_share_a_connection_with_other_mail() {
    let scene = Scene::new();
    let there = scene.world.domain("there.example");
    let config = with_return_paths(&scene).set("return_path.senders", ["@other.example"]);
    let server = Sendoff::start(BINARY, config);
    send_many(&server, 3, |n| format!("u{n}@there.example"));
    let mails = there.wait_for(3, SOON);
    assert!(
        mails.iter().all(|m| m.sender == SENDER),
        "no rule names this sender"
    );
    let refused = server.cli(&["check"]);
    assert!(refused.status.success());
}
