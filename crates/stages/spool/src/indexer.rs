//! Brings the index up to date with what is durable, in large batches off the hot path.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::index::net_effect;
use crate::segment::Lane;
use crate::shared::{Feed, Shared, lock, wait};

/// Changes that may wait for the index before commits wait too.
const BACKLOG_MAX: usize = 400_000;
/// Changes that may wait for an index that cannot be written before mail is refused. Outcomes go on up to
/// [`BACKLOG_MAX`]: mail that waits can still leave.
const MAIL_MAX: usize = 50_000;
/// Hot segments that it may cost beyond [`crate::Options::hot_segments`] before mail is refused.
const SEGMENTS_MAX: usize = 8;
/// Between two tries to write an index that refused.
const RETRY: Duration = Duration::from_secs(1);

/// Runs until the spool is closed.
#[expect(clippy::needless_pass_by_value, reason = "the thread owns its share")]
pub(crate) fn run(shared: Arc<Shared>) {
    let (interval, batch) = (shared.options.index_interval, shared.options.index_batch);
    let ready = |f: &Feed| f.hurry || f.closing || f.changes.len() >= batch;
    loop {
        let feed = lock(&shared.feed);
        let waited = shared
            .feed_changed
            .wait_timeout_while(feed, interval, |f| !ready(f));
        let (feed, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let closing = feed.closing;
        drop(feed);
        let worked = shared.index_step();
        let failed = lock(&shared.feed).failed.is_some();
        if closing && (!worked || failed) {
            return;
        }
        if failed {
            std::thread::sleep(RETRY);
        }
    }
}

impl Shared {
    /// Applies all that waits to the index; returns whether the index is further than before.
    pub(crate) fn index_step(&self) -> bool {
        let mut refused = lock(&self.refused);
        let segments = lock(&self.table).count(Lane::Hot);
        let (changes, fed, taken) = {
            let mut feed = lock(&self.feed);
            feed.hurry = false;
            self.feed_changed.notify_all();
            if feed.applied == feed.fed && feed.changes.is_empty() && refused.is_none() {
                return false;
            }
            let taken = feed.waiting();
            if feed.failed.is_some() {
                feed.held = taken;
            }
            (std::mem::take(&mut feed.changes), feed.fed, taken)
        };
        let kinds = self.index.event_wish().kinds;
        let batch = net_effect(refused.take().unwrap_or_default(), changes, fed, kinds);
        let tells = !batch.events.is_empty();
        let applied = self.index.apply(&batch);
        let mut feed = lock(&self.feed);
        feed.failed = match applied {
            Ok(()) => {
                feed.applied = fed;
                feed.held = 0;
                None
            }
            Err(e) => {
                *refused = Some(batch);
                feed.held = taken;
                Some(e.to_string())
            }
        };
        let worked = feed.failed.is_none();
        self.judge_mail(&feed, segments);
        drop(feed);
        if worked {
            lock(&self.table)
                .tokens
                .retain(|_, (_, sequence)| *sequence > fed.hot);
        }
        self.feed_changed.notify_all();
        if worked && tells {
            let woken = lock(&self.event_listener).clone();
            woken.inspect(|listener| listener());
        }
        worked
    }

    /// Waits until the index has all that is durable now; `false` when it cannot.
    pub(crate) fn sync_index(&self) -> bool {
        if !self.options.threads {
            self.index_step();
            return lock(&self.feed).failed.is_none();
        }
        let mut feed = lock(&self.feed);
        let target = feed.fed;
        while feed.applied.hot < target.hot || feed.applied.cold < target.cold {
            if feed.failed.is_some() || feed.closing || self.poisoned().is_some() {
                return false;
            }
            feed.hurry = true;
            self.feed_changed.notify_all();
            feed = wait(&self.feed_changed, feed);
        }
        true
    }

    /// Refuses mail while the index cannot be written and memory or disk would grow too far.
    fn judge_mail(&self, feed: &Feed, segments: usize) {
        let most = self.options.hot_segments + SEGMENTS_MAX;
        let is_much = feed.waiting() >= MAIL_MAX || segments > most;
        let refuses = feed.failed.is_some() && is_much;
        self.refuses_mail.store(refuses, Ordering::Relaxed);
    }

    /// Waits while too much waits for the index, so that memory stays bounded: also for one that cannot be
    /// written, but not beyond the end of the spool.
    pub(crate) fn hold_back(&self) {
        let mut feed = lock(&self.feed);
        if feed.failed.is_some() {
            drop(feed);
            let segments = lock(&self.table).count(Lane::Hot);
            feed = lock(&self.feed);
            self.judge_mail(&feed, segments);
        }
        while feed.waiting() > BACKLOG_MAX && self.has_keeper() && self.poisoned().is_none() {
            feed.hurry |= feed.failed.is_none();
            self.feed_changed.notify_all();
            feed = wait(&self.feed_changed, feed);
        }
    }
}
