//! From the configuration to the scheduler's settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{Config, RuleKeys};
use mail::{Destination, Domain};
use node::controls::Slow;
use route::Mode;
use schedule::{Plan, Policy, PolicyOf, Settings};

/// Recipients of a message that go in one transaction unless a rule says otherwise; RFC 5321
/// §4.5.3.1.8 makes every server take 100.
const RECIPIENTS_MAX: u32 = 100;
/// Lookups at once.
const LOOKUPS_MAX: u32 = 200;

/// The scheduler's settings.
pub(crate) fn settings(config: &Config) -> Settings {
    Settings {
        enabled: config.outgoing.enabled,
        connections_max: config.outgoing.max_connections,
        lookups_max: LOOKUPS_MAX,
        delay_notice_after: config.outgoing.delay_notice_after,
        seed: u64::from(std::process::id()),
    }
}

/// The scheduler's source of policies.
pub fn policy_of(config: &Config, slowed: BTreeMap<Domain, Slow>) -> PolicyOf {
    let rules = Arc::clone(&config.rules);
    let outgoing = config.outgoing.clone();
    let relay = matches!(config.routing.mode, Mode::Relay(_));
    Box::new(move |domain: &Domain, destination: Destination| {
        let found = rules.effective(domain);
        let mut policy = Policy {
            plan: Arc::clone(&outgoing.plan),
            lifetime: outgoing.lifetime,
            connections_max: outgoing.max_connections_per_site,
            recipients_max: RECIPIENTS_MAX,
            rate: None,
        };
        if destination != Destination::Outgoing {
            return policy;
        }
        if let Some(plan) = plan(&found, &outgoing.plan) {
            policy.plan = Arc::new(plan);
        }
        if relay {
            // Everything goes to one place, and that place is given all that is allowed.
            return policy;
        }
        if let Some(max) = found.key(|r: &RuleKeys| r.max_connections) {
            policy.connections_max = if max == 0 {
                outgoing.max_connections
            } else {
                max
            };
        }
        if let Some(max) = found
            .key(|r: &RuleKeys| r.max_recipients)
            .filter(|n| *n > 0)
        {
            policy.recipients_max = max;
        }
        policy.rate = found.key(|r: &RuleKeys| r.max_message_rate).flatten();
        if let Some(slow) = slowed.get(domain) {
            policy.rate = slow.rate.or(policy.rate);
            policy.connections_max = slow.connections.unwrap_or(policy.connections_max);
        }
        policy
    })
}

/// A plan of the domain's own, where a rule makes one.
fn plan(found: &route::Effective<'_, RuleKeys>, general: &Plan) -> Option<Plan> {
    let named = found.key(|r: &RuleKeys| r.plan.clone());
    let attempts = found.key(|r: &RuleKeys| r.resend_attempts);
    let wait = found.key(|r: &RuleKeys| r.resend_wait);
    let more = found.key(|r: &RuleKeys| r.additional_resend_attempts);
    let own = match (named, attempts, wait) {
        (Some(plan), _, _) => Some(plan),
        (None, None, None) => None,
        (None, attempts, wait) => {
            let wait = wait.or_else(|| general.wait_after(1, 0));
            let wait = wait.unwrap_or(std::time::Duration::from_secs(300));
            Some(Plan::fixed(
                attempts.unwrap_or_else(|| general.resends()),
                wait,
            ))
        }
    };
    match more {
        Some(more) => Some(own.unwrap_or_else(|| general.clone()).with_additional(more)),
        None => own,
    }
}
