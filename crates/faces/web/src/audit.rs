//! The audit: who changed what.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use ops::{ActView, Acts};

use crate::error::PageError;
use crate::fields::Query;
use crate::filters::wire;
use crate::frame::Frame;
use crate::sent::html;
use crate::session::User;
use crate::state::Web;
use crate::when::{When, when};

/// Rows of a page.
const ROWS: u64 = 100;

struct Row {
    at: When,
    who: String,
    verb: String,
    about: String,
    result: String,
    refused: bool,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    rows: Vec<Row>,
    next: Option<u64>,
}

/// The page.
pub(crate) async fn show(
    user: User,
    State(web): State<Web>,
    Query(fields): Query,
) -> Result<Response, PageError> {
    let acts = Acts {
        before: fields.number("before"),
        limit: ROWS,
    };
    let found = web.ask(&user, acts).await?;
    let now = web.now();
    let row = |view: ActView| Row {
        at: when(&view.at, now),
        who: wire(&view.who),
        verb: view.verb,
        about: wire(&view.about),
        result: wire(&view.result),
        refused: view.refused,
    };
    let page = AuditPage {
        frame: Frame::new(&web, &user, "/audit", "Audit"),
        rows: found.acts.into_iter().map(row).collect(),
        next: found.next,
    };
    Ok(html(&page))
}
