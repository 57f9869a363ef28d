//! All rooms on a staging node, and somebody who asks.

use std::sync::Arc;
use std::time::Duration;

use dispatch::queue::{Ended, Owner};
use mail::QueueId;
use node::event::Event;
use node::reloads::Wanted;
use ops::{Answer, Ask, Crosses, Request, VerbError, VerbErrorKind};
use staging::{Staging, submission, until};
use store::{HistoryFilter, HistoryRow};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::Operating;
use crate::verbs::Carrier;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Mail waits, and none is tried.
pub(crate) const OFF: &str = "hostname = \"sendoff.lab\"\npostmaster = \"postmaster@sendoff.lab\"\n\
    [dns]\nservers = [\"127.0.0.1:1\"]\ndetect_if_given_fail = false\ntimeout = \"100ms\"\n\
    [outgoing]\nenabled = false\n";

/// A server whose administrator asks.
pub(crate) struct Office {
    pub(crate) staging: Staging,
    pub(crate) operating: Arc<Operating>,
    pub(crate) owner: JoinHandle<Ended>,
}

impl Office {
    pub(crate) async fn new(text: &str) -> Self {
        let (staging, events) = Staging::new(text).await;
        let data_dir = staging.node.settings().config.data_dir.clone();
        let accounts = accounts::ConsoleAccounts::open(&data_dir).unwrap();
        let operating = Operating::new(Arc::clone(&staging.node), accounts);
        let operating = Arc::new(operating);
        let owner = Owner::new(Arc::clone(&operating.dispatch), TaskTracker::new());
        Self {
            owner: tokio::spawn(owner.run(events)),
            staging,
            operating,
        }
    }

    /// The same with mail to these recipients that waits; one message each.
    pub(crate) async fn with(text: &str, recipients: &[&str]) -> (Self, Vec<QueueId>) {
        let office = Self::new(text).await;
        let mut ids = Vec::new();
        for to in recipients {
            ids.push(office.staging.mail("ann@a.example", &[to]).await);
        }
        (office, ids)
    }

    /// A verb, as it comes by any way in.
    pub(crate) async fn ask<A: Ask + Crosses>(&self, ask: A) -> Result<A::Answer, VerbError> {
        let carrier = Carrier {
            operating: &self.operating,
            who: "uid=0",
            progress: None,
        };
        let request: Request = ask.into();
        let answer: Answer = ops::carry_out(&carrier, request).await?;
        Ok(A::answer_of(answer).expect("the verb's own answer"))
    }

    /// A verb that is carried out.
    pub(crate) async fn asked<A: Ask + Crosses>(&self, ask: A) -> A::Answer {
        let answer = self.ask(ask).await;
        answer.unwrap_or_else(|why| panic!("not carried out: {why}"))
    }

    /// Why a verb is not carried out.
    pub(crate) async fn refused<A: Ask + Crosses>(&self, ask: A) -> (VerbErrorKind, String) {
        match self.ask(ask).await {
            Ok(_) => panic!("it was carried out"),
            Err(why) => (why.kind(), why.to_string()),
        }
    }

    /// As [`Office::ask`], with how far it was in between.
    pub(crate) async fn followed<A: Ask + Crosses>(&self, ask: A) -> (A::Answer, Vec<(u64, u64)>) {
        let (tell, mut told) = mpsc::unbounded_channel();
        let carrier = Carrier {
            operating: &self.operating,
            who: "uid=0",
            progress: Some(&tell),
        };
        let answer = ops::carry_out(&carrier, ask.into())
            .await
            .expect("an answer");
        let mut steps = Vec::new();
        while let Ok(step) = told.try_recv() {
            steps.push(step);
        }
        (A::answer_of(answer).expect("the verb's own answer"), steps)
    }

    /// Answers the next order to read the configuration again.
    pub(crate) fn reloads(&mut self, result: Result<String, String>) -> JoinHandle<String> {
        let (_, empty) = mpsc::unbounded_channel();
        let mut wanted = std::mem::replace(&mut self.staging.wanted, empty);
        let node = Arc::clone(&self.staging.node);
        tokio::spawn(async move {
            let Wanted { because, told } = wanted.recv().await.expect("an order");
            let came = result.as_ref().map(drop).map_err(Clone::clone);
            node.reloads.came(came, node.now());
            told.send(result).expect("somebody waits");
            because
        })
    }

    /// The owner has done all that it was told before.
    pub(crate) async fn turn(&self) {
        for _ in 0..2 {
            let (ask, told) = oneshot::channel();
            self.staging.node.tell(Event::Alive(ask));
            told.await.expect("an owner");
        }
    }

    /// Time passes, and the owner notices.
    pub(crate) async fn pass(&self, by: Duration) {
        self.staging.advance(by);
        self.turn().await;
    }

    /// The owner ends, as when the server stops.
    pub(crate) async fn close(&mut self) {
        self.staging.node.tell(Event::Stop);
        let owner = std::mem::replace(&mut self.owner, tokio::spawn(async { Ended::Stopped }));
        assert_eq!(owner.await.expect("an end"), Ended::Stopped);
    }

    /// A mail of a test key: what becomes of it is simulated. It has ended on return.
    pub(crate) async fn tested(&self, to: &[&str]) -> QueueId {
        let mail = intake::Submission {
            is_test: true,
            ..submission("ann@a.example", to)
        };
        let id = self.staging.hand_in(mail).await;
        let ended = || (self.history(id).len() == to.len()).then_some(());
        until(ended).await.expect("an end for all of them");
        id
    }

    /// The recipients of a message that have ended.
    pub(crate) fn history(&self, id: QueueId) -> Vec<HistoryRow> {
        let store = &self.staging.node.store;
        store.catch_up().expect("an index");
        let filter = HistoryFilter {
            id: Some(id),
            ..HistoryFilter::default()
        };
        store.history(&filter, 0, 1000).expect("a history")
    }
}
