//! Who asks, and whether they may: the Host header, the key, its scope, and the networks that need
//! none.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::backend::Settings;
use crate::keys::{Key, Scope};
use crate::problem::Problem;
use crate::router::Console;

/// How long a request with a wrong key waits for its answer.
const WRONG_KEY_WAIT: Duration = Duration::from_millis(500);

/// The client's address, as the connection has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) key: Arc<Key>,
    pub(crate) peer: IpAddr,
}

impl Caller {
    /// The name in log, quotas and actions.
    pub(crate) fn name(&self) -> String {
        format!("key={}", self.key.name)
    }

    /// The submitter that it may look at the mail of; `None`: at everybody's.
    pub(crate) fn only(&self) -> Option<String> {
        (!self.key.allows(Scope::Read)).then(|| self.name())
    }

    /// Whether it may look at mail of this submitter.
    pub(crate) fn sees(&self, submitter: &str) -> bool {
        self.only().is_none_or(|own| own == submitter)
    }
}

/// A caller who may hand mail in.
#[derive(Debug)]
pub(crate) struct Sender(pub(crate) Caller);
/// A caller who may look at the mail of its own key, or at everybody's: [`Caller::only`] says.
#[derive(Debug)]
pub(crate) struct OwnReader(pub(crate) Caller);
/// A caller who may look at everything.
#[derive(Debug)]
pub(crate) struct Reader(pub(crate) Caller);
/// A caller who may change things.
#[derive(Debug)]
pub(crate) struct Admin(pub(crate) Caller);
/// Somebody in the networks that may look at figures and health.
#[derive(Debug)]
pub(crate) struct Watcher;

impl FromRequestParts<Console> for Sender {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        authorize(parts, console, Scope::Send).await.map(Self)
    }
}

impl FromRequestParts<Console> for Reader {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        authorize(parts, console, Scope::Read).await.map(Self)
    }
}

impl FromRequestParts<Console> for OwnReader {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        authorize(parts, console, Scope::ReadOwn).await.map(Self)
    }
}

impl FromRequestParts<Console> for Admin {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        authorize(parts, console, Scope::Admin).await.map(Self)
    }
}

impl FromRequestParts<Console> for Watcher {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        let peer = peer(parts)?;
        let settings = console.backend().settings();
        let may = settings.metrics_networks.iter().any(|n| n.contains(&peer));
        if may {
            return Ok(Self);
        }
        let why = format!("{peer} may not look at figures and health");
        console.backend().log_refused(peer, None, &why);
        Err(
            Problem::new(StatusCode::FORBIDDEN, "wrong-network", why).remedy(
                "An administrator adds the network to console.metrics_networks in the configuration.",
            ),
        )
    }
}

fn peer(parts: &Parts) -> Result<IpAddr, Problem> {
    let peer = parts.extensions.get::<Peer>();
    peer.map(|p| p.0)
        .ok_or_else(|| Problem::unavailable("the client's address is not known"))
}

async fn authorize(parts: &Parts, console: &Console, scope: Scope) -> Result<Caller, Problem> {
    let peer = peer(parts)?;
    let secret = bearer(&parts.headers);
    let Some(secret) = secret else {
        let why = "this request has no key";
        return Err(
            Problem::new(StatusCode::UNAUTHORIZED, "no-key", why).remedy(
                "Make a key with `sendoff key add NAME --scope …` and send it as `Authorization: Bearer …`.",
            ),
        );
    };
    let path = console.backend().settings().keys;
    let keys = Arc::clone(console.keys());
    let found = tokio::task::spawn_blocking(move || keys.find(&path, &secret)).await;
    let key = match found {
        Ok(Ok(Some(key))) => key,
        Ok(Ok(None)) => {
            console
                .backend()
                .log_refused(peer, None, "there is no such key");
            tokio::time::sleep(WRONG_KEY_WAIT).await;
            let why = "there is no such key";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "wrong-key", why)
                .remedy("It may have been revoked: `sendoff key list` shows those there are."));
        }
        Ok(Err(error)) => {
            console
                .backend()
                .log_refused(peer, None, &error.to_string());
            return Err(Problem::unavailable("the keys' file cannot be read"));
        }
        Err(_) => return Err(Problem::unavailable("the key could not be checked")),
    };
    if !key.allows(scope) {
        let why = format!("the key `{}` has no scope `{}`", key.name, scope.word());
        console.backend().log_refused(peer, Some(&key.name), &why);
        return Err(Problem::new(StatusCode::FORBIDDEN, "wrong-scope", why)
            .remedy("Use a key that has it, or make one with `sendoff key add`."));
    }
    Ok(Caller { key, peer })
}

/// The secret in `Authorization: Bearer SECRET` (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| secret.trim().to_owned())
}

/// Refuses requests that are addressed to another host: a web page that has its own name point here
/// must not be able to ask (DNS rebinding).
pub(crate) async fn check_host(
    State(console): State<Console>,
    request: Request,
    next: Next,
) -> Response {
    let settings = console.backend().settings();
    let values: Vec<&HeaderValue> = request.headers().get_all(header::HOST).iter().collect();
    let given = match values.as_slice() {
        [one] => one.to_str().unwrap_or_default(),
        _ => {
            return Problem::field("Host", "a request has exactly one Host header").into_response();
        }
    };
    if !is_ours(given, &settings) {
        let why = format!("this server is not called `{}`", given.escape_debug());
        if let Some(Peer(peer)) = request.extensions().get::<Peer>() {
            console.backend().log_refused(*peer, None, &why);
        }
        let problem = Problem::new(StatusCode::MISDIRECTED_REQUEST, "wrong-host", why);
        return problem
            .remedy(
                "Use the server's hostname or a loopback address, or add the name to console.hosts.",
            )
            .into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Whether a Host header names this server.
fn is_ours(given: &str, settings: &Settings) -> bool {
    let name = match given.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !given.ends_with(']') => {
            name
        }
        _ => given,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>()
        && ip.to_canonical().is_loopback()
    {
        return true;
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut names = settings.hosts.iter().chain([&settings.hostname]);
    name.eq_ignore_ascii_case("localhost") || names.any(|own| own.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_are_answered() {
        let settings = Settings {
            hostname: "mail.example".to_owned(),
            hosts: vec!["console.example".to_owned(), "192.0.2.7".to_owned()],
            keys: "keys.toml".into(),
            metrics_networks: Vec::new(),
            message_size: 1,
            max_connections: 1,
            tls: None,
        };
        for (given, ours) in [
            ("127.0.0.1:8025", true),
            ("127.9.8.7", true),
            ("[::1]:8025", true),
            ("[::1]", true),
            ("LocalHost:8025", true),
            ("mail.example", true),
            ("mail.example.:443", true),
            ("Console.Example:1", true),
            ("192.0.2.7:8025", true),
            ("192.0.2.8:8025", false),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("", false),
            (":8025", false),
        ] {
            assert_eq!(is_ours(given, &settings), ours, "{given}");
        }
    }
}
