//! The server's side of a session: the order of commands, one struct per state (RFC 5321 §4.1.4).
//!
//! A state takes input and becomes the next one. What the protocol alone decides is answered here;
//! what needs a decision comes out as a question, [`Ask`], which owns the state and gives it back
//! with the answer. A transaction exists only in the states that may have one, so a RCPT without
//! MAIL finds no envelope to add to. Nothing here knows who may send what to whom.

mod command;
mod content;
mod login;

use bytes::{Bytes, BytesMut};
use mail::{EnhancedCode, Envelope, Reply};

use crate::extension::Extensions;
use crate::line::{AUTH_MAX, COMMAND_MAX, Line, LineReader};
use crate::sasl;

pub use command::{AskMail, AskRcpt, AskStartTls, ExpectHelo, ExpectMail, ExpectRcpt};
pub use content::{
    Answer, AskContent, ExpectChunk, ReadChunk, ReadData, ReceivedContent, SkipChunk, Transfer,
};
pub use login::{AskAuth, AskKeys, AskLogin, ExpectResponse};

/// How the client introduced itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helo {
    /// The name that it gave.
    pub name: String,
    /// EHLO, not HELO.
    pub extended: bool,
}

/// A session between two steps.
#[derive(Debug)]
pub enum State {
    /// The client has not introduced itself.
    Helo(ExpectHelo),
    /// No transaction is open.
    Mail(ExpectMail),
    /// A transaction is open.
    Rcpt(ExpectRcpt),
    /// A challenge of a login waits for its response.
    Response(ExpectResponse),
    /// Content is being read.
    Data(ReadData),
    /// A chunk of content is being read.
    Chunk(ReadChunk),
    /// The next chunk of content is due.
    NextChunk(ExpectChunk),
    /// A chunk that has no place is being read away.
    Skip(SkipChunk),
}

/// What came of a step.
#[derive(Debug)]
pub enum Step {
    /// More input is needed.
    Wait(State),
    /// Nothing to say; there may be more to do.
    Go(State),
    /// The reply to send, and the state after it.
    Reply(State, Reply),
    /// A question; the session goes on with its answer.
    Ask(Ask),
    /// The reply to send before the connection is closed.
    Close(Reply),
}

/// A question that the protocol cannot answer.
#[derive(Debug)]
pub enum Ask {
    /// May this reverse-path send?
    Mail(AskMail),
    /// May mail go there?
    Rcpt(AskRcpt),
    /// Content is about to come: under which name and which rules?
    Content(AskContent),
    /// The content has come: is it taken?
    Received(ReceivedContent),
    /// May the client log in, by this mechanism?
    Auth(AskAuth),
    /// Which keys has this user, to challenge a client with?
    Keys(AskKeys),
    /// Is the client who it claims to be?
    Login(AskLogin),
    /// May TLS begin?
    StartTls(AskStartTls),
}

/// What a step works on.
#[derive(Debug)]
pub struct Wire<'a> {
    /// What has arrived and is not used up.
    pub input: &'a mut BytesMut,
    /// The cutter of lines, one for the whole life of a session.
    pub lines: &'a mut LineReader,
    /// What EHLO offers, and so which parameters are known.
    pub offered: &'a Extensions,
    /// Our own name.
    pub hostname: &'a str,
    /// Whether [`seen`](Self::seen) is filled in.
    pub trace: bool,
    /// The command line that the step took, what is secret in it masked.
    pub seen: Option<String>,
}

impl State {
    /// The state after the greeting, and once more after a TLS handshake: nothing that the
    /// client said before counts (RFC 3207 §4.2).
    #[must_use]
    pub const fn start() -> Self {
        Self::Helo(ExpectHelo {})
    }

    /// Takes one command, or what there is of content.
    #[must_use]
    pub fn step(self, wire: &mut Wire<'_>) -> Step {
        match self {
            Self::Helo(state) => state.step(wire),
            Self::Mail(state) => state.step(wire),
            Self::Rcpt(state) => state.step(wire),
            Self::Response(state) => state.step(wire),
            Self::Data(state) => state.step(wire),
            Self::Chunk(state) => state.step(wire),
            Self::NextChunk(state) => state.step(wire),
            Self::Skip(state) => state.step(wire),
        }
    }

    /// The transaction that is open.
    #[must_use]
    pub const fn envelope(&self) -> Option<&Envelope> {
        match self {
            Self::Helo(_) | Self::Mail(_) | Self::Response(_) | Self::Skip(_) => None,
            Self::Rcpt(state) => Some(state.envelope()),
            Self::Data(state) => Some(state.envelope()),
            Self::Chunk(state) => Some(state.envelope()),
            Self::NextChunk(state) => Some(state.envelope()),
        }
    }

    /// Octets of the content that has arrived, while content is being read.
    #[must_use]
    pub const fn content_received(&self) -> Option<u64> {
        match self {
            Self::Data(state) => Some(state.received()),
            Self::Chunk(state) => Some(state.received()),
            Self::Skip(state) => Some(state.received()),
            Self::NextChunk(state) => Some(state.received()),
            Self::Helo(_) | Self::Mail(_) | Self::Rcpt(_) | Self::Response(_) => None,
        }
    }

    /// Octets of memory that the content takes which is being received.
    #[must_use]
    pub fn content_held(&self) -> usize {
        match self {
            Self::Data(state) => state.held(),
            Self::Chunk(state) => state.held(),
            Self::NextChunk(state) => state.held(),
            Self::Helo(_) | Self::Mail(_) | Self::Rcpt(_) | Self::Response(_) | Self::Skip(_) => 0,
        }
    }

    /// Gives up the content that is being received, because there is no memory for it: it is taken in to its end,
    /// thrown away, and answered with 452.
    pub fn give_up_content(&mut self) {
        match self {
            Self::Data(state) => state.give_up(),
            Self::Chunk(state) => state.give_up(),
            Self::NextChunk(state) => state.give_up(),
            Self::Helo(_) | Self::Mail(_) | Self::Rcpt(_) | Self::Response(_) | Self::Skip(_) => {}
        }
    }
}

impl Wire<'_> {
    /// The next line, or the reply to what is none.
    fn line(&mut self, max: usize) -> Option<Result<Bytes, Reply>> {
        let refused = |text| Reply::new(500, Some(EnhancedCode::new(5, 5, 2)), text);
        Some(match self.lines.next(self.input, max)? {
            Line::Text(text) => Ok(text),
            Line::TooLong => Err(refused("Line too long")),
            Line::BareNewline => Err(refused(
                "Lines must end with CR LF and must not contain a bare CR or LF",
            )),
        })
    }

    fn command_line(&mut self) -> Option<Result<Bytes, Reply>> {
        let line = self.line(COMMAND_MAX)?;
        if self.trace {
            self.seen = Some(match &line {
                Ok(text) => shown(text),
                Err(_) => "(not a line)".to_owned(),
            });
        }
        Some(line)
    }

    fn response_line(&mut self) -> Option<Result<Bytes, Reply>> {
        let line = self.line(AUTH_MAX)?;
        if self.trace {
            self.seen = Some("***".to_owned());
        }
        Some(line)
    }
}

/// Commands whose lines hold no secret.
const VERBS: [&str; 13] = [
    "BDAT", "DATA", "EHLO", "EXPN", "HELO", "HELP", "MAIL", "NOOP", "QUIT", "RCPT", "RSET",
    "STARTTLS", "VRFY",
];

/// A command line for the log. What AUTH says beyond a mechanism that is known may be a password; so may a line
/// that is not a command, such as the response of a client that has not heard its AUTH being refused.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut words = text.split_ascii_whitespace();
    let given = words.next().unwrap_or_default();
    match given.to_ascii_uppercase().as_str() {
        "AUTH" => {
            let known = words.next().filter(|word| sasl::is_mechanism(word));
            let more = if known.is_some() && words.next().is_none() {
                ""
            } else {
                " ***"
            };
            let mechanism = known.map(|word| format!(" {word}")).unwrap_or_default();
            format!("{given}{mechanism}{more}")
        }
        verb if VERBS.contains(&verb) => text.into_owned(),
        _ => format!("(no command: {} octets, not shown)", line.len()),
    }
}

const fn ok() -> EnhancedCode {
    EnhancedCode::new(2, 0, 0)
}

fn out_of_order(text: &str) -> Reply {
    Reply::new(503, Some(EnhancedCode::new(5, 5, 1)), text)
}
