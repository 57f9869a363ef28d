//! `sendoff key`: keys for programs that use the server by HTTP.

use anyhow::Result;
use clap::Subcommand;
use console::{Key, KeysFile, Scope};

use crate::cli::{complain, done, print};
use crate::config::Config;
use crate::rights;

/// What is done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key; its secret is shown once.
    Add {
        /// Its name, for log and list.
        name: String,
        /// What it may be used for: send, read-own, read, admin; several with commas.
        #[arg(long, value_delimiter = ',', required = true)]
        scope: Vec<String>,
        /// Addresses and domains that it may send as, with commas. Default: any.
        #[arg(long, value_delimiter = ',')]
        senders: Vec<String>,
        /// A key for tests: what it submits is checked and shown as every mail, and never delivered.
        #[arg(long)]
        test: bool,
    },
    /// List the keys.
    List,
    /// Take a key away, at once.
    Revoke {
        /// The name.
        name: String,
    },
}

/// Does it; a running server notices by itself.
pub(crate) fn carry_out(config: &Config, command: KeyCommand, json: bool) -> Result<()> {
    rights::take_on_for_file(&config.console.keys)?;
    let mut file = KeysFile::load(&config.console.keys)?;
    match command {
        KeyCommand::Add {
            name,
            scope,
            senders,
            test,
        } => {
            let scopes = scope.iter().map(|word| Scope::parse(word));
            let secret = file.add(&name, scopes.collect::<Result<_, _>>()?, senders, test)?;
            match json {
                true => print(&format!(
                    "{}\n",
                    serde_json::json!({ "name": name, "secret": secret })
                )),
                false => {
                    // Alone on standard output, so that a script can keep it.
                    print(&format!("{secret}\n"));
                    complain(&format!(
                        "this is the secret of `{name}`: keep it, for it is not shown again"
                    ));
                }
            }
        }
        KeyCommand::List => print(&list(file.keys(), json)?),
        KeyCommand::Revoke { name } => {
            file.revoke(&name)?;
            done(json, &format!("{name} is of no use any more."));
        }
    }
    Ok(())
}

fn list(keys: &[Key], json: bool) -> Result<String> {
    if json {
        let one = |key: &Key| {
            serde_json::json!({
                "name": key.name, "scopes": key.scopes, "senders": key.senders,
                "test": key.test
            })
        };
        let all: Vec<serde_json::Value> = keys.iter().map(one).collect();
        return Ok(format!("{}\n", serde_json::to_string(&all)?));
    }
    if keys.is_empty() {
        return Ok("There are no keys.\n".to_owned());
    }
    let one = |key: &Key| {
        let scopes: Vec<&str> = key.scopes.iter().map(|s| s.word()).collect();
        let senders = match key.senders.is_empty() {
            true => String::new(),
            false => format!("  as {}", key.senders.join(", ")),
        };
        let test = if key.test { "  test" } else { "" };
        format!("{}  {}{test}{senders}\n", key.name, scopes.join(","))
    };
    Ok(keys.iter().map(one).collect())
}
