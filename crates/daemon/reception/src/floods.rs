//! How much strangers may write into the log: what clients cause is told line by line up to a bound for each
//! network, and beyond it by a count.

use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mail::Timestamp;
use net::Origin;

use crate::Reception;

/// Octets of lines that one network may cause at once, ...
const BURST: u64 = 256 << 10;
/// ... and so many a second in the long run.
const RATE: u64 = 16 << 10;
/// What a line has beside its text: time, event, address.
const LINE: u64 = 80;
/// A value is cut behind so many octets.
const VALUE_MAX: usize = 1000;
/// How often it is told what was left out.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Networks that are remembered; together they may cause no more than as many bursts.
const NETWORKS_MAX: usize = 4096;

/// The bounds of all networks.
#[derive(Debug, Default)]
pub(crate) struct Floods {
    networks: Mutex<HashMap<IpAddr, Flow>>,
}

#[derive(Debug)]
struct Flow {
    /// Octets that it may cause at this time.
    left: u64,
    at: Timestamp,
    /// Lines that were left out, by what they were about.
    out: BTreeMap<&'static str, u64>,
}

/// What was left out of one network's lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) network: IpAddr,
    pub(crate) lines: u64,
    /// Such as `31 client, 5 turned-away`.
    pub(crate) what: String,
}

impl Floods {
    /// Whether a line of `event` with about so many octets of text, caused by this client, is written; it is
    /// counted otherwise.
    pub(crate) fn allow(
        &self,
        client: IpAddr,
        now: Timestamp,
        event: &'static str,
        octets: usize,
    ) -> bool {
        let network = Origin::of(client).network;
        let mut networks = self.networks.lock();
        if networks.len() >= NETWORKS_MAX && !networks.contains_key(&network) {
            networks.retain(|_, flow| !flow.out.is_empty() || flow.refilled(now) < BURST);
        }
        // Beyond that many all others are one.
        let network = match networks.len() >= NETWORKS_MAX && !networks.contains_key(&network) {
            true => IpAddr::from([0, 0, 0, 0]),
            false => network,
        };
        let flow = networks.entry(network).or_insert(Flow {
            left: BURST,
            at: now,
            out: BTreeMap::new(),
        });
        flow.left = flow.refilled(now);
        flow.at = flow.at.max(now);
        match flow.left.checked_sub(octets as u64 + LINE) {
            Some(left) => {
                flow.left = left;
                true
            }
            None => {
                *flow.out.entry(event).or_default() += 1;
                false
            }
        }
    }

    /// What was left out since this was asked last.
    pub(crate) fn left_out(&self) -> Vec<LeftOut> {
        let mut networks = self.networks.lock();
        let told = networks.iter_mut().filter(|(_, flow)| !flow.out.is_empty());
        told.map(|(network, flow)| {
            let out = std::mem::take(&mut flow.out);
            let what: Vec<String> = out
                .iter()
                .map(|(event, n)| format!("{n} {event}"))
                .collect();
            LeftOut {
                network: *network,
                lines: out.values().sum(),
                what: what.join(", "),
            }
        })
        .collect()
    }
}

/// Writes a line about what a client did, unless its network has written too many; with these fields
/// after the client's address.
pub fn tell(
    reception: &Reception,
    client: IpAddr,
    event: &'static str,
    fields: &[(&str, Option<&str>)],
) {
    let now = reception.node.now();
    let octets = fields.iter().filter_map(|(_, value)| *value).map(cut);
    if !reception
        .floods
        .allow(client, now, event, octets.map(str::len).sum())
    {
        return;
    }
    let line = reception
        .node
        .journal
        .line(now, event)
        .field("client", client);
    let line = fields
        .iter()
        .fold(line, |line, (name, value)| line.maybe(name, value.map(cut)));
    line.send();
}

/// As much of a value as a line has room for.
fn cut(value: &str) -> &str {
    value.split_at(value.floor_char_boundary(VALUE_MAX)).0
}

/// Tells what was left out, as long as the server runs.
pub async fn keep_telling(reception: Arc<Reception>) {
    loop {
        tokio::time::sleep(TOLD_EVERY).await;
        for out in reception.floods.left_out() {
            let what = format!(
                "{} more lines about clients of this network were left out, to protect the log from flooding: {}",
                out.lines, out.what
            );
            let line = reception.node.journal.line(reception.node.now(), "client");
            line.field("client", Origin::named(out.network))
                .field("what", what)
                .send();
        }
    }
}

impl Flow {
    fn refilled(&self, now: Timestamp) -> u64 {
        let ms = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let more = ms.saturating_mul(RATE) / 1000;
        self.left.saturating_add(more).min(BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_writes_up_to_its_bound_and_then_is_counted() {
        let floods = Floods::default();
        let now = Timestamp::from_secs(1_000_000);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let written = |from: &[&str], at: Timestamp| {
            let lines =
                (0..100_000).map(|n| floods.allow(ip(from[n % from.len()]), at, "client", 100));
            lines.filter(|written| *written).count()
        };
        let near = ["192.0.2.1", "192.0.2.2"];
        let first = written(&near, now);
        assert!((1000..2000).contains(&first), "{first}");
        let more = written(&near, now + Duration::from_secs(8));
        assert!((first + more) * 180 < 2 << 20, "{first} and {more}");
        assert!(floods.allow(ip("198.51.100.1"), now, "client", 100));
        assert!(!floods.allow(ip("192.0.2.3"), now, "turned-away", 100));
        let left_out = floods.left_out();
        let count = 200_000 - first - more;
        let expected = LeftOut {
            network: ip("192.0.2.0"),
            lines: count as u64 + 1,
            what: format!("{count} client, 1 turned-away"),
        };
        assert_eq!(left_out, [expected]);
        assert!(floods.left_out().is_empty());
    }

    #[test]
    fn many_networks_are_one_beyond_a_number() {
        let floods = Floods::default();
        let now = Timestamp::from_secs(1_000_000);
        let client = |n: u32| IpAddr::from((n << 8).to_be_bytes());
        for n in 0..3 * u32::try_from(NETWORKS_MAX).unwrap() {
            floods.allow(client(n), now, "client", 100);
        }
        assert!(floods.networks.lock().len() <= NETWORKS_MAX + 1);
    }

    #[test]
    fn a_network_that_was_silent_for_a_while_is_told_line_by_line_again() {
        let floods = Floods::default();
        let now = Timestamp::from_secs(1_000_000);
        let client = "192.0.2.1".parse::<IpAddr>().unwrap();
        while floods.allow(client, now, "client", 100) {}
        let a_second = now + Duration::from_secs(1);
        let lines = (0..1000).filter(|_| floods.allow(client, a_second, "client", 100));
        assert_eq!(
            lines.count() as u64,
            RATE / 180,
            "as many as the long run allows"
        );
        let later = now + Duration::from_secs(BURST / RATE + 1);
        let lines = (0..10_000).filter(|_| floods.allow(client, later, "client", 100));
        assert_eq!(lines.count() as u64, BURST / 180, "a whole burst");
    }

    #[test]
    fn a_clock_that_is_set_back_gives_no_network_more_lines() {
        let floods = Floods::default();
        let now = Timestamp::from_secs(1_000_000);
        let client = "192.0.2.1".parse::<IpAddr>().unwrap();
        while floods.allow(client, now, "client", 100) {}
        let before = now - Duration::from_secs(3600);
        assert!(!floods.allow(client, before, "client", 100));
        assert!(!floods.allow(client, now, "client", 100));
    }
}
