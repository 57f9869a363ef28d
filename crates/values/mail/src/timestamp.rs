//! Points in time as the server keeps them, on disk and in memory.
//!
//! One type serves both, so that a due time read back after a restart is the due time that was
//! written. Monotonic instants never appear here: they mean nothing after a restart.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

const MS_PER_DAY: u64 = 86_400_000;

impl Timestamp {
    /// The earliest time there is.
    pub const ZERO: Self = Self(0);
    /// Later than every real time: "never".
    pub const MAX: Self = Self(u64::MAX);

    /// The time `ms` milliseconds after the epoch.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// The time `secs` seconds after the epoch.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// The time from `earlier` to this one; zero when `earlier` is the later of the two.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The day in UTC: `2026-11-22`.
    pub fn day(self) -> String {
        let mut text = self.to_string();
        text.truncate(10);
        text
    }

    /// The date in the form of a mail header, in UTC (RFC 5322 §3.3).
    #[must_use]
    pub fn rfc5322(self) -> String {
        let (year, month, day) = civil(self.0 / MS_PER_DAY);
        let (h, m, s, _) = clock(self.0 % MS_PER_DAY);
        let weekday = pick(
            &["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"],
            self.0 / MS_PER_DAY % 7,
        );
        let month = pick(
            &[
                "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
            ],
            month - 1,
        );
        format!("{weekday}, {day} {month} {year} {h:02}:{m:02}:{s:02} +0000")
    }
}

fn pick(names: &[&'static str], n: u64) -> &'static str {
    usize::try_from(n)
        .ok()
        .and_then(|n| names.get(n))
        .copied()
        .unwrap_or("")
}

fn clock(ms: u64) -> (u64, u64, u64, u64) {
    (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

/// Days since the epoch to year, month and day of the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Counted in 400-year eras that begin on 1 March, so that the leap day ends its year.
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The reverse of [`civil`].
const fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// ISO 8601 in UTC with milliseconds, as the log and the API write it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::MAX {
            return f.write_str("never");
        }
        let (year, month, day) = civil(self.0 / MS_PER_DAY);
        let (h, m, s, ms) = clock(self.0 % MS_PER_DAY);
        if year > 9999 {
            return write!(
                f,
                "{year}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z"
            );
        }
        // Every line of the log begins with one: digits in their places, instead of seven formatted numbers.
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let fields = [
            (year, 3),
            (month, 6),
            (day, 9),
            (h, 12),
            (m, 15),
            (s, 18),
            (ms, 22),
        ];
        for (mut number, mut place) in fields {
            while number > 0
                && let Some(digit) = text.get_mut(place)
            {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
                place = place.saturating_sub(1);
            }
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(rhs.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(rhs.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

impl Timestamp {
    /// Reads a time of RFC 3339, such as `2026-01-31T08:00:00Z` or one with `+01:00`; `None` when
    /// it is none, or lies before 1970. Fractions of a second are dropped.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let number = |at: usize, len: usize| {
            let digits = text.get(at..at + len)?;
            let all = digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse::<u64>().ok().filter(|_| all)
        };
        let is = |at: usize, mark: u8| text.as_bytes().get(at) == Some(&mark);
        let marked = is(4, b'-') && is(7, b'-') && is(13, b':') && is(16, b':');
        if !marked || !(is(10, b'T') || is(10, b't') || is(10, b' ')) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
        let (h, m, s) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
        // A leap second counts as the second after it.
        if h > 23 || m > 59 || s > 60 || year < 1970 {
            return None;
        }
        let date = days(year, month.clamp(1, 12), day.max(1));
        if civil(date) != (year, month, day) {
            return None;
        }
        let seconds = date * 86_400 + h * 3600 + m * 60 + s;
        let rest = text.get(19..)?;
        let zone = match rest.strip_prefix('.') {
            Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
            None => rest,
        };
        if zone.eq_ignore_ascii_case("Z") {
            return Some(Self::from_secs(seconds));
        }
        let at = text.len() - zone.len();
        if zone.len() != 6 || !is(at + 3, b':') {
            return None;
        }
        let offset = number(at + 1, 2)? * 3600 + number(at + 4, 2)? * 60;
        let seconds = match zone.starts_with('+') {
            true => seconds.checked_sub(offset)?,
            false if zone.starts_with('-') => seconds + offset,
            false => return None,
        };
        Some(Self::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_rfc_3339_are_read() {
        let read = |text| Timestamp::parse_rfc3339(text).map(Timestamp::as_secs);
        assert_eq!(read("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(read("2026-11-22T14:50:59Z"), Some(1_795_359_059));
        assert_eq!(read("2026-11-22T15:50:59.75+01:00"), Some(1_795_359_059));
        assert_eq!(read("2026-11-22 09:20:59-05:30"), Some(1_795_359_059));
        assert_eq!(read("2000-02-29t00:00:00z"), Some(951_782_400));
        for wrong in [
            "",
            "2026-11-22",
            "2026-11-22T14:50:59",
            "2025-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "2026-11-22T14:50:59+0100",
            "+026-11-22T14:50:59Z",
            "2026-11-22T14:50:59\u{e9}",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        for day in 0..60_000 {
            let (y, m, d) = civil(day);
            assert_eq!(days(y, m, d), day);
        }
    }

    #[test]
    fn known_dates_are_written_in_both_forms() {
        let cases = [
            (
                0,
                "1970-01-01T00:00:00.000Z",
                "Thu, 1 Jan 1970 00:00:00 +0000",
            ),
            (
                253_402_300_800_000,
                "10000-01-01T00:00:00.000Z",
                "Sat, 1 Jan 10000 00:00:00 +0000",
            ),
            (
                951_782_400_000,
                "2000-02-29T00:00:00.000Z",
                "Tue, 29 Feb 2000 00:00:00 +0000",
            ),
            (
                1_795_359_059_123,
                "2026-11-22T14:50:59.123Z",
                "Sun, 22 Nov 2026 14:50:59 +0000",
            ),
        ];
        for (ms, iso, header) in cases {
            assert_eq!(Timestamp::from_millis(ms).to_string(), iso);
            assert_eq!(Timestamp::from_millis(ms).rfc5322(), header);
        }
    }

    #[test]
    fn a_time_before_the_epoch_is_not_reached_by_subtraction() {
        assert_eq!(
            Timestamp::from_secs(1) - Duration::from_secs(5),
            Timestamp::ZERO
        );
        assert_eq!(Timestamp::MAX + Duration::from_secs(1), Timestamp::MAX);
    }
}
