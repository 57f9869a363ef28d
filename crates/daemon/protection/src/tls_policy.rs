//! How the mail of a domain must be protected at a host: what the administrator has set, what the
//! domain asks for by DANE, and what the author asks for by REQUIRETLS or TLS-Required.
//!
//! It is decided for each domain and message, also where domains share a site: one domain's policy
//! is never another's.

use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use deliver::TlsMode;
use mail::{Domain, EnhancedCode, Message, Reply, Timestamp, Tlsa};
use net::{Answer, DnsFinding, Hello, Security, Trust};
use node::Settings;
use route::{Dane, Host, NextHop, StsMode};

use crate::domain_tls::DomainTls;
use crate::sts::Sts;
use crate::{Protection, resolve};

/// Domains that are remembered; those of a look-up long ago are forgotten first.
const DOMAINS_MAX: usize = 100_000;
/// How long a host is known to need a small first message of TLS.
const SMALL_FOR: Duration = Duration::from_secs(86_400);
/// And how many hosts are.
const SMALL_MAX: usize = 10_000;
/// How long it is known that a host fails a domain's policy, and of how many.
const FAILED_FOR: Duration = Duration::from_secs(30);
const FAILED_MAX: usize = 10_000;

/// What the author of a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Usual,
    /// Delivery goes before the recipient domain's policies (TLS-Required: No, RFC 8689 §5).
    Optional,
    /// Only a host that proves who it is gets the mail (REQUIRETLS, RFC 8689 §4.2).
    Required,
}

/// For whom a connection is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// `None` where the administrator has named the server: no domain's wish counts there.
    pub domain: Option<Arc<DomainTls>>,
    /// Why it cannot be said now what the domain asks for.
    pub unknown: Option<String>,
    /// What is needed.
    pub need: Need,
}

impl Context {
    /// Whether a policy that is only tested wants to know what it would have found.
    pub fn is_tested(&self) -> bool {
        let sts = self.domain.as_ref().and_then(|d| d.sts.as_ref());
        sts.is_some_and(|sts| sts.policy.mode == StsMode::Testing)
    }
}

/// The recipients of a batch by what their domains ask for: those of one domain, or of domains that
/// ask for nothing, stay together.
pub async fn contexts(
    protection: &Protection,
    settings: &Settings,
    next: &NextHop,
    mode: TlsMode,
    message: &Message,
    numbers: impl Iterator<Item = u32>,
) -> Vec<(Context, Vec<u32>)> {
    let need = need(message);
    let mut groups: Vec<(Context, Vec<u32>)> = Vec::new();
    for number in numbers {
        let recipient = message.envelope.recipients.get(number as usize);
        let asked = match recipient.filter(|_| !next.configured) {
            Some(recipient) => of_domain(protection, settings, recipient.address.domain()).await,
            None => Ok(None),
        };
        let (domain, unknown) = match asked {
            Ok(domain) => (domain, None),
            Err(why) => (None, Some(why)),
        };
        let obeyed = |domain: &Arc<DomainTls>| {
            let dane = settings.config.outgoing.published.dane && domain.secure;
            dane && mode != TlsMode::None || domain.sts.is_some() || need == Need::Required
        };
        let context = Context {
            domain: domain.filter(obeyed),
            unknown,
            need,
        };
        match groups.iter_mut().find(|(known, _)| *known == context) {
            Some((_, group)) => group.push(number),
            None => groups.push((context, vec![number])),
        }
    }
    let only_signed = |context: &Context| {
        let domain = context.domain.as_ref();
        need != Need::Required && domain.is_some_and(|d| d.sts.is_none())
    };
    let several = groups.iter().filter(|(c, _)| only_signed(c)).count() > 1;
    if several && !any_may_have_records(settings, next).await {
        join(&mut groups, only_signed);
    }
    groups
}

/// Whether DANE can be about any host of a next hop: otherwise signed domains ask for nothing there.
async fn any_may_have_records(settings: &Settings, next: &NextHop) -> bool {
    for host in &next.hosts {
        let addresses = settings.dns.addresses(host.name.as_str()).await;
        let alias = addresses.alias.as_ref().is_some_and(|alias| alias.secure);
        // What could not be looked up may be secure when it is tried.
        let unknown = matches!(addresses.answer, Answer::Failed(_));
        if alias || unknown || addresses.security == Security::Secure {
            return true;
        }
    }
    false
}

/// Puts those together, with those whose domains ask for nothing, who ask for nothing there.
fn join(groups: &mut Vec<(Context, Vec<u32>)>, idle: impl Fn(&Context) -> bool) {
    let Some((context, _)) = groups.iter().find(|(context, _)| idle(context)) else {
        return;
    };
    let nothing = Context {
        domain: None,
        ..context.clone()
    };
    let mut joined = Vec::new();
    groups.retain_mut(|(context, numbers)| {
        let joins = *context == nothing || idle(context);
        if joins {
            joined.append(numbers);
        }
        !joins
    });
    groups.push((nothing, joined));
}

/// What a domain asks for; `None` where that is nothing.
///
/// # Errors
/// Why it cannot be said: then nothing may be sent as if it asked for nothing.
pub async fn of_domain(
    protection: &Protection,
    settings: &Settings,
    domain: &Domain,
) -> Result<Option<Arc<DomainTls>>, String> {
    let known = match protection.policies.get(domain) {
        Some(known) => known,
        None => {
            // Its look-up was long ago, or the memory was full: DNS still has the answer.
            let decided =
                resolve::decide(protection, settings, domain, None, protection.node.now()).await;
            decided.map_err(|verdict| verdict.reply.text.clone())?;
            match protection.policies.get(domain) {
                Some(known) => known,
                None => return Err(format!("what was known of {domain} was deleted")),
            }
        }
    };
    Ok(known.asks().then_some(known))
}

/// Whose wish the protection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The administrator's.
    Settings,
    /// The domain's, by TLSA records.
    Dane,
    /// The domain's, by a policy that it enforces.
    Sts,
    /// The author's.
    RequireTls,
}

impl By {
    /// The word for it in replies of ours.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Settings => "TLS",
            Self::Dane => "DANE",
            Self::Sts => "MTA-STS",
            Self::RequireTls => "REQUIRETLS",
        }
    }
}

/// Why a host gets nothing of this mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuledOut {
    /// What is said of it.
    pub reply: Reply,
    /// By whose wish.
    pub by: By,
    /// Another mail has just found that out: it is counted already.
    pub known: bool,
}

/// How a host is talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// How far TLS is insisted on.
    pub mode: TlsMode,
    /// Whom the certificate must come from.
    pub trust: Trust,
    /// The name that the host is asked for, and that its certificate bears.
    pub name: String,
    /// By whose wish.
    pub by: By,
}

impl Wanted {
    /// It in words, for `explain`.
    pub fn words(&self) -> String {
        let Trust::Dane { records, .. } = &self.trust else {
            return match (self.by, self.mode) {
                (By::Dane, _) => "DANE: TLS is required, else the mail waits; no TLSA record can be used, so the \
                                  host is not authenticated"
                    .to_owned(),
                (By::RequireTls, _) => {
                    "REQUIRETLS: TLS with a verified host name is required, else the mail is returned"
                        .to_owned()
                }
                (By::Sts, _) => {
                    "MTA-STS: TLS with a verified host name is required, else the mail waits".to_owned()
                }
                (By::Settings, TlsMode::None) => "none: never encrypted".to_owned(),
                (By::Settings, TlsMode::Opportunistic) => {
                    "opportunistic: encrypted if the host offers TLS, unencrypted if not or if TLS fails".to_owned()
                }
                (By::Settings, TlsMode::Require) => {
                    "require: TLS is required, else the mail waits; the host name is not verified".to_owned()
                }
                (By::Settings, TlsMode::Verify) => {
                    "verify: TLS with a verified host name is required, else the mail waits".to_owned()
                }
                (By::Settings, TlsMode::Implicit) => {
                    "implicit: TLS from the first octet, with a verified host name".to_owned()
                }
            };
        };
        let kinds: Vec<String> = records
            .iter()
            .map(|r| format!("{} {} {}", r.usage, r.selector, r.matching))
            .collect();
        format!(
            "DANE: TLS is required, and the host must match the TLSA records of {} ({}), else the mail waits",
            self.name,
            kinds.join(", ")
        )
    }

    /// What the administrator has set.
    pub(crate) fn by_settings(mode: TlsMode, host: &Host) -> Self {
        Self {
            mode,
            trust: match mode {
                TlsMode::Verify | TlsMode::Implicit => Trust::Roots,
                TlsMode::None | TlsMode::Opportunistic | TlsMode::Require => Trust::Anyone,
            },
            name: host.name.to_string(),
            by: By::Settings,
        }
    }
}

/// What is remembered of domains and hosts.
#[derive(Debug, Default)]
pub struct TlsPolicies {
    domains: RwLock<HashMap<Domain, (Arc<DomainTls>, Timestamp)>>,
    small: Mutex<HashMap<String, Timestamp>>,
    /// What was wrong with a host for a domain's policy, and until when that is not found out again.
    failed: Mutex<HashMap<(Domain, String), (Reply, Timestamp)>>,
}

impl TlsPolicies {
    /// What is known of a domain.
    pub(crate) fn get(&self, domain: &Domain) -> Option<Arc<DomainTls>> {
        let known = self.domains.read();
        known.get(domain).map(|(tls, _)| Arc::clone(tls))
    }

    /// Remembers what a look-up has found. What is unchanged stays the same value, by which a
    /// session knows whom it serves.
    pub(crate) fn set(&self, found: DomainTls, now: Timestamp) {
        let mut known = self.domains.write();
        if known.len() >= DOMAINS_MAX {
            let hour = Duration::from_secs(3600);
            known.retain(|_, (_, at)| now.since(*at) < hour);
            if known.len() >= DOMAINS_MAX {
                // Half of them; which, makes no difference: DNS knows them again.
                let mut kept = false;
                known.retain(|_, _| {
                    kept = !kept;
                    kept
                });
            }
        }
        match known.get_mut(&found.domain) {
            Some((same, at)) if **same == found => *at = now,
            Some(_) | None => {
                known.insert(found.domain.clone(), (Arc::new(found), now));
            }
        }
    }

    /// A host does not do what a domain's policy asks for: the domain's other mail need not find that out
    /// by itself for a while, connection by connection.
    pub fn failed(&self, domain: &Domain, host: &str, reply: &Reply, until: Timestamp) {
        let mut failed = self.failed.lock();
        if failed.len() >= FAILED_MAX {
            failed.clear();
        }
        let key = (domain.clone(), host.to_owned());
        failed.insert(key, (reply.clone(), until));
    }

    /// What was just found wrong with a host for a domain's policy.
    pub fn just_failed(&self, domain: &Domain, host: &str, now: Timestamp) -> Option<Reply> {
        let failed = self.failed.lock();
        if failed.is_empty() {
            return None;
        }
        let (reply, until) = failed.get(&(domain.clone(), host.to_owned()))?;
        (*until > now).then(|| reply.clone())
    }

    /// What was found wrong may be mended: it is found out anew.
    pub fn forget_failures(&self) {
        let mut failed = self.failed.lock();
        failed.clear();
    }

    /// With which first message a host is greeted.
    pub fn hello(&self, host: &str, now: Timestamp) -> Hello {
        let small = self.small.lock();
        match small.get(host) {
            Some(until) if *until > now => Hello::Small,
            Some(_) | None => Hello::Full,
        }
    }

    /// A host has answered a small first message, and swallowed the usual one.
    pub fn needs_small_hello(&self, host: &str, now: Timestamp) {
        let mut small = self.small.lock();
        if small.len() >= SMALL_MAX {
            small.clear();
        }
        small.insert(host.to_owned(), now + SMALL_FOR);
    }
}

/// How long it is known that a host fails a domain's policy: well over before a mail is sent again.
pub fn failed_for(settings: &Settings) -> Duration {
    let wait = settings.config.outgoing.plan.wait_after(1, 0);
    (wait.unwrap_or(FAILED_FOR) / 2).min(FAILED_FOR)
}

/// What the author of a message asks for.
pub(crate) fn need(message: &Message) -> Need {
    if message.envelope.terms.require_tls {
        return Need::Required;
    }
    let field = mail::find_header(&message.content, "TLS-Required");
    match field.is_some_and(|f| f.value.trim_ascii().eq_ignore_ascii_case(b"no")) {
        true => Need::Optional,
        false => Need::Usual,
    }
}

/// How a host is talked to for a domain's mail. `addresses` is what DNS says of the host.
///
/// # Errors
/// The reason of the host's being ruled out for this mail.
pub async fn wanted(
    settings: &Settings,
    next: &NextHop,
    mode: TlsMode,
    context: &Context,
    host: &Host,
    addresses: Option<&DnsFinding<IpAddr>>,
) -> Result<Wanted, RuledOut> {
    let own = Wanted::by_settings(mode, host);
    let required = context.need == Need::Required;
    let off = mode == TlsMode::None && !required || context.need == Need::Optional;
    if let Some(why) = context.unknown.as_ref().filter(|_| !off) {
        let text = format!("the TLS requirements of the domain cannot be looked up now: {why}");
        return Err(RuledOut {
            reply: Reply::own(EnhancedCode::new(4, 7, 5), text),
            by: By::Settings,
            known: false,
        });
    }
    let Some(domain) = context.domain.as_ref().filter(|_| !next.configured && !off) else {
        return match required {
            // An administrator has named the server: it is known without DNS.
            true if next.configured => Ok(proved(&own, host)),
            true => Err(unprotected(host, false)),
            false => match addresses.filter(|_| next.configured && !off) {
                Some(addresses) => by_its_records(settings, host, addresses, own).await,
                None => Ok(own),
            },
        };
    };
    if let Some(addresses) = addresses
        && settings.config.outgoing.published.dane
        && domain.secure
    {
        match dane(settings, host, addresses).await? {
            (_, Dane::None) => {}
            (name, Dane::Usable(records)) => {
                return Ok(by_dane(records, name, host, &domain.domain));
            }
            (_, Dane::Unusable) if mode == TlsMode::Verify || required => {}
            (name, Dane::Unusable) => {
                return Ok(encrypted(name));
            }
        }
    }
    match &domain.sts {
        Some(sts) if sts.policy.mode == StsMode::Enforce => by_sts(sts, host, &domain.domain),
        Some(sts) if required && sts.policy.names(&host.name) => Ok(proved(&own, host)),
        Some(_) | None if required && domain.secure => Ok(proved(&own, host)),
        Some(_) | None if required => Err(unprotected(host, domain.doubtful)),
        // A policy that is only tested changes nothing but the reports.
        Some(_) | None => Ok(own),
    }
}

/// A server that an administrator has named, and that says itself how it proves who it is.
async fn by_its_records(
    settings: &Settings,
    host: &Host,
    addresses: &DnsFinding<IpAddr>,
    own: Wanted,
) -> Result<Wanted, RuledOut> {
    Ok(match dane(settings, host, addresses).await? {
        (_, Dane::None) => own,
        (name, Dane::Usable(records)) => by_dane(records, name, host, &host.name),
        (name, Dane::Unusable) => encrypted(name),
    })
}

/// TLS is announced, by records that prove nothing to a mail client (RFC 7672 §2.2).
const fn encrypted(name: String) -> Wanted {
    Wanted {
        mode: TlsMode::Require,
        trust: Trust::Anyone,
        name,
        by: By::Dane,
    }
}

/// The host proves its name, or the mail comes back.
fn proved(own: &Wanted, host: &Host) -> Wanted {
    let name = host.name.to_ascii().unwrap_or_else(|| host.name.clone());
    Wanted {
        mode: match own.mode {
            TlsMode::Implicit => TlsMode::Implicit,
            TlsMode::None | TlsMode::Opportunistic | TlsMode::Require | TlsMode::Verify => {
                TlsMode::Verify
            }
        },
        trust: Trust::Roots,
        name: name.to_string(),
        by: By::RequireTls,
    }
}

/// Nothing says that this is the domain's host, but DNS that anyone could forge (RFC 8689 §4.2.1).
fn unprotected(host: &Host, doubtful: bool) -> RuledOut {
    let text = format!(
        "REQUIRETLS: neither DNSSEC nor MTA-STS confirms that {} is the domain's mail host",
        host.name
    );
    RuledOut {
        // What could not be asked today may be answered at the next try.
        reply: match doubtful {
            true => Reply::own(EnhancedCode::new(4, 7, 5), text),
            false => Reply::own(EnhancedCode::new(5, 7, 30), text),
        },
        by: By::RequireTls,
        known: false,
    }
}

/// A host that the policy does not name gets nothing; one that it names must prove its name.
fn by_sts(sts: &Sts, host: &Host, domain: &Domain) -> Result<Wanted, RuledOut> {
    if !sts.policy.names(&host.name) {
        let text = format!(
            "MTA-STS: the policy of {domain} does not name this host (it names {})",
            sts.policy.mx.join(", ")
        );
        return Err(RuledOut {
            reply: Reply::own(EnhancedCode::new(4, 7, 5), text),
            by: By::Sts,
            known: false,
        });
    }
    let name = host.name.to_ascii().unwrap_or_else(|| host.name.clone());
    Ok(Wanted {
        mode: TlsMode::Verify,
        trust: Trust::Roots,
        name: name.to_string(),
        by: By::Sts,
    })
}

/// The names in RFC 7672 §3.2.2: only an authority's certificates are asked for them.
fn by_dane(records: Vec<Tlsa>, name: String, host: &Host, domain: &Domain) -> Wanted {
    let names: Vec<String> = match records.iter().any(|r| r.usage == 2) {
        true => {
            let domain = domain.to_ascii().unwrap_or_else(|| domain.clone());
            let mut names = vec![name.clone(), host.name.to_string(), domain.to_string()];
            names.dedup();
            names
        }
        false => Vec::new(),
    };
    Wanted {
        mode: TlsMode::Verify,
        trust: Trust::Dane {
            records: records.into(),
            names: names.into(),
        },
        name,
        by: By::Dane,
    }
}

/// The TLSA records of a host, and the name that they belong to. They are asked for only where the
/// host's addresses, or at least its alias, are secure: hosts in unsigned zones answer such
/// questions badly (RFC 7672 §2.2.2).
async fn dane(
    settings: &Settings,
    host: &Host,
    addresses: &DnsFinding<IpAddr>,
) -> Result<(String, Dane), RuledOut> {
    let own = host.name.to_string();
    let names = match (&addresses.alias, addresses.security) {
        (Some(alias), Security::Secure) => vec![alias.target.clone(), own],
        (None, Security::Secure) => vec![own],
        (Some(alias), _) if alias.secure => vec![own],
        (Some(_) | None, _) => Vec::new(),
    };
    for name in names {
        let found = settings.dns.tlsa(&name, host.port).await;
        match found.answer {
            Answer::Found(records) if found.security == Security::Secure => {
                return Ok((name, route::usable(records)));
            }
            Answer::Found(_) | Answer::NoData | Answer::NxDomain => {}
            Answer::Failed(why) => {
                let text = format!("DANE: the TLSA lookup of {name} failed: {why}");
                return Err(RuledOut {
                    reply: Reply::own(EnhancedCode::new(4, 7, 5), text),
                    by: By::Dane,
                    known: false,
                });
            }
        }
    }
    Ok((String::new(), Dane::None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_host_is_found_out_anew_after_its_time_or_a_reload() {
        let policies = TlsPolicies::default();
        let now = Timestamp::from_secs(1_000_000);
        let [one, other] = ["a.example", "b.example"].map(|d| Domain::parse(d).unwrap());
        let reply = Reply::own(EnhancedCode::new(4, 7, 5), "no certificate of it");
        let until = now + FAILED_FOR;
        policies.failed(&one, "mx.example", &reply, until);
        let known = |domain, at| policies.just_failed(domain, "mx.example", at);
        assert_eq!(known(&one, now).as_ref(), Some(&reply));
        assert_eq!(
            known(&other, now),
            None,
            "one domain's policy is not another's"
        );
        assert_eq!(known(&one, until), None);
        policies.failed(&one, "mx.example", &reply, until);
        policies.forget_failures();
        assert_eq!(known(&one, now), None);
    }

    #[test]
    fn a_host_that_needs_a_small_hello_is_tried_with_the_usual_one_a_day_later() {
        let policies = TlsPolicies::default();
        let now = Timestamp::from_secs(1_000_000);
        policies.needs_small_hello("mx.example", now);
        let almost = now + SMALL_FOR - Duration::from_secs(1);
        assert!(matches!(policies.hello("mx.example", almost), Hello::Small));
        assert!(matches!(policies.hello("other.example", now), Hello::Full));
        assert!(matches!(
            policies.hello("mx.example", now + SMALL_FOR),
            Hello::Full
        ));
    }
}
