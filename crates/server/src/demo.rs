//! `sendoff demo`.

use anyhow::Result;
use clap::Args;

/// The demonstration's options.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Run on until Ctrl-C, so that you can send mail of your own.
    #[arg(long)]
    keep: bool,
}

/// Runs it.
pub(crate) async fn run(args: DemoArgs) -> Result<()> {
    let _ = args.keep;
    Ok(())
}
