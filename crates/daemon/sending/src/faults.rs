//! Faults on our side that keep mail from leaving: a login that a relay refuses, a configured server whose name
//! does not exist or whose certificate is refused. Such mail waits, and no attempt is charged.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use mail::{Reply, Timestamp};
use node::hop::Hop;

use crate::Sending;

/// How long it is until the next try: a wrong password must not lock the account.
const WAITS: [Duration; 3] = [
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(3600),
];
/// How often a file with a password that was refused is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The faults that stand. Nothing of it outlives the server: it is found out anew.
#[derive(Debug, Default)]
pub struct Faults {
    known: Mutex<BTreeMap<Arc<str>, Fault>>,
    /// Where there are none, nobody takes the lock.
    any: AtomicBool,
    /// Tries that ended so.
    count: AtomicU64,
}

/// A fault of ours.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// In words.
    pub(crate) why: String,
    /// When it is tried again.
    pub(crate) until: Timestamp,
    rounds: usize,
}

/// How long the next try is put off after this many that have failed.
fn wait(rounds: usize) -> Duration {
    let last = WAITS.len() - 1;
    let place = rounds.saturating_sub(1).min(last);
    WAITS.get(place).copied().unwrap_or_default()
}

impl Faults {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<Arc<str>, Fault>) -> T) -> T {
        let mut known = self.known.lock();
        let result = work(&mut known);
        self.any.store(!known.is_empty(), Ordering::Relaxed);
        result
    }

    /// Tries that ended so, since the start.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// A next hop could not be used once more: when it is tried again.
    fn again(&self, site: &Arc<str>, why: String, now: Timestamp) -> Fault {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.with(|known| {
            let old = known.get(site).map_or(0, |fault| fault.rounds);
            let rounds = old + 1;
            let until = now + wait(rounds);
            let fault = Fault { why, until, rounds };
            known.insert(Arc::clone(site), fault.clone());
            fault
        })
    }

    /// A next hop could be used. Whether that is news.
    fn end(&self, site: &Arc<str>) -> bool {
        self.with(|known| known.remove(site)).is_some()
    }

    /// What stands, in words.
    pub fn words(&self) -> Vec<String> {
        let words = |(site, fault): (&Arc<str>, &Fault)| {
            format!("{site}: {}; next try at {}", fault.why, fault.until)
        };
        self.with(|known| known.iter().map(words).collect())
    }

    /// The configuration was read anew, perhaps to mend them.
    pub fn forget(&self) {
        self.with(BTreeMap::clear);
    }
}

/// A next hop could not be used, and the fault is ours: when it is tried again.
pub(crate) fn stands(
    sending: &Arc<Sending>,
    hop: &Hop,
    reply: &Reply,
    now: Timestamp,
) -> Timestamp {
    let faults = &sending.faults;
    let site = hop.next.site_key();
    let why = match reply.code {
        0 => reply.text.clone(),
        _ => format!("it answered {reply}"),
    };
    let fault = faults.again(&site, why, now);
    let line = sending.node.journal.line(now, "our-fault");
    line.field("host", &site)
        .field("why", &fault.why)
        .field("next", fault.until)
        .field(
            "remedy",
            "correct the configuration (certificate authority: tls.extra_roots; login: outgoing.relay) and reload; this \
             does not count as an attempt",
        )
        .send();
    if hop.credentials.is_some() {
        watch_secret(sending, &site);
    }
    fault.until
}

/// A next hop could be used.
pub(crate) fn mended(sending: &Sending, hop: &Hop) {
    let faults = &sending.faults;
    if !faults.any.load(Ordering::Relaxed) {
        return;
    }
    let site = hop.next.site_key();
    if faults.end(&site) {
        let line = sending.node.journal.line(sending.node.now(), "our-fault");
        line.field("host", &site).field("what", "mended").send();
    }
}

/// While a login is refused, the file with the password is watched: when it changes, it is read.
fn watch_secret(sending: &Arc<Sending>, site: &Arc<str>) {
    let settings = sending.node.settings();
    let relay = settings.config.outgoing.relay.as_ref();
    let Some(file) = relay.and_then(|relay| relay.password_file.clone()) else {
        return;
    };
    let changed = move || -> Option<SystemTime> { std::fs::metadata(&file).ok()?.modified().ok() };
    let (sending, site, before) = (Arc::clone(sending), Arc::clone(site), changed());
    let round = move |sending: &Sending| {
        let faults = &sending.faults;
        faults.with(|known| known.get(&site).map(|fault| (fault.until, fault.rounds)))
    };
    let this_round = round(&sending);
    tokio::spawn(async move {
        while !sending.node.stopping.is_cancelled()
            && this_round.is_some()
            && round(&sending) == this_round
        {
            if changed() != before {
                let because = "the relay's password_file changed";
                // It is logged, and shown to those who watch.
                return drop(sending.node.reloads.reload(because).await);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_ours_is_tried_after_5_minutes_then_15_then_each_hour_until_it_is_mended() {
        let faults = Faults::default();
        let site: Arc<str> = "relay.example".into();
        let mut now = Timestamp::from_secs(1_000_000);
        let mut minutes = Vec::new();
        for _ in 0..5 {
            let until = faults.again(&site, "535 no".to_owned(), now).until;
            minutes.push(until.since(now).as_secs() / 60);
            now = until;
        }
        assert_eq!(minutes, [5, 15, 60, 60, 60]);
        assert!(faults.end(&site), "it is news");
        assert!(!faults.end(&site));
        let until = faults.again(&site, "535 no".to_owned(), now).until;
        assert_eq!(until, now + Duration::from_secs(300));
        assert_eq!(faults.count(), 6);
    }

    #[test]
    fn a_fault_is_shown_with_its_next_try_until_the_configuration_is_read_again() {
        let faults = Faults::default();
        let now = Timestamp::parse_rfc3339("2026-12-01T08:00:00Z").unwrap();
        faults.again(
            &"relay.example".into(),
            "it answered 535 no".to_owned(),
            now,
        );
        faults.again(&"other.example".into(), "no such name".to_owned(), now);
        let expected = [
            "other.example: no such name; next try at 2026-12-01T08:05:00.000Z",
            "relay.example: it answered 535 no; next try at 2026-12-01T08:05:00.000Z",
        ];
        assert_eq!(faults.words(), expected);
        faults.forget();
        assert!(faults.words().is_empty());
    }
}
