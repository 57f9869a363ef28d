//! The index and the history in two SQLite files.
//!
//! `index.db` is derived: deleted or damaged, it is rebuilt from the log. `history.db` is
//! primary: it is written first, and a segment of the log goes only after its records are in it.
//! Both sync at the end of every batch.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, OptionalExtension, Row as SqlRow};
use store::series::{Naming, Point, SeriesWish};
use store::{
    AttemptRow, Book, EventBounds, EventWish, HistoryFilter, HistoryRow, Page, PastEvents, Row,
    StoredEvent, StoredRecord, Waiting,
};

use super::{
    Applied, Batch, Filter, HistoryFound, Index, IndexError, Known, LaterRow, Place, QueueId,
    RecipientKey, Timestamp,
};
use crate::record::{given_from, terms_from, verdict_from};

mod about;
mod condition;
mod events;
mod expire;
mod files;
mod functions;
mod notes;
mod series;
mod waiting;
mod whole;
mod write;

use condition::history_condition;
use files::{
    CLOSED, HISTORY_FILE, INDEX_FILE, aside_name, check_index, connect, open_history, open_index,
    set_mark,
};
pub(crate) use files::{set_history_aside, set_index_aside};

const DONE: i64 = 2;

/// What the submitters begin with who may ask for their own mail alone: the keys of HTTP. Their mail is indexed by
/// submitter, and other mail pays nothing for it.
const KEY: &str = "key=";

/// The index of a real server.
pub struct SqliteIndex {
    dir: PathBuf,
    writer: Mutex<Files>,
    reader: Mutex<Files>,
    /// Whether it is to be checked at the next start: it was not read to the end yet, or could not
    /// be written.
    doubtful: AtomicBool,
    /// It was not closed in order: it is checked while it is read.
    unchecked: AtomicBool,
    /// For events, so that no list of the queue keeps them waiting; opened when first asked for.
    event_files: Mutex<Option<Files>>,
    event_wish: Mutex<EventWish>,
    /// The names that series are counted under.
    naming: Mutex<Option<Arc<dyn Naming>>>,
    /// For removing what is old; opened when first needed.
    expiring: Mutex<Option<Connection>>,
    history_found: HistoryFound,
}

struct Files {
    index: Connection,
    history: Connection,
}

impl Files {
    fn open(dir: &Path) -> Result<Self, IndexError> {
        Ok(Self {
            index: connect(&dir.join(INDEX_FILE))?,
            history: connect(&dir.join(HISTORY_FILE))?,
        })
    }
}

/// Kept as SQLite's signed integers; times beyond are "never".
fn to_sql(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

const fn time_to_sql(t: Timestamp) -> i64 {
    let ms = t.as_millis();
    if ms > i64::MAX as u64 {
        i64::MAX
    } else {
        ms as i64
    }
}

const fn time_from(n: i64) -> Timestamp {
    if n == i64::MAX {
        Timestamp::MAX
    } else {
        Timestamp::from_millis(n.unsigned_abs())
    }
}

fn small(n: i64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl SqliteIndex {
    /// Opens the two files in `dir`, making what is not there. An index that is not a file of SQLite, or of
    /// another release, is rebuilt; other damage is found by [`Index::load`].
    ///
    /// # Errors
    /// When the files cannot be used, or the history is damaged or of a later release.
    pub fn open(dir: &Path) -> Result<Self, IndexError> {
        let (index, unchecked) = match open_index(dir) {
            Ok(opened) => opened,
            // It is derived from the log; the old one is kept to be looked at.
            Err(error) if error.is_damage() => {
                set_index_aside(dir)?;
                open_index(dir)?
            }
            Err(error) => return Err(error),
        };
        let found = match dir.join(HISTORY_FILE).exists() {
            true => HistoryFound::There,
            false => HistoryFound::New,
        };
        let (history, found) = match open_history(dir) {
            Ok(history) => (history, found),
            Err(error) if error.is_damage() => {
                let kept = set_history_aside(dir).map_err(|e| in_history(dir, e))?;
                let opened = open_history(dir).map_err(|e| in_history(dir, e))?;
                (opened, HistoryFound::SetAside(kept))
            }
            Err(error) => return Err(in_history(dir, error)),
        };
        let reader = Files::open(dir)?;
        let wish = events::wish(&history)?;
        Ok(Self {
            dir: dir.to_owned(),
            writer: Mutex::new(Files { index, history }),
            reader: Mutex::new(reader),
            doubtful: AtomicBool::new(true),
            unchecked: AtomicBool::new(unchecked),
            event_files: Mutex::new(None),
            event_wish: Mutex::new(wish),
            naming: Mutex::new(None),
            expiring: Mutex::new(None),
            history_found: found,
        })
    }

    fn with_event_files<T>(
        &self,
        read: impl FnOnce(&Files) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let mut files = self.event_files.lock();
        let opened = match files.take() {
            Some(opened) => opened,
            None => Files::open(&self.dir)?,
        };
        read(files.insert(opened))
    }

    fn writer(&self) -> MutexGuard<'_, Files> {
        self.writer.lock()
    }

    fn reader(&self) -> MutexGuard<'_, Files> {
        self.reader.lock()
    }
}

/// Names the file that an error is about, which cannot be rebuilt.
fn in_history(dir: &Path, error: IndexError) -> IndexError {
    if matches!(error, IndexError::History { .. } | IndexError::Newer { .. }) {
        return error;
    }
    IndexError::History {
        file: dir.join(HISTORY_FILE),
        source: Box::new(error),
    }
}

impl Drop for SqliteIndex {
    fn drop(&mut self) {
        if !self.doubtful.load(Ordering::Relaxed) {
            // Without the mark it is checked when it is opened next.
            drop(set_mark(&self.writer().index, CLOSED));
        }
    }
}

fn place(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Place> {
    Ok(Place {
        segment: row.get(at)?,
        offset: row.get(at + 1)?,
        len: row.get(at + 2)?,
    })
}

fn key(row: &SqlRow<'_>) -> rusqlite::Result<RecipientKey> {
    Ok(RecipientKey {
        id: QueueId::from_u64(row.get::<_, i64>(0)? as u64),
        recipient: row.get(1)?,
    })
}

const WAITING_COLUMNS: &str = "r.id, r.n, m.sender, r.recipient, r.domain, r.destination, r.status,
 r.attempts, r.due, m.accepted, m.size, r.last_reply, r.last_host, m.submitter, r.route,
 m.message_id, m.subject, m.given";
const WAITING_TABLES: &str = "recipient r JOIN message m ON m.id = r.id";

fn waiting_row(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        key: key(row)?,
        sender: row.get(2)?,
        recipient: row.get(3)?,
        domain: row.get(4)?,
        destination: destination(row.get(5)?)?,
        status: status(row.get(6)?),
        attempts: small(row.get(7)?),
        due: time_from(row.get(8)?),
        accepted: time_from(row.get(9)?),
        size: row.get::<_, i64>(10)?.unsigned_abs(),
        last_reply: row.get(11)?,
        last_host: row.get(12)?,
        submitter: row.get(13)?,
        route: row.get(14)?,
        labels: labels(row, 15)?,
    })
}

/// Message-ID, subject and what was given, from a column on.
fn labels(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<mail::Labels> {
    let mut labels = mail::Labels {
        message_id: row.get(at)?,
        subject: row.get(at + 1)?,
        ..mail::Labels::default()
    };
    if let Some(given) = row.get_ref(at + 2)?.as_blob_or_null()? {
        // What cannot be read keeps no list from being shown.
        given_from(given, &mut labels).unwrap_or_default();
    }
    Ok(labels)
}

fn terms(bytes: Option<&[u8]>) -> Result<mail::Terms, IndexError> {
    let read = bytes.map_or_else(|| Ok(mail::Terms::default()), terms_from);
    read.map_err(|error| IndexError::Damaged(error.to_string()))
}

fn destination(n: i64) -> rusqlite::Result<mail::Destination> {
    let code = u8::try_from(n).ok();
    let found = code.and_then(mail::Destination::of_code);
    found.ok_or(rusqlite::Error::IntegralValueOutOfRange(0, n))
}

const fn status(n: i64) -> mail::Status {
    if n == 1 {
        mail::Status::Held
    } else {
        mail::Status::Waiting
    }
}

fn history_row(row: &SqlRow<'_>) -> rusqlite::Result<(HistoryRow, Vec<u8>)> {
    let recipient: String = row.get(3)?;
    let domain = recipient.rsplit_once('@').map_or("", |(_, d)| d).to_owned();
    let at = Timestamp::ZERO;
    let reply = mail::Reply::new(0, None, "");
    let none = mail::Verdict::own(mail::Outcome::Failed, mail::Class::Policy, reply, at);
    let history = HistoryRow {
        key: key(row)?,
        sender: row.get(2)?,
        recipient,
        domain,
        accepted: time_from(row.get(4)?),
        size: row.get::<_, i64>(5)?.unsigned_abs(),
        submitter: row.get(6)?,
        attempts: small(row.get(7)?),
        verdict: none,
        transcript: row.get(9)?,
        labels: labels(row, 10)?,
        destination: destination(row.get(13)?)?,
    };
    Ok((history, row.get(8)?))
}

fn read_verdict(bytes: &[u8]) -> Result<mail::Verdict, IndexError> {
    verdict_from(bytes).map_err(|e| IndexError::Damaged(e.to_string()))
}

impl Index for SqliteIndex {
    fn applied(&self) -> Result<Applied, IndexError> {
        let files = self.writer();
        let read = |r: &SqlRow<'_>| {
            Ok(Applied {
                spool: r.get::<_, i64>(0)? as u64,
                hot: r.get::<_, i64>(1)?.unsigned_abs(),
                cold: r.get::<_, i64>(2)?.unsigned_abs(),
            })
        };
        let sql = "SELECT spool, hot, cold FROM position";
        Ok(files
            .index
            .query_row(sql, [], read)
            .optional()?
            .unwrap_or_default())
    }

    fn highest(&self) -> Result<Option<QueueId>, IndexError> {
        let files = self.writer();
        let highest = |c: &Connection, table: &str| -> Result<Option<i64>, IndexError> {
            Ok(c.query_row(&format!("SELECT max(id) FROM {table}"), [], |r| r.get(0))?)
        };
        let waiting = highest(&files.index, "message")?;
        let highest = waiting.max(highest(&files.history, "history")?);
        Ok(highest.map(|id| QueueId::from_u64(id as u64)))
    }

    fn messages(&self) -> Result<u64, IndexError> {
        let sql = "SELECT count(*) FROM message";
        let count: i64 = self.writer().index.query_row(sql, [], |r| r.get(0))?;
        Ok(count.unsigned_abs())
    }

    fn load(
        &self,
        known: &mut dyn FnMut(Known),
        control: &mut dyn FnMut(String, Option<String>, Place),
    ) -> Result<(), IndexError> {
        if self.unchecked.swap(false, Ordering::Relaxed) {
            thread::scope(|scope| {
                let check = scope.spawn(|| check_index(&self.dir));
                let read = whole::messages(&self.dir, known);
                let checked = check.join();
                checked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                read
            })?;
        } else {
            whole::messages(&self.dir, known)?;
        }
        let files = self.writer();
        let mut statement = files
            .index
            .prepare("SELECT name, value, seg, off, len FROM control")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            control(row.get(0)?, row.get(1)?, place(row, 2)?);
        }
        self.doubtful.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn finished(&self, id: QueueId) -> Result<Vec<u32>, IndexError> {
        let files = self.writer();
        let sql = "SELECT n FROM history WHERE id = ?";
        let mut statement = files.history.prepare_cached(sql)?;
        let numbers = statement.query_map([id.as_u64() as i64], |r| r.get(0))?;
        Ok(numbers.collect::<rusqlite::Result<_>>()?)
    }

    fn history_found(&self) -> HistoryFound {
        self.history_found.clone()
    }

    fn copy_history(&self, to: &Path) -> Result<(), IndexError> {
        let to = to.join(HISTORY_FILE);
        let name = to.to_str();
        let name = name.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidFilename))?;
        // A connection of its own: the writer goes on.
        let connection = connect(&self.dir.join(HISTORY_FILE))?;
        connection.execute("VACUUM INTO ?", [name])?;
        Ok(std::fs::File::open(&to)?.sync_all()?)
    }

    fn keep_aside(&self) -> Option<String> {
        let name = aside_name(&self.dir, "index");
        let to = self.dir.join(&name);
        let to = to.to_str()?;
        let kept = self.writer().index.execute("VACUUM INTO ?", [to]);
        kept.is_ok().then_some(name)
    }

    fn clear(&self) -> Result<(), IndexError> {
        let files = self.writer();
        files.index.execute_batch(
            "BEGIN; DELETE FROM position; DELETE FROM message; DELETE FROM recipient;
             DELETE FROM control; COMMIT",
        )?;
        self.doubtful.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn apply(&self, batch: &Batch) -> Result<(), IndexError> {
        let mut files = self.writer();
        let Files { index, history } = &mut *files;
        let naming = self.naming.lock().clone();
        let applied = write::history(index, history, batch, &self.event_wish(), naming)
            .map_err(|e| in_history(&self.dir, e))
            .and_then(|()| write::index(index, batch));
        if applied.is_err() {
            self.doubtful.store(true, Ordering::Relaxed);
        }
        applied
    }

    fn scan(&self, f: &mut dyn FnMut(Waiting<'_>)) -> Result<(), IndexError> {
        whole::recipients(&self.dir, f)
    }

    fn each(
        &self,
        filter: &Filter,
        page: Page,
        now: Timestamp,
        f: &mut dyn FnMut(Row),
    ) -> Result<(), IndexError> {
        waiting::each(self, filter, page, now, f)
    }

    fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, IndexError> {
        waiting::count(self, filter, now)
    }

    fn oldest_due(&self, now: Timestamp) -> Result<Option<Timestamp>, IndexError> {
        waiting::oldest_due(self, now)
    }

    fn history_count(&self, filter: &HistoryFilter, most: u64) -> Result<u64, IndexError> {
        waiting::history_count(self, filter, most)
    }

    fn history(
        &self,
        filter: &HistoryFilter,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<HistoryRow>, IndexError> {
        let condition = history_condition(filter);
        let sql = format!(
            "SELECT id, n, sender, recipient, accepted, size, submitter, attempts, verdict,
             transcript, message_id, subject, given, destination FROM history WHERE {} ORDER BY id DESC, n DESC LIMIT {} OFFSET {}",
            condition.sql,
            to_sql(limit),
            to_sql(offset),
        );
        let files = self.reader();
        let mut statement = files.history.prepare_cached(&sql)?;
        let parameters = rusqlite::params_from_iter(condition.parameters);
        let mut found = Vec::new();
        for row in statement.query_map(parameters, history_row)? {
            let (mut row, verdict) = row?;
            row.verdict = read_verdict(&verdict)?;
            found.push(row);
        }
        Ok(found)
    }

    fn attempts(&self, id: QueueId) -> Result<Vec<AttemptRow>, IndexError> {
        let files = self.reader();
        let sql = "SELECT id, n, attempts, verdict, transcript FROM attempt WHERE id = ?
                   ORDER BY sequence, n";
        let mut statement = files.history.prepare_cached(sql)?;
        let mut rows = statement.query([id.as_u64() as i64])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let verdict: Vec<u8> = row.get(3)?;
            found.push(AttemptRow {
                key: key(row)?,
                attempts: small(row.get(2)?),
                verdict: read_verdict(&verdict)?,
                transcript: row.get(4)?,
            });
        }
        Ok(found)
    }

    fn find_token(&self, token: &str) -> Result<Option<QueueId>, IndexError> {
        let files = self.reader();
        let mut statement = files
            .history
            .prepare_cached("SELECT id FROM token WHERE token = ?")?;
        let id: Option<i64> = statement.query_row([token], |r| r.get(0)).optional()?;
        Ok(id.map(|id| QueueId::from_u64(id as u64)))
    }

    fn find_token_beginning(&self, prefix: &str) -> Result<Option<(String, QueueId)>, IndexError> {
        let files = self.reader();
        let mut statement = files.history.prepare_cached(
            "SELECT token, id FROM token WHERE token >= ? ORDER BY token LIMIT 1",
        )?;
        let row = |r: &rusqlite::Row<'_>| Ok((r.get::<_, String>(0)?, r.get::<_, i64>(1)?));
        let first = statement.query_row([prefix], row).optional()?;
        let first = first.filter(|(token, _)| token.starts_with(prefix));
        Ok(first.map(|(token, id)| (token, QueueId::from_u64(id as u64))))
    }

    fn later(&self, id: QueueId) -> Result<Vec<LaterRow>, IndexError> {
        notes::later(&self.reader().history, id)
    }

    fn entries(&self, prefix: &str, f: &mut dyn FnMut(String, String)) -> Result<(), IndexError> {
        notes::entries(&self.reader().history, prefix, f)
    }

    fn expire(&self, before: Timestamp, tokens: Timestamp, limit: u64) -> Result<u64, IndexError> {
        expire::step(self, before, tokens, limit)
    }

    fn event_wish(&self) -> EventWish {
        self.event_wish.lock().clone()
    }

    fn keep_events(&self, wish: &EventWish, from: Applied) -> Result<(), IndexError> {
        events::keep(&self.writer().history, wish, from)?;
        let mut kept = self.event_wish.lock();
        *kept = wish.clone();
        Ok(())
    }

    fn events(&self, after: u64, limit: u64) -> Result<Vec<StoredEvent>, IndexError> {
        self.with_event_files(|files| events::list(&files.history, after, limit))
    }

    fn events_of(
        &self,
        submitter: &str,
        after: u64,
        limit: u64,
    ) -> Result<Vec<StoredEvent>, IndexError> {
        self.with_event_files(|files| events::list_of(&files.history, submitter, after, limit))
    }

    fn event_bounds(&self) -> Result<EventBounds, IndexError> {
        self.with_event_files(|files| events::bounds(&files.history))
    }

    fn forget_events(&self, upto: u64, before: Timestamp, limit: u64) -> Result<u64, IndexError> {
        events::forget(&self.writer().history, upto, before, limit)
    }

    fn past_events(
        &self,
        span: (Timestamp, Timestamp),
        after: QueueId,
        limit: u64,
    ) -> Result<PastEvents, IndexError> {
        self.with_event_files(|files| {
            events::past(&files.index, &files.history, span, after, limit)
        })
    }

    fn records(
        &self,
        book: Book,
        before: u64,
        limit: u64,
    ) -> Result<Vec<StoredRecord>, IndexError> {
        notes::records(&self.reader().history, book, before, limit)
    }

    fn forget_records(&self, book: Book, before: Timestamp, limit: u64) -> Result<u64, IndexError> {
        notes::forget_records(&self.writer().history, book, before, limit)
    }

    fn name_series(&self, naming: Arc<dyn Naming>) {
        let mut kept = self.naming.lock();
        *kept = Some(naming);
    }

    fn series(&self, wish: &SeriesWish, f: &mut dyn FnMut(Point)) -> Result<(), IndexError> {
        series::each(&self.reader().history, wish, f)
    }

    fn sample_waiting(&self, at: Timestamp) -> Result<(), IndexError> {
        let by_age = waiting::by_age(self, at)?;
        series::sample_waiting(&mut self.writer().history, at, &by_age)
    }

    fn fold_series(&self, now: Timestamp) -> Result<(), IndexError> {
        series::fold(&mut self.writer().history, now)
    }
}
