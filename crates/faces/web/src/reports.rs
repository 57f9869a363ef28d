//! Reports: what went, how long it took, and what was refused, over a time.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use mail::Timestamp;
use ops::{SeriesPoint, SeriesSelection, SeriesView};

use crate::chart::{self, Bar};
use crate::error::PageError;
use crate::fields::{Query, encode};
use crate::filters::wire;
use crate::frame::Frame;
use crate::sent::html;
use crate::session::User;
use crate::state::Web;
use crate::when::span;

/// The times that can be looked at: the word in the address, its name, hours, and how many hours a bar stands for.
const RANGES: [(&str, &str, u64, u64); 4] = [
    ("day", "24 hours", 24, 1),
    ("week", "7 days", 7 * 24, 6),
    ("month", "30 days", 30 * 24, 24),
    ("year", "a year", 365 * 24, 24 * 7),
];

/// By what it can be narrowed: the word, and its name.
const NARROWED: [(&str, &str); 3] = [
    ("domain", "Domain"),
    ("submitter", "Submitter"),
    ("site", "Site"),
];

/// Rows of each table.
const ROWS: usize = 20;

/// How TLS is called in the order of the series.
const TLS: [&str; 5] = [
    "none",
    "failed, sent unencrypted",
    "encrypted",
    "verified",
    "DANE",
];

/// Shares of complaints and bounces at which large providers act (Google and Yahoo, sender guidelines of 2024).
const LINES: (f64, f64) = (0.1, 0.3);

struct Named {
    name: String,
    link: String,
    point: SeriesPoint,
    /// Delivered of all that ended, in parts of a hundred.
    share: String,
    half: String,
    most: String,
}

struct Refusal {
    kind: String,
    site: String,
    count: u64,
    example: String,
}

struct Class {
    name: String,
    count: u64,
    share: String,
}

#[derive(Template)]
#[template(path = "reports.html")]
struct ReportsPage {
    frame: Frame,
    ranges: Vec<(&'static str, String, bool)>,
    narrowed: [(&'static str, &'static str); 3],
    by: String,
    key: String,
    range: &'static str,
    name: &'static str,
    total: SeriesPoint,
    flow: String,
    bars: Vec<(String, SeriesPoint)>,
    delays: Vec<Class>,
    attempts: Vec<Class>,
    tls: Vec<Class>,
    half: String,
    nine: String,
    most: String,
    waiting: String,
    waited: Vec<(String, u64)>,
    /// The name of each, its rows, and whether what was accepted is counted by it: nobody knows the site then.
    groups: Vec<(&'static str, Vec<Named>, bool)>,
    refusals: Vec<Refusal>,
    complained: String,
    bounced: String,
    lines: (f64, f64),
    csv: String,
}

fn sum(points: &[SeriesPoint]) -> SeriesPoint {
    let mut all = SeriesPoint::default();
    for point in points {
        add(&mut all, point);
    }
    all
}

fn add(all: &mut SeriesPoint, point: &SeriesPoint) {
    let plain = |all: &mut u64, n: u64| *all += n;
    plain(&mut all.accepted, point.accepted);
    plain(&mut all.delivered, point.delivered);
    plain(&mut all.deferred, point.deferred);
    plain(&mut all.failed, point.failed);
    plain(&mut all.expired, point.expired);
    plain(&mut all.bounced, point.bounced);
    plain(&mut all.complained, point.complained);
    all.waiting = all.waiting.max(point.waiting);
    for (all, more) in [
        (&mut all.delays, &point.delays),
        (&mut all.attempts, &point.attempts),
        (&mut all.tls, &point.tls),
    ] {
        all.resize(more.len().max(all.len()), 0);
        for (n, more) in all.iter_mut().zip(more) {
            *n += more;
        }
    }
}

/// A share in parts of a hundred; a dash where there is nothing to take it of.
fn share(part: u64, of: u64) -> String {
    match of {
        0 => "–".to_owned(),
        of => format!("{:.1} %", part as f64 * 100.0 / of as f64),
    }
}

/// The upper end of the class in which the part of the deliveries is reached: no more is known than classes.
fn reached(delays: &[u64], ends: &[u64], part: f64) -> String {
    let all: u64 = delays.iter().sum();
    if all == 0 {
        return "–".to_owned();
    }
    let wanted = (all as f64 * part).ceil() as u64;
    let mut so_far = 0;
    let class = delays.iter().position(|n| {
        so_far += n;
        so_far >= wanted
    });
    match class.and_then(|class| ends.get(class)) {
        Some(end) => format!("≤ {}", span(*end)),
        None => match ends.last() {
            Some(last) => format!("> {}", span(*last)),
            None => "–".to_owned(),
        },
    }
}

fn classes(counts: &[u64], name: impl Fn(usize) -> String) -> Vec<Class> {
    let all = counts.iter().sum();
    let class = |(n, count): (usize, &u64)| Class {
        name: name(n),
        count: *count,
        share: share(*count, all),
    };
    counts.iter().enumerate().map(class).collect()
}

/// The name of a class by its upper end.
fn up_to<T: Copy>(ends: &[T], n: usize, words: impl Fn(T) -> String) -> String {
    match (ends.get(n), ends.last()) {
        (Some(end), _) => format!("≤ {}", words(*end)),
        (None, Some(last)) => format!("> {}", words(*last)),
        (None, None) => String::new(),
    }
}

/// The attempts of a class.
fn attempts(ends: &[u32], n: usize) -> String {
    let first = match n.checked_sub(1) {
        Some(before) => ends.get(before).copied().unwrap_or_default() + 1,
        None => 1,
    };
    match ends.get(n) {
        Some(last) if *last == first => first.to_string(),
        Some(last) => format!("{first} to {last}"),
        None => format!("{first} or more"),
    }
}

struct Asked {
    range: &'static str,
    name: &'static str,
    /// Hours of a bar.
    step: u64,
    since: Timestamp,
    by: String,
    key: String,
}

impl Asked {
    fn of(Query(fields): &Query, now: Timestamp) -> Self {
        let word = fields.get("range").unwrap_or("day");
        let range = RANGES.iter().find(|(name, ..)| *name == word);
        let (range, name, hours, step) = range.copied().unwrap_or(RANGES[0]);
        let length = step * 3600;
        let until = (now.as_secs() / length + 1) * length;
        let key = fields.text("key");
        let by = match NARROWED
            .iter()
            .find(|(by, _)| Some(*by) == fields.get("by"))
        {
            Some((by, _)) if !key.is_empty() => (*by).to_owned(),
            Some(_) | None => "total".to_owned(),
        };
        Self {
            range,
            name,
            step,
            since: Timestamp::from_secs(until - hours * 3600),
            by,
            key,
        }
    }

    fn selection(&self, by: &str, key: Option<String>, summed: bool) -> SeriesSelection {
        SeriesSelection {
            step: "hour".to_owned(),
            by: by.to_owned(),
            key,
            since: self.since.as_millis(),
            until: None,
            summed,
        }
    }

    fn link(&self, range: &str) -> String {
        let (by, key) = match self.key.as_str() {
            "" => ("", ""),
            key => (self.by.as_str(), key),
        };
        format!(
            "/reports?{}",
            encode(&[("range", range), ("by", by), ("key", key)])
        )
    }

    /// The points of each bar together, a bar for each step, those without mail too.
    fn bars(&self, points: &[SeriesPoint], now: Timestamp) -> Vec<(String, SeriesPoint)> {
        let length = self.step * 3600;
        let mut by_bar: BTreeMap<u64, SeriesPoint> = BTreeMap::new();
        for point in points {
            let at = Timestamp::parse_rfc3339(&point.at).map_or(0, Timestamp::as_secs);
            add(by_bar.entry(at / length * length).or_default(), point);
        }
        let mut bars = Vec::new();
        let mut at = self.since;
        while at <= now {
            let point = by_bar.remove(&at.as_secs()).unwrap_or_default();
            bars.push((at.to_string(), point));
            at = at + Duration::from_secs(length);
        }
        bars
    }
}

/// What stands below a bar.
fn label(at: &str, step: u64) -> String {
    let (date, time) = (at.get(5..10), at.get(11..16));
    let words = if step == 1 { time } else { date };
    words.unwrap_or_default().to_owned()
}

fn flow(bars: &[(String, SeriesPoint)], step: u64) -> String {
    let bar = |(at, p): &(String, SeriesPoint)| {
        let failed = p.failed + p.expired;
        Bar {
            label: label(at, step),
            title: format!(
                "{at}: {} delivered, {} deferred, {failed} failed",
                p.delivered, p.deferred
            ),
            parts: vec![("good", p.delivered), ("wait", p.deferred), ("bad", failed)],
        }
    };
    let bars: Vec<Bar> = bars.iter().map(bar).collect();
    chart::bars("Delivered, deferred and failed over time", &bars)
}

fn named(view: SeriesView, by: &str, asked: &Asked) -> Vec<Named> {
    let ends = view.delay_seconds;
    let row = |point: SeriesPoint| {
        let ended = point.delivered + point.failed + point.expired;
        let (name, link) = match point.key.as_str() {
            "*" => ("all others".to_owned(), String::new()),
            key => {
                let query = encode(&[("range", asked.range), ("by", by), ("key", key)]);
                (wire(key), format!("/reports?{query}"))
            }
        };
        Named {
            name,
            link,
            share: share(point.delivered, ended),
            half: reached(&point.delays, &ends, 0.5),
            most: reached(&point.delays, &ends, 0.99),
            point,
        }
    };
    view.points.into_iter().take(ROWS).map(row).collect()
}

fn refusals(view: SeriesView) -> Vec<Refusal> {
    let refusal = |point: SeriesPoint| {
        let (kind, site) = point.key.split_once(' ').unwrap_or((&point.key, ""));
        Refusal {
            kind: kind.replace('_', " "),
            site: wire(site),
            count: point.deferred + point.failed + point.expired,
            example: wire(point.example.as_deref().unwrap_or_default()),
        }
    };
    view.points.into_iter().take(ROWS).map(refusal).collect()
}

/// How much waited at the most, for each bar.
fn waited(points: &[SeriesPoint], asked: &Asked, now: Timestamp) -> Vec<(String, u64)> {
    let mut hours: HashMap<&str, u64> = HashMap::new();
    for point in points {
        *hours.entry(point.at.as_str()).or_default() += point.waiting;
    }
    let point = |(at, waiting): (&str, u64)| SeriesPoint {
        at: at.to_owned(),
        waiting,
        ..SeriesPoint::default()
    };
    let points: Vec<SeriesPoint> = hours.into_iter().map(point).collect();
    let bars = asked.bars(&points, now).into_iter();
    bars.map(|(at, point)| (at, point.waiting)).collect()
}

/// The page.
pub(crate) async fn show(
    user: User,
    State(web): State<Web>,
    query: Query,
) -> Result<Response, PageError> {
    let now = web.now();
    let asked = Asked::of(&query, now);
    let key = (asked.by != "total").then(|| asked.key.clone());
    let series = |by: &str, key, summed| ops::Series(asked.selection(by, key, summed));
    let found = web.ask(&user, series(&asked.by, key, false)).await?;
    let waiting = web.ask(&user, series("waiting", None, false)).await?;
    let mut groups = Vec::new();
    let mut refused = Vec::new();
    if asked.by == "total" {
        for (by, name) in NARROWED {
            let of = web.ask(&user, series(by, None, true)).await?;
            groups.push((name, named(of, by, &asked), by != "site"));
        }
        refused = refusals(web.ask(&user, series("refusal", None, true)).await?);
    }
    let total = sum(&found.points);
    let bars = asked.bars(&found.points, now);
    let waited = waited(&waiting.points, &asked, now);
    let waits: Vec<Bar> = (waited.iter())
        .map(|(at, n)| Bar {
            label: label(at, asked.step),
            title: format!("{at}: {n} waited"),
            parts: vec![("plain", *n)],
        })
        .collect();
    let ends = &found.delay_seconds;
    let range = |(word, name, ..): (&'static str, &'static str, u64, u64)| {
        (name, asked.link(word), word == asked.range)
    };
    let csv = encode(&[
        ("range", asked.range),
        ("by", if asked.key.is_empty() { "" } else { &asked.by }),
        ("key", &asked.key),
    ]);
    let page = ReportsPage {
        frame: Frame::new(&web, &user, "/reports", "Reports"),
        ranges: RANGES.into_iter().map(range).collect(),
        narrowed: NARROWED,
        flow: flow(&bars, asked.step),
        delays: classes(&total.delays, |n| up_to(ends, n, span)),
        attempts: classes(&total.attempts, |n| attempts(&found.attempt_counts, n)),
        tls: classes(&total.tls, |n| {
            TLS.get(n).copied().unwrap_or_default().to_owned()
        }),
        half: reached(&total.delays, ends, 0.5),
        nine: reached(&total.delays, ends, 0.9),
        most: reached(&total.delays, ends, 0.99),
        waiting: chart::bars("The most that waited", &waits),
        waited,
        complained: share(total.complained, total.delivered),
        bounced: share(total.bounced, total.delivered),
        lines: LINES,
        groups,
        refusals: refused,
        total,
        bars,
        csv,
        by: asked.by,
        key: wire(&asked.key),
        range: asked.range,
        name: asked.name,
    };
    Ok(html(&page))
}

/// The numbers of the page as a file for spreadsheets (RFC 4180).
pub(crate) async fn csv(
    user: User,
    State(web): State<Web>,
    query: Query,
) -> Result<Response, PageError> {
    let now = web.now();
    let asked = Asked::of(&query, now);
    let key = (asked.by != "total").then(|| asked.key.clone());
    let selection = asked.selection(&asked.by, key, false);
    let found = web.ask(&user, ops::Series(selection)).await?;
    let mut text =
        String::from("at,accepted,delivered,deferred,failed,expired,bounced,complained\r\n");
    for (at, p) in asked.bars(&found.points, now) {
        text.push_str(&format!(
            "{at},{},{},{},{},{},{},{}\r\n",
            p.accepted, p.delivered, p.deferred, p.failed, p.expired, p.bounced, p.complained
        ));
    }
    Ok(crate::sent::file(
        "text/csv; charset=utf-8",
        "sendoff-report.csv",
        text,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_said_than_is_known() {
        let ends = [1, 10, 60];
        assert_eq!(reached(&[0, 0, 0, 0], &ends, 0.5), "–");
        assert_eq!(reached(&[50, 40, 9, 1], &ends, 0.5), "≤ 1 s");
        assert_eq!(reached(&[50, 40, 9, 1], &ends, 0.9), "≤ 10 s");
        assert_eq!(reached(&[50, 40, 9, 1], &ends, 0.99), "≤ 1 min");
        assert_eq!(reached(&[0, 0, 0, 3], &ends, 0.5), "> 1 min");
        assert_eq!(
            (share(1, 0).as_str(), share(1, 8).as_str()),
            ("–", "12.5 %")
        );
    }

    #[test]
    fn bars_have_gaps_and_lose_nothing() {
        let now = Timestamp::from_secs(1_800_000_000);
        let fields = crate::fields::Fields::parse(b"range=week&by=domain&key=a.example");
        let asked = Asked::of(&Query(fields), now);
        assert_eq!((asked.by.as_str(), asked.step), ("domain", 6));
        let point = |ago: u64| SeriesPoint {
            at: Timestamp::from_secs(now.as_secs() / 3600 * 3600 - ago * 3600).to_string(),
            delivered: 1,
            ..SeriesPoint::default()
        };
        let points: Vec<SeriesPoint> = [0, 1, 7, 40].map(point).into();
        let bars = asked.bars(&points, now);
        assert_eq!(bars.len(), 28);
        let sum: u64 = bars.iter().map(|(_, p)| p.delivered).sum();
        assert_eq!(sum, 4);
        assert!(bars.iter().any(|(_, p)| p.delivered == 0));
    }
}
