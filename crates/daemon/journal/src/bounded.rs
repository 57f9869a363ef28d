//! Reading the log in bounds, for a server that must not be kept busy by who looks: the latest lines that are wanted, and
//! those after a place. Blocks on the disk.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::str::FromStr;

use config::LogSettings;

use crate::logbook::{Wanted, files, time_of};

/// Octets of a line that are told.
const LINE_MAX: usize = 8 << 10;

/// The most that is looked at and told.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Lines that are told.
    pub lines: usize,
    /// Octets that are read.
    pub octets: u64,
}

/// Lines of the log, the oldest first, without their ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lines {
    /// The lines.
    pub lines: Vec<String>,
    /// All that is wanted is there: neither bound was reached.
    pub whole: bool,
}

/// A place in the log: a file, and how far in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    inode: u64,
    at: u64,
}

/// A text that is no place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPlace;

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is no place in the log: give the one that was told")
    }
}

impl std::error::Error for NoPlace {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.inode, self.at)
    }
}

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (inode, at) = text.split_once('-').ok_or(NoPlace)?;
        Ok(Self {
            inode: inode.parse().map_err(|_| NoPlace)?,
            at: at.parse().map_err(|_| NoPlace)?,
        })
    }
}

/// A line as it is told.
fn told(line: &[u8]) -> String {
    let end = line.len().min(LINE_MAX);
    let text = String::from_utf8_lossy(line.get(..end).unwrap_or_default());
    let text = text.trim_end_matches(['\r', '\n']);
    match line.len() > LINE_MAX {
        true => format!("{text} …"),
        false => text.to_owned(),
    }
}

/// The latest lines that are wanted.
///
/// # Errors
/// When the log cannot be read.
pub fn latest(settings: &LogSettings, wanted: &Wanted, bounds: Bounds) -> io::Result<Lines> {
    let mut found: VecDeque<String> = VecDeque::new();
    let mut left = bounds.octets;
    let mut whole = true;
    for path in files(settings).into_iter().rev() {
        let room = bounds.lines - found.len();
        if room == 0 || left == 0 {
            whole = false;
            break;
        }
        let part = of_file(
            &path,
            wanted,
            Bounds {
                lines: room,
                octets: left,
            },
        )?;
        whole &= part.whole;
        left = left.saturating_sub(part.octets);
        for line in part.lines.into_iter().rev() {
            found.push_front(line);
        }
        // What stands in older files is older.
        if part.is_older {
            break;
        }
    }
    Ok(Lines {
        lines: found.into(),
        whole,
    })
}

/// The latest lines of one file.
struct Part {
    lines: VecDeque<String>,
    whole: bool,
    octets: u64,
    /// It begins in front of the time since which lines are wanted.
    is_older: bool,
}

fn of_file(path: &Path, wanted: &Wanted, bounds: Bounds) -> io::Result<Part> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(bounds.octets);
    // What is written meanwhile is not looked at.
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::with_capacity(256 << 10, file.take(length - from));
    let mut part = Part {
        lines: VecDeque::new(),
        whole: from == 0,
        octets: length - from,
        is_older: false,
    };
    let mut line = Vec::new();
    if from > 0 {
        // It begins in the middle of a line.
        reader.read_until(b'\n', &mut line)?;
    }
    let mut is_first = true;
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(part);
        }
        let text = String::from_utf8_lossy(&line);
        if std::mem::take(&mut is_first)
            && let Some(since) = wanted.since()
        {
            part.is_older = time_of(&text).is_some_and(|at| at < since);
            part.whole |= part.is_older;
        }
        if !wanted.matches(&text) {
            continue;
        }
        if part.lines.len() == bounds.lines {
            part.lines.pop_front();
            part.whole = false;
        }
        part.lines.push_back(told(&line));
    }
}

/// Where the log ends now.
///
/// # Errors
/// When the log cannot be read.
pub fn end(settings: &LogSettings) -> io::Result<Place> {
    match files(settings).last() {
        None => Ok(Place { inode: 0, at: 0 }),
        Some(path) => {
            let file = std::fs::metadata(path)?;
            Ok(Place {
                inode: file.ino(),
                at: file.len(),
            })
        }
    }
}

/// The lines after a place that are wanted, and the place after the last of them. Where a bound is reached, the rest comes
/// with the next call. A log that was put aside meanwhile is read to its end first.
///
/// # Errors
/// When the log cannot be read.
pub fn after(
    settings: &LogSettings,
    wanted: &Wanted,
    place: Place,
    bounds: Bounds,
) -> io::Result<(Lines, Place)> {
    let mut opened = Vec::new();
    for path in files(settings) {
        let file = File::open(path)?;
        let (inode, length) = (file.metadata()?.ino(), file.metadata()?.len());
        // A file that is renamed at this moment is seen under both names.
        if opened.iter().all(|(_, other, _)| *other != inode) {
            opened.push((file, inode, length));
        }
    }
    let known = opened
        .iter()
        .position(|(_, inode, _)| *inode == place.inode);
    // What is gone was put aside too often: the newest is read from its beginning.
    let first = known.unwrap_or_else(|| opened.len().saturating_sub(1));
    let mut next = place;
    let (mut lines, mut left) = (Vec::new(), bounds.octets);
    for (n, (file, inode, length)) in opened.into_iter().enumerate().skip(first) {
        let at = match known == Some(n) {
            true => place.at.min(length),
            false => 0,
        };
        next = Place { inode, at };
        let all = read_after(
            file,
            wanted,
            &mut next.at,
            &mut left,
            bounds.lines,
            &mut lines,
        )?;
        if !all {
            return Ok((
                Lines {
                    lines,
                    whole: false,
                },
                next,
            ));
        }
    }
    Ok((Lines { lines, whole: true }, next))
}

/// Reads whole lines of a file from a place on; whether a bound stopped it before the end.
fn read_after(
    mut file: File,
    wanted: &Wanted,
    at: &mut u64,
    left: &mut u64,
    most: usize,
    lines: &mut Vec<String>,
) -> io::Result<bool> {
    file.seek(SeekFrom::Start(*at))?;
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let mut line = Vec::new();
    loop {
        if *left == 0 || lines.len() >= most {
            return Ok(false);
        }
        line.clear();
        let read = reader.read_until(b'\n', &mut line)? as u64;
        // What ends in the middle of a line is told when the rest is there.
        if !line.ends_with(b"\n") {
            return Ok(true);
        }
        *at += read;
        *left = left.saturating_sub(read);
        if wanted.matches(&String::from_utf8_lossy(&line)) {
            lines.push(told(&line));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::PathBuf;

    use mail::Timestamp;

    use super::*;

    /// A log in a directory of its own, which goes with it.
    struct Log(PathBuf);

    impl Log {
        fn new(name: &str) -> Self {
            let name = format!("sendoff-bounded-{name}-{}", std::process::id());
            let directory = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&directory).unwrap();
            Self(directory)
        }

        fn settings(&self) -> LogSettings {
            LogSettings {
                detailed: false,
                json: false,
                file: Some(self.0.join("log")),
                rotate_bytes: 1 << 20,
                keep: 2,
            }
        }

        fn write(&self, file: &str, text: &str) {
            let mut options = std::fs::OpenOptions::new();
            let mut file = options
                .create(true)
                .append(true)
                .open(self.0.join(file))
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn put_aside(&self) {
            std::fs::rename(self.0.join("log"), self.0.join("log.1")).unwrap();
        }
    }

    impl Drop for Log {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    const ALL: Bounds = Bounds {
        lines: 100,
        octets: 1 << 20,
    };

    fn of(words: &[&str]) -> Wanted {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Wanted::these(&words, None)
    }

    #[test]
    fn the_latest_lines_are_found_over_files_and_within_bounds() {
        let log = Log::new("latest");
        log.write(
            "log.1",
            "2026-11-22T14:00:00Z a id=1\n2026-11-22T14:00:01Z b id=2\n",
        );
        log.write(
            "log",
            "2026-11-22T15:00:00Z a id=3\n2026-11-22T15:00:01Z a id=4\n",
        );
        let find = |wanted: &Wanted, lines, octets| {
            latest(&log.settings(), wanted, Bounds { lines, octets }).unwrap()
        };
        let ends = |found: &Lines| -> Vec<String> {
            let ends = found.lines.iter().filter_map(|line| line.rsplit_once('='));
            ends.map(|(_, id)| id.to_owned()).collect()
        };
        let all = find(&of(&["A"]), 10, 1 << 20);
        assert_eq!(
            (ends(&all), all.whole),
            (vec!["1".into(), "3".into(), "4".into()], true)
        );
        let two = find(&of(&["a"]), 2, 1 << 20);
        assert_eq!(
            (ends(&two), two.whole),
            (vec!["3".into(), "4".into()], false)
        );
        // The budget ends in the middle of the first line of the newest file.
        let few = find(&of(&["a"]), 10, 40);
        assert_eq!((ends(&few), few.whole), (vec!["4".into()], false));
        let since = Timestamp::parse_rfc3339("2026-11-22T14:00:01Z");
        let late = find(&Wanted::these(&[], since), 10, 1 << 20);
        assert_eq!(
            (ends(&late), late.whole),
            (vec!["2".into(), "3".into(), "4".into()], true)
        );
    }

    #[test]
    fn a_log_is_followed_over_the_file_that_was_put_aside() {
        let log = Log::new("after");
        let settings = log.settings();
        log.write("log", "one\n");
        let begin = end(&settings).unwrap();
        let (none, place) = after(&settings, &of(&[]), begin, ALL).unwrap();
        assert_eq!((none.lines.len(), place), (0, begin));
        log.write("log", "two\nhal");
        let (lines, place) = after(&settings, &of(&[]), place, ALL).unwrap();
        assert_eq!(lines.lines, ["two"]);
        log.write("log", "f\n");
        log.put_aside();
        log.write("log", "three\nfour\n");
        let one = Bounds { lines: 1, ..ALL };
        let (lines, place) = after(&settings, &of(&[]), place, one).unwrap();
        assert_eq!((lines.lines, lines.whole), (vec!["half".to_owned()], false));
        let (lines, place) = after(&settings, &of(&["o"]), place, ALL).unwrap();
        assert_eq!((lines.lines, lines.whole), (vec!["four".to_owned()], true));
        let read: Place = place.to_string().parse().unwrap();
        assert_eq!(read, place);
        let gone: Place = "1-7".parse().unwrap();
        let (lines, _) = after(&settings, &of(&[]), gone, ALL).unwrap();
        assert_eq!(lines.lines, ["three", "four"]);
        assert!("x".parse::<Place>().is_err());
    }

    #[test]
    fn a_long_line_is_cut() {
        let line = told(&[b'x'; LINE_MAX + 9]);
        assert!(line.len() < LINE_MAX + 9 && line.ends_with('…'));
    }
}
