//! Group commit: takes all commits that wait, writes them as frames with one write and one sync,
//! and tells everyone. There is no timer: alone, a commit pays one sync; under load batches form
//! while the sync before them runs.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use mail::{Message, QueueId, RecipientKey, RecipientState};
use store::{Callback, CommitError, Op};

use crate::body::{self, StoredBody, large_body};
use crate::change::{Change, MessageMeta, Place};
use crate::lane::{LaneWriter, Need, WriteError};
use crate::options::Options;
use crate::record::{
    Body, MessageParts, put_control, put_done, put_message, put_note, put_recipient_state,
};
use crate::segment::FRAME_HEADER;
use crate::shared::{Pending, Shared, lock, wait};
use crate::table::Effect;

/// Bytes that one write takes at most, unless a single commit is larger.
const BATCH_BYTES: usize = 4 << 20;

/// Owns the writing end of the hot lane.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    lane: LaneWriter,
    buffer: Vec<u8>,
}

/// A commit that stands in the buffer.
struct Encoded {
    start: usize,
    /// Places are relative to the buffer until it is written.
    changes: Vec<Change>,
    /// The mails whose content is in a file: it goes when the commit does not come to be.
    bodies: Vec<QueueId>,
    done: Callback,
}

impl Committer {
    pub(crate) const fn new(shared: Arc<Shared>, lane: LaneWriter) -> Self {
        Self {
            shared,
            lane,
            buffer: Vec::new(),
        }
    }

    /// Runs until the spool is closed and everything is written.
    pub(crate) fn run(mut self) {
        loop {
            {
                let mut queue = lock(&self.shared.queue);
                while queue.pending.is_empty() && !queue.closing && !queue.begin_segment {
                    queue = wait(&self.shared.queue_changed, queue);
                }
                if queue.pending.is_empty() && queue.closing {
                    return;
                }
            }
            self.step();
            self.shared.hold_back();
        }
    }

    /// Begins a segment when housekeeping asks for it.
    fn begin_segment(&mut self) {
        let wanted = std::mem::take(&mut lock(&self.shared.queue).begin_segment);
        if wanted && self.lane.roll(&self.shared, Need::Intake).is_ok() {
            let head = self.lane.active.as_ref().map(|a| (a.number, a.offset));
            let mut table = lock(&self.shared.table);
            table.hot_head = head.unwrap_or(table.hot_head);
        }
    }

    /// Writes what waits, as much as one write takes; returns whether there was anything.
    pub(crate) fn step(&mut self) -> bool {
        self.begin_segment();
        let mut waiting = take(&self.shared);
        if waiting.is_empty() {
            return false;
        }
        self.buffer.clear();
        let mut group = Vec::new();
        for pending in waiting.drain(..) {
            self.add(pending, &mut group);
        }
        self.flush(group);
        if self.buffer.capacity() > 4 * BATCH_BYTES {
            self.buffer = Vec::new();
        }
        true
    }

    /// Encodes a commit after the group's; when the segment is full, the group is written first.
    fn add(&mut self, pending: Pending, group: &mut Vec<Encoded>) {
        let bodies = pending.body_files(self.shared.options.inline_limit());
        let Pending {
            ops,
            stored,
            done,
            withdrawal,
        } = pending;
        if ops.is_empty() {
            // Nothing to write; told in its turn, so that it tells what came before.
            self.flush(std::mem::take(group));
            return done(Ok(()));
        }
        let intake = is_intake(&ops);
        if ops.iter().any(|op| matches!(op, Op::Change { .. })) {
            // What stays of a state is read back, so what comes before must be there.
            self.flush(std::mem::take(group));
        }
        let start = self.buffer.len();
        let refuse = |shared: &Shared, done: Callback, e: CommitError| {
            shared.discard(&bodies, &e);
            done(Err(e));
        };
        // From here on it is on its way to the disk.
        if withdrawal.is_some_and(|w| !w.take()) {
            return refuse(&self.shared, done, CommitError::Withdrawn);
        }
        let mut changes = match self.encode_all(ops, &stored, intake) {
            Ok(changes) => changes,
            Err(e) => {
                self.buffer.truncate(start);
                return refuse(&self.shared, done, e);
            }
        };
        let mut at = start;
        let need = if intake { Need::Intake } else { Need::Progress };
        let (len, alone) = (self.buffer.len(), group.is_empty());
        match self.lane.make_room(&self.shared, len, alone, need) {
            Ok(true) => {}
            Ok(false) => {
                let own = self.buffer.split_off(start);
                self.flush(std::mem::take(group));
                self.buffer = own;
                let len = self.buffer.len();
                if let Err(e) = self.lane.have_room(&self.shared, len, need) {
                    self.buffer.clear();
                    return refuse(&self.shared, done, e.into());
                }
                shift(&mut changes, start);
                at = 0;
            }
            Err(e) => {
                self.buffer.truncate(start);
                return refuse(&self.shared, done, e.into());
            }
        }
        group.push(Encoded {
            start: at,
            changes,
            bodies,
            done,
        });
    }

    /// Appends a commit to the buffer, when it may be made and fits.
    fn encode_all(
        &mut self,
        ops: Vec<Op>,
        stored: &[StoredBody],
        intake: bool,
    ) -> Result<Vec<Change>, CommitError> {
        self.admit(intake)?;
        let limit = self.shared.options.inline_limit();
        let large = ops.iter().filter_map(|op| large_body(op, limit));
        let large: Vec<u64> = large.map(|(_, len)| len).collect();
        if intake && !large.is_empty() {
            self.shared.room_for_body(large.iter().sum())?;
        }
        let start = self.buffer.len();
        self.buffer.resize(start + FRAME_HEADER, 0);
        let mut changes = Vec::with_capacity(ops.len());
        for mut op in ops {
            op.bound();
            let change = encode(&self.shared, &mut self.buffer, op, stored);
            changes.push(change.map_err(|e| CommitError::Full(Arc::new(e)))?);
        }
        let len = (self.buffer.len() - start) as u64;
        let max = Options::COMMIT_MAX;
        if len > max {
            return Err(CommitError::TooLarge { len, max });
        }
        Ok(changes)
    }

    fn admit(&self, intake: bool) -> Result<(), CommitError> {
        if let Some(reason) = self.shared.poisoned() {
            return Err(CommitError::Poisoned(reason));
        }
        let reserve = self.shared.options.reserve_segments;
        let exhausted = || lock(&self.shared.pool).is_exhausted(reserve);
        if intake && self.shared.is_low() && exhausted() {
            return Err(CommitError::Full(Arc::new(
                io::ErrorKind::StorageFull.into(),
            )));
        }
        Ok(())
    }

    fn flush(&mut self, group: Vec<Encoded>) {
        if group.is_empty() {
            self.buffer.clear();
            return;
        }
        let starts: Vec<usize> = group.iter().map(|e| e.start).collect();
        let first = self.lane.next;
        let written = self
            .lane
            .write(&self.shared, &mut self.buffer, &starts, None);
        self.buffer.clear();
        match written {
            Ok(base) => self.publish(first, base, group),
            Err(e) => {
                let e = CommitError::from(e);
                for commit in group {
                    self.shared.discard(&commit.bodies, &e);
                    (commit.done)(Err(e.clone()));
                }
            }
        }
    }

    /// Makes durable commits known: to the table, to the index, to who waits.
    fn publish(&self, first: u64, base: u32, group: Vec<Encoded>) {
        let Some(active) = &self.lane.active else {
            return;
        };
        let mut callbacks = Vec::with_capacity(group.len());
        let mut fed = Vec::with_capacity(group.len());
        Shared::add(&self.shared.counters.commits, group.len() as u64);
        let last = first + group.len() as u64 - 1;
        {
            let mut table = lock(&self.shared.table);
            // After a gap the next start would stop, and miss what follows. Nobody has been told yet.
            assert_eq!(table.hot_sequence + 1, first, "a gap in the log");
            for (sequence, commit) in (first..).zip(group) {
                callbacks.push(commit.done);
                for mut change in commit.changes {
                    if let Some(place) = place_of(&mut change) {
                        place.segment = active.number;
                        place.offset += base;
                    }
                    match table.apply(&change, sequence) {
                        Effect::Ignored => {}
                        Effect::Kept => fed.push((sequence, change)),
                        Effect::Forgotten(id) => {
                            fed.push((sequence, change));
                            fed.push((sequence, Change::Forget { id }));
                        }
                    }
                }
            }
            table.hot_sequence = last;
            table.hot_head = (active.number, active.offset);
            let mut feed = lock(&self.shared.feed);
            feed.changes.append(&mut fed);
            feed.fed.hot = last;
        }
        callbacks.into_iter().for_each(|done| done(Ok(())));
    }
}

impl From<WriteError> for CommitError {
    fn from(e: WriteError) -> Self {
        match e {
            WriteError::Full(e) => Self::Full(e),
            WriteError::Poisoned(reason) => Self::Poisoned(reason),
        }
    }
}

fn take(shared: &Shared) -> Vec<Pending> {
    let mut queue = lock(&shared.queue);
    let mut taken = Vec::new();
    let mut bytes = 0;
    while bytes < BATCH_BYTES
        && let Some(pending) = queue.pending.pop_front()
    {
        bytes += pending.ops.iter().map(weight).sum::<usize>();
        taken.push(pending);
    }
    taken
}

/// About how many bytes an operation takes.
const fn weight(op: &Op) -> usize {
    match op {
        Op::Accept { message, .. } => 512 + message.content.len(),
        Op::State { .. }
        | Op::Change { .. }
        | Op::Done { .. }
        | Op::Control { .. }
        | Op::Note(_) => 512,
    }
}

/// Whether a commit brings new mail and nothing else.
pub(crate) fn is_intake(ops: &[Op]) -> bool {
    !ops.is_empty() && ops.iter().all(|op| matches!(op, Op::Accept { .. }))
}

fn place_of(change: &mut Change) -> Option<&mut Place> {
    match change {
        Change::Message { place, .. }
        | Change::State { place, .. }
        | Change::Done { place, .. }
        | Change::Control { place, .. } => Some(place),
        Change::Moved { .. }
        | Change::Carried { .. }
        | Change::Gone { .. }
        | Change::Forget { .. }
        | Change::Note(_) => None,
    }
}

fn shift(changes: &mut [Change], by: usize) {
    for change in changes {
        if let Some(place) = place_of(change) {
            place.offset -= by as u32;
        }
    }
}

/// Appends an operation's record to `out`; its change has a place relative to `out`.
fn encode(
    shared: &Arc<Shared>,
    out: &mut Vec<u8>,
    op: Op,
    stored: &[StoredBody],
) -> io::Result<Change> {
    let start = out.len();
    let place = |out: &Vec<u8>| Place {
        segment: 0,
        offset: start as u32,
        len: (out.len() - start) as u32,
    };
    Ok(match op {
        Op::Accept {
            message,
            states,
            token,
        } => {
            let in_file = stored.iter().find(|body| body.id == message.id);
            if message.content.len() > shared.options.inline_limit() {
                let body = body::store(&shared.storage, message.id, &message.content)?;
                encode_message(out, message, Some(&body), states, token)
            } else {
                encode_message(out, message, in_file, states, token)
            }
        }
        Op::State {
            key,
            state,
            transcript,
        } => encode_state(out, key, state, transcript),
        Op::Change { key, mut state } => {
            // What was never tried has no last verdict. One that cannot be read is lost; the change is not.
            let before = match state.attempts {
                0 => None,
                _ => shared.state_of(key).ok().flatten(),
            };
            state.last = before.and_then(|state| state.last);
            encode_state(out, key, state, None)
        }
        Op::Done {
            key,
            verdict,
            attempts,
            transcript,
        } => {
            put_done(out, key, attempts, &verdict, transcript.as_deref());
            Change::Done {
                key,
                attempts,
                verdict: Box::new(verdict),
                transcript,
                place: place(out),
            }
        }
        Op::Control { name, value } => {
            put_control(out, &name, value.as_deref());
            let place = place(out);
            Change::Control { name, value, place }
        }
        Op::Note(note) => {
            put_note(out, &note);
            Change::Note(note)
        }
    })
}

fn encode_state(
    out: &mut Vec<u8>,
    key: RecipientKey,
    state: RecipientState,
    transcript: Option<String>,
) -> Change {
    let start = out.len();
    put_recipient_state(out, key, &state, transcript.as_deref());
    Change::State {
        key,
        state: Box::new(state),
        transcript,
        place: Place {
            segment: 0,
            offset: start as u32,
            len: (out.len() - start) as u32,
        },
    }
}

fn encode_message(
    out: &mut Vec<u8>,
    message: Message,
    stored: Option<&StoredBody>,
    states: Vec<RecipientState>,
    token: Option<String>,
) -> Change {
    let start = out.len();
    let content = message.content;
    let body = stored.map_or(Body::Inline(&content), |b| Body::File {
        len: b.len,
        crc: b.crc,
    });
    let size = body.len();
    let mut states: Vec<_> = states.into_iter().map(Some).collect();
    // A recipient without a state given begins as one that waits.
    states.resize_with(message.envelope.recipients.len(), || {
        Some(RecipientState::default())
    });
    let parts = MessageParts {
        id: message.id,
        accepted: message.accepted,
        envelope: &message.envelope,
        token: token.as_deref(),
        states: &states,
        from: 0,
        body,
        labels: &message.labels,
    };
    put_message(out, &parts);
    let meta = MessageMeta {
        id: message.id,
        accepted: message.accepted,
        envelope: message.envelope,
        labels: message.labels,
        size,
        body_file: stored.is_some(),
        token,
    };
    drop::<Bytes>(content);
    Change::Message {
        meta: Arc::new(meta),
        states,
        place: Place {
            segment: 0,
            offset: start as u32,
            len: (out.len() - start) as u32,
        },
        from: 0,
    }
}
