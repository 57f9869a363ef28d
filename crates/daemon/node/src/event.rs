//! What happens to the queue, and what its owner and the workers tell each other.

use std::sync::Arc;
use std::time::Duration;

use mail::{
    Class, Domain, EnhancedCode, Message, Outcome, QueueId, RecipientKey, Reply, Timestamp, Verdict,
};
use ops::{Verb, VerbError};
use schedule::{
    Attempted, Batch, DomainId, Report, Resolution, SiteOrder, SiteView, Wait, WorkerId,
};
use tokio::sync::oneshot;

use crate::hop::{Hop, SiteHops};

/// What happens to the queue.
pub enum Event {
    /// A message is durable, with these of its recipients held.
    Accepted(Arc<Message>, Vec<u32>),
    /// A domain's lookup ended.
    Resolved(DomainId, Resolution, Option<Arc<Hop>>),
    /// A worker's session got through its greeting.
    Greeted(WorkerId),
    /// A worker's batch ended.
    Finished(WorkerId, Box<Finished>),
    /// A worker closed its idle session.
    Closed(WorkerId),
    /// An administrator's verb.
    Act(
        Verb,
        Vec<RecipientKey>,
        oneshot::Sender<Result<[u64; 3], VerbError>>,
    ),
    /// Why these recipients wait.
    Waits(Vec<RecipientKey>, oneshot::Sender<Vec<Option<Wait>>>),
    /// Every site, and the paused domains.
    Sites(oneshot::Sender<(Vec<SiteView>, Vec<Domain>)>),
    /// What is known of a domain: whether it is paused, and its site.
    Domain(Domain, oneshot::Sender<(bool, Option<SiteView>)>),
    /// How much there is of everything.
    Gauges(oneshot::Sender<Gauges>),
    /// Pause or resume a domain.
    Pause(Domain, bool, oneshot::Sender<()>),
    /// Limit a site for a time, or let it go.
    Order(Arc<str>, Option<SiteOrder>),
    /// These recipients of a message are late, and this is the notice to its sender, if one goes.
    Late(QueueId, Vec<RecipientKey>, Option<Box<Message>>),
    /// Somebody wants to know whether this loop turns; the number of recipients in the queue.
    Alive(oneshot::Sender<usize>),
    /// The settings have changed.
    Reloaded,
    /// The system's clock was set back by so much.
    ClockSetBack(Duration),
    /// The queue's disk failed.
    Fatal(String),
    /// End in order.
    Stop,
}

/// How much there is in the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauges {
    /// All that wait.
    pub recipients: u64,
    /// Those whose time has come.
    pub due: u64,
    /// Recipients whose first attempt is set for later.
    pub future: u64,
    /// Sites that mail waits for or goes to.
    pub sites: u64,
    /// Sessions that send.
    pub busy: u64,
    /// Sessions that are kept open for more mail.
    pub idle: u64,
    /// Domains that are paused.
    pub paused: u64,
}

/// What a worker reports.
pub struct Finished {
    /// The mail, where it could be read.
    pub message: Option<Arc<Message>>,
    /// What came of it.
    pub report: Report,
    /// What was said, for all of the batch.
    pub transcript: Option<String>,
    /// Recipients whose host took delivery reports over (RFC 3461): none of ours on success.
    pub reports_taken: Vec<u32>,
    /// Recipients of which it is to be told that their mail was passed on (RFC 2852).
    pub passed_on: Vec<u32>,
    /// The sources that recipients were tried from last, where one was chosen.
    pub sources: Vec<(u32, Arc<str>)>,
}

impl Finished {
    /// A batch that was not sent to another server, with how its recipients ended and how long it took.
    pub fn here(
        message: Option<Arc<Message>>,
        attempted: Vec<Attempted>,
        service: Duration,
    ) -> Self {
        Self {
            message,
            report: Report {
                attempted,
                service,
                ..Report::default()
            },
            transcript: None,
            reports_taken: Vec::new(),
            passed_on: Vec::new(),
            sources: Vec::new(),
        }
    }
}

/// What a worker is given.
pub struct Job {
    /// Which recipients.
    pub batch: Batch,
    /// Their mail, where it is in memory.
    pub message: Option<Arc<Message>>,
    /// Where they go.
    pub hops: SiteHops,
}

/// The report, at `now`, of a worker that could do nothing.
pub fn internal_error(batch: &Batch, why: &str, now: Timestamp) -> Report {
    let reply = Reply::own(EnhancedCode::new(4, 3, 0), format!("internal error: {why}"));
    let verdict = Verdict::own(Outcome::Deferred, Class::Policy, reply, now);
    let attempted = |key| Attempted {
        key,
        verdict: verdict.clone(),
        retry_after: None,
        plan: None,
        ours: None,
    };
    Report {
        attempted: batch.keys().map(attempted).collect(),
        ..Report::default()
    }
}
