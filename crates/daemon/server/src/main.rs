//! `sendoff`: the server and its command line in one binary.

mod acts;
mod admin;
mod ask;
mod backup;
mod check;
mod cli;
mod demo;
mod dkim;
mod explain;
mod forgetting;
mod http;
mod keys;
mod opening;
mod orders;
mod own_mail;
mod process;
mod reload;
mod run;
mod sendmail;
mod service;
mod shared;
mod started;
mod summary;
mod tools;
mod unwritten;
mod verbs;
mod welcome;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
