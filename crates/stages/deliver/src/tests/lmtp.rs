//! Sessions with servers that have the mailboxes (RFC 2033).

use super::*;

const EIGHT_BIT: &str = "250-mx\r\n250-PIPELINING\r\n250 8BITMIME\r\n";

fn opened(lhlo: &str) -> Session {
    let settings = SessionSettings {
        protocol: Protocol::Lmtp,
        tls: TlsMode::None,
        ..settings()
    };
    let mut session = Session::new(settings, TlsUsed::None, NOW);
    hear(&mut session, "220 store LMTP\r\n");
    assert_eq!(said(&mut session), "LHLO out.example\r\n");
    hear(&mut session, lhlo);
    assert_eq!(session.poll_event(), Some(Event::Ready));
    session
}

fn three() -> Transaction {
    transaction(&["a@x.example", "b@x.example", "c@x.example"], "A: b\r\n")
}

#[test]
fn each_recipient_has_an_answer_of_its_own_after_the_content() {
    let mut s = opened(PIPELINING);
    s.start(NOW, three());
    assert_eq!(
        said(&mut s),
        "MAIL FROM:<s@a.example>\r\nRCPT TO:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n\
         RCPT TO:<c@x.example>\r\nDATA\r\n"
    );
    hear(&mut s, "250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    assert_eq!(said(&mut s), "A: b\r\n.\r\n");
    hear(&mut s, "250 2.0.0 stored\r\n452 4.2.2 full\r\n");
    assert_eq!(
        s.poll_event(),
        None,
        "the third has no answer, and the transaction is not over"
    );
    assert_eq!(s.deadline().unwrap().reason, "the answer to the content");
    hear(&mut s, "550 5.2.1 not any more\r\n");
    assert_eq!(
        outcomes(&ended(&mut s)),
        [
            (Outcome::Delivered, 250, Fate::Stands),
            (Outcome::Deferred, 452, Fate::NextHost),
            (Outcome::Failed, 550, Fate::Stands)
        ]
    );
    assert!(s.is_idle());
    let transcript = s.take_transcript();
    assert!(
        transcript.contains("< 250 2.0.0 stored\n< 452 4.2.2 full\n< 550 5.2.1 not any more\n"),
        "{transcript}"
    );
    // The session takes the next transaction.
    s.start(NOW, transaction(&["a@x.example"], "A: b\r\n"));
    assert!(said(&mut s).starts_with("RSET\r\nMAIL"));
}

#[test]
fn a_recipient_that_was_refused_gets_no_second_answer() {
    for lhlo in [PIPELINING, PLAIN_EHLO] {
        let mut s = opened(lhlo);
        s.start(NOW, three());
        for answer in ["250 ok", "250 ok", "550 5.1.1 who", "250 ok", "354 go"] {
            said(&mut s);
            hear(&mut s, &format!("{answer}\r\n"));
        }
        assert_eq!(said(&mut s), "A: b\r\n.\r\n");
        hear(&mut s, "250 2.0.0 stored\r\n");
        hear(&mut s, "451 4.3.0 later\r\n");
        assert_eq!(
            outcomes(&ended(&mut s)),
            [
                (Outcome::Delivered, 250, Fate::Stands),
                (Outcome::Failed, 550, Fate::Stands),
                (Outcome::Deferred, 451, Fate::NextHost)
            ]
        );
        assert!(s.is_idle());
    }
}

#[test]
fn what_was_answered_stands_when_the_host_closes_before_the_last_answer() {
    let mut s = opened(PIPELINING);
    s.start(NOW, three());
    said(&mut s);
    hear(&mut s, "250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    said(&mut s);
    hear(&mut s, "250 2.0.0 stored\r\n554 5.6.0 not this one\r\n");
    s.closed(NOW);
    let end = ended(&mut s);
    assert_eq!(
        outcomes(&end),
        [
            (Outcome::Delivered, 250, Fate::Stands),
            (Outcome::Failed, 554, Fate::Stands),
            (Outcome::Deferred, 0, Fate::Stands)
        ]
    );
    let unknown: Vec<bool> = end.iter().map(|e| e.unknown_outcome).collect();
    assert_eq!(unknown, [false, false, true]);
    assert_eq!(s.poll_event(), Some(Event::Closed));
}

#[test]
fn a_421_among_the_answers_is_that_recipients_and_leaves_the_others_unknown() {
    let mut s = opened(PIPELINING);
    s.start(NOW, three());
    said(&mut s);
    hear(&mut s, "250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    said(&mut s);
    hear(
        &mut s,
        "250 2.0.0 stored\r\n421 4.3.2 shutting down\r\n250 too late\r\n",
    );
    let end = ended(&mut s);
    let codes: Vec<_> = end
        .iter()
        .map(|e| (e.reply.code, e.unknown_outcome))
        .collect();
    assert_eq!(codes, [(250, false), (421, false), (421, true)]);
    assert_eq!(s.poll_event(), Some(Event::Closed));
}

#[test]
fn nobody_accepted_means_no_content_and_one_answer() {
    let mut s = opened(PIPELINING);
    s.start(NOW, transaction(&["a@x.example"], "A: b\r\n"));
    said(&mut s);
    hear(
        &mut s,
        "250 ok\r\n550 5.1.1 who\r\n503 5.5.1 no recipients\r\n",
    );
    assert_eq!(said(&mut s), "");
    assert_eq!(
        outcomes(&ended(&mut s)),
        [(Outcome::Failed, 550, Fate::Stands)]
    );
    assert!(s.is_idle());
}

#[test]
fn with_chunking_the_last_chunk_has_an_answer_for_each_recipient() {
    let mut s = opened(FULL);
    s.start(
        NOW,
        transaction(&["a@x.example", "b@x.example"], "A: b\r\n.\r\n"),
    );
    assert_eq!(
        said(&mut s),
        "MAIL FROM:<s@a.example> SIZE=9\r\nRCPT TO:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n\
         BDAT 9 LAST\r\nA: b\r\n.\r\n"
    );
    hear(
        &mut s,
        "250 ok\r\n250 ok\r\n250 ok\r\n250 2.0.0 stored\r\n503 5.2.0 not now\r\n",
    );
    assert_eq!(
        outcomes(&ended(&mut s)),
        [
            (Outcome::Delivered, 250, Fate::Stands),
            (Outcome::Failed, 503, Fate::Stands)
        ]
    );
    assert!(!s.chunking_refused() && s.is_idle());
}

#[test]
fn a_store_that_does_not_know_bdat_after_all_gets_the_mail_again_without() {
    let mut s = opened(FULL);
    s.start(
        NOW,
        transaction(&["a@x.example", "b@x.example"], "A: b\r\n"),
    );
    said(&mut s);
    hear(&mut s, "250 ok\r\n250 ok\r\n250 ok\r\n500 what?\r\n");
    let fates: Vec<Fate> = ended(&mut s).iter().map(|e| e.judgement.fate).collect();
    assert_eq!(fates, [Fate::Again; 2]);
    assert!(s.chunking_refused());
}

#[test]
fn eight_bit_content_is_announced_where_offered_and_handed_over_as_it_is_anyhow() {
    for (lhlo, parameter) in [(EIGHT_BIT, " BODY=8BITMIME"), (PIPELINING, "")] {
        let mut s = opened(lhlo);
        let mut utf8 = transaction(&["ü@x.example"], "A: ü\r\n\r\nü\r\n");
        utf8.utf8_header = true;
        assert_eq!(s.needed(&utf8), None);
        s.start(NOW, utf8);
        assert_eq!(
            said(&mut s),
            format!("MAIL FROM:<s@a.example>{parameter}\r\nRCPT TO:<ü@x.example>\r\nDATA\r\n")
        );
        hear(&mut s, "250 ok\r\n250 ok\r\n354 go\r\n");
        assert_eq!(said(&mut s), "A: ü\r\n\r\nü\r\n.\r\n");
        hear(&mut s, "250 ok\r\n");
        assert_eq!(ended(&mut s)[0].judgement.outcome, Outcome::Delivered);
    }
}

#[test]
fn a_binary_body_is_put_into_lines_unless_the_store_takes_it() {
    let binary = || Transaction {
        body: mail::BodyType::BinaryMime,
        ..transaction(&["a@x.example"], "A: ü\r\n\r\n\0")
    };
    let with = opened("250-mx\r\n250-CHUNKING\r\n250 BINARYMIME\r\n");
    assert_eq!(with.needed(&binary()), None);
    // Octets above 127 need not be changed: the store gets what it did not say that it takes.
    let mut without = opened(PLAIN_EHLO);
    assert_eq!(without.needed(&binary()), Some(Conversion::Lines));
    without.start(NOW, binary());
    assert_eq!(said(&mut without), "");
    assert_eq!(
        outcomes(&ended(&mut without)),
        [(Outcome::Failed, 0, Fate::NextHost)]
    );
}

#[test]
fn a_server_that_does_not_know_lhlo_is_not_greeted_otherwise() {
    let settings = SessionSettings {
        protocol: Protocol::Lmtp,
        ..settings()
    };
    let mut s = Session::new(settings, TlsUsed::None, NOW);
    hear(&mut s, "220 mx ESMTP\r\n");
    said(&mut s);
    hear(&mut s, "502 5.5.1 what?\r\n");
    let Some(Event::Failed(failure)) = s.poll_event() else {
        panic!("it went on")
    };
    assert_eq!((failure.stage, failure.reply.code), (Stage::Ehlo, 502));
    assert_eq!(said(&mut s), "QUIT\r\n");
}

#[test]
fn a_question_ends_with_the_answer_to_rcpt() {
    let mut s = opened(PIPELINING);
    let steps = [
        ("MAIL FROM:<>\r\n", "RCPT TO:<a@x.example>\r\n", "250 ok"),
        ("RSET\r\n", "MAIL FROM:<>\r\n", "550 5.1.1 who"),
    ];
    for (first, second, answer) in steps {
        s.ask(NOW, Address::parse("a@x.example").unwrap());
        assert_eq!(said(&mut s), first);
        hear(&mut s, "250 ok\r\n");
        assert_eq!(said(&mut s), second);
        if second.starts_with("MAIL") {
            hear(&mut s, "250 ok\r\n");
            assert_eq!(said(&mut s), "RCPT TO:<a@x.example>\r\n");
        }
        hear(&mut s, &format!("{answer}\r\n"));
        let Some(Event::Asked(stage, reply)) = s.poll_event() else {
            panic!("no answer")
        };
        assert_eq!(
            (stage, reply.to_string()),
            (Stage::Rcpt { accepted: 0 }, answer.into())
        );
    }
    // A mail that follows ends the open transaction first.
    s.start(NOW, transaction(&["a@x.example"], "A: b\r\n"));
    assert!(said(&mut s).starts_with("RSET\r\nMAIL"));
}

#[test]
fn a_question_that_gets_no_further_says_where_it_ended() {
    let address = || Address::parse("ü@x.example").unwrap();
    let mut s = opened("250-mx\r\n250 SMTPUTF8\r\n");
    s.ask(NOW, address());
    assert_eq!(said(&mut s), "MAIL FROM:<> SMTPUTF8\r\n");
    hear(&mut s, "451 4.3.0 later\r\n");
    let Some(Event::Asked(stage, reply)) = s.poll_event() else {
        panic!("no answer")
    };
    assert_eq!((stage, reply.code), (Stage::Mail, 451));
    assert!(s.is_idle());
    s.ask(NOW, address());
    s.closed(NOW);
    let Some(Event::Asked(stage, reply)) = s.poll_event() else {
        panic!("no answer")
    };
    assert_eq!((stage, reply.code), (Stage::Mail, 0));
    assert_eq!(s.poll_event(), Some(Event::Closed));
}
