//! What is taken in: listeners, limits, local domains, rewriting.

use std::net::SocketAddr;
use std::time::Duration;

use mail::{Address, Domain};
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::raw::{self, Raw, Text};
use super::values::{choice, duration, networks, size};
use super::{ConnectionLimits, LocalStore, TlsFiles, memory};

type Result<T> = std::result::Result<T, ConfigError>;

/// A session with a client ends at this age, where nothing else is set.
const SESSION_AGE_MAX: Duration = Duration::from_secs(4 * 3600);

/// Of users who log in by a password: more than people write, less than spammers need.
const LOGIN_QUOTA: intake::Quota = intake::Quota {
    recipients: 1000,
    per: Duration::from_secs(86_400),
};

pub(super) fn intake(
    raw: &Raw,
    place: &Place<'_>,
    hostname: &Domain,
    postmaster: &Address,
    tls: &TlsFiles,
    local: &LocalStore,
) -> Result<(Vec<SocketAddr>, intake::Policy)> {
    let mut policy = intake::Policy::new(hostname.as_str(), postmaster.clone());
    policy.tls_available = tls.certificate.is_some();
    let submission = &raw.submission;
    policy.fix_ups = intake::FixUps {
        date: submission.add_date.unwrap_or(true),
        message_id: submission.add_message_id.unwrap_or(true),
        remove_bcc: submission.remove_bcc.unwrap_or(true),
        remove_return_path: true,
    };
    policy.check_sender = submission.check_sender.unwrap_or(true);
    policy.locals_log_in = !raw.sendmail.any_sender.unwrap_or(true);
    policy.check_from = check_from(submission, place)?;
    policy.quotas = intake::Quotas {
        user: quotas(raw.quota.user.as_deref(), place, "quota.user")?,
        login: login_quotas(&raw.quota, place)?,
        address: quotas(Some(&raw.quota.address), place, "quota.address")?,
        domain: quotas(Some(&raw.quota.domain), place, "quota.domain")?,
    };
    let mut addresses = Vec::new();
    match &raw.listener {
        None => {
            addresses.push(SocketAddr::from(([127, 0, 0, 1], 2525)));
            policy.listeners.push(intake::Listener {
                fix_ups: policy.fix_ups,
                ..intake::Listener::loopback()
            });
        }
        Some(list) => {
            for entry in list {
                let (address, listener) = listener(entry.get_ref(), policy.fix_ups, place)?;
                // Port 0 is any that is free.
                if address.port() != 0 && addresses.contains(&address) {
                    let why = format!("another listener has {address} already: give each its own");
                    return Err(place.key(entry.span(), "listener.address", why));
                }
                addresses.push(address);
                policy.listeners.push(listener);
            }
        }
    }
    let domain = |text: &Spanned<String>| {
        Domain::parse(text.get_ref()).map_err(|e| place.key(text.span(), "local.domains", e))
    };
    let domains = raw
        .local
        .domains
        .iter()
        .map(domain)
        .collect::<Result<Vec<_>>>()?;
    policy.local = intake::LocalDomains::new(domains, *local != LocalStore::None);
    policy.local.store_knows = match local {
        LocalStore::None => false,
        LocalStore::Maildir(_) => !raw.local.create.unwrap_or(true),
        LocalStore::LmtpTcp(_) | LocalStore::LmtpUnix(_) => true,
    };
    policy.paths = super::paths::paths(raw, place)?;
    policy.rewriting = rewriting(&raw.domain, place)?;
    limits(raw, place, &mut policy)?;
    check(&policy, &addresses, raw, place)?;
    Ok((addresses, policy))
}

/// Whether the listeners are safe.
fn check(
    policy: &intake::Policy,
    addresses: &[SocketAddr],
    raw: &Raw,
    place: &Place<'_>,
) -> Result<()> {
    policy.check().map_err(|error| {
        use intake::PolicyError as E;
        let of = |n: usize| raw.listener.as_ref().and_then(|list| list.get(n));
        let own = |n, text: fn(&raw::Listener) -> &Text| {
            of(n).and_then(|entry| Some(text(entry.get_ref()).as_ref()?.span()))
        };
        let (n, key, span) = match error {
            E::OpenRelay { listener } => (listener, "listener.networks", None),
            E::LoginWithoutTls { listener } => {
                (listener, "listener.auth", own(listener, |l| &l.auth))
            }
            E::TlsWithoutCertificate { listener } => {
                (listener, "listener.tls", own(listener, |l| &l.tls))
            }
            _ => (0, "listener", None),
        };
        let span = span.or_else(|| of(n).map(Spanned::span));
        // Its address says more than its number.
        let (numbered, address) = (format!("listener {}", n + 1), addresses.get(n));
        let named = address.map_or_else(|| numbered.clone(), |a| format!("listener {a}"));
        let error = error.to_string().replace(&numbered, &named);
        place.key(span.unwrap_or(0..0), key, error)
    })
}

fn check_from(raw: &raw::Submission, place: &Place<'_>) -> Result<intake::CheckFrom> {
    let words = [
        ("from", intake::CheckFrom::From),
        ("sender", intake::CheckFrom::Sender),
        ("off", intake::CheckFrom::Off),
    ];
    let check = choice(&raw.check_from, place, "submission.check_from", &words)?;
    Ok(check.unwrap_or_default())
}

/// What a stolen password meets, unless an administrator has thought about users before.
fn login_quotas(raw: &raw::Quota, place: &Place<'_>) -> Result<Vec<intake::Quota>> {
    match (&raw.login, &raw.user) {
        (None, None) => Ok(vec![LOGIN_QUOTA]),
        (login, _) => quotas(login.as_deref(), place, "quota.login"),
    }
}

fn quotas(
    list: Option<&[Spanned<String>]>,
    place: &Place<'_>,
    key: &str,
) -> Result<Vec<intake::Quota>> {
    let quota = |text: &Spanned<String>| {
        let parsed = text.get_ref().parse();
        parsed.map_err(|e: intake::ParseQuotaError| place.key(text.span(), key, e))
    };
    list.unwrap_or_default().iter().map(quota).collect()
}

fn listener(
    raw: &raw::Listener,
    fix_ups: intake::FixUps,
    place: &Place<'_>,
) -> Result<(SocketAddr, intake::Listener)> {
    let address = match &raw.address {
        None => SocketAddr::from(([127, 0, 0, 1], 2525)),
        Some(text) => text.get_ref().parse().map_err(|_| {
            let given = text.get_ref();
            let why = format!("`{given}` is not an address with a port: write \"127.0.0.1:2525\"");
            place.key(text.span(), "listener.address", why)
        })?,
    };
    let tls = [
        ("none", intake::Tls::None),
        ("starttls", intake::Tls::StartTls),
        ("implicit", intake::Tls::Implicit),
    ];
    let auth = [
        ("required", intake::Auth::Required),
        ("optional", intake::Auth::Optional),
        ("none", intake::Auth::None),
    ];
    let mut listener = intake::Listener::loopback();
    if let Some(tls) = choice(&raw.tls, place, "listener.tls", &tls)? {
        listener.tls = tls;
    }
    if let Some(auth) = choice(&raw.auth, place, "listener.auth", &auth)? {
        listener.auth = auth;
    }
    if let Some(list) = &raw.networks {
        listener.networks = networks(list, place, "listener.networks")?;
        let open = listener.networks.iter().position(|n| n.prefix_len() == 0);
        if let Some(span) = open.and_then(|n| list.get(n)) {
            let why = "a network of every address would make this server an open relay: list only \
                       your own networks";
            return Err(place.key(span.span(), "listener.networks", why));
        }
    }
    if let Some(list) = &raw.proxies {
        listener.proxies = networks(list, place, "listener.proxies")?;
        let open = listener.proxies.iter().position(|n| n.prefix_len() == 0);
        if let Some(span) = open.and_then(|n| list.get(n)) {
            let why = "with a network of every address, every client could claim any address: list only your own \
                       proxies";
            return Err(place.key(span.span(), "listener.proxies", why));
        }
    }
    let submission = raw
        .submission
        .unwrap_or(listener.auth != intake::Auth::None);
    listener.fix_ups = match submission {
        true => fix_ups,
        false => intake::FixUps::NONE,
    };
    Ok((address, listener))
}

/// How many clients at once, and how long each.
pub(super) fn connections(raw: &raw::Intake, place: &Place<'_>) -> Result<ConnectionLimits> {
    let age_max = duration(&raw.max_session_age, place, "intake.max_session_age")?;
    Ok(ConnectionLimits {
        all: raw.max_connections.unwrap_or(2000),
        per_source: raw.max_connections_per_source.unwrap_or(200),
        per_network: raw.max_connections_per_network,
        age_max: age_max.unwrap_or(SESSION_AGE_MAX),
        memory: memory::receiving(&raw.memory, place)?,
    })
}

fn limits(raw: &Raw, place: &Place<'_>, policy: &mut intake::Policy) -> Result<()> {
    let l = &mut policy.limits;
    let r = &raw.intake;
    l.recipients = r.max_recipients.unwrap_or(l.recipients);
    l.line_length = r.max_line_length.unwrap_or(l.line_length);
    l.bad_commands = r.max_bad_commands.unwrap_or(l.bad_commands);
    l.refused_recipients = r.max_refused_recipients.unwrap_or(l.refused_recipients);
    l.received_hops = r.max_received.unwrap_or(l.received_hops);
    l.minimum_rate = r.min_rate.unwrap_or(l.minimum_rate);
    if let Some(command) = duration(&r.command_timeout, place, "intake.command_timeout")? {
        l.timeouts.command = command;
        l.timeouts.helo = command;
    }
    if let Some(content) = duration(&r.content_timeout, place, "intake.content_timeout")? {
        l.timeouts.content = content;
    }
    if let Some(max) = size(
        &raw.outgoing.max_message_size,
        place,
        "outgoing.max_message_size",
    )? {
        l.message_size = max;
    }
    let newline = [
        ("refuse", smtp::data::BareNewline::Refuse),
        ("normalise", smtp::data::BareNewline::Normalise),
    ];
    if let Some(newline) = choice(&r.bare_newline, place, "intake.bare_newline", &newline)? {
        policy.bare_newline = newline;
    }
    let nul = [
        ("refuse", smtp::data::Nul::Refuse),
        ("remove", smtp::data::Nul::Remove),
    ];
    policy.nul = choice(&r.nul, place, "intake.nul", &nul)?.unwrap_or_default();
    Ok(())
}

fn rewriting(list: &[Spanned<raw::DomainRule>], place: &Place<'_>) -> Result<intake::Rewriting> {
    let mut found = Vec::new();
    for rule in list.iter().map(Spanned::get_ref) {
        let Some(matching) = &rule.matching else {
            continue;
        };
        let given = |text: &Text| text.clone().filter(|t| !t.get_ref().is_empty());
        let (address, domain) = (given(&rule.convert_address), given(&rule.convert_domain));
        if address.is_none() && domain.is_none() {
            continue;
        }
        let address = address.map(|t| {
            Address::parse(t.get_ref())
                .map_err(|e| place.key(t.span(), "domain.convert_address", e))
        });
        let domain = domain.map(|t| {
            Domain::parse(t.get_ref()).map_err(|e| place.key(t.span(), "domain.convert_domain", e))
        });
        found.push(intake::RewriteRule {
            matching: matching
                .get_ref()
                .parse()
                .map_err(|e| place.key(matching.span(), "domain.match", e))?,
            convert_address: address.transpose()?,
            convert_domain: domain.transpose()?,
        });
    }
    Ok(intake::Rewriting::new(found))
}
