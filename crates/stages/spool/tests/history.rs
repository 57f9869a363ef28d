//! The history on a real disk: how it is cut, and what becomes of the queue when it cannot be used.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use std::path::PathBuf;

use mail::{Outcome, QueueId, RecipientKey, RecipientState, Timestamp};
use rusqlite::Connection;
use spool::{HistoryFound, Options, Spool};
use store::conformance::{message, verdict};
use store::{CommitError, HistoryFilter, LogFigures, Op};

fn log_of(spool: &Spool) -> LogFigures {
    spool.figures().log.expect("the spool is a log")
}

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let name = format!("sendoff-history-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        drop(std::fs::remove_dir_all(&dir));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn options() -> Options {
        Options {
            segment_bytes: 64 << 10,
            reserve_bytes: 0,
            ballast_bytes: 0,
            nonce_seed: 42,
            threads: false,
            ..Options::default()
        }
    }

    fn open(&self) -> Spool {
        Spool::open_dir(&self.0, Self::options()).unwrap().0
    }

    fn history(&self) -> Connection {
        Connection::open(self.0.join("history.db")).unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn accept(id: u64) -> Op {
    Op::Accept {
        message: message(id, &["a@one.example"], b"hello"),
        states: vec![RecipientState::default()],
        token: Some(format!("token-{id}")),
    }
}

fn done(id: u64, at: Timestamp) -> Op {
    let mut verdict = verdict(Outcome::Delivered, "ok");
    verdict.at = at;
    Op::Done {
        key: RecipientKey {
            id: QueueId::from_u64(id),
            recipient: 0,
        },
        verdict,
        attempts: 1,
        transcript: None,
    }
}

/// A day of the test.
const fn day(n: u64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + n * 86_400)
}

fn finish(spool: &Spool, ids: std::ops::RangeInclusive<u64>, at: Timestamp) {
    for id in ids {
        spool.commit_wait(vec![accept(id), done(id, at)]).unwrap();
    }
    spool.flush_index().unwrap();
}

fn known(spool: &Spool) -> usize {
    let all = HistoryFilter::default();
    spool.history(&all, 0, 1000).unwrap().len()
}

#[test]
fn what_is_old_goes_in_steps_and_what_is_young_stays() {
    let dir = Dir::new("steps");
    let spool = dir.open();
    finish(&spool, 1..=25, day(1));
    finish(&spool, 26..=40, day(3));
    assert_eq!(spool.expire_history(day(2), day(2), 10).unwrap(), 10);
    assert_eq!(known(&spool), 30, "no more than asked for went");
    while spool.expire_history(day(2), day(2), 10).unwrap() == 10 {}
    assert_eq!(known(&spool), 15);
    assert_eq!(spool.expire_history(day(2), day(2), 10).unwrap(), 0);
    assert_eq!(spool.find_token("token-1").unwrap(), None);
}

#[test]
fn what_is_old_is_found_without_reading_the_rest() {
    let dir = Dir::new("found");
    drop(dir.open());
    let history = dir.history();
    for table in ["history", "attempt", "token", "later"] {
        let sql = format!("EXPLAIN QUERY PLAN SELECT 1 FROM {table} WHERE at < 5 ORDER BY at");
        let plan: String = history.query_row(&sql, [], |row| row.get(3)).unwrap();
        assert!(plan.contains(&format!("INDEX {table}_at")), "{plan}");
    }
}

#[test]
fn the_history_of_the_release_before_is_brought_up() {
    let dir = Dir::new("brought-up");
    let spool = dir.open();
    finish(&spool, 1..=20, day(1));
    drop(spool);
    dir.history()
        .execute_batch(
            "DROP INDEX history_given; DROP INDEX history_key; DROP INDEX event_key;
             ALTER TABLE event DROP COLUMN submitter; ALTER TABLE history DROP COLUMN message_id; ALTER TABLE history DROP COLUMN subject;
             ALTER TABLE history DROP COLUMN given; DROP INDEX history_at; DROP INDEX attempt_at; DROP INDEX token_at; DROP INDEX later_at;
             DROP TABLE series; DROP TABLE series_state; DROP TABLE record;
             PRAGMA user_version = 3;",
        )
        .unwrap();
    let spool = dir.open();
    assert_eq!(known(&spool), 20);
    while spool.expire_history(day(2), day(2), 7).unwrap() == 7 {}
    assert_eq!(known(&spool), 0);
}

/// The history refuses whatever is written to it, as when another program holds it, but at once.
const REFUSE: &str = "CREATE TRIGGER refuse BEFORE INSERT ON history
    BEGIN SELECT RAISE(ABORT, 'refused by the test'); END";

#[test]
fn mail_is_refused_while_the_history_cannot_be_written_and_outcomes_go_on() {
    let dir = Dir::new("refusing");
    let spool = dir.open();
    for id in 1..=10 {
        spool.commit_wait(vec![accept(id)]).unwrap();
    }
    spool.flush_index().unwrap();
    dir.history().execute_batch(REFUSE).unwrap();
    spool.commit_wait(vec![done(1, day(1))]).unwrap();
    spool.step();
    let behind = spool.health().behind.unwrap();
    assert!(behind.why.contains("refused by the test"), "{}", behind.why);
    assert!(!behind.refuses_mail, "there is room yet");

    // A large mail a third of a segment.
    let large = |id| Op::Accept {
        message: message(id, &["a@one.example"], &[b'x'; 8 << 10]),
        states: vec![RecipientState::default()],
        token: None,
    };
    let refused = (11..500).find_map(|id| {
        let refused = spool.commit_wait(vec![large(id)]).err();
        spool.step();
        refused
    });
    let refused = refused.unwrap();
    assert!(matches!(refused, CommitError::Behind(_)), "{refused}");
    assert!(spool.health().behind.unwrap().refuses_mail);
    let segments = log_of(&spool).hot_segments;
    assert!(segments <= 8 + 8 + 2, "{segments} segments");
    for id in 2..=10 {
        spool.commit_wait(vec![done(id, day(1))]).unwrap();
    }

    dir.history().execute_batch("DROP TRIGGER refuse").unwrap();
    spool.step();
    assert_eq!(spool.health().behind, None);
    spool.commit_wait(vec![large(500)]).unwrap();
    assert_eq!(known(&spool), 10, "what waited for the history is in it");
}

/// The queue with a mail that waits and one that is delivered.
fn used(name: &str) -> Dir {
    let dir = Dir::new(name);
    let spool = dir.open();
    finish(&spool, 1..=20, day(1));
    drop(spool);
    dir
}

fn open_again(dir: &Dir) -> Result<(Spool, spool::Recovered), spool::OpenError> {
    Spool::open_dir(&dir.0, Dir::options())
}

#[test]
fn a_damaged_history_is_set_aside_and_that_is_said() {
    for octets in [&b"no database at all"[..], &[0xff; 8192]] {
        let dir = used("damaged");
        let path = dir.0.join("history.db");
        std::fs::write(&path, octets).unwrap();
        let (spool, recovered) = open_again(&dir).unwrap();
        let HistoryFound::SetAside(kept) = recovered.history else {
            panic!("{:?}", recovered.history);
        };
        assert_eq!(std::fs::read(dir.0.join(kept)).unwrap(), octets);
        assert_eq!(known(&spool), 0);
        finish(&spool, 30..=31, day(1));
        assert_eq!(known(&spool), 2, "the new one is used");
        drop(spool);
        let (_, recovered) = open_again(&dir).unwrap();
        assert_eq!(recovered.history, HistoryFound::There, "it is said once");
    }
}

#[test]
fn a_missing_history_beside_an_old_queue_is_said() {
    let dir = used("missing");
    std::fs::remove_file(dir.0.join("history.db")).unwrap();
    let (_, recovered) = open_again(&dir).unwrap();
    assert_eq!(recovered.history, HistoryFound::New);
    let fresh = Dir::new("fresh");
    let (_, recovered) = open_again(&fresh).unwrap();
    assert_eq!(
        recovered.history,
        HistoryFound::There,
        "a queue begins with one"
    );
}

#[test]
fn a_history_that_cannot_be_used_refuses_the_start_with_its_name() {
    let dir = used("unusable");
    let path = dir.0.join("history.db");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let refused = open_again(&dir).err().unwrap().to_string();
    assert!(
        refused.contains("history.db") && refused.contains("permissions"),
        "{refused}"
    );
    std::fs::remove_dir(&path).unwrap();
    // Of a later release: it is neither used nor set aside.
    drop(open_again(&dir).unwrap());
    dir.history()
        .execute_batch("PRAGMA user_version = 99;")
        .unwrap();
    let refused = open_again(&dir).err().unwrap().to_string();
    assert!(refused.contains("version 99") && path.exists(), "{refused}");
}
