//! Bad disks, bad copies and foolish settings: what is whole survives them, what is lost is named, and
//! nothing is silent.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use std::sync::Arc;
use std::sync::mpsc;

use mail::{Outcome, QueueId, RecipientKey, RecipientState, Timestamp};
use sim::{Fault, SimDisk};
use spool::{Index, MemoryIndex, Options, Recovered, Spool, Storage};
use store::conformance::{message, verdict};
use store::{
    CommitError, Damage, Damaged, Filter, HistoryFilter, LogFigures, Op, ReadError, Standing,
};

fn log_of(spool: &Spool) -> LogFigures {
    spool.figures().log.expect("the spool is a log")
}

const NOW: Timestamp = Timestamp::from_secs(1_800_000_500);
const PAGE: usize = 4096;

fn options(segment_bytes: u32) -> Options {
    Options {
        segment_bytes,
        hot_segments: 2,
        reserve_bytes: 0,
        ballast_bytes: 0,
        nonce_seed: 42,
        threads: false,
        ..Options::default()
    }
}

fn open(disk: &SimDisk, index: &Arc<MemoryIndex>, segment_bytes: u32) -> (Spool, Recovered) {
    let index = Arc::<MemoryIndex>::clone(index);
    Spool::open(options(segment_bytes), Arc::new(disk.clone()), index).unwrap()
}

fn start() -> (SimDisk, Arc<MemoryIndex>) {
    (SimDisk::new(1), Arc::new(MemoryIndex::new()))
}

const fn id(n: u64) -> QueueId {
    QueueId::from_u64(n)
}

const fn key(n: u64, recipient: u32) -> RecipientKey {
    RecipientKey {
        id: id(n),
        recipient,
    }
}

fn content(n: u64) -> Vec<u8> {
    let mut content = format!("Subject: {n}\r\n\r\nMARK-{n}#\r\n").into_bytes();
    content.resize(3000, b'.');
    content
}

fn accept(n: u64, recipients: &[&str], content: &[u8]) -> Op {
    Op::Accept {
        message: message(n, recipients, content),
        states: vec![RecipientState::default(); recipients.len()],
        token: None,
    }
}

fn done(key: RecipientKey) -> Op {
    Op::Done {
        key,
        verdict: verdict(Outcome::Delivered, "ok"),
        attempts: 1,
        transcript: None,
    }
}

fn tried(key: RecipientKey, attempts: u32, reply: &str) -> Op {
    Op::State {
        key,
        state: RecipientState {
            attempts,
            last: Some(verdict(Outcome::Deferred, reply)),
            ..RecipientState::default()
        },
        transcript: None,
    }
}

/// Takes mails `from..to` in, each with a content that names it.
fn take_in(spool: &Spool, from: u64, to: u64) {
    for n in from..to {
        let ops = vec![accept(n, &["a@x.example"], &content(n))];
        spool.commit_wait(ops).unwrap();
        spool.step();
    }
}

/// As [`take_in`], with housekeeping at rest.
fn take_in_alone(spool: &Spool, from: u64, to: u64) {
    for n in from..to {
        let ops = vec![accept(n, &["a@x.example"], &content(n))];
        spool.commit_wait(ops).unwrap();
    }
}

/// Lets housekeeping do all that it wants to.
fn settle(spool: &Spool) {
    for _ in 0..50 {
        spool.step();
    }
}

/// Mail goes through until every segment that stood there before is reclaimed or moved.
fn turn_over(spool: &Spool, from: u64) {
    for n in from..from + 200 {
        let ops = vec![accept(n, &["z@z.example"], &[0; 3000]), done(key(n, 0))];
        spool.commit_wait(ops).unwrap();
        spool.step();
    }
}

fn waiting(spool: &Spool) -> u64 {
    spool.count(&Filter::all(), NOW).unwrap()
}

fn all_are_whole(spool: &Spool, from: u64, to: u64) {
    for n in from..to {
        let read = spool.read(id(n)).unwrap();
        let read = read.unwrap_or_else(|| panic!("mail {n} is gone"));
        assert_eq!(read.content, content(n));
    }
}

fn segments(disk: &SimDisk, lane: &str) -> Vec<String> {
    let names = disk.names().into_iter();
    names
        .filter(|n| n.starts_with(lane) && n.ends_with(".seg"))
        .collect()
}

/// The segment that holds this mark, and where.
fn find(disk: &SimDisk, mark: &[u8]) -> (String, usize) {
    let used = ["hot", "cold"].map(|lane| segments(disk, lane)).concat();
    let found = used.into_iter().find_map(|name| {
        let bytes = disk.contents(&name).unwrap();
        let at = bytes.windows(mark.len()).position(|w| w == mark)?;
        Some((name, at))
    });
    found.expect("it is in a segment")
}

fn mark(n: u64) -> Vec<u8> {
    format!("MARK-{n}#").into_bytes()
}

#[test]
fn a_smaller_or_larger_segment_size_loses_nothing() {
    for (before, after) in [(512 << 10, 64 << 10), (64 << 10, 512 << 10)] {
        for keep_index in [true, false] {
            let (disk, index) = start();
            let (spool, _) = open(&disk, &index, before);
            take_in(&spool, 1, 200);
            drop(spool);
            disk.kill();
            if !keep_index {
                Index::clear(&*index).unwrap();
            }
            let (spool, recovered) = open(&disk, &index, after);
            assert_eq!((recovered.waiting, recovered.quarantined), (199, vec![]));
            all_are_whole(&spool, 1, 200);
            // What was reclaimed under the new setting is there as well.
            turn_over(&spool, 1000);
            all_are_whole(&spool, 1, 200);
            drop(spool);
            disk.restart();
            Index::clear(&*index).unwrap();
            let (spool, recovered) = open(&disk, &index, after);
            assert_eq!((recovered.waiting, recovered.quarantined), (199, vec![]));
            all_are_whole(&spool, 1, 200);
        }
    }
}

#[test]
fn a_copy_larger_than_a_segment_is_found_again_without_an_index() {
    let (disk, index) = start();
    let segment = 64 << 10;
    let (spool, _) = open(&disk, &index, segment);
    let recipients: Vec<String> = (0..100).map(|n| format!("r{n}@x.example")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let ops = vec![accept(1, &recipients, &content(1))];
    spool.commit_wait(ops).unwrap();
    // A hundred replies of 1.5 kB each: the copy, which has them all, is 150 kB.
    for n in 0..100 {
        let ops = vec![tried(key(1, n), n + 1, &"long ".repeat(300))];
        spool.commit_wait(ops).unwrap();
    }
    // Others are moved after it.
    take_in(&spool, 2, 40);
    turn_over(&spool, 1000);
    assert!(
        log_of(&spool).bytes_moved > 150_000,
        "{:?}",
        spool.figures()
    );
    turn_over(&spool, 2000);
    drop(spool);
    disk.restart();
    Index::clear(&*index).unwrap();
    let (spool, recovered) = open(&disk, &index, segment);
    assert_eq!((recovered.waiting, recovered.quarantined), (138, vec![]));
    all_are_whole(&spool, 1, 40);
    for n in 0..100 {
        let state = spool.state(key(1, n)).unwrap().unwrap();
        assert_eq!(state.attempts, n + 1, "recipient {n}");
    }
}

#[test]
fn a_commit_larger_than_a_segment_is_taken_and_found_again() {
    let (disk, index) = start();
    let (spool, _) = open(&disk, &index, 64 << 10);
    let ops = (1..=60).map(|n| accept(n, &["a@x.example"], &content(n)));
    spool.commit_wait(ops.collect()).unwrap();
    take_in(&spool, 61, 80);
    drop(spool);
    disk.restart();
    Index::clear(&*index).unwrap();
    let (spool, recovered) = open(&disk, &index, 64 << 10);
    assert_eq!((recovered.waiting, recovered.quarantined), (79, vec![]));
    all_are_whole(&spool, 1, 80);
}

/// The mails that are told as lost, and that a missing file is to blame.
fn told(spool: &Spool) -> Vec<u64> {
    let damaged = spool.take_damaged();
    let id = |d: &Damaged| match d.what {
        Damage::Message(id) => Some(id.as_u64()),
        Damage::State(_) | _ => None,
    };
    let mut ids: Vec<u64> = damaged.iter().filter_map(id).collect();
    ids.sort_unstable();
    ids
}

/// The mails of `1..to` that cannot be read.
fn unreadable(spool: &Spool, to: u64) -> Vec<u64> {
    let lost = |n: &u64| matches!(spool.read(id(*n)), Err(ReadError::Damaged(_)));
    (1..to).filter(lost).collect()
}

#[test]
fn a_missing_segment_is_told_and_each_mail_in_it_is_named_and_ends() {
    let (disk, index) = start();
    let (spool, _) = open(&disk, &index, 64 << 10);
    take_in(&spool, 1, 120);
    settle(&spool);
    assert!(segments(&disk, "cold").len() > 1 && segments(&disk, "hot").len() > 1);
    drop(spool);
    for victim in ["cold", "hot"].map(|lane| segments(&disk, lane)).concat() {
        let (disk, index) = start();
        let (spool, _) = open(&disk, &index, 64 << 10);
        take_in(&spool, 1, 120);
        settle(&spool);
        drop(spool);
        disk.kill();
        disk.lose(&victim).unwrap();
        let (spool, recovered) = open(&disk, &index, 64 << 10);
        assert_eq!(recovered.missing.len(), 1, "{victim}: {recovered:?}");
        assert_eq!(recovered.missing[0].segment, victim);
        assert!(recovered.missing[0].first.is_some(), "{recovered:?}");
        assert!(!recovered.index_rebuilt);
        // They are listed, they say what happened to them, and they wait for their end.
        assert_eq!(waiting(&spool), 119);
        let lost = told(&spool);
        assert!(!lost.is_empty(), "{victim}");
        assert_eq!(unreadable(&spool, 120), lost);
        for n in &lost {
            spool.commit_wait(vec![done(key(*n, 0))]).unwrap();
        }
        turn_over(&spool, 1000);
        drop(spool);
        disk.restart();
        let (spool, recovered) = open(&disk, &index, 64 << 10);
        assert_eq!(recovered.missing, [], "it is told once");
        assert_eq!(waiting(&spool), 119 - lost.len() as u64);
        assert_eq!(told(&spool), [0; 0]);
    }
}

#[test]
fn a_missing_segment_is_told_without_an_index_too() {
    let (disk, index) = start();
    let (spool, _) = open(&disk, &index, 64 << 10);
    take_in(&spool, 1, 120);
    settle(&spool);
    drop(spool);
    let victims = ["cold", "hot"].map(|lane| segments(&disk, lane)[0].clone());
    for victim in victims {
        let (disk, index) = start();
        let (spool, _) = open(&disk, &index, 64 << 10);
        take_in(&spool, 1, 120);
        settle(&spool);
        drop(spool);
        disk.kill();
        disk.lose(&victim).unwrap();
        let (_, recovered) = open(&disk, &Arc::new(MemoryIndex::new()), 64 << 10);
        let missing: Vec<&str> = recovered
            .missing
            .iter()
            .map(|m| m.segment.as_str())
            .collect();
        assert_eq!(missing, [victim.as_str()]);
    }
}

#[test]
fn a_queue_without_any_segment_is_told_and_its_mails_are_named() {
    for lose_list in [false, true] {
        let (disk, index) = start();
        let (spool, _) = open(&disk, &index, 64 << 10);
        take_in(&spool, 1, 4);
        spool.flush_index().unwrap();
        drop(spool);
        disk.kill();
        for name in segments(&disk, "hot") {
            disk.lose(&name).unwrap();
        }
        if lose_list {
            disk.lose("segments").unwrap();
        }
        let (spool, recovered) = open(&disk, &index, 64 << 10);
        assert!(!recovered.index_rebuilt);
        assert_eq!(recovered.missing.len(), usize::from(!lose_list));
        assert_eq!(waiting(&spool), 3);
        assert_eq!(told(&spool), [1, 2, 3]);
        // No new segment takes the place of the missing one.
        take_in(&spool, 10, 12);
        assert_eq!(unreadable(&spool, 4), [1, 2, 3]);
        all_are_whole(&spool, 10, 12);
        drop(spool);
        disk.restart();
        let (spool, _) = open(&disk, &index, 64 << 10);
        assert_eq!(unreadable(&spool, 4), [1, 2, 3]);
        all_are_whole(&spool, 10, 12);
    }
}

#[test]
fn a_gap_in_the_hot_lane_shows_without_the_list() {
    let (disk, index) = start();
    let (spool, _) = open(&disk, &index, 64 << 10);
    take_in_alone(&spool, 1, 60);
    drop(spool);
    disk.kill();
    assert!(!disk.names().contains(&"segments".to_owned()));
    let victim = segments(&disk, "hot")[1].clone();
    disk.lose(&victim).unwrap();
    let (_, recovered) = open(&disk, &index, 64 << 10);
    let missing: Vec<&str> = recovered
        .missing
        .iter()
        .map(|m| m.segment.as_str())
        .collect();
    assert_eq!(missing, [victim.as_str()]);
}

#[test]
fn mail_that_an_older_index_knew_and_the_log_lacks_is_named() {
    // A directory that was put together from copies of different days: the index is old, a segment
    // is missing, and nothing lists the segments.
    let (disk, index) = start();
    let (spool, _) = open(&disk, &index, 64 << 10);
    take_in(&spool, 1, 30);
    settle(&spool);
    drop(spool);
    disk.kill();
    let newer = Arc::new(MemoryIndex::new());
    let (spool, _) = open(&disk, &newer, 64 << 10);
    turn_over(&spool, 1000);
    settle(&spool);
    drop(spool);
    disk.kill();
    disk.lose("segments").unwrap();
    let (victim, _) = find(&disk, &mark(3));
    disk.lose(&victim).unwrap();
    let (spool, recovered) = open(&disk, &index, 64 << 10);
    assert!(recovered.index_rebuilt);
    let lost: Vec<u64> = recovered.lost.iter().map(|id| id.as_u64()).collect();
    let gone: Vec<u64> = (1..30)
        .filter(|n| spool.read(id(*n)).unwrap().is_none())
        .collect();
    assert!(gone.contains(&3));
    assert_eq!(lost, gone);
}

#[test]
fn a_rebuild_leaves_out_what_the_history_knows_as_finished() {
    let (disk, index) = start();
    let (spool, _) = open(&disk, &index, 64 << 10);
    take_in(&spool, 1, 10);
    // The outcomes are in another segment than the mail.
    turn_over(&spool, 1000);
    for n in 1..5 {
        let ops = vec![tried(key(n, 0), 1, "OUTCOMES-ARE-HERE"), done(key(n, 0))];
        spool.commit_wait(ops).unwrap();
    }
    spool.flush_index().unwrap();
    let (victim, _) = find(&disk, b"OUTCOMES-ARE-HERE");
    take_in_alone(&spool, 20, 60);
    drop(spool);
    disk.kill();
    disk.lose(&victim).unwrap();
    Index::clear(&*index).unwrap();
    let (spool, recovered) = open(&disk, &index, 64 << 10);
    assert!(recovered.missing.iter().any(|m| m.segment == victim));
    for n in 1..5 {
        assert_eq!(spool.read(id(n)).unwrap(), None, "mail {n} was delivered");
    }
    all_are_whole(&spool, 5, 10);
    let filter = HistoryFilter {
        id: Some(id(1)),
        ..HistoryFilter::default()
    };
    let history = spool.history(&filter, 0, 10).unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].verdict.outcome, Outcome::Delivered);
}

#[test]
fn an_unreadable_sector_keeps_nobody_from_starting_and_reclaiming() {
    for keep_index in [true, false] {
        let (disk, index) = start();
        let (spool, _) = open(&disk, &index, 64 << 10);
        take_in_alone(&spool, 1, 60);
        spool.flush_index().unwrap();
        drop(spool);
        disk.kill();
        let (segment, at) = find(&disk, &mark(7));
        disk.break_sectors(&segment, at / PAGE * PAGE, 512).unwrap();
        if !keep_index {
            Index::clear(&*index).unwrap();
        }
        let (spool, recovered) = open(&disk, &index, 64 << 10);
        if !keep_index {
            let found = &recovered.quarantined[0];
            assert_eq!((&found.segment, found.unreadable), (&segment, true));
        }
        // The disk refuses a page: no more than the mail on it is lost.
        let damaged = keep_index.then(|| spool.read(id(7)));
        assert!(!matches!(damaged, Some(Ok(_))), "it cannot be read");
        all_are_whole(&spool, 1, 7);
        all_are_whole(&spool, 8, 60);
        turn_over(&spool, 1000);
        assert!(
            !disk.names().contains(&segment),
            "it is reclaimed around the gap"
        );
        let reused = disk.names().into_iter().filter(|n| n.starts_with("free"));
        assert!(reused.count() < 5);
        if keep_index {
            assert_eq!(told(&spool), [7]);
        }
        all_are_whole(&spool, 8, 60);
        drop(spool);
        disk.restart();
        Index::clear(&*index).unwrap();
        let (spool, _) = open(&disk, &index, 64 << 10);
        all_are_whole(&spool, 8, 60);
    }
}

#[test]
fn an_unreadable_page_in_any_segment_is_survived() {
    // Each page of each file that the queue reads at its start, one at a time.
    let make = || {
        let (disk, index) = start();
        let (spool, _) = open(&disk, &index, 64 << 10);
        take_in(&spool, 1, 50);
        settle(&spool);
        spool
            .commit_wait(vec![tried(key(49, 0), 3, "later")])
            .unwrap();
        drop(spool);
        disk.kill();
        (disk, index)
    };
    let (disk, _) = make();
    let files = [
        segments(&disk, "hot"),
        segments(&disk, "cold"),
        vec!["segments".to_owned()],
    ];
    for name in files.concat() {
        for page in 0..disk.contents(&name).unwrap().len() / PAGE {
            for keep_index in [true, false] {
                let (disk, index) = make();
                disk.break_sectors(&name, page * PAGE, PAGE).unwrap();
                if !keep_index {
                    Index::clear(&*index).unwrap();
                }
                let (spool, recovered) = open(&disk, &index, 64 << 10);
                turn_over(&spool, 1000);
                let is_whole = |n: &u64| matches!(spool.read(id(*n)), Ok(Some(_)));
                let lost = (1..50).filter(|n| !is_whole(n)).count();
                let is_told = !recovered.quarantined.is_empty() || !told(&spool).is_empty();
                // A page touches two mails; without an index a frame of copies goes as a whole.
                let most = if keep_index { 2 } else { 3 };
                assert!(lost <= most, "page {page} of {name}: {lost} mails are lost");
                let is_silent = (1..50).any(|n| matches!(spool.read(id(n)), Ok(None)));
                assert!(!is_silent || is_told, "page {page} of {name}: silent");
            }
        }
    }
}

#[test]
fn damage_in_the_last_write_is_told_from_a_torn_tail_where_the_index_proves_it() {
    let (disk, index) = start();
    let (spool, _) = open(&disk, &index, 64 << 10);
    take_in(&spool, 1, 4);
    spool.flush_index().unwrap();
    drop(spool);
    disk.kill();
    let (segment, at) = find(&disk, &mark(3));
    disk.damage(&segment, at, b"rot").unwrap();
    let (spool, recovered) = open(&disk, &index, 64 << 10);
    assert_eq!(recovered.quarantined.len(), 1, "{recovered:?}");
    assert_eq!(recovered.missing.len(), 1, "{recovered:?}");
    assert_eq!(recovered.missing[0].first, recovered.missing[0].last);
    // It is listed, and the rest goes on after it.
    assert_eq!(waiting(&spool), 3);
    assert_eq!(unreadable(&spool, 4), [3]);
    take_in(&spool, 10, 12);
    drop(spool);
    disk.restart();
    let (spool, _) = open(&disk, &index, 64 << 10);
    all_are_whole(&spool, 10, 12);
    all_are_whole(&spool, 1, 3);
}

#[test]
fn an_empty_queue_takes_less_than_20_megabytes() {
    let dir = std::env::temp_dir().join(format!("sendoff-small-{}", std::process::id()));
    let (spool, _) = Spool::open_dir(&dir, Options::default()).unwrap();
    // The first commit comes after housekeeping has done what it wants at the start.
    let ops = vec![accept(1, &["a@x.example"], b"one")];
    spool.commit_wait(ops).unwrap();
    spool.commit_wait(vec![done(key(1, 0))]).unwrap();
    spool.flush_index().unwrap();
    drop(spool);
    let (spool, recovered) = Spool::open_dir(&dir, Options::default()).unwrap();
    assert!(
        !recovered.index_rebuilt,
        "a normal start makes no index anew"
    );
    drop(spool);
    let sizes = std::fs::read_dir(&dir).unwrap();
    let size: u64 = sizes.map(|e| e.unwrap().metadata().unwrap().len()).sum();
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(size < 20_000_000, "{size}");
}

#[test]
fn a_first_start_makes_no_index_anew() {
    let (disk, index) = start();
    let (_, recovered) = open(&disk, &index, 64 << 10);
    assert!(!recovered.index_rebuilt);
    let (_, recovered) = open(&disk, &index, 64 << 10);
    assert!(!recovered.index_rebuilt);
}

#[test]
fn a_panic_of_a_thread_ends_the_queue_with_its_reason_and_nobody_waits() {
    let (disk, index) = start();
    let options = Options {
        threads: true,
        ..options(64 << 10)
    };
    let (spool, _) = Spool::open(options, Arc::new(disk), index).unwrap();
    let ops = vec![accept(1, &["a@x.example"], b"one")];
    spool.commit(ops, Box::new(|_| panic!("a bug in what is told")));
    // Commits of after the panic are answered, and so is who waits for the index.
    let refused = loop {
        match spool.commit_wait(vec![accept(2, &["a@x.example"], b"two")]) {
            Err(CommitError::Poisoned(reason)) => break reason,
            Ok(()) | Err(CommitError::Closed) => {}
            Err(e) => panic!("{e}"),
        }
    };
    assert!(refused.contains("a bug in what is told"), "{refused}");
    assert!(matches!(spool.health().standing, Standing::Lost(_)));
    spool.flush_index().unwrap_err();
    drop(spool);
}

#[test]
fn a_commit_is_taken_back_while_it_waits_and_never_after_that() {
    let (disk, index) = start();
    let (spool, _) = open(&disk, &index, 64 << 10);
    let commit = |n| {
        let (tell, told) = mpsc::channel();
        let ops = vec![accept(n, &["a@x.example"], b"one")];
        let done = Box::new(move |result| tell.send(result).unwrap());
        (spool.commit_withdrawable(ops, done), told)
    };
    // Nothing is written before the next step: the disk hangs.
    let (kept, kept_told) = commit(1);
    let (taken_back, back_told) = commit(2);
    assert!(taken_back.withdraw());
    assert!(taken_back.withdraw(), "asking again says the same");
    spool.commit_step();
    assert!(kept_told.recv().unwrap().is_ok());
    assert!(!kept.withdraw(), "it is in the queue");
    let refused = back_told.recv().unwrap();
    assert!(
        matches!(refused, Err(CommitError::Withdrawn)),
        "{refused:?}"
    );
    assert!(spool.read(id(1)).unwrap().is_some());
    drop(spool);
    let (spool, _) = open(&disk, &index, 64 << 10);
    assert!(
        spool.read(id(2)).unwrap().is_none(),
        "not after a restart either"
    );
    assert!(spool.read(id(1)).unwrap().is_some());
}

#[test]
fn a_large_mail_that_is_taken_back_behind_a_disk_that_hangs_leaves_no_content() {
    let (disk, index) = start();
    let options = Options {
        threads: true,
        ..options(64 << 10)
    };
    let (spool, _) = Spool::open(options, Arc::new(disk.clone()), index).unwrap();
    let (go, hangs) = mpsc::channel::<()>();
    let (tell, began) = mpsc::channel();
    spool.commit(
        vec![accept(1, &["a@x.example"], b"one")],
        Box::new(move |_| {
            tell.send(()).unwrap();
            hangs.recv().unwrap();
        }),
    );
    began.recv().unwrap();
    let (tell, told) = mpsc::channel();
    let ops = vec![accept(2, &["a@x.example"], &vec![b'.'; 1 << 20])];
    let done = Box::new(move |result| tell.send(result).unwrap());
    assert!(spool.commit_withdrawable(ops, done).withdraw());
    go.send(()).unwrap();
    let refused = told.recv().unwrap();
    assert!(
        matches!(refused, Err(CommitError::Withdrawn)),
        "{refused:?}"
    );
    drop(spool);
    let left = disk.list("bodies").unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_last_owner_may_be_a_callback() {
    let (disk, index) = start();
    let options = Options {
        threads: true,
        ..options(64 << 10)
    };
    let (spool, _) = Spool::open(options, Arc::new(disk), index).unwrap();
    let (tell, told) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let spool = Arc::new(spool);
    let owner = Arc::clone(&spool);
    let ops = vec![accept(1, &["a@x.example"], b"one")];
    spool.commit(
        ops,
        Box::new(move |result| {
            wait.recv().unwrap();
            drop(owner);
            tell.send(result.is_ok()).unwrap();
        }),
    );
    drop(spool);
    go.send(()).unwrap();
    assert!(told.recv().unwrap());
}

#[test]
fn a_spool_that_is_dropped_while_no_segment_can_be_had_ends() {
    let (disk, index) = start();
    let options = Options {
        threads: true,
        ..options(64 << 10)
    };
    let (spool, _) = Spool::open(options, Arc::new(disk.clone()), index).unwrap();
    disk.inject(0, Fault::Full);
    let (tell, told) = mpsc::channel();
    for n in 1..300 {
        let tell = tell.clone();
        let ops = vec![accept(n, &["a@x.example"], &[0; 6000])];
        spool.commit(ops, Box::new(move |_| tell.send(n).unwrap_or_default()));
    }
    drop((spool, tell));
    assert_eq!(told.iter().count(), 299, "each commit is answered");
}

#[test]
fn the_ballast_is_given_up_when_a_full_disk_is_to_start() {
    let (disk, index) = start();
    let with_ballast = || Options {
        ballast_bytes: 256 << 10,
        ..options(64 << 10)
    };
    let open = |disk: &SimDisk, index: &Arc<MemoryIndex>| {
        let index = Arc::<MemoryIndex>::clone(index);
        Spool::open(with_ballast(), Arc::new(disk.clone()), index).unwrap()
    };
    let (spool, recovered) = open(&disk, &index);
    assert!(!recovered.gave_up_ballast);
    take_in(&spool, 1, 20);
    assert!(disk.names().contains(&"ballast".to_owned()));
    drop(spool);
    disk.kill();
    let names = disk.names().into_iter();
    let used: usize = names.map(|n| disk.contents(&n).unwrap().len()).sum();
    disk.set_capacity(used as u64);
    let (spool, recovered) = open(&disk, &index);
    assert!(recovered.gave_up_ballast);
    // What is in the queue is delivered, and that makes room.
    for n in 1..20 {
        spool.commit_wait(vec![done(key(n, 0))]).unwrap();
        spool.step();
    }
    settle(&spool);
    assert_eq!(waiting(&spool), 0);
}
