//! The client behind a proxy, as the proxy names it (the PROXY protocol, versions 1 and 2).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The longest header that is read: version 1 has 107 octets, version 2 may carry more.
const HEADER_MAX: usize = 2048;

/// Why nobody knows for whom a proxy has connected.
#[derive(Debug, thiserror::Error)]
pub enum NotProxied {
    /// It says nothing in time.
    #[error("no PROXY protocol header arrived")]
    Late,
    /// It says something else.
    #[error("it sent no PROXY protocol header")]
    NoHeader,
    /// The connection has ended.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads the header that a proxy puts in front of a connection, and no octet more. The address of
/// the client; `None` when the proxy speaks for itself, as in a check of health.
///
/// # Errors
/// When no header comes within `wait`, or what comes is none.
pub async fn proxied(
    tcp: &mut TcpStream,
    wait: Duration,
) -> Result<Option<SocketAddr>, NotProxied> {
    tokio::time::timeout(wait, read(tcp))
        .await
        .unwrap_or(Err(NotProxied::Late))
}

async fn read(tcp: &mut TcpStream) -> Result<Option<SocketAddr>, NotProxied> {
    let mut header = Vec::with_capacity(128);
    loop {
        // One octet at a time keeps whatever follows the header, perhaps a TLS handshake, in the
        // socket. It happens once a connection, for a few dozen octets.
        header.push(tcp.read_u8().await?);
        match ProxyHeader::parse(&header, ParseConfig::default()) {
            Ok((found, _)) => return Ok(found.proxied_address().map(|a| a.source)),
            Err(Error::BufferTooShort) if header.len() < HEADER_MAX => {}
            Err(_) => return Err(NotProxied::NoHeader),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    async fn read_of(sent: &[u8]) -> (Result<Option<SocketAddr>, String>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        client.write_all(sent).await.unwrap();
        drop(client);
        let found = proxied(&mut server, Duration::from_secs(60)).await;
        let found = found.map_err(|e| e.to_string());
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        (found, rest)
    }

    #[tokio::test]
    async fn both_versions_are_read_and_nothing_behind_them() {
        let one = b"PROXY TCP6 2001:db8::1 2001:db8::2 52953 25\r\nEHLO x\r\n";
        let client = "[2001:db8::1]:52953".parse().unwrap();
        assert_eq!(
            read_of(one).await,
            (Ok(Some(client)), b"EHLO x\r\n".to_vec())
        );
        let mut two = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        two.extend_from_slice(&[192, 0, 2, 7, 127, 0, 0, 1, 0x10, 0, 0, 25]);
        two.extend_from_slice(b"rest");
        let client = "192.0.2.7:4096".parse().unwrap();
        assert_eq!(read_of(&two).await, (Ok(Some(client)), b"rest".to_vec()));
        let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0";
        assert_eq!(read_of(local).await.0, Ok(None));
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        for wrong in [&b"EHLO x\r\n"[..], b"PROXY TCP4 nobody\r\n", b"PROXY", b""] {
            assert!(read_of(wrong).await.0.is_err());
        }
    }
}
