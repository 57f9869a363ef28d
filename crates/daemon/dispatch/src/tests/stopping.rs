//! The end of the server while mail is on the wire, and what is kept in memory until then.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lab::World;
use mail::{Envelope, Labels, Message, Outcome, QueueId, Recipient, Timestamp};
use node::event::Event;
use staging::until;
use tokio::sync::oneshot;

use super::desk::Desk;
use crate::queue::Ended;
use crate::recent::Recent;

#[tokio::test]
async fn what_is_on_the_wire_has_its_time_and_is_sent_again_if_that_was_too_short() {
    let world = World::new();
    let host = world.domain("b.example");
    host.set(|b| b.tarpit = true);
    let mut desk = Desk::new(&world.config().text()).await;
    let id = desk.staging.mail("", &["bob@b.example"]).await;
    assert!(
        until(|| (host.connection_count() == 1).then_some(()))
            .await
            .is_some()
    );
    desk.staging.node.tell(Event::Stop);
    // New mail is not begun any more.
    let late = desk.staging.mail("", &["eve@b.example"]).await;
    assert_eq!(desk.turn().await, 2);
    desk.staging.advance(Duration::from_secs(19));
    desk.turn().await;
    assert!(!desk.owner.is_finished());
    desk.staging.advance(Duration::from_secs(1));
    let (ask, _told) = oneshot::channel();
    desk.staging.node.tell(Event::Alive(ask));
    assert_eq!((&mut desk.owner).await.unwrap(), Ended::Stopped);
    desk.owner = tokio::spawn(async { Ended::Stopped });
    host.reset();
    let desk = desk.restart().await;
    for id in [id, late] {
        let end = desk.ended(id, 1).await.remove(0);
        assert_eq!((end.verdict.outcome, end.attempts), (Outcome::Delivered, 1));
    }
    assert_eq!(host.count(), 2);
}

#[tokio::test]
async fn an_answer_that_comes_while_the_server_stops_is_not_forgotten() {
    let world = World::new();
    let host = world.domain("b.example");
    host.set(|b| b.tarpit = true);
    let desk = Desk::new(&world.config().text()).await;
    let id = desk.staging.mail("", &["bob@b.example"]).await;
    assert!(
        until(|| (host.connection_count() == 1).then_some(()))
            .await
            .is_some()
    );
    desk.staging.node.tell(Event::Stop);
    desk.turn().await;
    // Its connection ends: so does the attempt.
    host.stop();
    let Desk { staging, owner, .. } = desk;
    assert_eq!(owner.await.unwrap(), Ended::Stopped);
    let rows = until(|| {
        staging.node.store.catch_up().ok()?;
        let filter = store::Filter::id(id);
        let rows = staging
            .node
            .store
            .query(&filter, store::Page::ALL, staging.now());
        rows.ok()
            .filter(|rows| rows.len() == 1 && rows[0].attempts == 1)
    });
    assert!(rows.await.is_some(), "the attempt is charged");
}

fn message(number: u64, octets: usize, recipients: usize) -> Arc<Message> {
    let address = mail::Address::parse("bob@b.example").unwrap();
    Arc::new(Message {
        id: QueueId::from_u64(number),
        accepted: Timestamp::ZERO,
        envelope: Envelope {
            recipients: vec![Recipient::new(address); recipients],
            ..Envelope::default()
        },
        labels: Labels::default(),
        content: Bytes::from(vec![b'x'; octets]),
    })
}

#[test]
fn a_mail_is_in_memory_until_its_last_recipient_has_ended() {
    let mut recent = Recent::default();
    let id = QueueId::from_u64(1);
    recent.insert(message(1, 100, 2));
    recent.recipient_done(id);
    assert!(recent.get(id).is_some());
    recent.recipient_done(id);
    assert!(recent.get(id).is_none());
    // Once more is no harm, nor is a mail that was never there.
    recent.recipient_done(id);
    recent.forget(QueueId::from_u64(2));
}

#[test]
fn the_oldest_make_room_and_what_is_huge_is_not_kept_at_all() {
    let mut recent = Recent::default();
    recent.insert(message(1, 20 << 20, 1));
    assert!(recent.get(QueueId::from_u64(1)).is_none());
    for number in 2..=6 {
        recent.insert(message(number, 15 << 20, 1));
    }
    let kept: Vec<u64> = (2..=6)
        .filter(|n| recent.get(QueueId::from_u64(*n)).is_some())
        .collect();
    assert_eq!(kept, [3, 4, 5, 6], "64 MiB");
    // Room that was given back is room again.
    recent.forget(QueueId::from_u64(4));
    recent.insert(message(7, 15 << 20, 1));
    assert!(recent.get(QueueId::from_u64(3)).is_some());
}

#[test]
fn names_of_what_is_gone_do_not_gather() {
    let mut recent = Recent::default();
    recent.insert(message(0, 10, 1));
    for number in 1..10_000 {
        recent.insert(message(number, 10, 1));
        recent.recipient_done(QueueId::from_u64(number));
    }
    assert!(recent.get(QueueId::from_u64(0)).is_some());
    assert!(format!("{recent:?}").len() < 20_000);
}
