//! The two files: their tables, how they are opened, and how those of earlier releases are brought up.

use std::fs;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rusqlite::Connection;

use super::IndexError;
use crate::quarantine::QUARANTINE_DIR;

pub(super) const INDEX_FILE: &str = "index.db";
pub(super) const HISTORY_FILE: &str = "history.db";
/// Raised when the tables change: an index of an unknown version is rebuilt.
const INDEX_VERSION: i64 = 5;

const INDEX_TABLES: &str = "
CREATE TABLE position (spool INTEGER NOT NULL, hot INTEGER NOT NULL, cold INTEGER NOT NULL);
CREATE TABLE message (id INTEGER PRIMARY KEY, seg INTEGER NOT NULL, off INTEGER NOT NULL,
  len INTEGER NOT NULL, copy INTEGER NOT NULL, body_file INTEGER NOT NULL,
  gone_seg INTEGER NOT NULL, gone_off INTEGER NOT NULL, gone_len INTEGER NOT NULL,
  sender TEXT NOT NULL, submitter TEXT NOT NULL, accepted INTEGER NOT NULL,
  size INTEGER NOT NULL, terms BLOB);
CREATE TABLE recipient (id INTEGER NOT NULL, n INTEGER NOT NULL, recipient TEXT NOT NULL,
  domain TEXT NOT NULL, destination INTEGER NOT NULL, notify INTEGER NOT NULL,
  status INTEGER NOT NULL, attempts INTEGER NOT NULL, due INTEGER NOT NULL,
  delay_notified INTEGER NOT NULL, seg INTEGER NOT NULL, off INTEGER NOT NULL,
  len INTEGER NOT NULL, last_reply TEXT NOT NULL, last_host TEXT, route TEXT,
  PRIMARY KEY (id, n))
  WITHOUT ROWID;
CREATE INDEX recipient_domain ON recipient (domain);
CREATE INDEX recipient_due ON recipient (due);
CREATE TABLE control (name TEXT PRIMARY KEY, value TEXT, seg INTEGER NOT NULL,
  off INTEGER NOT NULL, len INTEGER NOT NULL) WITHOUT ROWID;
";

/// What version 3 of the index has besides.
const INDEX_TABLES_3: &str = "ALTER TABLE message ADD COLUMN origin BLOB;";

/// What version 4 of the index has besides: what a message is called and labelled.
const INDEX_TABLES_4: &str = "
ALTER TABLE message ADD COLUMN message_id TEXT;
ALTER TABLE message ADD COLUMN subject TEXT;
ALTER TABLE message ADD COLUMN given BLOB;
CREATE INDEX message_message_id ON message (message_id);
";

/// What version 5 of the index has besides: mail of a key is found by the key.
const INDEX_TABLES_5: &str =
    "CREATE INDEX message_key ON message (submitter) WHERE substr(submitter, 1, 4) = 'key=';";

const HISTORY_TABLES: &str = "
CREATE TABLE history (id INTEGER NOT NULL, n INTEGER NOT NULL, sender TEXT NOT NULL,
  recipient TEXT NOT NULL, accepted INTEGER NOT NULL, size INTEGER NOT NULL,
  submitter TEXT NOT NULL, attempts INTEGER NOT NULL, at INTEGER NOT NULL,
  outcome INTEGER NOT NULL, verdict BLOB NOT NULL, transcript TEXT, PRIMARY KEY (id, n))
  WITHOUT ROWID;
CREATE TABLE attempt (id INTEGER NOT NULL, n INTEGER NOT NULL, sequence INTEGER NOT NULL,
  attempts INTEGER NOT NULL, at INTEGER NOT NULL, verdict BLOB NOT NULL, transcript TEXT,
  PRIMARY KEY (id, n, sequence)) WITHOUT ROWID;
CREATE TABLE token (token TEXT PRIMARY KEY, id INTEGER NOT NULL, at INTEGER NOT NULL)
  WITHOUT ROWID;
";

/// What version 2 of the history has besides.
const HISTORY_TABLES_2: &str = "
CREATE TABLE entry (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE later (id INTEGER NOT NULL, n INTEGER NOT NULL, sequence INTEGER NOT NULL,
  word TEXT NOT NULL, at INTEGER NOT NULL, text TEXT NOT NULL,
  PRIMARY KEY (id, n, sequence, word)) WITHOUT ROWID;
";

/// What version 3 of the history has besides: events, and what they say of a message.
const HISTORY_TABLES_3: &str = "
ALTER TABLE history ADD COLUMN origin BLOB;
ALTER TABLE history ADD COLUMN destination INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempt ADD COLUMN due INTEGER;
CREATE TABLE event (place INTEGER PRIMARY KEY, at INTEGER NOT NULL, content BLOB NOT NULL);
CREATE TABLE event_state (spool INTEGER NOT NULL, hot INTEGER NOT NULL, last INTEGER NOT NULL,
  kinds INTEGER NOT NULL, entries TEXT NOT NULL);
INSERT INTO event_state VALUES (0, 0, 0, 0, '');
";

/// What version 4 of the history has besides: what a message was called and labelled; and what is old is found
/// without looking at the rest. Rows come in the order of time, so these indexes are appended to. By
/// Message-ID the history is read through: an index of random texts would cost each mail more than it is worth.
const HISTORY_TABLES_4: &str = "
ALTER TABLE history ADD COLUMN message_id TEXT;
ALTER TABLE history ADD COLUMN subject TEXT;
ALTER TABLE history ADD COLUMN given BLOB;
CREATE INDEX history_at ON history (at);
CREATE INDEX attempt_at ON attempt (at);
CREATE INDEX token_at ON token (at);
CREATE INDEX later_at ON later (at);
";

/// What version 5 of the history has besides: what its submitter labelled is found among its like. Mail without
/// labels is not in this index, and pays nothing for it.
const HISTORY_TABLES_5: &str =
    "CREATE INDEX history_given ON history (id, n) WHERE given IS NOT NULL;";

/// What version 6 of the history has besides: what a key submitted, and its events, are found by the key.
const HISTORY_TABLES_6: &str = "
CREATE INDEX history_key ON history (submitter, id, n) WHERE substr(submitter, 1, 4) = 'key=';
ALTER TABLE event ADD COLUMN submitter TEXT;
CREATE INDEX event_key ON event (submitter) WHERE substr(submitter, 1, 4) = 'key=';
";

/// What version 7 of the history has besides: series, up to which frame of the log they have counted, and records of what
/// people did.
const HISTORY_TABLES_7: &str = "
CREATE TABLE series (step INTEGER NOT NULL, dimension INTEGER NOT NULL, at INTEGER NOT NULL, key TEXT NOT NULL,
  numbers BLOB NOT NULL, example TEXT, PRIMARY KEY (step, dimension, at, key)) WITHOUT ROWID;
CREATE TABLE series_state (spool INTEGER NOT NULL, hot INTEGER NOT NULL);
INSERT INTO series_state VALUES (0, 0);
CREATE TABLE record (place INTEGER PRIMARY KEY AUTOINCREMENT, book INTEGER NOT NULL, at INTEGER NOT NULL,
  sequence INTEGER NOT NULL, n INTEGER NOT NULL, text TEXT NOT NULL, UNIQUE (book, at, sequence, n));
CREATE INDEX record_book ON record (book, place);
";

/// What leads from each version of the history to the next, from an empty file on.
const HISTORY_STEPS: [&str; 7] = [
    HISTORY_TABLES,
    HISTORY_TABLES_2,
    HISTORY_TABLES_3,
    HISTORY_TABLES_4,
    HISTORY_TABLES_5,
    HISTORY_TABLES_6,
    HISTORY_TABLES_7,
];

/// What leads to each version of the index from version 2 on, and from each to the next.
const INDEX_STEPS: [&str; 4] = [INDEX_TABLES, INDEX_TABLES_3, INDEX_TABLES_4, INDEX_TABLES_5];

/// The header's application id of an index that was closed in order: what stands in it was written
/// by SQLite to the end, and is not checked page by page, which takes minutes for many millions of
/// recipients. Taken back before an index is used.
pub(super) const CLOSED: i64 = 0x5e0d_0ff1;
const IN_USE: i64 = 0;

pub(super) fn connect(path: &Path) -> Result<Connection, IndexError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    // A large log is written back rarely, so a page that many batches touch is written once.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 8192; PRAGMA journal_size_limit = 67108864;
         PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY;",
    )?;
    connection.set_prepared_statement_cache_capacity(64);
    super::functions::add(&connection)?;
    Ok(connection)
}

/// SQLite makes a file for everybody to read, and what stands beside it with the same mode. One that is there
/// is not opened: closing it again would take away the locks that SQLite has on it.
fn close_to_others(path: &Path) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => return made.map(drop),
    }
    match fs::metadata(path)?.mode() & 0o077 {
        0 => Ok(()),
        _ => fs::set_permissions(path, fs::Permissions::from_mode(0o600)),
    }
}

/// In one transaction: a crash leaves all of the tables with their version, or none.
fn make_tables(connection: &Connection, tables: &str, version: i64) -> Result<(), IndexError> {
    let whole = format!("BEGIN IMMEDIATE; {tables} PRAGMA user_version = {version}; COMMIT;");
    Ok(connection.execute_batch(&whole)?)
}

/// Opens the index; whether it is to be checked: it was not closed in order.
pub(super) fn open_index(dir: &Path) -> Result<(Connection, bool), IndexError> {
    close_to_others(&dir.join(INDEX_FILE))?;
    let connection = connect(&dir.join(INDEX_FILE))?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    match version {
        0 => {
            make_tables(&connection, &INDEX_STEPS.concat(), INDEX_VERSION)?;
            return Ok((connection, false));
        }
        2..INDEX_VERSION => {
            let have = usize::try_from(version - 1).unwrap_or_default();
            let missing = INDEX_STEPS.get(have..).unwrap_or_default();
            make_tables(&connection, &missing.concat(), INDEX_VERSION)?;
        }
        INDEX_VERSION => {}
        other => return Err(IndexError::Damaged(format!("version {other}"))),
    }
    let mark: i64 = connection.query_row("PRAGMA application_id", [], |r| r.get(0))?;
    let in_order = mark == CLOSED;
    if in_order {
        set_mark(&connection, IN_USE)?;
    }
    Ok((connection, !in_order))
}

/// Reads the whole index and looks whether it is what SQLite writes.
pub(super) fn check_index(dir: &Path) -> Result<(), IndexError> {
    let connection = connect(&dir.join(INDEX_FILE))?;
    let check: String = connection.query_row("PRAGMA quick_check(1)", [], |r| r.get(0))?;
    if check == "ok" {
        Ok(())
    } else {
        Err(IndexError::Damaged(check))
    }
}

/// Durable on return, as every transaction.
pub(super) fn set_mark(connection: &Connection, mark: i64) -> Result<(), IndexError> {
    Ok(connection.execute_batch(&format!("PRAGMA application_id = {mark};"))?)
}

/// A free name in the quarantine for a file that is kept although another takes its place.
pub(super) fn aside_name(dir: &Path, what: &str) -> String {
    let name = |n: u32| format!("{QUARANTINE_DIR}/{what}-{n}.db");
    let is_free = |name: &String| !dir.join(name).exists();
    (1..).map(name).find(is_free).unwrap_or_default()
}

/// Moves the index out of the way; returns where it is kept. Where it cannot be moved it is removed.
pub(crate) fn set_index_aside(dir: &Path) -> Result<String, IndexError> {
    let name = aside_name(dir, "index");
    set_aside(dir, INDEX_FILE, &name, |from| fs::remove_file(from))?;
    Ok(name)
}

/// Moves a damaged history out of the way; returns where it is kept.
pub(crate) fn set_history_aside(dir: &Path) -> Result<String, IndexError> {
    let name = aside_name(dir, "history");
    set_aside(dir, HISTORY_FILE, &name, |_| {
        Err(std::io::ErrorKind::Other.into())
    })?;
    Ok(name)
}

/// Moves a file of SQLite with those beside it; `else_do` is done where that fails.
fn set_aside(
    dir: &Path,
    file: &str,
    name: &str,
    else_do: impl Fn(&Path) -> std::io::Result<()>,
) -> Result<(), IndexError> {
    for suffix in ["", "-wal", "-shm"] {
        let from = dir.join(format!("{file}{suffix}"));
        let to = dir.join(format!("{name}{suffix}"));
        let moved = match fs::rename(&from, to) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => else_do(&from),
            moved => moved,
        };
        match moved {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

pub(super) fn open_history(dir: &Path) -> Result<Connection, IndexError> {
    close_to_others(&dir.join(HISTORY_FILE))?;
    let connection = connect(&dir.join(HISTORY_FILE))?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    let known = HISTORY_STEPS.len();
    let have = usize::try_from(version).unwrap_or(usize::MAX);
    let Some(missing) = HISTORY_STEPS.get(have..) else {
        return Err(IndexError::Newer {
            file: dir.join(HISTORY_FILE),
            version,
            known,
        });
    };
    if !missing.is_empty() {
        // What is sorted for an index of a long history goes to a file, not to memory; and to one here, where
        // the server may write.
        connection.execute_batch("PRAGMA temp_store = FILE")?;
        if have > 0 {
            let directory = dir.to_string_lossy();
            connection.pragma_update(None, "temp_store_directory", &*directory)?;
        }
        make_tables(&connection, &missing.concat(), known as i64)?;
        connection.execute_batch("PRAGMA temp_store = MEMORY")?;
    }
    Ok(connection)
}
