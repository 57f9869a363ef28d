//! Opens a queue and reads all that waits, as a start does: `cargo run --release -p spool --example open DIR`.
//!
//! Says how long each part took and how much memory it needed at the most.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use spool::{Options, Spool};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args().nth(1).ok_or("name a queue's directory")?;
    let mut out = std::io::stdout();
    let began = Instant::now();
    let (spool, recovered) = Spool::open_dir(Path::new(&dir), Options::default())?;
    let opened = began.elapsed();
    let mut rows = 0u64;
    let mut octets = 0;
    spool.scan(&mut |waiting| {
        rows += 1;
        octets += waiting.domain.len() + waiting.submitter.len();
    })?;
    let read = began.elapsed() - opened;
    let waiting = recovered.waiting;
    writeln!(
        out,
        "open {opened:.1?} ({waiting} wait), read {read:.1?} ({rows} rows, {octets} octets)"
    )?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    for line in status
        .lines()
        .filter(|l| l.starts_with("VmHWM") || l.starts_with("VmRSS"))
    {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
