//! A node for the tests of rooms: settings from a text, the real queue on a simulated disk, a log that can be read, and
//! a clock that stands until it is moved.
//!
//! What a room tells the queue's owner comes out of a channel, so a test is the owner, or gives the channel to one. The
//! queue's threads are real, and so are the sockets of hosts in the `lab`; only the time is a script. It builds nothing
//! above the node: rooms are made by the tests about them.

mod submissions;
mod until;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::Config;
use journal::Journal;
use lab::Scratch;
use mail::{Message, QueueId, Timestamp};
use node::clock::JudgedClock;
use node::event::Event;
use node::hand_in::{HandedIn, hand_in};
use node::reloads::{Reloads, Wanted};
use node::{Node, Settings, loading};
use sim::SimDisk;
use spool::{MemoryIndex, Options, Recovered, Spool};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use world::Scripted;

pub use submissions::{content, submission};
pub use until::until;

/// What rooms tell the queue's owner.
pub type Events = UnboundedReceiver<Event>;

/// A server called `sendoff.lab` that asks no DNS server which answers: for tests without other hosts.
pub const ALONE: &str = "hostname = \"sendoff.lab\"\npostmaster = \"postmaster@sendoff.lab\"\n\
    [dns]\nservers = [\"127.0.0.1:1\"]\ndetect_if_given_fail = false\ntimeout = \"100ms\"\n";

/// A mail is in memory so many times while it is read.
const COPIES: u64 = 2;

/// A node, and all that a test needs to look behind it.
pub struct Staging {
    /// The node.
    pub node: Arc<Node>,
    /// Its clock.
    pub script: Scripted,
    /// The disk of its queue; the other files are in [`Staging::data_dir`].
    pub disk: SimDisk,
    /// What the queue has found when it was opened.
    pub recovered: Recovered,
    /// Orders to read the configuration again.
    pub wanted: UnboundedReceiver<Wanted>,
    index: Arc<MemoryIndex>,
    text: String,
    scratch: Scratch,
}

impl Staging {
    /// A node with the configuration of this text and an empty queue, on 1 December 2026 at 8:00 UTC; and what its
    /// rooms tell the queue's owner. The data directory is its own, whatever the text says of others.
    ///
    /// # Panics
    /// When the text is no configuration, or the queue cannot be opened.
    pub async fn new(text: &str) -> (Self, Events) {
        Self::at("2026-12-01T08:00:00Z", text).await
    }

    /// The same at another time (RFC 3339).
    ///
    /// # Panics
    /// As [`Staging::new`], and when the time is none.
    pub async fn at(time: &str, text: &str) -> (Self, Events) {
        let start = Timestamp::parse_rfc3339(time).expect("a time of RFC 3339");
        let parts = Parts {
            script: Scripted::at(start),
            disk: SimDisk::new(1),
            index: Arc::new(MemoryIndex::new()),
            scratch: Scratch::new(),
        };
        parts.open(text).await
    }

    /// The server ends in order and starts again, with the same queue, files and configuration. What was made of the
    /// old node cannot reach the queue any more.
    ///
    /// # Panics
    /// As [`Staging::new`].
    pub async fn restart(self) -> (Self, Events) {
        self.node.store.drain();
        self.node.store.catch_up().expect("an index");
        self.node.stopping.cancel();
        self.disk.kill();
        let text = self.text;
        let parts = Parts {
            script: self.script,
            disk: self.disk,
            index: self.index,
            scratch: self.scratch,
        };
        parts.open(&text).await
    }

    /// Puts another configuration in force, as a reload does; the queue's owner is not told.
    ///
    /// # Panics
    /// When the text is no configuration.
    pub async fn reload(&mut self, text: &str) {
        text.clone_into(&mut self.text);
        let old = self.node.settings();
        let mut config = config(text, &self.scratch);
        config.intake.usage = Arc::clone(&old.policy.usage);
        config.intake.suppressed = Arc::clone(&old.policy.suppressed);
        self.node.replace_settings(settings(config).await);
    }

    /// Lets time pass on the server's clock. Who waits for it by a timer of the runtime does not notice.
    pub fn advance(&self, by: Duration) {
        self.script.advance(by);
    }

    /// The server's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.node.now()
    }

    /// Where its files are, but for the queue.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.node.settings().config.data_dir.clone()
    }

    /// A directory beside its files, which goes with them.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.scratch.path().to_owned()
    }

    /// The lines of the log that are written.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        let file = self.node.settings().config.log.file.clone();
        let text = file.and_then(|file| std::fs::read_to_string(file).ok());
        text.unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Waits for a line of this event in the log that has all these words in it.
    ///
    /// # Panics
    /// When none comes.
    pub async fn logged(&self, event: &str, words: &[&str]) -> String {
        let is_it = |line: &String| is_of(line, event) && words.iter().all(|w| line.contains(w));
        let found = until(|| self.log().into_iter().find(is_it)).await;
        found.unwrap_or_else(|| {
            let log = self.log().join("\n");
            panic!("there is no line `{event}` with {words:?} in\n{log}")
        })
    }

    /// All lines of an event, once everything before is written. A line of the test's own marks that.
    ///
    /// # Panics
    /// When the log is not written.
    pub async fn lines(&self, event: &str) -> Vec<String> {
        let mark = format!("mark-{}", self.log().len());
        let line = self.node.journal.line(self.node.now(), &mark);
        line.field("of", "the test").send();
        self.logged(&mark, &[]).await;
        let of_event = |line: &String| is_of(line, event);
        self.log().into_iter().filter(of_event).collect()
    }

    /// A message as it is accepted, which is in no queue.
    ///
    /// # Panics
    /// When the policy refuses it.
    #[must_use]
    pub fn message(&self, from: &str, to: &[&str]) -> Message {
        let now = self.node.now();
        let policy = Arc::clone(&self.node.settings().policy);
        let composed = policy.compose(
            submission(from, to),
            policy.fix_ups,
            self.node.next_id(now),
            now,
        );
        composed.expect("a mail that is taken").message
    }

    /// Takes a mail into the queue; it is durable on return.
    ///
    /// # Panics
    /// When it, or one of its recipients, is refused.
    pub async fn hand_in(&self, submission: intake::Submission) -> QueueId {
        let handed: HandedIn = hand_in(&self.node, submission, None)
            .await
            .unwrap_or_else(|refusal| panic!("refused: {}", refusal.reply));
        for recipient in &handed.recipients {
            assert!(recipient.is_ok(), "{recipient:?}");
        }
        handed.id
    }

    /// Takes a mail from one address to others into the queue.
    ///
    /// # Panics
    /// As [`Staging::hand_in`].
    pub async fn mail(&self, from: &str, to: &[&str]) -> QueueId {
        self.hand_in(submission(from, to)).await
    }
}

/// Whether a line of the log, which begins with its time, is about this event.
fn is_of(line: &str, event: &str) -> bool {
    line.split(' ').nth(1) == Some(event)
}

/// What outlives a server.
struct Parts {
    script: Scripted,
    disk: SimDisk,
    index: Arc<MemoryIndex>,
    scratch: Scratch,
}

impl Parts {
    async fn open(self, text: &str) -> (Staging, Events) {
        let config = config(text, &self.scratch);
        let journal = Journal::open(&config.log).expect("a log");
        let options = Options {
            segment_bytes: 1 << 20,
            ballast_bytes: 0,
            reserve_bytes: 0,
            ..Options::default()
        };
        let (storage, index) = (Arc::new(self.disk.clone()), Arc::clone(&self.index));
        let (spool, recovered) = Spool::open(options, storage, index).expect("a queue");
        let (tell, events) = mpsc::unbounded_channel();
        let clock = JudgedClock::new(self.script.clock(), &recovered.controls);
        let (reloads, wanted) = Reloads::new(clock.handle().now());
        let node = Node::new(
            settings(config).await,
            Arc::new(spool),
            journal,
            tell,
            clock,
            COPIES,
            reloads,
        );
        let staging = Staging {
            node: Arc::new(node),
            script: self.script,
            disk: self.disk,
            recovered,
            wanted,
            index: self.index,
            text: text.to_owned(),
            scratch: self.scratch,
        };
        (staging, events)
    }
}

fn config(text: &str, scratch: &Scratch) -> Config {
    let data_dir = scratch.path().join("data");
    std::fs::create_dir_all(&data_dir).expect("a directory");
    let text = format!("data_dir = \"{}\"\n{text}", data_dir.display());
    let path = scratch.path().join("sendoff.toml");
    std::fs::write(&path, &text).expect("a file");
    Config::load(&path).unwrap_or_else(|why| panic!("{why}"))
}

async fn settings(config: Config) -> Settings {
    let settings = loading::settings(config).await;
    settings.unwrap_or_else(|why| panic!("{why:#}"))
}

#[cfg(test)]
mod tests;
