//! Where the mail for an address would go now, and why: every decision on its way, from rewriting
//! to the site's standing. Nothing is sent; a probe talks to the mail host up to RCPT.

pub(crate) mod probe;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config::RuleKeys;
use deliver::TlsMode;
use dispatch::{policy, reactions};
use local::storing;
use mail::{Address, Domain, Outcome, Timestamp, format_duration};
use net::{Answer, DnsFinding};
use node::Settings;
use node::answers::answer;
use node::event::Event;
use ops::{Explanation, Malformed, VerbError};
use protection::Protection;
use protection::tls_policy::{self, Context, Need, Wanted, wanted};
use route::{Host, HostAddresses, Matcher, Mode, MxRecord, NextHop, Router, Step};
use sending::reach::named_in_dns;
use sources::leaving;
use tokio::sync::oneshot;
use world::Clock;

use self::probe::run_probe;
use crate::Operating;

/// Hosts whose addresses are looked up; no attempt tries more.
const HOSTS_MAX: usize = 5;

/// A mail host with its addresses, and how it is talked to.
type Reachable = (Host, Vec<IpAddr>, Wanted);

/// What the domain for tests is for.
fn tests(address: &Address, found: &mut Explanation) {
    if address.domain().as_str() == intake::TEST_DOMAIN {
        found.step(
            "test",
            format!(
                "the domain is for mail of test keys; the part before the @ selects the simulated result: {}",
                intake::TEST_NAMES.join(", ")
            ),
        );
    }
}

/// Explains an address.
///
/// # Errors
/// When it is none.
pub(crate) async fn explain(
    operating: &Arc<Operating>,
    text: &str,
    probe: bool,
) -> Result<Explanation, VerbError> {
    let given = Address::parse(text).map_err(Malformed::from)?;
    let settings = operating.node.settings();
    let mut found = Explanation::new(text);
    let address = behind_alias(&settings, given, &mut found).await;
    if settings.policy.local.contains(address.domain()) {
        let domain = address.domain();
        found.step(
            "local",
            format!("{domain} is a local domain (local.domains)"),
        );
        found.verdict = storing::explained(&settings, &address).await;
        return Ok(found);
    }
    tests(&address, &mut found);
    suppressions(&settings, &address, &mut found);
    rules(&settings, address.domain(), &mut found);
    let (clock, domain) = (operating.node.clock.handle(), address.domain());
    let next = match next_hop(clock, &settings, domain, &mut found).await {
        Ok(next) => next,
        Err(why) => {
            found.verdict = why;
            return Ok(found);
        }
    };
    let mode = tls(&settings, address.domain(), &next);
    let context = wishes(&operating.protection, &settings, domain, &next, &mut found).await;
    let hosts = hosts(clock, &settings, &next, mode, &context, &mut found).await;
    limits(operating, &settings, address.domain(), &next, &mut found);
    found.step(
        "source",
        leaving::explained(&operating.sources, &settings.config, address.domain()),
    );
    let obstacle = standing(operating, &settings, domain, &mut found).await;
    found.verdict = match (obstacle, hosts.first()) {
        (Some(why), _) => format!("it would wait: {why}"),
        (None, None) => {
            "it would be deferred: no mail host has an address that this server may connect to"
                .to_owned()
        }
        (None, Some((host, addresses, _))) => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            format!(
                "it would be sent to {}:{} ({})",
                host.name,
                host.port,
                addresses.join(" ")
            )
        }
    };
    if probe {
        match hosts.into_iter().next() {
            Some(host) => {
                let relay = settings.config.outgoing.relay.as_ref();
                let relay = relay.filter(|_| next.relay);
                let login = relay.and_then(|relay| relay.credentials.clone());
                run_probe(operating, &settings, &host, login, &address, &mut found).await;
            }
            None => found.step("probe", "there is no host to probe"),
        }
    }
    Ok(found)
}

/// The address that an alias or a rule makes of one, if any does; of several the first, with a word about the others.
async fn behind_alias(settings: &Settings, given: Address, found: &mut Explanation) -> Address {
    let Some(targets) = settings.policy.alias(&given) else {
        return rewritten(settings, given, found);
    };
    let all: Vec<String> = targets.iter().map(ToString::to_string).collect();
    found.step("alias", format!("its mail goes to {}", all.join(", ")));
    for other in targets.iter().skip(1) {
        let what = match settings.policy.local.contains(other.domain()) {
            true => storing::explained(settings, other).await,
            false => format!("it leaves this server: `sendoff explain {other}`"),
        };
        found.step("and", format!("for {other}: {what}"));
    }
    targets.first().cloned().unwrap_or(given)
}

/// The address that the rules make of one, if any does.
fn rewritten(settings: &Settings, given: Address, found: &mut Explanation) -> Address {
    let Some(rewritten) = settings.policy.rewriting.apply(&given) else {
        return given;
    };
    let words = format!("a rule sends it to {rewritten} instead");
    found.step("rewriting", words);
    rewritten
}

/// What the domain itself asks for.
async fn wishes(
    protection: &Protection,
    settings: &Settings,
    domain: &Domain,
    next: &NextHop,
    found: &mut Explanation,
) -> Context {
    let domain = match next.configured {
        true => None,
        false => match tls_policy::of_domain(protection, settings, domain).await {
            Ok(domain) => domain,
            Err(why) => {
                found.step(
                    "tls",
                    format!("the TLS requirements of the domain are not known: {why}"),
                );
                None
            }
        },
    };
    if let Some(sts) = domain.as_ref().and_then(|d| d.sts.as_ref()) {
        found.step("mta-sts", sts.words());
    }
    Context {
        domain,
        unknown: None,
        need: Need::Usual,
    }
}

/// Whose mail to it is not taken at all.
fn suppressions(settings: &Settings, address: &Address, found: &mut Explanation) {
    let filter = intake::SuppressionFilter {
        recipient: Some(address.clone()),
        ..intake::SuppressionFilter::default()
    };
    let (entries, _) = settings.policy.suppressed.list(&filter, 0, 10);
    for entry in entries.iter().filter(|entry| entry.in_force) {
        let (scope, cause) = (&entry.scope, entry.cause.word());
        let since = entry.since;
        let text = format!(
            "mail of {scope} has been refused since {since} ({cause}: {})",
            entry.reason
        );
        found.step("suppression", text);
    }
}

/// The rules that match, the closest first.
fn rules(settings: &Settings, domain: &Domain, found: &mut Explanation) {
    let relay = matches!(settings.config.routing.mode, Mode::Relay(_));
    let mut any = false;
    for rule in settings.config.rules.effective(domain).rules() {
        any = true;
        let name = match &rule.matcher {
            Matcher::Exact(domain) => domain.to_string(),
            Matcher::Below(domain) => format!(".{domain}"),
            Matcher::All => "*".to_owned(),
        };
        let set = keys_set(&rule.set);
        let effect = match relay {
            true => " (Relay Mode: only its retries have an effect)",
            false => "",
        };
        found.step("rule", format!("[[domain]] {name}: {set}{effect}"));
    }
    if !any {
        found.step("rule", "no [[domain]] rule matches");
    }
}

fn keys_set(keys: &RuleKeys) -> String {
    let set = [
        keys.via_smtp.as_ref().map(|t| format!("via_smtp {t}")),
        keys.additional_resend_attempts
            .map(|n| format!("additional_resend_attempts {n}")),
        keys.resend_attempts.map(|n| format!("resend_attempts {n}")),
        keys.resend_wait
            .map(|d| format!("resend_wait {}", format_duration(d))),
        keys.plan.as_ref().map(|_| "plan".to_owned()),
        keys.tls.map(|tls| format!("tls {tls:?}").to_lowercase()),
        keys.max_connections.map(|n| format!("max_connections {n}")),
        keys.max_message_rate.map(|rate| match rate {
            Some(rate) => format!(
                "max_message_rate {}/{}",
                rate.count,
                format_duration(rate.per)
            ),
            None => "max_message_rate none".to_owned(),
        }),
        keys.max_recipients.map(|n| format!("max_recipients {n}")),
    ];
    let set: Vec<String> = set.into_iter().flatten().collect();
    match set.is_empty() {
        true => "only rewriting".to_owned(),
        false => set.join(", "),
    }
}

/// The decision where it goes, with every question to DNS and its answer.
async fn next_hop(
    clock: &Clock,
    settings: &Settings,
    domain: &Domain,
    found: &mut Explanation,
) -> Result<NextHop, String> {
    let config = &settings.config;
    let via = config
        .rules
        .effective(domain)
        .key(|r: &RuleKeys| r.via_smtp.clone());
    found.step(
        "mode",
        match &config.routing.mode {
            Mode::Relay(_) => "Relay Mode: no MX lookup is made",
            Mode::Independent if via.is_some() => "Independent Mode, with a Via SMTP rule: no MX",
            Mode::Independent => "Independent Mode: the MX records decide",
        },
    );
    let (mut router, mut step) = Router::begin(&config.routing, domain, via.as_ref(), clock.now());
    loop {
        step = match step {
            Step::Go(next) => return Ok(next),
            Step::No(verdict) => {
                let end = match verdict.outcome {
                    Outcome::Deferred => "it would be deferred",
                    Outcome::Failed | Outcome::Expired | Outcome::Delivered => "it would fail",
                };
                return Err(format!("{end}: {}", verdict.reply));
            }
            Step::AskMx(name) => {
                let said = settings.dns.mx(name.as_str()).await;
                let shown = words(&said, clock.now(), |mx| {
                    format!("{} {}", mx.preference, mx.exchange)
                });
                found.step("dns", format!("{name} MX: {shown}"));
                router.mx_answer(answer(said.answer, |mx| MxRecord {
                    preference: mx.preference,
                    exchange: mx.exchange,
                }))
            }
            Step::AskAddress(name) => {
                let said = settings.dns.addresses(name.as_str()).await;
                let shown = words(&said, clock.now(), ToString::to_string);
                found.step("dns", format!("{name} A and AAAA: {shown}"));
                router.address_answer(answer(said.answer, |ip| ip))
            }
        };
    }
}

/// An answer of DNS in words, with what DNSSEC says of it.
fn words<T>(finding: &DnsFinding<T>, now: Timestamp, show: impl Fn(&T) -> String) -> String {
    let shown = match &finding.answer {
        Answer::Found(list) => list.iter().map(show).collect::<Vec<_>>().join(", "),
        Answer::NoData => "none".to_owned(),
        Answer::NxDomain => "no such name".to_owned(),
        Answer::Failed(why) => return format!("failed: {why}"),
    };
    let life = finding.valid_until.since(now);
    let alias = match &finding.alias {
        Some(alias) => format!(", by its alias {}", alias.target),
        None => String::new(),
    };
    format!(
        "{shown}{alias} (for {}; DNSSEC: {})",
        format_duration(Duration::from_secs(life.as_secs())),
        finding.security.word()
    )
}

/// The hosts in their order, with the addresses that may be connected to.
async fn hosts(
    clock: &Clock,
    settings: &Settings,
    next: &NextHop,
    mode: TlsMode,
    context: &Context,
    found: &mut Explanation,
) -> Vec<Reachable> {
    let mut reachable = Vec::new();
    for (place, host) in next.hosts.iter().enumerate() {
        let name = format!("{} {}:{}", host.preference, host.name, host.port);
        if place >= HOSTS_MAX {
            found.step(
                "host",
                format!("{name}: not tried: {HOSTS_MAX} others come before it"),
            );
            continue;
        }
        let mut finding = None;
        let addresses = match host.addresses {
            HostAddresses::Literal(ip) => Ok(vec![ip]),
            HostAddresses::LookUp => {
                let answer = settings.dns.addresses(host.name.as_str()).await;
                let shown = words(&answer, clock.now(), ToString::to_string);
                found.step("dns", format!("{} A and AAAA: {shown}", host.name));
                match finding.insert(answer).answer.clone() {
                    Answer::Found(list) if settings.config.routing.is_ourselves(host, &list) => {
                        found.step(
                            "host",
                            format!(
                                "{name}: this server itself; it and the hosts after it are skipped"
                            ),
                        );
                        break;
                    }
                    Answer::Found(list) => {
                        let usable = settings.config.routing.usable(next, host, &list);
                        usable.map_err(|why| why.to_string())
                    }
                    Answer::NoData | Answer::NxDomain => {
                        by_system(next, host).await.map_err(|why| why.to_string())
                    }
                    Answer::Failed(why) => by_system(next, host).await.map_err(|_| why.to_string()),
                }
            }
        };
        match addresses {
            Ok(list) => {
                let shown: Vec<String> = list.iter().map(ToString::to_string).collect();
                found.step("host", format!("{name}: {}", shown.join(" ")));
                if next.configured {
                    finding = named_in_dns(settings, mode, host).await;
                }
                match wanted(settings, next, mode, context, host, finding.as_ref()).await {
                    Ok(wanted) => {
                        found.step("tls", format!("{}: {}", host.name, wanted.words()));
                        reachable.push((host.clone(), list, wanted));
                    }
                    Err(why) => {
                        found.step("tls", format!("{}: not used, {}", host.name, why.reply))
                    }
                }
            }
            Err(why) => found.step("host", format!("{name}: not used, {why}")),
        }
    }
    reachable
}

/// A server that the administrator named is found by the hosts file as well.
async fn by_system(next: &NextHop, host: &Host) -> std::io::Result<Vec<IpAddr>> {
    let none = || std::io::Error::other("it has no address");
    if !next.configured {
        return Err(none());
    }
    let found = net::addresses_by_system(host.name.as_str()).await?;
    match found.is_empty() {
        true => Err(none()),
        false => Ok(found),
    }
}

fn tls(settings: &Settings, domain: &Domain, next: &NextHop) -> TlsMode {
    let outgoing = &settings.config.outgoing;
    if next.relay {
        return outgoing.relay.as_ref().map_or(outgoing.tls, |r| r.tls);
    }
    let rules = settings.config.rules.effective(domain);
    rules.key(|r: &RuleKeys| r.tls).unwrap_or(outgoing.tls)
}

fn limits(
    operating: &Operating,
    settings: &Settings,
    domain: &Domain,
    next: &NextHop,
    found: &mut Explanation,
) {
    let relay = settings.config.outgoing.relay.as_ref();
    if let Some(preset) = relay.filter(|_| next.relay).and_then(|r| r.preset)
        && let Some(words) = operating.sending.relayed.explained(preset)
    {
        found.step("provider", words);
    }
    let policy_of = policy::policy_of(&settings.config, operating.node.controls.slowed());
    let policy = policy_of(domain, mail::Destination::Outgoing);
    let rate = policy.rate.map_or_else(
        || "no rate limit".to_owned(),
        |rate| format!("{} messages in {}", rate.count, format_duration(rate.per)),
    );
    let slowed = match operating.node.controls.slow(domain) {
        Some(slow) => format!("; slowed by an administrator ({slow})"),
        None => String::new(),
    };
    found.step(
        "limits",
        format!(
            "up to {} connections, up to {} recipients per transaction, {rate}{slowed}",
            policy.connections_max, policy.recipients_max
        ),
    );
    let lifetime = policy.lifetime.map_or_else(String::new, |d| {
        format!(", but no longer than {}", format_duration(d))
    });
    found.step(
        "retries",
        format!(
            "{} over {}{lifetime}",
            policy.plan.resends(),
            format_duration(policy.plan.span())
        ),
    );
}

/// What stands in the way at this moment, if anything does.
async fn standing(
    operating: &Arc<Operating>,
    settings: &Settings,
    domain: &Domain,
    found: &mut Explanation,
) -> Option<String> {
    let (ask, told) = oneshot::channel();
    operating.node.tell(Event::Domain(domain.clone(), ask));
    let (paused, site) = told.await.unwrap_or((false, None));
    let site = site.map(|site| operating.dispatch.reactions.view(site));
    match &site {
        Some(site) => {
            let failure = reactions::said(site);
            found.step(
                "site",
                format!(
                    "{}: {}, {} of {} connections busy, {} recipients due{failure}",
                    site.site, site.standing, site.busy, site.window, site.due
                ),
            );
        }
        None => found.step("site", "no recent mail to it"),
    }
    if !settings.config.outgoing.enabled {
        return Some("outgoing mail is switched off (outgoing.enabled)".to_owned());
    }
    if paused {
        return Some(format!("{domain} is paused (sendoff site resume {domain})"));
    }
    site.filter(|site| site.is_shut)
        .map(|site| format!("its site is {}", site.standing))
}
