//! How the shell drives a protocol machine: bytes in, bytes out, and one deadline.
//!
//! The shell owns the socket, the input buffer and the clock. Its loop: write all that
//! [`Machine::poll_transmit`] hands out, do what the machine's own requests ask, then wait for
//! input, for the end of the connection or for the deadline, whichever comes first.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mail::Timestamp;

/// When a machine wants to be woken although nothing has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// The time at which [`Machine::timeout`] is due.
    pub at: Timestamp,
    /// What is being waited for, for the log.
    pub reason: &'static str,
}

/// A protocol machine: everything about a connection but the connection.
pub trait Machine {
    /// Bytes have arrived. The machine removes from the front of `input` what it can use; what it
    /// leaves must be handed in again, followed by what arrives later.
    fn receive(&mut self, now: Timestamp, input: &mut BytesMut);

    /// The peer has closed the connection, or reading or writing failed.
    fn closed(&mut self, now: Timestamp);

    /// Bytes to write, in order; to be called until it answers `None`.
    fn poll_transmit(&mut self) -> Option<Bytes>;

    /// All that [`poll_transmit`](Self::poll_transmit) handed out has been given to the socket.
    fn flushed(&mut self, _now: Timestamp) {}

    /// How long writing may make no progress, where that is bounded on its own; while it is, what the peer
    /// says is handed to [`receive`](Self::receive) before everything is written.
    fn write_wait(&self) -> Option<Duration> {
        None
    }

    /// Writing has made no progress for [`write_wait`](Self::write_wait).
    fn stalled(&mut self, now: Timestamp) {
        self.timeout(now);
    }

    /// What the peer said before the connection broke counts, though nothing can be written any more.
    fn hears_last_words(&self) -> bool {
        false
    }

    /// When [`timeout`](Self::timeout) is due, unless something happens before.
    fn deadline(&self) -> Option<Deadline>;

    /// The deadline has passed.
    fn timeout(&mut self, now: Timestamp);
}
