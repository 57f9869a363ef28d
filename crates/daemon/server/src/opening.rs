//! Opening the queue of a configuration.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use config::Config;
use spool::{Options, Recovered, Spool};

/// Opens the queue in its place.
pub(crate) fn open_spool(config: &Config) -> Result<(Spool, Recovered)> {
    open_spool_in(config, &config.data_dir.join("spool"))
}

/// Opens a queue as the configuration wants it.
pub(crate) fn open_spool_in(config: &Config, dir: &Path) -> Result<(Spool, Recovered)> {
    let mut seed = [0u8; 8];
    SystemRandom::new()
        .fill(&mut seed)
        .map_err(|_| anyhow!("the system has no random numbers"))?;
    let options = Options {
        nonce_seed: u64::from_ne_bytes(seed),
        segment_bytes: config.queue.segment_bytes,
        reserve_bytes: config.queue.reserve_bytes,
        ..Options::default()
    };
    Spool::open_dir(dir, options).with_context(|| format!("opening the queue in {}", dir.display()))
}
