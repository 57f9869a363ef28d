//! The project's files, with their text.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Directories with nothing of ours.
const PASSED_OVER: [&str; 2] = [".git", "target"];
/// Endings of the files that are looked at.
const TEXT: [&str; 9] = ["rs", "toml", "md", "smtp", "cf", "sh", "txt", "py", "json"];

/// A file of text.
#[derive(Debug)]
pub(crate) struct TextFile {
    /// Below the workspace.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl TextFile {
    /// Whether it is Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.extension().is_some_and(|e| e == "rs")
    }

    /// Whether it is only compiled for tests.
    pub(crate) fn is_test(&self) -> bool {
        let name = |part: &std::ffi::OsStr| part == "tests" || part == "tests.rs";
        self.path.iter().any(name)
    }

    /// The text without the tests at its end.
    pub(crate) fn production(&self) -> &str {
        match self.text.find("\n#[cfg(test)]\nmod ") {
            Some(end) => self.text.get(..end).unwrap_or_default(),
            None => &self.text,
        }
    }
}

/// All files of text in the workspace, in the order of their names.
pub(crate) fn files(root: &Path) -> Result<Vec<TextFile>> {
    let mut files = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory);
        for entry in entries.with_context(|| directory.display().to_string())? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if entry.file_type()?.is_dir() {
                let ours = !PASSED_OVER.contains(&name.as_ref()) && !name.starts_with("target-");
                directories.extend(ours.then_some(path));
                continue;
            }
            let is_text = path
                .extension()
                .is_some_and(|e| TEXT.iter().any(|t| e == *t));
            // What is no UTF-8 is a fixture.
            if is_text && let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(root).unwrap_or(&path).to_owned();
                files.push(TextFile { path, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
