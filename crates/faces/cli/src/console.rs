//! `sendoff console`: who may use the console, and a link into it.

use anyhow::Result;
use clap::Subcommand;
use config::Config;
use ops::{AccountView, ActsView, ConsoleLinkView, Role, SessionView, SetAccount};

use crate::ask::{self, Shown};
use crate::prompt::password;

/// What can be done about the console.
#[derive(Debug, Subcommand)]
pub(super) enum ConsoleCommand {
    /// Print a link that lets an administrator in once, within 30 minutes.
    Link,
    /// List the accounts of the console.
    Accounts,
    /// Create an account, or change its role or password. The password is asked for, or read from standard input.
    Set {
        /// Its name.
        name: String,
        /// `administrator`, `operator` or `auditor`. Default: as it is; `auditor` for a new one.
        #[arg(long, value_parser = role)]
        role: Option<Role>,
        /// Leave the password as it is.
        #[arg(long)]
        keep_password: bool,
    },
    /// Remove an account.
    Remove {
        /// Its name.
        name: String,
    },
    /// List who is logged in.
    Sessions,
    /// Show who changed what, by console, API and command line.
    Audit {
        /// Maximum number of entries.
        #[arg(long, default_value_t = 50)]
        limit: u64,
    },
}

fn role(word: &str) -> Result<Role, String> {
    let words = Role::ALL.map(Role::word).join(", ");
    Role::of_word(word).ok_or_else(|| format!("use {words}"))
}

pub(super) fn carry_out(config: &Config, command: ConsoleCommand, json: bool) -> Result<()> {
    match command {
        ConsoleCommand::Link => ask::show(config, ops::ConsoleLink, json),
        ConsoleCommand::Accounts => ask::show(config, ops::Accounts, json),
        ConsoleCommand::Set {
            name,
            role,
            keep_password,
        } => {
            let password = match keep_password {
                true => None,
                false => Some(password("Password")?),
            };
            let set = SetAccount {
                name,
                role,
                password,
            };
            ask::show(config, set, json)
        }
        ConsoleCommand::Remove { name } => ask::show(config, ops::RemoveAccount(name), json),
        ConsoleCommand::Sessions => ask::show(config, ops::Sessions, json),
        ConsoleCommand::Audit { limit } => {
            let before = None;
            ask::show(config, ops::Acts { before, limit }, json)
        }
    }
}

/// The path and query of a link into the console of the server with this data directory.
///
/// # Errors
/// When no server answers, or it serves no console.
pub fn console_link(data_dir: &std::path::Path) -> Result<String> {
    Ok(ask::ask_at(data_dir, ops::ConsoleLink)?.path)
}

impl Shown for ConsoleLinkView {
    fn text(&self) -> String {
        let mut text = String::new();
        for at in &self.at {
            text.push_str(&format!("{at}{}\n", self.path));
        }
        let near = self.at.iter().find_map(|at| {
            let address = at.strip_prefix("http://")?;
            address.rsplit_once(':').map(|(_, port)| (address, port))
        });
        text.push_str(&format!(
            "Open it within {} minutes; it works once.\n",
            self.minutes
        ));
        if let Some((address, port)) = near {
            text.push_str(&format!(
                "From another computer: ssh -L {port}:{address} SERVER, and open it there.\n"
            ));
        }
        text
    }
}

impl Shown for Vec<AccountView> {
    fn text(&self) -> String {
        if self.is_empty() {
            return "There are no accounts; `sendoff console link` lets you in without one.\n"
                .to_owned();
        }
        let line = |account: &AccountView| {
            let totp = if account.totp {
                "  one-time passwords"
            } else {
                ""
            };
            format!("{:<24} {}{totp}\n", account.name, account.role)
        };
        self.iter().map(line).collect()
    }
}

impl Shown for Vec<SessionView> {
    fn text(&self) -> String {
        if self.is_empty() {
            return "Nobody is logged in.\n".to_owned();
        }
        let line = |session: &SessionView| {
            let SessionView {
                name, peer, used, ..
            } = session;
            format!("{name:<24} from {peer}, last used {used}\n")
        };
        self.iter().map(line).collect()
    }
}

impl Shown for ActsView {
    fn text(&self) -> String {
        if self.acts.is_empty() {
            return "Nobody has changed anything yet.\n".to_owned();
        }
        let line = |act: &ops::ActView| {
            let refused = if act.refused { "  NOT DONE" } else { "" };
            let (at, who, verb, about) = (&act.at, &act.who, &act.verb, &act.about);
            format!("{at}  {who:<20} {verb:<16} {about}{refused}\n")
        };
        self.acts.iter().map(line).collect()
    }
}
