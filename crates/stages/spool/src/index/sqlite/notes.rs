//! Notes: what came to be known of recipients, and entries that no retention removes.

use rusqlite::{Connection, Row as SqlRow, Transaction, params};

use super::super::{Batch, IndexError, LaterRow, QueueId};
use super::write::number;
use super::{key, time_from, time_to_sql, to_sql};

/// Brings a batch's notes into the history.
pub(super) fn insert(transaction: &Transaction<'_>, batch: &Batch) -> Result<(), IndexError> {
    let mut set = transaction.prepare_cached("INSERT OR REPLACE INTO entry VALUES (?, ?)")?;
    let mut remove = transaction.prepare_cached("DELETE FROM entry WHERE name = ?")?;
    for (name, value) in &batch.entries {
        match value {
            Some(value) => set.execute(params![name, value])?,
            None => remove.execute([name])?,
        };
    }
    let sql = "INSERT OR IGNORE INTO later VALUES (?, ?, ?, ?, ?, ?)";
    let mut later = transaction.prepare_cached(sql)?;
    for (sequence, row) in &batch.later {
        later.execute(params![
            number(row.key.id),
            row.key.recipient,
            to_sql(*sequence),
            row.word,
            time_to_sql(row.at),
            row.text,
        ])?;
    }
    Ok(())
}

pub(super) fn later(history: &Connection, id: QueueId) -> Result<Vec<LaterRow>, IndexError> {
    let sql = "SELECT id, n, at, word, text FROM later WHERE id = ? ORDER BY at, sequence, n";
    let mut statement = history.prepare_cached(sql)?;
    let row = |r: &SqlRow<'_>| {
        Ok(LaterRow {
            key: key(r)?,
            at: time_from(r.get(2)?),
            word: r.get(3)?,
            text: r.get(4)?,
        })
    };
    let rows = statement.query_map([number(id)], row)?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?)
}

pub(super) fn entries(
    history: &Connection,
    prefix: &str,
    f: &mut dyn FnMut(String, String),
) -> Result<(), IndexError> {
    let sql = "SELECT name, value FROM entry WHERE name >= ? ORDER BY name";
    let mut statement = history.prepare_cached(sql)?;
    let mut rows = statement.query([prefix])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        if !name.starts_with(prefix) {
            break;
        }
        f(name, row.get(1)?);
    }
    Ok(())
}
