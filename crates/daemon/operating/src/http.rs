//! The server as HTTP sees it.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use console::{Backend, Figures, HandedIn, Later, Serves, Socket};
use intake::{Refusal, Submission};
use mail::QueueId;
use node::hand_in;
use ops::{Answer, Request, VerbError};
use reception::sockets::HttpSocket;
use reception::{floods, listening};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::task::TaskTracker;

use crate::verbs::Carrier;
use crate::{Operating, process};

/// Begins to answer at these sockets, which are in the order of the configuration; `pages` makes the console's.
pub fn open(
    operating: &Arc<Operating>,
    sockets: Vec<HttpSocket>,
    pages: impl FnOnce(&Arc<dyn Backend>) -> Router,
    tasks: &TaskTracker,
) -> Result<()> {
    let settings = operating.node.settings();
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
                listening::announce(&operating.reception, tcp.local_addr()?, Some(what), None)
            }
            Socket::Unix(_) => {
                listening::announce_unix(&operating.reception, &listener.address, what)
            }
        }
        listeners.push(console::Listener {
            socket,
            serves: Serves {
                api: listener.api,
                metrics: listener.metrics,
                pages: listener.pages,
            },
            is_tls: listener.tls,
        });
    }
    let backend: Arc<dyn Backend> = Arc::new(Http(Arc::clone(operating)));
    let pages = pages(&backend);
    console::serve(backend, pages, listeners, &operating.node.stopping, tasks);
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

struct Http(Arc<Operating>);

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
                operating: &self.0,
                who: &who,
                progress: None,
            };
            ops::carry_out(&carrier, request).await
        })
    }

    fn figures(&self) -> Later<'_, Figures> {
        Box::pin(async move {
            let gauges = self.0.gauges().await;
            let oldest_due = process::oldest_due(&self.0).await;
            self.0.figures(gauges, oldest_due)
        })
    }

    fn faults(&self) -> Vec<String> {
        self.0.faults()
    }

    fn warnings(&self) -> Vec<String> {
        self.0.warnings()
    }

    fn trouble(&self) -> Later<'_, Option<String>> {
        Box::pin(async move {
            let gauges = self.0.gauges().await;
            self.0.trouble(gauges)
        })
    }

    fn log_refused(&self, client: IpAddr, key: Option<&str>, why: &str) {
        let fields = [("key", key), ("what", Some(why))];
        floods::tell(&self.0.reception, client, "http", &fields);
    }
}
