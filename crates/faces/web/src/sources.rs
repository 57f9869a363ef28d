//! The addresses that mail leaves from: their state, their pools, and how far the warm-up of each is.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use mail::Timestamp;
use ops::{SourceView, Sources, WarmSiteView, WarmUpView};

use crate::error::PageError;
use crate::filters::wire;
use crate::frame::Frame;
use crate::sent::html;
use crate::session::User;
use crate::state::Web;
use crate::when::{When, when};

struct Source {
    view: SourceView,
    why: String,
    until: Option<When>,
    in_service: bool,
    pools: String,
    warm: Option<Warm>,
}

/// A warm-up, as it stands today.
struct Warm {
    title: String,
    limit: u32,
    sites: Vec<Site>,
}

/// What a site has got today, of what it may get.
struct Site {
    name: String,
    sent: u32,
    limit: u32,
    /// Nothing more goes there today.
    is_full: bool,
}

fn warm(view: WarmUpView) -> Warm {
    let limit = view.limit;
    let site = |site: WarmSiteView| Site {
        name: wire(&site.site),
        sent: site.sent,
        limit,
        is_full: site.sent >= limit,
    };
    Warm {
        title: match view.day {
            0 => format!("has not begun: {} days are planned", view.of),
            day => format!("day {day} of {}", view.of),
        },
        limit,
        sites: view.sites.into_iter().map(site).collect(),
    }
}

fn source(mut view: SourceView, now: Timestamp) -> Source {
    Source {
        why: wire(&view.why.take().unwrap_or_default()),
        until: view.until.take().map(|at| when(&at, now)),
        in_service: view.state == "in service",
        pools: view.pools.join(", "),
        warm: view.warm_up.take().map(warm),
        view,
    }
}

#[derive(Template)]
#[template(path = "sources.html")]
struct SourcesPage {
    frame: Frame,
    sources: Vec<Source>,
}

/// The page.
pub(crate) async fn show(user: User, State(web): State<Web>) -> Result<Response, PageError> {
    let now = web.now();
    let found = web.ask(&user, Sources).await?;
    let page = SourcesPage {
        frame: Frame::new(&web, &user, "/sources", "Addresses"),
        sources: found.into_iter().map(|view| source(view, now)).collect(),
    };
    Ok(html(&page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_that_has_got_its_day_is_full() {
        let view = |day| WarmUpView {
            day,
            of: 30,
            limit: 50,
            sites: vec![
                WarmSiteView {
                    site: "mx.a.example".to_owned(),
                    sent: 50,
                },
                WarmSiteView {
                    site: "mx.b.example".to_owned(),
                    sent: 49,
                },
            ],
        };
        let shown = warm(view(3));
        assert_eq!(shown.title, "day 3 of 30");
        let full: Vec<bool> = shown.sites.iter().map(|site| site.is_full).collect();
        assert_eq!(full, [true, false]);
        assert!(warm(view(0)).title.starts_with("has not begun"));
    }
}
