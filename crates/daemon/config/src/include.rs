//! Which files a configuration includes.

use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Config;
use super::error::{ConfigError, Place};

/// The key that names them.
pub(super) const KEY: &str = "include";
/// More files than that are a mistake in a pattern.
const FILES_MAX: usize = 10_000;
/// What makes a name a pattern.
const WILD: [char; 3] = ['*', '?', '['];
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    // Editors keep what is not saved in such files.
    require_literal_leading_dot: true,
};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// With their texts, in order.
    pub(super) files: Vec<(PathBuf, String)>,
    pub(super) errors: Vec<ConfigError>,
    /// Directories that patterns look into.
    pub(super) directories: Vec<PathBuf>,
}

/// The files that a text includes; none where it is no TOML, or names them in another form than it should.
pub(super) fn find(place: &Place<'_>) -> Found {
    let mut found = Found::default();
    let Ok(table) = DeTable::parse(place.text) else {
        return found;
    };
    let Some(DeValue::Array(list)) = table.get_ref().get(KEY).map(Spanned::get_ref) else {
        return found;
    };
    let base = place.path.parent().unwrap_or_else(|| Path::new(""));
    // Nothing is included twice, and the first file not at all.
    let mut known = vec![canonical(place.path)];
    for entry in list.iter() {
        let DeValue::String(text) = entry.get_ref() else {
            continue;
        };
        let wrong = |why: String| place.key(entry.span(), KEY, why);
        let paths = match paths(base, text, &mut found.directories) {
            Ok(paths) => paths,
            Err(why) => {
                found.errors.push(wrong(why));
                continue;
            }
        };
        for path in paths {
            let canonical = canonical(&path);
            if known.contains(&canonical) {
                continue;
            }
            known.push(canonical);
            if known.len() > FILES_MAX {
                found.errors.push(wrong(format!(
                    "`{text}` matches too many files: more than {FILES_MAX}"
                )));
                return found;
            }
            match Config::read(&path) {
                Ok(text) => found.files.push((path, text)),
                Err(error) => found.errors.push(wrong(error.to_string())),
            }
        }
    }
    found
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The files of one entry, in lexical order.
fn paths(base: &Path, text: &str, directories: &mut Vec<PathBuf>) -> Result<Vec<PathBuf>, String> {
    if text.is_empty() {
        return Err(
            "an empty name: write a file, or a pattern such as \"conf.d/*.toml\"".to_owned(),
        );
    }
    if !text.contains(WILD) {
        let path = base.join(text);
        return match path.metadata() {
            Ok(found) if found.is_file() => Ok(vec![path]),
            Ok(_) => Err(format!(
                "{} is not a file: write {text}/*.toml for a directory's files",
                path.display()
            )),
            Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
        };
    }
    let fixed: PathBuf = Path::new(text)
        .iter()
        .take_while(|step| !step.to_string_lossy().contains(WILD))
        .collect();
    directories.push(base.join(fixed));
    let pattern = match Path::new(text).is_absolute() {
        true => text.to_owned(),
        false => {
            let base = Pattern::escape(&base.to_string_lossy());
            Path::new(&base).join(text).to_string_lossy().into_owned()
        }
    };
    let matches = glob::glob_with(&pattern, OPTIONS)
        .map_err(|error| format!("`{text}` is not a pattern: {}", error.msg))?;
    let mut paths = Vec::new();
    for path in matches {
        let path = path.map_err(|error| {
            format!(
                "{} cannot be read: {}",
                error.path().display(),
                error.error()
            )
        })?;
        if path.is_file() {
            paths.push(path);
        }
        if paths.len() > FILES_MAX {
            break;
        }
    }
    paths.sort();
    Ok(paths)
}
