//! When a recipient is tried again, and when it is not tried any more.

use mail::{Outcome, Timestamp};
use staging::ALONE;
use tokio::sync::oneshot;

use super::desk::{Desk, HOUR, MINUTE, REFUSED, a_test};
use crate::queue::Ended;
use node::event::Event;

const DEFERRED: &str = "deferred@sendoff.test";

#[tokio::test]
async fn what_was_deferred_is_tried_at_its_time_and_not_before() {
    let desk = Desk::new(ALONE).await;
    let id = desk.test_mail(&[DEFERRED]).await;
    let row = desk.tried(id, 1).await;
    assert_eq!(row.due.since(desk.staging.now()), 5 * MINUTE);
    assert_eq!(
        desk.reason(id).await,
        "attempt 1 of 6 did not succeed; the next one is scheduled"
    );
    desk.pass(5 * MINUTE - std::time::Duration::from_millis(1))
        .await;
    assert_eq!(desk.tried(id, 1).await.due, row.due);
    assert!(desk.history().is_empty());
    desk.pass(std::time::Duration::from_millis(1)).await;
    let end = desk.ended(id, 1).await.remove(0);
    assert_eq!((end.verdict.outcome, end.attempts), (Outcome::Delivered, 2));
    assert_eq!(end.verdict.at, row.due);
    assert_eq!((desk.figure("deferred"), desk.figure("delivered")), (1, 1));
    let next = row.due.to_string();
    desk.staging
        .logged("deferred", &["attempt=1 ", &next])
        .await;
    desk.staging.logged("delivered", &["attempt=2 "]).await;
}

#[tokio::test]
async fn the_waits_of_a_plan_follow_each_other() {
    let text = format!("{ALONE}[outgoing]\nplan = [\"1m\", \"1h\"]\n{REFUSED}");
    let desk = Desk::new(&text).await;
    let id = desk.staging.mail("", &["bob@b.example"]).await;
    let first = desk.tried(id, 1).await.due;
    desk.pass(first.since(desk.staging.now())).await;
    let second = desk.tried(id, 2).await.due;
    let waited = second.since(desk.staging.now());
    assert!(waited >= HOUR && waited < HOUR * 5 / 4, "{waited:?}");
    desk.pass(waited).await;
    let end = desk.ended(id, 1).await.remove(0);
    assert_eq!((end.verdict.outcome, end.attempts), (Outcome::Failed, 3));
}

#[tokio::test]
async fn a_recipient_whose_lifetime_is_over_expires_although_attempts_are_left() {
    let text = format!("{ALONE}[outgoing]\nlifetime = \"12m\"\n{REFUSED}");
    let desk = Desk::new(&text).await;
    let id = desk.staging.mail("", &["bob@b.example"]).await;
    for attempts in 1..=2 {
        desk.tried(id, attempts).await;
        desk.pass(5 * MINUTE).await;
    }
    desk.tried(id, 3).await;
    desk.pass(2 * MINUTE).await;
    let end = desk.ended(id, 1).await.remove(0);
    assert_eq!(end.verdict.outcome, Outcome::Expired);
    assert_eq!(end.attempts, 3);
    assert_eq!(desk.figure("expired"), 1);
    desk.staging.logged("expired", &["bob@b.example"]).await;
}

#[tokio::test]
async fn a_mail_for_later_waits_for_its_release_and_its_age_begins_there() {
    let desk = Desk::new(ALONE).await;
    let mut submission = a_test(&[DEFERRED]);
    let release = desk.staging.now() + 30 * HOUR;
    submission.terms.not_before = Some(release);
    let id = desk.staging.hand_in(submission).await;
    assert_eq!(desk.turn().await, 1);
    assert_eq!(desk.gauges().await.future, 1);
    assert_eq!(
        desk.reason(id).await,
        "its first attempt is scheduled for later"
    );
    desk.pass(29 * HOUR).await;
    assert_eq!(desk.waiting(id)[0].attempts, 0);
    desk.pass(HOUR).await;
    assert_eq!(desk.tried(id, 1).await.due, release + 5 * MINUTE);
    assert_eq!(desk.gauges().await.future, 0);
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_make_mail_wait_for_the_time_that_it_showed() {
    let desk = Desk::new(ALONE).await;
    let id = desk.test_mail(&[DEFERRED]).await;
    let due = desk.tried(id, 1).await.due;
    let back = 24 * HOUR;
    let shown = Timestamp::from_millis(desk.staging.now().as_millis() - 24 * 3_600_000);
    desk.staging.script.set(shown);
    desk.staging.node.tell(Event::ClockSetBack(back));
    desk.turn().await;
    let wait = desk.wait(id).await.unwrap();
    assert!(wait.next.is_some_and(|next| next < due), "{wait:?}");
    desk.pass(5 * MINUTE).await;
    let end = desk.ended(id, 1).await.remove(0);
    assert_eq!((end.verdict.outcome, end.attempts), (Outcome::Delivered, 2));
}

#[tokio::test]
async fn outgoing_mail_that_is_switched_off_waits_until_a_reload_switches_it_on() {
    let off = format!("{ALONE}[outgoing]\nenabled = false\n{REFUSED}");
    let mut desk = Desk::new(&off).await;
    let id = desk.staging.mail("", &["bob@b.example"]).await;
    let test = desk.test_mail(&["delivered@sendoff.test"]).await;
    desk.pass(HOUR).await;
    assert!(desk.reason(id).await.contains("outgoing.enabled"));
    assert_eq!(desk.waiting(id)[0].attempts, 0);
    // What does not leave is not held back.
    desk.ended(test, 1).await;
    desk.staging.reload(&format!("{ALONE}{REFUSED}")).await;
    desk.staging.node.tell(Event::Reloaded);
    assert_eq!(desk.tried(id, 1).await.attempts, 1);
}

#[tokio::test]
async fn a_stopped_owner_ends_at_once_when_nothing_is_on_the_wire_and_answers_nobody() {
    let desk = Desk::new(ALONE).await;
    let id = desk.test_mail(&[DEFERRED]).await;
    desk.tried(id, 1).await;
    desk.staging.node.tell(Event::Stop);
    assert_eq!(desk.owner.await.unwrap(), Ended::Stopped);
    let (ask, told) = oneshot::channel();
    desk.staging.node.tell(Event::Alive(ask));
    assert!(told.await.is_err());
}
