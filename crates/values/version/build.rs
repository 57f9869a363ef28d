//! The version that the server tells: in release builds with the commit that it was built from, `0.1.0 (1a2b3c4d5e6f)`.
//! `SENDOFF_COMMIT` names another, for builds without a repository.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=SENDOFF_COMMIT");
    println!("cargo:rerun-if-changed=build.rs");
    let named = env::var("SENDOFF_COMMIT").ok().filter(|c| !c.is_empty());
    // Builds for tests are not made anew for every commit.
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = named.or_else(|| is_release.then(commit).flatten());
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    match commit {
        Some(commit) => println!("cargo:rustc-env=SENDOFF_VERSION={version} ({commit})"),
        None => println!("cargo:rustc-env=SENDOFF_VERSION={version}"),
    }
}

/// What is checked out, where git knows; built again when that changes.
fn commit() -> Option<String> {
    for file in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", file])?;
        println!("cargo:rerun-if-changed={path}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}
