//! The listeners that are open.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::front;
use crate::shared::Shared;

/// The listeners that are open.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    open: Mutex<Vec<SocketAddr>>,
}

impl Listening {
    fn add(&self, address: SocketAddr) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push(address);
    }

    /// The addresses that are listened at, that of HTTP among them.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().map(ToString::to_string).collect()
    }
}

/// Begins to take connections.
pub(crate) fn begin(
    shared: &Arc<Shared>,
    listeners: Vec<std::net::TcpListener>,
    tasks: &TaskTracker,
) -> Result<()> {
    for (number, listener) in listeners.into_iter().enumerate() {
        let listener = TcpListener::from_std(listener)?;
        announce(shared, listener.local_addr()?, None);
        let shared = Arc::clone(shared);
        tokio::spawn(front::listen(shared, listener, number, tasks.clone()));
    }
    Ok(())
}

/// Says that an address is listened at, and what for where that is not SMTP.
pub(crate) fn announce(shared: &Shared, address: SocketAddr, what: Option<&str>) {
    let line = shared.journal.line(net::now(), "listening");
    line.field("address", address).maybe("for", what).send();
    shared.listening.add(address);
}
