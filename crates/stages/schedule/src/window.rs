//! How many connections a site is given: grown by working sessions, shrunk by failing ones.
//!
//! Growth comes after a window's worth of good events, shrinking at the first bad one, so that
//! a peer that limits connections is overshot rarely and left at once. Only what concerns the host
//! counts: a refused recipient is a working host. Each time that growth ends in a failure, the next
//! step up comes twice as late, so that a peer with a limit is not asked again and again.

use std::time::Duration;

use mail::Timestamp;

/// The window of a site that has just proved to work.
const INITIAL: u32 = 5;
/// The most that growth is slowed.
const CAUTION_MAX: f64 = 64.0;
/// How far the window may run ahead of the connections in real use.
const AHEAD: u32 = 5;

/// A site's standing with us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not tried yet, or tried again after a cool-off: one connection finds out.
    Probing,
    /// Works.
    Open,
    /// Did not answer: nothing is tried until then.
    CoolingOff { until: Timestamp },
}

#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) standing: Standing,
    size: u32,
    ceiling: u32,
    /// Parts of one step up, in units of 1/`size`.
    credit: f64,
    failed_cohorts: f64,
    /// How many times slower than at first the window grows.
    caution: f64,
    /// The last step up has not been followed by a failure.
    grew: bool,
    /// The site came back from a cool-off: start low.
    recovering: bool,
}

impl Window {
    pub(crate) const fn new(ceiling: u32) -> Self {
        Self {
            standing: Standing::Probing,
            size: INITIAL,
            ceiling,
            credit: 0.0,
            failed_cohorts: 0.0,
            caution: 1.0,
            grew: false,
            recovering: false,
        }
    }

    pub(crate) const fn set_ceiling(&mut self, ceiling: u32) {
        self.ceiling = ceiling;
    }

    /// How many connections may be busy now.
    pub(crate) fn room(&self) -> u32 {
        match self.standing {
            Standing::Probing => 1,
            Standing::Open => self.size.min(self.ceiling).max(1),
            Standing::CoolingOff { .. } => 0,
        }
    }

    /// A session got through its greeting.
    pub(crate) const fn greeted(&mut self) {
        self.failed_cohorts = 0.0;
        if !matches!(self.standing, Standing::Open) {
            self.standing = Standing::Open;
            self.size = if self.recovering { 2 } else { INITIAL };
            self.credit = 0.0;
            self.recovering = false;
        }
    }

    /// A session did its work while `busy` were at it.
    pub(crate) fn succeeded(&mut self, busy: u32) {
        self.greeted();
        self.credit += 1.0 / (f64::from(self.size.max(1)) * self.caution);
        if self.credit >= 1.0 {
            self.credit = 0.0;
            if self.size < busy.saturating_add(AHEAD) && self.size < self.ceiling {
                self.size += 1;
                if std::mem::replace(&mut self.grew, true) {
                    self.caution = (self.caution / 2.0).max(1.0);
                }
            }
        }
    }

    /// A connection failed. True when that closes the site.
    pub(crate) fn failed(&mut self) -> bool {
        self.credit = 0.0;
        self.grew = false;
        self.caution = (self.caution * 2.0).min(CAUTION_MAX);
        self.failed_cohorts += 1.0 / f64::from(self.room().max(1));
        self.size = self.size.saturating_sub(1).max(1);
        matches!(self.standing, Standing::Probing) || self.failed_cohorts >= 1.0
    }

    /// Closes the site for `length`; afterwards one probe finds out.
    pub(crate) fn cool_off(&mut self, now: Timestamp, length: Duration) {
        self.standing = Standing::CoolingOff {
            until: now + length,
        };
        self.failed_cohorts = 0.0;
        self.recovering = true;
    }

    /// Whether one connection is finding out if a site that failed works again.
    pub(crate) const fn is_probing_again(&self) -> bool {
        matches!(self.standing, Standing::Probing) && self.recovering
    }

    /// Lets one probe through, when the cool-off is over or an administrator asks.
    pub(crate) const fn probe(&mut self) {
        if matches!(self.standing, Standing::CoolingOff { .. }) {
            self.standing = Standing::Probing;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untried_site_gets_one_connection_and_five_once_it_greets() {
        let mut window = Window::new(20);
        assert_eq!(window.room(), 1);
        window.greeted();
        assert_eq!(window.room(), 5);
    }

    #[test]
    fn growth_stays_near_real_use_and_under_the_ceiling() {
        let mut window = Window::new(8);
        for _ in 0..1000 {
            window.succeeded(1);
        }
        assert_eq!(window.room(), 6);
        for _ in 0..1000 {
            window.succeeded(20);
        }
        assert_eq!(window.room(), 8);
    }

    #[test]
    fn the_first_failure_shrinks_and_a_cohort_closes() {
        let mut window = Window::new(20);
        window.greeted();
        assert!(!window.failed());
        assert_eq!(window.room(), 4);
        window.succeeded(4);
        let failures = (1..10).find(|_| window.failed()).unwrap();
        assert!((2..=4).contains(&failures), "{failures}");
    }

    #[test]
    fn after_a_cool_off_the_site_ramps_up_from_two() {
        let mut window = Window::new(20);
        window.cool_off(Timestamp::ZERO, Duration::from_secs(60));
        assert_eq!(window.room(), 0);
        window.probe();
        assert_eq!(window.room(), 1);
        window.greeted();
        assert_eq!(window.room(), 2);
    }

    #[test]
    fn growth_into_a_limit_is_tried_less_and_less_often() {
        let mut window = Window::new(20);
        window.greeted();
        let mut failures = 0;
        for _ in 0..200 {
            if window.room() > 2 {
                window.failed();
                failures += 1;
            }
            window.succeeded(2);
        }
        assert!(failures <= 10, "{failures} failures beside 200 successes");
        for _ in 0..5000 {
            window.succeeded(20);
        }
        assert_eq!(window.room(), 20, "a limit that is gone is forgotten");
    }
}
