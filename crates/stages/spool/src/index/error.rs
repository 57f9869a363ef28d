//! Why the index cannot be used, and whether it is damaged.

use std::path::PathBuf;

use store::StoreError;

/// Why the index did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The library that keeps it refused.
    #[error("the queue's index cannot be used: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Its directory cannot be used.
    #[error("the queue's index cannot be used: {0}")]
    Io(#[from] std::io::Error),
    /// It did not take in the latest changes, and says why.
    #[error("the queue's index is out of date: {0}")]
    Behind(String),
    /// What it holds is not what was written.
    #[error("the queue's index is damaged: {0}")]
    Damaged(String),
    /// It is about the history, which cannot be rebuilt.
    #[error(
        "the queue's history ({file}) cannot be used: {}. Check its permissions and the disk; the server does not \
         start without it, because it would not know what was delivered", source.reason()
    )]
    History {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: Box<Self>,
    },
    /// A later release wrote it.
    #[error(
        "{file} has version {version}, this release supports {known}: run the release that wrote it, or a later \
         one"
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its version.
        version: i64,
        /// The newest known.
        known: usize,
    },
}

impl IndexError {
    /// Without what it is about.
    fn reason(&self) -> String {
        match self {
            Self::Sqlite(error) => error.to_string(),
            Self::Damaged(what) => what.clone(),
            Self::Io(_) | Self::Behind(_) | Self::History { .. } | Self::Newer { .. } => {
                self.to_string()
            }
        }
    }

    /// Whether it says that a file is not what was written, so that another try will not be better.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, SystemIoFailure};
        match self {
            Self::Damaged(_) => true,
            Self::Sqlite(error) => match error.sqlite_error() {
                Some(e) if e.code == SystemIoFailure => is_bad_sector(e.extended_code),
                // "no such table": the file is not one of ours.
                Some(e) => matches!(e.code, DatabaseCorrupt | NotADatabase) || e.extended_code == 1,
                // A column holds what none of ours does.
                None => true,
            },
            Self::Io(_) | Self::Behind(_) | Self::History { .. } | Self::Newer { .. } => false,
        }
    }
}

impl From<IndexError> for StoreError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Behind(why) => Self::Behind(why),
            IndexError::Damaged(what) => Self::Damaged(what),
            IndexError::Sqlite(_)
            | IndexError::Io(_)
            | IndexError::History { .. }
            | IndexError::Newer { .. } => Self::Engine(error.to_string()),
        }
    }
}

/// Whether an I/O error of SQLite came from reading: everything else may be better next time.
fn is_bad_sector(extended: i32) -> bool {
    const READ: i32 = rusqlite::ffi::SQLITE_IOERR_READ;
    const CORRUPT: i32 = rusqlite::ffi::SQLITE_IOERR_CORRUPTFS;
    [READ, CORRUPT].contains(&extended)
}
