//! What is in a release: every crate with its version, licence and checksum, as CycloneDX (`cargo cyclonedx`).

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::release::Release;
use crate::shell::{run, target_directory};

/// The tool, and the version of it.
const TOOL: &str = "cargo-cyclonedx";
const VERSION: &str = "0.5.9";

/// Writes the list.
pub(crate) fn write(release: &Release, to: &Path) -> Result<()> {
    let tools = target_directory(&release.root)?.join("tools");
    let tool = tools.join("bin").join(TOOL);
    if !tool.exists() {
        let mut cargo = Command::new("cargo");
        cargo.args(["install", "--quiet", "--locked", TOOL, "--version", VERSION]);
        run(cargo.arg("--root").arg(&tools))?;
    }
    let triple = format!("{}-unknown-linux-gnu", release.architecture);
    let mut command = Command::new(&tool);
    command
        .args(["cyclonedx", "--format", "json", "--spec-version", "1.5"])
        .args(["--target", &triple, "--no-build-deps"])
        .args([
            "--override-filename",
            "sendoff.cdx",
            "--no-default-features",
        ])
        .arg("--manifest-path")
        .arg(release.root.join("crates/faces/sendoff/Cargo.toml"))
        .current_dir(&release.root)
        .env("SOURCE_DATE_EPOCH", &release.epoch);
    run(&mut command)?;
    // One is written beside each crate of the workspace; the server's has all that it consists of.
    let written = release.root.join("crates/faces/sendoff/sendoff.cdx.json");
    let list = fs::read_to_string(&written).context("the list of contents")?;
    for layer in fs::read_dir(release.root.join("crates")).context("crates")? {
        for entry in fs::read_dir(layer?.path()).context("a layer of crates")? {
            let other = entry?.path().join("sendoff.cdx.json");
            if other.exists() {
                fs::remove_file(&other).with_context(|| other.display().to_string())?;
            }
        }
    }
    let other = release.root.join("xtask/sendoff.cdx.json");
    if other.exists() {
        fs::remove_file(other).context("xtask")?;
    }
    let root = format!("path+file://{}", release.root.display());
    fs::write(to, list.replace(&root, "path+file:///sendoff")).context("writing the list")
}
