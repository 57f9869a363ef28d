//! What every room of the server may hold: settings, queue, log, counters and the bounds that all share. It names no
//! room.

pub mod answers;
pub mod binary;
pub mod clock;
pub mod contents;
pub mod controls;
pub mod counting;
pub mod detail;
pub mod event;
pub mod figures;
pub mod hand_in;
pub mod hop;
pub mod known;
pub mod loading;
pub mod quotas;
pub mod refused;
pub mod reloads;
pub mod reporting;
pub mod signing;
pub mod targets;
mod tokens;

use parking_lot::RwLock;
use std::sync::Arc;

use accounts::Logins;
use config::Config;
use doubts::Shown;
use journal::Journal;
use mail::{QueueId, Timestamp};
use net::{ClientTls, Dns, Largest, ServerTls, Shares};
use ops::VerbError;
use store::{CommitError, Remedy, Store};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use world::Instant;

use crate::clock::JudgedClock;
use crate::contents::Contents;
use crate::controls::Controls;
use crate::event::Event;
use crate::figures::Figures;
use crate::quotas::QuotaFile;
use crate::reloads::Reloads;
use crate::targets::Target;
use crate::tokens::Tokens;

/// What changes when the configuration is read again, as a whole.
#[derive(Debug)]
pub struct Settings {
    /// What the files say.
    pub config: Config,
    /// What is accepted, from whom.
    pub policy: Arc<intake::Policy>,
    /// The resolver.
    pub dns: Dns,
    /// TLS towards other servers.
    pub client_tls: ClientTls,
    /// TLS towards clients, where there is a certificate.
    pub server_tls: Option<ServerTls>,
    /// Who may log in.
    pub logins: Logins,
    /// Who is told what happened.
    pub webhooks: Vec<Arc<Target>>,
    /// The certificates of ours that are in use.
    pub certificates: Vec<Shown>,
}

impl Settings {
    /// The webhook of this name.
    pub fn webhook(&self, name: &str) -> Option<&Arc<Target>> {
        self.webhooks.iter().find(|hook| hook.settings.name == name)
    }
}

/// The handles.
pub struct Node {
    settings: RwLock<Arc<Settings>>,
    /// The queue.
    pub store: Arc<dyn Store>,
    /// The log.
    pub journal: Journal,
    events: mpsc::UnboundedSender<Event>,
    /// Megabytes of content that may be in memory while it is received by whatever way, beyond the first of
    /// each connection.
    pub memory: Arc<Shares>,
    /// What was used of the quotas, on disk.
    pub(crate) quotas: QuotaFile,
    /// Contents that are read back to be sent.
    pub contents: Contents,
    /// The clock, and what is known of it.
    pub clock: JudgedClock,
    /// What an administrator has ordered beyond single mails.
    pub controls: Controls,
    /// Told when users were changed: their sessions look whether they still stand.
    pub users_changed: watch::Sender<()>,
    /// Bounds the signing of mail, which is slow.
    pub(crate) signing: Semaphore,
    /// One mail a token at a time.
    pub(crate) tokens: Arc<Tokens>,
    /// For work that begins on a thread of the store.
    pub runtime: tokio::runtime::Handle,
    /// Cancelled when the server stops.
    pub stopping: CancellationToken,
    /// What is counted.
    pub figures: Figures,
    /// Reading the configuration again.
    pub reloads: Reloads,
}

impl Node {
    /// Of a queue that was just opened. A mail is in memory `copies` times while it is read.
    pub fn new(
        settings: Settings,
        store: Arc<dyn Store>,
        journal: Journal,
        events: mpsc::UnboundedSender<Event>,
        clock: JudgedClock,
        copies: u64,
        reloads: Reloads,
    ) -> Self {
        let usage = Arc::clone(&settings.policy.usage);
        let quotas = QuotaFile::new(&settings.config.data_dir, usage);
        let memory = settings.config.outgoing.memory;
        // Whatever is taken must fit into a share.
        let largest = settings.policy.limits.message_size.saturating_mul(copies) >> 20;
        let receiving = Largest::of(settings.config.connections.memory >> 20, largest.max(1));
        Self {
            settings: RwLock::new(Arc::new(settings)),
            store,
            journal,
            events,
            memory: Shares::new(receiving),
            quotas,
            contents: Contents::new(memory),
            clock,
            controls: Controls::default(),
            users_changed: watch::Sender::new(()),
            signing: Semaphore::new(cores()),
            tokens: Arc::default(),
            runtime: tokio::runtime::Handle::current(),
            stopping: CancellationToken::new(),
            figures: Figures::default(),
            reloads,
        }
    }

    /// The settings as they are now.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read())
    }

    /// Puts other settings in force.
    pub fn replace_settings(&self, settings: Settings) {
        *self.settings.write() = Arc::new(settings);
        self.users_changed.send_replace(());
    }

    /// The wall clock, to the millisecond; it may jump when somebody sets it.
    pub fn now(&self) -> Timestamp {
        self.clock.handle().now()
    }

    /// A reading to measure with, which never goes back.
    pub fn instant(&self) -> Instant {
        self.clock.handle().instant()
    }

    /// The next queue id.
    pub fn next_id(&self, now: Timestamp) -> QueueId {
        self.store.next_id(now)
    }

    /// Tells the queue's owner; after the end there is none.
    pub fn tell(&self, event: Event) {
        drop(self.events.send(event));
    }

    /// A commit of ours failed: a full disk passes, anything else is the end.
    pub fn failed(&self, error: &CommitError) -> String {
        if error.remedy() == Remedy::Stop {
            self.tell(Event::Fatal(error.to_string()));
        }
        let line = self.journal.line(self.now(), "error");
        line.field("what", "queue").field("why", error).send();
        error.to_string()
    }
}

/// How many things of a kind that keeps a core busy are done at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Runs what blocks on the disk where it may, on a queue whose lists show all that was committed before.
pub async fn blocking<T: Send + 'static>(
    node: &Arc<Node>,
    work: impl FnOnce(&Node) -> Result<T, VerbError> + Send + 'static,
) -> Result<T, VerbError> {
    let node = Arc::clone(node);
    let task = tokio::task::spawn_blocking(move || {
        node.store.catch_up()?;
        work(&node)
    });
    task.await.map_err(VerbError::failed)?
}
