//! Damage that comes after mail was accepted: what is whole survives it, what is not is told and
//! kept, and nothing vanishes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it must be"
)]

use std::sync::Arc;

use mail::{Outcome, QueueId, RecipientKey, RecipientState, Timestamp};
use sim::SimDisk;
use spool::{MemoryIndex, Options, Recovered, Spool};
use store::conformance::{message, verdict};
use store::{Damage, Filter, HistoryFilter, Op, Page, ReadError};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_500);

fn open(disk: &SimDisk, index: &Arc<MemoryIndex>) -> (Spool, Recovered) {
    let options = Options {
        segment_bytes: 64 << 10,
        hot_segments: 2,
        reserve_bytes: 0,
        ballast_bytes: 0,
        nonce_seed: 42,
        threads: false,
        ..Options::default()
    };
    Spool::open(
        options,
        Arc::new(disk.clone()),
        Arc::<MemoryIndex>::clone(index),
    )
    .unwrap()
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
        verdict: verdict(Outcome::Failed, "given up"),
        attempts: 1,
        transcript: None,
    }
}

fn tried(key: RecipientKey, attempts: u32) -> Op {
    Op::State {
        key,
        state: RecipientState {
            attempts,
            last: Some(verdict(Outcome::Deferred, "MARK-OF-THE-STATE")),
            ..RecipientState::default()
        },
        transcript: None,
    }
}

/// Overwrites one octet after `mark` in the log; returns the segment's name.
fn rot(disk: &SimDisk, mark: &[u8]) -> String {
    for name in disk.names().into_iter().filter(|n| n.contains("-0000")) {
        let bytes = disk.contents(&name).unwrap();
        if let Some(at) = bytes.windows(mark.len()).position(|w| w == mark)
            && !name.starts_with("free")
        {
            let at = at + mark.len() - 1;
            disk.damage(&name, at, &[bytes[at] ^ 1]).unwrap();
            return name;
        }
    }
    panic!("it is in no segment");
}

/// Fills segments with what is done at once, until the segment is reclaimed.
fn reclaim(spool: &Spool, disk: &SimDisk, segment: &str) {
    for n in 1000..1200 {
        spool
            .commit_wait(vec![
                accept(n, &["a@x.example"], &[0; 3000]),
                done(key(n, 0)),
            ])
            .unwrap();
        spool.step();
        if !disk.names().iter().any(|name| name == segment) {
            return;
        }
    }
    panic!("{segment} is never reclaimed");
}

fn quarantined(disk: &SimDisk, file: &str, octets: &[u8]) -> bool {
    let kept = disk.contents(file).unwrap();
    kept.windows(octets.len()).any(|w| w == octets)
}

fn content(n: u64) -> Vec<u8> {
    format!("Subject: {n}\r\n\r\nMARK-{n}#\r\n").into_bytes()
}

#[test]
fn the_neighbours_of_a_damaged_mail_survive_and_it_is_told_and_kept() {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    let five = (1..=5).map(|n| accept(n, &["a@x.example"], &content(n)));
    spool.commit_wait(five.collect()).unwrap();
    let segment = rot(&disk, b"MARK-3#");
    reclaim(&spool, &disk, &segment);

    let damaged = spool.take_damaged();
    assert_eq!(damaged.len(), 1);
    assert_eq!(damaged[0].what, Damage::Message(id(3)));
    assert!(damaged[0].to_string().contains(&id(3).to_string()));
    assert!(damaged[0].file.starts_with("quarantine/"));
    assert!(quarantined(&disk, &damaged[0].file, b"Subject: 3"));
    assert_eq!(spool.take_damaged(), []);
    assert_eq!(spool.figures().damaged, 1);
    drop(spool);

    for restart in [false, true] {
        if restart {
            disk.restart();
        }
        let (spool, recovered) = open(&disk, &index);
        assert_eq!(recovered.waiting, 5);
        let told: Vec<Damage> = spool.take_damaged().iter().map(|d| d.what).collect();
        assert_eq!(told, [Damage::Message(id(3))]);
        for n in [1, 2, 4, 5] {
            let read = spool.read(id(n)).unwrap().unwrap();
            assert_eq!(read.content, content(n));
        }
        assert!(matches!(spool.read(id(3)), Err(ReadError::Damaged(i)) if i == id(3)));
    }

    // It ends as every mail does: with an outcome that the history has.
    let (spool, _) = open(&disk, &index);
    let rows = spool.query(&Filter::id(id(3)), Page::ALL, NOW).unwrap();
    assert_eq!(rows[0].recipient, "a@x.example");
    spool.commit_wait(vec![done(key(3, 0))]).unwrap();
    let history = spool.history(&HistoryFilter::default(), 0, 1000).unwrap();
    let ended = history.iter().find(|row| row.key == key(3, 0)).unwrap();
    assert_eq!(ended.verdict.outcome, Outcome::Failed);
    drop(spool);
    // A rebuilt index knows the other four.
    for (index, waiting) in [(index, 4), (Arc::new(MemoryIndex::new()), 4)] {
        let (spool, recovered) = open(&disk, &index);
        assert_eq!(recovered.waiting, waiting);
        assert_eq!(spool.take_damaged(), []);
    }
}

#[test]
fn a_mail_whose_state_is_damaged_goes_on_with_the_one_before() {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    spool
        .commit_wait(vec![accept(1, &["a@x.example"], &content(1))])
        .unwrap();
    spool.commit_wait(vec![tried(key(1, 0), 3)]).unwrap();
    let segment = rot(&disk, b"MARK-OF-THE-STATE");
    reclaim(&spool, &disk, &segment);
    let damaged = spool.take_damaged();
    assert_eq!(damaged.len(), 1);
    assert_eq!(damaged[0].what, Damage::State(key(1, 0)));
    assert!(quarantined(&disk, &damaged[0].file, b"MARK-OF-THE-STAT"));
    assert_eq!(spool.state(key(1, 0)).unwrap().unwrap().attempts, 0);
    drop(spool);
    for index in [index, Arc::new(MemoryIndex::new())] {
        disk.restart();
        let (spool, recovered) = open(&disk, &index);
        assert_eq!(recovered.waiting, 1);
        assert_eq!(spool.take_damaged(), []);
        assert_eq!(spool.read(id(1)).unwrap().unwrap().content, content(1));
    }
}

#[test]
fn outcomes_and_settings_that_are_damaged_are_written_anew() {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    let both = ["a@x.example", "b@x.example"];
    spool
        .commit_wait(vec![
            accept(1, &both, &content(1)),
            accept(2, &both, &content(2)),
        ])
        .unwrap();
    let first = disk.names().into_iter().find(|n| n.starts_with("hot-"));
    // The messages are copied; what follows stands in a later segment than they did.
    reclaim(&spool, &disk, &first.unwrap());
    let ended = |key| Op::Done {
        key,
        verdict: verdict(Outcome::Delivered, "MARK-OF-THE-OUTCOME"),
        attempts: 1,
        transcript: None,
    };
    let setting = Op::Control {
        name: "paused".to_owned(),
        value: Some("MARK-OF-THE-SETTING".to_owned()),
    };
    // Mail 1 has one outcome, mail 2 has both: either copy must not bring it back.
    let ops = vec![
        ended(key(1, 0)),
        ended(key(2, 0)),
        ended(key(2, 1)),
        setting,
    ];
    spool.commit_wait(ops).unwrap();
    let segment = rot(&disk, b"MARK-OF-THE-SETTING");
    let bytes = disk.contents(&segment).unwrap();
    let mark = b"MARK-OF-THE-OUTCOME";
    for at in 0..bytes.len() - mark.len() {
        if &bytes[at..at + mark.len()] == mark {
            disk.damage(&segment, at, b"X").unwrap();
        }
    }
    spool.flush_index().unwrap();
    reclaim(&spool, &disk, &segment);
    assert_eq!(spool.take_damaged(), []);
    drop(spool);
    let anew = Arc::new(MemoryIndex::new());
    for index in [index, anew] {
        disk.restart();
        let (spool, recovered) = open(&disk, &index);
        assert_eq!(recovered.waiting, 1);
        assert_eq!(
            spool.control("paused").as_deref(),
            Some("MARK-OF-THE-SETTING")
        );
        assert_eq!(spool.keys(&Filter::all(), NOW).unwrap(), [key(1, 1)]);
    }
}

#[test]
fn the_content_of_a_mail_in_a_damaged_part_of_the_log_is_kept() {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    let large = vec![b'z'; 20_000];
    for (n, recipient) in [(1, "first@x.example"), (2, "MARK@x.example")] {
        spool
            .commit_wait(vec![accept(n, &[recipient], &large)])
            .unwrap();
    }
    spool
        .commit_wait(vec![accept(3, &["a@x.example"], b"last")])
        .unwrap();
    drop(spool);
    rot(&disk, b"MARK");
    disk.put(&format!("bodies/{}.body", id(9)), b"never accepted");
    let (spool, recovered) = open(&disk, &Arc::new(MemoryIndex::new()));
    assert_eq!(recovered.waiting, 2);
    // The damaged part of the log, the content of mail 2, and what may belong to it as well.
    assert_eq!(recovered.quarantined.len(), 3);
    let kept = disk
        .contents(&format!("quarantine/{}.body", id(2)))
        .unwrap();
    assert_eq!(kept, large);
    assert_eq!(spool.read(id(1)).unwrap().unwrap().content, large);
    drop(spool);
    // Later starts keep it as well, and tell nothing again.
    disk.restart();
    let (_, recovered) = open(&disk, &Arc::new(MemoryIndex::new()));
    assert_eq!(recovered.quarantined, []);
    assert!(disk.names().contains(&format!("quarantine/{}.body", id(2))));
}

#[test]
fn a_damaged_mail_with_its_content_in_a_file_keeps_it() {
    let (disk, index) = (SimDisk::new(1), Arc::new(MemoryIndex::new()));
    let (spool, _) = open(&disk, &index);
    let large = vec![b'z'; 20_000];
    spool
        .commit_wait(vec![accept(1, &["MARK@x.example"], &large)])
        .unwrap();
    let segment = rot(&disk, b"MARK");
    reclaim(&spool, &disk, &segment);
    assert_eq!(spool.take_damaged()[0].what, Damage::Message(id(1)));
    spool.commit_wait(vec![done(key(1, 0))]).unwrap();
    spool.step();
    let kept = format!("quarantine/{}.body", id(1));
    assert_eq!(disk.contents(&kept).unwrap(), large);
}
