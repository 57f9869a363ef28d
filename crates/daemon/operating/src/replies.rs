//! What is known of other servers' answers: the rules in force, and what they make of one.

use config::Replies;
use config::replies::ReplyAction;
use deliver::ReplyRule;
use mail::format_duration;
use ops::{RepliesView, ReplyActionView, ReplyRuleView, ReplyTestedView, TestReply};

fn rule(rule: &ReplyRule) -> ReplyRuleView {
    ReplyRuleView {
        id: rule.id.clone(),
        kind: rule.kind.word().to_owned(),
        hosts: rule.hosts.clone(),
        treat_as: rule.treat_as.map(|class| class.word().to_owned()),
        wait: rule.wait.map(format_duration),
        source: rule.source.clone(),
        examples: rule.examples.clone(),
    }
}

fn action(action: &ReplyAction) -> ReplyActionView {
    ReplyActionView {
        id: action.id.clone(),
        kind: action.on.word().to_owned(),
        when: action.when(),
        effect: action.effect(),
        built_in: action.built_in,
    }
}

/// The book in force.
pub(crate) fn book(replies: &Replies) -> RepliesView {
    RepliesView {
        rules: replies.book.rules().iter().map(rule).collect(),
        actions: replies.actions.iter().map(action).collect(),
    }
}

/// What the book makes of an answer.
pub(crate) fn test(replies: &Replies, ask: &TestReply) -> ReplyTestedView {
    let reply = deliver::read_reply(&ask.text);
    let host = ask.host.as_deref();
    let known = replies.book.classify(&reply, host);
    let counts = replies.actions.iter();
    let counts = counts.filter(|action| action.is_about(known.kind, host, &ask.domain));
    ReplyTestedView {
        code: reply.code,
        kind: known.kind.word().to_owned(),
        rule: known.rule.map(rule),
        asks_for: deliver::retry_after(&reply).map(format_duration),
        actions: counts.map(action).collect(),
    }
}
