//! Time-outs, counters, failures of the spool, stopping, and what the log hears.

use std::time::Duration;

use intake::{AcceptFailure, Busy, Cause, Event, Scope, Suppression, busy};
use mail::{Address, Timestamp};
use smtp::machine::Machine;

use crate::shell::{ANN, INSIDE, OUTSIDE, Shell, policy};

const OPEN: &str = "EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n";

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

#[test]
fn a_silent_client_is_sent_away_with_the_reason() {
    let mut shell = Shell::new(policy(), INSIDE);
    assert_eq!(shell.session.deadline().unwrap().reason, "HELO or EHLO");
    shell.wait(minutes(5));
    assert!(
        shell
            .heard()
            .contains("421 4.4.2 mx.example: closing the connection, timed out")
    );
    assert!(shell.closed);

    let mut shell = Shell::new(policy(), INSIDE);
    shell.say("EHLO c\r\n");
    // Octets that end no line extend nothing.
    for _ in 0..4 {
        shell.wait(minutes(1));
        shell.send(b"N");
    }
    assert!(!shell.closed);
    shell.wait(minutes(1));
    assert!(shell.closed);
    assert_eq!(
        shell.events,
        [Event::TimedOut {
            reason: "a command"
        }]
    );
}

#[test]
fn content_must_come_and_not_too_slowly() {
    let mut shell = Shell::new(policy(), INSIDE);
    shell.say(OPEN);
    assert_eq!(
        shell.session.deadline().unwrap().reason,
        "content, which arrives below the minimum rate"
    );
    shell.wait(minutes(2));
    assert!(shell.closed);

    let mut policy_without_rate = policy();
    policy_without_rate.limits.minimum_rate = 0;
    let mut shell = Shell::new(policy_without_rate, INSIDE);
    shell.say(OPEN);
    for _ in 0..100 {
        shell.wait(minutes(3) - Duration::from_secs(1));
        shell.send(b"x");
    }
    assert!(!shell.closed);
    shell.wait(minutes(3));
    assert!(shell.closed && shell.heard().contains("waiting for content"));
}

#[test]
fn a_client_at_the_minimum_rate_may_go_on() {
    let mut shell = Shell::new(policy(), INSIDE);
    shell.say(OPEN);
    for _ in 0..100 {
        shell.wait(Duration::from_secs(59));
        shell.send(&[b'x'; 6000]);
    }
    assert!(!shell.closed);
}

#[test]
fn what_came_fast_does_not_pay_for_what_comes_slowly_later() {
    let transfers = [
        ("DATA\r\n", "x"),
        ("BDAT 40000000\r\n", "x"),
        ("BDAT 1000000\r\n", "BDAT 1\r\nx"),
    ];
    for (begin, drip) in transfers {
        let mut shell = Shell::new(policy(), INSIDE);
        shell.say(&OPEN.replace("DATA\r\n", begin));
        for _ in 0..100 {
            shell.send(&[b"x".repeat(9_998), b"\r\n".to_vec()].concat());
        }
        for _ in 0..3 {
            assert!(!shell.closed, "{begin}");
            shell.wait(Duration::from_secs(39));
            shell.send(drip.as_bytes());
        }
        assert!(shell.closed, "{begin}");
    }
}

#[test]
fn content_without_memory_is_read_to_its_end_and_put_off() {
    let mut shell = Shell::new(policy(), INSIDE);
    shell.say(OPEN);
    shell.send(&b"some line\r\n".repeat(1000));
    assert!(shell.session.content_held() > 10_000);
    shell.session.give_up_content();
    assert_eq!(shell.session.content_held(), 0);
    shell.send(&b"some line\r\n".repeat(1000));
    assert_eq!(shell.session.content_held(), 0);
    let said = shell.say(".\r\nNOOP\r\n");
    assert!(
        said.starts_with("452 4.3.1") && said.contains("\r\n250"),
        "{said}"
    );
    assert!(shell.accepted.is_empty());

    let mut shell = Shell::new(policy(), INSIDE);
    shell.say(&OPEN.replace("DATA\r\n", "BDAT 11\r\n"));
    shell.send(b"some line\r\n");
    shell.session.give_up_content();
    let said = shell.say("BDAT 11 LAST\r\nsome line\r\nNOOP\r\n");
    assert!(
        said.starts_with("452 4.3.1") && said.contains("\r\n250"),
        "{said}"
    );
}

#[test]
fn recipients_that_are_refused_end_a_session_unless_mail_is_taken_between() {
    let mut policy = policy();
    policy.limits.bad_commands = 10_000;
    let limit = policy.limits.refused_recipients;
    let wrong = "RCPT TO:<x@elsewhere.example>\r\n";
    let mut shell = Shell::new(policy.clone(), OUTSIDE);
    let said = shell.say(&format!("EHLO c\r\nMAIL FROM:<>\r\n{}", wrong.repeat(300)));
    assert_eq!(said.matches("550 5.7.1").count(), limit as usize);
    assert!(shell.closed && said.contains("\r\n421 4.7.0"), "{said}");

    // Mail of who may send makes up for half of them, mail of others for two.
    policy.local.store_knows = true;
    let wrong = "RCPT TO:<unknown@local.example>\r\n".repeat(40);
    let mail = format!("MAIL FROM:<>\r\n{wrong}RCPT TO:<ann@local.example>\r\nDATA\r\nx\r\n.\r\n");
    for (from, stays) in [(INSIDE, true), (OUTSIDE, false)] {
        let mut shell = Shell::new(policy.clone(), from);
        shell.say("EHLO c\r\n");
        for _ in 0..10 {
            shell.say(&mail);
        }
        assert_eq!(shell.closed, !stays, "{from}");
    }
}

#[test]
fn a_shell_that_wants_to_is_asked_after_each_refusal() {
    let mut shell = Shell::new(policy(), OUTSIDE);
    shell.session.pause_at_refusals();
    let wrong = "RCPT TO:<x@elsewhere.example>\r\n";
    let said = shell.say(&format!("EHLO c\r\nMAIL FROM:<>\r\n{wrong}{wrong}NOOP\r\n"));
    assert_eq!(said.matches("550 5.7.1").count(), 1);
    assert!(shell.session.take_pause() && !shell.session.take_pause());
    assert!(shell.say("").contains("550 5.7.1") && shell.session.take_pause());
    assert!(shell.say("").starts_with("250"));
}

#[test]
fn who_may_send_elsewhere_guesses_nothing_by_naming_whom_nothing_is_sent_to() {
    let policy = policy();
    policy.suppressed.put(Suppression {
        recipient: Address::parse("gone@elsewhere.example").unwrap(),
        scope: Scope::All,
        cause: Cause::Failure,
        reason: String::new(),
        since: Timestamp::from_secs(1),
        expires: None,
        message: None,
        count: 1,
        in_force: true,
    });
    let limit = policy.limits.refused_recipients as usize;
    let mut shell = Shell::new(policy, INSIDE);
    shell.session.pause_at_refusals();
    let gone = "RCPT TO:<gone@elsewhere.example>\r\n".repeat(limit * 2);
    let mut said = shell.say(&format!("EHLO c\r\nMAIL FROM:<>\r\n{gone}"));
    said += &shell.say("");
    assert_eq!(said.matches("550 5.1.1").count(), limit * 2, "{said}");
    assert!(!shell.closed && !shell.session.is_paused());
}

#[test]
fn who_reads_no_answers_gets_no_more_of_them() {
    let mut shell = Shell::new(policy(), OUTSIDE);
    shell.session.pause_at_refusals();
    let many = 5000;
    let mut said = shell.say(&"EHLO c\r\n".repeat(many));
    assert!(said.len() < 40_000, "{} octets", said.len());
    // All of it is answered, as answers are taken.
    for _ in 0..many {
        said += &shell.say("");
    }
    assert_eq!(said.matches("\r\n250 ").count(), many);
}

#[test]
fn where_places_are_scarce_a_command_is_waited_for_less_long() {
    let mut shell = Shell::new(policy(), OUTSIDE);
    shell.say("EHLO c\r\n");
    shell.session.hurry(true);
    shell.wait(Duration::from_secs(29));
    assert!(!shell.closed);
    shell.wait(Duration::from_secs(1));
    assert!(shell.closed && shell.heard().contains("421 4.4.2"));
}

#[test]
fn a_mail_that_was_not_saved_is_not_acknowledged() {
    let mut shell = Shell::new(policy(), INSIDE);
    shell.failures = vec![
        AcceptFailure::Full,
        AcceptFailure::Failed,
        AcceptFailure::Stopping,
    ];
    shell.say("EHLO c\r\n");
    for expected in ["452 4.3.1", "451 4.3.0", "451 4.3.2", "250 2.0.0"] {
        let mail = OPEN.replace("EHLO c\r\n", "") + "x\r\n.\r\n";
        let said = shell.say(&mail);
        let last = said.lines().last().unwrap();
        assert!(last.starts_with(expected), "{said}");
    }
    assert_eq!(shell.accepted.len(), 1);
    let refused = shell
        .events
        .iter()
        .filter(|e| matches!(e, Event::Refused { .. }));
    assert_eq!(refused.count(), 3);
}

#[test]
fn stopping_waits_for_the_mail_that_is_coming_in() {
    let mut shell = Shell::new(policy(), INSIDE);
    shell.say(OPEN);
    shell.session.shutdown();
    shell.run();
    assert!(!shell.closed);
    let said = shell.say("x\r\n.\r\nMAIL FROM:<>\r\n");
    assert!(
        said.starts_with("250 2.0.0") && said.contains("\r\n421 4.3.2"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 2);
    assert!(shell.closed && shell.accepted.len() == 1);

    let mut idle = Shell::new(policy(), INSIDE);
    idle.session.shutdown();
    idle.run();
    assert!(idle.closed);
}

#[test]
fn failed_logins_are_counted_and_end_the_session() {
    let mut shell = Shell::with_tls(policy(), OUTSIDE, true);
    shell.say("EHLO c\r\n");
    assert!(
        shell
            .say("AUTH PLAIN AGxhdGVyAHg=\r\n")
            .starts_with("454 4.7.0")
    );
    for _ in 0..2 {
        let said = shell.say("AUTH PLAIN AGFubgB3cm9uZw==\r\n");
        assert!(said.starts_with("535 5.7.8") && said.lines().count() == 1);
    }
    let said = shell.say("AUTH PLAIN AGFubgB3cm9uZw==\r\n");
    assert!(said.contains("\r\n421 4.7.0") && shell.closed, "{said}");
}

#[test]
fn passwords_are_masked_in_the_log_and_nothing_is_told_unless_asked_for() {
    let mut shell = Shell::with_tls(policy(), OUTSIDE, true);
    shell.session.set_detailed(true);
    shell.say("EHLO c\r\n");
    shell.say(&format!("auth plain {ANN}\r\n"));
    shell.say("RSET\r\n");
    let log: Vec<String> = shell.events.iter().map(ToString::to_string).collect();
    let log = log.join("\n");
    assert!(
        log.contains("command: auth plain ***") && !log.contains(ANN),
        "{log}"
    );
    assert!(log.contains("user ann logged in") && log.contains("reply: 235 2.7.0"));

    let mut shell = Shell::with_tls(policy(), OUTSIDE, true);
    shell.session.set_detailed(true);
    shell.say("EHLO c\r\nAUTH PLAIN\r\n");
    shell.say(&format!("{ANN}\r\n"));
    let log: Vec<String> = shell.events.iter().map(ToString::to_string).collect();
    assert!(!log.join("\n").contains(ANN));

    // n,,n=ann,r=abc
    let mut shell = Shell::with_tls(policy(), OUTSIDE, true);
    shell.session.set_detailed(true);
    let said = shell.say("EHLO c\r\nAUTH SCRAM-SHA-256 biwsbj1hbm4scj1hYmM=\r\n");
    let log: Vec<String> = shell.events.iter().map(ToString::to_string).collect();
    assert!(said.contains("\r\n334 cj1hYmN") && !log.join("\n").contains("cj1hYmN"));
    assert!(log.contains(&"reply: 334 ***".to_owned()), "{log:?}");

    let mut quiet = Shell::new(policy(), INSIDE);
    quiet.say("EHLO c\r\nNOOP\r\n");
    assert!(quiet.events.is_empty());
}

#[test]
fn a_lost_connection_is_told_only_in_mid_transaction() {
    let mut shell = Shell::new(policy(), INSIDE);
    shell.say(OPEN);
    shell.session.closed(shell.now);
    shell.run();
    assert_eq!(shell.events, [Event::Lost]);

    let mut idle = Shell::new(policy(), INSIDE);
    idle.session.closed(idle.now);
    idle.run();
    assert!(idle.events.is_empty() && idle.closed);
}

#[test]
fn clear_text_behind_starttls_ends_the_session_even_when_it_comes_late() {
    let mut shell = Shell::new(policy(), INSIDE);
    shell.say("EHLO c\r\n");
    assert!(shell.say("STARTTLS\r\n").starts_with("220 2.0.0"));
    assert!(shell.handshake);
    shell.say("EHLO evil\r\n");
    assert!(shell.closed);
    assert_eq!(shell.events, [Event::InjectedBehindStartTls]);
}

#[test]
fn what_was_said_before_tls_is_forgotten() {
    let mut shell = Shell::new(policy(), INSIDE);
    shell.say("EHLO c\r\nSTARTTLS\r\n");
    shell.start_tls();
    assert!(
        shell
            .say("MAIL FROM:<a@b.example>\r\n")
            .starts_with("503 5.5.1")
    );
    let offered = shell.say("EHLO c\r\n");
    assert!(
        offered.contains("AUTH SCRAM-SHA-256 PLAIN LOGIN") && !offered.contains("STARTTLS"),
        "{offered}"
    );
}

#[test]
fn who_is_turned_away_is_told_why() {
    let said = busy("mx.example", Busy::Source);
    assert!(said.starts_with(b"421 4.7.0 mx.example: Too many connections from your"));
    assert!(busy("mx.example", Busy::All).starts_with(b"421 4.3.2"));
}

#[test]
fn a_session_may_move_between_threads() {
    fn moves<T: Send>(value: T) -> T {
        value
    }
    assert!(!moves(Shell::new(policy(), INSIDE).session).is_closed());
}

#[test]
fn a_listener_that_is_not_there_trusts_nobody() {
    let mut policy = policy();
    policy.listeners.clear();
    let mut shell = Shell::new(policy, INSIDE);
    let said = shell.say("EHLO c\r\nMAIL FROM:<a@b.example>\r\n");
    assert!(said.contains("\r\n530 5.7.0"), "{said}");
}
