//! Tools: where mail would go, what a server is, what an answer means. Each result has an address of its own.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use ops::{Explain, Explanation, LookUpMx, MxView, ReplyTestedView, Step, WhatSmtp, WhatSmtpView};

use crate::answers;
use crate::error::PageError;
use crate::fields::{Fields, Query};
use crate::filters::wire;
use crate::frame::Frame;
use crate::sent::html;
use crate::session::User;
use crate::state::Web;

/// Steps about one thing, one after the other.
struct Group {
    about: String,
    what: Vec<String>,
}

/// Steps in their groups.
fn grouped(steps: Vec<Step>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for step in steps {
        let what = wire(&step.what);
        match groups.last_mut().filter(|group| group.about == step.about) {
            Some(group) => group.what.push(what),
            None => groups.push(Group {
                about: step.about,
                what: vec![what],
            }),
        }
    }
    groups
}

/// What came of the tool that an address asks for.
#[derive(Default)]
struct Found {
    mx: Option<MxView>,
    server: Option<WhatSmtpView>,
    explained: Option<(String, Vec<Group>)>,
    reply: Option<ReplyTestedView>,
}

async fn found(web: &Web, user: &User, fields: &Fields, probe: bool) -> Result<Found, PageError> {
    let mut found = Found::default();
    if let Some(domain) = fields.get("domain") {
        found.mx = Some(web.ask(user, LookUpMx(domain.to_owned())).await?);
    } else if let Some(server) = fields.get("server") {
        found.server = Some(web.ask(user, WhatSmtp(server.to_owned())).await?);
    } else if let Some(address) = fields.get("address") {
        let ask = Explain {
            address: address.to_owned(),
            probe,
        };
        let Explanation { steps, verdict, .. } = web.ask(user, ask).await?;
        found.explained = Some((wire(&verdict), grouped(steps)));
    } else {
        found.reply = answers::asked(web, user, fields).await?;
    }
    Ok(found)
}

#[derive(Template)]
#[template(path = "tools.html")]
struct ToolsPage {
    frame: Frame,
    domain: String,
    server: String,
    address: String,
    probe: bool,
    text: String,
    host: String,
    found: Found,
    why: Option<String>,
}

/// The page.
pub(crate) async fn show(
    user: User,
    State(web): State<Web>,
    Query(fields): Query,
) -> Result<Response, PageError> {
    let frame = Frame::new(&web, &user, "/tools", "Tools");
    // Asking another server is more than looking.
    let probe = fields.has("probe") && frame.operates();
    let (found, why) = match found(&web, &user, &fields, probe).await {
        Ok(found) => (found, None),
        // What is mistyped, or may not be asked, is corrected on the page.
        Err(error) => (Found::default(), Some(error.why)),
    };
    let page = ToolsPage {
        frame,
        domain: fields.text("domain"),
        server: fields.text("server"),
        address: fields.text("address"),
        probe,
        text: fields.text("text"),
        host: fields.text("host"),
        found,
        why,
    };
    Ok(html(&page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_about_one_thing_stand_together() {
        let step = |about: &str, what: &str| Step {
            about: about.to_owned(),
            what: what.to_owned(),
        };
        let groups = grouped(vec![
            step("dns", "a"),
            step("dns", "b\u{1b}"),
            step("host", "c"),
            step("dns", "d"),
        ]);
        let shown: Vec<(&str, usize)> = (groups.iter())
            .map(|group| (group.about.as_str(), group.what.len()))
            .collect();
        assert_eq!(shown, [("dns", 2), ("host", 1), ("dns", 1)]);
        assert_eq!(groups[0].what, ["a", "b\\x1b"]);
    }
}
