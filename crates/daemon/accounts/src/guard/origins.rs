//! From where users have logged in, kept over restarts: there nobody locks them out.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use mail::Timestamp;

/// How long an address is remembered after its last login.
const KEPT_FOR: Duration = Duration::from_secs(30 * 86_400);
/// Addresses of one user.
const ADDRESSES_MAX: usize = 20;
/// A login is noted anew when the last note is this old.
const NOTED_EVERY: Duration = Duration::from_secs(86_400);

/// The addresses by user, each with its last login.
#[derive(Debug, Default)]
pub struct Origins {
    by_user: HashMap<String, BTreeMap<IpAddr, Timestamp>>,
    is_changed: bool,
}

impl Origins {
    /// What [`changed`](Self::changed) has written; what cannot be read is as if it were not there.
    pub(crate) fn read(text: &str) -> Self {
        let read: BTreeMap<String, BTreeMap<IpAddr, u64>> =
            serde_json::from_str(text).unwrap_or_default();
        let times = |list: BTreeMap<IpAddr, u64>| {
            let entries = list.into_iter();
            entries
                .map(|(ip, secs)| (ip, Timestamp::from_secs(secs)))
                .collect()
        };
        Self {
            by_user: read
                .into_iter()
                .map(|(user, list)| (user, times(list)))
                .collect(),
            is_changed: false,
        }
    }

    /// All of it, if it has changed since this was asked last.
    pub(super) fn changed(&mut self) -> Option<String> {
        if !std::mem::take(&mut self.is_changed) {
            return None;
        }
        let times = |list: &BTreeMap<IpAddr, Timestamp>| -> BTreeMap<IpAddr, u64> {
            list.iter().map(|(ip, at)| (*ip, at.as_secs())).collect()
        };
        let all: BTreeMap<&String, BTreeMap<IpAddr, u64>> = self
            .by_user
            .iter()
            .map(|(user, list)| (user, times(list)))
            .collect();
        serde_json::to_string(&all).ok()
    }

    /// Whether the user has logged in from there.
    pub(super) fn knows(&self, user: &str, source: IpAddr, now: Timestamp) -> bool {
        let at = self.by_user.get(user).and_then(|list| list.get(&source));
        at.is_some_and(|at| *at + KEPT_FOR > now)
    }

    /// The user has logged in from there.
    pub(super) fn note(&mut self, user: &str, source: IpAddr, now: Timestamp) {
        let list = self.by_user.entry(user.to_owned()).or_default();
        if list.get(&source).is_some_and(|at| *at + NOTED_EVERY > now) {
            return;
        }
        self.is_changed = true;
        list.insert(source, now);
        list.retain(|_, at| *at + KEPT_FOR > now);
        if list.len() > ADDRESSES_MAX
            && let Some(oldest) = list.iter().min_by_key(|(_, at)| **at).map(|(ip, _)| *ip)
        {
            list.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_forgotten_in_time() {
        let (home, away) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let now = Timestamp::from_secs(1_000_000);
        let mut origins = Origins::default();
        assert_eq!(origins.changed(), None);
        origins.note("ann", home, now);
        let text = origins.changed().unwrap();
        origins.note("ann", home, now + Duration::from_secs(60));
        assert_eq!(origins.changed(), None, "it is not written at each login");
        let read = Origins::read(&text);
        assert!(read.knows("ann", home, now) && !read.knows("ann", away, now));
        assert!(!read.knows("bob", home, now) && !read.knows("ann", home, now + KEPT_FOR));
        assert!(!Origins::read("{").knows("ann", home, now));
        for n in 0..100 {
            let at = now + Duration::from_secs(n.into());
            origins.note("ann", IpAddr::from([192, 0, 2, n]), at);
        }
        assert!(!origins.knows("ann", home, now), "the oldest went");
        assert_eq!(origins.by_user["ann"].len(), ADDRESSES_MAX);
    }
}
