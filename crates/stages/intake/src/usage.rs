//! What of the quotas has been used.
//!
//! Recipients are taken from the quotas before their mail is saved, and given back where it is not: so many
//! sessions at once get no more than one. **Invariant:** what is counted has been asked for and fits.

mod kept;

use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mail::{EnhancedCode, Reply, Timestamp, format_duration};

use crate::quota::{Charged, Key, Quota, Quotas};
use crate::refusal::{Reason, Refusal};

pub use kept::KeptCount;

/// Steps in which a quota's time slides.
const STEPS: u32 = 12;
/// From this part of a quota on, its use is told.
const WARN_AT_PERCENT: u64 = 80;
/// Counts are looked through for those that are over when there are so many.
const COUNTS_MAX: usize = 50_000;

/// What was sent lately: the beginning of each step and its count.
#[derive(Debug, Default)]
struct Count {
    steps: VecDeque<(Timestamp, u64)>,
    warned: bool,
    /// So many more recipients than are counted the disk is to say; 0 where none were counted since the start.
    portion: u64,
    /// So many more it says.
    ahead: u64,
}

impl Count {
    fn used(&mut self, now: Timestamp, per: Duration) -> u64 {
        while self.steps.front().is_some_and(|(at, _)| *at + per <= now) {
            self.steps.pop_front();
        }
        self.steps.iter().map(|(_, n)| n).sum()
    }

    /// Counts recipients; whether a step has begun with them.
    fn add(&mut self, now: Timestamp, per: Duration, recipients: u64) -> bool {
        match self.steps.back_mut() {
            Some((at, n)) if *at + per / STEPS > now => {
                *n += recipients;
                false
            }
            Some(_) | None => {
                self.steps.push_back((now, recipients));
                true
            }
        }
    }

    /// Takes recipients out again, the latest first.
    fn remove(&mut self, mut recipients: u64) {
        for (_, n) in self.steps.iter_mut().rev() {
            let less = recipients.min(*n);
            *n -= less;
            recipients -= less;
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    by_key: HashMap<Key, Count>,
    /// They are looked through when there are so many.
    look_at: usize,
}

impl Counts {
    fn make_room(&mut self, now: Timestamp) {
        if self.by_key.len() < self.look_at.max(COUNTS_MAX) {
            return;
        }
        self.by_key
            .retain(|key, count| count.used(now, key.per) > 0);
        // Those that are left are not looked through at each mail.
        self.look_at = self.by_key.len() * 2;
    }
}

/// The counts.
#[derive(Debug, Default)]
pub struct Usage {
    counts: Mutex<Counts>,
    /// The disk says less than it should.
    due: AtomicBool,
}

impl Usage {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock()
    }

    /// Whether so many more recipients fit into every quota.
    ///
    /// # Errors
    /// The reply that says which quota is used up, and until when.
    pub fn check(
        &self,
        now: Timestamp,
        quotas: &Quotas,
        charged: &Charged<'_>,
        more: u64,
    ) -> Result<(), Refusal> {
        match quotas.of(charged) {
            none if none.is_empty() => Ok(()),
            all => fits(&mut self.counts(), now, &all, more),
        }
    }

    /// Whether a mail that comes whole may have so many recipients.
    ///
    /// # Errors
    /// As [`check`](Self::check); or, for good, that a quota never allows as many.
    pub fn check_whole(
        &self,
        now: Timestamp,
        quotas: &Quotas,
        charged: &Charged<'_>,
        recipients: u64,
    ) -> Result<(), Refusal> {
        let all = quotas.of(charged);
        let never = all.iter().find(|(_, quota)| quota.recipients < recipients);
        if let Some((key, quota)) = never {
            let text = format!(
                "The message has {recipients} recipients, more than the quota of {} allows at all ({quota}): send \
                 it to fewer recipients at a time, or ask the administrator to raise quota.{}",
                key.name, key.kind,
            );
            return Err(Reply::new(550, Some(EnhancedCode::new(5, 7, 1)), text).into());
        }
        self.check(now, quotas, charged, recipients)
    }

    /// Counts recipients, if they fit into every quota. What is worth telling when their mail is saved: a
    /// quota that is nearly used up, said once until its use falls again.
    ///
    /// # Errors
    /// As [`check`](Self::check); nothing is counted then.
    pub fn take(
        &self,
        now: Timestamp,
        quotas: &Quotas,
        charged: &Charged<'_>,
        recipients: u64,
    ) -> Result<Vec<String>, Refusal> {
        let mut told = Vec::new();
        let all = quotas.of(charged);
        if all.is_empty() || recipients == 0 {
            return Ok(told);
        }
        let mut counts = self.counts();
        fits(&mut counts, now, &all, recipients)?;
        counts.make_room(now);
        for (key, quota) in all {
            let (kind, per) = (key.kind, key.per);
            let name = key.name.clone();
            let count = counts.by_key.entry(key).or_default();
            let used = count.used(now, per) + recipients;
            let begun = count.add(now, per, recipients);
            if kept::is_due(count, &quota, recipients, begun) {
                self.due.store(true, Ordering::Release);
            }
            let near = is_near(used, &quota);
            if near && !count.warned {
                told.push(format!(
                    "{name} has used {used} of {quota} recipients (quota.{kind})"
                ));
            }
            count.warned = near;
        }
        Ok(told)
    }

    /// Recipients that were taken and whose mail is not saved.
    pub fn give_back(
        &self,
        now: Timestamp,
        quotas: &Quotas,
        charged: &Charged<'_>,
        recipients: u64,
    ) {
        let all = quotas.of(charged);
        if all.is_empty() || recipients == 0 {
            return;
        }
        let mut counts = self.counts();
        for (key, quota) in all {
            if let Some(count) = counts.by_key.get_mut(&key) {
                count.remove(recipients);
                count.ahead += recipients;
                count.warned &= is_near(count.used(now, key.per), &quota);
            }
        }
    }
}

fn is_near(used: u64, quota: &Quota) -> bool {
    used.saturating_mul(100) >= quota.recipients.saturating_mul(WARN_AT_PERCENT)
}

fn fits(
    counts: &mut Counts,
    now: Timestamp,
    all: &[(Key, Quota)],
    more: u64,
) -> Result<(), Refusal> {
    for (key, quota) in all {
        let mut count = counts.by_key.get_mut(key);
        let used = count.as_mut().map_or(0, |c| c.used(now, quota.per));
        if used + more <= quota.recipients {
            continue;
        }
        let first = count.as_ref().and_then(|c| c.steps.front());
        let again = first.map_or(now, |(at, _)| *at + quota.per);
        let again = Duration::from_secs(again.since(now).as_secs() + 1);
        let text = format!(
            "The quota of {} is used up: {used} of {quota} recipients. Try again in {}, or ask the administrator \
             to raise quota.{}",
            key.name,
            format_duration(again),
            key.kind,
        );
        let reply = Reply::new(450, Some(EnhancedCode::new(4, 7, 1)), text);
        return Err(Refusal::new(Reason::Quota(again), reply));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mail::Address;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn user(name: &str) -> Charged<'_> {
        Charged {
            user: Some(name),
            ..Charged::default()
        }
    }

    fn ten_an_hour() -> (Usage, Quotas) {
        let quotas = Quotas {
            user: vec!["10/hour".parse().unwrap()],
            ..Quotas::default()
        };
        (Usage::default(), quotas)
    }

    #[test]
    fn a_mail_that_no_time_makes_fit_is_refused_for_good() {
        let (usage, quotas) = ten_an_hour();
        let now = Timestamp::from_secs(1_000_000);
        let whole = |n| usage.check_whole(now, &quotas, &user("ann"), n);
        assert!(whole(10).is_ok());
        let refusal = whole(11).unwrap_err();
        assert!(refusal.reply.is_permanent(), "{refusal:?}");
        usage.take(now, &quotas, &user("ann"), 5).unwrap();
        assert!(!whole(6).unwrap_err().reply.is_permanent());
    }

    #[test]
    fn a_quota_slides_and_warns_once() {
        let (usage, quotas) = ten_an_hour();
        let start = Timestamp::from_secs(1_000_000);
        let take = |at, n| usage.take(at, &quotas, &user("ann"), n).unwrap();
        let check = |at, n| usage.check(at, &quotas, &user("ann"), n);
        assert!(check(start, 10).is_ok() && check(start, 11).is_err());
        assert_eq!(take(start, 7), Vec::<String>::new());
        assert_eq!(
            take(start, 1),
            ["ann has used 8 of 10/hour recipients (quota.user)"]
        );
        assert_eq!(take(start + HOUR / 2, 1), Vec::<String>::new());
        let refusal = check(start + HOUR / 2, 2).unwrap_err();
        assert_eq!(
            refusal.reply.to_string(),
            "450 4.7.1 The quota of ann is used up: 9 of 10/hour recipients. Try again in 30m1s, \
             or ask the administrator to raise quota.user"
        );
        assert!(usage.check(start, &quotas, &user("otto"), 10).is_ok());
        let nobody = Charged::default();
        assert!(usage.check(start, &quotas, &nobody, 100).is_ok());
        assert!(check(start + HOUR, 9).is_ok() && check(start + HOUR, 10).is_err());
        assert!(check(start + HOUR * 2, 10).is_ok());
    }

    #[test]
    fn many_at_once_get_no_more_than_one_and_what_is_not_saved_counts_no_more() {
        let (usage, quotas) = ten_an_hour();
        let now = Timestamp::from_secs(1_000_000);
        let take = |n| usage.take(now, &quotas, &user("ann"), n);
        // Both were told that they fit.
        assert!(usage.check(now, &quotas, &user("ann"), 8).is_ok());
        assert_eq!(take(8).unwrap().len(), 1);
        assert!(take(8).is_err() && take(2).is_ok());
        usage.give_back(now, &quotas, &user("ann"), 8);
        assert!(take(9).is_err());
        assert_eq!(
            take(8).unwrap(),
            ["ann has used 10 of 10/hour recipients (quota.user)"]
        );
        assert!(take(0).is_ok(), "mail that stays here");
    }

    #[test]
    fn what_a_password_may_is_not_what_a_key_may() {
        let quotas = Quotas {
            login: vec!["10/day".parse().unwrap()],
            ..Quotas::default()
        };
        let usage = Usage::default();
        let now = Timestamp::from_secs(1_000_000);
        let by_password = Charged {
            by_password: true,
            ..user("ann")
        };
        usage.take(now, &quotas, &by_password, 10).unwrap();
        let refusal = usage.take(now, &quotas, &by_password, 1).unwrap_err();
        assert!(refusal.reply.to_string().ends_with("raise quota.login"));
        assert!(usage.take(now, &quotas, &user("ann"), 100).is_ok());
        // From a network: by nobody.
        let nobody = Charged {
            by_password: true,
            ..Charged::default()
        };
        assert!(usage.take(now, &quotas, &nobody, 100).is_ok());
    }

    #[test]
    fn senders_count_by_address_and_by_domain_whatever_the_case() {
        let quotas = Quotas {
            address: vec!["2/day".parse().unwrap()],
            domain: vec!["3/day".parse().unwrap(), "1000/day".parse().unwrap()],
            ..Quotas::default()
        };
        let usage = Usage::default();
        let now = Timestamp::from_secs(0);
        let take = |a: &str, n| {
            let sender = Address::parse(a).unwrap();
            let charged = Charged {
                sender: Some(&sender),
                ..Charged::default()
            };
            usage.take(now, &quotas, &charged, n).is_ok()
        };
        assert!(take("A@X.example", 2));
        assert!(!take("a@x.example", 1));
        assert!(!take("b@x.example", 2) && take("b@x.example", 1));
        assert!(take("b@y.example", 2));
        assert!("10/week".parse::<Quota>().is_err() && "x/day".parse::<Quota>().is_err());
    }
}
