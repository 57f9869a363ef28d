//! Files stay readable in one sitting: 600 lines without tests. Those that are longer are listed
//! with their length, which may only shrink.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::tree::TextFile;

const LINES_MAX: usize = 600;
const LIST: &str = "xtask/sizes.txt";

/// Files that have grown too long, and entries of the list that have had their day.
pub(crate) fn check(files: &[TextFile], root: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(root.join(LIST)).context(LIST)?;
    let mut listed = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let (lines, path) = line.split_once(' ').context("a length and a path")?;
        listed.insert(path.to_owned(), lines.parse::<usize>().context(LIST)?);
    }
    Ok(judge(files, listed))
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
    fn long_files_must_be_listed_and_may_not_grow() {
        assert!(judge(&file(600), BTreeMap::new()).is_empty());
        assert_eq!(judge(&file(601), BTreeMap::new()).len(), 1);
        assert!(judge(&file(700), list(700)).is_empty());
        assert_eq!(judge(&file(701), list(700)).len(), 1);
        assert_eq!(judge(&file(100), list(700)).len(), 1);
        assert_eq!(judge(&[], list(700)).len(), 1);
    }
}
