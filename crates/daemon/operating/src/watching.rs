//! What the server says of itself over a time: overview, series, and what administrators did.

use std::sync::Arc;
use std::time::Duration;

use mail::Timestamp;
use node::{Node, blocking};
use ops::{
    ActRecord, ActView, Acting, ActsView, FlowView, OverviewView, POINTS_MAX, SeriesPoint,
    SeriesSelection, SeriesView, SitesView, TroubleView, VerbError,
};
use store::series::{Cell, Dimension, Point, SeriesWish, Step};
use store::{Book, Note, Op, Record, StoreError, StoredRecord};

use crate::{Operating, admin};

/// Sites that do not answer and are shown, those with the most waiting first.
const SITES_SHOWN: usize = 20;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Series, as they are selected.
///
/// # Errors
/// What is wrong with the selection, or why the history cannot be read.
pub(crate) async fn series(
    node: &Arc<Node>,
    selection: SeriesSelection,
) -> Result<SeriesView, VerbError> {
    blocking(node, move |node| {
        let wish = selection.wish(node.now())?;
        let mut points = Vec::new();
        node.store.series(&wish, &mut |point| points.push(point))?;
        if selection.summed {
            points = summed(points, wish.since);
        }
        let cut = points.len() > POINTS_MAX;
        points.truncate(POINTS_MAX);
        let shown = |p: Point| SeriesPoint::new(p.slot.at, p.slot.key, p.cell);
        Ok(SeriesView::new(
            points.into_iter().map(shown).collect(),
            cut,
        ))
    })
    .await
}

/// One point for each key, the largest first; the rest comes last.
fn summed(points: Vec<Point>, since: Timestamp) -> Vec<Point> {
    let mut by_key = std::collections::HashMap::new();
    for Point { mut slot, cell } in points {
        slot.at = since;
        let sum: &mut Point = by_key.entry(slot.key.clone()).or_insert_with(|| Point {
            slot,
            cell: Cell::default(),
        });
        sum.cell.add(&cell);
    }
    let (step, dimension) = match by_key.values().next() {
        Some(first) => (first.slot.step, first.slot.dimension),
        None => return Vec::new(),
    };
    let cells = by_key.into_iter().map(|(key, point)| (key, point.cell));
    let sorted = store::series::largest(cells.collect(), usize::MAX);
    let point = |(key, cell)| {
        let slot = store::series::Slot {
            step,
            dimension,
            at: since,
            key,
        };
        Point { slot, cell }
    };
    sorted.into_iter().map(point).collect()
}

/// Everything that was counted since then, of all mail.
fn flow(node: &Node, now: Timestamp, length: Duration) -> Result<FlowView, StoreError> {
    let mut sum = Cell::default();
    let wish = SeriesWish {
        step: Step::Minute,
        dimension: Dimension::Total,
        key: None,
        since: now - length,
        until: Timestamp::MAX,
    };
    node.store
        .series(&wish, &mut |point| sum.add(&point.cell))?;
    Ok(FlowView {
        accepted: sum.accepted,
        delivered: sum.delivered,
        deferred: sum.deferred,
        failed: sum.failed,
        expired: sum.expired,
    })
}

/// How the server fares.
///
/// # Errors
/// When the queue's owner or the history does not answer.
pub(crate) async fn overview(operating: &Arc<Operating>) -> Result<OverviewView, VerbError> {
    let node = &operating.node;
    let gauges = operating.gauges().await;
    let refusing = operating.trouble(gauges);
    let sites = admin::sites(operating).await?;
    let (hour, day) = blocking(node, |node| {
        let now = node.now();
        Ok((flow(node, now, HOUR)?, flow(node, now, DAY)?))
    })
    .await?;
    let settings = node.settings();
    let (state, why) = match (&refusing, settings.config.outgoing.enabled) {
        (Some(why), _) => ("refusing", Some(why.clone())),
        (None, false) => {
            let why = "outgoing.enabled = false: mail is taken in and waits";
            ("off", Some(why.to_owned()))
        }
        (None, true) => ("sending", None),
    };
    let waiting = node.store.figures().waiting;
    let troubles = troubles(operating, refusing, &sites);
    let (due, sessions) = gauges.map_or((0, 0), |g| (g.due, g.busy));
    let silent = sites.sites.iter().filter(|site| site.is_shut).count();
    Ok(OverviewView {
        at: node.now().to_string(),
        hostname: settings.config.hostname.to_string(),
        version: version::VERSION.to_owned(),
        sentence: sentence(state, hour, waiting, silent),
        state: state.to_owned(),
        why,
        waiting,
        due,
        sessions,
        troubles,
        hour,
        day,
        detailed: node.journal.details(),
    })
}

/// All of it in one sentence.
fn sentence(state: &str, hour: FlowView, waiting: u64, silent: usize) -> String {
    let mails = |n: u64| match n {
        0 => "No mail".to_owned(),
        1 => "1 mail".to_owned(),
        n => format!("{n} mails"),
    };
    let waits = match waiting {
        0 => "nothing waits".to_owned(),
        1 => "1 waits".to_owned(),
        n => format!("{n} wait"),
    };
    let silent = match silent {
        0 => String::new(),
        1 => ", 1 site does not answer".to_owned(),
        n => format!(", {n} sites do not answer"),
    };
    let left = mails(hour.delivered);
    let end = match state {
        "off" => " Outgoing mail is off.",
        "refusing" => " No mail is taken in.",
        _ => "",
    };
    format!("{left} left in the last hour, {waits}{silent}.{end}")
}

fn troubles(
    operating: &Operating,
    refusing: Option<String>,
    sites: &SitesView,
) -> Vec<TroubleView> {
    let trouble = |about: &str, name: Option<String>, what: String, waiting| TroubleView {
        about: about.to_owned(),
        name,
        what,
        waiting,
    };
    let mut troubles: Vec<TroubleView> = Vec::new();
    troubles.extend(refusing.map(|why| trouble("server", None, why, 0)));
    let faults = operating.faults().into_iter();
    troubles.extend(faults.map(|why| trouble("fault", None, why, 0)));
    let shut = sites.sites.iter().filter(|site| site.is_shut);
    troubles.extend(shut.take(SITES_SHOWN).map(|site| {
        let answer = site.last_failure.as_deref().unwrap_or("no answer");
        let what = format!("{}: {answer}", site.standing);
        let waiting = site.waiting as u64;
        trouble("site", Some(site.site.clone()), what, waiting)
    }));
    let slowed = (sites.sites.iter()).filter_map(|site| Some((site, site.action.clone()?)));
    troubles.extend(slowed.take(SITES_SHOWN).map(|(site, action)| {
        let waiting = site.waiting as u64;
        trouble("site", Some(site.site.clone()), action, waiting)
    }));
    troubles.extend(sites.paused.iter().map(|domain| {
        let what = "paused by an administrator: its mail waits".to_owned();
        trouble("paused", Some(domain.clone()), what, 0)
    }));
    let warnings = operating.warnings().into_iter();
    troubles.extend(warnings.map(|why| trouble("warning", None, why, 0)));
    troubles
}

/// Keeps what an administrator did.
pub(crate) async fn record(
    node: &Arc<Node>,
    who: &str,
    acting: Acting,
    answer: Result<serde_json::Value, &VerbError>,
) {
    let (result, refused) = match answer {
        Ok(serde_json::Value::String(text)) => (text, false),
        Ok(value) => (value.to_string(), false),
        Err(why) => (why.to_string(), true),
    };
    // What was read is not kept a second time.
    let result = match acting.verb {
        "read-content" if !refused => String::new(),
        _ => result,
    };
    let record = ActRecord {
        who: who.to_owned(),
        verb: acting.verb.to_owned(),
        about: cut(acting.about),
        result: cut(result),
        refused,
    };
    let Ok(text) = serde_json::to_string(&record) else {
        return;
    };
    let book = Book::Audit;
    let at = node.now();
    let op = Op::Note(Note::Record(Record { book, at, text }));
    let handles = Arc::clone(node);
    let kept = move || handles.store.commit_wait(vec![op]);
    if let Ok(Err(error)) = tokio::task::spawn_blocking(kept).await {
        node.failed(&error);
    }
}

fn cut(mut text: String) -> String {
    if text.len() > ActRecord::TEXT_MAX {
        text.truncate(text.floor_char_boundary(ActRecord::TEXT_MAX));
        text.push_str(" [cut]");
    }
    text
}

/// What administrators did.
///
/// # Errors
/// When the history cannot be read.
pub(crate) async fn acts(
    node: &Arc<Node>,
    before: Option<u64>,
    limit: u64,
) -> Result<ActsView, VerbError> {
    blocking(node, move |node| {
        let before = before.unwrap_or(u64::MAX);
        let found = node.store.records(Book::Audit, before, limit)?;
        let next = match found.len() as u64 >= limit {
            true => found.last().map(|stored| stored.place),
            false => None,
        };
        let acts = found.into_iter().map(shown).collect();
        Ok(ActsView { acts, next })
    })
    .await
}

fn shown(stored: StoredRecord) -> ActView {
    let StoredRecord { place, record } = stored;
    let unreadable = |text: String| ActRecord {
        who: String::new(),
        verb: "unreadable".to_owned(),
        about: text,
        result: String::new(),
        refused: false,
    };
    let act = serde_json::from_str(&record.text);
    let act: ActRecord = act.unwrap_or_else(|_| unreadable(record.text));
    ActView {
        place,
        at: record.at.to_string(),
        who: act.who,
        verb: act.verb,
        about: act.about,
        result: act.result,
        refused: act.refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_counts_as_people_do() {
        let hour = |delivered| FlowView {
            delivered,
            ..FlowView::default()
        };
        for (state, delivered, waiting, silent, expected) in [
            (
                "sending",
                0,
                0,
                0,
                "No mail left in the last hour, nothing waits.",
            ),
            (
                "sending",
                1,
                1,
                1,
                "1 mail left in the last hour, 1 waits, 1 site does not answer.",
            ),
            (
                "off",
                312,
                41,
                3,
                "312 mails left in the last hour, 41 wait, 3 sites do not answer. Outgoing mail is off.",
            ),
        ] {
            assert_eq!(sentence(state, hour(delivered), waiting, silent), expected);
        }
    }
}
