//! Series: how much of what happened, by minute and by hour, for reports over a time that the history may not reach.
//!
//! An engine counts what it brings into its history, each thing once whatever crashes: a [`Tally`] adds up a batch, and the
//! engine adds its cells to those it has. So series cost nothing before a mail is acknowledged, and a crash leaves no gap.
//! Mail of test keys is not counted; mail that stays here counts as [`Cell::stored`] alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use mail::{Destination, Outcome, Timestamp, TlsUsed, Verdict};

/// How long the time is that a cell stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A minute; kept for [`Step::kept`], totals only.
    Minute,
    /// An hour.
    Hour,
}

impl Step {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Minute, Self::Hour];

    /// Its length.
    #[must_use]
    pub const fn length(self) -> Duration {
        match self {
            Self::Minute => Duration::from_secs(60),
            Self::Hour => Duration::from_secs(3600),
        }
    }

    /// How long its cells are kept: 48 hours, and a year.
    #[must_use]
    pub const fn kept(self) -> Duration {
        match self {
            Self::Minute => Duration::from_secs(48 * 3600),
            Self::Hour => Duration::from_secs(366 * 24 * 3600),
        }
    }

    /// The beginning of the minute or hour that `at` is in, in UTC.
    #[must_use]
    pub const fn begin(self, at: Timestamp) -> Timestamp {
        let length = self.length().as_millis() as u64;
        Timestamp::from_millis(at.as_millis() - at.as_millis() % length)
    }

    /// The number for it, as it is kept.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Minute => 0,
            Self::Hour => 1,
        }
    }
}

/// What cells are told apart by. By minute there are [`Dimension::Total`] and [`Dimension::Waiting`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// Everything; its key is empty.
    Total,
    /// The recipient's domain.
    Domain,
    /// The name that fairness counts submitters under.
    Submitter,
    /// Whose hosts answered, in the words of [`Naming::site`].
    Site,
    /// Refusals: the kind and the site, with a space between.
    Refusal,
    /// What waited, by the age classes of [`AGES`]; its key is the class's word.
    Waiting,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Total,
        Self::Domain,
        Self::Submitter,
        Self::Site,
        Self::Refusal,
        Self::Waiting,
    ];

    /// The number for it, as it is kept.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Total => 0,
            Self::Domain => 1,
            Self::Submitter => 2,
            Self::Site => 3,
            Self::Refusal => 4,
            Self::Waiting => 5,
        }
    }

    /// Keys that are kept for each hour; what the others counted is added up under [`REST`].
    pub const KEYS: usize = 50;

    /// Keys that an hour may have before they are brought down to [`Dimension::KEYS`]: while it lasts, nobody knows
    /// which will be the largest.
    pub const KEYS_MEANWHILE: usize = 1000;
}

/// The key of what the smaller keys of an hour counted together. No domain, submitter or site is called so.
pub const REST: &str = "*";

/// The ages that waiting mail is counted by: a word for each class, and the seconds up to which it reaches.
pub const AGES: [(&str, u64); 6] = [
    ("5m", 300),
    ("1h", 3600),
    ("4h", 14_400),
    ("1d", 86_400),
    ("5d", 432_000),
    ("older", u64::MAX),
];

/// The class of [`AGES`] of what was accepted at `accepted`.
#[must_use]
pub fn age_class(now: Timestamp, accepted: Timestamp) -> usize {
    let age = now.since(accepted).as_secs();
    AGES.partition_point(|(_, most)| age >= *most)
        .min(AGES.len() - 1)
}

/// The upper ends of the classes that times to delivery are counted in, in seconds; the last class has none.
pub const DELAYS: [u64; 11] = [1, 2, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400];

/// The upper ends of the classes that attempts until delivery are counted in; the last class has none.
pub const ATTEMPTS: [u32; 4] = [1, 2, 3, 6];

/// TLS as cells count it, in this order.
pub const TLS: [TlsUsed; 5] = [
    TlsUsed::None,
    TlsUsed::FellBack,
    TlsUsed::Encrypted,
    TlsUsed::Verified,
    TlsUsed::Dane,
];

const DELAY_CLASSES: usize = DELAYS.len() + 1;
const ATTEMPT_CLASSES: usize = ATTEMPTS.len() + 1;
const PLAIN: usize = 10;
const NUMBERS: usize = PLAIN + DELAY_CLASSES + ATTEMPT_CLASSES + TLS.len();

/// What was counted in one minute or hour. Recipients are counted, not messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell {
    /// Taken into the queue for other servers.
    pub accepted: u64,
    /// Delivered to other servers.
    pub delivered: u64,
    /// Attempts that will be followed by another.
    pub deferred: u64,
    /// Failed for good.
    pub failed: u64,
    /// Given up because of their age.
    pub expired: u64,
    /// Octets of content that other servers took, once for each recipient.
    pub octets: u64,
    /// Bounces that came after the delivery.
    pub bounced: u64,
    /// Complaints of recipients.
    pub complained: u64,
    /// Delivered to mailboxes here.
    pub stored: u64,
    /// The most that waited at once.
    pub waiting: u64,
    /// Deliveries by the time since acceptance, in the classes of [`DELAYS`].
    pub delays: [u64; DELAY_CLASSES],
    /// Deliveries by the attempts that they took, in the classes of [`ATTEMPTS`].
    pub attempts: [u64; ATTEMPT_CLASSES],
    /// Deliveries by how the connection was protected, in the order of [`TLS`].
    pub tls: [u64; TLS.len()],
    /// For refusals: a reply of this kind.
    pub example: Option<String>,
}

impl Cell {
    /// Octets of an example that are kept.
    pub const EXAMPLE_MAX: usize = 240;

    /// For engines: all numbers, in an order that stays. A later release adds at the end.
    #[must_use]
    pub fn numbers(&self) -> [u64; NUMBERS] {
        let mut numbers = [0; NUMBERS];
        let plain = [
            self.accepted,
            self.delivered,
            self.deferred,
            self.failed,
            self.expired,
            self.octets,
            self.bounced,
            self.complained,
            self.stored,
            self.waiting,
        ];
        let all = plain.iter().chain(&self.delays).chain(&self.attempts);
        for (to, from) in numbers.iter_mut().zip(all.chain(&self.tls)) {
            *to = *from;
        }
        numbers
    }

    /// For engines: what has these numbers. Missing ones are zero, and those of a later release are dropped.
    #[must_use]
    pub fn from_numbers(numbers: impl IntoIterator<Item = u64>) -> Self {
        let mut numbers = numbers.into_iter();
        let mut next = || numbers.next().unwrap_or_default();
        Self {
            accepted: next(),
            delivered: next(),
            deferred: next(),
            failed: next(),
            expired: next(),
            octets: next(),
            bounced: next(),
            complained: next(),
            stored: next(),
            waiting: next(),
            delays: std::array::from_fn(|_| next()),
            attempts: std::array::from_fn(|_| next()),
            tls: std::array::from_fn(|_| next()),
            example: None,
        }
    }

    /// Adds what another cell counted. Of what waited the larger number stands.
    pub fn add(&mut self, other: &Self) {
        let waiting = self.waiting.max(other.waiting);
        let sums = self.numbers().into_iter().zip(other.numbers());
        let example = other.example.clone().or_else(|| self.example.take());
        *self = Self::from_numbers(sums.map(|(a, b)| a.saturating_add(b)));
        (self.waiting, self.example) = (waiting, example);
    }

    /// What it is judged by when only the largest are kept.
    #[must_use]
    pub const fn weight(&self) -> u64 {
        self.accepted + self.delivered + self.deferred + self.failed + self.expired
    }

    fn delivered_to_others(&mut self, of: Counted<'_>, attempts: u32, verdict: &Verdict) {
        self.delivered += 1;
        self.octets = self.octets.saturating_add(of.size);
        let waited = verdict.at.since(of.accepted);
        let class = DELAYS.partition_point(|most| waited > Duration::from_secs(*most));
        bump(&mut self.delays, class);
        let class = ATTEMPTS.partition_point(|most| attempts.max(1) > *most);
        bump(&mut self.attempts, class);
        let class = TLS.iter().position(|tls| *tls == verdict.tls);
        bump(&mut self.tls, class.unwrap_or_default());
    }
}

fn bump(counts: &mut [u64], class: usize) {
    if let Some(count) = counts.get_mut(class) {
        *count += 1;
    }
}

/// The words that samples are counted under and that a store does not know.
pub trait Naming: Send + Sync {
    /// Whose hosts one of this name belongs to, such as a provider; short, and without spaces.
    fn site(&self, host: &str) -> String;

    /// What a refusal is about, in one word; `None` for what is not counted as one.
    fn refusal(&self, verdict: &Verdict) -> Option<&'static str>;
}

/// The recipient that is counted.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    /// Its domain.
    pub domain: &'a str,
    /// The name that fairness counts its message's submitter under.
    pub submitter: &'a str,
    /// Outgoing, local or of a test.
    pub destination: Destination,
    /// When its message was accepted.
    pub accepted: Timestamp,
    /// Octets of the content.
    pub size: u64,
}

/// Which cell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// Minute or hour.
    pub step: Step,
    /// What its key is.
    pub dimension: Dimension,
    /// When it begins.
    pub at: Timestamp,
    /// Whose it is.
    pub key: String,
}

/// A cell with its slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Which.
    pub slot: Slot,
    /// What it counted.
    pub cell: Cell,
}

/// Which cells are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesWish {
    /// Minutes or hours.
    pub step: Step,
    /// Of what.
    pub dimension: Dimension,
    /// Of this key alone.
    pub key: Option<String>,
    /// Those that begin at or after.
    pub since: Timestamp,
    /// And before.
    pub until: Timestamp,
}

/// For engines: adds up what a batch counts.
#[derive(Default)]
pub struct Tally {
    naming: Option<Arc<dyn Naming>>,
    minutes: BTreeMap<Timestamp, Cell>,
    hours: BTreeMap<(Timestamp, Dimension), HashMap<String, Cell>>,
}

impl Tally {
    /// An empty one. Without names nothing is counted by site or as a refusal.
    #[must_use]
    pub fn new(naming: Option<Arc<dyn Naming>>) -> Self {
        Self {
            naming,
            ..Self::default()
        }
    }

    /// A recipient was taken into the queue.
    pub fn accepted(&mut self, of: Counted<'_>) {
        if of.destination == Destination::Outgoing {
            self.each(of.accepted, of, None, &|cell| cell.accepted += 1);
        }
    }

    /// An attempt did not end its recipient.
    pub fn deferred(&mut self, of: Counted<'_>, verdict: &Verdict) {
        if of.destination == Destination::Outgoing {
            self.each(verdict.at, of, Some(verdict), &|cell| cell.deferred += 1);
            self.refused(verdict, &|cell| cell.deferred += 1);
        }
    }

    /// A recipient has its outcome.
    pub fn ended(&mut self, of: Counted<'_>, attempts: u32, verdict: &Verdict) {
        let is_delivered = verdict.outcome == Outcome::Delivered;
        match of.destination {
            Destination::Test => {}
            Destination::Local if is_delivered => {
                self.each(verdict.at, of, None, &|cell| cell.stored += 1);
            }
            Destination::Local | Destination::Outgoing => {
                let count = |cell: &mut Cell| match verdict.outcome {
                    Outcome::Delivered => cell.delivered_to_others(of, attempts, verdict),
                    Outcome::Failed => cell.failed += 1,
                    Outcome::Expired => cell.expired += 1,
                    Outcome::Deferred => {}
                };
                self.each(verdict.at, of, Some(verdict), &count);
                if !is_delivered {
                    self.refused(verdict, &count);
                }
            }
        }
    }

    /// Something came to be known of a recipient after its outcome; other words than `bounced` and `complained` are not
    /// counted.
    pub fn later(&mut self, of: Counted<'_>, at: Timestamp, word: &str) {
        match word {
            "bounced" => self.each(at, of, None, &|cell| cell.bounced += 1),
            "complained" => self.each(at, of, None, &|cell| cell.complained += 1),
            _ => {}
        }
    }

    fn each(
        &mut self,
        at: Timestamp,
        of: Counted<'_>,
        verdict: Option<&Verdict>,
        count: &dyn Fn(&mut Cell),
    ) {
        count(self.minutes.entry(Step::Minute.begin(at)).or_default());
        let hour = Step::Hour.begin(at);
        count(self.cell(hour, Dimension::Total, ""));
        count(self.cell(hour, Dimension::Domain, of.domain));
        count(self.cell(hour, Dimension::Submitter, of.submitter));
        let host = verdict.and_then(|v| v.host.as_ref());
        if let (Some(host), Some(naming)) = (host, self.naming.clone()) {
            let site = naming.site(&host.name);
            count(self.cell(hour, Dimension::Site, &site));
        }
    }

    fn refused(&mut self, verdict: &Verdict, count: &dyn Fn(&mut Cell)) {
        let Some(naming) = self.naming.clone() else {
            return;
        };
        let Some(kind) = naming.refusal(verdict) else {
            return;
        };
        let site = (verdict.host.as_ref()).map_or_else(|| "-".to_owned(), |h| naming.site(&h.name));
        let hour = Step::Hour.begin(verdict.at);
        let cell = self.cell(hour, Dimension::Refusal, &format!("{kind} {site}"));
        count(cell);
        let mut example = verdict.reply.to_string();
        example.truncate(example.floor_char_boundary(Cell::EXAMPLE_MAX));
        cell.example = Some(example);
    }

    fn cell(&mut self, hour: Timestamp, dimension: Dimension, key: &str) -> &mut Cell {
        let keys = self.hours.entry((hour, dimension)).or_default();
        if !keys.contains_key(key) {
            keys.insert(key.to_owned(), Cell::default());
        }
        keys.entry(key.to_owned()).or_default()
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.minutes.is_empty() && self.hours.is_empty()
    }

    /// What was counted, in the order of slots. Of each hour's keys the largest `keys` are named, the others are together
    /// under [`REST`]; so a batch for very many domains costs the engine no more than one for some.
    #[must_use]
    pub fn points(self, keys: usize) -> Vec<Point> {
        let minutes = self.minutes.into_iter().map(|(at, cell)| {
            let (step, dimension, key) = (Step::Minute, Dimension::Total, String::new());
            let slot = Slot {
                step,
                dimension,
                at,
                key,
            };
            Point { slot, cell }
        });
        let mut points: Vec<Point> = minutes.collect();
        for ((at, dimension), cells) in self.hours {
            let step = Step::Hour;
            let named = largest(cells.into_iter().collect(), keys);
            points.extend(named.into_iter().map(|(key, cell)| {
                let slot = Slot {
                    step,
                    dimension,
                    at,
                    key,
                };
                Point { slot, cell }
            }));
        }
        points.sort_by(|a, b| a.slot.cmp(&b.slot));
        points
    }
}

/// The `most` largest of an hour's keys, and the others together under [`REST`].
#[must_use]
pub fn largest(mut cells: Vec<(String, Cell)>, most: usize) -> Vec<(String, Cell)> {
    cells.sort_by(|(a_key, a), (b_key, b)| {
        let by_weight = b.weight().cmp(&a.weight());
        (a_key == REST)
            .cmp(&(b_key == REST))
            .then(by_weight)
            .then_with(|| a_key.cmp(b_key))
    });
    if cells.len() <= most {
        return cells;
    }
    let mut rest = Cell::default();
    for (_, cell) in cells.split_off(most) {
        rest.add(&cell);
    }
    rest.example = None;
    cells.push((REST.to_owned(), rest));
    cells
}
