//! Measures the queue on the disk at hand: `cargo run --release -p spool --example measure DIR`.
//!
//! Accepts mails of 10 KiB with a deep queue and marks each delivered as soon as it is durable,
//! as a server with fast peers would. The segments written in advance are in the figures until
//! they are recycled: run it twice on one directory to see the steady state. Prints mails a second, processor time and bytes written.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use bytes::Bytes;
use mail::{Outcome, QueueId, RecipientKey, RecipientState};
use spool::{Options, Spool};
use store::conformance::{message, verdict};
use store::{Figures, Op};

const BODY: usize = 10 << 10;
const DEPTH: u64 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("name a directory to write to")?;
    let mails: u64 = arguments.next().map_or(Ok(200_000), |n| n.parse())?;
    let with_done = arguments.next().is_none();
    let (spool, recovered) = Spool::open_dir(Path::new(&dir), Options::default())?;
    let spool = Arc::new(spool);
    let content = Bytes::from(vec![b'x'; BODY]);
    let first = recovered.highest.map_or(0, QueueId::as_u64) + 1;
    run(&spool, &content, first, 100_000, with_done);
    spool.flush_index()?;
    let (began, cpu, io, before) = (Instant::now(), cpu_secs(), written(), spool.figures());
    run(&spool, &content, first + 100_000, mails, with_done);
    let elapsed = began.elapsed().as_secs_f64();
    spool.flush_index()?;
    let (cpu, io) = (cpu_secs() - cpu, written() - io);
    let stats = spool.figures();
    let (log, payload) = (
        stats.bytes_written - before.bytes_written,
        mails * BODY as u64,
    );
    let report = format!(
        "mails/s {:.0}; CPU us/mail {:.1} (generator included); bytes/byte: log {:.3}, all {:.3}; \
         mails/sync {:.1}\n{stats:?}\n",
        mails as f64 / elapsed,
        cpu * 1e6 / mails as f64,
        log as f64 / payload as f64,
        io as f64 / payload as f64,
        mails as f64 / (syncs(&stats) - syncs(&before)) as f64,
    );
    std::io::Write::write_all(&mut std::io::stdout(), report.as_bytes())?;
    Ok(())
}

fn syncs(figures: &Figures) -> u64 {
    figures.log.map_or(0, |log| log.syncs)
}

fn run(spool: &Arc<Spool>, content: &Bytes, first: u64, mails: u64, with_done: bool) {
    let (free, freed) = mpsc::channel();
    for _ in 0..DEPTH {
        signal(&free);
    }
    let template = message(1, &["someone@there.example"], b"");
    for n in 0..mails {
        if freed.recv().is_err() {
            return;
        }
        let id = QueueId::from_u64(first + n);
        let mut message = template.clone();
        (message.id, message.content) = (id, content.clone());
        let accept = Op::Accept {
            message,
            states: vec![RecipientState::default()],
            token: None,
        };
        let (free, again) = (free.clone(), Arc::clone(spool));
        let deliver = move |_| {
            if !with_done {
                signal(&free);
                return;
            }
            let done = Op::Done {
                key: RecipientKey { id, recipient: 0 },
                verdict: verdict(Outcome::Delivered, "2.0.0 Ok: queued as 4XyZ123"),
                attempts: 1,
                transcript: None,
            };
            again.commit(vec![done], Box::new(move |_| signal(&free)));
        };
        spool.commit(vec![accept], Box::new(deliver));
    }
    for _ in 0..DEPTH {
        if freed.recv().is_err() {
            return;
        }
    }
}

/// One more may be under way; when nobody counts any more, the run is over.
fn signal(free: &mpsc::Sender<()>) {
    free.send(()).unwrap_or_default();
}

/// Processor time of this process in seconds.
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    let ticks = |n: usize| {
        fields
            .get(n)
            .and_then(|f| f.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / 100.0
}

/// Bytes that this process dirtied. Where the page cache has large folios, a folio that two writes
/// share counts twice, so the figure is an upper bound; the device's own counter is exact.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|l| l.strip_prefix("write_bytes: "));
    line.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}
