//! One site: next hops that share the same hosts, and so the same limits.

use std::sync::Arc;
use std::time::Duration;

use mail::{QueueId, Reply, Timestamp};

use crate::entry::Slot;
use crate::rate::{Meter, Rate};
use crate::ready::Ready;
use crate::window::{Standing, Window};

#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) key: Arc<str>,
    pub(crate) window: Window,
    pub(crate) ready: Ready,
    pub(crate) limits: Limits,
    /// The sites with which it shares connections and rate.
    pub(crate) group: Option<u32>,
    pub(crate) meter: Meter,
    /// Workers with a batch.
    pub(crate) busy: u32,
    /// Workers with an open session and nothing to do, the most recently used last.
    pub(crate) idle: Vec<u32>,
    /// Sessions past their greeting.
    pub(crate) established: u32,
    /// It stands in the queue of sites that may have work.
    pub(crate) queued: bool,
    /// It stands in the queue of sites that wait for a free connection.
    pub(crate) starved: bool,
    /// Since when a message waits here because a busy session will soon be free.
    pub(crate) patient_since: Option<Timestamp>,
    pub(crate) pace: Pace,
    /// The message that was given to a worker last.
    pub(crate) given: Option<QueueId>,
    /// Why it was closed.
    pub(crate) last_failure: Option<Reply>,
    /// What is wrong on our side, so that nothing can be sent to it.
    pub(crate) fault: Option<Reply>,
    /// Those who found that out; they are due when it may be mended.
    pub(crate) kept: Vec<Slot>,
    /// When those who wait for a fault to be mended are looked through.
    pub(crate) look_at: Option<Timestamp>,
    /// When something was last sent to it.
    pub(crate) used: Timestamp,
    /// What was ordered for it, for a time.
    pub(crate) order: Option<SiteOrder>,
}

/// What one site may be given for a time, instead of what its domains say, where it is less. It ends
/// by itself, and costs nobody an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SiteOrder {
    /// It ends then.
    pub until: Timestamp,
    /// Nothing at all.
    pub paused: bool,
    /// Messages in a time.
    pub rate: Option<Rate>,
    /// Connections at once.
    pub connections: Option<u32>,
}

/// What one site may be given at once; the smallest of what its domains say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) recipients: u32,
    pub(crate) rate: Option<Rate>,
}

/// Transactions for which the rest of a message stays with the session that began it: enough for
/// the thousand recipients that a message may have (RFC 5321 §4.5.3.1.8 makes them 100 each).
const TOGETHER_MAX: usize = 10;
/// The longest wait for that session between two transactions.
const TOGETHER: Duration = Duration::from_secs(5);

/// How long things take there, as moving averages in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    setup: Option<f64>,
    service: Option<f64>,
}

impl Pace {
    pub(crate) fn learn(&mut self, setup: Duration, service: Duration) {
        let blend = |old: Option<f64>, new: Duration| {
            let new = new.as_secs_f64() * 1000.0;
            Some(old.map_or(new, |old| old * 0.8 + new * 0.2))
        };
        if !setup.is_zero() {
            self.setup = blend(self.setup, setup);
        }
        self.service = blend(self.service, service);
    }

    /// How long a message should wait for one of `busy` sessions before a further connection pays:
    /// setting one up costs both sides more than a little patience. `None`: do not wait.
    pub(crate) fn patience(&self, waiting: usize, busy: u32) -> Option<Duration> {
        let (setup, service) = (self.setup?, self.service?);
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        let expected = service * f64::from(waiting) / f64::from(busy.max(1));
        (expected <= setup * 2.0).then(|| Duration::from_secs_f64((setup * 2.0 + 50.0) / 1000.0))
    }
}

impl Site {
    pub(crate) fn new(key: Arc<str>, ceiling: u32, limits: Limits) -> Self {
        Self {
            key,
            window: Window::new(ceiling),
            ready: Ready::default(),
            limits,
            group: None,
            meter: Meter::default(),
            busy: 0,
            idle: Vec::new(),
            established: 0,
            queued: false,
            starved: false,
            patient_since: None,
            pace: Pace::default(),
            given: None,
            last_failure: None,
            fault: None,
            kept: Vec::new(),
            look_at: None,
            used: Timestamp::ZERO,
            order: None,
        }
    }

    /// What was ordered for it and is not over.
    pub(crate) fn order(&self, now: Timestamp) -> Option<SiteOrder> {
        self.order.filter(|order| order.until > now)
    }

    /// Its rates: what was ordered, and what is set, which is counted with those that share it.
    fn rates(&self, now: Timestamp) -> (Option<Rate>, Option<Rate>) {
        let ordered = self.order(now).and_then(|order| order.rate);
        (ordered, self.limits.rate)
    }

    /// When one more message may go as far as its rates and a pause are concerned; `shared` counts for its
    /// group.
    pub(crate) fn not_before(&self, now: Timestamp, shared: Option<&Meter>) -> Option<Timestamp> {
        let paused = self.order(now).filter(|order| order.paused);
        let (ordered, set) = self.rates(now);
        let shared = shared.unwrap_or(&self.meter);
        let ordered = ordered.map(|rate| self.meter.next_at(rate));
        let set = set.map(|rate| shared.next_at(rate));
        let paused = paused.map(|order| order.until);
        paused.into_iter().chain(ordered).chain(set).max()
    }

    /// Connections that it may have busy.
    pub(crate) fn room(&self, now: Timestamp) -> u32 {
        let ordered = self.order(now).and_then(|order| order.connections);
        self.window.room().min(ordered.unwrap_or(u32::MAX))
    }

    /// Counts a message against its rates.
    pub(crate) fn count(&mut self, now: Timestamp, shared: Option<&mut Meter>) {
        let (ordered, set) = self.rates(now);
        match shared {
            Some(shared) => {
                if let Some(rate) = ordered {
                    self.meter.count(now, rate, 1);
                }
                if let Some(rate) = set {
                    shared.count(now, rate, 1);
                }
            }
            // One meter counts for both: by the slower of them.
            None => {
                let slower = |rate: &Rate| rate.per / rate.count.max(1);
                if let Some(rate) = ordered.into_iter().chain(set).max_by_key(slower) {
                    self.meter.count(now, rate, 1);
                }
            }
        }
    }

    /// How long what is ready should wait for a busy session before a further connection pays;
    /// `None`: not at all.
    pub(crate) fn patience(&self) -> Option<Duration> {
        if self.busy == 0 {
            return None;
        }
        let most = TOGETHER_MAX.saturating_mul(self.limits.recipients as usize);
        if self.given.is_some()
            && self.ready.only() == self.given
            && self.ready.recipients() <= most
        {
            return Some(TOGETHER);
        }
        self.pace.patience(self.ready.messages(), self.busy)
    }

    /// Whether nothing would be lost by forgetting it.
    pub(crate) const fn is_forgettable(&self, now: Timestamp) -> bool {
        let cool = matches!(self.window.standing, Standing::CoolingOff { until } if until.as_millis() > now.as_millis());
        self.ready.is_empty() && self.busy == 0 && self.idle.is_empty() && !cool
    }
}

/// A site as the administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteView {
    /// The hosts, in the order of preference.
    pub key: String,
    /// Its standing.
    pub standing: StandingView,
    /// How many connections it may have busy now.
    pub window: u32,
    /// How many are busy.
    pub busy: u32,
    /// How many are open and idle.
    pub idle: u32,
    /// Recipients in the queue of the domains that lead there: due, waiting for their time, held, or being sent.
    pub waiting: usize,
    /// Messages due and not yet with a connection.
    pub messages: usize,
    /// Recipients due and not yet with a connection.
    pub recipients: usize,
    /// The answer that closed it last.
    pub last_failure: Option<Reply>,
}

/// A site's standing as the administrator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandingView {
    /// Not yet known to work: one connection finds out.
    Probing,
    /// Working.
    Open,
    /// Not answering; tried again then.
    CoolingOff(Timestamp),
}

impl SiteView {
    pub(crate) fn new(site: &Site, waiting: usize) -> Self {
        Self {
            key: site.key.to_string(),
            standing: match site.window.standing {
                Standing::Probing => StandingView::Probing,
                Standing::Open => StandingView::Open,
                Standing::CoolingOff { until } => StandingView::CoolingOff(until),
            },
            window: site.window.room(),
            busy: site.busy,
            idle: u32::try_from(site.idle.len()).unwrap_or(u32::MAX),
            waiting,
            messages: site.ready.messages(),
            recipients: site.ready.recipients(),
            last_failure: site.last_failure.clone(),
        }
    }
}
