//! `POST /api/v1/messages`: mail from programs, as JSON or whole.

use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use intake::{Reason, Refusal, Submission};
use mail::{Address, BodyType, Reply, Submitter};
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::{Caller, Sender};
use crate::backend::{Backend, HandedIn};
use crate::body::{self, Params, Received};
use crate::code::Code;
use crate::compose::{Composed, NewMessage, compose};
use crate::openapi::{BodyRefusals, Refusals, WholeMail};
use crate::problem::Problem;
use crate::raw;
use crate::recipient::RecipientResult;
use crate::state::Console;

/// The header that makes a request safe to repeat.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Octets of its value.
const IDEMPOTENCY_KEY_MAX: usize = 255;
/// The parameter that says what the body of a whole mail is declared to be.
const BODY_TYPE: &str = "body_type";
/// Its first name. It is not in the document: clients made from it name the request's own body so.
const OLD_BODY_TYPE: &str = "body";
/// The result of a submitted message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// Its id in the queue: it is durable.
    id: String,
    /// It was in the queue already, submitted with the same `Idempotency-Key`.
    duplicate: bool,
    /// The key is a test key: the message is not delivered to anybody, and its result is simulated.
    test: bool,
    /// The result for each recipient, in the order of the request.
    recipients: Vec<RecipientResult>,
}

impl Accepted {
    /// 202 for what is new, 200 for what was there already.
    pub(crate) const fn status(&self) -> StatusCode {
        match self.duplicate {
            true => StatusCode::OK,
            false => StatusCode::ACCEPTED,
        }
    }
}

/// Submit a mail
///
/// As JSON, or whole as `message/rfc822`. The answer comes when the mail would survive a power cut.
/// With an `Idempotency-Key`, the same request may be repeated for 30 days: it gives the same id, and
/// nothing is sent twice. The same request has octet for octet the same body: send what you have stored, because JSON
/// that is written again may differ. Some recipients may be refused and the others accepted: `recipients` says which, in this
/// answer and in the status of the message.
#[utoipa::path(
    post, path = "/messages", tag = "messages",
    operation_id = "send_message",
    security(("key" = ["send"])),
    params(
        ("from" = Option<String>, Query, description = "Only with message/rfc822: the sender in the envelope \
                                                        (reverse-path). Default: the address in From"),
        ("to" = Option<Vec<String>>, Query, description = "Only with message/rfc822: the recipients. Default: those in To, Cc and Bcc"),
        ("body_type" = Option<String>, Query, description = "Only with message/rfc822: `BINARYMIME` leaves every \
                                                             octet of the body unchanged (RFC 3030). Default: text \
                                                             lines, which may end in LF"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters", min_length = 1, max_length = 255, pattern = "^[!-~]{1,255}$"),
    ),
    request_body(content(
        (NewMessage = "application/json"),
        (inline(WholeMail) = "message/rfc822"),
    ), description = "The message"),
    responses(
        (status = 202, description = "The message is in the queue", body = Accepted),
        (status = 200, description = "The message was in the queue already: the request is a repetition", body = Accepted),
        (status = 422, description = "No recipient was accepted, or the Idempotency-Key was used for another \
                                      message", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "A quota is used up: try again after the time in Retry-After", body = Problem, content_type = "application/problem+json"),
        BodyRefusals,
        Refusals,
    )
)]
pub(crate) async fn send(
    Sender(caller): Sender,
    State(console): State<Console>,
    Params(parameters): Params<Vec<(String, String)>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let repeat = idempotency_key(&headers)?;
    let kind = body::media_type(&headers);
    let settings = console.backend().settings();
    let form = Form::of(&kind, parameters)?;
    let max = settings.message_size;
    let Received {
        octets,
        is_large,
        memory,
    } = body::receive(&console, &caller, body, max).await?;
    let prefix = repeat.map(|key| token_prefix(&caller, &key));
    let read = move || {
        let query = query.unwrap_or_default();
        let turn = prefix.map(|prefix| (prefix, payload(&kind, &query, &octets)));
        form.read(&octets, &settings.hostname).map(|c| (c, turn))
    };
    // Decoding megabytes must not hold up what else its thread has to do.
    let (composed, turn) = match is_large {
        false => read()?,
        true => tokio::task::spawn_blocking(read)
            .await
            .map_err(|e| Problem::unavailable(format!("internal server error: {e}")))??,
    };
    check_size(&composed, max)?;
    may_send(&caller, &composed)?;
    // Carried out to its end also when the client hangs up: it may ask again, and must not be
    // answered before this is settled.
    let task = tokio::spawn(async move {
        let answer = hand_in(&console, &caller, composed, turn).await;
        drop(memory);
        answer.map(|accepted| (accepted.status(), Json(accepted)).into_response())
    });
    task.await
        .map_err(|e| Problem::unavailable(format!("internal server error: {e}")))?
}

/// The two forms of a mail.
enum Form {
    Json,
    Whole {
        from: Option<String>,
        to: Vec<String>,
        body: BodyType,
    },
}

impl Form {
    fn of(kind: &str, parameters: Vec<(String, String)>) -> Result<Self, Problem> {
        let (mut from, mut to, mut body_type) = (None, Vec::new(), None);
        let is_json = kind == "application/json";
        for (name, value) in parameters {
            match name.as_str() {
                "from" | "to" | BODY_TYPE | OLD_BODY_TYPE if is_json => {
                    let why = "it is not allowed with JSON: put it in the body";
                    return Err(Problem::field(name, why));
                }
                "from" if from.is_none() => from = Some(value),
                "from" => return Err(Problem::field("from", "it is given twice")),
                "to" => to.push(value),
                BODY_TYPE | OLD_BODY_TYPE if body_type.is_some() => {
                    return Err(Problem::field(name, "it is given twice"));
                }
                BODY_TYPE | OLD_BODY_TYPE => body_type = Some(declared(&name, &value)?),
                _ => return Err(Problem::field(name, "unknown parameter")),
            }
        }
        match kind {
            "application/json" => Ok(Self::Json),
            "message/rfc822" => Ok(Self::Whole {
                from,
                to,
                body: body_type.unwrap_or_default(),
            }),
            _ => Err(body::unsupported("application/json or message/rfc822")),
        }
    }

    fn read(self, octets: &[u8], hostname: &str) -> Result<Composed, Problem> {
        match self {
            Self::Json => {
                let message = body::from_json::<NewMessage>(octets)?;
                let id = format!("{}@{hostname}", random_name()?);
                compose(message, net::now(), &id)
            }
            Self::Whole { from, to, body } => raw::read(octets, from.as_deref(), &to, body),
        }
    }
}

/// What the body of a whole mail is declared to be, in the words of SMTP.
fn declared(name: &str, value: &str) -> Result<BodyType, Problem> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Ok(BodyType::SevenBit),
        "8BITMIME" => Ok(BodyType::EightBitMime),
        "BINARYMIME" => Ok(BodyType::BinaryMime),
        _ => Err(Problem::field(
            name,
            "it must be 7BIT, 8BITMIME or BINARYMIME",
        )),
    }
}

pub(crate) fn random_name() -> Result<String, Problem> {
    let mut octets = [0u8; 18];
    SystemRandom::new()
        .fill(&mut octets)
        .map_err(|_| Problem::unavailable("the system has no random numbers"))?;
    Ok(URL_SAFE_NO_PAD.encode(octets))
}

pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return match headers.contains_key(IDEMPOTENCY_KEY) {
            true => Err(Problem::field("Idempotency-Key", "it is given twice")),
            false => Ok(None),
        };
    };
    let octets = value.as_bytes();
    let good = (1..=IDEMPOTENCY_KEY_MAX).contains(&octets.len())
        && octets.iter().all(u8::is_ascii_graphic);
    if !good {
        let why = format!("it must have 1 to {IDEMPOTENCY_KEY_MAX} visible ASCII characters");
        return Err(Problem::field("Idempotency-Key", why));
    }
    Ok(Some(String::from_utf8_lossy(octets).into_owned()))
}

pub(crate) fn digest_of(parts: &[&[u8]]) -> String {
    let mut context = digest::Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    URL_SAFE_NO_PAD.encode(context.finish())
}

/// What tokens of this key's requests under this `Idempotency-Key` begin with.
pub(crate) fn token_prefix(caller: &Caller, key: &str) -> String {
    // A test is no repetition of a mail that was meant, and keys may change their names.
    let way = if caller.key.test { "http-test" } else { "http" };
    format!(
        "{way} {} {} ",
        caller.key.name,
        digest_of(&[key.as_bytes()])
    )
}

/// What tells this request from others under the same `Idempotency-Key`.
fn payload(kind: &str, query: &str, octets: &[u8]) -> String {
    digest_of(&[kind.as_bytes(), query.as_bytes(), octets])
}

pub(crate) fn check_size(composed: &Composed, max: u64) -> Result<(), Problem> {
    let size = composed.content.len() as u64;
    if size <= max {
        return Ok(());
    }
    let why = format!("the message has {size} octets, and the limit is {max}");
    let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge, why);
    Err(problem.remedy("Send less, or raise outgoing.max_message_size."))
}

pub(crate) fn may_send(caller: &Caller, composed: &Composed) -> Result<(), Problem> {
    let mut senders = composed.authors.iter().chain(&composed.reverse_path);
    let Some(refused) = senders.find(|s| !caller.key.may_send_as(s)) else {
        return Ok(());
    };
    let why = format!("the key `{}` may not send as {refused}", caller.key.name);
    let problem = Problem::new(StatusCode::FORBIDDEN, Code::WrongSender, why);
    Err(problem.remedy("Use a sender that the key allows, or create a key with other --senders."))
}

/// Hands the mail in. `turn`: what its token begins with, and the rest.
pub(crate) async fn hand_in(
    console: &Console,
    caller: &Caller,
    composed: Composed,
    turn: Option<(String, String)>,
) -> Result<Accepted, Problem> {
    let backend = console.backend();
    let mut token = None;
    let mut _alone = None;
    if let Some((prefix, digest)) = turn {
        _alone = console.turns().take(&prefix).await;
        let own = format!("{prefix}{digest}");
        let found = backend.token_beginning(prefix).await;
        let found = found.map_err(|why| Problem::unavailable(why.to_string()))?;
        if found.is_some_and(|(token, _)| token != own) {
            let why = "this Idempotency-Key was used for another message";
            let code = Code::IdempotencyConflict;
            let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, why);
            return Err(problem
                .about("Idempotency-Key")
                .remedy("Use a new Idempotency-Key for each message, and the same one only to repeat a request."));
        }
        token = Some(own);
    }
    let addresses: Vec<Address> = composed
        .recipients
        .iter()
        .map(|r| r.address.clone())
        .collect();
    let submission = Submission {
        is_part: false,
        body_type: composed.body_type,
        reverse_path: composed.reverse_path,
        recipients: composed.recipients,
        content: composed.content,
        submitter: Submitter {
            user: Some(caller.name()),
            peer: Some(caller.peer),
            via: "http".to_owned(),
        },
        ret: composed.ret,
        env_id: composed.env_id,
        terms: composed.terms,
        is_test: caller.key.test,
        labels: composed.labels,
        rights: caller.key.rights(),
    };
    let handed = backend.hand_in(submission, token).await;
    answer(backend.as_ref(), caller, &addresses, handed)
}

fn answer(
    backend: &dyn Backend,
    caller: &Caller,
    addresses: &[Address],
    handed: Result<HandedIn, Refusal>,
) -> Result<Accepted, Problem> {
    let handed = handed.map_err(|refusal| {
        let why = refusal.reply.to_string();
        backend.log_refused(caller.peer, Some(&caller.key.name), &why);
        let each = addresses.iter().zip(&refusal.recipients);
        let each = each.map(|(address, refusal)| RecipientResult::of(address, Some(refusal)));
        refused(&refusal).recipients(each.collect())
    })?;
    let recipients: Vec<RecipientResult> = addresses
        .iter()
        .zip(&handed.recipients)
        .map(|(address, result)| RecipientResult::new(address, result))
        .collect();
    Ok(Accepted {
        id: handed.id.to_string(),
        duplicate: handed.duplicate,
        test: caller.key.test,
        recipients,
    })
}

/// A refusal of the mail as a whole.
fn refused(refusal: &Refusal) -> Problem {
    let reply = &refusal.reply;
    if let Reason::Quota(again) = refusal.reason {
        return Problem::quota(refusal.text(), again);
    }
    if reply.is_transient() {
        return Problem::unavailable(refusal.text());
    }
    let status = match reply.code {
        552 => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let reply = Reply::new(reply.code, reply.enhanced, refusal.text());
    Problem::new(status, Code::Refused, reply.to_string())
}
