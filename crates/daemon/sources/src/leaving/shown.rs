//! What administrators are shown of the addresses that mail leaves from.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use config::sources::{Pool, Source};
use config::{Config, RuleKeys};
use mail::Domain;
use ops::SourceView;
use route::Mode;

use super::{Choice, Reached, Unreached, connect};
use crate::Sources;

/// From where mail to a domain leaves, as far as that is known without the mail.
pub fn explained(sources: &Sources, config: &Config, domain: &Domain) -> String {
    let configured = &config.sources;
    let by_rule = by_domain(config, domain);
    let now = sources.node.now();
    let usable = |pool: &Arc<Pool>| {
        let usable = pool.sources.iter();
        let usable = usable.filter(|s| sources.states.trouble(s, now).is_none());
        let words: Vec<String> = usable
            .map(|s| {
                let day = s.warm_day(now).map(|day| format!(", {}", day.words()));
                let day = day.unwrap_or_default();
                format!("{} as {} (weight {}{day})", s.address, s.ehlo, s.weight)
            })
            .collect();
        match words.is_empty() {
            true => format!("pool {}: no address is in service", pool.name),
            false => format!("pool {}: {}", pool.name, words.join(", ")),
        }
    };
    if let Some(pool) = by_rule {
        return format!("{} (domain.sources)", usable(pool));
    }
    let default = configured.default.as_ref();
    let mut words = default.map_or_else(|| "the system chooses".to_owned(), usable);
    for rule in &configured.rules {
        words.push_str(&format!("\nmail {}: {}", rule.words(), usable(&rule.pool)));
    }
    words
}

/// Sources that cannot be used, in words.
pub fn faults(sources: &Sources, config: &Config) -> Vec<String> {
    let now = sources.node.now();
    let pools = config.sources.pools.values();
    let all: BTreeMap<&str, &Source> = pools
        .flat_map(|pool| pool.sources.iter().map(|s| (&*s.name, &**s)))
        .collect();
    let fault = |source: &Source| {
        let trouble = sources.states.trouble(source, now)?;
        let (name, address) = (&source.name, source.address);
        let (why, until) = (trouble.why, trouble.until);
        Some(format!(
            "source {name} ({address}): {why}; next try at {until}"
        ))
    };
    all.into_values().filter_map(fault).collect()
}

/// Connects as mail to a domain would, as far as that is known without the mail.
///
/// # Errors
/// What is wrong, in words.
pub async fn connect_for(
    sources: &Sources,
    config: &Config,
    domain: &Domain,
    to: &[IpAddr],
    port: u16,
) -> Result<Reached, String> {
    let pool = by_domain(config, domain).or(config.sources.default.as_ref());
    let choice =
        pool.map(|pool| Choice::in_order(Arc::clone(pool), sources.node.now().as_millis()));
    let limit = config.outgoing.timeouts.connect;
    let reached = connect(sources, choice.as_ref(), 0, to, port, limit).await;
    reached.map_err(|unreached| match unreached {
        Unreached::Host(_, why) | Unreached::Ours(why, _) => why,
        Unreached::Later(later) => later.why,
    })
}

/// The pool that the rules name for a domain.
fn by_domain<'a>(config: &'a Config, domain: &Domain) -> Option<&'a Arc<Pool>> {
    let relay = matches!(config.routing.mode, Mode::Relay(_));
    let rules = config.rules.effective(domain);
    let named = rules
        .key(|r: &RuleKeys| r.sources.clone())
        .filter(|_| !relay)?;
    config.sources.pools.get(&named)
}

/// How many sources there are, and how many of them are out of service.
pub fn counts(sources: &Sources) -> (u64, u64) {
    let settings = sources.node.settings();
    let all = &settings.config.sources.all;
    let now = sources.node.now();
    let out = all
        .iter()
        .filter(|s| sources.states.trouble(s, now).is_some());
    (all.len() as u64, out.count() as u64)
}

/// All sources, and how they fare.
pub fn views(sources: &Sources) -> Vec<SourceView> {
    let settings = sources.node.settings();
    let configured = &settings.config.sources;
    let now = sources.node.now();
    let view = |source: &Arc<Source>| {
        let state = sources.states.of(source);
        let trouble = state.trouble.filter(|t| t.until > now);
        let pools = configured.pools.values().chain(&configured.default);
        let pools = pools.filter(|pool| pool.sources.contains(source));
        let mut pools: Vec<String> = pools.map(|pool| pool.name.clone()).collect();
        pools.dedup();
        SourceView {
            name: source.name.to_string(),
            address: source.address.to_string(),
            pools,
            ehlo: source.ehlo.to_string(),
            weight: source.weight,
            proxy: source.proxy.as_ref().map(|p| p.address.to_string()),
            state: match trouble {
                Some(_) => "out of service",
                None => "in service",
            }
            .to_owned(),
            until: trouble.as_ref().map(|t| t.until.to_string()),
            why: trouble.map(|t| t.why),
            connections: state.connections,
            warm_up: sources.warm_ups.view(source, now),
        }
    };
    configured.all.iter().map(view).collect()
}
