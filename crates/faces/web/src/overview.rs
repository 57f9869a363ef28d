//! The overview: whether mail leaves, and if not, why.

use std::collections::HashMap;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use mail::Timestamp;
use ops::{ActView, Acts, OverviewView, SeriesPoint, SeriesSelection, SummaryView, TroubleView};

use crate::chart::{self, Bar};
use crate::error::PageError;
use crate::fields::encode;
use crate::filters::wire;
use crate::frame::Frame;
use crate::queue::{Waits, pending};
use crate::sent::html;
use crate::session::User;
use crate::state::Web;
use crate::when::{When, when};

/// Hours of the chart.
const HOURS: u64 = 24;
/// Acts that are shown.
const ACTS: u64 = 10;

/// The ages of the heat map: what stands over the column, and the terms of a filter.
const AGES: [(&str, &str); 6] = [
    ("< 5 min", "age<5m"),
    ("< 1 h", "age>5m age<1h"),
    ("< 4 h", "age>1h age<4h"),
    ("< 1 day", "age>4h age<1d"),
    ("< 5 days", "age>1d age<5d"),
    ("older", "age>5d"),
];

/// A state of the server, for people.
pub(crate) fn state_words(state: &str) -> &'static str {
    match state {
        "sending" => "Sending",
        "off" => "Outgoing mail is off",
        _ => "Not taking mail",
    }
}

struct Trouble {
    about: String,
    name: String,
    link: String,
    what: String,
    waiting: u64,
}

fn trouble(view: TroubleView) -> Trouble {
    let name = view.name.unwrap_or_default();
    let link = match view.about.as_str() {
        "site" => format!("/sites?{}", encode(&[("site", &name)])),
        "paused" => format!("/queue?{}", encode(&[("q", &format!("domain:{name}"))])),
        _ => String::new(),
    };
    Trouble {
        about: view.about,
        name: wire(&name),
        link,
        what: wire(&view.what),
        waiting: view.waiting,
    }
}

struct Cell {
    count: u64,
    /// How dark it is, from 0 to 5.
    level: u8,
    link: String,
}

struct HeatRow {
    domain: String,
    link: String,
    cells: Vec<Cell>,
    sum: u64,
}

/// How dark a number of so many is: by its size, so that one large domain does not hide the others.
fn level(count: u64) -> u8 {
    match count {
        0 => 0,
        1..=9 => 1,
        10..=99 => 2,
        100..=999 => 3,
        1000..=9999 => 4,
        _ => 5,
    }
}

fn heat(summary: &SummaryView) -> Vec<HeatRow> {
    let row = |domain: &ops::DomainCount| {
        let ages = domain.ages;
        let counts = [
            ages.under_5m,
            ages.under_1h,
            ages.under_4h,
            ages.under_1d,
            ages.under_5d,
            ages.older,
        ];
        let of = format!("domain:{}", domain.domain);
        let queue = |q: &str| format!("/queue?{}", encode(&[("q", q)]));
        let cells = counts.iter().zip(AGES).map(|(count, (_, terms))| Cell {
            count: *count,
            level: level(*count),
            link: queue(&format!("{of} {terms}")),
        });
        HeatRow {
            domain: wire(&domain.domain),
            link: queue(&of),
            cells: cells.collect(),
            sum: domain.recipients,
        }
    };
    summary.domains.iter().map(row).collect()
}

struct Act {
    when: When,
    who: String,
    verb: String,
    about: String,
    refused: bool,
}

/// An act as a page shows it.
fn act(view: ActView, now: Timestamp) -> Act {
    Act {
        when: when(&view.at, now),
        who: wire(&view.who),
        verb: view.verb,
        about: wire(&view.about),
        refused: view.refused,
    }
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    view: OverviewView,
    state: &'static str,
    troubles: Vec<Trouble>,
    chart: String,
    hours: Vec<SeriesPoint>,
    ages: [(&'static str, &'static str); 6],
    heat: Vec<HeatRow>,
    summary: Option<SummaryView>,
    acts: Vec<Act>,
    pending: Vec<Waits>,
    /// Nothing was ever handed in.
    is_new: bool,
}

/// Hours without mail have no point: they are gaps of the chart.
fn bars(points: &[SeriesPoint], since: Timestamp, now: Timestamp) -> Vec<Bar> {
    let by_hour: HashMap<&str, &SeriesPoint> = points.iter().map(|p| (p.at.as_str(), p)).collect();
    let hour = Duration::from_secs(3600);
    let mut bars = Vec::new();
    let mut at = since;
    while at <= now {
        let text = at.to_string();
        let label = text.get(11..16).unwrap_or_default().to_owned();
        let point = by_hour.get(text.as_str());
        let of = |f: fn(&SeriesPoint) -> u64| point.map_or(0, |p| f(p));
        let (delivered, deferred) = (of(|p| p.delivered), of(|p| p.deferred));
        let failed = of(|p| p.failed + p.expired);
        bars.push(Bar {
            title: format!(
                "{label} UTC: {delivered} delivered, {deferred} deferred, {failed} failed"
            ),
            label,
            parts: vec![("good", delivered), ("wait", deferred), ("bad", failed)],
        });
        at = at + hour;
    }
    bars
}

/// The page.
pub(crate) async fn show(user: User, State(web): State<Web>) -> Result<Response, PageError> {
    let now = web.now();
    let view = web.ask(&user, ops::Overview).await?;
    let since = now - Duration::from_secs(3600 * (HOURS - 1));
    let since = Timestamp::from_secs(since.as_secs() / 3600 * 3600);
    let selection = SeriesSelection {
        step: "hour".to_owned(),
        by: "total".to_owned(),
        key: None,
        since: since.as_millis(),
        until: None,
        summed: false,
    };
    let hours = web.ask(&user, ops::Series(selection)).await?.points;
    let acts = Acts {
        before: None,
        limit: ACTS,
    };
    let acts = web.ask(&user, acts).await?.acts;
    let summary = web.summary(&user).await;
    let chart = chart::bars("Mail of the last 24 hours", &bars(&hours, since, now));
    let page = OverviewPage {
        frame: Frame::new(&web, &user, "/", "Overview"),
        state: state_words(&view.state),
        troubles: view.troubles.iter().cloned().map(trouble).collect(),
        chart,
        pending: pending(&web, &user).await?,
        is_new: hours.is_empty() && view.waiting == 0,
        hours,
        ages: AGES,
        heat: summary.as_ref().map(heat).unwrap_or_default(),
        summary,
        acts: acts.into_iter().map(|view| act(view, now)).collect(),
        view,
    };
    Ok(html(&page))
}
