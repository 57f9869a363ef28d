//! `sendoff relay`: the server that mail is handed to.

use anyhow::Result;
use clap::Subcommand;

use super::print;
use crate::config::{Preset, presets};

#[derive(Debug, Subcommand)]
pub(crate) enum RelayCommand {
    /// List the providers that outgoing.relay.preset knows: where, by which login, as whom, and how much a day.
    Presets,
}

pub(super) fn carry_out(command: &RelayCommand, json: bool) -> Result<()> {
    match command {
        RelayCommand::Presets => print(&presets_text(json)?),
    }
    Ok(())
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
