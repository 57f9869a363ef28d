//! What was used of the quotas, kept over restarts, and told when it is nearly all.
//!
//! The file says more than was counted (`intake::Usage`), so it is written seldom: by one task, while mail is
//! taken, and never by mail itself. So a crash counts too much, by a portion; too little only where more mail
//! than half a portion was taken since a write was due, which takes milliseconds. It is written to the letter
//! when the server stops in order.

use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use intake::{KeptCount, Usage};
use journal::Journal;
use mail::{QueueId, RecipientKey, Timestamp};
use serde::{Deserialize, Serialize};
use store::{LaterRow, Note, Op};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Node;

const FILE: &str = "quota-used.json";
/// The word of what is told of a mail.
const WORD: &str = "quota";
/// After a write the next one waits so many times as long as it took: a tenth of the time may go into it.
const PAUSE: u32 = 9;
/// And that long at least.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// After a write that failed.
const FAILED_WAIT: Duration = Duration::from_secs(60);

/// The counts, and who writes them.
#[derive(Debug)]
pub(crate) struct QuotaFile {
    path: PathBuf,
    usage: Arc<Usage>,
    due: Notify,
    /// Held over a write, by those who write only; whether the last has been.
    ended: Mutex<bool>,
}

impl QuotaFile {
    pub(crate) fn new(data_dir: &Path, usage: Arc<Usage>) -> Self {
        Self {
            path: data_dir.join(FILE),
            usage,
            due: Notify::new(),
            ended: Mutex::default(),
        }
    }

    /// Has what is due written; mail need not wait for it.
    pub(crate) fn wake(&self) {
        if self.usage.is_due() {
            self.due.notify_one();
        }
    }

    /// Blocks. Writes what was used as of `now`.
    fn write(&self, is_end: bool, now: Timestamp) -> std::io::Result<()> {
        let mut ended = self.ended.lock();
        if *ended {
            return Ok(());
        }
        *ended = is_end;
        let counts = self.usage.kept(now, is_end);
        let file = File {
            counts: counts.into_iter().map(Row::of).collect(),
        };
        let written = serde_json::to_vec(&file).map_err(std::io::Error::other);
        let written = written.and_then(|text| net::write_private(&self.path, text));
        if written.is_err() {
            self.usage.not_written();
        }
        written
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    counts: Vec<Row>,
}

/// Quota, name, the quota's seconds; and each step's beginning, in seconds, with its recipients.
#[derive(Debug, Serialize, Deserialize)]
struct Row(String, String, u64, Vec<(u64, u64)>);

impl Row {
    fn of(count: KeptCount) -> Self {
        let steps = count.steps.into_iter();
        Self(
            count.kind,
            count.name,
            count.per.as_secs(),
            steps.map(|(at, n)| (at.as_secs(), n)).collect(),
        )
    }

    fn count(self) -> KeptCount {
        let Self(kind, name, per, steps) = self;
        let steps = steps.into_iter();
        KeptCount {
            kind,
            name,
            per: Duration::from_secs(per),
            steps: steps.map(|(at, n)| (Timestamp::from_secs(at), n)).collect(),
        }
    }
}

/// What was used when the server ended, as of `now`. A file that cannot be read is said, and replaced.
pub fn restore(data_dir: &Path, journal: &Journal, now: Timestamp) -> Arc<Usage> {
    let path = data_dir.join(FILE);
    let why = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Arc::default(),
        Err(error) => error.to_string(),
        Ok(text) => match serde_json::from_slice::<File>(&text) {
            Ok(file) => {
                let counts = file.counts.into_iter().map(Row::count);
                return Arc::new(Usage::restored(counts.collect(), now));
            }
            Err(error) => error.to_string(),
        },
    };
    let line = journal.line(now, "error").field("what", path.display());
    let why = format!("{why}: the counts of what users have sent start at 0");
    line.field("why", why).send();
    Arc::default()
}

/// Writes what is due, as long as the server runs.
pub async fn keep(node: Arc<Node>) {
    loop {
        node.quotas.due.notified().await;
        let began = Instant::now();
        let handles = Arc::clone(&node);
        let written =
            tokio::task::spawn_blocking(move || handles.quotas.write(false, handles.now())).await;
        match written {
            Ok(Ok(())) => {
                tokio::time::sleep((began.elapsed() * PAUSE).max(PAUSE_MIN)).await;
            }
            Ok(Err(error)) => {
                trouble(&node, &error);
                tokio::time::sleep(FAILED_WAIT).await;
            }
            // The server is stopping.
            Err(_) => return,
        }
        // What came to be due meanwhile.
        node.quotas.wake();
    }
}

/// Writes what was used exactly, at the end. Blocks.
pub fn end(node: &Node) {
    if let Err(error) = node.quotas.write(true, node.now()) {
        trouble(node, &error);
    }
}

fn trouble(node: &Node, error: &std::io::Error) {
    let line = node.journal.line(node.now(), "error");
    line.field("what", node.quotas.path.display())
        .field("why", error)
        .send();
}

/// Tells that a quota is nearly used up, in the log and of the mail that was taken last, with which those hear
/// it who are told of events.
pub fn near(node: &Node, id: QueueId, what: &str) {
    let now = node.now();
    let line = node.journal.line(now, "quota");
    line.field("id", id).field("what", what).send();
    let key = RecipientKey { id, recipient: 0 };
    let row = LaterRow {
        key,
        at: now,
        word: WORD.to_owned(),
        text: what.to_owned(),
    };
    // The log has said it.
    let note = Op::Note(Note::Later(row));
    node.store.commit(vec![note], Box::new(|_| {}));
}
