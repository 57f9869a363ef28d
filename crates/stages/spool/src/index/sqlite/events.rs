//! Events in the history: kept in the transaction that takes in what they are about.

use std::collections::{BTreeSet, HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, Transaction, params};
use store::{
    Event, EventAbout, EventBounds, EventKinds, EventWish, Happened, LaterRow, PastEvents,
    StoredEvent,
};

use super::super::events::{Lookup, gather};
use super::super::{Applied, Batch, IndexError, QueueId, RecipientKey, Timestamp};
use super::about::number;
use super::{
    DONE, KEY, destination, key, labels, read_verdict, small, time_from, time_to_sql, to_sql,
};
use crate::record::{event_bytes, event_from, origin_from};

/// How far events are kept: up to which frame of which log, and the last place given.
struct Seen {
    spool: i64,
    hot: u64,
    last: u64,
}

fn seen(history: &Connection) -> Result<Seen, IndexError> {
    let sql = "SELECT spool, hot, last FROM event_state";
    let row = |r: &SqlRow<'_>| {
        Ok(Seen {
            spool: r.get(0)?,
            hot: r.get::<_, i64>(1)?.unsigned_abs(),
            last: r.get::<_, i64>(2)?.unsigned_abs(),
        })
    };
    Ok(history.prepare_cached(sql)?.query_row([], row)?)
}

pub(super) fn wish(history: &Connection) -> Result<EventWish, IndexError> {
    let row = |r: &SqlRow<'_>| {
        Ok(EventWish {
            kinds: EventKinds::from_bits(r.get(0)?),
            entries: r.get(1)?,
        })
    };
    Ok(history.query_row("SELECT kinds, entries FROM event_state", [], row)?)
}

/// What is durable already is not an event of the new wish, though the log may be read again.
pub(super) fn keep(
    history: &Connection,
    wish: &EventWish,
    from: Applied,
) -> Result<(), IndexError> {
    history.execute(
        "UPDATE event_state SET spool = ?, hot = ?, kinds = ?, entries = ?",
        params![
            from.spool as i64,
            to_sql(from.hot),
            wish.kinds.bits(),
            wish.entries
        ],
    )?;
    Ok(())
}

struct Tables<'a> {
    known: rusqlite::CachedStatement<'a>,
    finished: rusqlite::CachedStatement<'a>,
    attempt: rusqlite::CachedStatement<'a>,
}

/// The columns of [`about_row`], from the tables of the waiting.
const WAITING: &str = "SELECT r.id, r.n, m.sender, r.recipient, m.accepted, m.size, m.submitter, \
                       m.origin, r.destination, m.message_id, m.subject, m.given FROM recipient r JOIN message m ON m.id = r.id";
/// And from the history.
const FINISHED: &str = "SELECT id, n, sender, recipient, accepted, size, submitter, origin, \
                        destination, message_id, subject, given FROM history";

fn about_row(r: &SqlRow<'_>) -> rusqlite::Result<(EventAbout, Option<Vec<u8>>)> {
    let about = EventAbout {
        key: key(r)?,
        sender: r.get(2)?,
        recipient: r.get(3)?,
        accepted: time_from(r.get(4)?),
        size: r.get::<_, i64>(5)?.unsigned_abs(),
        submitter: r.get(6)?,
        origin: store::Origin::default(),
        destination: destination(r.get(8)?)?,
        labels: labels(r, 9)?,
    };
    Ok((about, r.get(7)?))
}

fn with_origin(
    (mut about, origin): (EventAbout, Option<Vec<u8>>),
) -> Result<EventAbout, IndexError> {
    let read = origin_from(origin.as_deref());
    about.origin = read.map_err(|e| IndexError::Damaged(e.to_string()))?;
    Ok(about)
}

impl Lookup for Tables<'_> {
    fn about(&mut self, key: RecipientKey) -> Result<Option<EventAbout>, IndexError> {
        let of = params![number(key.id), key.recipient];
        let waiting = self.known.query_row(of, about_row).optional()?;
        let found = match waiting {
            Some(found) => Some(found),
            None => self.finished.query_row(of, about_row).optional()?,
        };
        found.map(with_origin).transpose()
    }

    fn attempted(&mut self, key: RecipientKey, at: Timestamp) -> Result<bool, IndexError> {
        let of = params![number(key.id), key.recipient, time_to_sql(at)];
        Ok(self.attempt.exists(of)?)
    }
}

/// Keeps the events of a batch. Comes after its outcomes, and before its attempts.
pub(super) fn insert(
    index: &Connection,
    transaction: &Transaction<'_>,
    batch: &Batch,
    wish: &EventWish,
) -> Result<(), IndexError> {
    let before = seen(transaction)?;
    let spool = batch.applied.spool as i64;
    let hot = match before.spool == spool {
        true => before.hot,
        false => 0,
    };
    let mut tables = Tables {
        known: index.prepare_cached(&format!("{WAITING} WHERE r.id = ? AND r.n = ?"))?,
        finished: transaction.prepare_cached(&format!("{FINISHED} WHERE id = ? AND n = ?"))?,
        attempt: transaction
            .prepare_cached("SELECT 1 FROM attempt WHERE id = ? AND n = ? AND at = ?")?,
    };
    let events = gather(batch, hot, wish, &mut tables)?;
    if events.is_empty() {
        return Ok(());
    }
    let mut insert = transaction.prepare_cached("INSERT INTO event VALUES (?, ?, ?, ?)")?;
    let mut last = before.last;
    for event in &events {
        last += 1;
        let at = event.at().map_or(0, time_to_sql);
        let submitter = event.about.as_ref().map(|about| about.submitter.as_str());
        let submitter = submitter.filter(|name| name.starts_with(KEY));
        insert.execute(params![to_sql(last), at, event_bytes(event), submitter])?;
    }
    let sql = "UPDATE event_state SET spool = ?, hot = ?, last = ?";
    let mut state = transaction.prepare_cached(sql)?;
    let hot = batch.seen().max(hot);
    state.execute(params![spool, to_sql(hot), to_sql(last)])?;
    Ok(())
}

pub(super) fn list(
    history: &Connection,
    after: u64,
    limit: u64,
) -> Result<Vec<StoredEvent>, IndexError> {
    let sql = "SELECT place, content FROM event WHERE place > ? ORDER BY place LIMIT ?";
    let mut statement = history.prepare_cached(sql)?;
    stored(statement.query([to_sql(after), to_sql(limit)])?)
}

/// The same, of messages that this key submitted. What was kept by an earlier release is not among them.
pub(super) fn list_of(
    history: &Connection,
    submitter: &str,
    after: u64,
    limit: u64,
) -> Result<Vec<StoredEvent>, IndexError> {
    let sql = format!(
        "SELECT place, content FROM event WHERE substr(submitter, 1, 4) = '{KEY}' AND submitter = ?
         AND place > ? ORDER BY place LIMIT ?"
    );
    let mut statement = history.prepare_cached(&sql)?;
    stored(statement.query(params![submitter, to_sql(after), to_sql(limit)])?)
}

fn stored(mut rows: rusqlite::Rows<'_>) -> Result<Vec<StoredEvent>, IndexError> {
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let content = row.get_ref(1)?.as_blob_or_null().unwrap_or_default();
        let event = event_from(content.unwrap_or_default());
        found.push(StoredEvent {
            place: row.get::<_, i64>(0)?.unsigned_abs(),
            event: event.map_err(|e| IndexError::Damaged(e.to_string()))?,
        });
    }
    Ok(found)
}

pub(super) fn bounds(history: &Connection) -> Result<EventBounds, IndexError> {
    let last = seen(history)?.last;
    let first: Option<i64> = history
        .prepare_cached("SELECT min(place) FROM event")?
        .query_row([], |r| r.get(0))?;
    let kept = first.map_or(0, |first| (last + 1).saturating_sub(first.unsigned_abs()));
    Ok(EventBounds { kept, last })
}

pub(super) fn forget(
    history: &Connection,
    upto: u64,
    before: Timestamp,
    limit: u64,
) -> Result<u64, IndexError> {
    let mut upto = to_sql(upto);
    if before != Timestamp::MAX {
        // No index knows the times: the search ends where nothing could be removed anyway.
        let sql = "SELECT place FROM event WHERE at >= ? AND place <= ? ORDER BY place LIMIT 1";
        let young: Option<i64> = history
            .prepare_cached(sql)?
            .query_row([time_to_sql(before), upto], |r| r.get(0))
            .optional()?;
        upto = young.map_or(upto, |young| upto.min(young - 1));
    }
    let sql = "DELETE FROM event WHERE place IN
               (SELECT place FROM event WHERE place <= ? ORDER BY place LIMIT ?)";
    let removed = history
        .prepare_cached(sql)?
        .execute(params![upto, to_sql(limit)])?;
    Ok(removed as u64)
}

/// The messages that a part of the past is about: after the first, up to the second.
type Window = (i64, i64);

/// How far about `limit` recipients reach, in either file.
fn window(
    index: &Connection,
    history: &Connection,
    after: QueueId,
    limit: u64,
) -> Result<(Window, bool), IndexError> {
    let after = number(after);
    let end = |c: &Connection, table: &str| -> rusqlite::Result<Option<i64>> {
        let sql = format!("SELECT id FROM {table} WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?");
        c.prepare_cached(&sql)?
            .query_row([after, to_sql(limit)], |r| r.get(0))
            .optional()
    };
    let ends = [end(index, "recipient")?, end(history, "history")?];
    let end = ends.into_iter().flatten().min();
    Ok(((after, end.unwrap_or(i64::MAX)), end.is_none()))
}

pub(super) fn past(
    index: &Connection,
    history: &Connection,
    (since, until): (Timestamp, Timestamp),
    after: QueueId,
    limit: u64,
) -> Result<PastEvents, IndexError> {
    let (window, last) = window(index, history, after, limit)?;
    let within = |at: Timestamp| at >= since && at < until;
    // The waiting first: one that ends meanwhile is found in the history all the same.
    let mut known = HashMap::new();
    let sql = format!("{WAITING} WHERE r.id > ? AND r.id <= ? AND r.status <> {DONE}");
    about_all(index, &sql, window, &mut known)?;
    let sql = format!("{FINISHED} WHERE id > ? AND id <= ?");
    about_all(history, &sql, window, &mut known)?;
    let mut events = Vec::new();
    let accepted = known.values().filter(|about| within(about.accepted));
    events.extend(accepted.map(|about| Event {
        about: Some(about.clone()),
        what: Happened::Accepted,
    }));
    deferred(history, window, &known, &mut events)?;
    ended(history, window, &known, &mut events)?;
    for row in later(history, window)? {
        if let Some(about) = known.get(&row.key) {
            events.push(Event::later(about.clone(), &row));
        }
    }
    events.retain(|event| event.at().is_some_and(within));
    // An acceptance comes before all that followed it within its millisecond.
    let order = |e: &Event| (e.at(), !matches!(e.what, Happened::Accepted));
    events.sort_by_cached_key(|e| (order(e), e.about.as_ref().map(|about| about.key)));
    let next = (!last).then(|| QueueId::from_u64(window.1 as u64));
    Ok(PastEvents { events, next })
}

fn about_all(
    connection: &Connection,
    sql: &str,
    (after, upto): Window,
    known: &mut HashMap<RecipientKey, EventAbout>,
) -> Result<(), IndexError> {
    let mut statement = connection.prepare_cached(sql)?;
    for row in statement.query_map([after, upto], about_row)? {
        let about = with_origin(row?)?;
        known.insert(about.key, about);
    }
    Ok(())
}

fn deferred(
    history: &Connection,
    (after, upto): Window,
    known: &HashMap<RecipientKey, EventAbout>,
    events: &mut Vec<Event>,
) -> Result<(), IndexError> {
    let sql = "SELECT id, n, attempts, due, verdict FROM attempt WHERE id > ? AND id <= ?
               ORDER BY id, n, sequence";
    let mut statement = history.prepare_cached(sql)?;
    let mut rows = statement.query([after, upto])?;
    let mut told = HashSet::new();
    while let Some(row) = rows.next()? {
        let Some(about) = known.get(&key(row)?) else {
            continue;
        };
        let verdict = read_verdict(&row.get::<_, Vec<u8>>(4)?)?;
        if told.insert((about.key, verdict.at)) {
            events.push(Event {
                about: Some(about.clone()),
                what: Happened::Deferred {
                    attempts: small(row.get(2)?),
                    due: row.get::<_, Option<i64>>(3)?.map(time_from),
                    verdict: Box::new(verdict),
                },
            });
        }
    }
    Ok(())
}

fn ended(
    history: &Connection,
    (after, upto): Window,
    known: &HashMap<RecipientKey, EventAbout>,
    events: &mut Vec<Event>,
) -> Result<(), IndexError> {
    let sql = "SELECT id, n, attempts, verdict FROM history WHERE id > ? AND id <= ?";
    let mut statement = history.prepare_cached(sql)?;
    let mut rows = statement.query([after, upto])?;
    while let Some(row) = rows.next()? {
        if let Some(about) = known.get(&key(row)?) {
            events.push(Event {
                about: Some(about.clone()),
                what: Happened::Ended {
                    attempts: small(row.get(2)?),
                    verdict: Box::new(read_verdict(&row.get::<_, Vec<u8>>(3)?)?),
                },
            });
        }
    }
    Ok(())
}

fn later(history: &Connection, (after, upto): Window) -> Result<Vec<LaterRow>, IndexError> {
    let sql = "SELECT DISTINCT id FROM later WHERE id > ? AND id <= ? ORDER BY id";
    let mut statement = history.prepare_cached(sql)?;
    let ids = statement.query_map([after, upto], |r| r.get::<_, i64>(0))?;
    let ids = ids.collect::<Result<BTreeSet<_>, _>>()?;
    let mut rows = Vec::new();
    for id in ids {
        rows.extend(super::notes::later(history, QueueId::from_u64(id as u64))?);
    }
    Ok(rows)
}
