//! `sendoff`: the server and its command line in one binary.

mod ask;
mod check;
mod cli;
mod demo;
mod dkim;
mod forgetting;
mod keys;
mod reload;
mod run;
mod sendmail;
mod service;
mod shared;
mod started;
mod tools;
mod welcome;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
