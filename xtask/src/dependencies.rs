//! What is built into the server: its licences, one crate for each job, which crates name the libraries of the outside,
//! and stages that have neither sockets nor a runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::layers::{self, Member};
use crate::{licences, workspace};

/// The layers that must run without the outside.
const SANS_IO: [&str; 3] = ["values", "stages", "verbs"];
/// What none of their crates may reach, by the beginnings of names.
const SHELL: [&str; 4] = ["tokio", "hickory", "rustls", "socket2"];
/// Libraries, by the beginnings of their names, and the crates that alone may name them in their manifests.
const ALONE: [(&str, &[&str]); 5] = [
    ("rusqlite", &["spool"]),
    ("hickory", &["net", "lab"]),
    ("rustls", &["net", "lab"]),
    ("tokio-rustls", &["net", "lab"]),
    ("socket2", &["net"]),
];
/// Crates beside the outside that only say, read or write something: they name no runtime, and nobody waits in them.
const WITHOUT_RUNTIME: [&str; 6] = [
    "backup", "config", "doubts", "journal", "rights", "terminal",
];
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
    let members = layers::members(&workspace::metadata(root)?)?;
    found.extend(named(&members));
    let sans_io = members.iter().filter(|m| SANS_IO.contains(&m.folder()));
    for Member { name: of, .. } in sans_io {
        let reached = tree(root, &["--package", of, "--edges", "normal"])?;
        for name in reached.keys() {
            if SHELL.iter().any(|s| name.starts_with(s)) {
                found.push(format!("{of}: reaches {name}; only the shell may"));
            }
        }
    }
    Ok(found)
}

/// Libraries that are named by a crate that must ask another one.
fn named(members: &[Member]) -> Vec<String> {
    let mut found = Vec::new();
    for Member {
        name, libraries, ..
    } in members
    {
        for library in libraries {
            for (_, may) in ALONE.iter().filter(|(l, _)| library.starts_with(l)) {
                if !may.contains(&name.as_str()) {
                    found.push(format!("{name}: names {library}; only {may:?} may"));
                }
            }
        }
        let has_runtime = libraries.iter().any(|l| l.starts_with("tokio"));
        if WITHOUT_RUNTIME.contains(&name.as_str()) && has_runtime {
            found.push(format!(
                "{name}: names tokio; it is to do nothing that waits"
            ));
        }
    }
    found
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
    use serde_json::json;

    use super::*;

    fn faults(name: &str, library: &str) -> usize {
        let package = json!({
            "name": name,
            "manifest_path": format!("/x/crates/daemon/{name}/Cargo.toml"),
            "dependencies": [{ "name": library, "kind": null, "path": null }],
        });
        let members = layers::members(&json!({ "packages": [package] }));
        named(&members.expect("a workspace")).len()
    }

    #[test]
    fn libraries_of_the_outside_are_named_where_they_may_be() {
        assert_eq!(faults("spool", "rusqlite"), 0);
        assert_eq!(faults("node", "rusqlite"), 1);
        assert_eq!(faults("net", "hickory-resolver"), 0);
        assert_eq!(faults("sending", "hickory-resolver"), 1);
        assert_eq!(faults("sending", "rustls"), 1);
        assert_eq!(faults("sending", "tokio"), 0);
        assert_eq!(faults("config", "tokio-util"), 1);
    }

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
