//! Errors of the configuration, with file and line.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::texts::Part;

/// Why a configuration is not used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {why}", path = path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        // Not `source`: it would be said twice.
        /// What the system says.
        why: Arc<std::io::Error>,
    },
    /// Something in it is wrong.
    #[error("{path}:{line}: {message}", path = path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Where it stands in the text.
        span: Range<usize>,
        /// The whole name of the key, where one is meant.
        key: Option<String>,
        /// With the key.
        message: String,
        /// Of which sort the error is.
        fault: Fault,
    },
}

/// What is wrong, as far as it matters to whoever judges a whole configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A variable of the environment is not set, and nothing else is wrong.
    Unset,
    /// There is no such key, whatever else the section has.
    UnknownKey,
    Other,
}

impl ConfigError {
    /// Whether it is only that a variable of the environment is not set.
    pub(crate) const fn is_unset(&self) -> bool {
        matches!(
            self,
            Self::Wrong {
                fault: Fault::Unset,
                ..
            }
        )
    }

    /// The whole name of the key that it is about.
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::Wrong { key, .. } => key.as_deref(),
            Self::Read { .. } => None,
        }
    }
}

/// A configuration's text and where it came from.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// The first file.
    pub(crate) path: &'a Path,
    /// Of all files, one after the other.
    pub(crate) text: &'a str,
    /// The files that follow the first.
    pub(crate) parts: &'a [Part],
}

/// One of the texts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartText<'a> {
    pub(crate) path: &'a Path,
    /// Where it begins in the whole.
    pub(crate) start: usize,
    pub(crate) text: &'a str,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// Which file.
    pub path: PathBuf,
    /// From 1.
    pub line: usize,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

impl<'a> Place<'a> {
    /// Of a file that includes no others.
    pub(crate) const fn of(path: &'a Path, text: &'a str) -> Self {
        let parts = &[];
        Self { path, text, parts }
    }

    /// The text that an octet of the whole belongs to.
    pub(crate) fn part(&self, at: usize) -> PartText<'a> {
        let next = self.parts.partition_point(|part| part.start <= at);
        let own = next.checked_sub(1).and_then(|n| self.parts.get(n));
        let (path, start) = own.map_or((self.path, 0), |part| (part.path.as_path(), part.start));
        let end = self
            .parts
            .get(next)
            .map_or(self.text.len(), |part| part.start);
        let text = self.text.get(start..end).unwrap_or_default();
        PartText { path, start, text }
    }

    /// Whether a file is one of these.
    pub(crate) fn holds(&self, path: &Path) -> bool {
        path == self.path || self.parts.iter().any(|part| part.path == path)
    }

    /// The file and the line that an octet is in.
    pub(crate) fn spot(&self, at: usize) -> Spot {
        let part = self.part(at);
        let before = self.text.get(part.start..at).unwrap_or_default();
        Spot {
            path: part.path.to_owned(),
            line: before.matches('\n').count() + 1,
        }
    }

    /// Something wrong at this part of the text.
    pub(crate) fn wrong(&self, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        self.error(span, None, message.into(), Fault::Other)
    }

    fn error(
        &self,
        span: Range<usize>,
        key: Option<&str>,
        message: String,
        fault: Fault,
    ) -> ConfigError {
        let spot = self.spot(span.start);
        ConfigError::Wrong {
            path: spot.path,
            line: spot.line,
            span,
            key: key.map(str::to_owned),
            message,
            fault,
        }
    }

    /// Something wrong with a key in a value.
    pub(crate) fn key(&self, span: Range<usize>, key: &str, why: impl fmt::Display) -> ConfigError {
        self.error(span, Some(key), format!("{key}: {why}"), Fault::Other)
    }

    /// A variable of the environment that a value needs, and that is not set.
    pub(crate) fn unset(&self, span: Range<usize>, key: &str, variable: &str) -> ConfigError {
        let why = format!(
            "{key}: the environment variable {variable} is not set: set it where the server is started, or write $${{ \
             for the characters ${{"
        );
        self.error(span, Some(key), why, Fault::Unset)
    }

    /// A key that is not known.
    pub(crate) fn unknown(&self, span: Range<usize>, key: &str, message: String) -> ConfigError {
        self.error(span, Some(key), message, Fault::UnknownKey)
    }
}
