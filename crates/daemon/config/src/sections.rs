//! From the raw form to validated settings, section by section.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use deliver::{Signatures, Timeouts, TlsMode};
use mail::{Address, Domain};
use net::DnsSettings;
use route::{DomainRule, Matcher, Mode, RouteSettings, Rules, Target};
use schedule::{Plan, Rate};
use smtp::extension::Extension;
use toml::Spanned;

use super::console::console;
use super::descriptors::Shares;
use super::dkim::keyring;
use super::error::{ConfigError, Place};
use super::listeners::intake;
use super::raw::{self, NumberOrText, OneOrMany, PlanText, Quantity, Raw, Text};
use super::relay::relay_settings;
use super::values::{choice, duration, size};
use super::{
    Config, LocalStore, LogSettings, Outgoing, Published, QueueFiles, RuleKeys, TlsFiles,
    TlsReportSettings, memory,
};

type Result<T> = std::result::Result<T, ConfigError>;

/// Shorter than this, a plan gives up earlier than RFC 5321 §4.5.4.1 advises.
const ADVISED_SPAN: Duration = Duration::from_secs(4 * 86_400);

pub(crate) fn validate(mut raw: Raw, place: &Place<'_>, base: &Path) -> Result<Config> {
    let mut warnings = Vec::new();
    super::presets::fill(&mut raw.outgoing, place)?;
    let (hostname, postmaster) = names(&raw, place)?;
    let data_dir = match &raw.data_dir {
        Some(text) => base.join(text.get_ref()),
        None => super::state::data_dir(),
    };
    let tls_reports = tls_reports(&raw.tls_reports, place, &hostname, &postmaster)?;
    let tls = tls_files(&raw.tls, place, base)?;
    let local = local_store(&raw.local, place, base)?;
    let (addresses, mut policy) = intake(&raw, place, &hostname, &postmaster, &tls, &local)?;
    policy.aliases =
        super::aliases::aliases(&raw, place, base, &hostname, &policy.local, &mut warnings)?;
    let rules = rules(&raw.domain, place)?;
    let senders = super::senders::rules(&raw.sender, place, &hostname, &policy.local)?;
    let outgoing = outgoing(&raw.outgoing, place, base, &mut warnings)?;
    let routing = routing(&raw.outgoing, place, &hostname, &addresses)?;
    super::presets::notes(&routing, outgoing.relay.as_ref(), &senders, &mut warnings);
    let users_file = match &raw.users.file {
        Some(text) => base.join(text.get_ref()),
        None => data_dir.join("users.toml"),
    };
    let queue = queue_files(&raw.queue, place)?;
    let paths = policy.paths.return_paths.as_ref();
    if paths.is_some_and(|paths| paths.valid > queue.history) {
        warnings.push(
            "return_path.valid is longer than queue.history: a bounce about a message that is no longer in the \
             history goes to the postmaster"
                .to_owned(),
        );
    }
    let sources = super::sources::sources(&raw, place, &hostname, base, &mut warnings)?;
    let proposal = super::refused::proposal(&raw.outgoing, &routing, &sources);
    let events = super::webhooks::events(&raw, place, base, &mut warnings)?;
    let (dkim, unusable_keys) = keyring(&raw.dkim, place, base, &mut warnings)?;
    Ok(Config {
        path: None,
        user: raw.user.clone(),
        sandbox: super::sandbox::settings(&raw.sandbox, base),
        included: super::Included::default(),
        named: super::Named::of(&raw, place, base),
        console: console(&raw, place, &tls, &data_dir, base)?,
        log: log(&raw.log, place, &data_dir, base)?,
        queue,
        sendmail: super::sendmail::settings(&raw.sendmail, &data_dir, base),
        paths: super::paths::settings(&raw.return_path, place, &data_dir, base)?,
        suppression: super::paths::suppression(&raw.suppression, place)?,
        replies: Arc::new(super::replies::replies(&raw.replies, place, base)?),
        events,
        hostname,
        data_dir,
        postmaster,
        listeners: addresses,
        intake: policy,
        connections: super::listeners::connections(&raw.intake, place)?,
        tls,
        users_file,
        local,
        outgoing,
        routing,
        rules: Arc::new(rules),
        senders: Arc::new(senders),
        sources,
        dkim,
        unusable_keys,
        dns: dns(raw.dns, place, base)?,
        tls_reports,
        proposals: proposal.into_iter().collect(),
        warnings,
    })
}

/// Our own name, and whom people write to about this server.
fn names(raw: &Raw, place: &Place<'_>) -> Result<(Domain, Address)> {
    let hostname = match &raw.hostname {
        Some(text) => {
            Domain::parse(text.get_ref()).map_err(|e| place.key(text.span(), "hostname", e))?
        }
        None => computer_name(),
    };
    let postmaster = match &raw.postmaster {
        Some(text) => {
            Address::parse(text.get_ref()).map_err(|e| place.key(text.span(), "postmaster", e))?
        }
        None => Address::new("postmaster", hostname.clone())
            .map_err(|e| place.key(0..0, "postmaster", e))?,
    };
    Ok((hostname, postmaster))
}

fn dns(raw: raw::Dns, place: &Place<'_>, base: &Path) -> Result<DnsSettings> {
    let timeout = duration(&raw.timeout, place, "dns.timeout")?;
    if let Some(several) = raw.servers.iter().find(|s| s.contains([',', ' ', ';'])) {
        let at = place.text.find(several.as_str()).unwrap_or_default();
        let why = format!(
            "`{several}` is not one server: write each in quotation marks of its own, [\"…\", \"…\"]"
        );
        return Err(place.key(at..at, "dns.servers", why));
    }
    Ok(DnsSettings {
        servers: raw.servers,
        detect_if_given_fail: raw.detect_if_given_fail.unwrap_or(true),
        timeout: timeout.unwrap_or(Duration::from_secs(5)),
        dnssec: raw.dnssec.unwrap_or(true),
        trust_anchor: raw.trust_anchor.map(|t| base.join(t.into_inner())),
    })
}

fn tls_reports(
    raw: &raw::TlsReports,
    place: &Place<'_>,
    hostname: &Domain,
    postmaster: &Address,
) -> Result<TlsReportSettings> {
    let given = |text: &Text| text.as_ref().map(|t| t.get_ref().clone());
    Ok(TlsReportSettings {
        enabled: raw.enabled.unwrap_or(true),
        organization: given(&raw.organization).unwrap_or_else(|| hostname.to_string()),
        contact: given(&raw.contact).unwrap_or_else(|| postmaster.to_string()),
        from: match &raw.from {
            Some(text) => Address::parse(text.get_ref())
                .map_err(|e| place.key(text.span(), "tls_reports.from", e))?,
            None => postmaster.clone(),
        },
        delay: duration(&raw.delay, place, "tls_reports.delay")?
            .unwrap_or(Duration::from_secs(4 * 3600)),
    })
}

fn computer_name() -> Domain {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    Domain::parse(&name).unwrap_or_else(|_| Domain::from_ip(std::net::Ipv4Addr::LOCALHOST.into()))
}

fn tls_files(raw: &raw::Tls, place: &Place<'_>, base: &Path) -> Result<TlsFiles> {
    let certificate = match (&raw.certificate, &raw.private_key) {
        (Some(c), Some(k)) => Some((base.join(c.get_ref()), base.join(k.get_ref()))),
        (None, None) => None,
        (Some(c), None) => {
            return Err(place.key(c.span(), "tls.certificate", "tls.private_key is missing"));
        }
        (None, Some(k)) => {
            return Err(place.key(k.span(), "tls.private_key", "tls.certificate is missing"));
        }
    };
    Ok(TlsFiles {
        certificate,
        extra_roots: raw.extra_roots.iter().map(|p| base.join(p)).collect(),
    })
}

fn local_store(raw: &raw::Local, place: &Place<'_>, base: &Path) -> Result<LocalStore> {
    let Some(text) = &raw.deliver else {
        return Ok(LocalStore::None);
    };
    let given = text.get_ref();
    let wrong = |why: String| place.key(text.span(), "local.deliver", why);
    match given.split_once(':') {
        Some(("maildir", path)) if path.contains("{user}") => Ok(LocalStore::Maildir(
            base.join(path).to_string_lossy().into_owned(),
        )),
        Some(("maildir", _)) => Err(wrong(
            "a Maildir needs {user} in its path, so that each user has one".to_owned(),
        )),
        Some(("lmtp", path)) if path.starts_with('/') => Ok(LocalStore::LmtpUnix(path.into())),
        Some(("lmtp", target)) => Target::parse(target, 24)
            .map(LocalStore::LmtpTcp)
            .map_err(|e| wrong(e.to_string())),
        Some(_) | None => Err(wrong(format!(
            "`{given}` is not a store: write \"maildir:PATH\", \"lmtp:HOST:PORT\" or \"lmtp:/SOCKET\""
        ))),
    }
}

fn plan(text: &Option<Spanned<PlanText>>, place: &Place<'_>, key: &str) -> Result<Option<Plan>> {
    let Some(text) = text else { return Ok(None) };
    match text.get_ref() {
        PlanText::Name(name) if name == "internet" => Ok(Some(Plan::internet())),
        PlanText::Name(name) => Err(place.key(
            text.span(),
            key,
            format!("`{name}` is not a plan: write \"internet\" or a list of waits such as [\"5m\", \"1h*4\"]"),
        )),
        PlanText::List(list) => {
            Plan::parse_list(list).map(Some).map_err(|e| place.key(text.span(), key, e))
        }
    }
}

pub(super) const TLS: [(&str, TlsMode); 4] = [
    ("none", TlsMode::None),
    ("opportunistic", TlsMode::Opportunistic),
    ("require", TlsMode::Require),
    ("verify", TlsMode::Verify),
];

fn wait(text: &Quantity, place: &Place<'_>, key: &str) -> Result<Option<Duration>> {
    let found = duration(text, place, key)?;
    match (found, text) {
        (Some(wait), Some(text)) if wait < Duration::from_secs(1) => Err(place.key(
            text.span(),
            key,
            "a wait between two attempts must be at least one second",
        )),
        _ => Ok(found),
    }
}

fn outgoing(
    raw: &raw::Outgoing,
    place: &Place<'_>,
    base: &Path,
    warnings: &mut Vec<String>,
) -> Result<Outgoing> {
    let attempts = raw.resend_attempts.as_ref().map_or(5, |n| *n.get_ref());
    let resend_wait = wait(&raw.resend_wait, place, "outgoing.resend_wait")?;
    let named = plan(&raw.plan, place, "outgoing.plan")?;
    if let (Some(plan), true) = (
        &raw.plan,
        raw.resend_attempts.is_some() || raw.resend_wait.is_some(),
    ) {
        let why = "a plan replaces resend_attempts and resend_wait: give one or the other";
        return Err(place.key(plan.span(), "outgoing.plan", why));
    }
    let plan = named
        .unwrap_or_else(|| Plan::fixed(attempts, resend_wait.unwrap_or(Duration::from_secs(300))));
    if plan.span() < ADVISED_SPAN {
        warnings.push(format!(
            "mail that cannot be delivered is given up after {}; RFC 5321 advises 4 to 5 days \
             (plan = \"internet\" does that)",
            mail::format_duration(plan.span())
        ));
    }
    let greeting = [("defer", false), ("fail", true)];
    let relay = match &raw.relay {
        Some(relay) => Some(relay_settings(relay, place, base, warnings)?),
        None => None,
    };
    Ok(Outgoing {
        enabled: raw.enabled.unwrap_or(true),
        plan: Arc::new(plan),
        lifetime: duration(&raw.lifetime, place, "outgoing.lifetime")?,
        max_connections: max_connections(&raw.max_connections, place)?,
        max_connections_per_site: raw
            .max_connections_per_site
            .as_ref()
            .map_or(20, |n| *n.get_ref())
            .max(1),
        memory: memory::sending(&raw.memory, place)?,
        first_mx_only: raw.first_mx_only,
        fail_on_5xx_greeting: choice(
            &raw.on_5xx_greeting,
            place,
            "outgoing.on_5xx_greeting",
            &greeting,
        )?
        .unwrap_or(false),
        tls: choice(&raw.tls, place, "outgoing.tls", &TLS)?.unwrap_or_default(),
        published: Published {
            dane: raw.dane.unwrap_or(true),
            mta_sts: raw.mta_sts.unwrap_or(true),
            mta_sts_port: raw.mta_sts_port.unwrap_or(443),
        },
        client_identity: client_identity(raw, place, base)?,
        relay,
        failure_messages: raw.failure_messages.unwrap_or(true),
        delay_notice_after: match &raw.delay_notice_after {
            None => Some(Duration::from_secs(4 * 3600)),
            Some(_) => duration(
                &raw.delay_notice_after,
                place,
                "outgoing.delay_notice_after",
            )?,
        },
        convert_signed: match raw.convert_signed {
            Some(false) => Signatures::Hold,
            Some(true) | None => Signatures::MayBreak,
        },
        short_lines: short_lines(raw, place)?,
        timeouts: timeouts(&raw.timeouts, place)?,
    })
}

fn short_lines(raw: &raw::Outgoing, place: &Place<'_>) -> Result<bool> {
    let ways = [("encode", true), ("keep", false)];
    let chosen = choice(&raw.long_lines, place, "outgoing.long_lines", &ways)?;
    Ok(chosen.unwrap_or(true))
}

fn client_identity(
    raw: &raw::Outgoing,
    place: &Place<'_>,
    base: &Path,
) -> Result<Option<(PathBuf, PathBuf)>> {
    match (&raw.client_certificate, &raw.client_key) {
        (Some(c), Some(k)) => Ok(Some((base.join(c.get_ref()), base.join(k.get_ref())))),
        (None, None) => Ok(None),
        (Some(c), None) => {
            let why = "outgoing.client_key is missing";
            Err(place.key(c.span(), "outgoing.client_certificate", why))
        }
        (None, Some(k)) => {
            let why = "outgoing.client_certificate is missing";
            Err(place.key(k.span(), "outgoing.client_key", why))
        }
    }
}

fn max_connections(value: &Option<Spanned<NumberOrText>>, place: &Place<'_>) -> Result<u32> {
    // Each connection is an open file.
    let auto = Shares::current().outgoing.min(5000);
    let Some(value) = value else { return Ok(auto) };
    match value.get_ref() {
        NumberOrText::Number(n) if *n > 0 => Ok(*n),
        NumberOrText::Text(t) if t == "auto" => Ok(auto),
        NumberOrText::Number(_) | NumberOrText::Text(_) => {
            let why = "write a number from 1, or \"auto\"";
            Err(place.key(value.span(), "outgoing.max_connections", why))
        }
    }
}

fn timeouts(raw: &raw::Timeouts, place: &Place<'_>) -> Result<Timeouts> {
    let mut t = Timeouts::default();
    let all = [
        (&mut t.connect, &raw.connect, "connect"),
        (&mut t.greeting, &raw.greeting, "greeting"),
        (&mut t.helo, &raw.helo, "helo"),
        (&mut t.mail, &raw.mail, "mail"),
        (&mut t.rcpt, &raw.rcpt, "rcpt"),
        (&mut t.data_init, &raw.data_init, "data_init"),
        (&mut t.data_block, &raw.data_block, "data_block"),
        (&mut t.data_done, &raw.data_done, "data_done"),
        (&mut t.idle, &raw.idle, "idle"),
    ];
    for (value, text, key) in all {
        if let Some(given) = duration(text, place, &format!("outgoing.timeouts.{key}"))? {
            *value = given;
        }
    }
    Ok(t)
}

fn routing(
    raw: &raw::Outgoing,
    place: &Place<'_>,
    hostname: &Domain,
    listeners: &[SocketAddr],
) -> Result<RouteSettings> {
    let relay_mode = choice(
        &raw.mode,
        place,
        "outgoing.mode",
        &[("independent", false), ("relay", true)],
    )?
    .unwrap_or(false);
    let mode = if relay_mode {
        Mode::Relay(relays(raw, place)?)
    } else {
        Mode::Independent
    };
    Ok(RouteSettings {
        mode,
        hostname: hostname.clone(),
        smtp_port: raw.smtp_port.unwrap_or(25),
        parent_domain_mx: raw.parent_domain_mx,
        refuse_networks: super::refused::refused(raw, place)?,
        own_listeners: listeners.to_vec(),
    })
}

fn relays(raw: &raw::Outgoing, place: &Place<'_>) -> Result<Vec<Target>> {
    let missing = || {
        let span = raw.mode.as_ref().map_or(0..0, Spanned::span);
        place.key(
            span,
            "outgoing.mode",
            "mode \"relay\" needs a server: set outgoing.relay.host",
        )
    };
    let relay = raw.relay.as_ref().ok_or_else(missing)?.get_ref();
    let host = relay.host.as_ref().ok_or_else(missing)?;
    let implicit = relay
        .tls
        .as_ref()
        .is_some_and(|t| t.get_ref() == "implicit");
    let port = relay.port.unwrap_or(if implicit { 465 } else { 587 });
    let names: Vec<&String> = match host.get_ref() {
        OneOrMany::One(name) => vec![name],
        OneOrMany::Many(names) => names.iter().collect(),
    };
    if names.is_empty() {
        return Err(missing());
    }
    let target = |name: &String| {
        Target::parse(name, port).map_err(|e| place.key(host.span(), "outgoing.relay.host", e))
    };
    names.into_iter().map(target).collect()
}

fn rules(list: &[Spanned<raw::DomainRule>], place: &Place<'_>) -> Result<Rules<RuleKeys>> {
    let mut found = Vec::with_capacity(list.len());
    for entry in list {
        let rule = entry.get_ref();
        let Some(matching) = &rule.matching else {
            return Err(place.wrong(entry.span(), "a [[domain]] rule needs the key match"));
        };
        let matcher = Matcher::parse(matching.get_ref())
            .map_err(|e| place.key(matching.span(), "domain.match", e))?;
        let via_smtp = match rule.via_smtp.as_ref().filter(|t| !t.get_ref().is_empty()) {
            Some(text) => Some(
                Target::parse(text.get_ref(), 25)
                    .map_err(|e| place.key(text.span(), "domain.via_smtp", e))?,
            ),
            None => None,
        };
        let rate = match rule.max_message_rate.as_ref() {
            Some(text) if text.get_ref().is_empty() => Some(None),
            Some(text) => {
                Some(Some(Rate::parse(text.get_ref()).map_err(|e| {
                    place.key(text.span(), "domain.max_message_rate", e)
                })?))
            }
            None => None,
        };
        let number = |n: &raw::Number| n.as_ref().map(|n| *n.get_ref());
        let set = RuleKeys {
            via_smtp,
            additional_resend_attempts: number(&rule.additional_resend_attempts),
            resend_attempts: number(&rule.resend_attempts),
            resend_wait: wait(&rule.resend_wait, place, "domain.resend_wait")?,
            plan: plan(&rule.plan, place, "domain.plan")?,
            tls: choice(&rule.tls, place, "domain.tls", &TLS)?,
            max_connections: number(&rule.max_connections),
            max_message_rate: rate,
            max_recipients: number(&rule.max_recipients),
            sources: rule.sources.as_ref().map(|s| s.get_ref().clone()),
            ignore: extensions(rule.ignore_extensions.as_deref(), place)?,
        };
        found.push(DomainRule { matcher, set });
    }
    Ok(Rules::new(found))
}

/// Extensions by their keywords. STARTTLS and AUTH have settings of their own.
fn extensions(
    names: Option<&[Spanned<String>]>,
    place: &Place<'_>,
) -> Result<Option<Vec<Extension>>> {
    let mut may_be = Extension::ALL.to_vec();
    may_be.retain(|e| !matches!(e, Extension::StartTls | Extension::Auth));
    let one = |name: &Spanned<String>| {
        let is = |e: &&Extension| e.keyword().eq_ignore_ascii_case(name.get_ref());
        may_be.iter().find(is).copied().ok_or_else(|| {
            let keywords: Vec<&str> = may_be.iter().map(|e| e.keyword()).collect();
            let why = format!("use one of {}", keywords.join(", "));
            place.key(name.span(), "domain.ignore_extensions", why)
        })
    };
    names
        .map(|names| names.iter().map(one).collect())
        .transpose()
}

fn log(raw: &raw::Log, place: &Place<'_>, data_dir: &Path, base: &Path) -> Result<LogSettings> {
    let json = choice(
        &raw.format,
        place,
        "log.format",
        &[("text", false), ("json", true)],
    )?;
    Ok(LogSettings {
        detailed: raw.detailed,
        json: json.unwrap_or(false),
        file: match &raw.file {
            None => Some(data_dir.join("log/outgoing.log")),
            Some(text) if text.get_ref() == "-" => None,
            Some(text) if Path::new(text.get_ref()).is_absolute() => {
                Some(base.join(text.get_ref()))
            }
            Some(text) => Some(data_dir.join(text.get_ref())),
        },
        rotate_bytes: size(&raw.rotate_at, place, "log.rotate_at")?.unwrap_or(100_000_000),
        keep: raw.keep.unwrap_or(10),
    })
}

/// The smallest segment: every message up to an eighth of it goes into one.
const SEGMENT_MIN: u64 = 1 << 20;
/// The largest; positions in it are kept in 32 bits.
const SEGMENT_MAX: u64 = 1 << 30;

/// How long what is finished is remembered.
const HISTORY_KEPT: Duration = Duration::from_secs(30 * 86_400);

fn queue_files(raw: &raw::Queue, place: &Place<'_>) -> Result<QueueFiles> {
    let segment = size(&raw.segment_size, place, "queue.segment_size")?.unwrap_or(128 << 20);
    let whole_pages = segment / 4096 * 4096;
    let segment_bytes = u32::try_from(whole_pages)
        .ok()
        .filter(|_| (SEGMENT_MIN..=SEGMENT_MAX).contains(&segment))
        .ok_or_else(|| {
            let span = raw.segment_size.as_ref().map_or(0..0, Spanned::span);
            place.key(span, "queue.segment_size", "a size from 1MiB to 1GiB")
        })?;
    let reserve_bytes = size(&raw.reserve, place, "queue.reserve")?.unwrap_or(512 << 20);
    let history = duration(&raw.history, place, "queue.history")?;
    Ok(QueueFiles {
        segment_bytes,
        reserve_bytes,
        history: history.unwrap_or(HISTORY_KEPT),
    })
}
