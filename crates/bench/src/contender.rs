//! The servers that are compared: each with a directory of its own, its configuration from
//! `bench/` in the tree, and its queue on a real disk.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

const SENDOFF: &str = include_str!("../../../bench/sendoff.toml");
const POSTFIX_MAIN: &str = include_str!("../../../bench/postfix/main.cf");
const POSTFIX_MASTER: &str = include_str!("../../../bench/postfix/master.cf");

/// A server accepts within this time.
const START_MAX: Duration = Duration::from_secs(30);
/// And ends within this time.
const STOP_MAX: Duration = Duration::from_secs(30);

/// A running server.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// Where mail is handed in.
    pub(crate) address: SocketAddr,
    /// The process that all others descend from.
    pub(crate) root: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Sendoff(Child),
    Postfix { config: PathBuf },
}

impl Contender {
    /// Starts Sendoff: MX look-ups at `dns`, delivery to port `port`.
    pub(crate) fn sendoff(
        binary: &Path,
        directory: &Path,
        dns: SocketAddr,
        port: u16,
    ) -> Result<Self> {
        fresh(directory)?;
        let address = free_address()?;
        let config = SENDOFF
            .replace("@DIRECTORY@", &directory.display().to_string())
            .replace("@LISTEN@", &address.to_string())
            .replace("@DNS@", &dns.to_string())
            .replace("@PORT@", &port.to_string());
        let file = directory.join("sendoff.toml");
        fs::write(&file, config)?;
        let child = Command::new(binary)
            .arg("serve")
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("{}: build it first", binary.display()))?;
        let server = Self {
            name: "Sendoff",
            address,
            root: child.id(),
            kind: Kind::Sendoff(child),
        };
        server.wait_until_it_accepts()?;
        Ok(server)
    }

    /// Starts Postfix: everything goes to port `port`, without asking DNS.
    pub(crate) fn postfix(directory: &Path, port: u16) -> Result<Self> {
        fresh(directory)?;
        let address = free_address()?;
        let filled = |text: &str| {
            text.replace("@DIRECTORY@", &directory.display().to_string())
                .replace("@LISTEN@", &address.to_string())
                .replace("@PORT@", &port.to_string())
        };
        let config = directory.join("etc");
        fs::create_dir(&config)?;
        fs::write(config.join("main.cf"), filled(POSTFIX_MAIN))?;
        fs::write(config.join("master.cf"), filled(POSTFIX_MASTER))?;
        fs::create_dir(directory.join("queue"))?;
        fs::create_dir(directory.join("data"))?;
        let data = directory.join("data");
        run(Command::new("chown").arg("postfix").arg(data))?;
        run(postfix_command(&config, "start"))?;
        let pid = directory.join("queue/pid/master.pid");
        let pid = fs::read_to_string(&pid).with_context(|| pid.display().to_string())?;
        let server = Self {
            name: "Postfix",
            address,
            root: pid.trim().parse().context("Postfix' process number")?,
            kind: Kind::Postfix { config },
        };
        server.wait_until_it_accepts()?;
        Ok(server)
    }

    /// Ends it.
    pub(crate) fn stop(self) -> Result<()> {
        match self.kind {
            Kind::Postfix { config } => run(postfix_command(&config, "stop")),
            Kind::Sendoff(mut child) => {
                run(Command::new("kill").arg(child.id().to_string()))?;
                let begin = Instant::now();
                while begin.elapsed() < STOP_MAX {
                    if child.try_wait()?.is_some() {
                        return Ok(());
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                child.kill()?;
                bail!("no end {} s after SIGTERM", STOP_MAX.as_secs())
            }
        }
    }

    fn wait_until_it_accepts(&self) -> Result<()> {
        let begin = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if begin.elapsed() > START_MAX {
                bail!("{} does not accept", self.name);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// An empty directory.
fn fresh(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())
}

/// An address of loopback at which nobody listens.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn postfix_command(config: &Path, verb: &str) -> Command {
    let mut command = Command::new("/usr/sbin/postfix");
    command.arg("-c").arg(config).arg(verb);
    command
}

fn run(mut command: impl std::borrow::BorrowMut<Command>) -> Result<()> {
    let command = command.borrow_mut();
    let name = format!("{command:?}");
    let output = command.output().with_context(|| name.clone())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(anyhow!(
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}
