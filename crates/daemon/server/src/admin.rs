//! The administrator's door: requests over a socket in the data directory, one line of JSON each.
//!
//! Who may connect is a matter of the socket's mode (0660); who did is logged with every change.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use local::simulated;
use mail::{Destination, QueueId, RecipientKey, Timestamp};
use node::event::Event;
use node::{Node, blocking, known, refused, signing};
use ops::{
    Answer, AttemptView, LaterView, MessageView, QueuedView, Request, Selection, TraceView,
    report_of,
};
use returns::suppression;
use sources::leaving;
use store::{HistoryFilter, HistoryRow, LaterRow, Page};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::shared::Shared;
use crate::{acts, backup, explain, http, orders, summary, unwritten};

/// A request's line is no longer than this: ten thousand ids fit.
const REQUEST_MAX: u64 = 1 << 20;
/// Finished recipients of one message that are shown.
const HISTORY_MAX: u64 = 100_000;

/// How far a long order is: so many of so many.
pub(crate) type Progress = mpsc::UnboundedSender<(u64, u64)>;

/// Where the socket is.
pub(crate) fn socket_path(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join("admin.sock")
}

/// Opens the socket. A socket left by a server that was killed is replaced: the lock on the data
/// directory, which is held by now, says that no other server lives.
pub(crate) fn open(data_dir: &Path) -> io::Result<UnixListener> {
    open_socket(&socket_path(data_dir), 0o660)
}

/// Opens a socket of this mode in the data directory.
pub(crate) fn open_socket(path: &Path, mode: u32) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// Answers until the server stops.
pub(crate) async fn serve(shared: Arc<Shared>, listener: UnixListener) {
    while let Some(stream) = accepted(&shared.node, &listener).await {
        tokio::spawn(converse(Arc::clone(&shared), stream));
    }
}

/// The next connection; `None` when the server stops.
pub(crate) async fn accepted(node: &Node, listener: &UnixListener) -> Option<UnixStream> {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => return Some(stream),
                // No file descriptor is free, perhaps; that passes.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            () = node.stopping.cancelled() => return None,
        }
    }
}

async fn converse(shared: Arc<Shared>, stream: UnixStream) {
    use tokio::io::AsyncReadExt;
    let who = match stream.peer_cred() {
        Ok(peer) => format!("uid={}", peer.uid()),
        Err(_) => "unknown".to_owned(),
    };
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(REQUEST_MAX));
    if read.read_line(&mut line).await.is_err() {
        return;
    }
    let answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) => {
            let (progress, mut made) = mpsc::unbounded_channel();
            let answer = carry_out(&shared, request, &who, Some(&progress));
            tokio::pin!(answer);
            loop {
                tokio::select! {
                    answer = &mut answer => break answer.unwrap_or_else(Answer::Error),
                    Some((done, of)) = made.recv() => {
                        write_line(&mut write, &Answer::Progress { done, of }).await;
                    }
                }
            }
        }
        Err(error) => Answer::Error(format!("the request is not valid: {error}")),
    };
    write_line(&mut write, &answer).await;
}

pub(crate) async fn write_line(write: &mut OwnedWriteHalf, answer: &Answer) {
    let mut text = serde_json::to_string(answer).unwrap_or_default();
    text.push('\n');
    // Whoever asked may have hung up.
    drop(write.write_all(text.as_bytes()).await);
}

/// What every way of asking ends in.
pub(crate) async fn carry_out(
    shared: &Arc<Shared>,
    request: Request,
    who: &str,
    progress: Option<&Progress>,
) -> Result<Answer, String> {
    let node = &shared.node;
    request.check()?;
    match request {
        Request::List {
            selection,
            order,
            descending,
            limit,
            offset,
        } => {
            let page = Page {
                sort: order.into(),
                descending,
                offset,
                limit,
            };
            list(node, selection, page).await.map(Answer::Queue)
        }
        Request::Count(selection) => count(node, selection).await.map(Answer::Count),
        Request::Summary(limit) => summary::summary(node, limit).await,
        Request::Show(id) => {
            let found = show(node, &id).await?;
            Ok(found.map_or_else(|| unknown(&id), |m| Answer::Message(Box::new(m))))
        }
        Request::Trace(id) => trace(node, &id).await,
        Request::Act { verb, selection } => acts::act(shared, verb, selection, who, progress).await,
        Request::Export(id) => export(node, &id).await,
        Request::Sites => sites(shared).await,
        Request::Sources => Ok(Answer::Sources(leaving::views(&shared.sources))),
        Request::Pause(domain, on) => orders::pause(shared, &domain, on, who).await,
        Request::Site(domain) => orders::site(shared, &domain).await,
        Request::Slow {
            domain,
            rate,
            connections,
        } => orders::slow(shared, &domain, rate.as_deref(), connections, who).await,
        Request::HoldRules => Ok(orders::hold_rules(node)),
        Request::HoldRule { name, filter } => orders::hold_rule(node, name, filter, who).await,
        Request::Explain { address, probe } => explain::explain(shared, &address, probe)
            .await
            .map(|found| Answer::Explained(Box::new(found))),
        Request::History {
            selection,
            limit,
            offset,
        } => orders::history(node, selection, offset, limit).await,
        Request::HistoryCount(which, most) => orders::history_count(node, which, most).await,
        Request::Suppressions {
            selection,
            limit,
            offset,
        } => suppression::list(node, &selection, offset, limit),
        Request::Suppress(new) => suppression::add(&shared.returns, new, who).await,
        Request::Unsuppress { recipient, scope } => {
            suppression::remove(&shared.returns, recipient, scope, who).await
        }
        Request::Detailed { only, on, seconds } => {
            Ok(Answer::Done(detailed(node, only, on, seconds, who)))
        }
        Request::Webhooks => webhooks::list(&shared.webhooks).await,
        Request::Webhook { name, verb } => webhooks::act(&shared.webhooks, &name, verb, who).await,
        Request::Events(selection) => webhooks::events(node, selection).await,
        Request::Listening => Ok(Answer::Listening(shared.reception.listening.addresses())),
        Request::Reload => reload(shared, who).await,
        Request::Backup(directory) => back_up(node, directory, who).await,
        Request::Stats => stats(shared).await,
        Request::Health => http::health(shared).await,
    }
}

async fn reload(shared: &Arc<Shared>, who: &str) -> Result<Answer, String> {
    let warnings = shared
        .node
        .reloads
        .reload(&format!("requested by {who}"))
        .await?;
    let line = shared
        .node
        .journal
        .line(net::now(), "action")
        .field("who", who);
    line.field("verb", "reload").send();
    Ok(Answer::Done(warnings))
}

async fn back_up(node: &Arc<Node>, directory: String, who: &str) -> Result<Answer, String> {
    let handles = Arc::clone(node);
    let to = directory.clone();
    let made = tokio::task::spawn_blocking(move || {
        let settings = handles.settings();
        backup::make(&settings.config, &*handles.store, Path::new(&to))
    });
    let made = made.await.map_err(|e| e.to_string())?;
    let line = node.journal.line(net::now(), "action").field("who", who);
    let line = line.field("verb", "backup").field("directory", directory);
    match &made {
        Ok(_) => line.send(),
        Err(error) => line.field("why", format!("{error:#}")).send(),
    }
    made.map_err(|error| format!("{error:#}"))
}

fn unknown(id: &str) -> Answer {
    Answer::Unknown(format!(
        "there is no message {id}: it is neither waiting nor in the history"
    ))
}

/// Switches the detailed log; says what is in force then.
fn detailed(
    node: &Node,
    only: Option<String>,
    on: bool,
    seconds: Option<u64>,
    who: &str,
) -> String {
    let now = net::now();
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
    match until {
        None => format!("The detailed log for {what} is off."),
        Some(Timestamp::MAX) => format!("The detailed log for {what} is on."),
        Some(at) => format!("The detailed log for {what} is on until {at}."),
    }
}

pub(crate) async fn keys(
    node: &Arc<Node>,
    selection: Selection,
) -> Result<Vec<RecipientKey>, String> {
    blocking(node, move |node| {
        let kinds = known::kinds(&node.settings());
        selection.keys(&*node.store, &kinds, net::now())
    })
    .await
}

async fn count(node: &Arc<Node>, selection: Selection) -> Result<u64, String> {
    if matches!(selection, Selection::Ids(_)) {
        return Ok(keys(node, selection).await?.len() as u64);
    }
    blocking(node, move |node| {
        let filter = selection.filter(&known::kinds(&node.settings()))?;
        let counted = node.store.count(&filter, net::now());
        counted.map_err(|e| e.to_string())
    })
    .await
}

/// The waiting recipients that are selected, with the reasons why they wait.
pub(crate) async fn list(
    node: &Arc<Node>,
    selection: Selection,
    page: Page,
) -> Result<Vec<QueuedView>, String> {
    let rows = blocking(node, move |node| {
        let filter = selection.filter(&known::kinds(&node.settings()))?;
        node.store
            .query(&filter, page, net::now())
            .map_err(|e| e.to_string())
    })
    .await?;
    let keys = rows.iter().map(|r| r.key).collect();
    let (ask, told) = oneshot::channel();
    node.tell(Event::Waits(keys, ask));
    let waits = told
        .await
        .map_err(|_| "the server is shutting down".to_owned())?;
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
fn history(node: &Node, id: QueueId) -> Result<Vec<HistoryRow>, String> {
    let filter = HistoryFilter {
        id: Some(id),
        ..HistoryFilter::default()
    };
    let found = node.store.history(&filter, 0, HISTORY_MAX);
    let mut found = found.map_err(|e| e.to_string())?;
    found.sort_by_key(|row| row.key);
    Ok(found)
}

fn parse_id(text: &str) -> Result<QueueId, String> {
    text.parse()
        .map_err(|e: mail::ParseQueueIdError| e.to_string())
}

async fn show(node: &Arc<Node>, id: &str) -> Result<Option<MessageView>, String> {
    let queue_id = parse_id(id)?;
    let waiting = list(node, Selection::Ids(vec![id.to_owned()]), Page::ALL).await?;
    let (message, history, mut later) = blocking(node, move |node| {
        let message = node.store.read(queue_id).map_err(|e| e.to_string())?;
        let history = history(node, queue_id)?;
        let later = node.store.later(queue_id).map_err(|e| e.to_string())?;
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

async fn trace(node: &Arc<Node>, id: &str) -> Result<Answer, String> {
    let queue_id = parse_id(id)?;
    let message = show(node, id).await?;
    let mut names: Vec<(u32, String)> = message
        .iter()
        .flat_map(|m| m.waiting.iter().map(|w| (w.number, w.recipient.clone())))
        .collect();
    let (rows, history) = blocking(node, move |node| {
        let rows = node.store.attempts(queue_id).map_err(|e| e.to_string())?;
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
        return Ok(unknown(id));
    }
    Ok(Answer::Trace(Box::new(TraceView { message, attempts })))
}

async fn export(node: &Arc<Node>, id: &str) -> Result<Answer, String> {
    let queue_id = parse_id(id)?;
    let found = blocking(node, move |node| {
        node.store.read(queue_id).map_err(|e| e.to_string())
    })
    .await?;
    let Some(message) = found else {
        let why = format!("message {id} is not in the queue");
        return Ok(Answer::Unknown(why));
    };
    use base64::Engine;
    Ok(Answer::Content(
        base64::engine::general_purpose::STANDARD.encode(&message.content),
    ))
}

async fn sites(shared: &Arc<Shared>) -> Result<Answer, String> {
    let (ask, told) = oneshot::channel();
    shared.node.tell(Event::Sites(ask));
    let (sites, paused) = told
        .await
        .map_err(|_| "the server is shutting down".to_owned())?;
    Ok(Answer::Sites {
        sites: shared.dispatch.reactions.views(sites),
        paused: paused.iter().map(ToString::to_string).collect(),
    })
}

async fn stats(shared: &Shared) -> Result<Answer, String> {
    let (ask, told) = oneshot::channel();
    shared.node.tell(Event::Gauges(ask));
    let gauges = told
        .await
        .map_err(|_| "the server is shutting down".to_owned())?;
    let mut figures = serde_json::Map::new();
    for (name, value) in shared.node.figures.all() {
        figures.insert(name.to_owned(), value.into());
    }
    let listed = shared.node.settings().policy.suppressed.len() as u64;
    figures.insert("suppressed_recipients".to_owned(), listed.into());
    let s = shared.node.store.figures();
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
        ("log_lines_lost", shared.node.journal.lost()),
        ("own_faults", shared.sending.faults.count()),
    ];
    for (name, value) in spool {
        figures.insert(name.to_owned(), value.into());
    }
    for shown in &shared.node.settings().certificates {
        figures.insert(
            shown.figure().to_owned(),
            shown.days_left(net::now()).into(),
        );
    }
    if let Some(why) = shared.node.reloads.refused() {
        figures.insert("reload_refused".to_owned(), why.into());
    }
    if let Some(behind) = shared.node.store.health().behind {
        figures.insert("trouble".to_owned(), unwritten::trouble(&behind).into());
    }
    Ok(Answer::Stats(figures))
}
