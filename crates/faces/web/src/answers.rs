//! Answers of other servers: what each rule makes of them, what is done about them, and a test of one.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use ops::{Replies, RepliesView, ReplyActionView, ReplyRuleView, ReplyTestedView, TestReply};

use crate::error::PageError;
use crate::fields::{Fields, Query, encode};
use crate::frame::Frame;
use crate::sent::html;
use crate::session::User;
use crate::state::Web;

/// A rule, as a row shows it.
struct Rule {
    id: String,
    kind: String,
    hosts: String,
    /// What follows from it, in words.
    follows: String,
    source: String,
    example: String,
    /// Where its example is tried.
    link: String,
}

/// What follows from a rule, in words.
fn follows(rule: &ReplyRuleView) -> String {
    let treated = rule
        .treat_as
        .as_ref()
        .map(|class| format!("treated as {class}"));
    let waits = rule
        .wait
        .as_ref()
        .map(|wait| format!("not tried again before {wait}"));
    let words: Vec<String> = treated.into_iter().chain(waits).collect();
    match words.is_empty() {
        true => "as its code says".to_owned(),
        false => words.join(", "),
    }
}

fn rule(view: ReplyRuleView) -> Rule {
    let example = view.examples.first().cloned().unwrap_or_default();
    let host = view.hosts.first().map(|host| match host.strip_prefix('.') {
        Some(domain) => format!("mx.{domain}"),
        None => host.clone(),
    });
    let query = encode(&[("text", &example), ("host", &host.unwrap_or_default())]);
    Rule {
        link: format!("/answers?{query}#test"),
        kind: view.kind.replace('_', " "),
        hosts: match view.hosts.is_empty() {
            true => "all hosts".to_owned(),
            false => view.hosts.join(", "),
        },
        follows: follows(&view),
        source: view.source,
        example,
        id: view.id,
    }
}

/// An answer that was tested, with what came of it.
struct Tested {
    kind: String,
    is_known: bool,
    rule: Option<Rule>,
    /// What its code says, where the rule says nothing else.
    code: &'static str,
    asks_for: Option<String>,
    actions: Vec<ReplyActionView>,
}

fn tested(view: ReplyTestedView) -> Tested {
    Tested {
        is_known: view.rule.is_some(),
        kind: view.kind.replace('_', " "),
        rule: view.rule.map(rule),
        code: match view.code {
            200..=299 => "it accepts",
            400..=499 => "the recipient is tried again later",
            500..=599 => "the recipient fails",
            _ => "no code is given, so nothing follows from it",
        },
        asks_for: view.asks_for,
        actions: view.actions,
    }
}

/// A test that an address asks for; an empty one asks for none.
pub(crate) async fn asked(
    web: &Web,
    user: &User,
    fields: &Fields,
) -> Result<Option<ReplyTestedView>, PageError> {
    if !fields.has("text") {
        return Ok(None);
    }
    let ask = TestReply {
        text: fields.text("text"),
        host: fields.get("host").map(str::to_owned),
        domain: fields.text("domain"),
    };
    web.ask(user, ask).await.map(Some)
}

#[derive(Template)]
#[template(path = "answers.html")]
struct AnswersPage {
    frame: Frame,
    text: String,
    host: String,
    domain: String,
    tested: Option<Tested>,
    rules: Vec<Rule>,
    actions: Vec<ReplyActionView>,
}

/// The page.
pub(crate) async fn show(
    user: User,
    State(web): State<Web>,
    Query(fields): Query,
) -> Result<Response, PageError> {
    let RepliesView { rules, actions } = web.ask(&user, Replies).await?;
    let page = AnswersPage {
        frame: Frame::new(&web, &user, "/answers", "Answers"),
        tested: asked(&web, &user, &fields).await?.map(tested),
        text: fields.text("text"),
        host: fields.text("host"),
        domain: fields.text("domain"),
        rules: rules.into_iter().map(rule).collect(),
        actions,
    };
    Ok(html(&page))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> ReplyRuleView {
        ReplyRuleView {
            id: "x".to_owned(),
            kind: "mailbox_full".to_owned(),
            hosts: vec![".google.com".to_owned()],
            treat_as: Some("transient".to_owned()),
            wait: Some("1h".to_owned()),
            source: String::new(),
            examples: vec!["552 5.2.2 full".to_owned()],
        }
    }

    #[test]
    fn what_follows_from_a_rule_is_said() {
        assert_eq!(
            follows(&view()),
            "treated as transient, not tried again before 1h"
        );
        let plain = ReplyRuleView {
            treat_as: None,
            wait: None,
            ..view()
        };
        assert_eq!(follows(&plain), "as its code says");
    }

    #[test]
    fn an_example_is_tried_at_a_host_that_the_rule_is_about() {
        let shown = rule(view());
        assert_eq!(
            shown.link,
            "/answers?text=552+5.2.2+full&host=mx.google.com#test"
        );
        assert_eq!(shown.kind, "mailbox full");
    }
}
