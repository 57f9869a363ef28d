//! Logging in to a relay: AUTH PLAIN and LOGIN (RFC 4954, RFC 4616).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use smtp::command;
use smtp::extension::Extensions;

use crate::session::Credentials;

/// Where a login stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    /// The credentials are sent; the verdict comes.
    Sent,
    /// LOGIN was named; the server asks for the user.
    AskedForUser,
    /// The user was sent; the server asks for the password.
    AskedForPassword,
}

/// Begins the best mechanism that both sides know; `None` when there is none.
pub(crate) fn begin(out: &mut BytesMut, offered: &Extensions, who: &Credentials) -> Option<Login> {
    if offered.has_auth("PLAIN") {
        let secret = format!("\0{}\0{}", who.username, who.password);
        command::auth(out, "PLAIN", Some(&STANDARD.encode(secret)));
        Some(Login::Sent)
    } else if offered.has_auth("LOGIN") {
        command::auth(out, "LOGIN", None);
        Some(Login::AskedForUser)
    } else {
        None
    }
}

/// Answers a challenge (334).
pub(crate) fn respond(out: &mut BytesMut, login: Login, who: &Credentials) -> Option<Login> {
    match login {
        Login::AskedForUser => {
            command::auth_response(out, &STANDARD.encode(&who.username));
            Some(Login::AskedForPassword)
        }
        Login::AskedForPassword => {
            command::auth_response(out, &STANDARD.encode(&who.password));
            Some(Login::Sent)
        }
        // PLAIN has no challenge behind its initial response.
        Login::Sent => None,
    }
}
