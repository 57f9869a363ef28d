//! Removing what is old from the history, a little at a time.

use rusqlite::{Connection, params};

use super::super::IndexError;
use super::{HISTORY_FILE, SqliteIndex, Timestamp, connect, time_to_sql, to_sql};

/// Each table with its key.
const TABLES: [(&str, &str); 4] = [
    ("history", "id, n"),
    ("attempt", "id, n, sequence"),
    ("token", "token"),
    ("later", "id, n, sequence, word"),
];

/// Removes at most `limit` rows. Whoever writes the history waits for that and no longer: what was written
/// goes from SQLite's log into the file afterwards, by a connection of its own.
pub(super) fn step(
    index: &SqliteIndex,
    before: Timestamp,
    tokens: Timestamp,
    limit: u64,
) -> Result<u64, IndexError> {
    let mut expiring = index.expiring.lock();
    let mut connection = match expiring.take() {
        Some(opened) => opened,
        None => {
            let opened = connect(&index.dir.join(HISTORY_FILE))?;
            opened.execute_batch("PRAGMA wal_autocheckpoint = 0")?;
            opened
        }
    };
    let removed = {
        // The two never meet in SQLite, where one would sleep until the other is done.
        let _writing = index.writer();
        remove(&mut connection, before, tokens, limit)?
    };
    if removed > 0 {
        // What cannot be moved now, because somebody reads, is moved with a later step.
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    }
    expiring.replace(connection);
    Ok(removed)
}

fn remove(
    connection: &mut Connection,
    before: Timestamp,
    tokens: Timestamp,
    limit: u64,
) -> Result<u64, IndexError> {
    let transaction = connection.transaction()?;
    let mut removed = 0;
    for (table, key) in TABLES {
        let sql = format!(
            "DELETE FROM {table} WHERE ({key}) IN
             (SELECT {key} FROM {table} WHERE at < ? ORDER BY at LIMIT ?)"
        );
        let mut statement = transaction.prepare_cached(&sql)?;
        let left = limit.saturating_sub(removed);
        if left > 0 {
            let before = match table {
                "token" => tokens,
                _ => before,
            };
            removed += statement.execute(params![time_to_sql(before), to_sql(left)])? as u64;
        }
    }
    if removed > 0 {
        transaction.commit()?;
    }
    Ok(removed)
}
