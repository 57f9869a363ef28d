//! `sendoff webhook` and `sendoff events`: who is told what happened, and what that is.

use anyhow::{Result, anyhow};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use clap::Subcommand;
use config::Config;
use config::webhooks::SECRET;
use ops::{Ask, EventSelection, EventType, Replay, TestWebhook, Webhook, WebhookVerb, Webhooks};

use super::{Ends, done};
use crate::ask;

#[derive(Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// List the webhooks, and how far each has got.
    List,
    /// Send an example to a webhook now, and show the answer.
    Test {
        /// Its name.
        name: String,
    },
    /// Send nothing more to a webhook; its events wait.
    Pause {
        /// Its name.
        name: String,
    },
    /// Send events to a paused webhook again, from where it stopped; also to one that answered 410.
    Resume {
        /// Its name.
        name: String,
    },
    /// Retry a webhook now that waits after a failure.
    Retry {
        /// Its name.
        name: String,
    },
    /// Resend the events of a period; event ids are unchanged.
    Replay {
        /// Its name.
        name: String,
        /// From this time on, such as 2026-01-31T08:00:00Z.
        #[arg(long, required_unless_present = "stop")]
        since: Option<String>,
        /// Before this time. Default: now.
        #[arg(long)]
        until: Option<String>,
        /// Only these types of events, with commas. Default: those of the webhook.
        #[arg(long = "type", value_delimiter = ',')]
        types: Vec<String>,
        /// Only with a sender of this domain, or below it (.example.com).
        #[arg(long)]
        from: Option<String>,
        /// Only with a recipient of this domain, or below it.
        #[arg(long)]
        to: Option<String>,
        /// End the replay in progress.
        #[arg(long, conflicts_with_all = ["since", "until", "types", "from", "to"])]
        stop: bool,
    },
    /// Print a new secret to sign with.
    Secret,
}

fn types(words: &[String]) -> Result<Vec<EventType>> {
    let parsed = words.iter().map(|word| EventType::of_word(word));
    Ok(parsed.collect::<Result<_, _>>()?)
}

pub(super) fn carry_out(config: &Config, command: WebhookCommand, json: bool) -> Result<()> {
    let (name, verb) = match command {
        WebhookCommand::List => return ask::show(config, Webhooks, json),
        WebhookCommand::Secret => return secret(json),
        WebhookCommand::Test { name } => return test(config, name, json),
        WebhookCommand::Pause { name } => (name, WebhookVerb::Pause),
        WebhookCommand::Resume { name } => (name, WebhookVerb::Resume),
        WebhookCommand::Retry { name } => (name, WebhookVerb::Retry),
        WebhookCommand::Replay {
            name,
            since,
            until,
            types: words,
            from,
            to,
            stop: _,
        } => {
            let events = types(&words)?;
            let replay = since.map(|since| Replay {
                since,
                until,
                events,
                sender_domain: from,
                recipient_domain: to,
            });
            let verb = replay.map_or(WebhookVerb::EndReplay, WebhookVerb::Replay);
            (name, verb)
        }
    };
    let webhook = Webhook { name, verb };
    webhook.check()?;
    ask::show(config, webhook, json)
}

fn test(config: &Config, name: String, json: bool) -> Result<()> {
    let tested = ask::ask(config, TestWebhook(name))?;
    ask::print_answer(&tested, json)?;
    match tested.taken {
        true => Ok(()),
        false => Err(Ends(1).into()),
    }
}

fn secret(json: bool) -> Result<()> {
    let mut octets = [0u8; 32];
    SystemRandom::new()
        .fill(&mut octets)
        .map_err(|_| anyhow!("the system has no random numbers"))?;
    let encoded = base64::engine::general_purpose::STANDARD.encode(octets);
    done(json, &format!("{SECRET}{encoded}"));
    Ok(())
}

/// Which events are listed.
#[derive(Debug, clap::Args)]
pub(crate) struct Events {
    /// After this place, which is at the start of each line.
    #[arg(long, default_value_t = 0)]
    after: u64,
    /// Maximum number of entries, up to 1000.
    #[arg(long, default_value_t = 1000)]
    limit: u64,
    /// Only these: accepted, deferred, delivered, failed, bounced, complained, suppressed, quota; several
    /// with commas.
    #[arg(long = "type", value_delimiter = ',')]
    types: Vec<String>,
}

pub(super) fn events(config: &Config, asked: &Events, json: bool) -> Result<()> {
    let events = ops::Events(EventSelection {
        after: asked.after,
        limit: asked.limit,
        types: types(&asked.types)?,
        key: None,
    });
    super::lists::show(config, &events, json)
}
