//! What every task of the running server may use: handles only, no state of its own.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use console::DELAY_BOUNDS;
use mail::{QueueId, ReplyKind, Timestamp};
use net::{ClientTls, Dns, Largest, Places, ServerTls, Shares};
use store::Store;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::contents::Contents;
use crate::controls::Controls;
use crate::event::Event;
use crate::faults::Faults;
use crate::floods::Floods;
use crate::harvest::Harvest;
use crate::hops::Marks;
use crate::listening::{Listening, Spot};
use crate::oauth::Oauth;
use crate::process::OldestDue;
use crate::quotas::QuotaFile;
use crate::reactions::Reactions;
use crate::relayed::Relayed;
use crate::reload::Reloads;
use crate::service::Manager;
use crate::sources::SourceStates;
use crate::sts::StsPolicies;
use crate::suppression::Turn;
use crate::tls_policy::TlsPolicies;
use crate::tls_reports::TlsReports;
use crate::warm_up::WarmUps;
use crate::webhooks::{Target, Webhooks};
use accounts::LoginGuard;
use accounts::Logins;
use config::Config;
use doubts::Shown;
use journal::Journal;

/// What changes when the configuration is read again, as a whole.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) policy: Arc<intake::Policy>,
    pub(crate) dns: Dns,
    pub(crate) client_tls: ClientTls,
    pub(crate) server_tls: Option<ServerTls>,
    pub(crate) logins: Logins,
    pub(crate) webhooks: Vec<Arc<Target>>,
    /// The certificates of ours that are in use.
    pub(crate) certificates: Vec<Shown>,
}

impl Settings {
    /// The listener at this spot, and its place among all.
    pub(crate) fn listener(&self, spot: Spot) -> Option<(usize, &intake::Listener)> {
        let place = spot.place(&self.config.listeners)?;
        Some((place, self.policy.listeners.get(place)?))
    }

    /// The webhook of this name.
    pub(crate) fn webhook(&self, name: &str) -> Option<&Arc<Target>> {
        self.webhooks.iter().find(|hook| hook.settings.name == name)
    }
}

/// The handles.
pub(crate) struct Shared {
    settings: RwLock<Arc<Settings>>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) journal: Journal,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    /// Megabytes of content that may be in memory while it is received by whatever way, beyond the first of
    /// each connection.
    pub(crate) memory: Arc<Shares>,
    /// The places of clients by SMTP.
    pub(crate) places: Arc<Places>,
    /// Those who are being told that there is no place.
    pub(crate) turned_away: AtomicUsize,
    /// Who names recipients that are refused.
    pub(crate) harvest: Harvest,
    /// How much clients have written into the log.
    pub(crate) floods: Floods,
    /// What was used of the quotas, on disk.
    pub(crate) quotas: QuotaFile,
    /// Contents that are read back to be sent.
    pub(crate) contents: Contents,
    pub(crate) clock: Clock,
    /// What an administrator has ordered beyond single mails.
    pub(crate) controls: Controls,
    /// What was ordered by itself for sites.
    pub(crate) reactions: Reactions,
    /// What domains ask for about TLS.
    pub(crate) tls: TlsPolicies,
    /// The policies that domains publish.
    pub(crate) sts: StsPolicies,
    /// What came of TLS, for the domains that want to know.
    pub(crate) tls_reports: TlsReports,
    /// One change of the suppression list at a time.
    pub(crate) suppression: Turn,
    /// How the addresses fare that mail leaves from.
    pub(crate) sources: SourceStates,
    /// Hosts that did not serve a moment ago.
    pub(crate) down: Marks,
    /// Hosts that offer CHUNKING and do not know BDAT.
    pub(crate) no_chunking: Marks,
    /// What is wrong on our side, so that mail waits.
    pub(crate) faults: Faults,
    /// The token that the relay is logged in to by.
    pub(crate) oauth: Oauth,
    pub(crate) warm_ups: WarmUps,
    /// What the relay has taken today.
    pub(crate) relayed: Relayed,
    /// Who is told what happened.
    pub(crate) webhooks: Webhooks,
    /// Attempts to log in.
    pub(crate) guard: Arc<LoginGuard>,
    /// Told when users were changed: their sessions look whether they still stand.
    pub(crate) users_changed: watch::Sender<()>,
    /// Bounds the slow checks of passwords.
    pub(crate) hashing: Semaphore,
    /// Bounds the signing of mail, which is slow as well.
    pub(crate) signing: Semaphore,
    /// One mail a token at a time.
    pub(crate) tokens: Arc<Tokens>,
    /// For work that begins on a thread of the store.
    pub(crate) runtime: tokio::runtime::Handle,
    /// Cancelled when the server stops.
    pub(crate) stopping: CancellationToken,
    pub(crate) figures: Figures,
    /// The listeners that are open.
    pub(crate) listening: Listening,
    /// What came of reading the configuration.
    pub(crate) reloads: Reloads,
    pub(crate) oldest_due: OldestDue,
    pub(crate) manager: Manager,
}

/// Tokens of mails that are being handed in.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    busy: Mutex<HashSet<String>>,
    left: tokio::sync::Notify,
}

/// The turn of one mail under its token; given back when dropped.
#[derive(Debug)]
pub(crate) struct TokenTurn {
    tokens: Arc<Tokens>,
    pub(crate) token: String,
}

impl Tokens {
    /// Waits until no other mail is being handed in under this token.
    pub(crate) async fn enter(self: &Arc<Self>, token: &str) -> TokenTurn {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            // From here on nobody's leaving is missed.
            left.as_mut().enable();
            if self.take(token) {
                return TokenTurn {
                    tokens: Arc::clone(self),
                    token: token.to_owned(),
                };
            }
            left.await;
        }
    }

    /// Whether the token was free. On its own, so that no lock is held over a wait.
    fn take(&self, token: &str) -> bool {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.insert(token.to_owned())
    }
}

impl Drop for TokenTurn {
    fn drop(&mut self) {
        let busy = &self.tokens.busy;
        let mut busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.remove(&self.token);
        drop(busy);
        self.tokens.left.notify_waiters();
    }
}

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) accepted: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) deferred: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) connections_in: AtomicU64,
    pub(crate) connections_out: AtomicU64,
    pub(crate) clear_after_tls: AtomicU64,
    /// Handshakes that began with a small first message.
    pub(crate) small_hellos: AtomicU64,
    /// Full handshakes, and sessions resumed instead.
    pub(crate) handshakes: AtomicU64,
    pub(crate) resumptions: AtomicU64,
    pub(crate) unknown_outcomes: AtomicU64,
    pub(crate) signed: AtomicU64,
    pub(crate) bounced: AtomicU64,
    pub(crate) complained: AtomicU64,
    pub(crate) unreadable_bounces: AtomicU64,
    pub(crate) suppressed: AtomicU64,
    /// Answers that were no success, by their kind.
    pub(crate) kinds: [AtomicU64; ReplyKind::ALL.len()],
    pub(crate) delays: Delays,
}

/// Times from acceptance to delivery.
#[derive(Debug, Default)]
pub(crate) struct Delays {
    /// How many up to each of [`DELAY_BOUNDS`], and above them all.
    counts: [AtomicU64; DELAY_BOUNDS.len() + 1],
    sum_ms: AtomicU64,
}

impl Delays {
    /// Counts one.
    pub(crate) fn count(&self, delay: Duration) {
        let fits = |bound: &u64| delay <= Duration::from_secs(*bound);
        let place = DELAY_BOUNDS.iter().position(fits);
        if let Some(counter) = self.counts.get(place.unwrap_or(DELAY_BOUNDS.len())) {
            Figures::count(counter);
        }
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.sum_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// The counts, and the sum of the times in milliseconds.
    pub(crate) fn read(&self) -> ([u64; DELAY_BOUNDS.len() + 1], u64) {
        let counts = self.counts.each_ref().map(|c| c.load(Ordering::Relaxed));
        (counts, self.sum_ms.load(Ordering::Relaxed))
    }
}

impl Figures {
    /// Counts one.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Answers that were no success, in the order of [`ReplyKind::ALL`].
    pub(crate) fn refusals(&self) -> [u64; ReplyKind::ALL.len()] {
        self.kinds.each_ref().map(|c| c.load(Ordering::Relaxed))
    }

    /// Every counter by its name.
    pub(crate) fn all(&self) -> [(&'static str, u64); 17] {
        let read = |c: &AtomicU64| c.load(Ordering::Relaxed);
        [
            ("accepted", read(&self.accepted)),
            ("delivered", read(&self.delivered)),
            ("deferred", read(&self.deferred)),
            ("failed", read(&self.failed)),
            ("expired", read(&self.expired)),
            ("connections_in", read(&self.connections_in)),
            ("connections_out", read(&self.connections_out)),
            ("clear_after_failed_tls", read(&self.clear_after_tls)),
            ("small_hellos", read(&self.small_hellos)),
            ("tls_handshakes", read(&self.handshakes)),
            ("tls_resumptions", read(&self.resumptions)),
            ("unknown_outcomes", read(&self.unknown_outcomes)),
            ("signed", read(&self.signed)),
            ("bounced", read(&self.bounced)),
            ("complained", read(&self.complained)),
            ("unreadable_bounces", read(&self.unreadable_bounces)),
            ("suppressed", read(&self.suppressed)),
        ]
    }
}

impl Shared {
    pub(crate) fn new(
        settings: Settings,
        store: Arc<dyn Store>,
        journal: Journal,
        events: mpsc::UnboundedSender<Event>,
        manager: Manager,
        clock: Clock,
    ) -> Self {
        let policies = settings.config.data_dir.join("mta-sts");
        let warm_ups = settings.config.data_dir.join("warm-up");
        let tls_reports = settings.config.data_dir.join("tls-reports");
        let origins = accounts::origins(&settings.config.data_dir);
        let usage = Arc::clone(&settings.policy.usage);
        let quotas = QuotaFile::new(&settings.config.data_dir, usage);
        let oauth = Oauth::new(&settings.config.data_dir);
        let memory = settings.config.outgoing.memory;
        // A mail is in memory some times while it is read: whatever is taken must fit into a share.
        let largest = settings
            .policy
            .limits
            .message_size
            .saturating_mul(console::COPIES)
            >> 20;
        let receiving = Largest::of(settings.config.connections.memory >> 20, largest.max(1));
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            settings: RwLock::new(Arc::new(settings)),
            store,
            journal,
            events,
            memory: Shares::new(receiving),
            places: Arc::default(),
            turned_away: AtomicUsize::new(0),
            harvest: Harvest::default(),
            floods: Floods::default(),
            quotas,
            contents: Contents::new(memory),
            clock,
            controls: Controls::default(),
            reactions: Reactions::default(),
            tls: TlsPolicies::default(),
            sts: StsPolicies::new(policies),
            tls_reports: TlsReports::new(tls_reports),
            suppression: Turn::default(),
            sources: SourceStates::default(),
            down: Marks::down(),
            no_chunking: Marks::without_chunking(),
            faults: Faults::default(),
            oauth,
            warm_ups: WarmUps::new(warm_ups),
            relayed: Relayed::default(),
            webhooks: Webhooks::default(),
            guard: LoginGuard::new(origins),
            users_changed: watch::Sender::new(()),
            hashing: Semaphore::new(cores),
            signing: Semaphore::new(cores),
            tokens: Arc::default(),
            runtime: tokio::runtime::Handle::current(),
            stopping: CancellationToken::new(),
            figures: Figures::default(),
            listening: Listening::default(),
            reloads: Reloads::new(net::now()),
            oldest_due: OldestDue::default(),
            manager,
        }
    }

    /// The settings as they are now.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other settings in force.
    pub(crate) fn replace_settings(&self, settings: Settings) {
        *self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.users_changed.send_replace(());
    }

    /// The next queue id.
    pub(crate) fn next_id(&self, now: Timestamp) -> QueueId {
        self.store.next_id(now)
    }

    /// Tells the queue's owner; behind the end there is none.
    pub(crate) fn tell(&self, event: Event) {
        drop(self.events.send(event));
    }
}
