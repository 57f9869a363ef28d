//! The configuration for commands that run without the server's environment: what it says of where things are, and
//! nothing for values whose variables are not set there.

use std::path::Path;

use super::judged::judge_texts;
use super::{Config, ConfigError, Texts, descriptors};

/// Keys without which a command would speak to another server, or change another file.
const NEEDED: [&str; 7] = [
    "hostname",
    "data_dir",
    "user",
    "users.file",
    "console.keys",
    "sendmail.drop_dir",
    "log.file",
];

impl Config {
    /// Reads a configuration file as [`Config::load`] does, for a command that only asks the server or changes a file:
    /// variables of the environment need not be set, unless they say where the server is.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn load_elsewhere(path: &Path) -> Result<Self, ConfigError> {
        let error = match Self::load(path) {
            Err(error) if error.is_unset() => error,
            result => return result,
        };
        let base = path.parent().map(Path::to_owned).unwrap_or_default();
        let judged = judge_texts(&Texts::read(path)?, &base, false);
        let is_needed = |error: &ConfigError| error.key().is_some_and(|key| NEEDED.contains(&key));
        if let Some(other) = judged.errors.iter().find(|e| !e.is_unset() || is_needed(e)) {
            return Err(other.clone());
        }
        let mut config = judged.config.ok_or(error)?;
        config.path = Some(path.to_owned());
        descriptors::bound(&mut config, descriptors::limit());
        Ok(config)
    }
}
