//! What a session asks of the shell, what it is answered, and what it tells the log.

use std::fmt;

use mail::{Address, EnhancedCode, Message, QueueId, Reply};
use smtp::sasl::Login;

use crate::User;

/// What the shell must do for a session, after it has written all output.
#[derive(Debug)]
pub enum Request {
    /// Make the TLS handshake, then call `Session::tls_started`. What was read before the
    /// handshake and not used up goes to `receive` first: the session ends when there is any.
    StartTls,
    /// Fetch a user's keys, or some that nobody can prove to know where there is no such user, then
    /// call `Session::keys_fetched`.
    FetchKeys(String),
    /// Check whether a client is the user that it claims to be, then call `Session::login_checked`.
    CheckLogin(Login),
    /// Ask the local store whether it takes mail for a recipient, then call
    /// `Session::recipient_checked`.
    CheckRecipient(Address),
    /// Save a message for good, then call `Session::accepted`.
    Accept(Box<Message>),
    /// Close the connection.
    Close,
}

/// Why a user's keys are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoKeys {
    /// They cannot be had at the moment.
    Unavailable,
    /// Too many logins have failed from the client's address or network, or for this user.
    TooMany,
}

/// What came of checking a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginVerdict {
    /// It is this user.
    Right(User),
    /// It is not, or there is no such user.
    Wrong,
    /// It could not be checked.
    Unavailable,
    /// Too many logins have failed from the client's address or network, or for this user.
    TooMany,
}

/// Why a message was not saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptFailure {
    /// There is no room.
    Full,
    /// Saving failed.
    Failed,
    /// The server is stopping.
    Stopping,
}

impl AcceptFailure {
    /// The reply to send.
    #[must_use]
    pub fn reply(self) -> Reply {
        let (code, detail, text) = match self {
            Self::Full => (
                452,
                1,
                "Not enough disk space for the message: try again later",
            ),
            Self::Failed => (451, 0, "The message could not be stored: try again later"),
            Self::Stopping => (451, 2, "The server is stopping: try again later"),
        };
        Reply::new(code, Some(EnhancedCode::new(4, 3, detail)), text)
    }
}

/// Something worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A command of the client, secrets masked; only while detailed.
    Command(String),
    /// A reply of ours; only while detailed.
    Reply(Reply),
    /// A sender, a recipient or a mail was refused.
    Refused {
        /// The sender, recipient or queue id.
        what: String,
        /// The reply that was sent.
        reply: Reply,
    },
    /// A user logged in.
    LoggedIn {
        /// The user's name.
        user: String,
    },
    /// A login failed.
    LoginFailed {
        /// The name that was given.
        user: String,
        /// The connection was protected.
        tls: bool,
    },
    /// The session was ended for too many errors.
    TooManyErrors,
    /// The session was ended for waiting too long.
    TimedOut {
        /// What was waited for.
        reason: &'static str,
    },
    /// The session was ended because something was sent after STARTTLS in clear text: somebody
    /// between client and server may have put it there.
    InjectedBehindStartTls,
    /// A quota is nearly used up.
    QuotaNear {
        /// The mail that was taken last.
        id: QueueId,
        /// Which, and how much of it.
        what: String,
    },
    /// The client was gone before its transaction ended.
    Lost,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(line) => write!(f, "command: {}", line.escape_debug()),
            // With the end of SCRAM a password could be guessed at leisure.
            Self::Reply(reply) if reply.code == 334 => f.write_str("reply: 334 ***"),
            Self::Reply(reply) => write!(f, "reply: {reply}"),
            Self::Refused { what, reply } => write!(f, "refused {what}: {reply}"),
            Self::LoggedIn { user } => write!(f, "user {user} logged in"),
            Self::LoginFailed { user, tls } => {
                let how = if *tls { "with TLS" } else { "without TLS" };
                write!(f, "login of user {user} failed ({how})")
            }
            Self::TooManyErrors => f.write_str("ended: too many errors"),
            Self::TimedOut { reason } => write!(f, "ended: timed out waiting for {reason}"),
            Self::InjectedBehindStartTls => f.write_str("ended: unencrypted data after STARTTLS"),
            Self::QuotaNear { what, .. } => write!(f, "quota nearly used up: {what}"),
            Self::Lost => f.write_str("connection lost during a transaction"),
        }
    }
}
