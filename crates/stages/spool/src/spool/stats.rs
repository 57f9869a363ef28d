//! Figures and troubles for the administrator.

use std::sync::atomic::{AtomicU64, Ordering};

use store::{Behind, Figures, Health, LogFigures, Standing};

use super::Spool;
use crate::segment::Lane;
use crate::shared::lock;

impl Spool {
    /// Whether it takes mail and outcomes, and what is in the way.
    #[must_use]
    pub fn health(&self) -> Health {
        Health {
            standing: self.standing(),
            behind: self.behind(),
        }
    }

    fn standing(&self) -> Standing {
        if let Some(why) = self.poisoned() {
            return Standing::Lost(why);
        }
        let reserve = self.shared.options.reserve_segments;
        if lock(&self.shared.pool).is_exhausted(reserve) {
            Standing::Exhausted
        } else if self.shared.is_low() {
            Standing::Low
        } else {
            Standing::Ready
        }
    }

    /// Whether the index and the history cannot be written, since the last try. They are tried again every
    /// second; nothing is lost, for the log keeps what they lack.
    fn behind(&self) -> Option<Behind> {
        let why = lock(&self.shared.feed).failed.clone()?;
        let refuses_mail = self.shared.refuses_mail();
        Some(Behind { why, refuses_mail })
    }

    /// What it counts.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let queue_depth = lock(&self.shared.queue).pending.len() as u64;
        let table = lock(&self.shared.table);
        Figures {
            messages: table.entries.len() as u64,
            waiting: table.waiting(),
            live_bytes: table.segments.values().map(|s| s.live_bytes).sum(),
            bytes_written: read(&counters.bytes),
            commits: read(&counters.commits),
            damaged: read(&counters.damaged),
            queue_depth,
            index_backlog: lock(&self.shared.feed).waiting() as u64,
            log: Some(LogFigures {
                hot_segments: table.count(Lane::Hot) as u64,
                cold_segments: table.count(Lane::Cold) as u64,
                free_segments: lock(&self.shared.pool).ready.len() as u64,
                bytes_moved: read(&counters.moved_bytes),
                syncs: read(&counters.syncs),
                prepared: read(&counters.prepared),
                reclaimed: read(&counters.reclaimed),
            }),
        }
    }
}
