//! The owner with the rooms below it, on a staging node.

use std::sync::Arc;
use std::time::Duration;

use intake::Submission;
use local::Local;
use mail::{Domain, QueueId, RecipientKey};
use node::clock;
use node::event::{Event, Gauges};
use ops::{Verb, VerbError};
use protection::Protection;
use returns::Returns;
use schedule::Wait;
use sending::Sending;
use sources::Sources;
use staging::{Events, Staging, submission, until};
use store::{Filter, HistoryFilter, HistoryRow, Page, Row};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::Dispatch;
use crate::queue::{Ended, Owner};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// All mail goes to a server where nobody listens: each attempt is one that failed.
pub(crate) const REFUSED: &str = "[[domain]]\nmatch = \"*\"\nvia_smtp = \"127.0.0.1:1\"\n";

/// A running owner.
pub(crate) struct Desk {
    pub(crate) staging: Staging,
    pub(crate) dispatch: Arc<Dispatch>,
    pub(crate) owner: JoinHandle<Ended>,
}

impl Desk {
    /// Of an empty queue, with the configuration of this text.
    pub(crate) async fn new(text: &str) -> Self {
        let (staging, events) = Staging::new(text).await;
        Self::open(staging, events)
    }

    /// The same, where the ends of batches come to the owner together, once there are so many.
    pub(crate) async fn gathering(text: &str, batches: usize) -> Self {
        let (staging, mut events) = Staging::new(text).await;
        let (tell, gathered) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut ended = Vec::new();
            while let Some(event) = events.recv().await {
                if matches!(event, Event::Finished(..)) {
                    ended.push(event);
                } else {
                    tell.send(event).unwrap();
                }
                if ended.len() == batches {
                    ended.drain(..).for_each(|event| tell.send(event).unwrap());
                }
            }
        });
        Self::open(staging, gathered)
    }

    /// The server starts again, as its own start does it.
    pub(crate) async fn restart(self) -> Self {
        self.staging.node.tell(Event::Stop);
        assert_eq!(self.owner.await.unwrap(), Ended::Stopped);
        let (staging, events) = self.staging.restart().await;
        Self::open(staging, events)
    }

    fn open(staging: Staging, events: Events) -> Self {
        let node = &staging.node;
        let protection = Arc::new(Protection::new(node));
        let sources = Arc::new(Sources::new(node));
        let returns = Arc::new(Returns::new(node));
        let local = Arc::new(Local::new(node, &returns));
        let sending = Arc::new(Sending::new(node, &protection, &sources, &local));
        let dispatch = Arc::new(Dispatch::new(node, &protection, &returns, &sending));
        let recovered = &staging.recovered;
        for (name, value) in &recovered.controls {
            node.controls.restore(name, value);
            dispatch.reactions.restore(name, value);
        }
        let mut owner = Owner::new(Arc::clone(&dispatch), TaskTracker::new());
        for name in recovered.controls.keys() {
            if let Some(domain) = name.strip_prefix("pause:") {
                owner.restore_pause(node.now(), &Domain::parse(domain).unwrap());
            }
        }
        let behind = clock::behind(node, recovered.highest).unwrap_or_default();
        owner.restore(node.now(), behind).unwrap();
        Self {
            owner: tokio::spawn(owner.run(events)),
            staging,
            dispatch,
        }
    }

    /// The owner has done all that it was told before.
    pub(crate) async fn turn(&self) -> usize {
        let mut waiting = 0;
        for _ in 0..2 {
            let (ask, told) = oneshot::channel();
            self.staging.node.tell(Event::Alive(ask));
            waiting = told.await.unwrap();
        }
        waiting
    }

    /// Waits until so many recipients are in the queue: reports follow what they are about.
    pub(crate) async fn holds(&self, count: usize) {
        for _ in 0..10_000 {
            if self.turn().await == count {
                return;
            }
            let pause = || std::thread::sleep(Duration::from_millis(2));
            tokio::task::spawn_blocking(pause).await.unwrap();
        }
        panic!("it holds {} and not {count}", self.turn().await);
    }

    /// Time passes, and the owner notices.
    pub(crate) async fn pass(&self, by: Duration) {
        self.staging.advance(by);
        self.turn().await;
    }

    /// A mail of a test key, which is simulated.
    pub(crate) async fn test_mail(&self, to: &[&str]) -> QueueId {
        self.staging.hand_in(a_test(to)).await
    }

    /// The recipients of a message that wait.
    pub(crate) fn waiting(&self, id: QueueId) -> Vec<Row> {
        let (store, now) = (&self.staging.node.store, self.staging.now());
        store.catch_up().unwrap();
        store.query(&Filter::id(id), Page::ALL, now).unwrap()
    }

    /// The only one of them, when it has had so many attempts.
    pub(crate) async fn tried(&self, id: QueueId, attempts: u32) -> Row {
        let look = || {
            self.waiting(id)
                .into_iter()
                .find(|row| row.attempts == attempts)
        };
        until(look)
            .await
            .unwrap_or_else(|| panic!("no attempt {attempts} among {:?}", self.waiting(id)))
    }

    /// All that has ended.
    pub(crate) fn history(&self) -> Vec<HistoryRow> {
        let store = &self.staging.node.store;
        store.catch_up().unwrap();
        let mut rows = store.history(&HistoryFilter::default(), 0, 1000).unwrap();
        rows.sort_by_key(|row| row.key);
        rows
    }

    /// The recipients of a message that have ended, once there are so many.
    pub(crate) async fn ended(&self, id: QueueId, count: usize) -> Vec<HistoryRow> {
        let of_message = || {
            let rows = self.history().into_iter().filter(|row| row.key.id == id);
            let rows: Vec<HistoryRow> = rows.collect();
            (rows.len() == count).then_some(rows)
        };
        until(of_message)
            .await
            .unwrap_or_else(|| panic!("not {count} of {id} among {:?}", self.history()))
    }

    /// What has ended of mail from somebody, once there is so much.
    pub(crate) async fn ended_of(&self, sender: &str, count: usize) -> Vec<HistoryRow> {
        let of_sender = || {
            let rows = self
                .history()
                .into_iter()
                .filter(|row| row.sender == sender);
            let rows: Vec<HistoryRow> = rows.collect();
            (rows.len() == count).then_some(rows)
        };
        until(of_sender)
            .await
            .unwrap_or_else(|| panic!("not {count} of <{sender}> among {:?}", self.history()))
    }

    /// Why the first recipient of a message waits.
    pub(crate) async fn wait(&self, id: QueueId) -> Option<Wait> {
        let (ask, told) = oneshot::channel();
        let key = RecipientKey { id, recipient: 0 };
        self.staging.node.tell(Event::Waits(vec![key], ask));
        told.await.unwrap().remove(0)
    }

    /// The same in words.
    pub(crate) async fn reason(&self, id: QueueId) -> String {
        let wait = self.wait(id).await;
        wait.map_or_else(String::new, |wait| wait.reason.to_string())
    }

    /// An administrator's verb on all recipients of a message.
    pub(crate) async fn act(&self, verb: Verb, id: QueueId) -> Result<[u64; 3], VerbError> {
        let keys = self.waiting(id).into_iter().map(|row| row.key).collect();
        let (ask, told) = oneshot::channel();
        self.staging.node.tell(Event::Act(verb, keys, ask));
        told.await.unwrap()
    }

    /// A domain is paused, or let go.
    pub(crate) async fn pause(&self, domain: &str, on: bool) {
        let (ask, told) = oneshot::channel();
        let domain = Domain::parse(domain).unwrap();
        self.staging.node.tell(Event::Pause(domain, on, ask));
        told.await.unwrap();
    }

    pub(crate) async fn gauges(&self) -> Gauges {
        let (ask, told) = oneshot::channel();
        self.staging.node.tell(Event::Gauges(ask));
        told.await.unwrap()
    }

    /// Waits until a counter shows so many: counts follow what is durable.
    pub(crate) async fn counted(&self, name: &str, count: u64) {
        let look = || {
            let all = self.staging.node.figures.all();
            all.into_iter().find(|n| *n == (name, count))
        };
        if until(look).await.is_none() {
            panic!(
                "{name}: not {count} of {:?}",
                self.staging.node.figures.all()
            );
        }
    }
}

/// A mail of a test key.
pub(crate) fn a_test(to: &[&str]) -> Submission {
    Submission {
        is_test: true,
        ..submission("ann@a.example", to)
    }
}
