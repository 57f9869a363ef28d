//! The recipients of a site that are due: round robin over submitters, then over messages.
//!
//! A mail to one recipient that comes behind five thousand of a bulk mailing thus waits for a few
//! transactions, not for five thousand.

use std::collections::{HashMap, VecDeque};

use mail::QueueId;

use crate::entry::Slot;

#[derive(Debug)]
struct Group {
    id: QueueId,
    slots: VecDeque<Slot>,
}

#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// Submitters with something ready, in turn.
    turn: VecDeque<u32>,
    groups: HashMap<u32, VecDeque<Group>>,
    messages: usize,
    recipients: usize,
}

impl Ready {
    pub(crate) const fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// How many messages wait here.
    pub(crate) const fn messages(&self) -> usize {
        self.messages
    }

    /// The message that waits here, when it is only one.
    pub(crate) fn only(&self) -> Option<QueueId> {
        if self.messages != 1 {
            return None;
        }
        let groups = self.groups.values().next()?;
        groups.front().map(|group| group.id)
    }

    /// How many recipients wait here; entries taken out of the queue since count until their turn.
    pub(crate) const fn recipients(&self) -> usize {
        self.recipients
    }

    pub(crate) fn push(&mut self, submitter: u32, id: QueueId, slot: Slot) {
        self.recipients += 1;
        let groups = self.groups.entry(submitter).or_default();
        if groups.is_empty() {
            self.turn.push_back(submitter);
        }
        // Recipients of one message become ready one behind the other, so its group is the last.
        match groups.back_mut() {
            Some(group) if group.id == id => group.slots.push_back(slot),
            Some(_) | None => {
                groups.push_back(Group {
                    id,
                    slots: VecDeque::from([slot]),
                });
                self.messages += 1;
            }
        }
    }

    /// The next up to `most` recipients of one message.
    pub(crate) fn pop(&mut self, most: usize) -> Option<(QueueId, Vec<Slot>)> {
        let submitter = self.turn.pop_front()?;
        let groups = self.groups.get_mut(&submitter)?;
        let mut group = groups.pop_front()?;
        let taken: Vec<Slot> = group.slots.drain(..most.min(group.slots.len())).collect();
        self.recipients -= taken.len();
        let id = group.id;
        if group.slots.is_empty() {
            self.messages -= 1;
        } else {
            groups.push_back(group);
        }
        if groups.is_empty() {
            self.groups.remove(&submitter);
        } else {
            self.turn.push_back(submitter);
        }
        Some((id, taken))
    }

    /// Takes everything out.
    pub(crate) fn drain(&mut self) -> Vec<Slot> {
        let mut all = Vec::with_capacity(self.recipients);
        while let Some((_, slots)) = self.pop(usize::MAX) {
            all.extend(slots);
        }
        all
    }
}
