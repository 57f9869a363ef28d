//! The rooms of the running server, and what each of them owns.

use std::sync::Arc;

use dispatch::Dispatch;
use local::Local;
use node::{self, Node};
use protection::Protection;
use reception::Reception;
use returns::Returns;
use sending::Sending;
use sources::Sources;
use webhooks::Webhooks;

use crate::process::OldestDue;
use crate::service::Manager;

/// The handles.
pub(crate) struct Shared {
    pub(crate) node: Arc<Node>,
    pub(crate) protection: Arc<Protection>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) returns: Arc<Returns>,
    pub(crate) sending: Arc<Sending>,
    pub(crate) dispatch: Arc<Dispatch>,
    pub(crate) reception: Arc<Reception>,
    /// Who is told what happened.
    pub(crate) webhooks: Arc<Webhooks>,
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
            reception: Arc::new(Reception::new(&node, &local)),
            sending,
            protection,
            sources,
            returns,
            webhooks: Arc::new(Webhooks::new(&node)),
            oldest_due: OldestDue::default(),
            manager,
            node,
        }
    }
}
