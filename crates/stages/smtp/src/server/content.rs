//! The states in which content is read, by DATA or in chunks (RFC 5321 §4.1.1.4, RFC 3030 §2).

use bytes::{Buf, Bytes};
use mail::{EnhancedCode, Envelope, QueueId, Reply};

use super::command::{ExpectMail, aside, step_command};
use super::{Ask, Helo, State, Step, Wire, ok};
use crate::command::Command;
use crate::data::{ChunkReader, ContentError, ContentRules, DataReader};

/// Octets of a chunk that has no place, above which the connection is closed instead.
const SKIP_MAX: u64 = 64 * 1024 * 1024;

/// How content is about to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// DATA.
    Data,
    /// The first chunk of BDAT.
    Chunk {
        /// Its octets.
        size: u64,
        /// Whether it is the only one.
        last: bool,
    },
}

/// A message on its way in.
#[derive(Debug)]
struct Draft {
    helo: Helo,
    envelope: Envelope,
    id: QueueId,
}

/// Content is about to come, for at least one recipient.
#[derive(Debug)]
pub struct AskContent {
    /// How the client introduced itself.
    pub helo: Helo,
    /// The transaction.
    pub envelope: Envelope,
    /// The size that MAIL declared.
    pub size: Option<u64>,
    /// The way in which the content comes.
    pub transfer: Transfer,
}

impl AskContent {
    /// Reads the content of the message `id` by these rules and puts `prefix` in front of it.
    #[must_use]
    pub fn begin(self, id: QueueId, rules: ContentRules, prefix: Vec<u8>) -> Step {
        let expected = self.size.unwrap_or_default();
        let draft = Draft {
            helo: self.helo,
            envelope: self.envelope,
            id,
        };
        match self.transfer {
            Transfer::Data => {
                let reader = DataReader::new(rules, prefix, expected);
                let reply = Reply::new(354, None, "Start mail input; end with <CRLF>.<CRLF>");
                Step::Reply(State::Data(ReadData { draft, reader }), reply)
            }
            Transfer::Chunk { size, last } => {
                let reader = ChunkReader::new(rules, prefix, expected.max(size));
                read_chunk(draft, reader, size, last)
            }
        }
    }
}

/// Content has come to its end, in order or not.
#[derive(Debug)]
pub struct ReceivedContent {
    helo: Helo,
    /// The transaction.
    pub envelope: Envelope,
    /// The name of the message.
    pub id: QueueId,
    /// The prefix and the content, or the rule that it broke.
    pub content: Result<Bytes, ContentError>,
}

impl ReceivedContent {
    fn ask(draft: Draft, content: Result<Bytes, ContentError>) -> Step {
        Step::Ask(Ask::Received(Self {
            helo: draft.helo,
            envelope: draft.envelope,
            id: draft.id,
            content,
        }))
    }

    /// Splits off what the answer needs, so that envelope and content can travel.
    pub fn split(self) -> (Answer, Envelope, QueueId, Result<Bytes, ContentError>) {
        (
            Answer { helo: self.helo },
            self.envelope,
            self.id,
            self.content,
        )
    }
}

/// What is left of a transaction while its content's fate is decided.
#[derive(Debug)]
pub struct Answer {
    helo: Helo,
}

impl Answer {
    /// The transaction is over, with this reply.
    #[must_use]
    pub fn reply(self, reply: Reply) -> Step {
        Step::Reply(ExpectMail { helo: self.helo }.into(), reply)
    }
}

/// What follows DATA is being read.
#[derive(Debug)]
pub struct ReadData {
    draft: Draft,
    reader: DataReader,
}

impl ReadData {
    pub(super) const fn envelope(&self) -> &Envelope {
        &self.draft.envelope
    }

    pub(super) const fn received(&self) -> u64 {
        self.reader.received()
    }

    pub(super) fn held(&self) -> usize {
        self.reader.held()
    }

    pub(super) fn give_up(&mut self) {
        self.reader.give_up();
    }

    pub(super) fn step(mut self, wire: &mut Wire<'_>) -> Step {
        if self.reader.read(wire.input) {
            return ReceivedContent::ask(self.draft, self.reader.finish());
        }
        if self.reader.overran() {
            return hopeless(self.reader.finish());
        }
        Step::Wait(State::Data(self))
    }
}

/// A chunk is being read.
#[derive(Debug)]
pub struct ReadChunk {
    draft: Draft,
    reader: ChunkReader,
    size: u64,
    remaining: u64,
    last: bool,
}

fn read_chunk(draft: Draft, reader: ChunkReader, size: u64, last: bool) -> Step {
    Step::Go(State::Chunk(ReadChunk {
        draft,
        reader,
        size,
        remaining: size,
        last,
    }))
}

impl ReadChunk {
    pub(super) const fn envelope(&self) -> &Envelope {
        &self.draft.envelope
    }

    pub(super) const fn received(&self) -> u64 {
        self.reader.received()
    }

    pub(super) fn held(&self) -> usize {
        self.reader.held()
    }

    pub(super) fn give_up(&mut self) {
        self.reader.give_up();
    }

    pub(super) fn step(mut self, wire: &mut Wire<'_>) -> Step {
        self.remaining -= self.reader.read(wire.input, self.remaining);
        if self.reader.overran() {
            return hopeless(self.reader.finish());
        }
        if self.remaining > 0 {
            return Step::Wait(State::Chunk(self));
        }
        if self.last {
            return ReceivedContent::ask(self.draft, self.reader.finish());
        }
        if self.reader.error().is_some() {
            // The transaction has failed; further chunks of it find none open.
            return ReceivedContent::ask(self.draft, self.reader.finish());
        }
        let reply = Reply::new(250, Some(ok()), format!("{} octets received", self.size));
        let state = ExpectChunk {
            draft: self.draft,
            reader: self.reader,
        };
        Step::Reply(state.into(), reply)
    }
}

/// A chunk has come, and it was not the last.
#[derive(Debug)]
pub struct ExpectChunk {
    draft: Draft,
    reader: ChunkReader,
}

impl ExpectChunk {
    pub(super) const fn envelope(&self) -> &Envelope {
        &self.draft.envelope
    }

    pub(super) const fn received(&self) -> u64 {
        self.reader.received()
    }

    pub(super) fn held(&self) -> usize {
        self.reader.held()
    }

    pub(super) fn give_up(&mut self) {
        self.reader.give_up();
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever has no meaning in a state gets the state's one answer"
    )]
    pub(super) fn step(self, wire: &mut Wire<'_>) -> Step {
        step_command(self, wire, |state, command, _| match command {
            Command::Bdat { size, last } => read_chunk(state.draft, state.reader, size, last),
            Command::Rset => Answer {
                helo: state.draft.helo,
            }
            .reply(Reply::new(250, Some(ok()), "OK")),
            other => aside(
                state.into(),
                other,
                "The message is not complete: continue with BDAT, or cancel it with RSET",
            ),
        })
    }
}

impl From<ExpectChunk> for State {
    fn from(state: ExpectChunk) -> Self {
        Self::NextChunk(state)
    }
}

/// A chunk that has no place is being read away, so that its octets are not taken for commands.
#[derive(Debug)]
pub struct SkipChunk {
    behind: Box<State>,
    size: u64,
    remaining: u64,
    reply: Reply,
}

impl SkipChunk {
    /// Skips a chunk, sends `reply` and goes on with `behind`.
    pub(super) fn step_over(behind: State, size: u64, reply: Reply) -> Step {
        if size > SKIP_MAX {
            return Step::Close(reply);
        }
        Step::Go(State::Skip(Self {
            behind: Box::new(behind),
            size,
            remaining: size,
            reply,
        }))
    }

    pub(super) const fn received(&self) -> u64 {
        self.size - self.remaining
    }

    pub(super) fn step(mut self, wire: &mut Wire<'_>) -> Step {
        let here = wire.input.len();
        let taken = usize::try_from(self.remaining).map_or(here, |n| n.min(here));
        wire.input.advance(taken);
        self.remaining -= taken as u64;
        match self.remaining {
            0 => Step::Reply(*self.behind, self.reply),
            _ => Step::Wait(State::Skip(self)),
        }
    }
}

/// So much has come beyond the limit that its end is not waited for.
fn hopeless(content: Result<Bytes, ContentError>) -> Step {
    Step::Close(match content {
        Err(error) => error.reply(),
        Ok(_) => Reply::new(552, Some(EnhancedCode::new(5, 3, 4)), "Message too big"),
    })
}
