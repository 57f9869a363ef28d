//! `[sandbox]`: which files the process may touch.

use std::path::{Path, PathBuf};

use super::raw;

/// Which directories the process may touch; empty where it is not confined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sandbox {
    pub(crate) is_on: bool,
    pub(crate) read: Vec<PathBuf>,
    pub(crate) write: Vec<PathBuf>,
}

/// Which files the process may touch.
#[derive(Debug, Clone)]
pub(crate) struct SandboxSettings {
    pub(crate) enabled: bool,
    /// Where it writes as well.
    pub(crate) paths: Vec<PathBuf>,
    /// The rules that the process was started with.
    pub(crate) in_force: Sandbox,
}

pub(super) fn settings(raw: &raw::Sandbox, base: &Path) -> SandboxSettings {
    SandboxSettings {
        enabled: raw.enabled.unwrap_or(true),
        paths: raw.paths.iter().map(|path| base.join(path)).collect(),
        in_force: Sandbox::default(),
    }
}
