//! `source.warm_up` and `source.warm_up_plan`: how much may leave from a new address on each of its
//! first days.

use std::time::Duration;

use mail::Timestamp;
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::raw;

const DAY: Duration = Duration::from_secs(86_400);
/// The longest plan.
const DAYS_MAX: usize = 366;
/// The plan where only the first day is given: 50, and twice as many each day.
const USUAL: [u32; 12] = [
    50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400,
];

/// How much may leave from an address on each day of its plan, to each site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmUp {
    /// Midnight, in UTC.
    first_day: Timestamp,
    plan: Vec<u32>,
}

/// A day of a plan, or one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmDay {
    /// Which, from 1; 0: the plan has not begun.
    pub number: usize,
    /// Of how many.
    pub of: usize,
    /// Mails that may go to each site.
    pub limit: u32,
}

impl WarmUp {
    /// What is allowed now; none: the plan is over.
    pub(crate) fn day(&self, now: Timestamp) -> Option<WarmDay> {
        let of = self.plan.len();
        if now < self.first_day {
            return Some(WarmDay {
                number: 0,
                of,
                limit: 0,
            });
        }
        let days = now.since(self.first_day).as_secs() / DAY.as_secs();
        let place = usize::try_from(days).ok()?;
        let limit = *self.plan.get(place)?;
        Some(WarmDay {
            number: place + 1,
            of,
            limit,
        })
    }
}

impl WarmDay {
    /// For administrators.
    pub fn words(self) -> String {
        match self.number {
            0 => "its warm-up has not started".to_owned(),
            number => format!(
                "day {number} of {} of its warm-up: {} messages to each site",
                self.of, self.limit
            ),
        }
    }
}

/// The end of a day in UTC: then the next one's mails may leave.
pub fn end_of_day(now: Timestamp) -> Timestamp {
    let days = now.as_secs() / DAY.as_secs();
    Timestamp::from_secs((days + 1) * DAY.as_secs())
}

/// The plan of one source, if it has one.
pub(super) fn warm_up(raw: &raw::Source, place: &Place<'_>) -> Result<Option<WarmUp>, ConfigError> {
    let Some(first) = &raw.warm_up else {
        return match raw.warm_up_plan.first() {
            Some(given) => Err(place.key(
                given.span(),
                "source.warm_up_plan",
                "a plan needs its first day: write warm_up = \"2026-12-01\"",
            )),
            None => Ok(None),
        };
    };
    let text = first.get_ref();
    let midnight = Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z"));
    let first_day = midnight.filter(|_| text.len() == 10).ok_or_else(|| {
        let why = format!("`{text}` is not a date: write it as \"2026-12-01\"");
        place.key(first.span(), "source.warm_up", why)
    })?;
    if let Some(more) = raw.warm_up_plan.get(DAYS_MAX) {
        let why = format!("a plan can have at most {DAYS_MAX} days");
        return Err(place.key(more.span(), "source.warm_up_plan", why));
    }
    let mails = |n: &Spanned<u32>| match *n.get_ref() {
        0 => {
            let why = "0 would make mail wait for a day: write 1 or more";
            Err(place.key(n.span(), "source.warm_up_plan", why))
        }
        number => Ok(number),
    };
    let plan: Vec<u32> = raw
        .warm_up_plan
        .iter()
        .map(mails)
        .collect::<Result<_, _>>()?;
    let plan = match plan.is_empty() {
        true => USUAL.to_vec(),
        false => plan,
    };
    Ok(Some(WarmUp { first_day, plan }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_begins_and_ends_at_midnight_in_utc() {
        let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
        let plan = WarmUp {
            first_day: at("2026-12-01T00:00:00Z"),
            plan: vec![10, 20],
        };
        let limit = |text: &str| plan.day(at(text)).map(|d| (d.number, d.limit));
        assert_eq!(limit("2026-11-30T23:59:59Z"), Some((0, 0)));
        assert_eq!(limit("2026-12-01T00:00:00Z"), Some((1, 10)));
        assert_eq!(limit("2026-12-01T23:59:59Z"), Some((1, 10)));
        assert_eq!(limit("2026-12-02T12:00:00Z"), Some((2, 20)));
        assert_eq!(limit("2026-12-03T00:00:00Z"), None);
        let noon = at("2026-12-02T12:00:00Z");
        assert_eq!(end_of_day(noon), at("2026-12-03T00:00:00Z"));
    }
}
