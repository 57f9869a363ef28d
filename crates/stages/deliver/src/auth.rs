//! Logging in to a relay (RFC 4954): by the strongest mechanism that both sides have.
//!
//! A machine of its own: it is fed with the relay's replies, and says what is to be sent. The session takes
//! care that this happens inside TLS only. What it proves itself with never shows in `Debug`.

mod cram;
mod masked;
mod mechanism;
mod scram;

use std::borrow::Cow;
use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use mail::{EnhancedCode, Reply};
use smtp::command;
use smtp::extension::Extensions;
use smtp::sasl::{Binding, ScramHash};

pub use masked::Masked;
pub use mechanism::Mechanism;
pub use scram::Derivation;
use scram::{Challenged, First, Flag, Trouble};

/// The longest line of a command without its end (RFC 5321 §4.5.3.1.4); a longer initial response waits
/// until it is asked for (RFC 4954 §4).
const COMMAND_MAX: usize = 510;
/// How much is kept of the reason that a relay gives for refusing a token.
const REASON_MAX: usize = 500;
/// What stands between the parts of a message with a token, and answers the refusal (RFC 7628 §3.1, §3.2.3).
const SEPARATOR: &str = "\u{1}";

/// What one proves oneself with.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A password.
    Password(String),
    /// An access token of OAuth 2 (RFC 6750).
    Token(String),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password",
            Self::Token(_) => "Token",
        })
    }
}

/// A login at a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who.
    pub username: String,
    /// By what.
    pub secret: Secret,
    /// The mechanisms that may be used; which is tried first does not depend on their order.
    pub mechanisms: Vec<Mechanism>,
}

/// What follows.
#[derive(Clone, PartialEq, Eq)]
pub enum LoginStep {
    /// Send this line, and hand the reply in.
    Say(Bytes),
    /// Compute this key, and hand it in.
    Derive(Derivation),
    /// We are logged in.
    Done,
    /// We are not: the relay's reply, or our own account.
    Failed(Reply),
}

impl std::fmt::Debug for LoginStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Say(_) => f.write_str("Say"),
            Self::Derive(derivation) => derivation.fmt(f),
            Self::Done => f.write_str("Done"),
            Self::Failed(reply) => f.debug_tuple("Failed").field(reply).finish(),
        }
    }
}

/// What the next reply is an answer to.
#[derive(Clone, PartialEq, Eq)]
enum State {
    /// Nothing was said yet.
    Start,
    /// AUTH without its initial response, which is this, in base 64 already; then comes what is inside.
    Named(String, Box<Self>),
    /// All was said; the verdict comes.
    Sent,
    /// LOGIN asks for the user.
    AskedForUser,
    /// LOGIN asks for the password.
    AskedForPassword,
    /// CRAM-MD5 sends its challenge.
    CramMd5,
    /// SCRAM sends its challenge.
    Scram(First),
    /// The password's key is being computed.
    Deriving(Challenged),
    /// Our proof was sent; the relay's is to be this.
    Proved(Vec<u8>),
    /// A token was sent; a challenge says why it is refused.
    Token,
    /// The refusal of a token was heard out; the final reply comes.
    TokenRefused(String),
    /// We have ended the exchange, for this reason; nothing in the reply can change that.
    Cancelled(Trouble),
}

impl State {
    /// The relay still has to prove itself.
    fn is_unproven(&self) -> bool {
        match self {
            Self::Scram(_) | Self::Deriving(_) | Self::Proved(_) => true,
            Self::Named(_, next) => next.is_unproven(),
            Self::Start
            | Self::Sent
            | Self::AskedForUser
            | Self::AskedForPassword
            | Self::CramMd5
            | Self::Token
            | Self::TokenRefused(_)
            | Self::Cancelled(_) => false,
        }
    }
}

/// A login under way.
#[derive(Clone, PartialEq, Eq)]
pub struct LogIn {
    credentials: Credentials,
    nonce: String,
    /// What is tried when the mechanism that is being tried is refused.
    left: VecDeque<(Mechanism, Flag)>,
    tried: usize,
    mechanism: Option<Mechanism>,
    state: State,
}

impl std::fmt::Debug for LogIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogIn")
            .field("mechanism", &self.mechanism)
            .finish_non_exhaustive()
    }
}

impl LogIn {
    /// A login at a host that offers this, on a connection that can be bound to these, the best
    /// first. The nonce is printable, has no comma, and is never used twice.
    #[must_use]
    pub fn new(
        credentials: Credentials,
        offered: &Extensions,
        bindings: &[Binding],
        nonce: String,
    ) -> Self {
        Self {
            left: mechanism::choices(&credentials, offered, bindings),
            credentials,
            nonce,
            tried: 0,
            mechanism: None,
            state: State::Start,
        }
    }

    /// A line of this login as it may be shown.
    #[must_use]
    pub fn shown(&self, line: &[u8]) -> String {
        match self.mechanism {
            Some(mechanism) if line.starts_with(b"AUTH ") => {
                format!("AUTH {} (credentials not shown)", mechanism.name())
            }
            _ => "(credentials not shown)".to_owned(),
        }
    }

    /// Who logs in.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.credentials.username
    }

    /// Begins the strongest mechanism that both sides know; `None` when there is none (any more).
    pub fn begin(&mut self) -> Option<LoginStep> {
        let (mechanism, flag) = self.left.pop_front()?;
        self.mechanism = Some(mechanism);
        self.tried += 1;
        let (initial, state) = self.first(mechanism, flag);
        let initial = initial.map(|text| STANDARD.encode(text));
        let mut line = BytesMut::new();
        command::auth(&mut line, mechanism.name(), initial.as_deref());
        self.state = match initial {
            Some(initial) if line.len() > COMMAND_MAX + 2 => {
                line.clear();
                command::auth(&mut line, mechanism.name(), None);
                State::Named(initial, Box::new(state))
            }
            Some(_) | None => state,
        };
        Some(LoginStep::Say(line.freeze()))
    }

    /// What a mechanism begins with, and what comes then.
    fn first(&self, mechanism: Mechanism, flag: Flag) -> (Option<String>, State) {
        use Mechanism as M;
        let user = &self.credentials.username;
        let (Secret::Password(secret) | Secret::Token(secret)) = &self.credentials.secret;
        let scram = |hash| {
            let nonce = format!("{}{}", self.nonce, self.tried);
            let first = First::new(hash, user, nonce, flag.clone());
            (Some(first.message()), State::Scram(first))
        };
        match mechanism {
            M::ScramSha256Plus | M::ScramSha256 => scram(ScramHash::Sha256),
            M::ScramSha1Plus | M::ScramSha1 => scram(ScramHash::Sha1),
            M::CramMd5 => (None, State::CramMd5),
            M::Plain => (Some(format!("\0{user}\0{secret}")), State::Sent),
            M::Login => (None, State::AskedForUser),
            M::OauthBearer => {
                let name = scram::escaped(user);
                let s = SEPARATOR;
                let text = format!("n,a={name},{s}auth=Bearer {secret}{s}{s}");
                (Some(text), State::Token)
            }
            M::Xoauth2 => {
                let s = SEPARATOR;
                let text = format!("user={user}{s}auth=Bearer {secret}{s}{s}");
                (Some(text), State::Token)
            }
        }
    }

    /// Takes the relay's reply.
    pub fn answer(&mut self, reply: &Reply) -> LoginStep {
        let state = std::mem::replace(&mut self.state, State::Sent);
        if let State::Cancelled(trouble) = state {
            let why = match trouble {
                Trouble::BindingKind => {
                    // Less than was offered must not be the way out: another kind of binding is.
                    self.left.retain(|(_, flag)| matches!(flag, Flag::Bound(_)));
                    let text = "the relay supports channel binding, but no type that is known here (auth = \
                                [\"SCRAM-SHA-256\"] works without it)";
                    return self.next_or(|| own(text));
                }
                Trouble::Other(why) => why,
            };
            return LoginStep::Failed(own(&why));
        }
        if reply.code == 334 {
            return self.challenge(state, reply.text.trim());
        }
        if reply.is_positive() {
            // Without its proof the relay's word is worth nothing.
            return match state.is_unproven() {
                true => LoginStep::Failed(own(scram::UNPROVEN)),
                false => LoginStep::Done,
            };
        }
        if let State::TokenRefused(reason) = state {
            return LoginStep::Failed(with_reason(reply, &reason));
        }
        match is_of_mechanism(reply) {
            true => self.next_or(|| reply.clone()),
            false => LoginStep::Failed(reply.clone()),
        }
    }

    /// Takes the key that was asked for.
    pub fn derived(&mut self, key: &[u8]) -> LoginStep {
        let state = std::mem::replace(&mut self.state, State::Sent);
        let State::Deriving(challenged) = state else {
            return LoginStep::Failed(own("internal error: a key was derived in the wrong state"));
        };
        let (proof, expected) = challenged.proof(key);
        self.respond(proof.as_bytes(), State::Proved(expected))
    }

    fn challenge(&mut self, state: State, text: &str) -> LoginStep {
        // The questions of LOGIN are for people: some servers ask them in clear text.
        let is_for_people = matches!(state, State::AskedForUser | State::AskedForPassword);
        match STANDARD.decode(text) {
            Ok(octets) => self.proceed(state, &octets),
            Err(_) if is_for_people => self.proceed(state, &[]),
            Err(_) => self.cancel(Trouble::Other(
                "the relay sent a login challenge that is not valid base64".to_owned(),
            )),
        }
    }

    fn proceed(&mut self, state: State, octets: &[u8]) -> LoginStep {
        let (Secret::Password(secret) | Secret::Token(secret)) = &self.credentials.secret;
        let said = String::from_utf8_lossy(octets);
        match state {
            State::Named(initial, next) => self.say(&initial, *next),
            State::AskedForUser => {
                let user = self.credentials.username.clone();
                self.respond(user.as_bytes(), State::AskedForPassword)
            }
            State::AskedForPassword => {
                let secret = secret.clone();
                self.respond(secret.as_bytes(), State::Sent)
            }
            State::CramMd5 => {
                let response = cram::response(&self.credentials.username, secret, octets);
                self.respond(response.as_bytes(), State::Sent)
            }
            State::Scram(first) => match first.challenged(&said, secret) {
                Ok((challenged, derivation)) => {
                    self.state = State::Deriving(challenged);
                    LoginStep::Derive(derivation)
                }
                Err(trouble) => self.cancel(trouble),
            },
            State::Proved(expected) => match scram::check_signature(&said, &expected) {
                Ok(()) => self.respond(b"", State::Sent),
                Err(trouble) => self.cancel(trouble),
            },
            State::Token => {
                let reason = said.chars().filter(|c| !c.is_control());
                let next = State::TokenRefused(reason.take(REASON_MAX).collect());
                match self.mechanism {
                    Some(Mechanism::OauthBearer) => self.respond(SEPARATOR.as_bytes(), next),
                    _ => self.respond(b"", next),
                }
            }
            State::Start
            | State::Sent
            | State::Deriving(_)
            | State::TokenRefused(_)
            | State::Cancelled(_) => {
                let why = "the relay sent an unexpected login challenge".to_owned();
                self.cancel(Trouble::Other(why))
            }
        }
    }

    /// Ends the exchange, so that the session can be ended, or gone on with, in order.
    fn cancel(&mut self, trouble: Trouble) -> LoginStep {
        self.say("*", State::Cancelled(trouble))
    }

    fn respond(&mut self, octets: &[u8], next: State) -> LoginStep {
        self.say(&STANDARD.encode(octets), next)
    }

    fn say(&mut self, response: &str, next: State) -> LoginStep {
        let mut line = BytesMut::new();
        command::auth_response(&mut line, response);
        self.state = next;
        LoginStep::Say(line.freeze())
    }

    fn next_or(&mut self, failure: impl FnOnce() -> Reply) -> LoginStep {
        self.begin().unwrap_or_else(|| LoginStep::Failed(failure()))
    }
}

/// The account of a relay that offers no way to log in.
#[must_use]
pub fn nothing_in_common(offered: &Extensions) -> Reply {
    let names = match offered.auth.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    let text = format!(
        "a login is configured, but none of the authentication mechanisms that the relay offers can be used: \
         {names}"
    );
    Reply::own(EnhancedCode::new(4, 7, 4), text)
}

/// A reply as it may be shown: whoever sees the challenges of SCRAM, and the relay's proof, can guess passwords
/// at leisure.
#[must_use]
pub fn shown_reply(reply: &Reply) -> Cow<'_, Reply> {
    match reply.code {
        334 => Cow::Owned(Reply::new(334, None, "(challenge not shown)")),
        _ => Cow::Borrowed(reply),
    }
}

/// The relay has something against the mechanism, not against who we are (RFC 4954 §4, §6).
fn is_of_mechanism(reply: &Reply) -> bool {
    let code = reply.enhanced.map(|e| (e.subject, e.detail));
    matches!(reply.code, 504 | 534) || reply.is_permanent() && code == Some((7, 4))
}

fn own(why: &str) -> Reply {
    let text = format!("the login at the relay failed: {why}");
    Reply::own(EnhancedCode::new(4, 7, 5), text)
}

/// The final reply often says less than the challenge before it.
fn with_reason(reply: &Reply, reason: &str) -> Reply {
    let mut reply = reply.clone();
    if !reason.is_empty() {
        reply.text = format!("{} ({reason})", reply.text);
    }
    reply
}

#[cfg(test)]
mod tests;
