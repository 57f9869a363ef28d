//! Workers on a staging node, given batches by a schedule of the test's own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lab::{Config, Scratch, World};
use local::Local;
use mail::{Message, QueueId, RecipientKey, Verdict};
use node::event::{Event, Finished, Job};
use node::hop::SiteHops;
use protection::Protection;
use protection::resolve::resolve;
use returns::Returns;
use schedule::{Action, NewRecipient, Plan, Policy, Resolution, Scheduler, SiteId, WorkerId};
use sources::Sources;
use staging::{Events, Staging};
use tokio::sync::mpsc::{self, UnboundedSender};

use crate::{Sending, worker};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A world whose authority is trusted.
pub(crate) struct Land {
    pub(crate) world: World,
    pub(crate) files: Scratch,
}

impl Land {
    pub(crate) fn new() -> Self {
        Self {
            world: World::new(),
            files: Scratch::new(),
        }
    }

    pub(crate) fn config(&self) -> Config {
        let roots = self.world.ca.write(self.files.path()).unwrap();
        let roots = roots.display().to_string();
        self.world.config().set("tls.extra_roots", [roots])
    }

    pub(crate) async fn yard(&self) -> Yard {
        Yard::new(&self.config()).await
    }
}

/// The room, and who gives it work.
pub(crate) struct Yard {
    pub(crate) staging: Staging,
    pub(crate) events: Events,
    pub(crate) protection: Arc<Protection>,
    pub(crate) sending: Arc<Sending>,
    /// Sessions that got through their greeting.
    pub(crate) greeted: usize,
    scheduler: Scheduler,
    messages: HashMap<QueueId, Arc<Message>>,
    hops: HashMap<SiteId, SiteHops>,
    workers: HashMap<WorkerId, UnboundedSender<Job>>,
}

impl Yard {
    pub(crate) async fn new(config: &Config) -> Self {
        let (staging, events) = Staging::new(&config.text()).await;
        let node = &staging.node;
        let protection = Arc::new(Protection::new(node));
        let sources = Arc::new(Sources::new(node));
        let returns = Arc::new(Returns::new(node));
        let local = Arc::new(Local::new(node, &returns));
        let sending = Arc::new(Sending::new(node, &protection, &sources, &local));
        let policy = |_: &mail::Domain, _| Policy {
            plan: Arc::new(Plan::fixed(20, HOUR)),
            lifetime: None,
            connections_max: 1,
            recipients_max: 100,
            rate: None,
        };
        Self {
            scheduler: Scheduler::new(schedule::Settings::default(), Box::new(policy)),
            staging,
            events,
            protection,
            sending,
            greeted: 0,
            messages: HashMap::new(),
            hops: HashMap::new(),
            workers: HashMap::new(),
        }
    }

    /// Sends a mail to one address.
    pub(crate) async fn mail(&mut self, to: &str) -> Finished {
        let message = self.staging.message("ann@a.example", &[to]);
        self.send(message).await
    }

    /// Sends a mail that is in memory, to recipients who are one batch.
    pub(crate) async fn send(&mut self, message: Message) -> Finished {
        self.messages.insert(message.id, Arc::new(message.clone()));
        self.begin(&message);
        self.work().await
    }

    /// Sends a mail that its worker must read from the queue, if it is there.
    pub(crate) async fn send_kept(&mut self, message: &Message) -> Finished {
        self.begin(message);
        self.work().await
    }

    fn begin(&mut self, message: &Message) {
        let now = self.staging.now();
        for (recipient, number) in message.envelope.recipients.iter().zip(0..) {
            let key = RecipientKey {
                id: message.id,
                recipient: number,
            };
            let new = NewRecipient {
                key,
                domain: recipient.address.domain().clone(),
                destination: recipient.destination,
                submitter: "ann".to_owned(),
                accepted: message.accepted,
                terms: message.envelope.terms,
                state: message.initial_state(),
            };
            self.scheduler.insert(now, &new);
        }
    }

    /// Time passes, and what is due then is tried.
    pub(crate) async fn retry(&mut self, after: Duration) -> Finished {
        self.staging.advance(after);
        self.work().await
    }

    /// Does what the schedule says until a batch has ended.
    async fn work(&mut self) -> Finished {
        loop {
            self.orders().await;
            let event = self.events.recv().await.expect("a node");
            let now = self.staging.now();
            if let Event::Finished(id, finished) = event {
                let open = finished.report.open;
                self.scheduler.finished(now, id, finished.report.clone());
                if !open {
                    self.workers.remove(&id);
                }
                return *finished;
            } else if let Event::Greeted(id) = event {
                self.greeted += 1;
                self.scheduler.greeted(id);
            } else if let Event::Closed(id) = event
                && self.scheduler.closed(id)
            {
                self.workers.remove(&id);
            }
        }
    }

    async fn orders(&mut self) {
        let now = self.staging.now();
        while let Some(action) = self.scheduler.poll(now) {
            match action {
                Action::Resolve {
                    domain,
                    name,
                    destination,
                    route,
                } => {
                    let route = route.as_deref();
                    let found = resolve(&self.protection, &name, destination, route, now).await;
                    let (resolution, hop) = found;
                    let Resolution::Site { key, .. } = &resolution else {
                        panic!("{name}: {resolution:?}");
                    };
                    let key = Arc::clone(key);
                    let site = self.scheduler.resolved(now, domain, resolution);
                    if let (Some(site), Some(hop)) = (site, hop) {
                        self.hops.insert(site, SiteHops::new(&key, hop));
                    }
                }
                Action::Run {
                    worker,
                    site,
                    fresh,
                    batch,
                } => {
                    if fresh {
                        let (jobs, given) = mpsc::unbounded_channel();
                        self.workers.insert(worker, jobs);
                        tokio::spawn(worker::run(Arc::clone(&self.sending), worker, given));
                    }
                    let job = Job {
                        message: self.messages.get(&batch.id).cloned(),
                        batch,
                        hops: self.hops[&site].clone(),
                    };
                    assert!(self.workers[&worker].send(job).is_ok());
                }
                Action::Close(worker) => drop(self.workers.remove(&worker)),
                Action::Settle(_) | Action::Notice(_) => {}
            }
        }
    }
}

/// The verdict of the only recipient; or why no host could be used.
pub(crate) fn verdict(finished: &Finished) -> &Verdict {
    let report = &finished.report;
    match (report.attempted.as_slice(), &report.site_failure) {
        ([only], None) => &only.verdict,
        ([], Some(failure)) => &failure.verdict,
        other => panic!("{other:?}"),
    }
}

/// The verdicts of all recipients, by their numbers.
pub(crate) fn verdicts(finished: &Finished) -> Vec<&Verdict> {
    let mut all: Vec<_> = finished.report.attempted.iter().collect();
    all.sort_by_key(|attempted| attempted.key);
    all.into_iter()
        .map(|attempted| &attempted.verdict)
        .collect()
}

/// What was said, if anything.
pub(crate) fn transcript(finished: &Finished) -> &str {
    finished.transcript.as_deref().unwrap_or_default()
}
