//! Fills a queue with waiting mail: `cargo run --release -p spool --example fill DIR MAILS RECIPIENTS`.
//!
//! For measuring how long a start takes and what it needs: mails of 300 octets from 200 submitters to
//! 100 000 domains, each tried twice, due in a month. What was written by it is a queue like any other.

use std::error::Error;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use mail::{QueueId, RecipientState, Timestamp};
use spool::{Options, Spool};
use store::Op;
use store::conformance::message;

/// Mails of one commit.
const TOGETHER: u64 = 500;
/// Commits on their way.
const DEPTH: u64 = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("name a directory to write to")?;
    let mails: u64 = arguments.next().map_or(Ok(1_000_000), |n| n.parse())?;
    let recipients: u64 = arguments.next().map_or(Ok(10), |n| n.parse())?;
    std::fs::create_dir_all(&dir)?;
    let (spool, recovered) = Spool::open_dir(Path::new(&dir), Options::default())?;
    let first = recovered.highest.map_or(0, QueueId::as_u64) + 1;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let now = Timestamp::from_millis(u64::try_from(now)?);
    let (free, freed) = mpsc::channel();
    (0..DEPTH).for_each(|_| free.send(()).unwrap_or_default());
    let mut next = 0;
    while next < mails {
        freed.recv()?;
        let end = (next + TOGETHER).min(mails);
        let ops = (next..end).map(|n| accept(first + n, recipients, now));
        let free = free.clone();
        spool.commit(
            ops.collect(),
            Box::new(move |done| {
                done.inspect(|()| free.send(()).unwrap_or_default())
                    .unwrap_or_default();
            }),
        );
        next = end;
    }
    spool.drain();
    spool.flush_index()?;
    let report = format!("{:?}\n", spool.figures());
    std::io::Write::write_all(&mut std::io::stdout(), report.as_bytes())?;
    Ok(())
}

fn accept(id: u64, recipients: u64, now: Timestamp) -> Op {
    let address = |r| {
        let n = id * recipients + r;
        format!("somebody{n}@domain{}.example", n * 7919 % 100_000)
    };
    let addresses: Vec<String> = (0..recipients).map(address).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut message = message(id, &addresses, b"");
    message.content = Bytes::from_static(&[b'x'; 300]);
    message.accepted = now;
    message.envelope.submitter.user = Some(format!("user{}", id % 200));
    let state = RecipientState {
        attempts: 2,
        due: now + Duration::from_secs(30 * 86_400) + Duration::from_millis(id % 3_600_000),
        ..RecipientState::default()
    };
    Op::Accept {
        message,
        states: vec![state; usize::try_from(recipients).unwrap_or(1)],
        token: None,
    }
}
