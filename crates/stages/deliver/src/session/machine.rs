//! The session as the shell drives it: octets in and out, and how long each answer is waited for.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mail::Timestamp;
use smtp::machine::{Deadline, Machine};

use super::transacting::{Asking, Busy};
use super::{Event, Session, State};
use crate::judge::Stage;
use crate::protocol::Protocol;
use crate::question::Question;

impl Session {
    fn wait(&self) -> Option<(Duration, &'static str)> {
        let t = &self.wire.settings.timeouts;
        Some(match &self.state {
            State::Greeting(_) => (t.greeting, "the greeting of the host"),
            State::Ehlo(_) | State::Helo(_) => match self.wire.settings.protocol {
                Protocol::Smtp => (t.helo, "the answer to EHLO"),
                Protocol::Lmtp => (t.helo, "the answer to LHLO"),
            },
            State::StartTls(_) => (t.helo, "the answer to STARTTLS"),
            State::Handshake(_) => (t.helo, "the TLS handshake"),
            State::Login(_) => (t.helo, "the answer to the login"),
            State::Deriving(_) => (t.helo, "the key for the login"),
            State::Idle(_) => (t.idle, "work"),
            State::Quit => (Duration::from_secs(5), "the answer to QUIT"),
            State::Over(_) => return None,
            State::Asking(Asking { question }) => match question {
                Question::Rset(_) | Question::Mail(_) => (t.mail, "the answer to MAIL"),
                Question::Rcpt => (t.rcpt, "the answer to RCPT"),
            },
            State::Busy(Busy { running }) => match running.waits_for() {
                Some(Stage::Mail) | None => (t.mail, "the answer to MAIL"),
                Some(Stage::Rcpt { .. }) => (t.rcpt, "the answer to RCPT"),
                Some(Stage::Content) if running.content_is_sent() => {
                    (t.data_done, "the answer to the content")
                }
                Some(Stage::Content) => {
                    let len = u32::try_from(running.content_len()).unwrap_or(u32::MAX);
                    let slowest =
                        Duration::from_secs((len / self.wire.settings.rate_min.max(1)).into());
                    (t.data_block + slowest, "the host to accept the content")
                }
                Some(_) => (t.data_init, "the answer to DATA"),
            },
        })
    }
}

impl Machine for Session {
    fn receive(&mut self, now: Timestamp, input: &mut BytesMut) {
        let waits = |state: &State| {
            matches!(
                state,
                State::Over(_) | State::Handshake(_) | State::Deriving(_)
            )
        };
        while !input.is_empty() && !waits(&self.state) {
            match self.parser.feed(input) {
                Ok(Some(reply)) => self.step(|state, wire| state.answered(wire, now, &reply)),
                Ok(None) => return,
                Err(error) => {
                    let protocol = self.wire.settings.protocol.name();
                    return self.lost(&format!("the host does not speak {protocol}: {error}"));
                }
            }
        }
        // Octets after the answer to STARTTLS could be injected by anyone on the way.
        if matches!(self.state, State::Handshake(_)) && !input.is_empty() {
            self.wire.events.retain(|e| *e != Event::StartTls);
            self.tls_failed(
                "the host sent data after its answer to STARTTLS, before the TLS handshake",
            );
        }
    }

    fn closed(&mut self, _now: Timestamp) {
        self.lost("the host closed the connection");
    }

    fn poll_transmit(&mut self) -> Option<Bytes> {
        self.wire.out.pop_front()
    }

    fn flushed(&mut self, now: Timestamp) {
        if let State::Busy(Busy { running }) = &mut self.state
            && !running.content_is_sent()
        {
            running.flushed();
            if running.content_is_sent() {
                self.wire.since = now;
            }
        }
    }

    fn write_wait(&self) -> Option<Duration> {
        match &self.state {
            State::Busy(Busy { running }) if running.is_writing_content() => {
                Some(self.wire.settings.timeouts.data_block)
            }
            State::Busy(_)
            | State::Greeting(_)
            | State::Ehlo(_)
            | State::Helo(_)
            | State::StartTls(_)
            | State::Handshake(_)
            | State::Login(_)
            | State::Deriving(_)
            | State::Asking(_)
            | State::Idle(_)
            | State::Quit
            | State::Over(_) => None,
        }
    }

    fn stalled(&mut self, _now: Timestamp) {
        let wait = mail::format_duration(self.wire.settings.timeouts.data_block);
        self.lost(&format!("the host accepted no data for {wait}"));
    }

    fn hears_last_words(&self) -> bool {
        true
    }

    fn deadline(&self) -> Option<Deadline> {
        let (wait, reason) = self.wait()?;
        Some(Deadline {
            at: self.wire.since + wait,
            reason,
        })
    }

    fn timeout(&mut self, now: Timestamp) {
        if matches!(self.state, State::Idle(_)) {
            return self.quit(now);
        }
        let (wait, reason) = self.wait().unwrap_or((Duration::ZERO, "it"));
        let wait = mail::format_duration(wait);
        self.lost(&format!("timed out after {wait} waiting for {reason}"));
    }
}
