//! `[sandbox]`: which files the process may touch.

use std::path::{Path, PathBuf};

use super::raw;

/// Which directories the process may touch; empty where it is not confined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// Whether the process is confined.
    pub is_on: bool,
    /// What it may read.
    pub read: Vec<PathBuf>,
    /// What it may read and write.
    pub write: Vec<PathBuf>,
}

/// Which files the process may touch.
#[derive(Debug, Clone)]
pub struct SandboxSettings {
    /// Whether the process is confined at its start.
    pub enabled: bool,
    /// Where it writes as well.
    pub paths: Vec<PathBuf>,
    /// The rules that the process was started with.
    pub in_force: Sandbox,
}

pub(super) fn settings(raw: &raw::Sandbox, base: &Path) -> SandboxSettings {
    SandboxSettings {
        enabled: raw.enabled.unwrap_or(true),
        paths: raw.paths.iter().map(|path| base.join(path)).collect(),
        in_force: Sandbox::default(),
    }
}
