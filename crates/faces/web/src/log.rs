//! The log: lines by their words, those that are written now, and more of them about one domain for a while.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use mail::QueueId;
use ops::{Detailed, FollowLog, SearchLog};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::error::PageError;
use crate::fields::{Query, encode};
use crate::filters::wire;
use crate::form::Form;
use crate::frame::Frame;
use crate::sent::{back, html};
use crate::session::User;
use crate::state::Web;

/// Lines of a page.
const LINES: u64 = 200;
/// How long the detailed log is switched on.
const DETAILED: Duration = Duration::from_secs(600);
/// How often a log that is followed is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// A stream ends after so many looks, and the browser asks anew: whoever is no longer logged in sees no more.
const LOOKS_MAX: usize = 300;
/// Lines on their way to a browser that reads slowly.
const WAITING_MAX: usize = 500;

/// The times since which lines are looked for.
const SINCE: [(&str, &str); 5] = [
    ("", "any time"),
    ("15m", "15 minutes"),
    ("2h", "2 hours"),
    ("1d", "a day"),
    ("7d", "a week"),
];

/// A part of a line; what is the id of a message leads to it.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    text: String,
    is_id: bool,
}

/// What stands in front of the id of a message, as text and as JSON.
const MARKS: [&str; 2] = [" id=", "\"id\":\""];

/// A line in its parts.
fn parts(line: &str) -> Vec<Part> {
    let part = |text: &str, is_id| Part {
        text: wire(text),
        is_id,
    };
    let found = MARKS.iter().find_map(|mark| {
        let at = line.find(mark)? + mark.len();
        let rest = line.get(at..)?;
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric());
        let id = rest.get(..length.unwrap_or(rest.len()))?;
        id.parse::<QueueId>().is_ok().then_some((at, id.len()))
    });
    let Some((at, length)) = found else {
        return vec![part(line, false)];
    };
    let text = |range: std::ops::Range<usize>| line.get(range).unwrap_or_default();
    vec![
        part(text(0..at), false),
        part(text(at..at + length), true),
        part(text(at + length..line.len()), false),
    ]
}

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage {
    frame: Frame,
    q: String,
    since: String,
    times: [(&'static str, &'static str); 5],
    lines: Vec<Vec<Part>>,
    whole: bool,
    /// Where the lines that are written now come from, if they are asked for.
    tail: Option<String>,
    why: Option<String>,
    /// The address of the other kind of page.
    other: String,
}

/// The page.
pub(crate) async fn show(
    user: User,
    State(web): State<Web>,
    Query(fields): Query,
) -> Result<Response, PageError> {
    let (q, since) = (fields.text("q"), fields.text("since"));
    let follows = fields.has("follow");
    let (mut lines, mut whole, mut why) = (Vec::new(), true, None);
    if !follows {
        let search = SearchLog {
            words: q.clone(),
            since: fields.get("since").map(str::to_owned),
            limit: LINES,
        };
        match web.ask(&user, search).await {
            Ok(found) => {
                lines = found.lines.iter().map(|line| parts(line)).collect();
                whole = found.whole;
            }
            // What is mistyped is corrected on the page; and a log that is elsewhere is told of there.
            Err(error) => why = Some(error.why),
        }
    }
    let other = match follows {
        true => encode(&[("q", &q)]),
        false => encode(&[("q", &q), ("follow", "1")]),
    };
    let page = LogPage {
        frame: Frame::new(&web, &user, "/log", "Log"),
        tail: follows.then(|| format!("/log/tail?{}", encode(&[("q", &q)]))),
        times: SINCE,
        other: format!("/log?{other}"),
        lines,
        whole,
        why,
        since,
        q,
    };
    Ok(html(&page))
}

/// Switches the detailed log for a domain or a sender: on for ten minutes, or off.
pub(crate) async fn detailed(
    State(web): State<Web>,
    Form(user, fields): Form,
) -> Result<Response, PageError> {
    let on = match fields.get("verb") {
        Some("on") => true,
        Some("off") => false,
        _ => return Err(PageError::malformed("choose what to do")),
    };
    let ask = Detailed {
        only: fields.get("only").map(str::to_owned),
        on,
        seconds: on.then_some(DETAILED.as_secs()),
    };
    let done = web.ask(&user, ask).await?;
    let next = fields.get("next").unwrap_or("/log");
    Ok(back(next, &done.0).into_response())
}

/// Sends the lines that are written from now on.
pub(crate) async fn tail(
    user: User,
    State(web): State<Web>,
    Query(fields): Query,
) -> Result<Response, PageError> {
    let place = Arc::clone(&web.0.live.places).try_acquire_owned();
    let place = place.map_err(|_| PageError::unavailable("too many pages are live"))?;
    let words = fields.text("q");
    let ask = FollowLog { words, after: None };
    // Whoever may not, or asks for what cannot be, hears so at once.
    let begin = web.ask(&user, ask.clone()).await?;
    let (send, lines) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        // The place is free again when the stream ends.
        let _held = place;
        let after = Some(begin.next);
        follow(&web, &user, FollowLog { after, ..ask }, send).await;
    });
    let alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(ReceiverStream::new(lines))
        .keep_alive(alive)
        .into_response())
}

/// Looks for new lines until nobody reads them any more.
async fn follow(
    web: &Web,
    user: &User,
    mut ask: FollowLog,
    send: mpsc::Sender<Result<Event, Infallible>>,
) {
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(EVERY).await;
        let Ok(found) = web.ask(user, ask.clone()).await else {
            return;
        };
        for line in found.lines {
            let event = Event::default().data(wire(&line));
            if send.send(Ok(event)).await.is_err() {
                return;
            }
        }
        if send.is_closed() {
            return;
        }
        ask.after = Some(found.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lead_to_their_messages_in_both_forms_of_the_log() {
        let id = "6h1vwtb6m00";
        assert!(id.parse::<QueueId>().is_ok());
        for line in [
            format!("2026-11-27T17:00:13Z failed id={id} to=<a@b.example> reply=\"no id=x\""),
            format!("{{\"time\":\"2026-11-27T17:00:13Z\",\"event\":\"failed\",\"id\":\"{id}\"}}"),
        ] {
            let parts = parts(&line);
            let ids: Vec<&str> = parts
                .iter()
                .filter(|p| p.is_id)
                .map(|p| p.text.as_str())
                .collect();
            assert_eq!(ids, [id]);
            let whole: String = parts.iter().map(|p| p.text.as_str()).collect();
            assert_eq!(whole, line);
        }
        assert_eq!(parts("2026 start id=<b>").len(), 1);
        assert_eq!(parts("x\u{1b}[31m").first().unwrap().text, "x\\x1b[31m");
    }
}
