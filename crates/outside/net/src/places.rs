//! The places of clients: bounded in all, by client and by network, and not to be had for doing nothing.
//!
//! Who holds a place and does nothing with it makes room for who comes: the one that was idle longest, of
//! the network that holds the most. So connections that are opened and left to lie close the door to
//! nobody, from however many addresses they come.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::shares::Origin;

/// How many clients there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// In all.
    pub all: usize,
    /// From one address (one /64).
    pub per_source: usize,
    /// From one network (an IPv4 /24, an IPv6 /48).
    pub per_network: usize,
    /// Who is idle for less than this is not sent away for another.
    pub patience: Duration,
}

/// Which of the bounds is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// That of all.
    All,
    /// That of the client's address.
    Source,
    /// That of its network.
    Network,
}

/// How well a client is known: the less, the sooner it makes room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nobody in particular.
    Stranger = 0,
    /// In a network that is trusted. Its network's bound is not for it.
    Trusted = 1,
    /// Has proved who it is.
    Known = 2,
}

/// The places.
#[derive(Debug)]
pub struct Places {
    state: Mutex<State>,
    /// How many are taken, for who only wants to know that.
    count: AtomicUsize,
    /// Times are kept as milliseconds since then.
    began: Instant,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    taken: HashMap<u64, Taken>,
    sources: HashMap<IpAddr, usize>,
    networks: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Taken {
    origin: Origin,
    /// Whether it counts for its network.
    in_network: bool,
    slot: Arc<Slot>,
}

/// What a client tells of itself, without a lock.
#[derive(Debug)]
struct Slot {
    /// Since when it is idle; 0 while it is not.
    idle_since: AtomicU64,
    standing: AtomicU8,
    /// Cancelled when it has to go.
    gone: CancellationToken,
}

/// A client's place; given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    number: u64,
    slot: Arc<Slot>,
    /// Whether so many places are taken that who is a stranger should be quick.
    crowded: bool,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            count: AtomicUsize::new(0),
            began: Instant::now(),
        }
    }
}

impl Places {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Milliseconds, never 0.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).map_or(u64::MAX, |ms| ms.max(1))
    }

    /// Whether more than half of all places are taken.
    #[must_use]
    pub fn is_crowded(&self, room: &Room) -> bool {
        self.count.load(Ordering::Relaxed) > room.all / 2
    }

    /// Takes a place. It is idle until it says otherwise.
    ///
    /// # Errors
    /// Which bound is reached, where nobody makes room.
    pub fn enter(
        self: &Arc<Self>,
        client: IpAddr,
        standing: Standing,
        room: &Room,
    ) -> Result<Place, Full> {
        let origin = Origin::of(client);
        let now = self.now();
        let mut state = self.state();
        let in_network = standing == Standing::Stranger;
        let count = |map: &HashMap<IpAddr, usize>, ip| map.get(&ip).copied().unwrap_or_default();
        let patience = u64::try_from(room.patience.as_millis()).unwrap_or(u64::MAX);
        let idle_before = now.saturating_sub(patience);
        if count(&state.sources, origin.source) >= room.per_source {
            let mine = |taken: &Taken| taken.origin.source == origin.source;
            state.make_room(idle_before, mine, Full::Source)?;
        }
        if in_network && count(&state.networks, origin.network) >= room.per_network {
            let mine = |taken: &Taken| taken.in_network && taken.origin.network == origin.network;
            state.make_room(idle_before, mine, Full::Network)?;
        }
        if state.taken.len() >= room.all {
            state.make_room(idle_before, |_| true, Full::All)?;
        }
        let crowded = state.taken.len() >= room.all - room.all / 5;
        let slot = Arc::new(Slot {
            idle_since: AtomicU64::new(now),
            standing: AtomicU8::new(standing as u8),
            gone: CancellationToken::new(),
        });
        let number = state.next;
        state.next += 1;
        *state.sources.entry(origin.source).or_default() += 1;
        if in_network {
            *state.networks.entry(origin.network).or_default() += 1;
        }
        let taken = Taken {
            origin,
            in_network,
            slot: Arc::clone(&slot),
        };
        state.taken.insert(number, taken);
        self.count.store(state.taken.len(), Ordering::Relaxed);
        Ok(Place {
            places: Arc::clone(self),
            number,
            slot,
            crowded,
        })
    }
}

impl State {
    /// Sends one of these away, if one is idle long enough: of those who are known least one from the
    /// network that holds the most, and of these who is idle longest.
    fn make_room(
        &mut self,
        idle_before: u64,
        whose: impl Fn(&Taken) -> bool,
        full: Full,
    ) -> Result<(), Full> {
        let victim = self.taken.iter().filter_map(|(number, taken)| {
            let idle_since = taken.slot.idle_since.load(Ordering::Relaxed);
            let is_idle = idle_since != 0 && idle_since <= idle_before;
            if !is_idle || !whose(taken) {
                return None;
            }
            let standing = taken.slot.standing.load(Ordering::Relaxed);
            let network = self.networks.get(&taken.origin.network).copied();
            let crowd = network.unwrap_or_default();
            Some(((standing, std::cmp::Reverse(crowd), idle_since), *number))
        });
        let (_, number) = victim.min().ok_or(full)?;
        if let Some(taken) = self.leave(number) {
            taken.slot.gone.cancel();
        }
        Ok(())
    }

    fn leave(&mut self, number: u64) -> Option<Taken> {
        let taken = self.taken.remove(&number)?;
        let less = |map: &mut HashMap<IpAddr, usize>, ip: IpAddr| {
            if let Some(count) = map.get_mut(&ip) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    map.remove(&ip);
                }
            }
        };
        less(&mut self.sources, taken.origin.source);
        if taken.in_network {
            less(&mut self.networks, taken.origin.network);
        }
        Some(taken)
    }
}

impl Place {
    /// Whether few places were left when this one was taken: who stays a stranger should not keep it.
    #[must_use]
    pub const fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// The client does something, or its turn is not its own: it keeps its place.
    pub fn busy(&self) {
        self.slot.idle_since.store(0, Ordering::Relaxed);
    }

    /// The client does nothing from now on, unless it did nothing before.
    pub fn idle(&self) {
        if self.slot.idle_since.load(Ordering::Relaxed) == 0 {
            self.slot
                .idle_since
                .store(self.places.now(), Ordering::Relaxed);
        }
    }

    /// Who the client is has become clear.
    pub fn stands(&self, standing: Standing) {
        self.slot.standing.store(standing as u8, Ordering::Relaxed);
    }

    /// Returns when the client has to make room; the place is another's then.
    pub async fn lost(&self) {
        self.slot.gone.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.state();
        state.leave(self.number);
        self.places
            .count
            .store(state.taken.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room {
        all: 10,
        per_source: 4,
        per_network: 6,
        patience: Duration::ZERO,
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_lost(place: &Place) -> bool {
        place.slot.gone.is_cancelled()
    }

    fn taken(places: &Arc<Places>, client: &str, room: &Room) -> Result<Place, Full> {
        places.enter(ip(client), Standing::Stranger, room)
    }

    fn busy(places: &Arc<Places>, client: &str) -> Place {
        let place = taken(places, client, &ROOM).unwrap();
        place.busy();
        place
    }

    #[test]
    fn each_bound_is_said_by_its_name() {
        let places = Arc::new(Places::default());
        let mut kept: Vec<Place> = (0..4).map(|_| busy(&places, "2001:db8:1:1::1")).collect();
        let full = |client: &str| taken(&places, client, &ROOM).map(|_| ()).unwrap_err();
        // The rest of an IPv6 address is the client's to choose.
        assert_eq!(full("2001:db8:1:1::2"), Full::Source);
        kept.extend((0..2).map(|_| busy(&places, "2001:db8:1:2::1")));
        assert_eq!(full("2001:db8:1:3::1"), Full::Network);
        let trusted = places
            .enter(ip("2001:db8:1:3::1"), Standing::Trusted, &ROOM)
            .unwrap();
        trusted.busy();
        kept.push(trusted);
        kept.extend((0..3).map(|_| busy(&places, "192.0.2.1")));
        assert_eq!(full("198.51.100.1"), Full::All);
        kept.pop();
        kept.push(busy(&places, "198.51.100.1"));
        drop(kept);
        let state = places.state();
        assert!(state.taken.is_empty() && state.sources.is_empty() && state.networks.is_empty());
    }

    #[test]
    fn who_does_nothing_makes_room_the_stranger_of_the_largest_crowd_first() {
        let places = Arc::new(Places::default());
        let known = taken(&places, "203.0.113.1", &ROOM).unwrap();
        known.stands(Standing::Known);
        let lone = taken(&places, "198.51.100.1", &ROOM).unwrap();
        let crowd = ["192.0.2.1", "192.0.2.2"].map(|client| {
            let places: [Place; 3] =
                std::array::from_fn(|_| taken(&places, client, &ROOM).unwrap());
            places
        });
        let crowd: Vec<Place> = crowd.into_iter().flatten().collect();
        let more = ["198.51.100.2", "198.51.100.3"].map(|client| busy(&places, client));
        assert!(!is_lost(&known) && !is_lost(&lone));
        let new = taken(&places, "203.0.113.9", &ROOM).unwrap();
        assert!(!is_lost(&new) && !is_lost(&lone) && !is_lost(&known));
        assert_eq!(crowd.iter().filter(|place| is_lost(place)).count(), 1);
        assert!(is_lost(&crowd[0]), "it was idle longest");
        // What is given back late counts for nobody twice.
        drop(crowd);
        assert_eq!(places.state().taken.len(), 5);
        drop(more);
    }

    #[test]
    fn who_came_a_moment_ago_is_not_sent_away() {
        let places = Arc::new(Places::default());
        let room = Room {
            patience: Duration::from_secs(3600),
            ..ROOM
        };
        let _kept: Vec<Place> = (0..4)
            .map(|_| taken(&places, "192.0.2.1", &room).unwrap())
            .collect();
        assert_eq!(
            taken(&places, "192.0.2.1", &room).unwrap_err(),
            Full::Source
        );
    }
}
