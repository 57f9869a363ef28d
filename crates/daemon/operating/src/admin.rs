//! What is asked of the queue: lists, counts, one message and its course, figures; and what an administrator says beyond
//! single mails.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use local::simulated;
use mail::{Destination, QueueId, RecipientKey, Timestamp};
use node::event::Event;
use node::{Node, blocking, known, refused, signing};
use ops::{
    AttemptView, BackedUpView, Content, Detailed, Done, LaterView, Malformed, MessageView,
    QueuedView, Selection, SitesView, TraceView, VerbError, VerbErrorKind, report_of,
};
use store::{HistoryFilter, HistoryRow, LaterRow, Page, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::{Operating, unwritten};

/// Finished recipients of one message that are shown.
const HISTORY_MAX: u64 = 100_000;

/// How far a long order is: so many of so many.
pub(crate) type Progress = mpsc::UnboundedSender<(u64, u64)>;

pub(crate) async fn reload(node: &Node, who: &str) -> Result<Done, VerbError> {
    let made = node.reloads.reload(&format!("requested by {who}")).await;
    let warnings = made.map_err(|why| VerbError::new(VerbErrorKind::NotReloaded, why))?;
    let line = node.journal.line(node.now(), "action").field("who", who);
    line.field("verb", "reload").send();
    Ok(Done(warnings))
}

pub(crate) async fn back_up(
    node: &Arc<Node>,
    directory: String,
    who: &str,
) -> Result<BackedUpView, VerbError> {
    let handles = Arc::clone(node);
    let to = directory.clone();
    let made = tokio::task::spawn_blocking(move || {
        let settings = handles.settings();
        backup::make(&settings.config, &*handles.store, Path::new(&to))
    });
    let made = made.await.map_err(VerbError::failed)?;
    let line = node.journal.line(node.now(), "action").field("who", who);
    let line = line.field("verb", "backup").field("directory", directory);
    match &made {
        Ok(_) => line.send(),
        Err(error) => line.field("why", format!("{error:#}")).send(),
    }
    made.map_err(|error| VerbError::failed(format!("{error:#}")))
}

/// There is no message of this id.
pub(crate) fn unknown(id: &str) -> VerbError {
    VerbError::not_found(format!(
        "there is no message {id}: it is neither waiting nor in the history"
    ))
}

/// Switches the detailed log; says what is in force then.
pub(crate) fn detailed(node: &Node, ask: Detailed, who: &str) -> Done {
    let Detailed { only, on, seconds } = ask;
    let now = node.now();
    let until = match (on, seconds) {
        (false, _) => None,
        (true, None) => Some(Timestamp::MAX),
        (true, Some(seconds)) => Some(now + Duration::from_secs(seconds)),
    };
    node.journal.set_detailed(only.as_deref(), until);
    let line = node.journal.line(now, "action").field("who", who);
    let line = line.field("verb", if on { "detailed-on" } else { "detailed-off" });
    line.maybe("only", only.as_ref())
        .maybe("until", until.filter(|at| *at != Timestamp::MAX))
        .send();
    let what = only.unwrap_or_else(|| "everything".to_owned());
    Done(match until {
        None => format!("The detailed log for {what} is off."),
        Some(Timestamp::MAX) => format!("The detailed log for {what} is on."),
        Some(at) => format!("The detailed log for {what} is on until {at}."),
    })
}

pub(crate) async fn keys(
    node: &Arc<Node>,
    selection: Selection,
) -> Result<Vec<RecipientKey>, VerbError> {
    blocking(node, move |node| {
        let kinds = known::kinds(&node.settings());
        Ok(selection.keys(&*node.store, &kinds, node.now())?)
    })
    .await
}

/// How many waiting recipients are selected.
pub(crate) async fn count(node: &Arc<Node>, selection: Selection) -> Result<u64, VerbError> {
    if matches!(selection, Selection::Ids(_)) {
        return Ok(keys(node, selection).await?.len() as u64);
    }
    blocking(node, move |node| {
        let filter = selection.filter(&known::kinds(&node.settings()))?;
        Ok(node.store.count(&filter, node.now())?)
    })
    .await
}

/// The waiting recipients that are selected, with the reasons why they wait.
pub(crate) async fn list(
    node: &Arc<Node>,
    selection: Selection,
    page: Page,
) -> Result<Vec<QueuedView>, VerbError> {
    let rows = blocking(node, move |node| {
        let filter = selection.filter(&known::kinds(&node.settings()))?;
        Ok(node.store.query(&filter, page, node.now())?)
    })
    .await?;
    let keys = rows.iter().map(|r| r.key).collect();
    let (ask, told) = oneshot::channel();
    node.tell(Event::Waits(keys, ask));
    let waits = told.await.map_err(|_| VerbError::stopping())?;
    let settings = node.settings();
    Ok(rows
        .into_iter()
        .zip(waits)
        .map(|(row, wait)| {
            let id = row.key.id;
            let mut view = known::waiting(&settings, QueuedView::new(row, wait));
            if node.contents.waits(id) {
                "waits for free memory (outgoing.memory)".clone_into(&mut view.reason);
            }
            view
        })
        .collect())
}

/// The recipients of a message that are finished, in their order. Blocks on the index.
fn history(node: &Node, id: QueueId) -> Result<Vec<HistoryRow>, StoreError> {
    let filter = HistoryFilter {
        id: Some(id),
        ..HistoryFilter::default()
    };
    let mut found = node.store.history(&filter, 0, HISTORY_MAX)?;
    found.sort_by_key(|row| row.key);
    Ok(found)
}

fn parse_id(text: &str) -> Result<QueueId, Malformed> {
    Ok(text.parse()?)
}

/// One message with its recipients; `None` where there is none of this id.
pub(crate) async fn show(node: &Arc<Node>, id: &str) -> Result<Option<MessageView>, VerbError> {
    let queue_id = parse_id(id)?;
    let waiting = list(node, Selection::Ids(vec![id.to_owned()]), Page::ALL).await?;
    let (message, history, mut later) = blocking(node, move |node| {
        let message = node.store.read(queue_id)?;
        let history = history(node, queue_id)?;
        let later = node.store.later(queue_id)?;
        Ok((message, history, later))
    })
    .await?;
    let refused = refused::take(&mut later);
    let later = named(later, &waiting, &history);
    let settings = node.settings();
    let finished = history
        .iter()
        .map(|h| {
            known::attempt(
                &settings,
                h.recipient.clone(),
                h.attempts,
                &h.verdict,
                h.transcript.clone(),
            )
        })
        .collect();
    if let Some(message) = message {
        return Ok(Some(MessageView {
            id: message.id.to_string(),
            accepted: message.accepted.to_string(),
            sender: message.envelope.sender(),
            test: simulated::is_test(&message, 0),
            report_of: report_of(&message.labels),
            message_id: message.labels.message_id,
            subject: message.labels.subject.unwrap_or_default(),
            tags: message.labels.tags,
            metadata: message.labels.metadata,
            size: message.content.len() as u64,
            submitter: message.envelope.submitter.name(),
            signatures: signing::signatures(&message.content),
            waiting,
            finished,
            later,
            refused,
        }));
    }
    Ok(history.into_iter().next().map(|h| MessageView {
        test: h.destination == Destination::Test,
        report_of: report_of(&h.labels),
        message_id: h.labels.message_id,
        tags: h.labels.tags,
        metadata: h.labels.metadata,
        id: h.key.id.to_string(),
        accepted: h.accepted.to_string(),
        sender: h.sender,
        subject: h.labels.subject.unwrap_or_default(),
        size: h.size,
        submitter: h.submitter,
        signatures: Vec::new(),
        waiting,
        finished,
        later,
        refused,
    }))
}

/// What was learned later, with the addresses that it is about.
fn named(later: Vec<LaterRow>, waiting: &[QueuedView], history: &[HistoryRow]) -> Vec<LaterView> {
    let view = |row: LaterRow| {
        let number = row.key.recipient;
        let finished = history.iter().find(|h| h.key.recipient == number);
        let waits = waiting.iter().find(|w| w.number == number);
        let name = finished.map(|h| &h.recipient);
        let name = name.or_else(|| waits.map(|w| &w.recipient)).cloned();
        LaterView {
            recipient: name.unwrap_or_else(|| format!("#{number}")),
            at: row.at.to_string(),
            event: row.word,
            text: row.text,
        }
    };
    later.into_iter().map(view).collect()
}

/// Everything that happened to one message.
pub(crate) async fn trace(node: &Arc<Node>, id: &str) -> Result<TraceView, VerbError> {
    let queue_id = parse_id(id)?;
    let message = show(node, id).await?;
    let mut names: Vec<(u32, String)> = message
        .iter()
        .flat_map(|m| m.waiting.iter().map(|w| (w.number, w.recipient.clone())))
        .collect();
    let (rows, history) = blocking(node, move |node| {
        let rows = node.store.attempts(queue_id)?;
        let history = history(node, queue_id)?;
        Ok((rows, history))
    })
    .await?;
    names.extend(
        history
            .iter()
            .map(|h| (h.key.recipient, h.recipient.clone())),
    );
    let settings = node.settings();
    let mut attempts: Vec<AttemptView> = Vec::with_capacity(rows.len() + history.len());
    for row in rows {
        let named = names.iter().find(|(n, _)| *n == row.key.recipient);
        let name = named.map_or_else(|| format!("#{}", row.key.recipient), |(_, n)| n.clone());
        let view = known::attempt(&settings, name, row.attempts, &row.verdict, row.transcript);
        // A hold or release writes the state anew, with the same last attempt in it.
        let same = |a: &AttemptView| a.recipient == view.recipient && a.attempt == view.attempt;
        if !attempts.iter().any(same) {
            attempts.push(view);
        }
    }
    attempts.extend(
        history
            .into_iter()
            .map(|h| known::attempt(&settings, h.recipient, h.attempts, &h.verdict, h.transcript)),
    );
    attempts.sort_by(|a, b| a.at.cmp(&b.at));
    if message.is_none() && attempts.is_empty() {
        return Err(unknown(id));
    }
    Ok(TraceView { message, attempts })
}

/// The content of a message that waits.
pub(crate) async fn export(node: &Arc<Node>, id: &str) -> Result<Content, VerbError> {
    let queue_id = parse_id(id)?;
    let found = blocking(node, move |node| Ok(node.store.read(queue_id)?)).await?;
    let Some(message) = found else {
        let why = format!("message {id} is not in the queue");
        return Err(VerbError::not_found(why));
    };
    use base64::Engine;
    Ok(Content(
        base64::engine::general_purpose::STANDARD.encode(&message.content),
    ))
}

/// The sites that mail goes to.
pub(crate) async fn sites(operating: &Arc<Operating>) -> Result<SitesView, VerbError> {
    let (ask, told) = oneshot::channel();
    operating.node.tell(Event::Sites(ask));
    let (sites, paused) = told.await.map_err(|_| VerbError::stopping())?;
    Ok(SitesView {
        sites: operating.dispatch.reactions.views(sites),
        paused: paused.iter().map(ToString::to_string).collect(),
    })
}

/// Figures by name.
pub(crate) async fn stats(
    operating: &Operating,
) -> Result<serde_json::Map<String, serde_json::Value>, VerbError> {
    let (ask, told) = oneshot::channel();
    operating.node.tell(Event::Gauges(ask));
    let gauges = told.await.map_err(|_| VerbError::stopping())?;
    let mut figures = serde_json::Map::new();
    for (name, value) in operating.node.figures.all() {
        figures.insert(name.to_owned(), value.into());
    }
    let listed = operating.node.settings().policy.suppressed.len() as u64;
    figures.insert("suppressed_recipients".to_owned(), listed.into());
    let s = operating.node.store.figures();
    let log = s.log.unwrap_or_default();
    let spool = [
        ("waiting", s.waiting),
        ("future", gauges.future),
        ("messages", s.messages),
        ("spool_bytes_written", s.bytes_written),
        ("spool_bytes_moved", log.bytes_moved),
        ("spool_commits", s.commits),
        ("spool_syncs", log.syncs),
        ("spool_hot_segments", log.hot_segments),
        ("spool_cold_segments", log.cold_segments),
        ("spool_reclaimed", log.reclaimed),
        ("spool_index_backlog", s.index_backlog),
        ("log_lines_lost", operating.node.journal.lost()),
        ("own_faults", operating.sending.faults.count()),
    ];
    for (name, value) in spool {
        figures.insert(name.to_owned(), value.into());
    }
    for shown in &operating.node.settings().certificates {
        figures.insert(
            shown.figure().to_owned(),
            shown.days_left(operating.node.now()).into(),
        );
    }
    if let Some(why) = operating.node.reloads.refused() {
        figures.insert("reload_refused".to_owned(), why.into());
    }
    if let Some(behind) = operating.node.store.health().behind {
        figures.insert("trouble".to_owned(), unwritten::trouble(&behind).into());
    }
    Ok(figures)
}
