//! Counts that outlive the server, written ahead: the disk says more than was counted, so that it need not be
//! written at each mail.
//!
//! **Invariant:** where every write that is due has been made, what the disk says is no less than what was
//! counted, at that time and as both slide, and more by at most one portion.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mail::Timestamp;

use super::{Count, Counts, Key, Usage};
use crate::quota::Quota;

/// The part of a quota that the disk is ahead by.
const PORTION: u64 = 20;
/// What counts for less is not kept: it is over when the server is back.
const KEPT_FROM: Duration = Duration::from_secs(3600);
const KEPT_TO: Duration = Duration::from_secs(86_400);
/// More recipients no step has.
const RECIPIENTS_MAX: u64 = u32::MAX as u64;
/// Counts that are kept, those with the most recipients first.
const KEPT_MAX: usize = 50_000;
/// The kinds of counts that are kept.
const KINDS: [&str; 4] = ["user", "login", "address", "domain"];

/// A count as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCount {
    /// What is counted: `user`, `login`, `address` or `domain`.
    pub kind: String,
    /// Whose.
    pub name: String,
    /// The quota's time.
    pub per: Duration,
    /// The beginning of each step and its recipients, the oldest first.
    pub steps: Vec<(Timestamp, u64)>,
}

/// Whether the disk must be written, now that so many recipients have been counted: at half a portion, so that
/// it is ahead still when that is done; and when a step begins, for what it was ahead by stands in the last one.
pub(super) fn is_due(count: &mut Count, quota: &Quota, recipients: u64, begun: bool) -> bool {
    count.portion = (quota.recipients / PORTION).max(1);
    let is_ahead = count.ahead >= recipients;
    count.ahead = count.ahead.saturating_sub(recipients);
    let is_kept = quota.per >= KEPT_FROM;
    is_kept && (begun || !is_ahead || count.ahead * 2 < count.portion)
}

impl Usage {
    /// Counts of an earlier life.
    #[must_use]
    pub fn restored(kept: Vec<KeptCount>, now: Timestamp) -> Self {
        let mut counts = Counts::default();
        let is_kept = |one: &KeptCount| (KEPT_FROM..=KEPT_TO).contains(&one.per);
        for one in kept.into_iter().filter(is_kept) {
            let Some(kind) = KINDS.into_iter().find(|kind| *kind == one.kind) else {
                continue;
            };
            let key = Key {
                kind,
                name: one.name,
                per: one.per,
            };
            // A clock that went ahead for a while must not keep anybody waiting for that long.
            let steps = one.steps.into_iter();
            let steps = steps.map(|(at, n)| (at.min(now), n.min(RECIPIENTS_MAX)));
            let count = Count {
                steps: steps.collect(),
                ..Count::default()
            };
            counts.by_key.insert(key, count);
        }
        let usage = Self::default();
        *usage.counts() = counts;
        usage
    }

    /// Whether [`kept`](Self::kept) must be written.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.due.load(Ordering::Acquire)
    }

    /// What was to be written could not be.
    pub fn not_written(&self) {
        self.due.store(true, Ordering::Release);
    }

    /// All that is to be written: with a portion more than was counted, or, at the end, without.
    pub fn kept(&self, now: Timestamp, is_end: bool) -> Vec<KeptCount> {
        let mut counts = self.counts();
        // Under the lock: what is counted from here on is not in it.
        self.due.store(false, Ordering::Release);
        let mut all: Vec<(u64, KeptCount)> = Vec::new();
        for (key, count) in &mut counts.by_key {
            let used = count.used(now, key.per);
            if used == 0 || key.per < KEPT_FROM {
                continue;
            }
            count.ahead = if is_end { 0 } else { count.portion };
            let mut steps: Vec<(Timestamp, u64)> = count.steps.iter().copied().collect();
            if let Some((_, n)) = steps.last_mut() {
                *n += count.ahead;
            }
            let kept = KeptCount {
                kind: key.kind.to_owned(),
                name: key.name.clone(),
                per: key.per,
                steps,
            };
            all.push((used, kept));
        }
        drop(counts);
        if all.len() > KEPT_MAX {
            all.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
            all.truncate(KEPT_MAX);
        }
        all.into_iter().map(|(_, kept)| kept).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quota::{Charged, Quotas};

    const ANN: Charged<'_> = Charged {
        user: Some("ann"),
        by_password: true,
        sender: None,
    };

    fn quotas(text: &str) -> Quotas {
        Quotas {
            login: vec![text.parse().unwrap()],
            ..Quotas::default()
        }
    }

    fn used(usage: &Usage, now: Timestamp) -> u64 {
        let mut counts = usage.counts();
        let all = counts.by_key.iter_mut();
        all.map(|(key, count)| count.used(now, key.per)).sum()
    }

    #[test]
    fn a_day_of_mail_is_few_writes() {
        let (usage, quotas) = (Usage::default(), quotas("1000/day"));
        let mut writes = 0;
        for mail in 0..1000 {
            let now = Timestamp::from_secs(1_000_000 + mail * 80);
            usage.take(now, &quotas, &ANN, 1).unwrap();
            if usage.is_due() {
                writes += 1;
                usage.kept(now, false);
            }
        }
        // 12 steps, and half a portion (25) at a time.
        assert!((12..=52).contains(&writes), "{writes}");
    }

    #[test]
    fn what_ends_in_order_is_kept_exactly_and_is_over_in_time() {
        let (usage, quotas) = (Usage::default(), quotas("1000/day"));
        let now = Timestamp::from_secs(1_000_000);
        usage.take(now, &quotas, &ANN, 7).unwrap();
        assert!(usage.is_due());
        let ahead = Usage::restored(usage.kept(now, false), now);
        assert_eq!(used(&ahead, now), 7 + 50);
        assert!(!usage.is_due());
        usage.not_written();
        assert!(usage.is_due());
        let exact = usage.kept(now, true);
        let restored = Usage::restored(exact.clone(), now);
        assert_eq!(used(&restored, now), 7);
        // Nothing was counted since: another restart adds nothing.
        assert_eq!(restored.kept(now, false), exact);
        let day = Duration::from_secs(86_400);
        assert_eq!(restored.kept(now + day, false), []);
        // The clock was wrong when it was counted.
        let early = Usage::restored(exact, now - day);
        assert_eq!(used(&early, now), 0);
    }

    #[test]
    fn what_counts_for_a_minute_is_not_kept() {
        let (usage, quotas) = (Usage::default(), quotas("1000/minute"));
        let now = Timestamp::from_secs(1_000_000);
        usage.take(now, &quotas, &ANN, 900).unwrap();
        assert!(!usage.is_due() && usage.kept(now, false).is_empty());
    }

    proptest! {
        #[test]
        fn a_crash_makes_a_count_too_large_by_a_portion_and_never_too_small(
            mails in prop::collection::vec((0u64..20_000, 1u64..60), 1..80),
            limit in 1u64..2000,
            later in 0u64..90_000,
        ) {
            let (usage, quotas) = (Usage::default(), quotas(&format!("{limit}/day")));
            let mut now = Timestamp::from_secs(1_000_000);
            let mut disk = Vec::new();
            for (wait, recipients) in mails {
                now = now + Duration::from_secs(wait);
                if usage.take(now, &quotas, &ANN, recipients).is_ok() && usage.is_due() {
                    disk = usage.kept(now, false);
                }
                let restored = Usage::restored(disk.clone(), now);
                let portion = (limit / PORTION).max(1);
                let (real, kept) = (used(&usage, now), used(&restored, now));
                prop_assert!(kept >= real && kept <= real + portion, "{real} {kept}");
            }
            // And as both slide.
            let restored = Usage::restored(disk, now);
            for steps in 0..10 {
                let at = now + Duration::from_secs(later / 10) * steps;
                prop_assert!(used(&restored, at) >= used(&usage, at), "{at}");
            }
        }
    }
}
