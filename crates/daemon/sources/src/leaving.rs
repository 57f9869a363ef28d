//! From which address a mail leaves: from a pool that the rules name, chosen by weight among those
//! that are in service. An address that cannot be used is out of service for a time, and said so.

mod shown;

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deliver::{Candidate, Elsewhere, Ended};
use mail::{EnhancedCode, Message, Outcome, Reply, Timestamp, format_duration};
use net::Path;
use tokio::net::TcpStream;

use crate::Sources;

pub use self::shown::{connect_for, counts, explained, faults, views};
use config::Config;
use config::sources::{Pool, Source};
use node::hop::Hop;

/// How long an address is out of service at first; each failure behind it doubles that.
const OUT_FIRST: Duration = Duration::from_secs(60);
/// And at the most.
const OUT_MAX: Duration = Duration::from_secs(3600);

/// How the sources fare. Nothing of it outlives the server: it is found out anew.
#[derive(Debug, Default)]
pub struct SourceStates {
    states: Mutex<HashMap<Arc<str>, State>>,
    /// Sources with trouble: where there are none, nobody takes the lock.
    troubled: AtomicUsize,
}

/// How one source fares.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) connections: u64,
    pub(crate) trouble: Option<Trouble>,
}

/// An address could not be used, and has not been used since.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) why: String,
    pub(crate) until: Timestamp,
    wait: Duration,
}

impl SourceStates {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<Arc<str>, State>) -> T) -> T {
        let mut states = self.states.lock();
        let result = work(&mut states);
        let troubled = states.values().filter(|s| s.trouble.is_some()).count();
        self.troubled.store(troubled, Ordering::Relaxed);
        result
    }

    /// How a source fares.
    pub(crate) fn of(&self, source: &Source) -> State {
        self.with(|states| states.get(&source.name).cloned().unwrap_or_default())
    }

    /// Why it is out of service, if it is.
    pub(crate) fn trouble(&self, source: &Source, now: Timestamp) -> Option<Trouble> {
        if self.troubled.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.of(source).trouble.filter(|t| t.until > now)
    }

    /// It cannot be used: for how long it is left alone, where that is news.
    fn failed(&self, source: &Source, why: &str, now: Timestamp) -> Option<Duration> {
        self.with(|states| {
            let state = states.entry(Arc::clone(&source.name)).or_default();
            let wait = match &state.trouble {
                // Connections that were begun together fail together.
                Some(trouble) if trouble.until > now => return None,
                Some(trouble) => (trouble.wait * 2).min(OUT_MAX),
                None => OUT_FIRST,
            };
            state.trouble = Some(Trouble {
                why: why.to_owned(),
                until: now + wait,
                wait,
            });
            Some(wait)
        })
    }

    /// It was connected from. Whether it had trouble before.
    fn worked(&self, source: &Source) -> bool {
        self.with(|states| {
            let state = states.entry(Arc::clone(&source.name)).or_default();
            state.connections += 1;
            state.trouble.take().is_some()
        })
    }

    /// All are in service again: the configuration was read anew, perhaps to mend them.
    pub fn forget_troubles(&self) {
        self.with(|states| states.values_mut().for_each(|s| s.trouble = None));
    }
}

/// The pool for a message to a destination, and the order in which its sources are used for it.
#[derive(Debug, Clone)]
pub struct Choice {
    pool: Arc<Pool>,
    order: Vec<Arc<Source>>,
    /// Where a plan keeps mail from leaving that another address could not take.
    later: Option<Later>,
}

/// Mail of a family waits for the next day of a warm-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Later {
    pub(crate) v6: bool,
    pub(crate) why: String,
    /// When it is tried again.
    pub until: Timestamp,
}

impl Later {
    /// As an answer of ours.
    pub fn reply(&self) -> Reply {
        Reply::own(EnhancedCode::new(4, 4, 5), &*self.why)
    }
}

/// Which pool the mail of a message leaves from, and why; none: the system chooses the address.
pub(crate) fn pool<'a>(
    config: &'a Config,
    by_domain: Option<&str>,
    message: &Message,
) -> Option<&'a Arc<Pool>> {
    let sources = &config.sources;
    let named = by_domain.and_then(|name| sources.pools.get(name));
    named
        .or_else(|| {
            let rule = sources.rules.iter().find(|rule| {
                let envelope = &message.envelope;
                let sender = envelope.reverse_path.as_ref();
                let by_sender = rule
                    .sender_domain
                    .as_ref()
                    .is_none_or(|m| sender.is_some_and(|s| m.matches(s.domain())));
                let user = envelope.submitter.user.as_deref();
                let by_user = rule.user.as_deref().is_none_or(|u| user == Some(u));
                let by_header = rule.header.as_ref().is_none_or(|(name, value)| {
                    has_field(&message.content, name, value.as_deref())
                });
                by_sender && by_user && by_header
            });
            rule.map(|rule| &rule.pool)
        })
        .or(sources.default.as_ref())
}

fn has_field(content: &[u8], name: &str, value: Option<&str>) -> bool {
    let is_it = |text: &[u8]| {
        value.is_none_or(|v| text.trim_ascii().eq_ignore_ascii_case(v.trim().as_bytes()))
    };
    mail::Headers::new(content).any(|field| field.is(name) && is_it(field.value))
}

impl Choice {
    /// For a message to a next hop; none: the system chooses the address.
    pub fn of(config: &Config, hop: &Hop, message: &Message) -> Option<Self> {
        let pool = pool(config, hop.sources.as_deref(), message)?;
        Some(Self::in_order(Arc::clone(pool), message.id.as_u64()))
    }

    /// The sources of a pool in the order for a seed. Each stands first for a share of the seeds that
    /// is its weight's, and the same seed finds the same order as long as the pool is the same: who
    /// greylists sees a mail come again from where it came (weighted rendezvous hashing).
    pub(crate) fn in_order(pool: Arc<Pool>, seed: u64) -> Self {
        let mut order = pool.sources.clone();
        if order.len() > 1 {
            order.sort_by(|a, b| share(b, seed).total_cmp(&share(a, seed)));
        }
        let later = None;
        Self { pool, order, later }
    }

    /// Its sources, in their order.
    pub(crate) fn order(&self) -> &[Arc<Source>] {
        &self.order
    }

    /// The same pool, with these of its sources alone.
    pub(crate) fn only(&self, order: Vec<Arc<Source>>, later: Option<Later>) -> Self {
        let pool = Arc::clone(&self.pool);
        Self { pool, order, later }
    }

    /// The sources of IPv4 and IPv6 that are used when so many of each were refused.
    fn turn(&self, states: &SourceStates, turn: u8, now: Timestamp) -> [Option<&Arc<Source>>; 2] {
        [false, true].map(|v6| {
            let of_family = self.order.iter().filter(|s| s.address.is_ipv6() == v6);
            let mut in_service = of_family.filter(|s| states.trouble(s, now).is_none());
            in_service.nth(turn.into())
        })
    }

    /// Whether a session from `source` is one that a candidate would be tried from.
    fn uses(
        &self,
        states: &SourceStates,
        turn: u8,
        source: Option<&Arc<Source>>,
        now: Timestamp,
    ) -> bool {
        source.is_some() && self.turn(states, turn, now).contains(&source)
    }

    /// Whether a session from `source` is where the mail would leave first.
    pub fn begins_with(&self, source: Option<&Arc<Source>>) -> bool {
        source.is_some_and(|source| {
            let mut of_family = self.order.iter();
            let v6 = source.address.is_ipv6();
            of_family.find(|s| s.address.is_ipv6() == v6) == Some(source)
        })
    }

    /// Why nothing can be sent to these addresses.
    fn none_left(
        &self,
        states: &SourceStates,
        to: &[IpAddr],
        turn: u8,
        now: Timestamp,
    ) -> Unreached {
        let pool = &self.pool.name;
        let fits = |s: &&Arc<Source>| to.iter().any(|ip| ip.is_ipv6() == s.address.is_ipv6());
        let mut fitting = self.order.iter().filter(fits);
        if turn > 0 {
            let why = format!("the pool {pool} has no further source address");
            return Unreached::Ours(why, None);
        }
        let trouble = |s: &Arc<Source>| {
            let trouble = states.trouble(s, now)?;
            let why = format!("{} does not work: {}", s.name, trouble.why);
            Some((trouble.until, why))
        };
        // The one that is tried again first.
        match fitting.by_ref().filter_map(trouble).min() {
            Some((until, why)) => {
                let why = format!("no source address of the pool {pool} is in service: {why}");
                Unreached::Ours(why, Some(until))
            }
            None => {
                let family = match to.iter().any(IpAddr::is_ipv6) {
                    true => "IPv6",
                    false => "IPv4",
                };
                let why = format!(
                    "the host has addresses of {family} only, and the pool {pool} has no source \
                     address of it"
                );
                Unreached::Ours(why, None)
            }
        }
    }
}

/// How far a source stands in front for a seed.
fn share(source: &Source, seed: u64) -> f64 {
    let mix = |n: u64| {
        let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    };
    let name = source.name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    });
    // 32 bits are exact in a float, and enough; never 0 or 1.
    let drawn = u32::try_from(mix(mix(seed) ^ name) >> 32).unwrap_or(u32::MAX);
    let drawn = (f64::from(drawn) + 0.5) / 4_294_967_296.0;
    -f64::from(source.weight) / drawn.ln()
}

/// A connection with a host.
#[derive(Debug)]
pub struct Reached {
    /// The connection.
    pub tcp: TcpStream,
    /// Where it leads.
    pub peer: Option<SocketAddr>,
    /// From which address, where one was chosen.
    pub source: Option<Arc<Source>>,
}

/// Why there is none.
#[derive(Debug)]
pub enum Unreached {
    /// The host does not answer.
    Host(Option<SocketAddr>, String),
    /// There is no address of ours to connect from; until then, where those that there are do not work.
    Ours(String, Option<Timestamp>),
    /// There will be one on the next day of a warm-up.
    Later(Later),
}

impl Reached {
    /// Our address that the host sees.
    pub fn local(&self) -> Option<IpAddr> {
        match &self.source {
            Some(source) => Some(source.address),
            None => self.tcp.local_addr().ok().map(|a| a.ip()),
        }
    }
}

impl Unreached {
    /// The host's address that was tried last.
    pub const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Host(address, _) => *address,
            Self::Ours(..) | Self::Later(_) => None,
        }
    }
}

/// From where the recipients of one attempt are sent.
#[derive(Debug, Default)]
pub struct Leaving {
    /// None: the system chooses.
    pub choice: Option<Choice>,
    /// The source that each was tried from last.
    pub used: Vec<(u32, Arc<str>)>,
    /// What was taken from each source.
    pub sent: Vec<(Arc<str>, u32)>,
    /// The source of the last connection.
    last: Option<Arc<Source>>,
}

impl Leaving {
    /// Whether an open session's source is one that the candidate is to be tried from.
    pub fn fits(
        &self,
        sources: &Sources,
        candidate: Candidate,
        source: Option<&Arc<Source>>,
    ) -> bool {
        match &self.choice {
            None => source.is_none(),
            Some(choice) => choice.uses(
                &sources.states,
                candidate.source,
                source,
                sources.node.now(),
            ),
        }
    }

    /// Connects to one of the addresses of a host.
    pub async fn connect(
        &mut self,
        sources: &Sources,
        candidate: Candidate,
        to: &[IpAddr],
        port: u16,
        limit: Duration,
    ) -> Result<Reached, Unreached> {
        self.last = None;
        let turn = candidate.source;
        let reached = connect(sources, self.choice.as_ref(), turn, to, port, limit).await?;
        self.last.clone_from(&reached.source);
        Ok(reached)
    }

    /// These recipients are tried from a source.
    pub fn tried_by(&mut self, source: Option<&Arc<Source>>, numbers: &[u32]) {
        if let Some(source) = source {
            self.used.retain(|(n, _)| !numbers.contains(n));
            let from = numbers.iter().map(|n| (*n, Arc::clone(&source.name)));
            self.used.extend(from);
        }
    }

    /// A host has taken what these answers speak of.
    pub fn answered(&mut self, source: Option<&Arc<Source>>, ended: &[Ended]) {
        let taken = |e: &&Ended| e.judgement.outcome == Outcome::Delivered || e.unknown_outcome;
        let count = ended.iter().filter(taken).count();
        if let Some(source) = source {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            self.sent.push((Arc::clone(&source.name), count));
        }
    }

    /// The last connection was of no use to them.
    pub fn gave_up(&mut self, numbers: &[u32]) {
        let last = self.last.take();
        self.tried_by(last.as_ref(), numbers);
    }

    /// From where else a host can be tried that has refused a source for its reputation.
    pub fn elsewhere(
        &self,
        sources: &Sources,
        candidate: Candidate,
        used: Option<IpAddr>,
        other_family: bool,
    ) -> Elsewhere {
        let used_v6 = used.is_some_and(|address| address.is_ipv6());
        let Some(choice) = &self.choice else {
            return Elsewhere {
                family: other_family,
                source: false,
                address: false,
            };
        };
        let now = sources.node.now();
        let in_turn = |turn: u8| {
            let [v4, v6] = choice.turn(&sources.states, turn, now);
            // Of the family that was used, and of the other one.
            match used_v6 {
                true => (v6.is_some(), v4.is_some()),
                false => (v4.is_some(), v6.is_some()),
            }
        };
        let (same, other) = in_turn(candidate.source.saturating_add(1));
        Elsewhere {
            family: other_family && in_turn(candidate.source).1,
            source: same || other_family && other,
            address: false,
        }
    }
}

/// For a transcript: from where.
pub fn words(source: Option<&Arc<Source>>) -> String {
    source.map_or_else(String::new, |s| format!(" from {} ({})", s.address, s.name))
}

async fn connect(
    sources: &Sources,
    choice: Option<&Choice>,
    turn: u8,
    to: &[IpAddr],
    port: u16,
    limit: Duration,
) -> Result<Reached, Unreached> {
    let Some(choice) = choice else {
        let connected = net::connect(to, port, limit).await;
        let tcp = connected.map_err(|e| Unreached::Host(e.address, e.why))?;
        return Ok(Reached {
            peer: tcp.peer_addr().ok(),
            tcp,
            source: None,
        });
    };
    let states = &sources.states;
    let mut failure = None;
    // Each round takes a source out of service, so there is an end.
    for _ in 0..=choice.order.len() {
        let now = sources.node.now();
        let [v4, v6] = choice.turn(states, turn, now);
        let from = |ip: &IpAddr| if ip.is_ipv6() { v6 } else { v4 };
        let ways: Vec<(&Arc<Source>, Path)> = to
            .iter()
            .filter_map(|ip| from(ip).map(|source| (source, way(source, *ip))))
            .collect();
        if ways.is_empty() {
            let fits = |l: &&Later| turn == 0 && to.iter().any(|ip| ip.is_ipv6() == l.v6);
            let none = || match choice.later.as_ref().filter(fits) {
                Some(later) => Unreached::Later(later.clone()),
                None => choice.none_left(states, to, turn, now),
            };
            return Err(failure.unwrap_or_else(none));
        }
        let paths: Vec<Path> = ways.iter().map(|(_, path)| path.clone()).collect();
        let connected = net::connect_by(&paths, port, limit).await;
        let broken = match &connected {
            Ok(connected) => &connected.broken,
            Err(error) => &error.broken,
        };
        for (place, why) in broken {
            if let Some((source, _)) = ways.get(*place) {
                out_of_service(sources, source, why);
            }
        }
        match connected {
            Ok(connected) => {
                let source = ways
                    .get(connected.path)
                    .map(|(source, _)| Arc::clone(source));
                if let Some(source) = &source {
                    in_service(sources, source);
                }
                return Ok(Reached {
                    tcp: connected.tcp,
                    peer: Some(connected.peer),
                    source,
                });
            }
            Err(error) if error.broken.len() < paths.len() => {
                let again = !error.broken.is_empty();
                let reached = Unreached::Host(error.address, error.why);
                if !again {
                    return Err(reached);
                }
                // A host that did not answer one address of ours may answer the next.
                failure = Some(reached);
            }
            Err(_) => {}
        }
    }
    Err(failure.unwrap_or_else(|| choice.none_left(states, to, turn, sources.node.now())))
}

fn way(source: &Source, to: IpAddr) -> Path {
    Path {
        to,
        from: Some(source.address),
        proxy: source.proxy.clone(),
    }
}

fn out_of_service(sources: &Sources, source: &Source, why: &str) {
    let now = sources.node.now();
    if let Some(wait) = sources.states.failed(source, why, now) {
        let line = sources.node.journal.line(now, "source");
        line.field("name", &source.name)
            .field("address", source.address)
            .field("what", "out of service")
            .field("for", format_duration(wait))
            .field("why", why)
            .send();
    }
}

fn in_service(sources: &Sources, source: &Source) {
    if sources.states.worked(source) {
        let line = sources.node.journal.line(sources.node.now(), "source");
        line.field("name", &source.name)
            .field("address", source.address)
            .field("what", "back in service")
            .send();
    }
}

#[cfg(test)]
mod tests {
    use mail::Domain;

    use super::*;

    fn source(name: &str, address: &str, weight: u32) -> Arc<Source> {
        Arc::new(Source {
            name: name.into(),
            address: address.parse().unwrap(),
            ehlo: Domain::parse("out.example").unwrap(),
            weight,
            proxy: None,
            warm_up: None,
        })
    }

    fn pool(sources: Vec<Arc<Source>>) -> Arc<Pool> {
        let name = "p".to_owned();
        Arc::new(Pool { name, sources })
    }

    #[test]
    fn shares_follow_the_weights_and_the_same_mail_finds_the_same_source() {
        let heavy = source("heavy", "192.0.2.1", 3);
        let light = source("light", "192.0.2.2", 1);
        let reserve = source("reserve", "192.0.2.3", 0);
        let all = pool(vec![heavy.clone(), light, reserve.clone()]);
        let states = SourceStates::default();
        let first = |pool: &Arc<Pool>, seed| {
            let choice = Choice::in_order(Arc::clone(pool), seed);
            choice.turn(&states, 0, Timestamp::from_secs(9))[0].cloned()
        };
        let heavies = (0..4000).filter(|n| first(&all, *n) == Some(heavy.clone()));
        let heavies = heavies.count();
        assert!((2850..3150).contains(&heavies), "{heavies}");
        assert!((0..4000).all(|n| first(&all, n) != Some(reserve.clone())));
        // Another source in the pool takes some, and the others keep theirs.
        let more = [all.sources.clone(), vec![source("new", "192.0.2.4", 2)]].concat();
        let more = pool(more);
        let kept = |n: u64| {
            let now = first(&more, n);
            now == first(&all, n) || now.is_some_and(|s| &*s.name == "new")
        };
        assert!((0..4000).all(kept));
    }

    #[test]
    fn out_of_service_means_for_a_minute_then_longer_until_it_works() {
        let states = SourceStates::default();
        let one = source("one", "192.0.2.1", 1);
        let choice = Choice::in_order(pool(vec![one.clone()]), 7);
        let at = |s: u64| Timestamp::from_secs(1000 + s);
        assert!(choice.turn(&states, 0, at(0))[0].is_some());
        assert_eq!(states.failed(&one, "no", at(0)), Some(OUT_FIRST));
        assert_eq!(states.failed(&one, "no", at(1)), None);
        assert!(choice.turn(&states, 0, at(59))[0].is_none());
        assert!(choice.turn(&states, 0, at(60))[0].is_some());
        assert_eq!(states.failed(&one, "no", at(60)), Some(OUT_FIRST * 2));
        assert!(states.worked(&one));
        assert!(!states.worked(&one));
        assert_eq!(states.failed(&one, "no", at(61)), Some(OUT_FIRST));
        let waits = (0..9).map(|n| states.failed(&one, "no", at(10_000 * (n + 1))));
        assert_eq!(waits.last(), Some(Some(OUT_MAX)));
    }

    #[test]
    fn a_field_is_matched_by_name_and_value_whatever_the_case() {
        let content = b"From: a@b.example\r\nX-Stream:  News \r\n\r\nX-Body: yes\r\n";
        assert!(has_field(content, "x-stream", Some("news")));
        assert!(has_field(content, "X-Stream", None));
        assert!(!has_field(content, "X-Stream", Some("bulk")));
        assert!(!has_field(content, "X-Body", None));
    }
}
