//! The drops that wait to be taken: their owners take turns, and large ones do not hold up small ones.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::directory::CLAIMED;

/// Drops taken at once, so that their commits become one.
const AT_ONCE: usize = 16;
/// Those of one owner among them, while others wait.
const OF_ONE_OWNER: usize = 8;
/// Large ones among them.
const LARGE_AT_ONCE: usize = 4;

/// A drop that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The name of its file.
    pub name: String,
    /// The number of the user who put it there.
    pub owner: u32,
    /// Whether it takes a place among the large ones.
    pub is_large: bool,
}

/// The line.
#[derive(Debug, Default)]
pub struct Line {
    small: Turns,
    large: Turns,
    /// Every drop that waits or is being taken, by its name without what is put before it.
    known: HashSet<String>,
    taking: usize,
    taking_large: usize,
    /// Those being taken, by owner.
    by_owner: HashMap<u32, usize>,
}

/// Drops by their owners, each owner's in order.
#[derive(Debug, Default)]
struct Turns {
    by_owner: BTreeMap<u32, VecDeque<Waiting>>,
    /// Whose turn was last.
    last: u32,
}

impl Turns {
    fn push(&mut self, waiting: Waiting) {
        let own = self.by_owner.entry(waiting.owner).or_default();
        own.push_back(waiting);
    }

    fn next(&mut self, may: impl Fn(u32) -> bool) -> Option<Waiting> {
        let after = self
            .last
            .checked_add(1)
            .map(|from| self.by_owner.range(from..));
        let owners = after.into_iter().flatten().chain(&self.by_owner);
        let owner = owners.map(|(owner, _)| *owner).find(|owner| may(*owner))?;
        self.last = owner;
        let own = self.by_owner.get_mut(&owner)?;
        let next = own.pop_front();
        if own.is_empty() {
            self.by_owner.remove(&owner);
        }
        next
    }
}

/// A drop's name as its writer gave it.
pub fn plain(name: &str) -> &str {
    name.strip_prefix(CLAIMED).unwrap_or(name)
}

impl Line {
    /// Whether a drop of this name waits, or is being taken.
    pub fn knows(&self, name: &str) -> bool {
        self.known.contains(plain(name))
    }

    /// One more waits.
    pub fn push(&mut self, waiting: Waiting) {
        if self.known.insert(plain(&waiting.name).to_owned()) {
            match waiting.is_large {
                true => self.large.push(waiting),
                false => self.small.push(waiting),
            }
        }
    }

    /// Whose turn it is; it is being taken from now on.
    pub fn take_next(&mut self) -> Option<Waiting> {
        if self.taking >= AT_ONCE {
            return None;
        }
        let many = {
            let mut owners = self.small.by_owner.keys().chain(self.large.by_owner.keys());
            let first = owners.next().copied();
            owners.any(|owner| Some(*owner) != first)
        };
        let by_owner = &self.by_owner;
        let may = |owner: u32| {
            !many
                || by_owner
                    .get(&owner)
                    .is_none_or(|taking| *taking < OF_ONE_OWNER)
        };
        let mut next = self.small.next(may);
        if next.is_none() && self.taking_large < LARGE_AT_ONCE {
            next = self.large.next(may);
        }
        let next = next?;
        self.taking += 1;
        self.taking_large += usize::from(next.is_large);
        *self.by_owner.entry(next.owner).or_default() += 1;
        Some(next)
    }

    /// One is not being taken any more.
    pub fn done(&mut self, taken: &Waiting) {
        self.known.remove(plain(&taken.name));
        self.taking = self.taking.saturating_sub(1);
        if taken.is_large {
            self.taking_large = self.taking_large.saturating_sub(1);
        }
        if let Some(count) = self.by_owner.get_mut(&taken.owner) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_owner.remove(&taken.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(line: &mut Line, owner: u32, is_large: bool, names: std::ops::Range<u32>) {
        for n in names {
            line.push(Waiting {
                name: format!("{owner}-{is_large}-{n:05}"),
                owner,
                is_large,
            });
        }
    }

    #[test]
    fn owners_take_turns_whatever_their_files_are_called() {
        let mut line = Line::default();
        push(&mut line, 1, false, 0..1000);
        push(&mut line, 2, false, 0..2);
        push(&mut line, 3, false, 0..1);
        let taken: Vec<Waiting> = std::iter::from_fn(|| line.take_next()).collect();
        let owners: Vec<u32> = taken.iter().map(|taken| taken.owner).collect();
        assert_eq!(owners.get(..5), Some(&[1, 2, 3, 1, 2][..]));
        // Alone it has all places.
        assert_eq!(owners.len(), AT_ONCE);
    }

    #[test]
    fn one_owner_and_large_drops_never_have_all_places() {
        let mut line = Line::default();
        push(&mut line, 1, true, 0..1000);
        let large: Vec<Waiting> = std::iter::from_fn(|| line.take_next()).collect();
        assert_eq!(large.len(), LARGE_AT_ONCE);
        push(&mut line, 1, false, 0..1000);
        push(&mut line, 2, true, 0..1);
        let small = std::iter::from_fn(|| line.take_next()).count();
        assert_eq!(small, OF_ONE_OWNER - LARGE_AT_ONCE);
        push(&mut line, 2, false, 0..1);
        assert_eq!(line.take_next().map(|w| w.owner), Some(2));
        for waiting in &large {
            line.done(waiting);
        }
        assert_eq!(line.take_next().map(|w| w.owner), Some(1));
    }

    #[test]
    fn a_drop_is_in_the_line_once() {
        let mut line = Line::default();
        push(&mut line, 1, false, 0..1);
        push(&mut line, 1, false, 0..1);
        let taken = line.take_next().unwrap();
        push(&mut line, 1, false, 0..1);
        assert_eq!(line.take_next(), None);
        assert!(line.knows(&taken.name) && line.knows(&format!("{CLAIMED}{}", taken.name)));
        line.done(&taken);
        assert!(!line.knows(&taken.name));
    }
}
