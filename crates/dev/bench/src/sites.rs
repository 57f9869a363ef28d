//! What protection costs: the first mail to a site, the next one over the same session, and one more
//! over a new connection, by what is known of the site's TLS.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use lab::{Config, Identity, MxHost, Scratch, Sendoff, StartTls, WebAnswer, WebHost, World};

use crate::tally::quantile;
use crate::{say, usage};

/// A mail arrives within this time.
const ARRIVES: Duration = Duration::from_secs(20);
const PATH: &str = "/.well-known/mta-sts.txt";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Sites of each kind.
    #[arg(long, default_value_t = 50)]
    sites: usize,
    /// The server's binary. Default: `sendoff` beside this one.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// What is known of the sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Clear,
    Tls,
    /// The zones are signed, and there are no TLSA records.
    Signed,
    Dane,
    Sts,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Clear, Self::Tls, Self::Signed, Self::Dane, Self::Sts];

    const fn name(self) -> &'static str {
        match self {
            Self::Clear => "in clear",
            Self::Tls => "TLS, nothing known",
            Self::Signed => "TLS, zone signed, no TLSA",
            Self::Dane => "TLS, DANE",
            Self::Sts => "TLS, MTA-STS",
        }
    }

    const fn is_signed(self) -> bool {
        matches!(self, Self::Signed | Self::Dane)
    }

    /// As the log says it.
    const fn tls(self) -> &'static str {
        match self {
            Self::Clear => "none",
            Self::Tls | Self::Signed => "encrypted",
            Self::Dane => "dane",
            Self::Sts => "verified",
        }
    }
}

/// A world of sites of one kind, and the server that sends to them.
struct Run {
    kind: Kind,
    world: World,
    hosts: Vec<MxHost>,
    /// It serves as long as it is kept.
    _web: Option<WebHost>,
    server: Sendoff,
}

/// What a round over all sites took.
struct Round {
    /// From the server's 250 until the host had the mail.
    times: Vec<Duration>,
    questions: usize,
    cpu: Duration,
}

/// Measures each kind and prints a table.
pub(crate) fn measure(options: &Options) -> Result<()> {
    let here = std::env::current_exe()?;
    let beside = here.parent().context("a directory of binaries")?;
    let given = options.binary.clone();
    let binary = given.unwrap_or_else(|| beside.join("sendoff"));
    say(&format!(
        "{} sites of each kind, one mail at a time; ms from 250 to the host (p50), DNS questions and \
         CPU ms a mail\n\n\
         | sites | first mail | questions | CPU | same session | CPU | new connection | questions | CPU \
         | handshakes, full / resumed |\n|---|---|---|---|---|---|---|---|---|---|\n",
        options.sites
    ));
    for kind in Kind::ALL {
        let run = Run::new(kind, options.sites, &binary)?;
        // The server is up, and has seen DNS, the log and the disk.
        run.send(&format!("bob@{}", domain(options.sites)), run.hosts.last())?;
        let [first, same] = [run.round()?, run.round()?];
        for host in &run.hosts {
            host.stop().start();
        }
        let again = run.round()?;
        let line = run.server.log();
        let tls = format!("tls={} ", kind.tls());
        let delivered = line.lines().filter(|l| l.contains(" delivered id="));
        if let Some(other) = delivered.clone().find(|l| !l.contains(&tls)) {
            bail!("not as meant: {other}");
        }
        let [full, resumed] = run.handshakes()?;
        let columns = [
            kind.name().to_owned(),
            first.millis(),
            first.questions(),
            first.cpu(),
            same.millis(),
            same.cpu(),
            again.millis(),
            again.questions(),
            again.cpu(),
            format!("{full} / {resumed}"),
        ];
        say(&format!("| {} |\n", columns.join(" | ")));
    }
    Ok(())
}

fn domain(number: usize) -> String {
    format!("site{number}.example")
}

impl Run {
    fn new(kind: Kind, sites: usize, binary: &Path) -> Result<Self> {
        let world = World::new();
        world.dns.ttl(Duration::from_secs(3600));
        if kind.is_signed() {
            world.dns.sign();
        }
        let hosts = (0..=sites).map(|number| site(&world, kind, &domain(number)));
        let hosts = hosts.collect();
        let web = (kind == Kind::Sts).then(|| policies(&world, sites));
        let scratch = Scratch::new();
        let config = config(&world, scratch.path())?;
        let server = Sendoff::start_in(scratch, binary, config, &[]);
        Ok(Self {
            kind,
            world,
            hosts,
            _web: web,
            server,
        })
    }

    /// One mail to each site, one behind the other.
    fn round(&self) -> Result<Round> {
        let pid = self.server.pid().context("the server runs")?;
        let (asked, cpu) = (self.world.dns.questions().len(), usage::cpu(pid));
        let mut times = Vec::new();
        let (_, measured) = self.hosts.split_last().context("a site")?;
        for (number, host) in measured.iter().enumerate() {
            let to = format!("bob@{}", domain(number));
            times.push(self.send(&to, Some(host))?);
        }
        times.sort();
        Ok(Round {
            times,
            questions: self.world.dns.questions().len() - asked,
            cpu: usage::cpu(pid).saturating_sub(cpu),
        })
    }

    /// Sends a mail; how long from its 250 until the host had it.
    fn send(&self, to: &str, host: Option<&MxHost>) -> Result<Duration> {
        let host = host.context("a host")?;
        let before = host.count();
        let mail = "From: a@sender.test\r\nSubject: a mail of the bench\r\n\r\nText.\r\n";
        self.server.send("a@sender.test", &[to], mail);
        let accepted = Instant::now();
        let mails = host.wait_for(before + 1, ARRIVES);
        match mails.get(before) {
            Some(mail) => Ok(mail.at.saturating_duration_since(accepted)),
            None => bail!("{}: {to} got nothing", self.kind.name()),
        }
    }

    /// Full handshakes with hosts, and resumed ones.
    fn handshakes(&self) -> Result<[u64; 2]> {
        let stats: serde_json::Value =
            serde_json::from_str(&self.server.run(&["stats", "--json"]))?;
        let count = |name: &str| {
            let found = stats.pointer(&format!("/counters/{name}"));
            found.or_else(|| stats.get(name))?.as_u64()
        };
        let names = ["tls_handshakes", "tls_resumptions"];
        let [full, resumed] = names.map(|name| count(name).context(name));
        Ok([full?, resumed?])
    }
}

fn site(world: &World, kind: Kind, domain: &str) -> MxHost {
    if kind.is_signed() {
        world.dns.secure_zone(domain);
    }
    let host = world.domain(domain);
    host.set(|b| {
        if kind != Kind::Clear {
            b.starttls = StartTls::Good;
        }
    });
    if kind == Kind::Dane {
        let identity = Identity::worthless();
        host.identify(&identity);
        let data = identity.tlsa(1, 1);
        let name = format!("mx.{domain}");
        world.dns.tlsa(&name, world.port(), (3, 1, 1), &data);
    }
    host
}

/// The hosts of the policies, all in one, and the records.
fn policies(world: &World, sites: usize) -> WebHost {
    let names: Vec<String> = (0..=sites)
        .map(|number| format!("mta-sts.{}", domain(number)))
        .collect();
    let list: Vec<&str> = names.iter().map(String::as_str).collect();
    let web = world.web(&list);
    for (number, name) in names.iter().enumerate() {
        let domain = domain(number);
        let policy =
            format!("version: STSv1\r\nmode: enforce\r\nmx: mx.{domain}\r\nmax_age: 86400\r\n");
        web.answer(name, PATH, WebAnswer::text(policy));
        world
            .dns
            .txt(&format!("_mta-sts.{domain}"), "v=STSv1; id=1;");
    }
    web
}

fn config(world: &World, directory: &Path) -> Result<Config> {
    let ca = world.ca.write(directory)?;
    let mut config = world
        .config()
        .set("tls.extra_roots", [ca.display().to_string()])
        .set("outgoing.mta_sts_port", world.port());
    if let Some(keys) = world.dns.trust_anchor() {
        let anchor = directory.join("root.key");
        std::fs::write(&anchor, keys)?;
        config = config.set("dns.trust_anchor", anchor.display().to_string());
    }
    Ok(config)
}

impl Round {
    fn millis(&self) -> String {
        format!("{:.2}", quantile(&self.times, 0.5).as_secs_f64() * 1000.0)
    }

    fn questions(&self) -> String {
        format!("{:.1}", per(self.questions, self.times.len()))
    }

    fn cpu(&self) -> String {
        format!(
            "{:.2}",
            self.cpu.as_secs_f64() * 1000.0 / per(self.times.len(), 1)
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn per(count: usize, of: usize) -> f64 {
    count as f64 / of.max(1) as f64
}
