//! Mail that comes to our return paths: bounces and complaints are read, matched to the message that
//! they are about, remembered with it, and handed on to its author.
//!
//! Such a mail is queued like any other and taken from the queue here, so nothing of it is lost with
//! a crash: what follows from it is one commit, before its own end. What goes on has the null
//! reverse-path, and nothing goes on to an address of ours, so nothing can circle.

use std::sync::Arc;

use intake::{Stands, Suppressed, Suppression};
use mail::{
    Address, EnhancedCode, Envelope, Message, Notify, QueueId, Recipient, RecipientKey, Reply,
    Submitter,
};
use node::Node;
use node::event::Event;
use node::figures::Figures;
use node::hand_in::accept_op;
use notify::read::{Action, Complaint, Fate, Returned};
use store::{HistoryFilter, LaterRow, Note, Op, Remedy};

use crate::Returns;
use crate::suppression::{self, About};

/// Finished recipients of a message that are looked at.
const ROWS_MAX: u64 = 100_000;

/// The message that a bounce is about, as far as it is still known.
struct Original {
    id: QueueId,
    author: Option<Address>,
    user: Option<String>,
    recipients: Vec<(u32, Address)>,
}

/// What came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bounced,
    /// A delay, or a success.
    Reported,
    /// Nothing that can be read.
    Returned,
    Complained,
}

impl Kind {
    /// The word that the history keeps, which is the log's.
    const fn word(self) -> &'static str {
        match self {
            Self::Bounced => "bounced",
            Self::Reported => "reported",
            Self::Returned => "returned",
            Self::Complained => "complained",
        }
    }
}

/// One thing that came to be known.
struct Finding {
    kind: Kind,
    /// The recipient's number; `None`: it is none of the message's.
    number: Option<u32>,
    /// The address that it came to, or speaks of, says by its signature that it is about this recipient. A
    /// name in a report is anybody's word who got the mail and knows its return path.
    proven: bool,
    /// Whom the report names.
    named: Option<Address>,
    code: Option<EnhancedCode>,
    host: String,
    text: String,
}

/// Takes a mail to an address of ours; the answer is as a store's.
pub async fn take(returns: &Arc<Returns>, message: &Arc<Message>, number: u32) -> Reply {
    let (handles, message) = (Arc::clone(returns), Arc::clone(message));
    let taken = tokio::task::spawn_blocking(move || taken(&handles, &message, number)).await;
    taken.unwrap_or_else(|error| later(&error.to_string()))
}

fn later(why: &str) -> Reply {
    Reply::own(
        EnhancedCode::new(4, 3, 0),
        format!("reading a bounce: {why}"),
    )
}

fn taken(returns: &Arc<Returns>, report: &Message, number: u32) -> Reply {
    let Some(recipient) = report.envelope.recipients.get(number as usize) else {
        return later("the recipient is not in its message");
    };
    let settings = returns.node.settings();
    let paths = &settings.policy.paths;
    // It was in time when it came in.
    let stands = match paths.read(&recipient.address, report.accepted) {
        Ok(stands) => stands,
        Err(refusal) => return refusal,
    };
    let returned = notify::read::read(&report.content);
    let about = match (&stands, &returned) {
        (Stands::Return(id, number), _) => Some((*id, *number)),
        // Anybody can write here: what a complaint is about says the signed address in it.
        (Stands::Feedback, Returned::Complaint(complaint)) => {
            let mut signed = complaint.return_paths.iter().filter_map(|address| {
                match paths.read(address, report.accepted) {
                    Ok(Stands::Return(id, number)) => Some((id, number)),
                    Ok(Stands::Feedback | Stands::Other(_)) | Err(_) => None,
                }
            });
            signed.next()
        }
        (Stands::Feedback, Returned::Status(_) | Returned::Unreadable) | (Stands::Other(_), _) => {
            None
        }
    };
    let original = match about {
        Some((id, _)) => match original(&returns.node, id) {
            Ok(found) => Some(found),
            Err(why) => return later(&why.to_string()),
        },
        None => None,
    };
    if let Some(original) = &original
        && is_known(&returns.node, original.id, report.id)
    {
        return done("it was processed before");
    }
    let findings = findings(&returned, original.as_ref(), about.and_then(|(_, n)| n));
    settle(returns, report, &returned, original.as_ref(), &findings)
}

fn done(text: &str) -> Reply {
    Reply::new(250, Some(EnhancedCode::new(2, 0, 0)), text)
}

/// Why it cannot be said at present what a message was.
#[derive(Debug, thiserror::Error)]
enum OriginalError {
    #[error(transparent)]
    Store(#[from] store::StoreError),
    #[error(transparent)]
    Read(#[from] store::ReadError),
}

/// What is known of a message: by the history, and by the queue for recipients that still wait.
fn original(node: &Node, id: QueueId) -> Result<Original, OriginalError> {
    let filter = HistoryFilter {
        id: Some(id),
        ..HistoryFilter::default()
    };
    node.store.catch_up()?;
    let rows = node.store.history(&filter, 0, ROWS_MAX)?;
    let named = |row: &store::HistoryRow| {
        let address = Address::parse(&row.recipient).ok()?;
        Some((row.key.recipient, address))
    };
    let mut found = Original {
        id,
        author: rows
            .first()
            .and_then(|row| Address::parse(&row.sender).ok()),
        user: rows.first().map(|row| row.submitter.clone()),
        recipients: rows.iter().filter_map(named).collect(),
    };
    if let Some(waiting) = node.store.read(id)? {
        let envelope = waiting.envelope;
        let all = (0..).zip(&envelope.recipients);
        found.recipients = all.map(|(n, r)| (n, r.address.clone())).collect();
        found.author = envelope.reverse_path;
        found.user = envelope.submitter.user;
    }
    Ok(found)
}

/// Whether what this report says is remembered already: a crash came before its own end.
fn is_known(node: &Node, id: QueueId, report: QueueId) -> bool {
    let known = node.store.later(id).unwrap_or_default();
    let mark = mark(report);
    known.iter().any(|row| row.text.ends_with(&mark))
}

/// What names the report at the end of what is remembered.
fn mark(report: QueueId) -> String {
    format!("(report {report})")
}

fn findings(returned: &Returned, original: Option<&Original>, signed: Option<u32>) -> Vec<Finding> {
    let number = |named: &[Option<&Address>]| {
        let recipients = original
            .map(|o| o.recipients.as_slice())
            .unwrap_or_default();
        let is = |named: &&Address| {
            let named = Suppressed::normal(named);
            let mut all = recipients.iter();
            all.find(|(_, address)| Suppressed::normal(address) == named)
        };
        let by_name = named.iter().flatten().find_map(is).map(|(n, _)| *n);
        let only = match recipients {
            [(only, _)] => Some(*only),
            _ => None,
        };
        signed.or(by_name).or(only)
    };
    let is_alone = original.is_some_and(|o| o.recipients.len() == 1);
    let proven = signed.is_some() || is_alone;
    let mut found = match returned {
        Returned::Status(fates) => statuses(fates, signed.is_some())
            .into_iter()
            .map(|fate| {
                of_fate(
                    fate,
                    number(&[fate.original.as_ref(), fate.recipient.as_ref()]),
                )
            })
            .collect(),
        Returned::Complaint(complaint) => vec![of_complaint(complaint, |named| number(&[named]))],
        Returned::Unreadable => vec![Finding {
            kind: Kind::Returned,
            number: number(&[]),
            named: None,
            code: None,
            host: String::new(),
            text: "it has no machine-readable part".to_owned(),
            proven: false,
        }],
    };
    for finding in &mut found {
        finding.proven = proven;
    }
    found
}

/// What is said of recipients. Where the address names one, all that is said is about that one
/// (behind an alias of it there may be several): the worst counts.
fn statuses(fates: &[Fate], one: bool) -> Vec<&Fate> {
    if !one {
        return fates.iter().collect();
    }
    let worst = fates.iter().find(|fate| fate.action == Action::Failed);
    worst.or_else(|| fates.first()).into_iter().collect()
}

fn of_fate(fate: &Fate, number: Option<u32>) -> Finding {
    Finding {
        kind: match fate.action {
            Action::Failed => Kind::Bounced,
            Action::Delayed | Action::Delivered | Action::Relayed | Action::Expanded => {
                Kind::Reported
            }
        },
        number,
        proven: false,
        named: fate.recipient.clone().or_else(|| fate.original.clone()),
        code: fate.status,
        host: fate.host.clone(),
        text: match fate.diagnostic.is_empty() {
            true => fate.action.word().to_owned(),
            false => format!("{}: {}", fate.action.word(), fate.diagnostic),
        },
    }
}

fn of_complaint(
    complaint: &Complaint,
    number: impl Fn(Option<&Address>) -> Option<u32>,
) -> Finding {
    let named = complaint.recipients.first();
    Finding {
        kind: Kind::Complained,
        number: number(named),
        proven: false,
        named: named.cloned(),
        code: None,
        host: complaint.agent.clone(),
        text: complaint.kind.clone(),
    }
}

/// Makes durable what follows, then says it.
fn settle(
    returns: &Arc<Returns>,
    report: &Message,
    returned: &Returned,
    original: Option<&Original>,
    findings: &[Finding],
) -> Reply {
    let mut ops: Vec<Op> = Vec::new();
    if let Some(original) = original {
        let notes = findings.iter().filter_map(|f| note(original, f, report));
        ops.extend(notes);
    }
    let turn = returns.turn.take();
    let entries: Vec<Suppression> = original.map_or_else(Vec::new, |original| {
        let entry = |f| suppressed(&returns.node, original, f, returned);
        findings.iter().filter_map(entry).collect()
    });
    let now = returns.node.now();
    ops.extend(entries.iter().map(|entry| suppression::keep(entry, now)));
    let forward =
        receiver(&returns.node, returned, original).map(|to| forwarded(&returns.node, report, to));
    ops.extend(forward.iter().map(accept_op));
    if !ops.is_empty()
        && let Err(error) = returns.node.store.commit_wait(ops)
    {
        let why = returns.node.failed(&error);
        return match error.remedy() {
            Remedy::TryAgain => Reply::own(EnhancedCode::new(4, 3, 1), why),
            Remedy::GiveUp | Remedy::Closing | Remedy::Stop => later(&why),
        };
    }
    for entry in entries {
        suppression::put(&returns.node, entry);
    }
    drop(turn);
    for finding in findings {
        tell(&returns.node, report, original, finding);
    }
    if let Some(forward) = forward {
        let to = forward
            .envelope
            .recipients
            .first()
            .map(|r| r.address.clone());
        let line = returns.node.journal.line(returns.node.now(), "passed-on");
        line.field("id", forward.id)
            .field("report", report.id)
            .maybe("about", original.map(|o| o.id))
            .maybe("to", to.map(|to| format!("<{to}>")))
            .send();
        returns
            .node
            .tell(Event::Accepted(Arc::new(forward), Vec::new()));
    }
    done(match original {
        Some(_) => "processed, and matched to its message",
        None => "processed; it is about no known message",
    })
}

fn note(original: &Original, finding: &Finding, report: &Message) -> Option<Op> {
    let code = finding.code.map(|c| format!("{c} ")).unwrap_or_default();
    let host = match finding.host.is_empty() {
        true => String::new(),
        false => format!(" by {}", finding.host),
    };
    // Receivers of events would stop sending to whom it names.
    let (word, unproven) = match (finding.proven, finding.kind) {
        (false, Kind::Bounced) => (Kind::Reported.word(), "unproven bounce: "),
        (false, Kind::Complained) => (Kind::Reported.word(), "unproven complaint: "),
        (_, kind) => (kind.word(), ""),
    };
    Some(Op::Note(Note::Later(LaterRow {
        key: RecipientKey {
            id: original.id,
            recipient: finding
                .number
                .or_else(|| original.recipients.first().map(|r| r.0))?,
        },
        at: report.accepted,
        word: word.to_owned(),
        text: format!("{unproven}{code}{}{host} {}", finding.text, mark(report.id)),
    })))
}

fn suppressed(
    node: &Node,
    original: &Original,
    finding: &Finding,
    returned: &Returned,
) -> Option<Suppression> {
    let mut all = original.recipients.iter();
    let (_, recipient) = all.find(|(n, _)| Some(*n) == finding.number && finding.proven)?;
    let about = About {
        id: original.id,
        recipient,
        sender: original.author.as_ref(),
        user: original.user.as_deref(),
    };
    match returned {
        // `not-spam` takes an earlier complaint back.
        Returned::Complaint(c) if c.kind == "not-spam" => None,
        Returned::Complaint(c) => suppression::of_complaint(node, about, &c.kind),
        Returned::Status(_) if finding.kind == Kind::Bounced => {
            let text = finding.text.trim_start_matches("failed: ");
            suppression::of_bounce(node, about, finding.code, text)
        }
        Returned::Status(_) | Returned::Unreadable => None,
    }
}

/// Who gets the report: of a bounce its author, or, where nobody knows the message any more, the
/// postmaster.
fn receiver(node: &Node, returned: &Returned, original: Option<&Original>) -> Option<Address> {
    let settings = node.settings();
    let config = &settings.config;
    let to = match (returned, original) {
        (Returned::Complaint(_), _) => config.paths.complaints_to.clone(),
        (Returned::Status(_) | Returned::Unreadable, Some(original)) => {
            let author = original.author.clone();
            author.or_else(|| Some(config.postmaster.clone()))
        }
        // Anybody's mail to the address for complaints, which is none.
        (Returned::Status(_) | Returned::Unreadable, None) => None,
    };
    to.filter(|to| !settings.policy.paths.contains(to.domain()))
}

/// The same report to another.
pub fn forwarded(node: &Node, report: &Message, to: Address) -> Message {
    let now = node.now();
    let recipient = Recipient {
        notify: Notify::NEVER,
        ..Recipient::new(to)
    };
    let mut envelope = Envelope {
        reverse_path: None,
        recipients: vec![recipient],
        body_type: report.envelope.body_type,
        smtputf8: report.envelope.smtputf8,
        submitter: Submitter {
            via: "bounce".to_owned(),
            ..Submitter::default()
        },
        ..Envelope::default()
    };
    node.settings().policy.address_own(&mut envelope);
    Message {
        id: node.next_id(now),
        accepted: now,
        envelope,
        labels: report.labels.clone(),
        content: report.content.clone(),
    }
}

fn tell(node: &Node, report: &Message, original: Option<&Original>, finding: &Finding) {
    let ours = original.and_then(|o| {
        let mut all = o.recipients.iter();
        all.find(|(n, _)| Some(*n) == finding.number)
    });
    let named = ours.map(|(_, address)| address).or(finding.named.as_ref());
    let (figures, journal, now) = (&node.figures, &node.journal, node.now());
    let line = match finding.kind {
        Kind::Bounced => {
            Figures::count(&figures.bounced);
            journal.line(now, "bounced")
        }
        Kind::Reported => journal.line(now, "reported"),
        Kind::Returned => {
            Figures::count(&figures.unreadable_bounces);
            journal.line(now, "returned")
        }
        Kind::Complained => {
            Figures::count(&figures.complained);
            journal.line(now, "complained")
        }
    };
    line.maybe("id", original.map(|o| o.id))
        .maybe("to", named.map(|to| format!("<{to}>")))
        .field("report", report.id)
        .maybe("status", finding.code)
        .maybe("host", Some(&finding.host).filter(|host| !host.is_empty()))
        .maybe(
            "proven",
            (!finding.proven && original.is_some()).then_some("no"),
        )
        .field("what", &finding.text)
        .send();
}
