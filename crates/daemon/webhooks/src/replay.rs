//! Telling a webhook again what the history knows, beside what is new and behind nobody.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use config::webhooks::WebhookSettings;
use mail::{QueueId, Timestamp};
use net::HttpAnswer;
use node::targets::Target;
use node::{Node, Settings};
use ops::{EventType, EventView, MalformedReplay, Replay};
use returns::suppression;
use serde::{Deserialize, Serialize};
use store::{Event, Happened};

use super::portion::Portion;
use super::post::{Line, Prepared, post};
use super::tell::{next_try, stop, words};
use super::{Hook, WebhookError, lock, render};
use crate::Webhooks;

/// Recipients whose events are read at once.
const AT_ONCE: u64 = 500;
/// Before what cannot be read is read again.
const AGAIN: Duration = Duration::from_secs(10);

/// A replay as it outlives a restart: the messages behind `after` are still to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) since: u64,
    pub(super) until: u64,
    events: Vec<EventType>,
    sender_domain: Option<String>,
    recipient_domain: Option<String>,
    after: u64,
    pub(super) sent: u64,
}

impl Kept {
    /// # Errors
    /// When one of the domains is none.
    pub(super) fn new(
        asked: Replay,
        (since, until): (Timestamp, Timestamp),
    ) -> Result<Self, MalformedReplay> {
        let [sender_domain, recipient_domain] = asked.domains()?;
        Ok(Self {
            since: since.as_millis(),
            until: until.as_millis(),
            events: asked.events,
            sender_domain,
            recipient_domain,
            after: 0,
            sent: 0,
        })
    }

    fn span(&self) -> (Timestamp, Timestamp) {
        let time = Timestamp::from_millis;
        (time(self.since), time(self.until))
    }

    /// Whether it is to tell this.
    fn is_for(&self, hook: &WebhookSettings, view: &EventView) -> bool {
        let list = |domain: &Option<String>| domain.iter().cloned().collect::<Vec<_>>();
        render::is_for(hook, view)
            && (self.events.is_empty() || self.events.contains(&view.kind))
            && render::sender_fits(&list(&self.sender_domain), view)
            && render::fits(&list(&self.recipient_domain), Some(&view.recipient))
    }
}

/// The way to the receiver.
#[derive(Default)]
struct Way {
    line: Line,
    portion: Portion,
}

/// Tells, as long as it is let.
pub(super) async fn tell(webhooks: Arc<Webhooks>, hook: Arc<Hook>) {
    let (webhooks, hook) = (&webhooks, &hook);
    let mut way = Way::default();
    loop {
        let replay = lock(&hook.state).replay.clone();
        let Some(replay) = replay else {
            hook.replay_wake.notified().await;
            continue;
        };
        if let Err(why) = part(webhooks, hook, replay, &mut way).await {
            let line = webhooks.node.journal.line(webhooks.node.now(), "error");
            line.field("what", format_args!("the replay of {}", hook.name))
                .field("why", why)
                .send();
            tokio::select! {
                () = hook.replay_wake.notified() => {}
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
}

/// Tells what some messages made, and remembers that.
async fn part(
    webhooks: &Arc<Webhooks>,
    hook: &Arc<Hook>,
    replay: Kept,
    way: &mut Way,
) -> Result<(), WebhookError> {
    let (handles, asked) = (Arc::clone(webhooks), replay.clone());
    let name = hook.name.clone();
    let read = tokio::task::spawn_blocking(move || read(&handles.node, &name, &asked));
    let (events, next) = read.await??;
    let sent = events.len() as u64;
    let mut events = VecDeque::from(events);
    while !events.is_empty() {
        if !batch(&webhooks.node, hook, &replay, &mut events, way).await? {
            // It was changed meanwhile.
            return Ok(());
        }
    }
    let told = replay.sent + sent;
    match next {
        Some(after) => {
            let further = Kept {
                after: after.as_u64(),
                sent: told,
                ..replay.clone()
            };
            let mine = |now: Option<&Kept>| now == Some(&replay);
            hook.set_replay(&webhooks.node, mine, Some(further)).await?;
            Ok(())
        }
        None => finish(&webhooks.node, hook, &replay, told).await,
    }
}

async fn finish(node: &Node, hook: &Hook, replay: &Kept, told: u64) -> Result<(), WebhookError> {
    let (since, until) = replay.span();
    let whole = replay.events.is_empty()
        && replay.sender_domain.is_none()
        && replay.recipient_domain.is_none();
    let aside = lock(&hook.state).kept.put_aside.clone();
    let time = |text: &Option<String>| text.as_deref().and_then(Timestamp::parse_rfc3339);
    let within = |at: Option<Timestamp>| at.is_some_and(|at| at >= since && at < until);
    if whole && within(time(&aside.since)) && within(time(&aside.until)) {
        let had = aside.events;
        let put_back = |kept: &mut super::Kept| {
            // What was put aside meanwhile is not among it.
            if kept.put_aside.events == had {
                kept.put_aside = ops::PutAsideView::default();
            }
        };
        hook.change(node, put_back).await?;
    }
    let mine = |now: Option<&Kept>| now == Some(replay);
    if !hook.set_replay(node, mine, None).await? {
        return Ok(());
    }
    let line = hook.line(node, "webhook-replayed");
    line.field("since", since)
        .field("until", until)
        .field("events", told)
        .send();
    Ok(())
}

type Part = (Vec<EventView>, Option<QueueId>);

/// The next messages' events; behind the last of them the suppression list's.
fn read(node: &Node, name: &str, replay: &Kept) -> Result<Part, WebhookError> {
    let settings = node.settings();
    let Some(target) = settings.webhook(name) else {
        return Err(WebhookError::Gone);
    };
    let (since, until) = replay.span();
    let after = QueueId::from_u64(replay.after);
    let past = node.store.past_events((since, until), after, AT_ONCE)?;
    let mut views: Vec<EventView> = Vec::new();
    let mut add = |event: &Event| {
        let view = render::event(&settings, event);
        let view = view.filter(|(at, view)| {
            *at >= since && *at < until && replay.is_for(&target.settings, view)
        });
        views.extend(view.map(|(_, view)| view));
    };
    past.events.iter().for_each(&mut add);
    if past.next.is_none() {
        let mut entry = |name, value| {
            add(&Event {
                about: None,
                what: Happened::Entry { name, value },
            });
        };
        node.store.entries(suppression::PREFIX, &mut entry)?;
    }
    Ok((views, past.next))
}

/// Tells the first of these events until they are taken; `false` when their replay was ended meanwhile, or
/// another was begun.
async fn batch(
    node: &Arc<Node>,
    hook: &Arc<Hook>,
    replay: &Kept,
    events: &mut VecDeque<EventView>,
    way: &mut Way,
) -> Result<bool, WebhookError> {
    loop {
        let settings = node.settings();
        let (idle, changed) = {
            let state = lock(&hook.state);
            let idle = state.kept.paused || state.kept.stopped;
            (idle, state.replay.as_ref() != Some(replay))
        };
        let Some(target) = settings.webhook(&hook.name).filter(|_| !changed) else {
            return Ok(false);
        };
        let came = match idle {
            true => Came::At(node.now() + AGAIN),
            false => send(node, &settings, hook, target, events, way).await,
        };
        let at = match came {
            Came::Taken => return Ok(true),
            Came::Smaller => continue,
            Came::Stop => {
                // It goes on when the webhook is resumed.
                stop(node, hook).await?;
                hook.wake.notify_one();
                continue;
            }
            Came::At(at) => at,
        };
        lock(&hook.state).replay_trouble.next_try = Some(at);
        tokio::select! {
            () = hook.replay_wake.notified() => {}
            () = tokio::time::sleep(at.since(node.now())) => {}
        }
    }
}

/// What came of a request.
enum Came {
    Taken,
    /// It was too large: fewer at once.
    Smaller,
    /// The receiver wants no more.
    Stop,
    /// To be tried again then.
    At(Timestamp),
}

/// One request.
async fn send(
    node: &Node,
    settings: &Arc<Settings>,
    hook: &Hook,
    target: &Arc<Target>,
    events: &mut VecDeque<EventView>,
    way: &mut Way,
) -> Came {
    let size = way.portion.of(target.settings.batch).min(events.len());
    let first: Vec<EventView> = events.iter().take(size).cloned().collect();
    let prepared = Prepared::new(target, &first, true);
    let answer = post(node, settings, target, &mut way.line, &prepared).await;
    let now = node.now();
    let mut state = lock(&hook.state);
    state.last = Some((now, words(&answer)));
    match answer {
        Ok(HttpAnswer {
            status: 200..=299, ..
        }) => {
            state.replay_trouble = super::Trouble::default();
            events.drain(..size);
            way.portion.taken();
            Came::Taken
        }
        Ok(HttpAnswer { status: 410, .. }) => Came::Stop,
        Ok(HttpAnswer { status: 413, .. }) if way.portion.too_large(size) => Came::Smaller,
        refused => {
            let failures = state.replay_trouble.failures.saturating_add(1);
            state.replay_trouble.failures = failures;
            Came::At(next_try(target, failures, &refused, now))
        }
    }
}
