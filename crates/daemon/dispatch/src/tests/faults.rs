//! A disk that is full, or fails: what is said, what is tried again, and what is the end.

use mail::Outcome;
use node::event::Event;
use ops::{Verb, VerbErrorKind};
use sim::Fault;
use staging::{ALONE, submission};

use super::desk::{Desk, HOUR, REFUSED, a_test};
use crate::queue::Ended;

const DELIVERED: &str = "delivered@sendoff.test";

/// The queue's own housekeeping writes too, and may meet a fault that is meant for a commit: then it is tried again.
const TRIES: usize = 100;

/// A mail of a test key that is tried in an hour.
async fn in_an_hour(desk: &Desk) -> mail::QueueId {
    let mut later = a_test(&[DELIVERED]);
    later.terms.not_before = Some(desk.staging.now() + HOUR);
    desk.staging.hand_in(later).await
}

#[tokio::test]
async fn an_end_that_a_full_disk_did_not_take_is_written_when_there_is_room() {
    let desk = Desk::new(ALONE).await;
    let mut ids = Vec::new();
    while desk.staging.lines("error").await.is_empty() {
        assert!(ids.len() < TRIES);
        let id = in_an_hour(&desk).await;
        desk.turn().await;
        desk.staging.disk.inject(0, Fault::Full);
        desk.pass(HOUR).await;
        let end = desk.ended(id, 1).await.remove(0);
        assert_eq!(end.verdict.outcome, Outcome::Delivered);
        desk.staging.disk.clear_fault();
        ids.push(id);
    }
    desk.staging.logged("error", &["what=queue"]).await;
    let desk = desk.restart().await;
    assert_eq!(desk.turn().await, 0, "it is not sent again");
    assert_eq!(desk.history().len(), ids.len());
}

#[tokio::test]
async fn a_verb_that_a_full_disk_did_not_take_is_unavailable() {
    let desk = Desk::new(&format!("{ALONE}[outgoing]\nenabled = false\n{REFUSED}")).await;
    let id = desk.staging.mail("", &["bob@b.example"]).await;
    let mut why = None;
    for _ in 0..TRIES {
        desk.staging.disk.inject(0, Fault::Full);
        why = desk.act(Verb::Hold, id).await.err();
        desk.staging.disk.clear_fault();
        if why.is_some() {
            break;
        }
        desk.act(Verb::Release, id).await.unwrap();
    }
    let why = why.unwrap();
    assert_eq!(why.kind(), VerbErrorKind::Unavailable, "{why}");
    desk.staging.logged("error", &["what=queue"]).await;
    assert!(desk.act(Verb::Release, id).await.is_ok());
    assert_eq!(desk.turn().await, 1);
}

#[tokio::test]
async fn a_failure_and_its_report_are_both_there_or_neither() {
    let desk = Desk::new(&format!("{ALONE}[outgoing]\nenabled = false\n{REFUSED}")).await;
    for tries in 1..=TRIES {
        let id = desk.staging.mail("ann@a.example", &["bob@b.example"]).await;
        desk.staging.disk.inject(0, Fault::Full);
        let said = desk.act(Verb::Fail, id).await;
        desk.staging.disk.clear_fault();
        if let Err(why) = &said {
            // It is done as soon as the disk can be written.
            assert_eq!(why.kind(), VerbErrorKind::Unavailable, "{why}");
        }
        let end = desk.ended(id, 1).await.remove(0);
        assert_eq!(end.verdict.outcome, Outcome::Failed);
        let about = format!("about={id}");
        desk.staging
            .logged("report", &["to=<ann@a.example>", &about])
            .await;
        assert_eq!(desk.staging.lines("report").await.len(), tries);
        desk.holds(tries).await;
        if said.is_err() {
            return;
        }
    }
    panic!("the disk was never full");
}

#[tokio::test]
async fn a_sync_that_fails_is_the_end_of_the_server_and_nothing_is_said_that_is_not_known() {
    let desk = Desk::new(&format!("{ALONE}[outgoing]\nenabled = false\n{REFUSED}")).await;
    let mut accepted = 0;
    loop {
        desk.staging.disk.inject(1, Fault::Error);
        let mail = submission("ann@a.example", &["eve@b.example"]);
        let taken = node::hand_in::hand_in(&desk.staging.node, mail, None).await;
        if taken.is_err() {
            break;
        }
        accepted += 1;
        assert!(accepted < TRIES);
    }
    let Ended::Fatal(why) = desk.owner.await.unwrap() else {
        panic!("it went on");
    };
    assert!(!why.is_empty());
    assert_eq!(desk.staging.lines("accepted").await.len(), accepted);
}

#[tokio::test]
async fn the_owner_that_is_told_of_a_lost_disk_ends_with_the_reason() {
    let desk = Desk::new(ALONE).await;
    desk.staging
        .node
        .tell(Event::Fatal("the disk is gone".to_owned()));
    let ended = desk.owner.await.unwrap();
    assert_eq!(ended, Ended::Fatal("the disk is gone".to_owned()));
}

#[tokio::test]
async fn what_was_accepted_before_the_power_went_is_sent_after_it_came_back() {
    let desk = Desk::new(ALONE).await;
    let id = in_an_hour(&desk).await;
    desk.turn().await;
    desk.staging.disk.restart();
    let desk = desk.restart().await;
    assert_eq!(desk.turn().await, 1);
    desk.pass(HOUR).await;
    desk.ended(id, 1).await;
}
