//! The command line: what is asked, and how the answer is shown.
//!
//! Exit codes: 0 done; 1 it failed; 2 the command line or the configuration is wrong; 3 the server
//! cannot be reached.

mod arguments;
mod ask;
mod check;
mod console;
mod dkim;
mod keys;
pub(crate) mod lists;
mod prompt;
mod reference;
mod relay;
mod replies;
mod sendmail;
pub(crate) mod suppression;
mod tools;
pub(crate) mod user;
mod webhook;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use config::elsewhere::Needs;
use config::{self, Config, ConfigError};
use journal::logbook::{self, Wanted};
use ops::{Act, Count, HistorySelection, List, Order, Selection, Verb};
use terminal::{complain, print};

#[cfg(feature = "demo")]
pub use arguments::DemoArgs;
use arguments::{
    Cli, Command, DnsCommand, History, HoldCommand, LogCommand, QueueCommand, Restore, Selected,
    SiteCommand, Sort, SourceCommand, UserCommand,
};
pub use console::console_link;

/// Where the configuration is looked for when none is named.
pub(crate) const CONFIG: &str = "/etc/sendoff/sendoff.toml";

/// What the command line begins and is not itself: it knows no room of the server.
pub struct Programs {
    /// Serves until it is told to stop. Begun before there is a second thread.
    pub serve: fn(Config) -> Result<()>,
    /// Shows the server in a world of its own.
    #[cfg(feature = "demo")]
    pub demo: fn(DemoArgs) -> Result<()>,
}

/// Runs the command line.
pub fn main(programs: &Programs) -> ExitCode {
    if let Some(arguments) = sendmail::called_as() {
        let config = std::env::var_os("SENDOFF_CONFIG").map(PathBuf::from);
        return sendmail::run(arguments, config.as_deref());
    }
    let cli = Cli::parse();
    if let Command::Sendmail { arguments } = cli.command {
        return sendmail::run(arguments, cli.config.as_deref());
    }
    // Before the configuration is read, which is bounded by it.
    config::descriptors::raise_limit();
    let json = cli.json;
    let result = carry_out(cli, programs);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(Ends(code)) = error.downcast_ref() {
                return ExitCode::from(*code);
            }
            let text = format!("{error:#}");
            let of_config = error.downcast_ref::<ConfigError>().is_some()
                || error.downcast_ref::<net::TlsLoadError>().is_some();
            let code = if of_config {
                2
            } else if error.downcast_ref::<ask::Unreachable>().is_some() {
                3
            } else {
                1
            };
            match json {
                // One object, and nothing in front of it.
                true => drop(writeln!(std::io::stderr(), "{}", failure(&text, code))),
                false => complain(&text),
            }
            ExitCode::from(code)
        }
    }
}

/// An error as JSON.
fn failure(text: &str, code: u8) -> String {
    mail::visible(&serde_json::json!({ "error": text, "exit_code": code }).to_string()).into_owned()
}

/// Prints what was done: a sentence, which is a text in JSON too.
pub(crate) fn done(json: bool, text: &str) {
    print(&match json {
        true => format!("{}\n", serde_json::Value::from(text)),
        false => format!("{text}\n"),
    });
}

/// A command that has said what there is to say ends with this exit code.
#[derive(Debug, thiserror::Error)]
#[error("exit code {0}")]
pub(crate) struct Ends(pub(crate) u8);

/// The configuration file: the one named, or the usual one if it is there.
pub(crate) fn configuration(path: Option<&PathBuf>) -> Option<PathBuf> {
    let default = PathBuf::from(CONFIG);
    match path {
        Some(path) => Some(path.clone()),
        // A file that may not be looked at is not one that is not there.
        None => default.try_exists().unwrap_or(true).then_some(default),
    }
}

/// The configuration, as far as a command needs it, and what is wrong with the rest.
pub(crate) fn load(path: Option<&PathBuf>, needs: Needs) -> Result<(Config, Option<ConfigError>)> {
    match configuration(path) {
        Some(path) => Ok(Config::load_elsewhere(&path, needs)?),
        None => {
            let base = Path::new("/etc/sendoff");
            Ok((Config::parse("", Path::new(CONFIG), base)?, None))
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")
}

/// Carries out what needs no configuration; whether it was of that kind.
fn without_configuration(command: &Command, json: bool) -> Result<bool> {
    if let Command::Openapi = command {
        print(&::console::openapi());
    } else if let Command::User(UserCommand::Hash) = command {
        user::print_hash(json)?;
    } else if let Command::Key(keys::KeyCommand::Hash) = command {
        keys::print_hash(json)?;
    } else if let Command::Completions { shell } = command {
        print(&reference::completions(*shell));
    } else if let Command::Man { directory, .. } = command {
        match directory {
            Some(directory) => reference::man(directory)?,
            None => print(&reference::markdown()),
        }
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn carry_out(cli: Cli, programs: &Programs) -> Result<()> {
    let json = cli.json;
    #[cfg(feature = "demo")]
    if let Command::Demo(args) = cli.command {
        return (programs.demo)(args);
    }
    if without_configuration(&cli.command, json)? {
        return Ok(());
    }
    if let Command::Check(asked) = &cli.command {
        return check::carry_out(cli.config.as_ref(), asked, json);
    }
    if let Command::Reload = &cli.command {
        return reload(cli.config.as_ref(), json);
    }
    let (config, fault) = load(cli.config.as_ref(), cli.command.needs())?;
    // A program reads what it asked for, and nothing else.
    if let Some(fault) = fault.filter(|_| !json) {
        complain(&format!(
            "warning: {fault}. `sendoff check` shows everything that is wrong with the configuration; the running \
             server uses what it read before."
        ));
    }
    match cli.command {
        Command::Serve => (programs.serve)(config),
        Command::Queue(command) => queue(&config, command, json),
        Command::Source(SourceCommand::List) => ask::show(&config, ops::Sources, json),
        Command::Site(command) => site(&config, command, json),
        Command::Hold(command) => hold(&config, command, json),
        Command::Explain { address, probe } => {
            ask::show(&config, ops::Explain { address, probe }, json)
        }
        Command::Mx { domain } => runtime()?.block_on(tools::mx(&config, &domain, json)),
        Command::Dns(DnsCommand::List) => runtime()?.block_on(tools::dns_list(&config, json)),
        Command::Dns(DnsCommand::Test) => runtime()?.block_on(tools::dns_test(&config, json)),
        Command::Dkim(command) => runtime()?.block_on(dkim::carry_out(&config, command, json)),
        Command::WhatSmtp { host } => runtime()?.block_on(tools::what_smtp(&config, &host, json)),
        Command::Relay(command) => runtime()?.block_on(relay::carry_out(&config, command, json)),
        Command::User(command) => user::user(&config, command, json),
        Command::Key(command) => keys::carry_out(&config, command, json),
        Command::Console(command) => console::carry_out(&config, command, json),
        Command::Log(command) => log(&config, command, json),
        Command::Replies(command) => replies::carry_out(&config, &command, json),
        Command::Suppression(command) => suppression::carry_out(&config, command, json),
        Command::Webhook(command) => webhook::carry_out(&config, command, json),
        Command::Events(asked) => webhook::events(&config, &asked, json),
        Command::Stats => ask::show(&config, ops::Stats, json),
        Command::Health => ask::show(&config, ops::Health, json),
        Command::Backup { directory } => back_up(&config, &directory, json),
        Command::Restore(asked) => restore(&config, &asked, json),
        #[cfg(feature = "demo")]
        Command::Demo(_) => Ok(()),
        // Carried out above, before a configuration is needed.
        Command::Check(_)
        | Command::Reload
        | Command::Openapi
        | Command::Man { .. }
        | Command::Completions { .. }
        | Command::Sendmail { .. } => Ok(()),
    }
}

/// Has the server read its configuration again. It is asked though the file is wrong: then it says so to everybody who
/// watches it.
fn reload(path: Option<&PathBuf>, json: bool) -> Result<()> {
    let judged = check::read(configuration(path).as_deref(), false)?;
    let answer = match ask::ask_at(&judged.data_dir, ops::Reload) {
        Ok(answer) => answer,
        Err(error) => {
            let wrong = judged.errors.into_iter().next();
            return Err(wrong.map_or(error, anyhow::Error::from));
        }
    };
    ask::print_answer(&answer, json)
}

fn site(config: &Config, command: SiteCommand, json: bool) -> Result<()> {
    match command {
        SiteCommand::List => lists::show(config, &ops::Sites, json),
        SiteCommand::Pause { domain } => ask::show(config, ops::Pause { domain, on: true }, json),
        SiteCommand::Resume { domain } => ask::show(config, ops::Pause { domain, on: false }, json),
        SiteCommand::Show { domain } => ask::show(config, ops::Site(domain), json),
        SiteCommand::Slow {
            domain,
            rate,
            connections,
            off,
        } => {
            if !off && rate.is_none() && connections.is_none() {
                return Err(anyhow!("use --rate, --connections or --off"));
            }
            let slow = ops::Slow {
                domain,
                rate,
                connections,
            };
            ask::show(config, slow, json)
        }
    }
}

fn restore(config: &Config, asked: &Restore, json: bool) -> Result<()> {
    let wanted = backup::Wanted {
        send: asked.send,
        damaged: asked.damaged,
    };
    let text = backup::restore(config, &asked.directory, wanted)?;
    done(json, text.trim_end());
    Ok(())
}

fn back_up(config: &Config, to: &Path, json: bool) -> Result<()> {
    let to = std::path::absolute(to)?;
    let answer = match ask::ask(config, ops::Backup(to.display().to_string())) {
        // Without a server there is nobody in the way.
        Err(error) if error.downcast_ref::<ask::Unreachable>().is_some() => {
            backup::make_alone(config, &to).map_err(|alone| anyhow!("{alone:#}; and {error:#}"))?
        }
        answer => answer?,
    };
    ask::print_answer(&answer, json)
}

fn hold(config: &Config, command: HoldCommand, json: bool) -> Result<()> {
    let (name, filter) = match command {
        HoldCommand::List => return ask::show(config, ops::HoldRules, json),
        HoldCommand::Add { name, filter } => (name, Some(filter)),
        HoldCommand::Remove { name } => (name, None),
    };
    ask::show(config, ops::HoldRule { name, filter }, json)
}

fn log(config: &Config, command: LogCommand, json: bool) -> Result<()> {
    match command {
        LogCommand::Detailed { state, only, time } => {
            let detailed = ops::Detailed {
                only,
                on: state == "on",
                seconds: time.map(|t| t.as_secs().max(1)),
            };
            ask::show(config, detailed, json)
        }
        LogCommand::Tail {
            words,
            lines,
            no_follow,
        } => {
            let wanted = Wanted::new(&words, None, net::now())?;
            logbook::tail(config, &wanted, lines, !no_follow)
        }
        LogCommand::Search {
            words,
            since,
            limit,
        } => {
            let wanted = Wanted::new(&words, since.as_deref(), net::now())?;
            logbook::search(config, &wanted, limit)
        }
    }
}

impl Selected {
    fn selection(self, whole_by_default: bool) -> Result<Selection> {
        match (self.filter, self.all) {
            (Some(filter), _) => Ok(Selection::Filter(filter)),
            (None, true) => Ok(Selection::All),
            (None, false) if !self.ids.is_empty() => Ok(Selection::Ids(self.ids)),
            (None, false) if whole_by_default => Ok(Selection::All),
            (None, false) => Err(anyhow!(
                "select the messages: ids, --filter 'domain:…', or --all"
            )),
        }
    }
}

impl From<Sort> for Order {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Id => Self::Id,
            Sort::Due => Self::Due,
            Sort::Domain => Self::Domain,
            Sort::Size => Self::Size,
            Sort::Attempts => Self::Attempts,
        }
    }
}

impl From<History> for ops::History {
    fn from(asked: History) -> Self {
        Self {
            selection: HistorySelection {
                outcome: asked.outcome,
                domain: asked.domain,
                sender: asked.sender,
                recipient: asked.recipient,
                message_id: asked.message_id,
                user: asked.user,
                tags: asked.tags,
                metadata: asked.metadata,
                since: asked.since.map(|ago| (net::now() - ago).as_millis()),
            },
            limit: asked.limit,
            offset: asked.offset,
        }
    }
}

fn queue(config: &Config, command: QueueCommand, json: bool) -> Result<()> {
    let (verb, change) = match command {
        QueueCommand::List {
            mut selected,
            future,
            sort,
            reverse,
            limit,
            offset,
            count,
        } => {
            if future {
                let asked = selected.filter.unwrap_or_default();
                selected.filter = Some(format!("state:future {asked}"));
            }
            let selection = selected.selection(true)?;
            let usual = if future { Sort::Due } else { Sort::Id };
            let order = Order::from(sort.unwrap_or(usual));
            if count {
                return ask::show(config, Count(selection), json);
            }
            let list = List {
                selection,
                order,
                descending: reverse,
                limit,
                offset,
            };
            return lists::show(config, &list, json);
        }
        QueueCommand::Summary { limit } => {
            return ask::show(config, ops::Summary(limit), json);
        }
        QueueCommand::Show { id } => return ask::show(config, ops::Show(id), json),
        QueueCommand::Trace { id } => return ask::show(config, ops::Trace(id), json),
        QueueCommand::Export { id } => return ask::show(config, ops::Export(id), json),
        QueueCommand::Hold(change) => (Verb::Hold, change),
        QueueCommand::Release(change) => (Verb::Release, change),
        QueueCommand::Retry { change, at } => (Verb::Retry(at), change),
        QueueCommand::Reroute { change, to, .. } => (Verb::Reroute(to), change),
        QueueCommand::History(asked) => {
            return lists::show(config, &ops::History::from(asked), json);
        }
        QueueCommand::Fail(change) => (Verb::Fail, change),
        QueueCommand::Remove(change) => (Verb::Remove, change),
    };
    let by_name = !change.selected.ids.is_empty();
    let selection = change.selected.selection(false)?;
    if !change.yes && !by_name {
        confirm(config, &verb, &selection)?;
    }
    ask::show(config, Act { verb, selection }, json)
}

/// Says how many are meant before a filter, or everything, is acted upon.
fn confirm(config: &Config, verb: &Verb, selection: &Selection) -> Result<()> {
    let count = ask::ask(config, Count(selection.clone()))?;
    complain(&format!("{} {count} waiting recipients?", verb.word()));
    if !std::io::stdin().is_terminal() {
        return Err(anyhow!(
            "nothing was done: add --yes to do it without confirmation"
        ));
    }
    complain("Type yes to continue:");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    match line.trim() {
        "yes" | "y" => Ok(()),
        _ => Err(anyhow!("nothing was done")),
    }
}
