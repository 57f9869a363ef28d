//! Sessions and attempts against hosts that answer as the test says.

mod lmtp;

use bytes::{Bytes, BytesMut};
use mail::{Address, Notify, Outcome, PeerHost, Reply, Timestamp, TlsUsed};
use smtp::machine::Machine;

use crate::*;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const OTHER_FAMILY: Elsewhere = Elsewhere {
    family: true,
    source: false,
    address: false,
};
const PLAIN_EHLO: &str = "250 mx\r\n";
const PIPELINING: &str = "250-mx\r\n250 PIPELINING\r\n";
const FULL: &str =
    "250-mx\r\n250-PIPELINING\r\n250-SIZE 10000\r\n250-8BITMIME\r\n250-DSN\r\n250 CHUNKING\r\n";

fn settings() -> SessionSettings {
    SessionSettings {
        protocol: Protocol::Smtp,
        ignore: Vec::new(),
        ehlo_name: "out.example".to_owned(),
        tls: TlsMode::Opportunistic,
        credentials: None,
        timeouts: Timeouts::default(),
        rate_min: 100,
        detailed: false,
    }
}

fn session(settings: SessionSettings, tls: TlsUsed, ehlo: &str) -> Session {
    let mut session = Session::new(settings, tls, NOW);
    hear(&mut session, "220 mx\r\n");
    assert_eq!(said(&mut session), "EHLO out.example\r\n");
    hear(&mut session, ehlo);
    session
}

fn ready(ehlo: &str) -> Session {
    let mut session = session(settings(), TlsUsed::None, ehlo);
    assert_eq!(session.poll_event(), Some(Event::Ready));
    session
}

fn hear(session: &mut Session, text: &str) {
    session.receive(NOW, &mut BytesMut::from(text));
}

/// One write: all that is handed out at once.
fn said(session: &mut Session) -> String {
    let all: Vec<u8> = std::iter::from_fn(|| session.poll_transmit())
        .flatten()
        .collect();
    session.flushed(NOW);
    String::from_utf8(all).unwrap()
}

fn transaction(recipients: &[&str], content: &'static str) -> Transaction {
    let recipient = |(n, a): (usize, &&str)| TransactionRecipient {
        number: n as u32,
        address: Address::parse(a).unwrap(),
        notify: Notify::UNSET,
        orcpt: None,
    };
    Transaction {
        reverse_path: Some(Address::parse("s@a.example").unwrap()),
        recipients: recipients.iter().enumerate().map(recipient).collect(),
        content: Bytes::from_static(content.as_bytes()),
        body: mail::BodyType::default().needed(content.as_ref()),
        utf8_header: false,
        conversion: None,
        ret: None,
        env_id: None,
        priority: None,
        deliver_by: None,
        require_tls: false,
    }
}

fn ended(session: &mut Session) -> Vec<Ended> {
    loop {
        if let Event::Ended(ended) = session.poll_event().expect("the transaction is not over") {
            return ended;
        }
    }
}

fn outcomes(ended: &[Ended]) -> Vec<(Outcome, u16, Fate)> {
    ended
        .iter()
        .map(|e| (e.judgement.outcome, e.reply.code, e.judgement.fate))
        .collect()
}

#[test]
fn without_pipelining_commands_and_replies_alternate() {
    let mut s = ready(PLAIN_EHLO);
    s.start(
        NOW,
        transaction(&["a@x.example", "b@x.example"], "A: b\r\n\r\n.c\r\n"),
    );
    let steps = [
        ("MAIL FROM:<s@a.example>\r\n", "250 ok\r\n"),
        ("RCPT TO:<a@x.example>\r\n", "250 ok\r\n"),
        ("RCPT TO:<b@x.example>\r\n", "250 ok\r\n"),
        ("DATA\r\n", "354 go\r\n"),
        ("A: b\r\n\r\n..c\r\n.\r\n", "250 2.0.0 queued\r\n"),
    ];
    for (ours, theirs) in steps {
        assert_eq!(said(&mut s), ours);
        hear(&mut s, theirs);
    }
    assert_eq!(
        outcomes(&ended(&mut s)),
        [(Outcome::Delivered, 250, Fate::Stands); 2]
    );
}

#[test]
fn with_pipelining_the_envelope_and_data_go_in_one_write() {
    let mut s = ready(PIPELINING);
    s.start(NOW, transaction(&["a@x.example"], "A: b\r\n"));
    assert_eq!(
        said(&mut s),
        "MAIL FROM:<s@a.example>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n"
    );
    hear(&mut s, "250 ok\r\n250 ok\r\n354 go\r\n");
    assert_eq!(said(&mut s), "A: b\r\n.\r\n");
    hear(&mut s, "250 ok\r\n");
    assert_eq!(
        outcomes(&ended(&mut s)),
        [(Outcome::Delivered, 250, Fate::Stands)]
    );
}

#[test]
fn with_chunking_a_whole_mail_is_one_write_and_the_next_follows_behind_rset() {
    let mut s = ready(FULL);
    for rset in ["", "RSET\r\n"] {
        s.start(NOW, transaction(&["a@x.example"], "A: b\r\n.\r\n"));
        let expected = format!(
            "{rset}MAIL FROM:<s@a.example> SIZE=9\r\nRCPT TO:<a@x.example>\r\n\
             BDAT 9 LAST\r\nA: b\r\n.\r\n"
        );
        assert_eq!(said(&mut s), expected);
        if !rset.is_empty() {
            hear(&mut s, "250 flushed\r\n");
        }
        hear(&mut s, "250 ok\r\n250 ok\r\n250 ok\r\n");
        assert_eq!(
            outcomes(&ended(&mut s)),
            [(Outcome::Delivered, 250, Fate::Stands)]
        );
    }
}

#[test]
fn each_recipient_keeps_the_verdict_of_its_own_answer() {
    for data in ["250 ok\r\n", "554 no\r\n", "451 later\r\n"] {
        let mut s = ready(PIPELINING);
        s.start(
            NOW,
            transaction(&["a@x.example", "b@x.example", "c@x.example"], "A: b\r\n"),
        );
        said(&mut s);
        hear(
            &mut s,
            "250 ok\r\n250 ok\r\n450 4.2.0 grey\r\n550 5.1.1 who\r\n354 go\r\n",
        );
        said(&mut s);
        hear(&mut s, data);
        let ended = outcomes(&ended(&mut s));
        assert_eq!(ended[0].1, data[..3].parse::<u16>().unwrap());
        assert_eq!(ended[1], (Outcome::Deferred, 450, Fate::NextHost));
        assert_eq!(ended[2], (Outcome::Failed, 550, Fate::Stands));
    }
}

#[test]
fn when_all_are_refused_the_content_is_not_sent() {
    let mut s = ready(PLAIN_EHLO);
    s.start(NOW, transaction(&["a@x.example"], "secret\r\n"));
    said(&mut s);
    hear(&mut s, "250 ok\r\n");
    said(&mut s);
    hear(&mut s, "550 no\r\n");
    assert_eq!(
        outcomes(&ended(&mut s)),
        [(Outcome::Failed, 550, Fate::Stands)]
    );
    // The next transaction starts clean.
    s.start(NOW, transaction(&["a@x.example"], "A: b\r\n"));
    assert_eq!(said(&mut s), "RSET\r\n");

    let mut s = ready(PIPELINING);
    s.start(NOW, transaction(&["a@x.example"], "secret\r\n"));
    said(&mut s);
    hear(&mut s, "250 ok\r\n550 no\r\n354 go ahead anyway\r\n");
    assert_eq!(said(&mut s), ".\r\n");
    hear(&mut s, "554 no valid recipients\r\n");
    assert_eq!(
        outcomes(&ended(&mut s)),
        [(Outcome::Failed, 550, Fate::Stands)]
    );
}

#[test]
fn a_connection_lost_behind_the_content_is_an_unknown_outcome_of_the_message() {
    let mut s = ready(PIPELINING);
    s.start(NOW, transaction(&["a@x.example"], "A: b\r\n"));
    said(&mut s);
    hear(&mut s, "250 ok\r\n250 ok\r\n354 go\r\n");
    said(&mut s);
    s.closed(NOW);
    let end = ended(&mut s);
    assert!(end[0].unknown_outcome);
    assert_eq!(outcomes(&end), [(Outcome::Deferred, 0, Fate::Stands)]);

    let mut s = ready(PIPELINING);
    s.start(NOW, transaction(&["a@x.example"], "A: b\r\n"));
    said(&mut s);
    s.closed(NOW);
    let end = ended(&mut s);
    assert!(!end[0].unknown_outcome);
    assert_eq!(outcomes(&end), [(Outcome::Deferred, 0, Fate::NextHost)]);
}

#[test]
fn a_421_in_mid_session_loses_nobody() {
    let mut s = ready(PIPELINING);
    s.start(
        NOW,
        transaction(&["a@x.example", "b@x.example"], "A: b\r\n"),
    );
    said(&mut s);
    hear(&mut s, "250 ok\r\n250 ok\r\n421 4.3.2 shutting down\r\n");
    assert_eq!(
        outcomes(&ended(&mut s)),
        [(Outcome::Deferred, 421, Fate::NextHost); 2]
    );
    assert_eq!(s.poll_event(), Some(Event::Closed));
}

#[test]
fn recipients_of_more_domains_than_the_host_takes_together_go_in_transactions_of_their_own() {
    let mut s = ready("250-mx\r\n250-PIPELINING\r\n250 LIMITS RCPTDOMAINMAX=1\r\n");
    let to = ["a@x.example", "b@x.example", "c@y.example", "d@x.example"];
    s.start(NOW, transaction(&to, "hi\r\n"));
    let sent = said(&mut s);
    assert_eq!(sent.matches("RCPT TO:<").count(), 2, "{sent}");
    assert!(sent.contains("<a@x.example>") && sent.contains("<b@x.example>"));
}

#[test]
fn a_limit_on_recipients_leads_to_further_transactions() {
    let mut s = ready("250-mx\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=2\r\n");
    s.start(
        NOW,
        transaction(&["a@x.example", "b@x.example", "c@x.example"], "A: b\r\n"),
    );
    assert_eq!(said(&mut s).matches("RCPT").count(), 2);
    hear(&mut s, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    said(&mut s);
    hear(&mut s, "250 ok\r\n");
    let fates: Vec<Fate> = ended(&mut s).iter().map(|e| e.judgement.fate).collect();
    assert_eq!(fates, [Fate::Stands, Fate::Stands, Fate::Again]);
}

#[test]
fn what_the_host_cannot_take_is_not_sent() {
    let big = transaction(
        &["a@x.example"],
        Box::leak("x".repeat(10_001).into_boxed_str()),
    );
    let cases = [
        (FULL, big, "5.3.4"),
        (PIPELINING, transaction(&["a@x.example"], "ü\r\n"), "5.6.3"),
        (FULL, transaction(&["ü@x.example"], "A: b\r\n"), "5.6.7"),
    ];
    for (ehlo, transaction, code) in cases {
        let mut s = ready(ehlo);
        s.start(NOW, transaction);
        assert_eq!(said(&mut s), "");
        let end = ended(&mut s);
        assert_eq!(end[0].reply.status().to_string(), code);
        assert_eq!(outcomes(&end), [(Outcome::Failed, 0, Fate::NextHost)]);
    }
    let mut s = ready(PLAIN_EHLO);
    s.start(NOW, transaction(&["a@bücher.example"], "A: b\r\n"));
    hear(&mut s, "250 ok\r\n");
    assert!(said(&mut s).ends_with("RCPT TO:<a@xn--bcher-kva.example>\r\n"));
}

#[test]
fn a_server_without_ehlo_is_greeted_with_helo() {
    let mut s = session(settings(), TlsUsed::None, "502 what?\r\n");
    assert_eq!(said(&mut s), "HELO out.example\r\n");
    hear(&mut s, "250 mx\r\n");
    assert_eq!(s.poll_event(), Some(Event::Ready));
}

#[test]
fn what_was_offered_before_tls_does_not_count_behind_it() {
    let mut s = session(
        settings(),
        TlsUsed::None,
        "250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n",
    );
    assert_eq!(said(&mut s), "STARTTLS\r\n");
    hear(&mut s, "220 go\r\n");
    assert_eq!(s.poll_event(), Some(Event::StartTls));
    s.tls_established(NOW, TlsUsed::Encrypted);
    assert_eq!(said(&mut s), "EHLO out.example\r\n");
    hear(&mut s, PLAIN_EHLO);
    assert_eq!(s.poll_event(), Some(Event::Ready));
    s.start(NOW, transaction(&["a@x.example"], "A: b\r\n"));
    assert_eq!(said(&mut s), "MAIL FROM:<s@a.example>\r\n");
}

#[test]
fn replies_injected_behind_starttls_end_the_session() {
    let mut s = session(settings(), TlsUsed::None, "250-mx\r\n250 STARTTLS\r\n");
    said(&mut s);
    hear(&mut s, "220 go\r\n250 injected\r\n");
    assert!(matches!(
        s.poll_event(),
        Some(Event::Failed(Failure {
            tls: TlsUsed::None,
            stage: Stage::Tls,
            ..
        }))
    ));
    assert_eq!(s.poll_event(), Some(Event::Closed));
}

#[test]
fn required_tls_is_never_done_without() {
    for (ehlo, reply) in [
        (PLAIN_EHLO, ""),
        ("250-mx\r\n250 STARTTLS\r\n", "454 no\r\n"),
    ] {
        let required = SessionSettings {
            tls: TlsMode::Require,
            ..settings()
        };
        let mut s = session(required, TlsUsed::None, ehlo);
        hear(&mut s, reply);
        let Some(Event::Failed(failure)) = s.poll_event() else {
            panic!("it went on")
        };
        assert_eq!(failure.stage, Stage::Tls);
        assert!(failure.retry.is_none() && !said(&mut s).contains("MAIL"));
    }
}

#[test]
fn a_password_is_never_sent_in_clear_and_never_shown() {
    let credentials = Credentials {
        username: "u".into(),
        secret: Secret::Password("geheim".into()),
        mechanisms: Mechanism::ALL.to_vec(),
    };
    let with_login = SessionSettings {
        credentials: Some(credentials),
        ..settings()
    };
    let ehlo = "250-mx\r\n250 AUTH PLAIN LOGIN\r\n";
    let mut s = session(with_login.clone(), TlsUsed::None, ehlo);
    assert!(matches!(
        s.poll_event(),
        Some(Event::Failed(Failure {
            tls: TlsUsed::None,
            stage: Stage::Login,
            ..
        }))
    ));
    assert_eq!(said(&mut s), "QUIT\r\n");

    let mut s = session(with_login.clone(), TlsUsed::Verified, ehlo);
    assert_eq!(said(&mut s), "AUTH PLAIN AHUAZ2VoZWlt\r\n");
    assert!(!s.take_transcript().contains("AHUAZ2VoZWlt"));
    assert!(!format!("{s:?}").contains("geheim"));
    hear(&mut s, "535 5.7.8 no\r\n");
    let Some(Event::Failed(failure)) = s.poll_event() else {
        panic!("it went on")
    };
    assert!(failure.ours);

    let mut s = session(
        with_login,
        TlsUsed::Verified,
        "250-mx\r\n250 AUTH LOGIN\r\n",
    );
    for (ours, theirs) in [
        ("AUTH LOGIN\r\n", "334 VXNlcm5hbWU6\r\n"),
        ("dQ==\r\n", "334 UGFzc3dvcmQ6\r\n"),
        ("Z2VoZWlt\r\n", "235 ok\r\n"),
    ] {
        assert_eq!(said(&mut s), ours);
        hear(&mut s, theirs);
    }
    assert_eq!(s.poll_event(), Some(Event::Ready));
}

#[test]
fn a_session_waits_for_the_key_of_its_login() {
    let credentials = Credentials {
        username: "user".into(),
        secret: Secret::Password("pencil".into()),
        mechanisms: Mechanism::ALL.to_vec(),
    };
    let settings = SessionSettings {
        credentials: Some(credentials),
        ..settings()
    };
    let mut s = Session::new(settings, TlsUsed::Verified, NOW);
    s.bind(Vec::new(), "abc".to_owned());
    hear(&mut s, "220 mx\r\n");
    said(&mut s);
    hear(&mut s, "250-mx\r\n250 AUTH PLAIN SCRAM-SHA-256\r\n");
    // n,,n=user,r=abc1
    assert_eq!(
        said(&mut s),
        "AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9YWJjMQ==\r\n"
    );
    // r=abc1x,s=AAAA,i=4096; what comes after it is left for later.
    let mut input = BytesMut::from("334 cj1hYmMxeCxzPUFBQUEsaT00MDk2\r\n535 5.7.8 no\r\n");
    s.receive(NOW, &mut input);
    assert_eq!(&input[..], b"535 5.7.8 no\r\n");
    assert_eq!(s.deadline().unwrap().reason, "the key for the login");
    let Some(Event::Derive(derivation)) = s.poll_event() else {
        panic!("no key is asked for")
    };
    assert!(!format!("{derivation:?} {s:?}").contains("pencil"));
    s.derived(NOW, &derivation.key());
    assert!(said(&mut s).starts_with("Yz1ia"));
    s.receive(NOW, &mut input);
    let Some(Event::Failed(failure)) = s.poll_event() else {
        panic!("it went on")
    };
    assert_eq!((failure.stage, failure.reply.code), (Stage::Login, 535));
    let shown = s.take_transcript();
    assert!(
        shown.contains("> AUTH SCRAM-SHA-256 (credentials not shown)\n"),
        "{shown}"
    );
    assert!(shown.contains("< 334 (challenge not shown)\n"), "{shown}");
    assert!(!shown.contains("cj1hYm"), "{shown}");
}

#[test]
fn the_detailed_log_hears_every_command_and_reply_and_no_content() {
    let mut s = ready(PIPELINING);
    s.set_detailed(true);
    s.start(NOW, transaction(&["a@x.example"], "secret\r\n"));
    said(&mut s);
    hear(&mut s, "250 one\r\n250 two\r\n354 go\r\n");
    said(&mut s);
    hear(&mut s, "250 done\r\n");
    let lines: Vec<String> = std::iter::from_fn(|| s.poll_event())
        .filter_map(|event| match event {
            Event::Said(true, line) => Some(format!("> {line}")),
            Event::Said(false, line) => Some(format!("< {line}")),
            Event::StartTls
            | Event::Derive(_)
            | Event::Ready
            | Event::Ended(_)
            | Event::Asked(..)
            | Event::Failed(_)
            | Event::Closed => None,
        })
        .collect();
    let expected = [
        "> MAIL FROM:<s@a.example>",
        "> RCPT TO:<a@x.example>",
        "> DATA",
        "< 250 one",
        "< 250 two",
        "< 354 go",
        "> (8 octets of content)",
        "< 250 done",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn every_stage_has_its_time_out() {
    let mut s = Session::new(settings(), TlsUsed::None, NOW);
    let deadline = s.deadline().unwrap();
    assert_eq!(deadline.at.since(NOW).as_secs(), 300);
    s.timeout(deadline.at);
    let Some(Event::Failed(failure)) = s.poll_event() else {
        panic!("it waits on")
    };
    assert_eq!(
        failure.reply.text,
        "timed out after 5m waiting for the greeting of the host"
    );

    let mut s = ready(PIPELINING);
    assert_eq!(s.deadline().unwrap().at.since(NOW).as_secs(), 5);
    s.start(NOW, transaction(&["a@x.example"], "A: b\r\n"));
    hear(&mut s, "250 ok\r\n250 ok\r\n354 go\r\n");
    assert_eq!(s.deadline().unwrap().at.since(NOW).as_secs(), 180);
    said(&mut s);
    assert_eq!(s.deadline().unwrap().at.since(NOW).as_secs(), 600);
}

// Attempts.

fn attempt(hosts: usize) -> Attempt {
    let settings = AttemptSettings {
        hosts,
        hosts_max: 5,
        first_only: false,
        fail_on_5xx_greeting: false,
    };
    Attempt::new(settings, [0, 1])
}

fn host(name: &str) -> PeerHost {
    PeerHost {
        name: name.to_owned(),
        address: Some("192.0.2.1:25".parse().unwrap()),
    }
}

fn v6(name: &str) -> PeerHost {
    PeerHost {
        name: name.to_owned(),
        address: Some("[2001:db8::1]:25".parse().unwrap()),
    }
}

fn answer(number: u32, stage: Stage, code: u16, text: &str) -> Ended {
    let (enhanced, text) = match text.split_once(' ') {
        Some((e, rest)) if e.parse::<mail::EnhancedCode>().is_ok() => (e.parse().ok(), rest),
        _ => (None, text),
    };
    let reply = Reply::new(code, enhanced, text);
    Ended {
        number,
        judgement: judge(stage, &reply),
        reply,
        unknown_outcome: false,
    }
}

fn candidate(attempt: &Attempt) -> (usize, Family, Vec<u32>) {
    match attempt.next() {
        Next::Try(c, numbers) => (c.host, c.family, numbers),
        Next::Over => panic!("the attempt is over"),
    }
}

fn refused(stage: Stage, code: u16) -> Failure {
    Failure {
        tls: TlsUsed::None,
        stage,
        reply: Reply::new(code, None, "no"),
        retry: None,
        ours: false,
    }
}

#[test]
fn ourselves_among_the_hosts_ends_the_attempt_and_is_a_loop_where_no_better_host_was() {
    let reply = Reply::own(mail::EnhancedCode::new(5, 4, 6), "a loop");
    let mut a = attempt(3);
    a.ourselves(&reply, host("we"), NOW);
    assert_eq!(a.next(), Next::Over);
    let (ends, site) = a.into_ends(NOW);
    assert!(site.is_none() && ends.iter().all(|e| e.verdict.outcome == Outcome::Failed));

    let mut a = attempt(3);
    a.failed(&refused(Stage::Greeting, 421), host("better"), false, NOW);
    a.ourselves(&reply, host("we"), NOW);
    assert_eq!(a.next(), Next::Over);
    let (ends, site) = a.into_ends(NOW);
    assert!(ends.is_empty());
    assert_eq!(site.unwrap().verdict.outcome, Outcome::Deferred);
}

#[test]
fn a_dead_host_is_passed_over_in_the_same_attempt() {
    let mut a = attempt(2);
    let failure = Failure {
        tls: TlsUsed::None,
        stage: Stage::Connect,
        reply: Reply::own(NO_ANSWER, "connection refused"),
        retry: None,
        ours: false,
    };
    a.failed(&failure, host("mx1"), false, NOW);
    assert_eq!(candidate(&a), (1, Family::Any, vec![0, 1]));
    a.greeted();
    let ok = [
        answer(0, Stage::Content, 250, "ok"),
        answer(1, Stage::Content, 250, "ok"),
    ];
    a.transacted(
        ok.to_vec(),
        &host("mx2"),
        TlsUsed::None,
        Elsewhere::default(),
        NOW,
    );
    assert_eq!(a.next(), Next::Over);
    let (ends, site) = a.into_ends(NOW);
    assert!(site.is_none() && ends.iter().all(|e| e.verdict.outcome == Outcome::Delivered));
}

#[test]
fn a_4xx_at_rcpt_tries_the_next_host_and_a_5xx_does_not() {
    let mut a = attempt(2);
    a.greeted();
    let rcpt = Stage::Rcpt { accepted: 0 };
    let answers = vec![
        answer(0, rcpt, 451, "later"),
        answer(1, rcpt, 550, "5.1.1 who"),
    ];
    a.transacted(
        answers,
        &host("mx1"),
        TlsUsed::None,
        Elsewhere::default(),
        NOW,
    );
    assert_eq!(candidate(&a), (1, Family::Any, vec![0]));
    a.failed(&refused(Stage::Greeting, 421), host("mx2"), false, NOW);
    let (ends, site) = a.into_ends(NOW);
    assert!(site.is_none());
    // What mx1 said of the recipient is reported, not that mx2 was busy.
    let said: Vec<(u32, Outcome, u16)> = ends
        .iter()
        .map(|e| (e.number, e.verdict.outcome, e.verdict.reply.code))
        .collect();
    assert_eq!(
        said,
        [(1, Outcome::Failed, 550), (0, Outcome::Deferred, 451)]
    );
}

#[test]
fn those_that_were_refused_here_are_not_tried_here_again() {
    let mut a = attempt(2);
    a.greeted();
    let answers = vec![
        answer(
            0,
            Stage::Rcpt { accepted: 1 },
            452,
            "4.5.3 too many recipients",
        ),
        answer(1, Stage::Rcpt { accepted: 0 }, 450, "4.2.0 later"),
    ];
    a.transacted(
        answers,
        &host("mx1"),
        TlsUsed::None,
        Elsewhere::default(),
        NOW,
    );
    assert_eq!(candidate(&a), (0, Family::Any, vec![0]));
    a.transacted(
        vec![answer(0, Stage::Content, 250, "ok")],
        &host("mx1"),
        TlsUsed::None,
        Elsewhere::default(),
        NOW,
    );
    assert_eq!(candidate(&a), (1, Family::Any, vec![1]));
}

#[test]
fn all_hosts_down_is_the_failure_of_the_site() {
    for (fail, outcome) in [(false, None), (true, Some(Outcome::Failed))] {
        let mut a = attempt(2);
        a.settings_for_test(fail);
        a.failed(&refused(Stage::Greeting, 554), host("mx1"), false, NOW);
        a.failed(&refused(Stage::Greeting, 554), host("mx2"), false, NOW);
        assert_eq!(a.next(), Next::Over);
        let (ends, site) = a.into_ends(NOW);
        assert_eq!(site.is_some(), outcome.is_none());
        assert_eq!(ends.first().map(|e| e.verdict.outcome), outcome);
    }
}

#[test]
fn a_refusal_for_reputation_is_tried_from_other_addresses_of_ours_and_not_for_ever() {
    let everywhere = Elsewhere {
        family: true,
        source: true,
        address: false,
    };
    let mut a = attempt(1);
    a.greeted();
    let blocked = |number| vec![answer(number, Stage::Rcpt { accepted: 0 }, 550, "5.7.1 no")];
    let way = |a: &Attempt| match a.next() {
        Next::Try(candidate, numbers) => Some((candidate.source, candidate.family, numbers)),
        Next::Over => None,
    };
    a.transacted(blocked(0), &v6("mx"), TlsUsed::None, everywhere, NOW);
    // Who was not refused keeps the connection.
    assert_eq!(way(&a), Some((0, Family::Any, vec![1])));
    let taken = vec![answer(1, Stage::Content, 250, "ok")];
    a.transacted(taken, &v6("mx"), TlsUsed::None, everywhere, NOW);
    assert_eq!(way(&a), Some((0, Family::V4, vec![0])));
    a.transacted(blocked(0), &host("mx"), TlsUsed::None, everywhere, NOW);
    assert_eq!(way(&a), Some((1, Family::Any, vec![0])));
    a.transacted(blocked(0), &v6("mx"), TlsUsed::None, everywhere, NOW);
    assert_eq!(way(&a), Some((1, Family::V4, vec![0])));
    a.transacted(blocked(0), &host("mx"), TlsUsed::None, everywhere, NOW);
    assert_eq!(way(&a), None);
    let (ends, _) = a.into_ends(NOW);
    let failed = ends.iter().find(|e| e.number == 0);
    assert_eq!(failed.map(|e| e.verdict.outcome), Some(Outcome::Failed));
}

#[test]
fn a_refusal_for_reputation_is_tried_over_the_other_family_first() {
    let mut a = attempt(1);
    a.greeted();
    let blocked = || {
        vec![
            answer(0, Stage::Rcpt { accepted: 0 }, 550, "5.7.1 blocked"),
            answer(1, Stage::Content, 250, "ok"),
        ]
    };
    a.transacted(blocked(), &v6("mx"), TlsUsed::None, OTHER_FAMILY, NOW);
    assert_eq!(candidate(&a), (0, Family::V4, vec![0]));
    a.transacted(blocked(), &host("mx"), TlsUsed::None, OTHER_FAMILY, NOW);
    assert_eq!(a.next(), Next::Over);
    let (ends, _) = a.into_ends(NOW);
    assert_eq!(
        ends.iter()
            .filter(|e| e.verdict.outcome == Outcome::Failed)
            .count(),
        1
    );
}

#[test]
fn a_failed_handshake_is_followed_by_clear_text_at_the_same_host() {
    let mut a = attempt(2);
    let failure = Failure {
        tls: TlsUsed::None,
        retry: Some(Way::Clear),
        ours: false,
        ..refused(Stage::Tls, 0)
    };
    a.failed(&failure, host("mx1"), false, NOW);
    assert_eq!(
        a.next(),
        Next::Try(
            Candidate {
                host: 0,
                family: Family::Any,
                way: Way::Clear,
                source: 0,
                given_up: 0,
            },
            vec![0, 1]
        )
    );
    a.failed(&refused(Stage::Greeting, 421), host("mx1"), false, NOW);
    assert_eq!(candidate(&a).0, 1);
}

#[test]
fn first_mx_only_stops_at_the_first_that_talks() {
    let mut a = attempt(2);
    a.first_only_for_test();
    a.greeted();
    let answers = vec![
        answer(0, Stage::Mail, 451, "later"),
        answer(1, Stage::Mail, 451, "later"),
    ];
    a.transacted(
        answers,
        &host("mx1"),
        TlsUsed::None,
        Elsewhere::default(),
        NOW,
    );
    assert_eq!(a.next(), Next::Over);
    assert_eq!(a.into_ends(NOW).0.len(), 2);
}

impl Attempt {
    fn settings_for_test(&mut self, fail: bool) {
        *self = Self::new(
            AttemptSettings {
                hosts: 2,
                hosts_max: 5,
                first_only: false,
                fail_on_5xx_greeting: fail,
            },
            [0, 1],
        );
    }

    fn first_only_for_test(&mut self) {
        *self = Self::new(
            AttemptSettings {
                hosts: 2,
                hosts_max: 5,
                first_only: true,
                fail_on_5xx_greeting: false,
            },
            [0, 1],
        );
    }
}

#[test]
fn addresses_of_a_host_come_before_the_next_host_and_only_so_many() {
    let mut a = attempt(2);
    let hosts = |a: &Attempt| match a.next() {
        Next::Try(candidate, _) => (candidate.host, candidate.given_up),
        Next::Over => (usize::MAX, 0),
    };
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(hosts(&a));
        a.failed(&refused(Stage::Greeting, 421), host("mx1"), true, NOW);
    }
    assert_eq!(seen, [(0, 0), (0, 1), (0, 2), (0, 3)]);
    assert_eq!(hosts(&a), (1, 0));
    a.failed(&refused(Stage::Greeting, 421), host("mx2"), false, NOW);
    assert_eq!(a.next(), Next::Over);
    let (ends, site) = a.into_ends(NOW);
    assert!(ends.is_empty() && site.is_some(), "nobody was heard");
}
