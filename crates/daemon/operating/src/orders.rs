//! Orders of an administrator beyond single mails: rules that hold, domains that are paused or
//! slowed. Each is durable before it is answered.

use std::collections::HashMap;
use std::sync::Arc;

use dispatch::reactions;
use intake::Suppression;
use mail::{Address, Destination, Domain, QueueId, RecipientKey};
use node::controls::{Controls, Slow};
use node::event::Event;
use node::{Node, Settings, blocking, known};
use ops::{
    DomainView, Done, FinishedView, HistorySelection, HoldRuleView, LaterView, Malformed,
    VerbError, report_of,
};
use route::Mode;
use schedule::Rate;
use store::{Filter, HistoryRow, LaterRow, Op};
use tokio::sync::oneshot;

use crate::Operating;

fn stopping<T>(_: T) -> VerbError {
    VerbError::stopping()
}

fn parsed(domain: &str) -> Result<Domain, Malformed> {
    Ok(Domain::parse(domain)?)
}

/// Makes a setting durable.
pub(crate) async fn keep(
    node: &Arc<Node>,
    name: String,
    value: Option<String>,
) -> Result<(), VerbError> {
    let handles = Arc::clone(node);
    let op = Op::Control { name, value };
    let committed = tokio::task::spawn_blocking(move || handles.store.commit_wait(vec![op])).await;
    Ok(committed.map_err(VerbError::failed)??)
}

/// Stops a domain's mail, or lets it go.
pub(crate) async fn pause(
    operating: &Arc<Operating>,
    domain: &str,
    on: bool,
    who: &str,
) -> Result<Done, VerbError> {
    let domain = parsed(domain)?;
    keep(
        &operating.node,
        format!("pause:{domain}"),
        on.then(|| who.to_owned()),
    )
    .await?;
    let (ask, told) = oneshot::channel();
    operating.node.tell(Event::Pause(domain.clone(), on, ask));
    told.await.map_err(stopping)?;
    if !on {
        take_back(operating, &domain, who).await?;
    }
    let verb = if on { "pause" } else { "resume" };
    let line = operating
        .node
        .journal
        .line(operating.node.now(), "action")
        .field("who", who);
    line.field("verb", verb).field("domain", &domain).send();
    let state = if on {
        "is paused: its mail waits"
    } else {
        "is no longer paused"
    };
    Ok(Done(format!("{domain} {state}.")))
}

/// Limits a domain's mail, or lets it go.
pub(crate) async fn slow(
    operating: &Arc<Operating>,
    ask: &ops::Slow,
    who: &str,
) -> Result<Done, VerbError> {
    let domain = parsed(&ask.domain)?;
    let rate = ask.rate.as_deref().map(Rate::parse).transpose();
    let slow = Slow {
        rate: rate.map_err(Malformed::from)?,
        connections: ask.connections,
    };
    if matches!(
        operating.node.settings().config.routing.mode,
        Mode::Relay(_)
    ) {
        let why = "in Relay Mode all mail goes to the relay, and limits of single domains have no \
                   effect: pause the domain, or hold its mail";
        return Err(VerbError::conflict(why));
    }
    let slow = (slow != Slow::default()).then_some(slow);
    keep(
        &operating.node,
        Controls::slow_name(&domain),
        slow.map(|s| s.to_string()),
    )
    .await?;
    operating.node.controls.set_slow(domain.clone(), slow);
    operating.node.tell(Event::Reloaded);
    if slow.is_none() {
        take_back(operating, &domain, who).await?;
    }
    let line = operating
        .node
        .journal
        .line(operating.node.now(), "action")
        .field("who", who);
    line.field("verb", "slow")
        .field("domain", &domain)
        .maybe("limits", slow)
        .send();
    Ok(Done(match slow {
        Some(slow) => format!("{domain} is slowed: {slow}."),
        None => format!("{domain} is no longer slowed."),
    }))
}

/// Takes back what a rule has ordered for the site of a domain, or of a host of this name.
async fn take_back(
    operating: &Arc<Operating>,
    domain: &Domain,
    who: &str,
) -> Result<(), VerbError> {
    let (ask, told) = oneshot::channel();
    operating.node.tell(Event::Domain(domain.clone(), ask));
    let (_, site) = told.await.map_err(stopping)?;
    let site = site.map(|site| site.key);
    for site in reactions::undo(&operating.dispatch, domain.as_str(), site.as_deref()) {
        keep(&operating.node, reactions::control(&site), None).await?;
        operating.node.tell(Event::Order(Arc::clone(&site), None));
        let line = operating
            .node
            .journal
            .line(operating.node.now(), "action")
            .field("who", who);
        line.field("verb", "resume").field("site", &site).send();
    }
    Ok(())
}

/// The rules that hold new mail.
pub(crate) fn hold_rules(node: &Node) -> Vec<HoldRuleView> {
    let rules = node.controls.hold_rules().into_iter();
    let view = |(name, filter)| HoldRuleView { name, filter };
    rules.map(view).collect()
}

/// Sets a rule, or takes it away.
pub(crate) async fn hold_rule(
    node: &Arc<Node>,
    name: String,
    filter: Option<String>,
    who: &str,
) -> Result<Done, VerbError> {
    let rule = match &filter {
        None => None,
        Some(text) => {
            let parsed = Filter::parse(text).map_err(Malformed::from)?;
            Some((text.clone(), parsed))
        }
    };
    let known = node.controls.hold_rules().iter().any(|(n, _)| *n == name);
    if rule.is_none() && !known {
        return Err(VerbError::not_found(format!("there is no rule {name}")));
    }
    keep(node, Controls::hold_name(&name), filter.clone()).await?;
    node.controls.set_hold(&name, rule);
    let line = node.journal.line(node.now(), "action").field("who", who);
    let verb = match filter {
        Some(_) => "hold-rule",
        None => "hold-rule-removed",
    };
    line.field("verb", verb)
        .field("rule", &name)
        .maybe("selection", filter.as_ref())
        .send();
    Ok(Done(match filter {
        Some(filter) => format!("New mail that matches {filter} is held (rule {name})."),
        None => format!(
            "Rule {name} is removed; mail that it has held stays held until it is released."
        ),
    }))
}

/// What is known of a domain's mail.
pub(crate) async fn site(
    operating: &Arc<Operating>,
    domain: &str,
) -> Result<DomainView, VerbError> {
    let domain = parsed(domain)?;
    let (ask, told) = oneshot::channel();
    operating.node.tell(Event::Domain(domain.clone(), ask));
    let (paused, site) = told.await.map_err(stopping)?;
    let name = domain.to_string();
    let waiting = blocking(&operating.node, move |node| {
        let filter = Filter::parse(&format!("domain:{name}")).map_err(Malformed::from)?;
        Ok(node.store.count(&filter, node.now())?)
    });
    Ok(DomainView {
        waiting: waiting.await?,
        paused,
        slowed: operating
            .node
            .controls
            .slow(&domain)
            .map(|slow| slow.to_string()),
        site: site.map(|site| operating.dispatch.reactions.view(site)),
        domain: domain.to_string(),
    })
}

/// Finished recipients.
pub(crate) async fn history(
    node: &Arc<Node>,
    selection: HistorySelection,
    offset: u64,
    limit: u64,
) -> Result<Vec<FinishedView>, VerbError> {
    let rows = blocking(node, move |node| {
        let found = node.store.history(&selection.filter()?, offset, limit)?;
        let mut ids: Vec<QueueId> = found.iter().map(|row| row.key.id).collect();
        ids.dedup();
        let later = node.store.later_of(&ids)?;
        Ok((found, later))
    });
    let (rows, later) = rows.await?;
    let mut of_recipient: HashMap<RecipientKey, Vec<LaterRow>> = HashMap::new();
    for row in later {
        of_recipient.entry(row.key).or_default().push(row);
    }
    let settings = node.settings();
    let view = |row: HistoryRow| FinishedView {
        later: behind(&settings, &row, of_recipient.remove(&row.key)),
        id: row.key.id.to_string(),
        sender: row.sender,
        accepted: row.accepted.to_string(),
        size: row.size,
        submitter: row.submitter,
        test: row.destination == Destination::Test,
        report_of: report_of(&row.labels),
        message_id: row.labels.message_id,
        subject: row.labels.subject,
        tags: row.labels.tags,
        metadata: row.labels.metadata,
        end: known::attempt(
            &settings,
            row.recipient,
            row.attempts,
            &row.verdict,
            row.transcript,
        ),
    };
    let mut view = view;
    Ok(rows.into_iter().map(&mut view).collect())
}

/// How many finished recipients match, counted up to a bound.
pub(crate) async fn history_count(
    node: &Arc<Node>,
    selection: HistorySelection,
    most: u64,
) -> Result<u64, VerbError> {
    blocking(node, move |node| {
        Ok(node.store.history_count(&selection.filter()?, most)?)
    })
    .await
}

/// What is known of a recipient behind its end: what others reported, and whether its end or one of
/// these has put it on the suppression list, where it still is.
fn behind(settings: &Settings, row: &HistoryRow, later: Option<Vec<LaterRow>>) -> Vec<LaterView> {
    let view = |event: LaterRow| LaterView {
        recipient: row.recipient.clone(),
        at: event.at.to_string(),
        event: event.word,
        text: event.text,
    };
    let mut events: Vec<LaterView> = later.into_iter().flatten().map(view).collect();
    if let Ok(address) = Address::parse(&row.recipient) {
        let found = settings.policy.suppressed.of(&address);
        let by_it = |entry: &&Suppression| entry.in_force && entry.message == Some(row.key.id);
        events.extend(found.iter().filter(by_it).map(|entry| LaterView {
            recipient: row.recipient.clone(),
            at: entry.since.to_string(),
            event: "suppressed".to_owned(),
            text: format!("for mail of {}: {}", entry.scope, entry.reason),
        }));
    }
    events
}
