//! `sendoff`: the server and its command line in one binary.

mod acts;
mod admin;
mod ask;
mod backup;
mod batch_guard;
mod busy;
mod check;
mod cli;
mod collect;
mod converse;
mod demo;
mod dkim;
mod explain;
mod faults;
mod floods;
mod forgetting;
mod front;
mod harvest;
mod hops;
mod http;
mod keys;
mod listening;
mod marks;
mod oauth;
mod opened;
mod orders;
mod outcome;
mod own_mail;
mod policy;
mod process;
mod queue;
mod reach;
mod reactions;
mod recent;
mod relayed;
mod reload;
mod reports;
mod run;
mod securing;
mod senders;
mod sendmail;
mod service;
mod sessions;
mod shared;
mod sockets;
mod started;
mod summary;
mod tls_seen;
mod told;
mod tools;
mod transaction;
mod tried;
mod unwritten;
mod user_sessions;
mod verbs;
mod welcome;
mod worker;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
