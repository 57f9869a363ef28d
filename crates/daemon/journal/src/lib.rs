//! The log: one line an event, text or JSON, written by one thread that rotates its file.
//!
//! Lines are made where the event happens and cost no wait there. A line about something durable
//! is sent only once it is durable; that is its sender's part.
//!
//! Mail never waits for the log: where lines cannot be written as fast as they are made (a pipe
//! that nobody reads, a disk that hangs), `WAITING_MAX` octets of them wait, and what comes on
//! top is left out, counted, and said in the log as soon as it can be written again.
//!
//! [`logbook`] reads what was written for commands, and [`bounded`] for the server itself: no other crate knows the form
//! of a line.

pub mod bounded;
pub mod logbook;

use parking_lot::{Mutex, RwLock};
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use config::LogSettings;
use mail::Timestamp;

/// Lines are gathered for so long before they are written.
const GATHER: Duration = Duration::from_millis(3);

/// At most so many octets of lines wait to be written.
const WAITING_MAX: usize = 32 << 20;

/// The end of the server waits so long for a log of which nothing more is written, ...
const STUCK: Duration = Duration::from_secs(2);
/// ... and so long for one that is written slowly.
const SLOW: Duration = Duration::from_secs(15);

/// Where lines go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    lines: Sender<Message>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    json: bool,
    /// Something is logged in detail: a quick look before a closer one.
    some_detail: AtomicBool,
    detail: RwLock<Detail>,
    /// Closed by the writer's end.
    written: Mutex<Option<Receiver<()>>>,
    backlog: Backlog,
}

impl Shared {
    fn line(&self, at: Timestamp, event: &str) -> Text {
        Text::begin(self.json, at, event)
    }
}

/// What waits for the log's thread, and what was left out.
#[derive(Debug, Default)]
struct Backlog {
    /// Octets of lines that wait.
    waiting: AtomicUsize,
    /// Lines that were left out, ever.
    lost: AtomicU64,
    /// Those of them that the log does not say yet.
    unsaid: Mutex<Option<Gap>>,
}

#[derive(Debug, Clone, Copy)]
struct Gap {
    lines: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Backlog {
    /// Room for a line; without, it is left out.
    fn take(&self, octets: usize) -> bool {
        let before = self.waiting.fetch_add(octets, Ordering::Relaxed);
        if before > WAITING_MAX {
            self.waiting.fetch_sub(octets, Ordering::Relaxed);
            self.leave_out(net::now());
            return false;
        }
        true
    }

    fn give_back(&self, octets: usize) {
        self.waiting.fetch_sub(octets, Ordering::Relaxed);
    }

    fn leave_out(&self, now: Timestamp) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        let mut unsaid = self.unsaid.lock();
        let gap = unsaid.get_or_insert(Gap {
            lines: 0,
            first: now,
            last: now,
        });
        gap.lines += 1;
        gap.last = now;
    }

    fn take_gap(&self) -> Option<Gap> {
        let mut unsaid = self.unsaid.lock();
        unsaid.take()
    }
}

#[derive(Debug, Default)]
struct Detail {
    /// Everything, until then.
    all: Option<Timestamp>,
    /// These names, each until its time.
    only: Vec<(String, Timestamp)>,
}

enum Message {
    Line(String),
    Stop,
}

impl Journal {
    /// Opens the log and starts its thread.
    pub fn open(settings: &LogSettings) -> io::Result<Self> {
        let target: Box<dyn Output> = match &settings.file {
            Some(path) => Box::new(LogFile::open(path, settings)?),
            None => Box::new(Stdout),
        };
        Self::to(target, settings)
    }

    fn to(output: Box<dyn Output>, settings: &LogSettings) -> io::Result<Self> {
        let (lines, received) = channel();
        let (at_end, written) = channel();
        let shared = Arc::new(Shared {
            json: settings.json,
            some_detail: AtomicBool::new(settings.detailed),
            detail: RwLock::new(Detail {
                all: settings.detailed.then_some(Timestamp::MAX),
                only: Vec::new(),
            }),
            written: Mutex::new(Some(written)),
            backlog: Backlog::default(),
        });
        let mut writer = Writer {
            output,
            shared: Arc::clone(&shared),
            complained: false,
        };
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                writer.run(&received);
                drop(at_end);
            })?;
        Ok(Self { lines, shared })
    }

    /// Begins a line about `event`.
    pub fn line(&self, at: Timestamp, event: &str) -> Line<'_> {
        Line {
            journal: self,
            text: self.shared.line(at, event),
        }
    }

    /// Lines that were left out of the log since the start, because it could not be written as
    /// fast as they were made, or not at all.
    pub fn lost(&self) -> u64 {
        self.shared.backlog.lost.load(Ordering::Relaxed)
    }

    /// Whether anything at all is logged in detail.
    pub fn has_detail(&self) -> bool {
        self.shared.some_detail.load(Ordering::Relaxed)
    }

    /// Whether the talk with, or about, one of these names (domains, addresses) is wanted.
    pub fn is_detailed(&self, names: &[&str]) -> bool {
        if !self.has_detail() {
            return false;
        }
        let detail = self.shared.detail.read();
        detail.all.is_some()
            || detail
                .only
                .iter()
                .any(|(o, _)| names.iter().any(|n| n.eq_ignore_ascii_case(o)))
    }

    /// Switches the detailed log for everything, or for one domain, address or message: on until a
    /// time, when [`Journal::expire_detail`] ends it, or off.
    pub fn set_detailed(&self, only: Option<&str>, until: Option<Timestamp>) {
        let mut detail = self.shared.detail.write();
        match only {
            None => {
                detail.all = until;
                if until.is_none() {
                    detail.only.clear();
                }
            }
            Some(name) => {
                detail.only.retain(|(o, _)| !o.eq_ignore_ascii_case(name));
                if let Some(until) = until {
                    detail.only.push((name.to_owned(), until));
                }
            }
        }
        self.note_detail(&detail);
    }

    /// What is logged in detail at present, in words: for what, and until when.
    #[must_use]
    pub fn details(&self) -> Vec<String> {
        let detail = self.shared.detail.read();
        let all = detail.all.map(|until| ("everything".to_owned(), until));
        let all = all.into_iter().chain(detail.only.iter().cloned());
        let words = |(what, until): (String, Timestamp)| match until {
            Timestamp::MAX => what,
            until => format!("{what} until {until}"),
        };
        all.map(words).collect()
    }

    fn note_detail(&self, detail: &Detail) {
        let some = detail.all.is_some() || !detail.only.is_empty();
        self.shared.some_detail.store(some, Ordering::Relaxed);
    }

    /// Ends what was to be logged in detail until now.
    pub fn expire_detail(&self, now: Timestamp) {
        let mut detail = self.shared.detail.write();
        detail.all = detail.all.filter(|until| *until > now);
        detail.only.retain(|(_, until)| *until > now);
        self.note_detail(&detail);
    }

    /// Writes what is left and closes the file; a log that nobody reads is given up after a while.
    pub fn close(&self) {
        let written = self.shared.written.lock().take();
        if let Some(written) = written
            && self.lines.send(Message::Stop).is_ok()
            && !self.wait(&written)
        {
            terminal::complain(
                "the log could not be written completely: nobody reads it, or its disk does not respond",
            );
        }
    }

    /// Whether all is written.
    fn wait(&self, written: &Receiver<()>) -> bool {
        let waiting = || self.shared.backlog.waiting.load(Ordering::Relaxed);
        let began = Instant::now();
        let mut left = waiting();
        while began.elapsed() < SLOW {
            if written.recv_timeout(STUCK) == Err(RecvTimeoutError::Disconnected) {
                return true;
            }
            if std::mem::replace(&mut left, waiting()) == left {
                return false;
            }
        }
        false
    }
}

/// A line being made.
#[derive(Debug)]
pub struct Line<'a> {
    journal: &'a Journal,
    text: Text,
}

impl Line<'_> {
    /// Adds a field.
    pub fn field(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.text.field(name, value);
        self
    }

    /// Adds a field if there is a value.
    pub fn maybe(self, name: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    /// Hands the line over.
    pub fn send(self) {
        let text = self.text.end();
        if self.journal.shared.backlog.take(text.len()) {
            // After the end there is nobody left to write it.
            drop(self.journal.lines.send(Message::Line(text)));
        }
    }
}

/// Fields whose values are numbers: in JSON they are written as such.
const NUMBERS: [&str; 18] = [
    "and-more",
    "attempt",
    "bytes",
    "changed",
    "count",
    "entries",
    "events",
    "failures",
    "held",
    "limit",
    "lines",
    "octets",
    "recipients",
    "reserve",
    "size",
    "unchanged",
    "unsent",
    "waiting",
];

/// A line as it is written.
#[derive(Debug)]
struct Text {
    json: bool,
    text: String,
}

impl Text {
    fn begin(json: bool, at: Timestamp, event: &str) -> Self {
        let mut text = String::with_capacity(256);
        let result = if json {
            write!(text, "{{\"time\":\"{at}\",\"event\":\"{event}\"")
        } else {
            write!(text, "{at} {event}")
        };
        // Writing to a String cannot fail.
        debug_assert!(result.is_ok());
        Self { json, text }
    }

    fn field(&mut self, name: &str, value: impl fmt::Display) {
        self.text.push_str(if self.json { ",\"" } else { " " });
        self.text.push_str(name);
        self.text.push_str(if self.json { "\":" } else { "=" });
        let start = self.text.len();
        if write!(self.text, "{value}").is_ok() {
            let value = self.text.get(start..).unwrap_or_default();
            let is_number = self.json && NUMBERS.contains(&name) && value.parse::<u64>().is_ok();
            if (self.json && !is_number) || !stands_alone(value) {
                let value = self.text.split_off(start);
                // JSON's quoting is readable in text too, and keeps a value on its line.
                let quoted = serde_json::Value::String(value).to_string();
                self.text.push_str(&mail::visible(&quoted));
            }
        }
    }

    fn end(mut self) -> String {
        self.text.push_str(if self.json { "}\n" } else { "\n" });
        self.text
    }
}

/// Whether a value may stand without quotes.
fn stands_alone(value: &str) -> bool {
    let is_plain = |b: u8| matches!(b, b'!'..=b'~') & (b != b'"') & (b != b'\\');
    let needs_quotes = |c: char| matches!(c, ' ' | '"' | '\\') || mail::is_hidden(c);
    // Most values are printable ASCII, which is seen without looking at characters, many octets at once.
    let all_plain = value.bytes().fold(true, |all, b| all & is_plain(b));
    !value.is_empty() && (all_plain || !value.contains(needs_quotes))
}

/// Where lines go.
trait Output: Send {
    fn line(&mut self, line: &str) -> io::Result<()>;
    fn flush(&mut self) -> io::Result<()>;
}

struct Stdout;

impl Output for Stdout {
    fn line(&mut self, line: &str) -> io::Result<()> {
        io::stdout().write_all(line.as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// The log is read by members of the group as well, who may steer the server by its socket.
const LOG_MODE: u32 = 0o640;
/// The directories of the log that are made here: its owner and the group read it.
pub const LOG_DIR_MODE: u32 = 0o750;

struct LogFile {
    path: PathBuf,
    file: BufWriter<File>,
    written: u64,
    rotate_bytes: u64,
    keep: u32,
}

impl LogFile {
    fn open(path: &Path, settings: &LogSettings) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            net::make_dir(dir, LOG_DIR_MODE)?;
        }
        let file = net::open_appending(path, LOG_MODE)?;
        Ok(Self {
            path: path.to_owned(),
            written: file.metadata()?.len(),
            file: BufWriter::with_capacity(64 * 1024, file),
            rotate_bytes: settings.rotate_bytes,
            keep: settings.keep.max(1),
        })
    }

    /// `log` becomes `log.1`, that `log.2`, and the oldest goes.
    fn rotate(&mut self) -> io::Result<()> {
        self.file.flush()?;
        let numbered = |n: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{n}"));
            PathBuf::from(name)
        };
        for n in (1..self.keep).rev() {
            if numbered(n).exists() {
                std::fs::rename(numbered(n), numbered(n + 1))?;
            }
        }
        std::fs::rename(&self.path, numbered(1))?;
        let file = net::open_appending(&self.path, LOG_MODE)?;
        self.file = BufWriter::with_capacity(64 * 1024, file);
        self.written = 0;
        Ok(())
    }
}

impl Output for LogFile {
    fn line(&mut self, line: &str) -> io::Result<()> {
        let rotated = match self.written >= self.rotate_bytes {
            true => self.rotate(),
            false => Ok(()),
        };
        if rotated.is_err() {
            // The line goes to the file there is; the next try is a while later.
            self.written = self.rotate_bytes / 2;
        }
        self.written += line.len() as u64;
        self.file.write_all(line.as_bytes()).and(rotated)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The log's thread.
struct Writer {
    output: Box<dyn Output>,
    shared: Arc<Shared>,
    complained: bool,
}

impl Writer {
    fn run(&mut self, received: &Receiver<Message>) {
        while let Ok(message) = received.recv() {
            let mut next = Some(message);
            let mut stop = false;
            let mut result = Ok(());
            while let Some(message) = next.take() {
                match message {
                    Message::Stop => stop = true,
                    Message::Line(line) => result = self.line(&line).and(result),
                }
                next = received.try_recv().ok();
            }
            if result.is_ok() {
                result = self.say_gap();
            }
            result = self.output.flush().and(result);
            // Mail goes on without a log; whoever watches the server is told, once.
            if let (Err(error), false) = (result, self.complained) {
                terminal::complain(&format!("the log cannot be written: {error}"));
                self.complained = true;
            }
            if stop {
                return;
            }
            // While this thread sleeps, nobody who writes a line has to wake it.
            std::thread::sleep(GATHER);
        }
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        let written = self.output.line(line);
        let backlog = &self.shared.backlog;
        backlog.give_back(line.len());
        if written.is_err() {
            backlog.leave_out(net::now());
        }
        written
    }

    /// Says which lines are missing, once lines can be written again.
    fn say_gap(&mut self) -> io::Result<()> {
        let Some(gap) = self.shared.backlog.take_gap() else {
            return Ok(());
        };
        let mut text = self.shared.line(net::now(), "log-gap");
        text.field("lines", gap.lines);
        text.field("from", gap.first);
        text.field("until", gap.last);
        text.field(
            "why",
            "the log could not be written fast enough, or not at all",
        );
        self.output.line(&text.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was written, and the gate that writing waits at.
    #[derive(Debug, Clone, Default)]
    struct Gated {
        written: Arc<Mutex<String>>,
        gate: Arc<Mutex<()>>,
        broken: Arc<AtomicBool>,
    }

    impl Output for Gated {
        fn line(&mut self, line: &str) -> io::Result<()> {
            let _gate = self.gate.lock();
            if self.broken.load(Ordering::Relaxed) {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            let mut written = self.written.lock();
            written.push_str(line);
            Ok(())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn journal(output: &Gated, json: bool) -> Journal {
        let settings = LogSettings {
            detailed: false,
            json,
            file: None,
            rotate_bytes: 0,
            keep: 1,
        };
        Journal::to(Box::new(output.clone()), &settings).expect("a thread")
    }

    fn send(journal: &Journal, filler: &str) {
        let at = Timestamp::from_millis(1_790_000_000_000);
        journal.line(at, "filler").field("octets", filler).send();
    }

    #[test]
    fn lines_that_find_no_room_are_counted_and_said() {
        let output = Gated::default();
        let journal = journal(&output, true);
        let filler = "x".repeat(1 << 20);
        let mut sent = 0;
        {
            let _closed = output.gate.lock();
            while journal.lost() < 3 {
                send(&journal, &filler);
                sent += 1;
                assert!(sent < 100, "lines without bound wait");
            }
        }
        journal.close();
        let text = output.written.lock();
        let (gap, lines): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|l| l.contains("\"log-gap\""));
        assert_eq!(lines.len() as u64, sent - 3);
        let [gap] = gap.as_slice() else {
            panic!("one line says what is missing: {gap:?}")
        };
        let gap: serde_json::Value = serde_json::from_str(gap).expect("JSON");
        assert_eq!(gap.get("lines"), Some(&3.into()), "{gap}");
        assert_eq!(journal.shared.backlog.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_said() {
        let output = Gated::default();
        output.broken.store(true, Ordering::Relaxed);
        let journal = journal(&output, false);
        for _ in 0..5 {
            send(&journal, "lost");
        }
        while journal.lost() < 5 {
            std::thread::yield_now();
        }
        output.broken.store(false, Ordering::Relaxed);
        send(&journal, "kept");
        journal.close();
        let text = output.written.lock();
        let lines: Vec<&str> = text.lines().collect();
        let [kept, gap] = lines.as_slice() else {
            panic!("a line and the gap: {lines:?}")
        };
        assert!(kept.ends_with("filler octets=kept"), "{kept}");
        assert!(gap.contains(" log-gap lines=5 from="), "{gap}");
    }
}
