//! When each mail of a run was begun, accepted and delivered. Shared by generator and sink, which
//! are threads of one process, so that one clock tells all three.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Nothing has happened yet.
const NEVER: u64 = 0;

/// The times of a run's mails, by their numbers.
#[derive(Debug)]
pub(crate) struct Tally {
    origin: Instant,
    mails: Vec<Times>,
    delivered: AtomicUsize,
    duplicates: AtomicUsize,
    signed: AtomicUsize,
}

/// Nanoseconds since the origin.
#[derive(Debug, Default)]
struct Times {
    begun: AtomicU64,
    accepted: AtomicU64,
    delivered: AtomicU64,
}

/// Which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// MAIL is about to be sent.
    Begun,
    /// The 250 behind the final dot has come.
    Accepted,
    /// The sink has read the final dot, or the last chunk.
    Delivered,
}

impl Tally {
    /// For a run of so many mails, numbered from zero.
    pub(crate) fn new(mails: usize) -> Self {
        Self {
            origin: Instant::now(),
            mails: (0..mails).map(|_| Times::default()).collect(),
            delivered: AtomicUsize::new(0),
            duplicates: AtomicUsize::new(0),
            signed: AtomicUsize::new(0),
        }
    }

    /// Notes that it has come to this with a mail. Numbers of other runs are passed over.
    pub(crate) fn note(&self, number: usize, moment: Moment) {
        let Some(mail) = self.mails.get(number) else {
            return;
        };
        let since = self.origin.elapsed().as_nanos();
        let nanos = u64::try_from(since).unwrap_or(u64::MAX).max(NEVER + 1);
        let before = mail.time(moment).swap(nanos, Ordering::Relaxed);
        if moment == Moment::Delivered {
            let counter = match before {
                NEVER => &self.delivered,
                _ => &self.duplicates,
            };
            counter.fetch_add(1, Ordering::Release);
        }
    }

    /// Notes that a mail of the run bore a DKIM signature.
    pub(crate) fn note_signed(&self, number: usize) {
        if number < self.mails.len() {
            self.signed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many mails came signed, repetitions too.
    pub(crate) fn signed(&self) -> usize {
        self.signed.load(Ordering::Relaxed)
    }

    /// How many mails the run has.
    pub(crate) fn mails(&self) -> usize {
        self.mails.len()
    }

    /// How many have been delivered.
    pub(crate) fn delivered(&self) -> usize {
        self.delivered.load(Ordering::Acquire)
    }

    /// How many arrived once more.
    pub(crate) fn duplicates(&self) -> usize {
        self.duplicates.load(Ordering::Acquire)
    }

    /// From the first beginning to the last of these moments.
    pub(crate) fn span(&self, until: Moment) -> Duration {
        let first = self.all(Moment::Begun).min().unwrap_or(NEVER);
        let last = self.all(until).max().unwrap_or(NEVER);
        Duration::from_nanos(last.saturating_sub(first))
    }

    /// How long each mail took from one moment to another, in order of size.
    pub(crate) fn between(&self, from: Moment, until: Moment) -> Vec<Duration> {
        let mut all: Vec<Duration> = self
            .mails
            .iter()
            .map(|m| (m.read(from), m.read(until)))
            .filter(|(from, until)| *from != NEVER && *until != NEVER)
            .map(|(from, until)| Duration::from_nanos(until.saturating_sub(from)))
            .collect();
        all.sort_unstable();
        all
    }

    fn all(&self, moment: Moment) -> impl Iterator<Item = u64> {
        let times = self.mails.iter().map(move |m| m.read(moment));
        times.filter(|t| *t != NEVER)
    }
}

impl Times {
    fn time(&self, moment: Moment) -> &AtomicU64 {
        match moment {
            Moment::Begun => &self.begun,
            Moment::Accepted => &self.accepted,
            Moment::Delivered => &self.delivered,
        }
    }

    fn read(&self, moment: Moment) -> u64 {
        self.time(moment).load(Ordering::Relaxed)
    }
}

/// The value below which a share of `sorted` lies; zero of none.
pub(crate) fn quantile(sorted: &[Duration], share: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "counts of mails are far below 2^52"
    )]
    let rank = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_sample() {
        let sample: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(quantile(&sample, 0.5), Duration::from_millis(50));
        assert_eq!(quantile(&sample, 0.99), Duration::from_millis(99));
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }

    #[test]
    fn a_second_arrival_is_a_duplicate_and_foreign_numbers_are_nothing() {
        let tally = Tally::new(2);
        tally.note(0, Moment::Delivered);
        tally.note(0, Moment::Delivered);
        tally.note(7, Moment::Delivered);
        assert_eq!((tally.delivered(), tally.duplicates()), (1, 1));
    }
}
