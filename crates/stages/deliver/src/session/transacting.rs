//! The states in which transactions begin, go on and end.

use bytes::BytesMut;
use mail::{Address, Reply, Timestamp};
use smtp::command;
use smtp::extension::Extension;

use super::wire::Wire;
use super::{End, Event, State};
use crate::judge::LOST;
use crate::question::{Asked, Question};
use crate::running::{Progress, Running};
use crate::transaction::Transaction;

/// A transaction can begin.
#[derive(Debug)]
pub(super) struct Idle {
    /// The last transaction was left without its content: RSET comes first.
    pub(super) dirty: bool,
}

impl Idle {
    pub(super) fn start(self, wire: &mut Wire, now: Timestamp, transaction: Transaction) -> State {
        let rset = self.needs_rset(wire);
        let protocol = wire.settings.protocol;
        let running = Running::new(transaction, protocol, &wire.host, rset);
        wire.transactions += 1;
        wire.since = now;
        if running.is_over() {
            wire.events.push_back(Event::Ended(running.into_ended()));
            return State::Idle(self);
        }
        Busy::send(wire, Box::new(running))
    }

    pub(super) fn ask(self, wire: &mut Wire, now: Timestamp, recipient: Address) -> State {
        let rset = self.needs_rset(wire);
        wire.transactions += 1;
        let mut line = BytesMut::new();
        let question = Question::begin(recipient, rset, &wire.host, &mut line);
        wire.say(now, line);
        State::Asking(Asking { question })
    }

    pub(super) fn quit(self, wire: &mut Wire, now: Timestamp) -> State {
        wire.command(now, command::quit);
        State::Quit
    }

    /// The transaction before may be unfinished, or what it left unknown.
    const fn needs_rset(&self, wire: &Wire) -> bool {
        self.dirty || wire.transactions > 0 && wire.host.has(Extension::Pipelining)
    }
}

/// A transaction is under way.
#[derive(Debug)]
pub(super) struct Busy {
    pub(super) running: Box<Running>,
}

impl Busy {
    fn send(wire: &mut Wire, mut running: Box<Running>) -> State {
        running.send(&wire.host, &mut wire.out, &mut wire.transcript);
        wire.tell_sent();
        State::Busy(Self { running })
    }

    pub(super) fn answered(self, wire: &mut Wire, now: Timestamp, reply: &Reply) -> State {
        // An answer before the content's end: the connection stands in the middle of it.
        let is_early = self.running.is_in_content();
        if is_early && reply.is_positive() {
            let why = "the host accepted the content before it was sent completely";
            wire.heard(|| why.to_owned());
            return self.lost(wire, &Reply::own(LOST, why));
        }
        wire.since = now;
        let closes = reply.code == 421 || is_early;
        let (ended, end) = match self.running.answered(reply) {
            Progress::More(running) if closes => (running.aborted(reply), End::Usual),
            Progress::More(running) => return Self::send(wire, running),
            Progress::NoChunking(ended) => (ended, End::NoChunking),
            Progress::Over { ended, .. } if closes => (ended, End::Usual),
            Progress::Over { ended, dirty } => {
                wire.events.push_back(Event::Ended(ended));
                return State::Idle(Idle { dirty });
            }
        };
        wire.events.push_back(Event::Ended(ended));
        wire.over(end)
    }

    /// The connection is of no use any more.
    pub(super) fn lost(self, wire: &mut Wire, reply: &Reply) -> State {
        wire.transcript.received(reply);
        wire.events
            .push_back(Event::Ended(self.running.aborted(reply)));
        wire.over(End::Usual)
    }
}

/// A question is under way.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) question: Question,
}

impl Asking {
    pub(super) fn answered(self, wire: &mut Wire, now: Timestamp, reply: &Reply) -> State {
        let mut line = BytesMut::new();
        match self.question.answered(reply, &wire.host, &mut line) {
            Asked::On(question) => {
                wire.say(now, line);
                State::Asking(Self { question })
            }
            Asked::Over(stage) => {
                wire.since = now;
                wire.events.push_back(Event::Asked(stage, reply.clone()));
                match reply.code {
                    421 => wire.over(End::Usual),
                    _ => State::Idle(Idle { dirty: true }),
                }
            }
        }
    }

    pub(super) fn lost(self, wire: &mut Wire, reply: Reply) -> State {
        wire.transcript.received(&reply);
        wire.events
            .push_back(Event::Asked(self.question.stage(), reply));
        wire.over(End::Usual)
    }
}
