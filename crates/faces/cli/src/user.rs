//! `sendoff user`: users who may log in.

use accounts::{self, Kept, Users};
use anyhow::Result;
use config::Config;
use node::loading;
use terminal::print;

use super::arguments::{Hashed, UserCommand};
use super::done;

pub(super) fn user(config: &Config, command: UserCommand, json: bool) -> Result<()> {
    rights::take_on_for_file(&config.users_file)?;
    let mut users = Users::load(&config.users_file)?;
    let text = match command {
        UserCommand::List => {
            let names = users.names();
            let text = match json {
                true => format!("{}\n", serde_json::to_string(&names)?),
                false if names.is_empty() => "There are no users.\n".to_owned(),
                false => names
                    .iter()
                    .map(|name| Ok(format!("{name}{}\n", listed_senders(&users, name)?)))
                    .collect::<Result<_>>()?,
            };
            print(&text);
            return Ok(());
        }
        UserCommand::Add {
            name, if_missing, ..
        } if if_missing && users.names().contains(&name.as_str()) => {
            format!("The user {name} exists already: unchanged.")
        }
        UserCommand::Add { name, hashed, .. } => {
            users.check_new(&name)?;
            users.add(&name, kept(hashed)?)?;
            format!("{name} can log in now.")
        }
        UserCommand::Hash => return print_hash(json),
        UserCommand::Password { name, hashed } => match users.set_password(&name, kept(hashed)?)? {
            true => format!("The password of {name} is changed."),
            false => format!("The password of {name} is unchanged."),
        },
        UserCommand::Senders { name, senders, own } => {
            if senders.is_empty() && !own {
                return show_senders(config, &users, &name, json);
            }
            let senders = (!own).then_some(senders);
            match users.set_senders(&name, senders)? {
                true => format!("The sender addresses of {name} are changed."),
                false => format!("The sender addresses of {name} are unchanged."),
            }
        }
        UserCommand::Remove { name, if_exists }
            if if_exists && !users.names().contains(&name.as_str()) =>
        {
            format!("There is no user {name}: unchanged.")
        }
        UserCommand::Remove { name, .. } => {
            users.remove(&name)?;
            format!("{name} can no longer log in.")
        }
    };
    done(json, &text);
    Ok(())
}

/// What is kept of a password: given, or made from one that is asked for.
fn kept(hashed: Hashed) -> Result<Kept> {
    let kept = match hashed.hash {
        Some(hash) => Kept::given(hash, hashed.scram)?,
        None => Kept::of(&crate::prompt::password("Password")?)?,
    };
    Ok(kept)
}

/// What the users' file keeps of a password.
pub(super) fn print_hash(json: bool) -> Result<()> {
    let kept = Kept::of(&crate::prompt::password("Password")?)?;
    print(&match json {
        true => format!("{}\n", serde_json::to_string(&kept)?),
        false => toml::to_string(&kept)?,
    });
    Ok(())
}

/// The senders of a user as the list shows them; those of its own domains are not written down.
fn listed_senders(users: &Users, name: &str) -> Result<String> {
    Ok(match users.senders(name)? {
        None => String::new(),
        Some([]) => "  as nobody".to_owned(),
        Some(list) => format!("  as {}", list.join(", ")),
    })
}

/// From where a user may send.
fn show_senders(config: &Config, users: &Users, name: &str, json: bool) -> Result<()> {
    let given = users.senders(name)?;
    let own = accounts::own_domains(name, &loading::own_domains(config));
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
