//! `sendoff`: the server and its command line in one binary.

mod acts;
mod admin;
mod ask;
mod backup;
mod busy;
mod check;
mod cli;
mod collect;
mod demo;
mod dkim;
mod explain;
mod floods;
mod forgetting;
mod front;
mod harvest;
mod http;
mod keys;
mod listening;
mod orders;
mod own_mail;
mod process;
mod reload;
mod run;
mod securing;
mod sendmail;
mod service;
mod shared;
mod sockets;
mod started;
mod summary;
mod tools;
mod unwritten;
mod user_sessions;
mod verbs;
mod welcome;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
