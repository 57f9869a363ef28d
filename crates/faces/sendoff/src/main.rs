//! `sendoff`: the server and its command line in one binary.

#[cfg(feature = "demo")]
mod demo;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use cli::Programs;
use config::Config;
use daemon::Started;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main(&Programs {
        serve,
        #[cfg(feature = "demo")]
        demo: |args| runtime()?.block_on(demo::run(args)),
    })
}

fn serve(config: Config) -> Result<()> {
    // Before there are threads: each has rights of its own.
    let started = Started::confined(config)?;
    let runtime = runtime()?;
    let result = runtime.block_on(daemon::serve(started, CancellationToken::new()));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")
}
