//! Crashes at every point of a workload, compared with a model: what was acknowledged is there,
//! what was not is there as a whole or not at all, and nothing comes back.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it must be"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use mail::{Outcome, RecipientKey, RecipientState, Timestamp, Verdict};
use proptest::prelude::*;
use sim::{Fault, Rng, SimDisk};
use spool::{MemoryIndex, Options, Spool};
use store::conformance::{message, verdict, words};
use store::series::{Cell, Dimension, SeriesWish, Step};
use store::{
    Book, CommitError, EventKinds, EventWish, HistoryFilter, LogFigures, Note, Op, Record, Store,
};

fn log_of(spool: &Spool) -> LogFigures {
    spool.figures().log.expect("the spool is a log")
}

/// Waiting recipients with their attempts, settings, and entries of the history.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    waiting: BTreeMap<RecipientKey, u32>,
    done: BTreeMap<RecipientKey, u32>,
    controls: BTreeMap<String, String>,
    entries: BTreeMap<String, String>,
    /// What others are told, in order.
    events: Vec<String>,
    /// What people did, in order.
    records: Vec<String>,
}

impl Model {
    /// Accepted, deferred and delivered, as series must have counted them.
    fn counts(&self) -> [u64; 3] {
        ["accepted", "deferred", "delivered"].map(|word| {
            let of_word = |event: &&String| event.contains(&format!(" {word}"));
            self.events.iter().filter(of_word).count() as u64
        })
    }

    fn tell(&mut self, key: &RecipientKey, what: &str) {
        let event = format!("{}/{} {what}", key.id.as_u64(), key.recipient);
        self.events.push(event);
    }

    fn apply(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Accept { message, .. } => {
                    for recipient in 0..message.envelope.recipients.len() as u32 {
                        let id = message.id;
                        self.waiting.insert(RecipientKey { id, recipient }, 0);
                        self.tell(&RecipientKey { id, recipient }, "accepted");
                    }
                }
                Op::State { key, state, .. } => {
                    if let Some(attempts) = self.waiting.get_mut(key) {
                        *attempts = state.attempts;
                        self.tell(key, &format!("deferred {}", state.attempts));
                    }
                }
                // An administrator's: nothing that is counted or told.
                Op::Change { .. } => {}
                Op::Done { key, .. } => {
                    if let Some(attempts) = self.waiting.remove(key) {
                        self.done.insert(*key, attempts);
                        self.tell(key, "delivered 1");
                    }
                }
                Op::Control { name, value } => {
                    match value {
                        Some(value) => self.controls.insert(name.clone(), value.clone()),
                        None => self.controls.remove(name),
                    };
                }
                Op::Note(Note::Entry { name, value }) => {
                    let set = value.as_ref().map(|value| format!("{name}={value}"));
                    self.events.extend(set);
                    match value {
                        Some(value) => self.entries.insert(name.clone(), value.clone()),
                        None => self.entries.remove(name),
                    };
                }
                Op::Note(Note::Record(record)) => self.records.push(record.text.clone()),
                Op::Note(Note::Later(_)) => unreachable!("not in this workload"),
            }
        }
    }
}

fn content(id: u64) -> Vec<u8> {
    let mut rng = Rng::new(id);
    // Some are above the inline limit of the small segments, and so in files.
    let len = if id % 7 == 3 {
        9000
    } else {
        500 + rng.below(5000)
    };
    (0..len).map(|_| rng.next_u64() as u8).collect()
}

fn options(segment_bytes: u32) -> Options {
    Options {
        segment_bytes,
        hot_segments: 2,
        reserve_segments: 1,
        reserve_bytes: 0,
        ballast_bytes: 0,
        nonce_seed: 7,
        threads: false,
        ..Options::default()
    }
}

struct World {
    disk: SimDisk,
    index: Arc<MemoryIndex>,
    model: Model,
    /// A commit whose outcome the crash hid.
    unknown: Option<Model>,
    rng: Rng,
    next_id: u64,
    keep_index: bool,
    /// What the next opening is told.
    segment_bytes: u32,
}

/// What ends a run.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// The power goes.
    Power,
    /// The process dies; what it wrote lives on in the system's memory.
    Process,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            disk: SimDisk::new(seed),
            index: Arc::new(MemoryIndex::new()),
            model: Model::default(),
            unknown: None,
            rng: Rng::new(seed),
            next_id: 1,
            keep_index: true,
            segment_bytes: 64 << 10,
        }
    }

    fn open(&self) -> Result<Spool, spool::OpenError> {
        let index = Arc::clone(&self.index);
        let options = options(self.segment_bytes);
        let (spool, recovered) = Spool::open(options, Arc::new(self.disk.clone()), index)?;
        assert_eq!(recovered.quarantined, [], "nothing is damaged by a crash");
        assert_eq!(recovered.missing, [], "nothing is missing after a crash");
        assert_eq!(recovered.lost, [], "no mail is lost by a crash");
        let wish = EventWish {
            kinds: EventKinds::ALL,
            entries: String::new(),
        };
        spool.keep_events(&wish)?;
        Ok(spool)
    }

    fn pick(&mut self) -> Option<RecipientKey> {
        let n = self.model.waiting.len() as u64;
        let n = self.rng.below(n) as usize;
        self.model.waiting.keys().nth(n).copied()
    }

    fn accept(&mut self) -> Op {
        let id = self.next_id;
        self.next_id += 1;
        let recipients: &[&str] = match self.rng.below(3) {
            0 => &["a@x.example", "b@y.example", "c@z.example"],
            _ => &["a@x.example"],
        };
        Op::Accept {
            message: message(id, recipients, &content(id)),
            states: vec![RecipientState::default(); recipients.len()],
            token: (id.is_multiple_of(5)).then(|| format!("token-{id}")),
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

    fn entry(&mut self) -> Op {
        let name = format!("book-{}", self.rng.below(3));
        let value = self.rng.one_in(2).then(|| self.next_id.to_string());
        Op::Note(Note::Entry { name, value })
    }

    fn record(&self, act: &str) -> Op {
        Op::Note(Note::Record(Record {
            book: Book::Audit,
            at: Timestamp::from_secs(7),
            text: format!("{act} {}", self.next_id),
        }))
    }

    fn ops(&mut self) -> Vec<Op> {
        let choice = self.rng.below(11);
        match (choice, self.pick()) {
            (0..=3, _) | (_, None) => vec![self.accept()],
            (4..=5, Some(key)) => {
                let attempts = self.model.waiting[&key] + 1;
                let state = RecipientState {
                    attempts,
                    due: Timestamp::from_secs(u64::from(attempts)),
                    last: Some(Verdict {
                        at: Timestamp::from_secs(u64::from(attempts)),
                        ..verdict(Outcome::Deferred, "later")
                    }),
                    ..RecipientState::default()
                };
                vec![Op::State {
                    key,
                    state,
                    transcript: None,
                }]
            }
            (6, Some(key)) => vec![Self::done(key), self.accept(), self.entry()],
            (7, _) if self.rng.one_in(2) => vec![self.record("a"), self.record("b")],
            (7, _) => {
                let name = format!("pause-{}", self.rng.below(3));
                let value = self.rng.one_in(2).then(|| self.next_id.to_string());
                vec![Op::Control { name, value }]
            }
            (8, Some(key)) => {
                let state = RecipientState {
                    attempts: self.model.waiting[&key],
                    due: Timestamp::from_secs(9),
                    delay_notified: true,
                    ..RecipientState::default()
                };
                vec![Op::Change { key, state }]
            }
            (_, Some(key)) => vec![Self::done(key)],
        }
    }

    /// Works until `commits` are made or the disk dies.
    fn work(&mut self, spool: &Spool, commits: u32) {
        for _ in 0..commits {
            let ops = self.ops();
            let mut after = self.model.clone();
            after.apply(&ops);
            match spool.commit_wait(ops) {
                Ok(()) => self.model = after,
                Err(CommitError::Full(_)) if !self.disk.is_dead() => {}
                Err(_) => {
                    self.unknown = Some(after);
                    return;
                }
            }
            if self.rng.one_in(3) {
                spool.step();
            }
            if self.disk.is_dead() {
                return;
            }
        }
    }

    fn found(&self, spool: &Spool) -> Model {
        let mut waiting = BTreeMap::new();
        spool
            .scan(&mut |w| {
                waiting.insert(w.key, w.attempts);
            })
            .unwrap();
        for (key, attempts) in &waiting {
            let state = spool.state(*key).unwrap().unwrap();
            let last = state.last.map(|last| last.at);
            let at = Timestamp::from_secs(u64::from(*attempts));
            assert_eq!(
                last,
                (*attempts > 0).then_some(at),
                "its last verdict stays"
            );
        }
        let mut controls = BTreeMap::new();
        for n in 0..3 {
            let name = format!("pause-{n}");
            if let Some(value) = spool.control(&name) {
                controls.insert(name, value);
            }
        }
        let mut entries = BTreeMap::new();
        let mut each = |name, value| drop(entries.insert(name, value));
        spool.entries("book-", &mut each).unwrap();
        let events = spool.events(0, u64::MAX).unwrap();
        let store: &dyn Store = spool;
        let records = store.records(Book::Audit, u64::MAX, u64::MAX).unwrap();
        let records = records.into_iter().rev();
        Model {
            waiting,
            controls,
            entries,
            done: BTreeMap::new(),
            events: events.iter().map(|stored| words(&stored.event)).collect(),
            records: records.map(|stored| stored.record.text).collect(),
        }
    }

    /// Whether each thing was counted once, by minute and by domain.
    fn check_series(&self, spool: &Spool) {
        let store: &dyn Store = spool;
        for (step, dimension) in [
            (Step::Minute, Dimension::Total),
            (Step::Hour, Dimension::Total),
            (Step::Hour, Dimension::Domain),
        ] {
            let mut all = Cell::default();
            let wish = SeriesWish {
                step,
                dimension,
                key: None,
                since: Timestamp::ZERO,
                until: Timestamp::MAX,
            };
            store
                .series(&wish, &mut |point| all.add(&point.cell))
                .unwrap();
            let counted = [all.accepted, all.deferred, all.delivered];
            assert_eq!(counted, self.model.counts(), "{step:?} {dimension:?}");
        }
    }

    /// Opens after a crash and compares.
    fn recover(&mut self) -> Spool {
        self.recover_from(End::Power)
    }

    fn recover_from(&mut self, end: End) -> Spool {
        match end {
            End::Power => self.disk.restart(),
            End::Process => self.disk.kill(),
        }
        if !self.keep_index {
            spool::Index::clear(&*self.index).unwrap();
        }
        let spool = self.open().unwrap();
        let found = self.found(&spool);
        let same = |m: &Model| {
            let rest = m.controls == found.controls && m.entries == found.entries;
            let told = m.events == found.events && m.records == found.records;
            rest && m.waiting == found.waiting && told
        };
        if let Some(after) = self.unknown.take().filter(same) {
            self.model = after;
        }
        assert!(
            same(&self.model),
            "found {found:?}\nexpected {:?}",
            self.model
        );
        self.check_series(&spool);
        for key in self.model.waiting.keys() {
            let read = spool.read(key.id).unwrap().unwrap();
            assert_eq!(read.content, content(key.id.as_u64()));
            let state = spool.state(*key).unwrap().unwrap();
            assert_eq!(state.attempts, self.model.waiting[key]);
        }
        let history = spool
            .history(&HistoryFilter::default(), 0, u64::MAX)
            .unwrap();
        let told: Vec<_> = history.iter().rev().map(|row| row.key).collect();
        let expected: Vec<_> = self.model.done.keys().copied().collect();
        assert_eq!(told, expected, "the history has every outcome, once");
        let ids = self.model.waiting.keys().chain(self.model.done.keys());
        for id in ids.map(|k| k.id).filter(|id| id.as_u64().is_multiple_of(5)) {
            let token = format!("token-{}", id.as_u64());
            assert_eq!(spool.find_token(&token).unwrap(), Some(id));
        }
        spool
    }
}

fn crash_everywhere(seed: u64, keep_index: bool) {
    let mut dry = World::new(seed);
    let spool = dry.open().unwrap();
    dry.work(&spool, 120);
    assert!(log_of(&spool).reclaimed > 0, "the workload recycles");
    assert!(
        log_of(&spool).bytes_moved > 0,
        "the workload moves survivors"
    );
    drop(spool);
    let operations = dry.disk.operations();
    for at in 0..operations {
        let mut world = World::new(seed);
        world.keep_index = keep_index;
        world.disk.inject(at, Fault::Crash);
        if let Ok(spool) = world.open() {
            world.work(&spool, 120);
        }
        let spool = world.recover();
        // Life goes on, and what was recycled meanwhile brings nothing back.
        world.work(&spool, 30);
        drop(spool);
        drop(world.recover());
    }
}

#[test]
fn a_crash_at_every_write_and_sync_loses_and_resurrects_nothing() {
    for seed in 0..2 {
        crash_everywhere(seed, true);
    }
}

#[test]
fn a_crash_anywhere_without_an_index_loses_and_resurrects_nothing() {
    for seed in 10..12 {
        crash_everywhere(seed, false);
    }
}

#[test]
fn a_crash_while_recovering_loses_nothing() {
    for at in 0..60 {
        let mut world = World::new(77);
        let spool = world.open().unwrap();
        world.disk.inject(150, Fault::Crash);
        world.work(&spool, 120);
        drop(spool);
        world.disk.restart();
        world.disk.inject(at, Fault::Crash);
        drop(world.open());
        drop(world.recover());
    }
}

#[test]
fn a_failed_write_is_refused_and_never_found_again() {
    for at in 0..150 {
        let mut world = World::new(5);
        let spool = world.open().unwrap();
        world.disk.inject(at, Fault::Full);
        world.work(&spool, 60);
        drop(spool);
        drop(world.recover());
    }
}

#[test]
fn the_power_that_goes_after_a_process_that_died_loses_nothing() {
    // What the process wrote and did not sync is seen by the next one, which relies on it; then the power
    // goes, and it must be there all the same.
    for seed in 20..22 {
        let mut dry = World::new(seed);
        let spool = dry.open().unwrap();
        dry.work(&spool, 120);
        drop(spool);
        let operations = dry.disk.operations();
        for at in 0..operations {
            let mut world = World::new(seed);
            world.disk.inject(at, Fault::Crash);
            if let Ok(spool) = world.open() {
                world.work(&spool, 120);
            }
            let spool = world.recover_from(End::Process);
            world.work(&spool, (at / 3 % 3) as u32);
            drop(spool);
            drop(world.recover_from(End::Power));
        }
    }
}

#[test]
fn a_full_disk_at_any_time_loses_nothing_that_was_taken() {
    for room in 0..40 {
        let mut world = World::new(300 + room);
        let spool = world.open().unwrap();
        world.work(&spool, 40);
        let used: u64 = world
            .disk
            .names()
            .iter()
            .map(|n| world.disk.contents(n).unwrap().len() as u64)
            .sum();
        world.disk.set_capacity(used + room * 5000);
        world.work(&spool, 80);
        drop(spool);
        // The disk is as full at the start.
        let spool = world.recover_from(if room % 2 == 0 {
            End::Power
        } else {
            End::Process
        });
        world.work(&spool, 20);
        drop(spool);
        world.disk.set_capacity(u64::MAX / 2);
        drop(world.recover());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_of_work_and_crashes_leaves_the_model(
        seed in any::<u64>(),
        crashes in prop::collection::vec(
            (0u64..400, any::<bool>(), any::<bool>(), 0u32..4, any::<bool>()),
            1..6,
        ),
    ) {
        let mut world = World::new(seed);
        let mut spool = world.open().unwrap();
        for (at, keep_index, power, size, full) in crashes {
            world.disk.inject(at, if full { Fault::Full } else { Fault::Crash });
            world.work(&spool, 100);
            drop(spool);
            world.keep_index = keep_index;
            // The setting may have changed between two runs.
            world.segment_bytes = (32 << 10) << size;
            spool = world.recover_from(if power { End::Power } else { End::Process });
        }
    }
}
