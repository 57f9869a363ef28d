//! The queue's owner: one loop over a closed set of events, which alone holds the schedule; what follows from outcomes;
//! what is ordered by itself for sites. Nothing is said before it is durable.

mod ended;
mod hops;
mod outcome;
pub mod policy;
pub mod queue;
pub mod reactions;
mod recent;
mod reports;
mod told;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use node::Node;
use protection::Protection;
use returns::Returns;
use sending::Sending;

use crate::reactions::Reactions;

/// The handle.
pub struct Dispatch {
    pub(crate) node: Arc<Node>,
    pub(crate) protection: Arc<Protection>,
    pub(crate) returns: Arc<Returns>,
    pub(crate) sending: Arc<Sending>,
    /// What was ordered by itself for sites.
    pub reactions: Reactions,
    /// Writes lines of the log about messages that are not at hand.
    reader: told::Reader,
}

impl Dispatch {
    /// With nothing ordered.
    pub fn new(
        node: &Arc<Node>,
        protection: &Arc<Protection>,
        returns: &Arc<Returns>,
        sending: &Arc<Sending>,
    ) -> Self {
        Self {
            node: Arc::clone(node),
            protection: Arc::clone(protection),
            returns: Arc::clone(returns),
            sending: Arc::clone(sending),
            reactions: Reactions::new(node.clock.handle()),
            reader: told::Reader::default(),
        }
    }
}
