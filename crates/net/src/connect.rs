//! Connecting to a host that has several addresses: raced, so that a dead one costs a moment
//! and not a time-out (RFC 8305).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

/// How long one address is alone before the next is tried beside it (RFC 8305 §8).
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses tried for one host at the most.
const ADDRESSES_MAX: usize = 8;

/// No address of the host could be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct ConnectError {
    /// What went wrong, for each address.
    pub why: String,
    /// The address tried last.
    pub address: Option<SocketAddr>,
}

/// Connects to the first of the addresses that answers.
///
/// # Errors
/// When none does within `limit`.
pub async fn connect(
    addresses: &[IpAddr],
    port: u16,
    limit: Duration,
) -> Result<TcpStream, ConnectError> {
    let mut waiting = interleave(addresses)
        .into_iter()
        .map(|ip| SocketAddr::new(ip, port));
    let end = Instant::now() + limit;
    let mut races: JoinSet<(SocketAddr, std::io::Result<TcpStream>)> = JoinSet::new();
    let mut failures: Vec<String> = Vec::new();
    let mut last = None;
    let mut next_start = Instant::now();
    let mut more = true;
    loop {
        if more && Instant::now() >= next_start {
            match waiting.next() {
                Some(address) => {
                    last = Some(address);
                    races.spawn(async move { (address, open(address).await) });
                    next_start = Instant::now() + HEAD_START;
                }
                None => more = false,
            }
        }
        if races.is_empty() && !more {
            return Err(ConnectError {
                why: failures.join("; "),
                address: last,
            });
        }
        tokio::select! {
            ended = races.join_next(), if !races.is_empty() => match ended {
                Some(Ok((_, Ok(stream)))) => return Ok(stream),
                Some(Ok((address, Err(error)))) => {
                    failures.push(format!("{address}: {}", plain(&error)));
                    next_start = Instant::now();
                }
                Some(Err(_)) | None => next_start = Instant::now(),
            },
            () = sleep_until(next_start), if more => {}
            () = sleep_until(end) => {
                let seconds = limit.as_secs();
                failures.push(format!("no answer to the connection within {seconds} s"));
                return Err(ConnectError { why: failures.join("; "), address: last });
            }
        }
    }
}

async fn open(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_nodelay(true)?;
    // The kernel's own limit is minutes longer than any that is configured here.
    match timeout_at(
        Instant::now() + Duration::from_secs(130),
        socket.connect(address),
    )
    .await
    {
        Ok(result) => result,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}

/// An error in the words that an administrator searches for, without the platform's number.
fn plain(error: &std::io::Error) -> String {
    let known = [
        (std::io::ErrorKind::ConnectionRefused, "connection refused"),
        (std::io::ErrorKind::TimedOut, "no answer to the connection"),
        (
            std::io::ErrorKind::NetworkUnreachable,
            "network unreachable",
        ),
        (std::io::ErrorKind::HostUnreachable, "host unreachable"),
    ];
    let plain = known.iter().find(|(kind, _)| *kind == error.kind());
    plain.map_or_else(|| error.to_string(), |(_, words)| (*words).to_owned())
}

/// IPv6 first, then the families in turn (RFC 8305 §4).
fn interleave(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let (v6, v4): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|ip| ip.is_ipv6());
    let mut order = Vec::with_capacity(addresses.len());
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    loop {
        let pair = [v6.next(), v4.next()];
        if pair == [None, None] {
            break;
        }
        order.extend(pair.into_iter().flatten());
    }
    order.truncate(ADDRESSES_MAX);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_ipv6_begins() {
        let ips = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(|t| t.parse().unwrap());
        let order: Vec<String> = interleave(&ips).iter().map(ToString::to_string).collect();
        assert_eq!(order, ["2001:db8::1", "192.0.2.1", "192.0.2.2"]);
    }
}
