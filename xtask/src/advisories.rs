//! Known faults of the crates that are built in: Cargo.lock against a database of advisories in the form of RustSec
//! (`crates/NAME/RUSTSEC-….md`, TOML in front).
//!
//! Nothing is fetched: the database is a directory that is named, or one that cargo-audit or cargo-deny has here.
//! **Invariant:** "none" is said only after something was looked at.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use semver::{Version, VersionReq};
use toml::{Table, Value};

const FETCH: &str = "git clone --depth 1 https://github.com/rustsec/advisory-db";

/// What an advisory says of one crate.
#[derive(Debug)]
struct Advisory {
    id: String,
    title: String,
    package: String,
    /// Unmaintained, a notice: no fault to be mended at once.
    informational: Option<String>,
    withdrawn: bool,
    patched: Vec<VersionReq>,
    unaffected: Vec<VersionReq>,
}

/// Looks, and says what was found; an error where a fault is known.
pub(crate) fn check(root: &Path, named: Option<PathBuf>) -> Result<String> {
    let database = match named {
        Some(path) if path.join("crates").is_dir() => path,
        Some(path) => bail!(
            "{} is no database of advisories (it has no `crates`): {FETCH}",
            path.display()
        ),
        None => match found_here() {
            Some(path) => path,
            None => {
                return Ok(format!(
                    "NOT CHECKED: there is no database of advisories here; name one \
                     (`{FETCH}`, then `cargo xtask advisories advisory-db`)\n"
                ));
            }
        },
    };
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("Cargo.lock")?;
    let crates = locked(&lock)?;
    let (mut faults, mut notes, mut looked_at) = (Vec::new(), Vec::new(), 0);
    for (name, version) in &crates {
        for advisory in of_crate(&database.join("crates").join(name))? {
            looked_at += 1;
            if !advisory.is_about(name, version) {
                continue;
            }
            let line = advisory.line(version);
            match advisory.informational {
                Some(_) => notes.push(line),
                None => faults.push(line),
            }
        }
    }
    let summary = format!(
        "{} crates against {looked_at} advisories about them, of {}: {} faults, {} notes\n",
        crates.len(),
        database.display(),
        faults.len(),
        notes.len()
    );
    let noted: String = notes.iter().map(|line| format!("note: {line}\n")).collect();
    match faults.is_empty() {
        true => Ok(noted + &summary),
        false => bail!("{}\n{noted}{summary}", faults.join("\n")),
    }
}

/// Where the usual tools keep their database.
fn found_here() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")))?;
    let of_deny = fs::read_dir(home.join("advisory-dbs"))
        .into_iter()
        .flatten();
    let mut all: Vec<PathBuf> = of_deny.flatten().map(|entry| entry.path()).collect();
    all.push(home.join("advisory-db"));
    all.into_iter().find(|path| path.join("crates").is_dir())
}

/// The crates of a registry, with their versions.
fn locked(lock: &str) -> Result<Vec<(String, Version)>> {
    let table: Table = lock.parse().context("Cargo.lock")?;
    let packages = table.get("package").and_then(Value::as_array);
    let packages = packages.into_iter().flatten().filter_map(Value::as_table);
    let mut crates = Vec::new();
    for package in packages.filter(|package| package.contains_key("source")) {
        let text = |key: &str| package.get(key).and_then(Value::as_str).unwrap_or_default();
        let version = text("version").parse().context("Cargo.lock: a version")?;
        crates.push((text("name").to_owned(), version));
    }
    match crates.is_empty() {
        true => bail!("Cargo.lock names no crates"),
        false => Ok(crates),
    }
}

/// The advisories about a crate; a directory that is not there has none.
fn of_crate(directory: &Path) -> Result<Vec<Advisory>> {
    let mut advisories = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "md") {
            let text = fs::read_to_string(&path)?;
            let read = Advisory::read(&text);
            advisories.push(read.with_context(|| path.display().to_string())?);
        }
    }
    Ok(advisories)
}

impl Advisory {
    fn read(text: &str) -> Result<Self> {
        let inside = text.trim_start().strip_prefix("```toml");
        let (front, rest) = inside
            .and_then(|text| text.split_once("\n```"))
            .context("there is no TOML in front")?;
        let front: Table = front.parse()?;
        let section = |name: &str| front.get(name).and_then(Value::as_table);
        let about = section("advisory").context("there is no [advisory]")?;
        let word = |key: &str| about.get(key).and_then(Value::as_str).map(str::to_owned);
        let versions = |key: &str| -> Result<Vec<VersionReq>> {
            let list = section("versions").and_then(|table| table.get(key));
            let list = list.and_then(Value::as_array).into_iter().flatten();
            let parse = |text: &str| text.parse().with_context(|| format!("{key}: {text}"));
            list.filter_map(Value::as_str).map(parse).collect()
        };
        Ok(Self {
            id: word("id").context("there is no id")?,
            title: rest
                .lines()
                .find_map(|line| line.strip_prefix("# "))
                .unwrap_or_default()
                .to_owned(),
            package: word("package").context("there is no package")?,
            informational: word("informational"),
            withdrawn: about.contains_key("withdrawn"),
            patched: versions("patched")?,
            unaffected: versions("unaffected")?,
        })
    }

    fn is_about(&self, name: &str, version: &Version) -> bool {
        let mut good = self.patched.iter().chain(&self.unaffected);
        self.package == name && !self.withdrawn && !good.any(|range| range.matches(version))
    }

    fn line(&self, version: &Version) -> String {
        let patched: Vec<String> = self.patched.iter().map(VersionReq::to_string).collect();
        let mended = match patched.is_empty() {
            true => "no version mends it".to_owned(),
            false => format!("mended in {}", patched.join(" or ")),
        };
        let kind = self
            .informational
            .as_deref()
            .map(|kind| format!(" ({kind})"));
        format!(
            "{} {} {version}: {}{}; {mended}",
            self.id,
            self.package,
            self.title,
            kind.unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"ours\"\nversion = \"0.1.0\"\n\n[[package]]\n\
                        name = \"leaky\"\nversion = \"1.2.0\"\nsource = \"registry+x\"\n";

    fn advisory(extra: &str, versions: &str) -> String {
        format!(
            "```toml\n[advisory]\nid = \"RUSTSEC-2026-0001\"\npackage = \"leaky\"\ndate = \"2026-01-01\"\n{extra}\n\
             [versions]\n{versions}\n```\n\n# It leaks\n\nMuch.\n"
        )
    }

    #[test]
    fn a_locked_version_with_a_known_fault_is_found() {
        let dir = std::env::temp_dir().join(format!("xtask-advisories-{}", std::process::id()));
        let of_leaky = dir.join("crates/leaky");
        fs::create_dir_all(&of_leaky).unwrap();
        fs::write(dir.join("Cargo.lock"), LOCK).unwrap();
        let check = |extra: &str, versions: &str| {
            let text = advisory(extra, versions);
            fs::write(of_leaky.join("RUSTSEC-2026-0001.md"), text).unwrap();
            check(&dir, Some(dir.clone())).map_err(|e| e.to_string())
        };
        let why = check("", "patched = [\">= 1.2.1\"]").unwrap_err();
        let line = "RUSTSEC-2026-0001 leaky 1.2.0: It leaks; mended in >=1.2.1";
        assert!(why.contains(line), "{why}");
        check("", "patched = []").unwrap_err();
        for (extra, versions) in [
            ("", "patched = [\">= 1.2.0\"]"),
            ("", "patched = [\">= 1.3.0\", \"^1.2\"]"),
            ("", "patched = []\nunaffected = [\"< 1.3\"]"),
            ("withdrawn = \"2026-02-01\"", "patched = []"),
        ] {
            let said = check(extra, versions).unwrap();
            assert!(said.contains("against 1 advisories"), "{said}");
            assert!(said.ends_with("0 faults, 0 notes\n"), "{said}");
        }
        let said = check("informational = \"unmaintained\"", "patched = []").unwrap();
        assert!(
            said.starts_with("note: ") && said.contains("(unmaintained)"),
            "{said}"
        );
        // What cannot be read is not passed over.
        fs::write(of_leaky.join("RUSTSEC-2026-0002.md"), "# No front\n").unwrap();
        check("", "patched = [\">= 1.2.0\"]").unwrap_err();
        fs::remove_dir_all(dir).unwrap();
    }
}
