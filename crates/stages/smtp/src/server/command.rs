//! The states that expect a command, and the questions that MAIL, RCPT and STARTTLS raise.

use std::collections::BTreeSet;

use mail::{Address, BodyType, EnhancedCode, Envelope, Recipient, Reply};

use super::content::{AskContent, SkipChunk, Transfer};
use super::login::AskAuth;
use super::{Ask, Helo, State, Step, Wire, ok, out_of_order};
use crate::command::{Command, ForwardPath, MailFrom, ParseCommandError, RcptTo, plain};

/// Nobody has introduced themselves: HELO or EHLO is due.
#[derive(Debug)]
pub struct ExpectHelo {}

/// No transaction is open: MAIL is due.
#[derive(Debug)]
pub struct ExpectMail {
    pub(super) helo: Helo,
}

/// A transaction is open: RCPT is due, or DATA or BDAT.
#[derive(Debug)]
pub struct ExpectRcpt {
    helo: Helo,
    envelope: Envelope,
    seen: BTreeSet<Address>,
    size: Option<u64>,
}

/// Reads a command in a state that expects one.
pub(super) fn step_command<S: Into<State>>(
    state: S,
    wire: &mut Wire<'_>,
    take: impl FnOnce(S, Command, &mut Wire<'_>) -> Step,
) -> Step {
    let line = match wire.command_line() {
        None => return Step::Wait(state.into()),
        Some(Err(reply)) => return Step::Reply(state.into(), reply),
        Some(Ok(line)) => line,
    };
    match Command::parse(&line, wire.offered) {
        Ok(command) => take(state, command, wire),
        Err(error) if error.ends_session() => Step::Close(error.reply()),
        Err(error) => Step::Reply(state.into(), error.reply()),
    }
}

/// Answers a command that changes nothing in this state; `due` says what does.
pub(super) fn aside(state: State, command: Command, due: &str) -> Step {
    let reply = match command {
        Command::Noop => Reply::new(250, Some(ok()), "OK"),
        Command::Vrfy => Reply::new(
            252,
            Some(EnhancedCode::new(2, 5, 0)),
            "Cannot VRFY the address, but will accept the message and attempt delivery",
        ),
        Command::Expn => Reply::new(
            502,
            Some(EnhancedCode::new(5, 5, 1)),
            "Mailing lists are not expanded on this server",
        ),
        Command::Help => Reply::new(
            214,
            Some(ok()),
            "EHLO, MAIL, RCPT, DATA or BDAT, RSET, NOOP, QUIT: see RFC 5321",
        ),
        Command::Quit => return Step::Close(Reply::new(221, Some(ok()), "Goodbye")),
        Command::Bdat { size, .. } => return SkipChunk::step_over(state, size, out_of_order(due)),
        Command::Helo(_)
        | Command::Ehlo(_)
        | Command::Mail(_)
        | Command::Rcpt(_)
        | Command::Data
        | Command::Rset
        | Command::StartTls
        | Command::Auth { .. } => out_of_order(due),
    };
    Step::Reply(state, reply)
}

fn introduce(name: String, extended: bool, wire: &Wire<'_>) -> Step {
    let keywords = wire.offered.to_string();
    let shown = plain(&name, name.len());
    let text = if extended && !keywords.is_empty() {
        format!("{} greets {shown}\n{keywords}", wire.hostname)
    } else {
        format!("{} greets {shown}", wire.hostname)
    };
    // No enhanced code here: RFC 2034 §3 exempts the answers to HELO and EHLO.
    let helo = Helo { name, extended };
    Step::Reply(ExpectMail { helo }.into(), Reply::new(250, None, text))
}

fn reset(helo: Helo) -> Step {
    Step::Reply(
        ExpectMail { helo }.into(),
        Reply::new(250, Some(ok()), "OK"),
    )
}

impl ExpectHelo {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever has no meaning in a state gets the state's one answer"
    )]
    pub(super) fn step(self, wire: &mut Wire<'_>) -> Step {
        step_command(self, wire, |state, command, wire| match command {
            Command::Helo(name) => introduce(name, false, wire),
            Command::Ehlo(name) => introduce(name, true, wire),
            Command::Rset => Step::Reply(state.into(), Reply::new(250, Some(ok()), "OK")),
            other => aside(state.into(), other, "Send EHLO first"),
        })
    }
}

impl ExpectMail {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever has no meaning in a state gets the state's one answer"
    )]
    pub(super) fn step(self, wire: &mut Wire<'_>) -> Step {
        step_command(self, wire, |state, command, wire| match command {
            Command::Mail(from) => Step::Ask(Ask::Mail(AskMail {
                helo: state.helo,
                from,
            })),
            Command::Auth { mechanism, initial } => {
                Step::Ask(Ask::Auth(AskAuth::new(state.helo, mechanism, initial)))
            }
            Command::StartTls => Step::Ask(Ask::StartTls(AskStartTls { helo: state.helo })),
            Command::Helo(name) => introduce(name, false, wire),
            Command::Ehlo(name) => introduce(name, true, wire),
            Command::Rset => reset(state.helo),
            other => aside(state.into(), other, "Send MAIL FROM first"),
        })
    }
}

impl ExpectRcpt {
    pub(super) const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever has no meaning in a state gets the state's one answer"
    )]
    pub(super) fn step(self, wire: &mut Wire<'_>) -> Step {
        step_command(self, wire, |state, command, wire| match command {
            Command::Rcpt(to) => state.rcpt(to),
            Command::Data => match state.envelope.recipients.is_empty() {
                // RFC 3030 §3: what is not made of lines would not survive it.
                _ if state.envelope.body_type == BodyType::BinaryMime => {
                    Step::Reply(state.into(), chunks_only())
                }
                true => Step::Reply(state.into(), no_recipients()),
                false => state.transfer(Transfer::Data),
            },
            Command::Bdat { size, last } => match state.envelope.recipients.is_empty() {
                true => SkipChunk::step_over(state.into(), size, no_recipients()),
                false => state.transfer(Transfer::Chunk { size, last }),
            },
            Command::Helo(name) => introduce(name, false, wire),
            Command::Ehlo(name) => introduce(name, true, wire),
            Command::Rset => reset(state.helo),
            other => aside(
                state.into(),
                other,
                "A transaction is open: continue with RCPT or DATA, or cancel it with RSET",
            ),
        })
    }

    fn rcpt(self, to: RcptTo) -> Step {
        let needs_utf8 = match &to.forward_path {
            ForwardPath::Address(address) => !address.is_ascii(),
            ForwardPath::Postmaster => false,
        };
        if needs_utf8 && !self.envelope.smtputf8 {
            return Step::Reply(self.into(), ParseCommandError::NeedsSmtpUtf8.reply());
        }
        Step::Ask(Ask::Rcpt(AskRcpt { state: self, to }))
    }

    fn transfer(self, transfer: Transfer) -> Step {
        Step::Ask(Ask::Content(AskContent {
            helo: self.helo,
            envelope: self.envelope,
            size: self.size,
            transfer,
        }))
    }
}

fn chunks_only() -> Reply {
    Reply::new(
        503,
        Some(EnhancedCode::new(5, 5, 1)),
        "BODY=BINARYMIME requires BDAT instead of DATA",
    )
}

fn no_recipients() -> Reply {
    Reply::new(
        554,
        Some(EnhancedCode::new(5, 5, 1)),
        "No valid recipients: none was accepted in this transaction",
    )
}

/// A client wants to open a transaction.
#[derive(Debug)]
pub struct AskMail {
    helo: Helo,
    /// What MAIL said.
    pub from: MailFrom,
}

impl AskMail {
    /// The transaction is open, with this envelope.
    #[must_use]
    pub fn accept(self, envelope: Envelope) -> Step {
        let state = ExpectRcpt {
            helo: self.helo,
            envelope,
            seen: BTreeSet::new(),
            size: self.from.params.size,
        };
        let reply = Reply::new(250, Some(EnhancedCode::new(2, 1, 0)), "Sender OK");
        Step::Reply(state.into(), reply)
    }

    /// The transaction does not begin.
    #[must_use]
    pub fn refuse(self, reply: Reply) -> Step {
        Step::Reply(ExpectMail { helo: self.helo }.into(), reply)
    }
}

/// A client names a recipient.
#[derive(Debug)]
pub struct AskRcpt {
    state: ExpectRcpt,
    /// What RCPT said.
    pub to: RcptTo,
}

impl AskRcpt {
    /// The transaction so far.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.state.envelope
    }

    /// The recipient is added; an address that is among them already is accepted again, and gets
    /// the mail once.
    #[must_use]
    pub fn accept(mut self, recipient: Recipient) -> Step {
        if self.state.seen.insert(recipient.address.clone()) {
            self.state.envelope.recipients.push(recipient);
        }
        let reply = Reply::new(250, Some(EnhancedCode::new(2, 1, 5)), "Recipient OK");
        Step::Reply(self.state.into(), reply)
    }

    /// The recipient is not added; the transaction goes on.
    #[must_use]
    pub fn refuse(self, reply: Reply) -> Step {
        Step::Reply(self.state.into(), reply)
    }
}

/// A client wants TLS.
#[derive(Debug)]
pub struct AskStartTls {
    helo: Helo,
}

impl AskStartTls {
    /// TLS begins after the reply, and then the session is at [`State::start`]: what the client
    /// said so far no longer counts, and nothing that it says before the handshake may be taken.
    #[must_use]
    pub fn accept(self) -> Reply {
        Reply::new(220, Some(ok()), "Ready to start TLS")
    }

    /// The session goes on as it is.
    #[must_use]
    pub fn refuse(self, reply: Reply) -> Step {
        Step::Reply(ExpectMail { helo: self.helo }.into(), reply)
    }
}

impl From<ExpectHelo> for State {
    fn from(state: ExpectHelo) -> Self {
        Self::Helo(state)
    }
}

impl From<ExpectMail> for State {
    fn from(state: ExpectMail) -> Self {
        Self::Mail(state)
    }
}

impl From<ExpectRcpt> for State {
    fn from(state: ExpectRcpt) -> Self {
        Self::Rcpt(state)
    }
}
