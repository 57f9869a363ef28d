//! `sendoff demo`: the real server against a small world on loopback, to look at.
//!
//! Nothing of the server is different here: it is started from a configuration file, listens,
//! queues on disk, asks the world's DNS and delivers to its hosts. What is printed is read from
//! its own log.

mod past;
mod traffic;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use cli::DemoArgs;
use config::Config;
use daemon::{self, Started};
use lab::{Client, DemoMail, DemoWorld, demo_world};
use serde_json::Value;
use terminal::print;
use tokio_util::sync::CancellationToken;

/// How often the log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The demonstration ends by itself after this time, whatever happens.
const ENDS_AFTER: Duration = Duration::from_secs(120);

/// Runs it.
pub(crate) async fn run(args: DemoArgs) -> Result<()> {
    let world = tokio::task::spawn_blocking(demo_world).await?;
    let dir = std::env::temp_dir().join(format!("sendoff-demo-{}", std::process::id()));
    // It may not be there: others could have laid out links in it.
    let made = std::fs::DirBuilder::new().mode(0o700).create(&dir);
    made.with_context(|| format!("making {}", dir.display()))?;
    let path = dir.join("sendoff.toml");
    std::fs::write(&path, configuration(&world, &dir, args.keep))?;
    let config = Config::load(&path)?;
    if args.keep {
        past::write(&config).context("making up a past")?;
    }
    let address = *config
        .listeners
        .first()
        .ok_or_else(|| anyhow!("no listener"))?;
    let stop = CancellationToken::new();
    let mut server = tokio::spawn(daemon::serve(Started::open(config)?, stop.clone()));
    introduce(&path, address, &world);
    tokio::select! {
        ended = &mut server => return ended?,
        submitted = submit(address, world.mails.clone()) => submitted?,
    }
    if args.keep {
        let link = console_link(&dir, world.world.console()).await;
        invite(&path, address, world.world.console(), &link);
        tokio::spawn(traffic::go_on(address, stop.clone()));
    }
    let mut view = View::new(dir.join("log/outgoing.log"), &world.mails);
    let began = Instant::now();
    while !server.is_finished() {
        view.look()?;
        let over = view.is_over() && world_heard(&world, &view) || began.elapsed() > ENDS_AFTER;
        if over && !args.keep {
            break;
        }
        if over && !view.said_goodbye {
            view.sum_up(&world);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    if !view.said_goodbye {
        view.sum_up(&world);
    }
    stop.cancel();
    server.await??;
    std::fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))
}

/// Where the console is opened; without the link that lets in, where none can be made.
async fn console_link(dir: &Path, console: SocketAddr) -> String {
    let dir = dir.to_owned();
    let asked = tokio::task::spawn_blocking(move || cli::console_link(&dir)).await;
    let path = match asked {
        Ok(Ok(path)) => path,
        Ok(Err(_)) | Err(_) => "/".to_owned(),
    };
    format!("http://{console}{path}")
}

fn configuration(world: &DemoWorld, dir: &Path, keep: bool) -> String {
    // Who looks at waiting mail needs some that waits.
    let (attempts, wait) = if keep { (20, "30s") } else { (5, "3s") };
    format!(
        "# The configuration of the demonstration.\n\
         hostname = \"mail.sender.example\"\n\
         data_dir = {:?}\n\n\
         [[listener]]\n\
         address = \"{}\"\n\n\
         [console]\n\
         address = \"{}\"\n\n\
         [queue]\n\
         segment_size = \"8MiB\"   # small, for the demonstration\n\n\
         [outgoing]\n\
         resend_attempts = {attempts}\n\
         resend_wait = \"{wait}\"        # the default is five minutes\n\
         smtp_port = {}\n\
         refuse_networks = []      # all hosts of the demonstration are on loopback\n\n\
         [outgoing.timeouts]\n\
         connect = \"5s\"\n\n\
         [dns]\n\
         servers = [\"{}\"]\n\
         detect_if_given_fail = false\n\n\
         [log]\n\
         format = \"json\"           # read by the demonstration\n",
        dir.display().to_string(),
        world.world.server(),
        world.world.console(),
        world.world.port(),
        world.world.dns.address(),
    )
}

fn introduce(path: &Path, address: SocketAddr, world: &DemoWorld) {
    let mut text = String::from(
        "The real Sendoff server in a simulated world on this computer: a DNS server, and a\n\
         dozen domains with mail hosts, each with a different behaviour.\n\n",
    );
    text.push_str(&format!(
        "  accepts mail at    {address}\n  configuration      {}\n\n",
        path.display()
    ));
    text.push_str("These messages are submitted by SMTP:\n\n");
    for mail in &world.mails {
        text.push_str(&format!("  {:<24} {}\n", mail.recipient, mail.expected));
    }
    text.push_str("\nWhat happens, from the server's log (seconds, recipient, event):\n\n");
    print(&text);
}

fn invite(path: &Path, address: SocketAddr, console: SocketAddr, link: &str) {
    print(&format!(
        "\nThe server keeps running, with new mail all the time; Ctrl-C stops it. Look at it in a browser (the link\n\
         works once; the three days before now are simulated, as is said by their submitter, {submitter}):\n\n\
         \x20 {link}\n\n\
         Or try, in another terminal:\n\n\
         \x20 swaks --server {address} --from you@sender.example --to bob@good.example\n\
         \x20 sendoff --config {0} queue list\n\
         \x20 sendoff --config {0} site list\n\
         \x20 curl http://{console}/metrics\n\n",
        path.display(),
        submitter = past::SUBMITTER,
    ));
}

async fn submit(address: SocketAddr, mails: Vec<DemoMail>) -> Result<()> {
    let give_up = Instant::now() + Duration::from_secs(20);
    let mut client = loop {
        match tokio::task::spawn_blocking(move || Client::connect(address)).await? {
            Ok(client) => break client,
            Err(error) if Instant::now() > give_up => return Err(error.into()),
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    };
    tokio::task::spawn_blocking(move || {
        client.ehlo()?;
        for mail in mails {
            let content = format!(
                "From: <{}>\r\nTo: <{}>\r\nSubject: {}\r\n\r\nSent by the demonstration.\r\n",
                mail.sender, mail.recipient, mail.subject
            );
            let reply = client.send_mail(mail.sender, &[mail.recipient], content.as_bytes())?;
            if reply.code != 250 {
                return Err(anyhow!("{} was not accepted: {reply}", mail.recipient));
            }
        }
        client.expect("QUIT", 221)?;
        Ok(())
    })
    .await?
}

/// Whether the failure messages have arrived that the failures call for.
fn world_heard(world: &DemoWorld, view: &View) -> bool {
    let failed = view
        .ends
        .values()
        .filter(|(outcome, _)| outcome == "failed")
        .count();
    reports(world) >= failed
}

fn reports(world: &DemoWorld) -> usize {
    let theirs = world
        .hosts
        .iter()
        .filter(|h| h.name().ends_with("sender.example"));
    theirs.map(|h| h.count()).sum()
}

/// What has been seen in the log.
struct View {
    path: PathBuf,
    position: u64,
    rest: String,
    began: Instant,
    /// Recipients by message, to name them where the log speaks of the message.
    expected: Vec<DemoMail>,
    /// Outcome and attempts by recipient.
    ends: BTreeMap<String, (String, u64)>,
    said_goodbye: bool,
}

impl View {
    fn new(path: PathBuf, mails: &[DemoMail]) -> Self {
        Self {
            path,
            position: 0,
            rest: String::new(),
            began: Instant::now(),
            expected: mails.to_vec(),
            ends: BTreeMap::new(),
            said_goodbye: false,
        }
    }

    fn is_over(&self) -> bool {
        self.expected
            .iter()
            .all(|m| self.ends.contains_key(m.recipient))
    }

    /// Prints what is new in the log.
    fn look(&mut self) -> Result<()> {
        let mut file = std::fs::File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.position))?;
        let read = file.read_to_string(&mut self.rest)?;
        self.position += read as u64;
        while let Some((line, rest)) = self.rest.split_once('\n') {
            let value = serde_json::from_str::<Value>(line);
            self.rest = rest.to_owned();
            if let Ok(value) = value {
                self.show(&value);
            }
        }
        Ok(())
    }

    fn show(&mut self, line: &Value) {
        let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
        let attempt = line
            .get("attempt")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let to = text("to").trim_matches(['<', '>']).to_owned();
        let (who, what) = match text("event") {
            "accepted" if text("via") == "smtp" => (to, format!("accepted as {}", text("id"))),
            "mx" => (text("domain").to_owned(), format!("MX: {}", text("hosts"))),
            "report" => (
                to,
                format!("gets a failure message about {}", text("about")),
            ),
            outcome @ ("delivered" | "deferred" | "failed" | "expired") => {
                if outcome != "deferred" {
                    self.ends.insert(to.clone(), (outcome.to_owned(), attempt));
                }
                let host = match text("host") {
                    "" => String::new(),
                    host => format!(" by {}", host.split('[').next().unwrap_or(host)),
                };
                let tls = match text("tls") {
                    "encrypted" => ", encrypted",
                    _ => "",
                };
                (
                    to,
                    format!(
                        "{outcome}{host} at attempt {attempt}{tls}: {}",
                        text("reply")
                    ),
                )
            }
            _ => return,
        };
        let seconds = self.began.elapsed().as_secs_f64();
        let what: String = what.chars().take(110).collect();
        print(&format!("{seconds:6.2}  {who:<24} {what}\n"));
    }

    /// What came of each mail, beside what was expected.
    fn sum_up(&mut self, world: &DemoWorld) {
        self.said_goodbye = true;
        let mut text = String::from("\nThe result for each message:\n\n");
        for mail in &self.expected {
            let (outcome, attempts) = match self.ends.get(mail.recipient) {
                Some((outcome, attempts)) => (outcome.as_str(), *attempts),
                None => ("still waiting", 0),
            };
            let line = format!(
                "  {:<24} {outcome:<10} attempts: {attempts}   ({})",
                mail.recipient, mail.expected
            );
            // Writing to a String cannot fail.
            writeln!(text, "{line}").unwrap_or_default();
        }
        text.push_str(&format!(
            "\n{} failure messages arrived at anna@sender.example. Here is one:\n\n",
            reports(world)
        ));
        let theirs = world
            .hosts
            .iter()
            .filter(|h| h.name().ends_with("sender.example"));
        let first = theirs.flat_map(|h| h.received()).next();
        if let Some(report) = first {
            let content = String::from_utf8_lossy(&report.content).into_owned();
            let words = content
                .split("charset=utf-8\r\n\r\n")
                .nth(1)
                .unwrap_or_default();
            for line in words.lines().take_while(|line| !line.starts_with("--")) {
                text.push_str(&format!("  | {line}\n"));
            }
        }
        print(&text);
    }
}
