//! `sendoff key`: keys for programs that use the server by HTTP.

use accounts::{Key, KeysFile, Scope};
use anyhow::{Result, anyhow};
use clap::Subcommand;
use config::Config;
use terminal::{complain, print};

use crate::done;

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
        /// Addresses, and domains (example.com or @example.com), that it may send as, with commas. Default: any.
        #[arg(long, value_delimiter = ',')]
        senders: Vec<String>,
        /// A key for tests: what it submits is checked and shown like all mail, but never delivered.
        #[arg(long)]
        test: bool,
        /// Instead of a new secret the hash of one that you have made, from `sendoff key hash`; no secret is shown.
        #[arg(long)]
        hash: Option<String>,
        /// With --scope read-own: it sees the mail of this key, not of one with its own name.
        #[arg(long = "for", value_name = "KEY", conflicts_with_all = ["senders", "test", "hash"])]
        of: Option<String>,
        /// Change nothing, and show no secret, if there is such a key already.
        #[arg(long)]
        if_missing: bool,
    },
    /// Print the hash of a secret that you have made (`openssl rand -hex 32`), for `key add --hash` and the keys' file; the
    /// secret is asked for, or read from standard input. Changes nothing.
    Hash,
    /// List the keys.
    List,
    /// Give a key a new secret, which is shown once. The old one stays valid until --finish, or the next rotation.
    Rotate {
        /// The name.
        name: String,
        /// End the old secret now, and make no new one.
        #[arg(long, conflicts_with = "hash")]
        finish: bool,
        /// Instead of a new secret the hash of one that you have made, from `sendoff key hash`; no secret is shown.
        #[arg(long)]
        hash: Option<String>,
    },
    /// Revoke a key, immediately.
    Revoke {
        /// The name.
        name: String,
        /// Do not complain if there is no such key.
        #[arg(long)]
        if_exists: bool,
    },
}

/// Does it; a running server notices by itself.
pub(crate) fn carry_out(config: &Config, command: KeyCommand, json: bool) -> Result<()> {
    rights::take_on_for_file(&config.console.keys)?;
    let mut file = KeysFile::load(&config.console.keys)?;
    let is_known = |name: &str, file: &KeysFile| file.keys().iter().any(|key| key.name == name);
    match command {
        KeyCommand::Add {
            name, if_missing, ..
        } if if_missing && is_known(&name, &file) => {
            let text = format!("The key {name} exists already: unchanged.");
            match json {
                true => done(json, &text),
                // Standard output is for a secret alone.
                false => complain(&text),
            }
        }
        KeyCommand::Add {
            name,
            scope,
            senders,
            test,
            hash,
            of,
            ..
        } => {
            let scopes = scope.iter().map(|word| Scope::parse(word));
            let scopes = scopes.collect::<Result<Vec<_>, _>>()?;
            match (hash, of) {
                (_, Some(_)) if scopes != [Scope::ReadOwn] => {
                    return Err(anyhow!("--for is only for --scope read-own"));
                }
                (_, Some(of)) => show_secret(&name, &file.add_for(&name, &of)?, json),
                (Some(hash), None) => {
                    file.add_hashed(&name, scopes, senders, test, &hash)?;
                    done(json, &format!("{name} can be used now."));
                }
                (None, None) => show_secret(&name, &file.add(&name, scopes, senders, test)?, json),
            }
        }
        KeyCommand::Hash => print_hash(json)?,
        KeyCommand::List => print(&list(file.keys(), json)?),
        KeyCommand::Rotate { name, finish, .. } if finish => {
            let text = match file.finish(&name)? {
                true => format!("Only the new secret of {name} is valid now."),
                false => format!("The key {name} has only one secret: unchanged."),
            };
            done(json, &text);
        }
        KeyCommand::Rotate { name, hash, .. } => {
            match file.rotate(&name, hash, net::now())? {
                Some(secret) => show_secret(&name, &secret, json),
                None => done(json, &format!("The new secret of {name} can be used now.")),
            }
            complain(&format!(
                "the old secret stays valid: end it with `sendoff key rotate {name} --finish` when no program uses it"
            ));
        }
        KeyCommand::Revoke { name, if_exists } if if_exists && !is_known(&name, &file) => {
            done(json, &format!("There is no key {name}: unchanged."));
        }
        KeyCommand::Revoke { name, .. } => {
            file.revoke(&name)?;
            done(json, &format!("The key {name} is revoked."));
        }
    }
    Ok(())
}

/// Shows the secret of a new key, which is not kept.
fn show_secret(name: &str, secret: &str, json: bool) {
    if json {
        let value = serde_json::json!({ "name": name, "secret": secret });
        print(&format!("{value}\n"));
        return;
    }
    // Alone on standard output, so that a script can keep it.
    print(&format!("{secret}\n"));
    complain(&format!(
        "this is the secret of `{name}`: store it now, because it is not shown again"
    ));
}

/// Prints the hash of a secret.
pub(crate) fn print_hash(json: bool) -> Result<()> {
    let hash = accounts::hash_secret(&crate::prompt::password("Secret")?)?;
    print(&match json {
        true => format!("{}\n", serde_json::json!({ "digest": hash })),
        false => format!("{hash}\n"),
    });
    Ok(())
}

fn list(keys: &[Key], json: bool) -> Result<String> {
    if json {
        let one = |key: &Key| {
            serde_json::json!({
                "name": key.name, "scopes": key.scopes, "senders": key.senders,
                "test": key.test, "for": key.of, "rotating_since": key.rotating_since()
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
        let of = match &key.of {
            None => String::new(),
            Some(of) => format!("  for {of}"),
        };
        let rotating = match key.rotating_since() {
            None => String::new(),
            Some(since) => format!("  two secrets are valid since {since}"),
        };
        let scopes = scopes.join(",");
        format!("{}  {scopes}{of}{test}{senders}{rotating}\n", key.name)
    };
    Ok(keys.iter().map(one).collect())
}
