//! An address that answers no connection at all, as behind a firewall that drops packets.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};

use crate::runtime::runtime;

/// Connections that may fit into the shortest queue there is.
const FILL_MAX: usize = 16;
/// A connection that the system takes up is taken up within this time.
const ANSWER: Duration = Duration::from_millis(150);

/// A listener whose queue is full: further connections hang until the client gives up.
#[derive(Debug)]
pub struct Blackhole {
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Blackhole {
    /// Swallows connections to an address.
    ///
    /// # Errors
    /// When the address cannot be bound, or goes on answering.
    pub fn on(address: SocketAddr) -> io::Result<Self> {
        let listener = {
            let _inside = runtime().enter();
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(1)?
        };
        let mut queue = Vec::new();
        while queue.len() < FILL_MAX {
            match TcpStream::connect_timeout(&address, ANSWER) {
                Ok(stream) => queue.push(stream),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Ok(Self {
                        _listener: listener,
                        _queue: queue,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("the address goes on answering"))
    }
}
