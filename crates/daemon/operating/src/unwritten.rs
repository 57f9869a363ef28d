//! Saying that the queue's history or index cannot be written, and when it can again.

use std::sync::Arc;
use std::time::Duration;

use node::Node;
use store::Behind;

/// How often it is looked at.
const LOOKED_AT: Duration = Duration::from_secs(2);

/// Logs when it begins, when mail begins to be refused for it, and when it ends.
pub async fn watch(node: Arc<Node>) {
    let mut before = None;
    loop {
        let now = node.store.health().behind;
        log(&node, before.as_ref(), now.as_ref());
        before = now;
        tokio::time::sleep(LOOKED_AT).await;
    }
}

fn log(node: &Node, before: Option<&Behind>, now: Option<&Behind>) {
    let refused = before.is_some_and(|b| b.refuses_mail);
    let journal = &node.journal;
    match (before, now) {
        (None, Some(now)) => {
            let what = "the queue's history or index cannot be written; deliveries continue, and mail is accepted \
                        until too many changes are unwritten. Check whether another program has history.db or \
                        index.db in data_dir/spool open (sqlite3, a backup program), whether the disk has free \
                        space, and whether Sendoff is allowed to write there";
            let line = journal.line(node.now(), "error").field("what", what);
            line.field("why", &now.why).send();
        }
        (Some(_), None) => {
            let what = match refused {
                true => "the queue's history and index are written again: mail is accepted again",
                false => "the queue's history and index are written again",
            };
            let line = journal.line(node.now(), "written-again");
            line.field("what", what).send();
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    if let Some(now) = now.filter(|now| now.refuses_mail && !refused) {
        let what = "mail is refused (452 4.3.1) until the queue's history and index can be written";
        let line = journal.line(node.now(), "error").field("what", what);
        line.field("why", &now.why).send();
    }
}

/// As those hear it who ask whether the server is ready.
pub(crate) fn trouble(behind: &Behind) -> String {
    let mail = match behind.refuses_mail {
        true => "mail is refused",
        false => "mail will be refused soon",
    };
    let why = &behind.why;
    format!("the queue's history or index cannot be written, {mail}: {why}")
}
