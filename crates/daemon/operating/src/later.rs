//! Orders that end mail a little later: what they are about is held at once, and can be let go again.
//!
//! An order is a durable setting, written before anything is held: a restart finds it and keeps to its time. It names its
//! recipients, so that what comes to match its filter meanwhile is not meant.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use mail::{QueueId, RecipientKey, Timestamp};
use node::{blocking, known};
use ops::{ActLater, Done, PendingView, Selection, Verb, VerbError};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::acts::act_on;
use crate::admin::keys;
use crate::orders::keep as keep_setting;
use crate::{Operating, acts};

/// What the names of these settings begin with.
pub const PREFIX: &str = "order:";

/// How long the first look waits when nothing is ordered.
const IDLE: Duration = Duration::from_secs(3600);

/// After an order that could not be carried out.
const AGAIN: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    verb: Verb,
    about: String,
    who: String,
    due: u64,
    /// Messages, each with the numbers of its recipients.
    keys: BTreeMap<u64, Vec<u32>>,
    /// Those of them that it has held.
    held: BTreeMap<u64, Vec<u32>>,
}

/// Orders that wait for their time.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    waiting: Mutex<BTreeMap<String, Order>>,
    changed: Notify,
}

/// What is to be done next.
pub(crate) enum Next {
    /// This order; it cannot be undone any more.
    Due(String, Order),
    /// Nothing before then.
    Wait(Duration),
}

impl Orders {
    pub(crate) fn next(&self, now: u64) -> Next {
        let mut waiting = self.waiting();
        let first = waiting.iter().min_by_key(|(_, order)| order.due);
        let Some((id, due)) = first.map(|(id, order)| (id.clone(), order.due)) else {
            return Next::Wait(IDLE);
        };
        if due > now {
            return Next::Wait(Duration::from_millis(due - now));
        }
        match waiting.remove(&id) {
            Some(order) => Next::Due(id, order),
            None => Next::Wait(Duration::ZERO),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<String, Order>> {
        self.waiting.lock()
    }
}

fn packed(keys: impl IntoIterator<Item = RecipientKey>) -> BTreeMap<u64, Vec<u32>> {
    let mut packed: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for key in keys {
        packed
            .entry(key.id.as_u64())
            .or_default()
            .push(key.recipient);
    }
    packed
}

fn unpacked(packed: &BTreeMap<u64, Vec<u32>>) -> Vec<RecipientKey> {
    let of_message = |(id, numbers): (&u64, &Vec<u32>)| {
        let id = QueueId::from_u64(*id);
        let key = move |recipient| RecipientKey { id, recipient };
        numbers.clone().into_iter().map(key).collect::<Vec<_>>()
    };
    packed.iter().flat_map(of_message).collect()
}

impl Order {
    fn view(&self, id: &str) -> PendingView {
        let count = self.keys.values().map(Vec::len).sum::<usize>();
        PendingView {
            id: id.to_owned(),
            verb: self.verb.word().to_owned(),
            about: self.about.clone(),
            recipients: count as u64,
            who: self.who.clone(),
            due: Timestamp::from_millis(self.due).to_string(),
        }
    }
}

/// Gives an order.
///
/// # Errors
/// When there are many more than were expected, or the queue cannot keep it.
pub(crate) async fn give(
    operating: &Arc<Operating>,
    ask: ActLater,
    who: &str,
) -> Result<PendingView, VerbError> {
    let node = &operating.node;
    let about = ask.selection.to_string();
    let chosen = keys(node, ask.selection).await?;
    let count = chosen.len() as u64;
    if let Some(expect) = ask.expect
        && count > expect + expect / 100
    {
        let why = format!(
            "{expect} recipients were expected, and {count} match now: nothing was changed"
        );
        return Err(VerbError::conflict(why));
    }
    let held: HashSet<RecipientKey> = blocking(node, |node| {
        let filter = Selection::Filter("state:held".to_owned());
        let filter = filter.filter(&known::kinds(&node.settings()))?;
        Ok(node.store.keys(&filter, node.now())?)
    })
    .await?
    .into_iter()
    .collect();
    let to_hold: Vec<RecipientKey> = (chosen.iter().copied())
        .filter(|key| !held.contains(key))
        .collect();
    let now = node.now();
    let id = node.next_id(now).to_string();
    let order = Order {
        verb: ask.verb,
        about,
        who: who.to_owned(),
        due: (now + Duration::from_secs(ask.after)).as_millis(),
        keys: packed(chosen),
        held: packed(to_hold.iter().copied()),
    };
    let text = serde_json::to_string(&order).map_err(VerbError::failed)?;
    keep_setting(node, format!("{PREFIX}{id}"), Some(text)).await?;
    let view = order.view(&id);
    operating.later.waiting().insert(id, order);
    operating.later.changed.notify_one();
    act_on(operating, &Verb::Hold, &to_hold, None).await?;
    Ok(view)
}

/// The orders that wait, the next one first.
pub(crate) fn pending(operating: &Operating) -> Vec<PendingView> {
    let waiting = operating.later.waiting();
    let mut views: Vec<PendingView> = waiting.iter().map(|(id, order)| order.view(id)).collect();
    views.sort_by(|a, b| a.due.cmp(&b.due));
    views
}

/// Takes an order back, and lets go what it has held.
///
/// # Errors
/// When there is none, or the queue cannot be written.
pub(crate) async fn undo(operating: &Arc<Operating>, id: &str) -> Result<Done, VerbError> {
    let order = operating.later.waiting().remove(id);
    let order = order.ok_or_else(|| {
        VerbError::not_found("there is no such order: it was undone, or carried out, already")
    })?;
    let held = unpacked(&order.held);
    act_on(operating, &Verb::Release, &held, None).await?;
    keep_setting(&operating.node, format!("{PREFIX}{id}"), None).await?;
    Ok(Done(format!(
        "Undone: {} recipients are released.",
        held.len()
    )))
}

/// Takes up an order that was given before a restart; settings of other names are not of it.
pub fn restore(operating: &Operating, name: &str, value: Option<&str>) {
    let id = name.strip_prefix(PREFIX);
    let order = value.and_then(|value| serde_json::from_str(value).ok());
    if let (Some(id), Some(order)) = (id, order) {
        operating.later.waiting().insert(id.to_owned(), order);
    }
}

/// Carries orders out when their time has come.
pub async fn keep(operating: Arc<Operating>) {
    loop {
        let wait = step(&operating).await;
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = operating.later.changed.notified() => {}
            () = operating.node.stopping.cancelled() => return,
        }
    }
}

/// Carries out what is due; how long there is nothing more to do, at most an hour.
pub(crate) async fn step(operating: &Arc<Operating>) -> Duration {
    loop {
        match operating.later.next(operating.node.now().as_millis()) {
            Next::Due(id, order) => {
                let Err(why) = carry_out(operating, &id, &order).await else {
                    continue;
                };
                // The queue may have no room at the moment; the mail stays held.
                let line = operating.node.journal.line(operating.node.now(), "error");
                line.field("what", "order").field("why", why).send();
                operating.later.waiting().insert(id, order);
                return AGAIN;
            }
            Next::Wait(wait) => return wait.min(IDLE),
        }
    }
}

async fn carry_out(operating: &Arc<Operating>, id: &str, order: &Order) -> Result<(), VerbError> {
    let keys = unpacked(&order.keys);
    let done = act_on(operating, &order.verb, &keys, None).await?;
    acts::tell(operating, &order.who, &order.verb, &order.about, done);
    keep_setting(&operating.node, format!("{PREFIX}{id}"), None).await
}
