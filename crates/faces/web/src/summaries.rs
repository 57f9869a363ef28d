//! What waits, in numbers, without anybody waiting for it: with a million rows that takes a second, so it is counted beside
//! the page, for all who look, and the last one is shown meanwhile with its time.

use std::time::Duration;

use crate::session::User;
use crate::state::Web;
use ops::SummaryView;

/// Domains and submitters that are counted by name.
const NAMES: u64 = 15;
/// One that is not older than this is not counted anew, ...
const FRESH: Duration = Duration::from_secs(3);
/// ... nor one that is younger than so many times what counting takes.
const SHARE: u32 = 20;
/// How long a page waits for it.
const PATIENCE: Duration = Duration::from_millis(60);

impl Web {
    /// What waits, in numbers, as it was a moment ago; `None` while it is counted for the first time.
    pub(crate) async fn summary(&self, user: &User) -> Option<SummaryView> {
        let summaries = &self.0.summaries;
        let counted = summaries.counted.notified();
        tokio::pin!(counted);
        counted.as_mut().enable();
        let begins = {
            let mut state = summaries.state();
            let now = self.0.clock.instant();
            let is_fresh = state.again.is_some_and(|again| again > now);
            if is_fresh {
                return state.last.clone();
            }
            !std::mem::replace(&mut state.is_counting, true)
        };
        if begins {
            tokio::spawn(count(self.clone(), user.clone()));
        }
        // What was known before is shown where it takes longer.
        drop(tokio::time::timeout(PATIENCE, counted).await);
        summaries.state().last.clone()
    }
}

async fn count(web: Web, user: User) {
    let begun = web.0.clock.instant();
    let found = web.ask(&user, ops::Summary(NAMES)).await;
    let ended = web.0.clock.instant();
    let mut state = web.0.summaries.state();
    state.is_counting = false;
    state.again = Some(ended + FRESH.max(ended.since(begun) * SHARE));
    // What cannot be counted is told by the page's other answers.
    state.last = found.ok().or_else(|| state.last.take());
    drop(state);
    web.0.summaries.counted.notify_waiters();
}
