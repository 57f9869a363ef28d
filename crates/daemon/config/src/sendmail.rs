//! `[sendmail]`: mail of programs on this computer.

use std::path::{Path, PathBuf};

use super::raw;

/// How programs hand mail in without SMTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendmailSettings {
    /// The drop directory; `None`: there is none.
    pub drop_dir: Option<PathBuf>,
    /// Whether users may name another sender than themselves.
    pub any_sender: bool,
}

/// From the raw form.
pub(super) fn settings(raw: &raw::Sendmail, data_dir: &Path, base: &Path) -> SendmailSettings {
    let drop_dir = match &raw.drop_dir {
        None => Some(data_dir.join("drop")),
        Some(text) if text.get_ref().is_empty() => None,
        Some(text) => Some(base.join(text.get_ref())),
    };
    SendmailSettings {
        drop_dir,
        any_sender: raw.any_sender.unwrap_or(true),
    }
}
