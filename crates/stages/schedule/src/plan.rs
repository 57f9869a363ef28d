//! Re-send plans: how often and how long apart a deferred recipient is tried again.

use std::time::Duration;

use mail::{ParseDurationError, parse_duration};

/// The waits between attempts. A recipient gets one first attempt and one more after each wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    steps: Vec<Step>,
    jitter_percent: u8,
}

/// The same wait, several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    wait: Duration,
    times: u32,
}

/// Why a list of waits is not a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParsePlanError {
    /// A wait is not a length of time.
    #[error(transparent)]
    Wait(#[from] ParseDurationError),
    /// The number after `*` is not one.
    #[error("`{0}`: after `*`, write how often the wait is repeated, such as \"1h*4\"")]
    Times(String),
    /// Shorter than a second, which would hammer the other side.
    #[error("`{0}`: a wait between two attempts must be at least one second")]
    TooShort(String),
}

impl Plan {
    /// `attempts` retries, each `wait` after the end of the attempt before it.
    #[must_use]
    pub fn fixed(attempts: u32, wait: Duration) -> Self {
        Self {
            steps: vec![Step {
                wait,
                times: attempts,
            }],
            jitter_percent: 0,
        }
    }

    /// The plan `internet`: what RFC 5321 §4.5.4.1 advises. 5 m, 15 m, 30 m, 1 h, then 2-hourly up
    /// to a day, 4-hourly up to five days, ±10 %.
    #[must_use]
    pub fn internet() -> Self {
        let minutes = |m: u64, times| Step {
            wait: Duration::from_secs(m * 60),
            times,
        };
        let steps = vec![
            minutes(5, 1),
            minutes(15, 1),
            minutes(30, 1),
            minutes(60, 1),
            minutes(120, 11),
            minutes(240, 24),
        ];
        Self {
            steps,
            jitter_percent: 10,
        }
    }

    /// Reads a list such as `["5m", "15m", "1h*4", "4h*20"]`.
    ///
    /// # Errors
    /// When a wait or a number of repetitions cannot be read, or a wait is under a second.
    pub fn parse_list<S: AsRef<str>>(list: &[S]) -> Result<Self, ParsePlanError> {
        let mut steps = Vec::with_capacity(list.len());
        for text in list.iter().map(AsRef::as_ref) {
            let (wait, times) = match text.split_once('*') {
                Some((wait, times)) => {
                    let times = times.trim().parse();
                    (
                        wait,
                        times.map_err(|_| ParsePlanError::Times(text.to_owned()))?,
                    )
                }
                None => (text, 1),
            };
            let wait = parse_duration(wait)?;
            if wait < Duration::from_secs(1) {
                return Err(ParsePlanError::TooShort(text.to_owned()));
            }
            steps.push(Step { wait, times });
        }
        Ok(Self {
            steps,
            jitter_percent: 0,
        })
    }

    /// This plan with `more` attempts, spaced as its last wait is.
    #[must_use]
    pub fn with_additional(mut self, more: u32) -> Self {
        let wait = self
            .steps
            .last()
            .map_or(Duration::from_secs(300), |s| s.wait);
        self.steps.push(Step { wait, times: more });
        self
    }

    /// The first wait, without jitter; none where there is no second attempt.
    #[must_use]
    pub fn first(&self) -> Option<Duration> {
        let step = self.steps.iter().find(|step| step.times > 0);
        step.map(|step| step.wait)
    }

    /// How many attempts there are after the first.
    #[must_use]
    pub fn resends(&self) -> u32 {
        self.steps
            .iter()
            .fold(0, |sum, s| sum.saturating_add(s.times))
    }

    /// From the first attempt to the last, when every attempt takes no time.
    #[must_use]
    pub fn span(&self) -> Duration {
        self.steps.iter().fold(Duration::ZERO, |sum, s| {
            sum.saturating_add(s.wait.saturating_mul(s.times))
        })
    }

    /// Its longest wait, jitter included.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let longest = self.steps.iter().map(|step| step.wait).max();
        let longest = longest.unwrap_or_default();
        longest + longest.mul_f64(f64::from(self.jitter_percent) / 100.0)
    }

    /// The wait after attempt number `attempts` (the first is 1); `None` when it was the last.
    ///
    /// `seed` spreads the waits of a plan with jitter: equal seeds give equal waits. The first wait is
    /// never shortened by it.
    #[must_use]
    pub fn wait_after(&self, attempts: u32, seed: u64) -> Option<Duration> {
        let mut left = attempts.checked_sub(1)?;
        let step = self.steps.iter().find(|step| {
            let here = left < step.times;
            left = left.saturating_sub(step.times);
            here
        })?;
        if self.jitter_percent == 0 {
            return Some(step.wait);
        }
        // 2001 even steps from -1000 to +1000 thousandths of the jitter.
        let thousandths = mix(seed ^ u64::from(attempts)) % 2001;
        let spread = step.wait.mul_f64(f64::from(self.jitter_percent) / 100.0);
        let offset = spread.mul_f64(f64::from(u32::try_from(thousandths).unwrap_or(1000)) / 1000.0);
        if attempts == 1 {
            // Greylisting wants five minutes to have passed: some seconds less cost another wait.
            return Some(step.wait + offset / 2);
        }
        Some((step.wait + offset).saturating_sub(spread))
    }
}

/// The finaliser of splitmix64: even bits from uneven numbers.
pub(crate) const fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(plan: &Plan) -> Vec<u64> {
        (1..)
            .map_while(|n| plan.wait_after(n, 7))
            .map(|w| w.as_secs())
            .collect()
    }

    #[test]
    fn the_default_pair_gives_five_waits_of_five_minutes() {
        assert_eq!(waits(&Plan::fixed(5, Duration::from_secs(300))), [300; 5]);
        assert_eq!(waits(&Plan::fixed(0, Duration::from_secs(300))), [0; 0]);
    }

    #[test]
    fn a_list_is_read_with_repetitions() {
        let plan = Plan::parse_list(&["5m", "1h*3"]).unwrap();
        assert_eq!(waits(&plan), [300, 3600, 3600, 3600]);
        assert_eq!(
            waits(&plan.with_additional(1)),
            [300, 3600, 3600, 3600, 3600]
        );
        for bad in ["5x", "1h*x", "10ms", "*3"] {
            assert!(Plan::parse_list(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_internet_plan_lasts_five_days_and_stays_within_its_jitter() {
        let plan = Plan::internet();
        assert!(plan.span() >= Duration::from_secs(4 * 86400 + 80000));
        assert_eq!(waits(&plan).len(), plan.resends() as usize);
        for seed in 0..500 {
            let wait = plan.wait_after(1, seed).unwrap().as_millis();
            assert!((300_000..=330_000).contains(&wait), "{wait}");
            let later = plan.wait_after(3, seed).unwrap().as_secs_f64();
            let step = plan.steps[2].wait.as_secs_f64();
            assert!((0.9 * step..=1.1 * step).contains(&later), "{later}");
        }
        assert_ne!(plan.wait_after(1, 1), plan.wait_after(1, 2));
    }
}
