//! Orders that are carried out later: held at once, undone or done, over a restart too.

use std::time::Duration;

use ops::{Act, ActLater, Count, Pending, Selection, Undo, Verb, VerbErrorKind};

use super::office::{OFF, Office};
use crate::later;

const THREE: [&str; 3] = ["a@one.example", "b@one.example", "c@two.example"];

fn remove(filter: &str, expect: Option<u64>) -> ActLater {
    ActLater {
        verb: Verb::Remove,
        selection: Selection::Filter(filter.to_owned()),
        expect,
        after: 60,
    }
}

async fn count(office: &Office, filter: &str) -> u64 {
    office
        .asked(Count(Selection::Filter(filter.to_owned())))
        .await
}

#[tokio::test]
async fn it_is_held_at_once_and_done_in_its_time() {
    let (office, _) = Office::with(OFF, &THREE).await;
    let order = office.asked(remove("domain:one.example", Some(2))).await;
    assert_eq!((order.recipients, order.verb.as_str()), (2, "remove"));
    assert_eq!(count(&office, "state:held").await, 2);
    assert_eq!(office.asked(Pending).await, [order]);
    office.pass(Duration::from_secs(59)).await;
    let wait = later::step(&office.operating).await;
    assert!(wait <= Duration::from_secs(1), "{wait:?}");
    assert_eq!(count(&office, "domain:one.example").await, 2, "not yet");
    office.pass(Duration::from_secs(2)).await;
    later::step(&office.operating).await;
    assert_eq!(count(&office, "domain:one.example").await, 0);
    assert_eq!(count(&office, "domain:two.example").await, 1);
    assert_eq!(office.asked(Pending).await, []);
}

#[tokio::test]
async fn undone_it_lets_go_what_it_has_held_and_nothing_else() {
    let (office, ids) = Office::with(OFF, &THREE).await;
    let hold = Act {
        verb: Verb::Hold,
        selection: Selection::Ids(vec![ids[0].to_string()]),
    };
    office.asked(hold).await;
    let order = office.asked(remove("domain:one.example", None)).await;
    assert_eq!(count(&office, "state:held").await, 2);
    let done = office.asked(Undo(order.id.clone())).await;
    assert!(done.0.contains("1 recipients"), "{}", done.0);
    assert_eq!(count(&office, "state:held").await, 1, "an administrator's");
    let (kind, _) = office.refused(Undo(order.id)).await;
    assert_eq!(kind, VerbErrorKind::NotFound);
}

#[tokio::test]
async fn many_more_than_were_expected_are_not_meant() {
    let (office, _) = Office::with(OFF, &THREE).await;
    let (kind, why) = office.refused(remove("domain:one.example", Some(1))).await;
    assert_eq!(kind, VerbErrorKind::Conflict);
    assert!(why.contains("1 recipients were expected, and 2"), "{why}");
    assert_eq!(count(&office, "state:held").await, 0);
    for wrong in [
        ActLater {
            verb: Verb::Hold,
            ..remove("age>0s", None)
        },
        ActLater {
            after: 0,
            ..remove("age>0s", None)
        },
        remove("nonsense(", None),
    ] {
        assert_eq!(office.refused(wrong).await.0, VerbErrorKind::Malformed);
    }
}

#[tokio::test]
async fn an_order_is_known_after_a_restart() {
    let (office, _) = Office::with(OFF, &THREE).await;
    let order = office.asked(remove("domain:one.example", None)).await;
    let name = format!("{}{}", later::PREFIX, order.id);
    let kept = office.staging.node.store.control(&name);
    // Another life of the same server finds it as it was.
    drop(office.operating.later.next(u64::MAX));
    assert_eq!(office.asked(Pending).await, []);
    later::restore(&office.operating, &name, kept.as_deref());
    later::restore(&office.operating, "pause:one.example", Some("console=anna"));
    later::restore(&office.operating, &name, Some("not an order"));
    assert_eq!(office.asked(Pending).await, [order]);
    office.pass(Duration::from_secs(61)).await;
    later::step(&office.operating).await;
    assert_eq!(count(&office, "domain:one.example").await, 0);
    assert_eq!(office.staging.node.store.control(&name), None);
}
