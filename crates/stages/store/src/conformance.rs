//! What every store of the queue must do, whatever keeps it.

mod series;

use bytes::Bytes;
use mail::{
    Address, Class, Envelope, Labels, Message, Outcome, QueueId, Recipient, RecipientKey,
    RecipientState, Reply, Status, Submitter, Timestamp, Verdict,
};

use crate::{
    CommitError, Event, EventKinds, EventWish, Filter, Happened, HistoryFilter, Kinds, LaterRow,
    Note, Op, Page, Sort, Standing, Store, StoredEvent,
};

/// A mail from `sender@here.example` for tests.
///
/// # Panics
/// When an address is none.
#[must_use]
pub fn message(id: u64, recipients: &[&str], content: &[u8]) -> Message {
    let address = |text: &str| Address::parse(text).expect("an address of the test");
    Message {
        id: QueueId::from_u64(id),
        accepted: Timestamp::from_secs(1_800_000_000),
        envelope: Envelope {
            reverse_path: Some(address("sender@here.example")),
            recipients: recipients
                .iter()
                .map(|r| Recipient::new(address(r)))
                .collect(),
            body_type: mail::BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            env_id: None,
            terms: mail::Terms::default(),
            submitter: Submitter {
                user: Some("anna".to_owned()),
                peer: None,
                via: "smtp".to_owned(),
            },
        },
        labels: Labels::of(content),
        content: Bytes::copy_from_slice(content),
    }
}

/// A verdict for tests.
#[must_use]
pub fn verdict(outcome: Outcome, text: &str) -> Verdict {
    let reply = Reply::new(
        if outcome == Outcome::Delivered {
            250
        } else {
            450
        },
        None,
        text,
    );
    Verdict::own(
        outcome,
        Class::Recipient,
        reply,
        Timestamp::from_secs(1_800_000_100),
    )
}

/// The time that the suite asks at.
pub const NOW: Timestamp = Timestamp::from_secs(1_800_003_600);

fn key(id: u64, recipient: u32) -> RecipientKey {
    RecipientKey {
        id: QueueId::from_u64(id),
        recipient,
    }
}

fn accept(id: u64, recipients: &[&str], content: &[u8]) -> Op {
    Op::Accept {
        message: message(id, recipients, content),
        states: vec![RecipientState::default(); recipients.len()],
        token: Some(format!("token-{id}")),
    }
}

/// Runs the verbs of a store and panics where one does not do what it must. `store` is empty.
///
/// # Panics
/// When the store does not conform.
pub fn check(store: &dyn Store) {
    let wish = EventWish {
        kinds: EventKinds::ALL,
        entries: "book/".to_owned(),
    };
    series::name(store);
    assert_eq!(
        events(store),
        [""; 0],
        "nothing is kept unless it is wished for"
    );
    store.keep_events(&wish).expect("the history is written");
    fill(store);
    check_queries(store);
    check_reading(store);
    check_notes(store, false);
    check_past(store);
    check_outcomes(store);
    check_notes(store, true);
    series::check_counts(store);
    check_events(store);
    series::check(store);
    check_ids(store);
    check_taking_back(store);
}

fn check_ids(store: &dyn Store) {
    let ids: Vec<QueueId> = [NOW, NOW, Timestamp::from_secs(1)]
        .map(|now| store.next_id(now))
        .into();
    assert!(ids.is_sorted_by(|a, b| a < b), "ids rise: {ids:?}");
    assert!(ids.iter().all(|id| id.as_u64() > 5), "above all: {ids:?}");
}

fn check_taking_back(store: &dyn Store) {
    let (tell, outcome) = std::sync::mpsc::channel();
    let done = move |result| tell.send(result).expect("the test waits");
    let id = store.next_id(NOW);
    let mail = accept(id.as_u64(), &["f@six.example"], b"perhaps");
    let withdrawal = store.commit_withdrawable(vec![mail], Box::new(done));
    let is_taken_back = withdrawal.withdraw();
    store.drain();
    let outcome = outcome.recv().expect("it is told what became of it");
    let is_there = store.read(id).expect("the store reads").is_some();
    match outcome {
        Ok(()) => assert!(is_there && !is_taken_back),
        Err(CommitError::Withdrawn) => assert!(!is_there && is_taken_back),
        Err(e) => unreachable!("{e}"),
    }
    let health = store.health();
    assert_eq!((health.standing, health.behind), (Standing::Ready, None));
    let figures = store.figures();
    let waiting = store.count(&Filter::all(), NOW).expect("the index answers");
    assert_eq!((figures.waiting, figures.damaged), (waiting, 0));
    assert!(store.take_damaged().is_empty());
}

/// An event in a few words.
#[must_use]
pub fn words(event: &Event) -> String {
    let about = event.about.as_ref();
    let key = about.map(|a| format!("{}/{} ", a.key.id.as_u64(), a.key.recipient));
    let what = match &event.what {
        Happened::Accepted => "accepted".to_owned(),
        Happened::Deferred { attempts, .. } => format!("deferred {attempts}"),
        Happened::Ended { attempts, verdict } => format!("{} {attempts}", verdict.outcome),
        Happened::Later { word, .. } => word.clone(),
        Happened::Entry { name, value } => format!("{name}={value}"),
    };
    format!("{}{what}", key.unwrap_or_default())
}

fn kept(store: &dyn Store, after: u64) -> Vec<StoredEvent> {
    store.catch_up().expect("the history is written");
    store.events(after, u64::MAX).expect("the history answers")
}

fn events(store: &dyn Store) -> Vec<String> {
    let found = kept(store, 0);
    let places: Vec<u64> = found.iter().map(|e| e.place).collect();
    assert!(places.is_sorted_by(|a, b| a < b), "places rise: {places:?}");
    found.iter().map(|stored| words(&stored.event)).collect()
}

/// What the history can tell again of what happened so far.
fn check_past(store: &dyn Store) {
    let all = (Timestamp::ZERO, Timestamp::MAX);
    let mut told: Vec<Event> = Vec::new();
    let mut after = QueueId::from_u64(0);
    loop {
        let part = store
            .past_events(all, after, 1)
            .expect("the history answers");
        told.extend(part.events);
        match part.next {
            Some(next) => after = next,
            None => break,
        }
    }
    let kept = kept(store, 0);
    for event in &told {
        let same = kept.iter().any(|stored| stored.event == *event);
        assert!(same, "{event:?} is told anew as it was told");
    }
    let of_recipients = kept.iter().filter(|stored| stored.event.about.is_some());
    assert_eq!(told.len(), of_recipients.count());
    let verdicts = Timestamp::from_secs(1_800_000_100);
    let span = (verdicts, verdicts + std::time::Duration::from_millis(1));
    let part = store.past_events(span, QueueId::from_u64(0), 100);
    let part = part.expect("the history answers");
    let mut told: Vec<String> = part.events.iter().map(words).collect();
    told.sort();
    assert_eq!(
        told,
        [
            "1/0 bounced",
            "1/0 complained",
            "1/1 bounced",
            "1/1 deferred 3"
        ]
    );
    assert_eq!(part.next, None);
}

/// Every change is one event, in the order of the commits, until it is forgotten.
fn check_events(store: &dyn Store) {
    let all = [
        "1/0 accepted",
        "1/1 accepted",
        "2/0 accepted",
        "1/1 deferred 3",
        "book/a=1",
        "book/b=2",
        "book/a=4",
        "1/0 bounced",
        "1/0 complained",
        "1/1 bounced",
        "1/1 failed 4",
        "3/0 accepted",
        "1/0 failed 4",
    ];
    assert_eq!(events(store), all);
    let stored = kept(store, 0);
    let last = stored.last().expect("an event");
    let about = last.event.about.as_ref().expect("a recipient");
    assert_eq!(
        (about.sender.as_str(), about.recipient.as_str(), about.size),
        ("sender@here.example", "a@one.example", 5)
    );
    assert_eq!(about.origin.user.as_deref(), Some("anna"));
    assert_eq!(about.origin.via, "smtp");
    let bounds = store.event_bounds().expect("the history answers");
    assert_eq!((bounds.kept, bounds.last), (13, last.place));
    let place = |n: usize| stored.get(n).map_or(0, |e| e.place);
    let forget = |upto, before, limit| {
        let forgotten = store.forget_events(upto, before, limit);
        forgotten.expect("the history is written")
    };
    assert_eq!(forget(u64::MAX, Timestamp::ZERO, 100), 0, "none is so old");
    assert_eq!(
        forget(place(2), Timestamp::MAX, 2),
        2,
        "so many at the most"
    );
    assert_eq!(forget(place(2), Timestamp::MAX, 100), 1, "up to the place");
    assert_eq!(forget(u64::MAX, Timestamp::MAX, 100), 10);
    let bounds = store.event_bounds().expect("the history answers");
    assert_eq!(
        (bounds.kept, bounds.last),
        (0, last.place),
        "no place is given twice"
    );
    store
        .commit_wait(vec![accept(4, &["e@four.example"], b"more")])
        .expect("durable");
    let more = kept(store, last.place);
    assert!(
        more.len() == 1 && more.iter().all(|e| e.place > last.place),
        "{more:?}"
    );
    store
        .keep_events(&EventWish::default())
        .expect("the history is written");
    store
        .commit_wait(vec![accept(5, &["e@four.example"], b"more")])
        .expect("durable");
    assert_eq!(events(store), ["4/0 accepted"], "no wish, no event");
}

fn fill(store: &dyn Store) {
    let commit = |ops| store.commit_wait(ops).expect("the commit is durable");
    commit(vec![
        accept(1, &["a@one.example", "b@sub.two.example"], b"first"),
        accept(2, &["c@two.example"], b"the second, longer"),
    ]);
    let held = RecipientState {
        status: Status::Held,
        attempts: 3,
        due: NOW + std::time::Duration::from_secs(600),
        delay_notified: false,
        route: None,
        last: Some(verdict(Outcome::Deferred, "Mailbox full")),
    };
    commit(vec![Op::State {
        key: key(1, 1),
        state: held,
        transcript: Some("S: 450".to_owned()),
    }]);
    // Whoever does not know the last verdict leaves it as it is.
    let changed = RecipientState {
        status: Status::Held,
        attempts: 3,
        due: NOW + std::time::Duration::from_secs(600),
        delay_notified: true,
        route: None,
        last: None,
    };
    commit(vec![Op::Change {
        key: key(1, 1),
        state: changed,
    }]);
    let control = |value: Option<&str>| Op::Control {
        name: "pause".to_owned(),
        value: value.map(str::to_owned),
    };
    commit(vec![control(Some("all"))]);
    assert_eq!(store.control("pause").as_deref(), Some("all"));
    commit(vec![control(None)]);
    assert_eq!(store.control("pause"), None, "the last writer wins");
    let entry = |name: &str, value: Option<&str>| {
        Op::Note(Note::Entry {
            name: name.to_owned(),
            value: value.map(str::to_owned),
        })
    };
    commit(vec![entry("book/a", Some("1")), entry("book/b", Some("2"))]);
    commit(vec![entry("bool", Some("3")), entry("book/a", Some("4"))]);
    commit(vec![entry("book/b", None)]);
    let later = |n, word: &str| {
        Op::Note(Note::Later(LaterRow {
            key: key(1, n),
            at: Timestamp::from_secs(1_800_000_100),
            word: word.to_owned(),
            text: format!("{word} {n}"),
        }))
    };
    commit(vec![later(0, "bounced"), later(0, "complained")]);
    commit(vec![later(1, "bounced")]);
}

/// What the history keeps beside outcomes.
fn check_notes(store: &dyn Store, expired: bool) {
    let mut found = Vec::new();
    let each = &mut |name, value| found.push((name, value));
    store.entries("book/", each).expect("the history answers");
    let expected = [("book/a".to_owned(), "4".to_owned())];
    assert_eq!(found, expected, "the last writer wins, retention or not");
    let later = store.later(QueueId::from_u64(1));
    let later = later.expect("the history answers");
    let told: Vec<&str> = later.iter().map(|row| row.text.as_str()).collect();
    let kept: &[&str] = match expired {
        false => &["bounced 0", "complained 0", "bounced 1"],
        true => &[],
    };
    assert_eq!(told, kept);
    let none = store.later(QueueId::from_u64(2));
    assert_eq!(none.expect("the history answers"), []);
}

/// Each filter with the recipients that it must find.
const FILTERS: [(&str, &[(u64, u32)]); 22] = [
    ("", &[(1, 0), (1, 1), (2, 0)]),
    ("id:00000000001", &[(1, 0), (1, 1)]),
    ("domain:two.example", &[(2, 0)]),
    ("domain:.two.example", &[(1, 1)]),
    ("-domain:two.example", &[(1, 0), (1, 1)]),
    ("to:C@two", &[(2, 0)]),
    ("from:here.example", &[(1, 0), (1, 1), (2, 0)]),
    ("from:<>", &[]),
    ("state:held", &[(1, 1)]),
    ("state:waiting", &[(1, 0), (2, 0)]),
    ("state:local", &[]),
    ("state:future", &[]),
    ("kind:mailbox_full", &[(1, 1)]),
    ("-kind:mailbox_full", &[(1, 0), (2, 0)]),
    ("reply:\"mailbox FULL\"", &[(1, 1)]),
    ("user:anna", &[(1, 0), (1, 1), (2, 0)]),
    ("attempts>2", &[(1, 1)]),
    ("attempts<1", &[(1, 0), (2, 0)]),
    ("size>10", &[(2, 0)]),
    ("age>30m age<2h", &[(1, 0), (1, 1), (2, 0)]),
    ("due>5m", &[(1, 1)]),
    ("due<5m state:waiting domain:one.example", &[(1, 0)]),
];

fn check_queries(store: &dyn Store) {
    for (text, expected) in FILTERS {
        let kinds = Kinds::new(|reply, _| match reply.contains("full") {
            true => mail::ReplyKind::MailboxFull,
            false => mail::ReplyKind::Unknown,
        });
        let filter = Filter::parse(text).expect("a filter").with_kinds(kinds);
        let keys = store.keys(&filter, NOW).expect("the index answers");
        let expected: Vec<_> = expected.iter().map(|(id, n)| key(*id, *n)).collect();
        assert_eq!(keys, expected, "`{text}`");
        let count = store.count(&filter, NOW).expect("the index answers");
        assert_eq!(count, expected.len() as u64, "`{text}`");
    }
    for (sort, first) in [
        (Sort::Due, key(1, 1)),
        (Sort::Domain, key(2, 0)),
        (Sort::Size, key(2, 0)),
        (Sort::Attempts, key(1, 1)),
    ] {
        let page = Page {
            sort,
            descending: true,
            offset: 0,
            limit: 1,
        };
        let rows = store
            .query(&Filter::all(), page, NOW)
            .expect("the index answers");
        let keys: Vec<_> = rows.iter().map(|row| row.key).collect();
        assert_eq!(keys, [first], "{sort:?}");
    }
}

fn check_reading(store: &dyn Store) {
    let read = store.read(QueueId::from_u64(2)).expect("the store reads");
    assert_eq!(
        read,
        Some(message(2, &["c@two.example"], b"the second, longer"))
    );
    assert_eq!(
        store.read(QueueId::from_u64(9)).expect("the store reads"),
        None
    );
    let state = store
        .state(key(1, 1))
        .expect("the store reads")
        .expect("it waits");
    assert_eq!((state.attempts, state.delay_notified), (3, true));
    let last = Some(verdict(Outcome::Deferred, "Mailbox full"));
    assert_eq!(state.last, last, "a change leaves it");
    let mut scanned = Vec::new();
    store
        .scan(&store.lots(), &mut |w| {
            scanned.push((w.key, w.domain.to_owned(), w.attempts, w.status))
        })
        .expect("the index answers");
    let expected = [
        (key(1, 0), "one.example", 0, Status::Waiting),
        (key(1, 1), "sub.two.example", 3, Status::Held),
        (key(2, 0), "two.example", 0, Status::Waiting),
    ];
    assert_eq!(
        scanned,
        expected.map(|(k, d, n, s)| (k, d.to_owned(), n, s))
    );
    let attempts = store
        .attempts(QueueId::from_u64(1))
        .expect("the history answers");
    let told: Vec<_> = attempts
        .iter()
        .map(|a| (a.key, a.attempts, a.transcript.as_deref()))
        .collect();
    assert_eq!(told, [(key(1, 1), 3, Some("S: 450"))]);
}

fn check_outcomes(store: &dyn Store) {
    let done = |key| Op::Done {
        key,
        verdict: verdict(Outcome::Failed, "no such user"),
        attempts: 4,
        transcript: Some("S: 550".to_owned()),
    };
    let again = accept(3, &["d@three.example"], b"report");
    store
        .commit_wait(vec![done(key(1, 1)), again])
        .expect("durable");
    store
        .commit_wait(vec![done(key(1, 1)), done(key(1, 0))])
        .expect("durable");
    let keys = store.keys(&Filter::all(), NOW).expect("the index answers");
    assert_eq!(keys, [key(2, 0), key(3, 0)]);
    assert_eq!(
        store.read(QueueId::from_u64(1)).expect("the store reads"),
        None
    );
    let of = |filter| store.history(&filter, 0, 10).expect("the history answers");
    let history = of(HistoryFilter::default());
    let told: Vec<_> = history.iter().map(|row| row.key).collect();
    assert_eq!(
        told,
        [key(1, 1), key(1, 0)],
        "each outcome once, the latest first"
    );
    let first = history.first().expect("a row");
    assert_eq!(
        (first.recipient.as_str(), first.attempts),
        ("b@sub.two.example", 4)
    );
    assert_eq!(first.verdict, verdict(Outcome::Failed, "no such user"));
    assert_eq!(first.transcript.as_deref(), Some("S: 550"));
    let below = HistoryFilter {
        domain: Some(".two.example".to_owned()),
        ..HistoryFilter::default()
    };
    assert_eq!(of(below).len(), 1);
    let delivered = HistoryFilter {
        outcome: Some(Outcome::Delivered),
        ..HistoryFilter::default()
    };
    assert_eq!(of(delivered), []);
    for id in 1..=3 {
        let found = store
            .find_token(&format!("token-{id}"))
            .expect("the history answers");
        assert_eq!(found, Some(QueueId::from_u64(id)), "waiting or finished");
    }
    assert_eq!(
        store.find_token("token-9").expect("the history answers"),
        None
    );
    let beginning = |prefix: &str| {
        let found = store.find_token_beginning(prefix);
        found.expect("the history answers").map(|(token, _)| token)
    };
    assert_eq!(beginning("token-").as_deref(), Some("token-1"));
    assert_eq!(beginning("token-3").as_deref(), Some("token-3"));
    assert_eq!(beginning("token-9"), None);
    assert_eq!(beginning("tokem"), None);
    let expire = || {
        store
            .expire_history(NOW, NOW, 2)
            .expect("the history answers")
    };
    assert_eq!(expire(), 2, "no more than the limit at once");
    while expire() > 0 {}
    assert_eq!(of(HistoryFilter::default()), []);
}
