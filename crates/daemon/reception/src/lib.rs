//! The ways in by SMTP and by the drop directory: 250 only after the one hand-in. What a stranger may cost is bounded here.

mod busy;
pub mod collect;
pub mod floods;
mod harvest;
pub mod listening;
mod securing;
mod smtp_in;
pub mod sockets;
mod spot;
pub mod user_sessions;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use accounts::LoginGuard;
use local::Local;
use net::Places;
use node::Node;
use tokio::sync::Semaphore;

use crate::floods::Floods;
use crate::harvest::Harvest;
use crate::listening::Listening;

/// The handle.
pub struct Reception {
    pub(crate) node: Arc<Node>,
    pub(crate) local: Arc<Local>,
    /// The places of clients by SMTP.
    pub(crate) places: Arc<Places>,
    /// Those who are being told that there is no place.
    pub(crate) turned_away: AtomicUsize,
    /// Who names recipients that are refused.
    pub(crate) harvest: Harvest,
    /// How much clients have written into the log.
    pub(crate) floods: Floods,
    /// Attempts to log in.
    pub(crate) guard: Arc<LoginGuard>,
    /// Bounds the slow checks of passwords.
    pub(crate) hashing: Semaphore,
    /// The listeners that are open.
    pub listening: Listening,
}

impl Reception {
    /// With no listener open.
    pub fn new(node: &Arc<Node>, local: &Arc<Local>) -> Self {
        let origins = accounts::origins(&node.settings().config.data_dir);
        Self {
            node: Arc::clone(node),
            local: Arc::clone(local),
            places: Arc::default(),
            turned_away: AtomicUsize::new(0),
            harvest: Harvest::default(),
            floods: Floods::default(),
            guard: LoginGuard::new(origins),
            hashing: Semaphore::new(node::cores()),
            listening: Listening::default(),
        }
    }
}
