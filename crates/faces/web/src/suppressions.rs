//! The suppression list: recipients that no mail is accepted for.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mail::Timestamp;
use ops::{
    NewSuppression, Suppress, SuppressionSelection, SuppressionView, Suppressions, Unsuppress,
};

use crate::error::PageError;
use crate::fields::{Query, encode};
use crate::filters::wire;
use crate::form::Form;
use crate::frame::Frame;
use crate::paging::{self, Pages};
use crate::sent::{back, html};
use crate::session::User;
use crate::shell;
use crate::state::Web;
use crate::when::{When, when};

/// Rows of a page.
const ROWS: u64 = 50;

struct Row {
    recipient: String,
    scope: String,
    /// As they are given back to the server.
    exact: (String, String),
    cause: String,
    reason: String,
    since: When,
    until: Option<When>,
    message: Option<String>,
    count: u32,
    in_force: bool,
}

fn row(view: SuppressionView, now: Timestamp) -> Row {
    Row {
        recipient: wire(&view.recipient),
        scope: match view.scope.as_str() {
            "all" => "everybody".to_owned(),
            scope => wire(scope),
        },
        exact: (view.recipient, view.scope),
        cause: view.cause,
        reason: wire(&view.reason),
        since: when(&view.since, now),
        until: view.expires.map(|at| when(&at, now)),
        message: view.message,
        count: view.count,
        in_force: view.in_force,
    }
}

#[derive(Template)]
#[template(path = "suppressions.html")]
struct SuppressionsPage {
    frame: Frame,
    q: String,
    rows: Vec<Row>,
    count: u64,
    pages: Pages,
    curl: String,
}

/// The page.
pub(crate) async fn show(
    user: User,
    State(web): State<Web>,
    Query(fields): Query,
) -> Result<Response, PageError> {
    let (q, page, now) = (fields.text("q"), paging::page(&fields), web.now());
    let list = Suppressions {
        selection: SuppressionSelection {
            text: Some(q.clone()).filter(|text| !text.is_empty()),
            ..SuppressionSelection::default()
        },
        limit: ROWS,
        offset: (page - 1) * ROWS,
    };
    let found = web.ask(&user, list).await?;
    let (shown, count) = (found.entries.len() as u64, found.matching);
    let api = format!("/api/v1/suppressions?{}", encode(&[("text", &q)]));
    let page = SuppressionsPage {
        frame: Frame::new(&web, &user, "/suppressions", "Suppression"),
        pages: Pages::new("/suppressions", &q, page, ROWS, shown, count),
        rows: (found.entries.into_iter())
            .map(|view| row(view, now))
            .collect(),
        count,
        curl: shell::curl(&web, &api),
        q,
    };
    Ok(html(&page))
}

/// Puts a recipient on the list, or takes one off.
pub(crate) async fn act(
    State(web): State<Web>,
    Form(user, fields): Form,
) -> Result<Response, PageError> {
    let given = |name: &str| fields.get(name).map(str::to_owned);
    let recipient = fields.text("recipient");
    let done = match fields.get("verb") {
        Some("add") => {
            let new = NewSuppression {
                recipient,
                scope: given("scope"),
                reason: given("reason"),
                expires: given("expires"),
                ..NewSuppression::default()
            };
            web.ask(&user, Suppress(vec![new])).await?
        }
        Some("remove") => {
            let unsuppress = Unsuppress {
                recipient,
                scope: given("scope"),
                reason: given("reason"),
            };
            web.ask(&user, unsuppress).await?
        }
        _ => return Err(PageError::malformed("choose what to do")),
    };
    let next = fields.get("next").unwrap_or("/suppressions");
    Ok(back(next, &done.0).into_response())
}
