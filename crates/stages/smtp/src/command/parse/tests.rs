//! Commands as clients send them, and what is not a command.

use super::*;
use proptest::prelude::*;

fn everything() -> Extensions {
    Extension::ALL
        .into_iter()
        .fold(Extensions::none(), Extensions::with)
}

fn parse(line: &str) -> Result<Command, ParseCommandError> {
    Command::parse(line.as_bytes(), &everything())
}

fn mail_of(line: &str) -> MailFrom {
    match parse(line) {
        Ok(Command::Mail(mail)) => mail,
        other => panic!("{line}: {other:?}"),
    }
}

fn rcpt_of(line: &str) -> RcptTo {
    match parse(line) {
        Ok(Command::Rcpt(rcpt)) => rcpt,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn verbs_are_read_in_any_case_and_with_trailing_space() {
    let cases = [
        ("DATA", Command::Data),
        ("data ", Command::Data),
        ("rSeT", Command::Rset),
        ("quit", Command::Quit),
        ("noop whatever", Command::Noop),
        ("VRFY someone", Command::Vrfy),
        ("StartTLS", Command::StartTls),
        ("ehlo [192.0.2.1]", Command::Ehlo("[192.0.2.1]".into())),
        ("HELO  my_pc", Command::Helo("my_pc".into())),
        (
            "bdat 10",
            Command::Bdat {
                size: 10,
                last: false,
            },
        ),
        (
            "BDAT 0 last",
            Command::Bdat {
                size: 0,
                last: true,
            },
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(parse(line), Ok(expected), "{line}");
    }
    let auth = Command::Auth {
        mechanism: "PLAIN".into(),
        initial: Some("AGEAYg==".into()),
    };
    assert_eq!(parse("auth plain AGEAYg=="), Ok(auth));
}

#[test]
fn reverse_paths_are_read_in_every_form() {
    let cases = [
        ("MAIL FROM:<>", ""),
        ("MAIL FROM:<a@b.example>", "a@b.example"),
        ("mail from: <a@b.example>", "a@b.example"),
        ("MAIL  FROM:<a@b.example> ", "a@b.example"),
        ("MAIL FROM:a@b.example SIZE=1", "a@b.example"),
        ("MAIL FROM: a@b.example", "a@b.example"),
        (
            "MAIL FROM:<@x.example,@y.example:a@b.example>",
            "a@b.example",
        ),
        ("MAIL FROM:<\"a>b\"@c.example> SIZE=1", "\"a>b\"@c.example"),
        ("MAIL FROM:<\"a\\\">b\"@c.example>", "\"a\\\">b\"@c.example"),
        ("MAIL FROM:<a@[192.0.2.1]>", "a@[192.0.2.1]"),
        ("MAIL FROM:<\u{fc}@b.example> SMTPUTF8", "\u{fc}@b.example"),
    ];
    for (line, expected) in cases {
        let path = mail_of(line).reverse_path;
        assert_eq!(
            path.map(|a| a.to_string()).unwrap_or_default(),
            expected,
            "{line}"
        );
    }
}

#[test]
fn postmaster_needs_no_domain() {
    let path = rcpt_of("RCPT TO:<Postmaster>").forward_path;
    assert_eq!(path, ForwardPath::Postmaster);
}

#[test]
fn parameters_are_read() {
    let params = mail_of(
        "MAIL FROM:<a@b.example> size=99999999999999999999 BODY=8bitmime RET=hdrs ENVID=a+2Bb AUTH=<>",
    )
    .params;
    assert_eq!(params.size, Some(u64::MAX));
    assert_eq!(params.body, Some(BodyType::EightBitMime));
    assert_eq!(params.ret, Some(Ret::Headers));
    assert_eq!(params.env_id.as_deref(), Some("a+2Bb"));
    let params = rcpt_of("RCPT TO:<a@b.example> NOTIFY=delay,SUCCESS ORCPT=rfc822;a@b").params;
    assert_eq!(params.notify, Notify::DELAY.with(Notify::SUCCESS));
    assert_eq!(params.orcpt.as_deref(), Some("rfc822;a@b"));
}

#[test]
fn each_error_has_its_reply() {
    let long_envid = format!("MAIL FROM:<> ENVID={}", "a".repeat(101));
    let cases = [
        ("", "500 5.5.2"),
        ("FROB", "500 5.5.2"),
        ("EHLO a\0b", "500 5.5.2"),
        ("GET / HTTP/1.1", "554 5.5.1"),
        ("EHLO", "501 5.5.4"),
        ("EHLO a b", "501 5.5.4"),
        ("DATA now", "501 5.5.4"),
        ("MAIL", "501 5.5.4"),
        ("MAIL TO:<a@b>", "501 5.5.4"),
        ("MAIL FROM:ann", "501 5.5.4"),
        ("MAIL FROM:a@b>", "501 5.5.4"),
        ("MAIL FROM:\"a b\"@c", "501 5.5.4"),
        ("MAIL FROM:<a@b", "501 5.5.4"),
        ("MAIL FROM:<a@b>x", "501 5.5.4"),
        ("MAIL FROM:<@x.example>", "501 5.5.4"),
        ("MAIL FROM:<a>", "553 5.1.7"),
        ("MAIL FROM:<a b@c>", "553 5.1.7"),
        ("MAIL FROM:<\u{fc}@b.example>", "553 5.6.7"),
        ("MAIL FROM:<> SIZE=x", "501 5.5.4"),
        ("MAIL FROM:<> SIZE=1 size=2", "501 5.5.4"),
        ("MAIL FROM:<> BODY=9BIT", "501 5.5.4"),
        ("MAIL FROM:<> FROB=1", "555 5.5.4"),
        ("MAIL FROM:<> RET=ALL", "501 5.5.4"),
        ("MAIL FROM:<> ENVID=a+2b", "501 5.5.4"),
        (&long_envid, "501 5.5.4"),
        ("RCPT TO:<>", "553 5.1.3"),
        ("RCPT TO:<user>", "553 5.1.3"),
        ("RCPT TO:<a@b.example> NOTIFY=NEVER,DELAY", "501 5.5.4"),
        ("RCPT TO:<a@b.example> NOTIFY=", "501 5.5.4"),
        ("RCPT TO:<a@b.example> ORCPT=a@b", "501 5.5.4"),
        ("RCPT TO:<a@b.example> ORCPT=rfc822;", "501 5.5.4"),
        ("RCPT TO:<a@b.example> SIZE=1", "555 5.5.4"),
        ("BDAT", "501 5.5.4"),
        ("BDAT -1", "501 5.5.4"),
        ("BDAT 1 FIRST", "501 5.5.4"),
        ("BDAT 99999999999999999999", "501 5.5.4"),
        ("AUTH", "501 5.5.4"),
        ("AUTH PLAIN a b", "501 5.5.4"),
    ];
    for (line, expected) in cases {
        let reply = parse(line).expect_err(line).reply().to_string();
        assert!(reply.starts_with(expected), "{line}: {reply}");
    }
}

#[test]
fn a_reply_fits_its_line_whatever_the_client_sent() {
    let literal = format!("MAIL FROM:<a@[{}]>", "\u{fc}".repeat(600));
    let parameter = format!("MAIL FROM:<> {}=1", "X".repeat(1500));
    for line in [literal, parameter] {
        let reply = parse(&line).expect_err("no command").reply().to_string();
        assert!(reply.len() < 512 && reply.is_ascii(), "{reply}");
    }
}

#[test]
fn a_parameter_is_unknown_while_its_extension_is_not_offered() {
    for line in [
        "MAIL FROM:<a@b.example> SIZE=1",
        "MAIL FROM:<a@b.example> BODY=7BIT",
        "MAIL FROM:<a@b.example> SMTPUTF8",
        "MAIL FROM:<a@b.example> RET=FULL",
        "RCPT TO:<a@b.example> NOTIFY=NEVER",
    ] {
        let error = Command::parse(line.as_bytes(), &Extensions::none()).unwrap_err();
        assert!(
            matches!(error, ParseCommandError::UnknownParameter(_)),
            "{line}"
        );
    }
}

proptest! {
    #[test]
    fn no_line_makes_the_parser_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
        let _answer = Command::parse(&line, &everything());
    }

    #[test]
    fn no_line_that_begins_well_makes_the_parser_panic(
        verb in prop::sample::select(vec!["MAIL FROM:<", "RCPT TO:<", "BDAT ", "AUTH "]),
        rest in ".{0,80}",
    ) {
        let _answer = parse(&format!("{verb}{rest}"));
    }
}

#[test]
fn terms_of_time_and_order_are_read() {
    let params = mail_of("MAIL FROM:<> BY=120;rt HOLDFOR=60 MT-PRIORITY=-9").params;
    let by = params.deliver_by.unwrap();
    assert_eq!((by.seconds, by.mode, by.trace), (120, ByMode::Return, true));
    assert_eq!(params.hold, Some(Hold::For(60)));
    assert_eq!(params.priority, Some(-9));
    let params = mail_of("MAIL FROM:<> BY=-1;N HOLDUNTIL=2026-01-31T08:00:00+01:00").params;
    assert_eq!(params.deliver_by.unwrap().to_string(), "-1;N");
    let until = Timestamp::parse_rfc3339("2026-01-31T07:00:00Z").unwrap();
    assert_eq!(params.hold, Some(Hold::Until(until)));
    for wrong in [
        "BY=0;R",
        "BY=-5;R",
        "BY=5",
        "BY=5;X",
        "BY=1234567890;N",
        "BY=--5;N",
        "BY=;N",
        "HOLDFOR=",
        "HOLDFOR=-1",
        "HOLDFOR=1234567890",
        "HOLDUNTIL=tomorrow",
        "HOLDFOR=1 HOLDUNTIL=2026-01-31T08:00:00Z",
        "MT-PRIORITY=10",
        "MT-PRIORITY=+1",
        "MT-PRIORITY",
    ] {
        assert!(parse(&format!("MAIL FROM:<> {wrong}")).is_err(), "{wrong}");
    }
    let plain = Extensions::none();
    for unknown in ["BY=1;N", "HOLDFOR=1", "MT-PRIORITY=1"] {
        let line = format!("MAIL FROM:<> {unknown}");
        let answer = Command::parse(line.as_bytes(), &plain);
        assert!(matches!(
            answer,
            Err(ParseCommandError::UnknownParameter(_))
        ));
    }
}

#[test]
fn binary_bodies_need_chunks() {
    let line = b"MAIL FROM:<> BODY=binarymime";
    let Ok(Command::Mail(mail)) = Command::parse(line, &everything()) else {
        panic!("it is not taken");
    };
    assert_eq!(mail.params.body, Some(BodyType::BinaryMime));
    for missing in [Extension::BinaryMime, Extension::Chunking] {
        let refused = Command::parse(line, &everything().without(missing));
        let reply = refused.unwrap_err().reply().to_string();
        assert!(reply.starts_with("555 5.5.4"), "{reply}");
    }
}
