//! What a user of the queue notices, on a simulated disk and on a real one.

use std::sync::Arc;

use mail::{Outcome, QueueId, RecipientKey, RecipientState, Status, Timestamp};
use sim::SimDisk;
use spool::conformance::{message, verdict};
use spool::{Filter, HistoryFilter, MemoryIndex, Op, Options, Page, Recovered, Space, Spool};

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        hot_segments: 2,
        reserve_bytes: 0,
        nonce_seed: 42,
        threads: false,
        ..Options::default()
    }
}

fn open(disk: &SimDisk, index: &Arc<MemoryIndex>) -> (Spool, Recovered) {
    let index = Arc::clone(index);
    Spool::open(options(), Arc::new(disk.clone()), index).unwrap()
}

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
        token: None,
    }
}

fn done(id: u64, recipient: u32) -> Op {
    Op::Done {
        key: key(id, recipient),
        verdict: verdict(Outcome::Delivered, "ok"),
        attempts: 1,
        transcript: None,
    }
}

const NOW: Timestamp = Timestamp::from_secs(1_800_000_500);

#[test]
fn what_was_accepted_is_read_back_after_a_restart() {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    spool
        .commit_wait(vec![accept(1, &["a@x.example", "b@y.example"], b"hello")])
        .unwrap();
    spool.commit_wait(vec![done(1, 0)]).unwrap();
    drop(spool);
    disk.restart();
    let (spool, recovered) = open(&disk, &index);
    assert_eq!(recovered.waiting, 1);
    assert_eq!(recovered.highest, Some(QueueId::from_u64(1)));
    let read = spool.read(QueueId::from_u64(1)).unwrap().unwrap();
    assert_eq!(read, message(1, &["a@x.example", "b@y.example"], b"hello"));
    let rows = spool.query(&Filter::all(), Page::ALL, NOW).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].recipient, "b@y.example");
    let history = spool.history(&HistoryFilter::default(), 0, 10).unwrap();
    assert_eq!(history[0].recipient, "a@x.example");
}

#[test]
fn a_state_with_its_last_reply_survives() {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    spool
        .commit_wait(vec![accept(1, &["a@x.example"], b"hello")])
        .unwrap();
    let state = RecipientState {
        status: Status::Held,
        attempts: 2,
        due: Timestamp::from_secs(99),
        delay_notified: true,
        last: Some(verdict(Outcome::Deferred, "come back")),
    };
    let op = Op::State {
        key: key(1, 0),
        state: state.clone(),
        transcript: Some("C: EHLO".to_owned()),
    };
    spool.commit_wait(vec![op]).unwrap();
    drop(spool);
    disk.restart();
    let (spool, _) = open(&disk, &index);
    assert_eq!(spool.state(key(1, 0)).unwrap(), Some(state));
    let attempts = spool.attempts(QueueId::from_u64(1)).unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].transcript.as_deref(), Some("C: EHLO"));
}

#[test]
fn there_is_room_on_an_empty_disk() {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    assert_eq!(open(&disk, &index).0.space(), Space::Enough);
}
