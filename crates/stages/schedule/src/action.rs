//! What the scheduler is told and what it asks for, as values.

use std::sync::Arc;
use std::time::Duration;

use mail::{Destination, Domain, QueueId, RecipientKey, RecipientState, Timestamp, Verdict};

use crate::plan::Plan;
use crate::rate::Rate;

/// A domain the scheduler knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainId(pub(crate) u32);

/// A site the scheduler knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub(crate) u32);

/// A worker: what sends batches to one site over one session at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub(crate) u32);

impl WorkerId {
    /// Its number, which is given again when it is gone.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// What holds for all of outgoing mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `outgoing.enabled`: when false, outgoing mail waits.
    pub enabled: bool,
    /// The most workers at once.
    pub connections_max: u32,
    /// The most lookups at once.
    pub lookups_max: u32,
    /// How old a message is when its sender hears that it is late; `None`: never.
    pub delay_notice_after: Option<Duration>,
    /// Spreads the jitter of plans.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            connections_max: 500,
            lookups_max: 200,
            delay_notice_after: None,
            seed: 0,
        }
    }
}

/// What holds for one domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its plan of retries.
    pub plan: Arc<Plan>,
    /// Ends the retries earlier.
    pub lifetime: Option<Duration>,
    /// The most connections to its site.
    pub connections_max: u32,
    /// The most recipients of a message in one batch.
    pub recipients_max: u32,
    /// The most messages in a time.
    pub rate: Option<Rate>,
}

/// Gives the policy of a domain; asked once for each, and again after
/// [`Scheduler::policies_changed`](crate::Scheduler::policies_changed).
pub type PolicyOf = Box<dyn Fn(&Domain, Destination) -> Policy + Send>;

/// What the lookup of a domain came to.
#[derive(Debug, Clone)]
pub enum Resolution {
    /// It goes to this site until `expires`, when the domain is looked up again.
    Site {
        /// Equal for domains with the same hosts and limits.
        key: Arc<str>,
        /// Sites of one provider have one group, and share connections and rate.
        group: Option<Arc<str>>,
        /// The end of the DNS records' life.
        expires: Timestamp,
    },
    /// It cannot be sent: for good (`Failed`), or not now (`Deferred`).
    Unroutable(Verdict),
}

/// Recipients of one message for one site, to be sent together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The message.
    pub id: QueueId,
    /// Its recipients, with the number of attempts that each has behind it and since when it is due.
    pub recipients: Vec<(u32, u32, Timestamp)>,
}

impl Batch {
    /// The keys of its recipients.
    pub fn keys(&self) -> impl Iterator<Item = RecipientKey> + '_ {
        self.recipients
            .iter()
            .map(|(recipient, _, _)| RecipientKey {
                id: self.id,
                recipient: *recipient,
            })
    }
}

/// A change of a recipient's durable state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It leaves the queue.
    Final {
        /// Which one.
        key: RecipientKey,
        /// With what.
        verdict: Verdict,
        /// After how many attempts.
        attempts: u32,
        /// An administrator removed it: its sender is not to hear of it.
        silent: bool,
    },
    /// It stays, with this state.
    Waiting {
        /// Which one.
        key: RecipientKey,
        /// How it waits.
        state: RecipientState,
        /// When it is tried again; its due time, unless it waits for a fault of ours to be mended.
        next: Timestamp,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Find out where a domain's mail goes, and answer with [`Scheduler::resolved`](crate::Scheduler::resolved).
    Resolve {
        /// To name in the answer.
        domain: DomainId,
        /// The domain.
        name: Domain,
        /// Outgoing or local.
        destination: Destination,
        /// Where an administrator sends this mail, instead of where the rules would.
        route: Option<Arc<str>>,
    },
    /// Send a batch, and answer with [`Scheduler::finished`](crate::Scheduler::finished).
    Run {
        /// Who sends it; a new one when `fresh`.
        worker: WorkerId,
        /// Where.
        site: SiteId,
        /// The worker has no session yet.
        fresh: bool,
        /// What.
        batch: Batch,
    },
    /// Close the session of this idle worker, which is forgotten: its place is needed.
    Close(WorkerId),
    /// Commit this.
    Settle(Settled),
    /// The recipient is late: tell the sender. It is said once.
    Notice(RecipientKey),
}

/// When to poll again, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// When.
    pub at: Timestamp,
    /// What happens then.
    pub reason: &'static str,
}
