//! The net effect of many changes.

use store::{EventKinds, LaterRow, Note, Record};

use super::{
    Applied, Arc, BTreeMap, Change, MessageMeta, Place, QueueId, RecipientKey, RecipientState,
    Timestamp, Verdict,
};

/// What a batch does to one message.
#[derive(Debug, Clone, Default)]
pub struct NetMessage {
    /// It is new; `None` for one that the index has.
    pub meta: Option<Arc<MessageMeta>>,
    /// Where its record is, when that is new.
    pub place: Option<(Place, u32)>,
    /// The record of all its outcomes.
    pub gone: Option<Place>,
    /// Its recipients, by number.
    pub recipients: BTreeMap<u32, NetRecipient>,
    /// Nothing of it is to be kept.
    pub forgotten: bool,
}

/// What a batch does to one recipient.
#[derive(Debug, Clone, Default)]
pub struct NetRecipient {
    /// Its state, when that is new.
    pub state: Option<Box<RecipientState>>,
    /// It has its outcome.
    pub done: bool,
    /// Where its last record is, when that is new.
    pub place: Option<Place>,
}

/// A recipient that got its outcome.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The frame that told of it, 0 for a copy of what was told before.
    pub sequence: u64,
    /// Which.
    pub key: RecipientKey,
    /// Its message, when the batch brought it; else the index has it.
    pub meta: Option<Arc<MessageMeta>>,
    /// Attempts that counted.
    pub attempts: u32,
    /// How it ended.
    pub verdict: Box<Verdict>,
    /// The dialog of the last attempt.
    pub transcript: Option<String>,
}

/// An attempt that did not end its recipient.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The frame that told of it: with the key, its name.
    pub sequence: u64,
    /// Which recipient.
    pub key: RecipientKey,
    /// Its message, when the batch brought it; else the index has it.
    pub meta: Option<Arc<MessageMeta>>,
    /// Attempts that counted.
    pub attempts: u32,
    /// The earliest time of the next.
    pub due: Timestamp,
    /// What came of it.
    pub verdict: Box<Verdict>,
    /// Its dialog.
    pub transcript: Option<String>,
}

/// What an event is made from.
#[derive(Debug, Clone)]
pub struct Happening {
    /// The frame that told of it.
    pub sequence: u64,
    /// The recipient.
    pub key: RecipientKey,
    /// Its message, when the batch brought it.
    pub meta: Option<Arc<MessageMeta>>,
    /// What happened.
    pub kind: Kind,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Kind {
    /// It was accepted.
    Accepted,
    /// The attempt of this number in the batch.
    Deferred(usize),
    /// The outcome of this number in the batch.
    Ended(usize),
    /// A note.
    Note(Note),
}

/// The net effect of many changes.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// How far the index is with it.
    pub applied: Applied,
    /// By message.
    pub messages: BTreeMap<QueueId, NetMessage>,
    /// For the history.
    pub finished: Vec<Finished>,
    /// For the history.
    pub attempts: Vec<Attempt>,
    /// The settings that changed.
    pub controls: BTreeMap<String, (Option<String>, Place)>,
    /// For the history: its entries that changed.
    pub entries: BTreeMap<String, Option<String>>,
    /// For the history: what came to be known, each with the sequence of its frame.
    pub later: Vec<(u64, LaterRow)>,
    /// For the history: what people did, each with the sequence of its frame.
    pub records: Vec<(u64, Record)>,
    /// What was accepted, each with the sequence of its frame: it is counted once.
    pub accepted: Vec<(u64, Arc<MessageMeta>)>,
    /// The kinds of events that are kept.
    pub kinds: EventKinds,
    /// What makes them, in order; nothing where none are kept.
    pub events: Vec<Happening>,
}

/// Adds changes, each with the sequence of its frame, to a batch.
pub(crate) fn net_effect(
    mut batch: Batch,
    changes: impl IntoIterator<Item = (u64, Change)>,
    applied: Applied,
    kinds: EventKinds,
) -> Batch {
    batch.applied = applied;
    batch.kinds = kinds;
    for (sequence, change) in changes {
        batch.add(sequence, change);
    }
    batch
        .messages
        .retain(|_, m| !(m.forgotten && m.meta.is_some()));
    batch
}

impl Batch {
    /// The last frame whose events are in it. When the log is read again, that can be one further than
    /// `applied`: the frame that fills a batch is in it before it counts as applied.
    pub(super) fn seen(&self) -> u64 {
        let frames = self.events.iter().map(|event| event.sequence);
        frames.max().unwrap_or(0).max(self.applied.hot)
    }

    /// The last frame that anything of it is counted from; see [`Batch::seen`].
    pub(super) fn counted(&self) -> u64 {
        let accepted = self.accepted.iter().map(|(sequence, _)| *sequence);
        let attempts = self.attempts.iter().map(|a| a.sequence);
        let finished = self.finished.iter().map(|f| f.sequence);
        let later = self.later.iter().map(|(sequence, _)| *sequence);
        let last = accepted.chain(attempts).chain(finished).chain(later).max();
        last.unwrap_or(0).max(self.applied.hot)
    }

    fn add(&mut self, sequence: u64, change: Change) {
        match change {
            Change::Message {
                meta,
                states,
                place,
                from,
            } => {
                self.add_accepted(sequence, &meta, &states);
                if sequence > 0 {
                    self.accepted.push((sequence, Arc::clone(&meta)));
                }
                self.add_message(meta, states, place, from);
            }
            Change::Moved {
                id,
                place,
                from,
                inlined,
            } => self.add_moved(id, (place, from), inlined),
            Change::State {
                key,
                state,
                transcript,
                place,
            } => {
                self.add_attempt(sequence, key, &state, transcript);
                let recipient = self.recipient(key);
                recipient.state = Some(state);
                recipient.place = Some(place);
            }
            Change::Done {
                key,
                attempts,
                verdict,
                transcript,
                place,
            } => {
                let kind = Kind::Ended(self.finished.len());
                self.happened(sequence, EventKinds::ENDED, key, kind);
                let message = self.messages.entry(key.id).or_default();
                let meta = message.meta.clone();
                let recipient = message.recipients.entry(key.recipient).or_default();
                recipient.done = true;
                recipient.place = Some(place);
                self.finished.push(Finished {
                    sequence,
                    key,
                    meta,
                    attempts,
                    verdict,
                    transcript,
                });
            }
            Change::Carried { key, place } => self.recipient(key).place = Some(place),
            Change::Gone { id, place } => {
                self.messages.entry(id).or_default().gone = Some(place);
            }
            Change::Forget { id } => self.messages.entry(id).or_default().forgotten = true,
            Change::Control { name, value, place } => {
                self.controls.insert(name, (value, place));
            }
            Change::Note(note) => self.add_note(sequence, note),
        }
    }

    fn add_attempt(
        &mut self,
        sequence: u64,
        key: RecipientKey,
        state: &RecipientState,
        transcript: Option<String>,
    ) {
        if let Some(verdict) = &state.last
            && sequence > 0
            && (transcript.is_some() || state.attempts > 0)
        {
            let kind = Kind::Deferred(self.attempts.len());
            self.happened(sequence, EventKinds::DEFERRED, key, kind);
            let meta = self.messages.get(&key.id).and_then(|m| m.meta.clone());
            self.attempts.push(Attempt {
                sequence,
                key,
                meta,
                attempts: state.attempts,
                due: state.due,
                verdict: Box::new(verdict.clone()),
                transcript,
            });
        }
    }

    fn add_moved(&mut self, id: QueueId, place: (Place, u32), inlined: Vec<u32>) {
        let message = self.messages.entry(id).or_default();
        message.place = Some(place);
        for n in inlined {
            message.recipients.entry(n).or_default().place = Some(Place::NONE);
        }
    }

    /// Remembers what an event is made from; what a copy in the cold lane says is not news.
    fn happened(&mut self, sequence: u64, of: EventKinds, key: RecipientKey, kind: Kind) {
        if sequence > 0 && self.kinds.has(of) {
            let meta = self.messages.get(&key.id).and_then(|m| m.meta.clone());
            self.events.push(Happening {
                sequence,
                key,
                meta,
                kind,
            });
        }
    }

    fn add_accepted(
        &mut self,
        sequence: u64,
        meta: &Arc<MessageMeta>,
        states: &[Option<RecipientState>],
    ) {
        if sequence == 0 || !self.kinds.has(EventKinds::ACCEPTED) {
            return;
        }
        for (recipient, _) in (0..).zip(states).filter(|(_, state)| state.is_some()) {
            self.events.push(Happening {
                sequence,
                key: RecipientKey {
                    id: meta.id,
                    recipient,
                },
                meta: Some(Arc::clone(meta)),
                kind: Kind::Accepted,
            });
        }
    }

    fn add_note(&mut self, sequence: u64, note: Note) {
        let of = kind_of_note(&note);
        if self.kinds.has(of) {
            let key = match &note {
                Note::Later(row) => row.key,
                Note::Entry { .. } | Note::Record(_) => RecipientKey {
                    id: QueueId::from_u64(0),
                    recipient: 0,
                },
            };
            self.happened(sequence, of, key, Kind::Note(note.clone()));
        }
        match note {
            Note::Entry { name, value } => drop(self.entries.insert(name, value)),
            Note::Later(row) => self.later.push((sequence, row)),
            Note::Record(record) => self.records.push((sequence, record)),
        }
    }

    fn add_message(
        &mut self,
        meta: Arc<MessageMeta>,
        states: Vec<Option<RecipientState>>,
        place: Place,
        from: u32,
    ) {
        let mut recipients = BTreeMap::new();
        for (n, state) in (0..).zip(states) {
            let recipient = NetRecipient {
                done: state.is_none(),
                state: state.map(Box::new),
                place: Some(Place::NONE),
            };
            recipients.insert(n, recipient);
        }
        let message = NetMessage {
            place: Some((place, from)),
            recipients,
            meta: Some(Arc::clone(&meta)),
            ..NetMessage::default()
        };
        self.messages.insert(meta.id, message);
    }

    fn recipient(&mut self, key: RecipientKey) -> &mut NetRecipient {
        let message = self.messages.entry(key.id).or_default();
        message.recipients.entry(key.recipient).or_default()
    }
}

/// The kind of an event, for those who wish some only.
pub(super) const fn kind_of_note(note: &Note) -> EventKinds {
    match note {
        Note::Entry { .. } => EventKinds::ENTRY,
        Note::Later(_) => EventKinds::LATER,
        Note::Record(_) => EventKinds::NONE,
    }
}
