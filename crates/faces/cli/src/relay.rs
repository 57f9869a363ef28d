//! `sendoff relay`: the server that mail is handed to, the token that it is logged in to by, and the login of a
//! person for it.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use clap::Subcommand;
use config::oauth::{Flow, OauthSettings};
use config::{Config, Preset, presets};
use mail::{Timestamp, format_duration};
use net::Dns;
use node::loading;
use oauth::flows::{self, Web};
use oauth::kept::{self, Kept};
use ops::Reload;
use serde_json::json;
use terminal::{complain, print};

use crate::ask;

#[derive(Debug, Subcommand)]
pub(crate) enum RelayCommand {
    /// List the providers that outgoing.relay.preset knows: where, by which login, as whom, and how much a day.
    Presets,
    /// Show the login at the relay: the token, when it is renewed, and what was refused.
    Status,
    /// Log in once as a user, so that Sendoff can get tokens (OAuth 2: device code, or a browser).
    Login,
}

pub(super) async fn carry_out(config: &Config, command: RelayCommand, json: bool) -> Result<()> {
    match command {
        RelayCommand::Presets => {
            print(&presets_text(json)?);
            Ok(())
        }
        RelayCommand::Status => status(config, json),
        RelayCommand::Login => login(config).await,
    }
}

fn oauth(config: &Config) -> Option<&Arc<OauthSettings>> {
    config
        .outgoing
        .relay
        .as_ref()
        .and_then(|relay| relay.oauth.as_ref())
}

fn status(config: &Config, json: bool) -> Result<()> {
    let relay = config
        .outgoing
        .relay
        .as_ref()
        .ok_or_else(|| anyhow!("[outgoing.relay] is not configured"))?;
    let Some(oauth) = oauth(config) else {
        let by = match relay.credentials {
            Some(_) => "a password",
            None => "no login",
        };
        print(&match json {
            true => format!("{}\n", json!({"login": by})),
            false => format!("The relay is used with {by}.\n"),
        });
        return Ok(());
    };
    let file = kept::file(&config.data_dir);
    match std::fs::File::open(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| file.display().to_string());
        }
        Ok(_) | Err(_) => {}
    }
    let kept = Kept::read(&file, &oauth.subject());
    print(&match json {
        true => format!("{}\n", as_json(oauth, &kept)),
        false => as_text(oauth, &kept, net::now()),
    });
    Ok(())
}

fn as_json(oauth: &OauthSettings, kept: &Kept) -> serde_json::Value {
    let access = kept.access.as_ref();
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    json!({
        "flow": oauth.flow.word(),
        "user": oauth.user,
        "token_url": oauth.at.token,
        "logged_in": !oauth.flow.needs_person() || kept.refresh.is_some(),
        "token_obtained": time(access.map(|a| a.obtained())),
        "token_expires": time(access.map(|a| a.expires())),
        "token_renewed_at": time(access.map(|a| a.renewed_at())),
        "client_secret_ends": time(oauth.secret_ends),
        "refused_at": time(kept.refused.as_ref().map(|r| r.at())),
        "refused_why": kept.refused.as_ref().map(|r| r.why.as_str()),
    })
}

fn as_text(oauth: &OauthSettings, kept: &Kept, now: Timestamp) -> String {
    let mut text = format!("Login:   {} by a token\n", oauth.user);
    text += &format!("Flow:    {} at {}\n", oauth.flow.word(), oauth.at.token);
    if oauth.flow.needs_person() {
        text += match kept.refresh {
            Some(_) => "User:    logged in\n",
            None => "User:    not logged in: run `sendoff relay login`\n",
        };
    }
    text += &match &kept.access {
        Some(access) if now < access.expires() => format!(
            "Token:   {} old, expires at {}, will be renewed at {}\n",
            format_duration(now.since(access.obtained())),
            access.expires(),
            access.renewed_at()
        ),
        Some(access) => format!("Token:   expired at {}\n", access.expires()),
        None => "Token:   none\n".to_owned(),
    };
    if let Some(ends) = oauth.secret_ends {
        let left = match now < ends {
            true => format!("in {}", format_duration(ends.since(now))),
            false => "which has passed".to_owned(),
        };
        text += &format!("Secret:  ends at {ends}, {left}\n");
    }
    if let Some(refused) = &kept.refused {
        text += &format!("Refused: at {}: {}\n", refused.at(), refused.why);
    }
    text
}

async fn login(config: &Config) -> Result<()> {
    let oauth = oauth(config).ok_or_else(|| anyhow!("[outgoing.relay.oauth] is not configured"))?;
    let dns = Dns::new(&config.dns).await.context("dns.servers")?;
    let tls = loading::client_tls(config)?;
    let (tls, dns) = (&tls, &dns);
    let web = Web { tls, dns };
    let show = |url: &str, code: &str| {
        print(&format!(
            "Open {url} in a browser, log in as {}, and enter this code:\n\n",
            oauth.user
        ));
        print(&format!("    {code}\n\nWaiting for that ...\n"));
    };
    let got = match oauth.flow {
        Flow::DeviceCode => flows::by_device(&web, oauth, show).await,
        Flow::Code => flows::by_code(&web, oauth, pasted).await,
        Flow::ClientCredentials | Flow::ServiceAccount => {
            return Err(anyhow!(
                "the flow {} needs no login by a user",
                oauth.flow.word()
            ));
        }
    }?;
    if got.refresh.is_none() {
        return Err(anyhow!(
            "the login succeeded, but the provider issued no refresh token: the scope must allow it \
             (offline_access)"
        ));
    }
    let file = kept::file(&config.data_dir);
    rights::take_on_for(&config.data_dir)?;
    let mut kept = Kept {
        subject: oauth.subject(),
        ..Kept::default()
    };
    kept.take(got, net::now());
    kept.write(&file)
        .with_context(|| format!("writing {}", file.display()))?;
    print("Logged in. Tokens are renewed automatically from now on.\n");
    // What waits for it is sent now.
    match ask::ask(config, Reload) {
        Err(error) if error.downcast_ref::<ask::Unreachable>().is_some() => Ok(()),
        Err(error) => Err(error.context("notifying the running server")),
        Ok(_) => Ok(()),
    }
}

/// Where the browser was sent in the end.
fn pasted(url: &str) -> String {
    print(&format!("Open this in a browser and log in:\n\n{url}\n\n"));
    complain(
        "At the end, the browser shows a page at http://127.0.0.1/ that does not load. Paste its address here:",
    );
    let mut line = String::new();
    // Nothing read is no address, which is told.
    drop(std::io::stdin().read_line(&mut line));
    line
}

fn presets_text(json: bool) -> Result<String> {
    if json {
        let all: std::collections::BTreeMap<_, _> = presets::all().collect();
        return Ok(format!("{}\n", serde_json::to_string(&all)?));
    }
    Ok(presets::all()
        .map(|(name, preset)| section(name, preset))
        .collect())
}

fn section(name: &str, preset: &Preset) -> String {
    let host = preset.host.as_deref().unwrap_or("(a host of your own)");
    let user = preset.username.as_deref().unwrap_or("the mail address");
    let lines = [
        (
            "server",
            format!("{host}:{}, tls = \"{}\"", preset.port, preset.tls),
        ),
        (
            "login",
            format!("{}; the name: {user}", preset.login.words()),
        ),
        ("senders", preset.sender.words().to_owned()),
        ("a day", preset.limits()),
        ("note", preset.note.clone().unwrap_or_default()),
    ];
    let known = lines.iter().filter(|(_, what)| !what.is_empty());
    let known = known.map(|(key, what)| format!("  {key:<8} {what}\n"));
    std::iter::once(format!("{name}\n")).chain(known).collect()
}
