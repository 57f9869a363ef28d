//! A configuration of the server, as the text of its TOML file.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

/// A value in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(String),
    /// A number.
    Number(i64),
    /// True or false.
    Flag(bool),
    /// A list of strings.
    List(Vec<String>),
    /// A list of numbers.
    Numbers(Vec<i64>),
}

impl<const N: usize> From<[i64; N]> for Value {
    fn from(numbers: [i64; N]) -> Self {
        Self::Numbers(numbers.to_vec())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<Vec<String>> for Value {
    fn from(list: Vec<String>) -> Self {
        Self::List(list)
    }
}

impl<const N: usize> From<[String; N]> for Value {
    fn from(list: [String; N]) -> Self {
        Self::List(list.to_vec())
    }
}

impl<const N: usize> From<[&str; N]> for Value {
    fn from(list: [&str; N]) -> Self {
        Self::List(list.map(str::to_owned).to_vec())
    }
}

impl Value {
    fn toml(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Number(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::List(list) => {
                let list: Vec<String> = list.iter().map(|t| quoted(t)).collect();
                format!("[{}]", list.join(", "))
            }
            Self::Numbers(numbers) => format!("{numbers:?}"),
        }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

type Keys = BTreeMap<String, Value>;

/// A configuration under construction.
#[derive(Debug, Clone)]
pub struct Config {
    server: SocketAddr,
    sections: BTreeMap<String, Keys>,
    tables: Vec<(String, Vec<(String, Value)>)>,
}

impl Config {
    /// A server called `sendoff.lab` with one plain listener, on which everyone on loopback may
    /// send.
    #[must_use]
    pub fn new(server: SocketAddr) -> Self {
        let config = Self {
            server,
            sections: BTreeMap::new(),
            tables: Vec::new(),
        };
        config
            .set("hostname", "sendoff.lab")
            .set("postmaster", "postmaster@sendoff.lab")
            .table("listener", &[("address", server.to_string().into())])
    }

    /// Where clients connect.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Sets a key, written with its section: `outgoing.resend_wait`.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        let (section, key) = key.rsplit_once('.').unwrap_or(("", key));
        let section = self.sections.entry(section.to_owned()).or_default();
        section.insert(key.to_owned(), value.into());
        self
    }

    /// Takes a key away.
    #[must_use]
    pub fn unset(mut self, key: &str) -> Self {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        if let Some(keys) = self.sections.get_mut(section) {
            keys.remove(name);
        }
        self
    }

    /// Sets a key that has no value yet.
    #[must_use]
    pub fn or_set(self, key: &str, value: impl Into<Value>) -> Self {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        match self.sections.get(section) {
            Some(keys) if keys.contains_key(name) => self,
            Some(_) | None => self.set(key, value),
        }
    }

    /// Adds a `[[table]]`.
    #[must_use]
    pub fn table(mut self, name: &str, keys: &[(&str, Value)]) -> Self {
        let keys = keys.iter().map(|(k, v)| ((*k).to_owned(), v.clone()));
        self.tables.push((name.to_owned(), keys.collect()));
        self
    }

    /// Sets a key of the first `[[table]]` of a name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn in_table(mut self, name: &str, key: &str, value: impl Into<Value>) -> Self {
        let mut tables = self.tables.iter_mut();
        let table = tables.find(|(n, _)| n == name).expect("such a table");
        table.1.push((key.to_owned(), value.into()));
        self
    }

    /// Adds a rule for a domain.
    #[must_use]
    pub fn rule(self, domain: &str, key: &str, value: impl Into<Value>) -> Self {
        self.table("domain", &[("match", domain.into()), (key, value.into())])
    }

    /// Takes all tables of a name away.
    #[must_use]
    pub fn without(mut self, table: &str) -> Self {
        self.tables.retain(|(name, _)| name != table);
        self
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // The keys without section sort first, as TOML needs it.
        for (section, keys) in &self.sections {
            if !section.is_empty() {
                push(&mut text, &format!("\n[{section}]"));
            }
            for (key, value) in keys {
                push(&mut text, &format!("{key} = {}", value.toml()));
            }
        }
        for (name, keys) in &self.tables {
            push(&mut text, &format!("\n[[{name}]]"));
            for (key, value) in keys {
                push(&mut text, &format!("{key} = {}", value.toml()));
            }
        }
        text
    }
}

fn push(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_without_section_come_first_and_tables_last() {
        let config = Config::new(SocketAddr::from(([127, 0, 0, 1], 25)))
            .set("outgoing.resend_wait", "1s")
            .set("dns.servers", ["127.0.0.1:53"])
            .rule("x.example", "max_connections", 2)
            .or_set("hostname", "other");
        let expected = "hostname = \"sendoff.lab\"\npostmaster = \"postmaster@sendoff.lab\"\n\n\
            [dns]\nservers = [\"127.0.0.1:53\"]\n\n[outgoing]\nresend_wait = \"1s\"\n\n\
            [[listener]]\naddress = \"127.0.0.1:25\"\n\n\
            [[domain]]\nmatch = \"x.example\"\nmax_connections = 2\n";
        assert_eq!(config.text(), expected);
    }
}
