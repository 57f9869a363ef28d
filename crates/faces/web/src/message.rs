//! One message: what happened, what will, and what can be done.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail::Timestamp;
use ops::{Act, AttemptView, Export, LaterView, MessageView, Selection, Trace, Verb};

use crate::error::PageError;
use crate::filters::{size, wire};
use crate::form::Form;
use crate::frame::Frame;
use crate::queue::{Row, VERBS, row, told};
use crate::sent::{back, html};
use crate::session::User;
use crate::state::Web;
use crate::when::{When, when};

/// Octets of a content that a page shows.
const SHOWN_MAX: usize = 256 << 10;

/// Something that happened, as the time line shows it.
struct Happened {
    at: When,
    /// For its colour: `good`, `wait`, `bad` or `note`.
    class: &'static str,
    what: String,
    recipient: String,
    host: String,
    reply: String,
    kind: String,
    tls: String,
    delays: [u64; 3],
    transcript: String,
}

struct Message {
    id: String,
    sender: String,
    subject: String,
    message_id: String,
    submitter: String,
    accepted: When,
    size: String,
    signatures: Vec<String>,
    tags: Vec<String>,
    metadata: Vec<(String, String)>,
    report_of: Option<String>,
    test: bool,
    refused: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage {
    frame: Frame,
    message: Message,
    sentence: String,
    waiting: Vec<Row>,
    line: Vec<Happened>,
    verbs: [(&'static str, &'static str, &'static str); 5],
    /// Its content is still there.
    has_content: bool,
}

fn class_of(outcome: &str) -> &'static str {
    match outcome {
        "delivered" => "good",
        "deferred" => "wait",
        _ => "bad",
    }
}

fn attempt(view: AttemptView, now: Timestamp) -> Happened {
    let what = match view.outcome.as_str() {
        "deferred" => format!("attempt {}: not yet", view.attempt),
        outcome => format!("attempt {}: {outcome}", view.attempt),
    };
    Happened {
        at: when(&view.at, now),
        class: class_of(&view.outcome),
        what,
        recipient: wire(&view.recipient),
        host: wire(&view.host.unwrap_or_default()),
        reply: wire(&view.reply),
        kind: view.kind.unwrap_or_default().replace('_', " "),
        tls: view.tls,
        delays: view.delays_ms,
        transcript: wire(&view.transcript.unwrap_or_default()),
    }
}

fn later(view: LaterView, now: Timestamp) -> Happened {
    Happened {
        at: when(&view.at, now),
        class: if view.event == "reported" {
            "note"
        } else {
            "bad"
        },
        what: view.event,
        recipient: wire(&view.recipient),
        host: String::new(),
        reply: wire(&view.text),
        kind: String::new(),
        tls: String::new(),
        delays: [0; 3],
        transcript: String::new(),
    }
}

/// All of it in one sentence.
fn sentence(message: &MessageView, now: Timestamp) -> String {
    let of = |outcome: &str| {
        let ends = message.finished.iter();
        ends.filter(|end| end.outcome == outcome).count()
    };
    let (delivered, failed) = (of("delivered"), of("failed") + of("expired"));
    let all = message.waiting.len() + message.finished.len();
    let mut parts = Vec::new();
    if delivered > 0 || message.waiting.is_empty() && failed == 0 {
        parts.push(format!("Delivered to {delivered} of {all}"));
    }
    if failed > 0 {
        parts.push(format!("{failed} of {all} failed"));
    }
    if let Some(first) = message.waiting.first() {
        let n = message.waiting.len();
        let others = match n {
            1 => format!("{} waits", first.recipient),
            n => format!("{n} wait"),
        };
        let next = first.next_event.as_deref().unwrap_or(&first.due);
        let next = when(next, now).shown;
        parts.push(format!("{others}: {}; next {next}", first.reason));
    }
    wire(&format!("{}.", parts.join("; ")))
}

fn message(view: &MessageView, now: Timestamp) -> Message {
    let words = |list: &[String]| list.iter().map(|word| wire(word)).collect();
    let pair = |(name, value): (&String, &String)| (wire(name), wire(value));
    Message {
        id: view.id.clone(),
        sender: match view.sender.as_str() {
            "" => "<> (a report)".to_owned(),
            sender => wire(sender),
        },
        subject: wire(&view.subject),
        message_id: wire(view.message_id.as_deref().unwrap_or_default()),
        submitter: wire(&view.submitter),
        accepted: when(&view.accepted, now),
        size: size(view.size),
        signatures: words(&view.signatures),
        tags: words(&view.tags),
        metadata: view.metadata.iter().map(pair).collect(),
        report_of: view.report_of.clone(),
        test: view.test,
        refused: (view.refused.iter())
            .map(|refused| (wire(&refused.address), wire(&refused.reason)))
            .collect(),
    }
}

/// The page.
pub(crate) async fn show(
    user: User,
    State(web): State<Web>,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let now = web.now();
    let trace = web.ask(&user, Trace(id.clone())).await?;
    let view = trace.message.ok_or_else(|| {
        PageError::not_found(format!(
            "there is no message {id}: it is neither waiting nor in the history"
        ))
    })?;
    let mut line: Vec<(String, Happened)> = Vec::new();
    let attempts = trace.attempts.into_iter();
    line.extend(attempts.map(|view| (view.at.clone(), attempt(view, now))));
    let known = view.later.iter().cloned();
    line.extend(known.map(|view| (view.at.clone(), later(view, now))));
    line.sort_by(|(a, _), (b, _)| a.cmp(b));
    let page = MessagePage {
        frame: Frame::new(&web, &user, "/queue", &format!("Message {id}")),
        sentence: sentence(&view, now),
        has_content: !view.waiting.is_empty(),
        message: message(&view, now),
        waiting: view
            .waiting
            .into_iter()
            .map(|view| row(view, now))
            .collect(),
        line: line.into_iter().map(|(_, happened)| happened).collect(),
        verbs: VERBS,
    };
    Ok(html(&page))
}

/// Does something to recipients of the message.
pub(crate) async fn act(
    State(web): State<Web>,
    Path(id): Path<String>,
    Form(user, fields): Form,
) -> Result<Response, PageError> {
    let word = fields.text("verb");
    let verb = Verb::of_word(&word).ok_or_else(|| PageError::malformed("choose what to do"))?;
    let mut ids: Vec<String> = fields.all("id").map(str::to_owned).collect();
    if ids.is_empty() {
        ids.push(id.clone());
    }
    let selection = Selection::Ids(ids);
    let done = web.ask(&user, Act { verb, selection }).await?;
    Ok(back(&format!("/messages/{id}"), &told(&word, done)).into_response())
}

#[derive(Template)]
#[template(path = "content.html")]
struct ContentPage {
    frame: Frame,
    id: String,
    text: String,
    cut: bool,
}

/// The source of a message that waits. Reading it is a right of its own, and stands in the audit.
pub(crate) async fn content(
    user: User,
    State(web): State<Web>,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let content = web.ask(&user, Export(id.clone())).await?;
    let octets = STANDARD.decode(content.0).unwrap_or_default();
    let cut = octets.len() > SHOWN_MAX;
    let octets = octets.get(..SHOWN_MAX).unwrap_or(&octets);
    let text = String::from_utf8_lossy(octets).replace("\r\n", "\n");
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    let page = ContentPage {
        frame: Frame::new(&web, &user, "/queue", &format!("Content of {id}")),
        id,
        text: text.chars().map(shown).collect(),
        cut,
    };
    Ok(html(&page))
}
