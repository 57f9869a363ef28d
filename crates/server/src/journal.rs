//! The log: one line an event, text or JSON, written by one thread that rotates its file.
//!
//! Lines are made where the event happens and cost no wait there. A line about something durable
//! is sent only once it is durable; that is its sender's part.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use mail::Timestamp;

use crate::config::LogSettings;

/// Lines are gathered for so long before they are written.
const GATHER: Duration = Duration::from_millis(3);

/// Where lines go. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    lines: Sender<Message>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    json: bool,
    /// Something is logged in detail: a quick look before a closer one.
    some_detail: AtomicBool,
    detail: RwLock<Detail>,
    writer: Mutex<Option<JoinHandle<()>>>,
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
    pub(crate) fn open(settings: &LogSettings) -> io::Result<Self> {
        let (lines, received) = channel();
        let target = match &settings.file {
            Some(path) => Target::File(LogFile::open(path, settings)?),
            None => Target::Stdout,
        };
        let writer = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&received, target))?;
        Ok(Self {
            lines,
            shared: Arc::new(Shared {
                json: settings.json,
                some_detail: AtomicBool::new(settings.detailed),
                detail: RwLock::new(Detail {
                    all: settings.detailed.then_some(Timestamp::MAX),
                    only: Vec::new(),
                }),
                writer: Mutex::new(Some(writer)),
            }),
        })
    }

    /// Begins a line about `event`.
    pub(crate) fn line(&self, at: Timestamp, event: &str) -> Line<'_> {
        let mut text = String::with_capacity(256);
        let result = if self.shared.json {
            write!(text, "{{\"time\":\"{at}\",\"event\":\"{event}\"")
        } else {
            write!(text, "{at} {event}")
        };
        // Writing to a String cannot fail.
        debug_assert!(result.is_ok());
        Line {
            journal: self,
            text,
        }
    }

    /// Whether anything at all is logged in detail.
    pub(crate) fn has_detail(&self) -> bool {
        self.shared.some_detail.load(Ordering::Relaxed)
    }

    /// Whether the talk with, or about, one of these names (domains, addresses) is wanted.
    pub(crate) fn is_detailed(&self, names: &[&str]) -> bool {
        if !self.has_detail() {
            return false;
        }
        let detail = self
            .shared
            .detail
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        detail.all.is_some()
            || detail
                .only
                .iter()
                .any(|(o, _)| names.iter().any(|n| n.eq_ignore_ascii_case(o)))
    }

    /// Switches the detailed log for everything, or for one domain, address or message: on until a
    /// time, when [`Journal::expire_detail`] ends it, or off.
    pub(crate) fn set_detailed(&self, only: Option<&str>, until: Option<Timestamp>) {
        let mut detail = self
            .shared
            .detail
            .write()
            .unwrap_or_else(PoisonError::into_inner);
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

    fn note_detail(&self, detail: &Detail) {
        let some = detail.all.is_some() || !detail.only.is_empty();
        self.shared.some_detail.store(some, Ordering::Relaxed);
    }

    /// Ends what was to be logged in detail until now.
    pub(crate) fn expire_detail(&self, now: Timestamp) {
        let mut detail = self
            .shared
            .detail
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        detail.all = detail.all.filter(|until| *until > now);
        detail.only.retain(|(_, until)| *until > now);
        self.note_detail(&detail);
    }

    /// Writes what is left and closes the file.
    pub(crate) fn close(&self) {
        let writer = self
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer
            && self.lines.send(Message::Stop).is_ok()
            && writer.join().is_err()
        {
            crate::cli::complain("the log's writer failed");
        }
    }
}

/// A line being made.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    journal: &'a Journal,
    text: String,
}

impl Line<'_> {
    /// Adds a field.
    pub(crate) fn field(mut self, name: &str, value: impl fmt::Display) -> Self {
        let json = self.journal.shared.json;
        self.text.push_str(if json { ",\"" } else { " " });
        self.text.push_str(name);
        self.text.push_str(if json { "\":" } else { "=" });
        let start = self.text.len();
        if write!(self.text, "{value}").is_ok() {
            let needs_quotes = |c: char| c <= ' ' || c == '"' || c == '\\' || c == '\u{7f}';
            let plain = self
                .text
                .get(start..)
                .is_some_and(|v| !v.is_empty() && !v.contains(needs_quotes));
            if json || !plain {
                let value = self.text.split_off(start);
                // JSON's quoting is readable in text too, and keeps a value on its line.
                self.text
                    .push_str(&serde_json::Value::String(value).to_string());
            }
        }
        self
    }

    /// Adds a field if there is a value.
    pub(crate) fn maybe(self, name: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    /// Hands the line over.
    pub(crate) fn send(mut self) {
        self.text.push_str(if self.journal.shared.json {
            "}\n"
        } else {
            "\n"
        });
        // Behind the end there is nobody left to write it.
        drop(self.journal.lines.send(Message::Line(self.text)));
    }
}

enum Target {
    Stdout,
    File(LogFile),
}

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
            std::fs::create_dir_all(dir)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            path: path.to_owned(),
            written: file.metadata()?.len(),
            file: BufWriter::with_capacity(64 * 1024, file),
            rotate_bytes: settings.rotate_bytes,
            keep: settings.keep.max(1),
        })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
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
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)?;
        self.file = BufWriter::with_capacity(64 * 1024, file);
        self.written = 0;
        Ok(())
    }
}

fn write_lines(received: &Receiver<Message>, mut target: Target) {
    let mut complained = false;
    while let Ok(message) = received.recv() {
        let mut next = Some(message);
        let mut stop = false;
        let mut result = Ok(());
        while let Some(message) = next.take() {
            match (message, &mut target) {
                (Message::Stop, _) => stop = true,
                (Message::Line(line), Target::Stdout) => {
                    result = io::stdout().write_all(line.as_bytes()).and(result);
                }
                (Message::Line(line), Target::File(file)) => result = file.write(&line).and(result),
            }
            next = received.try_recv().ok();
        }
        if let Target::File(file) = &mut target {
            result = file.file.flush().and(result);
        }
        // Mail goes on without a log; whoever watches the server is told, once.
        if let (Err(error), false) = (result, complained) {
            crate::cli::complain(&format!("the log cannot be written: {error}"));
            complained = true;
        }
        if stop {
            return;
        }
        // While this thread sleeps, nobody who writes a line has to wake it.
        std::thread::sleep(GATHER);
    }
}
