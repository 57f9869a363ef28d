//! `sendoff`: the server and its command line in one binary.

mod ask;
mod check;
mod cli;
mod demo;
mod dkim;
mod keys;
mod sendmail;
mod tools;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
