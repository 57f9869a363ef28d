//! What every case needs: a world with a sender's domain, a server, and words for mails.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lab::{Config, MxHost, Received, Scratch, Sendoff, World};
use serde_json::Value;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_sendoff");
/// Who sends; failure messages go to this domain's host.
pub(crate) const SENDER: &str = "ann@origin.example";
/// What must happen happens within this time, on a slow machine too.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// What must not happen would have happened within this time.
pub(crate) const A_WHILE: Duration = Duration::from_millis(1500);

/// A world with a sender's domain.
pub(crate) struct Scene {
    pub(crate) world: World,
    /// The host of the sender's domain.
    pub(crate) origin: MxHost,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let world = World::new();
        world.dns.ttl(Duration::from_secs(1));
        let origin = world.domain("origin.example");
        Self { world, origin }
    }

    /// Three re-sends, a second apart.
    pub(crate) fn config(&self) -> Config {
        self.world
            .config()
            .set("outgoing.resend_attempts", 3)
            .set("outgoing.resend_wait", "1s")
    }

    pub(crate) fn start(&self) -> Sendoff {
        Sendoff::start(BINARY, self.config())
    }

    /// A server that trusts the world's CA.
    pub(crate) fn start_trusting(&self, config: Config) -> Sendoff {
        let scratch = Scratch::new();
        let ca = self
            .world
            .ca
            .write(scratch.path())
            .expect("a file for the CA");
        let roots = [ca.display().to_string()];
        Sendoff::start_in(scratch, BINARY, config.set("tls.extra_roots", roots), &[])
    }

    /// The failure message that the sender gets.
    pub(crate) fn failure(&self) -> Dsn {
        let mails = self.origin.wait_for(1, SOON);
        let mail = mails.first().expect("a failure message within the time");
        assert_eq!(mail.sender, "", "a failure message has no reverse-path");
        Dsn::parse(&mail.content)
    }

    /// The sender hears nothing, for a while.
    pub(crate) fn assert_no_failure(&self) {
        let mails = self.origin.wait_for(1, A_WHILE);
        assert!(
            mails.is_empty(),
            "{}",
            mails.first().map(Received::text).unwrap_or_default()
        );
    }
}

/// A mail with this subject.
pub(crate) fn mail(subject: &str) -> String {
    format!("From: <{SENDER}>\r\nSubject: {subject}\r\n\r\nHello.\r\n")
}

/// A mail of about so many octets.
pub(crate) fn mail_of(subject: &str, size: usize) -> String {
    let mut text = mail(subject);
    while text.len() < size {
        text.push_str("All work and no play makes a dull mail, and this one is long as well.\r\n");
    }
    text
}

/// Hands in one mail for one recipient.
pub(crate) fn send(server: &Sendoff, recipient: &str) {
    server.send(SENDER, &[recipient], &mail("a case"));
}

/// Hands in one mail, with parameters behind each path: `<bob@x.example> NOTIFY=NEVER`.
pub(crate) fn send_with(server: &Sendoff, params: &str, to: &[&str], content: &[u8]) {
    let mut client = server.client();
    let start = format!("MAIL FROM:<{SENDER}> {params}");
    client.expect(start.trim_end(), 250).expect("MAIL is taken");
    for path in to {
        let line = format!("RCPT TO:{path}");
        client.expect(&line, 250).expect("RCPT is taken");
    }
    client.expect("DATA", 354).expect("DATA is taken");
    let reply = client.content(content).expect("the server answers");
    assert_eq!(reply.code, 250, "{reply}");
}

/// Hands in a mail for each number, over one connection, with the number as its subject.
pub(crate) fn send_many(server: &Sendoff, count: usize, recipient: impl Fn(usize) -> String) {
    let mut client = server.client();
    for number in 0..count {
        let content = mail(&number.to_string());
        let reply = client.send_mail(SENDER, &[&recipient(number)], content.as_bytes());
        let reply = reply.expect("the server answers");
        assert_eq!(reply.code, 250, "{reply}");
    }
}

/// The subjects of mails.
pub(crate) fn subjects(mails: &[Received]) -> Vec<String> {
    mails.iter().filter_map(|m| m.header("subject")).collect()
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(
            begin.elapsed() < limit,
            "not within {} s: {what}",
            limit.as_secs()
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// The waiting recipients, as `queue list --json` gives them.
pub(crate) fn queue(server: &Sendoff) -> Vec<Value> {
    let text = server.run(&["queue", "list", "--json", "--limit", "100000"]);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("no JSON ({e}): {text}"))
}

/// Lines of the log that hold all of these texts.
pub(crate) fn log_lines(server: &Sendoff, texts: &[&str]) -> Vec<String> {
    let log = server.log();
    let fits = |line: &&str| texts.iter().all(|t| line.contains(t));
    log.lines().filter(fits).map(str::to_owned).collect()
}

/// What a Python script prints about a mail, as JSON: an independent judge.
pub(crate) fn python(script: &str, content: &[u8]) -> Value {
    judged_by("python3".as_ref(), &[script], content)
}

/// As [`python`], by this interpreter and with arguments for the script.
pub(crate) fn judged_by(interpreter: &Path, script: &[&str], content: &[u8]) -> Value {
    let mut python = Command::new(interpreter)
        .arg("-c")
        .args(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut stdin = python.stdin.take().expect("a pipe to python3");
    stdin.write_all(content).expect("python3 reads");
    drop(stdin);
    let output = python.wait_with_output().expect("python3 ends");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(content)
    );
    serde_json::from_slice(&output.stdout).expect("JSON from python3")
}

/// Without an interpreter a test ends here, and `cargo xtask test` knows by these words that it was passed over.
pub(crate) fn needs_python() {
    let version = Command::new("python3").arg("--version").output();
    version.expect("python3 runs");
}

/// The Python that has the judges.
pub(crate) fn judge() -> PathBuf {
    if let Some(python) = std::env::var_os("SENDOFF_PYTHON") {
        return python.into();
    }
    let target = Path::new(BINARY).ancestors().nth(2);
    let python = target
        .expect("a target directory")
        .join("judges/bin/python");
    assert!(
        python.exists(),
        "the tests verify signatures with packages from PyPI: `cargo xtask judges` fetches them"
    );
    python
}

/// A failure message as Python's `email` package reads it.
#[derive(Debug)]
pub(crate) struct Dsn {
    json: Value,
}

const READ_DSN: &str = r#"
import email, email.policy, json, sys
raw = sys.stdin.buffer.read()
m = email.message_from_bytes(raw, policy=email.policy.default)
defects = [repr(d) for p in m.walk() for d in p.defects]
parts = list(m.iter_parts())
status = parts[1].get_payload()
fields = lambda block: {k.lower(): str(v) for k, v in block.items()}
print(json.dumps({
    "type": m.get_content_type(),
    "report": m.get_param("report-type"),
    "from": str(m["from"]), "to": str(m["to"]), "subject": str(m["subject"]),
    "auto": str(m["auto-submitted"]),
    "parts": [p.get_content_type() for p in parts],
    "text": parts[0].get_content(),
    "message": fields(status[0]),
    "recipients": [fields(b) for b in status[1:] if b.items()],
    "defects": defects,
}))
"#;

impl Dsn {
    pub(crate) fn parse(content: &[u8]) -> Self {
        let json = python(READ_DSN, content);
        let dsn = Self { json };
        assert_eq!(dsn.text("/type"), "multipart/report");
        assert_eq!(dsn.text("/report"), "delivery-status");
        assert_eq!(dsn.text("/parts/0"), "text/plain");
        assert_eq!(dsn.text("/parts/1"), "message/delivery-status");
        assert_eq!(dsn.json.pointer("/defects"), Some(&Value::Array(vec![])));
        dsn
    }

    /// A string in it, by JSON pointer.
    pub(crate) fn text(&self, pointer: &str) -> String {
        let found = self.json.pointer(pointer).and_then(Value::as_str);
        found
            .unwrap_or_else(|| panic!("no {pointer} in {}", self.json))
            .to_owned()
    }

    /// How many recipients it is about.
    pub(crate) fn count(&self) -> usize {
        self.json
            .pointer("/recipients")
            .and_then(Value::as_array)
            .map_or(0, Vec::len)
    }

    fn block(&self, recipient: &str) -> Option<&Value> {
        let blocks = self.json.pointer("/recipients").and_then(Value::as_array);
        let about = |block: &&Value| {
            let is = block.pointer("/final-recipient").and_then(Value::as_str);
            is.is_some_and(|r| r.trim_end().ends_with(recipient))
        };
        blocks.and_then(|b| b.iter().find(about))
    }

    /// Whether it is about a recipient.
    pub(crate) fn names(&self, recipient: &str) -> bool {
        self.block(recipient).is_some()
    }

    /// A field of the block about a recipient.
    pub(crate) fn field(&self, recipient: &str, field: &str) -> String {
        let block = self.block(recipient);
        let value = block.and_then(|b| b.get(field)).and_then(Value::as_str);
        value
            .unwrap_or_else(|| panic!("no {field} for {recipient} in {}", self.json))
            .to_owned()
    }

    /// The one recipient it is about has failed with this status.
    pub(crate) fn assert_failed(&self, recipient: &str, status: &str) {
        assert_eq!(self.count(), 1, "{}", self.json);
        assert_eq!(self.field(recipient, "action"), "failed");
        assert_eq!(self.field(recipient, "status"), status, "{}", self.json);
    }
}

/// Recipients `NAME0@DOMAIN` and so on.
pub(crate) fn recipients(name: &str, domain: &str, count: usize) -> Vec<String> {
    let recipient = |number| {
        let mut text = String::new();
        write!(text, "{name}{number}@{domain}").expect("a string takes everything");
        text
    };
    (0..count).map(recipient).collect()
}

/// What a command says that is given this on standard input.
pub(crate) fn feed(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A command that refuses its arguments reads nothing.
    drop(stdin.write_all(input));
    drop(stdin);
    child.wait_with_output().expect("the command ends")
}

/// Says aloud that something is not tested here.
pub(crate) fn not_tested(why: &str) {
    drop(writeln!(std::io::stderr(), "NOT TESTED: {why}"));
}
