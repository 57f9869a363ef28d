//! The texts of a configuration: its file and those that it includes, read one after the other as one text, so that a
//! span belongs to one file.
//!
//! Tables merge, arrays of tables append, and anything else is set in one place: what is set twice is an error that
//! names both. Nothing is included by included files.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::error::{ConfigError, Place};
use super::{Config, environment, include, syntax};

/// A file that is included, and where its text begins in the whole.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    pub(crate) start: usize,
}

/// What else belongs to a configuration by `include`.
#[derive(Debug, Clone, Default)]
pub struct Included {
    /// Files that are included.
    pub files: Vec<PathBuf>,
    /// Directories that patterns look into: a file may come into being there.
    pub directories: Vec<PathBuf>,
}

/// The texts of a configuration.
#[derive(Debug)]
pub struct Texts {
    path: PathBuf,
    all: String,
    parts: Vec<Part>,
    /// What is wrong with what is included.
    errors: Vec<ConfigError>,
    directories: Vec<PathBuf>,
}

/// What the texts say together.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub(super) table: Spanned<DeTable<'a>>,
    /// What is no TOML. Anything else may only be wrong because of it.
    pub(super) broken: Vec<ConfigError>,
    pub(super) errors: Vec<ConfigError>,
    /// Values that cannot be had: they stand in the table as they stand in the text.
    pub(super) valueless: Vec<ConfigError>,
}

impl Texts {
    /// One text, which includes nothing.
    pub(crate) fn of(text: &str, path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            all: text.to_owned(),
            parts: Vec::new(),
            errors: Vec::new(),
            directories: Vec::new(),
        }
    }

    /// Reads a file and those that it includes.
    ///
    /// # Errors
    /// When the file itself cannot be read. What is wrong with others is found when it is parsed.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let mut texts = Self::of(&Config::read(path)?, path);
        let found = include::find(&texts.place());
        texts.errors = found.errors;
        texts.directories = found.directories;
        for (path, text) in found.files {
            if !texts.all.ends_with('\n') {
                texts.all.push('\n');
            }
            // A span at the end of a text is not one at the beginning of the next.
            texts.all.push('\n');
            let start = texts.all.len();
            texts.all.push_str(&text);
            texts.parts.push(Part { path, start });
        }
        Ok(texts)
    }

    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            path: &self.path,
            text: &self.all,
            parts: &self.parts,
        }
    }

    /// Whether `data_dir` can be read where it is written at all: what is no TOML may hide it.
    pub(super) fn says_where_the_data_is(&self) -> bool {
        const KEY: &str = "data_dir";
        self.parsed().table.get_ref().contains_key(KEY) || !self.all.contains(KEY)
    }

    /// The files that are included, and where others may be.
    pub(super) fn included(&self) -> Included {
        Included {
            files: self.parts.iter().map(|part| part.path.clone()).collect(),
            directories: self.directories.clone(),
        }
    }

    /// What the texts say together.
    pub(super) fn parsed(&self) -> Parsed<'_> {
        let place = self.place();
        let mut parsed = Parsed {
            table: Spanned::new(0..0, DeTable::new()),
            broken: Vec::new(),
            errors: self.errors.clone(),
            valueless: Vec::new(),
        };
        for start in std::iter::once(0).chain(self.parts.iter().map(|part| part.start)) {
            let (table, errors) = DeTable::parse_recoverable(place.part(start).text);
            for error in errors {
                let span = error.span().map(|span| moved(span, start));
                let is_twice = error.message().contains("duplicate key");
                let error = syntax::error(&place, error.message(), span);
                match is_twice {
                    true => parsed.errors.push(error),
                    false => {
                        // What follows in this text may be wrong by this one.
                        parsed.broken.push(error);
                        break;
                    }
                }
            }
            if start == 0 {
                parsed.table = table;
                continue;
            }
            let mut table = move_table(table.into_inner(), start);
            if let Some((key, _)) = table.remove_entry(include::KEY) {
                let why = "an included file cannot include others: name them in the first file";
                parsed.errors.push(place.key(key.span(), include::KEY, why));
            }
            merge(
                parsed.table.get_mut(),
                table,
                "",
                &place,
                &mut parsed.errors,
            );
        }
        let table = parsed.table.get_mut();
        parsed.valueless = environment::fill(table, &place, &environment::variable);
        parsed
    }
}

impl Parsed<'_> {
    /// The first thing that is wrong.
    pub(super) fn first_error(&self) -> Option<&ConfigError> {
        let mut all = self.broken.iter().chain(&self.errors);
        all.next().or_else(|| self.valueless.first())
    }
}

fn moved(span: Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}

fn move_table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let entries = table.into_iter().map(|(key, value)| {
        let span = moved(key.span(), by);
        (Spanned::new(span, key.into_inner()), move_value(value, by))
    });
    entries.collect()
}

fn move_value(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = moved(value.span(), by);
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(move_table(table, by)),
        DeValue::Array(list) => {
            let list = list.into_iter().map(|value| move_value(value, by));
            DeValue::Array(list.collect())
        }
        other @ (DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)) => other,
    };
    Spanned::new(span, value)
}

/// Puts a table into another; `section` is the name of both.
fn merge<'a>(
    into: &mut DeTable<'a>,
    table: DeTable<'a>,
    section: &str,
    place: &Place<'_>,
    errors: &mut Vec<ConfigError>,
) {
    for (key, value) in table {
        let name = whole(section, key.get_ref());
        let Some((first, _)) = into.get_key_value(key.get_ref().as_ref()) else {
            into.insert(key, value);
            continue;
        };
        let first = place.spot(first.span().start);
        let Some(there) = into.get_mut(key.get_ref().as_ref()) else {
            continue;
        };
        match (there.get_mut(), value.into_inner()) {
            (DeValue::Table(there), DeValue::Table(more)) => {
                merge(there, more, &name, place, errors);
            }
            (DeValue::Array(there), DeValue::Array(more))
                if of_tables(there) && of_tables(&more) =>
            {
                more.into_iter().for_each(|value| there.push(value));
            }
            _ => {
                let why = format!("it is set in {first} too: set it in one place");
                errors.push(place.key(key.span(), &name, why));
            }
        }
    }
}

fn of_tables(list: &DeArray<'_>) -> bool {
    let is_table = |value: &Spanned<DeValue<'_>>| matches!(value.get_ref(), DeValue::Table(_));
    !list.is_empty() && list.iter().all(is_table)
}

/// The whole name of a key.
pub(super) fn whole(section: &str, key: &str) -> String {
    match section.is_empty() {
        true => key.to_owned(),
        false => format!("{section}.{key}"),
    }
}
