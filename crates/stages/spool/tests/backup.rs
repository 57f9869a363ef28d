//! A copy that is made while the queue works holds what was in it, and opens as any queue does.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use mail::{Outcome, QueueId, RecipientKey, RecipientState};
use spool::{Options, Spool};
use store::conformance::{message, verdict};
use store::{BackupError, HistoryFilter, Op};

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir =
            std::env::temp_dir().join(format!("sendoff-backup-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&dir));
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn open(dir: &Path) -> (Spool, spool::Recovered) {
    let options = Options {
        segment_bytes: 64 << 10,
        hot_segments: 2,
        reserve_bytes: 0,
        ballast_bytes: 0,
        index_batch: 50,
        ..Options::default()
    };
    Spool::open_dir(dir, options).unwrap()
}

fn content(n: u64) -> Vec<u8> {
    let len = if n.is_multiple_of(10) { 20_000 } else { 2000 };
    let mut content = format!("Subject: {n}\r\n\r\n").into_bytes();
    content.resize(len, b'.');
    content
}

fn accept(n: u64) -> Op {
    Op::Accept {
        message: message(n, &["a@x.example"], &content(n)),
        states: vec![RecipientState::default()],
        token: None,
    }
}

fn done(n: u64) -> Op {
    Op::Done {
        key: RecipientKey {
            id: QueueId::from_u64(n),
            recipient: 0,
        },
        verdict: verdict(Outcome::Delivered, "ok"),
        attempts: 1,
        transcript: None,
    }
}

#[test]
fn a_backup_under_load_has_every_mail_that_waited() {
    let (dir, to) = (Dir::new("load"), Dir::new("load-copy"));
    let (spool, _) = open(&dir.0);
    let spool = Arc::new(spool);
    let (next, stop) = (AtomicU64::new(1), AtomicBool::new(false));
    let waiting = Mutex::new(BTreeSet::new());
    let finished = Mutex::new(BTreeSet::new());
    // Enough that files were reclaimed before, and are while the copy is made.
    let work = |until: &dyn Fn(u64) -> bool| {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if until(n) {
                return;
            }
            spool.commit_wait(vec![accept(n)]).unwrap();
            waiting.lock().unwrap().insert(n);
            // Two of three are delivered; the third waits and is moved in the end.
            if n % 3 != 0 {
                waiting.lock().unwrap().remove(&n);
                spool.commit_wait(vec![done(n)]).unwrap();
                finished.lock().unwrap().insert(n);
            }
        }
    };
    work(&|n| n > 300);
    let (before, ended, first_new, result) = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| work(&|n| n > 400 && stop.load(Ordering::Relaxed))))
            .collect();
        let ended = finished.lock().unwrap().clone();
        let before = waiting.lock().unwrap().clone();
        let first_new = next.load(Ordering::Relaxed);
        let result = spool.backup(&to.0);
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().for_each(|w| w.join().unwrap());
        (before, ended, first_new, result)
    });
    let made = result.unwrap();
    assert_eq!(made.unreadable, Vec::<String>::new());
    let still: BTreeSet<u64> = before
        .intersection(&waiting.lock().unwrap())
        .copied()
        .collect();
    assert!(still.len() > 90, "{}", still.len());

    let (copy, recovered) = open(&to.0);
    assert_eq!(
        (&recovered.quarantined[..], &recovered.missing[..]),
        (&[][..], &[][..])
    );
    assert_eq!(recovered.waiting, made.waiting);
    for n in &still {
        let read = copy.read(QueueId::from_u64(*n)).unwrap();
        assert_eq!(read.unwrap().content, content(*n), "mail {n}");
    }
    for n in &ended {
        assert_eq!(
            copy.read(QueueId::from_u64(*n)).unwrap(),
            None,
            "mail {n} was delivered"
        );
    }
    let history = copy.history(&HistoryFilter::default(), 0, 100_000).unwrap();
    let told: BTreeSet<u64> = history.iter().map(|row| row.key.id.as_u64()).collect();
    assert!(ended.is_subset(&told), "the history is there as well");
    // It lives on, and so does the one that it was made of.
    copy.commit_wait(vec![accept(first_new + 1_000_000)])
        .unwrap();
    spool
        .commit_wait(vec![accept(first_new + 1_000_000)])
        .unwrap();
}

#[test]
fn a_backup_goes_into_an_empty_directory_only() {
    let (dir, to) = (Dir::new("full"), Dir::new("full-copy"));
    let (spool, _) = open(&dir.0);
    spool.backup(&to.0).unwrap();
    let again = spool.backup(&to.0);
    assert!(matches!(again, Err(BackupError::NotEmpty(_))), "{again:?}");
}
