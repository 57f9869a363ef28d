//! Opening the queue in a directory, whatever became of the two files of SQLite.

use std::path::Path;
use std::sync::Arc;

use super::Spool;
use crate::ballast;
use crate::index::{HistoryFound, IndexError, SqliteIndex, set_history_aside, set_index_aside};
use crate::options::Options;
use crate::replay::{OpenError, Recovered};
use crate::storage::{DirStorage, Storage};

impl Spool {
    /// Opens the spool in a directory of the operating system, with its index in SQLite beside it.
    ///
    /// # Errors
    /// When the directory is in use, cannot be read or written, or was written by a later release.
    pub fn open_dir(dir: &Path, options: Options) -> Result<(Self, Recovered), OpenError> {
        let storage: Arc<dyn Storage> = Arc::new(DirStorage::open(dir)?);
        // Before the index is opened: it needs room even to be read.
        let gave_up = ballast::give_up_if_full(&*storage, options.ballast_bytes);
        let mut kept = None;
        let open = || {
            let index = Arc::new(SqliteIndex::open(dir)?);
            Self::open(options.clone(), Arc::clone(&storage), index)
        };
        let opened = match open() {
            // Found while it was read: it is derived from the log, and rebuilt.
            Err(OpenError::Index(error)) if error.is_damage() => {
                set_index_aside(dir)?;
                open()
            }
            // Found in the middle of what is read first now.
            Err(OpenError::Index(IndexError::History { source, .. })) if source.is_damage() => {
                kept = Some(set_history_aside(dir)?);
                open()
            }
            opened => opened,
        };
        opened.map(|(spool, mut recovered)| {
            recovered.gave_up_ballast |= gave_up;
            if let Some(kept) = kept {
                recovered.history = HistoryFound::SetAside(kept);
            }
            (spool, recovered)
        })
    }
}
