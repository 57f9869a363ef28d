//! Figures of the process, and how long mail has been due: for `/metrics`.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

use mail::Timestamp;
use node::Node;
use procfs::process::{LimitValue, Process};
use procfs::{page_size, ticks_per_second};
use rustix::time::{ClockId, clock_gettime};

use crate::Operating;

/// A scrape waits no longer for the index than this.
const PATIENCE: Duration = Duration::from_secs(1);
/// Looking costs at most one part in so many of the time.
const SHARE: u32 = 20;
/// But it waits no longer than this: a look seems long in which the computer slept.
const AGAIN_MAX: Duration = Duration::from_secs(600);

/// The commit of release builds, and the version before it.
pub(crate) fn version() -> (&'static str, &'static str) {
    let told = version::VERSION;
    match told.split_once(" (") {
        Some((version, commit)) => (version, commit.trim_end_matches(')')),
        None => (told, ""),
    }
}

/// Figures of this process, as far as `/proc/self` can be read. Blocks on it, shortly.
pub(crate) fn figures(now: Timestamp) -> Vec<(&'static str, Vec<u64>)> {
    let Ok(process) = Process::myself() else {
        return Vec::new();
    };
    let mut figures = Vec::new();
    let mut add = |name, value| figures.push((name, vec![value]));
    if let Ok(stat) = process.stat() {
        let ticks = ticks_per_second().max(1);
        let ms = |n: u64| n.saturating_mul(1000) / ticks;
        add(
            "process_resident_memory_bytes",
            stat.rss.saturating_mul(page_size()),
        );
        add(
            "process_cpu_seconds",
            ms(stat.utime.saturating_add(stat.stime)),
        );
        // /proc/stat, which has the time of the boot, may be closed to the service.
        let up = clock_gettime(ClockId::Boottime);
        let up = u64::try_from(up.tv_sec).unwrap_or_default();
        let age = up.saturating_sub(stat.starttime / ticks);
        add(
            "process_start_time_seconds",
            now.as_secs().saturating_sub(age),
        );
    }
    if let Ok(open) = process.fd_count() {
        add("process_open_fds", open as u64);
    }
    let limits = process
        .limits()
        .map(|limits| limits.max_open_files.soft_limit);
    if let Ok(LimitValue::Value(most)) = limits {
        add("process_max_fds", most);
    }
    figures
}

/// Since when the most overdue recipient has been due; looked up as often as it costs little.
#[derive(Debug, Default)]
pub(crate) struct OldestDue {
    last: Mutex<Looked>,
    /// Held by whoever looks.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Looked {
    due: Option<Timestamp>,
    /// Not before then again.
    again: Option<world::Instant>,
}

impl OldestDue {
    fn look(&self, node: &Node) {
        let Some(_turn) = self.turn.try_lock() else {
            return;
        };
        let begun = node.instant();
        let last = || self.last.lock();
        if last().again.is_some_and(|at| at > begun) {
            return;
        }
        let found = node.store.oldest_due(node.now());
        let mut last = last();
        // An index that cannot be read is told elsewhere.
        if let Ok(due) = found {
            last.due = due;
        }
        let ended = node.instant();
        let wait = (ended.since(begun) * SHARE).min(AGAIN_MAX);
        last.again = Some(ended + wait);
    }
}

/// How long the most overdue recipient has been due that waits and is not held, in seconds; 0 if none is.
pub(crate) async fn oldest_due(operating: &Arc<Operating>) -> u64 {
    let handles = Arc::clone(operating);
    let look = tokio::task::spawn_blocking(move || handles.oldest_due.look(&handles.node));
    // What was known before is told where it takes long.
    drop(tokio::time::timeout(PATIENCE, look).await);
    let last = operating.oldest_due.last.lock();
    let due = last.due;
    due.map_or(0, |due| operating.node.now().since(due).as_secs())
}
