//! Rooms read the time by the clock that they are given, so that a test or a simulation decides what time it is. Files
//! that read the system's all the same are listed with their reason, and entries that have had their day are found.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::tree::TextFile;

const LIST: &str = "xtask/clocks.txt";
/// Where the rooms are.
const ROOMS: [&str; 2] = ["crates/daemon", "crates/faces"];
/// Ways to the system's clock.
const CLOCKS: [&str; 5] = [
    "net::now",
    "net::system_clock",
    "SystemTime::now",
    "Utc::now",
    "Instant::now",
];

/// A file, or a directory, that may read the system's clock.
struct Entry {
    path: String,
    used: bool,
}

/// Files of rooms that read the system's clock and are not listed, and entries of the list without use.
pub(crate) fn check(files: &[TextFile], root: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(root.join(LIST)).context(LIST)?;
    Ok(judge(files, listed(&text)?))
}

/// Lines of a path, a colon and the reason.
fn listed(text: &str) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        match line.split_once(": ") {
            Some((path, reason)) if !reason.trim().is_empty() => entries.push(Entry {
                path: path.to_owned(),
                used: false,
            }),
            Some(_) | None => bail!("{LIST}: `{line}` has no reason"),
        }
    }
    Ok(entries)
}

fn judge(files: &[TextFile], mut entries: Vec<Entry>) -> Vec<String> {
    let mut found = Vec::new();
    let of_room = |f: &&TextFile| ROOMS.iter().any(|room| f.path.starts_with(room));
    for file in files.iter().filter(of_room) {
        if !file.is_rust() || file.is_test() {
            continue;
        }
        let Some(clock) = read_in(file.production()) else {
            continue;
        };
        match entries.iter_mut().find(|e| file.path.starts_with(&e.path)) {
            Some(entry) => entry.used = true,
            None => found.push(format!(
                "{}: reads the system's clock ({clock}); ask the node's, or take the time as an argument",
                file.path.display()
            )),
        }
    }
    let stale = entries.iter().filter(|entry| !entry.used);
    found.extend(stale.map(|e| format!("{LIST}: {} reads no clock: take it out", e.path)));
    found
}

/// The first way to the system's clock in a text. Tokio's time is for waiting, and follows a simulation by itself.
fn read_in(text: &str) -> Option<&'static str> {
    let of_tokio = imports_tokios_instant(text);
    let is_read = |clock: &str| {
        text.match_indices(clock).any(|(place, _)| {
            let before = text.get(..place).unwrap_or_default();
            let is_path = before.ends_with("::");
            let is_tokios = before.ends_with("tokio::time::") || of_tokio && !is_path;
            let is_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            !(is_word || clock == "Instant::now" && is_tokios)
        })
    };
    CLOCKS.into_iter().find(|clock| is_read(clock))
}

fn imports_tokios_instant(text: &str) -> bool {
    let imports = text.split("\nuse tokio::time::").skip(1);
    let mut imports = imports.filter_map(|rest| rest.split_once(';'));
    imports.any(|(names, _)| {
        names
            .split([',', '{', '}'])
            .any(|name| name.trim() == "Instant")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str, list: &str) -> Vec<String> {
        let (path, text) = (path.into(), format!("//! It.\n{text}"));
        judge(&[TextFile { path, text }], listed(list).expect("a list"))
    }

    #[test]
    fn every_way_to_the_system_s_clock_is_found() {
        for text in [
            "fn f() { net::now(); }",
            "fn f() { crate::g(net::now); }",
            "fn f() { net::system_clock(); }",
            "fn f() { SystemTime::now(); }",
            "fn f() { std::time::SystemTime::now(); }",
            "use std::time::Instant;\nfn f() { Instant::now(); }",
            "use tokio::time::Instant;\nfn f() { std::time::Instant::now(); }",
        ] {
            let found = findings("crates/daemon/sending/src/a.rs", text, "");
            assert_eq!(found.len(), 1, "{text}");
        }
    }

    #[test]
    fn waiting_tests_and_other_layers_are_passed() {
        let room = "crates/daemon/sending/src/a.rs";
        for text in [
            "use tokio::time::Instant;\nfn f() { Instant::now(); }",
            "use tokio::time::{Instant, sleep};\nfn f() { Instant::now(); }",
            "fn f() { tokio::time::Instant::now(); }",
            "fn f() { subnet::now(); node.now(); node.instant(); }",
            "\n#[cfg(test)]\nmod tests { fn f() { net::now(); } }",
        ] {
            assert!(findings(room, text, "").is_empty(), "{text}");
        }
        let read = "fn f() { SystemTime::now(); }";
        assert!(findings("crates/outside/net/src/clock.rs", read, "").is_empty());
        assert!(findings("crates/daemon/server/tests/a.rs", read, "").is_empty());
    }

    #[test]
    fn what_is_listed_needs_a_reason_and_a_use() {
        let read = "fn f() { net::now(); }";
        let list = "crates/daemon/server: commands";
        assert!(findings("crates/daemon/server/src/a.rs", read, list).is_empty());
        assert_eq!(findings("crates/daemon/server/src/a.rs", "", list).len(), 1);
        assert!(listed("crates/daemon/server").is_err());
        assert!(listed("crates/daemon/server: ").is_err());
    }
}
