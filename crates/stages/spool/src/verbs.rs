//! The spool as a store: what others ask, and nothing of how it is kept.

use std::path::Path;
use std::sync::Arc;

use mail::{Message, QueueId, RecipientKey, RecipientState, Timestamp};
use store::series::{Naming, Point, SeriesWish};
use store::{
    AttemptRow, BackedUp, BackupError, Book, Callback, CommitError, Damaged, EventBounds,
    EventWish, Figures, Filter, Health, HistoryFilter, HistoryRow, LaterRow, Lot, Op, Page,
    PastEvents, ReadError, Row, Store, StoreError, StoredEvent, StoredRecord, Waiting, Withdrawal,
};

use crate::shared::lock;
use crate::spool::Spool;

impl Store for Spool {
    fn next_id(&self, now: Timestamp) -> QueueId {
        lock(&self.shared.ids).next_id(now)
    }

    fn lots(&self) -> Vec<Lot> {
        vec![Lot::ONLY]
    }

    fn commit(&self, ops: Vec<Op>, done: Callback) {
        Self::commit(self, ops, done);
    }

    fn commit_withdrawable(&self, ops: Vec<Op>, done: Callback) -> Withdrawal {
        Self::commit_withdrawable(self, ops, done)
    }

    fn commit_wait(&self, ops: Vec<Op>) -> Result<(), CommitError> {
        Self::commit_wait(self, ops)
    }

    fn drain(&self) {
        Self::drain(self);
    }

    fn read(&self, id: QueueId) -> Result<Option<Message>, ReadError> {
        Self::read(self, id)
    }

    fn size_hint(&self, id: QueueId) -> Result<Option<u64>, ReadError> {
        Self::size_hint(self, id)
    }

    fn state(&self, key: RecipientKey) -> Result<Option<RecipientState>, ReadError> {
        Self::state(self, key)
    }

    fn scan(&self, lots: &[Lot], f: &mut dyn FnMut(Waiting<'_>)) -> Result<(), StoreError> {
        match lots.contains(&Lot::ONLY) {
            true => Ok(Self::scan(self, f)?),
            false => Ok(()),
        }
    }

    fn catch_up(&self) -> Result<(), StoreError> {
        Ok(self.flush_index()?)
    }

    fn query(&self, filter: &Filter, page: Page, now: Timestamp) -> Result<Vec<Row>, StoreError> {
        Ok(Self::query(self, filter, page, now)?)
    }

    fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, StoreError> {
        Ok(Self::count(self, filter, now)?)
    }

    fn each_waiting(&self, now: Timestamp, f: &mut dyn FnMut(Row)) -> Result<(), StoreError> {
        Ok(Self::each_waiting(self, now, f)?)
    }

    fn oldest_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        Ok(Self::oldest_due(self, now)?)
    }

    fn keys(&self, filter: &Filter, now: Timestamp) -> Result<Vec<RecipientKey>, StoreError> {
        Ok(Self::keys(self, filter, now)?)
    }

    fn history(
        &self,
        filter: &HistoryFilter,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        Ok(Self::history(self, filter, offset, limit)?)
    }

    fn history_count(&self, filter: &HistoryFilter, most: u64) -> Result<u64, StoreError> {
        Ok(Self::history_count(self, filter, most)?)
    }

    fn attempts(&self, id: QueueId) -> Result<Vec<AttemptRow>, StoreError> {
        Ok(Self::attempts(self, id)?)
    }

    fn find_token(&self, token: &str) -> Result<Option<QueueId>, StoreError> {
        Ok(Self::find_token(self, token)?)
    }

    fn find_token_beginning(&self, prefix: &str) -> Result<Option<(String, QueueId)>, StoreError> {
        Ok(Self::find_token_beginning(self, prefix)?)
    }

    fn expire_history(
        &self,
        before: Timestamp,
        tokens: Timestamp,
        limit: u64,
    ) -> Result<u64, StoreError> {
        Ok(Self::expire_history(self, before, tokens, limit)?)
    }

    fn later(&self, id: QueueId) -> Result<Vec<LaterRow>, StoreError> {
        Ok(Self::later(self, id)?)
    }

    fn later_of(&self, ids: &[QueueId]) -> Result<Vec<LaterRow>, StoreError> {
        Ok(Self::later_of(self, ids)?)
    }

    fn entries(&self, prefix: &str, f: &mut dyn FnMut(String, String)) -> Result<(), StoreError> {
        Ok(Self::entries(self, prefix, f)?)
    }

    fn keep_events(&self, wish: &EventWish) -> Result<(), StoreError> {
        Ok(Self::keep_events(self, wish)?)
    }

    fn on_events(&self, listener: Arc<dyn Fn() + Send + Sync>) {
        Self::on_events(self, listener);
    }

    fn events(&self, after: u64, limit: u64) -> Result<Vec<StoredEvent>, StoreError> {
        Ok(Self::events(self, after, limit)?)
    }

    fn events_of(
        &self,
        submitter: &str,
        after: u64,
        limit: u64,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        Ok(Self::events_of(self, submitter, after, limit)?)
    }

    fn event_bounds(&self) -> Result<EventBounds, StoreError> {
        Ok(Self::event_bounds(self)?)
    }

    fn forget_events(&self, upto: u64, before: Timestamp, limit: u64) -> Result<u64, StoreError> {
        Ok(Self::forget_events(self, upto, before, limit)?)
    }

    fn past_events(
        &self,
        span: (Timestamp, Timestamp),
        after: QueueId,
        limit: u64,
    ) -> Result<PastEvents, StoreError> {
        Ok(Self::past_events(self, span, after, limit)?)
    }

    fn records(
        &self,
        book: Book,
        before: u64,
        limit: u64,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        Ok(self.shared.index.records(book, before, limit)?)
    }

    fn forget_records(&self, book: Book, before: Timestamp, limit: u64) -> Result<u64, StoreError> {
        Ok(self.shared.index.forget_records(book, before, limit)?)
    }

    fn name_series(&self, naming: Arc<dyn Naming>) {
        self.shared.index.name_series(naming);
    }

    fn series(&self, wish: &SeriesWish, f: &mut dyn FnMut(Point)) -> Result<(), StoreError> {
        Ok(self.shared.index.series(wish, f)?)
    }

    fn sample_waiting(&self, at: Timestamp) -> Result<(), StoreError> {
        Ok(self.shared.index.sample_waiting(at)?)
    }

    fn fold_series(&self, now: Timestamp) -> Result<(), StoreError> {
        Ok(self.shared.index.fold_series(now)?)
    }

    fn control(&self, name: &str) -> Option<String> {
        Self::control(self, name)
    }

    fn health(&self) -> Health {
        Self::health(self)
    }

    fn figures(&self) -> Figures {
        Self::figures(self)
    }

    fn take_damaged(&self) -> Vec<Damaged> {
        Self::take_damaged(self)
    }

    fn backup(&self, to: &Path) -> Result<BackedUp, BackupError> {
        Self::backup(self, to)
    }
}
