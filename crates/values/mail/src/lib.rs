//! The values of the mail world that cross the stages of the server: addresses, envelopes,
//! messages, replies, outcomes, ids and times.
//!
//! There is no I/O here, no clock and no randomness: whoever makes a value hands in the time.
//! A type belongs here when two stages speak of it; what one stage alone knows stays there.

mod address;
mod authors;
mod domain;
mod duration;
mod envelope;
mod header;
mod labels;
mod mailboxes;
mod outcome;
mod queue_id;
mod quoted_printable;
mod recipient_state;
mod reply;
mod reply_kind;
mod terms;
mod timestamp;
mod tlsa;
mod visible;

pub use address::{Address, ParseAddressError, utf8_xtext, xtext};
pub use authors::{Authors, Unclear, addresses_in, authors};
pub use domain::{Domain, ParseDomainError};
pub use duration::{ParseDurationError, format_duration, parse_duration};
pub use envelope::{
    BodyType, Destination, Envelope, Message, Notify, Recipient, RecipientKey, Ret, Submitter,
};
pub use header::{
    Header, HeaderEnd, Headers, LINE_MAX, are_lines, body_offset, find_header, folded,
    has_long_line, header_in_lines, is_ascii, received_count,
};
pub use labels::{LabelError, Labels};
pub use mailboxes::{Listed, Mailbox, MailboxError, listed, mailbox, mailboxes};
pub use outcome::{Class, Outcome, PeerHost, Timing, TlsUsed, Verdict};
pub use queue_id::{IdSource, ParseQueueIdError, QueueId};
pub use quoted_printable::{from_quoted_printable, quoted_printable};
pub use recipient_state::{RecipientState, Status};
pub use reply::{EnhancedCode, ParseEnhancedCodeError, Reply};
pub use reply_kind::ReplyKind;
pub use terms::{ByMode, DeliverBy, Terms};
pub use timestamp::Timestamp;
pub use tlsa::Tlsa;
pub use visible::{is_hidden, one_line, visible};
