//! Logging in on the server's side: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS
//! (RFC 7677), as far as the exchange goes; and what both sides of SCRAM have in common.
//!
//! Whether a password is right is decided elsewhere.

mod binding;
mod hash;
mod prepare;
mod scram;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail::{EnhancedCode, Reply};

pub use binding::{Binding, BindingKind};
pub use hash::{ScramHash, is_same, xor};
pub use prepare::prepare;
pub use scram::{Challenged, Channel, ClientFirst, Keys};

/// SCRAM with channel binding, offered where the connection has a name of its own.
const PLUS: &str = "SCRAM-SHA-256-PLUS";
/// The other mechanisms, in the order in which they are offered.
const MECHANISMS: [&str; 3] = ["SCRAM-SHA-256", "PLAIN", "LOGIN"];

/// The mechanisms in the order in which they are offered, on a connection that can be bound to this.
#[must_use]
pub fn mechanisms(binding: Option<&Binding>) -> Vec<String> {
    let plus = binding.map(|_| PLUS);
    let all = plus.into_iter().chain(MECHANISMS);
    all.map(str::to_owned).collect()
}

/// Whether a word names a mechanism, one of ours or another that is well known: it is not a secret.
pub(crate) fn is_mechanism(word: &str) -> bool {
    let others = [
        "CRAM-MD5",
        "DIGEST-MD5",
        "EXTERNAL",
        "GSSAPI",
        "NTLM",
        "OAUTHBEARER",
        "SCRAM-SHA-1",
        "SCRAM-SHA-1-PLUS",
        "XOAUTH2",
    ];
    let mut all = MECHANISMS.iter().chain(&others).chain([&PLUS]);
    all.any(|name| name.eq_ignore_ascii_case(word))
}

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
    ScramFirst(Channel),
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
    #[error("Authentication cancelled")]
    Cancelled,
    /// Not base 64, or not what the mechanism sends.
    #[error("The response is not valid for this authentication mechanism, or not valid base64")]
    Malformed,
    /// PLAIN with an authorization identity that is another user.
    #[error(
        "Authorization as another user is not supported: leave the authorization identity empty"
    )]
    OtherIdentity,
    /// SCRAM without channel binding, because the client believes that there is none here.
    #[error(
        "Client and server both support channel binding: use SCRAM-SHA-256-PLUS. If it was not offered to you, the \
         connection is being intercepted"
    )]
    Downgraded,
    /// Channel binding of another kind than ours.
    #[error("This type of channel binding is not supported: use tls-exporter")]
    BindingKind,
    /// What the client has bound its proof to is not this connection.
    #[error("Channel binding does not match this connection: the connection may be intercepted")]
    Binding,
}

impl ExchangeError {
    /// The reply to send.
    #[must_use]
    pub fn reply(self) -> Reply {
        let (code, enhanced) = match self {
            Self::Mechanism => (504, EnhancedCode::new(5, 5, 4)),
            Self::Cancelled => (501, EnhancedCode::new(5, 7, 0)),
            Self::Malformed => (501, EnhancedCode::new(5, 5, 2)),
            Self::OtherIdentity | Self::Downgraded | Self::BindingKind | Self::Binding => {
                (535, EnhancedCode::new(5, 7, 8))
            }
        };
        Reply::new(code, Some(enhanced), self.to_string())
    }
}

/// Begins an exchange, with the initial response of AUTH where the client gave one; `binding` is what
/// the connection can be bound to.
///
/// # Errors
/// When the mechanism is not known here, or the response is not one.
pub fn begin(
    mechanism: &str,
    initial: Option<&str>,
    binding: Option<&Binding>,
) -> Result<Progress, ExchangeError> {
    let (exchange, challenge) = match mechanism {
        PLUS => {
            let binding = binding.cloned().ok_or(ExchangeError::Mechanism)?;
            (Exchange::ScramFirst(Channel::Bound(binding)), "")
        }
        "SCRAM-SHA-256" => {
            let channel = binding.map_or(Channel::Unknown, |_| Channel::Unbound);
            (Exchange::ScramFirst(channel), "")
        }
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
            Self::ScramFirst(channel) => {
                let first = ClientFirst::parse(&text, &channel)?;
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
        assert_eq!(
            begin("PLAIN", Some(&response), None),
            Ok(login("ann", "secret"))
        );
        let Ok(Progress::Challenge(empty, exchange)) = begin("PLAIN", None, None) else {
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
        let Ok(Progress::Challenge(_, exchange)) = begin("LOGIN", None, None) else {
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
            begin("LOGIN", Some(&user), None),
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
                begin(&mechanism, Some(&response), None),
                Err(expected),
                "{response}"
            );
        }
    }

    #[test]
    fn binding_is_offered_where_the_connection_has_a_name() {
        let binding = Binding {
            kind: BindingKind::TlsExporter,
            data: vec![1; 32],
        };
        assert_eq!(mechanisms(None), ["SCRAM-SHA-256", "PLAIN", "LOGIN"]);
        assert_eq!(
            mechanisms(Some(&binding)).first().map(String::as_str),
            Some(PLUS)
        );
        assert_eq!(begin(PLUS, None, None), Err(ExchangeError::Mechanism));
        let first = encode("p=tls-exporter,,n=ann,r=x");
        assert!(matches!(
            begin(PLUS, Some(&first), Some(&binding)),
            Ok(Progress::NeedKeys(_))
        ));
        let first = encode("y,,n=ann,r=x");
        let downgraded = begin("SCRAM-SHA-256", Some(&first), Some(&binding));
        assert_eq!(downgraded, Err(ExchangeError::Downgraded));
        assert_eq!(ExchangeError::Downgraded.reply().code, 535);
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
