//! Orders beyond single mails: pauses, limits, rules that hold, the detailed log, reloads, the suppression list.

use ops::{
    Acts, Count, Detailed, HoldRule, HoldRules, List, NewSuppression, Order, Pause, Reload,
    Selection, Site, Sites, Slow, Suppress, SuppressionSelection, Suppressions, Unsuppress,
    VerbErrorKind,
};
use sim::Fault;
use staging::submission;

use super::office::{HOUR, OFF, Office};

fn slow(domain: &str, rate: Option<&str>, connections: Option<u32>) -> Slow {
    Slow {
        domain: domain.to_owned(),
        rate: rate.map(str::to_owned),
        connections,
    }
}

fn pause(domain: &str, on: bool) -> Pause {
    Pause {
        domain: domain.to_owned(),
        on,
    }
}

fn hold(name: &str, filter: Option<&str>) -> HoldRule {
    HoldRule {
        name: name.to_owned(),
        filter: filter.map(str::to_owned),
    }
}

#[tokio::test]
async fn a_pause_is_kept_shown_and_taken_back() {
    let (office, _) = Office::with(OFF, &["bob@b.example"]).await;
    let done = office.asked(pause("B.Example", true)).await;
    assert_eq!(done.0, "b.example is paused: its mail waits.");
    let store = &office.staging.node.store;
    assert_eq!(store.control("pause:b.example").as_deref(), Some("uid=0"));
    let view = office.asked(Site("b.example".to_owned())).await;
    assert!(view.paused && view.slowed.is_none());
    assert_eq!((view.waiting, view.domain.as_str()), (1, "b.example"));
    assert_eq!(office.asked(Sites).await.paused, ["b.example"]);
    let done = office.asked(pause("b.example", false)).await;
    assert_eq!(done.0, "b.example is no longer paused.");
    assert_eq!(store.control("pause:b.example"), None);
    assert!(office.asked(Sites).await.paused.is_empty());
    // Whoever resumes what was not paused is not told off.
    office.asked(pause("other.example", false)).await;
    let (kind, _) = office.refused(pause("not a domain", true)).await;
    assert_eq!(kind, VerbErrorKind::Malformed);
    let lines = office.staging.lines("action").await;
    assert_eq!(lines.len(), 3, "{lines:?}");
}

#[tokio::test]
async fn limits_are_read_kept_and_taken_off() {
    let office = Office::new(OFF).await;
    let done = office
        .asked(slow("b.example", Some("10/1m"), Some(2)))
        .await;
    assert_eq!(done.0, "b.example is slowed: rate=10/60s connections=2.");
    let store = &office.staging.node.store;
    let kept = store.control("slow:b.example");
    assert_eq!(kept.as_deref(), Some("rate=10/60s connections=2"));
    let view = office.asked(Site("b.example".to_owned())).await;
    assert_eq!(view.slowed.as_deref(), Some("rate=10/60s connections=2"));
    let done = office.asked(slow("b.example", None, None)).await;
    assert_eq!(done.0, "b.example is no longer slowed.");
    assert_eq!(store.control("slow:b.example"), None);
    for (rate, connections) in [
        (Some("ten a minute"), None),
        (Some("0/1m"), None),
        (None, Some(0)),
        (None, Some(100_001)),
    ] {
        let (kind, why) = office.refused(slow("b.example", rate, connections)).await;
        assert_eq!(
            kind,
            VerbErrorKind::Malformed,
            "{rate:?} {connections:?}: {why}"
        );
    }
    assert_eq!(store.control("slow:b.example"), None);
}

#[tokio::test]
async fn in_relay_mode_a_domain_cannot_be_slowed_and_can_be_paused() {
    let text = "hostname = \"sendoff.lab\"\n[outgoing]\nmode = \"relay\"\n\
                [outgoing.relay]\nhost = \"127.0.0.1\"\nport = 1\ntls = \"none\"\n";
    let office = Office::new(text).await;
    let (kind, why) = office.refused(slow("b.example", Some("1/1h"), None)).await;
    assert_eq!(kind, VerbErrorKind::Conflict);
    assert!(why.contains("Relay Mode"), "{why}");
    let store = &office.staging.node.store;
    assert_eq!(store.control("slow:b.example"), None);
    office.asked(pause("b.example", true)).await;
}

#[tokio::test]
async fn an_order_that_the_disk_did_not_take_is_not_in_force() {
    let office = Office::new(OFF).await;
    let rule = || hold("friday", Some("domain:b.example"));
    let mut why = None;
    // The queue's own housekeeping may meet the fault instead.
    for _ in 0..100 {
        office.staging.disk.inject(0, Fault::Full);
        why = office.ask(rule()).await.err();
        office.staging.disk.clear_fault();
        if why.is_some() {
            break;
        }
        office.asked(hold("friday", None)).await;
    }
    let why = why.unwrap();
    assert_eq!(why.kind(), VerbErrorKind::Unavailable, "{why}");
    assert!(office.asked(HoldRules).await.is_empty());
    let id = office
        .staging
        .mail("ann@a.example", &["bob@b.example"])
        .await;
    let rows = office.asked(List {
        selection: Selection::Ids(vec![id.to_string()]),
        order: Order::Id,
        descending: false,
        limit: 1,
        offset: 0,
    });
    assert_eq!(rows.await[0].state, "waiting");
    // It passes, and the same order is taken.
    office.asked(hold("friday", Some("domain:b.example"))).await;
    assert_eq!(office.asked(HoldRules).await.len(), 1);
}

#[tokio::test]
async fn a_rule_holds_new_mail_until_it_is_removed_and_can_be_said_anew() {
    let office = Office::new(OFF).await;
    let done = office.asked(hold("friday", Some("domain:b.example"))).await;
    assert_eq!(
        done.0,
        "New mail that matches domain:b.example is held (rule friday)."
    );
    office
        .staging
        .mail("ann@a.example", &["bob@b.example"])
        .await;
    office
        .staging
        .mail("ann@a.example", &["bob@c.example"])
        .await;
    let held = || Count(Selection::Filter("state:held".to_owned()));
    assert_eq!(office.asked(held()).await, 1);
    office.asked(hold("friday", Some("domain:c.example"))).await;
    let rules = office.asked(HoldRules).await;
    assert_eq!(
        (rules.len(), rules[0].filter.as_str()),
        (1, "domain:c.example")
    );
    office
        .staging
        .mail("ann@a.example", &["bob@c.example"])
        .await;
    assert_eq!(office.asked(held()).await, 2);
    office.asked(hold("friday", None)).await;
    let (kind, why) = office.refused(hold("friday", None)).await;
    assert_eq!(
        (kind, why.as_str()),
        (VerbErrorKind::NotFound, "there is no rule friday")
    );
    assert_eq!(office.asked(held()).await, 2, "what it held stays");
    let (kind, _) = office.refused(hold("bad", Some("nonsense:"))).await;
    assert_eq!(kind, VerbErrorKind::Malformed);
    assert!(office.asked(HoldRules).await.is_empty());
}

#[tokio::test]
async fn the_detailed_log_is_on_for_a_name_and_a_time() {
    let office = Office::new(OFF).await;
    let ask = |only: Option<&str>, on, seconds| Detailed {
        only: only.map(str::to_owned),
        on,
        seconds,
    };
    let done = office.asked(ask(Some("b.example"), true, Some(3600))).await;
    assert_eq!(
        done.0,
        "The detailed log for b.example is on until 2026-12-01T09:00:00.000Z."
    );
    let journal = &office.staging.node.journal;
    assert!(journal.is_detailed(&["b.example"]) && !journal.is_detailed(&["c.example"]));
    office.staging.advance(HOUR);
    journal.expire_detail(office.staging.now());
    assert!(!journal.has_detail());
    let done = office.asked(ask(None, true, None)).await;
    assert_eq!(done.0, "The detailed log for everything is on.");
    assert!(journal.is_detailed(&["c.example"]));
    let done = office.asked(ask(None, false, None)).await;
    assert_eq!(done.0, "The detailed log for everything is off.");
    assert!(!journal.has_detail());
}

#[tokio::test]
async fn a_reload_is_answered_by_what_came_of_it() {
    let mut office = Office::new(OFF).await;
    let asked = office.reloads(Ok("The configuration is in force.".to_owned()));
    let done = office.asked(Reload).await;
    assert_eq!(done.0, "The configuration is in force.");
    assert_eq!(asked.await.unwrap(), "requested by uid=0");
    office.staging.logged("action", &["verb=reload"]).await;
}

#[tokio::test]
async fn a_refused_reload_is_an_error_and_a_warning_until_one_is_taken() {
    let mut office = Office::new(OFF).await;
    office.reloads(Err("line 3: no such key".to_owned()));
    let (kind, why) = office.refused(Reload).await;
    assert_eq!(kind, VerbErrorKind::NotReloaded);
    assert_eq!(why, "line 3: no such key");
    let warnings = office.operating.warnings();
    assert!(warnings[0].contains("line 3: no such key"), "{warnings:?}");
    let stats = office.asked(ops::Stats).await;
    assert!(
        stats["reload_refused"]
            .as_str()
            .is_some_and(|why| why.contains("line 3"))
    );
    let failed = ("config_reload_failed", vec![1]);
    assert!(office.operating.of_settings().contains(&failed));
    let reloads = &office.staging.node.reloads;
    reloads.came(Ok(()), office.staging.now() + HOUR);
    assert!(office.operating.warnings().is_empty());
    let read = office.operating.of_settings();
    let at = (office.staging.now() + HOUR).as_secs();
    assert!(
        read.contains(&("config_read_timestamp_seconds", vec![at])),
        "{read:?}"
    );
}

fn entry(recipient: &str, scope: Option<&str>) -> NewSuppression {
    NewSuppression {
        recipient: recipient.to_owned(),
        scope: scope.map(str::to_owned),
        reason: Some("asked by phone".to_owned()),
        ..NewSuppression::default()
    }
}

#[tokio::test]
async fn a_suppressed_recipient_gets_no_mail_of_its_scope() {
    let office = Office::new(OFF).await;
    office
        .asked(Suppress(vec![
            entry("bob@b.example", None),
            entry("eve@b.example", Some("@a.example")),
        ]))
        .await;
    let all = |selection| Suppressions {
        selection,
        limit: 10,
        offset: 0,
    };
    let view = office.asked(all(SuppressionSelection::default())).await;
    assert_eq!((view.entries.len(), view.matching), (2, 2));
    assert!(
        view.entries
            .iter()
            .all(|e| e.in_force && e.reason == "asked by phone")
    );
    let node = &office.staging.node;
    let taken = async |from: &str, to: &str| match node::hand_in::hand_in(
        node,
        submission(from, &[to]),
        None,
    )
    .await
    {
        Ok(handed) => handed.recipients[0].is_ok(),
        Err(_) => false,
    };
    assert!(!taken("ann@a.example", "bob@b.example").await);
    assert!(!taken("ann@a.example", "eve@b.example").await);
    assert!(taken("ann@other.example", "eve@b.example").await);
    assert!(taken("ann@a.example", "other@b.example").await);
    let remove = |recipient: &str, scope: Option<&str>| Unsuppress {
        recipient: recipient.to_owned(),
        scope: scope.map(str::to_owned),
        reason: Some("it is back".to_owned()),
    };
    office.asked(remove("bob@b.example", None)).await;
    assert!(taken("ann@a.example", "bob@b.example").await);
    let acts = Acts {
        before: None,
        limit: 1,
    };
    let acts = office.asked(acts).await.acts;
    assert_eq!(acts[0].about, "bob@b.example: it is back");
    let (kind, _) = office.refused(remove("bob@b.example", None)).await;
    assert_eq!(kind, VerbErrorKind::NotFound);
    let (kind, _) = office
        .refused(remove("eve@b.example", Some("@other.example")))
        .await;
    assert_eq!(kind, VerbErrorKind::NotFound);
    let of_eve = SuppressionSelection {
        recipient: Some("eve@b.example".to_owned()),
        ..SuppressionSelection::default()
    };
    assert_eq!(office.asked(all(of_eve)).await.matching, 1);
}

#[tokio::test]
async fn of_a_list_of_entries_with_a_wrong_one_none_is_taken() {
    let office = Office::new(OFF).await;
    for wrong in [
        entry("no address", None),
        entry("bob@b.example", Some("@")),
        NewSuppression {
            expires: Some("soon".to_owned()),
            ..entry("bob@b.example", None)
        },
        NewSuppression {
            cause: Some("whim".to_owned()),
            ..entry("bob@b.example", None)
        },
    ] {
        let (kind, why) = office
            .refused(Suppress(vec![entry("eve@b.example", None), wrong]))
            .await;
        assert_eq!(kind, VerbErrorKind::Malformed, "{why}");
    }
    let all = Suppressions {
        selection: SuppressionSelection::default(),
        limit: 10,
        offset: 0,
    };
    assert_eq!(office.asked(all).await.matching, 0);
}
