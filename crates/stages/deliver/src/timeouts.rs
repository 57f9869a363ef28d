//! How long a host is waited for.

use std::time::Duration;

/// How long each answer is waited for (RFC 5321 §4.5.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP.
    pub connect: Duration,
    /// The greeting.
    pub greeting: Duration,
    /// EHLO, HELO, STARTTLS, AUTH.
    pub helo: Duration,
    /// MAIL.
    pub mail: Duration,
    /// RCPT.
    pub rcpt: Duration,
    /// DATA.
    pub data_init: Duration,
    /// Each part of the content that is written.
    pub data_block: Duration,
    /// The answer to the content.
    pub data_done: Duration,
    /// How long a session with nothing to do is kept.
    pub idle: Duration,
}

impl Timeouts {
    /// The same wait for everything.
    #[must_use]
    pub const fn all(wait: Duration) -> Self {
        Self {
            connect: wait,
            greeting: wait,
            helo: wait,
            mail: wait,
            rcpt: wait,
            data_init: wait,
            data_block: wait,
            data_done: wait,
            idle: wait,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Self {
            connect: Duration::from_secs(30),
            greeting: minutes(5),
            helo: minutes(5),
            mail: minutes(5),
            rcpt: minutes(5),
            data_init: minutes(2),
            data_block: minutes(3),
            data_done: minutes(10),
            idle: Duration::from_secs(5),
        }
    }
}
