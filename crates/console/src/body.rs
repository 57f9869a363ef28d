//! What a request carries: bodies within bounds, parameters, and words for what is wrong in them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use crate::problem::Problem;
use crate::router::Console;

/// A body is here within this time.
const BODY_WAIT: Duration = Duration::from_secs(300);
/// How long what is sent of a refused body is taken in.
const PASS_OVER: Duration = Duration::from_secs(10);
/// How long a large mail waits for memory.
const MEMORY_WAIT: Duration = Duration::from_secs(60);
/// Megabytes for the bodies of all large mails that are being received.
pub(crate) const MEMORY_MEGABYTES: u32 = 512;
/// Octets of a body that is no mail.
pub(crate) const SMALL: u64 = 1 << 20;

/// The parameters behind the `?`.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Console> for Params<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, console).await {
            Ok(Query(found)) => Ok(Self(found)),
            Err(rejection) => {
                // `…: NAME: what is wrong with its value`, or what is wrong with the names.
                let text = rejection.body_text();
                let (_, why) = text.split_once(": ").unwrap_or(("", &text));
                let (field, why) = match why.split_once(": ") {
                    Some((name, why)) if !name.contains(' ') => (name, why),
                    Some(_) | None => ("?", why),
                };
                Err(Problem::field(field, why))
            }
        }
    }
}

/// A part of the path.
#[derive(Debug)]
pub(crate) struct Part(pub(crate) String);

impl FromRequestParts<Console> for Part {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, console).await {
            Ok(Path(found)) => Ok(Self(found)),
            Err(rejection) => Err(Problem::field("path", rejection.body_text())),
        }
    }
}

/// The media type of a body, in lower case, without its parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    let name = value.unwrap_or_default().split(';').next();
    name.unwrap_or_default().trim().to_ascii_lowercase()
}

/// The body has another media type than those that are understood.
pub(crate) fn unsupported(understood: &str) -> Problem {
    let why = format!("the body must be {understood}");
    let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong-type", why);
    problem.remedy("Say so in the Content-Type header.")
}

/// Memory for the body of a mail and what is made of it; waited for when others hold it.
pub(crate) async fn reserve(
    console: &Console,
    size: SizeHint,
    max: u64,
) -> Result<Option<OwnedSemaphorePermit>, Problem> {
    let size = size.upper().unwrap_or(max);
    if size <= SMALL {
        return Ok(None);
    }
    let megabytes = u32::try_from(size.min(max) / SMALL + 1).unwrap_or(u32::MAX);
    let wanted = megabytes.min(MEMORY_MEGABYTES);
    let memory = Arc::clone(console.memory()).acquire_many_owned(wanted);
    match tokio::time::timeout(MEMORY_WAIT, memory).await {
        Ok(Ok(permit)) => Ok(Some(permit)),
        Ok(Err(_)) | Err(_) => Err(Problem::unavailable(
            "too many large mails are being handed in at once",
        )),
    }
}

/// A request's body that is taken in, and dropped, when nobody has read it: a client that sends all
/// before it reads would find its connection broken instead of the refusal.
struct Heard {
    /// `None` behind its end.
    body: Option<Body>,
}

impl http_body::Body for Heard {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map(Body::size_hint);
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|b| !b.is_end_stream()) else {
            return;
        };
        tokio::spawn(tokio::time::timeout(PASS_OVER, async move {
            while let Some(Ok(_)) = body.frame().await {}
        }));
    }
}

/// Lets every request's body be heard to its end, whatever is answered. A client that waits to be
/// told to go on is not told.
pub(crate) async fn hear(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = match parts.headers.contains_key(header::EXPECT) {
        true => body,
        false => Body::new(Heard { body: Some(body) }),
    };
    next.run(Request::from_parts(parts, body)).await
}

/// Reads a body of at most `max` octets.
pub(crate) async fn read(body: Body, max: u64) -> Result<Bytes, Problem> {
    let limit = usize::try_from(max).unwrap_or(usize::MAX);
    let too_large = || {
        let why = format!("the body is larger than the {max} octets that are allowed");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", why)
            .remedy("Send less, or raise outgoing.max_message_size.")
    };
    // Said before anything is read where the client says the length.
    if body.size_hint().lower() > max {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_WAIT, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "cut-off",
            format!("the body did not arrive whole: {error}"),
        )),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "too-slow",
            "the body did not arrive in time",
        )),
    }
}

/// Entries of a list that may be passed over.
const OFFSET_MAX: u64 = 1_000_000_000;

/// Whether a part of a list is one that is given.
pub(crate) fn page(limit: u64, limit_max: u64, offset: u64) -> Result<(), Problem> {
    let (field, max) = match limit > limit_max {
        true => ("limit", limit_max),
        false if offset > OFFSET_MAX => ("offset", OFFSET_MAX),
        false => return Ok(()),
    };
    Err(Problem::field(field, format!("it is at most {max}")))
}

/// Reads JSON; an error names the field.
pub(crate) fn from_json<T: DeserializeOwned>(octets: &[u8]) -> Result<T, Problem> {
    // What is read into named fields would also be read from a list of their values.
    if octets.trim_ascii_start().first() == Some(&b'[') {
        let why = "the body is a list, where an object with named fields is meant";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-json", why));
    }
    let mut reader = serde_json::Deserializer::from_slice(octets);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let why = inner.to_string();
        let field = with_missing(path, &why);
        match inner.classify() {
            serde_json::error::Category::Data => Problem::field(field, why),
            serde_json::error::Category::Io
            | serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof => Problem::new(
                StatusCode::BAD_REQUEST,
                "bad-json",
                format!("the body is no JSON: {why}"),
            ),
        }
    });
    let read = read?;
    reader.end().map_err(|error| {
        let why = format!("the body is no JSON: {error}");
        Problem::new(StatusCode::BAD_REQUEST, "bad-json", why)
    })?;
    Ok(read)
}

/// The path of an error, which for a field that is missing ends where the field should be.
fn with_missing(path: String, why: &str) -> String {
    let rest = why.strip_prefix("missing field `");
    match (rest.and_then(|rest| rest.split('`').next()), path.as_str()) {
        (None, _) => path,
        (Some(name), ".") => name.to_owned(),
        (Some(name), path) => format!("{path}.{name}"),
    }
}

/// Reads a small body of JSON.
pub(crate) async fn small_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    if media_type(headers) != "application/json" {
        return Err(unsupported("application/json"));
    }
    from_json(&read(body, SMALL).await?)
}
