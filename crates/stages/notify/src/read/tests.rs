//! Reports as other servers write them.

use super::*;

/// As Postfix 3.7 writes it.
const POSTFIX: &str = "Return-Path: <>\r
Received: by mail.there.example (Postfix)\r
\tid 4F3C21; Sun, 22 Nov 2026 10:00:00 +0000 (UTC)\r
From: MAILER-DAEMON@there.example (Mail Delivery System)\r
Subject: Undelivered Mail Returned to Sender\r
To: b+x@bounces.example.com\r
MIME-Version: 1.0\r
Content-Type: multipart/report; report-type=delivery-status;\r
\tboundary=\"4F3C21.1795341600/mail.there.example\"\r
\r
This is a MIME-encapsulated message.\r
\r
--4F3C21.1795341600/mail.there.example\r
Content-Description: Notification\r
Content-Type: text/plain; charset=us-ascii\r
\r
Action: delivered is what this text may say as well.\r
\r
--4F3C21.1795341600/mail.there.example\r
Content-Description: Delivery report\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; mail.there.example\r
X-Postfix-Queue-ID: 4F3C21\r
Arrival-Date: Sun, 22 Nov 2026 10:00:00 +0000 (UTC)\r
\r
Final-Recipient: rfc822; gone@there.example\r
Original-Recipient: rfc822;old@there.example\r
Action: failed\r
Status: 5.1.1\r
Remote-MTA: dns; inner.there.example\r
Diagnostic-Code: smtp; 550 5.1.1 <gone@there.example>: Recipient address\r
    rejected: User unknown\r
\r
Final-Recipient: rfc822; full@there.example\r
Action: delayed (for a day)\r
Status: 4.2.2 (mailbox full)\r
\r
--4F3C21.1795341600/mail.there.example\r
Content-Description: Undelivered Message\r
Content-Type: message/rfc822\r
\r
Return-Path: <b+x@bounces.example.com>\r
Subject: hello\r
\r
body\r
\r
--4F3C21.1795341600/mail.there.example--\r
";

#[test]
fn a_bounce_of_postfix_is_read() {
    let Returned::Status(fates) = read(POSTFIX.as_bytes()) else {
        panic!("it is a bounce");
    };
    let address = |text: &str| Some(text.parse().unwrap());
    let [gone, full] = fates.as_slice() else {
        panic!("{fates:?}");
    };
    assert_eq!(gone.recipient, address("gone@there.example"));
    assert_eq!(gone.original, address("old@there.example"));
    assert_eq!(gone.action, Action::Failed);
    assert_eq!(gone.status, Some(EnhancedCode::new(5, 1, 1)));
    assert_eq!(gone.host, "inner.there.example");
    let diagnostic = "550 5.1.1 <gone@there.example>: Recipient address rejected: User unknown";
    assert_eq!(gone.diagnostic, diagnostic);
    assert_eq!(full.action, Action::Delayed);
    assert_eq!(full.status, Some(EnhancedCode::new(4, 2, 2)));
    assert_eq!(full.host, "mail.there.example");
}

#[test]
fn a_report_of_ours_is_read_as_well() {
    let Returned::Status(fates) = read(crate::tests::failure_message().as_bytes()) else {
        panic!("it is a bounce");
    };
    assert!(fates.iter().all(|fate| fate.action == Action::Failed));
    assert!(fates.iter().all(|fate| fate.recipient.is_some()));
}

const COMPLAINT: &str = "From: <fbl@provider.example>\r
Content-Type: multipart/report; boundary=\"part\\1_2\"; report-type=feedback-report\r
\r
--part1_2\r
Content-Type: text/plain\r
\r
Somebody pressed a button.\r
--part1_2\r
Content-Type: Message/Feedback-Report\r
\r
Feedback-Type: ABUSE\r
User-Agent: ProviderFBL/1.0\r
Version: 1\r
Original-Rcpt-To: <anna@provider.example>\r
Original-Mail-From: <b+x@bounces.example.com>\r
\r
--part1_2\r
Content-Type: text/rfc822-headers\r
\r
Return-Path: <b+y@bounces.example.com>\r
Subject: news\r
--part1_2--\r
";

#[test]
fn a_complaint_is_read() {
    let Returned::Complaint(complaint) = read(COMPLAINT.as_bytes()) else {
        panic!("it is a complaint");
    };
    assert_eq!(complaint.kind, "abuse");
    assert_eq!(complaint.agent, "ProviderFBL/1.0");
    let texts = |list: &[Address]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&complaint.recipients), ["anna@provider.example"]);
    let paths = ["b+x@bounces.example.com", "b+y@bounces.example.com"];
    assert_eq!(texts(&complaint.return_paths), paths);
}

#[test]
fn what_is_no_report_is_said_to_be_none() {
    let none = Returned::Unreadable;
    assert_eq!(read(b""), none);
    assert_eq!(
        read(b"Subject: Mail failure\r\n\r\nAction: failed\r\n"),
        none
    );
    let mixed = POSTFIX.replace("multipart/report", "multipart/mixed");
    assert_eq!(
        read(mixed.as_bytes()),
        none,
        "somebody's forwarded bounce is no bounce"
    );
    let empty = POSTFIX.replace("Action:", "X-Action:");
    assert_eq!(read(empty.as_bytes()), none);
    let cut = POSTFIX.split("Remote-MTA").next().unwrap();
    assert!(
        matches!(read(cut.as_bytes()), Returned::Status(_)),
        "cut off, it is read so far"
    );
}

#[test]
fn parts_in_an_encoding_are_read_as_those_without() {
    use base64::engine::general_purpose::STANDARD;
    let expected = read(POSTFIX.as_bytes());
    let begin = POSTFIX.find("Reporting-MTA").unwrap();
    let end = begin + POSTFIX[begin..].find("\r\n--4F3C21").unwrap();
    let fields = &POSTFIX[begin..end];
    let wrapped: Vec<String> = STANDARD
        .encode(fields)
        .as_bytes()
        .chunks(60)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    let quoted = String::from_utf8(mail::quoted_printable(fields.as_bytes())).unwrap();
    for (encoding, body) in [
        ("Base64", wrapped.join("\r\n")),
        ("base64", STANDARD.encode(fields).replace('=', "")),
        ("quoted-printable", quoted.replace("gone@", "g=6Fne@")),
        ("7bit", fields.to_owned()),
    ] {
        let label = format!("delivery-status\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n");
        let report = POSTFIX
            .replace(fields, &body)
            .replace("delivery-status\r\n\r\n", &label);
        assert_ne!(report, POSTFIX);
        assert_eq!(read(report.as_bytes()), expected, "{encoding}");
    }
}
