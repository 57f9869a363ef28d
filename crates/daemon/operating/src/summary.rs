//! What waits, in numbers: `queue summary`.

use std::sync::Arc;

use node::{Node, blocking};
use ops::{Summarise, SummaryView, VerbError};

/// Counts what waits in one pass over the index, with so many entries of each list.
///
/// # Errors
/// When the index cannot be read.
pub(crate) async fn summary(node: &Arc<Node>, limit: u64) -> Result<SummaryView, VerbError> {
    blocking(node, move |node| {
        let now = node.now();
        let settings = node.settings();
        let book = &settings.config.replies.book;
        let kind = |reply: &str, host: Option<&str>| {
            book.classify_written(reply, host).kind.word().to_owned()
        };
        let mut count = Summarise::new(now, kind);
        node.store.each_waiting(now, &mut |row| count.add(row))?;
        Ok(count.end(usize::try_from(limit).unwrap_or(usize::MAX)))
    })
    .await
}
