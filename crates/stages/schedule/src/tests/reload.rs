//! What a reload keeps and what it forgets: a test for each row of the table at [`Scheduler::policies_changed`].

use super::*;

fn key(id: QueueId) -> RecipientKey {
    RecipientKey { id, recipient: 0 }
}

/// Puts another policy in force.
fn reload(w: &mut World, policy: Policy) {
    (w.scheduler).set_policy_of(Box::new(move |_, _| policy.clone()));
    w.scheduler.policies_changed(w.now, Settings::default());
}

fn next(w: &World, id: QueueId) -> Timestamp {
    let wait = w.scheduler.wait(key(id), w.now);
    wait.and_then(|wait| wait.next).unwrap_or(Timestamp::MAX)
}

#[test]
fn a_wait_that_runs_stays_and_the_next_is_by_the_new_plan() {
    let mut w = World::default_plan();
    w.site("grey.example", deferring);
    let start = w.now;
    let id = w.mail("u", "grey.example", 1);
    w.run_for(minutes(1));
    let due = next(&w, id);
    reload(&mut w, policy(Plan::fixed(2, minutes(30))));
    assert_eq!(next(&w, id), due, "the wait goes on as it was told");
    w.run_for(minutes(90));
    assert_eq!(tried(&w, id, start), [0, 300, 2100]);
    // Attempts from before count: the first, and two retries.
    assert_eq!(w.finals(), [(Outcome::Failed, 3)]);
}

#[test]
fn a_lifetime_that_is_set_ends_what_waits_already() {
    let mut w = World::default_plan();
    w.site("grey.example", deferring);
    w.mail("u", "grey.example", 1);
    w.run_for(minutes(1));
    let mut shorter = policy(Plan::fixed(5, minutes(5)));
    shorter.lifetime = Some(minutes(3));
    reload(&mut w, shorter);
    w.run_for(minutes(5));
    assert_eq!(w.finals(), [(Outcome::Expired, 1)]);
}

#[test]
fn holds_and_pauses_stay_and_the_main_switch_is_the_new_one() {
    let mut w = World::default_plan();
    for domain in ["held.example", "paused.example", "other.example"] {
        w.site(domain, good);
    }
    let paused = Domain::parse("paused.example").unwrap();
    w.scheduler.set_paused(w.now, &paused, true);
    let held = w.mail("u", "held.example", 1);
    w.mail("u", "paused.example", 1);
    w.mail("u", "other.example", 1);
    assert!(w.scheduler.hold(key(held)).is_some());
    w.scheduler.policies_changed(w.now, switched(false));
    w.run_for(minutes(10));
    assert_eq!(w.log.len(), 0, "nothing leaves while it is off");
    reload(&mut w, policy(Plan::fixed(5, minutes(5))));
    w.run_for(minutes(10));
    let sites: Vec<&str> = w.log.iter().map(|(_, site, _)| site.as_str()).collect();
    assert_eq!(sites, ["other.example"]);
}

#[test]
fn a_cool_off_goes_on_and_costs_nobody_an_attempt() {
    let mut w = World::default_plan();
    w.site("dead.example", dead);
    let id = w.mail("u", "dead.example", 1);
    w.run_for(minutes(1));
    reload(&mut w, policy(Plan::fixed(5, minutes(5))));
    let late = w.mail("v", "dead.example", 1);
    w.run_for(minutes(2));
    assert_eq!(w.log.len(), 1, "nobody tries before the probe");
    let wait = w.scheduler.wait(key(late), w.now).unwrap();
    assert!(matches!(wait.reason, Reason::CoolingOff(_)), "{wait:?}");
    assert_eq!(wait.next, Some(next(&w, id)));
}

#[test]
fn what_is_being_sent_ends_as_it_began_and_counts_by_the_new_plan() {
    let mut w = World::default_plan();
    w.service = minutes(2);
    w.site("slow.example", deferring);
    let start = w.now;
    let id = w.mail("u", "slow.example", 1);
    w.run_for(Duration::from_secs(1));
    assert_eq!(w.running.len(), 1);
    reload(&mut w, policy(Plan::fixed(0, minutes(5))));
    w.run_for(minutes(3));
    assert_eq!(tried(&w, id, start), [0]);
    assert_eq!(w.finals(), [(Outcome::Failed, 1)]);
}

#[test]
fn domains_are_looked_up_again_and_limits_are_the_new_ones_at_once() {
    let mut w = World::default_plan();
    w.service = minutes(1);
    w.site("busy.example", good);
    w.mail("u", "busy.example", 1);
    w.run_for(minutes(2));
    let (looked_up, site) = (w.lookups, w.sites.keys().next().copied());
    let mut one = policy(Plan::fixed(5, minutes(5)));
    one.connections_max = 1;
    reload(&mut w, one);
    for _ in 0..10 {
        w.mail("u", "busy.example", 1);
    }
    let mut most = 0;
    for _ in 0..12 {
        w.run_for(minutes(1));
        most = most.max(w.running.len());
    }
    assert_eq!(most, 1, "the new limit");
    assert_eq!(w.lookups, looked_up + 1, "the new routes");
    assert_eq!(w.sites.keys().next().copied(), site, "the same site");
    assert_eq!(w.log.len(), 11);
}

#[test]
fn an_order_for_a_site_stays_for_its_time() {
    let mut w = World::default_plan();
    w.site("slowed.example", good);
    w.mail("u", "slowed.example", 1);
    w.run_for(minutes(1));
    let order = SiteOrder {
        until: w.now + minutes(30),
        paused: true,
        rate: None,
        connections: None,
    };
    assert!(w.scheduler.order_site("slowed.example", Some(order)));
    reload(&mut w, policy(Plan::fixed(5, minutes(5))));
    w.mail("u", "slowed.example", 1);
    w.run_for(minutes(20));
    assert_eq!(w.log.len(), 1, "the order holds");
    w.run_for(minutes(20));
    assert_eq!(w.log.len(), 2, "and ends by itself");
}
