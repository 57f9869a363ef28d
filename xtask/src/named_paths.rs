//! The pages for those who change the code name files that there are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::tree::TextFile;

const PAGES: [&str; 2] = ["ARCHITECTURE.md", "CONTRIBUTING.md"];
/// Where a path may begin that is not a crate's.
const TOP: [&str; 7] = [
    "bench",
    "crates",
    "docs",
    "fuzz",
    "packaging",
    "tests",
    "xtask",
];
/// What stands for many names.
const FOR_MANY: [&str; 2] = ["*", "NAME"];

/// Names of files that are not there.
pub(crate) fn check(files: &[TextFile], root: &Path) -> Result<Vec<String>> {
    let crates = crates(files);
    let mut found = Vec::new();
    for page in PAGES {
        let text = fs::read_to_string(root.join(page)).context(page)?;
        for (line, name) in missing(&text, &crates, &|path| root.join(path).exists()) {
            found.push(format!("{page}:{line}: there is no {name}"));
        }
    }
    Ok(found)
}

/// The directory of each crate by its name.
fn crates(files: &[TextFile]) -> BTreeMap<String, PathBuf> {
    let manifests = files.iter().filter(|f| f.path.ends_with("Cargo.toml"));
    let directories = manifests.filter_map(|f| f.path.parent());
    let named = directories.filter_map(|directory| {
        let name = directory.file_name()?.to_str()?;
        Some((name.to_owned(), directory.to_owned()))
    });
    named.collect()
}

/// Each name of a file or directory that is not there, with its line.
fn missing<'t>(
    text: &'t str,
    crates: &BTreeMap<String, PathBuf>,
    exists: &dyn Fn(&Path) -> bool,
) -> Vec<(usize, &'t str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-./*".contains(c);
    let is_there = |name: &str| {
        let of_crate = name.split_once('/').and_then(|(first, rest)| {
            let directory = crates.get(first)?;
            Some([directory.join("src").join(rest), directory.join(rest)])
        });
        exists(Path::new(name)) || of_crate.is_some_and(|places| places.iter().any(|p| exists(p)))
    };
    let names = text.lines().enumerate().flat_map(|(at, line)| {
        let words = line.split(move |c| !is_part(c));
        words.map(move |word| (at + 1, word.trim_end_matches(['.', '/'])))
    });
    names
        .filter(|(_, name)| is_path(name) && !is_there(name))
        .collect()
}

/// Whether a word names a file, or a directory of the repository.
fn is_path(word: &str) -> bool {
    if FOR_MANY.iter().any(|many| word.contains(many)) {
        return false;
    }
    let first = word.split_once('/').map(|(first, _)| first);
    // Every crate has one.
    let is_rust = word.ends_with(".rs") && word != "lib.rs";
    is_rust || first.is_some_and(|first| TOP.contains(&first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_found_with_its_line() {
        let crates = BTreeMap::from([("smtp".to_owned(), PathBuf::from("crates/stages/smtp"))]);
        let files = [
            "crates/stages/smtp/src/line.rs",
            "crates/stages/smtp/rules/a.toml",
            "docs/log.md",
        ];
        let exists = |path: &Path| files.iter().any(|file| Path::new(file) == path);
        let text = "`smtp/line.rs` and `smtp/gone.rs`, docs/log.md.\n\
                    (`docs/gone.md`), `line.rs`: each `lib.rs`; `fuzz/seeds/NAME`, crates/*/*.\n\
                    `smtp/rules/a.toml`, and/or `gone/line.rs`\n";
        assert_eq!(
            missing(text, &crates, &exists),
            [
                (1, "smtp/gone.rs"),
                (2, "docs/gone.md"),
                (2, "line.rs"),
                (3, "gone/line.rs")
            ]
        );
    }
}
