//! What an MX host has seen.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

/// A mail that a host has read to its end.
#[derive(Debug, Clone)]
pub struct Received {
    /// The reverse-path, without its angle brackets.
    pub sender: String,
    /// The parameters of MAIL, as sent.
    pub mail_params: String,
    /// The recipients that were accepted.
    pub recipients: Vec<Recipient>,
    /// The content, octet for octet, dot-stuffing undone. Empty when contents are not kept.
    pub content: Bytes,
    /// How many octets the content had.
    pub size: usize,
    /// When its end was there.
    pub at: Instant,
    /// Who sent it.
    pub peer: SocketAddr,
    /// It came inside TLS.
    pub tls: bool,
    /// It came by BDAT.
    pub chunked: bool,
    /// The user that had logged in.
    pub user: Option<String>,
    /// Number of the connection, from 0.
    pub connection: usize,
}

/// A recipient of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The forward-path, without its angle brackets.
    pub address: String,
    /// The parameters of RCPT, as sent.
    pub params: String,
}

impl Received {
    /// The addresses of the recipients, in order.
    #[must_use]
    pub fn addresses(&self) -> Vec<&str> {
        self.recipients.iter().map(|r| r.address.as_str()).collect()
    }

    /// The content as text; octets that are none are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }

    /// The value of a header field, its folding undone.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let text = self.text();
        let head = text.split("\r\n\r\n").next().unwrap_or_default();
        let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        unfolded.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            (field.eq_ignore_ascii_case(name)).then(|| value.trim().to_owned())
        })
    }
}

/// A connection, with all that its client said outside of contents.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Who connected.
    pub peer: SocketAddr,
    /// When.
    pub at: Instant,
    /// The client's lines.
    pub lines: Vec<Line>,
    /// The reads.
    pub chunks: Vec<Chunk>,
    /// It has ended.
    pub closed: bool,
}

impl Connection {
    /// The client's lines as text.
    #[must_use]
    pub fn dialogue(&self) -> Vec<&str> {
        self.lines.iter().map(|l| l.text.as_str()).collect()
    }

    /// The client's lines, grouped by the read that ended them: lines sent in one write stand in
    /// one group, and where each has a group of its own the client waited for every reply.
    #[must_use]
    pub fn writes(&self) -> Vec<Vec<&str>> {
        self.lines
            .chunk_by(|a, b| a.chunk == b.chunk)
            .map(|group| group.iter().map(|l| l.text.as_str()).collect())
            .collect()
    }
}

/// A line of a client.
#[derive(Debug, Clone)]
pub struct Line {
    /// Without its end.
    pub text: String,
    /// Index of the read in which it ended.
    pub chunk: usize,
    /// It came inside TLS.
    pub tls: bool,
    /// When.
    pub at: Instant,
}

/// What one read gave.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Its beginning, at most [`Chunk::KEPT_MAX`] octets.
    pub start: Bytes,
    /// How many octets there were.
    pub size: usize,
    /// When.
    pub at: Instant,
}

impl Chunk {
    /// Octets that are kept of a read.
    pub const KEPT_MAX: usize = 2048;
}

/// A login tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The mechanism.
    pub mechanism: String,
    /// The user.
    pub user: String,
    /// The password, where the mechanism tells it.
    pub password: String,
    /// What SCRAM said of channel binding: `n`, `y`, or `p=` and its kind.
    pub flag: String,
    /// It came inside TLS.
    pub tls: bool,
    /// It was accepted.
    pub accepted: bool,
}
