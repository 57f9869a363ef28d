//! Errors of the configuration, with file and line.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a configuration is not used.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {why}", path = path.display())]
    Read {
        path: PathBuf,
        // Not `source`: it would be said twice.
        why: Arc<std::io::Error>,
    },
    /// Something in it is wrong.
    #[error("{path}:{line}: {message}", path = path.display())]
    Wrong {
        path: PathBuf,
        line: usize,
        /// Where it stands in the text.
        span: Range<usize>,
        /// The whole name of the key, where one is meant.
        key: Option<String>,
        /// With the key.
        message: String,
    },
}

/// A configuration's text and where it came from.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) path: &'a Path,
    pub(crate) text: &'a str,
}

impl Place<'_> {
    /// Something wrong at this part of the text.
    pub(crate) fn wrong(&self, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        self.error(span, None, message.into())
    }

    fn error(&self, span: Range<usize>, key: Option<&str>, message: String) -> ConfigError {
        ConfigError::Wrong {
            path: self.path.to_owned(),
            line: self.line(span.start),
            span,
            key: key.map(str::to_owned),
            message,
        }
    }

    /// The number of the line that this octet is in, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    /// Something wrong with a key in a value.
    pub(crate) fn key(
        &self,
        span: Range<usize>,
        key: &str,
        why: impl std::fmt::Display,
    ) -> ConfigError {
        self.error(span, Some(key), format!("{key}: {why}"))
    }

    /// A key that is not known.
    pub(crate) fn unknown(&self, span: Range<usize>, key: &str, message: String) -> ConfigError {
        self.error(span, Some(key), message)
    }
}
