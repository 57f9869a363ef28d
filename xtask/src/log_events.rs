//! Every event of the log is explained in docs/log.md, and nothing else is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::tree::TextFile;

const PAGE: &str = "docs/log.md";
/// Events whose names are made at run time: the words of outcomes.
const OUTCOMES: [&str; 4] = ["delivered", "deferred", "failed", "expired"];

/// Differences between the page and the code.
pub(crate) fn check(files: &[TextFile], root: &Path) -> Result<Vec<String>> {
    let page = fs::read_to_string(root.join(PAGE)).context(PAGE)?;
    let mut used: BTreeSet<String> = OUTCOMES.map(str::to_owned).into();
    for file in files.iter().filter(|f| f.is_rust() && !f.is_test()) {
        if file.path.starts_with("crates/daemon/") {
            used.extend(events(file.production()));
        }
    }
    Ok(compare(&explained(&page), &used))
}

fn compare(explained: &BTreeSet<String>, used: &BTreeSet<String>) -> Vec<String> {
    let missing = used.difference(explained);
    let gone = explained.difference(used);
    missing
        .map(|event| format!("{PAGE}: does not explain the event `{event}`"))
        .chain(gone.map(|event| format!("{PAGE}: there is no event `{event}`")))
        .collect()
}

/// The names in calls of `line(time, "name")` and `floods::tell(shared, client, "name"`.
fn events(source: &str) -> BTreeSet<String> {
    let mut events = BTreeSet::new();
    let lines = source.split(".line(").skip(1);
    for call in lines.chain(source.split("floods::tell(").skip(1)) {
        let Some((_, rest)) = call.split_once(", \"") else {
            continue;
        };
        // A name stands in the same call: no statement ends before it.
        let before = call.len() - rest.len();
        if call.get(..before).is_some_and(|c| c.contains(';')) {
            continue;
        }
        let name = rest.split('"').next().unwrap_or_default();
        events.insert(name.to_owned());
    }
    events
}

/// The names in the first column of the page's tables.
fn explained(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter_map(|l| l.strip_prefix("| `"));
    rows.filter_map(|r| r.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_in_code_and_page() {
        let source = "a.line(net::now(), \"start\").send();\n\
                      b\n.line(now, \"error\")\n.field(\"what\", x);\n\
                      floods::tell(shared, peer.ip(), \"client\", &fields);\n\
                      c.line(v.at, v.word()); d(1, \"no\");";
        let used = events(source);
        let names: Vec<&str> = used.iter().map(String::as_str).collect();
        assert_eq!(names, ["client", "error", "start"]);
        let page = "# x\n| event | when |\n|---|---|\n| `start` | at first |\n| `gone` | – |\n";
        assert_eq!(compare(&explained(page), &used).len(), 3);
    }
}
