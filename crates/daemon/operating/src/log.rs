//! The server's log, for administrators who look at it from elsewhere.

use std::sync::Arc;

use config::LogSettings;
use journal::bounded::{self, Bounds, Place};
use journal::logbook::Wanted;
use ops::{FollowLog, LogTailView, LogView, SearchLog, VerbError, VerbErrorKind};

use crate::Operating;

/// Octets that a search reads: more than what a few seconds are enough for.
const SEARCHED_MAX: u64 = 128 << 20;
/// What is told at once of a log that is followed.
const TAIL: Bounds = Bounds {
    lines: 500,
    octets: 1 << 20,
};
/// Searches at once: each keeps a processor and the disk busy.
pub(crate) const SEARCHES_MAX: usize = 2;

/// The settings of a log that can be read.
fn readable(operating: &Operating) -> Result<LogSettings, VerbError> {
    let log = operating.node.settings().config.log.clone();
    match log.file {
        Some(_) => Ok(log),
        None => Err(VerbError::conflict(
            "the log goes to standard output (log.file = \"-\"): read it there, for instance with `journalctl -u sendoff`",
        )),
    }
}

/// The latest lines that are wanted.
pub(crate) async fn search(
    operating: &Arc<Operating>,
    ask: SearchLog,
) -> Result<LogView, VerbError> {
    let log = readable(operating)?;
    let wanted = Wanted::these(&ask.words()?, ask.since(operating.node.now())?);
    let bounds = Bounds {
        lines: usize::try_from(ask.limit).unwrap_or(usize::MAX),
        octets: SEARCHED_MAX,
    };
    let turn = operating.log_searches.acquire().await;
    let turn = turn.map_err(|_| VerbError::stopping())?;
    let read = move || bounded::latest(&log, &wanted, bounds);
    let found = tokio::task::spawn_blocking(read).await;
    drop(turn);
    let found = found.map_err(VerbError::failed)?;
    let found = found.map_err(VerbError::failed)?;
    Ok(LogView {
        lines: found.lines,
        whole: found.whole,
    })
}

/// What was written after a place.
pub(crate) async fn follow(
    operating: &Arc<Operating>,
    ask: FollowLog,
) -> Result<LogTailView, VerbError> {
    let log = readable(operating)?;
    let wanted = Wanted::these(&ask.words()?, None);
    let place = ask.after.map(|text| text.parse::<Place>()).transpose();
    let place = place.map_err(|why| VerbError::new(VerbErrorKind::Malformed, why))?;
    let read = move || match place {
        None => bounded::end(&log).map(|end| (bounded::Lines::default(), end)),
        Some(place) => bounded::after(&log, &wanted, place, TAIL),
    };
    let read = tokio::task::spawn_blocking(read).await;
    let (found, next) = read
        .map_err(VerbError::failed)?
        .map_err(VerbError::failed)?;
    Ok(LogTailView {
        more: place.is_some() && !found.whole,
        lines: found.lines,
        next: next.to_string(),
    })
}
