//! The queue's owner at work, seen by what it commits, logs and hands out.

mod desk;
mod faults;
mod orders;
mod reports;
mod restarts;
mod retries;
mod sites;
mod stopping;
