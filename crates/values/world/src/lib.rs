//! The outside as rooms are given it: traits and values, without anything that implements them for real.
//!
//! Whoever composes a server decides which world it lives in: that of the system, or one of a simulation, in which time
//! passes as a script says. Rooms cannot tell the difference, because they reach for nothing by themselves.

mod clock;
mod scripted;

pub use clock::{Clock, Instant, Time};
pub use scripted::Scripted;
