//! `sendoff`: the server and its command line in one binary.

mod acts;
mod admin;
mod ask;
mod backup;
mod batch_guard;
mod binary;
mod bounces;
mod busy;
mod check;
mod cli;
mod clock;
mod collect;
mod contents;
mod controls;
mod converse;
mod demo;
mod dkim;
mod event;
mod explain;
mod faults;
mod floods;
mod forgetting;
mod front;
mod hand_in;
mod harvest;
mod hops;
mod http;
mod keys;
mod known;
mod listening;
mod local;
mod oauth;
mod opened;
mod orders;
mod outcome;
mod own_mail;
mod policy;
mod process;
mod queue;
mod quotas;
mod reach;
mod reactions;
mod recent;
mod refused;
mod relayed;
mod reload;
mod reports;
mod resolve;
mod run;
mod senders;
mod sendmail;
mod service;
mod sessions;
mod shared;
mod signing;
mod simulated;
mod sockets;
mod sources;
mod started;
mod sts;
mod summary;
mod suppression;
mod tls_policy;
mod tls_reports;
mod tls_seen;
mod told;
mod tools;
mod transaction;
mod tried;
mod unwritten;
mod user_sessions;
mod warm_up;
mod webhooks;
mod welcome;
mod worker;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
