//! Sites of one provider: they share the limit on connections and the rate, and nothing else. A site that
//! fails, or that nobody may talk to for a while, does not concern the others.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::action::{Action, WorkerId};
use crate::rate::Meter;
use crate::scheduler::Scheduler;
use crate::site::Site;

/// What sites of one provider share.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: Arc<str>,
    /// Most connections to all of them.
    pub(crate) ceiling: u32,
    /// Connections to them, idle ones included.
    pub(crate) open: u32,
    pub(crate) meter: Meter,
    /// How many sites are in it.
    pub(crate) sites: u32,
    /// Workers that have been idle, the longest ago first; some may have gone or be busy since.
    idle: VecDeque<u32>,
    /// Sites that wait for one of its connections.
    waiting: VecDeque<u32>,
}

impl Scheduler {
    /// The group of this name, which gets a site more.
    pub(crate) fn join_group(&mut self, name: &Arc<str>, ceiling: u32) -> u32 {
        let known = self
            .groups
            .iter_mut()
            .find(|(_, group)| group.name == *name);
        if let Some((id, group)) = known {
            group.ceiling = ceiling;
            group.sites += 1;
            return u32::try_from(id).unwrap_or(u32::MAX);
        }
        let group = Group {
            name: Arc::clone(name),
            ceiling,
            open: 0,
            meter: Meter::default(),
            sites: 1,
            idle: VecDeque::new(),
            waiting: VecDeque::new(),
        };
        u32::try_from(self.groups.insert(group)).unwrap_or(u32::MAX)
    }

    /// The settings may have changed what a group is given.
    pub(crate) fn set_group_ceiling(&mut self, group: Option<u32>, ceiling: u32) {
        if let Some(g) = group.and_then(|group| self.groups.get_mut(group as usize)) {
            g.ceiling = ceiling;
        }
    }

    /// A site of the group is forgotten.
    pub(crate) fn leave_group(&mut self, group: u32) {
        let Some(g) = self.groups.get_mut(group as usize) else {
            return;
        };
        g.sites = g.sites.saturating_sub(1);
        if g.sites == 0 {
            self.groups.try_remove(group as usize);
        }
    }

    /// Whether a group's connections are all in use.
    pub(crate) fn is_full(&self, group: Option<u32>) -> Option<(&Arc<str>, u32)> {
        let group = self.groups.get(group? as usize)?;
        (group.open >= group.ceiling).then_some((&group.name, group.ceiling))
    }

    /// Whether a site of the group may have one more connection; an idle one of another site makes way. Otherwise
    /// the site waits for its turn.
    pub(crate) fn has_place_in_group(&mut self, group: Option<u32>, site: u32) -> bool {
        if self.is_full(group).is_none() {
            return true;
        }
        let idle = self.idle_in_group(group, site);
        let Some(g) = group.and_then(|group| self.groups.get_mut(group as usize)) else {
            return true;
        };
        if let Some(worker) = idle {
            self.remove_worker(worker);
            self.out.push_back(Action::Close(WorkerId(worker)));
            return true;
        }
        if !g.waiting.contains(&site) {
            g.waiting.push_back(site);
        }
        false
    }

    /// The worker of another site of the group that has been idle longest.
    fn idle_in_group(&mut self, group: Option<u32>, other_than: u32) -> Option<u32> {
        let g = self.groups.get_mut(group? as usize)?;
        let mut kept = VecDeque::new();
        let mut found = None;
        while let Some(worker) = g.idle.pop_front() {
            let Some(w) = self.workers.get_mut(worker as usize) else {
                continue;
            };
            let site = self.sites.get(w.site as usize);
            let is_idle = site.is_some_and(|s| s.group == group && s.idle.contains(&worker));
            if !is_idle {
                w.listed = false;
            } else if w.site == other_than {
                kept.push_back(worker);
            } else {
                w.listed = false;
                found = Some(worker);
                break;
            }
        }
        kept.append(&mut g.idle);
        g.idle = kept;
        found
    }

    /// A worker of the group is idle. `yields`: its site has had its turn.
    pub(crate) fn idles_in_group(&mut self, group: Option<u32>, worker: u32, yields: bool) {
        let Some(group) = group else { return };
        if let Some(g) = self.groups.get_mut(group as usize)
            && let Some(w) = self.workers.get_mut(worker as usize)
            && !std::mem::replace(&mut w.listed, true)
        {
            g.idle.push_back(worker);
        }
        if yields {
            self.wake_in_group(group);
        }
    }

    /// There is a place: the next site of the group that has a use for it gets it.
    pub(crate) fn wake_in_group(&mut self, group: u32) {
        while let Some(g) = self.groups.get_mut(group as usize)
            && let Some(site) = g.waiting.pop_front()
        {
            // Who cannot use it now comes again by itself when that changes.
            let can_use = |s: &Site| {
                s.group == Some(group) && !s.ready.is_empty() && s.busy < s.window.room()
            };
            if self.sites.get(site as usize).is_some_and(can_use) {
                return self.make_runnable(site);
            }
        }
    }
}
