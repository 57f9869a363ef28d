//! Reading all that waits, as a start does.
//!
//! Ten million recipients are read by several threads, each with a connection of its own and with parts of the
//! ids in turn, while the caller's thread takes in what they read. A part is read in one transaction from
//! two cursors in the order of their ids, so that no message is looked up for its recipients.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use rusqlite::{Connection, Row as SqlRow};
use store::Waiting;

use super::files::{INDEX_FILE, connect};
use super::{
    DONE, IndexError, Known, QueueId, destination, key, place, small, status, terms, time_from,
};

/// Parts that the ids are cut into.
const PARTS: u64 = 256;
/// At most so many threads read: more would wait for the one that takes in.
const READERS: usize = 4;
/// Rows that are handed over at once.
const TOGETHER: usize = 128;
/// At most so many handovers wait.
const DEPTH: usize = 32;

/// Hands over every message, with all of its recipients.
pub(super) fn messages(dir: &Path, take: &mut dyn FnMut(Known)) -> Result<(), IndexError> {
    read(dir, read_messages, take)
}

/// Hands over every waiting recipient.
pub(super) fn recipients(dir: &Path, take: &mut dyn FnMut(Waiting<'_>)) -> Result<(), IndexError> {
    read(dir, read_recipients, &mut |row: Owned| take(row.waiting()))
}

/// What reads a part and hands its rows over one by one, until one is refused.
type ReadPart<T> =
    fn(&Connection, &Range<i64>, &mut dyn FnMut(T) -> bool) -> Result<(), IndexError>;

fn read<T: Send>(
    dir: &Path,
    read_part: ReadPart<T>,
    take: &mut dyn FnMut(T),
) -> Result<(), IndexError> {
    let connection = connect(&dir.join(INDEX_FILE))?;
    let sql = "SELECT min(id), max(id) FROM message";
    let ends: (Option<i64>, Option<i64>) =
        connection.query_row(sql, [], |r| Ok((r.get(0)?, r.get(1)?)))?;
    let (Some(first), Some(last)) = ends else {
        return Ok(());
    };
    let parts = Parts::new(first, last);
    let threads = thread::available_parallelism().map_or(1, |n| n.get().min(READERS));
    let (to, from) = sync_channel::<Vec<T>>(DEPTH);
    thread::scope(|scope| {
        let mut readers = Vec::new();
        for _ in 0..threads {
            let (to, parts) = (to.clone(), &parts);
            readers.push(scope.spawn(move || read_parts(dir, parts, read_part, &to)));
        }
        drop(to);
        for rows in from {
            rows.into_iter().for_each(&mut *take);
        }
        let mut result = Ok(());
        for reader in readers {
            let ended = reader.join();
            let ended = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result = result.and(ended);
        }
        result
    })
}

fn read_parts<T>(
    dir: &Path,
    parts: &Parts,
    read_part: ReadPart<T>,
    to: &SyncSender<Vec<T>>,
) -> Result<(), IndexError> {
    let connection = connect(&dir.join(INDEX_FILE))?;
    // What is read once needs no room to be kept in.
    connection.execute_batch("PRAGMA cache_size = -1024")?;
    let mut rows = Vec::with_capacity(TOGETHER);
    while let Some(part) = parts.next() {
        let read = read_part(&connection, &part, &mut |row| {
            rows.push(row);
            if rows.len() < TOGETHER {
                return true;
            }
            let full = std::mem::replace(&mut rows, Vec::with_capacity(TOGETHER));
            to.send(full).is_ok()
        });
        if read.is_err() {
            // The others need not go on.
            parts.stop.store(true, Ordering::Relaxed);
            return read;
        }
    }
    // Where it is refused, another has failed.
    to.send(rows).unwrap_or_default();
    Ok(())
}

/// The ids, cut into parts of the same width.
struct Parts {
    first: i64,
    last: i64,
    width: u64,
    taken: AtomicU64,
    stop: AtomicBool,
}

impl Parts {
    fn new(first: i64, last: i64) -> Self {
        Self {
            first,
            last,
            width: last.abs_diff(first) / PARTS + 1,
            taken: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }

    /// The next part.
    fn next(&self) -> Option<Range<i64>> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        if number >= PARTS {
            return None;
        }
        let start = self.first.checked_add_unsigned(number * self.width)?;
        let end = start.saturating_add_unsigned(self.width);
        (start <= self.last).then_some(start..end)
    }
}

/// Steps through the messages of a part and their recipients at the same time; ends when `each` says so.
fn merge<M>(
    connection: &Connection,
    part: &Range<i64>,
    [messages, recipients]: [&str; 2],
    read: fn(&SqlRow<'_>) -> Result<M, IndexError>,
    each: &mut dyn FnMut(&M, &SqlRow<'_>) -> Result<bool, IndexError>,
) -> Result<(), IndexError> {
    // Both cursors see the same.
    let transaction = connection.unchecked_transaction()?;
    let mut messages = transaction.prepare_cached(messages)?;
    let mut recipients = transaction.prepare_cached(recipients)?;
    let bounds = [part.start, part.end];
    let (mut messages, mut recipients) = (messages.query(bounds)?, recipients.query(bounds)?);
    let mut current: Option<(i64, M)> = None;
    while let Some(recipient) = recipients.next()? {
        let id: i64 = recipient.get(0)?;
        while current.as_ref().is_none_or(|(known, _)| *known < id) {
            let Some(message) = messages.next()? else {
                return Ok(());
            };
            current = Some((message.get(0)?, read(message)?));
        }
        if let Some((known, message)) = &current
            && *known == id
            && !each(message, recipient)?
        {
            return Ok(());
        }
    }
    Ok(())
}

const OF_MESSAGES: [&str; 2] = [
    "SELECT id, seg, off, len, copy, body_file, gone_seg, gone_off, gone_len FROM message
     WHERE id >= ?1 AND id < ?2 ORDER BY id",
    "SELECT id, n, seg, off, len, status FROM recipient WHERE id >= ?1 AND id < ?2 ORDER BY id, n",
];

fn read_messages(
    connection: &Connection,
    part: &Range<i64>,
    take: &mut dyn FnMut(Known) -> bool,
) -> Result<(), IndexError> {
    let mut current: Option<Known> = None;
    let read = |row: &SqlRow<'_>| {
        Ok(Known {
            id: QueueId::from_u64(row.get::<_, i64>(0)? as u64),
            place: place(row, 1)?,
            from: row.get(4)?,
            body_file: row.get(5)?,
            gone: place(row, 6)?,
            slots: Vec::new(),
        })
    };
    merge(connection, part, OF_MESSAGES, read, &mut |message, row| {
        let slot = (place(row, 2)?, row.get::<_, i64>(5)? == DONE);
        if let Some(known) = current.as_mut().filter(|known| known.id == message.id) {
            known.slots.push(slot);
            return Ok(true);
        }
        let next = Known {
            slots: vec![slot],
            ..message.clone()
        };
        Ok(current.replace(next).is_none_or(&mut *take))
    })?;
    if let Some(last) = current {
        take(last);
    }
    Ok(())
}

const OF_RECIPIENTS: [&str; 2] = [
    "SELECT id, sender = '', submitter, size, accepted, terms FROM message
     WHERE id >= ?1 AND id < ?2 ORDER BY id",
    "SELECT id, n, domain, status, attempts, due, delay_notified, destination, notify, route
     FROM recipient WHERE id >= ?1 AND id < ?2 AND status <> 2 ORDER BY id, n",
];

/// What the recipients of a message share.
struct Shared {
    null_sender: bool,
    submitter: String,
    size: u64,
    accepted: mail::Timestamp,
    terms: mail::Terms,
}

/// A waiting recipient on its way from one thread to another.
struct Owned {
    /// Its texts are empty.
    row: Waiting<'static>,
    /// Domain and submitter.
    text: String,
    domain_len: usize,
    route: Option<String>,
}

impl Owned {
    fn waiting(&self) -> Waiting<'_> {
        let (domain, submitter) = self.text.split_at(self.domain_len);
        Waiting {
            domain,
            submitter,
            route: self.route.as_deref(),
            ..self.row
        }
    }
}

fn read_recipients(
    connection: &Connection,
    part: &Range<i64>,
    take: &mut dyn FnMut(Owned) -> bool,
) -> Result<(), IndexError> {
    let read = |row: &SqlRow<'_>| {
        Ok(Shared {
            null_sender: row.get(1)?,
            submitter: row.get(2)?,
            size: row.get::<_, i64>(3)?.unsigned_abs(),
            accepted: time_from(row.get(4)?),
            terms: terms(row.get_ref(5)?.as_blob_or_null().unwrap_or_default())?,
        })
    };
    merge(
        connection,
        part,
        OF_RECIPIENTS,
        read,
        &mut |message, row| {
            let domain = row.get_ref(2)?.as_str().unwrap_or_default();
            let waiting = Waiting {
                key: key(row)?,
                domain: "",
                null_sender: message.null_sender,
                submitter: "",
                size: message.size,
                accepted: message.accepted,
                status: status(row.get(3)?),
                attempts: small(row.get(4)?),
                due: time_from(row.get(5)?),
                delay_notified: row.get(6)?,
                destination: destination(row.get(7)?)?,
                notify: mail::Notify::from_bits(row.get(8)?),
                terms: message.terms,
                route: None,
            };
            Ok(take(Owned {
                row: waiting,
                text: [domain, &message.submitter].concat(),
                domain_len: domain.len(),
                route: row.get(9)?,
            }))
        },
    )
}
