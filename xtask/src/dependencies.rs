//! What is built into the server: its licences, one crate for each job, and stages that have
//! neither sockets nor a runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::licences;

/// The stages, and what lies below them.
const STAGES: [&str; 10] = [
    "mail", "smtp", "intake", "sign", "store", "spool", "schedule", "route", "deliver", "notify",
];
/// What no stage may reach, by the beginnings of names.
const SHELL: [&str; 4] = ["tokio", "hickory", "rustls", "socket2"];
/// One crate for each job; these do a job that another one has.
const BANNED: [(&str, &str); 13] = [
    ("openssl", "TLS is done by rustls"),
    ("openssl-sys", "TLS is done by rustls"),
    ("native-tls", "TLS is done by rustls"),
    ("ring", "cryptography is done by aws-lc-rs"),
    ("async-std", "the runtime is tokio"),
    ("smol", "the runtime is tokio"),
    ("lazy_static", "the standard library has LazyLock"),
    ("trust-dns-resolver", "DNS is asked by hickory-resolver"),
    ("chrono", "time is told by mail::Timestamp"),
    ("regex", "what is matched here needs none"),
    ("log", "the log is the server's own journal"),
    ("failure", "errors are made by thiserror"),
    ("rand", "chance is handed in as a seed"),
];
/// Banned crates that are in the tree because of others, and why that is borne.
const BORNE: [(&str, &str); 3] = [
    (
        "chrono",
        "oauth2 tells the end of a device's code by it; our own code does not",
    ),
    (
        "log",
        "a facade that rustls and others write to; nothing reads it",
    ),
    (
        "rand",
        "hickory-resolver and proptest draw ports and cases with it",
    ),
];
/// Crates that are there in two versions because of others, and why that is borne.
const TWICE: [(&str, &str); 12] = [
    (
        "untrusted",
        "aws-lc-rs has the older one for hickory's DNSSEC, rustls-webpki the newer; a page of code each",
    ),
    ("base64", OF_OAUTH2),
    ("block-buffer", OF_OAUTH2),
    ("cpufeatures", OF_OAUTH2),
    ("crypto-common", OF_OAUTH2),
    ("digest", OF_OAUTH2),
    ("getrandom", OF_OAUTH2),
    ("rand", OF_OAUTH2),
    ("rand_core", OF_OAUTH2),
    ("syn", OF_OAUTH2),
    ("thiserror", OF_OAUTH2),
    ("thiserror-impl", OF_OAUTH2),
];
const OF_OAUTH2: &str =
    "oauth2 5.0 has the older one; what it makes and reads are small requests, seldom";

/// What is wrong with the dependencies.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let all = tree(root, &["--workspace", "--edges", "normal,build,dev"])?;
    let mut found = judge(&all);
    for stage in STAGES {
        let reached = tree(root, &["--package", stage, "--edges", "normal"])?;
        for name in reached.keys() {
            if SHELL.iter().any(|s| name.starts_with(s)) {
                found.push(format!("{stage}: reaches {name}; only the shell may"));
            }
        }
    }
    Ok(found)
}

/// The versions of each crate, each with its licence.
type Crates = BTreeMap<String, BTreeSet<(String, String)>>;

fn judge(all: &Crates) -> Vec<String> {
    let mut found = Vec::new();
    for (name, versions) in all {
        for (version, licence) in versions {
            if !licences::is_allowed(licence) {
                found.push(format!(
                    "{name} {version}: licence `{licence}` is not allowed"
                ));
            }
        }
        if versions.len() > 1 && !TWICE.iter().any(|(n, _)| n == name) {
            found.push(format!("{name}: in {} versions", versions.len()));
        }
        let borne = BORNE.iter().any(|(n, _)| n == name);
        if let Some((_, why)) = BANNED.iter().find(|(n, _)| n == name)
            && !borne
        {
            found.push(format!("{name}: is banned: {why}"));
        }
    }
    found
}

fn tree(root: &Path, arguments: &[&str]) -> Result<Crates> {
    let output = Command::new("cargo")
        .args([
            "tree", "--locked", "--prefix", "none", "--format", "{p}|{l}",
        ])
        .args(arguments)
        .current_dir(root)
        .output()
        .context("cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(crates(&String::from_utf8_lossy(&output.stdout)))
}

fn crates(text: &str) -> Crates {
    let mut crates = Crates::new();
    for line in text.lines() {
        // `name v1.2.3 (proc-macro)|licence (*)`
        let (package, licence) = line.split_once('|').unwrap_or((line, ""));
        let mut words = package.split_ascii_whitespace();
        let (Some(name), Some(version)) = (words.next(), words.next()) else {
            continue;
        };
        let licence = licence.trim_end_matches(" (*)").to_owned();
        let versions = crates.entry(name.to_owned()).or_default();
        versions.insert((version.to_owned(), licence));
    }
    crates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_found() {
        let good = "a v1.0.0|MIT\na v1.0.0|MIT (*)\nlog v0.4.0|MIT\n";
        assert!(
            judge(&crates(good)).is_empty(),
            "{:?}",
            judge(&crates(good))
        );
        for bad in [
            "a v1.0.0|GPL-3.0-only\n",
            "a v1.0.0|\n",
            "a v1.0.0|MIT\na v2.0.0|MIT\n",
            "ring v0.17.0|ISC\n",
        ] {
            assert_eq!(judge(&crates(bad)).len(), 1, "{bad}");
        }
    }
}
