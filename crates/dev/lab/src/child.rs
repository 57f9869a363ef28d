//! The server under test, as a child process.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::config::Config;
use crate::scratch::Scratch;

/// The server accepts within this time, or the test has failed.
const START_MAX: Duration = Duration::from_secs(30);
/// A clean shutdown is over within this time.
const STOP_MAX: Duration = Duration::from_secs(30);
/// Time between two looks at something.
const LOOK: Duration = Duration::from_millis(10);

/// A running server with its directory, its configuration file and its log.
#[derive(Debug)]
pub struct Sendoff {
    binary: PathBuf,
    scratch: Scratch,
    config: Config,
    wrapper: Vec<String>,
    child: Option<Child>,
}

impl Sendoff {
    /// Writes the configuration and starts `sendoff serve`; returns when it greets at its first
    /// listener, which must not be one with TLS from the first octet on. `data_dir` and `log.file` are set where the configuration does not.
    ///
    /// # Panics
    /// When the server does not accept in time; its output is in the message.
    #[must_use]
    pub fn start(binary: impl AsRef<Path>, config: Config) -> Self {
        Self::start_in(Scratch::new(), binary, config, &[])
    }

    /// As [`Self::start`], in a directory that is there already, and by a command that runs the
    /// one after it, such as `prlimit --fsize=…`.
    ///
    /// # Panics
    /// When the server does not accept in time; its output is in the message.
    #[must_use]
    pub fn start_in(
        scratch: Scratch,
        binary: impl AsRef<Path>,
        config: Config,
        wrapper: &[&str],
    ) -> Self {
        let mut server = Self {
            binary: binary.as_ref().to_owned(),
            scratch,
            config,
            wrapper: wrapper.iter().map(|&w| w.to_owned()).collect(),
            child: None,
        };
        server.write_config();
        server.spawn();
        server.wait_until_it_accepts();
        server
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.config.server()
    }

    /// A client that is connected and greeted.
    ///
    /// # Panics
    /// When the server does not greet.
    #[must_use]
    pub fn client(&self) -> Client {
        let mut client = Client::connect(self.address()).expect("the server greets");
        client.ehlo().expect("the server answers EHLO");
        client
    }

    /// Hands a mail in and expects 250.
    ///
    /// # Panics
    /// When it is not accepted.
    pub fn send(&self, sender: &str, recipients: &[&str], content: &str) {
        let mut client = self.client();
        let reply = client
            .send_mail(sender, recipients, content.as_bytes())
            .expect("the server answers");
        assert_eq!(reply.code, 250, "{reply}");
    }

    /// The directory with everything of the server.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// The configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.scratch.path().join("sendoff.toml")
    }

    /// Its process number, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The log so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("outgoing.log")).unwrap_or_default()
    }

    /// What it wrote to standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.scratch.path().join("stderr")).unwrap_or_default()
    }

    /// Waits until the log has a line that holds all of these texts; the first such line.
    #[must_use]
    pub fn wait_for_log(&self, texts: &[&str], limit: Duration) -> Option<String> {
        let begin = Instant::now();
        loop {
            let log = self.log();
            let found = log.lines().find(|l| texts.iter().all(|t| l.contains(t)));
            if let Some(line) = found {
                return Some(line.to_owned());
            }
            if begin.elapsed() > limit {
                return None;
            }
            thread::sleep(LOOK);
        }
    }

    /// Runs a command of the same binary with `--config` added.
    ///
    /// # Panics
    /// When the binary cannot be run.
    #[must_use]
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.cli_with_input(arguments, "")
    }

    /// As [`Self::cli`], with something on standard input.
    ///
    /// # Panics
    /// When the binary cannot be run.
    #[must_use]
    pub fn cli_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(&self.binary)
            .args(arguments)
            .arg("--config")
            .arg(self.config_file())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        if let Some(mut stdin) = child.stdin.take() {
            // A command that reads nothing may have ended already.
            drop(stdin.write_all(input.as_bytes()));
        }
        child.wait_with_output().expect("the command ends")
    }

    /// As [`Self::cli`]; its standard output when it succeeds.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments);
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        assert!(
            output.status.success(),
            "`sendoff {}`: {}\n{}{}",
            arguments.join(" "),
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Kills it as a power cut would end the process.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn terminate(&mut self) -> Option<ExitStatus> {
        let pid = self.pid()?;
        self.signal("TERM", pid);
        let begin = Instant::now();
        while begin.elapsed() < STOP_MAX {
            if let Some(status) = self.exited() {
                return Some(status);
            }
            thread::sleep(LOOK);
        }
        self.kill9();
        panic!("no end {} s after SIGTERM", STOP_MAX.as_secs());
    }

    /// Starts it again in the same directory, after [`Self::kill9`] or [`Self::terminate`].
    ///
    /// # Panics
    /// When it does not accept in time.
    pub fn restart(&mut self) {
        self.kill9();
        self.spawn();
        self.wait_until_it_accepts();
    }

    /// Changes the configuration file; the server is not told.
    pub fn reconfigure(&mut self, change: impl FnOnce(Config) -> Config) {
        self.config = change(self.config.clone());
        self.write_config();
    }

    /// Its exit status, if it has ended by itself.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status)
    }

    fn signal(&self, name: &str, pid: u32) {
        let command = format!("kill -{name} {pid}");
        let status = Command::new("sh").args(["-c", &command]).status();
        // The process may have ended just now.
        drop(status);
    }

    fn write_config(&self) {
        let path = |name: &str| self.scratch.path().join(name).display().to_string();
        let text = self
            .config
            .clone()
            .or_set("data_dir", path("data"))
            .or_set("log.file", path("outgoing.log"))
            .text();
        fs::write(self.config_file(), text).expect("a configuration file");
    }

    fn spawn(&mut self) {
        let file = |name: &str| {
            let path = self.scratch.path().join(name);
            File::options().create(true).append(true).open(path)
        };
        let mut words = self.wrapper.iter().map(PathBuf::from).collect::<Vec<_>>();
        words.push(self.binary.clone());
        let (program, before) = words.split_first().expect("the binary at least");
        let child = Command::new(program)
            .args(before)
            .arg("serve")
            .arg("--config")
            .arg(self.config_file())
            .stdin(Stdio::null())
            .stdout(file("stdout").expect("a file for output"))
            .stderr(file("stderr").expect("a file for output"))
            .spawn()
            .unwrap_or_else(|e| panic!("{} cannot be run: {e}", program.display()));
        self.child = Some(child);
    }

    fn wait_until_it_accepts(&mut self) {
        let begin = Instant::now();
        while begin.elapsed() < START_MAX {
            if let Some(status) = self.exited() {
                panic!("the server ended with {status}: {}", self.stderr());
            }
            if Client::connect(self.address()).is_ok() {
                return;
            }
            thread::sleep(LOOK);
        }
        panic!("the server does not greet: {}", self.stderr());
    }
}

impl Drop for Sendoff {
    fn drop(&mut self) {
        self.kill9();
    }
}
