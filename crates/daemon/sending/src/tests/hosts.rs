//! Which hosts are tried in which order, how sessions are kept, and what hosts answer.

use std::time::Duration;

use lab::{MxHost, Stage, Verb};
use mail::{Class, EnhancedCode, Outcome};

use super::yard::{HOUR, Land, MINUTE, transcript, verdict, verdicts};

const BOB: &str = "bob@b.example";

#[tokio::test]
async fn mail_after_mail_goes_by_one_session() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    let mut yard = land.yard().await;
    for _ in 0..3 {
        let finished = yard.mail(BOB).await;
        let verdict = verdict(&finished);
        assert_eq!(verdict.outcome, Outcome::Delivered);
        assert_eq!(verdict.host.as_ref().unwrap().address, Some(host.address()));
        assert!(finished.report.open);
    }
    assert_eq!(
        (host.count(), host.connection_count(), yard.greeted),
        (3, 1, 1)
    );
    let ehlo: Vec<String> = host
        .lines()
        .into_iter()
        .filter(|l| l.starts_with("EHLO"))
        .collect();
    assert_eq!(ehlo, ["EHLO sendoff.lab"]);
}

#[tokio::test]
async fn a_session_that_has_lived_long_ends_after_its_mail() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    let mut yard = land.yard().await;
    assert!(yard.mail(BOB).await.report.open);
    yard.staging.advance(5 * MINUTE);
    assert!(yard.mail(BOB).await.report.open, "not longer than its time");
    yard.staging.advance(Duration::from_secs(1));
    assert!(!yard.mail(BOB).await.report.open);
    yard.mail(BOB).await;
    assert_eq!((host.count(), host.connection_count()), (4, 2));
    assert!(host.connections()[0].dialogue().contains(&"QUIT"));
}

#[tokio::test]
async fn a_host_that_takes_so_many_mails_a_session_gets_no_more() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    host.set(|b| {
        b.extension("LIMITS MAILMAX=2");
    });
    let mut yard = land.yard().await;
    let open: Vec<bool> = [
        yard.mail(BOB).await.report.open,
        yard.mail(BOB).await.report.open,
        yard.mail(BOB).await.report.open,
    ]
    .into();
    assert_eq!(open, [true, false, true]);
    assert_eq!((host.count(), host.connection_count()), (3, 2));
}

#[tokio::test]
async fn a_session_that_its_host_has_had_enough_of_costs_no_attempt() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    host.set(|b| b.mails_per_connection = Some(1));
    let mut yard = land.yard().await;
    for _ in 0..3 {
        let finished = yard.mail(BOB).await;
        assert_eq!(verdict(&finished).outcome, Outcome::Delivered);
    }
    assert_eq!((host.count(), host.connection_count()), (3, 3));
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_passed_over_and_tried_first_again_a_minute_later() {
    let land = Land::new();
    let best = land.world.mx("b.example", 10, "mx1.b.example");
    let other = land.world.mx("b.example", 20, "mx2.b.example");
    best.stop();
    let mut yard = land.yard().await;
    let finished = yard.mail(BOB).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Delivered);
    let said = transcript(&finished);
    assert!(
        said.contains("= mx1.b.example") && said.contains("= mx2.b.example"),
        "{said}"
    );
    best.start();
    yard.mail(BOB).await;
    assert_eq!(
        (best.connection_count(), other.count()),
        (0, 2),
        "the session is preferred"
    );
    yard.staging.advance(MINUTE);
    yard.mail(BOB).await;
    assert_eq!((best.count(), other.count()), (1, 2));
}

#[tokio::test]
async fn only_the_first_host_is_tried_where_that_is_set() {
    let land = Land::new();
    let best = land.world.mx("b.example", 10, "mx1.b.example");
    let other = land.world.mx("b.example", 20, "mx2.b.example");
    best.set(|b| {
        b.reply(Verb::Mail, "", "451 4.3.2 not now");
    });
    let config = land.config().set("outgoing.first_mx_only", true);
    let mut yard = super::yard::Yard::new(&config).await;
    let finished = yard.mail(BOB).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Deferred);
    assert_eq!((best.connection_count(), other.connection_count()), (1, 0));
}

#[tokio::test]
async fn a_greeting_that_refuses_for_good_is_no_end_unless_that_is_set() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    host.set(|b| b.greeting = "554 5.3.2 no mail here".to_owned());
    let mut yard = land.yard().await;
    let finished = yard.mail(BOB).await;
    let failure = finished.report.site_failure.as_ref().unwrap();
    assert_eq!(
        (failure.verdict.outcome, failure.verdict.reply.code),
        (Outcome::Deferred, 554)
    );
    assert!(failure.ours_until.is_none() && !finished.report.open);
    let config = land.config().set("outgoing.on_5xx_greeting", "fail");
    let mut yard = super::yard::Yard::new(&config).await;
    let finished = yard.mail(BOB).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Failed);
}

#[tokio::test]
async fn each_recipient_has_the_answer_that_it_was_given() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    host.set(|b| {
        b.reply(Verb::Rcpt, "gone@", "550 5.1.1 no such user");
        b.reply(Verb::Rcpt, "full@", "452 4.2.2 mailbox full");
    });
    let mut yard = land.yard().await;
    let to = [BOB, "gone@b.example", "full@b.example"];
    let message = yard.staging.message("ann@a.example", &to);
    let finished = yard.send(message).await;
    let verdicts = verdicts(&finished);
    let outcomes: Vec<Outcome> = verdicts.iter().map(|v| v.outcome).collect();
    assert_eq!(
        outcomes,
        [Outcome::Delivered, Outcome::Failed, Outcome::Deferred]
    );
    assert!(verdicts[1..].iter().all(|v| v.class == Class::Recipient));
    assert_eq!(host.received()[0].addresses(), [BOB]);
    // The one that waits is tried alone.
    host.reset();
    let finished = yard.retry(2 * HOUR).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Delivered);
    assert_eq!(host.received()[1].addresses(), ["full@b.example"]);
}

#[tokio::test]
async fn a_host_that_names_a_time_is_asked_again_no_sooner() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    host.set(|b| {
        b.reply(
            Verb::Rcpt,
            "",
            "450 4.7.1 greylisted, try again in 300 seconds",
        );
    });
    let mut yard = land.yard().await;
    let finished = yard.mail(BOB).await;
    let attempted = &finished.report.attempted[0];
    assert_eq!(attempted.retry_after, Some(Duration::from_secs(300)));
}

#[tokio::test]
async fn a_connection_that_is_lost_after_the_content_leaves_the_outcome_unknown() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    host.set(|b| {
        b.drop_at(Stage::Final, 1);
    });
    let mut yard = land.yard().await;
    let finished = yard.mail(BOB).await;
    let lost = verdict(&finished);
    assert!(lost.unknown_outcome && lost.outcome == Outcome::Deferred);
    assert!(!finished.report.open);
    assert_eq!((host.count(), host.unanswered().len()), (0, 1));
    host.reset().set(|b| {
        b.drop_at(Stage::Rcpt, 1);
    });
    let finished = yard.retry(2 * HOUR).await;
    assert!(
        !verdict(&finished).unknown_outcome,
        "nothing was sent that could be there"
    );
}

#[tokio::test]
async fn a_host_without_a_usable_address_is_said_to_have_none() {
    let land = Land::new();
    let dns = &land.world.dns;
    dns.mx("b.example", 10, "mx.b.example");
    dns.mx("c.example", 10, "mx.c.example");
    dns.servfail("mx.c.example");
    dns.mx("d.example", 10, "mx.d.example");
    dns.a("mx.d.example", "10.1.2.3".parse().unwrap());
    let config = land.config().set("outgoing.refuse_networks", ["private"]);
    let mut yard = super::yard::Yard::new(&config).await;
    for (to, outcome, (class, subject, detail), words) in [
        (
            "bob@b.example",
            Outcome::Failed,
            (5, 4, 4),
            "has no address",
        ),
        (
            "bob@c.example",
            Outcome::Deferred,
            (4, 4, 3),
            "lookup of mx.c.example failed",
        ),
        ("bob@d.example", Outcome::Deferred, (4, 4, 4), "is not used"),
    ] {
        let finished = yard.mail(to).await;
        let failed = verdict(&finished);
        let code = EnhancedCode::new(class, subject, detail);
        assert_eq!(
            (failed.outcome, failed.reply.enhanced),
            (outcome, Some(code)),
            "{to}"
        );
        assert!(failed.reply.text.contains(words), "{}", failed.reply);
        assert!(transcript(&finished).contains(words));
    }
    assert_eq!(yard.greeted, 0);
}

#[tokio::test]
async fn one_attempt_tries_so_many_hosts_and_no_more() {
    let land = Land::new();
    let hosts: Vec<MxHost> = (0..7)
        .map(|n| {
            land.world
                .mx("b.example", 10 * n, &format!("mx{n}.b.example"))
        })
        .collect();
    for host in &hosts {
        host.set(|b| b.greeting = "421 4.3.2 busy".to_owned());
    }
    let mut yard = land.yard().await;
    let finished = yard.mail(BOB).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Deferred);
    let tried: Vec<usize> = hosts.iter().map(MxHost::connection_count).collect();
    assert_eq!(tried, [1, 1, 1, 1, 1, 0, 0]);
}

#[tokio::test]
async fn a_host_that_offers_chunking_and_does_not_know_it_gets_data_for_a_day() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    host.set(|b| {
        b.extension("CHUNKING");
        b.reply(Verb::Bdat, "", "502 5.5.1 command not implemented");
    });
    let mut yard = land.yard().await;
    let finished = yard.mail(BOB).await;
    if verdict(&finished).outcome != Outcome::Delivered {
        let finished = yard.retry(2 * HOUR).await;
        assert_eq!(verdict(&finished).outcome, Outcome::Delivered);
    }
    let chunked = || {
        host.lines()
            .iter()
            .filter(|l| l.starts_with("BDAT"))
            .count()
    };
    assert_eq!(chunked(), 1);
    yard.staging.advance(HOUR);
    yard.mail(BOB).await;
    assert_eq!((chunked(), host.count()), (1, 2));
    assert!(!host.received()[1].chunked);
    host.reset().set(|b| {
        b.extension("CHUNKING");
    });
    yard.staging.advance(24 * HOUR);
    yard.mail(BOB).await;
    // The session from before does not know what the host has learned.
    yard.staging.advance(HOUR);
    yard.mail(BOB).await;
    assert!(host.received().last().unwrap().chunked);
}

#[tokio::test]
async fn a_mail_that_is_not_in_memory_is_read_from_the_queue() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    let mut yard = land.yard().await;
    let id = yard.staging.mail("ann@a.example", &[BOB]).await;
    let message = yard.staging.node.store.read(id).unwrap().unwrap();
    let finished = yard.send_kept(&message).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Delivered);
    assert_eq!(host.received()[0].content, message.content);
    assert_eq!(finished.message.unwrap().id, id);
}

#[tokio::test]
async fn a_mail_that_is_not_to_be_had_is_said_to_be_so_and_no_host_is_asked() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    let mut yard = land.yard().await;
    // It is in no queue.
    let message = yard.staging.message("ann@a.example", &[BOB]);
    let finished = yard.send_kept(&message).await;
    let verdict = verdict(&finished);
    assert_eq!(verdict.class, Class::Policy);
    assert_ne!(verdict.outcome, Outcome::Delivered);
    assert!(finished.message.is_none() && host.connection_count() == 0);
    yard.staging
        .logged("error", &["reading a message", &message.id.to_string()])
        .await;
}

#[tokio::test]
async fn an_address_in_brackets_is_where_its_mail_goes_without_a_question() {
    let land = Land::new();
    let host = land.world.host("mx.b.example");
    let mut yard = land.yard().await;
    let to = format!("bob@[{}]", host.ip());
    let finished = yard.mail(&to).await;
    let delivered = verdict(&finished);
    assert_eq!(delivered.outcome, Outcome::Delivered);
    let peer = delivered.host.as_ref().unwrap();
    assert_eq!(peer.address, Some(host.address()));
    assert_eq!(host.received()[0].addresses(), [to.as_str()]);
    assert!(land.world.dns.questions().is_empty());
}

#[tokio::test]
async fn a_host_that_hangs_up_on_ehlo_is_greeted_the_old_way_or_left() {
    let land = Land::new();
    let best = land.world.mx("b.example", 10, "mx1.b.example");
    let other = land.world.mx("b.example", 20, "mx2.b.example");
    best.set(|b| {
        b.reply(Verb::Ehlo, "", "502 5.5.1 EHLO is not known");
    });
    let mut yard = land.yard().await;
    let finished = yard.mail(BOB).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Delivered);
    assert_eq!((best.count(), other.count()), (1, 0));
    assert!(best.lines().contains(&"HELO sendoff.lab".to_owned()));
    best.reset().set(|b| {
        b.drop_at(Stage::Ehlo, 10);
    });
    let mut yard = land.yard().await;
    let finished = yard.mail(BOB).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Delivered);
    assert_eq!((best.count(), other.count()), (1, 1));
}
