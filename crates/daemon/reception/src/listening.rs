//! The listeners that are open, and how a reload opens and closes some of them.
//!
//! A listener is known by its address as the configuration has it, so its place in the file may change. What else is
//! set for it is read anew for each connection.

use parking_lot::Mutex;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use anyhow::Result;
use config::console::HttpAddress;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::spot::Spot;
use crate::{Reception, smtp_in, sockets};

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
pub struct Listening {
    open: Mutex<Vec<Open>>,
    tasks: OnceLock<TaskTracker>,
}

/// What a reload will open.
#[derive(Debug, Default)]
pub struct Prepared(Vec<(Spot, std::net::TcpListener)>);

impl Listening {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<Open>) -> T) -> T {
        let mut open = self.open.lock();
        work(&mut open)
    }

    /// The addresses that are listened at, that of HTTP among them.
    pub fn addresses(&self) -> Vec<String> {
        self.with(|open| open.iter().map(|open| open.local.to_string()).collect())
    }

    /// Opens the listeners that are new; nothing is taken from them yet.
    ///
    /// # Errors
    /// Why one cannot be opened: then none is.
    pub fn prepare(&self, listeners: &[SocketAddr]) -> Result<Prepared, String> {
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
pub fn begin(
    reception: &Arc<Reception>,
    listeners: Vec<std::net::TcpListener>,
    tasks: &TaskTracker,
) -> Result<()> {
    let tasks = reception.listening.tasks.get_or_init(|| tasks.clone());
    let spots = Spot::all(&reception.node.settings().config.listeners);
    for (spot, listener) in spots.into_iter().zip(listeners) {
        take(reception, spot, listener, tasks)?;
    }
    Ok(())
}

/// Takes connections at what was prepared, and ends what the configuration in force has no more; sessions go on.
pub fn change(reception: &Arc<Reception>, prepared: Prepared) {
    let listeners = &reception.node.settings().config.listeners;
    let closed: Vec<Open> = reception.listening.with(|open| {
        let is_gone = |open: &mut Open| open.spot.is_some_and(|s| s.place(listeners).is_none());
        open.extract_if(.., is_gone).collect()
    });
    for open in closed {
        open.close.cancel();
        let line = reception
            .node
            .journal
            .line(reception.node.now(), "listening");
        line.field("address", &open.local)
            .field("what", "closed")
            .send();
    }
    let Some(tasks) = reception.listening.tasks.get() else {
        return;
    };
    for (spot, listener) in prepared.0 {
        if let Err(error) = take(reception, spot, listener, tasks) {
            let line = reception.node.journal.line(reception.node.now(), "error");
            line.field("what", "a new listener")
                .field("why", format!("{error:#}"))
                .send();
        }
    }
}

fn take(
    reception: &Arc<Reception>,
    spot: Spot,
    listener: std::net::TcpListener,
    tasks: &TaskTracker,
) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let close = CancellationToken::new();
    announce(
        reception,
        listener.local_addr()?,
        None,
        Some((spot, &close)),
    );
    let way_in = smtp_in::WayIn {
        listener,
        spot,
        close,
    };
    tokio::spawn(smtp_in::listen(
        Arc::clone(reception),
        way_in,
        tasks.clone(),
    ));
    Ok(())
}

/// Says that an address is listened at, and what for where that is not SMTP.
pub fn announce(
    reception: &Reception,
    local: SocketAddr,
    what: Option<&str>,
    of_smtp: Option<(Spot, &CancellationToken)>,
) {
    let line = reception
        .node
        .journal
        .line(reception.node.now(), "listening");
    line.field("address", local).maybe("for", what).send();
    let (spot, close) = of_smtp.unzip();
    let close = close.cloned().unwrap_or_default();
    let local = HttpAddress::Tcp(local);
    reception
        .listening
        .with(|open| open.push(Open { spot, local, close }));
}

/// Says that a unix socket is listened at, and what for.
pub fn announce_unix(reception: &Reception, local: &HttpAddress, what: &str) {
    let line = reception
        .node
        .journal
        .line(reception.node.now(), "listening");
    line.field("address", local).field("for", what).send();
    let open = Open {
        spot: None,
        local: local.clone(),
        close: CancellationToken::new(),
    };
    reception.listening.with(|all| all.push(open));
}
