//! Attempts to log in, by the address and network that they come from and by the account that they are for: a
//! number of them may fail, and beyond it none is looked at for a while.
//!
//! An attempt counts when it begins, so that many at once are no more guesses than one after another; of those
//! that turn out right nothing is left. No stranger locks an account out for an address that it has logged in from
//! before. A table that is full closes the door and does not open it.

mod origins;

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mail::Timestamp;
use net::Origin;
use tokio::sync::Notify;
use tokio::time::timeout;

pub use origins::Origins;

/// Failures of an address beyond which none of its logins is looked at, ...
const OF_ADDRESS: u32 = 20;
/// ... and of an account or a network.
const OF_MANY: u32 = 60;
/// Failures of all those together for whom the table has no room.
const OF_OTHERS: u32 = 300;
/// Who has not failed for so long is as new.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15 * 60);
/// The answer to a failed login comes this much later for each failure before it.
const DELAY_STEP: Duration = Duration::from_millis(500);
/// But not later than this: a person who mistypes must not think that the server is gone.
const DELAY_MAX: Duration = Duration::from_secs(8);
/// Addresses, networks and accounts that are remembered, of each.
const ENTRIES_MAX: usize = 100_000;
/// How long an attempt waits for others that have begun.
const TURN_WAIT: Duration = Duration::from_secs(30);

/// The guard.
#[derive(Debug)]
pub struct LoginGuard {
    state: Mutex<State>,
    /// An attempt has ended.
    ended: Notify,
}

#[derive(Debug)]
struct State {
    sources: Table<IpAddr>,
    networks: Table<IpAddr>,
    accounts: Table<String>,
    /// Users and addresses that they have logged in from before.
    known: Table<(String, IpAddr)>,
    origins: Origins,
}

/// The attempts of some kind of party.
#[derive(Debug)]
struct Table<K> {
    tries: HashMap<K, Tries>,
    /// Those of all for whom there was no room.
    others: Tries,
    limit: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    failed: u32,
    /// The last failure.
    last: Timestamp,
    begun: u32,
}

/// What the guard says to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Go,
    /// Others that have begun may yet fail.
    Wait,
    TooMany,
}

/// An attempt that has begun. Dropped without a word it has failed.
#[derive(Debug)]
pub struct Try {
    guard: Arc<LoginGuard>,
    origin: Origin,
    /// Who wants to log in.
    pub user: String,
    /// Whether the user has logged in from there before.
    is_known: bool,
    is_right: bool,
}

impl Tries {
    fn at(mut self, now: Timestamp) -> Self {
        if self.last + FORGOTTEN_AFTER <= now {
            self.failed = 0;
        }
        self
    }

    fn word(self, limit: u32, now: Timestamp) -> Word {
        let now = self.at(now);
        if now.failed >= limit {
            Word::TooMany
        } else if now.failed + now.begun >= limit {
            Word::Wait
        } else {
            Word::Go
        }
    }
}

impl<K: Eq + Hash> Table<K> {
    fn new(limit: u32) -> Self {
        Self {
            tries: HashMap::new(),
            others: Tries::default(),
            limit,
        }
    }

    fn word(&self, key: &K, now: Timestamp) -> Word {
        match self.tries.get(key) {
            Some(tries) => tries.word(self.limit, now),
            None if self.tries.len() < ENTRIES_MAX => Word::Go,
            None => self.others.word(OF_OTHERS, now),
        }
    }

    fn entry(&mut self, key: K, now: Timestamp) -> &mut Tries {
        if self.tries.len() >= ENTRIES_MAX && !self.tries.contains_key(&key) {
            let is_known = |tries: &Tries| tries.begun > 0 || tries.at(now).failed > 0;
            self.tries.retain(|_, tries| is_known(tries));
            if self.tries.len() >= ENTRIES_MAX {
                return &mut self.others;
            }
        }
        self.tries.entry(key).or_default()
    }

    /// An attempt has ended.
    fn end(&mut self, key: K, is_right: bool, now: Timestamp) {
        // What has begun among the others ends there, though there may be room by now.
        let began_here = self.tries.get(&key).is_some_and(|tries| tries.begun > 0);
        let tries = match !began_here && self.others.begun > 0 {
            true => &mut self.others,
            false => self.entry(key, now),
        };
        *tries = tries.at(now);
        tries.begun = tries.begun.saturating_sub(1);
        if !is_right {
            tries.failed += 1;
            tries.last = now;
        }
    }
}

impl LoginGuard {
    /// Nobody has failed yet; these have logged in before.
    pub fn new(origins: Origins) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                sources: Table::new(OF_ADDRESS),
                networks: Table::new(OF_MANY),
                accounts: Table::new(OF_MANY),
                known: Table::new(OF_ADDRESS),
                origins,
            }),
            ended: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Begins an attempt to log in, when its turn comes; `None`: too many have failed.
    pub async fn begin(self: &Arc<Self>, client: IpAddr, user: &str) -> Option<Try> {
        let origin = Origin::of(client);
        let turn = async {
            loop {
                let ended = self.ended.notified();
                tokio::pin!(ended);
                // From here on nobody's end is missed.
                ended.as_mut().enable();
                let (word, is_known) = self.enter(origin, user, net::now());
                match word {
                    Word::Go => return Some(is_known),
                    Word::TooMany => return None,
                    Word::Wait => ended.await,
                }
            }
        };
        let is_known = timeout(TURN_WAIT, turn).await.ok().flatten()?;
        Some(Try {
            guard: Arc::clone(self),
            origin,
            user: user.to_owned(),
            is_known,
            is_right: false,
        })
    }

    /// Lets an attempt begin, if it may; and whether the user has logged in from there before. Such a user is closed
    /// out by its own failures there alone: an address may be that of a whole office, in which somebody's telephone
    /// has an old password.
    fn enter(&self, origin: Origin, user: &str, now: Timestamp) -> (Word, bool) {
        let mut state = self.state();
        let user = user.to_owned();
        let is_known = state.origins.knows(&user, origin.source, now);
        let pair = (user.clone(), origin.source);
        let words = match is_known {
            true => vec![state.known.word(&pair, now)],
            false => vec![
                state.sources.word(&origin.source, now),
                state.networks.word(&origin.network, now),
                state.accounts.word(&user, now),
            ],
        };
        if words.contains(&Word::TooMany) {
            return (Word::TooMany, is_known);
        }
        if words.contains(&Word::Wait) {
            return (Word::Wait, is_known);
        }
        if is_known {
            state.known.entry(pair, now).begun += 1;
        }
        state.sources.entry(origin.source, now).begun += 1;
        state.networks.entry(origin.network, now).begun += 1;
        state.accounts.entry(user, now).begun += 1;
        (Word::Go, is_known)
    }

    /// Ends an attempt.
    fn end(&self, attempt: &Try, now: Timestamp) {
        let (origin, user, is_right) = (attempt.origin, &attempt.user, attempt.is_right);
        let mut state = self.state();
        if attempt.is_known {
            let pair = (user.clone(), origin.source);
            state.known.end(pair, is_right, now);
        }
        state.sources.end(origin.source, is_right, now);
        state.networks.end(origin.network, is_right, now);
        state.accounts.end(user.to_owned(), is_right, now);
        if is_right {
            // One address may have many people behind it.
            state.sources.entry(origin.source, now).failed /= 2;
            state.origins.note(user, origin.source, now);
        }
        drop(state);
        self.ended.notify_waiters();
    }

    /// From where users have logged in, if that has changed since it was asked last.
    pub(crate) fn changed_origins(&self) -> Option<String> {
        self.state().origins.changed()
    }
}

impl Try {
    /// It was right.
    pub fn right(mut self) {
        self.is_right = true;
    }

    /// It was wrong: how much later that is to be answered.
    pub fn wrong(self) -> Duration {
        // It counts when it is dropped, after this.
        let state = self.guard.state();
        let failed = state.sources.tries.get(&self.origin.source);
        let failed = failed.map_or(OF_ADDRESS, |tries| tries.at(net::now()).failed);
        drop(state);
        (DELAY_STEP * (failed + 1)).min(DELAY_MAX)
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        self.guard.end(self, net::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn new() -> Arc<LoginGuard> {
        LoginGuard::new(Origins::default())
    }

    async fn fail(guard: &Arc<LoginGuard>, client: &str, user: &str, times: u32) {
        for n in 0..times {
            let begun = guard.begin(ip(client), user).await;
            begun.unwrap_or_else(|| panic!("number {n}")).wrong();
        }
    }

    #[tokio::test]
    async fn failures_are_answered_later_and_later_and_then_not_looked_at() {
        let guard = new();
        let (bad, near, other) = ("2001:db8::1", "2001:db8::2", "192.0.2.1");
        let begin = async |client: &str, user: &str| guard.begin(ip(client), user).await;
        assert_eq!(begin(bad, "a").await.unwrap().wrong(), DELAY_STEP);
        assert_eq!(begin(near, "b").await.unwrap().wrong(), DELAY_STEP * 2);
        assert_eq!(begin(other, "c").await.unwrap().wrong(), DELAY_STEP);
        fail(&guard, bad, "a", OF_ADDRESS - 3).await;
        assert_eq!(begin(near, "d").await.unwrap().wrong(), DELAY_MAX);
        assert!(begin(bad, "e").await.is_none() && begin(near, "f").await.is_none());
        begin(other, "c").await.unwrap().right();
    }

    #[tokio::test]
    async fn many_at_once_are_no_more_guesses_than_one_after_another() {
        let guard = new();
        let client = ip("192.0.2.1");
        let mut begun = Vec::new();
        for _ in 0..OF_ADDRESS {
            begun.push(guard.begin(client, "ann").await.unwrap());
        }
        let enter = || guard.enter(Origin::of(client), "ann", net::now());
        assert_eq!(enter().0, Word::Wait);
        // A right one gives its turn to the next.
        begun.pop().unwrap().right();
        begun.push(guard.begin(client, "ann").await.unwrap());
        begun.clear();
        assert!(guard.begin(client, "bob").await.is_none());
        // Who has been there before has failures of its own.
        assert_eq!(enter().0, Word::Go);
    }

    #[tokio::test]
    async fn a_colleague_with_an_old_password_locks_nobody_out_who_was_there_before() {
        let guard = new();
        let office = "198.51.100.7";
        guard.begin(ip(office), "ann").await.unwrap().right();
        fail(&guard, office, "bob", OF_ADDRESS).await;
        assert!(guard.begin(ip(office), "bob").await.is_none());
        assert!(
            guard.begin(ip(office), "carl").await.is_none(),
            "never was here"
        );
        fail(&guard, office, "ann", OF_ADDRESS).await;
        assert!(
            guard.begin(ip(office), "ann").await.is_none(),
            "its own failures"
        );
    }

    #[tokio::test]
    async fn an_account_is_closed_to_strangers_and_open_from_where_it_was_used() {
        let guard = new();
        guard
            .begin(ip("198.51.100.7"), "ann")
            .await
            .unwrap()
            .right();
        for n in 0..6 {
            let from = format!("203.0.{n}.1");
            fail(&guard, &from, "ann", 10).await;
        }
        assert!(guard.begin(ip("192.0.2.1"), "ann").await.is_none());
        assert!(guard.begin(ip("192.0.2.1"), "bob").await.is_some());
        guard
            .begin(ip("198.51.100.7"), "ann")
            .await
            .unwrap()
            .right();
        // A network, whatever its addresses and accounts.
        for n in 0..6 {
            fail(&guard, &format!("198.51.101.{n}"), &format!("user{n}"), 10).await;
        }
        assert!(guard.begin(ip("198.51.101.200"), "carl").await.is_none());
    }

    #[test]
    fn a_full_table_closes_the_door() {
        let now = Timestamp::from_secs(1_000_000);
        let mut table = Table::new(OF_ADDRESS);
        for n in 0..ENTRIES_MAX {
            table.end(n, false, now);
        }
        let new = ENTRIES_MAX + 1;
        assert_eq!(table.word(&new, now), Word::Go);
        for n in 0..OF_OTHERS as usize {
            table.end(new + n, false, now);
        }
        assert_eq!(table.word(&new, now), Word::TooMany);
        let later = now + FORGOTTEN_AFTER;
        assert_eq!(table.word(&new, later), Word::Go);
        table.end(new, true, later);
        assert!(table.tries.len() < 10);
    }

    #[test]
    fn what_begins_in_a_full_table_ends_where_it_began() {
        let now = Timestamp::from_secs(1_000_000);
        let mut table = Table::new(OF_ADDRESS);
        for n in 0..ENTRIES_MAX {
            table.end(n, false, now);
        }
        table.entry(ENTRIES_MAX, now).begun += 1;
        // By the time it ends there is room again, and another has begun there.
        let later = now + FORGOTTEN_AFTER;
        table.entry(ENTRIES_MAX, later).begun += 1;
        table.end(ENTRIES_MAX, true, later);
        table.end(ENTRIES_MAX, true, later);
        assert_eq!(table.others.begun, 0);
        assert_eq!(table.entry(ENTRIES_MAX, later).begun, 0);
    }
}
