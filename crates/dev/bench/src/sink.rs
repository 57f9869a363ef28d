//! A sink: takes every mail as fast as it can and keeps nothing of it but when it came.
//!
//! One thread, one port, any address of loopback. It speaks enough SMTP to be sent to in the way
//! that costs a server least: PIPELINING, CHUNKING, 8BITMIME and SIZE.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use memchr::{memchr, memmem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::content::{Arrived, arrived};
use crate::tally::{Moment, Tally};

/// Connections that wait to be taken.
const BACKLOG: u32 = 4096;
/// What is read at once.
const READ: usize = 128 * 1024;

const GREETING: &[u8] = b"220 sink.bench.test ESMTP\r\n";
const EHLO: &[u8] = b"250-sink.bench.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n\
    250-SIZE 104857600\r\n250-CHUNKING\r\n250 ENHANCEDSTATUSCODES\r\n";

/// Where arrivals are noted. Runs follow each other; each puts a tally of its own here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board(Arc<Mutex<Option<Arc<Tally>>>>);

impl Board {
    /// Arrivals belong to this run from now on.
    pub(crate) fn put(&self, tally: Arc<Tally>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(tally);
    }

    fn note(&self, mail: Option<Arrived>) {
        let tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(tally), Some(mail)) = (&*tally, mail) {
            if mail.signed {
                tally.note_signed(mail.number);
            }
            tally.note(mail.number, Moment::Delivered);
        }
    }
}

/// A running sink.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) port: u16,
    /// The number by which the system knows its thread.
    pub(crate) thread: i32,
}

impl Sink {
    /// Starts one in a thread of its own, at every address of this computer; port 0 is any.
    pub(crate) fn start(port: u16, board: Board) -> Result<Self> {
        let (told, hears) = std::sync::mpsc::channel();
        thread::Builder::new()
            .name("sink".to_owned())
            .spawn(move || {
                let runtime = match tokio::runtime::Builder::new_current_thread()
                    .enable_io()
                    .build()
                {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(told.send(Err(error))),
                };
                runtime.block_on(async {
                    let listener = match listen(port) {
                        Ok(listener) => listener,
                        Err(error) => return drop(told.send(Err(error))),
                    };
                    let port = listener.local_addr().map(|a| a.port());
                    let thread = rustix::thread::gettid().as_raw_nonzero().get();
                    drop(told.send(port.map(|port| (port, thread))));
                    accept(&listener, &board).await;
                });
            })
            .context("starting the sink")?;
        let (port, thread) = hears.recv().context("the sink's thread")??;
        Ok(Self { port, thread })
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::V4(SocketAddrV4::new(
        Ipv4Addr::UNSPECIFIED,
        port,
    )))?;
    socket.listen(BACKLOG)
}

async fn accept(listener: &TcpListener, board: &Board) {
    loop {
        // A connection that could not be taken is its client's trouble.
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let board = board.clone();
        tokio::spawn(async move {
            // A lost connection ends it as QUIT does; what is missing shows in the tally.
            drop(serve(stream, &board).await);
        });
    }
}

async fn serve(mut stream: TcpStream, board: &Board) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(GREETING).await?;
    let mut peer = Peer::default();
    let mut replies = Vec::with_capacity(1024);
    loop {
        peer.input.reserve(READ);
        if stream.read_buf(&mut peer.input).await? == 0 {
            return Ok(());
        }
        let go_on = peer.take(&mut replies, |mail| board.note(mail));
        stream.write_all(&replies).await?;
        replies.clear();
        if !go_on {
            return Ok(());
        }
    }
}

/// What comes next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Expecting {
    #[default]
    Command,
    /// Lines up to the dot.
    Content,
    /// A chunk of so many octets.
    Chunk { size: usize, last: bool },
}

/// One connection, without its socket.
#[derive(Debug, Default)]
struct Peer {
    input: Vec<u8>,
    /// Octets of content in which there is no end.
    searched: usize,
    expecting: Expecting,
    mail: Option<Arrived>,
}

impl Peer {
    /// Takes all that can be taken of the input and answers it; false at the end of the session.
    fn take(&mut self, replies: &mut Vec<u8>, mut note: impl FnMut(Option<Arrived>)) -> bool {
        let mut input = std::mem::take(&mut self.input);
        let mut used = 0;
        let mut go_on = true;
        while go_on {
            let rest = input.get(used..).unwrap_or_default();
            let taken = match self.expecting {
                Expecting::Command => match memchr(b'\n', rest) {
                    Some(end) => {
                        go_on = self.command(rest.get(..end).unwrap_or_default(), replies);
                        Some(end + 1)
                    }
                    None => None,
                },
                Expecting::Content => self.content(rest, replies, &mut note),
                Expecting::Chunk { size, last } => self.chunk(rest, size, last, replies, &mut note),
            };
            match taken {
                Some(taken) => used += taken,
                None => break,
            }
        }
        input.drain(..used);
        self.input = input;
        go_on
    }

    fn command(&mut self, line: &[u8], replies: &mut Vec<u8>) -> bool {
        let verb = line.get(..4).unwrap_or(line).to_ascii_uppercase();
        let reply: &[u8] = match verb.as_slice() {
            b"EHLO" => EHLO,
            b"DATA" => {
                self.expecting = Expecting::Content;
                self.searched = 0;
                b"354 go on\r\n"
            }
            b"BDAT" => match chunk_of(line) {
                Some((size, last)) => {
                    self.expecting = Expecting::Chunk { size, last };
                    b""
                }
                None => b"501 5.5.4 size\r\n",
            },
            b"QUIT" => b"221 2.0.0 bye\r\n",
            b"MAIL" | b"RSET" => {
                self.mail = None;
                b"250 2.0.0 ok\r\n"
            }
            _ => b"250 2.0.0 ok\r\n",
        };
        replies.extend_from_slice(reply);
        verb != b"QUIT"
    }

    fn content(
        &mut self,
        rest: &[u8],
        replies: &mut Vec<u8>,
        note: &mut impl FnMut(Option<Arrived>),
    ) -> Option<usize> {
        const END: &[u8] = b"\r\n.\r\n";
        let unseen = rest.get(self.searched..).unwrap_or_default();
        let Some(end) = memmem::find(unseen, END) else {
            // The end may be cut in two.
            self.searched = rest.len().saturating_sub(END.len() - 1);
            return None;
        };
        note(arrived(rest));
        replies.extend_from_slice(b"250 2.0.0 taken\r\n");
        self.expecting = Expecting::Command;
        Some(self.searched + end + END.len())
    }

    fn chunk(
        &mut self,
        rest: &[u8],
        size: usize,
        last: bool,
        replies: &mut Vec<u8>,
        note: &mut impl FnMut(Option<Arrived>),
    ) -> Option<usize> {
        let chunk = rest.get(..size)?;
        self.mail = self.mail.or_else(|| arrived(chunk));
        if last {
            note(self.mail.take());
        }
        replies.extend_from_slice(b"250 2.0.0 taken\r\n");
        self.expecting = Expecting::Command;
        Some(size)
    }
}

/// Size of a chunk, and whether it is the last.
fn chunk_of(line: &[u8]) -> Option<(usize, bool)> {
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.split_ascii_whitespace().skip(1);
    let size = words.next()?.parse().ok()?;
    let last = words.next().is_some_and(|w| w.eq_ignore_ascii_case("LAST"));
    Some((size, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Content;

    /// Feeds the input in pieces; the numbers that arrived, and the replies' first digits.
    fn feed(input: &[u8], piece: usize) -> (Vec<Option<usize>>, String) {
        let mut peer = Peer::default();
        let (mut numbers, mut replies) = (Vec::new(), Vec::new());
        for piece in input.chunks(piece) {
            peer.input.extend_from_slice(piece);
            peer.take(&mut replies, |m| numbers.push(m.map(|m| m.number)));
        }
        let text = String::from_utf8_lossy(&replies).into_owned();
        let codes = text.lines().filter_map(|l| l.chars().next()).collect();
        (numbers, codes)
    }

    #[test]
    fn content_arrives_however_it_is_cut() {
        let mut content = Content::new(2000);
        let mut input = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n".to_vec();
        input.extend_from_slice(content.of(7));
        input.extend_from_slice(b"QUIT\r\n");
        for piece in [1, 3, 100, 100_000] {
            assert_eq!(feed(&input, piece), (vec![Some(7)], "22322".to_owned()));
        }
    }

    #[test]
    fn chunks_arrive_with_the_last() {
        let mut content = Content::new(2000);
        let body = content.of(8).to_vec();
        let (first, second) = body.split_at(1000);
        let mut input = b"MAIL FROM:<a@b.test>\r\nBDAT 1000\r\n".to_vec();
        input.extend_from_slice(first);
        input.extend_from_slice(format!("BDAT {} LAST\r\n", second.len()).as_bytes());
        input.extend_from_slice(second);
        for piece in [1, 7, 100_000] {
            assert_eq!(feed(&input, piece), (vec![Some(8)], "222".to_owned()));
        }
    }
}
