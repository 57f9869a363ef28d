//! Limits by time: so many messages in so long, evenly spaced.

use std::time::Duration;

use mail::{ParseDurationError, Timestamp, parse_duration};

/// A number of messages in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The number of events.
    pub count: u32,
    /// In how long.
    pub per: Duration,
}

/// Why a text is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseRateError {
    /// It has no slash with a number in front.
    #[error(
        "`{0}` is not a rate: write a number, a slash and a duration, such as \"100/min\" or \"5/10s\""
    )]
    Form(String),
    /// The time is not one.
    #[error(transparent)]
    Time(#[from] ParseDurationError),
}

impl Rate {
    /// Reads `100/min`, `5/s`, `1000/h`, `20/10m`.
    ///
    /// # Errors
    /// When the text has another form, or a part of it is zero.
    pub fn parse(text: &str) -> Result<Self, ParseRateError> {
        let form = || ParseRateError::Form(text.to_owned());
        let (count, per) = text.split_once('/').ok_or_else(form)?;
        let count = count.trim().parse().map_err(|_| form())?;
        let per = per.trim();
        if per.is_empty() {
            return Err(form());
        }
        let per = if per.starts_with(|c: char| c.is_ascii_digit()) {
            parse_duration(per)?
        } else {
            parse_duration(&format!("1{per}"))?
        };
        if count == 0 || per.is_zero() {
            return Err(form());
        }
        Ok(Self { count, per })
    }
}

/// Counts messages against a rate (a leaky bucket that holds one span's worth at most a tenth
/// of it at once, so that a burst is smoothed and a trickle never waits).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Meter {
    /// When the bucket will be empty, in microseconds since the epoch.
    empty_at: u64,
}

impl Meter {
    /// When one more message may go.
    pub(crate) fn next_at(&self, rate: Rate) -> Timestamp {
        let (per, one) = lengths(rate);
        let burst = (per / 10).max(one);
        Timestamp::from_millis(self.empty_at.saturating_sub(burst - one).div_ceil(1000))
    }

    /// Counts `n` messages.
    pub(crate) fn count(&mut self, now: Timestamp, rate: Rate, n: u32) {
        let (_, one) = lengths(rate);
        let from = self.empty_at.max(now.as_millis().saturating_mul(1000));
        self.empty_at = from.saturating_add(one.saturating_mul(u64::from(n)));
    }
}

/// The span, and the part of it that one message takes, in microseconds.
fn lengths(rate: Rate) -> (u64, u64) {
    let per = u64::try_from(rate.per.as_micros()).unwrap_or(u64::MAX);
    (per, (per / u64::from(rate.count)).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        let minute = Duration::from_secs(60);
        assert_eq!(
            Rate::parse("100/min"),
            Ok(Rate {
                count: 100,
                per: minute
            })
        );
        assert_eq!(
            Rate::parse("5/10s"),
            Ok(Rate {
                count: 5,
                per: Duration::from_secs(10)
            })
        );
        for bad in ["", "5", "5/", "x/min", "0/min", "5/0s", "5/fortnight"] {
            assert!(Rate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_more_than_the_rate_goes_in_a_span() {
        let rate = Rate {
            count: 60,
            per: Duration::from_secs(60),
        };
        let mut meter = Meter::default();
        let mut now = Timestamp::from_secs(1000);
        let start = now;
        let mut sent = 0;
        while now.since(start) < Duration::from_secs(60) {
            now = now.max(meter.next_at(rate));
            meter.count(now, rate, 1);
            sent += 1;
        }
        assert!((60..=67).contains(&sent), "{sent}");
    }
}
