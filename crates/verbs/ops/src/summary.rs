//! What waits, in numbers: one pass over the rows of the index.

use std::collections::HashMap;
use std::time::Duration;

use mail::{Destination, Status, Timestamp};
use serde::{Deserialize, Serialize};
use store::Row;
use utoipa::ToSchema;

use crate::columns::{short_time, table};

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 86_400;
/// Where the classes of age end, in seconds.
const AGES: [u64; 5] = [5 * MINUTE, HOUR, 4 * HOUR, DAY, 5 * DAY];
/// Their names, and that of what is older.
const AGE_NAMES: [&str; 6] = ["<5m", "<1h", "<4h", "<1d", "<5d", "OLDER"];
/// Replies that are remembered with their kinds; many differ by a number only.
const REPLIES_MAX: usize = 20_000;

/// What waits, in numbers. Lists are sorted by recipients, the most first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SummaryView {
    /// When it was counted.
    pub at: String,
    /// Recipients that wait.
    pub recipients: u64,
    /// Their messages.
    pub messages: u64,
    /// Octets of these messages.
    pub bytes: u64,
    /// Recipients that are due, and not held.
    pub due: u64,
    /// Recipients that an administrator or a rule holds.
    pub held: u64,
    /// Recipients whose mail stays on this server.
    pub local: u64,
    /// When the oldest message was accepted; none where nothing waits.
    pub oldest: Option<String>,
    /// All recipients, by the age of their messages.
    pub ages: Ages,
    /// Domains of recipients.
    pub domains: Vec<DomainCount>,
    /// How many domains there are in all.
    pub domains_total: u64,
    /// Last answers, by what they are about.
    pub answers: Vec<AnswerCount>,
    /// Who submitted the mail.
    pub submitters: Vec<SubmitterCount>,
    /// How many submitters there are in all.
    pub submitters_total: u64,
}

/// Recipients by the age of their messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ages {
    /// Younger than 5 minutes.
    pub under_5m: u64,
    /// Younger than 1 hour.
    pub under_1h: u64,
    /// Younger than 4 hours.
    pub under_4h: u64,
    /// Younger than 1 day.
    pub under_1d: u64,
    /// Younger than 5 days.
    pub under_5d: u64,
    /// 5 days and older.
    pub older: u64,
}

impl Ages {
    const fn add(&mut self, age: Duration) {
        let age = age.as_secs();
        let class = match AGES {
            [a, ..] if age < a => &mut self.under_5m,
            [_, b, ..] if age < b => &mut self.under_1h,
            [_, _, c, ..] if age < c => &mut self.under_4h,
            [_, _, _, d, _] if age < d => &mut self.under_1d,
            [.., e] if age < e => &mut self.under_5d,
            _ => &mut self.older,
        };
        *class += 1;
    }

    const fn all(&self) -> [u64; 6] {
        [
            self.under_5m,
            self.under_1h,
            self.under_4h,
            self.under_1d,
            self.under_5d,
            self.older,
        ]
    }
}

/// A domain's recipients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DomainCount {
    /// The domain.
    pub domain: String,
    /// Its recipients.
    pub recipients: u64,
    /// By the age of their messages.
    pub ages: Ages,
}

/// Recipients with last answers about the same thing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnswerCount {
    /// What they are about, such as `greylisted`; `not_tried`: there was no answer yet.
    pub kind: String,
    /// How many recipients.
    pub recipients: u64,
    /// One of the answers; empty where there was none.
    pub example: String,
}

/// A submitter's recipients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubmitterCount {
    /// The user, key, address or program, as in the queue's list.
    pub submitter: String,
    /// Its messages.
    pub messages: u64,
    /// Their recipients.
    pub recipients: u64,
}

/// Counts rows, which come in the order of their messages.
#[derive(Debug)]
pub struct Summarise<K> {
    now: Timestamp,
    kind_of: K,
    last: Option<mail::QueueId>,
    oldest: Option<Timestamp>,
    view: SummaryView,
    domains: HashMap<String, DomainCount>,
    answers: HashMap<String, AnswerCount>,
    submitters: HashMap<String, SubmitterCount>,
    kinds: HashMap<(String, Option<String>), String>,
}

impl<K: Fn(&str, Option<&str>) -> String> Summarise<K> {
    /// Nothing counted yet; `kind_of` says what a reply of a host is about.
    pub fn new(now: Timestamp, kind_of: K) -> Self {
        Self {
            now,
            kind_of,
            last: None,
            oldest: None,
            view: SummaryView {
                at: now.to_string(),
                ..SummaryView::default()
            },
            domains: HashMap::new(),
            answers: HashMap::new(),
            submitters: HashMap::new(),
            kinds: HashMap::new(),
        }
    }

    /// Counts a row.
    pub fn add(&mut self, row: Row) {
        let is_new = self.last.replace(row.key.id) != Some(row.key.id);
        let age = self.now.since(row.accepted);
        self.oldest = Some(self.oldest.map_or(row.accepted, |at| at.min(row.accepted)));
        let view = &mut self.view;
        view.recipients += 1;
        view.ages.add(age);
        view.held += u64::from(row.status == Status::Held);
        view.due += u64::from(row.status == Status::Waiting && row.due <= self.now);
        view.local += u64::from(row.destination == Destination::Local);
        if is_new {
            view.messages += 1;
            view.bytes += row.size;
        }
        let domain = entry(&mut self.domains, row.domain);
        domain.recipients += 1;
        domain.ages.add(age);
        let submitter = entry(&mut self.submitters, row.submitter);
        submitter.recipients += 1;
        submitter.messages += u64::from(is_new);
        let kind = self.kind(&row.last_reply, row.last_host);
        let answer = entry(&mut self.answers, kind);
        answer.recipients += 1;
        if answer.example.is_empty() {
            answer.example = row.last_reply;
        }
    }

    fn kind(&mut self, reply: &str, host: Option<String>) -> String {
        if reply.is_empty() {
            return "not_tried".to_owned();
        }
        let key = (reply.to_owned(), host);
        if let Some(kind) = self.kinds.get(&key) {
            return kind.clone();
        }
        let kind = (self.kind_of)(reply, key.1.as_deref());
        if self.kinds.len() < REPLIES_MAX {
            self.kinds.insert(key, kind.clone());
        }
        kind
    }

    /// What was counted, with so many entries of each list.
    pub fn end(self, limit: usize) -> SummaryView {
        let mut view = self.view;
        view.oldest = self.oldest.map(|at| at.to_string());
        view.domains_total = self.domains.len() as u64;
        view.submitters_total = self.submitters.len() as u64;
        let domains = self.domains.into_iter();
        let domains = domains.map(|(domain, count)| DomainCount { domain, ..count });
        view.domains = most(domains.collect(), limit, |d| (d.recipients, &d.domain));
        let answers = self.answers.into_iter();
        let answers = answers.map(|(kind, count)| AnswerCount { kind, ..count });
        view.answers = most(answers.collect(), limit, |a| (a.recipients, &a.kind));
        let submitters = self.submitters.into_iter();
        let submitters = submitters.map(|(submitter, count)| SubmitterCount { submitter, ..count });
        view.submitters = most(submitters.collect(), limit, |s| {
            (s.recipients, &s.submitter)
        });
        view
    }
}

/// What is counted under a name, without a copy of the name where it is known.
fn entry<T: Default>(counts: &mut HashMap<String, T>, name: String) -> &mut T {
    counts.entry(name).or_default()
}

/// The first of a list, the most first and names in order.
fn most<T>(mut list: Vec<T>, limit: usize, by: impl Fn(&T) -> (u64, &String)) -> Vec<T> {
    list.sort_by(|a, b| {
        let ((count_a, name_a), (count_b, name_b)) = (by(a), by(b));
        count_b.cmp(&count_a).then_with(|| name_a.cmp(name_b))
    });
    list.truncate(limit);
    list
}

/// A number with its thousands apart, from five digits on: 1000, 10 000.
#[must_use]
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// The summary for people.
#[must_use]
pub fn summary_text(view: &SummaryView) -> String {
    let Some(oldest) = &view.oldest else {
        return "The queue is empty.\n".to_owned();
    };
    let n = |number: u64| grouped(number);
    let mut text = format!(
        "{} recipients of {} messages ({} octets); {} due, {} held, {} local; the oldest is from {}.\n",
        n(view.recipients),
        n(view.messages),
        n(view.bytes),
        n(view.due),
        n(view.held),
        n(view.local),
        short_time(oldest),
    );
    let ages = |ages: &Ages| ages.all().map(n).into_iter();
    let rows = view.domains.iter().map(|d| {
        let cells = [n(d.recipients)].into_iter().chain(ages(&d.ages));
        cells.chain([d.domain.clone()]).collect()
    });
    let all = [n(view.recipients)].into_iter().chain(ages(&view.ages));
    let all: Vec<String> = all.chain(["all domains".to_owned()]).collect();
    let rows: Vec<Vec<String>> = rows.chain([all]).collect();
    let head = [&["RECIPIENTS"][..], &AGE_NAMES, &["DOMAIN, BY AGE"]].concat();
    text.push('\n');
    text.push_str(&table(&head, &rows));
    text.push_str(&more(view.domains.len(), view.domains_total, "domains"));
    text.push('\n');
    let answer = |a: &AnswerCount| vec![n(a.recipients), a.kind.clone(), a.example.clone()];
    let rows: Vec<_> = view.answers.iter().map(answer).collect();
    text.push_str(&table(&["RECIPIENTS", "LAST ANSWER", "EXAMPLE"], &rows));
    text.push('\n');
    let submitter = |s: &SubmitterCount| vec![n(s.recipients), n(s.messages), s.submitter.clone()];
    let rows: Vec<_> = view.submitters.iter().map(submitter).collect();
    text.push_str(&table(&["RECIPIENTS", "MESSAGES", "SUBMITTER"], &rows));
    text.push_str(&more(
        view.submitters.len(),
        view.submitters_total,
        "submitters",
    ));
    text
}

fn more(shown: usize, total: u64, what: &str) -> String {
    match total > shown as u64 {
        true => format!("{} of {} {what}.\n", grouped(shown as u64), grouped(total)),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart_from_five_digits_on() {
        for (number, text) in [
            (0, "0"),
            (1000, "1000"),
            (10_000, "10 000"),
            (100_000, "100 000"),
            (1_234_567, "1 234 567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn an_age_is_in_one_class() {
        let mut ages = Ages::default();
        for seconds in [0, 299, 300, 3599, 14_399, 86_399, 432_000, 9_000_000] {
            ages.add(Duration::from_secs(seconds));
        }
        assert_eq!(ages.all(), [2, 2, 1, 1, 0, 2]);
    }
}
