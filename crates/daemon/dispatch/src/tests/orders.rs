//! What administrators order: holds, ends, other routes, pauses.

use lab::World;
use mail::{Outcome, RecipientKey, Status};
use node::event::Event;
use ops::Verb;
use staging::{ALONE, submission};
use store::Filter;
use tokio::sync::oneshot;

use super::desk::{Desk, HOUR, MINUTE, REFUSED, a_test};

const DELIVERED: &str = "delivered@sendoff.test";
const DEFERRED: &str = "deferred@sendoff.test";

#[tokio::test]
async fn a_held_mail_stays_for_ever_and_goes_when_it_is_released() {
    let desk = Desk::new(ALONE).await;
    let id = desk.test_mail(&[DEFERRED]).await;
    desk.tried(id, 1).await;
    assert_eq!(desk.act(Verb::Hold, id).await.unwrap(), [1, 0, 0]);
    assert_eq!(desk.act(Verb::Hold, id).await.unwrap(), [0, 1, 0]);
    desk.pass(100 * HOUR).await;
    let row = desk.tried(id, 1).await;
    assert_eq!(row.status, Status::Held);
    assert!(desk.reason(id).await.starts_with("held: "));
    assert_eq!(desk.act(Verb::Release, id).await.unwrap(), [1, 0, 0]);
    assert_eq!(desk.ended(id, 1).await[0].attempts, 2);
}

#[tokio::test]
async fn a_verb_about_mail_that_is_not_there_changes_nothing() {
    let desk = Desk::new(ALONE).await;
    let id = desk.test_mail(&[DELIVERED]).await;
    desk.ended(id, 1).await;
    for verb in Verb::ALL {
        let (ask, told) = oneshot::channel();
        let key = RecipientKey { id, recipient: 0 };
        let event = Event::Act(verb.clone(), vec![key], ask);
        desk.staging.node.tell(event);
        assert_eq!(told.await.unwrap().unwrap(), [0, 1, 0], "{verb:?}");
    }
    let (ask, told) = oneshot::channel();
    desk.staging
        .node
        .tell(Event::Act(Verb::Fail, Vec::new(), ask));
    assert_eq!(told.await.unwrap().unwrap(), [0, 0, 0]);
    assert_eq!(desk.history().len(), 1);
}

#[tokio::test]
async fn a_retry_is_at_once_or_at_the_time_that_is_asked_for() {
    let desk = Desk::new(ALONE).await;
    let id = desk.test_mail(&[DEFERRED]).await;
    desk.tried(id, 1).await;
    let later = desk.staging.now() + 2 * HOUR;
    let verb = Verb::Retry(Some(later.as_millis()));
    assert_eq!(desk.act(verb, id).await.unwrap(), [1, 0, 0]);
    desk.pass(HOUR).await;
    assert_eq!(desk.tried(id, 1).await.due, later);
    assert_eq!(desk.act(Verb::Retry(None), id).await.unwrap(), [1, 0, 0]);
    let end = desk.ended(id, 1).await.remove(0);
    assert_eq!(end.verdict.at, desk.staging.now());
}

#[tokio::test]
async fn a_removed_mail_ends_in_silence_and_a_failed_one_with_a_report() {
    let desk = Desk::new(&format!("{ALONE}[outgoing]\nenabled = false\n{REFUSED}")).await;
    let [removed, failed] = [
        desk.staging
            .mail("ann@a.example", &["bob@b.example", "eve@b.example"])
            .await,
        desk.staging
            .mail("ann@a.example", &["bob@b.example", "eve@b.example"])
            .await,
    ];
    assert_eq!(desk.act(Verb::Remove, removed).await.unwrap(), [2, 0, 0]);
    assert_eq!(desk.turn().await, 2, "no report took their place");
    assert_eq!(desk.act(Verb::Fail, failed).await.unwrap(), [2, 0, 0]);
    assert_eq!(desk.turn().await, 1, "one report for both");
    for id in [removed, failed] {
        for end in desk.ended(id, 2).await {
            assert_eq!((end.verdict.outcome, end.attempts), (Outcome::Failed, 0));
        }
    }
    let line = desk.staging.logged("report", &["to=<ann@a.example>"]).await;
    assert!(line.contains(&format!("about={failed}")), "{line}");
    assert_eq!(desk.staging.lines("report").await.len(), 1);
}

#[tokio::test]
async fn a_mail_is_sent_by_the_server_that_an_administrator_names_and_back_by_the_rules() {
    let world = World::new();
    let [given, usual] = [world.host("given.example"), world.domain("b.example")];
    let config = world.config().set("outgoing.enabled", false);
    let mut desk = Desk::new(&config.text()).await;
    let first = desk.staging.mail("ann@a.example", &["bob@b.example"]).await;
    let second = desk.staging.mail("ann@a.example", &["bob@b.example"]).await;
    let target = || Verb::Reroute(Some(given.address().to_string()));
    for id in [first, second] {
        assert_eq!(desk.act(target(), id).await.unwrap(), [1, 0, 0]);
    }
    let route = given.address().to_string();
    assert_eq!(desk.waiting(first)[0].route, Some(route));
    assert_eq!(
        desk.act(Verb::Reroute(None), second).await.unwrap(),
        [1, 0, 0]
    );
    desk.staging.reload(&world.config().text()).await;
    desk.staging.node.tell(Event::Reloaded);
    let first = desk.ended(first, 1).await.remove(0);
    let second = desk.ended(second, 1).await.remove(0);
    let host = |row: store::HistoryRow| row.verdict.host.unwrap().address;
    assert_eq!(host(first), Some(given.address()));
    assert_eq!(host(second), Some(usual.address()));
    assert_eq!((given.count(), usual.count()), (1, 1));
}

#[tokio::test]
async fn mail_of_a_paused_domain_waits_without_attempts_while_others_go() {
    // Two sites, where nobody listens: what closes one is nothing to the other.
    let rule = |domain, port| {
        format!("[[domain]]\nmatch = \"{domain}\"\nvia_smtp = \"127.0.0.1:{port}\"\n")
    };
    let rules = [rule("b.example", 1), rule("c.example", 2)].concat();
    let desk = Desk::new(&format!("{ALONE}{rules}")).await;
    desk.pause("b.example", true).await;
    let paused = desk.staging.mail("ann@a.example", &["bob@b.example"]).await;
    let other = desk.staging.mail("ann@a.example", &["bob@c.example"]).await;
    desk.tried(other, 1).await;
    desk.pass(24 * HOUR).await;
    assert_eq!(desk.waiting(paused)[0].attempts, 0);
    assert_eq!(
        desk.reason(paused).await,
        "its domain is paused by an administrator"
    );
    assert_eq!(desk.gauges().await.paused, 1);
    desk.pause("b.example", false).await;
    assert_eq!(desk.tried(paused, 1).await.domain, "b.example");
    assert_eq!(desk.gauges().await.paused, 0);
}

#[tokio::test]
async fn a_rule_holds_the_recipients_that_it_is_about_and_no_others() {
    let desk = Desk::new(ALONE).await;
    let text = "domain:sendoff.test recipient:deferred@sendoff.test".to_owned();
    let filter = Filter::parse(&text).unwrap();
    desk.staging
        .node
        .controls
        .set_hold("friday", Some((text, filter)));
    let id = desk.test_mail(&[DELIVERED, DEFERRED]).await;
    let ended = desk.ended(id, 1).await;
    assert_eq!(ended[0].recipient, DELIVERED);
    desk.pass(HOUR).await;
    let rows = desk.waiting(id);
    assert_eq!((rows[0].status, rows[0].attempts), (Status::Held, 0));
    desk.staging
        .logged("accepted", &["held=1", "and-more=1"])
        .await;
    desk.staging
        .logged("hold-rule", &["rule=friday", "recipients=1"])
        .await;
    // A rule that is gone lets go nothing that it held.
    desk.staging.node.controls.set_hold("friday", None);
    desk.pass(HOUR).await;
    assert_eq!(desk.waiting(id)[0].status, Status::Held);
    let free = desk.test_mail(&[DEFERRED]).await;
    desk.tried(free, 1).await;
}

#[tokio::test]
async fn a_verb_is_answered_when_what_it_has_ended_is_durable() {
    let desk = Desk::new(ALONE).await;
    let mut later = a_test(&[DELIVERED]);
    later.terms.not_before = Some(desk.staging.now() + 5 * MINUTE);
    let id = desk.staging.hand_in(later).await;
    desk.act(Verb::Fail, id).await.unwrap();
    // No waiting: the answer was the commit.
    assert_eq!(desk.staging.node.store.figures().waiting, 0);
    let end = desk.history().remove(0);
    assert_eq!(end.verdict.reply.text, "given up by an administrator");
}

#[tokio::test]
async fn the_number_of_a_gone_message_is_of_no_use_to_who_asks_why_it_waits() {
    let desk = Desk::new(&format!("{ALONE}{REFUSED}")).await;
    let id = desk.test_mail(&[DELIVERED]).await;
    desk.ended(id, 1).await;
    assert_eq!(desk.wait(id).await, None);
    let many = submission(
        "ann@a.example",
        &["a@b.example", "b@b.example", "c@b.example"],
    );
    let id = desk.staging.hand_in(many).await;
    let (ask, told) = oneshot::channel();
    let key = |recipient| RecipientKey { id, recipient };
    desk.staging
        .node
        .tell(Event::Waits(vec![key(2), key(7), key(0)], ask));
    let waits = told.await.unwrap();
    assert!(waits[0].is_some() && waits[1].is_none() && waits[2].is_some());
}
