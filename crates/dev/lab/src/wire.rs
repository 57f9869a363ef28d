//! The octets of one connection: lines and contents out of reads, replies gathered into writes.
//!
//! Replies are written only when the client's next octets are waited for, so a pipelining client
//! gets them in one segment.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::record::{Chunk, Connection, Line};
use crate::scram::{EXPORTED, exported};

/// Octets that a read may give at most.
const READ_MAX: usize = 256 << 10;
/// A client's line may not be longer.
const LINE_MAX: usize = 64 << 10;

pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A stream that is not yet, or is, inside TLS.
enum Stream {
    Plain(TcpStream),
    Tls(Box<dyn Duplex>),
    Gone,
}

pub(crate) struct Wire {
    stream: Stream,
    input: BytesMut,
    output: Vec<u8>,
    /// What names the connection inside TLS.
    exported: Option<[u8; EXPORTED]>,
    record: Option<Arc<Mutex<Connection>>>,
    chunk: usize,
}

impl Wire {
    pub(crate) fn new(tcp: TcpStream, record: Option<Arc<Mutex<Connection>>>) -> Self {
        Self {
            stream: Stream::Plain(tcp),
            input: BytesMut::new(),
            output: Vec::new(),
            exported: None,
            record,
            chunk: 0,
        }
    }

    pub(crate) fn tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// What names the connection inside TLS.
    pub(crate) fn exported(&self) -> &[u8] {
        self.exported
            .as_ref()
            .map_or(&[], <[u8; EXPORTED]>::as_slice)
    }

    /// Shakes hands; what the client sent ahead is thrown away.
    pub(crate) async fn start_tls(&mut self, acceptor: &TlsAcceptor) -> io::Result<()> {
        self.flush().await?;
        self.input.clear();
        match std::mem::replace(&mut self.stream, Stream::Gone) {
            Stream::Plain(tcp) => {
                let tls = acceptor.accept(tcp).await?;
                self.exported = exported(tls.get_ref().1);
                self.stream = Stream::Tls(Box::new(tls));
                Ok(())
            }
            Stream::Tls(_) | Stream::Gone => Err(io::Error::other("TLS inside TLS")),
        }
    }

    /// The length of the TLS record that the client sends next, which stays unread.
    pub(crate) async fn next_record(&mut self) -> io::Result<u16> {
        self.flush().await?;
        let Stream::Plain(tcp) = &self.stream else {
            return Err(io::Error::other("TLS inside TLS"));
        };
        let mut head = [0; 5];
        loop {
            tcp.readable().await?;
            match tcp.peek(&mut head).await? {
                5 => return Ok(u16::from_be_bytes([head[3], head[4]])),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => tokio::task::yield_now().await,
            }
        }
    }

    /// Adds a reply: lines without their ends.
    pub(crate) fn put(&mut self, reply: &str) {
        for line in reply.split('\n') {
            self.output.extend_from_slice(line.trim_end().as_bytes());
            self.output.extend_from_slice(b"\r\n");
        }
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let output = std::mem::take(&mut self.output);
        match &mut self.stream {
            Stream::Plain(s) => s.write_all(&output).await,
            Stream::Tls(s) => {
                s.write_all(&output).await?;
                s.flush().await
            }
            Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The next line without its end; `None` at the end of the stream.
    pub(crate) async fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.input) {
                let line = self.input.split_to(end + 1);
                let line = String::from_utf8_lossy(&line);
                let text = line.trim_end_matches(['\r', '\n']).to_owned();
                self.note_line(&text);
                return Ok(Some(text));
            }
            if self.input.len() > LINE_MAX {
                return Err(io::Error::other("a line without end"));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// So many octets; `None` when the stream ends before.
    pub(crate) async fn octets(&mut self, count: usize) -> io::Result<Option<Bytes>> {
        while self.input.len() < count {
            if !self.fill().await? {
                return Ok(None);
            }
        }
        Ok(Some(self.input.split_to(count).freeze()))
    }

    /// Everything up to the line that is a dot; `None` when the stream ends before.
    pub(crate) async fn dotted(&mut self) -> io::Result<Option<Bytes>> {
        let mut searched = 0;
        loop {
            if self.input.starts_with(b".\r\n") {
                drop(self.input.split_to(3));
                return Ok(Some(Bytes::new()));
            }
            let rest = self.input.get(searched..).unwrap_or_default();
            if let Some(at) = memmem::find(rest, b"\r\n.\r\n") {
                let content = self.input.split_to(searched + at + 2).freeze();
                drop(self.input.split_to(3));
                return Ok(Some(unstuffed(content)));
            }
            searched = self.input.len().saturating_sub(4);
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Reads and forgets until the client goes away.
    pub(crate) async fn drain(&mut self) -> io::Result<()> {
        while self.fill().await? {
            self.input.clear();
        }
        Ok(())
    }

    async fn fill(&mut self) -> io::Result<bool> {
        self.flush().await?;
        let before = self.input.len();
        self.input.reserve(16 << 10);
        let mut limited = bytes::BufMut::limit(&mut self.input, READ_MAX);
        let read = match &mut self.stream {
            Stream::Plain(s) => s.read_buf(&mut limited).await?,
            Stream::Tls(s) => s.read_buf(&mut limited).await?,
            Stream::Gone => 0,
        };
        if let Some(record) = &self.record {
            let new = self.input.get(before..).unwrap_or_default();
            let start = new.get(..new.len().min(Chunk::KEPT_MAX)).unwrap_or(new);
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            self.chunk = record.chunks.len();
            record.chunks.push(Chunk {
                start: Bytes::copy_from_slice(start),
                size: read,
                at: Instant::now(),
            });
        }
        Ok(read > 0)
    }

    fn note_line(&self, text: &str) {
        if let Some(record) = &self.record {
            let line = Line {
                text: text.to_owned(),
                chunk: self.chunk,
                tls: self.tls(),
                at: Instant::now(),
            };
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            record.lines.push(line);
        }
    }
}

/// Takes the first of the dots away that begin a line (RFC 5321 §4.5.2).
fn unstuffed(content: Bytes) -> Bytes {
    if !content.starts_with(b".") && memmem::find(&content, b"\r\n.").is_none() {
        return content;
    }
    let mut out = BytesMut::with_capacity(content.len());
    let mut rest = content.strip_prefix(b".").unwrap_or(&content);
    while let Some(at) = memmem::find(rest, b"\r\n.") {
        let (line, dot) = rest.split_at(at + 2);
        out.extend_from_slice(line);
        rest = dot.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_dot_of_a_line_is_taken_away() {
        let check = |stuffed: &'static [u8], expected: &[u8]| {
            assert_eq!(unstuffed(Bytes::from_static(stuffed)), expected);
        };
        check(b"a\r\nb\r\n", b"a\r\nb\r\n");
        check(b"..\r\n...\r\n.a.\r\n", b".\r\n..\r\na.\r\n");
        check(b"a\n.\nb\r\n", b"a\n.\nb\r\n");
    }
}
