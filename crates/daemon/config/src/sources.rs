//! `[[source]]`, `[[source_rule]]` and `outgoing.source_addresses`: the addresses that mail leaves from.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use mail::{Domain, Timestamp};
use net::{Proxy, ProxyProtocol};
use route::Matcher;
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::raw::{self, Raw};
use super::warm_up::{WarmDay, WarmUp, warm_up};

type Result<T> = std::result::Result<T, ConfigError>;

/// The pool of a `[[source]]` that names none.
const DEFAULT_POOL: &str = "default";
/// The highest weight.
const WEIGHT_MAX: u32 = 1000;
/// The port of SOCKS (RFC 1928 §3).
const SOCKS_PORT: u16 = 1080;

/// An address that mail leaves from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What it is called in rules, log and lists.
    pub name: Arc<str>,
    /// The address to bind to.
    pub address: IpAddr,
    /// The name said in EHLO by connections from it.
    pub ehlo: Domain,
    /// Its share among those of its pool; 0: only where no other serves.
    pub weight: u32,
    /// By which its connections go.
    pub proxy: Option<Arc<Proxy>>,
    /// How much may leave from it on its first days.
    pub warm_up: Option<WarmUp>,
}

impl Source {
    /// The day of its warm-up; none: it sends without a bound.
    pub fn warm_day(&self, now: Timestamp) -> Option<WarmDay> {
        self.warm_up.as_ref()?.day(now)
    }
}

/// Addresses that stand for one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// What rules call it.
    pub name: String,
    /// Which addresses.
    pub sources: Vec<Arc<Source>>,
}

/// Which mail a pool is for: all that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRule {
    /// The domain of the sender.
    pub sender_domain: Option<Matcher>,
    /// The user who submitted it.
    pub user: Option<String>,
    /// A header field and its value; without one, any.
    pub header: Option<(String, Option<String>)>,
    /// Where such mail leaves from.
    pub pool: Arc<Pool>,
}

impl SourceRule {
    /// Which mail it is for.
    pub fn words(&self) -> String {
        let sender = self.sender_domain.as_ref().map(|m| match m {
            Matcher::Exact(domain) => format!("of senders at {domain}"),
            Matcher::Below(domain) => format!("of senders below {domain}"),
            Matcher::All => "of any sender".to_owned(),
        });
        let user = self.user.as_ref().map(|user| format!("of user {user}"));
        let header = self.header.as_ref().map(|(name, value)| match value {
            Some(value) => format!("with {name}: {value}"),
            None => format!("with {name}"),
        });
        let all: Vec<String> = [sender, user, header].into_iter().flatten().collect();
        all.join(", ")
    }
}

/// Everything about source addresses.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Those of `[[source]]`, then those that stand in `outgoing.source_addresses` alone.
    pub all: Vec<Arc<Source>>,
    /// By name.
    pub pools: BTreeMap<String, Arc<Pool>>,
    /// In the order in which they are asked: the first that fits decides.
    pub rules: Vec<SourceRule>,
    /// For mail that no rule is about; none: the system chooses.
    pub default: Option<Arc<Pool>>,
}

pub(super) fn sources(
    raw: &Raw,
    place: &Place<'_>,
    hostname: &Domain,
    base: &Path,
    warnings: &mut Vec<String>,
) -> Result<Sources> {
    let mut found = Sources::default();
    let mut members: BTreeMap<String, Vec<Arc<Source>>> = BTreeMap::new();
    for entry in &raw.source {
        let source = Arc::new(source(entry, place, hostname, base)?);
        if found.all.iter().any(|s| s.name == source.name) {
            let why = format!("there are two sources with the name `{}`", source.name);
            return Err(place.key(entry.span(), "source.name", why));
        }
        let pool = entry.get_ref().pool.as_ref();
        let pool = pool.map_or(DEFAULT_POOL, |p| p.get_ref().as_str());
        members
            .entry(pool.to_owned())
            .or_default()
            .push(Arc::clone(&source));
        found.all.push(source);
    }
    for (name, sources) in members {
        let pool = Pool {
            name: name.clone(),
            sources,
        };
        found.pools.insert(name, Arc::new(pool));
    }
    found.default = default_pool(&raw.outgoing, place, hostname, &mut found)?;
    for entry in &raw.source_rule {
        let rule = rule(entry, place, &found)?;
        found.rules.push(rule);
    }
    for rule in &raw.domain {
        if let Some(name) = &rule.get_ref().sources {
            named(&found, name, place, "domain.sources")?;
        }
    }
    found.all.iter().for_each(|s| warnings.extend(not_ours(s)));
    warnings.extend(unused(raw, &found));
    let pools = found.pools.values().chain(&found.default);
    warnings.extend(pools.filter_map(only_warming));
    Ok(found)
}

/// Addresses that are not this computer's may be so later, so they are no error.
fn not_ours(source: &Source) -> Option<String> {
    if source.proxy.is_some() {
        return None;
    }
    let error = UdpSocket::bind(SocketAddr::new(source.address, 0)).err()?;
    Some(format!(
        "the source address {} ({}) cannot be used now: {error}; it stays out of service until this \
         computer has it",
        source.address, source.name
    ))
}

/// Mail beyond the plan would wait for a day, which hardly anybody means.
fn only_warming(pool: &Arc<Pool>) -> Option<String> {
    let now = net::now();
    let warming = |s: &Arc<Source>| s.warm_day(now).is_some();
    pool.sources.iter().all(warming).then(|| {
        format!(
            "every source address of the pool {} is in its warm-up: mail above the limits of its plan waits for \
             the next day; add an address without warm_up to the pool to send it from there",
            pool.name
        )
    })
}

fn unused(raw: &Raw, found: &Sources) -> Option<String> {
    let by_domain = raw.domain.iter().any(|r| r.get_ref().sources.is_some());
    let idle = !found.all.is_empty() && found.default.is_none() && found.rules.is_empty();
    (idle && !by_domain).then(|| {
        "the addresses of [[source]] are not used: name pools in outgoing.source_addresses, in [[source_rule]] or \
         in domain.sources"
            .to_owned()
    })
}

fn source(
    entry: &Spanned<raw::Source>,
    place: &Place<'_>,
    hostname: &Domain,
    base: &Path,
) -> Result<Source> {
    let raw = entry.get_ref();
    let text = raw
        .address
        .as_ref()
        .ok_or_else(|| place.wrong(entry.span(), "a [[source]] needs the key address"))?;
    let given = text.get_ref();
    let address = address(given).ok_or_else(|| {
        let why =
            format!("`{given}` is not an address to send from: write an IPv4 or IPv6 address");
        place.key(text.span(), "source.address", why)
    })?;
    let name = match &raw.name {
        None => address.to_string(),
        Some(name) if is_name(name.get_ref()) => name.get_ref().clone(),
        Some(name) => {
            let why = format!(
                "`{}` is not a valid name: use letters, digits, and - _ . :",
                name.get_ref()
            );
            return Err(place.key(name.span(), "source.name", why));
        }
    };
    if let Some(pool) = raw.pool.as_ref().filter(|p| !is_name(p.get_ref())) {
        let why = format!(
            "`{}` is not a valid name: use letters, digits, and - _ . :",
            pool.get_ref()
        );
        return Err(place.key(pool.span(), "source.pool", why));
    }
    let ehlo = match &raw.ehlo {
        None => hostname.clone(),
        Some(text) => {
            Domain::parse(text.get_ref()).map_err(|e| place.key(text.span(), "source.ehlo", e))?
        }
    };
    let weight = raw.weight.as_ref().map_or(1, |n| *n.get_ref());
    if let Some(given) = raw.weight.as_ref().filter(|_| weight > WEIGHT_MAX) {
        let why = format!("a weight must be a number from 0 to {WEIGHT_MAX}");
        return Err(place.key(given.span(), "source.weight", why));
    }
    Ok(Source {
        name: name.into(),
        address,
        ehlo,
        weight,
        proxy: proxy(entry, place, base)?.map(Arc::new),
        warm_up: warm_up(raw, place)?,
    })
}

fn address(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    let address = address.to_canonical();
    (!address.is_unspecified() && !address.is_multicast()).then_some(address)
}

fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    (1..=60).contains(&text.len()) && text.chars().all(good)
}

fn proxy(entry: &Spanned<raw::Source>, place: &Place<'_>, base: &Path) -> Result<Option<Proxy>> {
    let raw = entry.get_ref();
    let login = login(entry, place, base)?;
    let Some(text) = &raw.proxy else {
        return match login {
            Some(_) => Err(place.key(entry.span(), "source.proxy_username", "no proxy is set")),
            None => Ok(None),
        };
    };
    let wrong = |why: &str| {
        let form = "write \"socks5://ADDRESS:PORT\" or \"proxy://ADDRESS:PORT\", with an address and \
                    not a name";
        // What stands in front of an @ is a password.
        let shown = match text.get_ref().rsplit_once('@') {
            Some((_, behind)) => {
                format!("***@{behind}` {why} (a login is proxy_username and proxy_password)")
            }
            None => format!("{}` {why}", text.get_ref()),
        };
        place.key(text.span(), "source.proxy", format!("`{shown}: {form}"))
    };
    let (scheme, rest) = text
        .get_ref()
        .split_once("://")
        .ok_or_else(|| wrong("is not a proxy"))?;
    let full = rest.parse::<SocketAddr>().ok();
    let alone = || rest.parse::<IpAddr>().ok();
    match scheme {
        "socks5" => {
            let address = full.or_else(|| Some(SocketAddr::new(alone()?, SOCKS_PORT)));
            Ok(Some(Proxy {
                address: address.ok_or_else(|| wrong("has no address"))?,
                protocol: ProxyProtocol::Socks5(login),
            }))
        }
        "proxy" if login.is_some() => Err(wrong("does not support a login, unlike SOCKS5")),
        "proxy" => Ok(Some(Proxy {
            address: full.ok_or_else(|| wrong("has no address with a port"))?,
            protocol: ProxyProtocol::Proxy,
        })),
        _ => Err(wrong("is of an unknown kind")),
    }
}

/// User and password at a proxy (RFC 1929: up to 255 octets each).
fn login(
    entry: &Spanned<raw::Source>,
    place: &Place<'_>,
    base: &Path,
) -> Result<Option<(String, String)>> {
    let raw = entry.get_ref();
    let password = match (&raw.proxy_password, &raw.proxy_password_file) {
        (Some(_), Some(file)) => {
            let why = "both proxy_password and proxy_password_file are set: give one of them";
            return Err(place.key(file.span(), "source.proxy_password_file", why));
        }
        (Some(password), None) => Some(password.get_ref().clone()),
        (None, Some(file)) => {
            let path = base.join(file.get_ref());
            let text = std::fs::read_to_string(&path).map_err(|e| {
                let why = format!("{} cannot be read: {e}", path.display());
                place.key(file.span(), "source.proxy_password_file", why)
            })?;
            Some(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        (None, None) => None,
    };
    match (&raw.proxy_username, password) {
        (None, None) => Ok(None),
        (Some(user), Some(password)) => {
            let good = |text: &str| (1..=255).contains(&text.len());
            if !good(user.get_ref()) || !good(&password) {
                let why = "user and password must have 1 to 255 octets each";
                return Err(place.key(user.span(), "source.proxy_username", why));
            }
            Ok(Some((user.get_ref().clone(), password)))
        }
        (user, _) => {
            let span = user.as_ref().map_or_else(|| entry.span(), Spanned::span);
            let why = "a login is proxy_username with proxy_password or proxy_password_file";
            Err(place.key(span, "source.proxy_username", why))
        }
    }
}

fn named(
    found: &Sources,
    name: &Spanned<String>,
    place: &Place<'_>,
    key: &str,
) -> Result<Arc<Pool>> {
    found.pools.get(name.get_ref()).cloned().ok_or_else(|| {
        let known: Vec<&str> = found.pools.keys().map(String::as_str).collect();
        let known = match known.is_empty() {
            true => "there is no [[source]]".to_owned(),
            false => format!("there are {}", known.join(", ")),
        };
        let why = format!("there is no pool `{}`: {known}", name.get_ref());
        place.key(name.span(), key, why)
    })
}

/// The pool of `outgoing.source_addresses`: pools, sources by name, and addresses.
fn default_pool(
    raw: &raw::Outgoing,
    place: &Place<'_>,
    hostname: &Domain,
    found: &mut Sources,
) -> Result<Option<Arc<Pool>>> {
    if let [one] = raw.source_addresses.as_slice()
        && let Some(pool) = found.pools.get(one.get_ref())
    {
        return Ok(Some(Arc::clone(pool)));
    }
    let mut sources: Vec<Arc<Source>> = Vec::new();
    for entry in &raw.source_addresses {
        let given = entry.get_ref().as_str();
        let ip = address(given);
        let meant: Vec<Arc<Source>> = match found.pools.get(given) {
            Some(pool) => pool.sources.clone(),
            None => {
                let is_it = |s: &&Arc<Source>| &*s.name == given || Some(s.address) == ip;
                found.all.iter().filter(is_it).cloned().collect()
            }
        };
        let meant = match (meant.is_empty(), ip) {
            (false, _) => meant,
            (true, Some(ip)) => {
                let source = Arc::new(Source {
                    name: ip.to_string().into(),
                    address: ip,
                    ehlo: hostname.clone(),
                    weight: 1,
                    proxy: None,
                    warm_up: None,
                });
                found.all.push(Arc::clone(&source));
                vec![source]
            }
            (true, None) => {
                let why = format!("`{given}` is neither a pool, a [[source]], nor an address");
                return Err(place.key(entry.span(), "outgoing.source_addresses", why));
            }
        };
        for source in meant {
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
    }
    Ok((!sources.is_empty()).then(|| {
        let name = "outgoing.source_addresses".to_owned();
        Arc::new(Pool { name, sources })
    }))
}

fn rule(
    entry: &Spanned<raw::SourceRule>,
    place: &Place<'_>,
    found: &Sources,
) -> Result<SourceRule> {
    let raw = entry.get_ref();
    let Some(pool) = &raw.pool else {
        return Err(place.wrong(entry.span(), "a [[source_rule]] needs the key pool"));
    };
    let sender_domain = match &raw.sender_domain {
        Some(text) => Some(
            Matcher::parse(text.get_ref())
                .map_err(|e| place.key(text.span(), "source_rule.sender_domain", e))?,
        ),
        None => None,
    };
    let header = match &raw.header {
        Some(text) => Some(header(text.get_ref()).ok_or_else(|| {
            let why = format!(
                "`{}` is not a header field: write \"X-Stream: news\", or \"X-Stream\" for any value",
                text.get_ref()
            );
            place.key(text.span(), "source_rule.header", why)
        })?),
        None => None,
    };
    let user = raw.user.as_ref().map(|u| u.get_ref().clone());
    if sender_domain.is_none() && header.is_none() && user.is_none() {
        let why = "a [[source_rule]] needs sender_domain, user or header: for all mail there is \
                   outgoing.source_addresses";
        return Err(place.wrong(entry.span(), why));
    }
    Ok(SourceRule {
        sender_domain,
        user,
        header,
        pool: named(found, pool, place, "source_rule.pool")?,
    })
}

fn header(text: &str) -> Option<(String, Option<String>)> {
    let (name, value) = match text.split_once(':') {
        Some((name, value)) => (name, Some(value.trim().to_owned())),
        None => (text, None),
    };
    let name = name.trim_end();
    let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    good.then(|| (name.to_owned(), value))
}
