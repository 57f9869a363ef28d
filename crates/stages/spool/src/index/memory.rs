//! The index in memory, for simulations and as the plain statement of what an index does.

use std::path::Path;

use parking_lot::{Mutex, MutexGuard};
use store::series::{Naming, Point, SeriesWish};
use store::{
    AttemptRow, Book, Event, EventAbout, Happened, HistoryFilter, HistoryRow, Page, Row, Sort,
    StoredRecord, Waiting,
};

mod series;

use self::series::{Records, Series};
use super::events::{Lookup, gather};
use super::{
    Applied, Arc, BTreeMap, Batch, Filter, Index, IndexError, Known, LaterRow, MessageMeta,
    NetMessage, Place, QueueId, RecipientKey, RecipientState, Timestamp, row,
};
use super::{EventBounds, EventWish, PastEvents, StoredEvent};
use crate::record;

/// An index that lives as long as this value, and so survives the spool that used it: as two
/// durable files would.
#[derive(Debug, Default)]
pub struct MemoryIndex {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    applied: Applied,
    messages: BTreeMap<QueueId, Stored>,
    controls: BTreeMap<String, (Option<String>, Place)>,
    history: BTreeMap<RecipientKey, HistoryRow>,
    attempts: BTreeMap<(RecipientKey, u64), AttemptRow>,
    tokens: BTreeMap<String, QueueId>,
    entries: BTreeMap<String, String>,
    later: BTreeMap<(RecipientKey, u64, String), LaterRow>,
    events: Events,
    series: Series,
    records: Records,
}

/// Events, and what they are made from.
#[derive(Debug, Default)]
struct Events {
    wish: EventWish,
    /// The log that they are from, and up to which of its frames.
    seen: (u64, u64),
    last: u64,
    kept: BTreeMap<u64, Event>,
    about: BTreeMap<RecipientKey, EventAbout>,
    due: BTreeMap<(RecipientKey, u64), Timestamp>,
}

#[derive(Debug)]
struct Stored {
    meta: Arc<MessageMeta>,
    place: Place,
    from: u32,
    gone: Place,
    recipients: Vec<StoredRecipient>,
}

#[derive(Debug, Clone, Default)]
struct StoredRecipient {
    state: RecipientState,
    done: bool,
    place: Place,
}

impl MemoryIndex {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    fn rows(&self) -> impl Iterator<Item = (&Stored, &StoredRecipient, Row)> {
        self.messages.values().flat_map(|m| {
            (0..).zip(&m.recipients).filter_map(move |(n, r)| {
                let row = row(&m.meta, n, &r.state)?;
                (!r.done).then_some((m, r, row))
            })
        })
    }

    /// Takes the events of a batch in; comes before its attempts.
    fn apply_events(&mut self, batch: &Batch) -> Result<(), IndexError> {
        let new = batch.messages.values().filter_map(|m| m.meta.as_ref());
        let finished = batch.finished.iter().filter_map(|f| f.meta.as_ref());
        for meta in new.chain(finished) {
            let all = (0..meta.envelope.recipients.len() as u32).filter_map(|n| {
                let about = record::about(meta, n)?;
                Some((about.key, about))
            });
            self.events.about.extend(all);
        }
        if self.events.wish.is_none() {
            return Ok(());
        }
        let hot = match self.events.seen.0 == batch.applied.spool {
            true => self.events.seen.1,
            false => 0,
        };
        let wish = self.events.wish.clone();
        let events = gather(batch, hot, &wish, self)?;
        if !events.is_empty() {
            self.events.seen = (batch.applied.spool, batch.seen().max(hot));
        }
        for event in events {
            self.events.last += 1;
            self.events.kept.insert(self.events.last, event);
        }
        Ok(())
    }

    fn apply_history(&mut self, batch: &Batch) {
        let mut counting = self.series.begin(batch, &self.events.about);
        for f in &batch.finished {
            let meta = f.meta.clone();
            let Some(meta) =
                meta.or_else(|| self.messages.get(&f.key.id).map(|m| Arc::clone(&m.meta)))
            else {
                continue;
            };
            let Some(row) = row(&meta, f.key.recipient, &RecipientState::default()) else {
                continue;
            };
            if !self.history.contains_key(&f.key) {
                let about = self.events.about.get(&f.key);
                counting.ended(f.sequence, about, (f.attempts, &f.verdict));
            }
            self.history.entry(f.key).or_insert_with(|| HistoryRow {
                key: f.key,
                sender: row.sender,
                recipient: row.recipient,
                domain: row.domain,
                accepted: row.accepted,
                size: row.size,
                submitter: row.submitter,
                attempts: f.attempts,
                verdict: (*f.verdict).clone(),
                transcript: f.transcript.clone(),
                labels: row.labels,
                destination: row.destination,
            });
        }
        for a in &batch.attempts {
            // A state that was changed for another reason has the verdict of the attempt before.
            let mut known = self.attempts.range((a.key, 0)..=(a.key, u64::MAX));
            if known.any(|(_, row)| row.verdict.at == a.verdict.at) {
                continue;
            }
            let attempt = AttemptRow {
                key: a.key,
                attempts: a.attempts,
                verdict: (*a.verdict).clone(),
                transcript: a.transcript.clone(),
            };
            let about = self.events.about.get(&a.key);
            counting.deferred(a.sequence, about, &a.verdict);
            self.attempts.insert((a.key, a.sequence), attempt);
            self.events.due.insert((a.key, a.sequence), a.due);
        }
        let new = batch.messages.values().filter_map(|m| m.meta.as_ref());
        let finished = batch.finished.iter().filter_map(|f| f.meta.as_ref());
        for meta in new.chain(finished) {
            if let Some(token) = &meta.token {
                self.tokens.insert(token.clone(), meta.id);
            }
        }
        for (name, value) in &batch.entries {
            match value {
                Some(value) => drop(self.entries.insert(name.clone(), value.clone())),
                None => drop(self.entries.remove(name)),
            }
        }
        for (sequence, row) in &batch.later {
            let name = (row.key, *sequence, row.word.clone());
            if self.later.insert(name, row.clone()).is_none() {
                let about = self.events.about.get(&row.key);
                counting.later(*sequence, about, row.at, &row.word);
            }
        }
        self.series.finish(counting, batch);
        self.records.apply(batch);
    }

    fn apply_message(&mut self, id: QueueId, net: &NetMessage) {
        if net.forgotten {
            self.messages.remove(&id);
            return;
        }
        if let Some(meta) = &net.meta {
            let stored = Stored {
                meta: Arc::clone(meta),
                place: Place::NONE,
                from: 0,
                gone: Place::NONE,
                recipients: vec![StoredRecipient::default(); meta.envelope.recipients.len()],
            };
            self.messages.insert(id, stored);
        }
        let Some(stored) = self.messages.get_mut(&id) else {
            return;
        };
        if let Some((place, from)) = net.place {
            (stored.place, stored.from) = (place, from);
        }
        stored.gone = net.gone.unwrap_or(stored.gone);
        for (n, change) in &net.recipients {
            let Some(recipient) = stored.recipients.get_mut(*n as usize) else {
                continue;
            };
            if let Some(state) = &change.state {
                recipient.state = (**state).clone();
            }
            recipient.done |= change.done;
            recipient.place = change.place.unwrap_or(recipient.place);
        }
        if net.gone.is_some() {
            stored.recipients.iter_mut().for_each(|r| r.done = true);
        }
    }
}

impl Lookup for Inner {
    fn about(&mut self, key: RecipientKey) -> Result<Option<EventAbout>, IndexError> {
        Ok(self.events.about.get(&key).cloned())
    }

    fn attempted(&mut self, key: RecipientKey, at: Timestamp) -> Result<bool, IndexError> {
        let mut of = self.attempts.range((key, 0)..=(key, u64::MAX));
        Ok(of.any(|(_, row)| row.verdict.at == at))
    }
}

impl Inner {
    /// What is known of the recipients of the messages that are chosen, as events.
    fn past(&self, chosen: impl Fn(QueueId) -> bool) -> Vec<Event> {
        let about = |key: &RecipientKey| self.events.about.get(key).cloned();
        let event = |key: &RecipientKey, what| {
            let about = about(key)?;
            Some(Event {
                about: Some(about),
                what,
            })
        };
        let all = self.events.about.keys().filter(|key| chosen(key.id));
        let mut events: Vec<Event> = all.filter_map(|k| event(k, Happened::Accepted)).collect();
        let mut told = std::collections::BTreeSet::new();
        for ((key, sequence), row) in self.attempts.iter().filter(|((k, _), _)| chosen(k.id)) {
            if told.insert((*key, row.verdict.at.as_millis())) {
                let what = Happened::Deferred {
                    attempts: row.attempts,
                    due: self.events.due.get(&(*key, *sequence)).copied(),
                    verdict: Box::new(row.verdict.clone()),
                };
                events.extend(event(key, what));
            }
        }
        for row in self.history.values().filter(|row| chosen(row.key.id)) {
            let what = Happened::Ended {
                attempts: row.attempts,
                verdict: Box::new(row.verdict.clone()),
            };
            events.extend(event(&row.key, what));
        }
        let later = self.later.values().filter(|row| chosen(row.key.id));
        events.extend(later.filter_map(|row| Some(Event::later(about(&row.key)?, row))));
        events
    }
}

fn order(sort: Sort, a: &Row, b: &Row) -> std::cmp::Ordering {
    let by = match sort {
        Sort::Id => std::cmp::Ordering::Equal,
        Sort::Due => a.due.cmp(&b.due),
        Sort::Domain => a.domain.cmp(&b.domain),
        Sort::Size => a.size.cmp(&b.size),
        Sort::Attempts => a.attempts.cmp(&b.attempts),
    };
    by.then(a.key.cmp(&b.key))
}

fn window<T>(items: impl Iterator<Item = T>, offset: u64, limit: u64) -> Vec<T> {
    let size = |n| usize::try_from(n).unwrap_or(usize::MAX);
    items.skip(size(offset)).take(size(limit)).collect()
}

impl Index for MemoryIndex {
    fn applied(&self) -> Result<Applied, IndexError> {
        Ok(self.lock().applied)
    }

    fn highest(&self) -> Result<Option<QueueId>, IndexError> {
        let inner = self.lock();
        let finished = inner.history.keys().next_back().map(|k| k.id);
        Ok(inner.messages.keys().next_back().copied().max(finished))
    }

    fn load(
        &self,
        known: &mut dyn FnMut(Known),
        control: &mut dyn FnMut(String, Option<String>, Place),
    ) -> Result<(), IndexError> {
        let inner = self.lock();
        for (id, m) in &inner.messages {
            known(Known {
                id: *id,
                place: m.place,
                from: m.from,
                body_file: m.meta.body_file,
                gone: m.gone,
                slots: m.recipients.iter().map(|r| (r.place, r.done)).collect(),
            });
        }
        for (name, (value, place)) in &inner.controls {
            control(name.clone(), value.clone(), *place);
        }
        Ok(())
    }

    fn finished(&self, id: QueueId) -> Result<Vec<u32>, IndexError> {
        let first = RecipientKey { id, recipient: 0 };
        let last = RecipientKey {
            id,
            recipient: u32::MAX,
        };
        let inner = self.lock();
        Ok(inner
            .history
            .range(first..=last)
            .map(|(key, _)| key.recipient)
            .collect())
    }

    /// It lives in memory, and so do its copies.
    fn copy_history(&self, _to: &Path) -> Result<(), IndexError> {
        Ok(())
    }

    fn keep_aside(&self) -> Option<String> {
        None
    }

    fn clear(&self) -> Result<(), IndexError> {
        let mut inner = self.lock();
        inner.applied = Applied::default();
        inner.messages.clear();
        inner.controls.clear();
        Ok(())
    }

    fn apply(&self, batch: &Batch) -> Result<(), IndexError> {
        let mut inner = self.lock();
        inner.apply_events(batch)?;
        inner.apply_history(batch);
        for (id, net) in &batch.messages {
            inner.apply_message(*id, net);
        }
        for (name, control) in &batch.controls {
            inner.controls.insert(name.clone(), control.clone());
        }
        inner.applied = batch.applied;
        Ok(())
    }

    fn scan(&self, f: &mut dyn FnMut(Waiting<'_>)) -> Result<(), IndexError> {
        for (m, r, row) in self.lock().rows() {
            let recipient = m.meta.envelope.recipients.get(row.key.recipient as usize);
            f(Waiting {
                key: row.key,
                domain: &row.domain,
                null_sender: m.meta.envelope.reverse_path.is_none(),
                submitter: &row.submitter,
                size: row.size,
                accepted: row.accepted,
                status: row.status,
                attempts: row.attempts,
                due: row.due,
                delay_notified: r.state.delay_notified,
                destination: row.destination,
                notify: recipient.map(|r| r.notify).unwrap_or_default(),
                terms: m.meta.envelope.terms,
                route: r.state.route.as_deref(),
            });
        }
        Ok(())
    }

    fn each(
        &self,
        filter: &Filter,
        page: Page,
        now: Timestamp,
        f: &mut dyn FnMut(Row),
    ) -> Result<(), IndexError> {
        let inner = self.lock();
        let rows = inner.rows().map(|(_, _, row)| row);
        let mut rows: Vec<Row> = rows.filter(|row| filter.matches(row, now)).collect();
        rows.sort_by(|a, b| order(page.sort, a, b));
        if page.descending {
            rows.reverse();
        }
        let page = window(rows.into_iter(), page.offset, page.limit);
        page.into_iter().for_each(f);
        Ok(())
    }

    fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, IndexError> {
        let inner = self.lock();
        let matching = inner.rows().filter(|(_, _, row)| filter.matches(row, now));
        Ok(matching.count() as u64)
    }

    fn history(
        &self,
        filter: &HistoryFilter,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<HistoryRow>, IndexError> {
        let inner = self.lock();
        let newest_first = inner.history.values().rev();
        let matching = newest_first.filter(|row| filter.matches(row)).cloned();
        Ok(window(matching, offset, limit))
    }

    fn attempts(&self, id: QueueId) -> Result<Vec<AttemptRow>, IndexError> {
        let inner = self.lock();
        let mut of_message: Vec<_> = inner
            .attempts
            .iter()
            .filter(|((k, _), _)| k.id == id)
            .collect();
        of_message.sort_by_key(|((key, sequence), _)| (*sequence, *key));
        Ok(of_message.into_iter().map(|(_, row)| row.clone()).collect())
    }

    fn find_token(&self, token: &str) -> Result<Option<QueueId>, IndexError> {
        Ok(self.lock().tokens.get(token).copied())
    }

    fn find_token_beginning(&self, prefix: &str) -> Result<Option<(String, QueueId)>, IndexError> {
        let inner = self.lock();
        let mut from = inner.tokens.range(prefix.to_owned()..);
        let first = from.next().filter(|(token, _)| token.starts_with(prefix));
        Ok(first.map(|(token, id)| (token.clone(), *id)))
    }

    fn later(&self, id: QueueId) -> Result<Vec<LaterRow>, IndexError> {
        let inner = self.lock();
        let rows = inner.later.values().filter(|row| row.key.id == id);
        let mut found: Vec<LaterRow> = rows.cloned().collect();
        found.sort_by_key(|row| row.at);
        Ok(found)
    }

    fn entries(&self, prefix: &str, f: &mut dyn FnMut(String, String)) -> Result<(), IndexError> {
        let inner = self.lock();
        let from = inner.entries.range(prefix.to_owned()..);
        let found = from.take_while(|(name, _)| name.starts_with(prefix));
        found.for_each(|(name, value)| f(name.clone(), value.clone()));
        Ok(())
    }

    fn expire(&self, before: Timestamp, _tokens: Timestamp, limit: u64) -> Result<u64, IndexError> {
        let mut inner = self.lock();
        let mut removed = 0;
        let mut stays = |at: Timestamp| {
            let goes = at < before && removed < limit;
            removed += u64::from(goes);
            !goes
        };
        inner.history.retain(|_, row| stays(row.verdict.at));
        inner.attempts.retain(|_, row| stays(row.verdict.at));
        inner.later.retain(|_, row| stays(row.at));
        Ok(removed)
    }

    fn event_wish(&self) -> EventWish {
        self.lock().events.wish.clone()
    }

    fn keep_events(&self, wish: &EventWish, from: Applied) -> Result<(), IndexError> {
        let events = &mut self.lock().events;
        events.wish = wish.clone();
        events.seen = (from.spool, from.hot);
        Ok(())
    }

    fn events(&self, after: u64, limit: u64) -> Result<Vec<StoredEvent>, IndexError> {
        let inner = self.lock();
        let behind = inner.events.kept.range(after + 1..);
        let stored = |(place, event): (&u64, &Event)| StoredEvent {
            place: *place,
            event: event.clone(),
        };
        Ok(window(behind.map(stored), 0, limit))
    }

    fn events_of(
        &self,
        submitter: &str,
        after: u64,
        limit: u64,
    ) -> Result<Vec<StoredEvent>, IndexError> {
        let all = self.events(after, u64::MAX)?.into_iter();
        let own = |stored: &StoredEvent| {
            let about = stored.event.about.as_ref();
            about.is_some_and(|about| about.submitter == submitter)
        };
        Ok(window(all.filter(own), 0, limit))
    }

    fn event_bounds(&self) -> Result<EventBounds, IndexError> {
        let inner = self.lock();
        let events = &inner.events;
        let first = events.kept.keys().next();
        Ok(EventBounds {
            kept: first.map_or(0, |first| events.last + 1 - first),
            last: events.last,
        })
    }

    fn forget_events(&self, upto: u64, before: Timestamp, limit: u64) -> Result<u64, IndexError> {
        let mut inner = self.lock();
        let kept = &mut inner.events.kept;
        let is_young = |event: &Event| event.at().is_some_and(|at| at >= before);
        let young = kept.iter().find(|(_, event)| is_young(event));
        let upto = young.map_or(upto, |(place, _)| upto.min(place - 1));
        let old: Vec<u64> = window(kept.range(..=upto).map(|(place, _)| *place), 0, limit);
        old.iter().for_each(|place| drop(kept.remove(place)));
        Ok(old.len() as u64)
    }

    fn past_events(
        &self,
        (since, until): (Timestamp, Timestamp),
        after: QueueId,
        limit: u64,
    ) -> Result<PastEvents, IndexError> {
        let inner = self.lock();
        let within = |at: Timestamp| at >= since && at < until;
        let ids = inner.events.about.keys().map(|key| key.id);
        let ids = ids.filter(|id| *id > after);
        let next = window(ids, limit, 1).first().copied();
        let mut events = inner.past(|id| id > after && next.is_none_or(|end| id <= end));
        events.retain(|event| event.at().is_some_and(within));
        let order = |e: &Event| (e.at(), !matches!(e.what, Happened::Accepted));
        events.sort_by_cached_key(|e| (order(e), e.about.as_ref().map(|about| about.key)));
        Ok(PastEvents { events, next })
    }

    fn records(
        &self,
        book: Book,
        before: u64,
        limit: u64,
    ) -> Result<Vec<StoredRecord>, IndexError> {
        Ok(self.lock().records.list(book, before, limit))
    }

    fn forget_records(&self, book: Book, before: Timestamp, limit: u64) -> Result<u64, IndexError> {
        Ok(self.lock().records.forget(book, before, limit))
    }

    fn name_series(&self, naming: Arc<dyn Naming>) {
        self.lock().series.name(naming);
    }

    fn series(&self, wish: &SeriesWish, f: &mut dyn FnMut(Point)) -> Result<(), IndexError> {
        self.lock().series.each(wish, f);
        Ok(())
    }

    fn sample_waiting(&self, at: Timestamp) -> Result<(), IndexError> {
        let mut inner = self.lock();
        let accepted: Vec<_> = inner.rows().map(|(.., row)| row.accepted).collect();
        inner.series.sample_waiting(at, &accepted);
        Ok(())
    }

    fn fold_series(&self, now: Timestamp) -> Result<(), IndexError> {
        self.lock().series.fold(now);
        Ok(())
    }
}
