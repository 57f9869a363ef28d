//! The listening sockets: those that a service manager has opened for the server (`LISTEN_FDS`),
//! matched to the configuration by their address, and those that the server opens itself.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result, anyhow};
use listenfd::ListenFd;

/// What to say, and what to look for, when an address cannot be listened at.
pub(crate) fn cannot_listen(address: SocketAddr, key: &str) -> String {
    format!(
        "cannot listen at {address} ({key}): is another program, or another sendoff, there (`ss -ltnp`), \
         is it an address of this computer, and may this user open the port"
    )
}

/// The sockets of these addresses, in their order.
pub(crate) fn open(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    let mut given = given()?;
    let mut sockets = Vec::with_capacity(addresses.len());
    for address in addresses {
        let place = given.iter().position(|(a, _)| a == address);
        sockets.push(match place {
            Some(place) => given.swap_remove(place).1,
            None => {
                let opened = addresses.get(..sockets.len()).unwrap_or_default();
                let bound = net::bind(*address, opened);
                bound.with_context(|| cannot_listen(*address, "listener.address"))?
            }
        });
    }
    match given.first() {
        None => Ok(sockets),
        Some((address, _)) => Err(anyhow!(
            "the service manager has opened {address}, and no [[listener]] has that address: add \
             one to the configuration, or take it out of the socket unit (ListenStream=)"
        )),
    }
}

/// The sockets that the service manager has opened, each with its address.
fn given() -> Result<Vec<(SocketAddr, TcpListener)>> {
    let mut listed = ListenFd::from_env();
    let mut sockets = Vec::with_capacity(listed.len());
    for number in 0..listed.len() {
        let what = "a socket that the service manager has opened is none of TCP (ListenStream=)";
        let Some(socket) = listed.take_tcp_listener(number).context(what)? else {
            continue;
        };
        socket.set_nonblocking(true)?;
        let address = socket.local_addr().context(what)?;
        sockets.push((address, socket));
    }
    Ok(sockets)
}
