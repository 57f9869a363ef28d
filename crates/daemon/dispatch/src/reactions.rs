//! What is done by itself about answers of a kind: a site is slowed, or left alone, for a time.
//!
//! Each such order is kept in the queue's log beside the administrators' own, shown with its cause,
//! ended by itself, and taken back like theirs. It stands for a site, not for a domain: who limits us
//! is the host. The counts that lead to it are in memory only.

use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use config::replies::{Reaction, ReplyAction};
use mail::{Message, Outcome, Timestamp, Verdict, format_duration};
use node::known;
use ops::SiteView;
use schedule::{Rate, Report, SiteOrder};
use serde::{Deserialize, Serialize};
use store::Op;
use world::Clock;

use crate::Dispatch;

/// What the names of orders in the log begin with.
const PREFIX: &str = "site:";
/// Octets of an answer that are kept with the cause.
const CAUSE_MAX: usize = 300;
/// Sites that answers are counted for at once.
const COUNTED_MAX: usize = 10_000;

/// An order for a site, as the log keeps it beside the site's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// The action's id.
    action: String,
    /// A domain whose mail led to it.
    domain: String,
    paused: bool,
    /// Messages in so many milliseconds.
    rate: Option<(u32, u64)>,
    connections: Option<u32>,
    since: u64,
    until: u64,
    cause: String,
}

impl Standing {
    fn order(&self) -> SiteOrder {
        SiteOrder {
            until: Timestamp::from_millis(self.until),
            paused: self.paused,
            rate: self.rate.map(|(count, ms)| Rate {
                count,
                per: std::time::Duration::from_millis(ms),
            }),
            connections: self.connections,
        }
    }

    const fn verb(&self) -> &'static str {
        match self.paused {
            true => "pause",
            false => "slow",
        }
    }

    fn limits(&self) -> Option<String> {
        let rate = self
            .rate
            .map(|(count, ms)| format!("rate={count}/{}s", ms / 1000));
        let connections = self.connections.map(|n| format!("connections={n}"));
        let both: Vec<String> = rate.into_iter().chain(connections).collect();
        (!both.is_empty()).then(|| both.join(" "))
    }

    /// Whether an administrator who names a domain or a host means this order of this site.
    fn is_meant(&self, site: &str, name: &str) -> bool {
        let of_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        self.domain.eq_ignore_ascii_case(name)
            || site
                .split(|c| !of_host(c))
                .any(|host| host.eq_ignore_ascii_case(name))
    }
}

/// Answers that an action counts, of a site.
type Counts = HashMap<(String, Arc<str>), VecDeque<Timestamp>>;

/// The orders in force.
#[derive(Debug)]
pub struct Reactions {
    clock: Clock,
    standing: RwLock<BTreeMap<Arc<str>, Standing>>,
    counts: Mutex<Counts>,
    /// When the first of them ends, in milliseconds since 1970.
    ends: AtomicU64,
}

impl Reactions {
    /// Nothing is ordered.
    pub(crate) fn new(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            standing: RwLock::default(),
            counts: Mutex::default(),
            ends: AtomicU64::new(u64::MAX),
        }
    }

    /// What the log remembers.
    pub fn restore(&self, name: &str, value: &str) {
        if let Some(site) = name.strip_prefix(PREFIX)
            && let Ok(standing) = serde_json::from_str(value)
        {
            self.put(site.into(), standing);
        }
    }

    fn put(&self, site: Arc<str>, new: Standing) {
        self.ends.fetch_min(new.until, Ordering::Relaxed);
        let mut all = self.standing.write();
        all.insert(site, new);
    }

    fn get(&self, site: &str) -> Option<Standing> {
        let all = self.standing.read();
        let found = all.get(site)?;
        (found.until > self.clock.now().as_millis()).then(|| found.clone())
    }

    /// What is ordered for a site.
    pub(crate) fn order(&self, site: &str) -> Option<SiteOrder> {
        self.get(site).map(|standing| standing.order())
    }

    /// A site as it is shown, with what is ordered for it.
    pub fn view(&self, site: schedule::SiteView) -> SiteView {
        let mut view = SiteView::from(site);
        if let Some(standing) = self.get(&view.site) {
            show(&mut view, &standing);
        }
        view
    }

    /// Every site that is shown: those that the schedule knows, and the others with an order.
    pub fn views(&self, sites: Vec<schedule::SiteView>) -> Vec<SiteView> {
        let mut views: Vec<SiteView> = sites.into_iter().map(|site| self.view(site)).collect();
        let all = self.standing.read();
        let now = self.clock.now().as_millis();
        for (site, standing) in all.iter().filter(|(_, s)| s.until > now) {
            if views.iter().any(|view| *view.site == **site) {
                continue;
            }
            let mut view = SiteView {
                site: site.to_string(),
                standing: "no mail at present".to_owned(),
                window: 0,
                busy: 0,
                idle: 0,
                waiting: 0,
                due: 0,
                last_failure: None,
                action: None,
                is_shut: false,
            };
            show(&mut view, standing);
            views.push(view);
        }
        views
    }

    /// Counts an answer; whether there have been as many as the action wants, and then they begin
    /// anew.
    fn counts(&self, action: &ReplyAction, site: &Arc<str>, now: Timestamp) -> bool {
        let mut all = self.counts.lock();
        if all.len() >= COUNTED_MAX {
            let from = now - action.within;
            all.retain(|_, times| times.back().is_some_and(|at| *at > from));
        }
        let key = (action.id.clone(), Arc::clone(site));
        let times = all.entry(key.clone()).or_default();
        times.push_back(now);
        while times.front().is_some_and(|at| *at + action.within < now) {
            times.pop_front();
        }
        let enough = times.len() >= action.after as usize;
        if enough {
            all.remove(&key);
        }
        enough
    }

    /// Takes orders away for which `over` holds.
    fn take(&self, over: impl Fn(&str, &Standing) -> bool) -> Vec<(Arc<str>, Standing)> {
        let mut all = self.standing.write();
        let (gone, kept): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut *all)
            .into_iter()
            .partition(|(site, standing)| over(site, standing));
        let ends = kept.values().map(|s| s.until).min();
        self.ends.store(ends.unwrap_or(u64::MAX), Ordering::Relaxed);
        *all = kept;
        gone.into_iter().collect()
    }
}

fn show(view: &mut SiteView, standing: &Standing) {
    let until = Timestamp::from_millis(standing.until);
    let by = format!("until {until} by rule:{}", standing.action);
    view.standing = match (standing.paused, standing.limits()) {
        (true, _) => format!("paused {by}"),
        (false, limits) => format!(
            "{}, slowed ({}) {by}",
            view.standing,
            limits.unwrap_or_default()
        ),
    };
    view.is_shut |= standing.paused;
    view.action = Some(format!(
        "rule:{} since {}: {}",
        standing.action,
        Timestamp::from_millis(standing.since),
        standing.cause
    ));
}

/// Why a site is limited, and what closed it last.
pub fn said(site: &SiteView) -> String {
    let cause = site.action.iter().map(|action| format!("; {action}"));
    let failure = site.last_failure.iter();
    cause
        .chain(failure.map(|failure| format!("; last failure: {failure}")))
        .collect()
}

/// Looks at what a batch was answered, and orders what the actions want. What the schedule is to be
/// told of the site, if anything.
pub(crate) fn seen(
    dispatch: &Arc<Dispatch>,
    now: Timestamp,
    site: &Arc<str>,
    message: Option<&Message>,
    report: &Report,
) -> Option<SiteOrder> {
    let settings = dispatch.node.settings();
    let actions = &settings.config.replies.actions;
    if actions.is_empty() {
        return None;
    }
    let domain_of = |number: u32| {
        let recipient = message?.envelope.recipients.get(number as usize)?;
        Some(recipient.address.domain().as_str())
    };
    let first = message.and_then(|_| domain_of(0)).unwrap_or_default();
    let of_site = report.site_failure.iter().map(|f| (first, &f.verdict));
    let of_recipients = report.attempted.iter().map(|a| {
        let domain = domain_of(a.key.recipient).unwrap_or_default();
        (domain, &a.verdict)
    });
    // A mail counts once for an action, however many of its recipients were answered so.
    let mut counted: Vec<&str> = Vec::new();
    let mut before: Option<&Verdict> = None;
    let mut order = None;
    for (domain, verdict) in of_site.chain(of_recipients) {
        let same = before.is_some_and(|b| b.reply == verdict.reply);
        if verdict.outcome == Outcome::Delivered || same {
            continue;
        }
        before = Some(verdict);
        let kind = known::of(&settings, verdict).kind;
        let host = verdict.host.as_ref().map(|host| host.name.as_str());
        for action in actions {
            let new = !counted.contains(&action.id.as_str());
            if new && action.is_about(kind, host, domain) {
                counted.push(&action.id);
                if let Some(standing) = triggered(dispatch, action, site, domain, verdict, now) {
                    order = Some(standing.order());
                    keep(dispatch, Arc::clone(site), standing);
                }
            }
        }
    }
    order
}

/// The order that an answer leads to, where it is the one too many.
fn triggered(
    dispatch: &Dispatch,
    action: &ReplyAction,
    site: &Arc<str>,
    domain: &str,
    verdict: &Verdict,
    now: Timestamp,
) -> Option<Standing> {
    let (paused, rate, connections, time) = match action.what {
        Reaction::Plan(_) => return None,
        Reaction::Pause { time } => (true, None, None, time),
        Reaction::Slow {
            rate,
            connections,
            time,
        } => (false, rate, connections, time),
    };
    if !dispatch.reactions.counts(action, site, now) {
        return None;
    }
    // What is paused is not let go by being slowed.
    if !paused && dispatch.reactions.get(site).is_some_and(|s| s.paused) {
        return None;
    }
    let said = match &verdict.host {
        Some(host) => format!("{host}: {}", verdict.reply),
        None => verdict.reply.to_string(),
    };
    let said = said.get(..said.floor_char_boundary(CAUSE_MAX));
    let within = format_duration(action.within);
    Some(Standing {
        action: action.id.clone(),
        domain: domain.to_owned(),
        paused,
        rate: rate.map(|r| {
            let ms = u64::try_from(r.per.as_millis()).unwrap_or(u64::MAX);
            (r.count, ms)
        }),
        connections,
        since: now.as_millis(),
        until: (now + time).as_millis(),
        cause: format!(
            "{} × {} in {within}, most recently {}",
            action.after,
            action.on,
            said.unwrap_or_default()
        ),
    })
}

/// Puts an order in force; it is told of when it is durable.
fn keep(dispatch: &Arc<Dispatch>, site: Arc<str>, standing: Standing) {
    dispatch.reactions.put(Arc::clone(&site), standing.clone());
    let op = Op::Control {
        name: format!("{PREFIX}{site}"),
        value: serde_json::to_string(&standing).ok(),
    };
    let handles = Arc::clone(dispatch);
    let told = move |result: Result<(), store::CommitError>| match result {
        Ok(()) => {
            let line = handles.node.journal.line(handles.node.now(), "action");
            line.field("who", format_args!("rule:{}", standing.action))
                .field("verb", standing.verb())
                .field("site", &site)
                .field("domain", &standing.domain)
                .maybe("limits", standing.limits())
                .field("until", Timestamp::from_millis(standing.until))
                .field("cause", &standing.cause)
                .send();
        }
        // It is in force until a restart; the full disk is told of by the outcome that follows.
        Err(error) => drop(handles.node.failed(&error)),
    };
    dispatch.node.store.commit(vec![op], Box::new(told));
}

/// Ends orders whose time is over, and, with `gone`, those of actions that are not in force any
/// more. The sites that the schedule is to let go.
pub(crate) fn over(dispatch: &Arc<Dispatch>, now: Timestamp, gone: bool) -> Vec<Arc<str>> {
    let reactions = &dispatch.reactions;
    if !gone && reactions.ends.load(Ordering::Relaxed) > now.as_millis() {
        return Vec::new();
    }
    let settings = dispatch.node.settings();
    let actions = &settings.config.replies.actions;
    let ended = reactions.take(|_, standing| {
        let in_force = actions.iter().any(|action| action.id == standing.action);
        standing.until <= now.as_millis() || !in_force
    });
    let sites = ended.iter().map(|(site, _)| Arc::clone(site)).collect();
    for (site, standing) in ended {
        let op = Op::Control {
            name: format!("{PREFIX}{site}"),
            value: None,
        };
        let handles = Arc::clone(dispatch);
        let told = move |result: Result<(), store::CommitError>| match result {
            Ok(()) => {
                let line = handles.node.journal.line(handles.node.now(), "action");
                line.field("who", format_args!("rule:{}", standing.action))
                    .field("verb", format_args!("{}-ended", standing.verb()))
                    .field("site", &site)
                    .send();
            }
            // A restart ends it anew.
            Err(error) => drop(handles.node.failed(&error)),
        };
        dispatch.node.store.commit(vec![op], Box::new(told));
    }
    sites
}

/// Takes back what was ordered for the site of a domain, or of a host. The sites, when that is
/// durable; the caller tells the schedule and the log.
pub fn undo(dispatch: &Dispatch, name: &str, site: Option<&str>) -> Vec<Arc<str>> {
    let is_meant = |s: &str, standing: &Standing| {
        site.is_some_and(|site| site == s) || standing.is_meant(s, name)
    };
    let gone = dispatch.reactions.take(is_meant);
    gone.into_iter().map(|(site, _)| site).collect()
}

/// The setting of the log that an order is.
pub fn control(site: &str) -> String {
    format!("{PREFIX}{site}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mail::ReplyKind;
    use world::Scripted;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn begun() -> (Scripted, Reactions) {
        let script = Scripted::at(Timestamp::parse_rfc3339("2026-12-01T08:00:00Z").unwrap());
        let reactions = Reactions::new(&script.clock());
        (script, reactions)
    }

    /// As the log remembers a pause of two hours.
    fn pause(reactions: &Reactions, script: &Scripted, site: &str) {
        let now = script.clock().now();
        let standing = Standing {
            action: "slow-down".to_owned(),
            domain: "a.example".to_owned(),
            paused: true,
            rate: None,
            connections: None,
            since: now.as_millis(),
            until: (now + 2 * HOUR).as_millis(),
            cause: "421 slow down".to_owned(),
        };
        let value = serde_json::to_string(&standing).unwrap();
        reactions.restore(&control(site), &value);
    }

    #[test]
    fn an_order_that_the_log_remembers_ends_at_its_time_after_a_restart_too() {
        let (script, reactions) = begun();
        pause(&reactions, &script, "mx.a.example");
        script.advance(HOUR);
        let order = reactions.order("mx.a.example").unwrap();
        let end = Timestamp::parse_rfc3339("2026-12-01T10:00:00Z").unwrap();
        assert!(order.paused && order.until == end);
        assert!(reactions.order("mx.b.example").is_none());
        script.advance(HOUR);
        assert!(reactions.order("mx.a.example").is_none());
    }

    #[test]
    fn a_site_is_shown_as_paused_until_its_order_is_over() {
        let (script, reactions) = begun();
        pause(&reactions, &script, "mx.a.example");
        let shown = || reactions.views(Vec::new()).pop();
        let view = shown().unwrap();
        assert!(view.is_shut);
        assert_eq!(
            view.standing,
            "paused until 2026-12-01T10:00:00.000Z by rule:slow-down"
        );
        script.advance(2 * HOUR - Duration::from_millis(1));
        assert!(shown().is_some());
        script.advance(Duration::from_millis(1));
        assert!(shown().is_none());
    }

    #[test]
    fn answers_that_are_far_apart_order_nothing() {
        let (script, reactions) = begun();
        let action = ReplyAction {
            id: "slow-down".to_owned(),
            on: ReplyKind::RateLimited,
            hosts: Vec::new(),
            domains: Vec::new(),
            after: 3,
            within: HOUR,
            what: Reaction::Pause { time: HOUR },
            built_in: false,
        };
        let site: Arc<str> = "mx.a.example".into();
        let counts = || reactions.counts(&action, &site, script.clock().now());
        for _ in 0..6 {
            assert!(!counts());
            script.advance(HOUR * 2 / 3);
        }
        script.advance(2 * HOUR);
        assert_eq!([counts(), counts(), counts()], [false, false, true]);
        assert!(!counts(), "they are counted anew");
    }
}
