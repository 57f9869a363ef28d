//! A connection in clear or under TLS, on either side.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::ProtocolVersion;
use smtp::sasl::{Binding, BindingKind};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{client, server};

use crate::end_point;

/// The label of keys that name a connection (RFC 9266 §2).
const EXPORTER: &[u8] = b"EXPORTER-Channel-Binding";

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// In clear.
    Plain(TcpStream),
    /// TLS, we are the client.
    Client(Box<client::TlsStream<TcpStream>>),
    /// TLS, we are the server.
    Server(Box<server::TlsStream<TcpStream>>),
    /// A socket of this computer, in clear.
    Local(UnixStream),
}

impl Stream {
    /// The socket below.
    pub(crate) fn socket(&self) -> SockRef<'_> {
        match self {
            Self::Plain(tcp) => SockRef::from(tcp),
            Self::Client(tls) => SockRef::from(tls.get_ref().0),
            Self::Server(tls) => SockRef::from(tls.get_ref().0),
            Self::Local(local) => SockRef::from(local),
        }
    }

    /// What a login can be bound to on this connection, the best first: keys of the connection in TLS 1.3
    /// (RFC 9266), and where we are the client, the certificate that the server has shown (RFC 5929 §4).
    /// There is no `tls-unique`: TLS 1.3 has none, and in TLS 1.2 it is not safe everywhere.
    #[must_use]
    pub fn bindings(&self) -> Vec<Binding> {
        let (version, exported, certificate) = match self {
            Self::Plain(_) | Self::Local(_) => return Vec::new(),
            Self::Client(tls) => {
                let tls = tls.get_ref().1;
                let exported = tls.export_keying_material([0; 32], EXPORTER, Some(&[]));
                let certificate = tls.peer_certificates().and_then(<[_]>::first);
                (tls.protocol_version(), exported, certificate)
            }
            Self::Server(tls) => {
                let tls = tls.get_ref().1;
                let exported = tls.export_keying_material([0; 32], EXPORTER, Some(&[]));
                (tls.protocol_version(), exported, None)
            }
        };
        let is_safe = version == Some(ProtocolVersion::TLSv1_3);
        let exported: Option<[u8; 32]> = exported.ok().filter(|_| is_safe);
        let of = |kind| move |data| Binding { kind, data };
        let exported = exported.map(Vec::from).map(of(BindingKind::TlsExporter));
        let end_point = certificate.and_then(|c| end_point::end_point(c));
        let end_point = end_point.map(of(BindingKind::TlsServerEndPoint));
        exported.into_iter().chain(end_point).collect()
    }

    /// Whether several slices at once are of use.
    pub(crate) const fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_) | Self::Local(_))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Self::Client(s) => Pin::new(s).poll_read(cx, buf),
            Self::Server(s) => Pin::new(s).poll_read(cx, buf),
            Self::Local(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Self::Client(s) => Pin::new(s).poll_write(cx, buf),
            Self::Server(s) => Pin::new(s).poll_write(cx, buf),
            Self::Local(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Self::Client(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Self::Server(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Self::Local(s) => Pin::new(s).poll_write_vectored(cx, bufs),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_flush(cx),
            Self::Client(s) => Pin::new(s).poll_flush(cx),
            Self::Server(s) => Pin::new(s).poll_flush(cx),
            Self::Local(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Self::Client(s) => Pin::new(s).poll_shutdown(cx),
            Self::Server(s) => Pin::new(s).poll_shutdown(cx),
            Self::Local(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}
