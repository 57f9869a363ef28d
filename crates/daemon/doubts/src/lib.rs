//! What will hurt though the server starts: certificates that end, places that cannot be written, secrets that others
//! can read. Said by `check`, at the start, and after a reload.
//!
//! All of it is looked at with the rights of the process that asks.

pub mod certificates;
mod places;
mod unit;

use std::path::{Path, PathBuf};

use accounts::{KeysError, KeysFile, Users, UsersError};
use config::{Config, LocalStore};
use mail::Timestamp;

pub use certificates::Shown;
pub use places::unusable;
pub use unit::read_only;

/// Something that deserves a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The whole name of the key that it is about.
    pub key: Option<&'static str>,
    /// In words, without the full stop.
    pub what: String,
}

impl Doubt {
    fn of(key: &'static str, what: String) -> Self {
        let key = Some(key);
        Self { key, what }
    }
}

/// Everything that will hurt, with the certificates as they are on disk.
pub fn of(config: &Config, now: Timestamp) -> Vec<Doubt> {
    let shown = certificates::read(config);
    let mut doubts: Vec<Doubt> = shown
        .iter()
        .flat_map(|shown| shown.doubts(&config.hostname, now))
        .collect();
    doubts.extend(places::doubts(config));
    doubts.extend(deployed(config));
    let others = rights::readable_secrets(config).into_iter();
    let others = others.chain(rights::mailboxes_elsewhere(config));
    doubts.extend(others.map(|what| Doubt { key: None, what }));
    doubts
}

/// What is wrong with the files of users and keys, which may be written by hand.
fn deployed(config: &Config) -> Vec<Doubt> {
    let users = match Users::load(&config.users_file).and_then(|users| users.check()) {
        // It need not be readable for whoever checks.
        Err(error @ UsersError::Syntax { .. }) => Some(Doubt::of("users.file", error.to_string())),
        Ok(()) | Err(_) => None,
    };
    let keys = match KeysFile::load(&config.console.keys).and_then(|keys| keys.check()) {
        Err(error @ KeysError::Syntax { .. }) => Some(Doubt::of("console.keys", error.to_string())),
        Ok(()) | Err(_) => None,
    };
    users.into_iter().chain(keys).collect()
}

/// The directories that mailboxes are in: one for each local domain where the domain stands in their names.
fn mailboxes(config: &Config) -> Vec<PathBuf> {
    let LocalStore::Maildir(template) = &config.local else {
        return Vec::new();
    };
    let domains = config.intake.local.domains();
    let of_domain = |domain: &mail::Domain| {
        let template = template.replace("{domain}", domain.as_str());
        rights::maildir_root(&template)
    };
    let mut all: Vec<PathBuf> = domains.map(of_domain).collect();
    all.sort();
    all.dedup();
    all
}

/// The nearest directory above a path, or the path itself, that is there.
fn there(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = absolute.ancestors().find(|above| above.exists());
    found.map_or_else(|| PathBuf::from("/"), Path::to_owned)
}
