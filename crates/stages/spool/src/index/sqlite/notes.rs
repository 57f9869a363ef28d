//! Notes: what came to be known of recipients, entries that no retention removes, and records.

use rusqlite::{Connection, Row as SqlRow, Transaction, params};

use super::super::{Batch, IndexError, LaterRow, QueueId, Timestamp};
use super::about::number;
use super::{key, time_from, time_to_sql, to_sql};
use store::{Book, Record, StoredRecord};

/// Brings a batch's notes into the history; `count` is called for what was not there yet.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    batch: &Batch,
    count: &mut dyn FnMut(u64, &LaterRow) -> Result<(), IndexError>,
) -> Result<(), IndexError> {
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
        let added = later.execute(params![
            number(row.key.id),
            row.key.recipient,
            to_sql(*sequence),
            row.word,
            time_to_sql(row.at),
            row.text,
        ])?;
        if added > 0 {
            count(*sequence, row)?;
        }
    }
    let sql = "INSERT OR IGNORE INTO record (book, at, sequence, n, text) VALUES (?, ?, ?, ?, ?)";
    let mut insert = transaction.prepare_cached(sql)?;
    // Several of one frame are told apart by their number in it, which is the same when the log is read again.
    let mut last = (0, 0);
    for (sequence, record) in &batch.records {
        last = match last {
            (frame, n) if frame == *sequence => (frame, n + 1),
            _ => (*sequence, 0),
        };
        insert.execute(params![
            record.book.code(),
            time_to_sql(record.at),
            to_sql(*sequence),
            last.1,
            record.text,
        ])?;
    }
    Ok(())
}

/// Records in front of a place, the latest first.
pub(super) fn records(
    history: &Connection,
    book: Book,
    before: u64,
    limit: u64,
) -> Result<Vec<StoredRecord>, IndexError> {
    let sql = "SELECT place, at, text FROM record WHERE book = ? AND place < ?
               ORDER BY place DESC LIMIT ?";
    let mut statement = history.prepare_cached(sql)?;
    let row = |r: &SqlRow<'_>| {
        Ok(StoredRecord {
            place: r.get::<_, i64>(0)?.unsigned_abs(),
            record: Record {
                book,
                at: time_from(r.get(1)?),
                text: r.get(2)?,
            },
        })
    };
    let rows = statement.query_map(params![book.code(), to_sql(before), to_sql(limit)], row)?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?)
}

/// Removes records that are older.
pub(super) fn forget_records(
    history: &Connection,
    book: Book,
    before: Timestamp,
    limit: u64,
) -> Result<u64, IndexError> {
    let sql = "DELETE FROM record WHERE place IN
               (SELECT place FROM record WHERE book = ? AND at < ? ORDER BY at LIMIT ?)";
    let of = params![book.code(), time_to_sql(before), to_sql(limit)];
    Ok(history.prepare_cached(sql)?.execute(of)? as u64)
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
