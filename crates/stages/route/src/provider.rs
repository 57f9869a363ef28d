//! Whose hosts a next hop has: large providers give each customer a host of its own, and count all of them
//! together.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde::Deserialize;

use crate::hop::NextHop;

const FILE: &str = include_str!("../rules/providers.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    hosts: Vec<String>,
}

/// Ends of host names, and the provider of each.
static ENDS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    // A test reads the file, so that a fault in it is found before it is built in.
    let file: BTreeMap<String, Entry> = toml::from_str(FILE).unwrap_or_default();
    let ends = |(name, entry): (String, Entry)| {
        let ends = entry.hosts.into_iter();
        ends.map(move |end| (end, name.clone())).collect::<Vec<_>>()
    };
    file.into_iter().flat_map(ends).collect()
});

/// The provider of a host, by the longest known end of its name; `None` where none is known.
#[must_use]
pub fn provider_of(name: &str) -> Option<&'static str> {
    let mut rest = name;
    loop {
        if let Some(provider) = ENDS.get(rest) {
            return Some(provider);
        }
        rest = rest.split_once('.')?.1;
    }
}

impl NextHop {
    /// The provider that all of the hosts belong to, where there is one that is known; none for servers that
    /// an administrator named.
    #[must_use]
    pub fn provider(&self) -> Option<&'static str> {
        let mut hosts = self.hosts.iter().filter(|_| !self.configured);
        let first = provider_of(hosts.next()?.name.as_str())?;
        let same = hosts.all(|host| provider_of(host.name.as_str()) == Some(first));
        same.then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_and_names_are_found_by_their_ends() {
        let file: BTreeMap<String, Entry> = toml::from_str(FILE).unwrap();
        assert!(file.len() > 20);
        let known = [
            ("a-example.mail.protection.outlook.com", Some("microsoft")),
            ("a-example.p-v1.mx.microsoft", Some("microsoft")),
            ("aspmx.l.google.com", Some("google")),
            ("aspmx2.googlemail.com", Some("google")),
            ("mta5.am0.yahoodns.net", Some("yahoo")),
            ("notgoogle.com", None),
            ("google.com.example", None),
        ];
        for (name, provider) in known {
            assert_eq!(provider_of(name), provider, "{name}");
        }
    }
}
