//! What is counted since the start.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mail::ReplyKind;
use ops::DELAY_BOUNDS;

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Figures {
    /// Messages.
    pub accepted: AtomicU64,
    /// Recipients.
    pub delivered: AtomicU64,
    /// Attempts for a recipient that are to be repeated.
    pub deferred: AtomicU64,
    /// Recipients that were refused for good, or whose attempts are used up.
    pub failed: AtomicU64,
    /// Recipients whose lifetime ended.
    pub expired: AtomicU64,
    /// Connections of clients.
    pub connections_in: AtomicU64,
    /// Connections to other servers.
    pub connections_out: AtomicU64,
    /// Connections that went on in clear after TLS had failed.
    pub clear_after_tls: AtomicU64,
    /// Handshakes that began with a small first message.
    pub small_hellos: AtomicU64,
    /// Full handshakes, and sessions resumed instead.
    pub handshakes: AtomicU64,
    /// Sessions of TLS that were resumed.
    pub resumptions: AtomicU64,
    /// Attempts whose last answer never came: the mail may be there.
    pub unknown_outcomes: AtomicU64,
    pub(crate) signed: AtomicU64,
    /// Recipients of whom a bounce came.
    pub bounced: AtomicU64,
    /// Recipients of whom a complaint came.
    pub complained: AtomicU64,
    /// Bounces from which no recipient could be read.
    pub unreadable_bounces: AtomicU64,
    /// Entries that came on the suppression list.
    pub suppressed: AtomicU64,
    /// Answers that were no success, by their kind.
    pub kinds: [AtomicU64; ReplyKind::ALL.len()],
    /// How long deliveries took.
    pub delays: Delays,
}

/// Times from acceptance to delivery.
#[derive(Debug, Default)]
pub struct Delays {
    /// How many up to each of [`DELAY_BOUNDS`], and above them all.
    counts: [AtomicU64; DELAY_BOUNDS.len() + 1],
    sum_ms: AtomicU64,
}

impl Delays {
    /// Counts one.
    pub fn count(&self, delay: Duration) {
        let fits = |bound: &u64| delay <= Duration::from_secs(*bound);
        let place = DELAY_BOUNDS.iter().position(fits);
        if let Some(counter) = self.counts.get(place.unwrap_or(DELAY_BOUNDS.len())) {
            Figures::count(counter);
        }
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.sum_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// The counts, and the sum of the times in milliseconds.
    pub fn read(&self) -> ([u64; DELAY_BOUNDS.len() + 1], u64) {
        let counts = self.counts.each_ref().map(|c| c.load(Ordering::Relaxed));
        (counts, self.sum_ms.load(Ordering::Relaxed))
    }
}

impl Figures {
    /// Counts one.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Answers that were no success, in the order of [`ReplyKind::ALL`].
    pub fn refusals(&self) -> [u64; ReplyKind::ALL.len()] {
        self.kinds.each_ref().map(|c| c.load(Ordering::Relaxed))
    }

    /// Every counter by its name.
    pub fn all(&self) -> [(&'static str, u64); 17] {
        let read = |c: &AtomicU64| c.load(Ordering::Relaxed);
        [
            ("accepted", read(&self.accepted)),
            ("delivered", read(&self.delivered)),
            ("deferred", read(&self.deferred)),
            ("failed", read(&self.failed)),
            ("expired", read(&self.expired)),
            ("connections_in", read(&self.connections_in)),
            ("connections_out", read(&self.connections_out)),
            ("clear_after_failed_tls", read(&self.clear_after_tls)),
            ("small_hellos", read(&self.small_hellos)),
            ("tls_handshakes", read(&self.handshakes)),
            ("tls_resumptions", read(&self.resumptions)),
            ("unknown_outcomes", read(&self.unknown_outcomes)),
            ("signed", read(&self.signed)),
            ("bounced", read(&self.bounced)),
            ("complained", read(&self.complained)),
            ("unreadable_bounces", read(&self.unreadable_bounces)),
            ("suppressed", read(&self.suppressed)),
        ]
    }
}
