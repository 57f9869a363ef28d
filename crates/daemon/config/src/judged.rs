//! Everything that is wrong with a configuration, not only the first: what is wrong is taken out, and the rest is
//! read again, until nothing is wrong.
//!
//! What is wrong only because something else was taken out is left out: it would send people to keys that are right.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use super::error::Spot;
use super::error::{ConfigError, Fault, Place};
use super::named::Named;
use super::texts::{Texts, whole};
use super::{Config, state};

/// Errors that are looked for in one file.
const ERRORS_MAX: usize = 100;

/// A configuration, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Judged {
    /// Of what is right in it; nothing where the text is no TOML.
    pub config: Option<Config>,
    /// What is wrong, in the order of the text.
    pub errors: Vec<ConfigError>,
    /// `data_dir`, as far as it can be read.
    pub data_dir: PathBuf,
    /// The place of each key that is set, by its whole name; of those that are set several times, the first.
    pub lines: BTreeMap<String, Spot>,
}

/// Judges the text of a configuration. Files with secrets that are not there, and variables that are not set, are no error
/// with `without_secrets`.
pub fn judge(text: &str, path: &Path, base: &Path, without_secrets: bool) -> Judged {
    judge_texts(&Texts::of(text, path), base, without_secrets)
}

/// Judges the texts of a configuration, as [`judge`] does.
pub fn judge_texts(texts: &Texts, base: &Path, without_secrets: bool) -> Judged {
    let place = texts.place();
    let parsed = texts.parsed();
    let data_dir = match parsed.table.get_ref().get("data_dir").map(Spanned::get_ref) {
        Some(DeValue::String(dir)) => base.join(dir.as_ref()),
        Some(_) | None => state::data_dir(),
    };
    if !parsed.broken.is_empty() {
        // What follows may be wrong by these.
        return Judged {
            errors: parsed.broken,
            data_dir,
            ..Judged::default()
        };
    }
    let mut judged = Judged {
        errors: parsed.errors,
        data_dir,
        ..Judged::default()
    };
    let mut found = BTreeMap::new();
    lines(parsed.table.get_ref(), "", &mut found);
    let spots = found.into_iter().map(|(key, at)| (key, place.spot(at)));
    judged.lines = spots.collect();
    let mut work = Work {
        texts,
        place,
        base,
        table: parsed.table,
        without_secrets,
        removed: Vec::new(),
    };
    for error in parsed.valueless {
        work.remove(&error);
        judged.errors.push(error);
    }
    while judged.errors.len() < ERRORS_MAX {
        match work.read() {
            Ok(config) => {
                let mut config = *config;
                judged.errors.append(&mut config.unusable_keys);
                config
                    .warnings
                    .retain(|warning| !work.follows(warning, &[]));
                judged.config = Some(config);
                break;
            }
            Err(error) => {
                let is_told = !work.is_excused(&error);
                let more = work.remove(&error);
                if is_told {
                    judged.errors.push(error);
                }
                if !more {
                    break;
                }
            }
        }
    }
    if without_secrets {
        let is_elsewhere = |error: &ConfigError| error.is_unset() || work.is_absent_secret(error);
        judged.errors.retain(|error| !is_elsewhere(error));
    }
    judged.errors.sort_by_key(|error| match error {
        ConfigError::Wrong { span, .. } => span.start,
        ConfigError::Read { .. } => 0,
    });
    judged
}

/// A key that was taken out.
struct Removed {
    /// The way to its section.
    section: Vec<Step>,
    /// The whole name.
    key: String,
}

struct Work<'a> {
    texts: &'a Texts,
    place: Place<'a>,
    base: &'a Path,
    table: Spanned<DeTable<'a>>,
    without_secrets: bool,
    removed: Vec<Removed>,
}

impl Work<'_> {
    fn read(&self) -> Result<Box<Config>, ConfigError> {
        super::read(self.table.clone(), self.texts, self.base).map(Box::new)
    }

    /// Takes out what is wrong; whether there was something to take out.
    fn remove(&mut self, error: &ConfigError) -> bool {
        let ConfigError::Wrong {
            path, span, key, ..
        } = error
        else {
            return false;
        };
        if span.end == 0 {
            // It is nowhere in the text.
            return false;
        }
        let way = match self.place.holds(path) {
            true => way(self.table.get_ref(), span.start),
            // It is in another file, which a key of this one names.
            false => key.as_deref().map(|key| {
                let steps = key.split('.').map(|step| Step::Key(step.to_owned()));
                steps.collect()
            }),
        };
        let Some(way) = way else {
            return false;
        };
        take_out(self.table.get_mut(), &way);
        self.removed.push(Removed::at(&way));
        true
    }

    /// Whether an error is only there because something was taken out, or is excused.
    fn is_excused(&self, error: &ConfigError) -> bool {
        let ConfigError::Wrong {
            key,
            message,
            span,
            fault,
            ..
        } = error
        else {
            return false;
        };
        let text = match key {
            Some(key) => message
                .strip_prefix(key.as_str())
                .map_or(message.as_str(), |rest| rest.trim_start_matches(": ")),
            None => message,
        };
        let way = way(self.table.get_ref(), span.start).unwrap_or_default();
        let section = Removed::at(&way).section;
        // It is said of a section that it lacks a key.
        let mut removed = self.removed.iter();
        let is_gone = removed.any(|r| Some(&r.key) == key.as_ref() && r.section == way);
        // What quotes a value is about that value, and a key that is not known lists all that are.
        let is_own = text.starts_with('`') || *fault == Fault::UnknownKey;
        // The way may end at a section, which lacks what was taken out of it.
        let follows = || self.follows(text, &section) || self.follows(text, &way);
        is_gone || (!is_own && follows()) || self.is_absent_secret(error)
    }

    /// Whether a sentence is about a key that was taken out: by its whole name, or by its own in the same section.
    fn follows(&self, text: &str, section: &[Step]) -> bool {
        let mut words =
            text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.' | '-'));
        words.any(|word| {
            let word = word.trim_matches('.');
            self.removed.iter().any(|removed| {
                let last = removed.key.rsplit('.').next().unwrap_or_default();
                word == removed.key || (removed.section == section && word == last)
            })
        })
    }

    /// Whether an error is that a file with a secret is not there, and it need not be.
    fn is_absent_secret(&self, error: &ConfigError) -> bool {
        let ConfigError::Wrong {
            key: Some(key),
            span,
            path,
            ..
        } = error
        else {
            return false;
        };
        if !self.without_secrets || !self.place.holds(path) || !Named::is_secret_file(key) {
            return false;
        }
        let value = self.place.text.get(span.clone()).unwrap_or_default();
        let name = value.trim_matches(['"', '\'']);
        !name.is_empty() && !self.base.join(name).exists()
    }
}

/// Where each key stands in the text, the first time.
fn lines(table: &DeTable<'_>, section: &str, found: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let name = whole(section, key.get_ref());
        let at = key.span().start;
        let known = found.entry(name.clone()).or_insert(at);
        *known = at.min(*known);
        if let DeValue::String(text) = value.get_ref() {
            // One of several sections is known by what stands in it.
            found.entry(format!("{name}={text}")).or_insert(at);
        }
        if let DeValue::Table(table) = value.get_ref() {
            lines(table, &name, found);
        } else if let DeValue::Array(list) = value.get_ref() {
            let tables = list.iter().filter_map(|entry| table_of(entry.get_ref()));
            tables.for_each(|table| lines(table, &name, found));
        }
    }
}

/// A step on the way to what stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    /// One of several sections.
    Section(usize),
}

fn table_of<'a, 'b>(value: &'a DeValue<'b>) -> Option<&'a DeTable<'b>> {
    if let DeValue::Table(table) = value {
        return Some(table);
    }
    None
}

/// The way to the key that an octet of the text belongs to: the innermost. To one of several sections, where it is in
/// none of its keys.
fn way(table: &DeTable<'_>, at: usize) -> Option<Vec<Step>> {
    for (key, value) in table {
        let step = Step::Key(key.get_ref().to_string());
        let mut inner = table_of(value.get_ref()).and_then(|table| way(table, at));
        if let DeValue::Array(list) = value.get_ref() {
            inner = list.iter().enumerate().find_map(|(n, entry)| {
                let table = table_of(entry.get_ref())?;
                let inner = way(table, at).or_else(|| entry.span().contains(&at).then(Vec::new))?;
                Some([vec![Step::Section(n)], inner].concat())
            });
        }
        let is_here = key.span().contains(&at) || value.span().contains(&at);
        if let Some(inner) = inner.or_else(|| is_here.then(Vec::new)) {
            return Some([vec![step], inner].concat());
        }
    }
    None
}

/// Takes out what the way leads to.
fn take_out(table: &mut DeTable<'_>, way: &[Step]) {
    match way {
        [Step::Key(key)] => drop(table.remove(key.as_str())),
        [Step::Key(key), rest @ ..] => {
            let Some(value) = table.get_mut(key.as_str()) else {
                return;
            };
            match (value.get_mut(), rest) {
                (DeValue::Table(table), rest) => take_out(table, rest),
                (DeValue::Array(list), [Step::Section(n)]) => {
                    let others = list.iter().enumerate().filter(|(place, _)| place != n);
                    *list = others.map(|(_, entry)| entry.clone()).collect();
                }
                (DeValue::Array(list), [Step::Section(n), rest @ ..]) => {
                    let entry = list.get_mut(*n).map(Spanned::get_mut);
                    if let Some(DeValue::Table(table)) = entry {
                        take_out(table, rest);
                    }
                }
                _ => {}
            }
        }
        _ => {}
    }
}

impl Removed {
    /// What the way leads to.
    fn at(way: &[Step]) -> Self {
        let name = |step: &Step| match step {
            Step::Key(key) => Some(key.clone()),
            Step::Section(_) => None,
        };
        let keys: Vec<String> = way.iter().filter_map(name).collect();
        let above = way.split_last().map_or(way, |(_, above)| above);
        Self {
            section: above.to_vec(),
            key: keys.join("."),
        }
    }
}
