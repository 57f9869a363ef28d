//! What a store must do with series and records.

use std::collections::BTreeMap;
use std::sync::Arc;

use mail::{Outcome, Timestamp, Verdict};

use super::NOW;
use crate::series::{AGES, Cell, DELAYS, Dimension, Naming, Point, REST, SeriesWish, Step};
use crate::{Book, Event, Happened, Note, Op, Record, Store};

struct Names;

impl Naming for Names {
    fn site(&self, host: &str) -> String {
        host.to_uppercase()
    }

    fn refusal(&self, verdict: &Verdict) -> Option<&'static str> {
        (verdict.outcome != Outcome::Delivered).then_some("refused")
    }
}

/// Comes before anything is committed.
pub(super) fn name(store: &dyn Store) {
    store.name_series(Arc::new(Names));
}

fn points(store: &dyn Store, step: Step, dimension: Dimension, key: Option<&str>) -> Vec<Point> {
    let mut found = Vec::new();
    let wish = SeriesWish {
        step,
        dimension,
        key: key.map(str::to_owned),
        since: Timestamp::ZERO,
        until: Timestamp::MAX,
    };
    let each = &mut |point| found.push(point);
    store.series(&wish, each).expect("the history answers");
    let order = |p: &Point| (p.slot.at, p.slot.key.clone());
    assert!(found.is_sorted_by_key(order), "by time and key");
    found
}

fn sum(points: &[Point]) -> Cell {
    let mut sum = Cell::default();
    points.iter().for_each(|point| sum.add(&point.cell));
    sum
}

/// What the events say that series must have counted: totals, and accepted by domain.
fn expected(events: &[Event]) -> (Cell, BTreeMap<String, u64>) {
    let mut cell = Cell::default();
    let mut domains = BTreeMap::new();
    for event in events {
        let Some(about) = &event.about else {
            continue;
        };
        match &event.what {
            Happened::Accepted => {
                cell.accepted += 1;
                let domain = about.recipient.split('@').next_back().unwrap_or_default();
                *domains.entry(domain.to_owned()).or_default() += 1;
            }
            Happened::Deferred { .. } => cell.deferred += 1,
            Happened::Ended { verdict, .. } => match verdict.outcome {
                Outcome::Delivered => cell.delivered += 1,
                Outcome::Failed => cell.failed += 1,
                Outcome::Expired => cell.expired += 1,
                Outcome::Deferred => {}
            },
            Happened::Later { word, .. } if word == "bounced" => cell.bounced += 1,
            Happened::Later { word, .. } if word == "complained" => cell.complained += 1,
            Happened::Later { .. } | Happened::Entry { .. } => {}
        }
    }
    (cell, domains)
}

fn plain(cell: &Cell) -> [u64; 7] {
    [
        cell.accepted,
        cell.deferred,
        cell.delivered,
        cell.failed,
        cell.expired,
        cell.bounced,
        cell.complained,
    ]
}

/// Delivers one more, 100 seconds after it was accepted.
fn check_delivered(store: &dyn Store) {
    let id = store.next_id(NOW);
    let message = super::message(id.as_u64(), &["g@seven.example"], b"delivered");
    let accept = Op::Accept {
        message,
        states: vec![mail::RecipientState::default()],
        token: None,
    };
    let done = Op::Done {
        key: mail::RecipientKey { id, recipient: 0 },
        verdict: super::verdict(Outcome::Delivered, "ok"),
        attempts: 2,
        transcript: None,
    };
    let both = store.commit_wait(vec![accept, done]);
    both.expect("the store takes it");
    store.catch_up().expect("the history is written");
    for step in Step::ALL {
        let total = sum(&points(store, step, Dimension::Total, None));
        assert_eq!((total.delivered, total.octets), (1, 9));
        let classes = total.delays.iter().position(|n| *n == 1);
        let expected = DELAYS.iter().position(|most| *most == 300);
        assert_eq!(classes, expected, "100 seconds: {:?}", total.delays);
        assert_eq!(total.attempts, [0, 1, 0, 0, 0], "two attempts");
        assert_eq!(total.tls, [1, 0, 0, 0, 0], "without TLS");
    }
}

/// Comes when events were kept from the first commit on, and nothing was forgotten.
pub(super) fn check_counts(store: &dyn Store) {
    let kept = super::kept(store, 0);
    let events: Vec<Event> = kept.into_iter().map(|stored| stored.event).collect();
    let (expected, domains) = expected(&events);
    let [accepted, deferred, _, failed, _, bounced, complained] = plain(&expected);
    let all = [accepted, deferred, failed, bounced, complained];
    assert!(all.iter().all(|n| *n > 0), "the suite has some: {all:?}");
    for step in Step::ALL {
        let total = sum(&points(store, step, Dimension::Total, None));
        let told = plain(&total);
        assert_eq!(told, plain(&expected), "by {step:?} as the events say");
    }
    for (domain, accepted) in domains {
        let of_domain = points(store, Step::Hour, Dimension::Domain, Some(&domain));
        assert_eq!(sum(&of_domain).accepted, accepted, "at {domain}");
    }
    let by_submitter = points(store, Step::Hour, Dimension::Submitter, Some("anna"));
    assert_eq!(sum(&by_submitter).accepted, expected.accepted);
    let refusals = points(store, Step::Hour, Dimension::Refusal, None);
    let refused = sum(&refusals);
    assert_eq!(
        refused.deferred + refused.failed + refused.expired,
        expected.deferred + expected.failed + expected.expired
    );
    for refusal in &refusals {
        assert!(refusal.slot.key.starts_with("refused "), "{refusal:?}");
        assert!(refusal.cell.example.is_some(), "{refusal:?}");
    }
    assert_eq!(points(store, Step::Minute, Dimension::Domain, None), []);
}

pub(super) fn check(store: &dyn Store) {
    check_delivered(store);
    check_waiting(store);
    check_largest(store);
    check_records(store);
    store
        .fold_series(Timestamp::MAX)
        .expect("the history is written");
    let left = points(store, Step::Hour, Dimension::Total, None);
    assert_eq!(left, [], "what is old goes");
}

fn check_waiting(store: &dyn Store) {
    let waiting = store.count(&crate::Filter::all(), NOW);
    let waiting = waiting.expect("the index answers");
    assert!(waiting > 0);
    // NOW is an hour after what the suite accepts; later all of it is older.
    for at in [NOW, NOW + Step::Minute.length() / 2] {
        store.sample_waiting(at).expect("the history is written");
    }
    for step in Step::ALL {
        let found = points(store, step, Dimension::Waiting, Some("4h"));
        let most: Vec<_> = found.iter().map(|p| p.cell.waiting).collect();
        assert_eq!(most, [waiting], "the most at once within a {step:?}");
        let younger = points(store, step, Dimension::Waiting, Some("1h"));
        assert_eq!(sum(&younger).waiting, 0);
    }
    assert_eq!(AGES.map(|(word, _)| word).last(), Some(&"older"));
}

/// An hour with more domains than are kept.
fn check_largest(store: &dyn Store) {
    let all = || points(store, Step::Hour, Dimension::Domain, None);
    let before = sum(&all()).accepted;
    let many = Dimension::KEYS + 20;
    for n in 0..many {
        let copies = if n == 7 { 3 } else { 1 };
        let recipient = format!("a@d{n}.example");
        let recipients = vec![recipient.as_str(); copies];
        let id = store.next_id(NOW).as_u64();
        let message = super::message(id, &recipients, b"one of many");
        let accept = Op::Accept {
            states: vec![mail::RecipientState::default(); copies],
            message,
            token: None,
        };
        store.commit_wait(vec![accept]).expect("the store takes it");
    }
    store.catch_up().expect("the history is written");
    let accepted = before + many as u64 + 2;
    assert_eq!(sum(&all()).accepted, accepted, "all are counted");
    let later = NOW + Step::Hour.length();
    store.fold_series(later).expect("the history is written");
    let left = all();
    assert_eq!(sum(&left).accepted, accepted, "and stay so");
    let largest = left.iter().find(|p| p.slot.key == "d7.example");
    assert_eq!(largest.map(|p| p.cell.accepted), Some(3));
    let hour = largest.map(|p| p.slot.at);
    let of_hour = left.iter().filter(|p| Some(p.slot.at) == hour);
    assert_eq!(of_hour.count(), Dimension::KEYS + 1);
    assert!(left.iter().any(|p| p.slot.key == REST));
    store.fold_series(later).expect("the history is written");
    assert_eq!(all(), left, "a second time changes nothing");
}

fn check_records(store: &dyn Store) {
    let record = |book, secs, text: &str| {
        Op::Note(Note::Record(Record {
            book,
            at: Timestamp::from_secs(secs),
            text: text.to_owned(),
        }))
    };
    let commits = [
        vec![
            record(Book::Audit, 1, "held"),
            record(Book::Audit, 1, "held"),
        ],
        vec![record(Book::Settings, 2, "mode = relay")],
        vec![record(Book::Audit, 3, "released")],
    ];
    for ops in commits {
        store.commit_wait(ops).expect("the store takes it");
    }
    store.catch_up().expect("the history is written");
    let list = |book, before, limit| {
        let found = store.records(book, before, limit);
        let found = found.expect("the history answers");
        let texts = found.iter().map(|stored| stored.record.text.clone());
        let places = found.iter().map(|stored| stored.place);
        (texts.collect::<Vec<_>>(), places.collect::<Vec<_>>())
    };
    let (texts, places) = list(Book::Audit, u64::MAX, 10);
    assert_eq!(texts, ["released", "held", "held"], "the latest first");
    let before = places.first().copied().unwrap_or_default();
    assert_eq!(list(Book::Audit, before, 1).0, ["held"]);
    assert_eq!(list(Book::Settings, u64::MAX, 10).0, ["mode = relay"]);
    let forget = |limit| {
        let removed = store.forget_records(Book::Audit, Timestamp::from_secs(3), limit);
        removed.expect("the history is written")
    };
    assert_eq!([forget(1), forget(9), forget(9)], [1, 1, 0]);
    assert_eq!(list(Book::Audit, u64::MAX, 10).0, ["released"]);
    assert_eq!(list(Book::Settings, u64::MAX, 10).0, ["mode = relay"]);
}
