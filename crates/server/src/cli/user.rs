//! `sendoff user`: users who may log in.

use std::io::{IsTerminal, Read};

use anyhow::Result;

use super::arguments::UserCommand;
use super::{complain, done, print};
use crate::config::Config;
use crate::users::{self, Users};
use crate::{rights, run};

pub(super) fn user(config: &Config, command: UserCommand, json: bool) -> Result<()> {
    rights::take_on_for_file(&config.users_file)?;
    let mut users = Users::load(&config.users_file)?;
    let text = match command {
        UserCommand::List => {
            let names = users.names();
            let text = match json {
                true => format!("{}\n", serde_json::to_string(&names)?),
                false if names.is_empty() => "There are no users.\n".to_owned(),
                false => names.iter().map(|n| format!("{n}\n")).collect(),
            };
            print(&text);
            return Ok(());
        }
        UserCommand::Add { name } => {
            users.add(&name, &password()?)?;
            format!("{name} may log in now.")
        }
        UserCommand::Password { name } => {
            users.set_password(&name, &password()?)?;
            format!("The password of {name} is changed.")
        }
        UserCommand::Senders { name, senders, own } => {
            if senders.is_empty() && !own {
                return show_senders(config, &users, &name, json);
            }
            let senders = (!own).then_some(senders);
            users.set_senders(&name, senders)?;
            format!("{name} may send from other addresses now.")
        }
        UserCommand::Remove { name } => {
            users.remove(&name)?;
            format!("{name} may not log in any more.")
        }
    };
    done(json, &text);
    Ok(())
}

/// From where a user may send.
fn show_senders(config: &Config, users: &Users, name: &str, json: bool) -> Result<()> {
    let given = users.senders(name)?;
    let own = users::own_domains(name, &run::own_domains(config));
    let own: Vec<String> = own.iter().map(|domain| format!("@{domain}")).collect();
    let senders = given.unwrap_or(&own);
    print(&match (json, given) {
        (true, given) => {
            let value = serde_json::json!({
                "user": name, "senders": senders, "own_domains": given.is_none(),
            });
            format!("{value}\n")
        }
        (false, None) => format!(
            "{name} may send from its own domains: {}.\n",
            own.join(", ")
        ),
        (false, Some([])) => format!("{name} may send from no address.\n"),
        (false, Some(list)) => format!("{name} may send from: {}.\n", list.join(", ")),
    });
    Ok(())
}

/// A password from the terminal, unseen, or the first line of standard input.
fn password() -> Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let mut text = String::new();
        stdin.lock().take(4096).read_to_string(&mut text)?;
        return Ok(text.lines().next().unwrap_or_default().to_owned());
    }
    complain("Password (it is not shown):");
    let before = rustix::termios::tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_modes.remove(rustix::termios::LocalModes::ECHO);
    rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, &silent)?;
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, &before)?;
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
