//! Both servers in one run: the same generator, the same sink, the same disk, cell by cell.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::contender::Contender;
use crate::dkim;
use crate::load::{self, Client, Load};
use crate::sink::{Board, Sink};
use crate::table::{Row, Table};
use crate::tally::{Moment, Tally, quantile};
use crate::usage;

/// Everything accepted arrives within this time behind the last 250.
const DELIVERY_MAX: Duration = Duration::from_secs(300);
/// A server is at rest when it uses less than this in [`REST_LOOK`].
const REST_CPU: Duration = Duration::from_millis(20);
const REST_LOOK: Duration = Duration::from_millis(500);
const REST_MAX: Duration = Duration::from_secs(15);

/// What is compared.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Sizes of mails, in KiB.
    #[arg(long, value_delimiter = ',', default_value = "1,10,100")]
    sizes: Vec<usize>,
    /// Clients at once.
    #[arg(long, value_delimiter = ',', default_value = "20,200")]
    clients: Vec<usize>,
    /// Destination domains, each with an MX host of its own.
    #[arg(long, default_value_t = 100)]
    domains: usize,
    /// Mails of a cell for Sendoff.
    #[arg(long, default_value_t = 10_000)]
    mails: usize,
    /// Mails of a cell for Postfix.
    #[arg(long, default_value_t = 3_000)]
    postfix_mails: usize,
    /// Each cell is measured so often; the run in which others used least of the machine is shown.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Mails of 100 KiB that each server takes before it is measured, so that processes run,
    /// files are made and caches are full.
    #[arg(long, default_value_t = 3_000)]
    warm_up_mails: usize,
    /// Mails that are sent one at a time to a server at rest.
    #[arg(long, default_value_t = 100)]
    single_mails: usize,
    /// Sendoff alone.
    #[arg(long)]
    alone: bool,
    /// A connection for every mail.
    #[arg(long)]
    reconnect: bool,
    /// Mail is signed on both sides, by OpenDKIM in front of Postfix: one RSA key of 2048 bits.
    #[arg(long)]
    dkim: bool,
    /// A file of further settings for Sendoff.
    #[arg(long)]
    settings: Option<PathBuf>,
    /// The server's binary. Default: `sendoff` beside this one.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Where queues are kept; it must be on a disk. Default: beside this binary.
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// The world both servers deliver into.
struct World {
    sink: Sink,
    board: Board,
    dns: lab::Dns,
    disk: String,
}

/// Runs the comparison and prints its tables.
pub(crate) fn compare(options: &Options) -> Result<()> {
    let here = std::env::current_exe()?;
    let beside = here.parent().context("a directory of binaries")?.to_owned();
    let binary = options
        .binary
        .clone()
        .unwrap_or_else(|| beside.join("sendoff"));
    let directory = options
        .directory
        .clone()
        .unwrap_or_else(|| beside.join("bench-run"));
    std::fs::create_dir_all(&directory)?;
    let world = World::new(options.domains, &directory)?;
    let port = world.sink.port;
    let key = options.dkim.then(dkim::rsa_key).transpose()?;
    let key = key.as_deref();
    let settings = options.settings.as_deref();
    let settings = settings.map(std::fs::read_to_string).transpose()?;
    let mut servers = vec![Contender::sendoff(
        &binary,
        &directory.join("sendoff"),
        world.dns.address(),
        port,
        key,
        settings.as_deref(),
    )?];
    if !options.alone {
        servers.push(Contender::postfix(&directory.join("postfix"), port, key)?);
    }
    let result = measure(options, &world, &servers);
    for server in servers {
        server.stop()?;
    }
    result
}

fn measure(options: &Options, world: &World, servers: &[Contender]) -> Result<()> {
    let mut table = Table::default();
    for server in servers {
        warm_up(options, world, server)?;
    }
    for size in &options.sizes {
        for clients in &options.clients {
            table
                .rows
                .extend(rounds(options, world, servers, *size * 1024, *clients)?);
        }
    }
    crate::say(&table.text());
    for server in servers {
        crate::say(&singles(options, world, server)?);
    }
    Ok(())
}

/// A cell of each server, measured in turns.
fn rounds(
    options: &Options,
    world: &World,
    servers: &[Contender],
    size: usize,
    clients: usize,
) -> Result<Vec<Row>> {
    let mut measured: Vec<Vec<Row>> = servers.iter().map(|_| Vec::new()).collect();
    for _ in 0..options.rounds.max(1) {
        for (server, rows) in servers.iter().zip(&mut measured) {
            let row = cell(options, world, server, size, clients)?;
            crate::say(&row.progress());
            rows.push(row);
        }
    }
    let calm = |a: &Row, b: &Row| a.others_share.total_cmp(&b.others_share);
    let calmest = |rows: Vec<Row>| rows.into_iter().min_by(calm);
    Ok(measured.into_iter().filter_map(calmest).collect())
}

impl World {
    fn new(domains: usize, directory: &Path) -> Result<Self> {
        let board = Board::default();
        let sink = Sink::start(0, board.clone())?;
        let dns = lab::Dns::start();
        dns.ttl(Duration::from_secs(3600));
        for number in 0..domains {
            let domain = load::domain(number);
            let host = format!("mx.{domain}");
            let [high, low] = u16::try_from(number)
                .context("that many domains")?
                .to_be_bytes();
            dns.mx(&domain, 10, &host);
            dns.a(&host, Ipv4Addr::new(127, 77, high, low));
        }
        let disk = usage::disk_of(directory)?;
        Ok(Self {
            sink,
            board,
            dns,
            disk,
        })
    }
}

fn load_of(options: &Options, server: &Contender, size: usize, clients: usize) -> Load {
    Load {
        server: server.address,
        clients,
        size,
        domains: options.domains,
        reconnect: options.reconnect,
        duration: None,
    }
}

fn warm_up(options: &Options, world: &World, server: &Contender) -> Result<()> {
    let most = options.clients.iter().max().copied().unwrap_or(1);
    let load = load_of(options, server, 100 * 1024, most);
    let tally = Arc::new(Tally::new(options.warm_up_mails));
    world.board.put(Arc::clone(&tally));
    load::run(&load, &tally).with_context(|| format!("{}: warming up", server.name))?;
    wait_for_delivery(server, &tally)?;
    rest(server);
    Ok(())
}

/// One cell of the table.
fn cell(
    options: &Options,
    world: &World,
    server: &Contender,
    size: usize,
    clients: usize,
) -> Result<Row> {
    let mails = match server.name {
        "Postfix" => options.postfix_mails,
        _ => options.mails,
    };
    let load = load_of(options, server, size, clients);
    let tally = Arc::new(Tally::new(mails));
    world.board.put(Arc::clone(&tally));
    server.forget_peak();
    rustix::fs::sync();
    let disk = usage::disk_written(&world.disk)?;
    let before = server.cpu();
    let sink = usage::thread_cpu(world.sink.thread);
    let (busy, begun) = (usage::machine_busy(), Instant::now());

    let sent = load::run(&load, &tally)
        .with_context(|| format!("{}, {size} octets, {clients} clients", server.name))?;
    wait_for_delivery(server, &tally)?;
    rest(server);

    let (busy, lasted) = (usage::machine_busy().saturating_sub(busy), begun.elapsed());
    let after = server.cpu();
    rustix::fs::sync();
    let disk = usage::disk_written(&world.disk)?.saturating_sub(disk);
    let sink = usage::thread_cpu(world.sink.thread).saturating_sub(sink);
    let cpu = after.saturating_sub(before);
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let others = busy.saturating_sub(cpu + sent.cpu + sink);
    if tally.signed() != if options.dkim { mails } else { 0 } {
        bail!(
            "{}: {} of {mails} mails are signed",
            server.name,
            tally.signed()
        );
    }
    let latency = tally.between(Moment::Begun, Moment::Accepted);
    Ok(Row {
        server: server.name,
        size,
        clients,
        mails,
        accepting: tally.span(Moment::Accepted),
        delivering: tally.span(Moment::Delivered),
        cpu,
        generator_cpu: sent.cpu,
        sink_cpu: sink,
        others_share: others.as_secs_f64() / lasted.as_secs_f64() / as_f64(cores),
        disk_written: disk,
        peak: server.peak(),
        proportional: server.proportional(),
        p50: quantile(&latency, 0.5),
        p99: quantile(&latency, 0.99),
        duplicates: tally.duplicates(),
    })
}

/// For figures to be shown; counts are far below what it holds exactly.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

fn wait_for_delivery(server: &Contender, tally: &Tally) -> Result<()> {
    let begin = Instant::now();
    while tally.delivered() < tally.mails() {
        if begin.elapsed() > DELIVERY_MAX {
            bail!(
                "{}: {} of {} mails have not arrived",
                server.name,
                tally.mails() - tally.delivered(),
                tally.mails()
            );
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Waits until the server has done what is left to do behind the last delivery.
fn rest(server: &Contender) {
    let begin = Instant::now();
    let mut before = server.cpu();
    while begin.elapsed() < REST_MAX {
        thread::sleep(REST_LOOK);
        let now = server.cpu();
        if now.saturating_sub(before) < REST_CPU {
            return;
        }
        before = now;
    }
}

/// Mails one at a time, to a server that does nothing else: how long from the 250 to the sink.
fn singles(options: &Options, world: &World, server: &Contender) -> Result<String> {
    // The first round finds no open connection; the second, right behind it, does.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    rest(server);
    thread::sleep(Duration::from_secs(6));
    let load = load_of(options, server, 10 * 1024, 1);
    let mut text = String::new();
    for (what, domains) in [
        ("to a domain not connected to", options.domains),
        ("to a domain connected to", 1),
    ] {
        let tally = Arc::new(Tally::new(options.single_mails));
        world.board.put(Arc::clone(&tally));
        let load = Load {
            domains,
            ..load.clone()
        };
        runtime.block_on(async {
            let mut client = Client::new(&load);
            for number in 0..options.single_mails {
                client.send(number, &tally).await?;
                while tally.delivered() <= number {
                    tokio::time::sleep(Duration::from_micros(500)).await;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            client.quit().await;
            Ok::<(), anyhow::Error>(())
        })?;
        let accepting = tally.between(Moment::Begun, Moment::Accepted);
        let sending = tally.between(Moment::Accepted, Moment::Delivered);
        let ms = |d: Duration| d.as_secs_f64() * 1000.0;
        text.push_str(&format!(
            "{}: one mail at a time, {what}: MAIL to 250 p50 {:.2} ms, p99 {:.2} ms; \
             250 to the sink's dot p50 {:.2} ms, p99 {:.2} ms\n",
            server.name,
            ms(quantile(&accepting, 0.5)),
            ms(quantile(&accepting, 0.99)),
            ms(quantile(&sending, 0.5)),
            ms(quantile(&sending, 0.99)),
        ));
    }
    Ok(text)
}
