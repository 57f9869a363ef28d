//! What lists are made of: rows of the waiting and of the finished, and which of them.

use mail::{
    Destination, Labels, Notify, Outcome, QueueId, RecipientKey, Status, Terms, Timestamp, Verdict,
};

/// One waiting recipient, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Which.
    pub key: RecipientKey,
    /// The reverse-path; empty for the null one.
    pub sender: String,
    /// The address delivered to.
    pub recipient: String,
    /// Its domain.
    pub domain: String,
    /// Outgoing or local.
    pub destination: Destination,
    /// Waiting or held.
    pub status: Status,
    /// Attempts that counted.
    pub attempts: u32,
    /// The earliest time of the next.
    pub due: Timestamp,
    /// When the message was accepted.
    pub accepted: Timestamp,
    /// Octets of its content.
    pub size: u64,
    /// The last reply on one line, empty for none.
    pub last_reply: String,
    /// The host that gave it.
    pub last_host: Option<String>,
    /// The name that fairness counts under.
    pub submitter: String,
    /// Where an administrator sends it, instead of where the rules would.
    pub route: Option<String>,
    /// What its message is called and labelled.
    pub labels: Labels,
}

/// One waiting recipient, as the schedule needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting<'a> {
    /// Which.
    pub key: RecipientKey,
    /// The recipient's domain.
    pub domain: &'a str,
    /// The reverse-path is null.
    pub null_sender: bool,
    /// The name that fairness counts under.
    pub submitter: &'a str,
    /// Octets of the content.
    pub size: u64,
    /// When the message was accepted.
    pub accepted: Timestamp,
    /// Waiting or held.
    pub status: Status,
    /// Attempts that counted.
    pub attempts: u32,
    /// The earliest time of the next.
    pub due: Timestamp,
    /// The delay notice has been sent.
    pub delay_notified: bool,
    /// Outgoing or local.
    pub destination: Destination,
    /// NOTIFY.
    pub notify: Notify,
    /// What the submitter asked about time and order.
    pub terms: Terms,
    /// Where an administrator sends it.
    pub route: Option<&'a str>,
}

/// One finished recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// Which.
    pub key: RecipientKey,
    /// The reverse-path; empty for the null one.
    pub sender: String,
    /// The address.
    pub recipient: String,
    /// Its domain.
    pub domain: String,
    /// When the message was accepted.
    pub accepted: Timestamp,
    /// Octets of its content.
    pub size: u64,
    /// Who submitted it.
    pub submitter: String,
    /// Attempts that counted.
    pub attempts: u32,
    /// How it ended.
    pub verdict: Verdict,
    /// The dialog of the last attempt.
    pub transcript: Option<String>,
    /// What its message was called and labelled.
    pub labels: Labels,
    /// Where it went in principle.
    pub destination: Destination,
}

/// One attempt of a recipient's timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// Which recipient.
    pub key: RecipientKey,
    /// Attempts that counted, this one included.
    pub attempts: u32,
    /// What came of it.
    pub verdict: Verdict,
    /// Its dialog.
    pub transcript: Option<String>,
}

/// Which finished recipients.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryFilter {
    /// Of this message alone.
    pub id: Option<QueueId>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// At this domain, or below it when it begins with a dot.
    pub domain: Option<String>,
    /// From this sender.
    pub sender: Option<String>,
    /// To this address.
    pub recipient: Option<String>,
    /// Whose message has this Message-ID.
    pub message_id: Option<String>,
    /// Whose message has exactly this submitter.
    pub submitter: Option<String>,
    /// Whose message has all of these tags.
    pub tags: Vec<String>,
    /// Whose message has all of these values under these names.
    pub metadata: Vec<(String, String)>,
    /// Finished at or after.
    pub since: Option<Timestamp>,
}

impl HistoryFilter {
    /// Whether it matches a row.
    #[must_use]
    pub fn matches(&self, row: &HistoryRow) -> bool {
        self.id.is_none_or(|id| row.key.id == id)
            && self.outcome.is_none_or(|o| row.verdict.outcome == o)
            && (self.domain.as_deref()).is_none_or(|d| domain_matches(d, &row.domain))
            && (self.sender.as_deref()).is_none_or(|s| row.sender.eq_ignore_ascii_case(s))
            && (self.recipient.as_deref()).is_none_or(|r| row.recipient.eq_ignore_ascii_case(r))
            && (self.message_id.as_deref())
                .is_none_or(|id| row.labels.message_id.as_deref() == Some(id))
            && (self.submitter.as_deref()).is_none_or(|name| row.submitter == name)
            && self.tags.iter().all(|tag| row.labels.has_tag(tag))
            && (self.metadata.iter()).all(|(name, value)| row.labels.has_metadata(name, value))
            && self.since.is_none_or(|t| row.verdict.at >= t)
    }
}

/// What a list is ordered by; ties by id and recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// By id, which is by acceptance.
    #[default]
    Id,
    /// By the next attempt.
    Due,
    /// By domain.
    Domain,
    /// By size.
    Size,
    /// By attempts.
    Attempts,
}

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Its order.
    pub sort: Sort,
    /// The largest first.
    pub descending: bool,
    /// Rows left out in front.
    pub offset: u64,
    /// Rows at most.
    pub limit: u64,
}

impl Page {
    /// Everything, by id.
    pub const ALL: Self = Self {
        sort: Sort::Id,
        descending: false,
        offset: 0,
        limit: i64::MAX as u64,
    };
}

/// Whether `domain` is `pattern`, or below it when the pattern begins with a dot.
pub(crate) fn domain_matches(pattern: &str, domain: &str) -> bool {
    let (domain, pattern) = (domain.to_ascii_lowercase(), pattern.to_ascii_lowercase());
    if pattern.starts_with('.') {
        domain.ends_with(&pattern)
    } else {
        domain == pattern
    }
}
