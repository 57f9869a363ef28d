//! HTTP requests to servers elsewhere: policies are fetched, reports and events handed over by them.
//! Nothing is followed, and an answer has a bound.

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::http::uri::InvalidUri;
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::connect::{ConnectError, connect};
use crate::tls::{ClientTls, Hello, TlsFailure, Trust};

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
    pub fn parse(text: &str) -> Result<Self, ParseUrlError> {
        let wrong = |why| ParseUrlError {
            text: text.to_owned(),
            why,
        };
        let uri: Result<Uri, _> = text.parse();
        let uri = uri.map_err(|e| wrong(WrongUrl::Syntax(e)))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(wrong(WrongUrl::Scheme)),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        Ok(Self {
            tls,
            host: host.ok_or_else(|| wrong(WrongUrl::NoHost))?.to_owned(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
        })
    }
}

/// A text that is no URL of the web.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a web URL: {why}")]
pub struct ParseUrlError {
    text: String,
    why: WrongUrl,
}

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
enum WrongUrl {
    #[error(transparent)]
    Syntax(InvalidUri),
    #[error("it must begin with https:// or http://")]
    Scheme,
    #[error("it has no host name")]
    NoHost,
}

/// Why a server gave no answer of use. An answer with any status is none of these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// It took longer than this.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// No connection was made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection could not be secured.
    #[error("TLS handshake failed: {0}")]
    Tls(TlsFailure),
    /// The request cannot be written.
    #[error("HTTP: {0}")]
    Request(hyper::http::Error),
    /// What came is not HTTP, or the connection ended.
    #[error("HTTP: {0}")]
    Protocol(hyper::Error),
    /// The content is cut off, or larger than its bound.
    #[error("HTTP: {0}")]
    Content(Box<dyn Error + Send + Sync>),
}

/// What came back, whatever its status.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// Content-Type, without its parameters, in lower case.
    pub content_type: String,
    /// Retry-After, as it stands there.
    pub retry_after: Option<String>,
    /// The content.
    pub content: Bytes,
}

/// Asks. `addresses` are those of the host; `limit` is for all of it.
///
/// # Errors
/// What went wrong: an answer with any status is none.
pub async fn http(
    tls: &ClientTls,
    addresses: &[IpAddr],
    request: HttpRequest<'_>,
    limit: Duration,
) -> Result<HttpAnswer, HttpError> {
    timeout(limit, ask(tls, addresses, request, limit))
        .await
        .unwrap_or(Err(HttpError::Late(limit)))
}

async fn ask(
    tls: &ClientTls,
    addresses: &[IpAddr],
    request: HttpRequest<'_>,
    limit: Duration,
) -> Result<HttpAnswer, HttpError> {
    let mut sender = open(tls, addresses, &request, limit).await?;
    let (answer, whole) = exchange(&mut sender, request).await?;
    whole.map(|()| answer)
}

/// A connection to one server that is kept from one request to the next: one request at a time.
#[derive(Debug, Default)]
pub struct KeptHttp {
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl KeptHttp {
    /// Asks, as [`http`] does, over the connection of the request before where that still stands. A
    /// server may close it just then; so what fails on it is asked once more on a new one, and the
    /// server may see the same request twice. The status is what counts: of a content that is too
    /// large, or cut off, nothing is handed back.
    ///
    /// # Errors
    /// As [`http`].
    pub async fn ask(
        &mut self,
        tls: &ClientTls,
        addresses: &[IpAddr],
        request: HttpRequest<'_>,
        limit: Duration,
    ) -> Result<HttpAnswer, HttpError> {
        let asked = self.ask_at_leisure(tls, addresses, request, limit);
        timeout(limit, asked)
            .await
            .unwrap_or(Err(HttpError::Late(limit)))
    }

    async fn ask_at_leisure(
        &mut self,
        tls: &ClientTls,
        addresses: &[IpAddr],
        request: HttpRequest<'_>,
        limit: Duration,
    ) -> Result<HttpAnswer, HttpError> {
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
            && let Ok((answer, whole)) = exchange(&mut sender, request.clone()).await
        {
            self.sender = whole.is_ok().then_some(sender);
            return Ok(answer);
        }
        let mut sender = open(tls, addresses, &request, limit).await?;
        let (answer, whole) = exchange(&mut sender, request).await?;
        // Behind an error, or a time that is over, it is not used again.
        self.sender = whole.is_ok().then_some(sender);
        Ok(answer)
    }
}

async fn open(
    tls: &ClientTls,
    addresses: &[IpAddr],
    request: &HttpRequest<'_>,
    limit: Duration,
) -> Result<SendRequest<Full<Bytes>>, HttpError> {
    let tcp = connect(addresses, request.port, limit).await?;
    if !request.tls {
        return begin(tcp).await;
    }
    let shaken = tls
        .handshake(tcp, request.host, &Trust::Roots, Hello::Full, limit)
        .await
        .map_err(HttpError::Tls)?;
    begin(shaken.stream).await
}

async fn begin(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, HttpError> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(HttpError::Protocol)?;
    // It ends with its sender; what it has to say about an error, the answer says too.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// An answer, and whether its content is whole.
type Exchanged = (HttpAnswer, Result<(), HttpError>);

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: HttpRequest<'_>,
) -> Result<Exchanged, HttpError> {
    let default = if request.tls { 443 } else { 80 };
    // RFC 3986 §3.2.2: an address of IPv6 stands in brackets.
    let name = match request.host.contains(':') && !request.host.starts_with('[') {
        true => format!("[{}]", request.host),
        false => request.host.to_owned(),
    };
    let host = match request.port == default {
        true => name,
        false => format!("{name}:{}", request.port),
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
    let message = message.map_err(HttpError::Request)?;
    let answer = sender.send_request(message).await;
    let answer = answer.map_err(HttpError::Protocol)?;
    let status = answer.status().as_u16();
    let field = |name| {
        let value = answer.headers().get(name);
        value.and_then(|v: &hyper::header::HeaderValue| v.to_str().ok())
    };
    let kind = field(CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let content_type = kind.to_ascii_lowercase();
    let retry_after = field(RETRY_AFTER).map(str::to_owned);
    let content = Limited::new(answer.into_body(), request.answer_max).collect();
    let (content, whole) = match content.await {
        Ok(content) => (content.to_bytes(), Ok(())),
        Err(error) => (Bytes::new(), Err(HttpError::Content(error))),
    };
    let answer = HttpAnswer {
        status,
        content_type,
        retry_after,
        content,
    };
    Ok((answer, whole))
}
