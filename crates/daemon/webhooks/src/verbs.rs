//! What administrators ask of webhooks.

use std::sync::Arc;

use mail::Timestamp;
use node::targets::Target;
use node::{Node, Settings, blocking};
use ops::{
    Done, EventSelection, EventType, EventsView, ListedEvent, Replay, ReplayView, VerbError,
    WebhookTested, WebhookVerb, WebhookView,
};

use super::example::example;
use super::post::{Line, Prepared, post};
use super::{Hook, Trouble, lock, render, replay};
use crate::Webhooks;

/// Characters of an answer that a test shows.
const SHOWN: usize = 500;
/// Events in one answer.
const LIMIT_MAX: u64 = 1000;

fn unknown(name: &str) -> VerbError {
    VerbError::not_found(format!(
        "there is no webhook {name} (sendoff webhook list; [[webhook]] in the configuration)"
    ))
}

fn find<'a>(
    webhooks: &Webhooks,
    settings: &'a Settings,
    name: &str,
) -> Result<(Arc<Hook>, &'a Arc<Target>), VerbError> {
    let hook = webhooks.find(name);
    hook.zip(settings.webhook(name))
        .ok_or_else(|| unknown(name))
}

/// The webhooks and how they fare.
///
/// # Errors
/// When the history cannot be read.
pub async fn list(webhooks: &Arc<Webhooks>) -> Result<Vec<WebhookView>, VerbError> {
    let handles = Arc::clone(webhooks);
    blocking(&webhooks.node, move |node| {
        let settings = node.settings();
        let bounds = node.store.event_bounds()?;
        let mut views = Vec::new();
        for target in &settings.webhooks {
            let Some(hook) = handles.find(&target.settings.name) else {
                continue;
            };
            let cursor = lock(&hook.state).cursor;
            let first = node.store.events(cursor, 1)?;
            let first = first.first().and_then(|stored| stored.event.at());
            views.push(view(&hook, target, bounds.last, first));
        }
        Ok(views)
    })
    .await
}

fn view(hook: &Hook, target: &Target, last: u64, oldest: Option<Timestamp>) -> WebhookView {
    let state = lock(&hook.state);
    let word = state.word();
    let answer = state.last.as_ref().map(|(_, words)| words.clone());
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    WebhookView {
        name: hook.name.clone(),
        url: target.settings.shown.clone(),
        events: target.settings.events.clone(),
        state: word.to_owned(),
        reason: match word {
            "failing" => format!(
                "it waits after consecutive failures: {}: {}",
                state.trouble.failures,
                answer.as_deref().unwrap_or_default()
            ),
            "paused" => "an administrator paused it (sendoff webhook resume)".to_owned(),
            "stopped" => {
                "the receiver answered 410: it wants no more events (sendoff webhook resume)"
                    .to_owned()
            }
            _ => String::new(),
        },
        unsent: last.saturating_sub(state.cursor),
        oldest_unsent: time(oldest),
        sent: state.sent,
        last_answer: answer,
        last_time: time(state.last.as_ref().map(|(at, _)| *at)),
        failures: state.trouble.failures,
        next_try: time(state.trouble.next_try),
        put_aside: state.kept.put_aside.clone(),
        replay: state.replay.as_ref().map(|replay| ReplayView {
            since: Timestamp::from_millis(replay.since).to_string(),
            until: Timestamp::from_millis(replay.until).to_string(),
            sent: replay.sent,
            failures: state.replay_trouble.failures,
            next_try: time(state.replay_trouble.next_try),
        }),
    }
}

/// Does what is asked with one webhook.
///
/// # Errors
/// When there is none of this name, it cannot be done as things are, or is not durable.
pub async fn act(
    webhooks: &Arc<Webhooks>,
    name: &str,
    verb: WebhookVerb,
    who: &str,
) -> Result<Done, VerbError> {
    let settings = webhooks.node.settings();
    let (hook, _) = find(webhooks, &settings, name)?;
    let (word, span, done) = match verb {
        WebhookVerb::Pause => (
            "webhook-pause",
            None,
            pause(&webhooks.node, &hook, true).await?,
        ),
        WebhookVerb::Resume => (
            "webhook-resume",
            None,
            pause(&webhooks.node, &hook, false).await?,
        ),
        WebhookVerb::Retry => ("webhook-retry", None, retry(&hook)?),
        WebhookVerb::Replay(asked) => {
            // It can be meant, but begins in the future.
            let span = asked
                .span(webhooks.node.now())
                .map_err(VerbError::conflict)?;
            let done = replay(&webhooks.node, &hook, asked, span).await?;
            ("webhook-replay", Some(span), done)
        }
        WebhookVerb::EndReplay => {
            hook.set_replay(&webhooks.node, |_| true, None).await?;
            hook.replay_wake.notify_one();
            let done = Done(format!("{name} gets no past events."));
            ("webhook-replay-ended", None, done)
        }
    };
    let line = webhooks
        .node
        .journal
        .line(webhooks.node.now(), "action")
        .field("who", who);
    line.field("verb", word)
        .field("name", name)
        .maybe("since", span.map(|span| span.0))
        .maybe("until", span.map(|span| span.1))
        .send();
    Ok(done)
}

/// Sends an example, and shows what came back. Nothing else about the webhook changes.
///
/// # Errors
/// When there is none of this name.
pub async fn test(webhooks: &Webhooks, name: &str, who: &str) -> Result<WebhookTested, VerbError> {
    let settings = webhooks.node.settings();
    let (_, target) = find(webhooks, &settings, name)?;
    let tested = tested(&webhooks.node, &settings, target).await;
    let line = webhooks
        .node
        .journal
        .line(webhooks.node.now(), "action")
        .field("who", who);
    line.field("verb", "webhook-test")
        .field("name", name)
        .send();
    Ok(tested)
}

async fn tested(node: &Node, settings: &Settings, target: &Arc<Target>) -> WebhookTested {
    let kinds = &target.settings.events;
    let kind = kinds.first().copied().unwrap_or(EventType::Delivered);
    let prepared = Prepared::new(target, &[example(kind, node.now())], false);
    let start = node.instant();
    let answer = post(node, settings, target, &mut Line::default(), &prepared).await;
    let milliseconds = u64::try_from(node.instant().since(start).as_millis()).unwrap_or(u64::MAX);
    let (status, text) = match answer {
        Ok(answer) => {
            let text = String::from_utf8_lossy(&answer.content);
            (Some(answer.status), text.chars().take(SHOWN).collect())
        }
        Err(why) => (None, why.to_string()),
    };
    WebhookTested {
        taken: status.is_some_and(|status| (200..=299).contains(&status)),
        status,
        text,
        milliseconds,
        webhook_id: prepared.id,
    }
}

/// Pauses a webhook, or lets it go on; also one that the receiver has stopped.
async fn pause(node: &Node, hook: &Hook, on: bool) -> Result<Done, VerbError> {
    let set = |kept: &mut super::Kept| {
        kept.paused = on;
        kept.stopped = kept.stopped && on;
    };
    hook.change(node, set).await?;
    if !on {
        wake(hook);
    }
    let name = &hook.name;
    Ok(Done(match on {
        true => format!("{name} is paused: its events wait."),
        false => format!("{name} gets events again, from where it stopped."),
    }))
}

/// Tries now.
fn retry(hook: &Hook) -> Result<Done, VerbError> {
    let name = &hook.name;
    let idle = {
        let state = lock(&hook.state);
        state.kept.paused || state.kept.stopped
    };
    if idle {
        let why = format!("{name} is paused or stopped: `sendoff webhook resume {name}`");
        return Err(VerbError::conflict(why));
    }
    wake(hook);
    Ok(Done(format!("{name} is being retried now.")))
}

fn wake(hook: &Hook) {
    {
        let mut state = lock(&hook.state);
        state.trouble.next_try = None;
        state.replay_trouble = Trouble::default();
    }
    hook.wake.notify_one();
    hook.replay_wake.notify_one();
}

/// Begins a replay.
async fn replay(
    node: &Node,
    hook: &Hook,
    asked: Replay,
    span: (Timestamp, Timestamp),
) -> Result<Done, VerbError> {
    let name = &hook.name;
    let kept = replay::Kept::new(asked, span)?;
    let begun = hook.set_replay(node, |now| now.is_none(), Some(kept));
    if !begun.await? {
        let why = format!("a replay is under way (sendoff webhook replay {name} --stop)");
        return Err(VerbError::conflict(why));
    }
    hook.replay_wake.notify_one();
    Ok(Done(format!(
        "{name} gets the events from {} to {} again.",
        span.0, span.1
    )))
}

/// Events that are kept.
pub async fn events(node: &Arc<Node>, selection: EventSelection) -> Result<EventsView, VerbError> {
    let EventSelection {
        after,
        limit,
        types,
        key,
    } = selection;
    blocking(node, move |node| {
        let settings = node.settings();
        if super::wish(&settings).is_none() {
            let why = "no events are kept: set events.keep, or a [[webhook]]";
            return Err(VerbError::conflict(why));
        }
        // Before the events: those up to this place are there, or gone, when it is read.
        let given = node.store.event_bounds()?.last;
        if after > given {
            return Err(VerbError::beyond(given));
        }
        let limit = usize::try_from(limit.min(LIMIT_MAX)).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        let mut last = after;
        'all: while found.len() < limit {
            let stored = match &key {
                None => node.store.events(last, LIMIT_MAX),
                Some(key) => node.store.events_of(key, last, LIMIT_MAX),
            };
            let stored = stored?;
            if stored.is_empty() {
                // What this key does not see is passed over as well.
                last = last.max(given);
                break;
            }
            for event in stored {
                if found.len() == limit {
                    break 'all;
                }
                last = event.place;
                if let Some((_, view)) = render::event(&settings, &event.event)
                    && (types.is_empty() || types.contains(&view.kind))
                {
                    found.push(ListedEvent {
                        place: event.place,
                        event: view,
                    });
                }
            }
        }
        let events = found;
        Ok(EventsView { events, last })
    })
    .await
}
