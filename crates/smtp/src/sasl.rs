//! Logging in on the server's side: PLAIN (RFC 4616), LOGIN and SCRAM-SHA-256 (RFC 7677), as far as
//! the exchange goes.
//!
//! Whether a password is right is decided elsewhere.

mod scram;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail::{EnhancedCode, Reply};

pub use scram::{Challenged, ClientFirst, Keys};

/// The mechanisms, in the order in which they are offered.
pub const MECHANISMS: [&str; 3] = ["SCRAM-SHA-256", "PLAIN", "LOGIN"];

/// How a client says that it is who it claims to be.
#[derive(Clone, PartialEq, Eq)]
pub enum Evidence {
    /// By its password, which is to be checked.
    Password(String),
    /// By a proof that it knows the password, which has been checked: whether it was right.
    Proof(bool),
}

/// What a client claims to be. `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// Why that should be believed.
    pub evidence: Evidence,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// What the next response of the client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// All of PLAIN.
    Plain,
    /// The first message of SCRAM.
    ScramFirst,
    /// The final message of SCRAM.
    ScramFinal(Box<Challenged>),
    /// Nothing more: the server's proof has been sent.
    ScramEnd {
        /// The user's name.
        user: String,
    },
    /// The user's name of LOGIN.
    LoginUser,
    /// The password of LOGIN.
    LoginPassword {
        /// The user's name.
        user: String,
    },
}

/// What follows from a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The reply 334 with this text, in base 64, and the next response is this.
    Challenge(String, Exchange),
    /// The keys of the user are needed, to challenge it.
    NeedKeys(Box<ClientFirst>),
    /// The exchange is complete.
    Complete(Login),
}

/// Why an exchange ended without a login to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The mechanism is not one of those offered.
    #[error("Mechanism not supported: use SCRAM-SHA-256, PLAIN or LOGIN")]
    Mechanism,
    /// The client sent `*`.
    #[error("Login cancelled")]
    Cancelled,
    /// Not base 64, or not what the mechanism sends.
    #[error("Login response is not what the mechanism asks for in base64")]
    Malformed,
    /// PLAIN with an authorization identity that is another user.
    #[error("Acting for another user is not supported: leave the authorization identity empty")]
    OtherIdentity,
}

impl ExchangeError {
    /// The reply to send.
    #[must_use]
    pub fn reply(self) -> Reply {
        let (code, enhanced) = match self {
            Self::Mechanism => (504, EnhancedCode::new(5, 5, 4)),
            Self::Cancelled => (501, EnhancedCode::new(5, 7, 0)),
            Self::Malformed => (501, EnhancedCode::new(5, 5, 2)),
            Self::OtherIdentity => (535, EnhancedCode::new(5, 7, 8)),
        };
        Reply::new(code, Some(enhanced), self.to_string())
    }
}

/// Begins an exchange, with the initial response of AUTH where the client gave one.
///
/// # Errors
/// When the mechanism is not known, or the response is not one.
pub fn begin(mechanism: &str, initial: Option<&str>) -> Result<Progress, ExchangeError> {
    let (exchange, challenge) = match mechanism {
        "SCRAM-SHA-256" => (Exchange::ScramFirst, ""),
        "PLAIN" => (Exchange::Plain, ""),
        "LOGIN" => (Exchange::LoginUser, "VXNlcm5hbWU6"),
        _ => return Err(ExchangeError::Mechanism),
    };
    match initial {
        None => Ok(Progress::Challenge(challenge.to_owned(), exchange)),
        // RFC 4954 §4: a lone `=` is an initial response of no octets.
        Some("=") => exchange.respond(b""),
        Some(response) => exchange.respond(response.as_bytes()),
    }
}

/// The challenge for a user with these keys.
#[must_use]
pub fn challenge(first: ClientFirst, keys: Keys) -> Progress {
    let (challenge, challenged) = first.challenge(keys);
    Progress::Challenge(
        STANDARD.encode(challenge),
        Exchange::ScramFinal(Box::new(challenged)),
    )
}

impl Exchange {
    /// Takes the client's response, still in base 64.
    ///
    /// # Errors
    /// When the client cancels, or the response is not one.
    pub fn respond(self, response: &[u8]) -> Result<Progress, ExchangeError> {
        if response == b"*" {
            return Err(ExchangeError::Cancelled);
        }
        let octets = STANDARD
            .decode(response)
            .map_err(|_| ExchangeError::Malformed)?;
        let text = String::from_utf8(octets).map_err(|_| ExchangeError::Malformed)?;
        match self {
            Self::Plain => plain(&text).map(Progress::Complete),
            Self::ScramFirst => {
                let first = ClientFirst::parse(&text)?;
                Ok(Progress::NeedKeys(Box::new(first)))
            }
            Self::ScramFinal(challenged) => Ok(match challenged.check(&text)? {
                Some(proved) => Progress::Challenge(
                    STANDARD.encode(proved.signature),
                    Self::ScramEnd { user: proved.user },
                ),
                None => Progress::Complete(Login {
                    user: challenged.user().to_owned(),
                    evidence: Evidence::Proof(false),
                }),
            }),
            Self::ScramEnd { user } if text.is_empty() => Ok(Progress::Complete(Login {
                user,
                evidence: Evidence::Proof(true),
            })),
            Self::ScramEnd { .. } => Err(ExchangeError::Malformed),
            Self::LoginUser => {
                let user = clean(&text)?;
                Ok(Progress::Challenge(
                    "UGFzc3dvcmQ6".to_owned(),
                    Self::LoginPassword { user },
                ))
            }
            Self::LoginPassword { user } => Ok(Progress::Complete(Login {
                user,
                evidence: Evidence::Password(text),
            })),
        }
    }
}

fn plain(text: &str) -> Result<Login, ExchangeError> {
    let mut parts = text.split('\0');
    let (Some(identity), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(ExchangeError::Malformed);
    };
    if !identity.is_empty() && identity != user {
        return Err(ExchangeError::OtherIdentity);
    }
    Ok(Login {
        user: clean(user)?,
        evidence: Evidence::Password(password.to_owned()),
    })
}

/// A user's name stands in logs and lists, so it has no control characters.
fn clean(user: &str) -> Result<String, ExchangeError> {
    if user.is_empty() || user.contains(char::is_control) {
        return Err(ExchangeError::Malformed);
    }
    Ok(user.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &str) -> String {
        STANDARD.encode(text)
    }

    fn login(user: &str, password: &str) -> Progress {
        Progress::Complete(Login {
            user: user.into(),
            evidence: Evidence::Password(password.into()),
        })
    }

    #[test]
    fn plain_comes_at_once_or_after_a_challenge() {
        let response = encode("\0ann\0secret");
        assert_eq!(begin("PLAIN", Some(&response)), Ok(login("ann", "secret")));
        let Ok(Progress::Challenge(empty, exchange)) = begin("PLAIN", None) else {
            panic!("no challenge");
        };
        assert_eq!(empty, "");
        assert_eq!(
            exchange.respond(response.as_bytes()),
            Ok(login("ann", "secret"))
        );
    }

    #[test]
    fn login_asks_for_name_and_password() {
        let Ok(Progress::Challenge(_, exchange)) = begin("LOGIN", None) else {
            panic!("no challenge");
        };
        let next = exchange.respond(encode("ann").as_bytes());
        let Ok(Progress::Challenge(_, exchange)) = next else {
            panic!("no second challenge");
        };
        let done = exchange.respond(encode("s p\u{e4}ce").as_bytes());
        assert_eq!(done, Ok(login("ann", "s p\u{e4}ce")));
        let user = encode("ann");
        assert!(matches!(
            begin("LOGIN", Some(&user)),
            Ok(Progress::Challenge(c, _)) if c == "UGFzc3dvcmQ6"
        ));
    }

    #[test]
    fn what_is_no_response_is_refused() {
        let cases = [
            (
                "CRAM-MD5".to_owned(),
                String::new(),
                ExchangeError::Mechanism,
            ),
            ("PLAIN".into(), "*".into(), ExchangeError::Cancelled),
            ("PLAIN".into(), "=".into(), ExchangeError::Malformed),
            ("PLAIN".into(), "!!".into(), ExchangeError::Malformed),
            (
                "PLAIN".into(),
                encode("ann\0secret"),
                ExchangeError::Malformed,
            ),
            (
                "PLAIN".into(),
                encode("\0a\0b\0c"),
                ExchangeError::Malformed,
            ),
            ("PLAIN".into(), encode("\0\0b"), ExchangeError::Malformed),
            (
                "PLAIN".into(),
                encode("\0a\r\nb\0c"),
                ExchangeError::Malformed,
            ),
            (
                "PLAIN".into(),
                encode("root\0ann\0c"),
                ExchangeError::OtherIdentity,
            ),
            ("LOGIN".into(), encode(""), ExchangeError::Malformed),
        ];
        for (mechanism, response, expected) in cases {
            assert_eq!(
                begin(&mechanism, Some(&response)),
                Err(expected),
                "{response}"
            );
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let login = Login {
            user: "ann".into(),
            evidence: Evidence::Password("secret".into()),
        };
        assert!(!format!("{login:?}").contains("secret"));
    }
}
