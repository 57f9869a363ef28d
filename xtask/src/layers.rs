//! The layers, which are the folders of `crates/`: a crate uses crates of its own layer and of those below. What goes
//! upwards is listed with its reason, and entries that have had their day are found. ARCHITECTURE.md has a picture of
//! the layers, drawn here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace;

/// From the bottom up. What only developers use may use everything, and nothing of the product uses it.
const LAYERS: [&str; 7] = [
    "values", "stages", "outside", "verbs", "daemon", "faces", "dev",
];
const LIST: &str = "xtask/layers.txt";
const PAGE: &str = "ARCHITECTURE.md";
/// Around the picture.
const BEGIN: &str = "<!-- Generated from the manifests by `cargo xtask docs`: -->\n";
const END: &str = "<!-- Until here. -->\n";

/// A crate of a layer.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// The place of its folder in [`LAYERS`].
    layer: usize,
    /// What it uses of the workspace outside of its tests.
    uses: BTreeSet<String>,
    /// What it uses of others outside of its tests.
    pub(crate) libraries: BTreeSet<String>,
}

impl Member {
    /// The folder that it is in.
    pub(crate) fn folder(&self) -> &'static str {
        LAYERS.get(self.layer).copied().unwrap_or_default()
    }
}

/// An import upwards that is allowed.
struct Entry {
    from: String,
    to: String,
}

/// Imports that go upwards, entries without one, and a picture that is not up to date.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let members = members(&workspace::metadata(root)?)?;
    let text = fs::read_to_string(root.join(LIST)).context(LIST)?;
    let mut found = judge(&members, &listed(&text)?);
    let page = fs::read_to_string(root.join(PAGE)).context(PAGE)?;
    if with_picture(&page, &members)? != page {
        found.push(format!(
            "{PAGE}: the picture of the layers is not what the manifests say; run `cargo xtask docs`"
        ));
    }
    Ok(found)
}

/// Draws the picture.
pub(crate) fn write(root: &Path) -> Result<()> {
    let members = members(&workspace::metadata(root)?)?;
    let page = fs::read_to_string(root.join(PAGE)).context(PAGE)?;
    fs::write(root.join(PAGE), with_picture(&page, &members)?).context(PAGE)
}

/// The crates of the layers.
///
/// # Errors
/// When one is in a folder that is not a layer.
pub(crate) fn members(metadata: &Value) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    for package in list(metadata.get("packages")).context("packages")? {
        let name = text(package.get("name")).context("a name")?;
        let manifest = text(package.get("manifest_path")).context("a manifest")?;
        let Some((_, place)) = manifest.rsplit_once("/crates/") else {
            continue;
        };
        let folder = place.split('/').next().unwrap_or_default();
        let layer = LAYERS.iter().position(|layer| *layer == folder);
        let Some(layer) = layer else {
            bail!("{name} is in crates/{folder}, which is not a layer: {LAYERS:?}");
        };
        let mut member = Member {
            name,
            layer,
            uses: BTreeSet::new(),
            libraries: BTreeSet::new(),
        };
        for dependency in list(package.get("dependencies")).unwrap_or_default() {
            if text(dependency.get("kind")).is_some_and(|kind| kind == "dev") {
                continue;
            }
            let name = text(dependency.get("name")).context("a name")?;
            // Only those of the workspace have a path.
            match dependency.get("path").is_some_and(Value::is_string) {
                true => member.uses.insert(name),
                false => member.libraries.insert(name),
            };
        }
        members.push(member);
    }
    Ok(members)
}

/// Lines of a crate, a crate that it uses, a colon and the reason.
fn listed(text: &str) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let (edge, reason) = line.split_once(": ").unwrap_or_default();
        let Some((from, to)) = edge.split_once(' ') else {
            bail!("{LIST}: `{line}` does not name two crates and a reason");
        };
        if reason.trim().is_empty() {
            bail!("{LIST}: `{line}` has no reason");
        }
        entries.push(Entry {
            from: from.to_owned(),
            to: to.to_owned(),
        });
    }
    Ok(entries)
}

fn judge(members: &[Member], entries: &[Entry]) -> Vec<String> {
    let upwards = upwards(members);
    let is_listed = |from: &str, to: &str| entries.iter().any(|e| e.from == from && e.to == to);
    let unlisted = upwards.iter().filter(|(from, to)| !is_listed(from, to));
    let stale = |entry: &&Entry| !upwards.contains(&(entry.from.as_str(), entry.to.as_str()));
    let stale = entries.iter().filter(stale);
    unlisted
        .map(|(from, to)| format!("{from} uses {to}, which is in a layer above: {LAYERS:?}"))
        .chain(stale.map(|e| format!("{LIST}: {} does not use {}: take it out", e.from, e.to)))
        .collect()
}

/// Who uses whom of a layer above.
fn upwards(members: &[Member]) -> BTreeSet<(&str, &str)> {
    let layers: BTreeMap<&str, usize> =
        members.iter().map(|m| (m.name.as_str(), m.layer)).collect();
    let of = |member| {
        let Member {
            name, layer, uses, ..
        }: &Member = member;
        let above = uses.iter().filter(|used| {
            let used = layers.get(used.as_str());
            used.is_some_and(|used| used > layer)
        });
        above.map(|used| (name.as_str(), used.as_str()))
    };
    members.iter().flat_map(of).collect()
}

/// The page with the picture that belongs there.
fn with_picture(page: &str, members: &[Member]) -> Result<String> {
    let parts = page.split_once(BEGIN);
    let parts = parts.and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = parts else {
        bail!("{PAGE} has no place for the picture of the layers, between {BEGIN} and {END}");
    };
    let picture = picture(members);
    Ok(format!("{before}{BEGIN}\n{picture}\n{END}{after}"))
}

/// Layers from the top down, each in lines of crates that do not use each other.
fn picture(members: &[Member]) -> String {
    let mut text = String::new();
    for (layer, folder) in LAYERS.iter().enumerate().rev() {
        let mut lines: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for member in members.iter().filter(|m| m.layer == layer) {
            let names = lines.entry(height(member, members)).or_default();
            names.push(&member.name);
        }
        let mut head = *folder;
        for names in lines.values_mut().rev() {
            names.sort_unstable();
            text += &format!("    {head:<8} │ {}\n", names.join("  "));
            head = "";
        }
    }
    for (from, to) in upwards(members) {
        text += &format!("    {:<8} │ upwards: {from} → {to}\n", "");
    }
    text
}

/// How many crates of its layer stand below a crate on each other. Manifests have no circles.
fn height(member: &Member, members: &[Member]) -> usize {
    let below = members
        .iter()
        .filter(|m| m.layer == member.layer && member.uses.contains(&m.name));
    below.map(|m| height(m, members) + 1).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, folder: &str, uses: &[&str], tests: &[&str]) -> Value {
        let dependency =
            |name: &&str, kind: Value| json!({ "name": name, "kind": kind, "path": "x" });
        let uses = uses.iter().map(|name| dependency(name, Value::Null));
        let tests = tests.iter().map(|name| dependency(name, json!("dev")));
        let other = json!({ "name": "tokio", "kind": null, "path": null });
        json!({
            "name": name,
            "manifest_path": format!("/x/crates/{folder}/{name}/Cargo.toml"),
            "dependencies": uses.chain(tests).chain([other]).collect::<Vec<_>>(),
        })
    }

    fn workspace() -> Vec<Member> {
        let packages = [
            package("mail", "values", &[], &[]),
            package("smtp", "stages", &["mail"], &["lab"]),
            package("intake", "stages", &["mail", "smtp"], &[]),
            package("server", "daemon", &["intake", "console"], &[]),
            package("console", "faces", &["intake"], &[]),
            package("lab", "dev", &["server"], &[]),
            json!({ "name": "xtask", "manifest_path": "/x/xtask/Cargo.toml" }),
        ];
        members(&json!({ "packages": packages })).expect("a workspace")
    }

    fn judged(list: &str) -> Vec<String> {
        judge(&workspace(), &listed(list).expect("a list"))
    }

    #[test]
    fn imports_upwards_need_an_entry_and_entries_an_import() {
        assert_eq!(judged("# Nothing.\n").len(), 1);
        assert!(judged("server console: it implements a trait\n").is_empty());
        let stale = "server console: it implements a trait\nsmtp lab: in tests only\n";
        assert_eq!(judged(stale).len(), 1);
        for bad in ["server console", "server: x", "server console:  "] {
            assert!(listed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_crate_must_be_in_a_layer() {
        let packages = json!({ "packages": [package("a", "attic", &[], &[])] });
        assert!(members(&packages).is_err());
    }

    #[test]
    fn libraries_are_told_from_crates_of_ours() {
        let workspace = workspace();
        let smtp = workspace.iter().find(|m| m.name == "smtp");
        let smtp = smtp.expect("a crate");
        assert_eq!(smtp.libraries, BTreeSet::from(["tokio".to_owned()]));
        assert_eq!(smtp.folder(), "stages");
    }

    #[test]
    fn the_picture_has_each_crate_above_what_it_uses() {
        let picture = picture(&workspace());
        let expected = "    dev      │ lab\n    faces    │ console\n    daemon   │ server\n    \
                        stages   │ intake\n             │ smtp\n    values   │ mail\n             \
                        │ upwards: server → console\n";
        assert_eq!(picture, expected);
        let page = format!("# x\n{BEGIN}old\n{END}## y\n");
        let drawn = with_picture(&page, &workspace()).expect("a place");
        assert_eq!(drawn, format!("# x\n{BEGIN}\n{expected}\n{END}## y\n"));
        assert!(with_picture("# x\n", &workspace()).is_err());
    }
}
