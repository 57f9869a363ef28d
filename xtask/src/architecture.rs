//! The table of edges in ARCHITECTURE.md is what the manifests say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace;

const PAGE: &str = "ARCHITECTURE.md";
const HEAD: &str = "| crate | may use | in tests also |";

/// What a crate uses of the workspace: always, and in its tests.
type Edges = BTreeMap<String, [BTreeSet<String>; 2]>;

/// Differences between the table and the manifests.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let page = fs::read_to_string(root.join(PAGE)).context(PAGE)?;
    Ok(compare(
        &table(&page)?,
        &edges(&workspace::metadata(root)?)?,
    ))
}

fn compare(table: &Edges, manifests: &Edges) -> Vec<String> {
    let names: BTreeSet<&String> = table.keys().chain(manifests.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        match (table.get(name), manifests.get(name)) {
            (Some(_), None) => found.push(format!("{PAGE}: there is no crate {name}")),
            (None, Some(_)) => found.push(format!("{PAGE}: the table has no crate {name}")),
            (Some(said), Some(used)) if said != used => found.push(format!(
                "{PAGE}: {name} may use {said:?}, but its manifest has {used:?}"
            )),
            _ => {}
        }
    }
    found
}

fn table(page: &str) -> Result<Edges> {
    let Some((_, rest)) = page.split_once(HEAD) else {
        bail!("{PAGE} has no table with the head `{HEAD}`");
    };
    let set = |cell: &str| -> BTreeSet<String> {
        let words = cell.split([' ', ',']).map(|w| w.trim_matches('`'));
        words
            .filter(|w| !w.is_empty() && *w != "–")
            .map(str::to_owned)
            .collect()
    };
    let mut edges = Edges::new();
    for line in rest.lines().skip(2).take_while(|l| l.starts_with('|')) {
        let mut cells = line.trim_matches('|').split('|');
        let mut cell = || cells.next().unwrap_or_default();
        let name = cell().trim().trim_matches('`').to_owned();
        edges.insert(name, [set(cell()), set(cell())]);
    }
    Ok(edges)
}

fn edges(metadata: &Value) -> Result<Edges> {
    let mut edges = Edges::new();
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned();
    for package in list(metadata.get("packages")).context("packages")? {
        let name = package.get("name").and_then(Value::as_str);
        let [normal, tests] = edges
            .entry(name.context("a name")?.to_owned())
            .or_insert_with(|| [BTreeSet::new(), BTreeSet::new()]);
        for dependency in list(package.get("dependencies")).unwrap_or_default() {
            // Only those of the workspace have a path.
            if dependency.get("path").is_none_or(Value::is_null) {
                continue;
            }
            let name = dependency.get("name").and_then(Value::as_str);
            let name = name.context("a name")?.to_owned();
            match dependency.get("kind").and_then(Value::as_str) {
                Some("dev") => tests.insert(name),
                _ => normal.insert(name),
            };
        }
    }
    Ok(edges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rows: &str) -> Edges {
        table(&format!("# x\n\n{HEAD}\n|---|---|---|\n{rows}\nEnd\n")).expect("a table")
    }

    #[test]
    fn a_row_is_read_with_and_without_edges() {
        let edges = page("| `mail` | – | – |\n| `smtp` | `mail` | `sim` |\n");
        let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        assert_eq!(edges.get("mail"), Some(&[set(&[]), set(&[])]));
        assert_eq!(edges.get("smtp"), Some(&[set(&["mail"]), set(&["sim"])]));
    }

    #[test]
    fn every_difference_is_found() {
        let used = page("| `mail` | – | – |\n| `smtp` | `mail` | – |\n");
        assert!(compare(&used, &used).is_empty());
        let said = page("| `mail` | – | – |\n| `smtp` | – | – |\n| `gone` | – | – |\n");
        assert_eq!(compare(&said, &used).len(), 2);
        assert_eq!(compare(&page("| `mail` | – | – |\n"), &used).len(), 1);
    }
}
