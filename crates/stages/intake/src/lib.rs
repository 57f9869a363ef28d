//! What this server accepts by SMTP, from whom, and within which limits.
//!
//! A [`Session`] is one connection of a client, as a machine without sockets. It decides every
//! reply by the [`Policy`]; what it cannot do itself, it asks of the shell by a [`Request`]:
//! begin TLS, check a password, save a message. A mail is accepted, with its 250, only after the
//! shell has answered that it is saved for good.
//!
//! Nothing here reads configuration, hashes passwords, knows the queue or a clock.

mod aliases;
mod aliasing;
mod decision;
mod event;
mod fix_up;
mod labels;
mod local_domains;
mod paths;
mod policy;
mod quota;
mod received;
mod refusal;
mod relaying;
mod rewriting;
mod rights;
mod session;
mod submission;
mod suppression;
mod trial;
mod usage;
mod user;

pub use aliases::{Alias, Aliases};
pub use event::{AcceptFailure, Event, LoginVerdict, NoKeys, Request};
pub use fix_up::FixUps;
pub use local_domains::LocalDomains;
pub use paths::{Keys, ParseKeyError, Paths, ReturnPaths, Srs, Stands};
pub use policy::{Auth, Limits, Listener, Policy, PolicyError, Timeouts, Tls};
pub use quota::{Charged, ParseQuotaError, Quota, Quotas};
pub use refusal::{Reason, Refusal};
pub use relaying::Near;
pub use rewriting::{DomainMatch, ParseDomainMatchError, RewriteRule, Rewriting};
pub use rights::{CheckFrom, Rights};
pub use session::{Busy, FUTURE_MAX, NextId, Session, busy};
pub use submission::{Composed, Submission, Wanted};
pub use suppression::{Cause, ParseScopeError, Scope, Suppressed, Suppression, SuppressionFilter};
pub use trial::{TEST_DOMAIN, TEST_NAMES, test_name};
pub use usage::{KeptCount, Usage};
pub use user::{ParseSenderMatchError, SenderMatch, Senders, User};
