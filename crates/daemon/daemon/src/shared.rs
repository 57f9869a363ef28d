//! The running server: its rooms, and the service manager that watches it.

use std::sync::Arc;

use operating::Operating;

use crate::service::Manager;

/// The handles.
pub(crate) struct Shared {
    pub(crate) operating: Arc<Operating>,
    pub(crate) manager: Manager,
}
