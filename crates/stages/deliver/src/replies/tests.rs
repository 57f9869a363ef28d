//! The rules that come with the server against replies of real hosts, and what files may say.

use super::*;
use crate::replies::file::RuleFile;

use ReplyKind::{
    AuthPolicy, Blocked, Content, Dns, Greylisted, InactiveUser, MailboxFull, MessageTooLarge,
    NoSuchUser, Policy, RateLimited, RelayDenied, ServerTrouble, Tls, Unknown,
};

const GOOGLE: &str = "gmail-smtp-in.l.google.com";
const OUTLOOK: &str = "hotmail-com.olc.protection.outlook.com";
const EXCHANGE: &str = "contoso-com.mail.protection.outlook.com";
const YAHOO: &str = "mta5.am0.yahoodns.net";

/// Host, answer, kind.
const REAL: [(&str, &str, ReplyKind); 48] = [
    (
        GOOGLE,
        "421-4.7.28 Gmail has detected an unusual rate of mail originating from your\n421-4.7.28 DKIM domain [example.com 36]. To protect our users from spam,\n421 4.7.28 mail sent from your domain has been temporarily rate limited. - gsmtp",
        RateLimited,
    ),
    (
        GOOGLE,
        "550-5.7.26 Your email has been blocked because the sender is unauthenticated.\n550-5.7.26 Gmail requires all senders to authenticate with either SPF or DKIM.\n550 5.7.26 - gsmtp",
        AuthPolicy,
    ),
    (
        GOOGLE,
        "550-5.1.1 The email account that you tried to reach does not exist. Please try\n550 5.1.1 double-checking - gsmtp",
        NoSuchUser,
    ),
    (
        GOOGLE,
        "452-4.2.2 The recipient's inbox is out of storage space. - gsmtp",
        MailboxFull,
    ),
    (
        GOOGLE,
        "552-5.2.2 The email account that you tried to reach is over quota - gsmtp",
        MailboxFull,
    ),
    (
        GOOGLE,
        "450-4.2.1 The user you are trying to contact is receiving mail at a rate that\n450 4.2.1 prevents additional messages from being delivered. - gsmtp",
        RateLimited,
    ),
    (
        GOOGLE,
        "550-5.7.1 [192.0.2.1 12] Our system has detected that this message is\n550-5.7.1 likely unsolicited mail. To reduce the amount of spam sent to Gmail,\n550 5.7.1 this message has been blocked. - gsmtp",
        Blocked,
    ),
    (
        GOOGLE,
        "451 4.3.0 Mail server temporarily rejected message. - gsmtp",
        ServerTrouble,
    ),
    (
        OUTLOOK,
        "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3150). You can also refer your provider to http://mail.live.com/mail/troubleshooting.aspx#errors.",
        Blocked,
    ),
    (
        OUTLOOK,
        "451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation. For e-mail delivery information, see https://postmaster.live.com (S775)",
        RateLimited,
    ),
    (
        OUTLOOK,
        "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).",
        NoSuchUser,
    ),
    (
        OUTLOOK,
        "421 RP-001 (COL004-MC1F1) Unfortunately, some messages from 192.0.2.1 weren't sent. Please try again.",
        RateLimited,
    ),
    (
        OUTLOOK,
        "550 5.7.515 Access denied, sending domain EXAMPLE.COM does not meet the required authentication level.",
        AuthPolicy,
    ),
    (
        EXCHANGE,
        "550 5.7.606 Access denied, banned sending IP [192.0.2.1]",
        Blocked,
    ),
    (
        EXCHANGE,
        "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719) [X.protection.outlook.com]",
        RateLimited,
    ),
    (
        EXCHANGE,
        "550 5.4.1 Recipient address rejected: Access denied. AS(201806281) [X.protection.outlook.com]",
        NoSuchUser,
    ),
    (
        EXCHANGE,
        "550 5.7.509 Access denied, sending domain example.com does not pass DMARC verification and has a DMARC policy of reject.",
        AuthPolicy,
    ),
    (
        EXCHANGE,
        "550 5.7.64 TenantAttribution; Relay Access Denied",
        RelayDenied,
    ),
    (
        YAHOO,
        "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes",
        RateLimited,
    ),
    (
        YAHOO,
        "421 4.7.1 [TS03] All messages from 192.0.2.1 will be permanently deferred; Retrying will NOT succeed. See https://postmaster.yahooinc.com/error-codes",
        RateLimited,
    ),
    (
        YAHOO,
        "554 5.1.1 Requested mail action aborted, mailbox not found (5.1.1)",
        NoSuchUser,
    ),
    (
        YAHOO,
        "554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes",
        AuthPolicy,
    ),
    (
        YAHOO,
        "553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, because the ip is in Spamhaus's list; see https://postmaster.yahooinc.com/error-codes",
        Blocked,
    ),
    (
        YAHOO,
        "552 1 Requested mail action aborted, mailbox not found",
        NoSuchUser,
    ),
    (
        "mx01.mail.icloud.com",
        "554 5.7.1 [CS01] Message rejected due to local policy. Please visit https://support.apple.com/en-us/HT204137",
        Blocked,
    ),
    (
        "mx00.gmx.net",
        "554-gmx.net (mxgmx104) Nemesis ESMTP Service not available\n554-No SMTP service\n554-IP address is block listed.\n554 For explanation visit https://postmaster.gmx.net/",
        Blocked,
    ),
    (
        "mx-ha02.web.de",
        "550 Requested action not taken: mailbox unavailable\nFor explanation visit https://postmaster.web.de/",
        NoSuchUser,
    ),
    (
        "mxs.mail.ru",
        "550 spam message rejected. Please visit http://help.mail.ru/notspam-support/",
        Content,
    ),
    (
        "mx.example.org",
        "450 4.2.0 <bob@example.org>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/example.org.html",
        Greylisted,
    ),
    (
        "mx.example.org",
        "451 4.7.1 Greylisting in action, please come back in 00:05:00",
        Greylisted,
    ),
    (
        "mx.example.org",
        "451 Temporary local problem - please try later",
        ServerTrouble,
    ),
    ("mx.example.org", "550 relay not permitted", RelayDenied),
    ("mx.example.org", "550 Unrouteable address", NoSuchUser),
    (
        "mx.example.org",
        "550 5.1.1 <bob@example.org>: Recipient address rejected: User unknown in local recipient table",
        NoSuchUser,
    ),
    (
        "mx.example.org",
        "554 5.7.1 <bob@example.org>: Relay access denied",
        RelayDenied,
    ),
    (
        "mx.example.org",
        "552 5.3.4 Message size exceeds fixed limit",
        MessageTooLarge,
    ),
    (
        "mx.example.org",
        "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/192.0.2.1",
        Blocked,
    ),
    (
        "mx.example.org",
        "450 4.1.8 <ann@example.com>: Sender address rejected: Domain not found",
        Dns,
    ),
    (
        "mx.example.org",
        "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]",
        AuthPolicy,
    ),
    (
        "mx.example.org",
        "530 5.7.0 Must issue a STARTTLS command first",
        Tls,
    ),
    (
        "mx.example.org",
        "421 4.7.0 mx.example.org Error: too many connections from 192.0.2.1",
        RateLimited,
    ),
    (
        "mx.example.org",
        "550 5.2.1 mailbox disabled, not accepting messages",
        InactiveUser,
    ),
    (
        "mx.example.org",
        "550 5.7.1 Message rejected as spam by Content Filtering.",
        Content,
    ),
    (
        "mx.example.org",
        "554 5.7.1 The message was refused",
        Policy,
    ),
    ("mx.example.org", "554 something else", Unknown),
    (
        "mx.example.org",
        "4.4.1 no answer within 30 s",
        ServerTrouble,
    ),
    ("mx.example.org", "4.4.3 no DNS server answered", Dns),
    (
        "mx.example.org",
        "4.7.5 the host has no certificate as the policy wants it",
        Tls,
    ),
];

fn book() -> ReplyBook {
    let file = ReplyBook::built_in().unwrap_or_else(|e| {
        let before = ReplyBook::built_in_text().get(..e.span.start);
        let line = before.unwrap_or_default().matches('\n').count() + 1;
        panic!("line {line}: {e}")
    });
    ReplyBook::new(Vec::new(), file.rules, &[])
}

#[test]
fn every_rule_that_comes_with_the_server_has_a_source_and_speaks_for_its_examples() {
    let book = book();
    let mut wrong = Vec::new();
    for rule in book.rules() {
        assert!(!rule.source.is_empty(), "{} has no source", rule.id);
        assert!(!rule.examples.is_empty(), "{} has no example", rule.id);
        for example in &rule.examples {
            let known = book.classify(&read_reply(example), rule.example_host().as_deref());
            let speaks = known.rule.map(|r| r.id.as_str()).unwrap_or_default();
            if speaks != rule.id {
                wrong.push(format!("{}: {speaks} speaks for {example}", rule.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn replies_of_real_hosts_are_known() {
    let book = book();
    let mut wrong = Vec::new();
    for (host, text, kind) in REAL {
        let known = book.classify(&read_reply(text), Some(host));
        if known.kind != kind {
            let speaks = known.rule.map(|r| r.id.as_str());
            wrong.push(format!("{} by {speaks:?}, not {kind}: {text}", known.kind));
        }
        // What is kept of it, and shown, is known as the same.
        let kept = read_reply(text).to_string();
        let host = format!("{host}[192.0.2.7]:25");
        assert_eq!(book.classify_written(&kept, Some(&host)).kind, known.kind);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_administrator_adds_replaces_and_switches_off() {
    let built_in = ReplyBook::built_in().unwrap().rules;
    let own = "[[rule]]\nid = \"greylisted\"\nkind = \"policy\"\ntext = [\"greylisted\"]\n\
               [[rule]]\nid = \"mine\"\nhost = [\"mx.example\"]\nkind = \"blocked\"\ncode = [\"45x\"]\nwait = \"1h\"\n";
    let own = RuleFile::parse(own).unwrap().rules;
    let off = ["blocklist-named".to_owned(), "blocklist-words".to_owned()];
    let book = ReplyBook::new(own, built_in, &off);
    let kind = |text, host| book.classify(&read_reply(text), host).kind;
    assert_eq!(kind("450 4.7.1 Greylisted", None), Policy);
    assert_eq!(kind("450 x", Some("MX.example.")), Blocked);
    assert_eq!(kind("450 x", Some("amx.example")), Unknown);
    assert_eq!(kind("460 x", Some("mx.example")), Unknown);
    let listed = "554 5.7.1 blocked using zen.spamhaus.org";
    assert_eq!(kind(listed, None), Policy);
    assert_eq!(
        ReplyBook::default()
            .classify(&read_reply(listed), None)
            .kind,
        Unknown
    );
}

#[test]
fn what_an_administrator_ends_is_not_about_tls() {
    let reply = Reply::own(
        mail::EnhancedCode::new(5, 7, 0),
        "given up by an administrator",
    );
    let built_in = ReplyBook::built_in().unwrap().rules;
    let book = ReplyBook::new(Vec::new(), built_in, &[]);
    assert_ne!(book.classify(&reply, None).kind, Tls);
}

#[test]
fn a_file_that_says_what_cannot_be_is_refused_where_it_says_so() {
    let rule = "[[rule]]\nid = \"a\"\nkind = \"policy\"\n";
    let cases = [
        ("code = [\"250\"]", "code: `250` is not allowed", "250"),
        ("code = [\"4x1\"]", "code: `4x1` is not allowed", "4x1"),
        (
            "enhanced = [\"4.7\"]",
            "enhanced: `4.7` is not allowed",
            "4.7\"",
        ),
        (
            "enhanced = [\"2.x.x\"]",
            "enhanced: `2.x.x` is not allowed",
            "2.x",
        ),
        ("text = [\"*\"]", "text: `*` is not allowed", "*"),
        (
            "code = [\"421\"]\ntreat_as = \"later\"",
            "treat_as: `later` is not an outcome",
            "later",
        ),
        (
            "code = [\"421\"]\nwait = \"2d\"",
            "wait: write a time up to 24h",
            "2d",
        ),
        (
            "code = [\"421\"]\nhost = [\"a b\"]",
            "host: `a b` is not allowed",
            "a b",
        ),
        (
            "code = [\"421\"]\nexamples = [\"450 x\"]",
            "does not match its own example",
            "450 x",
        ),
        (
            "code = [\"421\"]\ncolour = 1",
            "unknown field `colour`",
            "colour",
        ),
        ("", "the rule matches every reply", "a\""),
        (
            "code = [\"421\"]\n[[action]]\nid = \"a\"\non = \"x\"\ndo = \"slow\"",
            "`a` appears twice",
            "a\"\non",
        ),
    ];
    for (text, why, at) in cases {
        let file = format!("{rule}{text}\n");
        let error = RuleFile::parse(&file).unwrap_err();
        assert!(error.message.contains(why), "{text}: {error}");
        let place = file.get(error.span.start..).unwrap_or_default();
        assert!(
            place.trim_start_matches('"').starts_with(at),
            "{text}: {place}"
        );
    }
    let kind = "[[rule]]\nid = \"a\"\nkind = \"rude\"\ncode = [\"421\"]";
    let error = RuleFile::parse(kind).unwrap_err();
    assert!(
        error
            .message
            .contains("`rude` is not a kind: write one of greylisted")
    );
}

#[test]
fn the_cost_of_a_reply_does_not_grow_with_its_text() {
    let book = book();
    let long = "no such thing ".repeat(1_000_000);
    let cut = long.get(..4096).unwrap();
    let known = |text: &str| book.classify(&Reply::new(550, None, text), None);
    let (whole, part) = (known(&long), known(cut));
    assert_eq!(whole.kind, part.kind);
    // Only the beginning is looked at, wherever a letter of several octets stands.
    let hidden = format!("{}user unknown", "ä".repeat(1024));
    assert_eq!(known(&hidden).kind, Unknown);
}
