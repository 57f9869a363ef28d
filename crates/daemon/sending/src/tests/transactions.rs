//! What is said about a mail in MAIL and RCPT.

use std::time::Duration;

use mail::{Address, ByMode, DeliverBy, Notify, Outcome, Ret};

use super::yard::{HOUR, Land, verdict};
use crate::transaction::transaction;

const BOB: &str = "bob@b.example";

const fn by(by: mail::Timestamp, mode: ByMode, trace: bool) -> DeliverBy {
    DeliverBy { by, mode, trace }
}

#[tokio::test]
async fn the_time_that_is_left_is_what_a_host_is_told() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    host.set(|b| {
        b.extension("DELIVERBY");
    });
    let mut yard = land.yard().await;
    let end = yard.staging.now() + 2 * HOUR;
    for (mode, passed, expected) in [
        (ByMode::Return, HOUR, "BY=3600;R"),
        (ByMode::Notify, HOUR, "BY=0;N"),
        (ByMode::Notify, Duration::from_secs(60), "BY=-60;N"),
    ] {
        yard.staging.advance(passed);
        let mut message = yard.staging.message("ann@a.example", &[BOB]);
        message.envelope.terms.deliver_by = Some(by(end, mode, false));
        let policy = std::sync::Arc::clone(&yard.staging.node.settings().policy);
        let made = transaction(&policy, &message, &[0], yard.staging.now());
        let told = made.deliver_by.unwrap();
        let said = format!(
            "BY={};{}",
            told.seconds,
            if mode == ByMode::Return { "R" } else { "N" }
        );
        assert_eq!(said, expected);
    }
    let mut message = yard.staging.message("ann@a.example", &[BOB]);
    message.envelope.terms.deliver_by = Some(by(end + 2 * HOUR, ByMode::Return, false));
    let finished = yard.send(message).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Delivered);
    let params = host.received()[0].mail_params.clone();
    assert!(params.contains("BY=7140;R"), "{params}");
    assert!(
        finished.passed_on.is_empty(),
        "the host answers for the time"
    );
}

#[tokio::test]
async fn a_time_that_is_over_is_told_as_a_second_to_who_would_return_the_mail() {
    let land = Land::new();
    let yard = land.yard().await;
    let mut message = yard.staging.message("ann@a.example", &[BOB]);
    message.envelope.terms.deliver_by = Some(by(yard.staging.now(), ByMode::Return, true));
    yard.staging.advance(HOUR);
    let policy = std::sync::Arc::clone(&yard.staging.node.settings().policy);
    let told = transaction(&policy, &message, &[0], yard.staging.now())
        .deliver_by
        .unwrap();
    assert_eq!((told.seconds, told.trace), (1, true));
}

#[tokio::test]
async fn where_a_host_promises_no_time_it_is_told_that_the_mail_was_passed_on() {
    let land = Land::new();
    let _host = land.world.domain("b.example");
    let mut yard = land.yard().await;
    let mut message = yard.staging.message("ann@a.example", &[BOB]);
    message.envelope.terms.deliver_by = Some(by(yard.staging.now() + HOUR, ByMode::Notify, false));
    let finished = yard.send(message).await;
    assert_eq!(finished.passed_on, [0]);
    assert!(finished.reports_taken.is_empty());
}

#[tokio::test]
async fn wishes_about_reports_go_to_hosts_that_know_them_and_only_these_take_them_over() {
    let land = Land::new();
    let knows = land.world.domain("b.example");
    knows.set(|b| {
        b.extension("DSN");
    });
    let other = land.world.domain("c.example");
    let mut yard = land.yard().await;
    for (to, taken) in [(BOB, vec![0]), ("bob@c.example", Vec::new())] {
        let mut message = yard.staging.message("ann@a.example", &[to]);
        message.envelope.ret = Some(Ret::Headers);
        message.envelope.env_id = Some("x+2B1".to_owned());
        let recipient = &mut message.envelope.recipients[0];
        recipient.notify = Notify::SUCCESS.with(Notify::FAILURE);
        recipient.given = Some(Address::parse("b+b@given.example").unwrap());
        let finished = yard.send(message).await;
        assert_eq!(finished.reports_taken, taken, "{to}");
    }
    let received = knows.received().remove(0);
    for param in ["RET=HDRS", "ENVID=x+2B1"] {
        assert!(
            received.mail_params.contains(param),
            "{}",
            received.mail_params
        );
    }
    let params = &received.recipients[0].params;
    assert!(params.contains("NOTIFY=SUCCESS,FAILURE"), "{params}");
    // The address as it was given, not as a rule has made it.
    assert!(
        params.contains("ORCPT=rfc822;b+2Bb@given.example"),
        "{params}"
    );
    let received = other.received().remove(0);
    assert!(!received.mail_params.contains("RET") && received.recipients[0].params.is_empty());
}

#[tokio::test]
async fn a_priority_is_told_where_it_is_known_and_only_if_there_is_one() {
    let land = Land::new();
    let host = land.world.domain("b.example");
    host.set(|b| {
        b.extension("MT-PRIORITY");
    });
    let mut yard = land.yard().await;
    for priority in [0, 4, -9] {
        let mut message = yard.staging.message("ann@a.example", &[BOB]);
        message.envelope.terms.priority = priority;
        yard.send(message).await;
    }
    let params: Vec<String> = host
        .received()
        .into_iter()
        .map(|mail| mail.mail_params)
        .collect();
    assert!(!params[0].contains("MT-PRIORITY"), "{params:?}");
    assert!(params[1].contains("MT-PRIORITY=4") && params[2].contains("MT-PRIORITY=-9"));
}

#[tokio::test]
async fn a_transaction_is_for_those_who_are_named_and_a_strange_number_is_nobody() {
    let land = Land::new();
    let yard = land.yard().await;
    let message = yard
        .staging
        .message("ann@a.example", &[BOB, "eve@b.example", "joe@b.example"]);
    let policy = std::sync::Arc::clone(&yard.staging.node.settings().policy);
    let made = transaction(&policy, &message, &[2, 0, 9], yard.staging.now());
    let numbers: Vec<u32> = made.recipients.iter().map(|r| r.number).collect();
    assert_eq!(numbers, [2, 0]);
    let nobody = transaction(&policy, &message, &[], yard.staging.now());
    assert!(nobody.recipients.is_empty());
}
