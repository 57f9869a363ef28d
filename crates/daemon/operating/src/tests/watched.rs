//! What is told to those who watch: figures, health, the overview, acts, backups.

use mail::Timestamp;
use ops::{
    Act, Acts, Backup, Health, Listening, Overview, Pause, Selection, Series, SeriesSelection,
    Sources, Stats, Verb, VerbErrorKind,
};
use sim::Fault;
use staging::{ALONE, until};

use super::office::{HOUR, OFF, Office};
use crate::process;

#[tokio::test]
async fn a_server_is_healthy_until_its_queue_is_not() {
    let office = Office::new(OFF).await;
    assert!(office.asked(Health).await.0.is_empty());
    // A failed sync says nothing of what is on the disk. The queue's own housekeeping may meet the fault instead.
    let mut failed = None;
    for tries in 0..100 {
        office.staging.disk.inject(1, Fault::Error);
        let pause = Pause {
            domain: "b.example".to_owned(),
            on: tries % 2 == 0,
        };
        failed = office.ask(pause).await.err();
        if failed.is_some() {
            break;
        }
    }
    assert_eq!(failed.unwrap().kind(), VerbErrorKind::Failed);
    let (kind, why) = office.refused(Health).await;
    assert_eq!(kind, VerbErrorKind::Unavailable);
    assert!(why.starts_with("the queue's disk has failed: "), "{why}");
}

#[tokio::test]
async fn a_server_that_ends_is_not_ready_and_a_silent_owner_is_trouble() {
    let mut office = Office::new(OFF).await;
    let gauges = office.operating.gauges().await;
    assert!(gauges.is_some());
    assert_eq!(office.operating.trouble(gauges), None);
    let trouble = office.operating.trouble(None).unwrap();
    assert_eq!(trouble, "the scheduler does not answer within 1 s");
    office.close().await;
    assert_eq!(office.operating.gauges().await, None);
    office.staging.node.stopping.cancel();
    let (kind, why) = office.refused(Health).await;
    assert_eq!(
        (kind, why.as_str()),
        (VerbErrorKind::Unavailable, "the server is shutting down")
    );
}

#[tokio::test]
async fn figures_are_what_happened() {
    let office = Office::new(OFF).await;
    let tested = office
        .tested(&["delivered@sendoff.test", "failed@sendoff.test"])
        .await;
    office
        .staging
        .mail("ann@a.example", &["bob@b.example"])
        .await;
    let told = || {
        let all = office.staging.node.figures.all();
        let both = [("delivered", 1), ("failed", 1)];
        both.iter().all(|one| all.contains(one)).then_some(())
    };
    until(told).await.expect("a count");
    office.turn().await;
    let stats = office.asked(Stats).await;
    let of = |name: &str| stats[name].as_u64().unwrap();
    assert_eq!((of("accepted"), of("delivered"), of("failed")), (2, 1, 1));
    assert_eq!((of("waiting"), of("messages")), (1, 1));
    assert_eq!(
        (of("future"), of("own_faults"), of("log_lines_lost")),
        (0, 0, 0)
    );
    assert!(of("spool_commits") >= 2 && of("spool_syncs") >= 1);
    assert!(!stats.contains_key("reload_refused") && !stats.contains_key("trouble"));
    assert_eq!(office.history(tested).len(), 2);
    let figures = office.operating.figures(office.operating.gauges().await, 7);
    let value = |name: &str| {
        let found = figures.values.iter().find(|(n, _)| *n == name);
        found.unwrap_or_else(|| panic!("no {name}")).1.clone()
    };
    assert_eq!(value("messages_accepted"), [2]);
    assert_eq!(value("outcomes"), [1, 0, 1, 0]);
    assert_eq!(value("oldest_due_seconds"), [7]);
    assert_eq!(value("ready"), [1]);
    assert_eq!(value("scheduled_recipients"), [1]);
    let without = office.operating.figures(None, 0);
    let ready = without.values.iter().find(|(n, _)| *n == "ready").unwrap();
    assert_eq!(ready.1, [0]);
    assert!(
        !without
            .values
            .iter()
            .any(|(n, _)| *n == "scheduled_recipients")
    );
}

#[tokio::test]
async fn the_most_overdue_mail_is_known_by_how_long_it_has_been_due() {
    let (office, ids) = Office::with(OFF, &["bob@b.example"]).await;
    office.staging.node.store.catch_up().unwrap();
    assert_eq!(process::oldest_due(&office.operating).await, 0);
    office.staging.advance(HOUR);
    assert_eq!(process::oldest_due(&office.operating).await, 3600);
    let hold = Act {
        verb: Verb::Hold,
        selection: Selection::Ids(vec![ids[0].to_string()]),
    };
    office.asked(hold).await;
    office.staging.node.store.catch_up().unwrap();
    assert_eq!(process::oldest_due(&office.operating).await, 0);
}

#[test]
fn the_process_knows_when_it_began() {
    let now = Timestamp::parse_rfc3339("2026-12-01T08:00:00Z").unwrap();
    let figures = process::figures(now);
    let of = |name: &str| figures.iter().find(|(n, _)| *n == name).unwrap().1[0];
    let age = now.as_secs() - of("process_start_time_seconds");
    assert!(age < 3600, "{age}");
    assert!(of("process_resident_memory_bytes") > 1 << 20);
    assert!(of("process_open_fds") <= of("process_max_fds"));
}

#[tokio::test]
async fn the_overview_says_whether_mail_leaves_and_what_is_in_the_way() {
    let mut office = Office::new(OFF).await;
    office
        .staging
        .mail("ann@a.example", &["bob@b.example"])
        .await;
    let view = office.asked(Overview).await;
    assert_eq!((view.state.as_str(), view.waiting), ("off", 1));
    assert_eq!(
        view.sentence,
        "No mail left in the last hour, 1 waits. Outgoing mail is off."
    );
    assert!(view.troubles.is_empty(), "{:?}", view.troubles);
    assert_eq!(view.hostname, "sendoff.lab");
    let pause = Pause {
        domain: "b.example".to_owned(),
        on: true,
    };
    office.asked(pause).await;
    office.staging.reload(ALONE).await;
    office.staging.node.tell(node::event::Event::Reloaded);
    let view = office.asked(Overview).await;
    assert_eq!((view.state.as_str(), view.why), ("sending", None));
    let paused = &view.troubles[0];
    assert_eq!(
        (paused.about.as_str(), paused.name.as_deref()),
        ("paused", Some("b.example"))
    );
}

#[tokio::test]
async fn what_administrators_do_is_recorded_with_its_answer_the_latest_first() {
    let office = Office::new(OFF).await;
    let pause = |domain: &str, on| Pause {
        domain: domain.to_owned(),
        on,
    };
    office.asked(pause("b.example", true)).await;
    office.asked(pause("b.example", false)).await;
    office
        .refused(ops::HoldRule {
            name: "no".to_owned(),
            filter: None,
        })
        .await;
    // Who only looks is not recorded.
    office.asked(Stats).await;
    let all = office
        .asked(Acts {
            before: None,
            limit: 10,
        })
        .await;
    let verbs: Vec<(&str, bool)> = all
        .acts
        .iter()
        .map(|a| (a.verb.as_str(), a.refused))
        .collect();
    assert_eq!(verbs.len(), 3, "{verbs:?}");
    assert_eq!((verbs[1], verbs[2]), (("resume", false), ("pause", false)));
    assert!(verbs[0].1 && all.acts[0].result.contains("there is no rule no"));
    assert!(all.acts.iter().all(|act| act.who == "uid=0"));
    assert_eq!(all.next, None);
    let page = office
        .asked(Acts {
            before: None,
            limit: 2,
        })
        .await;
    assert_eq!((page.acts.len(), page.next), (2, Some(page.acts[1].place)));
    let rest = office
        .asked(Acts {
            before: page.next,
            limit: 2,
        })
        .await;
    assert_eq!(rest.acts, all.acts[2..]);
}

#[tokio::test]
async fn a_series_must_be_one_that_is_counted() {
    let office = Office::new(OFF).await;
    let ask = |step: &str, by: &str| {
        Series(SeriesSelection {
            step: step.to_owned(),
            by: by.to_owned(),
            key: None,
            since: 0,
            until: None,
            summed: false,
        })
    };
    for (step, by) in [
        ("second", "total"),
        ("hour", "colour"),
        ("minute", "domain"),
    ] {
        let (kind, why) = office.refused(ask(step, by)).await;
        assert_eq!(kind, VerbErrorKind::Malformed, "{step} {by}: {why}");
    }
    let view = office.asked(ask("hour", "domain")).await;
    assert!(!view.cut);
}

#[tokio::test]
async fn a_backup_goes_to_a_whole_path_that_is_empty() {
    let office = Office::new(OFF).await;
    let (kind, _) = office.refused(Backup("there/it".to_owned())).await;
    assert_eq!(kind, VerbErrorKind::Malformed);
    let there = office.staging.scratch().join("full");
    std::fs::create_dir(&there).unwrap();
    std::fs::write(there.join("file"), "of somebody").unwrap();
    let (kind, why) = office.refused(Backup(there.display().to_string())).await;
    assert_eq!(kind, VerbErrorKind::Failed, "{why}");
    assert_eq!(std::fs::read_dir(&there).unwrap().count(), 1);
    office
        .staging
        .logged("action", &["verb=backup", "why="])
        .await;
}

#[tokio::test]
async fn a_server_without_sources_and_listeners_has_empty_lists() {
    let office = Office::new(OFF).await;
    assert!(office.asked(Sources).await.is_empty());
    assert!(office.asked(Listening).await.is_empty());
    assert!(office.asked(ops::Webhooks).await.is_empty());
    let (kind, _) = office.refused(ops::TestWebhook("crm".to_owned())).await;
    assert_eq!(kind, VerbErrorKind::NotFound);
    let (kind, _) = office
        .refused(ops::Webhook {
            name: "crm".to_owned(),
            verb: ops::WebhookVerb::Pause,
        })
        .await;
    assert_eq!(kind, VerbErrorKind::NotFound);
}
