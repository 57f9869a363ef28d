//! Who is due next: the stage between the durable queue and delivery.
//!
//! [`Scheduler`] knows every waiting recipient, when it is due, which site it goes to and how much
//! that site takes. It does no I/O, reads no clock and draws no random number: events come in by
//! method calls that carry the time, what is to be done comes out of [`Scheduler::poll`], and
//! [`Scheduler::deadline`] says when to poll again and why. So the same code runs under virtual
//! time in tests.
//!
//! Two questions are kept apart. *May this site take one more?* is answered by its window, rate,
//! cool-off and the pauses (`window`, `rate`). *Which message next?* is answered by round robin:
//! over the submitters, then over the messages of each (`ready`), and over the sites themselves.
//!
//! **What counts as an attempt.** One is charged when the next hop was really tried for a
//! recipient, or when the site, or the lookup of the domain, was found not to work: then every
//! recipient that is due there at that moment is charged one, and one connection later finds out
//! for all. Waiting for our own limits (window, rate, hold, pause, outgoing mail switched off) and for
//! faults of ours to be mended is free (`failure`).
//!
//! Nothing here is durable. What [`Action::Settle`] says must be committed to the spool before
//! anyone hears of it, and a restart hands everything in again by [`Scheduler::insert`].

mod action;
#[cfg(test)]
mod check;
mod clock;
mod domain;
mod entry;
mod failure;
mod group;
mod plan;
mod rate;
mod ready;
mod report;
mod scheduler;
mod settle;
mod site;
mod verbs;
mod wait;
mod window;

pub use action::{
    Action, Batch, Deadline, DomainId, Policy, PolicyOf, Resolution, Settings, Settled, SiteId,
    WorkerId,
};
pub use entry::NewRecipient;
pub use plan::{ParsePlanError, Plan};
pub use rate::{ParseRateError, Rate};
pub use report::{Attempted, OurWait, Report, SiteFailure};
pub use scheduler::Scheduler;
pub use site::{SiteOrder, SiteView, StandingView};
pub use verbs::Cancelled;
pub use wait::{Reason, Wait};

#[cfg(test)]
mod tests;
