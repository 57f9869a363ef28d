//! A socket and a protocol machine: bytes in, bytes out, deadlines kept.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use smtp::machine::Machine;
use smtp::sasl::Binding;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use world::Clock;

use crate::stream::Stream;

/// Room made for each read.
const READ_AT_ONCE: usize = 16 * 1024;
/// Slices given to one write.
const SLICES_MAX: usize = 16;
/// The wait for a machine that names no deadline: it is over, or about to be.
const NO_DEADLINE: Duration = Duration::from_secs(600);

/// How long the last words of a broken connection are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What one turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The machine was given something.
    Went,
    /// The connection is gone.
    Gone,
}

/// What a step of writing came to.
enum Step {
    Written,
    Read,
}

/// A connection with what has been read of it and not been used.
#[derive(Debug)]
pub struct Link {
    /// `None` while, or because, the connection was given away.
    stream: Option<Stream>,
    input: BytesMut,
    clock: Clock,
}

impl Link {
    /// A link over a connection, whose machine is told the time of `clock`.
    #[must_use]
    pub fn new(stream: Stream, clock: Clock) -> Self {
        Self {
            stream: Some(stream),
            input: BytesMut::new(),
            clock,
        }
    }

    /// Whether nothing is left that was read and not used: what must hold before TLS begins.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.input.is_empty()
    }

    /// Whether the other side has neither said anything nor gone, as far as the system knows: nothing is read.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let Some(stream) = self.stream.as_ref() else {
            return false;
        };
        let mut space = [MaybeUninit::uninit(); 1];
        let peeked = stream.socket().peek(&mut space);
        self.input.is_empty() && peeked.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
    }

    /// What a login can be bound to on the connection, the best first ([`Stream::bindings`]).
    #[must_use]
    pub fn bindings(&self) -> Vec<Binding> {
        self.stream
            .as_ref()
            .map(Stream::bindings)
            .unwrap_or_default()
    }

    /// Gives the connection away, to shake hands on it. Whoever drives the link after that is told that the connection
    /// is gone.
    #[must_use]
    pub fn take_stream(&mut self) -> Option<Stream> {
        self.input.clear();
        self.stream.take()
    }

    /// Writes all that the machine has to say.
    ///
    /// # Errors
    /// None: a connection that fails, or does not take it in time, is told to the machine.
    pub async fn flush(&mut self, machine: &mut impl Machine) -> Turn {
        let mut out: VecDeque<Bytes> = std::iter::from_fn(|| machine.poll_transmit()).collect();
        if out.is_empty() {
            return Turn::Went;
        }
        while !out.is_empty() {
            let deadline = machine.deadline();
            let one = machine.write_wait();
            let mut is_stall = false;
            let wait = || {
                let whole = deadline.map_or(NO_DEADLINE, |d| d.at.since(self.clock.now()));
                let wait = one.map_or(whole, |one| one.min(whole));
                is_stall = wait < whole;
                wait
            };
            let step = Self::step(&mut self.stream, &mut self.input, &mut out, one.is_some());
            match within(wait, step).await {
                Ok(Ok(Step::Written)) => {}
                Ok(Ok(Step::Read)) => {
                    machine.receive(self.clock.now(), &mut self.input);
                    if machine.deadline().is_none() {
                        // It has heard enough: nobody wants the rest.
                        return Turn::Gone;
                    }
                }
                Ok(Err(_)) => return self.broken(machine).await,
                Err(_) if is_stall => {
                    machine.stalled(self.clock.now());
                    return Turn::Gone;
                }
                Err(_) => {
                    machine.timeout(self.clock.now());
                    return Turn::Gone;
                }
            }
        }
        machine.flushed(self.clock.now());
        Turn::Went
    }

    /// Nothing can be written any more; what was said before that may be here already.
    async fn broken(&mut self, machine: &mut impl Machine) -> Turn {
        if machine.hears_last_words()
            && let Some(stream) = self.stream.as_mut()
        {
            while let Ok(Ok(1..)) = timeout(LAST_WORDS, stream.read_buf(&mut self.input)).await {
                machine.receive(self.clock.now(), &mut self.input);
                if machine.deadline().is_none() {
                    return Turn::Gone;
                }
            }
        }
        machine.closed(self.clock.now());
        Turn::Gone
    }

    /// Writes some of it, and flushes when it was the last; or, where that is wanted, reads what comes
    /// meanwhile.
    async fn step(
        stream: &mut Option<Stream>,
        input: &mut BytesMut,
        out: &mut VecDeque<Bytes>,
        reads: bool,
    ) -> io::Result<Step> {
        let stream = stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let step = poll_fn(|cx| {
            let mut stream = Pin::new(&mut *stream);
            let written = if stream.is_plain() {
                let slices: Vec<io::IoSlice<'_>> = out
                    .iter()
                    .take(SLICES_MAX)
                    .map(|b| io::IoSlice::new(b))
                    .collect();
                stream.as_mut().poll_write_vectored(cx, &slices)
            } else {
                let first = out.front().map(Bytes::as_ref).unwrap_or_default();
                stream.as_mut().poll_write(cx, first)
            };
            if let Poll::Ready(written) = written {
                return Poll::Ready(written.map(Err));
            }
            if !reads {
                return Poll::Pending;
            }
            let mut space = [0; READ_AT_ONCE / 16];
            let mut space = ReadBuf::new(&mut space);
            let read = ready!(stream.as_mut().poll_read(cx, &mut space));
            input.extend_from_slice(space.filled());
            Poll::Ready(read.map(|()| Ok(space.filled().len())))
        });
        match step.await? {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(Step::Read),
            Err(0) => Err(io::ErrorKind::WriteZero.into()),
            Err(written) => {
                advance(out, written);
                if out.is_empty() {
                    stream.flush().await?;
                }
                Ok(Step::Written)
            }
        }
    }

    /// Writes what the machine has to say, then waits for input, for the end of the connection or
    /// for the machine's deadline, and hands that to it.
    pub async fn turn(&mut self, machine: &mut impl Machine) -> Turn {
        if self.flush(machine).await == Turn::Gone {
            return Turn::Gone;
        }
        let Some(deadline) = machine.deadline() else {
            return Turn::Gone;
        };
        if self.input.capacity() - self.input.len() < READ_AT_ONCE / 4 {
            self.input.reserve(READ_AT_ONCE);
        }
        let Some(stream) = self.stream.as_mut() else {
            machine.closed(self.clock.now());
            return Turn::Gone;
        };
        let wait = deadline.at.since(self.clock.now());
        match timeout(wait, stream.read_buf(&mut self.input)).await {
            Ok(Ok(0) | Err(_)) => {
                machine.closed(self.clock.now());
                Turn::Gone
            }
            Ok(Ok(_)) => {
                machine.receive(self.clock.now(), &mut self.input);
                Turn::Went
            }
            Err(_) => {
                machine.timeout(self.clock.now());
                Turn::Went
            }
        }
    }

    /// Hands the machine once more what it left, when something else than input changed its mind.
    pub fn again(&mut self, machine: &mut impl Machine) {
        if !self.input.is_empty() {
            machine.receive(self.clock.now(), &mut self.input);
        }
    }

    /// Ends the connection in order.
    pub async fn shutdown(mut self) {
        // The peer may be gone already, which is as good.
        if let Some(stream) = self.stream.as_mut() {
            drop(timeout(Duration::from_secs(2), stream.shutdown()).await);
        }
    }
}

/// The same as [`timeout`], without a clock or a timer for what is ready at once: nearly every write is.
async fn within<F: Future>(
    wait: impl FnOnce() -> Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let at_once = poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    });
    match at_once.await {
        Some(output) => Ok(output),
        None => timeout(wait(), future).await,
    }
}

fn advance(out: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = out.front_mut() {
        if written < first.len() {
            first.advance(written);
            return;
        }
        written -= first.len();
        out.pop_front();
    }
}
