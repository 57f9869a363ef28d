//! What the tests need besides Rust: looked for before anything is built, and told all at once.
//!
//! Without Python, or without the packages that tests judge by, the tests that need them are passed over, and named.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{judges, root, say};

/// Set where nothing may be passed over.
const STRICT: &str = "SENDOFF_JUDGES";
/// What a test says that needs what is not there.
const MARKS: [&str; 2] = ["python3 runs: Os {", "`cargo xtask judges` fetches them"];
/// Commands without which the tests say nothing, how they are asked, and where they come from.
const TOOLS: [(&str, &[&str], &str); 6] = [
    (
        "cargo",
        &["fmt", "--version"],
        "rustup component add rustfmt",
    ),
    (
        "cargo",
        &["clippy", "--version"],
        "rustup component add clippy",
    ),
    (
        "cc",
        &["--version"],
        "a C compiler (Debian: apt install gcc libc6-dev)",
    ),
    ("setpriv", &["--version"], "util-linux"),
    (
        "script",
        &["--version"],
        "util-linux (Debian: apt install bsdutils)",
    ),
    ("mkfifo", &["--version"], "coreutils"),
];

/// What can be judged here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judges {
    /// All.
    There,
    /// Some are missing: tests that need them are passed over.
    PassedOver,
}

/// Looks for everything.
pub(crate) fn look() -> Result<Judges> {
    let missing = TOOLS.iter().filter(|(tool, words, _)| !runs(tool, words));
    let missing: Vec<String> = missing
        .map(|(tool, words, from)| format!("  {tool} {}: {from}", words.join(" ")))
        .collect();
    let judges = judges::prepare();
    let is_strict = std::env::var(STRICT).is_ok_and(|word| word == "required");
    let python = match &judges {
        Ok(()) => None,
        Err(error) => Some(format!("  python3 with packages from PyPI: {error:#}")),
    };
    if !missing.is_empty() || (python.is_some() && is_strict) {
        let all: Vec<String> = missing.into_iter().chain(python).collect();
        bail!("the tests need what is not here:\n{}", all.join("\n"));
    }
    match python {
        None => Ok(Judges::There),
        Some(why) => {
            say(&format!(
                "== PASSED OVER: tests that need Python\n{why}\n  Everything else is tested.\n"
            ));
            Ok(Judges::PassedOver)
        }
    }
}

fn runs(tool: &str, words: &[&str]) -> bool {
    let mut command = Command::new(tool);
    command
        .args(words)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs the tests where some must fail for what is missing; the others must not.
pub(crate) fn test_without() -> Result<()> {
    let words = [
        "test",
        "--workspace",
        "--locked",
        "--all-targets",
        "--no-fail-fast",
    ];
    say(&format!("== cargo {}\n", words.join(" ")));
    let mut child = Command::new("cargo")
        .args(words)
        .current_dir(root())
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo test")?;
    let output = child.stdout.take().context("cargo's output")?;
    let mut tests = Outcome::default();
    for line in BufReader::new(output).lines() {
        let line = line.context("cargo's output")?;
        say(&format!("{line}\n"));
        tests.read(&line);
    }
    let ended_well = child.wait().context("cargo test")?.success();
    let failed = tests.failed();
    if !failed.is_empty() || (!ended_well && tests.passed_over.is_empty()) {
        bail!("tests failed: {}", failed.join(", "));
    }
    say(&format!(
        "== PASSED OVER, for Python or its packages are missing: {} tests\n{}\n",
        tests.passed_over.len(),
        tests.passed_over.join("\n")
    ));
    Ok(())
}

/// What libtest says of tests that fail.
#[derive(Debug, Default)]
struct Outcome {
    /// All that failed.
    all: Vec<String>,
    /// Those of them that say that something is missing.
    passed_over: Vec<String>,
    /// Whose output is being read.
    current: Option<String>,
}

impl Outcome {
    fn read(&mut self, line: &str) {
        if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.all.push(name.to_owned());
        } else if let Some(name) = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.current = Some(name.to_owned());
        } else if MARKS.iter().any(|mark| line.contains(mark)) {
            self.passed_over.extend(self.current.take());
        }
    }

    /// What failed for another reason.
    fn failed(&self) -> Vec<String> {
        let is_real = |name: &&String| !self.passed_over.contains(name);
        self.all.iter().filter(is_real).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_over_is_told_from_what_failed() {
        let said = "test a::one ... ok\ntest a::two ... FAILED\ntest b::three ... FAILED\n\n\
                    ---- a::two stdout ----\nthread panicked:\npython3 runs: Os { code: 2 }\n\n\
                    ---- b::three stdout ----\nassertion failed\n";
        let mut outcome = Outcome::default();
        said.lines().for_each(|line| outcome.read(line));
        assert_eq!(outcome.passed_over, ["a::two"]);
        assert_eq!(outcome.failed(), ["b::three"]);
    }
}
