//! Who asks for a page.

use accounts::Session;
use axum::extract::FromRequestParts;
use axum::http::header::COOKIE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use console::Visitor;
use ops::Role;

use crate::error::PageError;
use crate::state::Web;

/// The cookie under HTTPS: a browser takes one of this name from this host alone, over TLS (RFC 6265bis §4.1.3.2).
const SECURE: &str = "__Host-sendoff";
/// The cookie on loopback without TLS.
const PLAIN: &str = "sendoff";

/// Somebody who is logged in.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) session: Session,
    /// The page that is asked for, to come back to.
    pub(crate) here: String,
}

impl User {
    pub(crate) const fn role(&self) -> Role {
        self.session.role
    }

    /// The name in log and audit.
    pub(crate) fn who(&self) -> String {
        format!("console={}", self.session.name)
    }
}

/// The session's token that a request carries.
pub(crate) fn token(headers: &HeaderMap, is_tls: bool) -> Option<String> {
    let name = if is_tls { SECURE } else { PLAIN };
    let cookies = headers.get_all(COOKIE).iter();
    let cookies = cookies.filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';'));
    pairs.find_map(|pair| {
        let (given, value) = pair.trim().split_once('=')?;
        (given == name).then(|| value.to_owned())
    })
}

/// The header field that gives a browser its session; without a token: takes it away.
pub(crate) fn cookie(token: Option<&str>, is_tls: bool) -> String {
    let name = if is_tls { SECURE } else { PLAIN };
    let secure = if is_tls { "; Secure" } else { "" };
    let (value, age) = match token {
        Some(token) => (token, ""),
        None => ("", "; Max-Age=0"),
    };
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}")
}

/// From where somebody asks.
pub(crate) fn visitor(parts: &Parts) -> Result<Visitor, PageError> {
    let visitor = parts.extensions.get::<Visitor>().copied();
    visitor.ok_or_else(|| PageError::unavailable("the client's address is unknown"))
}

impl FromRequestParts<Web> for User {
    type Rejection = PageError;
    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, PageError> {
        let visitor = visitor(parts)?;
        let here = match parts.method {
            Method::GET => parts.uri.path_and_query().map_or("/", |p| p.as_str()),
            _ => "/",
        };
        let token = token(&parts.headers, visitor.is_tls);
        let session = token.and_then(|token| web.0.accounts.session(&token, web.now()));
        let session = session.ok_or_else(|| PageError::log_in(here))?;
        Ok(Self {
            session,
            here: here.to_owned(),
        })
    }
}
