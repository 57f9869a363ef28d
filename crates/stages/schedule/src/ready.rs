//! The recipients of a site that are due: round robin over submitters, then over messages.
//!
//! A mail to one recipient that comes after five thousand of a bulk mailing thus waits for a few
//! transactions, not for five thousand.
//!
//! Messages of one submitter and one priority (MT-PRIORITY, RFC 6710) are a lane. A lane of
//! priority *p* above 0 goes to the front when it fills, and sends *p* + 1 messages in its turn; one
//! below 0 uses every (1 - *p*)th turn. So priority weighs, and nobody starves.

use std::collections::{HashMap, VecDeque};

use mail::QueueId;

use crate::entry::Slot;

#[derive(Debug)]
struct Group {
    id: QueueId,
    slots: VecDeque<Slot>,
}

/// A submitter and a priority.
type LaneId = (u32, i8);

#[derive(Debug, Default)]
struct Lane {
    groups: VecDeque<Group>,
    /// Messages sent in this turn, or turns let pass.
    count: u8,
}

#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// Lanes with something ready, in turn.
    turn: VecDeque<LaneId>,
    lanes: HashMap<LaneId, Lane>,
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
        let lane = self.lanes.values().next()?;
        lane.groups.front().map(|group| group.id)
    }

    /// How many recipients wait here; entries taken out of the queue since count until their turn.
    pub(crate) const fn recipients(&self) -> usize {
        self.recipients
    }

    pub(crate) fn push(&mut self, submitter: u32, id: QueueId, priority: i8, slot: Slot) {
        self.recipients += 1;
        let name = (submitter, priority);
        let lane = self.lanes.entry(name).or_default();
        if lane.groups.is_empty() {
            if priority > 0 {
                self.turn.push_front(name);
            } else {
                self.turn.push_back(name);
            }
        }
        // Recipients of one message become ready one after the other, so its group is the last.
        match lane.groups.back_mut() {
            Some(group) if group.id == id => group.slots.push_back(slot),
            Some(_) | None => {
                lane.groups.push_back(Group {
                    id,
                    slots: VecDeque::from([slot]),
                });
                self.messages += 1;
            }
        }
    }

    /// The lane whose turn it is.
    fn next_lane(&mut self) -> Option<LaneId> {
        loop {
            let name = self.turn.pop_front()?;
            let lane = self.lanes.get_mut(&name)?;
            let passes = name.1 < 0 && !self.turn.is_empty();
            if !passes || lane.count >= name.1.unsigned_abs() {
                return Some(name);
            }
            lane.count += 1;
            self.turn.push_back(name);
        }
    }

    /// The next up to `most` recipients of one message.
    pub(crate) fn pop(&mut self, most: usize) -> Option<(QueueId, Vec<Slot>)> {
        let name = self.next_lane()?;
        let lane = self.lanes.get_mut(&name)?;
        let mut group = lane.groups.pop_front()?;
        let taken: Vec<Slot> = group.slots.drain(..most.min(group.slots.len())).collect();
        self.recipients -= taken.len();
        let id = group.id;
        if group.slots.is_empty() {
            self.messages -= 1;
        } else {
            lane.groups.push_back(group);
        }
        if lane.groups.is_empty() {
            self.lanes.remove(&name);
        } else if name.1 > 0 && lane.count < name.1.unsigned_abs() {
            lane.count += 1;
            self.turn.push_front(name);
        } else {
            lane.count = 0;
            self.turn.push_back(name);
        }
        Some((id, taken))
    }

    /// The next up to `most` recipients of the newest message, whose turn it need not be.
    pub(crate) fn pop_newest(&mut self, most: usize) -> Option<(QueueId, Vec<Slot>)> {
        let newest = |(name, lane): (&LaneId, &Lane)| {
            let places = lane.groups.iter().enumerate();
            let newest = places.max_by_key(|(_, group)| group.id)?;
            Some((newest.1.id, newest.0, *name))
        };
        let (id, place, name) = self.lanes.iter().filter_map(newest).max()?;
        let lane = self.lanes.get_mut(&name)?;
        let group = lane.groups.get_mut(place)?;
        let taken: Vec<Slot> = group.slots.drain(..most.min(group.slots.len())).collect();
        self.recipients -= taken.len();
        if group.slots.is_empty() {
            lane.groups.remove(place);
            self.messages -= 1;
        }
        if lane.groups.is_empty() {
            self.lanes.remove(&name);
            self.turn.retain(|other| *other != name);
        }
        Some((id, taken))
    }

    /// All that stand here, in no order that means anything; some may be out of the queue since.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        let groups = self.lanes.values().flat_map(|lane| &lane.groups);
        groups.flat_map(|group| group.slots.iter().copied())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(mails: &[(u32, u64, i8)]) -> Ready {
        let mut ready = Ready::default();
        for ((submitter, id, priority), index) in mails.iter().zip(0..) {
            let slot = Slot {
                index,
                generation: 1,
            };
            ready.push(*submitter, QueueId::from_u64(*id), *priority, slot);
        }
        ready
    }

    fn order(mut ready: Ready) -> Vec<u64> {
        std::iter::from_fn(|| ready.pop(10))
            .map(|(id, _)| id.as_u64())
            .collect()
    }

    #[test]
    fn submitters_take_turns() {
        let mails = [(1, 10, 0), (1, 11, 0), (1, 12, 0), (2, 20, 0)];
        assert_eq!(order(ready(&mails)), [10, 20, 11, 12]);
    }

    #[test]
    fn the_newest_is_taken_from_wherever_it_stands() {
        let mut ready = ready(&[(1, 10, 0), (1, 30, 0), (2, 20, 0), (1, 30, 0)]);
        let newest = ready
            .pop_newest(1)
            .map(|(id, slots)| (id.as_u64(), slots.len()));
        assert_eq!(newest, Some((30, 1)), "no more than asked for");
        assert_eq!(ready.recipients(), 3);
        let left = std::iter::from_fn(|| ready.pop_newest(10));
        let left: Vec<u64> = left.map(|(id, _)| id.as_u64()).collect();
        assert_eq!(left, [30, 20, 10]);
        assert!(ready.is_empty() && ready.pop(1).is_none());
    }

    #[test]
    fn priority_weighs_and_starves_nobody() {
        let urgent = (1..=6).map(|n| (9, 100 + n, 2));
        let usual = (1..=3).map(|n| (1, n, 0));
        let bulk = (1..=2).map(|n| (2, 200 + n, -2));
        let mails: Vec<_> = bulk.chain(usual).chain(urgent).collect();
        assert_eq!(
            order(ready(&mails)),
            [101, 102, 103, 1, 104, 105, 106, 2, 201, 3, 202]
        );
    }
}
