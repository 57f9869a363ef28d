//! Series: what was counted over a time, by minute or hour.

use mail::Timestamp;
use serde::{Deserialize, Serialize};
use store::series::{ATTEMPTS, Cell, DELAYS, Dimension, SeriesWish, Step};
use utoipa::ToSchema;

use crate::malformed::Malformed;

/// Words for dimensions.
const DIMENSIONS: [(&str, Dimension); 6] = [
    ("total", Dimension::Total),
    ("domain", Dimension::Domain),
    ("submitter", Dimension::Submitter),
    ("site", Dimension::Site),
    ("refusal", Dimension::Refusal),
    ("waiting", Dimension::Waiting),
];

/// Words for steps.
const STEPS: [(&str, Step); 2] = [("minute", Step::Minute), ("hour", Step::Hour)];

/// Points that are answered at most.
pub const POINTS_MAX: usize = 20_000;

/// Which series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesSelection {
    /// `minute` (kept for 48 hours) or `hour` (kept for a year).
    pub step: String,
    /// `total`, `domain`, `submitter`, `site`, `refusal` or `waiting`.
    pub by: String,
    /// Of this domain, submitter, site or refusal alone.
    pub key: Option<String>,
    /// From this time on (milliseconds since 1970).
    pub since: u64,
    /// And before this one; none: until now.
    pub until: Option<u64>,
    /// One point for each key, over all of the time, the largest first.
    pub summed: bool,
}

impl SeriesSelection {
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        self.wish(Timestamp::MAX).map(drop)
    }

    /// The store's form of it.
    ///
    /// # Errors
    /// When a word of it is none.
    pub fn wish(&self, now: Timestamp) -> Result<SeriesWish, Malformed> {
        let step = STEPS.iter().find(|(word, _)| *word == self.step);
        let (_, step) = step.ok_or_else(|| Malformed::Step(self.step.clone()))?;
        let dimension = DIMENSIONS.iter().find(|(word, _)| *word == self.by);
        let (_, dimension) = dimension.ok_or_else(|| Malformed::Dimension(self.by.clone()))?;
        if *step == Step::Minute && !matches!(dimension, Dimension::Total | Dimension::Waiting) {
            return Err(Malformed::NotByMinute(self.by.clone()));
        }
        Ok(SeriesWish {
            step: *step,
            dimension: *dimension,
            key: self.key.clone(),
            since: Timestamp::from_millis(self.since),
            until: self.until.map_or(now, Timestamp::from_millis),
        })
    }
}

/// What was counted in a minute, an hour, or a whole time. Recipients are counted, not messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SeriesPoint {
    /// When it begins.
    #[schema(format = DateTime)]
    pub at: String,
    /// The domain, submitter, site, refusal or age; empty for totals, `*` for all smaller ones together.
    pub key: String,
    /// Taken into the queue for other servers.
    pub accepted: u64,
    /// Delivered to other servers.
    pub delivered: u64,
    /// Attempts that are followed by another.
    pub deferred: u64,
    /// Failed for good.
    pub failed: u64,
    /// Given up because of their age.
    pub expired: u64,
    /// Octets that other servers took.
    pub octets: u64,
    /// Bounces after the delivery.
    pub bounced: u64,
    /// Complaints of recipients.
    pub complained: u64,
    /// Delivered to mailboxes of this server.
    pub stored: u64,
    /// The most that waited at once.
    pub waiting: u64,
    /// Deliveries by the seconds since acceptance; the classes are in `delay_seconds` of the answer.
    pub delays: Vec<u64>,
    /// Deliveries by attempts; the classes are in `attempt_counts` of the answer.
    pub attempts: Vec<u64>,
    /// Deliveries by protection: none, failed and sent unencrypted, encrypted, verified, DANE.
    pub tls: Vec<u64>,
    /// An answer of this kind.
    pub example: Option<String>,
}

impl SeriesPoint {
    /// A cell in the answer's form.
    #[must_use]
    pub fn new(at: Timestamp, key: String, cell: Cell) -> Self {
        Self {
            at: at.to_string(),
            key,
            accepted: cell.accepted,
            delivered: cell.delivered,
            deferred: cell.deferred,
            failed: cell.failed,
            expired: cell.expired,
            octets: cell.octets,
            bounced: cell.bounced,
            complained: cell.complained,
            stored: cell.stored,
            waiting: cell.waiting,
            delays: cell.delays.to_vec(),
            attempts: cell.attempts.to_vec(),
            tls: cell.tls.to_vec(),
            example: cell.example,
        }
    }
}

/// Series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SeriesView {
    /// The points, in the order of time and then of keys; summed ones by size. Times in which nothing happened have none.
    pub points: Vec<SeriesPoint>,
    /// The upper ends of the classes of `delays`, in seconds; the last class has none.
    pub delay_seconds: Vec<u64>,
    /// The upper ends of the classes of `attempts`; the last class has none.
    pub attempt_counts: Vec<u32>,
    /// There are more points than were answered.
    pub cut: bool,
}

impl SeriesView {
    /// With these points.
    #[must_use]
    pub fn new(points: Vec<SeriesPoint>, cut: bool) -> Self {
        Self {
            points,
            delay_seconds: DELAYS.to_vec(),
            attempt_counts: ATTEMPTS.to_vec(),
            cut,
        }
    }
}
