//! Webhooks: who is told what happened, and how far each is behind.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mail::Timestamp;
use ops::{EventType, TestWebhook, Webhook, WebhookTested, WebhookVerb, WebhookView, Webhooks};

use crate::error::PageError;
use crate::filters::wire;
use crate::form::Form;
use crate::frame::Frame;
use crate::sent::{back, html};
use crate::session::User;
use crate::state::Web;
use crate::when::{When, when};

struct Row {
    name: String,
    url: String,
    events: String,
    state: String,
    class: &'static str,
    reason: String,
    unsent: u64,
    oldest: Option<When>,
    sent: u64,
    answer: String,
    answered: Option<When>,
    failures: u32,
    next: Option<When>,
    aside: u64,
    aside_since: Option<When>,
    replaying: Option<u64>,
}

/// The state, for its colour.
fn class(state: &str) -> &'static str {
    match state {
        "up" | "sending" => "good",
        "paused" => "wait",
        _ => "bad",
    }
}

fn row(view: WebhookView, now: Timestamp) -> Row {
    let at = |time: Option<String>| time.map(|time| when(&time, now));
    let events: Vec<&str> = view.events.iter().map(|kind| kind.word()).collect();
    Row {
        events: match events.len() == EventType::ALL.len() {
            true => "all events".to_owned(),
            false => events.join(", "),
        },
        class: class(&view.state),
        url: wire(&view.url),
        reason: wire(&view.reason),
        unsent: view.unsent,
        oldest: at(view.oldest_unsent),
        sent: view.sent,
        answer: wire(&view.last_answer.unwrap_or_default()),
        answered: at(view.last_time),
        failures: view.failures,
        next: at(view.next_try),
        aside: view.put_aside.events,
        aside_since: at(view.put_aside.since),
        replaying: view.replay.map(|replay| replay.sent),
        state: view.state,
        name: view.name,
    }
}

#[derive(Template)]
#[template(path = "webhooks.html")]
struct WebhooksPage {
    frame: Frame,
    rows: Vec<Row>,
}

/// The page.
pub(crate) async fn show(user: User, State(web): State<Web>) -> Result<Response, PageError> {
    let now = web.now();
    let found = web.ask(&user, Webhooks).await?;
    let page = WebhooksPage {
        frame: Frame::new(&web, &user, "/webhooks", "Webhooks"),
        rows: found.into_iter().map(|view| row(view, now)).collect(),
    };
    Ok(html(&page))
}

/// What came of a test, in words.
fn told(name: &str, tested: &WebhookTested) -> String {
    let what = match tested.taken {
        true => "accepted the example",
        false => "did not accept the example",
    };
    let mut words = format!("{name} {what} after {} ms", tested.milliseconds);
    let status = tested.status.map(|status| status.to_string());
    let text = Some(tested.text.clone()).filter(|text| !text.is_empty());
    for part in [status, text].into_iter().flatten() {
        words.push_str(": ");
        words.push_str(&part);
    }
    words
}

/// Pauses, resumes, tries or tests a webhook.
pub(crate) async fn act(
    State(web): State<Web>,
    Form(user, fields): Form,
) -> Result<Response, PageError> {
    let name = fields.text("name");
    let verb = match fields.get("verb") {
        Some("pause") => WebhookVerb::Pause,
        Some("resume") => WebhookVerb::Resume,
        Some("retry") => WebhookVerb::Retry,
        Some("end-replay") => WebhookVerb::EndReplay,
        Some("test") => {
            let tested = web.ask(&user, TestWebhook(name.clone())).await?;
            return Ok(back("/webhooks", &told(&name, &tested)).into_response());
        }
        _ => return Err(PageError::malformed("choose what to do")),
    };
    let done = web.ask(&user, Webhook { name, verb }).await?;
    Ok(back("/webhooks", &done.0).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_a_test_is_told() {
        let tested = |status: Option<u16>, text: &str| WebhookTested {
            taken: status == Some(204),
            status,
            text: text.to_owned(),
            milliseconds: 12,
            webhook_id: "x".to_owned(),
        };
        let told = |status, text| told("crm", &tested(status, text));
        assert_eq!(
            told(Some(204), ""),
            "crm accepted the example after 12 ms: 204"
        );
        assert_eq!(
            told(Some(500), "oops"),
            "crm did not accept the example after 12 ms: 500: oops"
        );
        assert_eq!(
            told(None, "connection refused"),
            "crm did not accept the example after 12 ms: connection refused"
        );
    }

    #[test]
    fn what_does_not_send_is_not_green() {
        let states = ["up", "sending", "paused", "failing", "stopped"];
        let classes = states.map(class);
        assert_eq!(classes, ["good", "good", "wait", "bad", "bad"]);
    }
}
