//! Reading the configuration again: who wants it, and what came of it. Who composed the server does it.

use parking_lot::Mutex;

use mail::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

/// Somebody wants the configuration to be read again.
#[derive(Debug)]
pub struct Wanted {
    /// Who, or what has happened; for the log.
    pub because: String,
    /// Told what came of it.
    pub told: oneshot::Sender<Result<String, String>>,
}

/// What came of reading the configuration, for those who watch.
#[derive(Debug)]
pub struct Reloads {
    last: Mutex<Last>,
    wanted: UnboundedSender<Wanted>,
}

#[derive(Debug, Clone)]
struct Last {
    /// Why the last reload was refused, and when.
    refused: Option<(String, Timestamp)>,
    /// When the configuration in force was read.
    read: Timestamp,
}

impl Reloads {
    /// The start is the first reading; whoever can carry a wish out gets the other end.
    pub fn new(now: Timestamp) -> (Self, UnboundedReceiver<Wanted>) {
        let last = Last {
            refused: None,
            read: now,
        };
        let (wanted, wishes) = unbounded_channel();
        let reloads = Self {
            last: Mutex::new(last),
            wanted,
        };
        (reloads, wishes)
    }

    /// Has the configuration read again and put in force, as a whole or not at all.
    ///
    /// # Errors
    /// Why it was refused.
    pub async fn reload(&self, because: &str) -> Result<String, String> {
        let (told, came) = oneshot::channel();
        let because = because.to_owned();
        let stopping = "the server is stopping: nothing was changed";
        if self.wanted.send(Wanted { because, told }).is_err() {
            return Err(stopping.to_owned());
        }
        came.await.unwrap_or_else(|_| Err(stopping.to_owned()))
    }

    /// This came of a reading.
    pub fn came(&self, result: Result<(), String>, now: Timestamp) {
        let mut last = self.last.lock();
        match result {
            Ok(()) => {
                *last = Last {
                    refused: None,
                    read: now,
                }
            }
            Err(why) => last.refused = Some((why, now)),
        }
    }

    fn last(&self) -> Last {
        let last = self.last.lock();
        last.clone()
    }

    /// That the last reload was refused, in words; nothing where it was not.
    pub fn refused(&self) -> Option<String> {
        let (why, at) = self.last().refused?;
        Some(format!(
            "the reload at {at} was refused, and the previous configuration is in force: {why}"
        ))
    }

    /// When the configuration in force was read, in seconds since 1970.
    pub fn read(&self) -> u64 {
        self.last().read.as_millis() / 1000
    }
}
