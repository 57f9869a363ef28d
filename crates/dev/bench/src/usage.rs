//! What a server has used so far: CPU and memory, from /proc; and what its disk has written.
//!
//! A server is a process with all its descendants. The CPU time of a process that has ended is
//! its parent's from the moment the parent has waited for it, so nothing is lost when children
//! come and go: the sum over the living, each with its reaped children, is exact.
//!
//! Bytes written are the disk's own count. That of a process (`write_bytes` in /proc) counts what
//! it makes dirty, and where the page cache has large pages, a page of 4 KiB counts as a large
//! one, again and again.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// The process and its descendants.
pub(crate) fn family(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for entry in entries {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        // It may have ended meanwhile.
        if let Some(parent) = stat(pid).and_then(|s| s.first().copied()) {
            let parent = u32::try_from(parent).unwrap_or(0);
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut family = vec![root];
    let mut seen = 0;
    while let Some(pid) = family.get(seen).copied() {
        seen += 1;
        family.extend(children.get(&pid).into_iter().flatten());
    }
    family
}

/// User and system time of a process and its descendants.
pub(crate) fn cpu(root: u32) -> Duration {
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    // Fields 14 to 17 of the line: utime, stime, cutime, cstime; the list begins with field 4.
    let of = |pid| stat(pid).map_or(0, |s| s.iter().skip(10).take(4).sum::<u64>());
    let used: u64 = family(root).into_iter().map(of).sum();
    Duration::from_millis(used * 1000 / ticks)
}

/// CPU time of one thread of this process.
pub(crate) fn thread_cpu(thread: i32) -> Duration {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"));
    let nanos = text
        .ok()
        .and_then(|t| t.split_ascii_whitespace().next()?.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Forgets the peaks of memory so far.
pub(crate) fn forget_peak(root: u32) {
    for pid in family(root) {
        // Where that is not allowed, the peak is that of the process' life.
        drop(fs::write(format!("/proc/{pid}/clear_refs"), "5"));
    }
}

/// Peak of resident memory, in bytes: for one process its own, for several their sum, which
/// counts what they share in each.
pub(crate) fn peak(root: u32) -> u64 {
    let of = |pid| named(&format!("/proc/{pid}/status"), "VmHWM:").unwrap_or(0) * 1024;
    family(root).into_iter().map(of).sum()
}

/// Resident memory now, in bytes, what is shared by several counted once.
pub(crate) fn proportional(root: u32) -> u64 {
    let of = |pid| named(&format!("/proc/{pid}/smaps_rollup"), "Pss:").unwrap_or(0) * 1024;
    family(root).into_iter().map(of).sum()
}

/// Time that all cores together have been busy.
pub(crate) fn machine_busy() -> Duration {
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let all: Vec<u64> = line
        .split_ascii_whitespace()
        .skip(1)
        .filter_map(|n| n.parse().ok())
        .collect();
    // user, nice, system, irq, softirq, steal; idle and iowait stand between.
    let busy: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|i| all.get(*i)).sum();
    Duration::from_millis(busy * 1000 / ticks)
}

/// Bytes that a disk has written so far.
pub(crate) fn disk_written(disk: &str) -> Result<u64> {
    const SECTOR: u64 = 512;
    let path = format!("/sys/class/block/{disk}/stat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let sectors: u64 = text
        .split_ascii_whitespace()
        .nth(6)
        .context("a seventh number")?
        .parse()?;
    Ok(sectors * SECTOR)
}

/// The disk that a directory is on.
pub(crate) fn disk_of(directory: &std::path::Path) -> Result<String> {
    let device = rustix::fs::stat(directory)?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let link = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}"))
        .context("the disk of the directory (a temporary file system has none)")?;
    let name = link.file_name().context("a name")?;
    Ok(name.to_string_lossy().into_owned())
}

/// The numbers of a process' stat line from field 4 on.
fn stat(pid: u32) -> Option<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; behind it is the state.
    let (_, rest) = text.rsplit_once(')')?;
    let numbers = rest.split_ascii_whitespace().skip(1);
    Some(numbers.map(|n| n.parse().unwrap_or(0)).collect())
}

/// The number behind a name in a file of lines.
fn named(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reaped_children_still_count() {
        let root = std::process::id();
        let before = cpu(root);
        let work = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let status = std::process::Command::new("sh").args(["-c", work]).status();
        assert!(status.is_ok_and(|s| s.success()));
        assert!(cpu(root) > before, "the child's time is ours");
    }

    #[test]
    fn a_process_has_a_peak() {
        assert!(peak(std::process::id()) > 100_000);
    }
}
