//! What happens when the system's clock is set back: nothing waits for a time that was reckoned by the clock
//! of before.

use std::collections::HashMap;
use std::time::Duration;

use mail::Timestamp;

use crate::entry::{FUTURE, Phase};
use crate::rate::Meter;
use crate::scheduler::Scheduler;
use crate::window::Standing;

/// A host's own wish ("try again in an hour") may be longer than the plan's waits.
const LEAST: Duration = Duration::from_secs(3600);

impl Scheduler {
    /// The clock is `by` behind what it was when some due times were set. Those that lie further ahead than
    /// the longest wait of their plan come as much earlier, and within that wait; those that a submitter or
    /// an administrator has set for a first attempt stay. Cool-offs end, rates begin again, domains are looked
    /// up again.
    pub fn clock_set_back(&mut self, now: Timestamp, by: Duration) {
        if by.is_zero() {
            return;
        }
        let mut longest: HashMap<u32, Duration> = HashMap::new();
        for slot in self.entries.slots() {
            let Some(entry) = self.entries.get(slot) else {
                continue;
            };
            let domain = entry.domain;
            let planned = *longest.entry(domain).or_insert_with(|| {
                let policy = self.domains.get(domain as usize).map(|d| &d.policy);
                policy.map_or(LEAST, |policy| policy.plan.longest())
            });
            let as_before = |due: Timestamp| match due > now + planned {
                true => (due - by).clamp(now, now + planned.max(LEAST)),
                false => due,
            };
            if let Some(entry) = self.entries.get_mut(slot) {
                if entry.accepted > now {
                    entry.accepted = (entry.accepted - by).min(now);
                }
                if !entry.has(FUTURE) {
                    entry.due = as_before(entry.due);
                }
            }
            self.entries.plan_otherwise(slot, as_before);
        }
        for (_, site) in &mut self.sites {
            site.patient_since = None;
            site.used = site.used.min(now);
            site.meter = Meter::default();
            if let Some(order) = &mut site.order {
                order.until = order.until - by;
            }
            if matches!(site.window.standing, Standing::CoolingOff { until } if until > now) {
                site.window.probe();
            }
        }
        self.swept = self.swept.min(now);
        self.reroute_all(now);
        self.set_timers_anew(now);
    }

    /// Sets the timer of each waiting entry, and lets each site look at what it may do.
    pub(crate) fn set_timers_anew(&mut self, now: Timestamp) {
        for slot in self.entries.slots() {
            let waits = self
                .entries
                .get(slot)
                .is_some_and(|e| e.phase == Phase::Waiting);
            if waits && let Some(slot) = self.entries.renew(slot) {
                self.set_timer(slot, now);
            }
        }
        let sites: Vec<u32> = self.sites.iter().map(|(id, _)| id as u32).collect();
        for site in sites {
            self.make_runnable(site);
        }
    }
}
