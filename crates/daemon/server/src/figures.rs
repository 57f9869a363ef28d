//! What is counted since the start.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mail::ReplyKind;
use ops::DELAY_BOUNDS;

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) accepted: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) deferred: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) connections_in: AtomicU64,
    pub(crate) connections_out: AtomicU64,
    pub(crate) clear_after_tls: AtomicU64,
    /// Handshakes that began with a small first message.
    pub(crate) small_hellos: AtomicU64,
    /// Full handshakes, and sessions resumed instead.
    pub(crate) handshakes: AtomicU64,
    pub(crate) resumptions: AtomicU64,
    pub(crate) unknown_outcomes: AtomicU64,
    pub(crate) signed: AtomicU64,
    pub(crate) bounced: AtomicU64,
    pub(crate) complained: AtomicU64,
    pub(crate) unreadable_bounces: AtomicU64,
    pub(crate) suppressed: AtomicU64,
    /// Answers that were no success, by their kind.
    pub(crate) kinds: [AtomicU64; ReplyKind::ALL.len()],
    pub(crate) delays: Delays,
}

/// Times from acceptance to delivery.
#[derive(Debug, Default)]
pub(crate) struct Delays {
    /// How many up to each of [`DELAY_BOUNDS`], and above them all.
    counts: [AtomicU64; DELAY_BOUNDS.len() + 1],
    sum_ms: AtomicU64,
}

impl Delays {
    /// Counts one.
    pub(crate) fn count(&self, delay: Duration) {
        let fits = |bound: &u64| delay <= Duration::from_secs(*bound);
        let place = DELAY_BOUNDS.iter().position(fits);
        if let Some(counter) = self.counts.get(place.unwrap_or(DELAY_BOUNDS.len())) {
            Figures::count(counter);
        }
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.sum_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// The counts, and the sum of the times in milliseconds.
    pub(crate) fn read(&self) -> ([u64; DELAY_BOUNDS.len() + 1], u64) {
        let counts = self.counts.each_ref().map(|c| c.load(Ordering::Relaxed));
        (counts, self.sum_ms.load(Ordering::Relaxed))
    }
}

impl Figures {
    /// Counts one.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Answers that were no success, in the order of [`ReplyKind::ALL`].
    pub(crate) fn refusals(&self) -> [u64; ReplyKind::ALL.len()] {
        self.kinds.each_ref().map(|c| c.load(Ordering::Relaxed))
    }

    /// Every counter by its name.
    pub(crate) fn all(&self) -> [(&'static str, u64); 17] {
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
