//! The spool as callers see it.

use std::ops::Bound;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use mail::{IdSource, Message, QueueId, RecipientKey, RecipientState, Timestamp};
use store::{
    AttemptRow, Callback, CommitError, Damaged, Filter, HistoryFilter, HistoryRow, Op, Page,
    ReadError, Row, Waiting,
};

use crate::ballast;
use crate::body;
use crate::committer::Committer;
use crate::index::{Index, IndexError};
use crate::keeper::Keeper;
use crate::lane::refill;
use crate::options::Options;
use crate::record::{Body, Record};
use crate::replay::{OpenError, Recovered, Start, start};
use crate::shared::{Counters, Feed, Pending, Pool, Queue, Shared, lock};
use crate::storage::Storage;

mod events;
mod notes;
mod opening;
mod reading;
mod stats;
pub(crate) mod threads;
pub(crate) mod withdraw;

use threads::{enqueue, spawn};

/// The durable queue. Cheap to share by reference; all methods may be called from many threads.
pub struct Spool {
    pub(crate) shared: Arc<Shared>,
    /// The threads, or what they would do.
    work: Work,
}

enum Work {
    Threads {
        handles: Mutex<Vec<JoinHandle<()>>>,
        bodies: Mutex<Option<mpsc::Sender<Pending>>>,
    },
    Stepped(Mutex<(Committer, Keeper)>),
}

impl Spool {
    /// Opens the spool on a storage.
    ///
    /// # Errors
    /// As [`Spool::open_dir`].
    pub fn open(
        options: Options,
        storage: Arc<dyn Storage>,
        index: Arc<dyn Index>,
    ) -> Result<(Self, Recovered), OpenError> {
        let gave_up_ballast = ballast::give_up_if_full(&*storage, options.ballast_bytes);
        let start = start(&options, &storage, &*index)?;
        let Start {
            table,
            hot,
            cold,
            applied,
            last_number,
            free,
            last_free,
            damaged,
            list,
            restate,
            mut recovered,
        } = start;
        recovered.gave_up_ballast = gave_up_ballast;
        let room = storage.free_bytes();
        let is_low = room.is_ok_and(|room| room < options.reserve_bytes);
        let highest = recovered.highest.unwrap_or(QueueId::from_u64(0));
        let shared = Arc::new(Shared {
            spool_id: applied.spool,
            ids: Mutex::new(IdSource::above(highest)),
            storage,
            index,
            queue: Mutex::new(Queue::default()),
            queue_changed: Condvar::new(),
            table: Mutex::new(table),
            pool: Mutex::new(Pool {
                ready: free,
                length: options.first_step(),
                failed: None,
                last_number,
                last_free,
            }),
            pool_changed: Condvar::new(),
            feed: Mutex::new(Feed {
                fed: applied,
                applied,
                ..Feed::default()
            }),
            feed_changed: Condvar::new(),
            refused: Mutex::new(None),
            poison: Mutex::new(None),
            low_on_space: is_low.into(),
            refuses_mail: false.into(),
            closing: false.into(),
            reclaiming: Mutex::new(()),
            damaged: Mutex::new(damaged),
            counters: Counters::default(),
            event_listener: Mutex::new(None),
            options,
        });
        let committer = Committer::new(Arc::clone(&shared), hot);
        let keeper = Keeper::new(Arc::clone(&shared), cold, list);
        let work = if shared.options.threads {
            spawn(&shared, committer, keeper).map_err(|source| OpenError::Io {
                doing: "start the threads",
                source,
            })?
        } else {
            refill(&shared);
            Work::Stepped(Mutex::new((committer, keeper)))
        };
        let spool = Self { shared, work };
        if !restate.is_empty() {
            // A failure is met again by the next commit; until then memory and index know them.
            spool.commit(restate, Box::new(|_| {}));
        }
        Ok((spool, recovered))
    }

    /// Makes `ops` durable, all or none of them; what hosts have said is cut to
    /// [`Op::REPLY_MAX`] and [`Op::TRANSCRIPT_MAX`]. `done` is called from the committer's thread and
    /// must not block. Returns at once.
    pub fn commit(&self, ops: Vec<Op>, done: Callback) {
        self.send(ops, done, None);
    }

    /// As [`Spool::commit`], blocking until the outcome is known.
    ///
    /// # Errors
    /// When nothing of it is in the queue.
    pub fn commit_wait(&self, ops: Vec<Op>) -> Result<(), CommitError> {
        let (tell, told) = mpsc::sync_channel(1);
        self.commit(
            ops,
            Box::new(move |result| {
                // Whoever asked is still there: it waits below.
                drop(tell.send(result));
            }),
        );
        self.commit_step();
        told.recv().unwrap_or(Err(CommitError::Closed))
    }

    /// Blocks until every commit made before this call has had its callback; others may go on. Afterwards [`Spool::flush_index`] brings the index as far as they went.
    pub fn drain(&self) {
        let (tell, told) = mpsc::sync_channel(1);
        // It goes the longest way that a commit can go, through the contents, and all keep their
        // order; a commit of nothing is answered after those before it.
        let pending = Pending {
            ops: Vec::new(),
            stored: Vec::new(),
            done: Box::new(move |_| tell.send(()).unwrap_or_default()),
            withdrawal: None,
        };
        match &self.work {
            Work::Threads { bodies, .. } => {
                let bodies = lock(bodies);
                // Refused only by a spool that is closed: then there is nothing to wait for.
                drop(bodies.as_ref().map(|b| b.send(pending)));
            }
            Work::Stepped(_) => enqueue(&self.shared, pending),
        }
        self.commit_step();
        // An error says that the threads are gone, and the commits with them.
        told.recv().unwrap_or_default();
    }

    /// Without threads: writes the commits that wait; returns whether there were any.
    pub fn commit_step(&self) -> bool {
        match &self.work {
            Work::Stepped(work) => {
                let mut worked = false;
                while lock(work).0.step() {
                    worked = true;
                }
                worked
            }
            Work::Threads { .. } => false,
        }
    }

    /// Without threads: commits, indexes, does one piece of housekeeping; whether there was anything to do.
    pub fn step(&self) -> bool {
        let committed = self.commit_step();
        match &self.work {
            Work::Stepped(work) => {
                let indexed = self.shared.index_step();
                lock(work).1.step() || committed || indexed
            }
            Work::Threads { .. } => false,
        }
    }

    /// Reads a message that waits; `None` when it has no waiting recipient any more. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// When the disk refuses, or the message is damaged.
    pub fn read(&self, id: QueueId) -> Result<Option<Message>, ReadError> {
        self.shared.with_record(
            id,
            |table| {
                let entry = table.entries.get(&id).filter(|e| !e.is_finished());
                entry.map(|e| e.place)
            },
            |record| match record {
                Record::Message(m) if m.id == id => {
                    let content = match m.body {
                        Body::Inline(bytes) => Some(Bytes::copy_from_slice(bytes)),
                        Body::File { len, crc } => {
                            body::load(&*self.shared.storage, id, len, crc)?.map(Bytes::from)
                        }
                    };
                    Ok(content.map(|content| m.into_message(content)))
                }
                Record::Message(_)
                | Record::State { .. }
                | Record::Done { .. }
                | Record::Control { .. }
                | Record::Gone { .. }
                | Record::Note(_)
                | Record::Other => Ok(None),
            },
        )
    }

    /// The state of a waiting recipient with its last verdict; `None` when it does not wait.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// When the disk refuses, or the record is damaged.
    pub fn state(&self, key: RecipientKey) -> Result<Option<RecipientState>, ReadError> {
        self.shared.state_of(key)
    }

    /// Hands over the schedule of everything that waits.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn scan(&self, f: &mut dyn FnMut(Waiting<'_>)) -> Result<(), IndexError> {
        self.flush_index()?;
        self.shared.index.scan(f)
    }

    /// A page of the waiting recipients that match at `now`.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn query(
        &self,
        filter: &Filter,
        page: Page,
        now: Timestamp,
    ) -> Result<Vec<Row>, IndexError> {
        self.flush_index()?;
        self.shared.index.query(filter, page, now)
    }

    /// How many waiting recipients match at `now`.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, IndexError> {
        self.flush_index()?;
        self.shared.index.count(filter, now)
    }

    /// Hands over every waiting recipient, by id; others may use the index meanwhile.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn each_waiting(&self, now: Timestamp, f: &mut dyn FnMut(Row)) -> Result<(), IndexError> {
        self.flush_index()?;
        self.shared.index.each(&Filter::all(), Page::ALL, now, f)
    }

    /// Since when the most overdue recipient has been due that waits at `now` and is not held; none if there is none.
    /// As the index has it, which may be some commits behind.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn oldest_due(&self, now: Timestamp) -> Result<Option<Timestamp>, IndexError> {
        self.shared.index.oldest_due(now)
    }

    /// How many finished recipients match, counted up to a bound.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn history_count(&self, filter: &HistoryFilter, most: u64) -> Result<u64, IndexError> {
        self.flush_index()?;
        self.shared.index.history_count(filter, most)
    }

    /// The keys of all waiting recipients that match at `now`, by id.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn keys(&self, filter: &Filter, now: Timestamp) -> Result<Vec<RecipientKey>, IndexError> {
        self.flush_index()?;
        let mut keys = Vec::new();
        let mut take = |row: Row| keys.push(row.key);
        self.shared.index.each(filter, Page::ALL, now, &mut take)?;
        Ok(keys)
    }

    /// Finished recipients, the latest message first.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn history(
        &self,
        filter: &HistoryFilter,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<HistoryRow>, IndexError> {
        self.flush_index()?;
        self.shared.index.history(filter, offset, limit)
    }

    /// The attempts of a message's recipients that did not end them, in their order; the last ones
    /// are in [`Spool::history`].
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn attempts(&self, id: QueueId) -> Result<Vec<AttemptRow>, IndexError> {
        self.flush_index()?;
        self.shared.index.attempts(id)
    }

    /// The message that was accepted with this token, waiting or finished.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn find_token(&self, token: &str) -> Result<Option<QueueId>, IndexError> {
        if let Some((id, _)) = lock(&self.shared.table).tokens.get(token) {
            return Ok(Some(*id));
        }
        self.shared.index.find_token(token)
    }

    /// The first message, in the order of tokens, whose token begins with `prefix`, and its token.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn find_token_beginning(
        &self,
        prefix: &str,
    ) -> Result<Option<(String, QueueId)>, IndexError> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        if let Some((token, (id, _))) = lock(&self.shared.table).tokens.range::<str, _>(from).next()
            && token.starts_with(prefix)
        {
            return Ok(Some((token.clone(), *id)));
        }
        self.shared.index.find_token_beginning(prefix)
    }

    /// Removes from the history what is older than `before`, and tokens older than `tokens`, `limit` rows at most; returns how many.
    /// Fewer than `limit`: nothing is left. Outcomes wait for their place in the history that long.
    ///
    /// # Errors
    /// When the history cannot be written.
    pub fn expire_history(
        &self,
        before: Timestamp,
        tokens: Timestamp,
        limit: u64,
    ) -> Result<u64, IndexError> {
        self.shared.index.expire(before, tokens, limit)
    }

    /// The administrator's setting of this name.
    #[must_use]
    pub fn control(&self, name: &str) -> Option<String> {
        let table = lock(&self.shared.table);
        table
            .controls
            .get(name)
            .and_then(|(value, _)| value.clone())
    }

    /// Waits until the index and the history have all that is durable.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn flush_index(&self) -> Result<(), IndexError> {
        if self.shared.sync_index() {
            return Ok(());
        }
        let why = lock(&self.shared.feed).failed.clone();
        Err(IndexError::Behind(
            why.unwrap_or_else(|| "the queue is closed".to_owned()),
        ))
    }

    /// Why nothing is accepted or delivered any more, once a sync has failed.
    #[must_use]
    pub fn poisoned(&self) -> Option<Arc<str>> {
        self.shared.poisoned()
    }

    /// What was found damaged since this was last asked: to be logged as errors. Opening the spool
    /// tells the messages that were lost before and have no outcome yet once more.
    #[must_use]
    pub fn take_damaged(&self) -> Vec<Damaged> {
        std::mem::take(&mut *lock(&self.shared.damaged))
    }

    /// Writes what waits, brings the index up to date, and stops. Dropping the spool does the same.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        match &self.work {
            Work::Stepped(_) => {
                lock(&self.shared.queue).closing = true;
            }
            Work::Threads { handles, bodies } => {
                threads::end(&self.shared, handles, bodies);
            }
        }
    }
}
