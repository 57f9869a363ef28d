//! The scheduler under virtual time, with a world of sites that behave as the test says.

mod at_random;
mod reload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mail::{
    Class, Destination, Domain, EnhancedCode, Outcome, QueueId, RecipientKey, RecipientState,
    Reply, Timestamp, Verdict,
};

use crate::*;

/// How a domain's site behaves.
type Behaviour = Box<dyn FnMut(&Batch, usize) -> Answer>;

enum Answer {
    Outcome(Outcome),
    SiteDown,
    /// Down, and it asks to be left alone for a time.
    Busy(Duration),
    /// A fault of ours keeps mail from it until then.
    OurFault(Timestamp),
    /// A limit of our own: nothing is tried until then.
    NotBefore(Timestamp),
}

struct World {
    scheduler: Scheduler,
    now: Timestamp,
    sites: BTreeMap<SiteId, String>,
    behaviour: BTreeMap<String, Behaviour>,
    /// Batches under way: when each ends.
    running: Vec<(Timestamp, WorkerId, SiteId, Batch)>,
    /// Attempts at connecting or sending: when, where, what.
    log: Vec<(Timestamp, String, Batch)>,
    settled: Vec<(Timestamp, Settled)>,
    notices: Vec<(Timestamp, RecipientKey)>,
    service: Duration,
    next_id: u64,
    /// The group of all sites.
    group: Option<Arc<str>>,
    calls: usize,
    /// Look-ups of domains.
    lookups: usize,
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

fn policy(plan: Plan) -> Policy {
    let plan = Arc::new(plan);
    Policy {
        plan,
        lifetime: None,
        connections_max: 20,
        recipients_max: 100,
        rate: None,
    }
}

/// Settings with `outgoing.enabled` so.
fn switched(enabled: bool) -> Settings {
    Settings {
        enabled,
        ..Settings::default()
    }
}

fn verdict(outcome: Outcome, class: Class, at: Timestamp) -> Verdict {
    Verdict::own(
        outcome,
        class,
        Reply::own(EnhancedCode::new(4, 4, 1), "as told"),
        at,
    )
}

impl World {
    fn new(settings: Settings, policy: Policy) -> Self {
        Self {
            scheduler: Scheduler::new(settings, Box::new(move |_, _| policy.clone())),
            now: Timestamp::from_secs(1_000_000),
            sites: BTreeMap::new(),
            behaviour: BTreeMap::new(),
            running: Vec::new(),
            log: Vec::new(),
            settled: Vec::new(),
            notices: Vec::new(),
            service: Duration::from_millis(100),
            next_id: 0,
            group: None,
            calls: 0,
            lookups: 0,
        }
    }

    fn default_plan() -> Self {
        Self::new(Settings::default(), policy(Plan::fixed(5, minutes(5))))
    }

    fn site(&mut self, domain: &str, behaviour: impl FnMut(&Batch, usize) -> Answer + 'static) {
        self.behaviour
            .insert(domain.to_owned(), Box::new(behaviour));
    }

    fn mail(&mut self, submitter: &str, domain: &str, recipients: u32) -> QueueId {
        self.next_id += 1;
        let id = QueueId::from_u64(self.next_id);
        for recipient in 0..recipients {
            let new = NewRecipient {
                key: RecipientKey { id, recipient },
                domain: Domain::parse(domain).unwrap(),
                destination: Destination::Outgoing,
                submitter: submitter.to_owned(),
                accepted: self.now,
                terms: mail::Terms::default(),
                state: RecipientState {
                    due: self.now,
                    ..RecipientState::default()
                },
            };
            self.scheduler.insert(self.now, &new);
        }
        id
    }

    fn drain(&mut self) {
        while let Some(action) = self.scheduler.poll(self.now) {
            match action {
                Action::Resolve { domain, name, .. } => {
                    self.lookups += 1;
                    let expires = self.now + minutes(60);
                    let resolution = Resolution::Site {
                        key: name.as_str().into(),
                        group: self.group.clone(),
                        expires,
                    };
                    let site = self
                        .scheduler
                        .resolved(self.now, domain, resolution)
                        .unwrap();
                    self.sites.insert(site, name.as_str().to_owned());
                }
                Action::Run {
                    worker,
                    site,
                    batch,
                    ..
                } => {
                    self.log
                        .push((self.now, self.sites[&site].clone(), batch.clone()));
                    self.running
                        .push((self.now + self.service, worker, site, batch));
                }
                Action::Close(_) => {}
                Action::Settle(settled) => self.settled.push((self.now, settled)),
                Action::Notice(key) => self.notices.push((self.now, key)),
            }
        }
        self.check();
    }

    fn end_batch(&mut self, n: usize) {
        let here = self.running[n].2;
        let at_site = self.running.iter().filter(|r| r.2 == here).count();
        let (_, worker, site, batch) = self.running.remove(n);
        let answer = self.behaviour.get_mut(&self.sites[&site]).unwrap()(&batch, at_site);
        let mut report = Report {
            setup: Duration::from_millis(10),
            service: self.service,
            open: true,
            ..Report::default()
        };
        match answer {
            Answer::SiteDown | Answer::Busy(_) | Answer::OurFault(_) => {
                report.open = false;
                let mut failure = SiteFailure {
                    verdict: verdict(Outcome::Deferred, Class::Host, self.now),
                    retry_after: None,
                    ours_until: None,
                };
                match answer {
                    Answer::Busy(asked) => failure.retry_after = Some(asked),
                    Answer::OurFault(until) => failure.ours_until = Some(until),
                    Answer::SiteDown | Answer::Outcome(_) | Answer::NotBefore(_) => {}
                }
                report.site_failure = Some(failure);
            }
            Answer::Outcome(_) | Answer::NotBefore(_) => {
                let (outcome, ours) = match answer {
                    Answer::NotBefore(at) => (Outcome::Deferred, Some(OurWait::Limit(at))),
                    Answer::Outcome(outcome) => (outcome, None),
                    Answer::SiteDown | Answer::Busy(_) | Answer::OurFault(_) => unreachable!(),
                };
                self.scheduler.greeted(worker);
                let verdict = verdict(outcome, Class::Recipient, self.now);
                let attempted = |key| Attempted {
                    key,
                    verdict: verdict.clone(),
                    retry_after: None,
                    plan: None,
                    ours,
                };
                report.attempted = batch.keys().map(attempted).collect();
            }
        }
        self.scheduler.finished(self.now, worker, report);
        self.check();
    }

    /// With many recipients now and then only: it looks at all of them.
    fn check(&mut self) {
        self.calls += 1;
        let every = (self.scheduler.len() / 100).max(1);
        if self.calls.is_multiple_of(every) {
            self.scheduler.check();
        }
    }

    /// Lets time pass, jumping from event to event.
    fn run_for(&mut self, length: Duration) {
        let end = self.now + length;
        loop {
            self.drain();
            let due = self.running.iter().map(|r| r.0).min();
            let timer = self.scheduler.deadline().map(|d| d.at);
            let Some(next) = due.into_iter().chain(timer).min().filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            while let Some(n) = self.running.iter().position(|r| r.0 <= self.now) {
                self.end_batch(n);
            }
        }
    }

    fn finals(&self) -> Vec<(Outcome, u32)> {
        let f = |(_, s): &(Timestamp, Settled)| match s {
            Settled::Final {
                verdict, attempts, ..
            } => Some((verdict.outcome, *attempts)),
            Settled::Waiting { .. } => None,
        };
        self.settled.iter().filter_map(f).collect()
    }
}

fn good(_: &Batch, _: usize) -> Answer {
    Answer::Outcome(Outcome::Delivered)
}

fn deferring(_: &Batch, _: usize) -> Answer {
    Answer::Outcome(Outcome::Deferred)
}

fn dead(_: &Batch, _: usize) -> Answer {
    Answer::SiteDown
}

#[test]
fn a_deferred_recipient_gets_five_resends_five_minutes_apart_and_fails() {
    let mut world = World::default_plan();
    world.site("x.example", deferring);
    let start = world.now;
    world.mail("u", "x.example", 1);
    world.run_for(minutes(60));
    let at: Vec<u64> = world
        .log
        .iter()
        .map(|(t, _, _)| t.since(start).as_secs())
        .collect();
    assert_eq!(at, [0, 300, 600, 900, 1200, 1500]);
    assert_eq!(world.finals(), [(Outcome::Failed, 6)]);
    assert!(world.scheduler.is_empty());
}

#[test]
fn five_hundred_mails_to_a_dead_host_use_one_connection_a_round_and_run_out_as_one_would() {
    let mut world = World::default_plan();
    world.site("dead.example", dead);
    world.site("y.example", good);
    for n in 0..500 {
        world.mail(&format!("u{}", n % 7), "dead.example", 1);
    }
    world.mail("u", "y.example", 1);
    let start = world.now;
    world.run_for(minutes(1));
    assert_eq!(
        world
            .log
            .iter()
            .filter(|(_, d, _)| d == "dead.example")
            .count(),
        1
    );
    assert!(
        world
            .log
            .iter()
            .any(|(t, d, _)| d == "y.example" && t.since(start).is_zero())
    );
    world.run_for(minutes(60));
    assert_eq!(
        world
            .log
            .iter()
            .filter(|(_, d, _)| d == "dead.example")
            .count(),
        6
    );
    let failed = world
        .finals()
        .iter()
        .filter(|f| **f == (Outcome::Failed, 6))
        .count();
    assert_eq!(failed, 500);
}

#[test]
fn a_limit_of_our_own_lets_mail_wait_uncharged_and_its_lifetime_still_ends_it() {
    let mut policy = policy(Plan::fixed(5, minutes(5)));
    policy.lifetime = Some(minutes(300));
    let mut w = World::new(Settings::default(), policy);
    let opens = w.now + minutes(60);
    w.site("slow.example", move |_, _| Answer::NotBefore(opens));
    w.mail("s", "slow.example", 2);
    w.run_for(minutes(59));
    assert_eq!(w.log.len(), 1, "nothing is tried before the time");
    let waiting = |settled: &Settled| match settled {
        Settled::Waiting { state, .. } => (state.attempts, state.due),
        Settled::Final { .. } => panic!("{settled:?}"),
    };
    let states: Vec<_> = w.settled.iter().map(|(_, s)| waiting(s)).collect();
    assert_eq!(states, [(0, opens); 2]);
    w.site("slow.example", deferring);
    w.run_for(minutes(2));
    assert_eq!(
        w.settled.iter().skip(2).map(|(_, s)| waiting(s).0).max(),
        Some(1)
    );
    let never = w.now + minutes(10_000);
    w.site("slow.example", move |_, _| Answer::NotBefore(never));
    w.run_for(minutes(300));
    assert_eq!(w.finals(), [(Outcome::Expired, 1); 2]);
}

#[test]
fn a_mail_that_comes_while_its_site_cools_off_waits_for_the_probe_uncharged() {
    let mut world = World::default_plan();
    world.site("dead.example", dead);
    world.mail("u", "dead.example", 1);
    world.run_for(minutes(2));
    let id = world.mail("u", "dead.example", 1);
    world.run_for(minutes(1));
    let wait = world
        .scheduler
        .wait(RecipientKey { id, recipient: 0 }, world.now)
        .unwrap();
    assert!(matches!(wait.reason, Reason::CoolingOff(Some(_))));
    assert!(wait.next.unwrap() > world.now);
    world.run_for(minutes(60));
    assert_eq!(world.finals(), [(Outcome::Failed, 6), (Outcome::Failed, 6)]);
}

/// When a mail was tried, in seconds since `start`.
fn tried(world: &World, id: QueueId, start: Timestamp) -> Vec<u64> {
    let of_it = world.log.iter().filter(|(_, _, batch)| batch.id == id);
    of_it.map(|(at, _, _)| at.since(start).as_secs()).collect()
}

/// A mail that has been tried often, and is due now.
fn old_mail(world: &mut World, domain: &str, attempts: u32) -> QueueId {
    world.next_id += 1;
    let id = QueueId::from_u64(world.next_id);
    let state = RecipientState {
        attempts,
        due: world.now,
        ..RecipientState::default()
    };
    let new = NewRecipient {
        key: RecipientKey { id, recipient: 0 },
        domain: Domain::parse(domain).unwrap(),
        destination: Destination::Outgoing,
        submitter: "u".to_owned(),
        accepted: world.now,
        terms: mail::Terms::default(),
        state,
    };
    world.scheduler.insert(world.now, &new);
    id
}

#[test]
fn an_old_mail_with_a_long_wait_keeps_nobody_else_waiting() {
    let mut w = World::new(Settings::default(), policy(Plan::internet()));
    w.site("x.example", dead);
    let start = w.now;
    let old = old_mail(&mut w, "x.example", 20);
    w.run_for(minutes(1));
    let new = w.mail("u", "x.example", 1);
    w.run_for(minutes(6));
    assert_eq!(tried(&w, old, start), [0], "its own wait is hours");
    assert_eq!(tried(&w, new, start), [300], "the newest probes");
    w.site("x.example", good);
    let last = w.mail("u", "x.example", 1);
    w.run_for(minutes(6));
    assert_eq!(tried(&w, last, start), [600]);
    assert_eq!(tried(&w, new, start).len(), 2, "and the others follow it");
    assert_eq!(
        w.finals(),
        [(Outcome::Delivered, 1), (Outcome::Delivered, 2)]
    );
}

#[test]
fn a_cool_off_is_as_short_as_the_first_wait_of_a_plan_of_seconds() {
    let plan = Plan::parse_list(&["2s", "1h"]).unwrap();
    let mut w = World::new(Settings::default(), policy(plan));
    w.site("x.example", dead);
    let start = w.now;
    old_mail(&mut w, "x.example", 1);
    w.run_for(Duration::from_secs(1));
    let new = w.mail("u", "x.example", 1);
    w.run_for(Duration::from_secs(10));
    assert_eq!(tried(&w, new, start), [2, 4]);
}

#[test]
fn a_host_that_asks_to_be_left_alone_is_for_up_to_four_hours() {
    for (asked, probed) in [(20, 20), (60 * 24, 4 * 60)] {
        let mut w = World::default_plan();
        w.site("x.example", move |_, _| Answer::Busy(minutes(asked)));
        let start = w.now;
        w.mail("u", "x.example", 1);
        w.run_for(minutes(1));
        let new = w.mail("u", "x.example", 1);
        w.run_for(minutes(probed));
        assert_eq!(tried(&w, new, start), [probed * 60]);
        let waits = w.log.len();
        assert_eq!(waits, 2, "nobody else tried meanwhile");
    }
}

#[test]
fn a_fault_of_ours_costs_no_attempt_and_ends_after_five_days() {
    let mut w = World::default_plan();
    let start = w.now;
    let until = start + minutes(60);
    w.site("relay.example", move |_, _| Answer::OurFault(until));
    w.mail("u", "relay.example", 1);
    w.run_for(minutes(10));
    let second = w.mail("v", "relay.example", 3);
    w.run_for(minutes(10));
    assert_eq!((w.log.len(), w.settled.len()), (1, 1), "one tried for all");
    let Settled::Waiting { state, next, .. } = &w.settled[0].1 else {
        panic!("{:?}", w.settled);
    };
    assert_eq!((state.attempts, *next), (0, until));
    assert_eq!(state.due, start, "after a restart it is tried at once");
    assert_eq!(w.scheduler.future(), 0);
    let key = RecipientKey {
        id: second,
        recipient: 2,
    };
    let wait = w.scheduler.wait(key, w.now).unwrap();
    assert!(matches!(wait.reason, Reason::OurFault(_)), "{wait:?}");
    assert_eq!(wait.next, Some(until));
    // A new configuration may mend it.
    w.scheduler.policies_changed(w.now, Settings::default());
    w.run_for(minutes(1));
    assert_eq!(w.log.len(), 2);
    assert_eq!(w.scheduler.wait(key, w.now).unwrap().next, Some(until));
    // It never is.
    w.site("relay.example", move |_, _| {
        Answer::OurFault(start + minutes(100_000))
    });
    w.run_for(minutes(5 * 1440 - 25));
    assert_eq!(w.finals(), [], "{:?}", w.settled);
    w.run_for(minutes(6));
    assert_eq!(w.finals(), [(Outcome::Expired, 0)]);
    w.run_for(minutes(10));
    assert_eq!(w.finals(), [(Outcome::Expired, 0); 4]);
}

#[test]
fn who_waits_for_us_goes_at_once_when_it_is_mended() {
    let mut policy = policy(Plan::fixed(5, minutes(5)));
    policy.lifetime = Some(minutes(90));
    let mut w = World::new(Settings::default(), policy);
    let start = w.now;
    w.site("relay.example", move |_, _| {
        Answer::OurFault(start + minutes(60))
    });
    for n in 0..50 {
        w.mail(&format!("u{n}"), "relay.example", 1);
    }
    w.run_for(minutes(59));
    w.site("relay.example", good);
    w.run_for(minutes(2));
    assert_eq!(w.finals(), [(Outcome::Delivered, 1); 50]);
    w.site("relay.example", move |_, _| {
        Answer::OurFault(start + minutes(100_000))
    });
    w.mail("u", "relay.example", 1);
    w.run_for(minutes(89));
    assert_eq!(w.finals().len(), 50);
    w.run_for(minutes(2));
    assert_eq!(
        w.finals().last(),
        Some(&(Outcome::Expired, 0)),
        "its lifetime holds here, too"
    );
}

#[test]
fn a_single_mail_behind_a_bulk_of_five_thousand_starts_within_a_few_slots() {
    let mut world = World::new(
        Settings::default(),
        Policy {
            recipients_max: 1,
            ..policy(Plan::fixed(5, minutes(5)))
        },
    );
    world.site("x.example", good);
    world.mail("bulk", "x.example", 5000);
    world.run_for(Duration::from_secs(3));
    let before = world.log.len();
    let id = world.mail("person", "x.example", 1);
    world.run_for(Duration::from_secs(3));
    let place = world.log[before..]
        .iter()
        .position(|(_, _, b)| b.id == id)
        .unwrap();
    assert!(place <= 2, "{place}");
    let same_user = world.mail("bulk", "x.example", 1);
    let before = world.log.len();
    world.run_for(Duration::from_secs(3));
    let place = world.log[before..]
        .iter()
        .position(|(_, _, b)| b.id == same_user)
        .unwrap();
    assert!(place <= 2, "{place}");
}

#[test]
fn a_host_that_returns_with_ten_thousand_deferred_is_ramped_up_to() {
    let mut world = World::new(
        Settings::default(),
        Policy {
            recipients_max: 1,
            ..policy(Plan::fixed(50, minutes(5)))
        },
    );
    let mut up = false;
    let switch = std::rc::Rc::new(std::cell::Cell::new(false));
    let seen = switch.clone();
    let most = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let at_once = most.clone();
    world.site("x.example", move |_, busy| {
        up |= seen.get();
        if !up {
            return Answer::SiteDown;
        }
        at_once.borrow_mut().push(busy);
        Answer::Outcome(Outcome::Delivered)
    });
    for n in 0..10_000 {
        world.mail(&format!("u{}", n % 3), "x.example", 1);
    }
    world.run_for(minutes(12));
    switch.set(true);
    world.run_for(minutes(20));
    let busy = most.borrow();
    assert_eq!(busy.len(), 10_000);
    assert_eq!(busy[0], 1);
    assert!(busy[..10].iter().all(|n| *n <= 5), "{:?}", &busy[..10]);
    assert!(busy.iter().all(|n| *n <= 20));
}

#[test]
fn a_host_that_allows_three_connections_costs_no_deferral() {
    let mut world = World::default_plan();
    world.site("x.example", |_, busy| {
        if busy > 3 {
            Answer::SiteDown
        } else {
            good_answer()
        }
    });
    for _ in 0..300 {
        world.mail("u", "x.example", 1);
    }
    world.run_for(minutes(4));
    assert_eq!(world.finals().len(), 300);
    assert!(world.finals().iter().all(|f| *f == (Outcome::Delivered, 1)));
}

fn good_answer() -> Answer {
    Answer::Outcome(Outcome::Delivered)
}

#[test]
fn recipients_of_one_message_go_together_up_to_the_limit() {
    let mut world = World::default_plan();
    world.site("x.example", good);
    world.mail("u", "x.example", 250);
    world.run_for(Duration::from_secs(5));
    let sizes: Vec<usize> = world
        .log
        .iter()
        .map(|(_, _, b)| b.recipients.len())
        .collect();
    assert_eq!(sizes, [100, 100, 50]);
}

#[test]
fn holds_pauses_and_the_main_switch_keep_mail_uncharged_and_say_so() {
    let mut world = World::default_plan();
    world.site("x.example", good);
    let domain = Domain::parse("x.example").unwrap();
    world.scheduler.policies_changed(world.now, switched(false));
    let id = world.mail("u", "x.example", 1);
    let key = RecipientKey { id, recipient: 0 };
    world.run_for(minutes(60));
    assert_eq!(
        world.scheduler.wait(key, world.now).unwrap().reason,
        Reason::OutgoingOff
    );
    world.scheduler.set_paused(world.now, &domain, true);
    world.scheduler.policies_changed(world.now, switched(true));
    world.run_for(minutes(60));
    assert_eq!(
        world.scheduler.wait(key, world.now).unwrap().reason,
        Reason::Paused
    );
    assert_eq!(world.scheduler.hold(key).unwrap().attempts, 0);
    world.scheduler.set_paused(world.now, &domain, false);
    world.run_for(minutes(60));
    assert_eq!(
        world.scheduler.wait(key, world.now).unwrap().reason,
        Reason::Held
    );
    assert!(world.log.is_empty());
    world.scheduler.release(world.now, key).unwrap();
    world.run_for(minutes(1));
    assert_eq!(world.finals(), [(Outcome::Delivered, 1)]);
}

#[test]
fn what_is_paused_or_switched_off_is_late_and_expires_like_everybody() {
    let domain = Domain::parse("x.example").unwrap();
    for paused in [false, true] {
        let settings = Settings {
            enabled: paused,
            delay_notice_after: Some(minutes(30)),
            ..Settings::default()
        };
        let lifetime = Policy {
            lifetime: Some(minutes(90)),
            ..policy(Plan::fixed(50, minutes(5)))
        };
        let mut world = World::new(settings.clone(), lifetime);
        world.site("x.example", |_, _| Answer::Outcome(Outcome::Deferred));
        if paused {
            world.scheduler.set_paused(world.now, &domain, true);
        }
        let id = world.mail("u", "x.example", 1);
        world.run_for(minutes(29));
        assert!(world.notices.is_empty());
        world.run_for(minutes(2));
        assert_eq!(world.notices.len(), 1, "paused: {paused}");
        // The first attempt is always made: a lifetime ends retries.
        world.run_for(minutes(90));
        assert!(world.finals().is_empty() && world.log.is_empty());
        let key = RecipientKey { id, recipient: 0 };
        assert!(world.scheduler.wait(key, world.now).is_some());
    }
    // One that was tried, and whose domain is paused then.
    let lifetime = Policy {
        lifetime: Some(minutes(90)),
        ..policy(Plan::fixed(50, minutes(5)))
    };
    let mut world = World::new(Settings::default(), lifetime);
    world.site("x.example", |_, _| Answer::Outcome(Outcome::Deferred));
    world.mail("u", "x.example", 1);
    world.run_for(minutes(12));
    world.scheduler.set_paused(world.now, &domain, true);
    world.run_for(minutes(77));
    assert!(world.finals().is_empty());
    world.run_for(minutes(2));
    assert_eq!(world.finals().len(), 1);
    assert_eq!(world.finals()[0].0, Outcome::Expired);
    world.scheduler.set_paused(world.now, &domain, false);
    world.run_for(minutes(60));
    assert_eq!(world.finals().len(), 1, "it is not sent after its end");
}

#[test]
fn holding_and_releasing_what_is_ready_sends_it_once() {
    let mut world = World::new(
        Settings::default(),
        Policy {
            connections_max: 1,
            ..policy(Plan::fixed(5, minutes(5)))
        },
    );
    world.site("x.example", good);
    for _ in 0..5 {
        world.mail("u", "x.example", 1);
    }
    world.drain();
    let key = RecipientKey {
        id: QueueId::from_u64(5),
        recipient: 0,
    };
    for _ in 0..3 {
        world.scheduler.hold(key).unwrap();
        world.scheduler.release(world.now, key).unwrap();
    }
    world.run_for(minutes(10));
    assert_eq!(world.log.len(), 5);
    assert_eq!(world.finals().len(), 5);
}

#[test]
fn a_recipient_held_and_released_is_not_ended_by_a_list_that_still_names_it() {
    let mut world = World::new(
        Settings::default(),
        Policy {
            recipients_max: 1,
            ..policy(Plan::fixed(0, minutes(5)))
        },
    );
    let mut calls = 0;
    world.site("x.example", move |_, _| {
        calls += 1;
        if calls == 2 {
            Answer::SiteDown
        } else {
            good_answer()
        }
    });
    for _ in 0..3 {
        world.mail("u", "x.example", 1);
    }
    world.drain();
    let key = RecipientKey {
        id: QueueId::from_u64(2),
        recipient: 0,
    };
    for _ in 0..3 {
        world.scheduler.hold(key).unwrap();
        world.scheduler.release(world.now, key).unwrap();
    }
    world.run_for(minutes(30));
    let ends = world.finals().len();
    assert_eq!(ends, 3);
    let tried: Vec<u64> = world.log.iter().map(|(_, _, b)| b.id.as_u64()).collect();
    assert_eq!(tried.iter().filter(|id| **id == 2).count(), 1, "{tried:?}");
}

#[test]
fn a_place_that_an_idle_worker_leaves_is_announced_before_it_is_given_again() {
    let settings = Settings {
        connections_max: 1,
        ..Settings::default()
    };
    let mut world = World::new(settings, policy(Plan::fixed(5, minutes(5))));
    world.site("a.example", good);
    world.site("b.example", good);
    world.mail("u", "a.example", 1);
    world.run_for(Duration::from_secs(1));
    world.mail("u", "b.example", 1);
    let mut order = Vec::new();
    while let Some(action) = world.scheduler.poll(world.now) {
        match action {
            Action::Resolve { domain, name, .. } => {
                let resolution = Resolution::Site {
                    key: name.as_str().into(),
                    group: None,
                    expires: world.now + minutes(60),
                };
                world.scheduler.resolved(world.now, domain, resolution);
            }
            Action::Run { worker, .. } => order.push(("run", worker)),
            Action::Close(worker) => order.push(("close", worker)),
            Action::Settle(_) | Action::Notice(_) => {}
        }
    }
    let names: Vec<&str> = order.iter().map(|(what, _)| *what).collect();
    assert_eq!(names, ["close", "run"]);
    assert_eq!(order[0].1, order[1].1);
}

#[test]
fn a_free_connection_goes_to_a_site_that_has_a_use_for_it() {
    let settings = Settings {
        connections_max: 1,
        ..Settings::default()
    };
    let mut world = World::new(settings, policy(Plan::fixed(5, minutes(5))));
    for domain in ["a.example", "b.example", "c.example"] {
        world.site(domain, good);
    }
    world.mail("u", "a.example", 1);
    world.drain();
    let held = world.mail("u", "b.example", 1);
    world.mail("u", "c.example", 1);
    world.drain();
    let key = RecipientKey {
        id: held,
        recipient: 0,
    };
    world.scheduler.hold(key).unwrap();
    world.run_for(minutes(1));
    assert_eq!(world.finals().len(), 2);
}

#[test]
fn retry_now_is_due_at_once_and_opens_a_site_that_cools_off() {
    let mut world = World::default_plan();
    world.site("dead.example", dead);
    let id = world.mail("u", "dead.example", 1);
    world.run_for(minutes(1));
    let key = RecipientKey { id, recipient: 0 };
    world.scheduler.retry(world.now, key, world.now).unwrap();
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.log.len(), 2);
}

/// An administrator or a cron job that has everything tried again every minute must not use up a plan of days.
#[test]
fn what_somebody_wants_tried_now_costs_no_attempt_and_its_plan_goes_on() {
    let mut w = World::default_plan();
    w.site("grey.example", deferring);
    let start = w.now;
    let id = w.mail("u", "grey.example", 1);
    let key = RecipientKey { id, recipient: 0 };
    w.run_for(Duration::from_secs(30));
    for _ in 0..24 {
        assert!(w.scheduler.retry(w.now, key, w.now).is_some());
        w.run_for(minutes(1));
    }
    w.run_for(minutes(5));
    // Each of its plan's six attempts, and one for each minute besides.
    assert_eq!(w.finals(), [(Outcome::Failed, 6)]);
    let tried = tried(&w, id, start);
    for planned in [0, 300, 600, 900, 1200, 1500] {
        assert!(tried.contains(&planned), "{planned}: {tried:?}");
    }
    assert!(tried.len() > 25, "{tried:?}");
}

#[test]
fn retry_now_after_a_reload_tries_at_once_as_well() {
    let mut w = World::default_plan();
    w.site("dead.example", dead);
    let start = w.now;
    let id = w.mail("u", "dead.example", 1);
    w.run_for(minutes(1));
    w.scheduler.policies_changed(w.now, Settings::default());
    let key = RecipientKey { id, recipient: 0 };
    assert!(w.scheduler.retry(w.now, key, w.now).is_some());
    w.run_for(minutes(1));
    assert_eq!(tried(&w, id, start), [0, 60]);
}

#[test]
fn sites_of_one_provider_share_connections_and_no_failure() {
    let mut policy = policy(Plan::fixed(5, minutes(5)));
    policy.connections_max = 4;
    let mut w = World::new(Settings::default(), policy);
    w.group = Some("provider".into());
    let mut most = 0;
    for n in 0..6 {
        let domain = format!("d{n}.example");
        w.site(&domain, good);
        for _ in 0..40 {
            w.mail("u", &domain, 1);
        }
    }
    w.site("dead.example", dead);
    w.mail("u", "dead.example", 1);
    for _ in 0..100 {
        w.run_for(Duration::from_millis(100));
        most = most.max(w.scheduler.workers.len());
    }
    assert!((3..=4).contains(&most), "{most} connections");
    w.run_for(minutes(1));
    let delivered = w
        .finals()
        .iter()
        .filter(|f| f.0 == Outcome::Delivered)
        .count();
    assert_eq!(delivered, 240, "one dead host holds nobody up");
    assert!(w.log.iter().any(|(_, d, _)| d == "dead.example"));
    let first_half = &w.log[..120];
    for n in 0..6 {
        let domain = format!("d{n}.example");
        let count = first_half.iter().filter(|(_, d, _)| *d == domain).count();
        assert!(count >= 1, "each has its turn: {domain} {count}");
    }
}

#[test]
fn sites_of_one_provider_share_a_rate() {
    let mut policy = policy(Plan::fixed(5, minutes(5)));
    policy.rate = Some(Rate::parse("60/min").unwrap());
    let mut w = World::new(Settings::default(), policy);
    w.group = Some("provider 60/min".into());
    for n in 0..4 {
        let domain = format!("d{n}.example");
        w.site(&domain, good);
        for _ in 0..100 {
            w.mail("u", &domain, 1);
        }
    }
    w.run_for(minutes(3));
    let sent = w.log.len();
    assert!((170..=190).contains(&sent), "{sent} in three minutes");
}

#[test]
fn what_is_cancelled_while_being_sent_ends_with_the_attempt() {
    let mut world = World::default_plan();
    world.site("x.example", deferring);
    let id = world.mail("u", "x.example", 2);
    world.drain();
    let key = RecipientKey { id, recipient: 0 };
    assert_eq!(world.scheduler.cancel(key, false), Cancelled::AfterAttempt);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.finals(), [(Outcome::Failed, 1)]);
    let other = RecipientKey { id, recipient: 1 };
    assert_eq!(
        world.scheduler.cancel(other, false),
        Cancelled::Now { attempts: 1 }
    );
    assert_eq!(world.scheduler.cancel(other, false), Cancelled::Unknown);
    world.run_for(minutes(60));
    assert_eq!(world.log.len(), 1);
}

#[test]
fn a_rate_spreads_the_messages() {
    let rate = Rate::parse("60/min").unwrap();
    let mut world = World::new(
        Settings::default(),
        Policy {
            rate: Some(rate),
            ..policy(Plan::fixed(5, minutes(5)))
        },
    );
    world.site("x.example", good);
    for _ in 0..200 {
        world.mail("u", "x.example", 1);
    }
    world.run_for(minutes(1));
    assert!((60..=67).contains(&world.log.len()), "{}", world.log.len());
    let key = RecipientKey {
        id: QueueId::from_u64(200),
        recipient: 0,
    };
    assert_eq!(
        world.scheduler.wait(key, world.now).unwrap().reason,
        Reason::Rate
    );
}

#[test]
fn a_lifetime_ends_the_resends_and_the_late_sender_is_told_once() {
    let plan = Policy {
        lifetime: Some(minutes(12)),
        ..policy(Plan::fixed(50, minutes(5)))
    };
    let settings = Settings {
        delay_notice_after: Some(minutes(7)),
        ..Settings::default()
    };
    let mut world = World::new(settings, plan);
    world.site("x.example", deferring);
    world.mail("u", "x.example", 1);
    let start = world.now;
    world.run_for(minutes(60));
    let notices: Vec<u64> = world
        .notices
        .iter()
        .map(|(t, _)| t.since(start).as_secs())
        .collect();
    assert_eq!(notices, [420]);
    assert_eq!(world.finals(), [(Outcome::Expired, 3)]);
    let end = world.settled.last().unwrap().0.since(start);
    assert_eq!(end, minutes(12));
}

#[test]
fn a_lookup_that_fails_charges_everyone_who_is_due() {
    let mut scheduler = Scheduler::new(
        Settings::default(),
        Box::new(|_, _| policy(Plan::fixed(1, minutes(5)))),
    );
    let mut now = Timestamp::from_secs(1000);
    for n in 0..3 {
        let new = NewRecipient {
            key: RecipientKey {
                id: QueueId::from_u64(n),
                recipient: 0,
            },
            domain: Domain::parse("x.example").unwrap(),
            destination: Destination::Outgoing,
            submitter: "u".to_owned(),
            accepted: now,
            terms: mail::Terms::default(),
            state: RecipientState {
                due: now,
                ..RecipientState::default()
            },
        };
        scheduler.insert(now, &new);
    }
    for round in 1..=2 {
        let Some(Action::Resolve { domain, .. }) = scheduler.poll(now) else {
            panic!("no lookup")
        };
        assert_eq!(scheduler.poll(now), None);
        let v = verdict(Outcome::Deferred, Class::Dns, now);
        scheduler.resolved(now, domain, Resolution::Unroutable(v));
        let settled = std::iter::from_fn(|| scheduler.poll(now)).count();
        assert_eq!(settled, 3, "round {round}");
        now = now + minutes(5);
    }
    assert!(scheduler.is_empty());
}

#[test]
fn connections_in_all_are_shared_round_robin() {
    let settings = Settings {
        connections_max: 4,
        ..Settings::default()
    };
    let mut world = World::new(settings, policy(Plan::fixed(5, minutes(5))));
    for n in 0..10 {
        world.site(&format!("d{n}.example"), good);
    }
    for n in 0..500 {
        world.mail("u", &format!("d{}.example", n % 10), 1);
    }
    world.run_for(minutes(4));
    assert_eq!(world.finals().len(), 500);
    let first: std::collections::BTreeSet<&str> = world.log[..240]
        .iter()
        .map(|(_, d, _)| d.as_str())
        .collect();
    assert_eq!(first.len(), 10, "{first:?}");
}

#[test]
fn memory_follows_the_queue_and_not_all_that_was_ever_sent() {
    let mut world = World::default_plan();
    for n in 0..200 {
        let domain = format!("d{n}.example");
        world.site(&domain, good);
        world.mail("u", &domain, 1);
    }
    world.run_for(minutes(1));
    assert_eq!(world.scheduler.sites().len(), 200);
    let workers: Vec<WorkerId> = world
        .scheduler
        .workers
        .iter()
        .map(|(i, _)| WorkerId(i as u32))
        .collect();
    for worker in workers {
        assert!(world.scheduler.closed(worker));
    }
    world.run_for(minutes(120));
    world.scheduler.poll(world.now);
    assert_eq!(world.scheduler.sites().len(), 0);
}

#[test]
fn the_rest_of_a_message_stays_with_the_session_that_began_it() {
    let mut world = World::default_plan();
    world.site("a.example", good);
    world.mail("u", "a.example", 1000);
    world.run_for(minutes(1));
    assert_eq!(world.finals().len(), 1000);
    assert_eq!(world.log.len(), 10);
    assert_eq!(world.scheduler.workers.len(), 1);
}

#[test]
fn an_order_limits_a_site_for_its_time_and_costs_no_attempt() {
    let mut world = World::default_plan();
    world.site("x.example", good);
    // The site must be known to be ordered; who orders again when it is, is the caller's part.
    assert!(!world.scheduler.order_site("x.example", None));
    world.mail("u", "x.example", 1);
    world.run_for(minutes(1));
    let start = world.now;
    let order = |until, paused, rate, connections| {
        Some(SiteOrder {
            until,
            paused,
            rate,
            connections,
        })
    };
    let paused = order(start + minutes(30), true, None, None);
    assert!(world.scheduler.order_site("x.example", paused));
    for n in 0..40 {
        world.mail(&format!("u{n}"), "x.example", 1);
    }
    world.run_for(minutes(29));
    assert_eq!(world.log.len(), 1);
    let key = RecipientKey {
        id: QueueId::from_u64(2),
        recipient: 0,
    };
    let wait = world.scheduler.wait(key, world.now).unwrap();
    assert_eq!(wait.reason, Reason::SitePaused);
    assert_eq!(wait.next, Some(start + minutes(30)));
    // A slower order takes its place, and ends by itself.
    let slow = order(
        start + minutes(40),
        false,
        Some(Rate::parse("1/min").unwrap()),
        Some(1),
    );
    assert!(world.scheduler.order_site("x.example", slow));
    world.run_for(minutes(10));
    let slowed = world.log.len() - 1;
    assert!((9..=11).contains(&slowed), "{slowed}");
    world.run_for(minutes(3));
    assert_eq!(world.log.len(), 41);
    let all = world.finals();
    assert_eq!(all.len(), 41);
    assert!(all.iter().all(|end| *end == (Outcome::Delivered, 1)));
}

#[test]
fn recipients_of_the_future_are_counted_until_they_are_due_or_gone() {
    let mut world = World::default_plan();
    let now = world.now;
    let key = |n| RecipientKey {
        id: QueueId::from_u64(n),
        recipient: 0,
    };
    for n in 1..=4u64 {
        let new = NewRecipient {
            key: key(n),
            domain: Domain::parse("x.example").unwrap(),
            destination: Destination::Outgoing,
            submitter: "u".to_owned(),
            accepted: now,
            terms: mail::Terms::default(),
            state: RecipientState {
                due: now + minutes(n * 10),
                attempts: u32::from(n == 4),
                ..RecipientState::default()
            },
        };
        world.scheduler.insert(now, &new);
    }
    let scheduler = &mut world.scheduler;
    assert_eq!(scheduler.future(), 3, "one has been tried");
    scheduler.hold(key(1));
    assert_eq!(scheduler.future(), 3);
    scheduler.retry(now, key(1), now);
    assert_eq!(scheduler.future(), 2, "a held one whose time is now");
    scheduler.retry(now, key(1), now + minutes(5));
    assert_eq!(scheduler.future(), 3);
    scheduler.retry(now, key(2), now);
    assert_eq!(scheduler.future(), 2);
    scheduler.cancel(key(1), false);
    assert_eq!(scheduler.future(), 1);
    let later = now + minutes(31);
    while scheduler.poll(later).is_some() {}
    assert_eq!(scheduler.future(), 0);
}

#[test]
fn a_clock_that_is_set_back_strands_nothing() {
    let day = Duration::from_secs(86_400);
    let mut world = World::default_plan();
    world.site("x.example", deferring);
    world.site("dead.example", dead);
    world.mail("u", "x.example", 1);
    world.mail("u", "dead.example", 1);
    world.run_for(minutes(1));
    assert_eq!(world.log.len(), 2);
    world.now = world.now - day;
    world.scheduler.clock_set_back(world.now, day);
    // The next attempts come when they were to come: five minutes after the first.
    world.run_for(minutes(3));
    assert_eq!(world.log.len(), 2);
    world.run_for(minutes(2));
    let later: Vec<&str> = world
        .log
        .iter()
        .skip(2)
        .map(|(_, d, _)| d.as_str())
        .collect();
    assert_eq!(later.len(), 2, "{later:?}");
    // And the plan goes on as if nothing had been.
    world.run_for(minutes(60));
    assert_eq!(world.finals(), [(Outcome::Failed, 6), (Outcome::Failed, 6)]);
}

#[test]
fn a_clock_that_is_set_back_strands_nothing_that_somebody_wants_tried_now() {
    let day = Duration::from_secs(86_400);
    let mut w = World::default_plan();
    w.site("x.example", deferring);
    let id = w.mail("u", "x.example", 1);
    w.run_for(minutes(1));
    let key = RecipientKey { id, recipient: 0 };
    w.scheduler.retry(w.now, key, w.now).unwrap();
    w.now = w.now - day;
    w.scheduler.clock_set_back(w.now, day);
    w.run_for(minutes(60));
    assert_eq!(w.finals(), [(Outcome::Failed, 6)]);
}

#[test]
fn what_a_submitter_asked_for_stays_when_the_clock_is_set_back() {
    let mut world = World::default_plan();
    world.site("x.example", good);
    let at = world.now + minutes(24 * 60);
    let id = world.mail("u", "x.example", 1);
    let key = RecipientKey { id, recipient: 0 };
    world.scheduler.retry(world.now, key, at);
    world.now = world.now - minutes(120);
    world.scheduler.clock_set_back(world.now, minutes(120));
    world.run_for(minutes(25 * 60));
    assert_eq!(world.log.len(), 0);
    world.run_for(minutes(2 * 60));
    assert_eq!(world.log.len(), 1);
}
