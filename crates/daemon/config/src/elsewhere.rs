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

/// What a command needs of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// All of it.
    Everything,
    /// Where the server is, and files that both use.
    Places,
    /// Where the server is.
    Server,
}

impl Config {
    /// Reads a configuration file as [`Config::load`] does, for a command that only asks the server or changes a file:
    /// variables of the environment need not be set, unless they say where the server is. What else is wrong is no
    /// obstacle either, for the running server has what it read before; the first such fault comes with it.
    ///
    /// # Errors
    /// As there, of what the command needs.
    pub fn load_elsewhere(
        path: &Path,
        needs: Needs,
    ) -> Result<(Self, Option<ConfigError>), ConfigError> {
        let error = match Self::load(path) {
            Err(error) if needs != Needs::Everything => error,
            result => return result.map(|config| (config, None)),
        };
        let base = path.parent().map(Path::to_owned).unwrap_or_default();
        let texts = Texts::read(path)?;
        let judged = judge_texts(&texts, &base, false);
        let needed: &[&str] = match needs {
            Needs::Server => &["data_dir"],
            Needs::Everything | Needs::Places => &NEEDED,
        };
        let is_needed = |error: &&ConfigError| error.key().is_some_and(|key| needed.contains(&key));
        if let Some(other) = judged.errors.iter().find(is_needed) {
            return Err(other.clone());
        }
        let mut config = match judged.config {
            Some(config) => config,
            None if needs == Needs::Server && texts.says_where_the_data_is() => Self {
                data_dir: judged.data_dir,
                ..Self::parse("", path, &base)?
            },
            None => return Err(error),
        };
        config.path = Some(path.to_owned());
        descriptors::bound(&mut config, descriptors::limit());
        let fault = judged.errors.into_iter().find(|error| !error.is_unset());
        Ok((config, fault))
    }
}
