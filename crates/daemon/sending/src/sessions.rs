//! The open sessions of a worker: the one in use, and those from other addresses of ours that the next
//! mail may leave from.

use std::time::Duration;

use world::{Clock, Instant};

use crate::opened::Open;

/// Sessions put aside at the most.
const ASIDE_MAX: usize = 3;
/// How long one is kept aside: hosts hang up on who is silent for long.
const ASIDE_FOR: Duration = Duration::from_secs(30);

/// At most one from each address of ours: so each address has no more connections with a site than
/// the site has workers, and a host counts by address.
pub(crate) struct Sessions {
    /// The one in use.
    pub(crate) open: Option<Open>,
    aside: Vec<(Instant, Open)>,
    clock: Clock,
}

impl Sessions {
    /// None yet.
    pub(crate) fn new(clock: &Clock) -> Self {
        Self {
            open: None,
            aside: Vec::new(),
            clock: clock.clone(),
        }
    }

    /// Puts the session in use aside, if another address of ours is wanted while its own may be wanted
    /// again; what has to go instead is returned.
    pub(crate) fn put_aside(&mut self) -> Option<Open> {
        let open = self.open.take()?;
        if open.source.is_none() || !open.session.is_idle() {
            return Some(open);
        }
        let same = |(_, other): &(Instant, Open)| other.source == open.source;
        let place = match self.aside.iter().position(same) {
            Some(place) => Some(place),
            None if self.aside.len() >= ASIDE_MAX => Some(0),
            None => None,
        };
        let gone = place.map(|place| self.aside.remove(place).1);
        self.aside.push((self.clock.instant(), open));
        gone
    }

    /// Ends those whose host has gone, or has said something unasked (421, RFC 5321 §3.8): what is sent
    /// over such a session may be lost without an answer.
    pub(crate) async fn look(&mut self) {
        if let Some(open) = &mut self.open
            && !open.is_of_use().await
        {
            self.open = None;
        }
        let mut place = 0;
        while let Some((_, open)) = self.aside.get_mut(place) {
            match open.is_of_use().await {
                true => place += 1,
                false => drop(self.aside.remove(place)),
            }
        }
    }

    /// How many are aside.
    pub(crate) fn aside(&self) -> usize {
        self.aside.len()
    }

    /// One that is aside, the latest first.
    pub(crate) fn get(&self, place: usize) -> Option<&Open> {
        self.aside.iter().rev().nth(place).map(|(_, open)| open)
    }

    /// Uses one that was aside; what has to go instead is returned.
    pub(crate) fn take(&mut self, place: usize) -> Option<Open> {
        let place = self.aside.len().checked_sub(place + 1)?;
        let (_, open) = self.aside.remove(place);
        let gone = self.put_aside();
        self.open = Some(open);
        gone
    }

    /// All of them, the one in use first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Open> {
        let aside = self.aside.iter().rev().map(|(_, open)| open);
        self.open.iter().chain(aside)
    }

    /// Uses the latest that is aside, where none is in use: its worker is not idle for nothing.
    pub(crate) fn use_one(&mut self) {
        if self.open.is_none() {
            self.open = self.aside.pop().map(|(_, open)| open);
        }
    }

    /// Those that were aside for too long.
    pub(crate) fn old(&mut self) -> Vec<Open> {
        let now = self.clock.instant();
        let old = |(since, _): &mut (Instant, Open)| now.since(*since) > ASIDE_FOR;
        self.aside
            .extract_if(.., old)
            .map(|(_, open)| open)
            .collect()
    }

    /// All of them, to be ended.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Open> {
        let open = self.open.take();
        open.into_iter()
            .chain(self.aside.drain(..).map(|(_, open)| open))
    }
}
