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
        let before = self.text.get(..span.start).unwrap_or_default();
        ConfigError::Wrong {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            message: message.into(),
        }
    }

    /// Something wrong with a key in a value.
    pub(crate) fn key(
        &self,
        span: Range<usize>,
        key: &str,
        why: impl std::fmt::Display,
    ) -> ConfigError {
        self.wrong(span, format!("{key}: {why}"))
    }
}
