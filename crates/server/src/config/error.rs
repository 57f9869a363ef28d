//! Errors of the configuration, with file and line.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a configuration is not used.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {source}", path = path.display())]
    Read {
        path: PathBuf,
        source: Arc<std::io::Error>,
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

    pub(crate) fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span().unwrap_or(0..0);
        // The key, where the library points at its value only.
        let start = self
            .text
            .get(..span.start)
            .and_then(|t| t.rfind('\n'))
            .map_or(0, |n| n + 1);
        let line = self
            .text
            .get(start..)
            .and_then(|t| t.lines().next())
            .unwrap_or_default();
        let message = error.message().replace('\n', " ");
        // A password without quotation marks is no reason to show it.
        let is_secret = |key: &str| {
            ["password", "secret", "token", "key"]
                .iter()
                .any(|s| key.contains(s))
        };
        let message = match (line.split_once('='), message.split_once(", expected ")) {
            (Some((key, _)), Some((_, expected))) if is_secret(key) => {
                format!("its value, which is not shown, is of another kind: expected {expected}")
            }
            _ => message,
        };
        match line.split_once('=') {
            Some((key, _)) if !message.contains("unknown field") => {
                self.wrong(span, format!("{}: {message}", key.trim()))
            }
            Some(_) | None => self.wrong(span, message.replace("unknown field", "unknown key")),
        }
    }
}
