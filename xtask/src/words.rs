//! Words of the pages: habits that make readers stop, each with what to write instead.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// What stands in no page, in lower case, and what to write. A blank stands for any blank space.
const HABITS: [(&str, &str); 20] = [
    ("behind its", "after its"),
    ("behind that", "after that"),
    ("behind the ", "after the"),
    ("hand in", "submit"),
    ("handed in", "submitted"),
    ("hands in", "submits"),
    ("hand it in", "submit it"),
    ("handed it in", "submitted it"),
    ("hand mail in", "submit mail"),
    ("figures", "metrics"),
    ("can not", "cannot"),
    ("at the most", "at most"),
    ("as any other", "like all others"),
    (" is told", "is sent, is notified"),
    (" are told", "are sent, are notified"),
    ("been told", "been sent, been notified"),
    (" anew", "again"),
    (" shall ", "must, will"),
    ("is of no use to", "is useless for"),
    ("who is not logged in", "a client that has not logged in"),
];

/// Habits in the pages, a line each.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut pages = vec![root.join("README.md")];
    for entry in fs::read_dir(root.join("docs")).context("docs")? {
        let path = entry?.path();
        pages.extend(path.extension().is_some_and(|e| e == "md").then_some(path));
    }
    pages.sort();
    let mut found = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
        let name = page.strip_prefix(root).unwrap_or(&page).display();
        found.extend(habits(&text).map(|(line, habit, better)| {
            format!("{name}:{line}: \"{}\": write \"{better}\"", habit.trim())
        }));
    }
    Ok(found)
}

/// Each habit with its line; also where the line breaks within it.
fn habits(text: &str) -> impl Iterator<Item = (usize, &'static str, &'static str)> {
    let flat = text.to_ascii_lowercase().replace('\n', " ");
    let lines: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    HABITS.into_iter().flat_map(move |(habit, better)| {
        let places: Vec<usize> = flat.match_indices(habit).map(|(at, _)| at).collect();
        let line = |at| lines.iter().filter(|end| **end < at).count() + 1;
        let found: Vec<_> = places.into_iter().map(line).collect();
        found.into_iter().map(move |line| (line, habit, better))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_are_found_also_across_lines() {
        let text = "Mail is handed\nin by programs.\nIt waits behind a proxy.\nNothing is\ntold.\n";
        let found: Vec<_> = habits(text).map(|(line, habit, _)| (line, habit)).collect();
        assert_eq!(found, [(1, "handed in"), (4, " is told")]);
    }
}
