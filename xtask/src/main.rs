//! The project's own chores: `cargo xtask test`, `tidy`, `docs` and `deb`.
//!
//! Everything that must hold is checked by `test`, the same on every machine. What the compiler
//! does not check is in `tidy`, which is a test of this crate too.

mod advisories;
mod api;
mod architecture;
mod circles;
mod clocks;
mod commands;
mod configuration;
mod deb;
mod dependencies;
mod dist;
mod errors;
mod events;
mod image;
mod imports;
mod judges;
mod layers;
mod licences;
mod locks;
mod log_events;
mod named_paths;
mod needs;
mod release;
mod sbom;
mod shell;
mod sizes;
mod sources;
mod tree;
mod words;
mod workspace;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use needs::Judges;

const USAGE: &str = "\
cargo xtask test    everything that must hold: format, tidy, lints, links, tests
cargo xtask tidy    what the compiler does not check
cargo xtask docs    write the pages that are generated from the code
cargo xtask judges  fetch what tests judge by from PyPI, into the target directory
cargo xtask advisories [DIRECTORY]
                    known faults of the crates in Cargo.lock, by a database of RustSec that is named or here
cargo xtask deb     build the Debian package; with --debug, of the debug build
cargo xtask dist    make a release: binaries, package, container image, list of contents, checksums
cargo xtask release-check
                    what takes too long for every change and must hold before a release
";

fn main() -> ExitCode {
    let task = std::env::args().nth(1).unwrap_or_default();
    let result = match task.as_str() {
        "test" => test(),
        "tidy" => tidy(),
        "docs" => layers::write(&root())
            .and_then(|()| configuration::write(&root()))
            .and_then(|()| api::write(&root()))
            .and_then(|()| commands::write(&root()))
            .and_then(|()| events::write(&root())),
        "advisories" => {
            let named = std::env::args().nth(2).map(PathBuf::from);
            advisories::check(&root(), named).map(|told| say(&told))
        }
        "judges" => judges::prepare(),
        "dist" => dist::make(&root()).map(|made| say(&format!("{}\n", made.display()))),
        "release-check" => dist::check(&root()),
        "deb" => {
            let release = !std::env::args().any(|word| word == "--debug");
            deb::build(&root(), release).map(|package| say(&format!("{}\n", package.display())))
        }
        _ => {
            say(USAGE);
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The workspace.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}

fn say(text: &str) {
    // With nobody reading, nobody misses it.
    drop(std::io::stdout().write_all(text.as_bytes()));
}

/// Cheap checks first, so that what is quickly mended is quickly known.
fn test() -> Result<()> {
    let judges = needs::look()?;
    cargo(&["fmt", "--all", "--check"])?;
    tidy()?;
    let lints = ["clippy", "--workspace", "--all-targets", "--locked"];
    cargo(&[&lints[..], &["--", "-D", "warnings"]].concat())?;
    document()?;
    // The servers under test are this binary.
    cargo(&["build", "--locked", "--package", "sendoff"])?;
    if judges == Judges::PassedOver {
        return needs::test_without();
    }
    let has_nextest = Command::new("cargo")
        .args(["nextest", "--version"])
        .output()
        .is_ok_and(|o| o.status.success());
    match has_nextest {
        true => cargo(&["nextest", "run", "--workspace", "--locked"]),
        false => cargo(&["test", "--workspace", "--locked", "--all-targets"]),
    }
}

/// The pages of the code, for links that lead nowhere.
fn document() -> Result<()> {
    let strict = [("RUSTDOCFLAGS", "-D warnings")];
    cargo_with(&["doc", "--workspace", "--no-deps", "--locked"], &strict)
}

fn cargo(arguments: &[&str]) -> Result<()> {
    cargo_with(arguments, &[])
}

fn cargo_with(arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let name = format!("cargo {}", arguments.join(" "));
    say(&format!("== {name}\n"));
    let status = Command::new("cargo")
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root())
        .status()
        .with_context(|| name.clone())?;
    match status.success() {
        true => Ok(()),
        false => bail!("`{name}` failed"),
    }
}

fn tidy() -> Result<()> {
    say("== tidy\n");
    let found = findings()?;
    match found.is_empty() {
        true => Ok(()),
        false => bail!("not tidy:\n{}", found.join("\n")),
    }
}

/// All that is not as it must be, one line each.
fn findings() -> Result<Vec<String>> {
    let root = root();
    let files = tree::files(&root)?;
    let mut found = Vec::new();
    found.extend(sources::check(&files));
    found.extend(sizes::check(&files, &root)?);
    found.extend(circles::check(&files, &root)?);
    found.extend(clocks::check(&files, &root)?);
    found.extend(locks::check(&files));
    found.extend(errors::check(&files, &root)?);
    found.extend(architecture::check(&root)?);
    found.extend(layers::check(&root)?);
    found.extend(dependencies::check(&root)?);
    found.extend(configuration::check(&root)?);
    found.extend(commands::check(&root)?);
    found.extend(api::check(&root)?);
    found.extend(events::check(&root)?);
    found.extend(log_events::check(&files, &root)?);
    found.extend(named_paths::check(&files, &root)?);
    found.extend(words::check(&files, &root)?);
    Ok(found)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_project_is_tidy() {
        let found = super::findings().expect("the checks run");
        assert!(found.is_empty(), "\n{}", found.join("\n"));
    }
}
