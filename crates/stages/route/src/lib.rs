//! Where a recipient goes: the next-hop decision, as pure functions over settings and DNS answers.
//!
//! [`Router::begin`] says what to ask, or where to go without asking. The shell asks DNS and hands
//! the answers to [`Router::mx_answer`] and [`Router::address_answer`] until there is a
//! [`NextHop`] or a verdict. Nothing is asked here, and nothing is remembered: the decision is
//! made again at every attempt.

mod dane;
mod decide;
mod hop;
mod provider;
mod refused;
mod rules;
mod sts;
mod target;

pub use dane::{Dane, usable};
pub use decide::{DnsAnswer, Mode, MxRecord, RouteSettings, Router, Step};
pub use hop::{Host, HostAddresses, NextHop, Unusable, order_hosts};
pub use provider::provider_of;
pub use refused::{LOOPBACK, NOWHERE, PRIVATE, is_public, refused_by};
pub use rules::{DomainRule, Effective, Matcher, ParseMatchError, Rules};
pub use sts::{ParseStsError, STS_POLICY_MAX, StsMode, StsPolicy, sts_id};
pub use target::{ParseTargetError, Target};

#[cfg(test)]
mod tests;
