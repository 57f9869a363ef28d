//! The part of docs/cli.md that is made from the command line itself: all behind a marker is what
//! `sendoff man --markdown` prints.
//!
//! That it is up to date is a test of the crate `server`, which knows its commands.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

const PAGE: &str = "docs/cli.md";
const MARKER: &str =
    "<!-- From here on generated from the code by `cargo xtask docs`. Do not edit. -->\n";

/// Asks the code for the commands, and writes them behind the marker.
pub(crate) fn write(root: &Path) -> Result<()> {
    let output = Command::new("cargo")
        .args(["run", "--quiet", "--package", "sendoff"])
        .args(["--", "man", "--markdown"])
        .current_dir(root)
        .output()
        .context("sendoff man")?;
    if !output.status.success() {
        bail!("sendoff man: {}", String::from_utf8_lossy(&output.stderr));
    }
    let page = fs::read_to_string(root.join(PAGE)).context(PAGE)?;
    let Some((by_hand, _)) = page.split_once(MARKER) else {
        bail!("{PAGE} has no line `{}`", MARKER.trim_end());
    };
    let commands = String::from_utf8(output.stdout).context("sendoff man")?;
    fs::write(root.join(PAGE), format!("{by_hand}{MARKER}{commands}")).context(PAGE)
}

/// Whether there is a generated part, with every command that has a section of its own.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let page = fs::read_to_string(root.join(PAGE)).context(PAGE)?;
    let generated = page.split_once(MARKER).map(|(_, commands)| commands);
    Ok(match generated {
        Some(commands) if commands.contains("\n### `sendoff ") => Vec::new(),
        Some(_) | None => vec![format!(
            "{PAGE}: has no commands behind its marker; run `cargo xtask docs`"
        )],
    })
}
