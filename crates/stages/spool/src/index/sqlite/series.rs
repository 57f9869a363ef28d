//! Series: what the history takes in is counted in the same transaction.

use std::sync::Arc;

use mail::{Destination, RecipientKey};
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, Transaction, params};
use store::LaterRow;
use store::series::{
    AGES, Cell, Counted, Dimension, Naming, Point, SeriesWish, Slot, Step, Tally, largest,
};

use super::super::net::{Attempt, Finished};
use super::super::{Batch, IndexError, MessageMeta, Timestamp};
use super::about::{About, number};
use super::{destination, time_from, time_to_sql, to_sql};
use crate::codec::{Reader, put_varint};

/// Keys of an hour that one batch names: those that it counted most.
const KEYS_OF_BATCH: usize = 250;

/// Keys that stay when an hour has too many of them.
const KEYS_LEFT: usize = 4 * Dimension::KEYS;

/// Counts a batch. What is there already is not counted again, whatever part of the log is read twice: the frames of the log
/// up to `seen` are in the series, and the rows of what a later one says are new.
pub(super) struct Counting {
    tally: Tally,
    spool: u64,
    seen: u64,
    upto: u64,
}

impl Counting {
    pub(super) fn begin(
        transaction: &Transaction<'_>,
        batch: &Batch,
        naming: Option<Arc<dyn Naming>>,
    ) -> Result<Self, IndexError> {
        let state = |r: &SqlRow<'_>| Ok((r.get::<_, i64>(0)?, r.get::<_, i64>(1)?));
        let sql = "SELECT spool, hot FROM series_state";
        let (spool, hot) = transaction.prepare_cached(sql)?.query_row([], state)?;
        let seen = match spool as u64 == batch.applied.spool {
            true => hot.unsigned_abs(),
            false => 0,
        };
        Ok(Self {
            tally: Tally::new(naming),
            spool: batch.applied.spool,
            seen,
            upto: batch.counted().max(seen),
        })
    }

    /// Counts the recipients of what was accepted.
    pub(super) fn accepted(&mut self, batch: &Batch) {
        let new = |(sequence, _): &&(u64, Arc<MessageMeta>)| *sequence > self.seen;
        let new: Vec<_> = batch.accepted.iter().filter(new).collect();
        for (_, meta) in new {
            for n in 0..meta.envelope.recipients.len() {
                let Some(kept) = counted(meta, u32::try_from(n).unwrap_or(u32::MAX)) else {
                    continue;
                };
                self.tally.accepted(kept.counted());
            }
        }
    }

    /// Counts an outcome that the history did not have.
    pub(super) fn ended(&mut self, finished: &Finished, about: &About) {
        if finished.sequence <= self.seen {
            return;
        }
        let counted = Counted {
            domain: domain_of(&about.recipient),
            submitter: &about.submitter,
            destination: Destination::of_code(about.destination).unwrap_or_default(),
            accepted: time_from(about.accepted),
            size: about.size.unsigned_abs(),
        };
        (self.tally).ended(counted, finished.attempts, &finished.verdict);
    }

    /// Counts an attempt that the history did not have.
    pub(super) fn deferred(
        &mut self,
        index: &Connection,
        attempt: &Attempt,
    ) -> Result<(), IndexError> {
        if attempt.sequence <= self.seen {
            return Ok(());
        }
        if let Some(meta) = &attempt.meta {
            if let Some(kept) = counted(meta, attempt.key.recipient) {
                self.tally.deferred(kept.counted(), &attempt.verdict);
            }
            return Ok(());
        }
        if let Some(kept) = waiting(index, attempt.key)? {
            self.tally.deferred(kept.counted(), &attempt.verdict);
        }
        Ok(())
    }

    /// Counts what came to be known, which the history did not have.
    pub(super) fn later(
        &mut self,
        (index, history): (&Connection, &Connection),
        batch: &Batch,
        (sequence, row): (u64, &LaterRow),
    ) -> Result<(), IndexError> {
        if sequence <= self.seen {
            return Ok(());
        }
        let message = batch.messages.get(&row.key.id);
        let brought = message.and_then(|net| net.meta.as_ref());
        let found = match brought.and_then(|meta| counted(meta, row.key.recipient)) {
            Some(found) => Some(found),
            None => match finished(history, row.key)? {
                Some(found) => Some(found),
                None => waiting(index, row.key)?,
            },
        };
        if let Some(kept) = found {
            self.tally.later(kept.counted(), row.at, &row.word);
        }
        Ok(())
    }

    /// Adds what was counted to what is kept.
    pub(super) fn finish(self, transaction: &Transaction<'_>) -> Result<(), IndexError> {
        let points = self.tally.points(KEYS_OF_BATCH);
        let mut hours = Vec::new();
        for point in &points {
            if add(transaction, point)? && point.slot.step == Step::Hour {
                hours.push((point.slot.dimension, point.slot.at));
            }
        }
        hours.dedup();
        for (dimension, at) in hours {
            let sql = "SELECT count(*) FROM series WHERE step = ? AND dimension = ? AND at = ?";
            let of = params![Step::Hour.code(), dimension.code(), time_to_sql(at)];
            let keys: i64 = (transaction.prepare_cached(sql)?).query_row(of, |r| r.get(0))?;
            if keys.unsigned_abs() as usize > Dimension::KEYS_MEANWHILE {
                bring_down(transaction, dimension, at, KEYS_LEFT)?;
            }
        }
        let sql = "UPDATE series_state SET spool = ?, hot = ?";
        let state = params![self.spool as i64, to_sql(self.upto)];
        transaction.prepare_cached(sql)?.execute(state)?;
        Ok(())
    }
}

/// What is counted of a recipient, as a table has it.
struct Kept {
    recipient: String,
    submitter: String,
    destination: Destination,
    accepted: Timestamp,
    size: u64,
}

/// A recipient that waits, or did before this batch.
fn waiting(index: &Connection, key: RecipientKey) -> Result<Option<Kept>, IndexError> {
    let sql = "SELECT r.recipient, m.submitter, r.destination, m.accepted, m.size
               FROM recipient r JOIN message m ON m.id = r.id WHERE r.id = ? AND r.n = ?";
    let of = params![number(key.id), key.recipient];
    Ok(index.prepare_cached(sql)?.query_row(of, kept).optional()?)
}

fn finished(history: &Connection, key: RecipientKey) -> Result<Option<Kept>, IndexError> {
    let sql = "SELECT recipient, submitter, destination, accepted, size FROM history
               WHERE id = ? AND n = ?";
    let of = params![number(key.id), key.recipient];
    Ok(history
        .prepare_cached(sql)?
        .query_row(of, kept)
        .optional()?)
}

fn kept(r: &SqlRow<'_>) -> rusqlite::Result<Kept> {
    Ok(Kept {
        recipient: r.get(0)?,
        submitter: r.get(1)?,
        destination: destination(r.get(2)?)?,
        accepted: time_from(r.get(3)?),
        size: r.get::<_, i64>(4)?.unsigned_abs(),
    })
}

impl Kept {
    fn counted(&self) -> Counted<'_> {
        Counted {
            domain: domain_of(&self.recipient),
            submitter: &self.submitter,
            destination: self.destination,
            accepted: self.accepted,
            size: self.size,
        }
    }
}

fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

fn counted(meta: &MessageMeta, n: u32) -> Option<Kept> {
    let recipient = meta.envelope.recipients.get(n as usize)?;
    Some(Kept {
        recipient: recipient.address.to_string(),
        submitter: meta.envelope.submitter.name(),
        destination: recipient.destination,
        accepted: meta.accepted,
        size: meta.size,
    })
}

fn numbers_bytes(cell: &Cell) -> Vec<u8> {
    let mut out = Vec::new();
    let numbers = cell.numbers();
    // Most of the last ones are zero, and need not be kept.
    let len = numbers.iter().rposition(|n| *n > 0).map_or(0, |at| at + 1);
    for number in numbers.iter().take(len) {
        put_varint(&mut out, *number);
    }
    out
}

fn cell_from(bytes: &[u8], example: Option<String>) -> Cell {
    let mut reader = Reader::new(bytes);
    let numbers = std::iter::from_fn(|| reader.varint().ok());
    let mut cell = Cell::from_numbers(numbers);
    cell.example = example;
    cell
}

/// Adds to a cell; whether it is new.
fn add(transaction: &Transaction<'_>, point: &Point) -> Result<bool, IndexError> {
    let slot = &point.slot;
    let place = (
        slot.step.code(),
        slot.dimension.code(),
        time_to_sql(slot.at),
        &slot.key,
    );
    let sql = "SELECT numbers, example FROM series
               WHERE step = ? AND dimension = ? AND at = ? AND key = ?";
    let row = |r: &SqlRow<'_>| Ok((r.get::<_, Vec<u8>>(0)?, r.get::<_, Option<String>>(1)?));
    let of = params![place.0, place.1, place.2, place.3];
    let before = (transaction.prepare_cached(sql)?)
        .query_row(of, row)
        .optional()?;
    let is_new = before.is_none();
    let mut cell = before.map_or_else(Cell::default, |(bytes, e)| cell_from(&bytes, e));
    cell.add(&point.cell);
    let sql = "INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?, ?, ?)";
    let (numbers, example) = (numbers_bytes(&cell), &cell.example);
    let row = params![place.0, place.1, place.2, place.3, numbers, example];
    transaction.prepare_cached(sql)?.execute(row)?;
    Ok(is_new)
}

/// Leaves the largest keys of an hour, and adds the others up.
fn bring_down(
    transaction: &Transaction<'_>,
    dimension: Dimension,
    at: Timestamp,
    keys: usize,
) -> Result<(), IndexError> {
    let step = Step::Hour;
    let of = params![step.code(), dimension.code(), time_to_sql(at)];
    let sql =
        "SELECT key, numbers, example FROM series WHERE step = ? AND dimension = ? AND at = ?";
    let mut statement = transaction.prepare_cached(sql)?;
    let row = |r: &SqlRow<'_>| {
        let bytes: Vec<u8> = r.get(1)?;
        Ok((r.get::<_, String>(0)?, cell_from(&bytes, r.get(2)?)))
    };
    let cells = statement.query_map(of, row)?;
    let cells = largest(cells.collect::<Result<Vec<_>, _>>()?, keys);
    let sql = "DELETE FROM series WHERE step = ? AND dimension = ? AND at = ?";
    transaction.prepare_cached(sql)?.execute(of)?;
    for (key, cell) in cells {
        let slot = Slot {
            step,
            dimension,
            at,
            key,
        };
        add(transaction, &Point { slot, cell })?;
    }
    Ok(())
}

/// Hands over the cells that are asked for.
pub(super) fn each(
    history: &Connection,
    wish: &SeriesWish,
    f: &mut dyn FnMut(Point),
) -> Result<(), IndexError> {
    let sql = "SELECT at, key, numbers, example FROM series
               WHERE step = ?1 AND dimension = ?2 AND at >= ?3 AND at < ?4
               AND (?5 IS NULL OR key = ?5) ORDER BY at, key";
    let mut statement = history.prepare_cached(sql)?;
    let mut rows = statement.query(params![
        wish.step.code(),
        wish.dimension.code(),
        time_to_sql(wish.since),
        time_to_sql(wish.until),
        wish.key,
    ])?;
    while let Some(row) = rows.next()? {
        let bytes: Vec<u8> = row.get(2)?;
        f(Point {
            slot: Slot {
                step: wish.step,
                dimension: wish.dimension,
                at: time_from(row.get(0)?),
                key: row.get(1)?,
            },
            cell: cell_from(&bytes, row.get(3)?),
        });
    }
    Ok(())
}

/// Keeps how many waited, by age.
pub(super) fn sample_waiting(
    history: &mut Connection,
    at: Timestamp,
    by_age: &[u64],
) -> Result<(), IndexError> {
    let transaction = history.transaction()?;
    for step in Step::ALL {
        for ((word, _), waiting) in AGES.iter().zip(by_age) {
            let slot = Slot {
                step,
                dimension: Dimension::Waiting,
                at: step.begin(at),
                key: (*word).to_owned(),
            };
            let cell = Cell {
                waiting: *waiting,
                ..Cell::default()
            };
            add(&transaction, &Point { slot, cell })?;
        }
    }
    Ok(transaction.commit()?)
}

/// Removes what is old, and leaves the largest keys of the hours that ended in the last two days.
pub(super) fn fold(history: &mut Connection, now: Timestamp) -> Result<(), IndexError> {
    let transaction = history.transaction()?;
    for step in Step::ALL {
        let before = Timestamp::from_millis(
            (now.as_millis()).saturating_sub(step.kept().as_millis() as u64),
        );
        for dimension in Dimension::ALL {
            let sql = "DELETE FROM series WHERE step = ? AND dimension = ? AND at < ?";
            let old = params![step.code(), dimension.code(), time_to_sql(before)];
            transaction.prepare_cached(sql)?.execute(old)?;
        }
    }
    let hour = Step::Hour.begin(now);
    let since = hour
        .as_millis()
        .saturating_sub(Step::Minute.kept().as_millis() as u64);
    for dimension in Dimension::ALL {
        let sql = "SELECT at FROM series WHERE step = ? AND dimension = ? AND at >= ? AND at < ?
                   GROUP BY at HAVING count(*) > ?";
        let mut statement = transaction.prepare_cached(sql)?;
        let hours = statement.query_map(
            params![
                Step::Hour.code(),
                dimension.code(),
                to_sql(since),
                time_to_sql(hour),
                // The rest has a row of its own.
                (Dimension::KEYS + 1) as i64,
            ],
            |r| r.get::<_, i64>(0),
        )?;
        for at in hours.collect::<Result<Vec<_>, _>>()? {
            bring_down(&transaction, dimension, time_from(at), Dimension::KEYS)?;
        }
    }
    Ok(transaction.commit()?)
}
