//! How long a session waits for its client.

use std::time::Duration;

use mail::Timestamp;
use smtp::machine::Deadline;
use smtp::server::State;

use super::Phase;
use crate::policy::Limits;

/// How far ahead of the minimum rate a client can be: so long it may be silent, at the beginning and later.
/// What it sent faster before that is not a credit, or one fast megabyte would pay for hours of an octet a minute.
const CREDIT: Duration = Duration::from_secs(110);

/// A command is waited for no longer than this where places are scarce.
const HURRIED: Duration = Duration::from_secs(30);

/// The times that deadlines are counted from.
#[derive(Debug)]
pub(super) struct Clock {
    /// When the session came to the state that it is in.
    since: Timestamp,
    /// When the client was last heard.
    heard: Timestamp,
    /// The content that is coming in.
    content: Option<Pace>,
}

/// How a content comes in.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Octets that have come.
    received: u64,
    /// Until when they are enough.
    enough_until: Timestamp,
}

impl Clock {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self {
            since: now,
            heard: now,
            content: None,
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

    /// So many octets of a content have come; `None`: none is coming in.
    pub(super) fn received(&mut self, now: Timestamp, octets: Option<u64>, rate: u64) {
        let Some(octets) = octets else {
            self.content = None;
            return;
        };
        let limit = now + CREDIT;
        let enough_until = match self.content {
            Some(pace) => {
                let more = octets.saturating_sub(pace.received);
                let earned = more.saturating_mul(1000).checked_div(rate);
                let earned = Duration::from_millis(earned.unwrap_or_default());
                (pace.enough_until + earned).min(limit)
            }
            None => limit,
        };
        self.content = Some(Pace {
            received: octets,
            enough_until,
        });
    }

    /// The session has kept its client waiting: the minimum rate counts again.
    pub(super) fn kept_waiting(&mut self, now: Timestamp) {
        if let Some(pace) = &mut self.content {
            pace.enough_until = now + CREDIT;
        }
        self.heard = now;
    }

    /// None while the shell is to answer: how long that takes is the shell's to bound.
    pub(super) fn deadline(
        &self,
        phase: &Phase,
        limits: &Limits,
        hurried: bool,
    ) -> Option<Deadline> {
        let timeouts = &limits.timeouts;
        let for_words = |wait: Duration| if hurried { wait.min(HURRIED) } else { wait };
        match phase {
            Phase::Talking(state) => Some(match (state.content_received(), state) {
                (Some(_), _) => self.content(limits),
                (None, State::Helo(_)) => {
                    due(self.since + for_words(timeouts.helo), "HELO or EHLO")
                }
                (None, _) => due(self.since + for_words(timeouts.command), "a command"),
            }),
            Phase::Handshaking => Some(due(self.since + timeouts.handshake, "the TLS handshake")),
            Phase::Fetching(_)
            | Phase::Checking(_)
            | Phase::Asking(_)
            | Phase::Saving(..)
            | Phase::Closed => None,
        }
    }

    fn content(&self, limits: &Limits) -> Deadline {
        let silence = due(
            self.heard.max(self.since) + limits.timeouts.content,
            "content",
        );
        match self.content {
            Some(pace) if limits.minimum_rate > 0 && pace.enough_until < silence.at => due(
                pace.enough_until,
                "content, which arrives below the minimum rate",
            ),
            Some(_) | None => silence,
        }
    }
}

const fn due(at: Timestamp, reason: &'static str) -> Deadline {
    Deadline { at, reason }
}
