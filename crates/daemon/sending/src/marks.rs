//! Hosts that are known for a while not to serve, or not to do what they offer, and in which order hosts are tried.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use route::{Host, order_hosts};
use world::{Clock, Instant};

/// How long a host that did not serve does not keep mail from an open session with another.
const DOWN_FOR: Duration = Duration::from_secs(60);
/// How long a host is not asked for CHUNKING again.
const WITHOUT_CHUNKING_FOR: Duration = Duration::from_secs(86_400);
/// Hosts that are marked are looked through when there are so many.
const MARKED_MAX: usize = 10_000;

/// Hosts of which something is known for a while. Nothing of it outlives the server.
#[derive(Debug)]
pub(crate) struct Marks {
    hosts: Mutex<BTreeMap<String, Instant>>,
    /// Where there are none, nobody takes the lock.
    any: AtomicBool,
    lasts: Duration,
    clock: Clock,
}

impl Marks {
    /// Hosts that did not serve a moment ago.
    pub(crate) fn down(clock: &Clock) -> Self {
        Self::lasting(DOWN_FOR, clock)
    }

    /// Hosts that offer CHUNKING and do not know BDAT.
    pub(crate) fn without_chunking(clock: &Clock) -> Self {
        Self::lasting(WITHOUT_CHUNKING_FOR, clock)
    }

    fn lasting(lasts: Duration, clock: &Clock) -> Self {
        Self {
            hosts: Mutex::default(),
            any: AtomicBool::new(false),
            lasts,
            clock: clock.clone(),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Instant>) -> T) -> T {
        let mut hosts = self.hosts.lock();
        let result = work(&mut hosts);
        self.any.store(!hosts.is_empty(), Ordering::Relaxed);
        result
    }

    /// Marks these hosts.
    pub(crate) fn mark(&self, names: Vec<String>) {
        if names.is_empty() {
            return;
        }
        let now = self.clock.instant();
        self.with(|hosts| {
            if hosts.len() >= MARKED_MAX {
                hosts.retain(|_, since| now.since(*since) < self.lasts);
            }
            hosts.extend(names.into_iter().map(|name| (name, now)));
        });
    }

    /// It is over for this host.
    pub(crate) fn unmark(&self, name: &str) {
        if self.any.load(Ordering::Relaxed) {
            self.with(|hosts| hosts.remove(name));
        }
    }

    /// Whether a host is marked.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.any.load(Ordering::Relaxed)
            && self.with(|hosts| match hosts.get(name) {
                Some(since) if self.clock.instant().since(*since) < self.lasts => true,
                Some(_) => {
                    hosts.remove(name);
                    false
                }
                None => false,
            })
    }
}

/// The hosts in the order in which they are tried: by preference (RFC 5321 §5.1), of equal ones the one with
/// the `open` session first. That one comes before better ones, too, while none of these serves: otherwise
/// each mail would wait for them again.
pub(crate) fn in_order(hosts: &[Host], seed: u64, open: Option<&str>, down: &Marks) -> Vec<Host> {
    let mut hosts = order_hosts(hosts, seed);
    let is_open = |host: &Host| Some(host.name.as_str()) == open;
    if hosts.len() > 1
        && let Some(place) = hosts.iter().position(is_open)
    {
        let host = hosts.remove(place);
        let better = |h: &&Host| h.preference < host.preference;
        let ahead = hosts.iter().filter(better).count();
        let mut ahead_of_it = hosts.iter().take(ahead);
        let leads = ahead_of_it.all(|h| down.has(h.name.as_str()));
        hosts.insert(if leads { 0 } else { ahead }, host);
    }
    hosts
}

#[cfg(test)]
mod tests {
    use deliver::TlsMode;
    use std::sync::Arc;

    use mail::{Domain, Timestamp};
    use route::{HostAddresses, NextHop};
    use world::Scripted;

    use super::*;
    use node::hop::Hop;

    fn hop(domain: &str, hosts: &[(u16, &str)]) -> Arc<Hop> {
        let host = |(preference, name): &(u16, &str)| Host {
            name: Domain::parse(name).unwrap(),
            port: 25,
            preference: *preference,
            addresses: HostAddresses::LookUp,
        };
        Arc::new(Hop {
            domain: Domain::parse(domain).unwrap(),
            next: NextHop {
                hosts: hosts.iter().map(host).collect(),
                configured: false,
                relay: false,
            },
            tls: TlsMode::Opportunistic,
            credentials: None,
            sources: None,
            ignore: Vec::new(),
            destination: mail::Destination::Outgoing,
        })
    }

    fn names(hosts: &[Host]) -> Vec<&str> {
        hosts.iter().map(|h| h.name.as_str()).collect()
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_host_that_did_not_serve_is_tried_as_before_after_a_minute() {
        let script = Scripted::at(Timestamp::from_secs(1_000_000));
        let down = Marks::down(&script.clock());
        down.mark(vec!["a.example".to_owned()]);
        script.advance(MINUTE - Duration::from_secs(1));
        assert!(down.has("a.example") && !down.has("b.example"));
        script.advance(Duration::from_secs(1));
        assert!(!down.has("a.example"));
        // What does not serve again is left alone for as long as at first.
        down.mark(vec!["a.example".to_owned()]);
        script.advance(MINUTE / 2);
        assert!(down.has("a.example"));
    }

    #[test]
    fn a_host_that_does_not_know_bdat_is_asked_again_a_day_later_however_the_clock_is_set() {
        let script = Scripted::at(Timestamp::from_secs(1_000_000));
        let marks = Marks::without_chunking(&script.clock());
        marks.mark(vec!["a.example".to_owned()]);
        script.set(Timestamp::from_secs(1_000_000) + 30 * WITHOUT_CHUNKING_FOR);
        assert!(marks.has("a.example"));
        script.set(Timestamp::from_secs(5));
        script.advance(WITHOUT_CHUNKING_FOR - MINUTE);
        assert!(marks.has("a.example"));
        script.advance(MINUTE);
        assert!(!marks.has("a.example"));
    }

    #[test]
    fn marks_that_are_over_make_room_for_others() {
        let script = Scripted::at(Timestamp::ZERO);
        let down = Marks::down(&script.clock());
        down.mark((0..MARKED_MAX).map(|n| format!("{n}.example")).collect());
        script.advance(MINUTE);
        down.mark(vec!["new.example".to_owned()]);
        assert_eq!(down.with(|hosts| hosts.len()), 1);
    }

    #[test]
    fn a_session_is_preferred_among_equals_and_to_better_hosts_that_are_down() {
        let hop = hop(
            "x.example",
            &[(5, "a.example"), (10, "b.example"), (10, "c.example")],
        );
        let down = Marks::down(&Scripted::at(Timestamp::ZERO).clock());
        for seed in 0..20 {
            let order = in_order(&hop.next.hosts, seed, Some("c.example"), &down);
            assert_eq!(names(&order), ["a.example", "c.example", "b.example"]);
        }
        down.mark(vec!["a.example".to_owned()]);
        let order = in_order(&hop.next.hosts, 1, Some("b.example"), &down);
        assert_eq!(names(&order), ["b.example", "a.example", "c.example"]);
        // Without a session nothing is known of the others: one of them may be this server.
        let order = in_order(&hop.next.hosts, 1, None, &down);
        assert_eq!(names(&order)[0], "a.example");
        down.unmark("a.example");
        let order = in_order(&hop.next.hosts, 1, Some("b.example"), &down);
        assert_eq!(names(&order), ["a.example", "b.example", "c.example"]);
    }
}
