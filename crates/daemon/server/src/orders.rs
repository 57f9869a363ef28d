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
use ops::{Answer, DomainView, FinishedView, HistorySelection, HoldRuleView, LaterView, report_of};
use route::Mode;
use schedule::Rate;
use store::{Filter, HistoryRow, LaterRow, Op};
use tokio::sync::oneshot;

use crate::shared::Shared;

fn stopping<T>(_: T) -> String {
    "the server is shutting down".to_owned()
}

/// Makes a setting durable.
async fn keep(node: &Arc<Node>, name: String, value: Option<String>) -> Result<(), String> {
    let handles = Arc::clone(node);
    let op = Op::Control { name, value };
    let committed = tokio::task::spawn_blocking(move || handles.store.commit_wait(vec![op])).await;
    committed
        .map_err(|e| e.to_string())?
        .map_err(|e| e.to_string())
}

/// Stops a domain's mail, or lets it go.
pub(crate) async fn pause(
    shared: &Arc<Shared>,
    domain: &str,
    on: bool,
    who: &str,
) -> Result<Answer, String> {
    let domain = Domain::parse(domain).map_err(|e| e.to_string())?;
    keep(
        &shared.node,
        format!("pause:{domain}"),
        on.then(|| who.to_owned()),
    )
    .await?;
    let (ask, told) = oneshot::channel();
    shared.node.tell(Event::Pause(domain.clone(), on, ask));
    told.await.map_err(stopping)?;
    if !on {
        take_back(shared, &domain, who).await?;
    }
    let verb = if on { "pause" } else { "resume" };
    let line = shared
        .node
        .journal
        .line(net::now(), "action")
        .field("who", who);
    line.field("verb", verb).field("domain", &domain).send();
    let state = if on {
        "is paused: its mail waits"
    } else {
        "is no longer paused"
    };
    Ok(Answer::Done(format!("{domain} {state}.")))
}

/// Limits a domain's mail, or lets it go.
pub(crate) async fn slow(
    shared: &Arc<Shared>,
    domain: &str,
    rate: Option<&str>,
    connections: Option<u32>,
    who: &str,
) -> Result<Answer, String> {
    let domain = Domain::parse(domain).map_err(|e| e.to_string())?;
    let rate = rate.map(Rate::parse).transpose();
    let slow = Slow {
        rate: rate.map_err(|e| e.to_string())?,
        connections,
    };
    if matches!(shared.node.settings().config.routing.mode, Mode::Relay(_)) {
        let why = "in Relay Mode all mail goes to the relay, and limits of single domains have no \
                   effect: pause the domain, or hold its mail";
        return Ok(Answer::Refused(why.to_owned()));
    }
    let slow = (slow != Slow::default()).then_some(slow);
    keep(
        &shared.node,
        Controls::slow_name(&domain),
        slow.map(|s| s.to_string()),
    )
    .await?;
    shared.node.controls.set_slow(domain.clone(), slow);
    shared.node.tell(Event::Reloaded);
    if slow.is_none() {
        take_back(shared, &domain, who).await?;
    }
    let line = shared
        .node
        .journal
        .line(net::now(), "action")
        .field("who", who);
    line.field("verb", "slow")
        .field("domain", &domain)
        .maybe("limits", slow)
        .send();
    Ok(Answer::Done(match slow {
        Some(slow) => format!("{domain} is slowed: {slow}."),
        None => format!("{domain} is no longer slowed."),
    }))
}

/// Takes back what a rule has ordered for the site of a domain, or of a host of this name.
async fn take_back(shared: &Arc<Shared>, domain: &Domain, who: &str) -> Result<(), String> {
    let (ask, told) = oneshot::channel();
    shared.node.tell(Event::Domain(domain.clone(), ask));
    let (_, site) = told.await.map_err(stopping)?;
    let site = site.map(|site| site.key);
    for site in reactions::undo(&shared.dispatch, domain.as_str(), site.as_deref()) {
        keep(&shared.node, reactions::control(&site), None).await?;
        shared.node.tell(Event::Order(Arc::clone(&site), None));
        let line = shared
            .node
            .journal
            .line(net::now(), "action")
            .field("who", who);
        line.field("verb", "resume").field("site", &site).send();
    }
    Ok(())
}

/// The rules that hold new mail.
pub(crate) fn hold_rules(node: &Node) -> Answer {
    let rules = node.controls.hold_rules().into_iter();
    let view = |(name, filter)| HoldRuleView { name, filter };
    Answer::HoldRules(rules.map(view).collect())
}

/// Sets a rule, or takes it away.
pub(crate) async fn hold_rule(
    node: &Arc<Node>,
    name: String,
    filter: Option<String>,
    who: &str,
) -> Result<Answer, String> {
    let rule = match &filter {
        None => None,
        Some(text) => {
            let parsed = Filter::parse(text).map_err(|e| e.to_string())?;
            Some((text.clone(), parsed))
        }
    };
    let known = node.controls.hold_rules().iter().any(|(n, _)| *n == name);
    if rule.is_none() && !known {
        return Ok(Answer::Unknown(format!("there is no rule {name}")));
    }
    keep(node, Controls::hold_name(&name), filter.clone()).await?;
    node.controls.set_hold(&name, rule);
    let line = node.journal.line(net::now(), "action").field("who", who);
    let verb = match filter {
        Some(_) => "hold-rule",
        None => "hold-rule-removed",
    };
    line.field("verb", verb)
        .field("rule", &name)
        .maybe("selection", filter.as_ref())
        .send();
    Ok(Answer::Done(match filter {
        Some(filter) => format!("New mail that matches {filter} is held (rule {name})."),
        None => format!(
            "Rule {name} is removed; mail that it has held stays held until it is released."
        ),
    }))
}

/// What is known of a domain's mail.
pub(crate) async fn site(shared: &Arc<Shared>, domain: &str) -> Result<Answer, String> {
    let domain = Domain::parse(domain).map_err(|e| e.to_string())?;
    let (ask, told) = oneshot::channel();
    shared.node.tell(Event::Domain(domain.clone(), ask));
    let (paused, site) = told.await.map_err(stopping)?;
    let name = domain.to_string();
    let waiting = blocking(&shared.node, move |node| {
        let filter = Filter::parse(&format!("domain:{name}")).map_err(|e| e.to_string())?;
        let count = node.store.count(&filter, net::now());
        count.map_err(|e| e.to_string())
    });
    Ok(Answer::Site(Box::new(DomainView {
        waiting: waiting.await?,
        paused,
        slowed: shared
            .node
            .controls
            .slow(&domain)
            .map(|slow| slow.to_string()),
        site: site.map(|site| shared.dispatch.reactions.view(site)),
        domain: domain.to_string(),
    })))
}

/// Finished recipients.
pub(crate) async fn history(
    node: &Arc<Node>,
    selection: HistorySelection,
    offset: u64,
    limit: u64,
) -> Result<Answer, String> {
    let rows = blocking(node, move |node| {
        let filter = selection.filter()?;
        let found = node.store.history(&filter, offset, limit);
        let found = found.map_err(|e| e.to_string())?;
        let mut ids: Vec<QueueId> = found.iter().map(|row| row.key.id).collect();
        ids.dedup();
        let later = node.store.later_of(&ids).map_err(|e| e.to_string())?;
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
    Ok(Answer::History(rows.into_iter().map(&mut view).collect()))
}

/// How many finished recipients match, counted up to a bound.
pub(crate) async fn history_count(
    node: &Arc<Node>,
    selection: HistorySelection,
    most: u64,
) -> Result<Answer, String> {
    let count = blocking(node, move |node| {
        let count = node.store.history_count(&selection.filter()?, most);
        count.map_err(|e| e.to_string())
    });
    count.await.map(Answer::Count)
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
