//! Events on a real disk: each thing that is durable is told once, whatever becomes of the index.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use std::path::{Path, PathBuf};

use mail::{Outcome, QueueId, RecipientKey, RecipientState, Status, Timestamp};
use rusqlite::Connection;
use spool::{Options, Recovered, Spool};
use store::conformance::{message, verdict, words};
use store::series::{Cell, Dimension, SeriesWish, Step};
use store::{EventKinds, EventWish, HistoryFilter, Note, Op, Store};

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let name = format!("sendoff-events-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        drop(std::fs::remove_dir_all(&dir));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn open(&self) -> Spool {
        self.open_with_news().0
    }

    fn open_with_news(&self) -> (Spool, Recovered) {
        self.open_in(64 << 10)
    }

    fn open_in(&self, segment_bytes: u32) -> (Spool, Recovered) {
        let options = Options {
            segment_bytes,
            reserve_bytes: 0,
            ballast_bytes: 0,
            nonce_seed: 42,
            threads: false,
            ..Options::default()
        };
        Spool::open_dir(&self.0, options).unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

const EVERYTHING: (Timestamp, Timestamp) = (Timestamp::ZERO, Timestamp::MAX);

fn all() -> EventWish {
    EventWish {
        kinds: EventKinds::ALL,
        entries: String::new(),
    }
}

fn key(id: u64) -> RecipientKey {
    RecipientKey {
        id: QueueId::from_u64(id),
        recipient: 0,
    }
}

fn accept(id: u64) -> Op {
    Op::Accept {
        message: message(id, &["a@x.example"], b"content"),
        states: vec![RecipientState::default()],
        token: None,
    }
}

fn deferred(id: u64, status: Status) -> Op {
    Op::State {
        key: key(id),
        state: RecipientState {
            status,
            attempts: 1,
            last: Some(verdict(Outcome::Deferred, "later")),
            ..RecipientState::default()
        },
        transcript: None,
    }
}

fn done(id: u64) -> Op {
    Op::Done {
        key: key(id),
        verdict: verdict(Outcome::Delivered, "ok"),
        attempts: 1,
        transcript: None,
    }
}

fn told(spool: &Spool) -> Vec<String> {
    spool.flush_index().unwrap();
    let events = spool.events(0, u64::MAX).unwrap();
    events.iter().map(|stored| words(&stored.event)).collect()
}

fn without_index(dir: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(dir.join(format!("index.db{suffix}"))));
    }
}

#[test]
fn what_was_told_is_not_told_again_when_the_log_is_read_again() {
    let dir = Dir::new("again");
    let spool = dir.open();
    spool.keep_events(&all()).unwrap();
    spool.commit_wait(vec![accept(1), accept(2)]).unwrap();
    spool.step();
    spool
        .commit_wait(vec![deferred(1, Status::Waiting)])
        .unwrap();
    spool.commit_wait(vec![done(2)]).unwrap();
    let expected = [
        "1/0 accepted",
        "2/0 accepted",
        "1/0 deferred 1",
        "2/0 delivered 1",
    ];
    assert_eq!(told(&spool), expected);
    drop(spool);
    without_index(&dir.0);
    let spool = dir.open();
    assert_eq!(told(&spool), expected);
    spool.commit_wait(vec![done(1)]).unwrap();
    assert_eq!(told(&spool).last().unwrap(), "1/0 delivered 1");
}

#[test]
fn a_frame_that_filled_a_batch_of_the_reading_is_not_told_again() {
    // As many changes as the reading of the log puts into one batch (`BATCH` in replay.rs).
    const CHANGES: usize = 50_000;
    let dir = Dir::new("batch");
    let spool = dir.open_in(16 << 20).0;
    spool.keep_events(&all()).unwrap();
    let entry = |n: usize| {
        let (name, value) = (format!("e/{n}"), Some("{}".to_owned()));
        Op::Note(Note::Entry { name, value })
    };
    let ops = (0..CHANGES).map(entry).collect();
    spool.commit_wait(ops).unwrap();
    // Nothing of it is in the index: the reading makes the events.
    drop(spool);
    for _ in 0..2 {
        without_index(&dir.0);
        let spool = dir.open_in(16 << 20).0;
        spool.flush_index().unwrap();
        assert_eq!(spool.event_bounds().unwrap().last, CHANGES as u64);
    }
}

#[test]
fn what_was_durable_before_anybody_wished_to_know_is_no_event() {
    let dir = Dir::new("before");
    let spool = dir.open();
    spool.commit_wait(vec![accept(1), done(1)]).unwrap();
    spool.keep_events(&all()).unwrap();
    drop(spool);
    without_index(&dir.0);
    let spool = dir.open();
    spool.commit_wait(vec![accept(2)]).unwrap();
    assert_eq!(told(&spool), ["2/0 accepted"]);
}

#[test]
fn a_hold_repeats_no_deferral() {
    let dir = Dir::new("hold");
    let spool = dir.open();
    spool.keep_events(&all()).unwrap();
    let tried = deferred(1, Status::Waiting);
    spool
        .commit_wait(vec![accept(1), tried, deferred(1, Status::Held)])
        .unwrap();
    spool.step();
    spool
        .commit_wait(vec![deferred(1, Status::Waiting)])
        .unwrap();
    assert_eq!(told(&spool), ["1/0 accepted", "1/0 deferred 1"]);
    let past = spool
        .past_events(EVERYTHING, QueueId::from_u64(0), 100)
        .unwrap();
    assert_eq!(past.events.len(), 2, "{:?}", past.events);
}

#[test]
fn files_of_the_release_before_are_brought_up_in_place() {
    let dir = Dir::new("upgraded");
    let spool = dir.open();
    spool
        .commit_wait(vec![accept(1), accept(2), deferred(2, Status::Waiting)])
        .unwrap();
    spool.commit_wait(vec![done(1)]).unwrap();
    spool.flush_index().unwrap();
    drop(spool);
    let history = Connection::open(dir.0.join("history.db")).unwrap();
    history
        .execute_batch(
            "DROP INDEX history_given; DROP INDEX history_key; ALTER TABLE history DROP COLUMN message_id; ALTER TABLE history DROP COLUMN subject;
             ALTER TABLE history DROP COLUMN given; ALTER TABLE history DROP COLUMN origin; ALTER TABLE history DROP COLUMN destination;
             ALTER TABLE attempt DROP COLUMN due; DROP TABLE event; DROP TABLE event_state;
             DROP INDEX history_at; DROP INDEX attempt_at; DROP INDEX token_at; DROP INDEX later_at;
             DROP TABLE series; DROP TABLE series_state; DROP TABLE record;
             PRAGMA user_version = 2;",
        )
        .unwrap();
    drop(history);
    let index = Connection::open(dir.0.join("index.db")).unwrap();
    index
        .execute_batch(
            "DROP INDEX message_key; DROP INDEX message_message_id; ALTER TABLE message DROP COLUMN message_id;
             ALTER TABLE message DROP COLUMN subject; ALTER TABLE message DROP COLUMN given;
             ALTER TABLE message DROP COLUMN origin; PRAGMA user_version = 2;",
        )
        .unwrap();
    drop(index);
    let (spool, recovered) = dir.open_with_news();
    assert!(!recovered.index_rebuilt);
    let history = spool.history(&HistoryFilter::default(), 0, 10).unwrap();
    assert_eq!(history.len(), 1);
    let past = spool
        .past_events(EVERYTHING, QueueId::from_u64(0), 100)
        .unwrap();
    let told: Vec<String> = past.events.iter().map(words).collect();
    // In the order of time; these times are the same.
    for expected in [
        "1/0 accepted",
        "2/0 accepted",
        "1/0 delivered 1",
        "2/0 deferred 1",
    ] {
        assert!(told.iter().any(|t| t == expected), "{expected}: {told:?}");
    }
    spool.keep_events(&all()).unwrap();
    spool.commit_wait(vec![done(2)]).unwrap();
    spool.flush_index().unwrap();
    let mut counted = Cell::default();
    let wish = SeriesWish {
        step: Step::Hour,
        dimension: Dimension::Total,
        key: None,
        since: Timestamp::ZERO,
        until: Timestamp::MAX,
    };
    let store: &dyn Store = &spool;
    (store.series(&wish, &mut |point| counted.add(&point.cell))).unwrap();
    let counted = [counted.accepted, counted.deferred, counted.delivered];
    assert_eq!(counted, [0, 0, 1], "counting begins with this release");
    let events = spool.events(0, 10).unwrap();
    let about = events.first().unwrap().event.about.clone().unwrap();
    assert_eq!(about.origin.via, "", "the release before did not keep it");
    assert_eq!(about.submitter, "anna");
}
