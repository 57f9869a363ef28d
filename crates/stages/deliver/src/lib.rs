//! Delivery to another server: what is said to one host, and what its answers mean.
//!
//! Two machines, both without sockets. A [`Session`] is one connection to one host: greeting,
//! EHLO, TLS, login, then transactions, as few round trips as the host allows. An [`Attempt`] is
//! one try for the recipients of one message at one next hop: which host is tried next, and which
//! verdict stands. A session speaks SMTP, or LMTP with the server that has the mailboxes ([`Protocol`]). All knowledge of what an answer means is in one file, `judge`.
//!
//! The shell connects, shakes hands and moves bytes; it is told what to do and decides nothing.

mod attempt;
mod auth;
mod convert;
mod failure;
mod fit;
mod hint;
mod judge;
mod obstacle;
mod protocol;
mod question;
mod replies;
mod running;
mod senders;
mod session;
mod timeouts;
mod tls_mode;
mod transaction;
mod transcript;
mod way;

pub use attempt::{
    Attempt, AttemptSettings, Candidate, Elsewhere, Family, Next, NoHost, RecipientEnd, Skip,
};
pub use auth::{
    Credentials, Derivation, LogIn, LoginStep, Masked, Mechanism, Secret, nothing_in_common,
    shown_reply,
};
pub use convert::{
    Conversion, Converted, Rewritten, Signatures, convert, has_sender, is_about_line_length,
    rewrite_senders,
};
pub use failure::Failure;
pub use fit::promises;
pub use hint::retry_after;
pub use judge::{Fate, Judgement, NO_ANSWER, Stage, judge, known};
pub use obstacle::Obstacle;
pub use protocol::Protocol;
pub use replies::{
    ActionText, Known, ReplyBook, ReplyRule, RuleError, RuleFile, TreatAs, read_reply,
};
pub use running::Ended;
pub use senders::{SenderRule, SenderRuleError, SenderRules};
pub use session::{Event, Session, SessionSettings};
pub use timeouts::Timeouts;
pub use tls_mode::TlsMode;
pub use transaction::{Transaction, TransactionRecipient};
pub use way::Way;

#[cfg(test)]
mod tests;
