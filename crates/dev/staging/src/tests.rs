//! What tests rely on.

use node::event::Event;
use store::Filter;

use super::*;

#[tokio::test]
async fn what_was_handed_in_is_told_to_the_owner_and_there_after_a_restart() {
    let (staging, mut events) = Staging::new(ALONE).await;
    let id = staging
        .mail("ann@a.example", &["bob@b.example", "eve@c.example"])
        .await;
    let Some(Event::Accepted(message, held)) = events.recv().await else {
        panic!("a mail");
    };
    assert_eq!((message.id, message.envelope.recipients.len()), (id, 2));
    assert!(held.is_empty());
    let (staging, _events) = staging.restart().await;
    assert_eq!(staging.recovered.waiting, 2);
    let now = staging.now();
    assert_eq!(staging.node.store.count(&Filter::id(id), now).ok(), Some(2));
}

#[tokio::test]
async fn the_clock_stands_until_it_is_moved_and_dates_the_log() {
    let (staging, _events) = Staging::at("2027-01-02T03:04:05Z", ALONE).await;
    let before = staging.now();
    staging
        .node
        .journal
        .line(before, "one")
        .field("a", 1)
        .send();
    staging.advance(Duration::from_secs(60));
    assert_eq!(staging.now().since(before), Duration::from_secs(60));
    let line = staging.logged("one", &["a=1"]).await;
    assert!(line.starts_with("2027-01-02T03:04:05"), "{line}");
    assert!(staging.lines("two").await.is_empty());
}

#[tokio::test]
async fn another_configuration_is_in_force_after_a_reload() {
    let (mut staging, _events) = Staging::new(ALONE).await;
    let text = format!("{ALONE}[outgoing]\nresend_attempts = 9\n");
    staging.reload(&text).await;
    let resends = staging.node.settings().config.outgoing.plan.resends();
    assert_eq!(resends, 9);
    let (staging, _events) = staging.restart().await;
    let resends = staging.node.settings().config.outgoing.plan.resends();
    assert_eq!(resends, 9);
}

#[tokio::test]
async fn the_owner_knows_of_a_mail_before_its_submitter_is_answered() {
    let (staging, mut events) = Staging::new(ALONE).await;
    for _ in 0..50 {
        let id = staging.mail("ann@a.example", &["bob@b.example"]).await;
        // Without waiting: an order about the mail comes after this.
        let Ok(Event::Accepted(message, _)) = events.try_recv() else {
            panic!("{id} is not known");
        };
        assert_eq!(message.id, id);
    }
}
