//! The spool's settings.

use std::time::Duration;

use crate::segment::{SEGMENT_HEADER, STEP};

/// How a spool is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes of a segment that is begun, a multiple of 4096; those that exist keep their length, and one
    /// frame that is larger gets a segment of its own size. Default: 128 MiB.
    pub segment_bytes: u32,
    /// Contents above this go to files of their own. Default: 256 KiB; never more than an eighth
    /// of a segment.
    pub inline_max: usize,
    /// Hot segments that may stand before survivors of the oldest are copied: the time that mail
    /// has to leave the queue without being copied. Default: 8.
    pub hot_segments: usize,
    /// Segments that only outcomes and states may begin when the disk is full. Default: 2.
    pub reserve_segments: usize,
    /// Mail is refused while the disk has less room than this. Default: 512 MiB.
    pub reserve_bytes: u64,
    /// Room that is kept by a file and given up when the disk is full. Default: 8 MiB.
    pub ballast_bytes: u64,
    /// How long changes are gathered before the index is brought up to date. Default: 1 s.
    pub index_interval: Duration,
    /// Changes that the index is brought up to date for at once. Default: 50 000.
    pub index_batch: usize,
    /// Makes what a mail must not be able to guess; from the system's random numbers.
    pub nonce_seed: u64,
    /// Work is done by threads; otherwise only in [`crate::Spool::step`]. Default: yes.
    pub threads: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 128 << 20,
            inline_max: 256 << 10,
            hot_segments: 8,
            reserve_segments: 2,
            reserve_bytes: 512 << 20,
            ballast_bytes: 8 << 20,
            index_interval: Duration::from_secs(1),
            index_batch: 50_000,
            nonce_seed: 0,
            threads: true,
        }
    }
}

impl Options {
    /// Octets that a segment is written ahead at first.
    pub(crate) fn first_step(&self) -> usize {
        STEP.min(self.segment_bytes as usize)
    }

    /// Bytes that one commit takes at most: what the largest segment holds after its header.
    pub(crate) const COMMIT_MAX: u64 = (1 << 30) - SEGMENT_HEADER as u64;

    pub(crate) fn inline_limit(&self) -> usize {
        self.inline_max.min(self.segment_bytes as usize / 8)
    }
}
