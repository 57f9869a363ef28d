//! The listeners that are open, and how a reload opens and closes some of them.
//!
//! A listener is known by its address as the configuration has it, so its place in the file may change. What else is
//! set for it is read anew for each connection.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Result;
use config::console::HttpAddress;
use node::Settings;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::shared::Shared;
use crate::{front, sockets};

/// Which listener of a configuration it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    address: SocketAddr,
    /// Of several with this address: port 0 is any that is free.
    nth: usize,
}

impl Spot {
    /// The listeners of a configuration, in their order.
    fn all(listeners: &[SocketAddr]) -> Vec<Self> {
        let spot = |(place, address): (usize, &SocketAddr)| {
            let before = listeners.iter().take(place);
            Self {
                address: *address,
                nth: before.filter(|other| *other == address).count(),
            }
        };
        listeners.iter().enumerate().map(spot).collect()
    }

    /// Its place among the listeners of a configuration; `None`: it is not there.
    pub(crate) fn place(self, listeners: &[SocketAddr]) -> Option<usize> {
        let same = listeners.iter().enumerate();
        let mut same = same.filter(|(_, address)| **address == self.address);
        same.nth(self.nth).map(|(place, _)| place)
    }

    /// The listener here, and its place among all.
    pub(crate) fn listener(self, settings: &Settings) -> Option<(usize, &intake::Listener)> {
        let place = self.place(&settings.config.listeners)?;
        Some((place, settings.policy.listeners.get(place)?))
    }
}

/// An open listener.
#[derive(Debug)]
struct Open {
    /// `None`: one of HTTP.
    spot: Option<Spot>,
    local: HttpAddress,
    close: CancellationToken,
}

/// The listeners that are open.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    open: Mutex<Vec<Open>>,
    tasks: OnceLock<TaskTracker>,
}

/// What a reload will open.
#[derive(Debug, Default)]
pub(crate) struct Prepared(Vec<(Spot, std::net::TcpListener)>);

impl Listening {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<Open>) -> T) -> T {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut open)
    }

    /// The addresses that are listened at, that of HTTP among them.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.with(|open| open.iter().map(|open| open.local.to_string()).collect())
    }

    /// Opens the listeners that are new; nothing is taken from them yet.
    ///
    /// # Errors
    /// Why one cannot be opened: then none is.
    pub(crate) fn prepare(&self, listeners: &[SocketAddr]) -> Result<Prepared, String> {
        let is_open = |spot: &Spot| self.with(|all| all.iter().any(|o| o.spot == Some(*spot)));
        let new = Spot::all(listeners).into_iter();
        let new = new.filter(|spot| !is_open(spot));
        let mut opened: Vec<SocketAddr> =
            self.with(|all| all.iter().filter_map(|o| o.local.tcp()).collect());
        let bind = |spot: Spot| {
            let bound = net::bind(spot.address, &opened);
            let bound = bound.map_err(|error| self.refused(spot.address, &error))?;
            opened.push(spot.address);
            Ok((spot, bound))
        };
        new.map(bind).collect::<Result<_, String>>().map(Prepared)
    }

    fn refused(&self, address: SocketAddr, error: &std::io::Error) -> String {
        let in_the_way = self.with(|all| {
            let mut all = all.iter().filter_map(|open| open.local.tcp());
            let is_part = |open: &SocketAddr| {
                let everywhere = open.ip().is_unspecified() || address.ip().is_unspecified();
                open.port() == address.port() && everywhere
            };
            all.find(is_part)
        });
        match (error.kind(), in_the_way) {
            (ErrorKind::AddrInUse, Some(open)) => format!(
                "{address} (listener.address) cannot be opened beside {open}: another program listens at a part of it \
                 (`ss -ltnp` names it), or {open} was opened with root's rights, which needs \
                 a restart"
            ),
            (ErrorKind::PermissionDenied, _) => format!(
                "the server no longer has the right to open port {} (listener.address), which needs a restart",
                address.port()
            ),
            _ => format!(
                "{}: {error}",
                sockets::cannot_listen(address, "listener.address")
            ),
        }
    }
}

/// Begins to take connections.
pub(crate) fn begin(
    shared: &Arc<Shared>,
    listeners: Vec<std::net::TcpListener>,
    tasks: &TaskTracker,
) -> Result<()> {
    let tasks = shared.listening.tasks.get_or_init(|| tasks.clone());
    let spots = Spot::all(&shared.node.settings().config.listeners);
    for (spot, listener) in spots.into_iter().zip(listeners) {
        take(shared, spot, listener, tasks)?;
    }
    Ok(())
}

/// Takes connections at what was prepared, and ends what the configuration in force has no more; sessions go on.
pub(crate) fn change(shared: &Arc<Shared>, prepared: Prepared) {
    let listeners = &shared.node.settings().config.listeners;
    let closed: Vec<Open> = shared.listening.with(|open| {
        let is_gone = |open: &mut Open| open.spot.is_some_and(|s| s.place(listeners).is_none());
        open.extract_if(.., is_gone).collect()
    });
    for open in closed {
        open.close.cancel();
        let line = shared.node.journal.line(net::now(), "listening");
        line.field("address", &open.local)
            .field("what", "closed")
            .send();
    }
    let Some(tasks) = shared.listening.tasks.get() else {
        return;
    };
    for (spot, listener) in prepared.0 {
        if let Err(error) = take(shared, spot, listener, tasks) {
            let line = shared.node.journal.line(net::now(), "error");
            line.field("what", "a new listener")
                .field("why", format!("{error:#}"))
                .send();
        }
    }
}

fn take(
    shared: &Arc<Shared>,
    spot: Spot,
    listener: std::net::TcpListener,
    tasks: &TaskTracker,
) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let close = CancellationToken::new();
    announce(shared, listener.local_addr()?, None, Some((spot, &close)));
    let way_in = front::WayIn {
        listener,
        spot,
        close,
    };
    tokio::spawn(front::listen(Arc::clone(shared), way_in, tasks.clone()));
    Ok(())
}

/// Says that an address is listened at, and what for where that is not SMTP.
pub(crate) fn announce(
    shared: &Shared,
    local: SocketAddr,
    what: Option<&str>,
    of_smtp: Option<(Spot, &CancellationToken)>,
) {
    let line = shared.node.journal.line(net::now(), "listening");
    line.field("address", local).maybe("for", what).send();
    let (spot, close) = of_smtp.unzip();
    let close = close.cloned().unwrap_or_default();
    let local = HttpAddress::Tcp(local);
    shared
        .listening
        .with(|open| open.push(Open { spot, local, close }));
}

/// Says that a unix socket is listened at, and what for.
pub(crate) fn announce_unix(shared: &Shared, local: &HttpAddress, what: &str) {
    let line = shared.node.journal.line(net::now(), "listening");
    line.field("address", local).field("for", what).send();
    let open = Open {
        spot: None,
        local: local.clone(),
        close: CancellationToken::new(),
    };
    shared.listening.with(|all| all.push(open));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_wherever_it_stands() {
        let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let before = addresses(&["127.0.0.1:25", "127.0.0.1:0", "127.0.0.1:0"]);
        let after = addresses(&["127.0.0.1:0", "[::1]:25", "127.0.0.1:25"]);
        let places = |listeners: &[SocketAddr]| -> Vec<_> {
            let spots = Spot::all(&before).into_iter();
            spots.map(|spot| spot.place(listeners)).collect()
        };
        assert_eq!(places(&before), [Some(0), Some(1), Some(2)]);
        assert_eq!(places(&after), [Some(2), Some(0), None]);
    }
}
