//! `bench`: how fast, at what cost, and against whom.
//!
//! A load generator and a sink, which are fast enough not to be the limit (`ceiling` shows it),
//! and side-by-side runs against Postfix (`compare`). The results are kept in
//! `bench/RESULTS.md`; the configurations of both servers stand in `bench/`.

mod compare;
mod contender;
mod content;
mod dkim;
mod load;
mod sink;
mod sites;
mod table;
mod tally;
mod usage;

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::load::Load;
use crate::sink::{Board, Sink};
use crate::tally::{Moment, Tally, quantile};

/// Measures mail servers.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send mails to a server.
    Load {
        /// Address and port of the server.
        server: SocketAddr,
        #[command(flatten)]
        options: LoadOptions,
    },
    /// Take mails until Ctrl-C, and count them.
    Sink {
        /// The port, at every address of this computer.
        #[arg(long, default_value_t = 2526)]
        port: u16,
    },
    /// Send mails straight to a sink: what generator and sink can do by themselves.
    Ceiling {
        #[command(flatten)]
        options: LoadOptions,
    },
    /// Sign mails: what a signature costs, by the kind of key.
    Dkim(dkim::Options),
    /// What protection costs at a new site, at a known one, and over a new connection.
    Sites(sites::Options),
    /// Sendoff and Postfix in one run.
    Compare(compare::Options),
}

#[derive(Debug, Args)]
struct LoadOptions {
    /// Clients at once.
    #[arg(long, default_value_t = 20)]
    clients: usize,
    /// Size of a mail, in KiB.
    #[arg(long, default_value_t = 10)]
    size: usize,
    /// Destination domains.
    #[arg(long, default_value_t = 100)]
    domains: usize,
    /// Mails in all.
    #[arg(long, default_value_t = 10_000)]
    mails: usize,
    /// End after so many seconds, if not all mails are sent by then.
    #[arg(long)]
    seconds: Option<u64>,
    /// A connection for every mail.
    #[arg(long)]
    reconnect: bool,
}

impl LoadOptions {
    fn load(&self, server: SocketAddr) -> Load {
        Load {
            server,
            clients: self.clients,
            size: self.size * 1024,
            domains: self.domains,
            reconnect: self.reconnect,
            duration: self.seconds.map(Duration::from_secs),
        }
    }
}

/// Prints a part of the result.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // With nobody reading, nobody misses it.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Load { server, options } => send(&options, server),
        Command::Sink { port } => take(port),
        Command::Ceiling { options } => ceiling(&options),
        Command::Dkim(options) => dkim::measure(&options),
        Command::Sites(options) => sites::measure(&options),
        Command::Compare(options) => compare::compare(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn send(options: &LoadOptions, server: SocketAddr) -> Result<()> {
    let tally = Arc::new(Tally::new(options.mails));
    let sent = load::run(&options.load(server), &tally)?;
    say(&summary(&tally, sent.accepted, sent.cpu));
    Ok(())
}

fn ceiling(options: &LoadOptions) -> Result<()> {
    let board = Board::default();
    let sink = Sink::start(0, board.clone())?;
    let tally = Arc::new(Tally::new(options.mails));
    board.put(Arc::clone(&tally));
    let server = SocketAddr::from(([127, 0, 0, 1], sink.port));
    let sent = load::run(&options.load(server), &tally)?;
    say(&summary(&tally, sent.accepted, sent.cpu));
    let micros = micros_each(usage::thread_cpu(sink.thread), tally.delivered());
    say(&format!(
        "sink: {} mails, {micros} µs CPU a mail\n",
        tally.delivered()
    ));
    Ok(())
}

fn take(port: u16) -> Result<()> {
    let sink = Sink::start(port, Board::default())?;
    say(&format!("port {}\n", sink.port));
    loop {
        std::thread::park();
    }
}

fn micros_each(cpu: Duration, mails: usize) -> u128 {
    cpu.as_micros() / (mails.max(1) as u128)
}

fn summary(tally: &Tally, accepted: usize, cpu: Duration) -> String {
    let latency = tally.between(Moment::Begun, Moment::Accepted);
    let micros = tally.span(Moment::Accepted).as_micros().max(1);
    format!(
        "{accepted} mails, {} a second; MAIL to 250 p50 {:?}, p99 {:?}; {} µs CPU a mail\n",
        accepted as u128 * 1_000_000 / micros,
        quantile(&latency, 0.5),
        quantile(&latency, 0.99),
        micros_each(cpu, accepted)
    )
}
