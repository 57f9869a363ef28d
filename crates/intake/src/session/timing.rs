//! How long a session waits for its client.

use std::time::Duration;

use mail::Timestamp;
use smtp::machine::Deadline;
use smtp::server::State;

use super::Phase;
use crate::policy::Limits;

/// How long content may come as slowly as it likes, before the minimum rate counts.
const GRACE: Duration = Duration::from_secs(60);

/// The two times that deadlines are counted from.
#[derive(Debug)]
pub(super) struct Clock {
    /// When the session came to the state that it is in.
    since: Timestamp,
    /// When the client was last heard.
    heard: Timestamp,
}

impl Clock {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self {
            since: now,
            heard: now,
        }
    }

    /// When the client was last heard.
    pub(super) const fn last(&self) -> Timestamp {
        self.heard
    }

    /// The session has come to another state.
    pub(super) const fn restart(&mut self, now: Timestamp) {
        self.since = now;
    }

    /// Something has arrived. That alone extends no wait for a command, whose line could come an
    /// octet at a time for ever.
    pub(super) const fn heard(&mut self, now: Timestamp) {
        self.heard = now;
    }

    /// None while the shell is to answer: how long that takes is the shell's to bound.
    pub(super) fn deadline(&self, phase: &Phase, limits: &Limits) -> Option<Deadline> {
        let timeouts = &limits.timeouts;
        match phase {
            Phase::Talking(state) => Some(match (state.content_received(), state) {
                (Some(received), _) => self.content(received, limits),
                (None, State::Helo(_)) => due(self.since + timeouts.helo, "HELO or EHLO"),
                (None, _) => due(self.since + timeouts.command, "a command"),
            }),
            Phase::Handshaking => Some(due(self.since + timeouts.handshake, "the TLS handshake")),
            Phase::Fetching(_)
            | Phase::Checking(_)
            | Phase::Asking(_)
            | Phase::Saving(..)
            | Phase::Closed => None,
        }
    }

    fn content(&self, received: u64, limits: &Limits) -> Deadline {
        let silence = due(
            self.heard.max(self.since) + limits.timeouts.content,
            "content",
        );
        let earned = received
            .saturating_mul(1000)
            .checked_div(limits.minimum_rate);
        match earned {
            Some(earned) => {
                let rate = self.since + GRACE + Duration::from_millis(earned);
                if rate < silence.at {
                    due(rate, "content at the minimum rate")
                } else {
                    silence
                }
            }
            None => silence,
        }
    }
}

const fn due(at: Timestamp, reason: &'static str) -> Deadline {
    Deadline { at, reason }
}
