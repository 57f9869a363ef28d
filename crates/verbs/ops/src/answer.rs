//! What an administrator is answered. Field names are the API's: they do not change lightly.

use std::collections::BTreeMap;

use mail::{Destination, Labels, Status, Verdict};
use serde::{Deserialize, Serialize};
use store::Row;
use utoipa::ToSchema;

use crate::event::ListedEvent;

/// One waiting recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueuedView {
    /// The message.
    pub id: String,
    /// The recipient's number in it.
    pub number: u32,
    /// The reverse-path; empty for `<>`.
    pub sender: String,
    /// The recipient.
    pub recipient: String,
    /// Its domain.
    pub domain: String,
    /// `waiting`, `held`, `local` for mail that stays here, or `test` for mail of a test key, which is only simulated.
    pub state: String,
    /// Attempts that counted.
    pub attempts: u32,
    /// The earliest time of the next attempt.
    pub due: String,
    /// The time that its first attempt is set for, by its submitter or an administrator; none where it
    /// was to go at once, and after the first attempt.
    #[serde(default)]
    #[schema(format = DateTime)]
    pub release: Option<String>,
    /// When the message was accepted.
    #[schema(format = DateTime)]
    pub accepted: String,
    /// Octets.
    pub size: u64,
    /// Why it has not been sent yet.
    pub reason: String,
    /// When that may change by itself.
    pub next_event: Option<String>,
    /// The last answer; empty for none.
    pub last_reply: String,
    /// The host that gave it.
    pub last_host: Option<String>,
    /// What the last answer is about, such as `greylisted` or `mailbox_full`; `unknown` where no rule
    /// knows it.
    #[serde(default)]
    pub kind: Option<String>,
    /// Who submitted it.
    pub submitter: String,
    /// The Message-ID field, with its angle brackets.
    #[serde(default)]
    pub message_id: Option<String>,
    /// The Subject field as it is written in the header, cut to 512 octets.
    #[serde(default)]
    pub subject: Option<String>,
    /// The tags that its submitter gave it.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The metadata that its submitter gave it.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The message that it reports on, where it is a failure message or another report of this server.
    #[serde(default)]
    pub report_of: Option<String>,
}

impl QueuedView {
    /// A row of the index with the scheduler's reason.
    #[must_use]
    pub fn new(row: Row, wait: Option<schedule::Wait>) -> Self {
        let (reason, next) = match wait {
            Some(wait) => (wait.reason.to_string(), wait.next),
            None => ("its result is being recorded".to_owned(), None),
        };
        let untried = row.attempts == 0 && row.last_reply.is_empty();
        let release = (untried && row.due > row.accepted).then(|| row.due.to_string());
        Self {
            id: row.key.id.to_string(),
            number: row.key.recipient,
            state: match (row.status, row.destination) {
                (Status::Held, _) => "held",
                (Status::Waiting, Destination::Local) => "local",
                (Status::Waiting, Destination::Test) => "test",
                (Status::Waiting, Destination::Outgoing) => "waiting",
            }
            .to_owned(),
            sender: row.sender,
            recipient: row.recipient,
            domain: row.domain,
            attempts: row.attempts,
            due: row.due.to_string(),
            release,
            accepted: row.accepted.to_string(),
            size: row.size,
            reason,
            next_event: next.map(|t| t.to_string()),
            last_reply: row.last_reply,
            last_host: row.last_host,
            kind: None,
            submitter: row.submitter,
            report_of: report_of(&row.labels),
            message_id: row.labels.message_id,
            subject: row.labels.subject,
            tags: row.labels.tags,
            metadata: row.labels.metadata,
        }
    }
}

/// The id of the message that a report is about.
#[must_use]
pub fn report_of(labels: &Labels) -> Option<String> {
    labels.report_of.map(|id| id.to_string())
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MessageView {
    /// Its id.
    pub id: String,
    /// When it was accepted.
    #[schema(format = DateTime)]
    pub accepted: String,
    /// The reverse-path.
    pub sender: String,
    /// The Message-ID field, with its angle brackets.
    #[serde(default)]
    pub message_id: Option<String>,
    /// The Subject field as it is written in the header, cut to 512 octets; empty where there is none.
    pub subject: String,
    /// The tags that its submitter gave it.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The metadata that its submitter gave it.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The message that it reports on, where it is a failure message or another report of this server.
    #[serde(default)]
    pub report_of: Option<String>,
    /// Octets.
    pub size: u64,
    /// Who submitted it.
    pub submitter: String,
    /// It was submitted with a test key: it is not delivered to anybody, and its result is simulated.
    #[serde(default)]
    pub test: bool,
    /// The DKIM signatures that it got here, as `domain/selector`, while it is in the queue.
    #[serde(default)]
    pub signatures: Vec<String>,
    /// Its recipients that wait.
    pub waiting: Vec<QueuedView>,
    /// Its recipients that are finished.
    pub finished: Vec<AttemptView>,
    /// What was reported after their final results: bounces and complaints.
    #[serde(default)]
    pub later: Vec<LaterView>,
    /// Recipients that were refused when it was submitted.
    #[serde(default)]
    pub refused: Vec<RefusedView>,
}

/// A recipient that a message was not accepted for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedView {
    /// The address.
    pub address: String,
    /// The code that refuses it, as SMTP has it.
    pub code: u16,
    /// Why, in words.
    pub reason: String,
    /// Why, for programs: `suppressed`, `bad-address`, `no-mailboxes`, `too-many`, … or `refused`.
    #[serde(default)]
    pub refusal: String,
}

/// An address that mail leaves from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceView {
    /// Its name.
    pub name: String,
    /// The address.
    pub address: String,
    /// The pools that it is in.
    pub pools: Vec<String>,
    /// The name said in EHLO.
    pub ehlo: String,
    /// Its share of a pool's messages.
    pub weight: u32,
    /// The proxy that connects from it.
    pub proxy: Option<String>,
    /// `in service` or `out of service`.
    pub state: String,
    /// Why it is out of service.
    pub why: Option<String>,
    /// Until when it is left alone.
    #[schema(format = DateTime)]
    pub until: Option<String>,
    /// Connections from it since the start.
    pub connections: u64,
    /// How its warm-up goes, while it lasts.
    pub warm_up: Option<WarmUpView>,
}

/// How the warm-up of an address goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WarmUpView {
    /// Which day of the plan, from 1; 0: it has not begun.
    pub day: usize,
    /// Of how many.
    pub of: usize,
    /// Mails that may go to each site today.
    pub limit: u32,
    /// The sites with the most messages today.
    pub sites: Vec<WarmSiteView>,
}

/// What a site has got from an address today.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WarmSiteView {
    /// The site: its mail hosts.
    pub site: String,
    /// Mails that it took.
    pub sent: u32,
}

/// One attempt, or the end of a recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    /// The recipient.
    pub recipient: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Which attempt.
    pub attempt: u32,
    /// `delivered`, `deferred`, `failed` or `expired`.
    pub outcome: String,
    /// The host.
    pub host: Option<String>,
    /// The answer.
    pub reply: String,
    /// What it is about, such as `greylisted` or `mailbox_full`; none for a delivery.
    #[serde(default)]
    pub kind: Option<String>,
    /// How the connection was protected.
    pub tls: String,
    /// From being due to the attempt, connecting, on the wire: milliseconds.
    pub delays_ms: [u64; 3],
    /// What was said, where it is kept.
    pub transcript: Option<String>,
}

impl AttemptView {
    /// A verdict in the answer's form.
    #[must_use]
    pub fn new(
        recipient: String,
        attempt: u32,
        verdict: &Verdict,
        transcript: Option<String>,
    ) -> Self {
        let ms = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        Self {
            recipient,
            at: verdict.at.to_string(),
            attempt,
            outcome: verdict.outcome.to_string(),
            host: verdict.host.as_ref().map(ToString::to_string),
            reply: verdict.reply.to_string(),
            kind: None,
            tls: verdict.tls.word().to_owned(),
            delays_ms: [
                ms(verdict.timing.queued),
                ms(verdict.timing.connecting),
                ms(verdict.timing.wire),
            ],
            transcript,
        }
    }
}

/// Everything that happened to one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TraceView {
    /// The message, as far as it is still known.
    pub message: Option<MessageView>,
    /// Its attempts in the order of time.
    pub attempts: Vec<AttemptView>,
}

/// One site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SiteView {
    /// Its hosts.
    pub site: String,
    /// `probing`, `open`, or `cooling off until …`.
    pub standing: String,
    /// Connections that it may have busy.
    pub window: u32,
    /// Busy connections.
    pub busy: u32,
    /// Idle connections.
    pub idle: u32,
    /// Recipients in the queue of the domains that lead there: due, waiting for their time, held, or being sent.
    #[serde(default)]
    pub waiting: usize,
    /// Recipients that are due there.
    pub due: usize,
    /// The answer that closed it last.
    pub last_failure: Option<String>,
    /// The rule by which it is slowed or paused for a time, and the cause.
    #[serde(default)]
    pub action: Option<String>,
    /// Nothing goes there at present. For the server itself: people read it in `standing`.
    #[serde(skip)]
    pub is_shut: bool,
}

impl From<schedule::SiteView> for SiteView {
    fn from(site: schedule::SiteView) -> Self {
        Self {
            is_shut: matches!(site.standing, schedule::StandingView::CoolingOff(_)),
            site: site.key,
            standing: match site.standing {
                schedule::StandingView::Probing => "probing".to_owned(),
                schedule::StandingView::Open => "open".to_owned(),
                schedule::StandingView::CoolingOff(until) => format!("cooling off until {until}"),
            },
            window: site.window,
            busy: site.busy,
            idle: site.idle,
            waiting: site.waiting,
            due: site.recipients,
            last_failure: site.last_failure.map(|r| r.to_string()),
            action: None,
        }
    }
}

/// A rule that holds new mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HoldRuleView {
    /// Its name.
    pub name: String,
    /// Which mail it holds, as a filter.
    pub filter: String,
}

/// A domain's mail and the site that it goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DomainView {
    /// The domain.
    pub domain: String,
    /// Its recipients that wait.
    pub waiting: u64,
    /// An administrator has paused it.
    pub paused: bool,
    /// The limits that an administrator has slowed it to, such as `rate=10/60s connections=1`.
    pub slowed: Option<String>,
    /// Where its mail goes; none: that is not known at present.
    pub site: Option<SiteView>,
}

/// One finished recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FinishedView {
    /// The message.
    pub id: String,
    /// Its sender; empty for the null reverse-path.
    pub sender: String,
    /// When it was accepted.
    #[schema(format = DateTime)]
    pub accepted: String,
    /// Octets.
    pub size: u64,
    /// Who submitted it.
    pub submitter: String,
    /// The Message-ID field, with its angle brackets.
    #[serde(default)]
    pub message_id: Option<String>,
    /// The Subject field as it is written in the header, cut to 512 octets.
    #[serde(default)]
    pub subject: Option<String>,
    /// The tags that its submitter gave it.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The metadata that its submitter gave it.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The message that it reports on, where it is a failure message or another report of this server.
    #[serde(default)]
    pub report_of: Option<String>,
    /// It was submitted with a test key: it is not delivered to anybody, and its result is simulated.
    #[serde(default)]
    pub test: bool,
    /// How it ended.
    #[serde(flatten)]
    pub end: AttemptView,
    /// What was learned after its end: bounces, complaints, suppression.
    #[serde(default)]
    pub later: Vec<LaterView>,
}

/// An entry of the suppression list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SuppressionView {
    /// The recipient.
    pub recipient: String,
    /// Whose mail is kept back: `all`, `@domain`, a sender's address, or `user:NAME`.
    pub scope: String,
    /// `failure`, `complaint` or `administrator`.
    pub cause: String,
    /// The answer of the host, the kind of the complaint, or an administrator's words.
    pub reason: String,
    /// Since when.
    #[schema(format = DateTime)]
    pub since: String,
    /// Until when; none: until it is removed.
    #[schema(format = DateTime)]
    pub expires: Option<String>,
    /// The message that put it there.
    pub message: Option<String>,
    /// How often that happened.
    pub count: u32,
    /// It keeps mail back; false while failures are only counted.
    pub in_force: bool,
}

/// What was learned about a recipient after delivery or failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LaterView {
    /// The recipient.
    pub recipient: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// `bounced`, `complained`, `reported` (late, delivered, relayed), `returned` (not readable), or, in
    /// a list of what is finished, `suppressed`.
    pub event: String,
    /// The particulars.
    pub text: String,
}

/// What a verb did with waiting recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActedView {
    /// Recipients changed.
    pub changed: u64,
    /// Recipients that were already in that state, or are no longer in the queue.
    pub unchanged: u64,
    /// Recipients being sent right now: the action applies to them unless they are delivered.
    pub in_flight: u64,
}

/// A message's content, in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content(pub String);

/// The sites.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SitesView {
    /// Every site, those with the most waiting first.
    pub sites: Vec<SiteView>,
    /// Domains that are paused.
    pub paused: Vec<String>,
}

/// Events that are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsView {
    /// The events, in their order.
    pub events: Vec<ListedEvent>,
    /// The last place that was looked at: what comes after it is not told here.
    pub last: u64,
}

/// A part of the suppression list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuppressionsView {
    /// A page of them, by recipient.
    pub entries: Vec<SuppressionView>,
    /// How many match in all.
    pub matching: u64,
}

/// A backup that is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUpView {
    /// Where it is.
    pub directory: String,
    /// Recipients that wait in it.
    pub waiting: u64,
    /// Octets of the queue in it.
    pub bytes: u64,
    /// What the disk could not read.
    pub unreadable: Vec<String>,
}

/// Mail can be accepted; what keeps mail from leaving, by faults on this side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthy(pub Vec<String>);

/// It is done; a sentence about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done(pub String);
