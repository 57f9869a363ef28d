//! Lists and numbers of waiting recipients.

use super::condition::{order_by, waiting_condition};
use super::{
    Filter, INDEX_FILE, IndexError, Page, Row, SqliteIndex, Timestamp, WAITING_COLUMNS,
    WAITING_TABLES, connect, to_sql, waiting_row,
};

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
    if filter.names_kinds() {
        // Each reply has to be looked at: on a connection of its own, as a scan.
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
