//! `[sandbox]`: which files the process may touch.

use std::path::{Path, PathBuf};

use super::raw;
use crate::rights::Sandbox;

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
