//! The listening sockets: those that a service manager has opened for the server (`LISTEN_FDS`),
//! matched to the configuration by their address, and those that the server opens itself.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use config::console::{HttpAddress, HttpListener};
use listenfd::ListenFd;

/// What to say, and what to look for, when an address cannot be listened at.
pub(crate) fn cannot_listen(address: SocketAddr, key: &str) -> String {
    format!(
        "cannot listen at {address} ({key}): is another program, or another sendoff, listening there (`ss -ltnp`), \
         is it an address of this computer, and is this user allowed to open the port"
    )
}

/// A socket for HTTP.
#[derive(Debug)]
pub enum HttpSocket {
    /// At an IP address.
    Tcp(TcpListener),
    /// At a path.
    Unix(UnixListener),
    /// The server opens it as the user that it becomes: the file is that user's.
    Later(PathBuf),
}

/// The sockets that the service manager has opened.
pub struct Given {
    tcp: Vec<(SocketAddr, TcpListener)>,
    unix: Vec<(PathBuf, UnixListener)>,
}

/// The sockets of these addresses, in their order, those of the service manager among them.
pub fn open(addresses: &[SocketAddr], given: &mut Given) -> Result<Vec<TcpListener>> {
    let mut sockets = Vec::with_capacity(addresses.len());
    for address in addresses {
        sockets.push(match given.tcp(*address) {
            Some(socket) => socket,
            None => {
                let opened = addresses.get(..sockets.len()).unwrap_or_default();
                let bound = net::bind(*address, opened);
                bound.with_context(|| cannot_listen(*address, "listener.address"))?
            }
        });
    }
    Ok(sockets)
}

/// The sockets for HTTP, in the order of these addresses. `beside` is listened at already.
pub fn open_http(
    listeners: &[HttpListener],
    given: &mut Given,
    beside: &[SocketAddr],
) -> Result<Vec<HttpSocket>> {
    let mut opened = beside.to_vec();
    let mut open = |listener: &HttpListener| {
        let address = match &listener.address {
            HttpAddress::Tcp(address) => *address,
            HttpAddress::Unix(path) => {
                let socket = given.unix(path).map(HttpSocket::Unix);
                return Ok(socket.unwrap_or_else(|| HttpSocket::Later(path.clone())));
            }
        };
        let socket = match given.tcp(address) {
            Some(socket) => socket,
            None => {
                net::bind(address, &opened).with_context(|| cannot_listen(address, listener.key))?
            }
        };
        opened.push(address);
        Ok(HttpSocket::Tcp(socket))
    };
    listeners.iter().map(&mut open).collect()
}

impl Given {
    /// Asks for them.
    pub fn take() -> Result<Self> {
        let mut listed = ListenFd::from_env();
        let mut given = Self {
            tcp: Vec::new(),
            unix: Vec::new(),
        };
        for number in 0..listed.len() {
            let what = "a socket that the service manager has opened is neither a TCP socket nor a unix stream \
                        socket with a path (ListenStream=)";
            // One that is of another kind is left where it is.
            if let Ok(Some(socket)) = listed.take_tcp_listener(number) {
                socket.set_nonblocking(true)?;
                given.tcp.push((socket.local_addr().context(what)?, socket));
            } else if let Some(socket) = listed.take_unix_listener(number).context(what)? {
                socket.set_nonblocking(true)?;
                let address = socket.local_addr().context(what)?;
                let path = address.as_pathname().context(what)?.to_owned();
                given.unix.push((path, socket));
            }
        }
        Ok(given)
    }

    fn tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let place = self.tcp.iter().position(|(a, _)| *a == address)?;
        Some(self.tcp.swap_remove(place).1)
    }

    fn unix(&mut self, path: &Path) -> Option<UnixListener> {
        let place = self.unix.iter().position(|(given, _)| given == path)?;
        Some(self.unix.swap_remove(place).1)
    }

    /// All of them have been used.
    ///
    /// # Errors
    /// Which one the configuration has nothing for.
    pub fn is_used_up(&self) -> Result<()> {
        let tcp = self.tcp.iter().map(|(address, _)| address.to_string());
        let unix = self
            .unix
            .iter()
            .map(|(path, _)| format!("unix:{}", path.display()));
        let mut unused = tcp.chain(unix);
        match unused.next() {
            None => Ok(()),
            Some(address) => Err(anyhow!(
                "the service manager has opened {address}, but no [[listener]] or [[http]] has that address: add \
                 one to the configuration, or remove it from the socket unit (ListenStream=)"
            )),
        }
    }
}
