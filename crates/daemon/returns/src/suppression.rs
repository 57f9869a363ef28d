//! The suppression list on disk and in force: what failures and complaints put there, and what
//! administrators do with it.
//!
//! An entry is an entry of the history. What puts it there, the end of a recipient or a bounce that
//! was read, is one commit with it, so neither is there without the other. One change is made at a
//! time: memory says in the end what the disk does.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;

use config::paths::ScopeKind;
use intake::{Cause, ParseScopeError, Scope, Suppressed, Suppression, SuppressionFilter};
use mail::{Address, Class, Destination, Envelope, Outcome, QueueId, Timestamp, Verdict};
use node::figures::Figures;
use node::{Node, blocking};
use ops::{
    Done, Malformed, NewSuppression, SuppressionSelection, SuppressionView, SuppressionsView,
    VerbError, VerbErrorKind,
};
use serde::{Deserialize, Serialize};
use store::{CommitError, Note, Op, StoreError};

use crate::Returns;

/// What the names of the list's entries in the history begin with.
pub const PREFIX: &str = "suppression/";
/// Octets of a reason that are kept.
const REASON_MAX: usize = 300;
/// Entries that one order may bring.
const AT_ONCE: usize = 1000;

/// Held over a commit that changes the list, until the list in memory has it too.
#[derive(Debug, Default)]
pub struct Turn(Mutex<()>);

impl Turn {
    /// The turn, until what is returned is dropped.
    pub fn take(&self) -> MutexGuard<'_, ()> {
        self.0.lock()
    }
}

/// An entry as the history keeps it, beside its name.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    cause: String,
    reason: String,
    since: u64,
    expires: Option<u64>,
    message: Option<String>,
    count: u32,
    in_force: bool,
    /// When it was written; not known of what earlier releases wrote.
    #[serde(default)]
    changed: Option<u64>,
}

/// Whose mail failed, or led to a complaint.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    pub(crate) id: QueueId,
    pub(crate) recipient: &'a Address,
    pub(crate) sender: Option<&'a Address>,
    pub(crate) user: Option<&'a str>,
}

impl<'a> About<'a> {
    /// A recipient of a message, by its number; `None` for a test, which puts nobody on the list.
    pub fn of(id: QueueId, envelope: &'a Envelope, number: u32) -> Option<Self> {
        let recipient = envelope.recipients.get(number as usize)?;
        if recipient.destination == Destination::Test {
            return None;
        }
        Some(Self {
            id,
            recipient: &recipient.address,
            sender: envelope.reverse_path.as_ref(),
            user: envelope.submitter.user.as_deref(),
        })
    }
}

fn name(recipient: &Address, scope: &Scope) -> String {
    format!("{PREFIX}{recipient}\t{scope}")
}

/// The commit that puts an entry on the list, at `now`.
pub fn keep(entry: &Suppression, now: Timestamp) -> Op {
    let kept = Kept {
        cause: entry.cause.word().to_owned(),
        reason: entry.reason.clone(),
        since: entry.since.as_millis(),
        expires: entry.expires.map(Timestamp::as_millis),
        message: entry.message.map(|id| id.to_string()),
        count: entry.count,
        in_force: entry.in_force,
        changed: Some(now.as_millis()),
    };
    Op::Note(Note::Entry {
        name: name(&entry.recipient, &entry.scope),
        value: serde_json::to_string(&kept).ok(),
    })
}

fn forget(recipient: &Address, scope: &Scope) -> Op {
    Op::Note(Note::Entry {
        name: name(&Suppressed::normal(recipient), scope),
        value: None,
    })
}

fn read(name: &str, value: &str) -> Option<Suppression> {
    let (recipient, scope) = name.strip_prefix(PREFIX)?.split_once('\t')?;
    let kept: Kept = serde_json::from_str(value).ok()?;
    Some(Suppression {
        recipient: Address::parse(recipient).ok()?,
        scope: scope.parse().ok()?,
        cause: Cause::of_word(&kept.cause)?,
        reason: kept.reason,
        since: Timestamp::from_millis(kept.since),
        expires: kept.expires.map(Timestamp::from_millis),
        message: kept.message.and_then(|id| id.parse().ok()),
        count: kept.count,
        in_force: kept.in_force,
    })
}

/// An entry as the history keeps it, and when it was written.
pub fn told(name: &str, value: &str) -> Option<(Suppression, Timestamp)> {
    let entry = read(name, value)?;
    let kept: Kept = serde_json::from_str(value).ok()?;
    let changed = kept.changed.map(Timestamp::from_millis);
    let at = changed.unwrap_or(entry.since);
    Some((entry, at))
}

/// Loads the list. Blocks on the disk.
///
/// # Errors
/// When the history cannot be read.
pub fn restore(node: &Node) -> Result<(), StoreError> {
    let list = Arc::clone(&node.settings().policy.suppressed);
    node.store.entries(PREFIX, &mut |name, value| {
        let put = read(&name, &value).is_some_and(|entry| list.put(entry));
        if !put {
            let line = node.journal.line(node.now(), "error");
            line.field("what", "an entry of the suppression list is not in force")
                .field("why", format_args!("{name} {value}"))
                .send();
        }
    })
}

/// The entry that an event about a recipient makes, or makes anew; `None` where no rule wants one.
fn by_rule(node: &Node, about: About<'_>, cause: Cause, reason: &str) -> Option<Suppression> {
    let settings = node.settings();
    let rules = &settings.config.suppression;
    let scope = match rules.scope {
        ScopeKind::All => Scope::All,
        ScopeKind::SenderDomain => Scope::Domain(about.sender?.domain().to_ascii()?),
        ScopeKind::Sender => Scope::Sender(Suppressed::normal(about.sender?)),
        ScopeKind::User => Scope::User(about.user?.to_owned()),
    };
    let now = whole_seconds(node.now());
    let recipient = Suppressed::normal(about.recipient);
    let before = settings.policy.suppressed.get(&recipient, &scope);
    let before = before.filter(|entry| entry.expires.is_none_or(|at| at > now));
    if before
        .as_ref()
        .is_some_and(|e| e.cause == Cause::Administrator)
    {
        // What people decided stands.
        return None;
    }
    let count = before.as_ref().map_or(0, |e| e.count).saturating_add(1);
    let was_in_force = before.as_ref().is_some_and(|e| e.in_force);
    let mut reason = reason.to_owned();
    reason.truncate(reason.floor_char_boundary(REASON_MAX));
    Some(Suppression {
        recipient,
        scope,
        cause,
        reason,
        since: before.as_ref().map_or(now, |e| e.since),
        expires: rules.expires.map(|time| now + time),
        message: Some(about.id),
        count,
        in_force: was_in_force || cause == Cause::Complaint || count >= rules.after,
    })
}

/// The entry that the end of a recipient makes.
pub fn of_end(node: &Node, about: About<'_>, verdict: &Verdict) -> Option<Suppression> {
    let settings = node.settings();
    let rules = &settings.config.suppression;
    let speaks = matches!(verdict.class, Class::Recipient | Class::Dns)
        && verdict.outcome == Outcome::Failed
        && verdict.reply.is_permanent();
    let listed = verdict
        .reply
        .enhanced
        .is_some_and(|c| rules.codes.contains(&c));
    let of_kind = || {
        let host = verdict.host.as_ref().map(|host| host.name.as_str());
        let known = settings.config.replies.book.classify(&verdict.reply, host);
        rules.kinds.contains(&known.kind)
    };
    (rules.enabled && speaks && (listed || !rules.kinds.is_empty() && of_kind()))
        .then(|| by_rule(node, about, Cause::Failure, &verdict.reply.to_string()))
        .flatten()
}

/// The entry that a bounce makes.
pub(crate) fn of_bounce(
    node: &Node,
    about: About<'_>,
    code: Option<mail::EnhancedCode>,
    reason: &str,
) -> Option<Suppression> {
    let settings = node.settings();
    let rules = &settings.config.suppression;
    (rules.enabled && code.is_some_and(|code| rules.codes.contains(&code)))
        .then(|| by_rule(node, about, Cause::Failure, reason))
        .flatten()
}

/// The entry that a complaint makes.
pub(crate) fn of_complaint(node: &Node, about: About<'_>, kind: &str) -> Option<Suppression> {
    let settings = node.settings();
    let rules = &settings.config.suppression;
    (rules.enabled && rules.complaints)
        .then(|| by_rule(node, about, Cause::Complaint, kind))
        .flatten()
}

/// Puts an entry that is durable in force, and logs it.
pub fn put(node: &Node, entry: Suppression) {
    if !node.settings().policy.suppressed.put(entry.clone()) {
        let line = node.journal.line(node.now(), "error");
        line.field(
            "what",
            "the suppression list is full: an entry is not in force",
        )
        .field("recipient", &entry.recipient)
        .send();
        return;
    }
    if !entry.in_force {
        return;
    }
    Figures::count(&node.figures.suppressed);
    let line = node.journal.line(node.now(), "suppressed");
    line.field("recipient", format_args!("<{}>", entry.recipient))
        .field("scope", &entry.scope)
        .field("cause", entry.cause.word())
        .maybe("id", entry.message)
        .maybe("until", entry.expires)
        .field("count", entry.count)
        .field("reason", &entry.reason)
        .send();
}

/// Takes entries away whose time is over.
///
/// # Errors
/// When it cannot be made durable; they are over in any case.
pub fn expire(returns: &Returns) -> Result<(), CommitError> {
    let list = Arc::clone(&returns.node.settings().policy.suppressed);
    let _turn = returns.turn.take();
    for part in list.over(returns.node.now()).chunks(AT_ONCE) {
        let ops = part.iter().map(|(address, scope)| forget(address, scope));
        returns.node.store.commit_wait(ops.collect())?;
        for (address, scope) in part {
            list.remove(address, scope);
        }
    }
    Ok(())
}

/// A page of the list.
pub fn list(
    node: &Node,
    selection: &SuppressionSelection,
    offset: u64,
    limit: u64,
) -> Result<SuppressionsView, VerbError> {
    let filter = SuppressionFilter {
        text: selection.text.clone(),
        recipient: match &selection.recipient {
            Some(text) => Some(Address::parse(text).map_err(Malformed::from)?),
            None => None,
        },
        scope: match &selection.scope {
            Some(text) => Some(scope(text)?),
            None => None,
        },
        cause: match &selection.cause {
            Some(word) => {
                let cause = Cause::of_word(word);
                Some(cause.ok_or_else(|| Malformed::Cause(word.clone()))?)
            }
            None => None,
        },
    };
    let size = |n| usize::try_from(n).unwrap_or(usize::MAX);
    let list = Arc::clone(&node.settings().policy.suppressed);
    let (found, matching) = list.list(&filter, size(offset), size(limit));
    Ok(SuppressionsView {
        entries: found.into_iter().map(view).collect(),
        matching: matching as u64,
    })
}

fn scope(text: &str) -> Result<Scope, Malformed> {
    text.parse()
        .map_err(|_: ParseScopeError| Malformed::Scope(text.to_owned()))
}

fn view(entry: Suppression) -> SuppressionView {
    SuppressionView {
        recipient: entry.recipient.to_string(),
        scope: entry.scope.to_string(),
        cause: entry.cause.word().to_owned(),
        reason: entry.reason,
        since: entry.since.to_string(),
        expires: entry.expires.map(|at| at.to_string()),
        message: entry.message.map(|id| id.to_string()),
        count: entry.count,
        in_force: entry.in_force,
    }
}

/// An administrator's entry.
fn ordered(new: &NewSuppression, now: Timestamp) -> Result<Suppression, Malformed> {
    let recipient = Address::parse(&new.recipient);
    let recipient = recipient.map_err(|why| Malformed::Recipient {
        text: new.recipient.clone(),
        why,
    })?;
    let expires = match new.expires.as_deref() {
        None | Some("") => None,
        Some(text) => Some(until(text, now)?),
    };
    let mut reason = new.reason.clone().unwrap_or_default();
    reason.retain(|c| !c.is_control());
    reason.truncate(reason.floor_char_boundary(REASON_MAX));
    let cause = new.cause.as_deref().and_then(Cause::of_word);
    let since = new.since.as_deref().and_then(Timestamp::parse_rfc3339);
    Ok(Suppression {
        recipient: Suppressed::normal(&recipient),
        scope: scope(new.scope.as_deref().unwrap_or("all"))?,
        cause: cause.unwrap_or(Cause::Administrator),
        reason,
        since: since.unwrap_or(now),
        expires,
        message: new.message.as_deref().and_then(|id| id.parse().ok()),
        count: new.count.unwrap_or(1),
        in_force: new.in_force.unwrap_or(true),
    })
}

/// An entry's times are read back from a list as they were.
const fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_secs(at.as_secs())
}

/// A time (RFC 3339), or so long from now.
fn until(text: &str, now: Timestamp) -> Result<Timestamp, Malformed> {
    if let Some(at) = Timestamp::parse_rfc3339(text) {
        return Ok(at);
    }
    let time = mail::parse_duration(text);
    let time = time.map_err(|why| Malformed::Expires {
        text: text.to_owned(),
        why,
    });
    time.map(|time| now + time)
}

/// Puts entries of an administrator on the list.
///
/// # Errors
/// What is wrong with an entry, or why the list cannot be kept.
pub async fn add(
    returns: &Arc<Returns>,
    new: Vec<NewSuppression>,
    who: &str,
) -> Result<Done, VerbError> {
    let who = who.to_owned();
    let handles = Arc::clone(returns);
    blocking(&returns.node, move |_| added(&handles, &new, &who)).await
}

fn added(returns: &Returns, new: &[NewSuppression], who: &str) -> Result<Done, VerbError> {
    if new.len() > AT_ONCE {
        let why = format!("{AT_ONCE} entries at a time, not {}", new.len());
        return Err(VerbError::new(VerbErrorKind::Malformed, why));
    }
    let now = whole_seconds(returns.node.now());
    let entries = new.iter().map(|entry| ordered(entry, now));
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    let list = Arc::clone(&returns.node.settings().policy.suppressed);
    let turn = returns.turn.take();
    let asked = entries.len();
    let is_new = |(entry, new): &(Suppression, &NewSuppression)| !is_there(&list, entry, new);
    let entries = entries.into_iter().zip(new).filter(is_new);
    let entries: Vec<Suppression> = entries.map(|(entry, _)| entry).collect();
    if entries.is_empty() {
        return Ok(Done(format!("{asked} on the suppression list: unchanged.")));
    }
    let changed = returns.node.now();
    returns
        .node
        .store
        .commit_wait(entries.iter().map(|entry| keep(entry, changed)).collect())?;
    let mut refused = 0;
    for entry in &entries {
        refused += u64::from(!list.put(entry.clone()));
    }
    drop(turn);
    let line = returns.node.journal.line(now, "action").field("who", who);
    let line = line.field("verb", "suppress");
    let first = entries.first();
    line.maybe("recipient", first.map(|e| &e.recipient))
        .maybe("scope", first.map(|e| &e.scope))
        .field("entries", entries.len())
        .send();
    let unchanged = match asked - entries.len() {
        0 => String::new(),
        n => format!(", {n} of them unchanged"),
    };
    match refused {
        0 => Ok(Done(format!("{asked} on the suppression list{unchanged}."))),
        n => Err(VerbError::unavailable(format!(
            "the suppression list is full: {n} entries are not in force"
        ))),
    }
}

/// Whether what is wanted is on the list already, whenever it came there.
fn is_there(list: &Suppressed, entry: &Suppression, new: &NewSuppression) -> bool {
    let same = |there: &Suppression| {
        let wanted = (entry.cause, &entry.reason, entry.expires, entry.in_force);
        (there.cause, &there.reason, there.expires, there.in_force) == wanted
            && (new.since.is_none() || there.since == entry.since)
            && (new.count.is_none() || there.count == entry.count)
            && (new.message.is_none() || there.message == entry.message)
    };
    list.get(&entry.recipient, &entry.scope)
        .as_ref()
        .is_some_and(same)
}

/// Takes a recipient off the list, from one scope or from all.
///
/// # Errors
/// Why it cannot be made durable.
pub async fn remove(
    returns: &Arc<Returns>,
    recipient: String,
    scope: Option<String>,
    who: &str,
) -> Result<Done, VerbError> {
    let who = who.to_owned();
    let handles = Arc::clone(returns);
    let work = move |_: &Node| removed(&handles, &recipient, scope.as_deref(), &who);
    blocking(&returns.node, work).await
}

fn removed(
    returns: &Returns,
    recipient: &str,
    of_scope: Option<&str>,
    who: &str,
) -> Result<Done, VerbError> {
    let address = Address::parse(recipient).map_err(Malformed::from)?;
    let filter = SuppressionFilter {
        recipient: Some(address),
        scope: match of_scope {
            Some(text) => Some(scope(text)?),
            None => None,
        },
        ..SuppressionFilter::default()
    };
    let list = Arc::clone(&returns.node.settings().policy.suppressed);
    let turn = returns.turn.take();
    let (found, _) = list.list(&filter, 0, usize::MAX);
    if found.is_empty() {
        return Err(VerbError::not_found(format!(
            "{recipient} is not on the suppression list"
        )));
    }
    let ops = found.iter().map(|e| forget(&e.recipient, &e.scope));
    returns.node.store.commit_wait(ops.collect())?;
    for entry in &found {
        list.remove(&entry.recipient, &entry.scope);
    }
    drop(turn);
    let line = returns
        .node
        .journal
        .line(returns.node.now(), "action")
        .field("who", who);
    line.field("verb", "unsuppress")
        .field("recipient", recipient)
        .maybe("scope", of_scope)
        .field("entries", found.len())
        .send();
    Ok(Done(format!("Mail to {recipient} is accepted again.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_back_as_it_is_kept() {
        for scope in ["all", "@news.example", "a@news.example", "user:anna"] {
            let entry = Suppression {
                recipient: "gone@there.example".parse().unwrap(),
                scope: scope.parse().unwrap(),
                cause: Cause::Complaint,
                reason: "\"abuse\"".to_owned(),
                since: Timestamp::from_secs(1_800_000_000),
                expires: None,
                message: Some(QueueId::from_u64(7)),
                count: 2,
                in_force: true,
            };
            let Op::Note(Note::Entry { name, value }) = keep(&entry, Timestamp::from_secs(1))
            else {
                panic!("an entry of the history");
            };
            assert_eq!(read(&name, &value.unwrap()), Some(entry));
        }
    }
}
