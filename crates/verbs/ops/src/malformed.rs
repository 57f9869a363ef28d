//! Why a request cannot be meant: what its author has to correct. Nothing is looked up to find it.
//!
//! What an error says includes why; so it hands that out as a value, and not as a source, which whoever prints a
//! chain of errors would print once more.

use mail::{ParseAddressError, ParseDomainError, ParseDurationError, ParseQueueIdError};
use schedule::ParseRateError;
use store::filter::ParseFilterError;

use crate::event::MalformedReplay;

/// The words for why a recipient is suppressed.
pub(crate) const CAUSES: [&str; 3] = ["failure", "complaint", "administrator"];
/// Connections that a domain can be slowed to.
pub(crate) const CONNECTIONS_MAX: u32 = 100_000;

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is no message's id.
    #[error(transparent)]
    Id(#[from] ParseQueueIdError),
    /// The id of the message that an entry is about is none.
    #[error("message: {0}")]
    AboutMessage(ParseQueueIdError),
    /// It is neither an id nor an id with a recipient's number.
    #[error("`{0}` does not have the form id/number")]
    Key(String),
    /// Several ids, where they cannot be one list.
    #[error("select one id, a filter, or all")]
    SeveralIds,
    /// It is no filter.
    #[error(transparent)]
    Filter(#[from] ParseFilterError),
    /// A server is to be named, and none is, or with too many octets.
    #[error("name the server to send the mail to")]
    NoServer,
    /// It is no domain.
    #[error(transparent)]
    Domain(#[from] ParseDomainError),
    /// It is no address.
    #[error(transparent)]
    Address(#[from] ParseAddressError),
    /// The recipient of an entry is no address.
    #[error("{text}: {why}")]
    Recipient {
        /// What was written.
        text: String,
        /// Why not.
        why: ParseAddressError,
    },
    /// It is no rate.
    #[error(transparent)]
    Rate(#[from] ParseRateError),
    /// A limit that nothing would pass.
    #[error("0 connections would stop all mail: pause the domain instead")]
    NoConnections,
    /// More connections than can be meant.
    #[error("at most {CONNECTIONS_MAX} connections, not {0}")]
    TooManyConnections(u32),
    /// It is no name of a rule.
    #[error("`{0}` is not a valid rule name: use letters, digits, and - _ .")]
    RuleName(String),
    /// A rule's filter has too many octets.
    #[error("the filter is too long")]
    LongFilter,
    /// New mail is to be held by the kinds of its replies.
    #[error("new mail has no kind yet, because a kind comes from a reply")]
    KindsOfNewMail,
    /// A rule's filter matches everything.
    #[error(
        "an empty filter would hold all mail: pause domains instead, or set outgoing.enabled = false"
    )]
    EmptyFilter,
    /// It is no term of a filter of the history.
    #[error(
        "`{0}` cannot be searched for in the history: write an address, a domain, or one of from: to: domain: outcome: \
         user: tag: meta: message-id: since:"
    )]
    HistoryTerm(String),
    /// A time is neither one nor how long ago it was.
    #[error("`{0}` is neither a time nor how long ago: write 2026-01-31T08:00:00Z, or 2h")]
    Ago(String),
    /// It is no outcome.
    #[error("`{0}` is not an outcome: use delivered, failed or expired")]
    Outcome(String),
    /// It is no entry of metadata.
    #[error("`{0}` is not metadata: write a name and its value, as in order=7")]
    Metadata(String),
    /// It is no scope of a suppression.
    #[error(
        "`{0}` is not a scope: write `all`, `@domain` for a domain's senders, a sender's address, or `user:NAME`"
    )]
    Scope(String),
    /// It is no cause of a suppression.
    #[error("`{0}` is not a cause: use {causes}", causes = CAUSES.join(", "))]
    Cause(String),
    /// The end of an entry is neither a time nor a duration.
    #[error("expires: `{text}` is neither a time (RFC 3339) nor a duration: {why}")]
    Expires {
        /// What was written.
        text: String,
        /// Why it is no duration.
        why: ParseDurationError,
    },
    /// The beginning of an entry is no time.
    #[error("since: `{0}` is not a time (RFC 3339)")]
    Since(String),
    /// A directory is not named from the root on.
    #[error("{0}: write the full path, beginning with /")]
    Directory(String),
    /// It is nothing that is done later.
    #[error("only fail and remove are done later: what holds or releases can be undone by itself")]
    NotLater,
    /// It is no time to wait.
    #[error("after: {0} is not between 1 and 86400 seconds")]
    After(u64),
    /// It is no step of a series.
    #[error("`{0}` is not a step: use minute or hour")]
    Step(String),
    /// It is nothing that series are counted by.
    #[error("`{0}` is nothing to count by: use total, domain, submitter, site, refusal or waiting")]
    Dimension(String),
    /// It is not counted by minute.
    #[error("by minute there are totals and what waits only, and not `{0}`: use step=hour")]
    NotByMinute(String),
    /// No server to ask is named.
    #[error("name the server to ask, such as mx.example.com or mx.example.com:587")]
    NoServerToAsk,
    /// So many lines are not told.
    #[error("{0} lines cannot be told: ask for 1 to 1000")]
    Lines(u64),
    /// It is no answer that can be tested.
    #[error("write the answer to test, such as `550 5.1.1 no such user`: at most 8 KiB")]
    NoReply,
    /// The events to send again cannot be meant.
    #[error(transparent)]
    Replay(#[from] MalformedReplay),
}

/// Why the recipients that are meant cannot be said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// Nothing can be meant.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] store::StoreError),
}
