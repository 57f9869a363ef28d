//! One connection to one host, from its greeting to QUIT.
//!
//! A state is a value that takes what happens and becomes the next one: a login exists only while one goes on,
//! what it may be bound to only before it, a transaction only after all that. What is there in every state is
//! the [`Wire`].

mod machine;
mod opening;
mod transacting;
mod wire;

use std::collections::VecDeque;

use mail::{Address, Reply, Timestamp, TlsUsed};
use smtp::extension::{Extension, Extensions};
use smtp::reply::ReplyParser;
use smtp::sasl::Binding;

use self::opening::{
    Deriving, ExpectEhlo, ExpectGreeting, ExpectHelo, ExpectLogin, ExpectStartTls, Handshake,
};
use self::transacting::{Asking, Busy, Idle};
use self::wire::Wire;
use crate::auth::{Credentials, Derivation, Masked};
use crate::convert::{Conversion, needed};
use crate::failure::Failure;
use crate::judge::{LOST, Stage};
use crate::protocol::Protocol;
use crate::running::Ended;
use crate::timeouts::Timeouts;
use crate::tls_mode::TlsMode;
use crate::transaction::Transaction;
use crate::transcript::Transcript;

/// How to talk to this host.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// What the host speaks.
    pub protocol: Protocol,
    /// Our name in EHLO, or in LHLO.
    pub ehlo_name: String,
    /// TLS.
    pub tls: TlsMode,
    /// A login, where the host wants one.
    pub credentials: Option<Credentials>,
    /// Time-outs.
    pub timeouts: Timeouts,
    /// The slowest a host may take content, in octets a second, on top of `data_block`.
    pub rate_min: u32,
    /// Extensions that are not used, whatever the host offers.
    pub ignore: Vec<Extension>,
    /// Every command and reply is wanted as an event (detailed log).
    pub detailed: bool,
}

/// What a session tells its shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Shake hands now; answer with [`Session::tls_established`] or [`Session::tls_failed`].
    StartTls,
    /// Compute this key, which takes a while; answer with [`Session::derived`].
    Derive(Derivation),
    /// The host greeted and is ready for transactions.
    Ready,
    /// The transaction is over, with a verdict for every recipient.
    Ended(Vec<Ended>),
    /// What [`Session::ask`] asked is answered: the host's reply and the command that it is about, which is RCPT
    /// unless something went wrong before. Code 0: the host said nothing.
    Asked(Stage, Reply),
    /// The session is of no use; it ends.
    Failed(Failure),
    /// The session is over: close the connection.
    Closed,
    /// A line for the detailed log: ours (true) or the host's.
    Said(bool, String),
}

/// A session between two steps.
#[derive(Debug)]
enum State {
    Greeting(ExpectGreeting),
    Ehlo(ExpectEhlo),
    Helo(ExpectHelo),
    StartTls(ExpectStartTls),
    Handshake(Handshake),
    Login(ExpectLogin),
    Deriving(Deriving),
    Idle(Idle),
    Busy(Busy),
    Asking(Asking),
    /// QUIT is to be answered.
    Quit,
    Over(End),
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Usual,
    /// The host offered CHUNKING and does not know BDAT.
    NoChunking,
}

impl State {
    /// The host has said something.
    fn answered(self, wire: &mut Wire, now: Timestamp, raw: &Reply) -> Self {
        let reply = &*wire.masked.reply(raw);
        wire.show(reply);
        match self {
            Self::Greeting(state) => state.answered(wire, now, reply),
            Self::Ehlo(state) => state.answered(wire, now, raw, reply),
            Self::Helo(state) => state.answered(wire, now, reply),
            Self::StartTls(state) => state.answered(wire, now, reply),
            Self::Login(state) => state.answered(wire, now, raw),
            Self::Busy(state) => state.answered(wire, now, reply),
            Self::Asking(state) => state.answered(wire, now, reply),
            Self::Handshake(_) => wire.tls_failed("the host sent data before the TLS handshake"),
            // A host that speaks unasked (421 before closing) is done with us.
            Self::Idle(_) | Self::Quit => wire.over(End::Usual),
            Self::Deriving(_) | Self::Over(_) => self,
        }
    }

    /// Nobody wants the session any more.
    fn closed(self, wire: &mut Wire) -> Self {
        match self {
            Self::Over(_) => self,
            Self::Greeting(_)
            | Self::Ehlo(_)
            | Self::Helo(_)
            | Self::StartTls(_)
            | Self::Handshake(_)
            | Self::Login(_)
            | Self::Deriving(_)
            | Self::Idle(_)
            | Self::Busy(_)
            | Self::Asking(_)
            | Self::Quit => wire.over(End::Usual),
        }
    }

    /// The connection is of no use any more, without an answer of the host.
    fn lost(self, wire: &mut Wire, why: &str) -> Self {
        let reply = Reply::own(LOST, why);
        wire.heard(|| why.to_owned());
        match self {
            Self::Greeting(_) => wire.fail(Stage::Greeting, reply),
            Self::Ehlo(_) | Self::Helo(_) => wire.fail(Stage::Ehlo, reply),
            Self::StartTls(_) | Self::Handshake(_) => wire.fail(Stage::Tls, reply),
            Self::Login(_) | Self::Deriving(_) => wire.fail(Stage::Login, reply),
            Self::Busy(state) => state.lost(wire, &reply),
            Self::Asking(state) => state.lost(wire, reply),
            Self::Idle(_) | Self::Quit => wire.over(End::Usual),
            Self::Over(_) => self,
        }
    }
}

/// The client's side of one connection.
#[derive(Debug)]
pub struct Session {
    state: State,
    wire: Wire,
    parser: ReplyParser,
}

impl Session {
    /// A session on a fresh connection; `tls` says how it is protected already (implicit TLS).
    #[must_use]
    pub fn new(settings: SessionSettings, tls: TlsUsed, now: Timestamp) -> Self {
        let mut transcript = Transcript::default();
        transcript.listen(settings.detailed);
        Self {
            state: State::Greeting(ExpectGreeting::default()),
            wire: Wire {
                masked: Masked::login(settings.credentials.as_ref()),
                settings,
                host: Extensions::none(),
                tls,
                out: VecDeque::new(),
                events: VecDeque::new(),
                since: now,
                transcript,
                transactions: 0,
            },
            parser: ReplyParser::new(),
        }
    }

    /// Makes a step; the state that is left behind meanwhile is never seen.
    fn step(&mut self, step: impl FnOnce(State, &mut Wire) -> State) {
        let state = std::mem::replace(&mut self.state, State::Over(End::Usual));
        self.state = step(state, &mut self.wire);
    }

    /// A step that has a meaning while no transaction is open, and none otherwise.
    fn step_idle(&mut self, step: impl FnOnce(Idle, &mut Wire) -> State) {
        self.step(|state, wire| {
            let State::Idle(idle) = state else {
                return state;
            };
            step(idle, wire)
        });
    }

    /// Begins a transaction; only when [`Event::Ready`], [`Event::Ended`] or [`Event::Asked`] came last.
    pub fn start(&mut self, now: Timestamp, transaction: Transaction) {
        self.step_idle(|idle, wire| idle.start(wire, now, transaction));
    }

    /// Asks whether the host takes mail for a recipient, from the null reverse-path, in a transaction that ends
    /// with RCPT. It may begin when [`Self::start`] may, and [`Event::Asked`] answers it.
    pub fn ask(&mut self, now: Timestamp, recipient: Address) {
        self.step_idle(|idle, wire| idle.ask(wire, now, recipient));
    }

    /// What must be done to the content of a transaction before this host can take it; `None`: nothing.
    #[must_use]
    pub fn needed(&self, transaction: &Transaction) -> Option<Conversion> {
        needed(transaction, &self.wire.host, self.wire.settings.protocol)
    }

    /// Whether every command and reply is wanted as an event from now on.
    pub fn set_detailed(&mut self, on: bool) {
        if self.wire.settings.detailed != on {
            self.wire.settings.detailed = on;
            self.wire.transcript.listen(on);
        }
    }

    /// Ends an idle session politely, and any other at once.
    pub fn quit(&mut self, now: Timestamp) {
        self.step(|state, wire| {
            if let State::Idle(idle) = state {
                return idle.quit(wire, now);
            }
            state.closed(wire)
        });
    }

    /// The handshake succeeded. Everything learned before it is forgotten (RFC 3207 §4.2).
    pub fn tls_established(&mut self, now: Timestamp, tls: TlsUsed) {
        self.parser = ReplyParser::new();
        self.step(|state, wire| {
            let State::Handshake(shaken) = state else {
                return state;
            };
            shaken.done(wire, now, tls)
        });
    }

    /// What a login can be bound to, the best first, and its nonce, which is printable, has no comma
    /// and is never used twice: to be said before TLS is said to be on, or before the greeting where it is on.
    pub fn bind(&mut self, bindings: Vec<Binding>, nonce: String) {
        let (State::Greeting(ExpectGreeting { bound }) | State::Handshake(Handshake { bound })) =
            &mut self.state
        else {
            return;
        };
        *bound = (bindings, nonce);
    }

    /// The key that [`Event::Derive`] asked for.
    pub fn derived(&mut self, now: Timestamp, key: &[u8]) {
        self.step(|state, wire| {
            let State::Deriving(deriving) = state else {
                return state;
            };
            deriving.derived(wire, now, key)
        });
    }

    /// The handshake failed; the connection is of no use any more.
    pub fn tls_failed(&mut self, why: &str) {
        self.step(|state, wire| {
            if let State::Over(_) = state {
                return state;
            }
            wire.tls_failed(why)
        });
    }

    /// The connection is of no use any more, without an answer of the host.
    fn lost(&mut self, why: &str) {
        self.step(|state, wire| state.lost(wire, why));
    }

    /// What the shell is to know or to do.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.wire.events.pop_front()
    }

    /// What the host offers.
    #[must_use]
    pub const fn host(&self) -> &Extensions {
        &self.wire.host
    }

    /// How the connection is protected.
    #[must_use]
    pub const fn tls(&self) -> TlsUsed {
        self.wire.tls
    }

    /// Whether a transaction can begin.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle(_))
    }

    /// Whether the host offered CHUNKING and does not know BDAT. It takes the content for commands then, so the
    /// session is over; nothing is decided about the recipients, who are tried again without.
    #[must_use]
    pub const fn chunking_refused(&self) -> bool {
        matches!(self.state, State::Over(End::NoChunking))
    }

    /// Transactions begun.
    #[must_use]
    pub const fn transactions(&self) -> u32 {
        self.wire.transactions
    }

    /// What was said since this was last asked.
    pub fn take_transcript(&mut self) -> String {
        self.wire.transcript.take()
    }
}
