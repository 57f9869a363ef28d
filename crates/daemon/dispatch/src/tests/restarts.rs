//! What a restart keeps: what waits, how often it was tried, and what was ordered.

use mail::{Outcome, Status};
use node::event::Event;
use ops::Verb;
use staging::ALONE;
use store::Op;

use super::desk::{Desk, HOUR, MINUTE, REFUSED};

const DEFERRED: &str = "deferred@sendoff.test";

#[tokio::test]
async fn attempts_and_due_times_are_those_from_before() {
    let desk = Desk::new(ALONE).await;
    let id = desk.test_mail(&[DEFERRED]).await;
    let due = desk.tried(id, 1).await.due;
    desk.pass(2 * MINUTE).await;
    let desk = desk.restart().await;
    assert_eq!(desk.turn().await, 1);
    assert_eq!(desk.wait(id).await.unwrap().next, Some(due));
    desk.pass(3 * MINUTE).await;
    let end = desk.ended(id, 1).await.remove(0);
    assert_eq!((end.verdict.outcome, end.attempts), (Outcome::Delivered, 2));
}

#[tokio::test]
async fn what_became_due_while_the_server_was_off_is_tried_at_once() {
    let desk = Desk::new(ALONE).await;
    let id = desk.test_mail(&[DEFERRED]).await;
    desk.tried(id, 1).await;
    desk.staging.advance(48 * HOUR);
    let desk = desk.restart().await;
    let end = desk.ended(id, 1).await.remove(0);
    assert_eq!(end.verdict.at, desk.staging.now());
}

#[tokio::test]
async fn what_is_held_stays_held_and_what_has_ended_does_not_come_back() {
    let desk = Desk::new(ALONE).await;
    let held = desk.test_mail(&[DEFERRED]).await;
    desk.tried(held, 1).await;
    desk.act(Verb::Hold, held).await.unwrap();
    let gone = desk
        .test_mail(&["delivered@sendoff.test", "failed@sendoff.test"])
        .await;
    desk.ended(gone, 2).await;
    let desk = desk.restart().await;
    desk.pass(HOUR).await;
    assert_eq!(desk.turn().await, 1);
    assert_eq!(desk.waiting(held)[0].status, Status::Held);
    assert_eq!(desk.history().len(), 2);
    desk.act(Verb::Release, held).await.unwrap();
    desk.ended(held, 1).await;
}

#[tokio::test]
async fn a_paused_domain_is_paused_after_a_restart_where_that_was_kept() {
    let desk = Desk::new(&format!("{ALONE}{REFUSED}")).await;
    for (domain, kept) in [("b.example", true), ("c.example", false)] {
        desk.pause(domain, true).await;
        let control = Op::Control {
            name: format!("pause:{domain}"),
            value: kept.then(|| "ann".to_owned()),
        };
        desk.staging.node.store.commit_wait(vec![control]).unwrap();
    }
    let paused = desk.staging.mail("ann@a.example", &["bob@b.example"]).await;
    let other = desk.staging.mail("ann@a.example", &["bob@c.example"]).await;
    let desk = desk.restart().await;
    desk.tried(other, 1).await;
    assert_eq!(desk.waiting(paused)[0].attempts, 0);
    assert!(desk.reason(paused).await.contains("paused"));
}

#[tokio::test]
async fn a_clock_that_shows_an_earlier_time_after_the_restart_makes_nobody_wait_longer() {
    let desk = Desk::new(ALONE).await;
    let id = desk.test_mail(&[DEFERRED]).await;
    desk.tried(id, 1).await;
    let now = desk.staging.now();
    // The hardware clock of the machine had stopped a week ago.
    let shown = mail::Timestamp::from_millis(now.as_millis() - 7 * 86_400_000);
    desk.staging.script.set(shown);
    let desk = desk.restart().await;
    let next = desk.wait(id).await.unwrap().next.unwrap();
    assert!(next <= shown + 5 * MINUTE, "{next}");
    desk.pass(5 * MINUTE).await;
    desk.ended(id, 1).await;
}

#[tokio::test]
async fn another_name_for_the_same_order_is_none_of_the_log() {
    // An order for a site whose value is none, as an unknown build may have written it, stops nothing.
    let desk = Desk::new(ALONE).await;
    for (name, value) in [
        ("site:mx.b.example", "{}"),
        ("site:", "garbage"),
        ("slow:b.example", "rate=x"),
    ] {
        let control = Op::Control {
            name: name.to_owned(),
            value: Some(value.to_owned()),
        };
        desk.staging.node.store.commit_wait(vec![control]).unwrap();
    }
    let desk = desk.restart().await;
    assert!(desk.dispatch.reactions.views(Vec::new()).is_empty());
    let id = desk.test_mail(&["delivered@sendoff.test"]).await;
    desk.ended(id, 1).await;
    desk.staging.node.tell(Event::Reloaded);
    assert_eq!(desk.turn().await, 0);
}
