//! Listening sockets.

use std::fs::Permissions;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// Of a unix socket: owner and group may connect.
const SOCKET_MODE: u32 = 0o660;

/// Listens at an address; an IPv6 address takes IPv6 only, so that each line of configuration is
/// one socket. It does not block.
///
/// `beside` are addresses that this process listens at already: one of them may be a part of this one (`127.0.0.1:25` of
/// `0.0.0.0:25`), or the other way round; a connection then goes to the socket whose address is the closer one.
///
/// # Errors
/// When the address is in use, not ours, or the port needs a right that is missing.
pub fn bind(address: SocketAddr, beside: &[SocketAddr]) -> io::Result<TcpListener> {
    let is_shared = beside.iter().any(|other| overlap(address, *other));
    if !is_shared && address.port() != 0 {
        // Sockets that may share an address do so with those of another server of the same user, too: without the
        // option they cannot.
        open(address, false)?;
    }
    let socket = open(address, true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Listens at a unix socket, which its owner and its group may connect to (mode 0660). It does not block. A socket that
/// was left there is replaced if nobody listens at it.
///
/// # Errors
/// When somebody listens there ([`io::ErrorKind::AddrInUse`]), something else than a socket is there
/// ([`io::ErrorKind::AlreadyExists`]), or the directory may not be written in.
pub fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let why = "a file that is not a socket is there";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        Ok(_) => match ask_unix(path) {
            Ok(()) => return Err(io::ErrorKind::AddrInUse.into()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
            }
            Err(error) => return Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Nobody can connect before it listens.
    std::fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether somebody listens; without waiting for a place in its queue.
fn ask_unix(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

/// Whether one address is a part of the other.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_whole = |a: SocketAddr, b: SocketAddr| {
        a.ip().is_unspecified() && (a.is_ipv6() || a.is_ipv4() == b.is_ipv4())
    };
    one.port() == other.port() && one != other && (is_whole(one, other) || is_whole(other, one))
}

fn open(address: SocketAddr, shares: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shares)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
