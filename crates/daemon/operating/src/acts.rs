//! An administrator's change of waiting recipients, in portions.

use std::sync::Arc;

use mail::RecipientKey;
use node::Node;
use node::event::Event;
use ops::{ActedView, Selection, Verb, VerbError};
use route::{ParseTargetError, Target};
use tokio::sync::oneshot;

use crate::Operating;
use crate::admin::{Progress, keys};

/// Recipients changed before the queue's owner turns to other work.
const ACT_AT_ONCE: usize = 500;

/// Changes what is selected; `progress` hears how far that is.
pub(crate) async fn act(
    operating: &Arc<Operating>,
    verb: Verb,
    selection: Selection,
    who: &str,
    progress: Option<&Progress>,
) -> Result<ActedView, VerbError> {
    let verb = with_target(&operating.node, verb).map_err(VerbError::conflict)?;
    let what = match &selection {
        Selection::Ids(ids) => format!("{} ids", ids.len()),
        Selection::Filter(text) => text.clone(),
        Selection::All => "all".to_owned(),
    };
    if matches!(verb, Verb::Retry(_)) {
        operating.protection.policies.forget_failures();
    }
    let keys = keys(&operating.node, selection).await?;
    let done = act_on(operating, &verb, &keys, progress).await?;
    tell(operating, who, &verb, &what, done);
    Ok(done)
}

/// Changes these recipients.
///
/// # Errors
/// When the queue cannot be written, or the server stops.
pub(crate) async fn act_on(
    operating: &Arc<Operating>,
    verb: &Verb,
    keys: &[RecipientKey],
    progress: Option<&Progress>,
) -> Result<ActedView, VerbError> {
    let mut acted = ActedView {
        changed: 0,
        unchanged: 0,
        in_flight: 0,
    };
    for part in parts(keys) {
        let (ask, told) = oneshot::channel();
        operating
            .node
            .tell(Event::Act(verb.clone(), part.to_vec(), ask));
        let counts = told.await.map_err(|_| VerbError::stopping())??;
        acted.changed += counts[0];
        acted.unchanged += counts[1];
        acted.in_flight += counts[2];
        if let Some(progress) = progress {
            let done = acted.changed + acted.unchanged + acted.in_flight;
            // Whoever asked may have hung up.
            progress.send((done, keys.len() as u64)).unwrap_or_default();
        }
    }
    Ok(acted)
}

/// Logs what was changed.
pub(crate) fn tell(operating: &Operating, who: &str, verb: &Verb, what: &str, done: ActedView) {
    let line = operating
        .node
        .journal
        .line(operating.node.now(), "action")
        .field("who", who)
        .field("verb", verb.word());
    line.field("selection", what)
        .field("changed", done.changed)
        .field("unchanged", done.unchanged)
        .send();
}

/// The recipients in portions, each with all of its messages: recipients that fail together are
/// reported together.
fn parts(keys: &[RecipientKey]) -> Vec<&[RecipientKey]> {
    let mut parts = Vec::new();
    let mut rest = keys;
    while !rest.is_empty() {
        let least = rest.len().min(ACT_AT_ONCE);
        let last = rest.get(least - 1).map(|key| key.id);
        let more = rest
            .iter()
            .skip(least)
            .take_while(|key| Some(key.id) == last);
        let (part, behind) = rest.split_at(least + more.count());
        parts.push(part);
        rest = behind;
    }
    parts
}

/// A verb with the server that it names in its plain form.
fn with_target(node: &Node, verb: Verb) -> Result<Verb, ParseTargetError> {
    let Verb::Reroute(Some(to)) = &verb else {
        return Ok(verb);
    };
    let port = node.settings().config.routing.smtp_port;
    let target = Target::parse(to, port)?;
    Ok(Verb::Reroute(Some(target.to_string())))
}
