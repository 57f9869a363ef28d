//! What a user of the queue notices, on a simulated disk and on a real one.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it must be"
)]

use std::sync::Arc;

use mail::{Outcome, QueueId, RecipientKey, RecipientState, Status, Timestamp};
use sim::{Fault, SimDisk};
use spool::{DirStorage, MemoryIndex, OpenDirError, Options, Recovered, Spool, Storage};
use store::conformance::{message, verdict};
use store::{CommitError, Filter, HistoryFilter, LogFigures, Op, Page, Standing};

fn log_of(spool: &Spool) -> LogFigures {
    spool.figures().log.expect("the spool is a log")
}

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        hot_segments: 2,
        reserve_bytes: 0,
        ballast_bytes: 0,
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
        route: None,
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
    assert_eq!(open(&disk, &index).0.health().standing, Standing::Ready);
}

/// A directory that goes when the test ends.
struct Dir(std::path::PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let name = format!("sendoff-spool-{name}-{}", std::process::id());
        let dir = Self(std::env::temp_dir().join(name));
        drop(std::fs::remove_dir_all(&dir.0));
        dir
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[test]
fn the_store_on_the_simulated_disk_conforms() {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    store::conformance::check(&open(&disk, &index).0);
}

#[test]
fn the_store_with_threads_and_sqlite_conforms() {
    let dir = Dir::new("conforms");
    let options = Options {
        threads: true,
        ..options()
    };
    let (spool, _) = Spool::open_dir(&dir.0, options).unwrap();
    store::conformance::check(&spool);
}

#[test]
fn a_deleted_or_damaged_index_is_made_anew_and_identical() {
    let dir = Dir::new("rebuilt");
    let rows = |spool: &Spool| spool.query(&Filter::all(), Page::ALL, NOW).unwrap();
    let (spool, _) = Spool::open_dir(&dir.0, options()).unwrap();
    for id in 1..100 {
        let ops = vec![accept(id, &["a@x.example", "b@y.example"], &[b'x'; 3000])];
        spool.commit_wait(ops).unwrap();
        spool.commit_wait(vec![done(id, (id % 2) as u32)]).unwrap();
        if id % 3 == 0 {
            spool.commit_wait(vec![done(id, 1), done(id, 0)]).unwrap();
        }
        spool.step();
    }
    let before = rows(&spool);
    assert_eq!(before.len(), 66);
    assert!(log_of(&spool).bytes_moved > 0);
    drop(spool);
    for damage in [false, true] {
        for suffix in ["", "-wal", "-shm"] {
            let file = dir.0.join(format!("index.db{suffix}"));
            if damage && suffix.is_empty() {
                std::fs::write(
                    file,
                    b"no database at all, but long enough to be taken for one",
                )
                .unwrap();
            } else {
                drop(std::fs::remove_file(file));
            }
        }
        let (spool, recovered) = Spool::open_dir(&dir.0, options()).unwrap();
        assert!(recovered.index_rebuilt);
        assert_eq!(rows(&spool), before);
        assert_eq!(
            spool
                .history(&HistoryFilter::default(), 0, 1000)
                .unwrap()
                .len(),
            132
        );
    }
}

#[test]
fn a_second_server_on_the_directory_is_told_who_has_it() {
    let dir = Dir::new("locked");
    let _first = DirStorage::open(&dir.0).unwrap();
    let Err(OpenDirError::InUse { holder, .. }) = DirStorage::open(&dir.0) else {
        panic!("it must not open");
    };
    assert_eq!(holder, std::process::id().to_string());
    // Removing the file does not open the door.
    std::fs::remove_file(dir.0.join("lock")).unwrap();
    let second = DirStorage::open(&dir.0);
    assert!(
        matches!(second, Err(OpenDirError::InUse { .. })),
        "{second:?}"
    );
}

#[test]
fn a_full_disk_refuses_mail_but_takes_outcomes() {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    disk.set_capacity(6 * (64 << 10));
    let mut accepted = 0;
    let refused = loop {
        match spool.commit_wait(vec![accept(accepted + 1, &["a@x.example"], &[0; 6000])]) {
            Ok(()) => accepted += 1,
            Err(e) => break e,
        }
        assert!(accepted < 200);
    };
    assert!(matches!(refused, CommitError::Full(_)), "{refused}");
    assert_eq!(spool.health().standing, Standing::Exhausted);
    assert_eq!(spool.count(&Filter::all(), NOW).unwrap(), accepted);
    for id in 1..=accepted {
        spool.commit_wait(vec![done(id, 0)]).unwrap();
        spool.step();
    }
    spool.step();
    spool
        .commit_wait(vec![accept(500, &["a@x.example"], b"room again")])
        .unwrap();
}

#[test]
fn segments_that_wait_for_use_do_not_keep_mail_out() {
    for capacity in (700..1100).step_by(20) {
        let disk = SimDisk::new(1);
        let options = Options {
            hot_segments: 8,
            reserve_bytes: 80 << 10,
            ..options()
        };
        let index = Arc::new(MemoryIndex::new());
        let (spool, _) = Spool::open(options, Arc::new(disk.clone()), index).unwrap();
        disk.set_capacity(capacity << 10);
        let mail = |id| accept(id, &["a@x.example"], &[0; 6000]);
        let mut accepted = 0;
        while spool.commit_wait(vec![mail(accepted + 1)]).is_ok() {
            accepted += 1;
            spool.step();
            assert!(accepted < 200);
        }
        // Something else takes a little more, and what was in the way is delivered.
        disk.put("history.db-wal", &[0; 40 << 10]);
        for id in 1..=accepted {
            spool.commit_wait(vec![done(id, 0)]).unwrap();
            spool.step();
        }
        for _ in 0..20 {
            spool.step();
        }
        let stats = spool.figures();
        assert_eq!(
            spool.health().standing,
            Standing::Ready,
            "{capacity}: {stats:?}"
        );
    }
}

#[test]
fn after_a_failed_sync_nothing_is_accepted_or_delivered() {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    spool
        .commit_wait(vec![accept(1, &["a@x.example"], b"one")])
        .unwrap();
    disk.inject(1, Fault::Error);
    for op in [
        accept(2, &["a@x.example"], b"two"),
        done(1, 0),
        accept(3, &["a@x.example"], b"x"),
    ] {
        let refused = spool.commit_wait(vec![op]);
        assert!(
            matches!(refused, Err(CommitError::Poisoned(_))),
            "{refused:?}"
        );
    }
    assert!(matches!(spool.health().standing, Standing::Lost(_)));
}

fn segment(disk: &SimDisk) -> String {
    disk.names()
        .into_iter()
        .find(|n| n.starts_with("hot-"))
        .unwrap()
}

#[test]
fn damage_in_the_middle_is_set_aside_and_the_rest_is_read() {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    for id in 1..=5 {
        spool
            .commit_wait(vec![accept(id, &["a@x.example"], &[b'm'; 2000])])
            .unwrap();
    }
    drop(spool);
    // The third commit stands on the fourth page.
    disk.damage(&segment(&disk), 3 * 4096 + 700, b"rot")
        .unwrap();
    let index = Arc::new(MemoryIndex::new());
    let (spool, recovered) = open(&disk, &index);
    assert_eq!(recovered.waiting, 4);
    assert_eq!(recovered.quarantined.len(), 1);
    assert!(disk.names().contains(&recovered.quarantined[0].file));
    assert_eq!(spool.read(QueueId::from_u64(3)).unwrap(), None);
    assert!(spool.read(QueueId::from_u64(5)).unwrap().is_some());
}

#[test]
fn a_torn_tail_ends_the_log_quietly_and_is_written_over() {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    for id in 1..=3 {
        spool
            .commit_wait(vec![accept(id, &["a@x.example"], &[b'm'; 2000])])
            .unwrap();
    }
    drop(spool);
    disk.damage(&segment(&disk), 3 * 4096 + 700, b"rot")
        .unwrap();
    let (spool, recovered) = open(&disk, &Arc::new(MemoryIndex::new()));
    assert_eq!((recovered.waiting, recovered.quarantined), (2, vec![]));
    spool
        .commit_wait(vec![accept(4, &["a@x.example"], b"after")])
        .unwrap();
    drop(spool);
    let (_, recovered) = open(&disk, &Arc::new(MemoryIndex::new()));
    assert_eq!((recovered.waiting, recovered.quarantined), (3, vec![]));
}

#[test]
fn a_body_cannot_forge_a_header() {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    spool
        .commit_wait(vec![accept(1, &["victim@x.example"], b"secret")])
        .unwrap();
    drop(spool);
    // A whole frame of another spool, page for page, with damage in front of it.
    let other = SimDisk::new(2);
    let foreign = Options {
        nonce_seed: 43,
        ..options()
    };
    let (spool, _) = Spool::open(
        foreign,
        Arc::new(other.clone()),
        Arc::new(MemoryIndex::new()),
    )
    .unwrap();
    spool
        .commit_wait(vec![accept(66, &["forged@x.example"], b"forged")])
        .unwrap();
    let frames = other.contents(&segment(&other)).unwrap()[4096..8192].to_vec();
    let (spool, _) = open(&disk, &index);
    spool
        .commit_wait(vec![accept(2, &["a@x.example"], &frames)])
        .unwrap();
    spool
        .commit_wait(vec![accept(3, &["a@x.example"], b"last")])
        .unwrap();
    drop(spool);
    disk.damage(&segment(&disk), 2 * 4096, b"rot").unwrap();
    let (spool, recovered) = open(&disk, &Arc::new(MemoryIndex::new()));
    assert_eq!(recovered.quarantined.len(), 1);
    assert_eq!(spool.count(&Filter::all(), NOW).unwrap(), 2);
    assert!(spool.read(QueueId::from_u64(66)).unwrap().is_none());
}

#[test]
fn a_recycled_segment_never_brings_a_delivered_mail_back() {
    let (disk, index) = (SimDisk::new(3), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    // One waits in every segment, so that its neighbours' segments are copied, then it is done.
    for id in 1..=120 {
        spool
            .commit_wait(vec![accept(id, &["a@x.example"], &[0; 3000])])
            .unwrap();
        if id % 10 != 0 {
            spool.commit_wait(vec![done(id, 0)]).unwrap();
        }
        spool.step();
    }
    for id in (10..=120).step_by(10) {
        spool.commit_wait(vec![done(id, 0)]).unwrap();
    }
    for id in 121..=200 {
        spool
            .commit_wait(vec![accept(id, &["a@x.example"], &[0; 3000]), done(id, 0)])
            .unwrap();
        spool.step();
    }
    assert!(log_of(&spool).bytes_moved > 0 && log_of(&spool).reclaimed > 5);
    drop(spool);
    disk.restart();
    let (_, recovered) = open(&disk, &Arc::new(MemoryIndex::new()));
    assert_eq!(recovered.waiting, 0);
}

#[test]
fn reclaiming_never_loses_a_survivor() {
    let (disk, index) = (SimDisk::new(4), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    for id in 1..=200 {
        spool
            .commit_wait(vec![accept(id, &["a@x.example"], &[id as u8; 3000])])
            .unwrap();
        if id % 10 != 0 {
            spool.commit_wait(vec![done(id, 0)]).unwrap();
        }
        spool.step();
    }
    assert!(log_of(&spool).bytes_moved > 0 && log_of(&spool).reclaimed > 5);
    for keep_index in [true, false] {
        disk.restart();
        let index = if keep_index {
            Arc::clone(&index)
        } else {
            Arc::new(MemoryIndex::new())
        };
        let (spool, _) = open(&disk, &index);
        for id in (10..=200).step_by(10) {
            let read = spool.read(QueueId::from_u64(id)).unwrap().unwrap();
            assert_eq!(read.content, vec![id as u8; 3000]);
        }
    }
}

#[test]
fn a_large_body_in_a_file_goes_with_its_mail() {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    let large = message(1, &["a@x.example"], &[b'z'; 700_000]);
    let ops = vec![Op::Accept {
        message: large.clone(),
        states: vec![RecipientState::default()],
        token: None,
    }];
    spool.commit_wait(ops).unwrap();
    assert_eq!(bodies(&disk).len(), 1);
    drop(spool);
    disk.restart();
    let (spool, _) = open(&disk, &index);
    assert_eq!(spool.read(large.id).unwrap(), Some(large));
    spool.commit_wait(vec![done(1, 0)]).unwrap();
    spool.step();
    assert!(
        !disk.names().iter().any(|n| n.starts_with("bodies/")),
        "{:?}",
        disk.names()
    );
}

/// The segment files of format 1 as a directory would hold them, and how many recipients wait in
/// each: five mails were accepted and the second is done.
const FIXTURES: [(&str, &[u8], u64, usize); 3] = [
    ("whole", include_bytes!("fixtures/v1-whole.seg"), 4, 0),
    (
        "torn tail",
        include_bytes!("fixtures/v1-torn-tail.seg"),
        3,
        0,
    ),
    (
        "damaged middle",
        include_bytes!("fixtures/v1-damaged-middle.seg"),
        3,
        1,
    ),
];

/// What the fixture of format 2 was made with: a mail with labels, one with a content in a file, outcomes.
fn make_fixture() -> Vec<u8> {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    for id in 1..=4 {
        let ops = vec![accept(id, &["a@x.example"], FIXTURE_CONTENT)];
        spool.commit_wait(ops).unwrap();
    }
    spool.commit_wait(vec![done(2, 0)]).unwrap();
    let mut labelled = message(5, &["a@x.example"], FIXTURE_CONTENT);
    labelled.labels = fixture_labels();
    let labelled = Op::Accept {
        message: labelled,
        states: vec![RecipientState::default()],
        token: Some("drop-5".to_owned()),
    };
    spool.commit_wait(vec![labelled]).unwrap();
    disk.contents(&segment(&disk)).unwrap()[..7 * 4096].to_vec()
}

const FIXTURE_CONTENT: &[u8] = b"Subject: fixture\r\nMessage-ID: <1@x.example>\r\n\r\nbody\r\n";

fn fixture_labels() -> mail::Labels {
    mail::Labels {
        tags: vec!["invoice".to_owned(), "2026".to_owned()],
        metadata: [("order".to_owned(), "4711".to_owned())].into(),
        ..mail::Labels::of(FIXTURE_CONTENT)
    }
}

const FIXTURE_2: &[u8] = include_bytes!("fixtures/v2-labels.seg");

#[test]
fn spools_of_format_1_are_read() {
    for (name, segment, waiting, quarantined) in FIXTURES {
        let disk = SimDisk::new(1);
        disk.put("hot-0000000001.seg", segment);
        let (spool, recovered) = open(&disk, &Arc::new(MemoryIndex::new()));
        assert_eq!(recovered.waiting, waiting, "{name}");
        assert_eq!(recovered.quarantined.len(), quarantined, "{name}");
        let read = spool.read(QueueId::from_u64(4)).unwrap().unwrap();
        let content = b"Subject: fixture\r\n\r\nbody\r\n";
        assert_eq!(read, message(4, &["a@x.example"], content), "{name}");
        // They are written on, and what is begun after them is of this format.
        for id in 10..60 {
            let ops = vec![accept(id, &["a@x.example"], &[b'n'; 3000])];
            spool.commit_wait(ops).unwrap();
        }
        drop(spool);
        let (spool, recovered) = open(&disk, &Arc::new(MemoryIndex::new()));
        assert_eq!(recovered.waiting, waiting + 50, "{name}");
        assert_eq!(
            spool
                .read(QueueId::from_u64(4))
                .unwrap()
                .unwrap()
                .content
                .as_ref(),
            content
        );
    }
}

#[test]
fn spools_of_format_2_are_read_with_their_labels() {
    let disk = SimDisk::new(1);
    disk.put("hot-0000000001.seg", FIXTURE_2);
    let (spool, recovered) = open(&disk, &Arc::new(MemoryIndex::new()));
    assert_eq!((recovered.waiting, recovered.quarantined), (4, vec![]));
    let read = spool.read(QueueId::from_u64(5)).unwrap().unwrap();
    assert_eq!(read.labels, fixture_labels());
    let filter = Filter::parse("message-id:1@x.example subject:FIX").unwrap();
    assert_eq!(spool.count(&filter, NOW).unwrap(), 4);
}

#[test]
fn the_format_is_still_the_one_that_the_fixture_was_written_in() {
    // The nonce comes from a hash that is not a part of the format.
    let now = make_fixture();
    assert_eq!(now.len(), FIXTURE_2.len());
    assert_eq!(now[..16], FIXTURE_2[..16]);
    for page in 1..7 {
        let records = page * 4096 + 48 + 12..(page + 1) * 4096;
        assert_eq!(now[records.clone()], FIXTURE_2[records], "page {page}");
    }
}

#[test]
fn labels_are_kept_with_the_mail_its_copies_and_the_history() {
    let dir = Dir::new("labels");
    let options = Options {
        hot_segments: 1,
        ..options()
    };
    let labelled = |id: u64, content: &[u8]| {
        let mut message = message(id, &["a@x.example"], content);
        message.labels.tags = vec!["invoice".to_owned()];
        message.labels.metadata = [("order".to_owned(), id.to_string())].into();
        let labels = message.labels.clone();
        let op = Op::Accept {
            message,
            states: vec![RecipientState::default()],
            token: None,
        };
        (op, labels)
    };
    let large = [FIXTURE_CONTENT, &[b'z'; 20_000]].concat();
    let (first, in_log) = labelled(1, FIXTURE_CONTENT);
    let (second, in_file) = labelled(2, &large);
    let (spool, _) = Spool::open_dir(&dir.0, options.clone()).unwrap();
    spool.commit_wait(vec![first]).unwrap();
    spool.commit_wait(vec![second]).unwrap();
    // They are moved.
    for id in 100..300 {
        let ops = vec![accept(id, &["b@x.example"], &[0; 3000]), done(id, 0)];
        spool.commit_wait(ops).unwrap();
        spool.step();
    }
    let read = |id| spool.read(QueueId::from_u64(id)).unwrap().unwrap().labels;
    assert_eq!((read(1), read(2)), (in_log.clone(), in_file.clone()));
    let filter = Filter::parse("message-id:<1@x.example>").unwrap();
    let rows = spool.query(&filter, Page::ALL, NOW).unwrap();
    let labels: Vec<_> = rows.into_iter().map(|row| row.labels).collect();
    assert_eq!(labels, [in_log.clone(), in_file.clone()]);
    drop(spool);
    std::fs::remove_file(dir.0.join("index.db")).unwrap();
    let (spool, _) = Spool::open_dir(&dir.0, options).unwrap();
    let read = |id| spool.read(QueueId::from_u64(id)).unwrap().unwrap().labels;
    assert_eq!((read(1), read(2)), (in_log.clone(), in_file.clone()));
    spool.commit_wait(vec![done(1, 0), done(2, 0)]).unwrap();
    let filter = HistoryFilter {
        message_id: in_log.message_id.clone(),
        ..HistoryFilter::default()
    };
    let rows = spool.history(&filter, 0, 10).unwrap();
    let labels: Vec<_> = rows.into_iter().map(|row| row.labels).collect();
    assert_eq!(labels, [in_file, in_log]);
    let found = |tag: &str, name: &str, value: &str| {
        let filter = HistoryFilter {
            tags: vec![tag.to_owned()],
            metadata: vec![(name.to_owned(), value.to_owned())],
            ..HistoryFilter::default()
        };
        let rows = spool.history(&filter, 0, 10).unwrap();
        rows.iter().map(|r| r.key.id.as_u64()).collect::<Vec<_>>()
    };
    assert_eq!(found("invoice", "Order", "2"), [2]);
    assert!(found("invoice", "order", "3").is_empty());
    assert!(found("invoices", "order", "2").is_empty());
}

#[test]
fn what_little_lives_in_a_segment_does_not_keep_all_after_it() {
    let disk = SimDisk::new(1);
    let options = Options {
        hot_segments: 100,
        ..options()
    };
    let opened = || {
        Spool::open(
            options.clone(),
            Arc::new(disk.clone()),
            Arc::new(MemoryIndex::new()),
        )
    };
    let (spool, _) = opened().unwrap();
    let name = "hold/rule".to_owned();
    let value = Some("text".to_owned());
    let control = Op::Control {
        name: name.clone(),
        value: value.clone(),
    };
    spool.commit_wait(vec![control]).unwrap();
    spool
        .commit_wait(vec![accept(1, &["a@x.example"], b"waits")])
        .unwrap();
    for id in 100..400 {
        let ops = vec![accept(id, &["b@x.example"], &[0; 3000]), done(id, 0)];
        spool.commit_wait(ops).unwrap();
        spool.step();
    }
    let stats = log_of(&spool);
    assert!(stats.hot_segments <= 3, "{stats:?}");
    assert!(stats.bytes_moved < 16 << 10, "{stats:?}");
    drop(spool);
    let (spool, recovered) = opened().unwrap();
    assert_eq!(recovered.waiting, 1);
    assert_eq!(spool.control(&name), value);
    let read = spool.read(QueueId::from_u64(1)).unwrap().unwrap();
    assert_eq!(&read.content[..], b"waits");
}

#[test]
fn a_busy_queue_finds_longer_segments_ready_and_gives_the_room_back() {
    const MIB: u64 = 1 << 20;
    let disk = SimDisk::new(1);
    let options = Options {
        segment_bytes: 32 << 20,
        ..options()
    };
    let index = Arc::new(MemoryIndex::new());
    let (spool, _) = Spool::open(options, Arc::new(disk.clone()), index).unwrap();
    let lengths = |kind: &str| {
        let names: Vec<String> = disk.list("").unwrap();
        let names = names.into_iter();
        let names = names.filter(|n| n.starts_with(kind) && n.ends_with(".seg"));
        let mut lengths: Vec<u64> = names
            .map(|n| disk.contents(&n).unwrap().len() as u64 / MIB)
            .collect();
        lengths.sort_unstable();
        lengths
    };
    while spool.step() {}
    assert_eq!(lengths("free"), [2, 2, 2]);
    let mut begun = Vec::new();
    for id in 1..150 {
        let ops = vec![accept(id, &["a@x.example"], &[7; 250_000]), done(id, 0)];
        spool.commit_wait(ops).unwrap();
        begun.extend(lengths("hot"));
        while spool.step() {}
    }
    begun.dedup();
    // The first grew while mail came in; each one after it was ready before it was needed.
    assert_eq!(begun, [2, 4, 8, 16, 32]);
    // Twice, since the last segment goes only when another was begun.
    for _ in 0..650 {
        spool.step();
    }
    let last = lengths("hot").into_iter().chain(lengths("free"));
    assert_eq!(last.collect::<Vec<_>>(), [2, 2, 2, 2]);
}

#[test]
fn a_spool_of_a_later_format_is_refused_with_what_to_do() {
    let disk = SimDisk::new(1);
    let mut newer = FIXTURES[0].1.to_vec();
    newer[8] = 3;
    disk.put("hot-0000000001.seg", &newer);
    let opened = Spool::open(options(), Arc::new(disk), Arc::new(MemoryIndex::new()));
    let refused = opened.err().unwrap().to_string();
    assert!(
        refused.contains("format 3") && refused.contains("run the release"),
        "{refused}"
    );
}

#[test]
fn threads_that_accept_deliver_and_reclaim_at_once_lose_and_resurrect_nothing() {
    let dir = Dir::new("threads");
    let options = Options {
        threads: true,
        index_interval: std::time::Duration::from_millis(5),
        ..options()
    };
    let (spool, _) = Spool::open_dir(&dir.0, options.clone()).unwrap();
    std::thread::scope(|scope| {
        for worker in 1..=4u64 {
            let spool = &spool;
            scope.spawn(move || {
                for n in 0..300 {
                    let id = worker * 10_000 + n;
                    let ops = vec![accept(
                        id,
                        &["a@x.example", "b@y.example"],
                        &[id as u8; 2000],
                    )];
                    spool.commit_wait(ops).unwrap();
                    spool.commit_wait(vec![done(id, 0)]).unwrap();
                    // What is old is finished while it is being copied.
                    if n >= 20 && n % 10 != 0 {
                        spool.commit_wait(vec![done(id - 20, 1)]).unwrap();
                    }
                    if n % 50 == 0 {
                        let read = spool.read(QueueId::from_u64(id)).unwrap().unwrap();
                        assert_eq!(read.content, vec![id as u8; 2000]);
                    }
                }
            });
        }
    });
    let expected: Vec<_> = (1..=4u64)
        .flat_map(|worker| (0..300).map(move |n| (worker * 10_000 + n, n)))
        .filter(|(_, n)| *n >= 280 || n % 10 == 0)
        .map(|(id, _)| key(id, 1))
        .collect();
    assert_eq!(spool.keys(&Filter::all(), NOW).unwrap(), expected);
    assert!(log_of(&spool).bytes_moved > 0, "{:?}", spool.figures());
    drop(spool);
    for delete in [false, true] {
        if delete {
            std::fs::remove_file(dir.0.join("index.db")).unwrap();
        }
        let (spool, recovered) = Spool::open_dir(&dir.0, options.clone()).unwrap();
        assert_eq!(recovered.waiting, expected.len() as u64);
        assert_eq!(spool.keys(&Filter::all(), NOW).unwrap(), expected);
        for key in &expected {
            let read = spool.read(key.id).unwrap().unwrap();
            assert_eq!(read.content, vec![key.id.as_u64() as u8; 2000]);
        }
        let history = spool.history(&HistoryFilter::default(), 0, 10_000).unwrap();
        assert_eq!(history.len(), 2400 - expected.len());
    }
}

fn bodies(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.names();
    names.retain(|name| name.starts_with("bodies/"));
    names
}

#[test]
fn a_refused_commit_leaves_no_content_behind() {
    let large = [b'z'; 20_000];
    for threads in [false, true] {
        let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
        let options = Options {
            threads,
            ..options()
        };
        let disk_of = Arc::new(disk.clone());
        let (spool, _) = Spool::open(options, disk_of, index).unwrap();
        // Room for the contents, and none for a log that takes as much again.
        let used = |disk: &SimDisk| -> usize {
            let names = disk.names().into_iter();
            names.map(|n| disk.contents(&n).unwrap().len()).sum()
        };
        disk.set_capacity(used(&disk) as u64 + 40_000);
        let mut many: Vec<Op> = (1..=20)
            .map(|id| accept(id, &["a@x.example"], &[0; 6000]))
            .collect();
        many.push(accept(21, &["a@x.example"], &large));
        let refused = spool.commit_wait(many).unwrap_err();
        assert!(matches!(refused, CommitError::Full(_)), "{refused}");
        assert_eq!(bodies(&disk), Vec::<String>::new());
        disk.set_capacity(u64::MAX / 2);
        if threads {
            // Housekeeping sees the room in its own time.
            continue;
        }
        spool.step();
        spool
            .commit_wait(vec![accept(40, &["a@x.example"], &large)])
            .unwrap();
        assert_eq!(bodies(&disk).len(), 1);
    }
}

#[test]
fn a_failed_write_takes_the_content_with_it() {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    spool
        .commit_wait(vec![accept(1, &["a@x.example"], b"one")])
        .unwrap();
    // Creating, writing and syncing the content, syncing its directory; then the log is written.
    disk.inject(4, Fault::Error);
    let refused = spool
        .commit_wait(vec![accept(2, &["a@x.example"], &[0; 20_000])])
        .unwrap_err();
    assert!(!disk.clear_fault());
    assert!(matches!(refused, CommitError::Full(_)), "{refused}");
    assert_eq!(bodies(&disk), Vec::<String>::new());
}

#[test]
fn a_content_does_not_take_the_room_that_outcomes_need() {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    let options = Options {
        reserve_bytes: 100_000,
        ..options()
    };
    let (spool, _) = Spool::open(options, Arc::new(disk.clone()), index).unwrap();
    let used: usize = disk
        .names()
        .iter()
        .map(|n| disk.contents(n).unwrap().len())
        .sum();
    disk.set_capacity(used as u64 + 110_000);
    let before = disk.operations();
    let refused = spool
        .commit_wait(vec![accept(1, &["a@x.example"], &[0; 20_000])])
        .unwrap_err();
    assert!(matches!(refused, CommitError::Full(_)), "{refused}");
    // Nothing was written; a content that is not there is removed.
    assert_eq!(disk.operations(), before + 1);
    spool
        .commit_wait(vec![accept(2, &["a@x.example"], b"small")])
        .unwrap();
}

#[test]
fn what_hosts_say_is_cut_and_an_op_stays_in_its_bound() {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    let mut said = verdict(Outcome::Deferred, &"\u{e9}".repeat(50_000));
    said.host = Some(mail::PeerHost {
        name: "h".repeat(5000),
        address: Some("[2001:db8::1]:25".parse().unwrap()),
    });
    let state = |last| RecipientState {
        last: Some(last),
        attempts: u32::MAX,
        ..RecipientState::default()
    };
    let transcript = Some("t".repeat(1 << 20));
    spool
        .commit_wait(vec![accept(1, &["a@x.example", "b@x.example"], b"one")])
        .unwrap();
    let before = spool.figures().live_bytes;
    let ops = vec![Op::State {
        key: key(1, 0),
        state: state(said.clone()),
        transcript: transcript.clone(),
    }];
    spool.commit_wait(ops).unwrap();
    let taken = spool.figures().live_bytes - before;
    assert!(taken <= Op::STATE_MAX as u64, "{taken}");
    let before = spool.figures().live_bytes;
    let ops = vec![Op::Done {
        key: key(1, 1),
        verdict: said,
        attempts: u32::MAX,
        transcript,
    }];
    spool.commit_wait(ops).unwrap();
    let taken = spool.figures().live_bytes - before;
    assert!(taken <= Op::STATE_MAX as u64, "{taken}");

    let kept = spool.state(key(1, 0)).unwrap().unwrap().last.unwrap();
    assert!(kept.reply.text.len() <= Op::REPLY_MAX && kept.reply.text.ends_with(" [cut]"));
    let attempt = &spool.attempts(QueueId::from_u64(1)).unwrap()[0];
    let transcript = attempt.transcript.as_ref().unwrap();
    assert_eq!(transcript.len(), Op::TRANSCRIPT_MAX);
    assert!(transcript.ends_with("t [cut]"));
    assert_eq!(attempt.verdict, kept);
}

#[test]
fn draining_waits_for_every_commit_before_it() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let dir = Dir::new("drain");
    let options = Options {
        threads: true,
        ..options()
    };
    let (spool, _) = Spool::open_dir(&dir.0, options).unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    for id in 1..=60 {
        let answered = Arc::clone(&answered);
        // Some go to files first.
        let len = if id % 10 == 0 { 20_000 } else { 500 };
        let op = accept(id, &["a@x.example"], &vec![0; len]);
        let done = move |result: Result<(), CommitError>| {
            result.unwrap();
            answered.fetch_add(1, Ordering::SeqCst);
        };
        spool.commit(vec![op], Box::new(done));
        if id % 20 == 0 {
            spool.drain();
            assert_eq!(answered_so_far(&spool), id);
        }
    }
    assert_eq!(answered.load(Ordering::SeqCst), 60);
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    let (tell, told) = std::sync::mpsc::channel();
    let op = accept(1, &["a@x.example"], b"one");
    spool.commit(vec![op], Box::new(move |r| tell.send(r.is_ok()).unwrap()));
    spool.drain();
    assert_eq!(told.try_recv(), Ok(true));
}

fn answered_so_far(spool: &Spool) -> u64 {
    spool.flush_index().unwrap();
    spool.count(&Filter::all(), NOW).unwrap()
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn an_index_is_checked_unless_it_was_closed_in_order() {
    let dir = Dir::new("checked");
    let file = dir.0.join("index.db");
    // Where the header of a file of SQLite has the application's id.
    let mark = || std::fs::read(&file).unwrap()[68..72].to_vec();
    let opened = || Spool::open_dir(&dir.0, options()).unwrap();
    let (spool, _) = opened();
    for id in 1..=300 {
        let to = format!("recipient-{id}@x.example");
        spool
            .commit_wait(vec![accept(id, &[&to], b"hello")])
            .unwrap();
    }
    spool.close();
    assert_eq!(mark(), [0x5e, 0x0d, 0x0f, 0xf1]);

    // Not closed: as a crash leaves the files.
    let (spool, recovered) = opened();
    assert_eq!((recovered.waiting, recovered.index_rebuilt), (300, false));
    let copy = Dir::new("checked-copy");
    std::fs::create_dir_all(&copy.0).unwrap();
    for name in ["index.db", "index.db-wal"] {
        std::fs::copy(dir.0.join(name), copy.0.join(name)).unwrap();
    }
    drop(spool);
    let crashed = spool::SqliteIndex::open(&copy.0).unwrap();
    drop(crashed);
    let left = std::fs::read(copy.0.join("index.db")).unwrap();
    assert_eq!(left[68..72], [0; 4], "it was used since it was marked");

    // Damaged where nothing is read at the start, and not closed: found by the check.
    let (spool, _) = opened();
    let killed = Dir::new("checked-killed");
    copy_dir(&dir.0, &killed.0);
    drop(spool);
    let file_of_killed = killed.0.join("index.db");
    let sql = "SELECT rootpage FROM sqlite_master WHERE name = 'recipient_due'";
    let root: u32 = rusqlite::Connection::open(&file_of_killed)
        .and_then(|index| index.query_row(sql, [], |row| row.get(0)))
        .unwrap();
    let mut bytes = std::fs::read(&file_of_killed).unwrap();
    let end = root as usize * 4096;
    bytes[end - 4096..end].fill(0x55);
    std::fs::write(&file_of_killed, bytes).unwrap();
    let (spool, recovered) = Spool::open_dir(&killed.0, options()).unwrap();
    assert_eq!((recovered.waiting, recovered.index_rebuilt), (300, true));
    assert!(killed.0.join("quarantine/index-1.db").exists());
    drop(spool);

    // Damaged after it was closed in order: found when it is read.
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[4096..].fill(0x55);
    std::fs::write(&file, bytes).unwrap();
    let (spool, recovered) = opened();
    assert_eq!((recovered.waiting, recovered.index_rebuilt), (300, true));
    assert_eq!(spool.count(&Filter::all(), NOW).unwrap(), 300);
    spool.close();
    assert_eq!(mark(), [0x5e, 0x0d, 0x0f, 0xf1]);
}
