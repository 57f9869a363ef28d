//! Sites: where mail goes, and how that fares.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use ops::{Pause, SiteView, Slow};

use crate::error::PageError;
use crate::fields::{Query, encode};
use crate::filters::wire;
use crate::form::Form;
use crate::frame::Frame;
use crate::sent::{back, html};
use crate::session::User;
use crate::state::Web;

/// Sites of the page.
const SHOWN: usize = 200;

struct Site {
    view: SiteView,
    name: String,
    failure: String,
    action: String,
    class: &'static str,
}

fn site(view: SiteView) -> Site {
    let class = match (view.is_shut, view.standing.as_str(), &view.action) {
        (true, ..) => "bad",
        (false, _, Some(_)) | (false, "probing", None) => "wait",
        (false, ..) => "good",
    };
    Site {
        name: wire(&view.site),
        failure: wire(view.last_failure.as_deref().unwrap_or_default()),
        action: wire(view.action.as_deref().unwrap_or_default()),
        class,
        view,
    }
}

#[derive(Template)]
#[template(path = "sites.html")]
struct SitesPage {
    frame: Frame,
    sites: Vec<Site>,
    more: usize,
    paused: Vec<(String, String)>,
    text: String,
}

/// The page.
pub(crate) async fn show(
    user: User,
    State(web): State<Web>,
    Query(fields): Query,
) -> Result<Response, PageError> {
    let found = web.ask(&user, ops::Sites).await?;
    let text = fields.text("site");
    let mut sites = found.sites;
    sites.retain(|site| site.site.contains(&text));
    let more = sites.len().saturating_sub(SHOWN);
    sites.truncate(SHOWN);
    let queue = |domain: &String| {
        let query = encode(&[("q", &format!("domain:{domain}"))]);
        (wire(domain), format!("/queue?{query}"))
    };
    let page = SitesPage {
        frame: Frame::new(&web, &user, "/sites", "Sites"),
        sites: sites.into_iter().map(site).collect(),
        more,
        paused: found.paused.iter().map(queue).collect(),
        text,
    };
    Ok(html(&page))
}

/// Pauses, slows or resumes a domain's mail.
pub(crate) async fn act(
    State(web): State<Web>,
    Form(user, fields): Form,
) -> Result<Response, PageError> {
    let domain = fields.text("domain");
    let done = match fields.get("verb") {
        Some("pause") => web.ask(&user, Pause { domain, on: true }).await?,
        Some("resume") => web.ask(&user, Pause { domain, on: false }).await?,
        Some("slow") => {
            let slow = Slow {
                domain,
                rate: fields.get("rate").map(str::to_owned),
                connections: match fields.get("connections") {
                    None => None,
                    Some(text) => Some(text.parse().map_err(|_| {
                        PageError::malformed("connections: write a whole number, such as 1")
                    })?),
                },
            };
            web.ask(&user, slow).await?
        }
        _ => return Err(PageError::malformed("choose what to do")),
    };
    let next = fields.get("next").unwrap_or("/sites");
    Ok(back(next, &done.0).into_response())
}
