//! Lists and numbers of waiting recipients.

use rusqlite::OptionalExtension;
use store::series::AGES;
use store::{HistoryFilter, Page, Row};

use super::condition::{history_condition, order_by, waiting_condition};
use super::{
    DONE, Filter, HISTORY_FILE, INDEX_FILE, IndexError, SqliteIndex, Timestamp, WAITING_COLUMNS,
    WAITING_TABLES, connect, time_from, time_to_sql, to_sql, waiting_row,
};

/// The code of a recipient that waits and is not held.
const WAITING: i64 = 0;

pub(super) fn each(
    index: &SqliteIndex,
    filter: &Filter,
    page: Page,
    now: Timestamp,
    f: &mut dyn FnMut(Row),
) -> Result<(), IndexError> {
    let condition = waiting_condition(filter, now);
    let sql = format!(
        "SELECT {WAITING_COLUMNS} FROM {WAITING_TABLES} WHERE {} ORDER BY {}",
        condition.sql,
        order_by(page),
    );
    let parameters = rusqlite::params_from_iter(condition.parameters);
    let is_whole = filter.terms().is_empty() && page.limit == u64::MAX;
    if filter.names_kinds() || is_whole {
        // Each reply, or all there is, has to be looked at: on a connection of its own, as a scan.
        let connection = connect(&index.dir.join(INDEX_FILE))?;
        let mut statement = connection.prepare(&sql)?;
        let rows = statement.query_map(parameters, waiting_row)?;
        return fitting(filter, page, rows, f);
    }
    let (limit, offset) = (to_sql(page.limit), to_sql(page.offset));
    let sql = format!("{sql} LIMIT {limit} OFFSET {offset}");
    let files = index.reader();
    let mut statement = files.index.prepare_cached(&sql)?;
    for row in statement.query_map(parameters, waiting_row)? {
        f(row?);
    }
    Ok(())
}

/// Those that are due come first in their index, so only held ones among them are passed over: on a connection of its
/// own, because there may be many.
pub(super) fn oldest_due(
    index: &SqliteIndex,
    now: Timestamp,
) -> Result<Option<Timestamp>, IndexError> {
    let connection = connect(&index.dir.join(INDEX_FILE))?;
    let sql = "SELECT due FROM recipient INDEXED BY recipient_due WHERE due <= ? AND status = ? ORDER BY due LIMIT 1";
    let parameters = (time_to_sql(now), WAITING);
    let found = connection.query_row(sql, parameters, |row| row.get(0));
    Ok(found.optional()?.map(time_from))
}

/// How many recipients wait, by the classes of [`AGES`], on a connection of its own: it looks at all of them.
pub(super) fn by_age(index: &SqliteIndex, now: Timestamp) -> Result<[u64; AGES.len()], IndexError> {
    let mut classes = String::new();
    for (class, (_, most)) in AGES.iter().enumerate().take(AGES.len() - 1) {
        let after = now.as_millis().saturating_sub(most.saturating_mul(1000));
        classes.push_str(&format!("WHEN m.accepted > {after} THEN {class} "));
    }
    let last = AGES.len() - 1;
    let sql = format!(
        "SELECT CASE {classes} ELSE {last} END AS class, count(*) FROM {WAITING_TABLES}
         WHERE r.status <> {DONE} GROUP BY class"
    );
    let connection = connect(&index.dir.join(INDEX_FILE))?;
    let mut by_age = [0; AGES.len()];
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (class, count): (u8, i64) = (row.get(0)?, row.get(1)?);
        if let Some(of_class) = by_age.get_mut(usize::from(class)) {
            *of_class = count.unsigned_abs();
        }
    }
    Ok(by_age)
}

/// Counts the history up to a bound, on a connection of its own.
pub(super) fn history_count(
    index: &SqliteIndex,
    filter: &HistoryFilter,
    most: u64,
) -> Result<u64, IndexError> {
    let condition = history_condition(filter);
    let (sql, most) = (condition.sql, to_sql(most));
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM history WHERE {sql} LIMIT {most})");
    let connection = connect(&index.dir.join(HISTORY_FILE))?;
    let parameters = rusqlite::params_from_iter(condition.parameters);
    let count: i64 = connection.query_row(&sql, parameters, |r| r.get(0))?;
    Ok(count.unsigned_abs())
}

pub(super) fn count(
    index: &SqliteIndex,
    filter: &Filter,
    now: Timestamp,
) -> Result<u64, IndexError> {
    if filter.names_kinds() {
        let mut count = 0;
        each(index, filter, Page::ALL, now, &mut |_| count += 1)?;
        return Ok(count);
    }
    let condition = waiting_condition(filter, now);
    let sql = format!(
        "SELECT count(*) FROM {WAITING_TABLES} WHERE {}",
        condition.sql
    );
    let files = index.reader();
    let mut statement = files.index.prepare_cached(&sql)?;
    let parameters = rusqlite::params_from_iter(condition.parameters);
    let count: i64 = statement.query_row(parameters, |r| r.get(0))?;
    Ok(count.unsigned_abs())
}

/// Hands over the page of those rows whose kinds the filter wants.
fn fitting(
    filter: &Filter,
    page: Page,
    rows: impl Iterator<Item = rusqlite::Result<Row>>,
    f: &mut dyn FnMut(Row),
) -> Result<(), IndexError> {
    let (mut passed, mut given) = (0, 0);
    for row in rows {
        if given >= page.limit {
            break;
        }
        let row = row?;
        if !filter.fits_kinds(&row) {
            continue;
        }
        if passed < page.offset {
            passed += 1;
            continue;
        }
        given += 1;
        f(row);
    }
    Ok(())
}
