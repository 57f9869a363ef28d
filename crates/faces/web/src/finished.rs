//! What is finished: whether it arrived, when, and what came of it later.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use mail::Timestamp;
use ops::{FinishedView, History, HistoryCount, HistorySelection, LaterView};

use crate::error::PageError;
use crate::fields::{Query, encode};
use crate::filters::{number, wire};
use crate::frame::Frame;
use crate::paging::{self, Pages};
use crate::sent::html;
use crate::session::User;
use crate::shell;
use crate::state::Web;
use crate::when::{When, span, when};

/// Rows of a page.
const ROWS: u64 = 50;
/// No more than so many are counted, so that a long history does not keep a page waiting.
const COUNTED_MAX: u64 = 10_000;

/// What was learned after the end.
struct Later {
    at: When,
    event: String,
    text: String,
    class: &'static str,
}

struct Row {
    id: String,
    at: When,
    sender: String,
    recipient: String,
    subject: String,
    outcome: String,
    /// For its colour.
    class: &'static str,
    kind: String,
    host: String,
    reply: String,
    tls: String,
    attempts: u32,
    /// From acceptance to the end.
    took: String,
    test: bool,
    later: Vec<Later>,
    /// What can be told to whoever asks whether it arrived.
    say: String,
}

fn later(view: LaterView, now: Timestamp) -> Later {
    Later {
        at: when(&view.at, now),
        class: if view.event == "reported" { "" } else { "bad" },
        event: view.event,
        text: wire(&view.text),
    }
}

/// The time from one to the other, as both are written in an answer.
fn took(from: &str, to: &str) -> String {
    let times = Timestamp::parse_rfc3339(from).zip(Timestamp::parse_rfc3339(to));
    times.map_or_else(String::new, |(from, to)| span(to.since(from).as_secs()))
}

/// A sentence for whoever asks what became of the mail.
fn say(view: &FinishedView) -> String {
    let (recipient, end) = (&view.end.recipient, &view.end);
    let by = end.host.as_deref().map(|host| format!(" {host}"));
    let by = by.unwrap_or_default();
    let what = match end.outcome.as_str() {
        "delivered" => format!(
            "was accepted by{}",
            if by.is_empty() { " its server" } else { &by }
        ),
        "expired" => "could not be delivered in the time that this server tries".to_owned(),
        _ => format!(
            "was refused{}",
            if by.is_empty() {
                String::new()
            } else {
                format!(" by{by}")
            }
        ),
    };
    let reply = match end.reply.is_empty() {
        true => String::new(),
        false => format!(" with the answer \"{}\"", end.reply),
    };
    wire(&format!(
        "The mail of {} to {recipient} {what} on {}{reply}.",
        view.accepted, end.at
    ))
}

fn row(view: FinishedView, now: Timestamp) -> Row {
    let say = say(&view);
    let end = view.end;
    Row {
        say,
        took: took(&view.accepted, &end.at),
        at: when(&end.at, now),
        sender: match view.sender.as_str() {
            "" => "<>".to_owned(),
            sender => wire(sender),
        },
        recipient: wire(&end.recipient),
        subject: wire(&view.subject.unwrap_or_default()),
        class: match end.outcome.as_str() {
            "delivered" => "good",
            _ => "bad",
        },
        outcome: end.outcome,
        kind: match end.kind.unwrap_or_default().as_str() {
            "unknown" => String::new(),
            kind => kind.replace('_', " "),
        },
        host: wire(&end.host.unwrap_or_default()),
        reply: wire(&end.reply),
        tls: end.tls,
        attempts: end.attempt,
        test: view.test,
        later: (view.later.into_iter())
            .map(|view| later(view, now))
            .collect(),
        id: view.id,
    }
}

#[derive(Template)]
#[template(path = "finished.html")]
struct FinishedPage {
    frame: Frame,
    q: String,
    rows: Vec<Row>,
    count: String,
    pages: Pages,
    why: Option<String>,
    curl: String,
}

/// How the API is asked for the same.
fn api(selection: &HistorySelection) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let first = |list: &[String]| list.first().cloned().unwrap_or_default();
    let since = selection
        .since
        .map(|at| Timestamp::from_millis(at).to_string());
    let query = encode(&[
        ("outcome", &text(&selection.outcome)),
        ("domain", &text(&selection.domain)),
        ("sender", &text(&selection.sender)),
        ("recipient", &text(&selection.recipient)),
        ("message_id", &text(&selection.message_id)),
        ("user", &text(&selection.user)),
        ("tag", &first(&selection.tags)),
        ("meta", &first(&selection.metadata)),
        ("since", &since.unwrap_or_default()),
    ]);
    format!("/api/v1/history?{query}")
}

/// The page.
pub(crate) async fn show(
    user: User,
    State(web): State<Web>,
    Query(fields): Query,
) -> Result<Response, PageError> {
    let (q, page, now) = (fields.text("q"), paging::page(&fields), web.now());
    let read = HistorySelection::parse(&q, now);
    let (selection, why) = match read {
        Ok(selection) => (Some(selection), None),
        // A filter that is mistyped is corrected on the page.
        Err(why) => (None, Some(why.to_string())),
    };
    let (mut rows, mut count) = (Vec::new(), 0);
    if let Some(selection) = selection.clone() {
        let history = History {
            selection: selection.clone(),
            limit: ROWS,
            offset: (page - 1) * ROWS,
        };
        rows = web.ask(&user, history).await?;
        let most = COUNTED_MAX + 1;
        count = web.ask(&user, HistoryCount { selection, most }).await?;
    }
    let more = rows.len() as u64 == ROWS && count > COUNTED_MAX;
    let reachable = if more { u64::MAX } else { count };
    let page = FinishedPage {
        frame: Frame::new(&web, &user, "/finished", "Finished"),
        pages: Pages::new("/finished", &q, page, ROWS, rows.len() as u64, reachable),
        rows: rows.into_iter().map(|view| row(view, now)).collect(),
        count: match count > COUNTED_MAX {
            true => format!("more than {}", number(COUNTED_MAX)),
            false => number(count),
        },
        curl: shell::curl(&web, &api(&selection.unwrap_or_default())),
        why,
        q,
    };
    Ok(html(&page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_from_acceptance_is_said() {
        assert_eq!(
            took("2026-11-01T08:00:00Z", "2026-11-01T08:05:30Z"),
            "5 min"
        );
        assert_eq!(took("2026-11-01T08:00:00Z", "then"), "");
    }

    #[test]
    fn the_same_is_asked_of_the_api() {
        let now = Timestamp::from_secs(1_800_000_000);
        let selection = HistorySelection::parse("outcome:failed a.example tag:x", now).unwrap();
        let path = "/api/v1/history?outcome=failed&domain=a.example&tag=x";
        assert_eq!(api(&selection), path);
    }
}
