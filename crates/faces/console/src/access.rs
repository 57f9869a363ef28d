//! Who asks, and whether they may: what the address serves, the Host header, the key, its scope, and the networks that
//! need none.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::backend::Settings;
use crate::code::Code;
use crate::connection::{Connection, Visitor};
use crate::problem::Problem;
use crate::proxies::{Client, client};
use crate::state::Console;
use accounts::{Key, Scope};

/// How long a request with a wrong key waits for its answer.
const WRONG_KEY_WAIT: Duration = Duration::from_millis(500);

/// The client's address, which a reverse proxy may have told.
#[derive(Debug, Clone, Copy)]
struct Peer(IpAddr);

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
        (!self.key.allows(Scope::Read)).then(|| format!("key={}", self.key.submits_as()))
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
        let why =
            format!("{peer} is not allowed to read metrics and health (console.metrics_networks)");
        console.backend().log_refused(peer, None, &why);
        Err(
            Problem::new(StatusCode::FORBIDDEN, Code::WrongNetwork, why).remedy(
                "An administrator can add the network to console.metrics_networks in the configuration.",
            ),
        )
    }
}

fn peer(parts: &Parts) -> Result<IpAddr, Problem> {
    let peer = parts.extensions.get::<Peer>();
    peer.map(|p| p.0)
        .ok_or_else(|| Problem::unavailable("the client's address is unknown"))
}

async fn authorize(parts: &Parts, console: &Console, scope: Scope) -> Result<Caller, Problem> {
    let peer = peer(parts)?;
    let secret = bearer(&parts.headers);
    let Some(secret) = secret else {
        let why = "the request has no API key";
        return Err(
            Problem::new(StatusCode::UNAUTHORIZED, Code::NoKey, why).remedy(
                "Create a key with `sendoff key add NAME --scope …` and send it as `Authorization: Bearer …`.",
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
                .log_refused(peer, None, "the API key is not valid");
            tokio::time::sleep(WRONG_KEY_WAIT).await;
            let why = "the API key is not valid";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, Code::WrongKey, why)
                .remedy("It may have been revoked: `sendoff key list` lists the valid keys."));
        }
        Ok(Err(error)) => {
            console
                .backend()
                .log_refused(peer, None, &error.to_string());
            return Err(Problem::unavailable("the key file cannot be read"));
        }
        Err(_) => return Err(Problem::unavailable("the key could not be checked")),
    };
    if !key.allows(scope) {
        let why = format!(
            "the key `{}` does not have the scope `{}`",
            key.name,
            scope.word()
        );
        console.backend().log_refused(peer, Some(&key.name), &why);
        return Err(Problem::new(StatusCode::FORBIDDEN, Code::WrongScope, why)
            .remedy("Use a key with this scope, or create one with `sendoff key add`."));
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

/// Finds out who asks, and lets pass what this address serves.
pub(crate) async fn admit(
    State(console): State<Console>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Err(problem) = may_pass(&console, &mut request) {
        return problem.into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    // What never changes says so itself.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// What a path is for.
enum What {
    Health,
    Metrics,
    /// A page of the console.
    Page,
    /// The API, and what there is nothing at.
    Rest,
}

impl What {
    fn of(request: &Request) -> Self {
        // The route, and not what the request writes for it.
        let path = request.extensions().get::<MatchedPath>();
        match path.map(MatchedPath::as_str) {
            Some("/healthz" | "/readyz") => Self::Health,
            Some("/metrics") => Self::Metrics,
            Some(path) if !path.starts_with("/api/") => Self::Page,
            Some(_) | None => Self::Rest,
        }
    }
}

fn may_pass(console: &Console, request: &mut Request) -> Result<(), Problem> {
    let settings = console.backend().settings();
    let connection = request.extensions().get::<Connection>().copied();
    let connection =
        connection.ok_or_else(|| Problem::unavailable("the client's address is unknown"))?;
    let backend = console.backend();
    let client = client(request.headers(), &connection, &settings)
        .inspect_err(|why| backend.log_refused(connection.peer, None, why.detail()))?;
    request.extensions_mut().insert(Peer(client.ip));
    let from_proxy = client.ip != connection.peer;
    request.extensions_mut().insert(Visitor {
        ip: client.ip,
        is_tls: connection.is_tls || from_proxy && !client.in_clear,
    });
    let (is_served, is_open) = match What::of(request) {
        What::Health => (true, true),
        What::Metrics => (connection.serves.metrics, true),
        What::Page => (connection.serves.pages, false),
        What::Rest => (connection.serves.api || connection.serves.pages, false),
    };
    if !is_served {
        let why = format!("{} is not served at this address", request.uri().path());
        return Err(Problem::new(StatusCode::NOT_FOUND, Code::UnknownPath, why)
            .remedy("http.serves in the configuration decides what this address serves."));
    }
    // Who watches knows the server by many names, and learns nothing of mail.
    if is_open {
        return Ok(());
    }
    check_host(request.headers(), &settings)
        .and_then(|()| check_tls(client))
        .inspect_err(|why| backend.log_refused(client.ip, None, why.detail()))
}

/// Refuses requests that are addressed to another host: a web page that has its own name point here
/// must not be able to ask (DNS rebinding).
fn check_host(headers: &HeaderMap, settings: &Settings) -> Result<(), Problem> {
    let values: Vec<&HeaderValue> = headers.get_all(header::HOST).iter().collect();
    let [given] = values.as_slice() else {
        return Err(Problem::field(
            "Host",
            "a request must have exactly one Host header",
        ));
    };
    let given = given.to_str().unwrap_or_default();
    if is_ours(given, settings) {
        return Ok(());
    }
    let why = format!("`{}` is not a name of this server", given.escape_debug());
    Err(
        Problem::new(StatusCode::MISDIRECTED_REQUEST, Code::WrongHost, why).remedy(
            "Use the server's hostname or a loopback address, or add the name to console.hosts.",
        ),
    )
}

/// Refuses what came to a reverse proxy in clear: keys and mail go over TLS only, but on this computer.
fn check_tls(client: Client) -> Result<(), Problem> {
    if !client.in_clear || client.ip.is_loopback() {
        return Ok(());
    }
    let why = "the client connected to the reverse proxy without TLS";
    Err(Problem::new(StatusCode::FORBIDDEN, Code::NeedsTls, why)
        .remedy("Use https. If the client did, the proxy must report this in X-Forwarded-Proto."))
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
            proxies: Vec::new(),
            unix_proxies: false,
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
