//! Telling one webhook what is new: one request at a time, in order, until it is taken.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mail::Timestamp;
use net::HttpAnswer;
use node::targets::Target;
use node::{Node, Settings};
use ops::EventView;
use store::StoreError;

use super::portion::Portion;
use super::post::{Line, NotPosted, Prepared, post, retry_after};
use super::{AT_ONCE, Hook, Trouble, WebhookError, lock, render};
use crate::Webhooks;

/// Places passed over without a commit: so many are looked at again behind a restart.
const PASSED_OVER: u64 = 1000;
/// A webhook that is paused is looked at this often for events that are too old.
const LOOKED_AT: Duration = Duration::from_secs(60);
/// The longest wait that a receiver can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);

/// What comes next.
enum Next {
    /// There is more.
    Again,
    /// Nothing until there are news.
    News,
    /// Nothing before this time, unless it is woken.
    At(Timestamp),
}

/// Tells, as long as it is let.
pub(super) async fn tell(webhooks: Arc<Webhooks>, hook: Arc<Hook>) {
    let (webhooks, hook) = (&webhooks, &hook);
    let mut line = Line::default();
    let mut portion = Portion::default();
    let mut news = webhooks.news.subscribe();
    loop {
        news.borrow_and_update();
        let settings = webhooks.node.settings();
        let next = match settings.webhook(&hook.name) {
            Some(target) => step(webhooks, &settings, hook, target, &mut line, &mut portion).await,
            // Its end is on its way.
            None => Ok(Next::At(webhooks.node.now() + LOOKED_AT)),
        };
        let next = next.unwrap_or_else(|why| {
            let line = webhooks.node.journal.line(webhooks.node.now(), "error");
            line.field("what", format_args!("the webhook {}", hook.name))
                .field("why", why)
                .send();
            Next::At(webhooks.node.now() + Duration::from_secs(5))
        });
        match next {
            Next::Again => {}
            Next::News => {
                tokio::select! {
                    () = hook.wake.notified() => {}
                    // The sender lives as long as the server.
                    _ = news.changed() => {}
                }
            }
            Next::At(at) => {
                tokio::select! {
                    () = hook.wake.notified() => {}
                    () = tokio::time::sleep(at.since(webhooks.node.now())) => {}
                }
            }
        }
    }
}

async fn step(
    webhooks: &Arc<Webhooks>,
    settings: &Arc<Settings>,
    hook: &Arc<Hook>,
    target: &Arc<Target>,
    line: &mut Line,
    portion: &mut Portion,
) -> Result<Next, WebhookError> {
    let now = webhooks.node.now();
    let (idle, next_try, cursor) = {
        let state = lock(&hook.state);
        let idle = state.kept.paused || state.kept.stopped;
        (idle, state.trouble.next_try, state.cursor)
    };
    if idle {
        put_aside_old(webhooks, settings, hook, target).await?;
        return Ok(Next::At(now + LOOKED_AT));
    }
    if let Some(at) = next_try.filter(|at| *at > now) {
        return Ok(Next::At(at));
    }
    let size = portion.of(target.settings.batch);
    let batch = read(webhooks, settings, target, cursor, size).await?;
    if batch.events.is_empty() {
        return pass_over(&webhooks.node, hook, &batch).await;
    }
    let prepared = Prepared::new(target, &batch.events, false);
    lock(&hook.state).sending = true;
    let answer = post(&webhooks.node, settings, target, line, &prepared).await;
    lock(&hook.state).sending = false;
    note(hook, &answer, webhooks.node.now());
    match answer {
        Ok(HttpAnswer {
            status: 200..=299, ..
        }) => {
            portion.taken();
            taken(webhooks, hook, &batch).await
        }
        Ok(HttpAnswer { status: 410, .. }) => {
            stop(&webhooks.node, hook).await?;
            Ok(Next::Again)
        }
        Ok(HttpAnswer { status: 413, .. }) if portion.too_large(batch.events.len()) => {
            Ok(Next::Again)
        }
        refused => {
            let at = failed(hook, target, &refused, webhooks.node.now());
            if at.1 {
                let line = hook.line(&webhooks.node, "webhook-fails");
                line.field("why", words(&refused))
                    .field("next", at.0)
                    .send();
            }
            put_aside_old(webhooks, settings, hook, target).await?;
            Ok(Next::At(at.0))
        }
    }
}

/// Events in front of a place, with the ones that are not for the webhook passed over.
struct Batch {
    events: Vec<EventView>,
    /// The last place that was looked at.
    last: u64,
    /// There may be more behind it.
    more: bool,
}

async fn read(
    webhooks: &Arc<Webhooks>,
    settings: &Arc<Settings>,
    target: &Arc<Target>,
    after: u64,
    size: usize,
) -> Result<Batch, WebhookError> {
    let (handles, settings, target) = (
        Arc::clone(webhooks),
        Arc::clone(settings),
        Arc::clone(target),
    );
    let read = tokio::task::spawn_blocking(move || {
        let limit = size as u64 + 100;
        let stored = handles.node.store.events(after, limit)?;
        let mut batch = Batch {
            events: Vec::with_capacity(size),
            last: after,
            more: stored.len() as u64 == limit,
        };
        for event in stored {
            if batch.events.len() == size {
                batch.more = true;
                break;
            }
            batch.last = event.place;
            let view = render::event(&settings, &event.event);
            let view = view.filter(|(_, view)| render::is_for(&target.settings, view));
            batch.events.extend(view.map(|(_, view)| view));
        }
        Ok(batch)
    });
    read.await?
}

/// Nothing was for the webhook.
async fn pass_over(node: &Node, hook: &Hook, batch: &Batch) -> Result<Next, WebhookError> {
    let far = {
        let mut state = lock(&hook.state);
        state.cursor = state.cursor.max(batch.last);
        state.cursor - state.kept.cursor >= PASSED_OVER
    };
    if far {
        hook.change(node, |kept| kept.cursor = kept.cursor.max(batch.last))
            .await?;
    }
    Ok(match batch.more {
        true => Next::Again,
        false => Next::News,
    })
}

async fn taken(webhooks: &Webhooks, hook: &Hook, batch: &Batch) -> Result<Next, WebhookError> {
    hook.change(&webhooks.node, |kept| {
        kept.cursor = kept.cursor.max(batch.last)
    })
    .await?;
    let events = batch.events.len() as u64;
    webhooks.sent.fetch_add(events, Ordering::Relaxed);
    let failures = {
        let mut state = lock(&hook.state);
        state.sent += events;
        std::mem::take(&mut state.trouble).failures
    };
    if failures > 0 {
        let line = hook.line(&webhooks.node, "webhook-recovered");
        line.field("failures", failures).send();
    }
    Ok(match batch.more {
        true => Next::Again,
        false => Next::News,
    })
}

/// The receiver wants no more, nothing new and nothing of the past.
pub(super) async fn stop(node: &Node, hook: &Hook) -> Result<(), WebhookError> {
    let mut first = false;
    let put = |kept: &mut super::Kept| {
        first = !kept.stopped;
        kept.stopped = true;
    };
    hook.change(node, put).await?;
    if first {
        let line = hook.line(node, "webhook-stopped");
        line.field("why", "the receiver answered 410: it wants no more events")
            .send();
    }
    Ok(())
}

fn note(hook: &Hook, answer: &Result<HttpAnswer, NotPosted>, now: Timestamp) {
    lock(&hook.state).last = Some((now, words(answer)));
}

pub(super) fn words(answer: &Result<HttpAnswer, NotPosted>) -> String {
    match answer {
        Ok(answer) => format!("answered {}", answer.status),
        Err(why) => why.to_string(),
    }
}

/// When it is tried again behind so many failures and this answer.
pub(super) fn next_try(
    target: &Target,
    failures: u32,
    answer: &Result<HttpAnswer, NotPosted>,
    now: Timestamp,
) -> Timestamp {
    let planned = now + target.settings.wait(failures);
    let asked = answer.as_ref().ok().and_then(|a| a.retry_after.as_deref());
    let asked = asked.and_then(|text| retry_after(text, now));
    let asked = asked.map(|at| at.min(now + RETRY_AFTER_MAX));
    asked.map_or(planned, |asked| asked.max(planned))
}

/// Counts a failure; when the next try is, and whether it is the first in a row.
fn failed(
    hook: &Hook,
    target: &Target,
    answer: &Result<HttpAnswer, NotPosted>,
    now: Timestamp,
) -> (Timestamp, bool) {
    let mut state = lock(&hook.state);
    let failures = state.trouble.failures.saturating_add(1);
    let at = next_try(target, failures, answer, now);
    state.trouble = Trouble {
        failures,
        next_try: Some(at),
    };
    (at, failures == 1)
}

async fn put_aside_old(
    webhooks: &Arc<Webhooks>,
    settings: &Arc<Settings>,
    hook: &Arc<Hook>,
    target: &Arc<Target>,
) -> Result<(), WebhookError> {
    let oldest = webhooks.node.now() - target.settings.give_up;
    let why = "they could not be sent within webhook.give_up";
    put_aside(webhooks, settings, hook, target, why, move |_, at| {
        at < oldest
    })
    .await
}

/// Passes over the events at the front that are chosen, by place and time: counted and logged, and
/// left to the history.
pub(super) async fn put_aside(
    webhooks: &Arc<Webhooks>,
    settings: &Arc<Settings>,
    hook: &Arc<Hook>,
    target: &Arc<Target>,
    why: &str,
    chosen: impl Fn(u64, Timestamp) -> bool + Copy + Send + 'static,
) -> Result<(), WebhookError> {
    let from = lock(&hook.state).cursor;
    let mut cursor = from;
    let mut aside = Aside::default();
    loop {
        let (handles, with) = (
            Arc::clone(webhooks),
            (Arc::clone(settings), Arc::clone(target)),
        );
        let read = tokio::task::spawn_blocking(move || {
            let stored = handles.node.store.events(cursor, AT_ONCE)?;
            let mut aside = Aside::default();
            let (mut last, mut more) = (cursor, stored.len() as u64 == AT_ONCE);
            for event in stored {
                let view = render::event(&with.0, &event.event);
                let at = view.as_ref().map_or(Timestamp::ZERO, |(at, _)| *at);
                if !chosen(event.place, at) {
                    more = false;
                    break;
                }
                last = event.place;
                if view.is_some_and(|(_, view)| render::is_for(&with.1.settings, &view)) {
                    aside.add(at);
                }
            }
            Ok::<_, StoreError>((aside, last, more))
        });
        let (part, last, more) = read.await??;
        aside.join(part);
        cursor = last;
        if !more {
            break;
        }
    }
    let Some((since, until)) = aside.span else {
        // None of it is for the webhook: nobody has to be told, but nothing is kept for it any longer.
        if cursor > from {
            hook.change(&webhooks.node, |kept| kept.cursor = kept.cursor.max(cursor))
                .await?;
        }
        return Ok(());
    };
    let put = |kept: &mut super::Kept| {
        kept.cursor = kept.cursor.max(cursor);
        let all = &mut kept.put_aside;
        all.events += aside.events;
        all.since.get_or_insert_with(|| since.to_string());
        all.until = Some(until.to_string());
    };
    hook.change(&webhooks.node, put).await?;
    let count = &webhooks.put_aside;
    count.fetch_add(aside.events, Ordering::Relaxed);
    let line = hook.line(&webhooks.node, "webhook-put-aside");
    line.field("events", aside.events)
        .field("since", since)
        .field("until", until)
        .field("why", why)
        .send();
    Ok(())
}

/// Events that are passed over.
#[derive(Default)]
struct Aside {
    events: u64,
    span: Option<(Timestamp, Timestamp)>,
}

impl Aside {
    fn add(&mut self, at: Timestamp) {
        self.join(Self {
            events: 1,
            span: Some((at, at)),
        });
    }

    fn join(&mut self, other: Self) {
        self.events += other.events;
        self.span = match (self.span, other.span) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
    }
}
