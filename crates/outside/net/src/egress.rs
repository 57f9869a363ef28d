//! By which way a connection leaves: from an address of this computer, or by a proxy elsewhere that
//! sends from an address of its own (SOCKS5, RFC 1928; the PROXY protocol, version 2).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use proxy_header::{ProxiedAddress, ProxyHeader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// One way to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The host's address.
    pub to: IpAddr,
    /// Our address that the host is to see; `None`: the system chooses.
    pub from: Option<IpAddr>,
    /// Who connects in our place; then `from` is an address of theirs.
    pub proxy: Option<Arc<Proxy>>,
}

impl From<IpAddr> for Path {
    fn from(to: IpAddr) -> Self {
        Self {
            to,
            from: None,
            proxy: None,
        }
    }
}

/// A server that connects in our place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it is spoken to in.
    pub protocol: ProxyProtocol,
}

/// How a proxy learns where to connect to.
#[derive(Clone, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// SOCKS5, with a login where one is given (RFC 1929). From where it connects is its own affair.
    Socks5(Option<(String, String)>),
    /// A header of the PROXY protocol in front of the connection, with the address to connect from and
    /// that to connect to.
    Proxy,
}

impl std::fmt::Debug for ProxyProtocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socks5(None) => f.write_str("Socks5"),
            Self::Socks5(Some((user, _))) => write!(f, "Socks5(login {user})"),
            Self::Proxy => f.write_str("Proxy"),
        }
    }
}

/// Why a way could not be taken.
#[derive(Debug)]
pub(crate) enum Blocked {
    /// Our end of it is of no use: the address is not ours, the proxy does not answer.
    Ours(String),
    /// The host is not reached by it.
    There(io::Error),
    /// The proxy says so.
    BySocks(&'static str),
}

/// Connects by this way.
pub(crate) async fn open(path: &Path, port: u16) -> Result<TcpStream, Blocked> {
    let to = SocketAddr::new(path.to, port);
    let Some(proxy) = &path.proxy else {
        let socket = socket(to).map_err(Blocked::There)?;
        if let Some(from) = path.from {
            // Local ports are shared among connections to different hosts, or they would run out.
            let bound = socket
                .set_reuseaddr(true)
                .and_then(|()| socket.bind(SocketAddr::new(from, 0)));
            bound.map_err(|e| Blocked::Ours(format!("cannot bind to {from}: {e}")))?;
        }
        return socket.connect(to).await.map_err(Blocked::There);
    };
    let unusable = |e: io::Error| Blocked::Ours(format!("the proxy {}: {e}", proxy.address));
    let socket = socket(proxy.address).map_err(unusable)?;
    let mut tcp = socket.connect(proxy.address).await.map_err(unusable)?;
    match &proxy.protocol {
        ProxyProtocol::Socks5(login) => socks(&mut tcp, login.as_ref(), to)
            .await
            .map_err(unusable)?
            .map_err(Blocked::BySocks)?,
        ProxyProtocol::Proxy => {
            let from = path.from.unwrap_or_else(|| to.ip());
            let address = ProxiedAddress::stream(SocketAddr::new(from, 0), to);
            let mut header = Vec::with_capacity(64);
            let written = ProxyHeader::with_address(address).encode_v2(&mut header);
            written.map_err(|e| unusable(io::Error::other(e.to_string())))?;
            tcp.write_all(&header).await.map_err(unusable)?;
        }
    }
    Ok(tcp)
}

fn socket(to: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    Ok(socket)
}

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const LOGIN: u8 = 2;

/// Asks a SOCKS5 server to connect (RFC 1928 §3, §4). An error is the proxy's; within, why it does not
/// reach the host.
async fn socks(
    tcp: &mut TcpStream,
    login: Option<&(String, String)>,
    to: SocketAddr,
) -> io::Result<Result<(), &'static str>> {
    let method = if login.is_some() { LOGIN } else { NO_LOGIN };
    tcp.write_all(&[VERSION, 1, method]).await?;
    match (read::<2>(tcp).await?, login) {
        ([VERSION, NO_LOGIN], None) => {}
        ([VERSION, LOGIN], Some((user, password))) => {
            let mut ask = vec![1];
            for text in [user, password] {
                let length = u8::try_from(text.len()).map_err(io::Error::other)?;
                ask.push(length);
                ask.extend_from_slice(text.as_bytes());
            }
            tcp.write_all(&ask).await?;
            let [_, status] = read::<2>(tcp).await?;
            if status != 0 {
                return Err(io::Error::other("it refused the login"));
            }
        }
        ([VERSION, _], _) => {
            let what = match login {
                Some(_) => "it does not support logins with user and password",
                None => "it requires a login",
            };
            return Err(io::Error::other(what));
        }
        _ => return Err(io::Error::other("it does not speak SOCKS5")),
    }
    let mut ask = vec![VERSION, 1, 0];
    match to.ip() {
        IpAddr::V4(ip) => {
            ask.push(1);
            ask.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            ask.push(4);
            ask.extend_from_slice(&ip.octets());
        }
    }
    ask.extend_from_slice(&to.port().to_be_bytes());
    tcp.write_all(&ask).await?;
    let [version, reply, _, kind] = read::<4>(tcp).await?;
    if version != VERSION {
        return Err(io::Error::other("it does not speak SOCKS5"));
    }
    // The address that it connected from is of no use to us, but stands before the host's greeting.
    let rest = match kind {
        1 => 4 + 2,
        4 => 16 + 2,
        3 => usize::from(tcp.read_u8().await?) + 2,
        _ => return Err(io::Error::other("its answer contains no address")),
    };
    let mut bound = [0; 257];
    if let Some(bound) = bound.get_mut(..rest) {
        tcp.read_exact(bound).await?;
    }
    Ok(match reply {
        0 => Ok(()),
        1 => Err("the proxy could not connect"),
        2 => Err("the rules of the proxy do not allow this connection"),
        3 => Err("network unreachable from the proxy"),
        4 => Err("host unreachable from the proxy"),
        5 => Err("connection refused"),
        6 => Err("the connection of the proxy timed out"),
        _ => return Err(io::Error::other(format!("it failed (SOCKS reply {reply})"))),
    })
}

async fn read<const N: usize>(tcp: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut octets = [0; N];
    tcp.read_exact(&mut octets).await?;
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A proxy that answers in turn, and what it was told.
    async fn proxied(
        protocol: ProxyProtocol,
        to: &str,
        answers: Vec<(usize, Vec<u8>)>,
    ) -> (Result<(), String>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut heard = Vec::new();
            for (length, answer) in answers {
                let mut part = vec![0; length];
                tcp.read_exact(&mut part).await.unwrap();
                heard.extend(part);
                tcp.write_all(&answer).await.unwrap();
            }
            heard
        });
        let path = Path {
            to: to.parse().unwrap(),
            from: "192.0.2.7".parse().ok(),
            proxy: Some(Arc::new(Proxy { address, protocol })),
        };
        let opened = match open(&path, 25).await {
            Ok(mut tcp) => {
                let mut greeting = Vec::new();
                tcp.read_to_end(&mut greeting).await.unwrap();
                assert!(greeting.is_empty() || greeting == b"220 mx\r\n");
                Ok(())
            }
            Err(Blocked::Ours(why)) => Err(format!("ours: {why}")),
            Err(Blocked::BySocks(why)) => Err(why.to_owned()),
            Err(Blocked::There(error)) => Err(error.to_string()),
        };
        (opened, server.await.unwrap())
    }

    #[tokio::test]
    async fn socks_is_spoken_with_a_login_and_without() {
        let connected = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x10\x00220 mx\r\n".to_vec();
        let (opened, heard) = proxied(
            ProxyProtocol::Socks5(None),
            "198.51.100.2",
            vec![(3, vec![5, 0]), (10, connected.clone())],
        )
        .await;
        assert_eq!(opened, Ok(()));
        assert_eq!(
            heard,
            b"\x05\x01\x00\x05\x01\x00\x01\xc6\x33\x64\x02\x00\x19"
        );
        let login = Some(("me".to_owned(), "secret".to_owned()));
        let (opened, heard) = proxied(
            ProxyProtocol::Socks5(login),
            "2001:db8::1",
            vec![(3, vec![5, 2]), (11, vec![1, 0]), (22, connected)],
        )
        .await;
        assert_eq!(opened, Ok(()));
        assert!(heard.starts_with(b"\x05\x01\x02\x01\x02me\x06secret\x05\x01\x00\x04\x20\x01"));
    }

    #[tokio::test]
    async fn what_is_wrong_with_the_proxy_is_told_from_what_is_wrong_behind_it() {
        let refused = b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
        let cases = [
            (vec![(3, vec![5, 0]), (10, refused)], "connection refused"),
            (vec![(3, vec![5, 255])], "it requires a login"),
            (
                vec![(3, b"HTTP/1.1 400\r\n".to_vec())],
                "does not speak SOCKS5",
            ),
            (vec![(3, Vec::new())], "ours: the proxy"),
        ];
        for (answers, expected) in cases {
            let (opened, _) = proxied(ProxyProtocol::Socks5(None), "192.0.2.1", answers).await;
            let why = opened.unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }

    #[tokio::test]
    async fn the_proxy_protocol_names_both_ends() {
        let (opened, heard) =
            proxied(ProxyProtocol::Proxy, "198.51.100.2", vec![(28, vec![])]).await;
        assert_eq!(opened, Ok(()));
        let mut expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        expected.extend_from_slice(&[192, 0, 2, 7, 198, 51, 100, 2, 0, 0, 0, 25]);
        assert_eq!(heard, expected);
    }
}
