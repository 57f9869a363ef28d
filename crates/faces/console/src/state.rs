//! What every handler may use.

use std::sync::Arc;

use accounts::Keys;
use net::Shares;

use crate::backend::Backend;
use crate::turns::Turns;

/// What every handler may use.
#[derive(Clone)]
pub(crate) struct Console {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) turns: Turns,
    pub(crate) bodies: Arc<Shares>,
    pub(crate) document: String,
}

impl Console {
    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.inner.backend
    }

    pub(crate) fn keys(&self) -> &Arc<Keys> {
        &self.inner.keys
    }

    pub(crate) fn turns(&self) -> &Turns {
        &self.inner.turns
    }

    /// Requests whose mails are being read: some places are left for others.
    pub(crate) fn bodies(&self) -> &Arc<Shares> {
        &self.inner.bodies
    }

    /// Megabytes for the bodies of large mails.
    pub(crate) fn memory(&self) -> &Arc<Shares> {
        self.inner.backend.memory()
    }
}
