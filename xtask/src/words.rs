//! Words of the pages, and of what the program says: habits that make readers stop, each with what to write instead.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use proc_macro2::{TokenStream, TokenTree};
use syn::{Lit, LitStr};

use crate::tree::TextFile;

/// What stands in no page, in lower case, and what to write. A blank stands for any blank space.
const HABITS: [(&str, &str); 40] = [
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
    ("re-send", "retry"),
    (" is none: ", "is not a …: "),
    ("` is no ", "is not a"),
    ("in clear", "unencrypted"),
    ("of no use", "cannot be used, is revoked"),
    ("logging in here", "authentication is not available here"),
    ("logged in already", "already authenticated"),
    ("hold any more", "is no longer valid"),
    ("holds until", "valid until"),
    ("not slowed any more", "no longer slowed"),
    ("stands alone", "bare CR or LF"),
    ("stands twice", "appears twice"),
    ("is there twice", "appears twice, is listed twice"),
    ("put aside", "set aside"),
    ("what became of", "the result of"),
    ("how they fare", "their state"),
    ("to be had", "available"),
    ("wants a login", "requires a login"),
    ("takes no login", "does not support logins"),
    ("nobody to tell", "nobody to notify"),
];

/// Habits in the pages and in the program's texts, a line each.
pub(crate) fn check(files: &[TextFile], root: &Path) -> Result<Vec<String>> {
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
        found.extend(habits(&text).map(|habit| finding(&name, habit)));
    }
    for file in files.iter().filter(|f| is_said(f)) {
        let name = file.path.display();
        let source = file.production().parse();
        let source: TokenStream = source.map_err(|e| anyhow!("{name}: {e}"))?;
        let mut said = Vec::new();
        texts(source, &mut said);
        for (line, text) in said {
            // Lines within a text are not those of the file.
            let placed = habits(&text).map(|(_, habit, better)| (line, habit, better));
            found.extend(placed.map(|habit| finding(&name, habit)));
        }
    }
    Ok(found)
}

fn finding(name: &impl Display, (line, habit, better): (usize, &str, &str)) -> String {
    format!("{name}:{line}: \"{}\": write \"{better}\"", habit.trim())
}

/// Whether users may come to read what a file says.
fn is_said(file: &TextFile) -> bool {
    let mut parts = file.path.iter().filter_map(|part| part.to_str());
    let is_product = parts.next() == Some("crates") && parts.next() != Some("dev");
    is_product
        && parts.nth(1) == Some("src")
        && file.is_rust()
        && !file.is_test()
        && !file.path.ends_with("conformance.rs")
}

/// The texts of a source file with their lines. Not what documents it: the pages have what users read of that.
fn texts(source: TokenStream, found: &mut Vec<(usize, String)>) {
    let mut is_doc = false;
    for token in source {
        match token {
            TokenTree::Ident(ref name) => {
                is_doc = name == "doc";
                continue;
            }
            TokenTree::Punct(ref mark) if mark.as_char() == '=' => continue,
            TokenTree::Group(ref group) => texts(group.stream(), found),
            TokenTree::Literal(ref literal) if !is_doc => {
                let line = literal.span().start().line;
                if let Lit::Str(text) = Lit::new(literal.clone()) {
                    found.push((line, LitStr::value(&text)));
                }
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        is_doc = false;
    }
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

    #[test]
    fn what_the_program_says_is_found_with_its_line_and_comments_are_not() {
        let source = "/// It shall wait behind the other.\nfn f() {\n    // behind the scenes\n    \
                      say(\"one\");\n    say(\n        \"two \\\n         words\", r#\"a \"b\"\"#, b\"no\", 'c');\n}\n";
        let mut found = Vec::new();
        texts(source.parse().expect("it is Rust"), &mut found);
        let found: Vec<_> = found
            .iter()
            .map(|(line, text)| (*line, text.as_str()))
            .collect();
        assert_eq!(found, [(4, "one"), (6, "two words"), (7, "a \"b\"")]);
    }
}
