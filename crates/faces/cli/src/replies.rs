//! `sendoff replies`: what is known of other servers' answers, and what is done about them.

use anyhow::Result;
use clap::Subcommand;
use config::replies::ReplyAction;
use config::{Config, Replies};
use mail::format_duration;
use serde_json::{Value, json};
use terminal::print;

#[derive(Debug, Subcommand)]
pub(crate) enum RepliesCommand {
    /// List the rules that name the kind of an answer, in the order in which they are asked, and the
    /// actions.
    List {
        /// Only for this kind, such as rate_limited.
        #[arg(long, value_parser = mail::ReplyKind::WORDS)]
        kind: Option<String>,
    },
    /// Show which rule matches an answer, and what would be done.
    Test {
        /// The answer, such as '421 4.7.28 unusual rate'.
        text: String,
        /// The host that gave it.
        #[arg(long)]
        host: Option<String>,
        /// The recipient's domain.
        #[arg(long, default_value = "")]
        domain: String,
    },
}

pub(super) fn carry_out(config: &Config, command: &RepliesCommand, json: bool) -> Result<()> {
    let replies = &config.replies;
    let (value, text) = match command {
        RepliesCommand::List { kind } => list(replies, kind.as_deref()),
        RepliesCommand::Test { text, host, domain } => test(replies, text, host.as_deref(), domain),
    };
    print(&match json {
        true => format!("{}\n", serde_json::to_string(&value)?),
        false => text,
    });
    Ok(())
}

fn list(replies: &Replies, kind: Option<&str>) -> (Value, String) {
    let wanted = |k: mail::ReplyKind| kind.is_none_or(|kind| k.word() == kind);
    let mut text = String::new();
    let mut rules = Vec::new();
    for rule in replies.book.rules().iter().filter(|r| wanted(r.kind)) {
        let hosts = match rule.hosts.is_empty() {
            true => String::new(),
            false => format!(" of {}", rule.hosts.join(" ")),
        };
        let treat_as = rule.treat_as.map(|t| t.word());
        let treated = treat_as.map_or_else(String::new, |t| format!(", treated as {t}"));
        let wait = rule.wait.map(format_duration);
        let waited = wait
            .as_ref()
            .map_or_else(String::new, |w| format!(", not before {w}"));
        text.push_str(&format!(
            "{}: {}{hosts}{treated}{waited}\n",
            rule.id, rule.kind
        ));
        text.extend(
            rule.examples
                .first()
                .map(|example| format!("    {}\n", example.replace('\n', " "))),
        );
        rules.push(json!({
            "id": rule.id, "kind": rule.kind.word(), "host": rule.hosts, "treat_as": treat_as,
            "wait": wait, "source": rule.source, "examples": rule.examples,
        }));
    }
    let mut actions = Vec::new();
    for action in replies.actions.iter().filter(|a| wanted(a.on)) {
        let (when, effect) = (action.when(), action.effect());
        text.push_str(&format!("action {}: {when}: {effect}\n", action.id));
        actions.push(json!({
            "id": action.id, "on": action.on.word(), "host": action.hosts,
            "domain": action.domains, "when": when, "effect": effect,
            "built_in": action.built_in,
        }));
    }
    (json!({ "rules": rules, "actions": actions }), text)
}

fn test(replies: &Replies, text: &str, host: Option<&str>, domain: &str) -> (Value, String) {
    let reply = deliver::read_reply(text);
    let known = replies.book.classify(&reply, host);
    let mut said = format!("{}: ", known.kind);
    match known.rule {
        None => said.push_str("no rule matches\n"),
        Some(rule) => {
            said.push_str(&format!("rule {}\n", rule.id));
            if !rule.source.is_empty() {
                said.push_str(&format!("    source: {}\n", rule.source));
            }
            if let Some(treat_as) = rule.treat_as {
                said.push_str(&format!("    treated as {}\n", treat_as.word()));
            }
            if let Some(wait) = rule.wait {
                said.push_str(&format!(
                    "    retried not before {}\n",
                    format_duration(wait)
                ));
            }
        }
    }
    if let Some(wait) = deliver::retry_after(&reply) {
        said.push_str(&format!(
            "    the host asks for {}\n",
            format_duration(wait)
        ));
    }
    let about = |action: &&ReplyAction| action.is_about(known.kind, host, domain);
    let actions: Vec<&ReplyAction> = replies.actions.iter().filter(about).collect();
    for action in &actions {
        let (when, effect) = (action.when(), action.effect());
        said.push_str(&format!("    action {}: {when}: {effect}\n", action.id));
    }
    let ids: Vec<&str> = actions.iter().map(|a| a.id.as_str()).collect();
    let value = json!({
        "kind": known.kind.word(),
        "rule": known.rule.map(|r| &r.id),
        "source": known.rule.map(|r| &r.source),
        "treat_as": known.rule.and_then(|r| r.treat_as).map(|t| t.word()),
        "actions": ids,
    });
    (value, said)
}
