//! The servers that are compared: each with a directory of its own, its configuration from
//! `bench/` in the tree, and its queue on a real disk.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::usage;

const SENDOFF: &str = include_str!("../../../../bench/sendoff.toml");
const POSTFIX_MAIN: &str = include_str!("../../../../bench/postfix/main.cf");
const OPENDKIM: &str = include_str!("../../../../bench/opendkim/opendkim.conf");
const POSTFIX_MASTER: &str = include_str!("../../../../bench/postfix/master.cf");

/// Behind the configuration of Sendoff where it signs.
const SIGNING: &str = r#"
[[dkim]]
domain = "sender.test"
selector = "bench"
key_file = "bench.pem"
"#;

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
    /// The processes that all others descend from.
    roots: Vec<u32>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Sendoff(Child),
    Postfix {
        config: PathBuf,
        signer: Option<Child>,
    },
}

impl Contender {
    /// Starts Sendoff: MX look-ups at `dns`, delivery to port `port`, mail signed where there is a
    /// key; `settings` stand behind the others.
    pub(crate) fn sendoff(
        binary: &Path,
        directory: &Path,
        dns: SocketAddr,
        port: u16,
        key: Option<&str>,
        settings: Option<&str>,
    ) -> Result<Self> {
        fresh(directory)?;
        let address = free_address()?;
        let mut config = SENDOFF
            .replace("@DIRECTORY@", &directory.display().to_string())
            .replace("@LISTEN@", &address.to_string())
            .replace("@DNS@", &dns.to_string())
            .replace("@PORT@", &port.to_string());
        if let Some(key) = key {
            key_file(directory, key)?;
            config.push_str(SIGNING);
        }
        config.push_str(settings.unwrap_or_default());
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
            roots: vec![child.id()],
            kind: Kind::Sendoff(child),
        };
        server.wait_until_it_accepts()?;
        Ok(server)
    }

    /// Starts Postfix: everything goes to port `port`, without asking DNS; OpenDKIM signs where there is
    /// a key.
    pub(crate) fn postfix(directory: &Path, port: u16, key: Option<&str>) -> Result<Self> {
        fresh(directory)?;
        let address = free_address()?;
        let filled = |text: &str| {
            text.replace("@DIRECTORY@", &directory.display().to_string())
                .replace("@LISTEN@", &address.to_string())
                .replace("@PORT@", &port.to_string())
        };
        let config = directory.join("etc");
        fs::create_dir(&config)?;
        let mut main = filled(POSTFIX_MAIN);
        let signer = match key {
            Some(key) => {
                let (signer, socket) = opendkim(directory, key)?;
                main.push_str(&format!(
                    "\nsmtpd_milters = unix:{}\nmilter_default_action = tempfail\n",
                    socket.display()
                ));
                Some(signer)
            }
            None => None,
        };
        fs::write(config.join("main.cf"), main)?;
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
            roots: [pid.trim().parse().context("Postfix' process number")?]
                .into_iter()
                .chain(signer.as_ref().map(Child::id))
                .collect(),
            kind: Kind::Postfix { config, signer },
        };
        server.wait_until_it_accepts()?;
        Ok(server)
    }

    /// Ends it.
    pub(crate) fn stop(self) -> Result<()> {
        match self.kind {
            Kind::Postfix { config, signer } => {
                if let Some(mut signer) = signer {
                    signer.kill()?;
                    signer.wait()?;
                }
                run(postfix_command(&config, "stop"))
            }
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

    /// User and system time of its processes.
    pub(crate) fn cpu(&self) -> Duration {
        self.roots.iter().map(|root| usage::cpu(*root)).sum()
    }

    /// Forgets the peaks of memory so far.
    pub(crate) fn forget_peak(&self) {
        self.roots.iter().for_each(|root| usage::forget_peak(*root));
    }

    /// Peak of resident memory, in bytes: the sum of its processes'.
    pub(crate) fn peak(&self) -> u64 {
        self.roots.iter().map(|root| usage::peak(*root)).sum()
    }

    /// Resident memory now, in bytes, what is shared counted once.
    pub(crate) fn proportional(&self) -> u64 {
        let of = |root: &u32| usage::proportional(*root);
        self.roots.iter().map(of).sum()
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

/// The key that both sides sign with, in the form of each side's tools.
fn key_file(directory: &Path, key: &str) -> Result<PathBuf> {
    let file = directory.join("bench.pem");
    fs::write(&file, key)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Starts OpenDKIM; its process, and the socket that it listens on.
fn opendkim(directory: &Path, key: &str) -> Result<(Child, PathBuf)> {
    let key = key_file(directory, key)?;
    let milter = directory.join("milter");
    fs::create_dir(&milter)?;
    run(Command::new("chown").arg("opendkim").arg(key).arg(&milter))?;
    let text = OPENDKIM.replace("@DIRECTORY@", &directory.display().to_string());
    let file = directory.join("opendkim.conf");
    fs::write(&file, text)?;
    let child = Command::new("/usr/sbin/opendkim")
        .arg("-f")
        .arg("-x")
        .arg(&file)
        .stdin(Stdio::null())
        .spawn()
        .context("/usr/sbin/opendkim: install OpenDKIM first")?;
    let begin = Instant::now();
    let socket = milter.join("opendkim");
    while UnixStream::connect(&socket).is_err() {
        if begin.elapsed() > START_MAX {
            bail!("OpenDKIM does not accept at {}", socket.display());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok((child, socket))
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
