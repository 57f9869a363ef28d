//! Webhooks: others are told by HTTP what happened to each recipient, in order, at least once.
//!
//! The spool keeps the events (`store::Event`), in the transaction that takes in what they are about.
//! Each webhook has a cursor of its own among them, an entry of the history that moves when the
//! receiver has answered 2xx: so one that is down delays nobody, neither mail nor another webhook, and
//! what was not acknowledged is told again, also behind a restart. Nobody waits for a webhook at the
//! end. What is kept has bounds: events that could not be told within `give_up`, or that stand more than
//! `events.max_waiting` behind, are put aside, counted and logged; the history tells them again on
//! demand (`replay`).

mod example;
mod portion;
mod post;
mod render;
mod replay;
mod tell;
mod verbs;

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use mail::Timestamp;
use node::{Node, Settings};
use ops::{EventType, PutAsideView, VerbError};
use returns::suppression;
use serde::{Deserialize, Serialize};
use store::{CommitError, EventKinds, EventWish, Note, Op, StoreError};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

pub use verbs::{act, events, list, test};

/// What the names of the webhooks' entries in the history begin with.
const PREFIX: &str = "webhook/";
/// And those of their replays.
const REPLAY_PREFIX: &str = "webhook-replay/";
/// How often what all have is forgotten.
const TIDIED_EVERY: Duration = Duration::from_secs(2);
/// Events that are forgotten in one transaction, and read at once.
const AT_ONCE: u64 = 5000;

/// The webhooks of the running server.
pub struct Webhooks {
    pub(crate) node: Arc<Node>,
    hooks: Mutex<BTreeMap<String, Arc<Hook>>>,
    /// There are new events.
    news: watch::Sender<()>,
    /// Other settings are in force.
    changed: Notify,
    sent: AtomicU64,
    put_aside: AtomicU64,
    /// What the one that is furthest behind has not been told.
    unsent: AtomicU64,
}

impl Webhooks {
    /// Nobody is told anything before [`begin`].
    pub fn new(node: &Arc<Node>) -> Self {
        Self {
            node: Arc::clone(node),
            hooks: Mutex::default(),
            news: watch::Sender::new(()),
            changed: Notify::new(),
            sent: AtomicU64::default(),
            put_aside: AtomicU64::default(),
            unsent: AtomicU64::default(),
        }
    }

    fn all(&self) -> Vec<Arc<Hook>> {
        lock(&self.hooks).values().cloned().collect()
    }

    fn find(&self, name: &str) -> Option<Arc<Hook>> {
        lock(&self.hooks).get(name).cloned()
    }

    /// Other settings are in force.
    pub fn reload(&self) {
        self.changed.notify_one();
    }

    /// Events told and put aside since the start; how far the last one is behind; and how many webhooks
    /// are up, failing, paused and stopped.
    pub fn figures(&self) -> ([u64; 2], u64, [u64; 4]) {
        let mut states = [0; 4];
        for hook in self.all() {
            let place = match lock(&hook.state).word() {
                "failing" => 1,
                "paused" => 2,
                "stopped" => 3,
                _ => 0,
            };
            if let Some(count) = states.get_mut(place) {
                *count += 1;
            }
        }
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let told = [read(&self.sent), read(&self.put_aside)];
        (told, read(&self.unsent), states)
    }
}

/// One webhook that runs.
struct Hook {
    name: String,
    /// Held over a change until it is durable.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// There is something to do at once.
    wake: Notify,
    replay_wake: Notify,
    /// It is not configured any more, or the server stops.
    ended: CancellationToken,
}

/// What of a webhook outlives a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// The last place that it has been told of, or that is not for it.
    cursor: u64,
    /// An administrator has paused it.
    paused: bool,
    /// The receiver has answered 410.
    stopped: bool,
    put_aside: PutAsideView,
}

#[derive(Debug, Default)]
struct State {
    kept: Kept,
    /// At or above the kept one: what is not for it is passed over without a commit each.
    cursor: u64,
    trouble: Trouble,
    sending: bool,
    sent: u64,
    /// The last answer, or what went wrong, and when.
    last: Option<(Timestamp, String)>,
    replay: Option<replay::Kept>,
    replay_trouble: Trouble,
}

/// Failures in a row.
#[derive(Debug, Clone, Default)]
struct Trouble {
    failures: u32,
    next_try: Option<Timestamp>,
}

impl State {
    fn word(&self) -> &'static str {
        match (&self.kept, self.trouble.failures, self.sending) {
            (Kept { stopped: true, .. }, ..) => "stopped",
            (Kept { paused: true, .. }, ..) => "paused",
            (_, 1.., _) => "failing",
            (_, 0, true) => "sending",
            (_, 0, false) => "up",
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

impl Hook {
    fn new(name: String, kept: Kept, replay: Option<replay::Kept>, node: &Node) -> Self {
        Self {
            name,
            turn: tokio::sync::Mutex::default(),
            state: Mutex::new(State {
                cursor: kept.cursor,
                kept,
                replay,
                ..State::default()
            }),
            wake: Notify::new(),
            replay_wake: Notify::new(),
            ended: node.stopping.child_token(),
        }
    }

    /// Changes what is kept; it is in force when it is durable.
    async fn change(&self, node: &Node, f: impl FnOnce(&mut Kept)) -> Result<(), WebhookError> {
        let _turn = self.turn.lock().await;
        let mut next = lock(&self.state).kept.clone();
        f(&mut next);
        let value = serde_json::to_string(&next)?;
        keep(node, format!("{PREFIX}{}", self.name), Some(value)).await?;
        let mut state = lock(&self.state);
        state.cursor = state.cursor.max(next.cursor);
        state.kept = next;
        Ok(())
    }

    /// Sets or ends the replay where the present one is as expected; whether it was. Between a look and
    /// this an administrator may have ended it, or begun another.
    async fn set_replay(
        &self,
        node: &Node,
        expected: impl FnOnce(Option<&replay::Kept>) -> bool,
        replay: Option<replay::Kept>,
    ) -> Result<bool, WebhookError> {
        let _turn = self.turn.lock().await;
        if !expected(lock(&self.state).replay.as_ref()) {
            return Ok(false);
        }
        let value = replay.as_ref().map(serde_json::to_string).transpose()?;
        keep(node, format!("{REPLAY_PREFIX}{}", self.name), value).await?;
        lock(&self.state).replay = replay;
        Ok(true)
    }

    fn line<'a>(&self, node: &'a Node, event: &str) -> journal::Line<'a> {
        let line = node.journal.line(node.now(), event);
        line.field("name", &self.name)
    }
}

/// What of ours keeps a webhook from being told.
#[derive(Debug, thiserror::Error)]
enum WebhookError {
    /// Nobody answers any more.
    #[error("the server is shutting down")]
    Stopping,
    /// What is remembered of it is not durable.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// What is remembered of it cannot be written down.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Its events cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Work of ours ended too early.
    #[error(transparent)]
    Task(#[from] JoinError),
    /// It has been taken out of the configuration.
    #[error("it is no longer in the configuration")]
    Gone,
}

impl From<WebhookError> for VerbError {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::Stopping => Self::stopping(),
            WebhookError::Commit(error) => error.into(),
            WebhookError::Store(error) => error.into(),
            WebhookError::Json(_) | WebhookError::Task(_) | WebhookError::Gone => {
                Self::failed(error)
            }
        }
    }
}

/// Makes an entry of the history durable.
async fn keep(node: &Node, name: String, value: Option<String>) -> Result<(), WebhookError> {
    let (tell, told) = oneshot::channel();
    let note = Note::Entry { name, value };
    node.store.commit(
        vec![Op::Note(note)],
        // Whoever asked may be gone.
        Box::new(move |result| drop(tell.send(result))),
    );
    Ok(told.await.map_err(|_| WebhookError::Stopping)??)
}

/// Which events the spool is to keep.
fn wish(settings: &Settings) -> EventWish {
    let config = &settings.config.events;
    let mut kinds = match config.keep {
        Some(_) => EventKinds::ALL,
        None => EventKinds::NONE,
    };
    for kind in config.webhooks.iter().flat_map(|hook| &hook.events) {
        kinds = kinds.with(match kind {
            EventType::Accepted => EventKinds::ACCEPTED,
            EventType::Deferred => EventKinds::DEFERRED,
            EventType::Delivered | EventType::Failed => EventKinds::ENDED,
            EventType::Bounced | EventType::Complained | EventType::Quota => EventKinds::LATER,
            EventType::Suppressed => EventKinds::ENTRY,
        });
    }
    EventWish {
        kinds,
        entries: match kinds.has(EventKinds::ENTRY) {
            true => suppression::PREFIX.to_owned(),
            false => String::new(),
        },
    }
}

/// Begins to keep events and to tell webhooks; goes on when other settings are in force.
///
/// # Errors
/// When the history cannot be used.
pub async fn begin(webhooks: &Arc<Webhooks>) -> Result<()> {
    let handles = Arc::downgrade(webhooks);
    webhooks.node.store.on_events(Arc::new(move || {
        if let Some(webhooks) = handles.upgrade() {
            webhooks.news.send_replace(());
        }
    }));
    apply(webhooks).await?;
    tokio::spawn(run(Arc::clone(webhooks)));
    Ok(())
}

async fn run(webhooks: Arc<Webhooks>) {
    loop {
        let settings = webhooks.node.settings();
        let needed = !wish(&settings).is_none();
        let tidied = async {
            match needed {
                true => tokio::time::sleep(TIDIED_EVERY).await,
                false => std::future::pending().await,
            }
        };
        let done = tokio::select! {
            () = webhooks.node.stopping.cancelled() => return,
            () = webhooks.changed.notified() => apply(&webhooks).await,
            () = tidied => tidy(&webhooks).await.map_err(anyhow::Error::from),
        };
        if let Err(error) = done {
            let line = webhooks.node.journal.line(webhooks.node.now(), "error");
            line.field("what", "webhooks").field("why", error).send();
        }
    }
}

/// Reads what is known of webhooks: their states and their replays, by name.
type Known = (BTreeMap<String, Kept>, BTreeMap<String, replay::Kept>, u64);

fn known(node: &Node) -> Result<Known> {
    let hooks = entries(node, PREFIX)?;
    let replays = entries(node, REPLAY_PREFIX)?;
    Ok((hooks, replays, node.store.event_bounds()?.last))
}

fn entries<T: serde::de::DeserializeOwned>(
    node: &Node,
    prefix: &str,
) -> Result<BTreeMap<String, T>> {
    let mut found = BTreeMap::new();
    let mut damaged = None;
    node.store.entries(prefix, &mut |name, value| match (
        name.strip_prefix(prefix),
        serde_json::from_str(&value),
    ) {
        (Some(name), Ok(kept)) => drop(found.insert(name.to_owned(), kept)),
        (_, Err(error)) => damaged = Some(anyhow::anyhow!("{name}: {error}: {value}")),
        (None, Ok(_)) => {}
    })?;
    // Beginning anew would skip what was not told.
    damaged.map_or(Ok(found), Err)
}

async fn apply(webhooks: &Arc<Webhooks>) -> Result<()> {
    let settings = webhooks.node.settings();
    let handles = Arc::clone(webhooks);
    let wish = wish(&settings);
    let none = wish.is_none();
    let known = tokio::task::spawn_blocking(move || {
        handles.node.store.keep_events(&wish)?;
        known(&handles.node)
    });
    let (mut kept, mut replays, last) = known.await?.context("reading the state of webhooks")?;
    for target in &settings.webhooks {
        let name = &target.settings.name;
        let (kept, replay) = (kept.remove(name), replays.remove(name));
        if let Some(hook) = webhooks.find(name) {
            hook.wake.notify_one();
            hook.replay_wake.notify_one();
            continue;
        }
        let new = kept.is_none();
        let begins = Kept {
            cursor: last,
            ..Kept::default()
        };
        let hook = Hook::new(name.clone(), kept.unwrap_or(begins), replay, &webhooks.node);
        if new {
            let kept = hook.change(&webhooks.node, |_| {}).await;
            kept.map_err(|why| anyhow::anyhow!(why))?;
        }
        let hook = Arc::new(hook);
        lock(&webhooks.hooks).insert(name.clone(), Arc::clone(&hook));
        // Until it is gone or the server stops. What is under way then is broken off: it is told again at
        // the next start.
        let (live, past) = (hook.ended.clone(), hook.ended.clone());
        let live =
            live.run_until_cancelled_owned(tell::tell(Arc::clone(webhooks), Arc::clone(&hook)));
        let past = past.run_until_cancelled_owned(replay::tell(Arc::clone(webhooks), hook));
        tokio::spawn(live);
        tokio::spawn(past);
    }
    // What is left is configured no more.
    for (name, kept) in kept {
        if let Some(hook) = lock(&webhooks.hooks).remove(&name) {
            hook.ended.cancel();
        }
        let line = webhooks
            .node
            .journal
            .line(webhooks.node.now(), "webhook-gone");
        line.field("name", &name)
            .field("unsent", last.saturating_sub(kept.cursor))
            .send();
        for prefix in [PREFIX, REPLAY_PREFIX] {
            let gone = keep(&webhooks.node, format!("{prefix}{name}"), None).await;
            gone.map_err(|why| anyhow::anyhow!(why))?;
        }
    }
    if none {
        forget(&webhooks.node, u64::MAX, Timestamp::MAX).await?;
    }
    Ok(())
}

async fn forget(node: &Arc<Node>, upto: u64, before: Timestamp) -> Result<(), WebhookError> {
    loop {
        let handles = Arc::clone(node);
        let forget = move || handles.store.forget_events(upto, before, AT_ONCE);
        if tokio::task::spawn_blocking(forget).await?? < AT_ONCE {
            return Ok(());
        }
    }
}

/// Puts aside what is too much, and forgets what everybody has.
async fn tidy(webhooks: &Arc<Webhooks>) -> Result<(), WebhookError> {
    let settings = webhooks.node.settings();
    let config = &settings.config.events;
    let handles = Arc::clone(webhooks);
    let bounds = tokio::task::spawn_blocking(move || handles.node.store.event_bounds()).await;
    let bounds = bounds??;
    let least = bounds.last.saturating_sub(config.waiting);
    let mut everybody = bounds.last;
    let mut unsent = 0;
    for hook in webhooks.all() {
        let far = lock(&hook.state).cursor < least;
        if far && let Some(target) = settings.webhook(&hook.name) {
            let why = "more events wait than events.max_waiting";
            tell::put_aside(webhooks, &settings, &hook, target, why, move |place, _| {
                place <= least
            })
            .await?;
        }
        let state = lock(&hook.state);
        unsent = unsent.max(bounds.last.saturating_sub(state.cursor));
        everybody = everybody.min(state.kept.cursor);
    }
    webhooks.unsent.store(unsent, Ordering::Relaxed);
    if bounds.kept == 0 {
        return Ok(());
    }
    // However long they are to be kept, they are so many at the most.
    forget(&webhooks.node, least.min(everybody), Timestamp::MAX).await?;
    match config.keep {
        // What seems old may be new.
        Some(_) if !webhooks.node.clock.is_believed() => Ok(()),
        Some(keep) => forget(&webhooks.node, everybody, webhooks.node.now() - keep).await,
        None => forget(&webhooks.node, everybody, Timestamp::MAX).await,
    }
}
