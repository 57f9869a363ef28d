//! The rooms of the running server, and what each of them owns.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use accounts::LoginGuard;
use dispatch::Dispatch;
use local::Local;
use net::Places;
use node::{self, Node};
use protection::Protection;
use returns::Returns;
use sending::Sending;
use sources::Sources;
use tokio::sync::Semaphore;
use webhooks::Webhooks;

use crate::floods::Floods;
use crate::harvest::Harvest;
use crate::listening::Listening;
use crate::process::OldestDue;
use crate::service::Manager;

/// The handles.
pub(crate) struct Shared {
    pub(crate) node: Arc<Node>,
    pub(crate) protection: Arc<Protection>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) returns: Arc<Returns>,
    pub(crate) local: Arc<Local>,
    pub(crate) sending: Arc<Sending>,
    pub(crate) dispatch: Arc<Dispatch>,
    /// The places of clients by SMTP.
    pub(crate) places: Arc<Places>,
    /// Those who are being told that there is no place.
    pub(crate) turned_away: AtomicUsize,
    /// Who names recipients that are refused.
    pub(crate) harvest: Harvest,
    /// How much clients have written into the log.
    pub(crate) floods: Floods,
    /// Who is told what happened.
    pub(crate) webhooks: Arc<Webhooks>,
    /// Attempts to log in.
    pub(crate) guard: Arc<LoginGuard>,
    /// Bounds the slow checks of passwords.
    pub(crate) hashing: Semaphore,
    /// The listeners that are open.
    pub(crate) listening: Listening,
    pub(crate) oldest_due: OldestDue,
    pub(crate) manager: Manager,
}

impl Shared {
    pub(crate) fn new(node: Arc<Node>, manager: Manager) -> Self {
        let protection = Arc::new(Protection::new(&node));
        let sources = Arc::new(Sources::new(&node));
        let returns = Arc::new(Returns::new(&node));
        let local = Arc::new(Local::new(&node, &returns));
        let sending = Arc::new(Sending::new(&node, &protection, &sources, &local));
        Self {
            dispatch: Arc::new(Dispatch::new(&node, &protection, &returns, &sending)),
            sending,
            protection,
            sources,
            local,
            returns,
            places: Arc::default(),
            turned_away: AtomicUsize::new(0),
            harvest: Harvest::default(),
            floods: Floods::default(),
            webhooks: Arc::new(Webhooks::new(&node)),
            guard: LoginGuard::new(accounts::origins(&node.settings().config.data_dir)),
            hashing: Semaphore::new(node::cores()),
            listening: Listening::default(),
            oldest_due: OldestDue::default(),
            manager,
            node,
        }
    }
}
