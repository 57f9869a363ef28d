//! The server as HTTP sees it.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use console::{Backend, Figures, HandedIn, Later, Serves, Socket};
use intake::{Refusal, Submission};
use mail::QueueId;
use node::event::{Event, Gauges};
use node::hand_in;
use ops::{Answer, Healthy, Request, VerbError};
use reception::sockets::HttpSocket;
use reception::{floods, listening};
use sources::leaving;
use store::Standing;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::shared::Shared;
use crate::verbs::Carrier;
use crate::{process, unwritten};

/// The queue's owner answers within this time, or mail is not well taken in.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Begins to answer at these sockets, which are in the order of the configuration.
pub(crate) fn open(
    shared: &Arc<Shared>,
    sockets: Vec<HttpSocket>,
    tasks: &TaskTracker,
) -> Result<()> {
    let settings = shared.node.settings();
    let mut listeners = Vec::with_capacity(sockets.len());
    for (listener, socket) in settings.config.console.listeners.iter().zip(sockets) {
        let socket = match socket {
            HttpSocket::Tcp(socket) => Socket::Tcp(TcpListener::from_std(socket)?),
            HttpSocket::Unix(socket) => Socket::Unix(UnixListener::from_std(socket)?),
            HttpSocket::Later(path) => Socket::Unix(UnixListener::from_std(bind(&path)?)?),
        };
        let what = if listener.tls { "https" } else { "http" };
        match &socket {
            Socket::Tcp(tcp) => {
                listening::announce(&shared.reception, tcp.local_addr()?, Some(what), None)
            }
            Socket::Unix(_) => listening::announce_unix(&shared.reception, &listener.address, what),
        }
        listeners.push(console::Listener {
            socket,
            serves: Serves {
                api: listener.api,
                metrics: listener.metrics,
            },
            is_tls: listener.tls,
        });
    }
    let backend = Arc::new(Http(Arc::clone(shared)));
    console::serve(backend, listeners, &shared.node.stopping, tasks);
    Ok(())
}

fn bind(path: &Path) -> Result<std::os::unix::net::UnixListener> {
    net::bind_unix(path).with_context(|| {
        let path = path.display();
        format!(
            "cannot listen at unix:{path} (http.address): the server's user must be able to write in its directory \
             (systemd: RuntimeDirectory=sendoff), and no other program may listen there (`ss -lxp`)"
        )
    })
}

struct Http(Arc<Shared>);

impl Http {
    /// What the queue's owner says, if it answers in time.
    async fn gauges(&self) -> Option<Gauges> {
        let (ask, told) = oneshot::channel();
        self.0.node.tell(Event::Gauges(ask));
        tokio::time::timeout(ANSWERS_WITHIN, told).await.ok()?.ok()
    }

    fn trouble(&self, gauges: Option<Gauges>) -> Option<String> {
        let shared = &self.0;
        if shared.node.stopping.is_cancelled() {
            return Some("the server is shutting down".to_owned());
        }
        let health = shared.node.store.health();
        match health.standing {
            Standing::Ready => {}
            Standing::Lost(why) => return Some(format!("the queue's disk has failed: {why}")),
            Standing::Away(why) => {
                return Some(format!("the queue's store cannot be reached: {why}"));
            }
            Standing::Low => {
                return Some("the disk has less free space than queue.reserve".to_owned());
            }
            Standing::Exhausted => return Some("the disk has no space for the queue".to_owned()),
        }
        if let Some(behind) = health.behind {
            return Some(unwritten::trouble(&behind));
        }
        match gauges {
            Some(_) => None,
            None => Some(format!(
                "the scheduler does not answer within {} s",
                ANSWERS_WITHIN.as_secs()
            )),
        }
    }

    /// What is wrong on our side, so that mail waits.
    fn faults(&self) -> Vec<String> {
        let shared = &self.0;
        let config = &shared.node.settings().config;
        let mut words = shared.sending.faults.words();
        words.extend(leaving::faults(&shared.sources, config));
        words
    }

    /// What does not keep mail back, and needs somebody.
    fn warnings(&self) -> Vec<String> {
        let shared = &self.0;
        let now = net::now();
        let settings = shared.node.settings();
        let certificates = &settings.certificates;
        let ending = certificates.iter().filter_map(|c| c.ends(now));
        let ending = ending.map(|doubt| doubt.what);
        shared
            .node
            .reloads
            .refused()
            .into_iter()
            .chain(ending)
            .collect()
    }

    /// Of the configuration: the reload, and until when certificates hold.
    fn of_settings(&self) -> Vec<(&'static str, Vec<u64>)> {
        let shared = &self.0;
        let refused = shared.node.reloads.refused().is_some();
        let mut values = vec![
            ("config_reload_failed", vec![u64::from(refused)]),
            (
                "config_read_timestamp_seconds",
                vec![shared.node.reloads.read()],
            ),
        ];
        values.extend(shared.node.settings().certificates.iter().map(|shown| {
            let until = shown.certificate.not_after.as_millis() / 1000;
            (shown.metric(), vec![until])
        }));
        values
    }

    /// Of those that nothing is sent to, of those who are told what happened, and of faults.
    fn of_lists(&self) -> [(&'static str, Vec<u64>); 6] {
        let listed = self.0.node.settings().policy.suppressed.len() as u64;
        let (told, unsent, states) = self.0.webhooks.figures();
        [
            ("suppressed_recipients", vec![listed]),
            ("webhook_events", told.to_vec()),
            ("webhook_unsent_events", vec![unsent]),
            ("webhooks", states.to_vec()),
            ("own_faults", vec![self.0.sending.faults.count()]),
            ("own_faults_standing", vec![self.faults().len() as u64]),
        ]
    }

    /// Of the queue on disk.
    fn of_spool(&self) -> Vec<(&'static str, Vec<u64>)> {
        let s = self.0.node.store.figures();
        let log = s.log.unwrap_or_default();
        vec![
            ("queue_recipients", vec![s.waiting]),
            ("queue_messages", vec![s.messages]),
            ("spool_written_bytes", vec![s.bytes_written]),
            ("spool_moved_bytes", vec![log.bytes_moved]),
            ("spool_commits", vec![s.commits]),
            ("spool_syncs", vec![log.syncs]),
            (
                "spool_segments",
                vec![log.hot_segments, log.cold_segments, log.free_segments],
            ),
            ("spool_segments_reclaimed", vec![log.reclaimed]),
            ("spool_damaged", vec![s.damaged]),
            ("spool_index_backlog", vec![s.index_backlog]),
        ]
    }

    fn figures(&self, gauges: Option<Gauges>, oldest_due: u64) -> Figures {
        let ready = self.trouble(gauges).is_none();
        let figures = &self.0.node.figures;
        let of = |name: &str| {
            let all = figures.all();
            all.iter().find(|(n, _)| *n == name).map_or(0, |(_, v)| *v)
        };
        let (sources, out_of_service) = leaving::counts(&self.0.sources);
        let mut values = vec![
            ("messages_accepted", vec![of("accepted")]),
            (
                "outcomes",
                ["delivered", "deferred", "failed", "expired"]
                    .map(of)
                    .to_vec(),
            ),
            ("refusals", figures.refusals().to_vec()),
            ("unknown_outcomes", vec![of("unknown_outcomes")]),
            ("messages_signed", vec![of("signed")]),
            (
                "connections",
                ["connections_in", "connections_out"].map(of).to_vec(),
            ),
            ("clear_after_failed_tls", vec![of("clear_after_failed_tls")]),
            (
                "tls_handshakes",
                ["tls_handshakes", "tls_resumptions"].map(of).to_vec(),
            ),
            ("tls_small_hellos", vec![of("small_hellos")]),
            (
                "returned",
                ["bounced", "complained", "unreadable_bounces"]
                    .map(of)
                    .to_vec(),
            ),
            ("sources", vec![sources]),
            ("sources_out_of_service", vec![out_of_service]),
            ("log_lines_lost", vec![self.0.node.journal.lost()]),
            ("ready", vec![u64::from(ready)]),
            ("oldest_due_seconds", vec![oldest_due]),
        ];
        values.extend(self.of_spool());
        values.extend(process::figures(net::now()));
        values.extend(self.of_lists().into_iter().chain(self.of_settings()));
        if let Some(g) = gauges {
            values.extend([
                ("scheduled_recipients", vec![g.recipients]),
                ("due_recipients", vec![g.due]),
                ("future_recipients", vec![g.future]),
                ("sites", vec![g.sites]),
                ("sessions", vec![g.busy, g.idle]),
                ("paused_domains", vec![g.paused]),
            ]);
        }
        let (delays, delays_sum_ms) = figures.delays.read();
        Figures {
            values,
            build: process::version(),
            delays,
            delays_sum_ms,
        }
    }
}

/// What keeps mail from leaving, where mail can be accepted.
///
/// # Errors
/// Why mail would be refused.
pub(crate) async fn health(shared: &Arc<Shared>) -> Result<Healthy, VerbError> {
    let http = Http(Arc::clone(shared));
    let gauges = http.gauges().await;
    match http.trouble(gauges) {
        Some(why) => Err(VerbError::unavailable(why)),
        None => Ok(Healthy(http.faults())),
    }
}

impl Backend for Http {
    fn memory(&self) -> &Arc<net::Shares> {
        &self.0.node.memory
    }

    fn settings(&self) -> console::Settings {
        let settings = self.0.node.settings();
        let config = &settings.config;
        console::Settings {
            hostname: config.hostname.to_string(),
            hosts: config.console.hosts.clone(),
            keys: config.console.keys.clone(),
            metrics_networks: config.console.metrics_networks.clone(),
            proxies: config.console.proxies.clone(),
            unix_proxies: config.console.unix_proxies,
            message_size: settings.policy.limits.message_size,
            max_connections: config.console.max_connections,
            tls: settings.server_tls.clone(),
        }
    }

    fn hand_in(
        &self,
        submission: Submission,
        token: Option<String>,
    ) -> Later<'_, Result<HandedIn, Refusal>> {
        Box::pin(async move {
            let handed = hand_in::hand_in(&self.0.node, submission, token).await?;
            Ok(HandedIn {
                id: handed.id,
                recipients: handed.recipients,
                duplicate: handed.duplicate,
            })
        })
    }

    fn token_beginning(
        &self,
        prefix: String,
    ) -> Later<'_, Result<Option<(String, QueueId)>, VerbError>> {
        Box::pin(async move {
            let handles = Arc::clone(&self.0);
            let look = move || handles.node.store.find_token_beginning(&prefix);
            let found = tokio::task::spawn_blocking(look).await;
            Ok(found.map_err(VerbError::failed)??)
        })
    }

    fn carry_out(&self, request: Request, who: String) -> Later<'_, Result<Answer, VerbError>> {
        Box::pin(async move {
            let carrier = Carrier {
                shared: &self.0,
                who: &who,
                progress: None,
            };
            ops::carry_out(&carrier, request).await
        })
    }

    fn figures(&self) -> Later<'_, Figures> {
        Box::pin(async move {
            let gauges = self.gauges().await;
            let oldest_due = process::oldest_due(&self.0).await;
            self.figures(gauges, oldest_due)
        })
    }

    fn faults(&self) -> Vec<String> {
        self.faults()
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings()
    }

    fn trouble(&self) -> Later<'_, Option<String>> {
        Box::pin(async move {
            let gauges = self.gauges().await;
            self.trouble(gauges)
        })
    }

    fn log_refused(&self, client: IpAddr, key: Option<&str>, why: &str) {
        let fields = [("key", key), ("what", Some(why))];
        floods::tell(&self.0.reception, client, "http", &fields);
    }
}
