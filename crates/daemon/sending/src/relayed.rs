//! What the relay has taken today, beside what its provider takes a day (`outgoing.relay.preset`).
//!
//! Counted in memory, by days in UTC, from the server's start on; nothing is held back by it. The log has a
//! warning at four fifths of a limit and at the whole of it, once a day each.

use parking_lot::Mutex;

use config::Preset;
use deliver::Ended;
use mail::{Outcome, Timestamp};
use world::Clock;

use crate::Sending;

/// Taken by the relay, today.
#[derive(Debug)]
pub struct Relayed {
    clock: Clock,
    today: Mutex<Today>,
}

#[derive(Debug, Default)]
struct Today {
    day: String,
    messages: u32,
    recipients: u32,
    /// How far the limits were used when it was last said: 0, 80 or 100 of a hundred.
    told: u32,
}

impl Today {
    fn at(&mut self, now: Timestamp) -> &mut Self {
        let today = now.day();
        if self.day != today {
            *self = Self {
                day: today,
                ..Self::default()
            };
        }
        self
    }

    /// How much of the nearest limit is used, in a hundred.
    fn used(&self, preset: &Preset) -> u32 {
        let one = |count: u32, limit: Option<u32>| {
            limit.map_or(0, |limit| u64::from(count) * 100 / u64::from(limit.max(1)))
        };
        let most = one(self.messages, preset.messages).max(one(self.recipients, preset.recipients));
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    /// Counts a transaction; what is to be said of it, where that has not been said today.
    fn count(&mut self, recipients: u32, preset: &Preset) -> Option<String> {
        self.messages = self.messages.saturating_add(1);
        self.recipients = self.recipients.saturating_add(recipients);
        let step = match self.used(preset) {
            0..80 => 0,
            80..100 => 80,
            _ => 100,
        };
        if step <= self.told {
            return None;
        }
        self.told = step;
        let what = match step {
            100 => "the relay has accepted the provider's daily limit today, and may refuse more",
            _ => "the relay has accepted 80 % of the provider's daily limit today",
        };
        Some(format!("{what}: {} of {}", self.words(), preset.limits()))
    }

    fn words(&self) -> String {
        format!("{} messages, {} recipients", self.messages, self.recipients)
    }
}

impl Relayed {
    /// Nothing yet.
    pub(crate) fn new(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            today: Mutex::default(),
        }
    }

    /// Counts a transaction for so many; what is to be said of it, where that has not been said today.
    fn count(&self, recipients: u32, preset: &Preset) -> Option<String> {
        let mut today = self.today.lock();
        today.at(self.clock.now()).count(recipients, preset)
    }

    /// The provider's limits, and what the relay has taken of them.
    pub fn explained(&self, preset: &Preset) -> Option<String> {
        let limits = preset.limits();
        if limits.is_empty() {
            return None;
        }
        let mut today = self.today.lock();
        let taken = today.at(self.clock.now()).words();
        Some(format!(
            "the provider accepts {limits} a day; it has accepted {taken} today, counted since this server was \
             started"
        ))
    }
}

/// Counts what came of a transaction with the relay.
pub(crate) fn count(sending: &Sending, is_relay: bool, ended: &[Ended]) {
    let taken = ended
        .iter()
        .filter(|e| e.judgement.outcome == Outcome::Delivered);
    let taken = u32::try_from(taken.count()).unwrap_or(u32::MAX);
    if !is_relay || taken == 0 {
        return;
    }
    let settings = sending.node.settings();
    let Some(preset) = settings
        .config
        .outgoing
        .relay
        .as_ref()
        .and_then(|r| r.preset)
    else {
        return;
    };
    if let Some(what) = sending.relayed.count(taken, preset) {
        let line = sending.node.journal.line(sending.node.now(), "warning");
        line.field("what", what).send();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use world::Scripted;

    use super::*;

    #[test]
    fn a_limit_is_told_before_it_is_met_and_when_it_is_once_a_day() {
        let (_, preset) = config::presets::all()
            .find(|(name, _)| *name == "brevo")
            .unwrap();
        assert_eq!(preset.recipients, Some(300));
        let mut today = Today::default();
        for days in 0..2 {
            let now = Timestamp::from_millis(days * 86_400_000);
            let mut told = Vec::new();
            for number in 1..=40 {
                told.extend(today.at(now).count(10, preset).map(|what| (number, what)));
            }
            let at: Vec<u32> = told.iter().map(|(number, _)| *number).collect();
            assert_eq!(at, [24, 30], "{told:?}");
            assert!(
                told[0]
                    .1
                    .contains("24 messages, 240 recipients of 300 recipients (free)"),
                "{told:?}"
            );
        }
    }

    #[test]
    fn what_the_relay_has_taken_is_counted_anew_after_midnight_in_utc() {
        let (_, preset) = config::presets::all()
            .find(|(name, _)| *name == "brevo")
            .unwrap();
        let evening = Timestamp::parse_rfc3339("2026-12-31T23:59:00Z").unwrap();
        let script = Scripted::at(evening);
        let relayed = Relayed::new(&script.clock());
        let said = |what: &str| {
            let explained = relayed.explained(preset).unwrap();
            assert!(explained.contains(what), "{explained}");
        };
        relayed.count(7, preset);
        relayed.count(1, preset);
        said("it has accepted 2 messages, 8 recipients today");
        script.advance(Duration::from_secs(59));
        said("it has accepted 2 messages, 8 recipients today");
        script.advance(Duration::from_secs(1));
        said("it has accepted 0 messages, 0 recipients today");
        relayed.count(3, preset);
        said("it has accepted 1 messages, 3 recipients today");
    }
}
