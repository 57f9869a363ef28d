//! The load generator: clients that hand mails in, one after the other, as fast as they are
//! answered.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use memchr::memchr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::content::Content;
use crate::tally::{Moment, Tally};

/// A reply is never waited for longer; a server that stops must not stop the bench.
const REPLY_MAX: Duration = Duration::from_secs(120);

/// What is sent, and how.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Where to.
    pub(crate) server: SocketAddr,
    /// Clients at once.
    pub(crate) clients: usize,
    /// Octets of a mail.
    pub(crate) size: usize,
    /// Mails go to the domains d0, d1 … in turn.
    pub(crate) domains: usize,
    /// A connection for every mail, instead of one for every client.
    pub(crate) reconnect: bool,
    /// No mail is begun after so long.
    pub(crate) duration: Option<Duration>,
}

/// What the run has cost here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// CPU time of the generator.
    pub(crate) cpu: Duration,
    /// Mails that were accepted.
    pub(crate) accepted: usize,
}

/// The domain of a mail.
pub(crate) fn domain(number: usize) -> String {
    format!("d{number}.bench.test")
}

/// Sends the mails of a tally from a thread of its own, and waits for the end.
pub(crate) fn run(load: &Load, tally: &Arc<Tally>) -> Result<Sent> {
    let (load, tally) = (load.clone(), Arc::clone(tally));
    let thread = thread::Builder::new()
        .name("load".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let accepted = runtime.block_on(send_all(&load, &tally))?;
            let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            let cpu = Duration::try_from(cpu).unwrap_or_default();
            Ok(Sent { cpu, accepted })
        })
        .context("starting the generator")?;
    thread
        .join()
        .map_err(|_| anyhow!("the generator panicked"))?
}

async fn send_all(load: &Load, tally: &Arc<Tally>) -> Result<usize> {
    let next = Arc::new(AtomicUsize::new(0));
    let end = load.duration.map(|d| Instant::now() + d);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..load.clients {
        let (load, tally, next) = (load.clone(), Arc::clone(tally), Arc::clone(&next));
        clients.spawn(async move {
            let mut client = Client::new(&load);
            let mut sent = 0;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= tally.mails() || end.is_some_and(|e| Instant::now() > e) {
                    break;
                }
                client
                    .send(number, &tally)
                    .await
                    .with_context(|| format!("mail {number}"))?;
                sent += 1;
            }
            client.quit().await;
            Ok::<usize, anyhow::Error>(sent)
        });
    }
    let mut accepted = 0;
    while let Some(client) = clients.join_next().await {
        accepted += client.context("a client")??;
    }
    Ok(accepted)
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    load: Load,
    content: Content,
    stream: Option<TcpStream>,
    input: Vec<u8>,
    commands: Vec<u8>,
}

impl Client {
    /// A client that connects when it has something to send.
    pub(crate) fn new(load: &Load) -> Self {
        Self {
            content: Content::new(load.size),
            load: load.clone(),
            stream: None,
            input: Vec::with_capacity(4096),
            commands: Vec::with_capacity(256),
        }
    }

    /// Hands a mail in.
    pub(crate) async fn send(&mut self, number: usize, tally: &Tally) -> Result<()> {
        use std::io::Write;
        tally.note(number, Moment::Begun);
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        self.commands.clear();
        let to = domain(number % self.load.domains.max(1));
        write!(
            self.commands,
            "MAIL FROM:<bench@sender.test>\r\nRCPT TO:<u{number}@{to}>\r\nDATA\r\n"
        )?;
        stream.write_all(&self.commands).await?;
        replies(&mut stream, &mut self.input, 3).await?;
        stream.write_all(self.content.of(number)).await?;
        replies(&mut stream, &mut self.input, 1).await?;
        tally.note(number, Moment::Accepted);
        self.stream = Some(stream);
        if self.load.reconnect {
            self.quit().await;
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.load.server).await?;
        stream.set_nodelay(true)?;
        replies(&mut stream, &mut self.input, 1).await?;
        stream.write_all(b"EHLO client.bench.test\r\n").await?;
        replies(&mut stream, &mut self.input, 1).await?;
        Ok(stream)
    }

    /// Says goodbye; the answer is of no interest.
    pub(crate) async fn quit(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            drop(stream.write_all(b"QUIT\r\n").await);
            drop(stream.read(&mut [0; 128]).await);
        }
    }
}

/// Reads so many replies; each must be one of success, or 354.
async fn replies(stream: &mut TcpStream, input: &mut Vec<u8>, count: usize) -> Result<()> {
    let mut left = count;
    let mut used = 0;
    while left > 0 {
        let rest = input.get(used..).unwrap_or_default();
        let Some(end) = memchr(b'\n', rest) else {
            let read = tokio::time::timeout(REPLY_MAX, stream.read_buf(input));
            if read.await.context("no reply in time")?? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            continue;
        };
        let line = rest.get(..end).unwrap_or_default();
        if !matches!(line.first(), Some(b'2' | b'3')) {
            return Err(anyhow!("answered {}", String::from_utf8_lossy(line)));
        }
        if line.get(3) != Some(&b'-') {
            left -= 1;
        }
        used += end + 1;
    }
    input.drain(..used);
    Ok(())
}
