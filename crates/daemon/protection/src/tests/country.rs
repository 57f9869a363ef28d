//! The room on a staging node, in a world of the lab whose authority is trusted.

use std::sync::Arc;

use lab::{Config, Scratch, WebAnswer, WebHost, World};
use mail::{Destination, Domain};
use node::hop::Hop;
use schedule::Resolution;
use staging::{Events, Staging};

use crate::Protection;
use crate::resolve::resolve;

/// Where domains publish their policies.
pub(crate) const PATH: &str = "/.well-known/mta-sts.txt";

/// DNS, hosts, and an authority.
pub(crate) struct Country {
    pub(crate) world: World,
    files: Scratch,
}

/// The room.
pub(crate) struct Room {
    pub(crate) staging: Staging,
    pub(crate) events: Events,
    pub(crate) protection: Arc<Protection>,
}

impl Country {
    pub(crate) fn new() -> Self {
        Self {
            world: World::new(),
            files: Scratch::new(),
        }
    }

    /// One whose names are signed, and `safe.example` a secure zone of it.
    pub(crate) fn signed() -> Self {
        let country = Self::new();
        country.world.dns.sign().secure_zone("safe.example");
        country
    }

    pub(crate) fn config(&self) -> Config {
        let roots = self.world.ca.write(self.files.path()).unwrap();
        let config = self
            .world
            .config()
            .set("tls.extra_roots", [roots.display().to_string()])
            .set("outgoing.mta_sts_port", self.world.port())
            .set("tls_reports.delay", "0s");
        match self.world.dns.trust_anchor() {
            Some(keys) => {
                let anchor = self.files.path().join("root.key");
                std::fs::write(&anchor, keys).unwrap();
                config.set("dns.trust_anchor", anchor.display().to_string())
            }
            None => config,
        }
    }

    /// The room, as this configuration has it.
    pub(crate) async fn room(&self, config: &Config) -> Room {
        Room::open(Staging::new(&config.text()).await)
    }

    /// The policy host of a domain that publishes this policy, under this id.
    pub(crate) fn policy(&self, domain: &str, id: &str, answer: WebAnswer) -> WebHost {
        let host = format!("mta-sts.{domain}");
        let web = self.world.web(&[&host]);
        web.answer(&host, PATH, answer);
        self.publish(domain, id);
        web
    }

    /// Says that a domain has a policy of this id.
    pub(crate) fn publish(&self, domain: &str, id: &str) {
        let name = format!("_mta-sts.{domain}");
        self.world.dns.remove(&name);
        self.world.dns.txt(&name, &format!("v=STSv1; id={id};"));
    }
}

/// A policy of this mode, with these hosts, for a week.
pub(crate) fn policy(mode: &str, mx: &str) -> WebAnswer {
    WebAnswer::text(format!(
        "version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 604800\r\n"
    ))
}

pub(crate) fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

impl Room {
    fn open((staging, events): (Staging, Events)) -> Self {
        let protection = Arc::new(Protection::new(&staging.node));
        Self {
            staging,
            events,
            protection,
        }
    }

    /// The server starts again.
    pub(crate) async fn restart(self) -> Self {
        Self::open(self.staging.restart().await)
    }

    /// Where an outgoing mail goes now.
    pub(crate) async fn resolved(&self, name: &str) -> (Resolution, Option<Arc<Hop>>) {
        self.routed(name, None).await
    }

    /// The same where an administrator has named a server.
    pub(crate) async fn routed(
        &self,
        name: &str,
        route: Option<&str>,
    ) -> (Resolution, Option<Arc<Hop>>) {
        let now = self.staging.now();
        let to = Destination::Outgoing;
        resolve(&self.protection, &domain(name), to, route, now).await
    }

    /// The next hop, which there must be, and the name of its site.
    pub(crate) async fn hop(&self, name: &str) -> (Arc<Hop>, String) {
        match self.resolved(name).await {
            (Resolution::Site { key, .. }, Some(hop)) => (hop, key.to_string()),
            (other, _) => panic!("{name}: {other:?}"),
        }
    }
}
