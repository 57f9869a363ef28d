//! Logging in: the state that expects a response, and the questions that AUTH raises (RFC 4954 §4).

use mail::{EnhancedCode, Reply};

use super::command::ExpectMail;
use super::{Ask, Helo, State, Step, Wire};
use crate::sasl::{self, Binding, ClientFirst, Exchange, ExchangeError, Keys, Login, Progress};

/// A challenge has been sent: the response is due.
#[derive(Debug)]
pub struct ExpectResponse {
    helo: Helo,
    exchange: Exchange,
}

impl ExpectResponse {
    pub(super) fn step(self, wire: &mut Wire<'_>) -> Step {
        match wire.response_line() {
            None => Step::Wait(State::Response(self)),
            Some(Err(reply)) => Step::Reply(ExpectMail { helo: self.helo }.into(), reply),
            Some(Ok(line)) => proceed(self.helo, self.exchange.respond(&line)),
        }
    }
}

fn proceed(helo: Helo, progress: Result<Progress, ExchangeError>) -> Step {
    match progress {
        Ok(Progress::Challenge(text, exchange)) => Step::Reply(
            State::Response(ExpectResponse { helo, exchange }),
            Reply::new(334, None, text),
        ),
        Ok(Progress::NeedKeys(first)) => Step::Ask(Ask::Keys(AskKeys { helo, first })),
        Ok(Progress::Complete(login)) => Step::Ask(Ask::Login(AskLogin { helo, login })),
        Err(error) => Step::Reply(ExpectMail { helo }.into(), error.reply()),
    }
}

/// A client wants to log in.
#[derive(Debug)]
pub struct AskAuth {
    helo: Helo,
    mechanism: String,
    initial: Option<String>,
}

impl AskAuth {
    pub(super) const fn new(helo: Helo, mechanism: String, initial: Option<String>) -> Self {
        Self {
            helo,
            mechanism,
            initial,
        }
    }

    /// The exchange begins, on a connection that can be bound to this.
    #[must_use]
    pub fn begin(self, binding: Option<&Binding>) -> Step {
        let begun = sasl::begin(&self.mechanism, self.initial.as_deref(), binding);
        proceed(self.helo, begun)
    }

    /// Logging in is not possible here and now.
    #[must_use]
    pub fn refuse(self, reply: Reply) -> Step {
        Step::Reply(ExpectMail { helo: self.helo }.into(), reply)
    }
}

/// A client wants to prove who it is: what are the keys of that user?
#[derive(Debug)]
pub struct AskKeys {
    helo: Helo,
    first: Box<ClientFirst>,
}

impl AskKeys {
    /// Who it claims to be.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.first.user
    }

    /// The exchange goes on with these.
    #[must_use]
    pub fn challenge(self, keys: Keys) -> Step {
        proceed(self.helo, Ok(sasl::challenge(*self.first, keys)))
    }

    /// They are not available.
    #[must_use]
    pub fn refuse(self, reply: Reply) -> Step {
        Step::Reply(ExpectMail { helo: self.helo }.into(), reply)
    }
}

/// A client has said who it is: is it?
#[derive(Debug)]
pub struct AskLogin {
    helo: Helo,
    /// Who it claims to be.
    pub login: Login,
}

impl AskLogin {
    /// It is.
    #[must_use]
    pub fn accept(self) -> Step {
        let reply = Reply::new(
            235,
            Some(EnhancedCode::new(2, 7, 0)),
            "Authentication succeeded",
        );
        Step::Reply(ExpectMail { helo: self.helo }.into(), reply)
    }

    /// It is not, or nobody can say.
    #[must_use]
    pub fn refuse(self, reply: Reply) -> Step {
        Step::Reply(ExpectMail { helo: self.helo }.into(), reply)
    }
}
