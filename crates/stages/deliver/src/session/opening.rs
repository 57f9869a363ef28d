//! The states from the greeting to the point where transactions can begin.

use mail::{EnhancedCode, Reply, Timestamp, TlsUsed};
use smtp::command;
use smtp::extension::{Extension, Extensions};
use smtp::sasl::Binding;

use super::transacting::Idle;
use super::wire::Wire;
use super::{Event, State};
use crate::auth::{self, LogIn, LoginStep};
use crate::judge::Stage;
use crate::protocol::Protocol;
use crate::tls_mode::TlsMode;

/// What a login can be bound to, the best first, and its nonce.
pub(super) type Bound = (Vec<Binding>, String);

/// The host is to greet.
#[derive(Debug, Default)]
pub(super) struct ExpectGreeting {
    pub(super) bound: Bound,
}

impl ExpectGreeting {
    pub(super) fn answered(self, wire: &mut Wire, now: Timestamp, reply: &Reply) -> State {
        match reply.is_positive() {
            true => hello(wire, now, self.bound),
            false => wire.give_up(Stage::Greeting, reply),
        }
    }
}

fn hello(wire: &mut Wire, now: Timestamp, bound: Bound) -> State {
    let protocol = wire.settings.protocol;
    let name = wire.settings.ehlo_name.clone();
    wire.command(now, |line| match protocol {
        Protocol::Smtp => command::ehlo(line, &name),
        Protocol::Lmtp => command::lhlo(line, &name),
    });
    State::Ehlo(ExpectEhlo { bound })
}

/// EHLO or LHLO is to be answered.
#[derive(Debug)]
pub(super) struct ExpectEhlo {
    bound: Bound,
}

impl ExpectEhlo {
    /// `raw` is the reply before what is secret in it was masked.
    pub(super) fn answered(
        self,
        wire: &mut Wire,
        now: Timestamp,
        raw: &Reply,
        reply: &Reply,
    ) -> State {
        if reply.is_positive() {
            let ignored = wire.settings.ignore.iter();
            wire.host = ignored.fold(Extensions::parse(raw), |host, e| host.without(*e));
            return introduced(wire, now, self.bound);
        }
        // A server that knows only HELO says 500 or 502; some say 550 or 554 (RFC 5321 §3.2).
        if reply.is_permanent() && may_use_helo(wire) {
            let name = wire.settings.ehlo_name.clone();
            wire.command(now, |line| command::helo(line, &name));
            return State::Helo(ExpectHelo { bound: self.bound });
        }
        wire.give_up(Stage::Ehlo, reply)
    }
}

/// HELO has neither logins nor TLS.
const fn may_use_helo(wire: &Wire) -> bool {
    let is_smtp = matches!(wire.settings.protocol, Protocol::Smtp);
    let needs_tls = wire.is_clear() && wire.settings.tls.is_mandatory();
    is_smtp && !needs_tls && wire.settings.credentials.is_none()
}

/// HELO is to be answered.
#[derive(Debug)]
pub(super) struct ExpectHelo {
    bound: Bound,
}

impl ExpectHelo {
    pub(super) fn answered(self, wire: &mut Wire, now: Timestamp, reply: &Reply) -> State {
        match reply.is_positive() {
            true => introduced(wire, now, self.bound),
            false => wire.give_up(Stage::Ehlo, reply),
        }
    }
}

fn introduced(wire: &mut Wire, now: Timestamp, bound: Bound) -> State {
    let offered = wire.host.has(Extension::StartTls);
    let wanted = wire.settings.tls != TlsMode::None && wire.tls != TlsUsed::FellBack;
    if wire.is_clear() && offered && wanted {
        wire.command(now, command::starttls);
        State::StartTls(ExpectStartTls {})
    } else if wire.is_clear() && wire.settings.tls.is_mandatory() {
        let text = "TLS is required, but the host does not offer STARTTLS";
        wire.give_up(Stage::Tls, &Reply::own(EnhancedCode::new(4, 7, 4), text))
    } else {
        log_in(wire, now, bound)
    }
}

/// STARTTLS is to be answered.
#[derive(Debug)]
pub(super) struct ExpectStartTls {}

impl ExpectStartTls {
    pub(super) fn answered(self, wire: &mut Wire, now: Timestamp, reply: &Reply) -> State {
        if reply.is_positive() {
            wire.since = now;
            wire.events.push_back(Event::StartTls);
            return State::Handshake(Handshake::default());
        }
        match wire.settings.tls.is_mandatory() {
            true => wire.give_up(Stage::Tls, reply),
            // Offered and refused: this connection goes on in clear, where nothing can be bound.
            false => log_in(wire, now, Bound::default()),
        }
    }
}

/// The shell shakes hands.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    pub(super) bound: Bound,
}

impl Handshake {
    /// Everything learned before it is forgotten (RFC 3207 §4.2).
    pub(super) fn done(self, wire: &mut Wire, now: Timestamp, tls: TlsUsed) -> State {
        wire.tls = tls;
        wire.host = Extensions::none();
        wire.transcript.note("(TLS established)");
        hello(wire, now, self.bound)
    }
}

fn log_in(wire: &mut Wire, now: Timestamp, (bindings, nonce): Bound) -> State {
    let Some(credentials) = wire.settings.credentials.clone() else {
        return ready(wire, now);
    };
    if wire.is_clear() {
        let text = "a login is configured, but the relay offers no TLS: passwords are never sent unencrypted";
        return wire.give_up(Stage::Login, &Reply::own(EnhancedCode::new(4, 7, 4), text));
    }
    let mut login = LogIn::new(credentials, &wire.host, &bindings, nonce);
    match login.begin() {
        Some(step) => follow(wire, now, Box::new(login), step),
        None => {
            let reply = auth::nothing_in_common(&wire.host);
            wire.give_up(Stage::Login, &reply)
        }
    }
}

/// A step of the login is to be answered.
#[derive(Debug)]
pub(super) struct ExpectLogin {
    login: Box<LogIn>,
}

impl ExpectLogin {
    /// `raw`: nothing in it is masked.
    pub(super) fn answered(mut self, wire: &mut Wire, now: Timestamp, raw: &Reply) -> State {
        let step = self.login.answer(raw);
        follow(wire, now, self.login, step)
    }
}

/// A key for the login is being computed; the host is not heard before it is there.
#[derive(Debug)]
pub(super) struct Deriving {
    login: Box<LogIn>,
}

impl Deriving {
    pub(super) fn derived(mut self, wire: &mut Wire, now: Timestamp, key: &[u8]) -> State {
        let step = self.login.derived(key);
        follow(wire, now, self.login, step)
    }
}

fn follow(wire: &mut Wire, now: Timestamp, login: Box<LogIn>, step: LoginStep) -> State {
    wire.since = now;
    match step {
        LoginStep::Say(line) => {
            wire.masked.said(&line, login.username());
            wire.transcript.note(&login.shown(&line));
            wire.tell_sent();
            wire.out.push_back(line);
            State::Login(ExpectLogin { login })
        }
        LoginStep::Derive(derivation) => {
            wire.events.push_back(Event::Derive(derivation));
            State::Deriving(Deriving { login })
        }
        LoginStep::Done => ready(wire, now),
        LoginStep::Failed(reply) => {
            let reply = wire.masked.reply(&reply);
            wire.give_up(Stage::Login, &reply)
        }
    }
}

fn ready(wire: &mut Wire, now: Timestamp) -> State {
    wire.since = now;
    wire.events.push_back(Event::Ready);
    State::Idle(Idle { dirty: false })
}
