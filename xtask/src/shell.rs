//! Commands that are run, and files that are put in their places.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The target directory, wherever it is.
pub(crate) fn target_directory(root: &Path) -> Result<PathBuf> {
    let words = ["metadata", "--no-deps", "--format-version", "1"];
    let output = run(Command::new("cargo").args(words).current_dir(root))?;
    let metadata: Value = serde_json::from_str(&output).context("cargo metadata")?;
    let directory = metadata.get("target_directory").and_then(Value::as_str);
    Ok(directory
        .context("cargo metadata names no target directory")?
        .into())
}

/// Says which step begins.
pub(crate) fn say_step(name: &str) {
    crate::say(&format!("== {name}\n"));
}

/// Runs a command; what it says, when it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| name.clone())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{name}: {}: {said}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Makes the directories that a path is in.
pub(crate) fn parents(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    fs::create_dir_all(parent).with_context(|| parent.display().to_string())
}

/// Copies a file to a place, with this mode.
pub(crate) fn install(from: &Path, to: &Path, mode: u32) -> Result<()> {
    parents(to)?;
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).context("setting a mode")
}
