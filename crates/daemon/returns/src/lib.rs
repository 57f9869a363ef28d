//! What comes back: bounces, complaints, and the suppression list that follows from them. What follows one is one commit.

pub mod bounces;
pub mod suppression;

use std::sync::Arc;

use node::Node;

use crate::suppression::Turn;

/// The handle.
pub struct Returns {
    pub(crate) node: Arc<Node>,
    /// One change of the suppression list at a time.
    pub turn: Turn,
}

impl Returns {
    /// With the list as the node's settings have it.
    pub fn new(node: &Arc<Node>) -> Self {
        Self {
            node: Arc::clone(node),
            turn: Turn::default(),
        }
    }
}
