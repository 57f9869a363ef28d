//! Reading the log: its end, as it grows, and lines by what they say, over the files that were put
//! aside as well. The files are read as they are; no server need run.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use config::{Config, LogSettings};
use mail::{Timestamp, parse_duration};
use terminal::print;

/// How often a log that is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Which lines are wanted.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Every one of these must stand in the line, whatever the case.
    words: Vec<String>,
    since: Option<Timestamp>,
}

impl Wanted {
    /// Reads what was asked for; `since` is a time of RFC 3339, or how long ago.
    pub fn new(words: &[String], since: Option<&str>, now: Timestamp) -> Result<Self> {
        let since = match since {
            None => None,
            Some(text) => Some(
                match (Timestamp::parse_rfc3339(text), parse_duration(text)) {
                    (Some(at), _) => at,
                    (None, Ok(ago)) => now - ago,
                    (None, Err(_)) => {
                        return Err(anyhow!(
                            "--since {text}: write how long ago (\"2h\") or a time \
                         (\"2026-01-31T08:00:00Z\")"
                        ));
                    }
                },
            ),
        };
        Ok(Self::these(words, since))
    }

    /// Lines with all of these words, whatever the case, since this time.
    #[must_use]
    pub fn these(words: &[String], since: Option<Timestamp>) -> Self {
        Self {
            words: words.iter().map(|w| w.to_lowercase()).collect(),
            since,
        }
    }

    /// Since when lines are wanted.
    pub(crate) const fn since(&self) -> Option<Timestamp> {
        self.since
    }

    pub(crate) fn matches(&self, line: &str) -> bool {
        // A line without a time of its own belongs to the one before it, and is not ours.
        if let Some(since) = self.since
            && time_of(line).is_none_or(|at| at < since)
        {
            return false;
        }
        if self.words.is_empty() {
            return true;
        }
        let line = line.to_lowercase();
        self.words.iter().all(|word| line.contains(word))
    }
}

/// When a line was written, in either form of the log.
pub(crate) fn time_of(line: &str) -> Option<Timestamp> {
    let text = line.strip_prefix("{\"time\":\"").unwrap_or(line);
    let end = text.find(['"', ' '])?;
    Timestamp::parse_rfc3339(text.get(..end)?)
}

fn log_file(config: &Config) -> Result<&LogSettings> {
    match config.log.file {
        Some(_) => Ok(&config.log),
        None => Err(anyhow!(
            "the log goes to standard output (log.file = \"-\"): read it there, for instance with `journalctl -u \
             sendoff`"
        )),
    }
}

/// The log's files, the oldest first.
pub(crate) fn files(settings: &LogSettings) -> Vec<PathBuf> {
    let Some(newest) = &settings.file else {
        return Vec::new();
    };
    let aside = (1..=settings.keep.max(1)).rev().map(|n| {
        let mut name = newest.clone().into_os_string();
        name.push(format!(".{n}"));
        PathBuf::from(name)
    });
    let all = aside.chain([newest.clone()]);
    all.filter(|path| path.exists()).collect()
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("reading the log {}", path.display()))
}

/// Hands over every line that is wanted, the oldest first.
fn scan(settings: &LogSettings, wanted: &Wanted, mut found: impl FnMut(&str)) -> Result<()> {
    for path in files(settings) {
        let mut reader = BufReader::with_capacity(1 << 20, open(&path)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&line);
            if wanted.matches(&text) {
                found(&text);
            }
        }
    }
    Ok(())
}

/// Prints the lines that are wanted: the last `limit` of them.
pub fn search(config: &Config, wanted: &Wanted, limit: usize) -> Result<()> {
    let settings = log_file(config)?;
    let mut last: VecDeque<String> = VecDeque::new();
    let mut count = 0usize;
    scan(settings, wanted, |line| {
        count += 1;
        if last.len() == limit {
            last.pop_front();
        }
        last.push_back(line.to_owned());
    })?;
    if count > last.len() {
        terminal::complain(&format!(
            "{count} lines match; these are the last {} (--limit)",
            last.len()
        ));
    }
    for line in last {
        print(&line);
    }
    match count {
        0 => Err(anyhow!("no line of the log matches")),
        _ => Ok(()),
    }
}

/// Prints the last `lines` that are wanted and, when followed, those to come, for ever.
pub fn tail(config: &Config, wanted: &Wanted, lines: usize, follow: bool) -> Result<()> {
    let settings = log_file(config)?;
    let newest = settings.file.clone().unwrap_or_default();
    // Opened before the look at what is there: what is written meanwhile is not missed.
    let mut reader = match follow {
        true => Some(open_end(&newest)?),
        false => None,
    };
    let mut last: VecDeque<String> = VecDeque::new();
    let until = reader.as_ref().map(|r| r.at);
    for path in files(settings) {
        let mut left = match (&until, path == newest) {
            (Some(at), true) => *at,
            (Some(_) | None, _) => u64::MAX,
        };
        let mut file = BufReader::with_capacity(1 << 20, open(&path)?);
        let mut line = Vec::new();
        while left > 0 {
            line.clear();
            let n = file.read_until(b'\n', &mut line)?;
            if n == 0 {
                break;
            }
            left = left.saturating_sub(n as u64);
            let text = String::from_utf8_lossy(&line);
            if wanted.matches(&text) {
                if last.len() >= lines {
                    last.pop_front();
                }
                last.push_back(text.into_owned());
            }
        }
    }
    last.iter()
        .rev()
        .take(lines)
        .rev()
        .for_each(|line| print(line));
    let Some(reader) = &mut reader else {
        return Ok(());
    };
    loop {
        reader.print_new(wanted)?;
        std::thread::sleep(LOOK_EVERY);
        reader.follow_rotation(settings, wanted)?;
    }
}

/// The growing end of the log.
struct End {
    reader: BufReader<File>,
    inode: u64,
    at: u64,
    partial: Vec<u8>,
}

fn open_end(path: &Path) -> Result<End> {
    let mut file = open(path)?;
    let at = file.seek(SeekFrom::End(0))?;
    Ok(End {
        inode: file.metadata()?.ino(),
        reader: BufReader::new(file),
        at,
        partial: Vec::new(),
    })
}

impl End {
    fn print_new(&mut self, wanted: &Wanted) -> Result<()> {
        // What ends in the middle of a line is kept for the next look.
        while self.reader.read_until(b'\n', &mut self.partial)? > 0 {
            if !self.partial.ends_with(b"\n") {
                break;
            }
            let line = String::from_utf8_lossy(&self.partial);
            if wanted.matches(&line) {
                print(&line);
            }
            self.partial.clear();
        }
        Ok(())
    }

    /// The file was put aside: its rest is printed, then all files behind it, and the newest is
    /// followed. On a busy server more than one may have been put aside since the last look.
    fn follow_rotation(&mut self, settings: &LogSettings, wanted: &Wanted) -> Result<()> {
        let mut behind: Vec<(File, u64)> = Vec::new();
        for path in files(settings).into_iter().rev() {
            // Renamed in this moment: the next look finds it.
            let Ok(file) = File::open(&path) else {
                return Ok(());
            };
            let inode = file.metadata()?.ino();
            if inode == self.inode {
                break;
            }
            // A file that was renamed between two looks is seen under both names.
            if behind.iter().all(|(_, other)| *other != inode) {
                behind.push((file, inode));
            }
        }
        for (file, inode) in behind.into_iter().rev() {
            self.print_new(wanted)?;
            self.reader = BufReader::new(file);
            self.inode = inode;
            self.partial.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_chosen_by_words_and_time() {
        let now = Timestamp::parse_rfc3339("2026-11-22T15:00:00Z").unwrap();
        let wanted = |words: &[&str], since: Option<&str>| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            Wanted::new(&words, since, now).unwrap()
        };
        let line = "2026-11-22T14:30:00.000Z deferred id=ABC to=<X@y.example> reply=\"450 no\"\n";
        let json =
            "{\"time\":\"2026-11-22T14:30:00.000Z\",\"event\":\"deferred\",\"id\":\"ABC\"}\n";
        assert!(wanted(&["DEFERRED", "<x@y.example>"], Some("1h")).matches(line));
        assert!(!wanted(&["deferred", "delivered"], None).matches(line));
        assert!(!wanted(&[], Some("10m")).matches(line));
        assert!(wanted(&["abc"], Some("2026-11-22T14:30:00Z")).matches(json));
        assert!(!wanted(&[], Some("2026-11-22T14:30:01Z")).matches(json));
        assert!(Wanted::new(&[], Some("yesterday"), now).is_err());
    }
}
