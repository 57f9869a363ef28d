//! Connecting to a host that has several addresses: raced, so that a dead one costs a moment
//! and not a time-out (RFC 8305).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::egress::{Blocked, Path, open};

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
    /// Ways (by their place) of which our own end is of no use, with the reason.
    pub broken: Vec<(usize, String)>,
}

/// A connection, and how it came about.
#[derive(Debug)]
pub struct Connected {
    /// The connection; perhaps with a proxy, which hands on to the host.
    pub tcp: TcpStream,
    /// The host.
    pub peer: SocketAddr,
    /// The way (by its place) that was taken.
    pub path: usize,
    /// As in [`ConnectError`].
    pub broken: Vec<(usize, String)>,
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
    let paths: Vec<Path> = addresses.iter().copied().map(Path::from).collect();
    connect_by(&paths, port, limit).await.map(|c| c.tcp)
}

/// Connects by the first of these ways that leads to an answer.
///
/// # Errors
/// When none does within `limit`.
pub async fn connect_by(
    paths: &[Path],
    port: u16,
    limit: Duration,
) -> Result<Connected, ConnectError> {
    let mut waiting = interleave(paths).into_iter();
    let end = Instant::now() + limit;
    let mut races: JoinSet<(usize, SocketAddr, Result<TcpStream, Blocked>)> = JoinSet::new();
    let mut failures: Vec<String> = Vec::new();
    let mut broken: Vec<(usize, String)> = Vec::new();
    let mut last = None;
    let mut next_start = Instant::now();
    let mut more = true;
    let why = loop {
        if more && Instant::now() >= next_start {
            match waiting
                .next()
                .and_then(|n| Some((n, paths.get(n)?.clone())))
            {
                Some((place, path)) => {
                    let to = SocketAddr::new(path.to, port);
                    last = Some(to);
                    races.spawn(async move { (place, to, open_in_time(&path, port).await) });
                    next_start = Instant::now() + HEAD_START;
                }
                None => more = false,
            }
        }
        if races.is_empty() && !more {
            break failures.join("; ");
        }
        tokio::select! {
            ended = races.join_next(), if !races.is_empty() => match ended {
                Some(Ok((path, peer, Ok(tcp)))) => {
                    return Ok(Connected { tcp, peer, path, broken });
                }
                Some(Ok((place, to, Err(blocked)))) => {
                    let why = match blocked {
                        Blocked::Ours(why) => {
                            broken.push((place, why.clone()));
                            why
                        }
                        Blocked::There(error) => plain(&error),
                        Blocked::BySocks(why) => why.to_owned(),
                    };
                    failures.push(format!("{to}: {why}"));
                    next_start = Instant::now();
                }
                Some(Err(_)) | None => next_start = Instant::now(),
            },
            () = sleep_until(next_start), if more => {}
            () = sleep_until(end) => {
                let seconds = limit.as_secs();
                failures.push(format!("connection timed out: no answer within {seconds} s"));
                break failures.join("; ");
            }
        }
    };
    Err(ConnectError {
        why,
        address: last,
        broken,
    })
}

async fn open_in_time(path: &Path, port: u16) -> Result<TcpStream, Blocked> {
    // The kernel's own limit is minutes longer than any that is configured here.
    let limit = Instant::now() + Duration::from_secs(130);
    timeout_at(limit, open(path, port))
        .await
        .unwrap_or_else(|_| Err(Blocked::There(std::io::ErrorKind::TimedOut.into())))
}

/// An error in the words that an administrator searches for, without the platform's number.
fn plain(error: &std::io::Error) -> String {
    let known = [
        (std::io::ErrorKind::ConnectionRefused, "connection refused"),
        (std::io::ErrorKind::TimedOut, "connection timed out"),
        (
            std::io::ErrorKind::NetworkUnreachable,
            "network unreachable",
        ),
        (std::io::ErrorKind::HostUnreachable, "host unreachable"),
    ];
    let plain = known.iter().find(|(kind, _)| *kind == error.kind());
    plain.map_or_else(|| error.to_string(), |(_, words)| (*words).to_owned())
}

/// IPv6 first, then the families in turn (RFC 8305 §4): the places of the ways.
fn interleave(paths: &[Path]) -> Vec<usize> {
    let places = 0..paths.len();
    let is_v6 = |place: &usize| paths.get(*place).is_some_and(|p| p.to.is_ipv6());
    let (v6, v4): (Vec<usize>, Vec<usize>) = places.partition(is_v6);
    let mut order = Vec::with_capacity(paths.len());
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

    fn to(text: &str) -> Path {
        Path::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn families_take_turns_and_ipv6_begins() {
        let paths = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(to);
        assert_eq!(interleave(&paths), [2, 0, 1]);
    }

    #[tokio::test]
    async fn an_address_that_is_not_ours_is_told_from_a_host_that_is_not_there() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let from = |text: &str| Path {
            from: text.parse().ok(),
            ..to("127.0.0.1")
        };
        let limit = Duration::from_secs(30);
        let paths = [from("192.0.2.1"), from("127.0.0.9")];
        let connected = connect_by(&paths, port, limit).await.unwrap();
        assert_eq!(connected.path, 1);
        assert_eq!(connected.broken.len(), 1);
        let (_, seen) = listener.accept().await.unwrap();
        assert_eq!(seen.ip().to_string(), "127.0.0.9");
        drop(listener);
        let error = connect_by(&paths, port, limit).await.unwrap_err();
        assert_eq!(error.broken.first().map(|(place, _)| *place), Some(0));
        assert!(error.why.contains("connection refused"), "{error}");
    }
}
