//! One HTTP request to a server elsewhere: policies are fetched and reports handed over by it. Nothing
//! is followed, and an answer has a bound.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::http::uri::InvalidUri;
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::connect::connect;
use crate::tls::{ClientTls, Hello, Trust};

/// What is asked.
#[derive(Debug, Clone)]
pub struct HttpRequest<'a> {
    /// The server's name, which its certificate must bear.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// By HTTPS; otherwise in clear.
    pub tls: bool,
    /// Path and query.
    pub path: &'a str,
    /// The content and its type: with one it is a POST, without a GET.
    pub content: Option<(&'a str, Bytes)>,
    /// Further header fields.
    pub headers: Vec<(&'a str, String)>,
    /// Octets of the answer's content at the most.
    pub answer_max: usize,
}

/// A URL of the web, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebUrl {
    /// By HTTPS.
    pub tls: bool,
    /// The server's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Path and query.
    pub path: String,
}

impl WebUrl {
    /// Takes an `http` or `https` URL apart.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{text}` is no URL of the web: {why}");
        let uri: Uri = text
            .parse()
            .map_err(|e: InvalidUri| wrong(&e.to_string()))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(wrong("it begins with neither https:// nor http://")),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        Ok(Self {
            tls,
            host: host.ok_or_else(|| wrong("it names no host"))?.to_owned(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
        })
    }
}

/// What came back, whatever its status.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// Content-Type, without its parameters, in lower case.
    pub content_type: String,
    /// The content.
    pub content: Bytes,
}

/// Asks. `addresses` are those of the host; `limit` is for all of it.
///
/// # Errors
/// What went wrong, in words: an answer with any status is none.
pub async fn http(
    tls: &ClientTls,
    addresses: &[IpAddr],
    request: HttpRequest<'_>,
    limit: Duration,
) -> Result<HttpAnswer, String> {
    timeout(limit, ask(tls, addresses, request, limit))
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs())))
}

async fn ask(
    tls: &ClientTls,
    addresses: &[IpAddr],
    request: HttpRequest<'_>,
    limit: Duration,
) -> Result<HttpAnswer, String> {
    let tcp = connect(addresses, request.port, limit)
        .await
        .map_err(|e| e.to_string())?;
    if !request.tls {
        return exchange(tcp, request).await;
    }
    let shaken = tls
        .handshake(tcp, request.host, &Trust::Roots, Hello::Full, limit)
        .await
        .map_err(|e| format!("TLS handshake failed: {e}"))?;
    exchange(shaken.stream, request).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: HttpRequest<'_>,
) -> Result<HttpAnswer, String> {
    let why = |e: hyper::Error| format!("HTTP: {e}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(why)?;
    let default = if request.tls { 443 } else { 80 };
    let host = match request.port == default {
        true => request.host.to_owned(),
        false => format!("{}:{}", request.host, request.port),
    };
    let mut builder = Request::builder()
        .uri(request.path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("Sendoff/", env!("CARGO_PKG_VERSION")));
    for (name, value) in request.headers {
        builder = builder.header(name, value);
    }
    let message = match request.content {
        Some((kind, content)) => builder
            .method(Method::POST)
            .header(CONTENT_TYPE, kind)
            .body(Full::new(content)),
        None => builder.body(Full::new(Bytes::new())),
    };
    let message = message.map_err(|e| format!("HTTP: {e}"))?;
    let answer_max = request.answer_max;
    let answer = async move {
        let answer = sender.send_request(message).await.map_err(why)?;
        let status = answer.status().as_u16();
        let kind = answer.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|v| v.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let content_type = kind.to_ascii_lowercase();
        let content = Limited::new(answer.into_body(), answer_max).collect();
        let content = content.await.map_err(|e| format!("HTTP: {e}"))?;
        Ok(HttpAnswer {
            status,
            content_type,
            content: content.to_bytes(),
        })
    };
    // The connection ends with its sender; what it has to say about an error, the answer says too.
    let (answer, _) = tokio::join!(answer, connection);
    answer
}
