//! `[aliases]` and the file of aliases (`aliases(5)`): each name ends at addresses, however many aliases lead there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use intake::{Alias, Aliases, LocalDomains};
use mail::{Address, Domain, ParseAddressError};

use super::error::{ConfigError, Place};
use super::raw::{OneOrMany, Raw};

type Result<T> = std::result::Result<T, ConfigError>;

/// Targets by the name in lower case.
type Table = BTreeMap<String, Vec<String>>;

/// All aliases. What the file says that this server does not do is left out, with a warning.
pub(super) fn aliases(
    raw: &Raw,
    place: &Place<'_>,
    base: &Path,
    hostname: &Domain,
    local: &LocalDomains,
    warnings: &mut Vec<String>,
) -> Result<Aliases> {
    let own = [Some(hostname.clone()), Domain::parse("localhost").ok()];
    let mut found = Aliases::new(own.into_iter().flatten());
    let mut table = Table::new();
    let mut from_file = BTreeSet::new();
    if let Some(file) = raw.local.aliases_file.as_ref() {
        let path = base.join(file.get_ref());
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let why = format!("{} cannot be read: {error}", path.display());
            place.key(file.span(), "local.aliases_file", why)
        })?;
        table = parse(&text, &path, warnings);
        from_file.extend(table.keys().cloned());
    }
    for (name, targets) in &raw.aliases {
        let name = name.to_lowercase();
        from_file.remove(&name);
        table.insert(name, targets.get_ref().list());
    }
    let is_here = |domain: &Domain| found.is_own(domain) || local.contains(domain);
    let mut resolved = Vec::new();
    for name in table.keys() {
        let mut targets = Vec::new();
        let mut seen = BTreeSet::from([name.clone()]);
        let end = resolve(&table, name, &is_here, &mut seen, &mut targets);
        let end = match targets.is_empty() {
            true => end.and(Err(WrongAlias::Itself)),
            false => end,
        };
        let end = end.and_then(|()| left_side(name));
        match (
            end,
            raw.aliases.iter().find(|(n, _)| n.to_lowercase() == *name),
        ) {
            (Ok(alias), _) => resolved.push((alias, targets)),
            (Err(why), Some((name, at))) => {
                return Err(place.key(at.span(), &format!("aliases.{name}"), why));
            }
            (Err(why), None) => warnings.push(format!(
                "local.aliases_file: the alias {name} is ignored: {why}"
            )),
        }
    }
    for (alias, targets) in resolved {
        found.insert(alias, targets);
    }
    Ok(found)
}

/// What is wrong with an alias.
#[derive(Debug, thiserror::Error)]
enum WrongAlias {
    #[error(transparent)]
    Name(#[from] ParseAddressError),
    #[error("{0}: {1}")]
    Target(String, ParseAddressError),
    #[error("`{0}` is neither an address, such as you@example.com, nor another alias")]
    Unknown(String),
    #[error("it points to itself only: name an address")]
    Itself,
}

fn left_side(name: &str) -> std::result::Result<Alias, WrongAlias> {
    if name.contains('@') {
        let address = Address::parse(name)?;
        return Ok(Alias::Address(address));
    }
    // Whatever can stand before an @.
    Address::parse(&format!("{name}@localhost"))?;
    Ok(Alias::Name(name.to_owned()))
}

/// Follows a name to its addresses.
fn resolve(
    table: &Table,
    name: &str,
    is_here: &dyn Fn(&Domain) -> bool,
    seen: &mut BTreeSet<String>,
    found: &mut Vec<Address>,
) -> std::result::Result<(), WrongAlias> {
    for target in table.get(name).into_iter().flatten() {
        let address = match target.contains('@') {
            true => {
                let parsed = Address::parse(target);
                Some(parsed.map_err(|why| WrongAlias::Target(target.clone(), why))?)
            }
            false => None,
        };
        let lower = target.to_lowercase();
        let local = address
            .as_ref()
            .filter(|a| is_here(a.domain()))
            .map(|a| a.local().to_lowercase());
        let mut next = [Some(lower), local].into_iter().flatten();
        match (next.find(|name| table.contains_key(name)), address) {
            (Some(next), _) => {
                if seen.insert(next.clone()) {
                    resolve(table, &next, is_here, seen, found)?;
                }
            }
            (None, Some(address)) if !found.contains(&address) => found.push(address),
            (None, Some(_)) => {}
            (None, None) => {
                return Err(WrongAlias::Unknown(target.clone()));
            }
        }
    }
    Ok(())
}

/// Reads the form of `aliases(5)`: `name: target, target`, continued by lines that begin with a blank.
fn parse(text: &str, path: &Path, warnings: &mut Vec<String>) -> Table {
    let mut entries: Vec<(usize, String)> = Vec::new();
    for (line, n) in text.lines().zip(1..) {
        let is_continued = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match entries.last_mut().filter(|_| is_continued) {
            Some((_, entry)) => {
                entry.push(' ');
                entry.push_str(line);
            }
            None => entries.push((n, line.to_owned())),
        }
    }
    let mut table = Table::new();
    for (n, entry) in entries {
        let mut warn = |why: &str| warnings.push(format!("{}:{n}: {why}", path.display()));
        let Some((name, targets)) = entry.split_once(':') else {
            warn("ignored: an alias has the form `name: address`");
            continue;
        };
        let name = name.trim().trim_matches('"').to_lowercase();
        let mut kept = Vec::new();
        for target in parts(targets) {
            match target.chars().next() {
                Some('|' | '/') => warn(&format!(
                    "`{target}` is ignored: mail can go only to addresses, not to programs or files"
                )),
                Some(':') => warn(&format!(
                    "`{target}` is ignored: lists in other files are not supported"
                )),
                Some('\\') => kept.push(target.trim_start_matches('\\').to_owned()),
                _ => kept.push(target),
            }
        }
        if !kept.is_empty() {
            table.insert(name, kept);
        }
    }
    table
}

/// The targets between commas that are not within quotes.
fn parts(text: &str) -> Vec<String> {
    let mut quoted = false;
    let split = text.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    split
        .map(|part| part.trim().trim_matches('"').to_owned())
        .filter(|part| !part.is_empty())
        .collect()
}

impl OneOrMany {
    fn list(&self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one.clone()],
            Self::Many(many) => many.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_debian_installs_is_read() {
        let text = "# See man 5 aliases for format\nmailer-daemon: postmaster\npostmaster:    root\n\
                    nobody: root\nroot: ann,\n  \"Bob <b>\", |/usr/bin/x, \\cleo\n\
                    list: :include:/etc/list\nbroken\n";
        let mut warnings = Vec::new();
        let table = parse(text, Path::new("/etc/aliases"), &mut warnings);
        assert_eq!(table["root"], ["ann", "Bob <b>", "cleo"]);
        assert_eq!(table["mailer-daemon"], ["postmaster"]);
        assert!(!table.contains_key("list"));
        let expected = [
            "/etc/aliases:5: `|/usr/bin/x` is ignored: mail can go only to addresses, not to programs or files",
            "/etc/aliases:7: `:include:/etc/list` is ignored: lists in other files are not supported",
            "/etc/aliases:8: ignored: an alias has the form `name: address`",
        ];
        assert_eq!(warnings, expected);
    }
}
