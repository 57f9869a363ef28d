//! Files stay readable in one sitting: 600 lines without tests. Those that are longer are listed
//! with their length, which may only shrink. Crates stay rooms that one can know: 8,000 lines without tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::tree::TextFile;

const LINES_MAX: usize = 600;
const LIST: &str = "xtask/sizes.txt";
/// Of a crate.
const CRATE_LINES_MAX: usize = 8_000;
/// Crates that may be longer.
const LARGE: [(&str, &str); 1] = [(
    "crates/stages/spool",
    "log, index and history are one engine, whose parts share its format",
)];

/// Files that have grown too long, and entries of the list that have had their day.
pub(crate) fn check(files: &[TextFile], root: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(root.join(LIST)).context(LIST)?;
    let mut listed = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let (lines, path) = line.split_once(' ').context("a length and a path")?;
        listed.insert(path.to_owned(), lines.parse::<usize>().context(LIST)?);
    }
    let mut found = judge(files, listed);
    found.extend(judge_crates(files));
    Ok(found)
}

fn judge_crates(files: &[TextFile]) -> Vec<String> {
    let mut crates: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for file in files.iter().filter(|f| f.is_rust() && !f.is_test()) {
        let directory: PathBuf = file.path.iter().take_while(|part| *part != "src").collect();
        if directory.starts_with("crates") && directory != file.path {
            *crates.entry(directory).or_default() += file.production().lines().count();
        }
    }
    let is_listed = |path: &Path| LARGE.iter().any(|(listed, _)| path == Path::new(listed));
    let large = |path: &Path| crates.get(path).copied() > Some(CRATE_LINES_MAX);
    let too_large = crates
        .iter()
        .filter(|(path, _)| large(path) && !is_listed(path));
    let stale = LARGE.iter().filter(|(path, _)| !large(Path::new(path)));
    let too_large = too_large.map(|(path, lines)| {
        let path = path.display();
        format!("{path}: {lines} lines in one crate, {CRATE_LINES_MAX} at most: cut it")
    });
    let stale =
        stale.map(|(path, _)| format!("{path}: not large; take it out of xtask/src/sizes.rs"));
    too_large.chain(stale).collect()
}

fn judge(files: &[TextFile], mut listed: BTreeMap<String, usize>) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|f| f.is_rust() && !f.is_test()) {
        let lines = file.production().lines().count();
        let path = file.path.display().to_string();
        let allowed = listed.remove(&path);
        if lines > allowed.unwrap_or(LINES_MAX) {
            let most = allowed.unwrap_or(LINES_MAX);
            found.push(format!("{path}: {lines} lines, {most} at the most"));
        } else if allowed.is_some() && lines <= LINES_MAX {
            found.push(format!("{path}: short again; take it out of {LIST}"));
        }
    }
    let gone = listed.into_keys();
    found.extend(gone.map(|path| format!("{path}: gone; take it out of {LIST}")));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(lines: usize) -> Vec<TextFile> {
        vec![TextFile {
            path: "crates/a/src/lib.rs".into(),
            text: "//! x\n".repeat(lines),
        }]
    }

    fn list(lines: usize) -> BTreeMap<String, usize> {
        BTreeMap::from([("crates/a/src/lib.rs".to_owned(), lines)])
    }

    #[test]
    fn large_crates_are_found_and_spool_is_one() {
        let of = |path: &str, lines: usize| TextFile {
            path: path.into(),
            text: "//! x\n".repeat(lines),
        };
        let spool = || of("crates/stages/spool/src/lib.rs", 8_001);
        assert!(judge_crates(&[spool()]).is_empty());
        assert_eq!(judge_crates(&[]).len(), 1);
        let tests = of("crates/a/b/tests/cases/main.rs", 9_000);
        let half = || of("crates/a/b/src/lib.rs", 4_000);
        assert!(judge_crates(&[spool(), half(), half(), tests]).is_empty());
        let more = of("crates/a/b/src/c/d.rs", 1);
        assert_eq!(judge_crates(&[spool(), half(), half(), more]).len(), 1);
    }

    #[test]
    fn long_files_must_be_listed_and_may_not_grow() {
        assert!(judge(&file(600), BTreeMap::new()).is_empty());
        assert_eq!(judge(&file(601), BTreeMap::new()).len(), 1);
        assert!(judge(&file(700), list(700)).is_empty());
        assert_eq!(judge(&file(701), list(700)).len(), 1);
        assert_eq!(judge(&file(100), list(700)).len(), 1);
        assert_eq!(judge(&[], list(700)).len(), 1);
    }
}
