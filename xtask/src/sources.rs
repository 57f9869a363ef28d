//! What every file must be: opened by a comment that says what it is, named by what is in it, and
//! free of what belongs to one machine.

use std::path::Path;

use crate::tree::TextFile;

/// Names under which anything could be put.
const NO_NAMES: [&str; 6] = ["utils", "util", "helpers", "helper", "common", "misc"];
/// Beginnings of paths that exist on one machine only.
const HOMES: [&str; 2] = ["/home/", "/Users/"];
/// How a crate takes in a file of another one, past its manifest.
const BY_PATH: &str = "#[path = \"..";
/// The layers that must run under virtual time.
const TIMELESS: [&str; 2] = ["crates/values", "crates/stages"];
/// Ways to learn what time it is. Sleeping and waiting are not among them: the spool's threads
/// may do so, and every other stage has no threads.
const CLOCKS: [&str; 3] = ["Instant::now", "SystemTime::now", "UNIX_EPOCH.elapsed"];

/// What is wrong with the files.
pub(crate) fn check(files: &[TextFile]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let path = file.path.display();
        let mut say = |what: &str| found.push(format!("{path}: {what}"));
        let stem = file
            .path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .to_string();
        if NO_NAMES.contains(&stem.as_str()) {
            say("a name that says nothing; name it by what is in it");
        }
        // This file names what is forbidden.
        if file.path.ends_with("xtask/src/sources.rs") {
            continue;
        }
        for home in HOMES {
            if file.text.contains(home) {
                say(&format!("a path of one machine ({home}…)"));
            }
        }
        if has_bare_todo(&file.text) {
            say("a TODO without its issue: write TODO(issue N): and what is missing");
        }
        if file.is_rust() {
            if file.text.contains(BY_PATH) {
                say("takes in a file of another crate; use it by its manifest");
            }
            if !file.text.starts_with("//!") {
                say("does not open with //! and what it is");
            }
            if is_timeless(&file.path) && !file.is_test() {
                for clock in CLOCKS.iter().filter(|c| file.production().contains(**c)) {
                    say(&format!(
                        "reads a clock ({clock}); take the time as an argument"
                    ));
                }
            }
        }
        if file.path.ends_with("Cargo.toml") && file.path.components().count() > 1 {
            let lints = "[lints]\nworkspace = true";
            if !file.text.contains(lints) {
                say("does not take the workspace's lints");
            }
        }
    }
    found
}

fn is_timeless(path: &Path) -> bool {
    TIMELESS.iter().any(|layer| path.starts_with(layer))
        && path
            .components()
            .nth(3)
            .is_some_and(|part| part.as_os_str() == "src")
}

fn has_bare_todo(text: &str) -> bool {
    text.split("TODO")
        .skip(1)
        .any(|rest| !rest.starts_with("(issue "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let (path, text) = (path.into(), text.to_owned());
        check(&[TextFile { path, text }])
    }

    #[test]
    fn a_good_file_is_passed() {
        let text = "//! What it is.\n// TODO(issue 7): the rest.\n";
        assert!(findings("crates/values/mail/src/address.rs", text).is_empty());
    }

    #[test]
    fn each_fault_is_found() {
        for (path, text) in [
            ("crates/values/mail/src/address.rs", "use x;\n"),
            ("crates/values/mail/src/utils.rs", "//! Things.\n"),
            (
                "crates/values/mail/src/address.rs",
                "//! It.\n// TODO: later\n",
            ),
            ("README.md", "cd /home/someone\n"),
            (
                "crates/stages/spool/src/a.rs",
                "//! It.\nfn f() { Instant::now(); }\n",
            ),
            ("crates/values/mail/Cargo.toml", "[package]\n"),
            (
                "crates/dev/bench/src/a.rs",
                "//! It.\n#[path = \"../../lab/src/dns.rs\"]\nmod dns;\n",
            ),
        ] {
            assert_eq!(findings(path, text).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn tests_and_the_shell_may_read_clocks() {
        let text = "//! It.\nfn f() { Instant::now(); }\n";
        assert!(findings("crates/outside/net/src/clock.rs", text).is_empty());
        let text = "//! It.\n\n#[cfg(test)]\nmod tests { fn f() { Instant::now(); } }\n";
        assert!(findings("crates/stages/spool/src/a.rs", text).is_empty());
    }
}
