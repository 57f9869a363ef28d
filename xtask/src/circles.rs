//! Files of a crate import each other in one direction. Only a file and its child may need each other; other
//! circles are listed with their reason, and entries that have had their day are found.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::imports::{self, Module};
use crate::tree::TextFile;

const LIST: &str = "xtask/circles.txt";
/// Stands for every file of a crate.
const ALL: &str = "*";

type Edges = BTreeMap<Module, BTreeSet<Module>>;

/// A circle that is allowed.
struct Entry {
    /// The crate's directory.
    directory: String,
    /// Modules, by their names.
    modules: BTreeSet<String>,
    used: bool,
}

/// Circles that are not listed, and entries of the list without a circle.
pub(crate) fn check(files: &[TextFile], root: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(root.join(LIST)).context(LIST)?;
    let mut entries = listed(&text)?;
    let mut found = Vec::new();
    for directory in crates(files) {
        let edges = imports::edges(&directory.join("src"), files)?;
        for circle in circles(&edges) {
            if !is_listed(&directory.display().to_string(), &circle, &mut entries) {
                let shown = shown(&circle, &edges);
                found.push(format!("{}: a circle: {shown}", directory.display()));
            }
        }
    }
    let stale = entries.iter().filter(|entry| !entry.used);
    found.extend(stale.map(|entry| {
        let modules: Vec<&str> = entry.modules.iter().map(String::as_str).collect();
        let modules = modules.join(" ");
        format!(
            "{LIST}: no circle in {} {modules}: take it out",
            entry.directory
        )
    }));
    Ok(found)
}

/// Lines of a directory, modules, a colon and the reason.
fn listed(text: &str) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let Some((files, reason)) = line.split_once(": ") else {
            bail!("{LIST}: `{line}` has no reason");
        };
        let mut words = files.split(' ').map(str::to_owned);
        let directory = words.next().unwrap_or_default();
        let modules: BTreeSet<String> = words.collect();
        if modules.is_empty() || reason.trim().is_empty() {
            bail!("{LIST}: `{line}` names no files or no reason");
        }
        entries.push(Entry {
            directory,
            modules,
            used: false,
        });
    }
    Ok(entries)
}

/// Directories with a manifest and sources.
fn crates(files: &[TextFile]) -> Vec<PathBuf> {
    let manifests = files.iter().filter(|f| f.path.ends_with("Cargo.toml"));
    let has_sources = |directory: &PathBuf| {
        let src = directory.join("src");
        files.iter().any(|f| f.path.starts_with(&src))
    };
    let directories = manifests.filter_map(|f| f.path.parent().map(Path::to_owned));
    directories.filter(has_sources).collect()
}

/// Whether an entry allows a circle.
fn is_listed(directory: &str, circle: &[Module], entries: &mut [Entry]) -> bool {
    let allows = |entry: &&mut Entry| {
        let covers =
            |module: &Module| entry.modules.contains(&name(module)) || entry.modules.contains(ALL);
        entry.directory == directory && circle.iter().all(covers)
    };
    let found = entries.iter_mut().find(allows);
    found.map(|entry| entry.used = true).is_some()
}

/// Who of a circle needs whom.
fn shown(circle: &[Module], edges: &Edges) -> String {
    let needs = |module: &Module| {
        let targets = edges.get(module).into_iter().flatten();
        let targets = targets.filter(|target| circle.contains(target));
        let targets = targets.filter(|target| !is_family(module, target));
        let targets: Vec<String> = targets.map(|target| name(target)).collect();
        format!("{} → {}", name(module), targets.join(" "))
    };
    circle.iter().map(needs).collect::<Vec<_>>().join(", ")
}

fn name(module: &[String]) -> String {
    match module.is_empty() {
        true => "crate".to_owned(),
        false => module.join("::"),
    }
}

/// Whether one is the other's child.
fn is_family(a: &[String], b: &[String]) -> bool {
    let is_child = |child: &[String], parent: &[String]| {
        child.split_last().is_some_and(|(_, above)| above == parent)
    };
    is_child(a, b) || is_child(b, a)
}

/// Sets of files that all lead to each other, without the edges between a file and its child.
fn circles(edges: &Edges) -> Vec<Vec<Module>> {
    let next = |module: &Module| {
        let targets = edges.get(module).into_iter().flatten();
        targets
            .filter(|target| !is_family(module, target))
            .cloned()
            .collect::<Vec<_>>()
    };
    // The graphs are small: what can be reached from each file is asked one by one.
    let reached: BTreeMap<&Module, BTreeSet<Module>> = edges
        .keys()
        .map(|from| {
            let mut seen = BTreeSet::new();
            let mut open = next(from);
            while let Some(module) = open.pop() {
                if seen.insert(module.clone()) {
                    open.extend(next(&module));
                }
            }
            (from, seen)
        })
        .collect();
    let leads = |a: &Module, b: &Module| reached.get(a).is_some_and(|seen| seen.contains(b));
    let mut found: BTreeSet<Vec<Module>> = BTreeSet::new();
    for from in edges.keys().filter(|from| leads(from, from)) {
        let circle = edges
            .keys()
            .filter(|other| leads(from, other) && leads(other, from));
        found.insert(circle.cloned().collect());
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str) -> Module {
        name.split("::")
            .filter(|n| !n.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn graph(edges: &[(&str, &[&str])]) -> Edges {
        let of = |(from, to): &(&str, &[&str])| {
            (module(from), to.iter().map(|name| module(name)).collect())
        };
        edges.iter().map(of).collect()
    }

    fn found(edges: &[(&str, &[&str])]) -> Vec<String> {
        let circles = circles(&graph(edges));
        let shown = |circle: &Vec<Module>| circle.iter().map(|m| name(m)).collect::<Vec<_>>();
        circles
            .iter()
            .map(|circle| shown(circle).join(" "))
            .collect()
    }

    #[test]
    fn circles_are_found_and_families_are_none() {
        assert!(found(&[("", &["a"]), ("a", &["", "a::b"]), ("a::b", &["a"])]).is_empty());
        let knot: &[(&str, &[&str])] =
            &[("a", &["b"]), ("b", &["c"]), ("c", &["a", "d"]), ("d", &[])];
        assert_eq!(found(knot), ["a b c"]);
        let two: &[(&str, &[&str])] = &[("a", &["b"]), ("b", &["a"]), ("c", &["d"]), ("d", &["c"])];
        assert_eq!(found(two), ["a b", "c d"]);
        let circle = [module("a"), module("b"), module("c")];
        assert_eq!(shown(&circle, &graph(knot)), "a → b, b → c, c → a");
        // A child that needs what its parent's neighbour has is a circle if that one needs the child.
        assert_eq!(found(&[("a::x", &["b"]), ("b", &["a::x"])]), ["a::x b"]);
    }

    #[test]
    fn a_circle_needs_an_entry_and_an_entry_a_reason() {
        let circle = [module("a"), module("b::c")];
        let mut entries = listed("# x\ncrates/a a b::c d: they are one\n").expect("a list");
        assert!(is_listed("crates/a", &circle, &mut entries));
        assert!(entries.iter().all(|entry| entry.used));
        assert!(!is_listed("crates/b", &circle, &mut entries));
        let mut all = listed("crates/b *: it is being cut\n").expect("a list");
        assert!(is_listed("crates/b", &circle, &mut all));
        let mut less = listed("crates/a a: half\n").expect("a list");
        assert!(!is_listed("crates/a", &circle, &mut less));
        for bad in ["crates/a a", "crates/a: x", "crates/a a:  "] {
            assert!(listed(bad).is_err(), "{bad}");
        }
    }
}
