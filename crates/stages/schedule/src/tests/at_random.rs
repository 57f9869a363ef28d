//! Whatever administrators and hosts do, everybody is brought to one end.

use std::collections::BTreeSet;

use super::*;

/// Numbers from a seed, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = plan::mix(self.0.wrapping_add(0x9e37_79b9_7f4a_7c15));
        self.0 % n
    }
}

const DOMAINS: [&str; 4] = ["a.example", "b.example", "c.example", "d.example"];

fn any_host(seed: u64) -> impl FnMut(&Batch, usize) -> Answer {
    let mut dice = Dice(seed);
    move |_, _| match dice.below(12) {
        0..=4 => Answer::Outcome(Outcome::Delivered),
        5..=6 => Answer::Outcome(Outcome::Deferred),
        7 => Answer::Outcome(Outcome::Failed),
        8 => Answer::SiteDown,
        9 => Answer::Busy(minutes(dice.below(10))),
        10 => Answer::OurFault(Timestamp::from_secs(1_000_000 + dice.below(20_000))),
        _ => Answer::NotBefore(Timestamp::from_secs(1_000_000 + dice.below(20_000))),
    }
}

fn few_connections() -> Settings {
    Settings {
        connections_max: 3,
        ..Settings::default()
    }
}

struct Run {
    world: World,
    dice: Dice,
    keys: Vec<RecipientKey>,
    taken_out: BTreeSet<RecipientKey>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut policy = policy(Plan::fixed(5, minutes(5)));
        policy.connections_max = 2;
        policy.recipients_max = 3;
        let mut world = World::new(few_connections(), policy);
        world.group = seed.is_multiple_of(2).then(|| "provider".into());
        for (domain, n) in DOMAINS.into_iter().zip(1..) {
            world.site(domain, any_host(seed * 100 + n));
        }
        Self {
            world,
            dice: Dice(seed),
            keys: Vec::new(),
            taken_out: BTreeSet::new(),
        }
    }

    fn domain(&mut self) -> &'static str {
        let at = self.dice.below(DOMAINS.len() as u64) as usize;
        DOMAINS[at]
    }

    fn step(&mut self) {
        let domain = self.domain();
        if self.keys.is_empty() || self.dice.below(4) == 0 {
            let count = 1 + self.dice.below(6) as u32;
            let submitter = format!("u{}", self.dice.below(3));
            let id = self.world.mail(&submitter, domain, count);
            self.keys
                .extend((0..count).map(|recipient| RecipientKey { id, recipient }));
            return;
        }
        let key = self.keys[self.dice.below(self.keys.len() as u64) as usize];
        let (now, scheduler) = (self.world.now, &mut self.world.scheduler);
        let on = self.dice.below(2) == 0;
        match self.dice.below(9) {
            0 => drop(scheduler.hold(key)),
            1 => drop(scheduler.release(now, key)),
            2 => drop(scheduler.retry(now, key, now + minutes(self.dice.below(3) * 20))),
            3 => drop(scheduler.reroute(now, key, on.then_some("elsewhere"))),
            4 => {
                if matches!(scheduler.cancel(key, on), Cancelled::Now { .. }) {
                    self.taken_out.insert(key);
                }
            }
            5 => scheduler.set_paused(now, &Domain::parse(domain).unwrap(), on),
            6 => scheduler.policies_changed(now, switched(on)),
            7 => scheduler.policies_changed(now, few_connections()),
            _ => {
                let by = minutes(self.dice.below(30));
                self.world.now = now - by;
                scheduler.clock_set_back(now - by, by);
            }
        }
        self.world.scheduler.check();
    }

    fn end(&mut self) {
        let (now, scheduler) = (self.world.now, &mut self.world.scheduler);
        scheduler.policies_changed(now, switched(true));
        for domain in DOMAINS {
            scheduler.set_paused(now, &Domain::parse(domain).unwrap(), false);
        }
        for key in &self.keys {
            scheduler.release(now, *key);
        }
        self.world.run_for(minutes(60 * 48));
    }
}

#[test]
fn nobody_is_forgotten_or_ends_twice_whatever_happens() {
    for seed in 1..=60 {
        let mut run = Run::new(seed);
        for _ in 0..150 {
            run.step();
            let wait = Duration::from_secs(run.dice.below(200));
            run.world.run_for(wait);
        }
        run.end();
        assert!(
            run.world.scheduler.is_empty(),
            "seed {seed}: somebody waits"
        );
        let finals = run.world.settled.iter().filter_map(|(_, s)| match s {
            Settled::Final { key, .. } => Some(*key),
            Settled::Waiting { .. } => None,
        });
        let mut ended: Vec<RecipientKey> = finals.chain(run.taken_out).collect();
        ended.sort_unstable();
        run.keys.sort_unstable();
        assert_eq!(ended, run.keys, "seed {seed}");
    }
}
