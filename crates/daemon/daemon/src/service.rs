//! What a service manager is told, in the way of systemd (`sd_notify`): that the server is ready,
//! reloads, stops, what it is doing, and that it lives.
//!
//! Without `NOTIFY_SOCKET` nothing is told to anybody. That the server lives is said only when the
//! owner of the queue has answered: one whose loop hangs is to be restarted, whatever else runs.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Manager {
    pub(crate) socket: Option<(UnixDatagram, SocketAddr)>,
    /// It restarts a server that is silent for so long.
    pub(crate) watchdog: Option<Duration>,
}

impl Manager {
    /// The manager that the environment names.
    pub(crate) fn find() -> io::Result<Self> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|n| !n.is_empty()) else {
            return Ok(Self::default());
        };
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(OsStr::new(&name))?,
        };
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0);
        let socket = UnixDatagram::unbound()?;
        // One that does not listen holds nothing up.
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: Some((socket, address)),
            watchdog: watchdog.map(Duration::from_micros),
        })
    }

    pub(crate) fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.socket {
            // It is the manager's affair to listen; mail does not depend on it.
            drop(socket.send_to_addr(state.as_bytes(), address));
        }
    }

    /// Everything is open and mail flows.
    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The configuration is being read again.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let micros = seconds * 1_000_000 + u64::try_from(now.tv_nsec / 1000).unwrap_or_default();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The server is about to end.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Finishing deliveries in progress");
    }
}
