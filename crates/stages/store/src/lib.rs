//! What the rest of the server asks of the durable queue, whatever engine keeps it.
//!
//! [`Store`] has the verbs, [`Op`] what is committed, [`Row`], [`HistoryRow`] and [`Event`] what is read, [`Filter`] which
//! of it; [`series`] what was counted. An engine is held to all of it by [`conformance::check`]. The engine of this project is the crate `spool`, a log
//! with an index on the server's own disk.
//!
//! # What an engine promises
//!
//! - A commit is durable as a whole or not at all, and its callback comes after that. Within one store commits are atomic;
//!   nothing is promised over several.
//! - What is acknowledged survives a crash. What is delivered never comes back.
//! - Commits of one recipient take effect in the order in which they were given.
//! - Lists lag behind commits, until [`Store::catch_up`].
//! - Calls block, callbacks do not: the engine may call them from any thread.
//!
//! # For an engine that several nodes share
//!
//! Mail belongs to [`Lot`]s, of which a node owns some at a time; an engine for one node has one. Ids come from the store,
//! so that nodes never give the same one. [`CommitError::Away`], [`CommitError::Fenced`] and [`CommitError::Taken`] are for
//! engines that can be out of reach, can lose a lot to another node, and keep tokens once for all.

pub mod conformance;
mod damage;
mod error;
mod event;
pub mod filter;
mod health;
mod note;
mod op;
mod row;
pub mod series;
mod store;
mod withdrawal;

pub use damage::{Damage, Damaged};
pub use error::{BackupError, CommitError, ReadError, Remedy, StoreError};
pub use event::{
    Event, EventAbout, EventBounds, EventKinds, EventWish, Happened, Origin, PastEvents,
    StoredEvent,
};
pub use filter::{Filter, Kinds};
pub use health::{BackedUp, Behind, Figures, Health, LogFigures, Standing};
pub use note::{Book, LaterRow, Note, Record, StoredRecord};
pub use op::{Callback, Op};
pub use row::{AttemptRow, HistoryFilter, HistoryRow, Page, Row, Sort, Waiting};
pub use store::{Lot, Store};
pub use withdrawal::Withdrawal;
