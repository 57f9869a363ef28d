//! What a request carries: bodies within bounds, parameters, and words for what is wrong in them.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use net::{Hold, Holder, Origin};
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::access::Caller;
use crate::code::Code;
use crate::problem::Problem;
use crate::state::Console;
use crate::words;

/// A body is here within this time.
const BODY_WAIT: Duration = Duration::from_secs(300);
/// How long what is sent of a refused body is taken in.
const PASS_OVER: Duration = Duration::from_secs(10);
/// How long a large mail waits for memory.
const MEMORY_WAIT: Duration = Duration::from_secs(60);
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
                Err(Problem::field(field, words::of_value(why)))
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
    let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::WrongType, why);
    problem.remedy("Set the Content-Type header accordingly.")
}

/// A mail as it was handed in, and the memory that is held for it.
pub(crate) struct Received {
    pub(crate) octets: Bytes,
    /// Whether it is so large that it takes memory of the common share.
    pub(crate) is_large: bool,
    pub(crate) memory: Hold,
}

/// So many times a mail is in memory while it is read: as it came, its parts decoded, and put together.
pub const COPIES: u64 = 3;

/// Reads the body of a mail. Memory of the common share is waited for when others hold it: before the body is read
/// where the client says its length, and as octets arrive where it does not. Who has a key is believed, for it takes
/// from its own share; and bodies that are all begun would wait for each other while each holds what it has.
pub(crate) async fn receive(
    console: &Console,
    caller: &Caller,
    body: Body,
    max: u64,
) -> Result<Received, Problem> {
    let mut turn = console.bodies().hold(Vec::new());
    if !turn.resize(1, Duration::ZERO).await {
        return Err(Problem::unavailable(
            "too many messages are being submitted at the same time",
        ));
    }
    let origin = Origin::of(caller.peer);
    let mut memory = console.memory().hold(vec![
        Holder::Source(origin.source),
        Holder::Network(origin.network),
        Holder::User(caller.name()),
    ]);
    if body.size_hint().lower() > max {
        return Err(too_large(max));
    }
    let declared = body.size_hint().exact().filter(|size| *size > SMALL);
    let declared = (declared.unwrap_or_default() >> 20) * COPIES;
    hold(&mut memory, declared).await?;
    let read = async {
        let mut body = Limited::new(body, usize::try_from(max).unwrap_or(usize::MAX));
        let mut octets = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| cut_off(error, max))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            octets.extend_from_slice(&data);
            hold(&mut memory, declared.max(octets.len() as u64 >> 20)).await?;
        }
        Ok::<_, Problem>(octets.freeze())
    };
    let octets = tokio::time::timeout(BODY_WAIT, read)
        .await
        .map_err(|_| too_slow())??;
    let size = octets.len() as u64;
    let is_large = size > SMALL;
    if is_large {
        hold(&mut memory, (size >> 20) * COPIES).await?;
    }
    Ok(Received {
        octets,
        is_large,
        memory,
    })
}

async fn hold(memory: &mut Hold, megabytes: u64) -> Result<(), Problem> {
    match memory.resize(megabytes, MEMORY_WAIT).await {
        true => Ok(()),
        false => Err(Problem::unavailable(
            "too many large messages are being submitted at the same time",
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
    // Said before anything is read where the client says the length.
    if body.size_hint().lower() > max {
        return Err(too_large(max));
    }
    let limit = usize::try_from(max).unwrap_or(usize::MAX);
    match tokio::time::timeout(BODY_WAIT, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) => Err(cut_off(error, max)),
        Err(_) => Err(too_slow()),
    }
}

fn too_large(max: u64) -> Problem {
    let why = format!("the body is larger than the limit of {max} octets");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge, why)
        .remedy("Send less, or raise outgoing.max_message_size.")
}

fn cut_off(error: Box<dyn std::error::Error + Send + Sync>, max: u64) -> Problem {
    if error.is::<LengthLimitError>() {
        return too_large(max);
    }
    Problem::new(
        StatusCode::BAD_REQUEST,
        Code::CutOff,
        format!("the body did not arrive completely: {error}"),
    )
}

fn too_slow() -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        Code::TooSlow,
        "the body did not arrive in time",
    )
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
    Err(Problem::field(field, format!("it must be at most {max}")))
}

/// A list of no more than `MAX` entries: one that goes on for ever is not read to its end.
#[derive(Debug)]
pub(crate) struct Few<T, const MAX: usize>(pub(crate) Vec<T>);

impl<T, const MAX: usize> Default for Few<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Few<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Entries<T, MAX> {
            type Value = Vec<T>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "a list of up to {MAX} entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
                let mut found = Vec::new();
                while let Some(entry) = list.next_element()? {
                    if found.len() == MAX {
                        return Err(A::Error::custom(format!(
                            "there are more than {MAX} entries"
                        )));
                    }
                    found.push(entry);
                }
                Ok(found)
            }
        }
        deserializer
            .deserialize_seq(Entries::<T, MAX>(PhantomData))
            .map(Self)
    }
}

/// What would be read into named fields as well.
const A_LIST: &str = "it is a list, but must be an object with named fields";

/// Reads JSON; an error names the field.
pub(crate) fn from_json<T: DeserializeOwned>(octets: &[u8]) -> Result<T, Problem> {
    if octets.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::new(StatusCode::BAD_REQUEST, Code::BadJson, A_LIST));
    }
    let mut reader = serde_json::Deserializer::from_slice(octets);
    let read: T = serde_path_to_error::deserialize(&mut reader).map_err(wrong)?;
    reader.end().map_err(|error| {
        let why = format!("the body is not valid JSON: {error}");
        Problem::new(StatusCode::BAD_REQUEST, Code::BadJson, why)
    })?;
    Ok(read)
}

/// Reads what was JSON; an error names the field.
pub(crate) fn from_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, Problem> {
    match value.is_array() {
        true => Err(Problem::field(".", A_LIST)),
        false => serde_path_to_error::deserialize(value).map_err(wrong),
    }
}

fn wrong(error: serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let path = error.path().to_string();
    let inner = error.into_inner();
    let why = inner.to_string();
    let field = with_named(path, &why);
    match inner.classify() {
        serde_json::error::Category::Data => Problem::field(field, words::of_value(&why)),
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => Problem::new(
            StatusCode::BAD_REQUEST,
            Code::BadJson,
            format!("the body is not valid JSON: {why}"),
        ),
    }
}

/// The path of an error, which for a field that is missing or there twice ends where the field should be.
fn with_named(path: String, why: &str) -> String {
    match (words::named(why), path.as_str()) {
        (None, _) => path,
        (Some(name), ".") => name.to_owned(),
        (Some(name), path) if path.rsplit('.').next() == Some(name) => path.to_owned(),
        (Some(name), path) => format!("{path}.{name}"),
    }
}

/// Reads JSON whose entries may be `null` where they may be absent: each that is wrong for being `null` is left out, and
/// none that nobody knows.
fn without_null<T: DeserializeOwned>(octets: &[u8], mut problem: Problem) -> Result<T, Problem> {
    let Ok(serde_json::Value::Object(mut entries)) = serde_json::from_slice(octets) else {
        return Err(problem);
    };
    loop {
        let is_known = !problem.detail().starts_with("unknown field");
        let field = problem.at().unwrap_or_default();
        if !is_known || !entries.get(field).is_some_and(serde_json::Value::is_null) {
            return Err(problem);
        }
        entries.remove(field);
        problem = match from_value(serde_json::Value::Object(entries.clone())) {
            Ok(read) => return Ok(read),
            Err(next) => next,
        };
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
    let octets = read(body, SMALL).await?;
    // Many serializers write `null` for what is absent.
    from_json(&octets).or_else(|problem| without_null(&octets, problem))
}
