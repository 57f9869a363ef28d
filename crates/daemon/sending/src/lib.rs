//! Mail on its way out: workers, each with its sessions, and what they find out about hosts and about the relay. They
//! know no schedule.

mod batch_guard;
mod converse;
mod faults;
mod fitted;
mod marks;
pub mod opened;
pub mod reach;
mod relayed;
mod senders;
mod sessions;
mod tls_seen;
pub mod token;
mod transaction;
mod tried;
pub mod worker;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use local::Local;
use node::Node;
use protection::Protection;
use sources::Sources;

use crate::faults::Faults;
use crate::marks::Marks;
use crate::relayed::Relayed;
use crate::token::Oauth;

/// The handle.
pub struct Sending {
    pub(crate) node: Arc<Node>,
    pub(crate) protection: Arc<Protection>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) local: Arc<Local>,
    /// Hosts that did not serve a moment ago.
    pub(crate) down: Marks,
    /// Hosts that offer CHUNKING and do not know BDAT.
    pub(crate) no_chunking: Marks,
    /// What is wrong on our side, so that mail waits.
    pub faults: Faults,
    /// The token that the relay is logged in to by.
    pub oauth: Oauth,
    /// What the relay has taken today.
    pub relayed: Relayed,
}

impl Sending {
    /// With nothing known of hosts.
    pub fn new(
        node: &Arc<Node>,
        protection: &Arc<Protection>,
        sources: &Arc<Sources>,
        local: &Arc<Local>,
    ) -> Self {
        let clock = node.clock.handle();
        let oauth = Oauth::new(&node.settings().config.data_dir);
        Self {
            node: Arc::clone(node),
            protection: Arc::clone(protection),
            sources: Arc::clone(sources),
            local: Arc::clone(local),
            down: Marks::down(clock),
            no_chunking: Marks::without_chunking(clock),
            faults: Faults::default(),
            oauth,
            relayed: Relayed::new(clock),
        }
    }
}
