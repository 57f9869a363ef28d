//! `sendoff suppression`: the list of recipients that nothing is sent to.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;
use config::Config;
use ops::{Ask, NewSuppression, Suppress, SuppressionSelection, Suppressions, Unsuppress};
use terminal::print;

use super::done;
use crate::ask;

/// Entries that are asked for, or handed in, at once.
const PAGE: usize = 500;

#[derive(Debug, Subcommand)]
pub(crate) enum SuppressionCommand {
    /// List recipients that nothing is sent to, by whom and why.
    List {
        /// Only entries with this text in recipient or scope.
        text: Option<String>,
        /// Only with this cause: failure, complaint or administrator.
        #[arg(long)]
        cause: Option<String>,
        /// Only with this scope: all, @domain, a sender's address, user:NAME.
        #[arg(long)]
        scope: Option<String>,
        /// Maximum number of entries.
        #[arg(long, default_value_t = 1000)]
        limit: u64,
        /// How many entries to skip.
        #[arg(long, default_value_t = 0)]
        offset: u64,
    },
    /// Show the entries of one recipient.
    Show {
        /// The recipient.
        recipient: String,
    },
    /// Suppress recipients: their mail is refused at submission. Mail already queued is still sent.
    Add {
        /// The recipients.
        #[arg(required = true)]
        recipients: Vec<String>,
        /// The senders that it applies to: all, @domain for a domain's senders, a sender's address,
        /// user:NAME.
        #[arg(long, default_value = "all")]
        scope: String,
        /// Why, in your words.
        #[arg(long)]
        reason: Option<String>,
        /// How long, such as 30d, or until when, such as 2026-01-31T08:00:00Z; without: until it is removed.
        #[arg(long)]
        expires: Option<String>,
    },
    /// Remove a recipient from the list: mail to it is accepted again at once.
    Remove {
        /// The recipient.
        recipient: String,
        /// Only from this scope.
        #[arg(long)]
        scope: Option<String>,
        /// Why, for the audit.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Print the complete list, one entry per line, in JSON.
    Export,
    /// Add the entries of a file to the list: what export printed, or one address per line.
    Import {
        /// The file; - is standard input.
        file: PathBuf,
        /// The senders that plain addresses apply to.
        #[arg(long, default_value = "all")]
        scope: String,
    },
}

pub(super) fn carry_out(config: &Config, command: SuppressionCommand, json: bool) -> Result<()> {
    match command {
        SuppressionCommand::List {
            text,
            cause,
            scope,
            limit,
            offset,
        } => {
            let list = Suppressions {
                selection: SuppressionSelection {
                    text,
                    cause,
                    scope,
                    recipient: None,
                },
                limit,
                offset,
            };
            super::lists::show(config, &list, json)
        }
        SuppressionCommand::Show { recipient } => {
            let list = Suppressions {
                selection: SuppressionSelection {
                    recipient: Some(recipient),
                    ..SuppressionSelection::default()
                },
                limit: 1000,
                offset: 0,
            };
            super::lists::show(config, &list, json)
        }
        SuppressionCommand::Add {
            recipients,
            scope,
            reason,
            expires,
        } => {
            let entry = |recipient| NewSuppression {
                recipient,
                scope: Some(scope.clone()),
                reason: reason.clone(),
                expires: expires.clone(),
                ..NewSuppression::default()
            };
            let entries = recipients.into_iter().map(entry).collect();
            ask::show(config, Suppress(entries), json)
        }
        SuppressionCommand::Remove {
            recipient,
            scope,
            reason,
        } => {
            let unsuppress = Unsuppress {
                recipient,
                scope,
                reason,
            };
            ask::show(config, unsuppress, json)
        }
        SuppressionCommand::Export => export(config),
        SuppressionCommand::Import { file, scope } => import(config, &file, &scope, json),
    }
}

fn export(config: &Config) -> Result<()> {
    let mut offset = 0;
    loop {
        let page = Suppressions {
            selection: SuppressionSelection::default(),
            limit: PAGE as u64,
            offset,
        };
        let entries = ask::ask(config, page)?.entries;
        for entry in &entries {
            print(&format!("{}\n", serde_json::to_string(entry)?));
        }
        offset += entries.len() as u64;
        if entries.len() < PAGE {
            return Ok(());
        }
    }
}

fn import(config: &Config, file: &std::path::Path, scope: &str, json: bool) -> Result<()> {
    let mut text = String::new();
    match file.as_os_str() == "-" {
        true => std::io::stdin().read_to_string(&mut text).map(drop)?,
        false => {
            let read = std::fs::read_to_string(file);
            text = read.with_context(|| format!("reading {}", file.display()))?;
        }
    }
    let mut entries = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        entries.push(match line.starts_with('{') {
            true => serde_json::from_str(line)
                .with_context(|| format!("{} line {number}", file.display()))?,
            false => NewSuppression {
                recipient: line.to_owned(),
                scope: Some(scope.to_owned()),
                ..NewSuppression::default()
            },
        });
    }
    // Looked at as a whole first, so that a mistake in it changes nothing.
    Suppress(entries.clone()).check()?;
    for part in entries.chunks(PAGE) {
        ask::ask(config, Suppress(part.to_vec()))?;
    }
    done(json, &format!("{} on the suppression list.", entries.len()));
    Ok(())
}
