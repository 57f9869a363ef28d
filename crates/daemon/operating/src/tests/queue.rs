//! Lists, counts, single messages, and what is done with them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail::QueueId;
use ops::{
    Act, Count, Export, History, HistoryCount, HistorySelection, List, Order, Selection, Show,
    Summary, Trace, Verb, VerbErrorKind,
};
use staging::submission;

use super::office::{HOUR, OFF, Office};

fn list(selection: Selection, order: Order) -> List {
    List {
        selection,
        order,
        descending: false,
        limit: 100,
        offset: 0,
    }
}

fn filter(text: &str) -> Selection {
    Selection::Filter(text.to_owned())
}

fn act(verb: Verb, selection: Selection) -> Act {
    Act { verb, selection }
}

fn of(id: QueueId) -> Selection {
    Selection::Ids(vec![id.to_string()])
}

#[tokio::test]
async fn a_list_is_what_a_filter_matches_in_its_order_page_by_page() {
    let recipients = ["a@c.example", "b@b.example", "c@d.example", "d@b.example"];
    let (office, ids) = Office::with(OFF, &recipients).await;
    let all = office.asked(list(Selection::All, Order::Domain)).await;
    let domains: Vec<&str> = all.iter().map(|row| row.domain.as_str()).collect();
    assert_eq!(
        domains,
        ["b.example", "b.example", "c.example", "d.example"]
    );
    let reason = "outgoing mail is switched off (outgoing.enabled)";
    assert!(
        all.iter()
            .all(|row| row.reason == reason && row.state == "waiting")
    );
    let some = office
        .asked(list(filter("domain:b.example"), Order::Id))
        .await;
    let found: Vec<&str> = some.iter().map(|row| row.recipient.as_str()).collect();
    assert_eq!(found, ["b@b.example", "d@b.example"]);
    let page = List {
        descending: true,
        limit: 2,
        offset: 1,
        ..list(Selection::All, Order::Id)
    };
    let page = office.asked(page).await;
    let found: Vec<String> = page.into_iter().map(|row| row.id).collect();
    assert_eq!(found, [ids[2].to_string(), ids[1].to_string()]);
    let beyond = List {
        offset: 4,
        ..list(Selection::All, Order::Id)
    };
    assert!(office.asked(beyond).await.is_empty());
    for (selection, count) in [
        (Selection::All, 4),
        (filter("domain:b.example"), 2),
        (filter("domain:nobody.example"), 0),
        (of(ids[0]), 1),
        (Selection::Ids(vec![format!("{}/7", ids[0])]), 0),
        (Selection::Ids(Vec::new()), 0),
    ] {
        assert_eq!(
            office.asked(Count(selection.clone())).await,
            count,
            "{selection:?}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_meant_is_malformed_and_nothing_is_done() {
    let (office, ids) = Office::with(OFF, &["a@b.example"]).await;
    let several = Selection::Ids(vec![ids[0].to_string(), ids[0].to_string()]);
    let mut refused = vec![
        office.refused(list(filter("colour:red"), Order::Id)).await,
        office.refused(list(several, Order::Id)).await,
        office.refused(Count(filter("age>much"))).await,
        office.refused(Show("no id".to_owned())).await,
        office.refused(Trace(String::new())).await,
        office.refused(Export("../../etc/passwd".to_owned())).await,
    ];
    for selection in [
        Selection::Ids(vec![format!("{}/x", ids[0])]),
        Selection::Ids(vec!["-".to_owned()]),
        filter("domain:"),
    ] {
        refused.push(office.refused(act(Verb::Remove, selection)).await);
    }
    for server in ["", "  ", &"x".repeat(301)] {
        let verb = Verb::Reroute(Some(server.to_owned()));
        refused.push(office.refused(act(verb, Selection::All)).await);
    }
    for (kind, why) in refused {
        assert_eq!(kind, VerbErrorKind::Malformed, "{why}");
    }
    assert_eq!(office.asked(Count(Selection::All)).await, 1);
    let lines = office.staging.lines("action").await;
    assert!(lines.is_empty(), "{lines:?}");
}

#[tokio::test]
async fn a_message_that_is_nowhere_is_not_found() {
    let office = Office::new(OFF).await;
    let id = office
        .staging
        .node
        .next_id(office.staging.now())
        .to_string();
    for (kind, why) in [
        office.refused(Show(id.clone())).await,
        office.refused(Trace(id.clone())).await,
        office.refused(Export(id.clone())).await,
    ] {
        assert_eq!(kind, VerbErrorKind::NotFound);
        assert!(why.contains(&id), "{why}");
    }
    let acted = office
        .asked(act(Verb::Remove, Selection::Ids(vec![id])))
        .await;
    assert_eq!((acted.changed, acted.unchanged, acted.in_flight), (0, 0, 0));
}

#[tokio::test]
async fn a_message_is_shown_while_it_waits_and_after_its_end() {
    let office = Office::new(OFF).await;
    let mut mail = submission("ann@a.example", &["bob@b.example", "eve@c.example"]);
    mail.labels.tags = vec!["invoice".to_owned()];
    mail.labels
        .metadata
        .insert("order".to_owned(), "42".to_owned());
    let id = office.staging.hand_in(mail).await;
    let shown = office.asked(Show(id.to_string())).await;
    assert_eq!((shown.waiting.len(), shown.finished.len()), (2, 0));
    assert_eq!(
        (shown.subject.as_str(), shown.submitter.as_str()),
        ("test", "ann")
    );
    assert_eq!(shown.tags, ["invoice"]);
    let waiting = office.asked(Export(id.to_string())).await;
    let content = String::from_utf8(STANDARD.decode(waiting.0).unwrap()).unwrap();
    assert!(content.ends_with("\r\n\r\nHello.\r\n"), "{content}");
    assert_eq!(content.len() as u64, shown.size);
    let one = Selection::Ids(vec![format!("{id}/1")]);
    let acted = office.asked(act(Verb::Remove, one)).await;
    assert_eq!((acted.changed, acted.unchanged), (1, 0));
    let shown = office.asked(Show(id.to_string())).await;
    assert_eq!((shown.waiting.len(), shown.finished.len()), (1, 1));
    assert_eq!(shown.finished[0].recipient, "eve@c.example");
    office.asked(act(Verb::Remove, of(id))).await;
    let shown = office.asked(Show(id.to_string())).await;
    assert_eq!((shown.waiting.len(), shown.finished.len()), (0, 2));
    assert_eq!((shown.subject.as_str(), shown.tags.len()), ("test", 1));
    assert_eq!(shown.metadata["order"], "42");
    // Its content is gone with it.
    let (kind, _) = office.refused(Export(id.to_string())).await;
    assert_eq!(kind, VerbErrorKind::NotFound);
}

#[tokio::test]
async fn a_trace_has_every_attempt_once_in_the_order_of_time() {
    let office = Office::new(OFF).await;
    let mail = intake::Submission {
        is_test: true,
        ..submission(
            "ann@a.example",
            &["deferred@sendoff.test", "failed@sendoff.test"],
        )
    };
    let id = office.staging.hand_in(mail).await;
    let tried = || {
        let rows = office.staging.node.store.attempts(id).ok()?;
        office.staging.node.store.catch_up().ok()?;
        (rows.len() == 1 && office.history(id).len() == 1).then_some(())
    };
    staging::until(tried).await.expect("both are tried");
    // A hold writes the state anew, and is no attempt.
    office.asked(act(Verb::Hold, of(id))).await;
    office.asked(act(Verb::Release, of(id))).await;
    office.pass(HOUR).await;
    let ended = || (office.history(id).len() == 2).then_some(());
    staging::until(ended).await.expect("both ended");
    let trace = office.asked(Trace(id.to_string())).await;
    let mut seen: Vec<(&str, u32, &str)> = trace
        .attempts
        .iter()
        .map(|a| (a.recipient.as_str(), a.attempt, a.outcome.as_str()))
        .collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            ("deferred@sendoff.test", 1, "deferred"),
            ("deferred@sendoff.test", 2, "delivered"),
            ("failed@sendoff.test", 1, "failed"),
        ]
    );
    assert!(trace.attempts.is_sorted_by(|a, b| a.at <= b.at));
    assert!(
        trace
            .message
            .is_some_and(|m| m.test && m.waiting.is_empty())
    );
}

#[tokio::test]
async fn a_long_order_says_how_far_it_is_and_counts_everybody_once() {
    let office = Office::new(OFF).await;
    // More than are changed at once, in one message that is not cut, and others.
    let many: Vec<String> = (0..700).map(|n| format!("r{n}@b.example")).collect();
    let mut mail = submission(
        "ann@a.example",
        &many.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    mail.is_part = true;
    office.staging.hand_in(mail).await;
    for n in 0..20 {
        let to = format!("s{n}@c.example");
        office.staging.mail("ann@a.example", &[&to]).await;
    }
    let (acted, steps) = office.followed(act(Verb::Hold, Selection::All)).await;
    assert_eq!(
        (acted.changed, acted.unchanged, acted.in_flight),
        (720, 0, 0)
    );
    assert!(steps.is_sorted() && steps.len() >= 2, "{steps:?}");
    assert_eq!(steps.last(), Some(&(720, 720)));
    assert!(steps[0].0 >= 700, "a message is not cut: {steps:?}");
    let again = office
        .asked(act(Verb::Hold, filter("domain:c.example")))
        .await;
    assert_eq!((again.changed, again.unchanged), (0, 20));
    let line = office
        .staging
        .logged("action", &["verb=hold", "selection=all"])
        .await;
    assert!(
        line.contains("who=\"uid=0\"") || line.contains("who=uid=0"),
        "{line}"
    );
    assert!(line.contains("changed=720 unchanged=0"), "{line}");
}

#[tokio::test]
async fn another_server_must_be_one_that_can_be_named() {
    let (office, ids) = Office::with(OFF, &["a@b.example"]).await;
    for server in ["[::1", "host:99999", "a b", "host:0x10"] {
        let verb = Verb::Reroute(Some(server.to_owned()));
        let (kind, why) = office.refused(act(verb, Selection::All)).await;
        assert_eq!(kind, VerbErrorKind::Conflict, "{server}: {why}");
    }
    let verb = Verb::Reroute(Some("mx.other.example".to_owned()));
    let acted = office.asked(act(verb, of(ids[0]))).await;
    assert_eq!(acted.changed, 1);
    let row = office
        .asked(list(filter("domain:b.example"), Order::Id))
        .await;
    assert_eq!(row.len(), 1);
}

#[tokio::test]
async fn the_history_is_selected_counted_and_paged() {
    let office = Office::new(OFF).await;
    let first = office
        .tested(&["delivered@sendoff.test", "failed@sendoff.test"])
        .await;
    office.staging.advance(HOUR);
    let since = office.staging.now().as_millis();
    office.tested(&["bounced@sendoff.test"]).await;
    let ask = |selection| History {
        selection,
        offset: 0,
        limit: 10,
    };
    let all = office.asked(ask(HistorySelection::default())).await;
    assert_eq!(all.len(), 3);
    assert_eq!(
        all[0].end.recipient, "bounced@sendoff.test",
        "the latest first"
    );
    assert_eq!(all[0].later[0].event, "bounced");
    assert!(all.iter().all(|row| row.test));
    let outcome = |word: &str| HistorySelection {
        outcome: Some(word.to_owned()),
        ..HistorySelection::default()
    };
    let failed = office.asked(ask(outcome("failed"))).await;
    assert_eq!((failed.len(), failed[0].id.clone()), (1, first.to_string()));
    let count = |selection, most| HistoryCount { selection, most };
    assert_eq!(office.asked(count(outcome("delivered"), 10)).await, 2);
    assert_eq!(office.asked(count(outcome("delivered"), 1)).await, 1);
    let late = HistorySelection {
        since: Some(since),
        ..HistorySelection::default()
    };
    assert_eq!(office.asked(count(late, 10)).await, 1);
    let (kind, _) = office.refused(ask(outcome("perhaps"))).await;
    assert_eq!(kind, VerbErrorKind::Malformed);
    let untagged = HistorySelection {
        metadata: vec!["no equals sign".to_owned()],
        ..HistorySelection::default()
    };
    let (kind, _) = office.refused(ask(untagged)).await;
    assert_eq!(kind, VerbErrorKind::Malformed);
}

#[tokio::test]
async fn a_summary_has_all_that_waits_and_the_longest_lists_cut() {
    let recipients = ["a@b.example", "b@b.example", "c@c.example", "d@d.example"];
    let (office, ids) = Office::with(OFF, &recipients).await;
    office.asked(act(Verb::Hold, of(ids[3]))).await;
    office.pass(2 * HOUR).await;
    let summary = office.asked(Summary(2)).await;
    assert_eq!(
        (summary.recipients, summary.messages, summary.held),
        (4, 4, 1)
    );
    assert_eq!((summary.domains.len(), summary.domains_total), (2, 3));
    assert_eq!(summary.domains[0].domain, "b.example");
    assert_eq!(summary.domains[0].recipients, 2);
    assert_eq!(summary.submitters[0].submitter, "ann");
    assert!(
        summary
            .oldest
            .is_some_and(|at| at.starts_with("2026-12-01T08:00:00"))
    );
    let empty = office.asked(Summary(0)).await;
    assert!(empty.domains.is_empty() && empty.domains_total == 3);
}

#[tokio::test]
async fn nobody_waits_for_an_owner_that_has_ended() {
    let (mut office, _) = Office::with(OFF, &["a@b.example"]).await;
    office.close().await;
    for (kind, why) in [
        office.refused(list(Selection::All, Order::Id)).await,
        office.refused(act(Verb::Remove, Selection::All)).await,
        office.refused(ops::Sites).await,
        office.refused(ops::Stats).await,
        office
            .refused(ops::Pause {
                domain: "b.example".to_owned(),
                on: true,
            })
            .await,
    ] {
        assert_eq!(kind, VerbErrorKind::Unavailable, "{why}");
        assert_eq!(why, "the server is shutting down");
    }
    // What needs the store alone is answered.
    assert_eq!(office.asked(Count(Selection::All)).await, 1);
}
