//! Mail that stays: stored in mailboxes, handed to an LMTP server, read as a bounce, or only judged.

pub mod simulated;
pub mod storing;

use std::sync::Arc;

use node::Node;
use returns::Returns;

/// The handle.
pub struct Local {
    pub(crate) node: Arc<Node>,
    pub(crate) returns: Arc<Returns>,
}

impl Local {
    /// With the rooms that it asks.
    pub fn new(node: &Arc<Node>, returns: &Arc<Returns>) -> Self {
        Self {
            node: Arc::clone(node),
            returns: Arc::clone(returns),
        }
    }
}
