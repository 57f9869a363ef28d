//! The addresses that mail leaves from: how they fare, which one a mail takes, and their first days.

pub mod leaving;
pub mod warm_up;

use std::sync::Arc;

use node::Node;

use crate::leaving::SourceStates;
use crate::warm_up::WarmUps;

/// The handle.
pub struct Sources {
    pub(crate) node: Arc<Node>,
    /// How the addresses fare.
    pub states: SourceStates,
    /// What has left from new ones.
    pub warm_ups: WarmUps,
}

impl Sources {
    /// With all of them in service, and nothing that has left.
    pub fn new(node: &Arc<Node>) -> Self {
        let warm_ups = node.settings().config.data_dir.join("warm-up");
        Self {
            node: Arc::clone(node),
            states: SourceStates::default(),
            warm_ups: WarmUps::new(warm_ups),
        }
    }
}
