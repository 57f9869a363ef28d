//! Finding out where a domain's mail goes: the router's questions, asked.

use std::sync::Arc;
use std::time::Duration;

use config::RuleKeys;
use deliver::TlsMode;
use mail::{Destination, Domain, Timestamp, Verdict};
use net::{DnsFinding, Security};
use node::answers::answer;
use node::controls::Slow;
use node::detail::{log_addresses, words};
use node::hop::Hop;
use node::{Node, Settings};
use route::{Mode, MxRecord, NextHop, RouteSettings, Router, Step, Target};
use schedule::Resolution;

use crate::Protection;
use crate::domain_tls::DomainTls;
use crate::sts::Found;

/// A decision holds at least this long, so that a TTL of 0 does not ask for every mail.
const HOLDS_MIN: Duration = Duration::from_secs(1);
/// And at the most this long: what is decided without DNS, too.
const HOLDS_MAX: Duration = Duration::from_secs(300);

/// Decides for one domain.
pub async fn resolve(
    protection: &Protection,
    domain: &Domain,
    destination: Destination,
    route: Option<&str>,
    now: Timestamp,
) -> (Resolution, Option<Arc<Hop>>) {
    let settings = protection.node.settings();
    if destination != Destination::Outgoing {
        let next = NextHop {
            hosts: Vec::new(),
            configured: true,
            relay: false,
        };
        let hop = Hop {
            domain: domain.clone(),
            next,
            tls: TlsMode::None,
            credentials: None,
            sources: None,
            ignore: Vec::new(),
            destination,
        };
        let site = Resolution::Site {
            // No host can have this name.
            key: format!("({})", destination.word()).into(),
            group: None,
            expires: now + HOLDS_MAX,
        };
        return (site, Some(Arc::new(hop)));
    }
    match decide(protection, &settings, domain, route, now).await {
        Ok((next, expires)) => {
            let hop = hop(&settings, domain, next);
            let slow = protection.node.controls.slow(domain);
            let (key, group) = site_key(&settings, domain, &hop, slow);
            let site = Resolution::Site {
                key,
                group,
                expires,
            };
            (site, Some(Arc::new(hop)))
        }
        Err(verdict) => (Resolution::Unroutable(*verdict), None),
    }
}

/// Asks what the router wants to know until it has decided. `route` is where an administrator sends
/// the mail in either mode, instead of where the rules would.
pub(crate) async fn decide(
    protection: &Protection,
    settings: &Settings,
    domain: &Domain,
    route: Option<&str>,
    now: Timestamp,
) -> Result<(NextHop, Timestamp), Box<Verdict>> {
    let config = &settings.config;
    let via = config
        .rules
        .effective(domain)
        .key(|r: &RuleKeys| r.via_smtp.clone());
    let given = route.and_then(|route| Target::parse(route, config.routing.smtp_port).ok());
    let rerouted = given.is_some().then(|| RouteSettings {
        mode: Mode::Independent,
        ..config.routing.clone()
    });
    let routing = rerouted.as_ref().unwrap_or(&config.routing);
    let via = given.or(via);
    let decided = steps(
        &protection.node,
        settings,
        routing,
        domain,
        via.as_ref(),
        now,
    );
    let sts = async {
        match config.outgoing.published.mta_sts
            && via.is_none()
            && config.routing.mode == Mode::Independent
        {
            true => {
                protection
                    .sts
                    .policy(protection, settings, domain, now)
                    .await
            }
            false => (Found::None, now + HOLDS_MAX),
        }
    };
    let (decided, (sts, sts_until)) = tokio::join!(decided, sts);
    let (next, mut expires, security) = decided?;
    if !next.configured {
        expires = expires.min(sts_until);
        let validated = security != Security::Unchecked || !config.dns.dnssec;
        let found = DomainTls {
            domain: domain.clone(),
            secure: security == Security::Secure,
            doubtful: !validated || matches!(sts, Found::Failed(_)),
            sts: match sts {
                Found::Policy(sts) => Some(sts),
                // What cannot be had cannot be obeyed (RFC 8461 §3.3).
                Found::Failed(_) | Found::None => None,
            },
        };
        protection.policies.set(found, now);
    }
    Ok((next, expires.max(now + HOLDS_MIN)))
}

/// The router's questions, asked until it has decided; and whether DNSSEC protects the decision.
async fn steps(
    node: &Node,
    settings: &Settings,
    routing: &RouteSettings,
    domain: &Domain,
    via: Option<&Target>,
    now: Timestamp,
) -> Result<(NextHop, Timestamp, Security), Box<Verdict>> {
    let (mut router, mut step) = Router::begin(routing, domain, via, now);
    let mut expires = now + HOLDS_MAX;
    let mut security = Security::Insecure;
    loop {
        step = match step {
            Step::Go(next) => return Ok((next, expires, security)),
            Step::No(mut verdict) => {
                // An answer that did not come was waited for.
                verdict.at = node.now();
                verdict.timing.connecting = verdict.at.since(now);
                return Err(verdict);
            }
            Step::AskMx(name) => {
                let found = settings.dns.mx(name.as_str()).await;
                expires = expires.min(found.valid_until);
                // A denial counts too: where it could be forged, so could be the domain's being
                // its own mail host (RFC 7672 §2.2.1).
                security = found.security;
                log_mx(node, domain, &name, &found);
                router.mx_answer(answer(found.answer, |mx| MxRecord {
                    preference: mx.preference,
                    exchange: mx.exchange,
                }))
            }
            Step::AskAddress(name) => {
                let found = settings.dns.addresses(name.as_str()).await;
                expires = expires.min(found.valid_until);
                log_addresses(node, domain, name.as_str(), &found);
                router.address_answer(answer(found.answer, |ip| ip))
            }
        };
    }
}

fn log_mx(node: &Node, domain: &Domain, name: &Domain, found: &DnsFinding<net::MxFound>) {
    let hosts = words(&found.answer, |mx| {
        match mx.exchange.trim_end_matches('.') {
            "" => "accepts no mail (null MX)".to_owned(),
            host => format!("{}:{host}", mx.preference),
        }
    });
    let parent = (name != domain).then_some(name);
    let line = node.journal.line(node.now(), "mx").field("domain", domain);
    line.maybe("asked", parent).field("hosts", hosts).send();
}

fn hop(settings: &Settings, domain: &Domain, next: NextHop) -> Hop {
    let outgoing = &settings.config.outgoing;
    if next.relay {
        let relay = outgoing.relay.as_ref();
        return Hop {
            domain: domain.clone(),
            next,
            tls: relay.map_or(outgoing.tls, |r| r.tls),
            credentials: relay.and_then(|r| r.credentials.clone()),
            sources: None,
            ignore: Vec::new(),
            destination: Destination::Outgoing,
        };
    }
    let rules = settings.config.rules.effective(domain);
    let rule = rules.key(|r: &RuleKeys| r.tls);
    Hop {
        domain: domain.clone(),
        next,
        tls: rule.unwrap_or(outgoing.tls),
        credentials: None,
        sources: rules.key(|r: &RuleKeys| r.sources.clone()),
        ignore: rules
            .key(|r: &RuleKeys| r.ignore.clone())
            .unwrap_or_default(),
        destination: Destination::Outgoing,
    }
}

/// The name under which limits are protection, and that of the sites of one provider with the same limits. Domains
/// with limits or TLS of their own do not share the site of those without.
fn site_key(
    settings: &Settings,
    domain: &Domain,
    hop: &Hop,
    slow: Option<Slow>,
) -> (Arc<str>, Option<Arc<str>>) {
    let mut key = hop.next.site_key();
    if hop.next.configured {
        // DNS could name the same host, and must not get what a rule allows.
        key = format!("{key} (configured)").into();
    }
    if matches!(settings.config.routing.mode, Mode::Relay(_)) {
        return (key, None);
    }
    let rules = settings.config.rules.effective(domain);
    let own = [
        rules
            .key(|r: &RuleKeys| r.max_connections)
            .map(|n| format!(" connections={n}")),
        rules
            .key(|r: &RuleKeys| r.max_recipients)
            .map(|n| format!(" recipients={n}")),
        rules
            .key(|r: &RuleKeys| r.max_message_rate)
            .flatten()
            .map(|rate| format!(" rate={}/{}s", rate.count, rate.per.as_secs())),
        rules
            .key(|r: &RuleKeys| r.tls)
            .map(|tls| format!(" tls={tls:?}").to_lowercase()),
        rules
            .key(|r: &RuleKeys| r.sources.clone())
            .map(|pool| format!(" sources={pool}")),
        (!hop.ignore.is_empty()).then(|| {
            let names: Vec<&str> = hop.ignore.iter().map(|e| e.keyword()).collect();
            format!(" without={}", names.join("+"))
        }),
        slow.map(|slow| format!(" slowed {slow}")),
    ];
    let own: String = own.into_iter().flatten().collect();
    let with_own = |name: &str| Arc::from(format!("{name}{own}"));
    let group = hop.next.provider().map(with_own);
    (with_own(&key), group)
}
