//! What is found out about other servers for administrators: MX records, and what a mail server says of itself.
//!
//! Whoever asks may be no friend of the network that the server stands in. So nothing is dialled that only this network
//! reaches, unless the configuration names it; only at ports for mail; and only so often.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config::{Config, RuleKeys};
use deliver::Masked;
use mail::{Domain, Reply};
use net::{Answer, Hello, Stream, Trust};
use node::Settings;
use node::answers::answer;
use ops::{
    LookUpMx, Malformed, MxHostView, MxView, VerbError, VerbErrorKind, WhatSmtp, WhatSmtpView,
};
use parking_lot::Mutex;
use route::{HostAddresses, Mode, MxRecord, NextHop, Router, Step, Target};
use smtp::extension::{Extension, Extensions};
use sources::leaving;
use world::Instant;

use crate::Operating;
use crate::explain::probe::Talk;

/// So often somebody may ask …
const ASKED_MAX: usize = 6;
/// … in this time.
const ASKED_IN: Duration = Duration::from_secs(60);
/// Ports at which servers take mail and greet without TLS.
const PORTS: [u16; 3] = [25, 587, 2525];
/// A handshake is waited for this long.
const TLS_WAIT: Duration = Duration::from_secs(30);

/// When everybody has asked lately.
#[derive(Debug, Default)]
pub(crate) struct Asked(Mutex<HashMap<String, VecDeque<Instant>>>);

impl Asked {
    /// Counts a question of somebody.
    ///
    /// # Errors
    /// When they have asked too often.
    fn count(&self, who: &str, now: Instant) -> Result<(), VerbError> {
        let mut asked = self.0.lock();
        asked.retain(|_, times| {
            times.retain(|at| now.since(*at) < ASKED_IN);
            !times.is_empty()
        });
        let times = asked.entry(who.to_owned()).or_default();
        if times.len() >= ASKED_MAX {
            return Err(VerbError::conflict(format!(
                "other servers are asked at most {ASKED_MAX} times a minute for one person: wait a moment"
            )));
        }
        times.push_back(now);
        Ok(())
    }
}

/// Where a domain's mail goes.
pub(crate) async fn mx(
    operating: &Arc<Operating>,
    LookUpMx(domain): LookUpMx,
    who: &str,
) -> Result<MxView, VerbError> {
    operating.asked.count(who, operating.node.instant())?;
    let domain = Domain::parse(&domain).map_err(Malformed::from)?;
    let settings = operating.node.settings();
    let mut view = MxView {
        domain: domain.to_string(),
        by: "dns".to_owned(),
        error: None,
        hosts: Vec::new(),
    };
    match next_hop(operating, &settings, &domain).await {
        Err(reply) => view.error = Some(reply.to_string()),
        Ok(next) => {
            view.by = match (next.relay, next.configured) {
                (true, _) => "relay",
                (false, true) => "rule",
                (false, false) => "dns",
            }
            .to_owned();
            for host in &next.hosts {
                let found = usable(&settings, &next, host).await;
                let (found, error) = match found {
                    Ok(found) => (found, None),
                    Err(why) => (Vec::new(), Some(why.to_string())),
                };
                view.hosts.push(MxHostView {
                    preference: host.preference,
                    host: host.name.to_string(),
                    port: host.port,
                    addresses: found.iter().map(ToString::to_string).collect(),
                    error,
                });
            }
        }
    }
    Ok(view)
}

async fn next_hop(
    operating: &Operating,
    settings: &Settings,
    domain: &Domain,
) -> Result<NextHop, Reply> {
    let config = &settings.config;
    let rules = config.rules.effective(domain);
    let via = rules.key(|r: &RuleKeys| r.via_smtp.clone());
    let now = operating.node.now();
    let (mut router, mut step) = Router::begin(&config.routing, domain, via.as_ref(), now);
    loop {
        step = match step {
            Step::Go(next) => return Ok(next),
            Step::No(verdict) => return Err(verdict.reply),
            Step::AskMx(name) => {
                let said = settings.dns.mx(name.as_str()).await.answer;
                router.mx_answer(answer(said, |mx| MxRecord {
                    preference: mx.preference,
                    exchange: mx.exchange,
                }))
            }
            Step::AskAddress(name) => {
                let said = settings.dns.addresses(name.as_str()).await.answer;
                router.address_answer(answer(said, |ip| ip))
            }
        };
    }
}

/// The addresses of a host that mail may be sent to.
async fn usable(
    settings: &Settings,
    next: &NextHop,
    host: &route::Host,
) -> Result<Vec<IpAddr>, VerbError> {
    if let HostAddresses::Literal(ip) = host.addresses {
        return Ok(vec![ip]);
    }
    match settings.dns.addresses(host.name.as_str()).await.answer {
        Answer::Found(list) => {
            let usable = settings.config.routing.usable(next, host, &list);
            usable.map_err(|why| VerbError::conflict(why.to_string()))
        }
        Answer::NoData | Answer::NxDomain => Err(VerbError::not_found("it has no address")),
        Answer::Failed(why) => Err(VerbError::conflict(why.to_string())),
    }
}

/// Whether the configuration names this server: as the relay, or for a domain.
fn is_named(config: &Config, target: &Target) -> bool {
    let relay = match &config.routing.mode {
        Mode::Relay(servers) => servers.contains(target),
        Mode::Independent => false,
    };
    let mut rules = config.rules.all().iter();
    relay || rules.any(|rule| rule.set.via_smtp.as_ref() == Some(target))
}

/// The addresses of a server that may be asked for anybody.
async fn addresses(settings: &Settings, target: &Target) -> Result<Vec<IpAddr>, VerbError> {
    let config = &settings.config;
    let is_named = is_named(config, target);
    if !is_named && !PORTS.contains(&target.port) {
        return Err(VerbError::conflict(format!(
            "port {} is asked only of a server that the configuration names; use 25, 587 or 2525",
            target.port
        )));
    }
    let found = match target.host.literal() {
        Some(ip) => vec![ip],
        None => match settings.dns.addresses(target.host.as_str()).await.answer {
            Answer::Found(list) => list,
            Answer::NoData | Answer::NxDomain => {
                let why = format!("{} has no address", target.host);
                return Err(VerbError::not_found(why));
            }
            Answer::Failed(why) => return Err(VerbError::conflict(why.to_string())),
        },
    };
    let refused = &config.routing.refuse_networks;
    let may = |ip: &IpAddr| route::is_public(*ip) && route::refused_by(*ip, refused).is_none();
    let usable: Vec<IpAddr> = found.into_iter().filter(|ip| is_named || may(ip)).collect();
    match usable.is_empty() {
        false => Ok(usable),
        true => Err(VerbError::conflict(format!(
            "{} is in this network or on this computer: only servers that the configuration names are asked there",
            target.host
        ))),
    }
}

/// What a mail server says of itself.
pub(crate) async fn what_smtp(
    operating: &Arc<Operating>,
    WhatSmtp(server): WhatSmtp,
    who: &str,
) -> Result<WhatSmtpView, VerbError> {
    let target = Target::parse(&server, 25);
    let target = target.map_err(|why| VerbError::new(VerbErrorKind::Malformed, why))?;
    operating.asked.count(who, operating.node.instant())?;
    let settings = operating.node.settings();
    let addresses = addresses(&settings, &target).await?;
    talk(operating, &settings, &target, &addresses).await
}

async fn talk(
    operating: &Operating,
    settings: &Settings,
    target: &Target,
    addresses: &[IpAddr],
) -> Result<WhatSmtpView, VerbError> {
    let config = &settings.config;
    let ended = |why: String| VerbError::conflict(format!("{target}: {why}"));
    let begun = operating.node.instant();
    let since = |now: Instant| u64::try_from(now.since(begun).as_millis()).unwrap_or(u64::MAX);
    let sources = &operating.sources;
    let reached = leaving::connect_for(sources, config, &target.host, addresses, target.port).await;
    let reached = reached.map_err(ended)?;
    let connected_ms = since(operating.node.instant());
    let peer = reached.peer.map(|peer| peer.to_string());
    let mut dialog = Vec::new();
    let mut talk = Talk::new(Stream::Plain(reached.tcp), Masked::login(None));
    let greeting = talk.read(&mut dialog).await.map_err(ended)?;
    let greeted_ms = since(operating.node.instant());
    let name = reached.source.as_ref().map(|source| &source.ehlo);
    let ehlo = format!("EHLO {}", name.unwrap_or(&config.hostname));
    let mut offers = Extensions::parse(&talk.ask(&ehlo, &mut dialog).await.map_err(ended)?);
    let mut tls = "not offered".to_owned();
    if offers.has(Extension::StartTls) {
        let reply = talk.ask("STARTTLS", &mut dialog).await.map_err(ended)?;
        if let (true, Stream::Plain(tcp)) = (reply.is_positive(), talk.stream) {
            let name = target.host.as_str();
            let client = &settings.client_tls;
            let shaken = client.handshake(tcp, name, &Trust::Anyone, Hello::Full, TLS_WAIT);
            let shaken = shaken.await.map_err(|failure| ended(failure.to_string()))?;
            tls = shaken.cipher;
            talk = Talk::new(shaken.stream, Masked::login(None));
            offers = Extensions::parse(&talk.ask(&ehlo, &mut dialog).await.map_err(ended)?);
        } else {
            return Err(ended(format!("STARTTLS was offered, but refused: {reply}")));
        }
    }
    // All is known; whether the goodbye is heard makes no difference.
    drop(talk.ask("QUIT", &mut dialog).await);
    Ok(WhatSmtpView {
        server: target.to_string(),
        address: peer.unwrap_or_default(),
        connected_ms,
        greeted_ms,
        greeting: greeting.to_string(),
        offers: offers.to_string().lines().map(str::to_owned).collect(),
        tls,
        dialog,
    })
}
